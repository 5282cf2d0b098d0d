//! How long each binary takes to answer: `--version`, `--help` (which builds the whole argument parser), a mistake in the
//! arguments, and `--print-config` and a mistake in a config of `train-model`; median of many runs, against `python -c pass` and, where the Python has it, `python -c "import torch"`.
//!
//! `PODIUM_BENCH_PYTHON=/path/to/python cargo bench --bench startup -- [RUNS]` (default 31)
#![allow(clippy::print_stdout)]

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::Instant;

const BINARIES: [(&str, &str); 9] = [
    ("convert-weights", env!("CARGO_BIN_EXE_convert-weights")),
    ("finetune-group", env!("CARGO_BIN_EXE_finetune-group")),
    ("hill-climb", env!("CARGO_BIN_EXE_hill-climb")),
    ("predict", env!("CARGO_BIN_EXE_predict")),
    ("prepare-data", env!("CARGO_BIN_EXE_prepare-data")),
    ("run-pipeline", env!("CARGO_BIN_EXE_run-pipeline")),
    ("score", env!("CARGO_BIN_EXE_score")),
    ("simulate-data", env!("CARGO_BIN_EXE_simulate-data")),
    ("train-model", env!("CARGO_BIN_EXE_train-model")),
];

fn main() {
    let runs = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(31);
    println!("{:24}{:>14}{:>12}{:>12}", "binary", "--version", "--help", "mistake");
    for (name, path) in BINARIES {
        let [version, help, mistake] = [("--version", 0), ("--help", 0), ("--no-such-flag", 2)]
            .map(|(asked, code)| shown(median_ms(runs, path.as_ref(), &[asked], code)));
        println!("{name:24}{version:>11} ms{help:>9} ms{mistake:>9} ms");
    }
    let train = env!("CARGO_BIN_EXE_train-model");
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/leap/adam/exp195.yaml");
    for (asked, code) in [("--print-config", 0), ("no.such.key=1", 2)] {
        let taken = shown(median_ms(runs, train.as_ref(), &[config, asked], code));
        println!("train-model {asked:16}{taken:>7} ms");
    }
    let python = std::env::var_os("PODIUM_BENCH_PYTHON").unwrap_or_else(|| "python3".into());
    println!("{:24}{:>11} ms", "python -c pass", shown(median_ms(runs, &python, &["-c", "pass"], 0)));
    let torch = median_ms(runs.min(5), &python, &["-c", "import torch"], 0);
    println!("{:24}{:>11} ms", "python -c import torch", shown(torch));
}

fn shown(milliseconds: Option<f64>) -> String {
    milliseconds.map_or("-".into(), |ms| format!("{ms:.1}"))
}

/// Median wall time of a command in milliseconds; none where it does not end with `code`.
fn median_ms(runs: usize, program: &std::ffi::OsStr, arguments: &[&str], code: i32) -> Option<f64> {
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let mut times = Vec::with_capacity(runs);
    for _ in 0..=runs {
        let started = Instant::now();
        let status = Command::new(program).args(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !status.is_ok_and(|s| s.code() == Some(code)) {
            return None;
        }
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.remove(0); // the first run reads the program from disk
    times.sort_by(f64::total_cmp);
    Some(times[times.len() / 2])
}
