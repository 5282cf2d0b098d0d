//! Kernels and readers of PoLAr-MAE, one thread, against others in interleaved repetitions: farthest points against
//! `fpsample` (its bucket variant) and NumPy, suppression by cell list against the plain form, events from HDF5 and from
//! our store against h5py.
//!
//! `PODIUM_BENCH_PYTHON=venv/bin/python cargo bench --bench polarmae_geometry -- [REPETITIONS]` (default 5). Without
//! `PODIUM_BENCH_PYTHON` only our side runs. The Python side is `benches/python/polarmae_geometry.py`.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench prints its figures")]

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use common::seed::rng_for;
use common::store::npy;
use polarmae::dataset::Events;
use polarmae::geometry::{Points, farthest_points, suppress, suppress_plain};
use polarmae::raw::{BLOCK, Layout, RawFile, Selection, Tally};
use polarmae::simulate::{Rates, event};
use rand::RngExt;

fn main() -> anyhow::Result<()> {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    let repetitions: usize = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(5);
    let folder = tempfile::tempdir()?;
    let (small, large) = (cloud(4096), cloud(50_000));
    npy::write_npy(folder.path().join("small.npy"), &[4096, 3], &small)?;
    npy::write_npy(folder.path().join("large.npy"), &[50_000, 3], &large)?;
    let events = write_events(folder.path())?;
    let mut python = Python::start(folder.path())?;
    for (name, rows, count) in [("small", &small, 1024), ("large", &large, 4096)] {
        let points = Points::from_rows(rows, 3);
        let title = format!("{count} farthest of {} points", points.len());
        let ours = || {
            black_box(farthest_points(&points, count, 0));
        };
        compare(&title, "fpsample bucket", repetitions, ours, &mut python, &format!("bucket {name}"))?;
        compare(
            &title,
            "NumPy",
            if count > 2000 { 1 } else { repetitions },
            ours,
            &mut python,
            &format!("numpy {name}"),
        )?;
    }

    let points = largest_event()?;
    let scale = polarmae::transforms::published_scale();
    let (mut cells, mut plain) = (vec![], vec![]);
    for _ in 0..repetitions {
        cells.push(timed(|| black_box(suppress(&points, 5.0 * scale, 0.72, 256)).retained.len()));
        plain.push(timed(|| black_box(suppress_plain(&points, 5.0 * scale, 0.72, 256)).retained.len()));
    }
    report(&format!("suppression of {} points", points.len()), median(cells), "plain form", median(plain));

    let raw = folder.path().join("events.h5");
    let direct = || {
        let file = RawFile::open(&raw, &Layout::default()).unwrap();
        let selection = Selection { min_points: 0, ..Selection::default() };
        for start in (0..file.len()).step_by(BLOCK) {
            let block = start..(start + BLOCK).min(file.len());
            black_box(file.events(block, &selection, |_| true, &mut Tally::default()).unwrap());
        }
    };
    compare(
        &format!("{events} events from HDF5, selected and scaled"),
        "h5py (reading only)",
        repetitions,
        direct,
        &mut python,
        "h5py",
    )?;
    let prepared = prepare(folder.path())?;
    let stored = || {
        let mut total = 0.0;
        let events = Events::open(&prepared).unwrap();
        for i in 0..events.len() {
            let event = events.get(i).unwrap();
            // As training takes them: copied out of the mapped file.
            let copy = event.points.to_vec();
            total += copy[copy.len() / 2] + f32::from(event.semantic[0]);
        }
        black_box(total);
    };
    compare(&format!("{events} events from our store"), "h5py (reading only)", repetitions, stored, &mut python, "h5py")
}

fn cloud(n: usize) -> Vec<f32> {
    let mut rng = rng_for(1, "bench cloud", n as u64);
    (0..3 * n).map(|_| rng.random::<f32>()).collect()
}

fn crowded() -> Rates {
    Rates { interactions: [2, 3], tracks: [3, 5], showers: [2, 3], shower_voxels: [800, 2000], ..Rates::default() }
}

