//! Choosing the device, and loading CUDA when it is wanted.
//!
//! One executable serves machines with and without a GPU. It links the CPU libraries only; `libtorch_cuda.so` is
//! loaded with `dlopen` before the first tensor, because libtorch asks once whether CUDA is there and remembers the
//! answer. Without a GPU nothing of it is touched, which saves 0.2 s of every start.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::{Error, Result};
use tch::{Cuda, Device, Tensor};

use crate::{parallel, shim};

/// The device for `spec`: `auto`, `cpu`, `cuda` or `cuda:N`. `auto` takes the first GPU when the CUDA part of libtorch
/// and a device are present, and the CPU otherwise. Of several processes on a machine each takes the GPU of its number
/// there, for `auto` and `cuda`. On a GPU operations give the same bits every time from now on
/// ([`shim::set_deterministic`]). Call it before the first tensor.
pub fn choose(spec: &str) -> Result<Device> {
    let device = chosen(spec)?;
    if device.is_cuda() {
        shim::set_cuda_device(device)?;
        shim::set_deterministic(true)?;
    }
    Ok(device)
}

fn chosen(spec: &str) -> Result<Device> {
    let wanted = match spec.split_once(':') {
        _ if spec == "cpu" => return Ok(Device::Cpu),
        _ if spec == "auto" => None,
        None if spec == "cuda" => Some(parallel::local_rank()),
        Some(("cuda", number)) => Some(number.parse::<usize>().map_err(|_| unknown(spec))?),
        _ => return Err(unknown(spec)),
    };
    match (wanted, cuda()) {
        (None, Ok(count)) => Ok(Device::Cuda(parallel::local_rank() % count)),
        (None, Err(reason)) => {
            tracing::debug!("running on the CPU: {reason}");
            Ok(Device::Cpu)
        }
        (Some(i), Ok(count)) if i < *count => Ok(Device::Cuda(i)),
        (Some(i), Ok(count)) => Err(Error::device(format!("`--device {spec}`: no GPU {i}, found {count}"))
            .hint("`nvidia-smi -L` lists the GPUs; `--device cuda` takes the first one")),
        (Some(_), Err(reason)) => Err(Error::device(format!("`--device {spec}`: {reason}"))
            .hint("run with `--device cpu`, or install the CUDA part with `make setup CUDA=1`")),
    }
}

fn unknown(spec: &str) -> Error {
    Error::usage(format!("unknown device `{spec}`, expected `auto`, `cpu`, `cuda` or `cuda:N`"))
}

/// Number of GPUs, or why there is none. Decided once.
fn cuda() -> &'static Result<usize, String> {
    static FOUND: OnceLock<Result<usize, String>> = OnceLock::new();
    FOUND.get_or_init(load)
}

fn load() -> Result<usize, String> {
    if is_loaded() {
        return count("the CUDA part of libtorch");
    }
    let library = beside_libtorch()?.join("libtorch_cuda.so");
    if !library.exists() {
        return Err(format!("`{}` does not exist", library.display()));
    }
    if !Path::new("/dev/nvidiactl").exists() && !Path::new("/dev/dxg").exists() {
        return Err("no GPU driver: neither `/dev/nvidiactl` nor `/dev/dxg` exists".into());
    }
    // Deterministic matrix products need a workspace of fixed size; cuBLAS reads this once.
    if std::env::var_os("CUBLAS_WORKSPACE_CONFIG").is_none() {
        // SAFETY: the device is chosen at the start, before the program has threads that read the environment.
        unsafe { std::env::set_var("CUBLAS_WORKSPACE_CONFIG", ":4096:8") };
    }
    open(&library)?;
    count(&format!("`{}`", library.display()))
}

/// Whether somebody has loaded the CUDA part, or what stands in for it, before (`LD_PRELOAD`).
fn is_loaded() -> bool {
    // SAFETY: a NUL-terminated name, searched among the libraries of this process.
    !unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_ZN2at4cuda9CUDAGraph6replayEv".as_ptr()) }.is_null()
}

