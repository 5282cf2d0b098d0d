//! Compiles the C++ shim (`torch-ext`) against libtorch and tells the crates above how to link.
//!
//! The arguments reach the root package and the systems as `DEP_PODIUM_TORCH_EXT_LINK_ARGS`, because Cargo applies
//! link arguments only to the package that asks for them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::exit;

/// Files by what they are about. Most of the time goes into libtorch's headers, which each unit reads anew, so several files are
/// one unit; two units compile side by side.
const UNITS: [&[&str]; 2] = [
    &["scan", "scan_kernels", "linear", "again"],
    &["parallel", "nccl", "runtime", "export", "optim", "cuda", "graph", "kernels"],
];

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=torch-ext");

    let libtorch = libtorch();
    let lib = libtorch.join("lib");
    let include = libtorch.join("include");

    // Clippy links nothing, and cargo runs this once for it and once for the build.
    let linted = env::var_os("RUSTC_WORKSPACE_WRAPPER").is_some_and(|w| Path::new(&w).ends_with("clippy-driver"));
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").pic(true).warnings(false).flag_if_supported("-Wno-psabi").opt_level(2);
    for folder in [include.clone(), include.join("torch/csrc/api/include")] {
        build.flag("-isystem").flag(&folder);
    }
    build.include("torch-ext").include(kernel_source());
    if !linted {
        build.define("_GLIBCXX_USE_CXX11_ABI", "1").files(units()).compile("podium_torch_ext");
    }

    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");

    // The run path lets binaries start without LD_LIBRARY_PATH. libtorch.so names libraries that only CUDA machines
    // have, hence undefined symbols in shared libraries are let pass. With --as-needed a binary that uses no tensor
    // does not name libtorch at all, and starts on machines that lack it.
    let arguments =
        [format!("-Wl,-rpath,{}", lib.display()), "-Wl,--allow-shlib-undefined".into(), "-Wl,--as-needed".into()];
    for argument in &arguments {
        println!("cargo:rustc-link-arg={argument}");
    }
    println!("cargo:link_args={}", arguments.join("\t"));
    if !linted {
        let folder = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
        println!("cargo:archive={}", folder.join("libpodium_torch_ext.a").display());
    }
}

/// A file for each unit that takes in those that it is made of.
#[allow(clippy::disallowed_methods, reason = "files of the build")]
fn units() -> Vec<PathBuf> {
    let folder = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let unit = |(number, names): (usize, &&[&str])| {
        let path = folder.join(format!("unit_{number}.cpp"));
        let text: String = names.iter().map(|name| format!("#include \"{name}.cpp\"\n")).collect();
        std::fs::write(&path, text).unwrap_or_else(|e| refuse(&format!("{}: {e}", path.display())));
        path
    };
    UNITS.iter().enumerate().map(unit).collect()
}

/// Puts the source of the kernels for GPUs, which is compiled where there is one, into a header; gives its folder.
#[allow(clippy::disallowed_methods, reason = "a file of the build, made again with every change of its source")]
fn kernel_source() -> PathBuf {
    let folder = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let source =
        std::fs::read_to_string("torch-ext/mamba.cu").unwrap_or_else(|e| refuse(&format!("torch-ext/mamba.cu: {e}")));
    let header = format!("static const char kMambaSource[] = R\"podium({source})podium\";\n");
    std::fs::write(folder.join("mamba_source.h"), header).unwrap_or_else(|e| refuse(&format!("mamba_source.h: {e}")));
    folder
}

/// The folder of libtorch, made absolute: run paths must not depend on the working folder.
fn libtorch() -> PathBuf {
    let Some(given) = env::var_os("LIBTORCH") else {
        refuse("`LIBTORCH` is not set");
    };
    let folder = PathBuf::from(given);
    for needed in ["include/ATen/ATen.h", "lib/libtorch_cpu.so", "lib/libc10.so"] {
        if !folder.join(needed).exists() {
            refuse(&format!("no `{needed}` in `LIBTORCH` = `{}`", folder.display()));
        }
    }
    Path::new(&folder).canonicalize().unwrap_or(folder)
}

fn refuse(problem: &str) -> ! {
    println!("cargo:warning=libtorch 2.11.0 not found: {problem}");
    println!("cargo:warning=run `make setup`: it fetches libtorch into `.libtorch`");
    exit(1)
}
