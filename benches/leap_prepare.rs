//! netCDF files to normalised arrays of both chains against netCDF4-python and NumPy, on the same files, with peak
//! anonymous memory; and what it costs to know where rows are and which is the step before each (all other inputs of
//! networks beyond the arrays are made where the batch lies).
//!
//! `PODIUM_BENCH_PYTHON=venv/bin/python cargo bench --bench leap_prepare -- [STEPS]` (default 216 steps of 384 columns, that is 3 days;
//! 0.65 GB of CDF-5 files in the temporary folder). Without `PODIUM_BENCH_PYTHON` only our side runs. The Python side is
//! `benches/python/leap_prepare.py`; it reads each file once and computes the same arrays, which are compared.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use common::stage::Stage;
use leap::norm::{Chain, Constants};
use leap::prepare::config::{RawConfig, TrainSource};
use leap::prepare::{self, Options, PrepareConfig, Sources};
use leap::raw::month::Months;
use leap::simulate;
use leap::simulate::config::{Format, MonthPlan, SimulateConfig};

fn main() -> anyhow::Result<()> {
    let steps: u64 = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(216);
    let folder = tempfile::tempdir()?;
    for format in [Format::Cdf5, Format::Netcdf4] {
        let raw = folder.path().join(format!("{format:?}"));
        write_raw(&raw, steps, format)?;
        for threads in [1, 2] {
            // Alternating, so that a busy machine is busy for both.
            for (round, previous) in [("first", false), ("first", true), ("second", true), ("second", false)] {
                let (seconds, peak) = ours(&raw.join("raw"), &folder.path().join("out"), threads, previous)?;
                let inputs = if previous { "with the step before" } else { "plain" };
                println!(
                    "{format:?} podium, {inputs}, {threads} threads, {round} pass: {steps} steps in {seconds:.2} s, {:.1} steps/s, peak anonymous {:.0} MiB",
                    steps as f64 / seconds,
                    peak as f64 / f64::from(1 << 20)
                );
            }
        }
        if let Some(python) = std::env::var_os("PODIUM_BENCH_PYTHON") {
            constants(folder.path())?;
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python/leap_prepare.py");
            let run = Command::new(python)
                .arg(script)
                .arg(raw.join("raw/train"))
                .arg(folder.path())
                .arg(folder.path().join("out"))
                .output()?;
            anyhow::ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            print!("{format:?} {}", String::from_utf8_lossy(&run.stdout));
        }
    }
    Ok(())
}

fn write_raw(folder: &Path, steps: u64, format: Format) -> anyhow::Result<()> {
    let days = u32::try_from(steps.div_ceil(72))?;
    let config = SimulateConfig {
        columns: 384,
        months: vec![MonthPlan { months: Months::of(&["0001-03"]), days: Some(days), step_stride: 1 }],
        format,
        kaggle: None,
        ..SimulateConfig::default()
    };
    let mut stage = Stage::begin("simulate-data", "leap", folder, "", 1, true)?;
    simulate::run(&config, &simulate::Options { threads: 2, limit: Some(steps) }, &mut stage)?;
    Ok(())
}

/// Seconds and peak anonymous bytes of preparing all files.
fn ours(raw: &Path, out: &Path, threads: usize, previous: bool) -> anyhow::Result<(f64, u64)> {
    if out.exists() {
        std::fs::remove_dir_all(out)?;
    }
    let config = PrepareConfig {
        raw: RawConfig { climsim: Some(raw.to_path_buf()), kaggle: None, grid: None },
        train: Some(TrainSource::Netcdf { months: Months::of(&["0001-03"]), stride: 1 }),
        valid: None,
        test: None,
        previous,
        ..PrepareConfig::default()
    };
    let options = Options { threads, ..Options::default() };
    let mut stage = Stage::begin("prepare-data", "leap", out, "", 1, true)?;
    let memory = common::memory::Peak::start();
    let start = Instant::now();
    let sources = Sources::find(&config, &options)?;
    prepare::run(&config, &options, &sources, &mut stage)?;
    Ok((start.elapsed().as_secs_f64(), memory.bytes()))
}

/// What the Python side needs, as raw doubles: per chain 556 + 556 + 368 + 368 numbers, then 368 weights; training order.
fn constants(folder: &Path) -> anyhow::Result<()> {
    for chain in [Chain::A, Chain::B] {
        let c = Constants::published(chain)?;
        let all = [&c.input_mean, &c.input_std, &c.target_mean, &c.target_std, &c.weight];
        let bytes: Vec<u8> = all.into_iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
        common::durable::write(folder.join(format!("{chain}.f64")), &bytes)?;
    }
    Ok(())
}
