//! `predict tracknet`: the tracks of events as a submission.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use common::config::Resolved;
use common::driver::{Ending, Help, Request, Task};
use common::stage::{MANIFEST, Manifest, Stage};
use common::{Error, Result};
use neural::stages::{self, PredictFlags};

use super::{Finder, PredictConfig, next_hits, submission};
use crate::build::BuildConfig;
use crate::dataset::Dataset;
use crate::submission::{Submission, read_submission};
use crate::tracker::SearchConfig;
use crate::{event, files, prepare, tracker};

/// A prediction about to run.
pub struct Predict {
    config: PredictConfig,
    finder: Finder,
    weights: PathBuf,
    trained: Option<Manifest>,
    prepared: Option<Manifest>,
    /// Prepared validating tracks, where next hits are predicted.
    tracks: Option<Dataset>,
    /// Beginnings of the names of their files.
    events: Vec<PathBuf>,
}

impl Task for Predict {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "predict";
    const HELP: Help = Help {
        limit: "the first N events",
        flags: &[("--batch-size", "1024 tracks, for `next_hits` of the config")],
        ..Help::NONE
    };
    const READS: &'static [&'static str] = &["--batch-size"];
    const SMOKE_LIMIT: u64 = 1;
    type Flags = PredictFlags;
    type Config = PredictConfig;

    fn plan(request: &Request<PredictFlags>, config: Resolved<PredictConfig>) -> Result<Self> {
        if stages::compute(request)?.is_cuda() {
            tracing::info!("tracks are built on the CPU");
        }
        let (weights, trained) = stages::one_network(request, "`--weights FILE --data FOLDER`")?;
        let finder = Finder::open(&weights)?;
        let (prepared, mut events) = events(request.flags.data.as_deref(), trained.as_ref())?;
        events.truncate(request.limited(usize::MAX));
        let config = config.value;
        tell_unread(&config, &finder);
        let tracks = match config.next_hits {
            true => Some(tracks_of(prepared.as_ref(), &finder, &config)?),
            false => None,
        };
        Ok(Self { config, finder, tracks, weights, trained, prepared, events })
    }

    fn describe(&self) -> Vec<String> {
        vec![format!("{} events", self.events.len())]
    }

    fn seed(&self) -> Option<u64> {
        self.trained.as_ref().map(|trained| trained.seed)
    }

    fn upstream<'a>(&'a self, _: Option<&'a Manifest>) -> Vec<&'a Manifest> {
        self.trained.iter().chain(&self.prepared).collect()
    }

    fn inputs(&self) -> Vec<(String, PathBuf)> {
        vec![("weights".into(), self.weights.clone())]
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let Self { config, finder, events, tracks, weights, .. } = self;
        let config = &config;
        let mut noted: Option<PathBuf> = None;
        for prefix in &events {
            let path = event::part(prefix, "hits")?;
            // Events in a zip archive are noted with the archive, once.
            let path = common::store::archive::on_disk(&path);
            if noted.as_deref() == Some(path) {
                continue;
            }
            stage.input(&path.file_name().unwrap_or_default().to_string_lossy(), path)?;
            noted = Some(path.to_path_buf());
        }
        if config.picture {
            // Tracks are drawn beside the truth, where there is one.
            for prefix in &events {
                for part in ["truth", "particles"] {
                    if let Some(path) = event::part_if_there(prefix, part)?.filter(|path| path.is_file()) {
                        stage.input(&path.file_name().unwrap_or_default().to_string_lossy(), &path)?;
                    }
                }
            }
        }
        let path = stage.folder().join("submission.csv");
        let (written, report, fitted) = submission(&weights, config, &events, &path)?;
        stage.output("submission", &written);
        if config.fit {
            let [parquet, csv] = tracker::fitted::write(&fitted, stage.folder())?;
            stage.output("tracks", &parquet);
            stage.output("tracks.csv", &csv);
            stage.metric("unfitted_tracks", fitted.iter().filter(|row| row.fit.is_none()).count());
        }
        if let (Some(data), Finder::StepAhead(loaded)) = (tracks, &finder) {
            let path = stage.folder().join("next_hits.safetensors");
            let (written, metrics) = next_hits(loaded, data, config.batch_size, &path)?;
            stage.output("next_hits", &written);
            for (horizon, figures) in [metrics.figures(0, false), metrics.figures(1, false)].into_iter().enumerate() {
                let Some(figures) = figures else { continue };
                stage.metric(&format!("hit_efficiency_t{}", horizon + 1), figures.hit_efficiency);
                stage.metric(&format!("search_area_t{}", horizon + 1), figures.search_area);
            }
        }
        if config.picture && !events.is_empty() {
            let found: HashMap<i64, Submission> = read_submission(&written.path)?.into_iter().collect();
            let numbers = events.iter().map(|prefix| event::number(prefix)).collect::<Result<Vec<_>>>()?;
            let of = |place: usize| found.get(&numbers[place]).cloned().unwrap_or_default();
            let (page, flat) = crate::picture::event::write(&events, of, stage.folder())?;
            stage.output("event.html", &page);
            stage.output("event.svg", &flat);
        }
        for (name, value) in [("events", report.events), ("hits", report.hits), ("tracks", report.tracks)] {
            stage.metric(name, value);
        }
        stage.metric("ms_per_event", (report.ms_per_event * 10.0).round() / 10.0);
        stage.metric("ms_building", (report.ms_building * 10.0).round() / 10.0);
        tracing::info!(
            "{} tracks in {} events, {:.0} ms an event ({:.0} ms for the tracks); `{}`",
            report.tracks,
            report.events,
            report.ms_per_event,
            report.ms_building,
            written.path.display()
        );
        Ok(Ending::Finished)
    }
}

