//! Which libtorch the binaries beside this one will load, its version, and whether anything that it needs is missing.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Check, Status};

/// The release that Podium is built and tested with.
const WANTED: &str = "2.11.0";
/// The binary that uses tensors: what the loader finds for it is what counts.
const USER: &str = "podium-torch";
/// One of the names that it is started by.
const CALLED: &str = "train-model";

/// A libtorch on this machine.
#[derive(Debug)]
pub struct Libtorch {
    /// Folder of `libtorch_cpu.so`.
    pub lib: PathBuf,
    /// What pointed to it.
    pub from: String,
    /// Libraries that the loader looked for in vain.
    pub missing: Vec<String>,
    /// The binary that was started, and what it said where it did not start.
    pub trial: Option<(String, Result<(), String>)>,
}

impl Libtorch {
    /// True when the part for GPUs is there.
    pub fn has_cuda(&self) -> bool {
        self.lib.join("libtorch_cuda.so").exists()
    }

    /// `2.11.0`, from a note beside a library that was handed out, the stamp of `make setup`, the wheel's own file, or a header.
    fn version(&self) -> Option<String> {
        if let Ok(version) = fs::read_to_string(self.lib.join("torch-version")) {
            return Some(version.trim().to_owned());
        }
        let torch = self.lib.parent()?;
        let stamp = torch.parent().and_then(|root| fs::read_to_string(root.join("versions.json")).ok());
        let stamp = stamp.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
        if let Some(version) = stamp.as_ref().and_then(|s| s["wheels"]["torch"]["version"].as_str()) {
            return Some(version.to_owned());
        }
        if let Ok(text) = fs::read_to_string(torch.join("version.py")) {
            let line = text.lines().find_map(|l| l.strip_prefix("__version__ = "))?;
            return Some(line.trim_matches(['\'', '"']).to_owned());
        }
        let headers = ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"];
        let text = headers.iter().find_map(|h| fs::read_to_string(torch.join(h)).ok())?;
        let part = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(&format!("#define TORCH_VERSION_{name} ")))?;
            line.trim().parse::<u32>().ok()
        };
        Some(format!("{}.{}.{}", part("MAJOR")?, part("MINOR")?, part("PATCH")?))
    }
}

/// What the dynamic loader answers for a program or library: name and path, no path where it found nothing.
fn listing(file: &Path) -> Vec<(String, Option<PathBuf>)> {
    let loader = Path::new("/lib64/ld-linux-x86-64.so.2");
    let Ok(output) = Command::new(loader).arg("--list").arg(file).output() else { return Vec::new() };
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(listing: &str) -> Vec<(String, Option<PathBuf>)> {
    let lines = listing.lines().filter_map(|line| line.trim().split_once(" => "));
    lines
        .map(|(name, rest)| {
            let path = rest.split(" (0x").next().unwrap_or_default();
            (name.to_owned(), (path != "not found").then(|| PathBuf::from(path)))
        })
        .collect()
}

/// The libtorch that our binaries load; where none of them is at hand, the places where it usually lies.
pub fn find() -> Option<Libtorch> {
    let here = std::env::current_exe().ok()?;
    let listed = listing(&here.with_file_name(USER));
    if let Some((_, Some(path))) = listed.iter().find(|(library, _)| library == "libtorch_cpu.so") {
        let missing = listed.iter().filter(|(_, path)| path.is_none()).map(|(name, _)| name.clone()).collect();
        let (lib, from) = (path.parent()?.to_path_buf(), format!("what `{USER}` loads"));
        return Some(Libtorch { lib, from, missing, trial: trial(&here) });
    }
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let folders = variable("LIBTORCH").map(|p| (p.join("lib"), "LIBTORCH".to_owned())).into_iter();
    let search = variable("LD_LIBRARY_PATH").unwrap_or_default();
    let searched: Vec<PathBuf> = std::env::split_paths(&search).collect();
    let folders = folders.chain(searched.into_iter().map(|p| (p, "LD_LIBRARY_PATH".to_owned())));
    let above = here.ancestors().skip(1).map(|p| (p.join(".libtorch/torch/lib"), "`make setup`".to_owned()));
    let (lib, from) = folders.chain(above).find(|(folder, _)| folder.join("libtorch_cpu.so").exists())?;
    let listed = listing(&lib.join("libtorch_cpu.so"));
    let missing = listed.into_iter().filter(|(_, path)| path.is_none()).map(|(name, _)| name).collect();
    Some(Libtorch { lib, from, missing, trial: trial(&here) })
}

/// Starts the binary, where it lies beside this one: whether the loader finds all that it needs is for it to say.
fn trial(here: &Path) -> Option<(String, Result<(), String>)> {
    let program = here.with_file_name(USER);
    if !program.is_file() {
        return None;
    }
    let started = Command::new(program).arg0(CALLED).arg("--version").output();
    let result = match started {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let line = said.lines().rfind(|line| !line.trim().is_empty()).map(ToString::to_string);
            Err(line.unwrap_or_else(|| output.status.to_string()))
        }
        Err(e) => Err(e.to_string()),
    };
    Some((USER.to_owned(), result))
}

/// The lines about it.
pub fn checks(found: Option<&Libtorch>) -> Vec<Check> {
    let group = "software";
    let Some(library) = found else {
        let check = Check::ok(group, "libtorch", "not found");
        return vec![
            check.but(Status::Fail, "run `make setup` in the repository, or set LIBTORCH to a libtorch 2.11.0"),
        ];
    };
    let version = library.version();
    let shown = version.as_deref().unwrap_or("unknown version");
    let check = Check::ok(group, "libtorch", format!("{shown}, {} ({})", library.lib.display(), library.from));
    let base = shown.split('+').next().unwrap_or_default();
    let mut checks = vec![if version.is_some() && base != WANTED {
        check.but(Status::Warn, format!("Podium is built for {WANTED}; `make setup` fetches it"))
    } else {
        check
    }];
    if let Some((name, Err(said))) = &library.trial {
        let lib = library.lib.display();
        let check = Check::ok(group, "libtorch", format!("`{name}` does not start: {said}"));
        let hint = format!("`export LD_LIBRARY_PATH={lib}`, or build again where the repository lies now");
        return vec![check.but(Status::Fail, hint)];
    }
    if !library.missing.is_empty() {
        let check = Check::ok(group, "libtorch needs", library.missing.join(", "));
        checks.push(check.but(Status::Fail, "the loader does not find these libraries; `make setup` fetches them"));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_of_the_loader_is_understood() {
        let text = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc10.so => /a b/libc10.so (0x00007f)\n\
                    \tlibcupti.so.13 => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected =
            [("libc10.so".to_owned(), Some(PathBuf::from("/a b/libc10.so"))), ("libcupti.so.13".to_owned(), None)];
        assert_eq!(parse(text), expected);
    }
}
