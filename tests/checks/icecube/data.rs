//! Raw files to tensors: sensors, preparation, event counts, samplers, choice of pulses.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use common::stage::{Manifest, Stage};
use icecube::dataset::{Buffers, EventSource, Events, InputConfig, Lengths};
use icecube::nevents::{self, Nevents};
use icecube::prepare::config::RawConfig;
use icecube::prepare::{self, Options, PrepareConfig, Sources};
use icecube::sampler::{chunk_random, length_matched};
use icecube::selection::published;
use icecube::sensors::{IceProfile, IceTable, Sensors};
use neural::loader::Source;
use neural::replay::TorchRandom;
use tch::{Kind, Tensor};

use crate::checks::{Case, Comparison, Tensors, compare_absolute, equal_lists};

/// Names of the tensors of a batch, in the order in which the data set gives them.
const NAMES: [&str; 11] =
    ["pos", "time", "charge", "auxiliary", "qe", "ice_properties", "mask", "sensor_id", "L0", "idx", "target"];

/// A prepared folder that vanishes with the check.
pub struct Prepared {
    pub folder: tempfile::TempDir,
    pub manifest: Manifest,
}

impl Prepared {
    /// Prepares a raw folder with the code of `prepare-data`.
    pub fn of(raw: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = PrepareConfig { raw: RawConfig { folder: Some(raw.to_path_buf()) }, ..PrepareConfig::default() };
        let options = Options { threads: 1, ..Options::default() };
        let sources = Sources::find(&config, &options)?;
        let mut stage = Stage::begin("prepare-data", "icecube", folder.path(), "", 1, false)?;
        prepare::run(&options, &sources, &mut stage)?;
        let manifest = stage.manifest().clone();
        Ok(Self { folder, manifest })
    }

    /// The training events of all files but the published validation files.
    pub fn training(&self, lengths: Lengths) -> Result<Arc<Events>> {
        Ok(Arc::new(Events::training(&self.manifest, &icecube::dataset::published_validation(), lengths)?))
    }
}

/// The raw folder of a case: `inputs` begins with it, or with a file in it.
fn raw_of(case: &Case) -> Result<PathBuf> {
    let first = match case.strings("inputs") {
        Ok(list) => list.first().context("`inputs` is empty")?.clone(),
        Err(_) => case.str("inputs")?.to_string(),
    };
    let path = case.path(first.split_whitespace().next().unwrap_or_default());
    if path.is_dir() {
        return Ok(path);
    }
    Ok(path.parent().with_context(|| format!("`{}` is in no folder", path.display()))?.to_path_buf())
}

/// The sensor table exactly, the ice table within its tolerance.
pub fn sensors_ice(case: &Case) -> Result<()> {
    let raw = raw_of(case)?;
    let (geometry, ice) = (raw.join("sensor_geometry.csv"), raw.join("ice_transparency.txt"));
    let sensors = Sensors::read(&geometry, &ice)?;
    let expected = case.tensors("expected.safetensors")?;
    equal_lists("geometry", &sensors.positions.concat(), &expected.f32s("geometry")?)?;
    let qe: Vec<i64> = sensors.efficiency.iter().map(|&qe| i64::from(qe)).collect();
    equal_lists("qe", &qe, &expected.i64s("qe")?)?;
    let table = IceTable::read(&ice)?;
    let mut all = Comparison::new();
    for (place, name) in ["scattering", "absorption"].into_iter().enumerate() {
        let (centre, scale) = table.scaling[place];
        all.number(&format!("{name} centre"), centre, case.f64(&format!("robust_scaler.{name}.center"))?, 1e-12);
        all.number(&format!("{name} scale"), scale, case.f64(&format!("robust_scaler.{name}.scale"))?, 1e-12);
        let found: Option<Vec<f32>> =
            expected.f32s("z_query")?.iter().map(|&z| table.at(z).map(|at| at[place])).collect();
        let found = Tensor::from_slice(&found.context("a height outside of the table")?);
        let tolerance = case.f64(&format!("tolerance.{name}"))?;
        all.add(compare_absolute(name, &found, &expected.get(name)?, tolerance));
    }
    // In units of 500 m: no table reaches so far.
    ensure!(table.at(-10.0).is_none() && table.at(10.0).is_none(), "heights outside of the table have no ice");
    all.finish()
}

