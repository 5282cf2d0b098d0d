//! `run-pipeline` against `sh`, dvc and snakemake: a chain of trivial stages, first run and nothing to do; and two
//! independent stages side by side.
//!
//! `cargo bench --bench pipeline -- [STAGES] [ROUNDS]` (100 and 3). All engines take turns in every round; the figures are
//! medians. dvc and snakemake are those that `cargo test --test pipeline` installs; what is missing is left out.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use common::durable;

const RUNNER: &str = env!("CARGO_BIN_EXE_run-pipeline");

fn main() -> anyhow::Result<()> {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (stages, rounds) = (numbers.first().copied().unwrap_or(100), numbers.get(1).copied().unwrap_or(3));
    let (dvc, snakemake) = (tool("dvc-3.67.1", "dvc"), tool("snakemake-9.27.1", "snakemake"));
    let mut times = Times::default();
    for _ in 0..rounds.max(1) {
        let folder = chain(stages)?;
        times.add("sh, one shell a stage", timed("sh", &["all.sh"], folder.path())?);
        let folder = chain(stages)?;
        times.add("run-pipeline, first run", timed(RUNNER, &["-q"], folder.path())?);
        times.add("run-pipeline, nothing to do", timed(RUNNER, &["-q"], folder.path())?);
        let lock = std::fs::read(folder.path().join("dvc.lock"))?;
        times.add("as many durable writes of the lock", writes(stages, &lock, folder.path())?);
        if let Some(snakemake) = &snakemake {
            let folder = chain(stages)?;
            timed(RUNNER, &["-q", "--export", "snakemake", "--out", "Snakefile"], folder.path())?;
            let run = || timed(snakemake, &["--cores", "1", "--quiet", "all"], folder.path());
            times.add("snakemake, first run", run()?);
            times.add("snakemake, nothing to do", run()?);
        }
        if let Some(dvc) = &dvc {
            let folder = chain(stages)?;
            timed(dvc, &["init", "-q", "--no-scm"], folder.path())?;
            let run = || timed(dvc, &["repro", "-q"], folder.path());
            times.add("dvc, first run", run()?);
            times.add("dvc, nothing to do", run()?);
        }
        for (name, count) in [("one sleep of 2 s", 1), ("two sleeps of 2 s, -j 2", 2)] {
            let folder = sleeps(count)?;
            times.add(name, timed(RUNNER, &["-q", "-j", "2"], folder.path())?);
        }
    }
    times.print();
    Ok(())
}

/// Seconds by name, in the order in which the names came.
#[derive(Default)]
struct Times(Vec<(&'static str, Vec<f64>)>);

impl Times {
    fn add(&mut self, name: &'static str, seconds: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, times)) => times.push(seconds),
            None => self.0.push((name, vec![seconds])),
        }
    }

    fn median(&self, name: &str) -> Option<f64> {
        let mut times = self.0.iter().find(|(known, _)| *known == name)?.1.clone();
        times.sort_by(f64::total_cmp);
        Some(times[times.len() / 2])
    }

    fn print(&self) {
        for (name, _) in &self.0 {
            println!("{name:36}{:>9.3} s", self.median(name).unwrap_or(f64::NAN));
        }
        let of = |name| self.median(name).unwrap_or(f64::NAN);
        let goal = 2.0 * of("sh, one shell a stage") + of("as many durable writes of the lock");
        println!("first run: {:.2} of the goal (2 x sh + the lock writes)", of("run-pipeline, first run") / goal);
        for engine in ["snakemake", "dvc"] {
            let (first, idle) = (format!("{engine}, first run"), format!("{engine}, nothing to do"));
            if let (Some(first), Some(idle)) = (self.median(&first), self.median(&idle)) {
                let (ours, still) = (of("run-pipeline, first run"), of("run-pipeline, nothing to do"));
                println!("{engine}: first run {:.1} x, nothing to do {:.0} x", first / ours, idle / still);
            }
        }
        println!("-j 2: {:.2} of one sleep", of("two sleeps of 2 s, -j 2") / of("one sleep of 2 s"));
    }
}

/// A program that the tests of the pipeline installed.
fn tool(name: &str, program: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let path = cache.join("podium/tools").join(name).join("bin").join(program);
    if !path.exists() {
        println!("{program}: not measured; `cargo test --test pipeline` installs it");
        return None;
    }
    Some(path)
}

/// Every stage reads the file of the one before. The same commands as a script.
fn chain(stages: usize) -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let (mut pipeline, mut script) = (String::from("stages:\n"), String::new());
    for n in 0..stages {
        let (from, deps) = match n {
            0 => (String::new(), String::new()),
            n => (format!("cat f{}.txt > f{n}.txt; ", n - 1), format!("    deps: [f{}.txt]\n", n - 1)),
        };
        let command = format!("{from}echo {n} >> f{n}.txt");
        pipeline += &format!("  s{n}:\n    cmd: {command}\n{deps}    outs: [f{n}.txt: {{cache: false}}]\n");
        script += &format!("sh -c '{command}'\n");
    }
    durable::write(folder.path().join("dvc.yaml"), pipeline.as_bytes())?;
    durable::write(folder.path().join("all.sh"), script.as_bytes())?;
    Ok(folder)
}

fn sleeps(count: usize) -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let stage = |n| format!("  s{n}:\n    cmd: sleep 2; echo > {n}.txt\n    outs: [{n}.txt: {{cache: false}}]\n");
    let text: String = (0..count).map(stage).collect();
    durable::write(folder.path().join("dvc.yaml"), format!("stages:\n{text}").as_bytes())?;
    Ok(folder)
}

fn timed(program: impl AsRef<Path>, arguments: &[&str], folder: &Path) -> anyhow::Result<f64> {
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("SHELL", "/bin/sh").env("DVC_NO_ANALYTICS", "1");
    // Snakemake and dvc look for their own programs in PATH.
    if let Some(own) = program.parent().filter(|own| own.is_absolute()) {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", own.display())).env("HOME", folder).env_remove("LD_LIBRARY_PATH");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let started = Instant::now();
    let output = command.output()?;
    let seconds = started.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{} {}: {text}", program.display(), arguments.join(" "));
    Ok(seconds)
}

/// The lock grows from nothing to its full length in as many writes as there are stages.
fn writes(stages: usize, lock: &[u8], folder: &Path) -> anyhow::Result<f64> {
    let started = Instant::now();
    for n in 1..=stages {
        durable::write(folder.join("written"), &lock[..lock.len() * n / stages])?;
    }
    Ok(started.elapsed().as_secs_f64())
}
