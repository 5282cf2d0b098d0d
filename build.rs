//! Passes on how to link libtorch; `common/neural/build.rs` says why.

/// Where the binary with networks looks for libtorch when it is handed out, from its own place: beside an installation
/// (`lib/podium`), in an unpacked archive (`lib`), in the Python environment that the wheel was installed into. Handing out
/// (`scripts/dist/elf.py`) takes away the place on this machine, which comes before them.
const HANDED_OUT: &str = "-Wl,-rpath,$ORIGIN/../lib/podium:$ORIGIN/../lib:$ORIGIN/../../torch/lib";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let arguments = std::env::var("DEP_PODIUM_TORCH_EXT_LINK_ARGS").unwrap_or_default();
    for argument in arguments.split('\t').filter(|a| !a.is_empty()) {
        println!("cargo:rustc-link-arg={argument}");
    }
    ["podium", "podium-torch"].iter().for_each(|name| println!("cargo:rustc-link-arg-bin={name}={HANDED_OUT}"));
}
