//! TrackNET on events of full size: the hit-density map against NumPy and pandas, tracks from csv and from the cache, an
//! epoch of training, building and fitting tracks, and how that scales with cores.
//!
//! `PODIUM_BENCH_PYTHON=venv/bin/python cargo bench --bench tracknet_events -- [EVENTS]` (default 20 simulated events of
//! about 100,000 hits, 300 MB in the temporary folder). The Python side is `benches/python/tracknet_density.py`, the same
//! definition of the map; both maps are compared before the times are printed. Without `PODIUM_BENCH_PYTHON` only our side
//! runs. Rounds of both sides alternate. Python's time is given twice: of the work alone, without start and imports, and of
//! the whole command, against `hit-density` as a command.
//!
//! The epoch is one of the published config over as many cached files as 90 events have, the same 20 again and again. The
//! tracks are built with weights from one more epoch of `published/simulated.yaml`, or those of `PODIUM_BENCH_WEIGHTS`.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use common::stage::Stage;
use common::store::tables::{Column, ColumnKind, read_csv};
use neural::loader::Source;
use neural::trainer::{Options, Resume};
use tracknet::build::{BuildConfig, build};
use tracknet::dataset::Dataset;
use tracknet::density::{self, Rounding};
use tracknet::event::Hits;
use tracknet::normalizer::Normalizer;
use tracknet::predict::{PredictConfig, submission};
use tracknet::simulate::{self, SimulateConfig};
use tracknet::tracker::conditions::Conditions;
use tracknet::tracker::fitted;
use tracknet::tracks::{Filters, Recipe, Tracks, Transform};
use tracknet::train::{self, TrainConfig};
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

    readers(&prefixes)?;
    maps(&raw, &prefixes, folder.path())?;
    tracks(&prefixes, folder.path())?;
    tch::set_num_threads(1);
    neural::memory::for_long_runs();
    epoch("step_ahead.yaml", &["training.epochs=1", "hit_density_stats_path=null"], folder.path(), prefixes.len())?;
    let weights = match std::env::var_os("PODIUM_BENCH_WEIGHTS") {
        Some(path) => PathBuf::from(path),
        None => {
            let short = ["training.epochs=1", "training.schedule.cosine_restarts.t_0=1"];
            epoch("simulated.yaml", &short, folder.path(), prefixes.len())?
        }
    };
    building(&prefixes, &weights, folder.path())
}

/// The places of all hits: the reader of TrackML's files beside the one of all tables, one thread each.
fn readers(prefixes: &[PathBuf]) -> anyhow::Result<()> {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let hits = |prefix: &PathBuf| PathBuf::from(format!("{}-hits.csv", prefix.display()));
    for round in 0..ROUNDS {
        let start = Instant::now();
        let mut sum = 0.0_f64;
        for prefix in prefixes {
            sum += tracknet::csv::read_points(&hits(prefix), ["x", "y", "z"])?
                .iter()
                .map(|p| f64::from(p[0]))
                .sum::<f64>();
        }
        let ours = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let schema = ["x", "y", "z"].map(|name| (name, ColumnKind::F32));
        let mut other = 0.0_f64;
        for prefix in prefixes {
            let table = one.install(|| read_csv(hits(prefix), &schema))?;
            let Column::F32(x) = &table.columns()[0] else { anyhow::bail!("a column of another kind") };
            other += x.iter().map(|x| f64::from(*x)).sum::<f64>();
        }
        let tables = start.elapsed().as_secs_f64();
        anyhow::ensure!((sum - other).abs() <= 1e-6 * sum.abs().max(1.0), "{sum} and {other}");
        println!(
            "places of hits, round {round}: {ours:.3} s, by the reader of all tables {tables:.3} s; ratio {:.1}",
            tables / ours
        );
    }
    Ok(())
}