/// The prepared validating tracks, which must be normalised as those that the network learned from.
fn tracks_of(prepared: Option<&Manifest>, finder: &Finder, config: &PredictConfig) -> Result<Dataset> {
    let (Finder::StepAhead(loaded), Some(prepared)) = (finder, prepared) else {
        return Err(Error::usage("`next_hits` needs the published network and prepared tracks")
            .hint("train from a `prepare-data` stage, or leave it out: `next_hits=false`"));
    };
    let data = Dataset::of_stage(prepared, "valid")?;
    let (found, learned) = (data.normalizer(), config.normalizer.unwrap_or(loaded.normalizer));
    if found != learned {
        let problem = format!("its tracks are normalised by {found:?}, the network learned from {learned:?}");
        return Err(
            Error::input(&prepared.folder, problem).hint("prepare them as those that the network was trained on")
        );
    }
    Ok(data)
}

/// Says what the network at hand does not read of the config.
fn tell_unread(config: &PredictConfig, finder: &Finder) {
    let (own, other) = match finder {
        Finder::StepAhead(_) => ("published network", "tracker"),
        Finder::Tracker(_) => ("tracker", "published network"),
    };
    let unread = match finder {
        Finder::StepAhead(_) => vec![
            ("search", config.search != SearchConfig::default()),
            ("conditions", config.conditions.is_some() && !config.fit),
        ],
        Finder::Tracker(_) => {
            vec![("build", config.build != BuildConfig::default()), ("normalizer", config.normalizer.is_some())]
        }
    };
    for (key, _) in unread.iter().filter(|(_, given)| *given) {
        tracing::warn!("`{key}` is read by the {other} alone, the weights are those of the {own}: it changes nothing");
    }
    if config.batch_size != PredictConfig::default().batch_size && !config.next_hits {
        tracing::warn!("`batch_size` is read for `next_hits` alone: it changes nothing");
    }
}

/// The prepared stage, where there is one, and prefixes of the events to predict: all of a raw folder or of simulated
/// data, the validating ones of prepared data.
fn events(data: Option<&str>, trained: Option<&Manifest>) -> Result<(Option<Manifest>, Vec<PathBuf>)> {
    let stage = match (data, trained) {
        (Some(folder), _) if folder != "-" && !Path::new(folder).join(MANIFEST).exists() => {
            return Ok((None, files::events(&[PathBuf::from(folder)])?));
        }
        (Some(folder), _) => Manifest::read(folder)?,
        (None, Some(trained)) => trained.find("prepare-data")?,
        (None, None) => {
            return Err(Error::usage("`--data` is missing: a folder of events, or a finished `prepare-data` stage"));
        }
    };
    if stage.stage == "simulate-data" {
        let events = prepare::simulated_events(&stage)?;
        return Ok((Some(stage), events));
    }
    let stage = stage.find("prepare-data")?;
    let events = prepare::raw_events(&stage, "valid")?;
    Ok((Some(stage), events))
}