/// Integers and masks exactly, floats within 1e-6.
fn compare_batch(prefix: &str, found: &[Tensor], expected: &Tensors) -> Result<()> {
    let mut all = Comparison::new();
    for (name, found) in NAMES.iter().zip(found) {
        let want = expected.get(&format!("{prefix}{name}"))?;
        let exact = want.kind() != Kind::Float;
        ensure!(found.kind() == want.kind(), "`{name}` is {:?}, expected {:?}", found.kind(), want.kind());
        all.add(compare_absolute(name, found, &want, if exact { 0.0 } else { 1e-6 }));
    }
    let missing = expected.names().filter_map(|name| name.strip_prefix(prefix)).find(|name| {
        let known = NAMES.iter().position(|known| known == name);
        known.is_none_or(|place| place >= found.len()) && !name.contains('.') && *name != "batches"
    });
    ensure!(missing.is_none(), "the batch lacks `{}`", missing.unwrap_or_default());
    all.finish()
}

fn indices(case: &Case, key: &str) -> Result<Vec<u64>> {
    Ok(case.i64s(key)?.into_iter().map(|i| i as u64).collect())
}

/// Raw parquet to padded tensors, training or test files.
pub fn preprocess(case: &Case) -> Result<()> {
    let prepared = Prepared::of(&raw_of(case)?)?;
    let training = case.find("config.mode").is_some();
    let events =
        if training { prepared.training(Lengths::Total)? } else { Arc::new(Events::test(&prepared.manifest)?) };
    equal_lists("chunks", &events.chunks(), &indices(case, "chunks")?)?;
    if training {
        let names: Vec<String> = events.names().map(|name| format!("{name}.parquet")).collect();
        equal_lists("files", &names, &case.strings("files_in_order")?)?;
        // `dataset_length_with_reduce_size_0_125: 5`
        let keys: Vec<&String> = case.yaml.as_object().into_iter().flat_map(|map| map.keys()).collect();
        for key in keys.into_iter().filter(|key| key.starts_with("dataset_length_with_reduce_size_")) {
            let share: f64 = key.trim_start_matches("dataset_length_with_reduce_size_").replace('_', ".").parse()?;
            let (reduced, want) = ((share * events.len() as f64).floor() as u64, case.usize(key)? as u64);
            ensure!(reduced == want, "{reduced} events are a share of {share}, expected {want}");
        }
    }
    let input = InputConfig { length: case.usize("config.L")?, ..InputConfig::default() };
    let source = EventSource::new(events, input, 1).padded();
    let batch = source.tensors(&indices(case, "dataset_indices")?)?;
    compare_batch("", &batch, &case.tensors("expected.safetensors")?)
}

