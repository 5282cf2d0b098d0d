//! The kernels for GPUs (`common/neural/torch-ext/mamba.cu`), compiled by NVRTC as it happens where there is a GPU. It needs
//! none to compile. NVRTC is that of the CUDA part of libtorch where that is set up, else its wheel is fetched once.

mod support;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::root;

const WHEEL: &str = "nvidia-cuda-nvrtc==13.0.88"; // what torch 2.11.0 asks for

/// The folder with `libnvrtc.so.13`.
#[allow(clippy::disallowed_methods, reason = "a cache of what can be fetched again")]
fn nvrtc() -> PathBuf {
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("nvrtc");
    let libtorch = std::env::var_os("LIBTORCH").map_or_else(|| root().join(".libtorch/torch"), PathBuf::from);
    let inside = |folder: &Path| folder.join("nvidia/cu13/lib");
    for folder in [libtorch.parent().unwrap(), &target] {
        if inside(folder).join("libnvrtc.so.13").exists() {
            return inside(folder);
        }
    }
    let work = tempfile::tempdir_in(target.parent().unwrap()).unwrap();
    let succeeds = |command: &mut Command| {
        let out = command.output().unwrap();
        assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    };
    let pip = ["-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", WHEEL, "-d", "."];
    succeeds(Command::new("python3").args(pip).current_dir(&work));
    let wheel = fs::read_dir(&work).unwrap().next().unwrap().unwrap().path();
    succeeds(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg("unpacked").current_dir(&work));
    // Another process may have been faster.
    if let Err(error) = fs::rename(work.path().join("unpacked"), &target) {
        assert!(inside(&target).exists(), "{error}");
    }
    inside(&target)
}

/// Functions of NVRTC, of a library that stays loaded.
struct Nvrtc(*mut c_void);

impl Nvrtc {
    fn open() -> Self {
        let folder = nvrtc();
        let open = |path: &Path| {
            let name = CString::new(path.to_str().unwrap()).unwrap();
            // SAFETY: a NUL-terminated path.
            let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
            assert!(!library.is_null(), "{}", path.display());
            library
        };
        // It asks for this one by name.
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.to_str().unwrap().contains("/libnvrtc-builtins.so") {
                open(&path);
            }
        }
        Self(open(&folder.join("libnvrtc.so.13")))
    }

    /// # Safety
    /// `F` is the type of this function.
    unsafe fn function<F: Copy>(&self, name: &CStr) -> F {
        // SAFETY: the library is loaded; the caller vouches for the type.
        unsafe {
            let address = libc::dlsym(self.0, name.as_ptr());
            assert!(!address.is_null(), "{name:?}");
            std::mem::transmute_copy(&address)
        }
    }

    /// Compiles a source; what the compiler says.
    fn compile(&self, source: &CStr, options: &[&str]) -> Result<String, String> {
        type Create =
            extern "C" fn(*mut *mut c_void, *const c_char, *const c_char, c_int, *const c_void, *const c_void) -> c_int;
        type Compile = extern "C" fn(*mut c_void, c_int, *const *const c_char) -> c_int;
        type Size = extern "C" fn(*mut c_void, *mut usize) -> c_int;
        type Text = extern "C" fn(*mut c_void, *mut c_char) -> c_int;
        let options: Vec<CString> = options.iter().map(|option| CString::new(*option).unwrap()).collect();
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program = std::ptr::null_mut();
        // SAFETY: the functions have these types in nvrtc.h; all pointers are to live values of the sizes given.
        unsafe {
            let none = std::ptr::null();
            let create = self.function::<Create>(c"nvrtcCreateProgram");
            assert_eq!(create(&raw mut program, source.as_ptr(), c"mamba.cu".as_ptr(), 0, none, none), 0);
            let compile = self.function::<Compile>(c"nvrtcCompileProgram");
            let code = compile(program, options.len() as c_int, options.as_ptr());
            let mut size = 0;
            assert_eq!(self.function::<Size>(c"nvrtcGetProgramLogSize")(program, &raw mut size), 0);
            let mut text = vec![0_u8; size];
            assert_eq!(self.function::<Text>(c"nvrtcGetProgramLog")(program, text.as_mut_ptr().cast()), 0);
            let text = String::from_utf8_lossy(&text).into_owned();
            if code == 0 { Ok(text) } else { Err(text) }
        }
    }
}

#[test]
fn the_kernels_compile_for_every_generation_of_gpus() {
    let compiler = Nvrtc::open();
    let source = fs::read_to_string(root().join("common/neural/torch-ext/mamba.cu")).unwrap();
    let source = CString::new(source).unwrap();
    let gpus = ["sm_75", "sm_80", "sm_89", "sm_90", "sm_100", "sm_120"];
    let most = gpus.map(|gpu| (gpu, 60, 64));
    for (gpu, levels, states) in [("sm_90", 60, 16), ("sm_90", 96, 256), ("sm_120", 60, 16)].into_iter().chain(most) {
        let sizes = [format!("--gpu-architecture={gpu}"), format!("-DLEVELS={levels}"), format!("-DSTATES={states}")];
        let sizes: Vec<&str> = sizes.iter().map(String::as_str).collect();
        let options = [&sizes[..], &["-DTAPS=4", "--std=c++17", "--ptxas-options=-v"]].concat();
        let said = compiler.compile(&source, &options).unwrap_or_else(|said| panic!("{sizes:?}: {said}"));
        for kernel in ["scan_forward", "scan_backward", "conv_forward", "conv_backward"] {
            assert!(said.contains(&format!("'{kernel}'")), "{sizes:?}: {said}");
        }
        // The published sizes keep everything in registers.
        let spills = said.lines().any(|line| line.contains("spill") && !line.contains("0 bytes spill stores"));
        assert!(!spills || levels > 60, "{sizes:?}: {said}");
    }
    let said = compiler.compile(&source, &["-DLEVELS=97", "-DSTATES=4", "--gpu-architecture=sm_90"]).unwrap_err();
    assert!(said.contains("shared"), "more levels than the shared memory of a warp holds: {said}");
}
