//! From PILArNet-M files to arrays: an index of points an event, and shards of selected events that training maps into
//! memory. HDF5 with its lock is read once, here.
//!
//! A shard holds a run of events of one file, so memory does not grow with the data, and a run that was killed keeps
//! the shards that were finished from the files as they still are ([`common::journal`]). Shards of a file are made side by side,
//! as many as [`BUDGET`] holds, and noted in order: their number decides about nothing.

mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use common::cli::{progress, signals};
use common::config::{Config, Problems};
use common::durable::Written;
use common::journal::{Finished, Journal};
use common::ordered::ordered;
use common::stage::Stage;
use common::store::npy;
use common::store::tensors::{self, TensorFile, TensorView};
use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::grouping::CHANNELS;
use crate::preparation::Preparation;
use crate::raw::find::{self, Files, Found};
use crate::raw::{BLOCK, Layout, RawFile, Selection, Tally, index_path};

pub use task::Prepare;

/// Page of the data set.
pub const DATASET: &str = "https://github.com/DeepLearnPhysics/PoLAr-MAE#dataset";

/// Bytes that the shards under way may take, by what their events hold before they are selected.
const BUDGET: usize = 1 << 30;
/// Bytes of a point in a shard: place and energy, labels, cluster, particle and voxel, and once more while it is put together.
const POINT: usize = 64;

/// What is prepared, and how.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrepareConfig {
    /// Always `polarmae`.
    pub system: String,
    /// Noted in the manifest; preparing draws nothing.
    #[serde(default)]
    pub seed: u64,
    /// Folder of the release: `train/*.h5`, `val/*.h5`, or of other files. `--raw` and `--from` win over it.
    #[serde(default)]
    pub raw: Option<PathBuf>,
    /// Where the sets lie below it.
    #[serde(default)]
    pub sets: Sets,
    /// Which voxels of which events.
    #[serde(default)]
    pub selection: Selection,
    /// How raw files are laid out.
    #[serde(default)]
    pub layout: Layout,
    /// Columns of a row of `cluster`: 5 in the first release, 6 in later ones. `null`: found out for each file. An older name
    /// of `layout.cluster_columns.width`.
    #[serde(default)]
    pub cluster_width: Option<usize>,
    /// Events of a set at most, in the order of file names. `null`: all.
    #[serde(default)]
    pub max_events: Option<u64>,
    /// Events of a shard, >= 1: what is held in memory at once.
    #[serde(default = "shard")]
    pub events_per_shard: usize,
}

/// Files of the sets, taken in the order of their names: a folder and all below it, a file, a pattern, a list of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sets {
    /// Training events. `null`: none are prepared.
    pub train: Option<Files>,
    /// Validation events. `null`: none are prepared.
    pub valid: Option<Files>,
    /// Test events, in releases that have them. `null`: none are prepared.
    pub test: Option<Files>,
}

impl Default for Sets {
    fn default() -> Self {
        Self { train: Some(Files::One("train".into())), valid: Some(Files::One("val".into())), test: None }
    }
}

impl Sets {
    fn named(&self) -> impl Iterator<Item = (&'static str, &Files)> {
        [("train", &self.train), ("valid", &self.valid), ("test", &self.test)]
            .into_iter()
            .filter_map(|(name, files)| files.as_ref().map(|files| (name, files)))
    }
}

fn shard() -> usize {
    2048
}

impl Config for PrepareConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "polarmae", "system", || format!("is `{}`, expected `polarmae`", self.system));
        self.selection.validate("selection", problems);
        self.layout.validate("layout", problems);
        problems.demand(self.events_per_shard >= 1, "events_per_shard", || "is 0, expected at least 1".into());
        problems.demand(self.sets.named().next().is_some(), "sets", || "names no folder".into());
        let width = self.cluster_width.is_none_or(|w| w == 5 || w == 6);
        problems.demand(width, "cluster_width", || format!("is {:?}, expected 5 or 6", self.cluster_width));
    }
}

/// Counts of one set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events in the files.
    pub events: u64,
    /// Events that were kept.
    pub kept: u64,
    /// Points of kept events.
    pub points: u64,
    /// Events with fewer voxels than `min_points`.
    pub below_minimum: u64,
    /// Events left out because too little remained of them.
    pub too_short: u64,
    /// Points that were left out of the events that were looked at.
    pub tally: Tally,
    /// The first file that leads events with something else than low-energy scatters, which were left out.
    pub led_by_others: Option<String>,
    /// Files without labels.
    pub unlabelled: u64,
    /// Shards kept from an earlier run.
    pub shards_kept: u64,
}

