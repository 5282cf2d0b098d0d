//! `predict` for TrackNET: the tracks of events as a submission, and the predictions of next hits along true tracks.

mod task;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use common::cli::progress::Bar;
use common::config::{Config, Problems};
use common::durable::{AtomicFile, Written};
use common::store::tensors::{Declaration, Dtype, TensorWriter};
use common::{Error, Result};
use neural::Doing;
use neural::loader::{Delivery, Loader, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::{Device, Tensor};

use crate::batch::Batch;
use crate::build::{BuildConfig, build};
use crate::checkpoint;
use crate::dataset::Dataset;
use crate::event::{self, Hits};
use crate::files;
use crate::metrics::StepMetrics;
use crate::models::StepAhead;
use crate::normalizer::Normalizer;
use crate::picture;
use crate::submission::Submission;
use crate::tracker::checks::Checks;
use crate::tracker::conditions::Conditions;
use crate::tracker::{SearchConfig, find, fitted, train as tracker};

pub use task::Predict;

/// What `predict` does for TrackNET, as a config.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictConfig {
    /// Always `tracknet`.
    #[serde(default = "system")]
    pub system: String,
    /// Seed that the manifest names. `null`: that of the training. Nothing is drawn.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Tracks of a batch of `next_hits`.
    #[serde(default = "batch_size")]
    pub batch_size: u64,
    /// How tracks are built with the published network.
    #[serde(default)]
    pub build: BuildConfig,
    /// How tracks are found with the tracker.
    #[serde(default)]
    pub search: SearchConfig,
    /// How positions are normalised, where the weights do not say it.
    #[serde(default)]
    pub normalizer: Option<Normalizer>,
    /// Beam spot, resolution and field, where those of the training do not hold. `null`: those of the checkpoint.
    #[serde(default)]
    pub conditions: Option<Conditions>,
    /// Also fit a helix to each track: `tracks.parquet` and `tracks.csv`, parameters with covariance.
    #[serde(default)]
    pub fit: bool,
    /// Also write the predictions of next hits along the prepared validating tracks (published network only).
    #[serde(default)]
    pub next_hits: bool,
    /// Also draw events: `event.html`, in which one of the first events is chosen, and `event.svg` of the first. Where their
    /// truth lies beside their hits, tracks are told as found, missed and fake.
    #[serde(default)]
    pub picture: bool,
}

fn system() -> String {
    crate::NAME.into()
}

fn batch_size() -> u64 {
    1024
}

impl Default for PredictConfig {
    fn default() -> Self {
        let (build, search) = (BuildConfig::default(), SearchConfig::default());
        Self {
            system: system(),
            seed: None,
            batch_size: batch_size(),
            build,
            search,
            normalizer: None,
            conditions: None,
            fit: false,
            next_hits: false,
            picture: false,
        }
    }
}

impl Config for PredictConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "tracknet", "system", || format!("is `{}`, expected `tracknet`", self.system));
        problems.demand(self.batch_size > 0, "batch_size", || "is 0, expected at least 1".into());
        self.build.validate("build", problems);
        self.search.validate("search", problems);
        if let Some(normalizer) = &self.normalizer {
            normalizer.validate("normalizer", problems);
        }
        if let Some(conditions) = &self.conditions {
            conditions.validate("conditions", problems);
        }
    }
}

/// A trained network of either kind.
pub enum Finder {
    /// The published one.
    StepAhead(Box<checkpoint::Loaded>),
    /// The tracker.
    Tracker(Box<tracker::Loaded>),
}

impl Finder {
    /// Opens weights; a checkpoint says itself which network it holds.
    pub fn open(path: &Path) -> Result<Self> {
        let own = path.extension().is_some_and(|e| e == "safetensors");
        let about = if own { neural::weights::metadata(path)? } else { None };
        if about.is_some_and(|about| about["network"] == "tracker") {
            return Ok(Self::Tracker(Box::new(tracker::load(path)?)));
        }
        Ok(Self::StepAhead(Box::new(checkpoint::load(path)?)))
    }

    /// What is taken as known of the events: the config's, else the checkpoint's, else those of the accuracy phase.
    pub fn conditions(&self, config: &PredictConfig) -> Conditions {
        let trained = if let Self::Tracker(loaded) = self { loaded.conditions } else { Conditions::ACCURACY };
        config.conditions.unwrap_or(trained)
    }

    /// The tracks of one event.
    pub fn tracks(&self, hits: &Hits, config: &PredictConfig) -> Result<Submission> {
        match self {
            Self::StepAhead(loaded) => {
                let normalizer = config.normalizer.unwrap_or(loaded.normalizer);
                Ok(build(hits, &loaded.network, &normalizer, &config.build)?.submission)
            }
            Self::Tracker(loaded) => {
                let conditions = self.conditions(config);
                Ok(find(hits, &loaded.network, (&loaded.transitions, &conditions), &config.search)?.submission)
            }
        }
    }
}

/// Figures of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// Events.
    pub events: u64,
    /// Hits of all events.
    pub hits: u64,
    /// Tracks of all events.
    pub tracks: u64,
    /// Mean time of an event, reading included, ms.
    pub ms_per_event: f64,
    /// Mean time of finding the tracks of an event, ms.
    pub ms_building: f64,
}

