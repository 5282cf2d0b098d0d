//! Passes on how to link libtorch (`common/neural/build.rs` says why), how programs are linked without it (`bins/front/light.rs`),
//! and how what is handed out is linked.

use std::path::PathBuf;

#[path = "packaging/absent.rs"]
mod absent;
#[path = "packaging/oldest/mod.rs"]
mod oldest;

/// Where the binary with networks looks for libtorch when it is handed out, from its own place: beside an installation
/// (`lib/podium`), in an unpacked archive (`lib`), in the Python environment that the wheel was installed into. Handing out
/// (`scripts/dist/elf.py`) takes away the place on this machine, which comes before them.
const HANDED_OUT: &str = "-Wl,-rpath,$ORIGIN/../lib/podium:$ORIGIN/../lib:$ORIGIN/../../torch/lib";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=packaging");
    println!("cargo:rustc-check-cfg=cfg(without_libtorch)");
    let arguments = std::env::var("DEP_PODIUM_TORCH_EXT_LINK_ARGS").unwrap_or_default();
    for argument in arguments.split('\t').filter(|a| !a.is_empty()) {
        println!("cargo:rustc-link-arg={argument}");
    }
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    match absent::names(&folder) {
        Ok(file) => {
            println!("cargo:rustc-env=PODIUM_WITHOUT_LIBTORCH={}", file.display());
            println!("cargo:rustc-cfg=without_libtorch");
        }
        Err(problem) => println!("cargo:warning=programs with networks will load libtorch for every answer: {problem}"),
    }
    let older = oldest::link(&folder.join("oldest")).unwrap_or_else(|problem| {
        println!("cargo:warning=what is handed out will run on systems as new as this one alone: {problem}");
        Default::default()
    });
    for (name, arguments) in [("podium", older.0), ("podium-torch", older.1)] {
        for argument in std::iter::once(HANDED_OUT.to_string()).chain(arguments) {
            println!("cargo:rustc-link-arg-bin={name}={argument}");
        }
    }
}
