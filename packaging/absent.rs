//! The names of libtorch's functions, for programs that are linked without it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::oldest::{said, write};

/// Writes an assembly text below `folder` that defines every C function of the two archives between Rust and libtorch (torch-sys' and
/// that of `common/neural`) as a jump to `called`. There are none where `neural` was only looked at, by clippy.
pub fn names(folder: &Path) -> Result<PathBuf, String> {
    let archives = match std::env::var_os("DEP_PODIUM_TORCH_EXT_ARCHIVE") {
        Some(own) => vec![PathBuf::from(own), of_torch_sys(folder)?],
        None => Vec::new(),
    };
    let mut text = String::from(".text\n.p2align 4\n");
    for archive in archives {
        println!("cargo:rerun-if-changed={}", archive.display());
        let listing = said(Command::new("nm").args(["--defined-only", "--extern-only"]).arg(&archive))?;
        // Address, kind, name. What is mangled is C++, which Rust does not call.
        let fields = listing.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let names = fields.filter_map(|fields| match fields[..] {
            [_, "T", name] if !name.starts_with("_Z") => Some(name.to_string()),
            _ => None,
        });
        for name in names {
            let _ = writeln!(text, ".globl {name}\n.type {name},@function\n{name}:");
        }
    }
    text += "jmp {called}\n";
    let file = folder.join("without_libtorch.s");
    write(&file, &text)?;
    Ok(file)
}

/// The archive that the build script of torch-sys made, whose folder lies beside ours; the newest, where several are left.
fn of_torch_sys(folder: &Path) -> Result<PathBuf, String> {
    let all = folder.ancestors().nth(2).ok_or("the folder of the build is none")?;
    let listed = std::fs::read_dir(all).map_err(|e| format!("{}: {e}", all.display()))?;
    let archives = listed.filter_map(|entry| {
        let entry = entry.ok()?;
        let archive = entry.path().join("out/libtch.a");
        let is_its = entry.file_name().to_string_lossy().starts_with("torch-sys-");
        Some((archive.metadata().ok().filter(|_| is_its)?.modified().ok()?, archive))
    });
    let newest = archives.max().map(|(_, archive)| archive);
    newest.ok_or_else(|| format!("`{}` has no `libtch.a` of torch-sys", all.display()))
}