/// What is known of an event after its tracks were found.
struct Done {
    number: i64,
    hits: u64,
    found: Submission,
    fitted: Vec<fitted::Row>,
    origins: Vec<f64>,
    checks: Checks,
    seconds: f64,
}

/// Finds the tracks of one event, fits them where that is asked for, and looks whether the conditions hold; without fits that
/// are asked for, a sample of the first event tells that.
fn event_of(finder: &Finder, config: &PredictConfig, prefix: &Path, first: bool) -> Result<Done> {
    common::cli::signals::check("nothing that can be gone on with; the same command starts anew")?;
    let hits = Hits::read(prefix)?;
    let tracker = matches!(finder, Finder::Tracker(_));
    if tracker && let Some(volume) = hits.volume.iter().find(|v| !matches!(v, 7..=9 | 12..=14 | 16..=18)) {
        tracing::warn!(
            "`{}` has hits in volume {volume}, which is none of TrackML's: the tracker takes it for a disk of long strips",
            prefix.display()
        );
    }
    let (conditions, start) = (finder.conditions(config), Instant::now());
    let found = finder.tracks(&hits, config)?;
    let (mut rows, mut origins, mut checks) = (Vec::new(), Vec::new(), Checks::default());
    let number = event::number(prefix)?;
    if config.fit || tracker {
        let points = fitted::points(&hits, &found)?;
        let some = if config.fit { points.len() } else { points.len().min(if first { SAMPLE } else { 0 }) };
        rows = fitted::rows(number, &points[..some], &conditions);
        if tracker {
            let fits =
                rows.iter().zip(&points).filter_map(|(row, (_, points))| Some((points.as_slice(), row.fit.as_ref()?)));
            checks.tracks(fits, &conditions);
            checks.hits(&hits, |row| on_track(&found, hits.hit_id[row]));
            origins = fitted::origins(&points);
        }
        rows.truncate(if config.fit { some } else { 0 });
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(Done { number, hits: hits.len() as u64, found, fitted: rows, origins, checks, seconds })
}

/// The events of a chunk side by side, each with a network of its own.
fn side_by_side(finders: &mut [Finder], config: &PredictConfig, events: &[PathBuf], first: bool) -> Vec<Result<Done>> {
    if let ([finder], [prefix]) = (&*finders, events) {
        return vec![event_of(finder, config, prefix, first)];
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = finders
            .iter_mut()
            .zip(events)
            .enumerate()
            .map(|(i, (finder, prefix))| scope.spawn(move || event_of(finder, config, prefix, first && i == 0)))
            .collect();
        let joined = |thread: std::thread::ScopedJoinHandle<'_, Result<Done>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(joined).collect()
    })
}

/// Writes the submission of all events: `event_id,hit_id,track_id`, hits by id. Gives the fitted tracks too, where they are
/// asked for. As many events as there are threads are done side by side, each by a network of `weights`.
pub fn submission(
    weights: &Path,
    config: &PredictConfig,
    events: &[PathBuf],
    path: &Path,
) -> Result<(Written, Report, Vec<fitted::Row>)> {
    files::demand_distinct(events)?;
    let (mut fitted, mut origins) = (Vec::new(), Vec::new());
    let mut checks = Checks::default();
    let mut file = AtomicFile::create(path)?;
    let bar = Bar::new("predict", events.len() as u64);
    let mut report = Report { events: events.len() as u64, ..Report::default() };
    let begun = Instant::now();
    let mut building = 0.0;
    let mut text = String::from("event_id,hit_id,track_id\n");
    let workers = rayon::current_num_threads().min(events.len()).max(1);
    let mut finders = (0..workers).map(|_| Finder::open(weights)).collect::<Result<Vec<_>>>()?;
    let threads = tch::get_num_threads();
    if workers > 1 {
        tch::set_num_threads(1);
    }
    for (at, chunk) in events.chunks(workers).enumerate() {
        let workers = &mut finders[..chunk.len()];
        for done in side_by_side(workers, config, chunk, at == 0) {
            let done = done?;
            building += done.seconds;
            report.hits += done.hits;
            report.tracks += done.found.track_id.iter().copied().max().unwrap_or(0) as u64;
            fitted.extend(done.fitted);
            checks += done.checks;
            if origins.len() < ENOUGH {
                origins.extend(done.origins);
            }
            for (hit, track) in done.found.hit_id.iter().zip(&done.found.track_id) {
                use std::fmt::Write as _;
                let _ = writeln!(text, "{},{hit},{track}", done.number);
            }
            file.write_all(text.as_bytes()).map_err(|e| Error::io("writing", path, e))?;
            text.clear();
            bar.tick(1);
        }
    }
    tch::set_num_threads(threads);
    bar.finish();
    let n = events.len().max(1) as f64;
    report.ms_per_event = begun.elapsed().as_secs_f64() * 1e3 / n;
    report.ms_building = building * 1e3 / n;
    let finder = &finders[0];
    if matches!(finder, Finder::Tracker(_)) {
        let conditions = finder.conditions(config);
        let max_z0 = config.search.max_z0.unwrap_or(conditions.max_z0());
        if let Some(problem) = conditions.contradiction(&origins, max_z0) {
            tracing::warn!("{problem}; look farther with `search.max_z0={:.0}`, or train on such events", 4.0 * max_z0);
        }
        for problem in checks.contradictions(&conditions) {
            tracing::warn!("{problem}");
        }
    }
    Ok((file.commit()?, report, fitted))
}

