//! `prepare-data tracknet`: every event is read once, and its tracks kept as ragged arrays in one file an event. The
//! original reads all csv files again in every epoch and every worker.

mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use common::cli::progress::Bar;
use common::cli::signals;
use common::config::hydra::Translated;
use common::config::{Config, Problems};
use common::durable::Written;
use common::journal::{Finished, Journal};
use common::ordered::ordered;
use common::stage::{Manifest, Stage};
use common::store::archive;
use common::store::tensors::{self, TensorFile, TensorView};
use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blacklist::{self, Blacklist};
use crate::event::{self, Hits, Particles, Truth};
use crate::files;
use crate::gaps;
use crate::measured::Measured;
use crate::normalizer::Normalizer;
use crate::tracker::known::Known;
use crate::tracks::{Filters, Recipe, Tracks, Transform};

pub use task::Prepare;

/// What `prepare-data tracknet` does, as a config.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrepareConfig {
    /// Always `tracknet`.
    pub system: String,
    /// Seed of the split, where it is drawn.
    #[serde(default = "seed")]
    pub seed: u64,
    /// Folders of events, in order.
    #[serde(default)]
    pub data_dirs: Vec<PathBuf>,
    /// Folder of blacklists. `null`: none.
    #[serde(default)]
    pub blacklist_dir: Option<PathBuf>,
    /// Share of the events that validates. Published: 0.1.
    #[serde(default = "fraction")]
    pub validation_split: f64,
    /// Draw the validating events instead of taking the first ones, as published.
    #[serde(default)]
    pub random_split: bool,
    /// All events validate and none trains, whatever `validation_split` says: to measure a trained network on events of
    /// their own (`predict --data FOLDER next_hits=true`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_validation: bool,
    /// What is done to each track, in order.
    #[serde(default = "transforms")]
    pub transforms: Vec<Transform>,
    /// Which tracks are kept.
    #[serde(default = "Filters::published")]
    pub filters: Filters,
}

fn seed() -> u64 {
    42
}

fn fraction() -> f64 {
    0.1
}

fn transforms() -> Vec<Transform> {
    vec![Transform::DropRepeatedLayers, Transform::Normalize(Normalizer::default())]
}

impl PrepareConfig {
    /// Transforms and filters.
    pub fn recipe(&self) -> Recipe {
        Recipe { transforms: self.transforms.clone(), filters: self.filters.clone() }
    }

    /// The normaliser of the transforms; positions stay in mm without one.
    pub fn normalizer(&self) -> Normalizer {
        let find = |t: &Transform| if let Transform::Normalize(n) = t { Some(*n) } else { None };
        self.transforms.iter().find_map(find).unwrap_or(Normalizer::IDENTITY)
    }
}

impl Config for PrepareConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "tracknet", "system", || format!("is `{}`, expected `tracknet`", self.system));
        problems.demand((0.0..=1.0).contains(&self.validation_split), "validation_split", || {
            format!("is {}, expected 0 to 1", self.validation_split)
        });
        self.filters.validate("filters", problems);
        for (i, transform) in self.transforms.iter().enumerate() {
            if let Transform::Normalize(normalizer) = transform {
                normalizer.validate(&format!("transforms.{i}.normalize"), problems);
            }
        }
    }

    fn from_hydra(tree: &Value) -> Option<Result<Translated>> {
        Some(crate::published::prepare(tree))
    }
}

/// The events of a run, found but not read.
#[derive(Debug)]
pub struct Sources {
    /// Prefixes of training events.
    pub train: Vec<PathBuf>,
    /// Prefixes of validating events.
    pub valid: Vec<PathBuf>,
    /// Folder of the blacklists.
    pub blacklists: Option<PathBuf>,
}

impl Sources {
    /// Finds and splits the events; `limit` takes the first so many.
    pub fn find(config: &PrepareConfig, limit: Option<u64>) -> Result<Self> {
        if config.data_dirs.is_empty() {
            return Err(Error::usage("`data_dirs` is empty").hint("pass the folder of the events: `--raw FOLDER`"));
        }
        let mut events = files::events(&config.data_dirs)?;
        if let Some(limit) = limit {
            events.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        let blacklists = config.blacklist_dir.as_ref().map(|folder| blacklist::folder(folder, &events)).transpose()?;
        if config.random_split {
            events.sort_by_key(|e| {
                let name = e.file_name().unwrap_or_default().to_string_lossy().into_owned();
                common::seed::seed_for(config.seed, &name, 0)
            });
        }
        let (train, valid) = match config.only_validation {
            true => (vec![], events),
            false => files::split(&events, config.validation_split)?,
        };
        Ok(Self { train, valid, blacklists })
    }
}

/// Figures of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// Training tracks.
    pub train: u64,
    /// Validating tracks.
    pub valid: u64,
    /// Events kept from an earlier run.
    pub kept: u64,
}

/// Events after which the journal is written.
const RECORDED: usize = 16;

