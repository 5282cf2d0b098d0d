//! Real tools from their registry, installed once into the user's cache folder.
#![allow(dead_code)] // each test target uses a part of it

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A tool in a virtual environment of its own.
pub struct Tool {
    folder: PathBuf,
}

/// `dvc` 3.67.1; none, with the reason printed, where it cannot be installed.
pub fn dvc() -> Option<Tool> {
    Tool::install("dvc-3.67.1", &["dvc==3.67.1"])
}

/// `snakemake` 9.27.1 with its Slurm executor.
pub fn snakemake() -> Option<Tool> {
    Tool::install("snakemake-9.27.1", &["snakemake==9.27.1", "snakemake-executor-plugin-slurm"])
}

/// Python with `numpy` 2.2.6.
pub fn numpy() -> Option<Tool> {
    Tool::install("numpy-2.2.6", &["numpy==2.2.6"])
}

/// Python with `numpy` 2.2.6 and `netCDF4` 1.7.2.
pub fn netcdf() -> Option<Tool> {
    Tool::install("netcdf4-1.7.2", &["numpy==2.2.6", "netCDF4==1.7.2"])
}

fn cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    cache.join("podium/tools")
}

impl Tool {
    fn install(name: &str, packages: &[&str]) -> Option<Self> {
        let folder = cache().join(name);
        fs::create_dir_all(cache()).unwrap();
        // Tests run side by side: one of them installs, the others wait for it.
        let lock = File::options().create(true).append(true).open(cache().join(format!("{name}.lock"))).unwrap();
        lock.lock().unwrap();
        let ready = folder.join("podium-ready");
        if !ready.exists() {
            let python = folder.join("bin/python");
            let steps: [(&Path, Vec<&str>); 2] = [
                (Path::new("python3"), vec!["-m", "venv", folder.to_str().unwrap()]),
                (&python, [&["-m", "pip", "install", "--quiet", "--disable-pip-version-check"], packages].concat()),
            ];
            for (program, args) in steps {
                let output = Command::new(program).args(&args).env_remove("LD_LIBRARY_PATH").output();
                let problem = match output {
                    Ok(output) if output.status.success() => continue,
                    Ok(output) => {
                        String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_string()
                    }
                    Err(e) => e.to_string(),
                };
                #[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
                {
                    println!("skipped: {name} cannot be installed: {problem}");
                }
                return None;
            }
            common::durable::write(&ready, b"").unwrap();
        }
        Some(Self { folder })
    }

    /// Path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// A program of the tool, to be run in `folder`, that finds our binaries and its own.
    pub fn command(&self, name: &str, folder: &Path) -> Command {
        let mut command = Command::new(self.program(name));
        let own = crate::support::binary("run-pipeline").parent().unwrap().to_path_buf();
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{}:{path}", self.folder.join("bin").display(), own.display());
        command.current_dir(folder).env("PATH", path).env("HOME", folder).env_remove("LD_LIBRARY_PATH");
        command.env("DVC_NO_ANALYTICS", "1").env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Runs it and demands success.
    #[track_caller]
    pub fn run(&self, name: &str, args: &[&str], folder: &Path) -> String {
        let output = self.command(name, folder).args(args).output().unwrap();
        checked(&output, &format!("{name} {}", args.join(" ")))
    }
}

#[track_caller]
pub fn checked(output: &Output, what: &str) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "`{what}` failed:\n{out}\n{err}");
    out.into_owned()
}