/// The kept pulses for torch's permutations, and the tensors that they become.
pub fn pulse_selection(case: &Case) -> Result<()> {
    let prepared = Prepared::of(&raw_of(case)?)?;
    let events = prepared.training(Lengths::Total)?;
    let expected = case.tensors("expected.safetensors")?;
    let listed = case.value("events")?.as_array().context("no events")?.clone();
    ensure!(!listed.is_empty(), "no events");
    for entry in listed {
        let number = |key: &str| entry[key].as_u64().with_context(|| format!("no `{key}`"));
        let name = entry["name"].as_str().context("no name")?;
        let (length, n) = (number("L")? as usize, number("n_pulses")? as usize);
        let event = events.event(number("dataset_index")?)?;
        ensure!(event.pulses.sensor.len() == n, "{name}: {} pulses, expected {n}", event.pulses.sensor.len());
        let permutation = TorchRandom::new(number("manual_seed")?).permutation(n);
        equal_lists(&format!("{name}.perm"), &as_i64(&permutation), &expected.i64s(&format!("{name}.perm"))?)?;
        let mut kept = Vec::new();
        published(&permutation, event.pulses.sensor, length, &mut kept);
        kept.sort_unstable();
        equal_lists(&format!("{name}.selected"), &as_i64(&kept), &expected.i64s(&format!("{name}.selected"))?)?;
        let hlc = kept.iter().filter(|&&i| event.pulses.sensor[i as usize] >= 0).count() as u64;
        ensure!(hlc == number("selected_non_aux")?, "{name}: {hlc} pulses are not auxiliary");
        let sensors = events.sensors();
        let mut batch = Buffers::new(1, length, false);
        batch.fill(0, &event, &kept, sensors, sensors.ice(IceProfile::Published));
        // Without L0 and idx, which the case does not hold.
        let tensors: Vec<Tensor> = batch.tensors()?.into_iter().take(8).map(|t| t.squeeze_dim(0)).collect();
        let mut all = Comparison::new();
        for (part, found) in NAMES.iter().zip(&tensors) {
            let want = expected.get(&format!("{name}.{part}"))?;
            let tolerance = if want.kind() == Kind::Float { 1e-6 } else { 0.0 };
            all.add(compare_absolute(&format!("{name}.{part}"), found, &want, tolerance));
        }
        all.finish()?;
    }
    Ok(())
}

fn as_i64(values: &[u32]) -> Vec<i64> {
    values.iter().map(|&v| i64::from(v)).collect()
}

/// Orders and batches from given generator seeds.
pub fn samplers(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    for config in case.value("configs")?.as_array().context("no configs")? {
        let name = config["name"].as_str().context("no name")?;
        let number = |key: &str| config[key].as_u64().with_context(|| format!("{name}: no `{key}`"));
        let chunks: Vec<u64> =
            config["chunks"].as_array().context("no chunks")?.iter().filter_map(serde_json::Value::as_u64).collect();
        let limit = number("num_samples")?;
        let share = config["reduce_size"].as_f64().context("no reduce_size")?;
        let total: u64 = chunks.iter().sum();
        let visited = if share > 0.0 { (share * total as f64).floor() as u64 } else { total };
        ensure!(visited == limit, "{name}: {visited} samples, expected {limit}");
        let order = match config["generator_seed"].as_u64() {
            Some(seed) => chunk_random(&chunks, limit, &mut TorchRandom::new(seed)),
            None => (0..limit).collect(),
        };
        equal_lists(&format!("{name}.order"), &signed(&order), &expected.i64s(&format!("{name}.order"))?)?;
        let lengths = expected.i64s(&format!("{name}.lengths"))?;
        let size = number("batch_size")? as usize;
        let drop_last = config["drop_last"].as_bool().context("no drop_last")?;
        let (batches, sizes) = length_matched(
            order,
            |event| lengths[event as usize] as usize,
            number("max_len")? as usize,
            size,
            drop_last,
        );
        equal_lists(&format!("{name}.batches"), &signed(&batches), &expected.i64s(&format!("{name}.batches"))?)?;
        let sizes: Vec<i64> = sizes.into_iter().map(|n| n as i64).collect();
        equal_lists(&format!("{name}.batch_sizes"), &sizes, &expected.i64s(&format!("{name}.batch_sizes"))?)?;
        let declared = if drop_last { limit as usize / size } else { (limit as usize).div_ceil(size) };
        ensure!(declared as u64 == number("declared_len")?, "{name}: {declared} batches declared");
    }
    let implicit = case.tensors("implicit_seed.safetensors")?;
    let drawn = TorchRandom::new(case.usize("implicit_seed.global_seed")? as u64).random_i64();
    equal_lists("drawn_seed", &[drawn], &implicit.i64s("drawn_seed")?)?;
    let chunks = indices(case, "implicit_seed.chunks")?;
    let order = chunk_random(&chunks, chunks.iter().sum(), &mut TorchRandom::new(drawn as u64));
    equal_lists("implicit order", &signed(&order), &implicit.i64s("order")?)
}

