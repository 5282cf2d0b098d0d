//! Versions of the C libraries that are linked in, as they report them themselves.

use std::ffi::CStr;

/// Version of the HDF5 library, `2.0.0`.
pub fn hdf5() -> String {
    let (major, minor, release) = hdf5::library_version();
    format!("{major}.{minor}.{release}")
}

/// Version of the netCDF library, `4.9.3`.
pub fn netcdf() -> String {
    // SAFETY: the function takes nothing and returns a pointer to a constant, NUL-terminated text of the library.
    let text = unsafe { CStr::from_ptr(netcdf_sys::nc_inq_libvers()) };
    // The text goes on with the date of the build: `4.9.3 of Nov 21 2026 08:00:00 $`.
    text.to_string_lossy().split_whitespace().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_libraries_say_their_version() {
        for version in [super::hdf5(), super::netcdf()] {
            assert!(version.split('.').count() >= 3 && version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
        }
    }
}