impl PrepareConfig {
    /// The layout, with the older name of a width.
    fn layout(&self) -> Layout {
        let mut layout = self.layout.clone();
        layout.cluster_columns.width = self.cluster_width.or(layout.cluster_columns.width);
        layout
    }
}

/// The files of all sets, found before anything is written.
pub fn find(config: &PrepareConfig) -> Result<Vec<(&'static str, Vec<Found>)>> {
    let raw = config.raw.as_ref().ok_or_else(|| {
        Error::usage("no raw data is given")
            .hint("name its folder: `--raw FOLDER`, or `--from -` behind `simulate-data`")
    })?;
    let missing = |error: Error| {
        error.hint(format!(
            "expected `{}/train/*.h5` and `{}/val/*.h5`; `sets` in the config names other files; PILArNet-M is described \
             at {DATASET}",
            raw.display(),
            raw.display()
        ))
    };
    let sets: Vec<_> = config
        .sets
        .named()
        .map(|(name, files)| Ok((name, find::files(raw, files, &missing)?)))
        .collect::<Result<_>>()?;
    // An event of two sets would be trained and judged on.
    let mut seen: BTreeMap<&Path, &str> = BTreeMap::new();
    for (set, files) in &sets {
        for file in files {
            if let Some(other) = seen.insert(&file.path, set) {
                let problem = format!("is a file of the sets `{other}` and `{set}`");
                return Err(Error::input(&file.path, problem).hint("name files of one set each in `sets`"));
            }
        }
    }
    Ok(sets)
}

/// Prepares all sets into the stage's folder; `limit` events of each at most.
pub fn run(
    config: &PrepareConfig,
    limit: Option<u64>,
    threads: usize,
    stage: &mut Stage,
) -> Result<Vec<(&'static str, Counts)>> {
    let sets = find(config)?;
    let most = [config.max_events, limit].into_iter().flatten().min();
    let total: u64 = sets.iter().map(|(_, files)| files.len() as u64).sum();
    let bar = progress::Bar::new("prepare", total);
    let journal = Journal::open(stage.folder(), stage.fresh())?;
    let mut names = BTreeSet::new();
    let mut done = vec![];
    for (set, files) in sets {
        let (mut counts, mut twins) = (Counts::default(), BTreeSet::new());
        for found in files {
            signals::check("finished shards are kept; the same command continues")?;
            if most.is_some_and(|most| counts.kept >= most) {
                break;
            }
            let left = most.map(|most| most - counts.kept);
            bar.message(format!("{set}: {}", found.name));
            file(config, set, &found, (left, threads), (stage, &journal, &mut names), &mut twins, &mut counts)?;
            bar.tick(1);
        }
        if counts.kept == 0 {
            let problem = format!(
                "the set `{set}` keeps none of its {} events: {} have fewer than {} voxels, of {} too little remained",
                counts.events, counts.below_minimum, config.selection.min_points, counts.too_short
            );
            return Err(Error::input(config.raw.as_deref().unwrap_or(Path::new(".")), problem)
                .hint("lower `selection.min_points`, published: 1024"));
        }
        done.push((set, counts));
    }
    bar.finish();
    stage.output("progress", &journal.close(|name| names.contains(name))?);
    Ok(done)
}