fn signed(values: &[u64]) -> Vec<i64> {
    values.iter().map(|&v| v as i64).collect()
}

/// Files to training batches, and the events of each length.
pub fn train_batches(case: &Case) -> Result<()> {
    let prepared = Prepared::of(&raw_of(case)?)?;
    let events = prepared.training(Lengths::Total)?;
    let expected = case.tensors("expected.safetensors")?;
    let limit = (case.f64("config.reduce_size")? * events.len() as f64).floor() as u64;
    let seed = case.usize("config.generator_seed")? as u64;
    let order = chunk_random(&events.chunks(), limit, &mut TorchRandom::new(seed));
    let (length, size) = (case.usize("config.L")?, case.usize("config.BS")?);
    let drop_last = case.bool("config.drop_last")?;
    let (batches, _) = length_matched(order, |event| events.pulses(event), length, size, drop_last);
    equal_lists("batches", &signed(&batches), &expected.i64s("batches")?)?;
    let source = EventSource::new(events, InputConfig { length, ..InputConfig::default() }, 1).padded();
    let stored = (0..).take_while(|place| expected.has(&format!("batch{place}.pos"))).count();
    ensure!(stored > 0, "no batches");
    for (place, batch) in batches.chunks(size).take(stored).enumerate() {
        compare_batch(&format!("batch{place}."), &source.tensors(batch)?, &expected)?;
    }
    let selections: serde_json::Value = serde_json::from_str(&case.text("selections.json")?)?;
    for (name, lengths) in [("short", Lengths::Short), ("medium", Lengths::Medium), ("long", Lengths::Long)] {
        let Some(want) = selections.get(name) else { continue };
        let list = |key: &str| -> Result<Vec<i64>> {
            let items = want[key].as_array().with_context(|| format!("{name}: no `{key}`"))?;
            Ok(items.iter().filter_map(serde_json::Value::as_i64).collect())
        };
        let events = prepared.training(lengths)?;
        equal_lists(&format!("{name} chunks"), &signed(&events.chunks()), &list("chunks")?)?;
        let all = (0..events.len()).map(|i| events.event(i)).collect::<common::Result<Vec<_>>>()?;
        equal_lists(&format!("{name} ids"), &all.iter().map(|e| e.id).collect::<Vec<_>>(), &list("event_ids")?)?;
        let pulses: Vec<i64> = all.iter().map(|e| e.pulses.sensor.len() as i64).collect();
        equal_lists(&format!("{name} pulses"), &pulses, &list("n_pulses")?)?;
    }
    Ok(())
}

/// Event counts: found in the raw files, as JSON, and as the very bytes of upstream's pickle.
pub fn event_counts(case: &Case) -> Result<()> {
    let prepared = Prepared::of(&case.path("data"))?;
    let expected: Nevents = nevents::read(&case.path("expected_nevents.json"))?;
    ensure!(nevents::read(&prepared.manifest.output("nevents")?)? == expected, "the counts differ");
    let upstream = case.path("data/Nevents.pickle");
    ensure!(nevents::read(&upstream)? == expected, "the counts of the pickle differ");
    let ours = std::fs::read(prepared.manifest.output("nevents_pickle")?)?;
    ensure!(ours == std::fs::read(&upstream)?, "the pickle that was written has other bytes");
    Ok(())
}

/// Un-normalised vectors to angles, the branch of the azimuth included.
pub fn get_val(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let vectors = expected.f32s("pred")?;
    let found: Vec<f32> = vectors.chunks_exact(3).flat_map(|v| common::angles::angles([v[0], v[1], v[2]])).collect();
    let found = Tensor::from_slice(&found).reshape([-1, 2]);
    let tolerance = case.f64("tolerance.absolute")?;
    let mut all = Comparison::new();
    for name in ["predict_variant", "loss_variant"] {
        all.add(compare_absolute(name, &found, &expected.get(name)?, tolerance));
    }
    all.finish()
}
