//! IceCube's data path on one thread: simulated files to the event store, and events to the tensors of a batch.
//!
//! `cargo bench --bench icecube_data -- 20000` takes 20,000 events. The same events are also turned into tensors the way
//! upstream's data set does it, event by event with fresh arrays, as a plain PyTorch script (`benches/python/icecube_data.py`)
//! where `PODIUM_BENCH_PYTHON` names a Python with numpy, pandas and torch.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use common::stage::Stage;
use icecube::dataset::{EventSource, Events, InputConfig};
use icecube::prepare::config::RawConfig;
use icecube::prepare::{self, PrepareConfig, Sources};
use icecube::sampler;
use icecube::simulate::config::{Batches, Physics};
use icecube::simulate::{self, SimulateConfig};
use neural::loader::Source;

/// Events of a batch.
const BATCH: usize = 32;
/// Alternating repetitions.
const ROUNDS: usize = 5;

#[allow(clippy::print_stdout, reason = "a bench prints its figures")]
fn main() -> anyhow::Result<()> {
    tch::set_num_threads(1);
    let events: u32 = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(20_000);
    let folder = tempfile::tempdir()?;
    let config = SimulateConfig {
        train: vec![],
        test: vec![Batches { first: 661, files: 1, events }],
        physics: Physics::default(),
        ..SimulateConfig::default()
    };
    let mut stage = Stage::begin("simulate-data", "icecube", &folder.path().join("sim"), "", 1, false)?;
    let start = Instant::now();
    let simulated = simulate::run(&config, &simulate::Options { threads: 1, limit: None }, &mut stage)?;
    let seconds = start.elapsed().as_secs_f64();
    let mean = simulated.pulses as f64 / f64::from(events);
    println!("simulate: {events} events, {mean:.1} pulses on average, {:.0} events/s", f64::from(events) / seconds);
    let raw = folder.path().join("sim/raw");

    let events = prepared(&raw, &folder.path().join("data"))?;
    let length = InputConfig::default().length;
    let order = sampler::evaluation(&events, length, BATCH as u64)?.epoch(0)?.rows(0, events.len());
    let source = EventSource::new(Arc::clone(&events), InputConfig::default(), 1);
    let batch = || -> anyhow::Result<f64> {
        let start = Instant::now();
        for rows in order.chunks(BATCH) {
            std::hint::black_box(source.tensors(rows)?);
        }
        Ok(events.len() as f64 / start.elapsed().as_secs_f64())
    };
    batch()?;
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..ROUNDS {
        ours.push(batch()?);
        theirs.extend(python(&raw)?);
    }
    println!("events to tensors at L {length}: podium {:.0} events/s", median(&mut ours));
    if !theirs.is_empty() {
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        println!("  the same in the published way: {theirs:.0} events/s, ratio {:.1}", ours / theirs);
    }
    let start = Instant::now();
    let order = sampler::evaluation(&events, length, BATCH as u64)?;
    println!(
        "length-matched order: {:.2} million events/s ({} batches)",
        events.len() as f64 / start.elapsed().as_secs_f64() / 1e6,
        order.len().div_ceil(BATCH as u64)
    );
    Ok(())
}

#[allow(clippy::print_stdout, reason = "a bench prints its figures")]
fn prepared(raw: &Path, out: &Path) -> anyhow::Result<Arc<Events>> {
    let config =
        PrepareConfig { raw: RawConfig { folder: Some(raw.to_path_buf()) }, train: None, ..PrepareConfig::default() };
    let options = prepare::Options { threads: 1, ..prepare::Options::default() };
    let mut stage = Stage::begin("prepare-data", "icecube", out, "", 1, false)?;
    let memory = common::memory::Peak::start();
    let start = Instant::now();
    let sources = Sources::find(&config, &options)?;
    let report = prepare::run(&options, &sources, &mut stage)?;
    println!(
        "prepare: {:.2} million pulses/s, peak anonymous {:.0} MiB",
        report.pulses as f64 / start.elapsed().as_secs_f64() / 1e6,
        memory.bytes() as f64 / f64::from(1 << 20)
    );
    Ok(Arc::new(Events::test(stage.manifest())?))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Events a second of the other side, where there is a Python for it.
fn python(raw: &Path) -> anyhow::Result<Option<f64>> {
    let Some(python) = std::env::var_os("PODIUM_BENCH_PYTHON") else { return Ok(None) };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python/icecube_data.py");
    let run = Command::new(python).arg(script).arg(raw).env("OMP_NUM_THREADS", "1").output()?;
    anyhow::ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Ok(Some(String::from_utf8_lossy(&run.stdout).trim().parse()?))
}
