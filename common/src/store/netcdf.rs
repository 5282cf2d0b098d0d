//! netCDF files of all kinds behind one [`NcFile`].
//!
//! Files of climate models come as CDF-5 (grid), as HDF5 (normalisation, converted members) and as CDF-1 and CDF-2 from other
//! tools. The classic kinds are read by a parser of our own, straight from the mapped file: the C library serves the
//! whole process one call at a time, which would make reading 200,000 small files by several threads serial. Plain files on
//! HDF5 are read in the same way; odd ones go through that library.
//!
//! Numbers come out as netCDF4-python shows them by default: what is missing becomes NaN, packed variables are unpacked
//! ([`convention`]). What a file holds beside the variables asked for does not matter, whatever its type.

mod classic;
mod convention;
mod hdf;
mod numbers;
mod plain;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use writer::{NcValues, NcWriter};

use self::convention::Convention;
use super::map::Mapped;
use crate::error::{Error, Result};

/// The on-disk kinds of netCDF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NcKind {
    /// Classic, CDF-1: 32-bit offsets.
    Cdf1,
    /// Classic with 64-bit offsets, CDF-2.
    Cdf2,
    /// Classic with 64-bit sizes, CDF-5.
    Cdf5,
    /// netCDF-4: an HDF5 file.
    Hdf5,
}

/// Element type of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NcType {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
    /// Characters or strings.
    Text,
    /// A user-defined type of an HDF5 file.
    Other,
}

impl NcType {
    /// Bytes an element on disk; zero for [`NcType::Other`].
    pub const fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Text => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
            Self::Other => 0,
        }
    }
}

/// A dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    /// Name.
    pub name: String,
    /// Length; of the record dimension, the number of records.
    pub len: usize,
    /// Whether this is the record dimension.
    pub unlimited: bool,
}

/// Value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// Text.
    Text(String),
    /// Numbers of any type.
    Numbers(Vec<f64>),
}

/// What is known about a variable without reading it.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// Names of its dimensions, slowest first; none for a scalar.
    pub dims: Vec<String>,
    /// Lengths of its dimensions.
    pub shape: Vec<usize>,
    /// Element type.
    pub kind: NcType,
    /// Attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
}

impl Variable {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Everything in a file but the data.
#[derive(Debug, Clone, Default, PartialEq)]
struct Catalogue {
    dimensions: Vec<Dimension>,
    variables: Vec<Variable>,
    attributes: BTreeMap<String, Attribute>,
}

/// A netCDF file, open for reading.
#[derive(Debug)]
pub struct NcFile {
    path: PathBuf,
    catalogue: Catalogue,
    /// Position of a variable in the catalogue.
    by_name: BTreeMap<String, usize>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Classic(classic::Classic),
    Hdf5(hdf::Hdf),
}

/// A float that variables are read as.
trait Float: super::Plain + PartialOrd + netcdf::NcTypeDescriptor {
    const NAN: Self;
    fn rounded(value: f64) -> Self;
    fn wide(self) -> f64;
}

impl Float for f64 {
    const NAN: Self = Self::NAN;
    fn rounded(value: f64) -> Self {
        value
    }
    fn wide(self) -> f64 {
        self
    }
}

impl Float for f32 {
    const NAN: Self = Self::NAN;
    fn rounded(value: f64) -> Self {
        value as Self
    }
    fn wide(self) -> f64 {
        self.into()
    }
}

impl NcFile {
    /// Opens a file of any kind and reads its catalogue. The place of every variable is checked against the length of
    /// the file, so a truncated file is found here.
    ///
    /// # Errors
    /// [`Error::Input`] where the file is missing, truncated or no netCDF file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let mapped = Mapped::open(&path)?;
        let bad = |problem: String| {
            Error::input(&path, problem).hint("the file is damaged or no netCDF file; download or make it again")
        };
        let (catalogue, source) = match mapped.bytes() {
            [b'C', b'D', b'F', 1 | 2 | 5, ..] => {
                let (catalogue, classic) = classic::Classic::parse(mapped).map_err(bad)?;
                (catalogue, Source::Classic(classic))
            }
            [0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1a, b'\n', ..] => {
                let (catalogue, hdf) = hdf::Hdf::open(&path, mapped).map_err(|(problem, mapped)| {
                    super::hdf5::in_use(&path, mapped.bytes()).unwrap_or_else(|| bad(problem))
                })?;
                (catalogue, Source::Hdf5(hdf))
            }
            bytes => {
                let found = &bytes[..bytes.len().min(4)];
                return Err(bad(format!("begins with {found:02x?}, expected a netCDF file (`CDF` or `\\x89HDF`)")));
            }
        };
        let by_name = catalogue.variables.iter().enumerate().map(|(i, v)| (v.name.clone(), i)).collect();
        Ok(Self { path, catalogue, by_name, source })
    }