/// Prepares all events into the stage's folder.
/// Events are read side by side on `threads` threads and noted in order.
pub fn run(config: &PrepareConfig, sources: &Sources, threads: usize, stage: &mut Stage) -> Result<Report> {
    let recipe = config.recipe();
    // Tracks in mm are the tracker's, which wants to know how precisely they were measured.
    let measured = config.normalizer() == Normalizer::IDENTITY;
    let all: Vec<(&str, &PathBuf)> =
        sources.train.iter().map(|e| ("train", e)).chain(sources.valid.iter().map(|e| ("valid", e))).collect();
    let bar = Bar::new("prepare", all.len() as u64);
    let folder = stage.folder().to_path_buf();
    let journal = Journal::open(&folder, stage.fresh())?;
    let prepare = |part: &str, prefix: &Path| {
        signals::check("finished events are kept; the same command goes on from there")?;
        let name = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let raw = std::path::absolute(prefix).unwrap_or_else(|_| prefix.to_path_buf());
        let about = json!({ "system": "tracknet", "event": name, "raw": raw, "normalizer": config.normalizer() });
        let set = format!("{part}/{name}");
        let files = raw_files(prefix, sources.blacklists.as_deref())?;
        let version = if measured { "2" } else { "1" };
        let from = journal.sources(&format!("tracks {version} {set} {about} {recipe:?}"), &files)?;
        if let Some(twin) = files.first().and_then(|(_, hits)| journal.twin(hits, &from)) {
            tracing::warn!(
                "`{}` and `{}` have the same content: one event is there twice",
                raw.display(),
                twin.display()
            );
        }
        if let Some(finished) = journal.kept(&set, &from.key) {
            bar.tick(1);
            return Ok((from, set, finished, true));
        }
        let (tracks, gaps) = Tracks::with_gaps(prefix, sources.blacklists.as_deref(), &recipe)?;
        let mut about = about;
        if measured {
            let mut of = Measured::default();
            of.add(&Hits::read(prefix)?, &Particles::read(prefix)?, &Truth::read(prefix)?);
            about["measured"] = json!(of.known());
        }
        let below = PathBuf::from(format!("{set}.safetensors"));
        let mut written = write(&tracks, &folder.join(&below), &about)?;
        written.path = below;
        journal.demand_unchanged(&from)?;
        let (key, rows, sources) = (from.key.clone(), tracks.len() as u64, tracks.xyz.len() as u64);
        let outputs = BTreeMap::from([(set.clone(), written)]);
        bar.tick(1);
        Ok((from, set, Finished { key, rows, sources, skipped: gaps.told(), outputs }, false))
    };
    let mut report = Report::default();
    let mut names = BTreeSet::new();
    let mut odd = Vec::new();
    // What is finished is recorded after so many events, so that a long run can be gone on with.
    let mut unrecorded = Vec::new();
    let made = ordered(
        all.len(),
        threads,
        4 * threads,
        |event| prepare(all[event].0, all[event].1),
        |_, (from, set, finished, kept)| {
            from.note(stage)?;
            *(if set.starts_with("train/") { &mut report.train } else { &mut report.valid }) += finished.rows;
            report.kept += u64::from(kept);
            finished.outputs.iter().for_each(|(name, file)| stage.output(name, file));
            if !finished.skipped.is_empty() {
                odd.push((set.rsplit('/').next().unwrap_or_default().to_string(), finished.skipped.clone()));
            }
            if !kept {
                unrecorded.push((set.clone(), finished));
            }
            names.insert(set);
            if unrecorded.len() >= RECORDED {
                journal.record_all(unrecorded.drain(..))?;
            }
            Ok(())
        },
    );
    journal.record_all(unrecorded.drain(..))?;
    made?;
    bar.finish();
    gaps::warn(&odd, "what does not fit is in no track");
    if report.kept > 0 {
        tracing::info!("{} events kept from an earlier run", report.kept);
    }
    for (part, tracks) in [("training", report.train), ("validation", report.valid)] {
        let first = all.first().map_or(Path::new("."), |(_, prefix)| prefix.parent().unwrap_or(prefix));
        if tracks == 0 && !(config.only_validation && part == "training") {
            return Err(Error::input(first, format!("no {part} track passes the filters"))
                .hint("loosen them: `filters.min_pt=0.5`, `filters.min_hits=3`, `filters.first_layers=[]`"));
        }
    }
    stage.output("progress", &journal.close(|name| names.contains(name))?);
    stage.metric("events", all.len());
    stage.metric("train_tracks", report.train);
    stage.metric("valid_tracks", report.valid);
    Ok(report)
}

