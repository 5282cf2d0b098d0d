//! TrackNET on events of full size: the hit-density map against NumPy and pandas, tracks from csv and from the cache, and
//! building tracks.
//!
//! `PODIUM_BENCH_PYTHON=venv/bin/python cargo bench --bench tracknet_events -- [EVENTS]` (default 20 simulated events of
//! about 100,000 hits, 300 MB in the temporary folder). The Python side is `benches/python/tracknet_density.py`, the same
//! definition of the map; both maps are compared before the times are printed. Without `PODIUM_BENCH_PYTHON` only our side
//! runs. Rounds of both sides alternate.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use common::stage::Stage;
use neural::loader::Source;
use neural::params::Params;
use tracknet::build::{BuildConfig, build};
use tracknet::dataset::Dataset;
use tracknet::density::{self, Rounding};
use tracknet::event::Hits;
use tracknet::models::{ModelConfig, StepAhead};
use tracknet::normalizer::Normalizer;
use tracknet::simulate::{self, SimulateConfig};
use tracknet::tracks::{Filters, Recipe, Tracks, Transform};
use tracknet::{checkpoint, files, prepare};

const ROUNDS: usize = 3;

fn main() -> anyhow::Result<()> {
    let events: u32 = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir()?;
    let config: SimulateConfig = serde_json::from_value(serde_json::json!({
        "system": "tracknet", "seed": 5, "events": events, "particles": 8000,
    }))?;
    let mut stage = Stage::begin("simulate-data", "tracknet", folder.path(), "", 5, true)?;
    let report = simulate::run(&config, None, &mut stage)?;
    println!("{} events, {} hits an event", report.events, report.hits / report.events);
    let raw = folder.path().join(simulate::RAW);
    let prefixes = files::events(std::slice::from_ref(&raw))?;

    maps(&raw, &prefixes, folder.path())?;
    tracks(&prefixes, folder.path())?;
    building(&prefixes[0])
}

fn maps(raw: &Path, prefixes: &[std::path::PathBuf], folder: &Path) -> anyhow::Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
    let python = std::env::var_os("PODIUM_BENCH_PYTHON");
    for round in 0..ROUNDS {
        let start = Instant::now();
        let ours = pool.install(|| density::map_of(prefixes, 100.0, None, Rounding::Floor))?.0;
        ours.write(&folder.join("map.npz"))?;
        let seconds = start.elapsed().as_secs_f64();
        print!("hit-density, round {round}: podium {seconds:.3} s (two threads)");
        if let Some(python) = &python {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python/tracknet_density.py");
            let run = Command::new(python).arg(script).arg(raw).arg(folder.join("map.npz")).output()?;
            anyhow::ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            let theirs: f64 = String::from_utf8(run.stdout)?.trim().parse()?;
            print!(", NumPy and pandas {theirs:.3} s, ratio {:.1}", theirs / seconds);
        }
        println!();
    }
    Ok(())
}

fn tracks(prefixes: &[std::path::PathBuf], folder: &Path) -> anyhow::Result<()> {
    let recipe = Recipe {
        transforms: vec![Transform::DropRepeatedLayers, Transform::Normalize(Normalizer::default())],
        filters: Filters::published(),
    };
    for round in 0..ROUNDS {
        let start = Instant::now();
        let mut found = 0;
        let mut paths = Vec::new();
        let mut writing = 0.0;
        for (i, prefix) in prefixes.iter().enumerate() {
            let tracks = Tracks::of_event(prefix, None, &recipe)?;
            found += tracks.len();
            let begun = Instant::now();
            paths.push(folder.join(format!("{i}.safetensors")));
            prepare::write(&tracks, &paths[i], &serde_json::json!({ "normalizer": Normalizer::default() }))?;
            writing += begun.elapsed().as_secs_f64();
        }
        let seconds = start.elapsed().as_secs_f64() - writing;
        println!(
            "tracks from csv, round {round}: {found} kept in {seconds:.2} s, {:.0} tracks/s, one thread",
            found as f64 / seconds
        );
        let data = Dataset::open(paths)?;
        let start = Instant::now();
        let (mut hits, mut counts) = (Vec::new(), Vec::new());
        let passes = 20;
        for _ in 0..passes {
            for from in (0..Source::rows(&data)).step_by(32) {
                hits.clear();
                counts.clear();
                let rows: Vec<u64> = (from..(from + 32).min(Source::rows(&data))).collect();
                let mut buffers = [std::mem::take(&mut hits), std::mem::take(&mut counts)];
                data.gather(&rows, &mut buffers)?;
                [hits, counts] = buffers;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "tracks from the cache, round {round}: {:.0} tracks/s in batches of 32, one thread",
            (found * passes) as f64 / seconds
        );
    }
    Ok(())
}

/// One event with trained weights where `PODIUM_BENCH_WEIGHTS` names some, drawn ones otherwise (their spheres are huge).
fn building(prefix: &Path) -> anyhow::Result<()> {
    tch::set_num_threads(1);
    let hits = Hits::read(prefix)?;
    let loaded = std::env::var_os("PODIUM_BENCH_WEIGHTS").map(|p| checkpoint::load(Path::new(&p))).transpose()?;
    let Some(loaded) = loaded else {
        let params = Params::new(tch::Device::Cpu, 1);
        StepAhead::new(&params, &ModelConfig::default())?;
        println!("building tracks: set PODIUM_BENCH_WEIGHTS to trained weights");
        return Ok(());
    };
    for round in 0..ROUNDS {
        let start = Instant::now();
        let built = build(&hits, &loaded.network, &loaded.normalizer, &BuildConfig::default())?;
        println!(
            "building tracks, round {round}: {} tracks of {} candidates in {} hits, {:.2} s, one thread",
            built.tracks,
            built.candidates,
            hits.len(),
            start.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