fn count(library: &str) -> Result<usize, String> {
    match Cuda::device_count() {
        n if n > 0 && Cuda::is_available() => Ok(n as usize),
        _ => Err(format!("{library} was loaded but finds no GPU")),
    }
}

/// Makes all symbols of a library part of this process, for good.
fn open(library: &Path) -> Result<(), String> {
    let name = CString::new(library.as_os_str().as_bytes()).map_err(|_| "path with a NUL byte".to_string())?;
    // SAFETY: a NUL-terminated path; the handle is kept open for the life of the process.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: after a failing dlopen, dlerror gives a NUL-terminated text or null.
    let text = unsafe {
        let text = libc::dlerror();
        if text.is_null() { "unknown error".into() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    };
    Err(format!("loading `{}`: {text}", library.display()))
}

/// The folder of the `libtorch_cpu.so` that this process runs on.
fn beside_libtorch() -> Result<PathBuf, String> {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: the symbol is searched among the libraries of this process; dladdr fills the struct on success, and
    // the name it points at lives as long as the library is loaded.
    unsafe {
        let symbol = libc::dlsym(libc::RTLD_DEFAULT, c"_ZN2at13globalContextEv".as_ptr());
        if symbol.is_null() || libc::dladdr(symbol, &raw mut info) == 0 || info.dli_fname.is_null() {
            return Err("libtorch_cpu.so is not part of this process".into());
        }
        let name = CStr::from_ptr(info.dli_fname);
        Ok(Path::new(OsStr::from_bytes(name.to_bytes())).parent().unwrap_or(Path::new(".")).to_path_buf())
    }
}

/// Threads of libtorch's kernels in this process. Results of some kernels depend on it in the last bits.
pub fn set_threads(threads: usize) -> Result<()> {
    if threads == 0 {
        return Err(Error::usage("the number of threads is 0, expected 1 or more"));
    }
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    Ok(())
}

/// Threads of libtorch's kernels in this process.
pub fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1)
}

/// A tensor of the CPU where a network computes. What a step makes on the host (indices, weights) goes this way: `to_device`
/// would wait until the GPU has done all that it was asked before.
///
/// # Errors
/// The GPU is out of memory or failed.
pub fn place(tensor: &Tensor, device: Device) -> Result<Tensor> {
    if device.is_cuda() { shim::place(tensor, device) } else { Ok(tensor.shallow_clone()) }
}

/// [`place`] for networks, whose forward passes panic where a device fails; training makes an error of it.
pub fn placed(tensor: &Tensor, device: Device) -> Tensor {
    place(tensor, device).unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until a GPU has finished, so that times are true. Nothing to do on the CPU.
pub fn synchronize(device: Device) {
    if let Device::Cuda(i) = device {
        Cuda::synchronize(i as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_needs_no_cuda() {
        assert_eq!(choose("cpu").unwrap(), Device::Cpu);
    }

    #[test]
    fn unknown_devices_are_usage_errors_that_list_what_is_known() {
        for spec in ["gpu", "cuda:x", "cuda:", "cpu:0", "", "auto:1"] {
            let error = choose(spec).unwrap_err();
            assert!(matches!(error, Error::Usage { .. }), "{spec}: {error}");
            assert!(error.to_string().contains("expected `auto`, `cpu`, `cuda` or `cuda:N`"), "{error}");
        }
    }

    #[test]
    fn auto_agrees_with_asking_for_cuda() {
        match choose("cuda") {
            Ok(device) => assert_eq!(choose("auto").unwrap(), device),
            Err(error) => {
                assert!(matches!(error, Error::Device { .. }));
                assert!(error.hint_text().is_some_and(|h| h.contains("--device cpu")));
                assert_eq!(choose("auto").unwrap(), Device::Cpu);
            }
        }
    }

    #[test]
    fn a_gpu_number_beyond_the_last_is_refused() {
        assert!(matches!(choose("cuda:4096"), Err(Error::Device { .. })));
    }

    #[test]
    fn the_folder_of_libtorch_is_found() {
        assert!(beside_libtorch().unwrap().join("libtorch_cpu.so").exists());
    }
}