fn file(
    config: &PrepareConfig,
    set: &str,
    found: &Found,
    (left, threads): (Option<u64>, usize),
    (stage, journal, names): (&mut Stage, &Journal, &mut BTreeSet<String>),
    twins: &mut BTreeSet<PathBuf>,
    counts: &mut Counts,
) -> Result<()> {
    let path = &found.path;
    let raw = RawFile::open(path, &config.layout())?;
    if !raw.labelled() {
        if config.selection.remove_low_energy_scatters {
            return Err(Error::input(path, "has no labels, so its low-energy scatters are not known")
                .hint("`selection.remove_low_energy_scatters=false` keeps all voxels, labelled or not"));
        }
        counts.unlabelled += 1;
    }
    // The index is upstream's, where it lies beside the file.
    let given = [path.clone(), index_path(path)].into_iter().filter(|path| path.is_file());
    let named = |path: PathBuf| (format!("{set}/{}", path.file_name().unwrap_or_default().to_string_lossy()), path);
    let mut files: Vec<(String, PathBuf)> = given.map(named).collect();
    // Files of one name in several folders are told apart.
    if let Some((name, _)) = files.first_mut()
        && let Some(folder) = Path::new(&found.name).parent().filter(|folder| !folder.as_os_str().is_empty())
    {
        *name = format!("{set}/{}/{}", folder.display(), path.file_name().unwrap_or_default().to_string_lossy());
    }
    // Links and virtual data sets lead to files whose content counts as well.
    let linked = raw.linked();
    files.extend(linked.into_iter().map(|path| (format!("{set}/linked/{}", path.display()), path)));
    let read = journal.sources("", &files)?;
    read.note(stage)?;
    if let Some(twin) = journal.twin(path, &read) {
        let problem = format!("has the same content as `{}`: its events would count twice", twin.display());
        if twins.contains(&twin) {
            return Err(Error::input(path, problem).hint("remove one of them, or name the files in `sets`"));
        }
        tracing::warn!("`{}` of `{set}` {problem}, in two sets", path.display());
    }
    twins.insert(path.clone());
    let index = raw.index()?;
    counts.events += index.len() as u64;
    let name = format!("{set}/{}_points.npy", found.name);
    let written = npy::write_npy(stage.folder().join("index").join(&name), &[index.len()], &index)?;
    stage.output(&format!("index/{name}"), &written);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = std::fs::metadata(path).map_err(|e| Error::opening(path, e))?.len();
    let folder = stage.folder().to_path_buf();
    let ranges: Vec<Range<usize>> = (0..raw.len())
        .step_by(config.events_per_shard)
        .map(|start| start..(start + config.events_per_shard).min(raw.len()))
        .collect();
    let make = |number: usize, left: u64| -> Result<Made> {
        let range = ranges[number].clone();
        let identity = json!({
            "system": "polarmae",
            "set": set,
            "source": stem,
            "file": found.source,
            "source_bytes": bytes,
            "events": [range.start, range.end],
            "limit": if left == u64::MAX { Value::Null } else { json!(left) },
            "selection": serde_json::to_value(&config.selection).unwrap_or_default(),
            "layout": serde_json::to_value(&config.layout).unwrap_or_default(),
            "cluster_width": raw.cluster_width(),
        });
        let name = format!("{set}/{}_{number:05}", found.name);
        let below = PathBuf::from(format!("{name}.safetensors"));
        let target = folder.join(&below);
        let sources = journal.sources(&identity.to_string(), &files)?;
        if let Some(finished) = journal.kept(&name, &sources.key) {
            let shard = kept(&target, &finished)?;
            return Ok(Made { name, shard, finished: None });
        }
        let mut shard = write(config, &raw, &index, range.clone(), left, &target, &identity)?;
        shard.written.path = below;
        journal.demand_unchanged(&sources)?;
        let finished = Finished {
            key: sources.key,
            rows: shard.events,
            sources: range.len() as u64,
            skipped: vec![],
            outputs: BTreeMap::from([(name.clone(), shard.written.clone())]),
        };
        Ok(Made { name, shard, finished: Some(finished) })
    };
    let mut note = |made: Made| -> Result<u64> {
        let Made { name, shard, finished } = made;
        match finished {
            Some(finished) => {
                journal.record(&name, finished)?;
            }
            None => counts.shards_kept += 1,
        }
        counts.kept += shard.events;
        counts.points += shard.points;
        counts.too_short += shard.too_short;
        counts.below_minimum += shard.below_minimum;
        counts.tally.add(&shard.tally);
        if shard.tally.led_by_others > 0 {
            counts.led_by_others.get_or_insert_with(|| found.source.clone());
        }
        stage.output(&name, &shard.written);
        names.insert(name);
        Ok(shard.events)
    };
    let Some(mut left) = left else {
        let points = |range: &Range<usize>| index[range.clone()].iter().map(|&n| n.max(0) as usize).sum::<usize>();
        let largest = ranges.iter().map(points).max().unwrap_or(0).saturating_mul(POINT);
        let threads = threads.min((BUDGET / largest.max(1)).max(1));
        return ordered(
            ranges.len(),
            threads,
            threads,
            |number| make(number, u64::MAX),
            |_, made| note(made).map(|_| ()),
        );
    };
    // How many events a shard may take follows from those before it.
    for number in 0..ranges.len() {
        if left == 0 {
            break;
        }
        left -= note(make(number, left)?)?.min(left);
    }
    Ok(())
}

