//! Programs that tests run and a bare machine lacks, from Debian's packages.

use std::process::Command;

/// Installs `packages` unless `there`; why not, where that cannot be done.
pub fn install(there: impl Fn() -> bool, packages: &str) -> Result<(), String> {
    if there() {
        return Ok(());
    }
    if !Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n") {
        return Err(format!("`{packages}` cannot be installed without root"));
    }
    // Another test may be installing something else.
    let get = "apt-get -o DPkg::Lock::Timeout=300 -y -q";
    let install = format!("{get} install {packages} || ({get} update && {get} install {packages})");
    let output = Command::new("sh").args(["-c", &install]).env("DEBIAN_FRONTEND", "noninteractive").output();
    match output {
        Ok(output) if output.status.success() && there() => Ok(()),
        _ => Err(format!("`{packages}` cannot be installed")),
    }
}