/// Writes tracks as ragged arrays.
pub fn write(tracks: &Tracks, path: &Path, about: &serde_json::Value) -> Result<Written> {
    let (n, hits) = (tracks.len(), tracks.xyz.len());
    let offsets: Vec<i64> = tracks.offsets.iter().map(|&o| o as i64).collect();
    let (bounds, per_track, per_hit) = ([n + 1], [n], [hits]);
    let (vectors, pairs) = ([n, 3], [hits, 3]);
    let views = [
        TensorView::of("offsets", &bounds, &offsets),
        TensorView::of("particle_id", &per_track, &tracks.particle_id),
        TensorView::of("track_id", &per_track, &tracks.track_id),
        TensorView::of("momentum", &vectors, tracks.momentum.as_flattened()),
        TensorView::of("charge", &per_track, &tracks.charge),
        TensorView::of("hits_xyz", &pairs, tracks.xyz.as_flattened()),
        TensorView::of("hits_cylindrical", &pairs, tracks.cylindrical.as_flattened()),
        TensorView::of("hit_id", &per_hit, &tracks.hit_id),
        TensorView::of("volume", &per_hit, &tracks.volume),
        TensorView::of("layer", &per_hit, &tracks.layer),
        TensorView::of("module", &per_hit, &tracks.module),
    ];
    tensors::write(path, &views, Some(about))
}

/// Reads tracks back.
pub fn read(path: &Path) -> Result<Tracks> {
    let file = TensorFile::open(path)?;
    let points = |name: &str| -> Result<Vec<[f32; 3]>> { Ok(file.f32(name)?.as_chunks::<3>().0.to_vec()) };
    Ok(Tracks {
        offsets: checked_offsets(&file)?,
        particle_id: file.i64("particle_id")?.to_vec(),
        track_id: file.i64("track_id")?.to_vec(),
        momentum: points("momentum")?,
        charge: file.i32("charge")?.to_vec(),
        xyz: points("hits_xyz")?,
        cylindrical: points("hits_cylindrical")?,
        hit_id: file.i32("hit_id")?.to_vec(),
        volume: file.i32("volume")?.to_vec(),
        layer: file.i32("layer")?.to_vec(),
        module: file.i32("module")?.to_vec(),
    })
}

/// What the truth of a prepared event said of its conditions; nothing where it was not looked at.
pub fn known(path: &Path) -> Result<Known> {
    let file = TensorFile::open(path)?;
    let known = file.metadata().map(|about| about["measured"].clone()).filter(|known| !known.is_null());
    Ok(known.and_then(|known| serde_json::from_value(known).ok()).unwrap_or_default())
}

/// Parts that tracks are made of beside the hits: those of TrackML, and those of ACTS.
const PARTS: [&str; 6] =
    ["particles", "truth", "measurements", "measurement-simhit-map", "particles_initial", "particles_simulated"];

/// The raw files of an event that its tracks are made of.
fn raw_files(prefix: &Path, blacklists: Option<&Path>) -> Result<Vec<(String, PathBuf)>> {
    let mut files = vec![event::part(prefix, "hits")?];
    for part in PARTS {
        files.extend(event::part_if_there(prefix, part)?);
    }
    files.extend(event::geometry(prefix)?);
    let name = prefix.file_name().unwrap_or_default().to_string_lossy();
    if let Some(folder) = blacklists {
        files.extend(Blacklist::files(folder, &name)?);
    }
    // Files in a zip archive are known by the archive.
    files.iter_mut().for_each(|path| *path = archive::on_disk(path).to_path_buf());
    files.dedup();
    Ok(files
        .into_iter()
        .map(|path| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path))
        .collect())
}

/// Prefixes of the raw events that one part (`train` or `valid`) of a `prepare-data` stage was made of.
///
/// # Errors
/// [`Error::Input`] where files of an event are not those that were prepared.
pub fn raw_events(prepared: &Manifest, part: &str) -> Result<Vec<PathBuf>> {
    let inputs = prepared.all_inputs()?;
    let mut events = Vec::new();
    for (_, path) in prepared.outputs_with_prefix(&format!("{part}/"))? {
        let file = TensorFile::open(&path)?;
        let raw = file.metadata().and_then(|about| about["raw"].as_str().map(PathBuf::from));
        let raw = raw.ok_or_else(|| Error::input(&path, "does not say which event it was made of"))?;
        for (_, file) in raw_files(&raw, None)? {
            prepared.demand_unchanged(&inputs, &file)?;
        }
        events.push(raw);
    }
    Ok(events)
}

/// Prefixes of all events of a `simulate-data` stage.
///
/// # Errors
/// [`Error::Input`] where files of an event are not those that were simulated.
pub fn simulated_events(simulated: &Manifest) -> Result<Vec<PathBuf>> {
    let events = files::events(&[simulated.folder.join(crate::simulate::RAW)])?;
    for event in &events {
        for (_, file) in raw_files(event, None)? {
            simulated.demand_written(&file)?;
        }
    }
    Ok(events)
}

/// Bounds of the tracks of a file: ascending, from 0 to the number of hits.
pub fn checked_offsets(file: &TensorFile) -> Result<Vec<usize>> {
    let offsets = file.i64("offsets")?;
    let hits = file.f32("hits_xyz")?.len() as i64 / 3;
    let good = offsets.first() == Some(&0) && offsets.last() == Some(&hits) && offsets.is_sorted();
    if !good {
        return Err(Error::input(file.path(), format!("`offsets` do not run from 0 to {hits}")));
    }
    Ok(offsets.iter().map(|&o| o as usize).collect())
}