/// The event with most points of a few, in normalised coordinates.
fn largest_event() -> anyhow::Result<Points> {
    let events = (0..8).map(|i| event(&crowded(), &mut rng_for(2, "bench event", i)));
    let rows = events.map(|clusters| {
        let voxels = clusters.into_iter().skip(1).flat_map(|cluster| cluster.voxels);
        voxels
            .flat_map(|v| v.map(|c| (c as f32 - 384.0) * polarmae::transforms::published_scale() as f32))
            .collect::<Vec<_>>()
    });
    let largest = rows.max_by_key(Vec::len).unwrap_or_default();
    Ok(Points::from_rows(&largest, 3))
}

fn write_events(folder: &Path) -> anyhow::Result<u64> {
    use common::store::hdf5::ListWriter;
    let count = 600;
    let mut writer = ListWriter::create(folder.join("events.h5"), &["point"], &["cluster"])?;
    for i in 0..count {
        let (mut points, mut rows) = (vec![], vec![]);
        for (n, cluster) in event(&Rates::default(), &mut rng_for(3, "bench event", i)).iter().enumerate() {
            for (place, &energy) in cluster.voxels.iter().zip(&cluster.energies) {
                points.extend([place[0] as f32, place[1] as f32, place[2] as f32, energy, energy, 0.0, 0.0, 0.3]);
            }
            rows.extend([cluster.voxels.len() as i32, n as i32, 0, 0, cluster.semantic]);
        }
        writer.append_floats("point", &points)?;
        writer.append_integers("cluster", &rows)?;
    }
    writer.finish()?;
    Ok(count)
}

fn prepare(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let raw = folder.join("raw/train");
    std::fs::create_dir_all(&raw)?;
    common::durable::write(raw.join("events.h5"), &std::fs::read(folder.join("events.h5"))?)?;
    let config: polarmae::prepare::PrepareConfig = serde_json::from_value(serde_json::json!({
        "system": "polarmae",
        "raw": folder.join("raw"),
        "sets": { "train": "train", "valid": null },
        "selection": { "min_points": 0 },
    }))?;
    let mut stage = common::stage::Stage::begin("prepare-data", "polarmae", &folder.join("store"), "", 0, true)?;
    polarmae::prepare::run(&config, None, 1, &mut stage)?;
    Ok(vec![folder.join("store/train/events_00000.safetensors")])
}

fn compare(
    title: &str,
    other: &str,
    repetitions: usize,
    mut ours: impl FnMut(),
    python: &mut Option<Python>,
    ask: &str,
) -> anyhow::Result<()> {
    let (mut mine, mut theirs) = (vec![], vec![]);
    for _ in 0..repetitions {
        mine.push(timed(&mut ours));
        if let Some(python) = python {
            theirs.push(python.ask(ask)?);
        }
    }
    match theirs.is_empty() {
        true => println!("{title}: podium {:.2} ms", 1e3 * median(mine)),
        false => report(title, median(mine), other, median(theirs)),
    }
    Ok(())
}

fn report(title: &str, ours: f64, other: &str, theirs: f64) {
    println!("{title}: podium {:.2} ms, {other} {:.2} ms, ratio {:.2}", 1e3 * ours, 1e3 * theirs, theirs / ours);
}

fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let begun = Instant::now();
    black_box(work());
    begun.elapsed().as_secs_f64()
}

/// The machine may be busy: the middle of the repetitions.
fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

struct Python {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Python {
    fn start(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(python) = std::env::var_os("PODIUM_BENCH_PYTHON") else { return Ok(None) };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python/polarmae_geometry.py");
        let mut child =
            Command::new(python).arg(script).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let input = input.ok_or_else(|| anyhow::anyhow!("no pipe"))?;
        let output = BufReader::new(output.ok_or_else(|| anyhow::anyhow!("no pipe"))?);
        Ok(Some(Self { child, input, output }))
    }

    fn ask(&mut self, what: &str) -> anyhow::Result<f64> {
        writeln!(self.input, "{what}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