/// Whether a hit is on a track; hits of a submission go by their id.
fn on_track(found: &Submission, hit: i32) -> bool {
    found.hit_id.binary_search(&hit).is_ok_and(|at| found.track_id[at] > 0)
}

/// Tracks that are fitted to see whether the conditions hold, where no fits are asked for.
const SAMPLE: usize = 1000;
/// Tracks whose origins are looked at.
const ENOUGH: usize = 20_000;

/// Draws one track of `data` and what the network says along it, in mm.
pub fn picture_of_track(network: &StepAhead, data: &Dataset, row: u64, folder: &Path) -> Result<(Written, Written)> {
    let track = data.track(row)?;
    let batch = Batch::of(&[track]);
    let outputs = tch::no_grad(|| network.forward(&batch.inputs, &batch.lengths));
    let read = |t: &Tensor| -> Result<Vec<f32>> {
        let t = t.to_device(Device::Cpu).contiguous().flatten(0, -1);
        Vec::<f32>::try_from(t).map_err(|e| Error::failed(format!("drawing a track: {e}")))
    };
    let (c1, r1) = (read(&outputs.coords_1.narrow(-1, 0, 3))?, read(&outputs.radius_1)?);
    let (c2, r2) = (read(&outputs.coords_2.narrow(-1, 0, 3))?, read(&outputs.radius_2)?);
    let (c1, c2) = (c1.as_chunks::<3>().0, c2.as_chunks::<3>().0);
    let n = track.len() - 1;
    let steps: Vec<picture::Step> =
        (0..n).map(|i| picture::Step { first: (c1[i], r1[i]), second: (c2[i], r2[i]) }).collect();
    let traces = picture::in_mm(picture::track(&track[..n], &track[1..], &steps), &data.normalizer());
    picture::write(folder, "last_track_viz", "Track Visualization", &traces, "mm")
}

/// Writes the predictions along the tracks of `data`: for track i and step t centres and radii for hits t + 1 and t + 2,
/// `[tracks, longest - 1, ...]`, zero behind the end of a track; and the numbers of steps.
pub fn next_hits(
    loaded: &checkpoint::Loaded,
    data: Dataset,
    batch: u64,
    path: &Path,
) -> Result<(Written, StepMetrics)> {
    let (rows, steps) = (Source::rows(&data) as usize, data.longest() - 1);
    let declared = [
        Declaration::new("coords_t1", Dtype::F32, &[rows, steps, 3]),
        Declaration::new("radius_t1", Dtype::F32, &[rows, steps]),
        Declaration::new("coords_t2", Dtype::F32, &[rows, steps, 3]),
        Declaration::new("radius_t2", Dtype::F32, &[rows, steps]),
        Declaration::new("steps", Dtype::I64, &[rows]),
    ];
    let about = json!({ "system": "tracknet", "normalizer": data.normalizer() });
    let mut metrics = StepMetrics::default();
    let mut writer = TensorWriter::create(path, &declared, Some(&about))?;
    let mut loader = Loader::sequential(Arc::new(data), batch, Delivery { device: Device::Cpu, workers: 1, ahead: 4 })?;
    while let Some(found) = loader.next_batch()? {
        let batch = Batch::cut(&found.tensors[0], &found.tensors[1].squeeze_dim(-1));
        let outputs = tch::no_grad(|| loaded.network.forward(&batch.inputs, &batch.lengths));
        metrics.add(&outputs, &batch.targets, &batch.mask, None)?;
        let (n, length) = (batch.inputs.size()[0], batch.inputs.size()[1]);
        let real = batch.mask.narrow(1, 0, length).unsqueeze(-1).to_kind(tch::Kind::Float);
        let mut put = |name: &str, tensor: &Tensor| -> Result<()> {
            let width = tensor.size()[2];
            let whole = Tensor::zeros([n, steps as i64, width], (tch::Kind::Float, Device::Cpu));
            whole.narrow(1, 0, length).f_copy_(&(tensor * &real)).doing("predicting")?;
            let values =
                Vec::<f32>::try_from(whole.flatten(0, -1)).map_err(|e| Error::failed(format!("predicting: {e}")))?;
            writer.append_elements(name, &values)
        };
        put("coords_t1", &outputs.coords_1)?;
        put("radius_t1", &outputs.radius_1)?;
        put("coords_t2", &outputs.coords_2)?;
        put("radius_t2", &outputs.radius_2)?;
        let lengths = Vec::<i64>::try_from(&batch.lengths).map_err(|e| Error::failed(format!("predicting: {e}")))?;
        writer.append_elements("steps", &lengths)?;
    }
    Ok((writer.finish()?, metrics))
}