fn maps(raw: &Path, prefixes: &[PathBuf], folder: &Path) -> anyhow::Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
    let python = std::env::var_os("PODIUM_BENCH_PYTHON");
    let map = folder.join("map.npz");
    for round in 0..ROUNDS {
        let start = Instant::now();
        pool.install(|| density::map_of(prefixes, 100.0, None, Rounding::Floor))?.0.write(&map)?;
        let work = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let command = Command::new(env!("CARGO_BIN_EXE_hit-density"))
            .args(["-q", "--threads", "2", "--data-dir"])
            .arg(raw)
            .arg("--output")
            .arg(&map)
            .output()?;
        anyhow::ensure!(command.status.success(), "{}", String::from_utf8_lossy(&command.stderr));
        let whole = start.elapsed().as_secs_f64();
        print!("hit-density, round {round}: podium {work:.3} s, as a command {whole:.3} s (two threads)");
        if let Some(python) = &python {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python/tracknet_density.py");
            let start = Instant::now();
            let run = Command::new(python).arg(script).arg(raw).arg(&map).output()?;
            let their_whole = start.elapsed().as_secs_f64();
            anyhow::ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            let theirs: f64 = String::from_utf8(run.stdout)?.trim().parse()?;
            print!(
                "; NumPy and pandas {theirs:.3} s, as a command {their_whole:.3} s; ratios {:.1} and {:.1}",
                theirs / work,
                their_whole / whole
            );
        }
        println!();
    }
    Ok(())
}

fn tracks(prefixes: &[PathBuf], folder: &Path) -> anyhow::Result<()> {
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

/// Files of a training set of the published size.
const TRAINING_EVENTS: usize = 90;

/// One epoch of a config over 90 cached events; gives its weights.
fn epoch(config: &str, more: &[&str], folder: &Path, events: usize) -> anyhow::Result<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/tracknet/published").join(config);
    let overrides: Vec<String> = more.iter().map(ToString::to_string).collect();
    let config = common::config::load::<TrainConfig>(Some(&file), &overrides)?.value;
    let paths = (0..TRAINING_EVENTS).map(|i| folder.join(format!("{}.safetensors", i % events))).collect();
    let (data, valid) = (Dataset::open(paths)?, Dataset::open(vec![folder.join("0.safetensors")])?);
    let (tracks, normalizer) = (data.rows(), data.normalizer());
    let run = folder.join(&config.member);
    std::fs::create_dir_all(&run)?;
    let options = Options {
        folder: run,
        device: tch::Device::Cpu,
        resume: Resume::Never,
        max_steps: None,
        initial: None,
        observer: None,
    };
    let start = Instant::now();
    let trained = train::train(&config, "bench", (Arc::new(data), Arc::new(valid)), normalizer, options)?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "an epoch of {}, batches of {}: {tracks} tracks of {TRAINING_EVENTS} events in {seconds:.1} s, {:.0} tracks/s, one thread",
        config.member,
        config.training.batch_size,
        tracks as f64 / seconds
    );
    Ok(trained.model)
}

/// Builds and fits the tracks of one event on one core, and those of four events on one and on two.
fn building(prefixes: &[PathBuf], weights: &Path, folder: &Path) -> anyhow::Result<()> {
    let hits = Hits::read(&prefixes[0])?;
    let loaded = checkpoint::load(weights)?;
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    for round in 0..ROUNDS {
        let start = Instant::now();
        let built = build(&hits, &loaded.network, &loaded.normalizer, &BuildConfig::default())?;
        let building = start.elapsed().as_secs_f64();
        let points = fitted::points(&hits, &built.submission)?;
        let rows = one.install(|| fitted::rows(0, &points, &Conditions::ACCURACY));
        println!(
            "building and fitting tracks, round {round}: {} tracks of {} candidates in {} hits, {building:.2} s, {} of them fitted, \
             {:.2} s in all, one thread",
            built.tracks,
            built.candidates,
            hits.len(),
            rows.iter().filter(|row| row.fit.is_some()).count(),
            start.elapsed().as_secs_f64()
        );
    }
    let config = PredictConfig { fit: true, ..PredictConfig::default() };
    let events = &prefixes[..prefixes.len().min(4)];
    for round in 0..ROUNDS {
        let mut seconds = [0.0; 2];
        for (threads, seconds) in (1..=2).zip(&mut seconds) {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
            let start = Instant::now();
            pool.install(|| submission(weights, &config, events, &folder.join("submission.csv")))?;
            *seconds = start.elapsed().as_secs_f64();
        }
        println!(
            "{} events read, built, fitted and written, round {round}: {:.2} s on one core, {:.2} s on two, scaling {:.2}",
            events.len(),
            seconds[0],
            seconds[1],
            seconds[0] / seconds[1]
        );
    }
    Ok(())
}
