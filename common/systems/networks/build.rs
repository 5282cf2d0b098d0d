//! Passes on how to link libtorch; `common/neural/build.rs` says why.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let arguments = std::env::var("DEP_PODIUM_TORCH_EXT_LINK_ARGS").unwrap_or_default();
    for argument in arguments.split('\t').filter(|a| !a.is_empty()) {
        println!("cargo:rustc-link-arg={argument}");
    }
}