    /// The path as given to [`NcFile::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kind of file.
    pub fn kind(&self) -> NcKind {
        match &self.source {
            Source::Classic(classic) => classic.kind(),
            Source::Hdf5(_) => NcKind::Hdf5,
        }
    }

    /// All dimensions, in file order.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.catalogue.dimensions
    }

    /// Length of a dimension.
    pub fn dimension(&self, name: &str) -> Result<usize> {
        let found = self.catalogue.dimensions.iter().find(|d| d.name == name).map(|d| d.len);
        found.ok_or_else(|| self.missing("dimension", name, self.catalogue.dimensions.iter().map(|d| d.name.as_str())))
    }

    /// All variables, in file order.
    pub fn variables(&self) -> &[Variable] {
        &self.catalogue.variables
    }

    /// Whether there is a variable of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// A variable by name.
    pub fn variable(&self, name: &str) -> Result<&Variable> {
        self.index(name).map(|i| &self.catalogue.variables[i])
    }

    /// A global attribute.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.catalogue.attributes.get(name)
    }

    /// The shape of a variable whose dimensions must be `dims`, slowest first.
    ///
    /// # Errors
    /// [`Error::Input`] where the variable is missing or has other dimensions.
    pub fn expect_dims(&self, name: &str, dims: &[&str]) -> Result<&[usize]> {
        let variable = self.variable(name)?;
        if variable.dims != dims {
            let problem = format!(
                "variable `{name}` has the dimensions ({}), expected ({})",
                variable.dims.join(", "),
                dims.join(", ")
            );
            return Err(Error::input(&self.path, problem));
        }
        Ok(&variable.shape)
    }

    /// All elements of a numeric variable, row-major.
    pub fn read_f64(&self, name: &str) -> Result<Vec<f64>> {
        let mut values = Vec::new();
        self.read_f64_into(name, &mut values)?;
        Ok(values)
    }

    /// As [`NcFile::read_f64`], into a vector whose memory is used again.
    pub fn read_f64_into(&self, name: &str, values: &mut Vec<f64>) -> Result<()> {
        let index = self.index(name)?;
        let convention = self.convention(index)?;
        self.read(index, values)?;
        convention.apply(values);
        Ok(())
    }

    /// All elements of a numeric variable, row-major, rounded to `f32` where they are wider.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        let index = self.index(name)?;
        let convention = self.convention(index)?;
        let mut values = Vec::new();
        if self.catalogue.variables[index].kind == NcType::F32 && convention.is_plain() {
            self.read(index, &mut values)?;
            convention.apply(&mut values);
        } else {
            // What is missing is told by the stored number, before it is rounded.
            let wide = self.read_f64(name)?;
            values.extend(wide.iter().map(|&v| v as f32));
        }
        Ok(values)
    }

    /// The stored numbers.
    fn read<T: Float>(&self, index: usize, values: &mut Vec<T>) -> Result<()> {
        let variable = &self.catalogue.variables[index];
        match &self.source {
            Source::Classic(classic) => classic.read(index, values),
            Source::Hdf5(hdf) => hdf.read(variable, values),
        }
        .map_err(|problem| self.unreadable(&variable.name, &problem))
    }

    fn index(&self, name: &str) -> Result<usize> {
        let found = self.by_name.get(name).copied();
        found.ok_or_else(|| self.missing("variable", name, self.by_name.keys().map(String::as_str)))
    }

    fn convention(&self, index: usize) -> Result<Convention> {
        let variable = &self.catalogue.variables[index];
        let name = &variable.name;
        if matches!(variable.kind, NcType::Text | NcType::Other) {
            return Err(Error::input(&self.path, format!("variable `{name}` holds no numbers")));
        }
        Convention::of(variable).map_err(|problem| Error::input(&self.path, format!("variable `{name}`: {problem}")))
    }

    fn missing<'a>(&self, what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
        Error::input(&self.path, format!("has no {what} `{name}`")).did_you_mean(name, known)
    }

    fn unreadable(&self, name: &str, problem: &str) -> Error {
        Error::input(&self.path, format!("reading variable `{name}`: {problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of each kind, written by the C library, with a fixed and a record variable.
    fn by_the_library(folder: &Path, options: netcdf::Options, name: &str) -> PathBuf {
        let path = folder.join(name);
        let hdf5 = options.contains(netcdf::Options::NETCDF4);
        let mut file = netcdf::create_with(&path, options).unwrap();
        file.add_attribute("title", "three words here").unwrap();
        file.add_dimension("lev", 3).unwrap();
        file.add_unlimited_dimension("time").unwrap();
        file.add_dimension("ncol", 2).unwrap();
        let mut t = file.add_variable::<f64>("state_t", &["lev", "ncol"]).unwrap();
        t.put_attribute("units", "K").unwrap();
        file.add_variable::<f32>("ps", &["time", "ncol"]).unwrap();
        file.add_variable::<i16>("flag", &["time"]).unwrap();
        file.add_variable::<i32>("one", &[]).unwrap();
        if !hdf5 {
            file.enddef().unwrap();
        }
        file.variable_mut("state_t").unwrap().put_values(&[1.0, 2.0, 3.0, 4.0, 5.0, f64::MAX], ..).unwrap();
        for record in 0..3 {
            let values = [record as f32, -0.5];
            file.variable_mut("ps").unwrap().put_values(&values, (record..=record, ..)).unwrap();
            file.variable_mut("flag").unwrap().put_values(&[-(record as i16)], record..=record).unwrap();
        }
        file.variable_mut("one").unwrap().put_values(&[7], ()).unwrap();
        file.close().unwrap();
        path
    }

    #[test]
    fn files_of_the_c_library_read_alike_in_all_kinds() {
        use netcdf::Options;
        let folder = tempfile::tempdir().unwrap();
        for (options, kind) in [
            (Options::CLASSIC, NcKind::Cdf1),
            (Options::_64BIT_OFFSET, NcKind::Cdf2),
            (Options::_64BIT_DATA, NcKind::Cdf5),
            (Options::NETCDF4, NcKind::Hdf5),
        ] {
            let path = by_the_library(folder.path(), options, &format!("{kind:?}.nc"));
            let file = NcFile::open(&path).unwrap();
            assert_eq!(file.kind(), kind);
            let names: Vec<_> = file.variables().iter().map(|v| v.name.as_str()).collect();
            assert_eq!(names, ["state_t", "ps", "flag", "one"]);
            assert_eq!(file.expect_dims("state_t", &["lev", "ncol"]).unwrap(), [3, 2]);
            assert_eq!(file.read_f64("state_t").unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, f64::MAX]);
            assert_eq!(file.read_f32("ps").unwrap(), [0.0, -0.5, 1.0, -0.5, 2.0, -0.5]);
            assert_eq!(file.read_f64("ps").unwrap(), [0.0, -0.5, 1.0, -0.5, 2.0, -0.5]);
            assert_eq!(file.read_f64("flag").unwrap(), [0.0, -1.0, -2.0]);
            assert_eq!(file.read_f64("one").unwrap(), [7.0]);
            assert_eq!(file.variable("ps").unwrap().kind, NcType::F32);
            assert_eq!(file.variable("state_t").unwrap().attributes["units"], Attribute::Text("K".into()));
            assert_eq!(file.attribute("title"), Some(&Attribute::Text("three words here".into())));
            assert_eq!(file.dimension("time").unwrap(), 3);
            let time = file.dimensions().iter().find(|d| d.name == "time").unwrap();
            assert!(time.unlimited);
        }
    }

    #[test]
    fn missing_names_and_other_dimensions_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = by_the_library(folder.path(), netcdf::Options::_64BIT_DATA, "x.nc");
        let file = NcFile::open(&path).unwrap();
        let missing = file.read_f64("state_T").unwrap_err();
        assert!(missing.to_string().ends_with("has no variable `state_T`"));
        assert_eq!(missing.hint_text().as_deref(), Some("did you mean `state_t`?"));
        assert!(file.dimension("levs").unwrap_err().to_string().ends_with("has no dimension `levs`"));
        let wrong = file.expect_dims("state_t", &["ncol", "lev"]).unwrap_err().to_string();
        assert!(wrong.ends_with("variable `state_t` has the dimensions (lev, ncol), expected (ncol, lev)"), "{wrong}");
    }
}