/// A shard with its name, and what the journal notes about it unless it was kept.
struct Made {
    name: String,
    shard: Shard,
    finished: Option<Finished>,
}

struct Shard {
    written: Written,
    events: u64,
    points: u64,
    too_short: u64,
    below_minimum: u64,
    tally: Tally,
}

/// A shard that an earlier run finished, whose file was found intact.
fn kept(target: &Path, finished: &Finished) -> Result<Shard> {
    let file = TensorFile::open(target)?;
    let metadata = file.metadata().cloned().unwrap_or_default();
    let number = |key: &str| metadata[key].as_u64().unwrap_or(0);
    let written = finished.outputs.values().next().cloned();
    let written = written.ok_or_else(|| Error::input(target, "has no entry in `progress.json`"))?;
    Ok(Shard {
        written,
        events: number("kept"),
        points: number("points"),
        too_short: number("too_short"),
        below_minimum: number("below_minimum"),
        tally: serde_json::from_value(metadata["left_out"].clone()).unwrap_or_default(),
    })
}

fn write(
    config: &PrepareConfig,
    raw: &RawFile,
    index: &[i64],
    range: Range<usize>,
    left: u64,
    target: &Path,
    identity: &Value,
) -> Result<Shard> {
    let (mut points, mut semantic, mut cluster) = (vec![], vec![], vec![]);
    let (mut particle, mut voxel) = (vec![], vec![]);
    let (mut offsets, mut rows, mut raw_points) = (vec![0i64], vec![], vec![]);
    let (mut too_short, mut below_minimum) = (0, 0);
    let mut tally = Tally::default();
    let enough = config.selection.min_points.min(i64::MAX as u64) as i64;
    'shard: for start in range.clone().step_by(BLOCK) {
        signals::check("finished shards are kept; the same command continues")?;
        let block = start..(start + BLOCK).min(range.end);
        let events = raw.events(block.clone(), &config.selection, |i| index[i] >= enough, &mut tally)?;
        for (i, event) in block.zip(events) {
            let Some(event) = event else {
                below_minimum += 1;
                continue;
            };
            if (event.len() as u64) < config.selection.min_selected {
                too_short += 1;
                tracing::debug!("`{}`: event {i} keeps {} points and is left out", raw.path().display(), event.len());
                continue;
            }
            if rows.len() as u64 >= left {
                break 'shard;
            }
            points.extend_from_slice(&event.points);
            semantic.extend_from_slice(&event.semantic);
            cluster.extend_from_slice(&event.cluster);
            particle.extend_from_slice(&event.particle);
            voxel.extend_from_slice(&event.voxel);
            offsets.push(semantic.len() as i64);
            rows.push(raw.number(i));
            raw_points.push(event.raw_points as i64);
        }
    }
    let n = semantic.len();
    let metadata = json!({
        "identity": identity,
        "kept": rows.len(),
        "points": n,
        "too_short": too_short,
        "below_minimum": below_minimum,
        "left_out": serde_json::to_value(tally).unwrap_or_default(),
        "labelled": raw.labelled(),
        "energy": serde_json::to_value(config.selection.scale()).unwrap_or_default(),
        "preparation": serde_json::to_value(Preparation::of(&config.layout, &config.selection)).unwrap_or_default(),
    });
    let (by_point, by_row, flat, ends, events) = ([n, CHANNELS], [n], [n], [offsets.len()], [rows.len()]);
    let mut views = vec![
        TensorView::of("points", &by_point, &points),
        TensorView::of("semantic", &by_row, &semantic),
        TensorView::of("cluster", &flat, &cluster),
        TensorView::of("voxel", &flat, &voxel),
        TensorView::of("offsets", &ends, &offsets),
        TensorView::of("event", &events, &rows),
        TensorView::of("raw_points", &events, &raw_points),
    ];
    // Known of all points of a file or of none.
    if particle.len() == n && n > 0 {
        views.push(TensorView::of("particle", &flat, &particle));
    }
    let written = tensors::write(target, &views, Some(&metadata))?;
    Ok(Shard { written, events: rows.len() as u64, points: n as u64, too_short, below_minimum, tally })
}
