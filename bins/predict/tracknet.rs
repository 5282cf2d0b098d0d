//! TrackNET: the tracks of events as a submission.

use std::path::{Path, PathBuf};

use ::tracknet::dataset::Dataset;
use ::tracknet::predict::{self, Finder, PredictConfig};
use ::tracknet::{files, prepare, trackml};
use common::cli::print_line;
use common::config::{self, Resolved};
use common::stage::{MANIFEST, Manifest, Stage};
use common::{Error, Result};
use neural::device;

use crate::predict::args::Args;

/// Builds the tracks of events.
pub fn run(args: Args, before: Option<Manifest>) -> anyhow::Result<()> {
    let config = match &args.config.config {
        Some(file) => config::load::<PredictConfig>(Some(file), &args.config.overrides)?,
        None => config::load::<PredictConfig>(None, &[])?,
    };
    if args.run.print_config {
        return Ok(print_line(config.annotated().trim_end())?);
    }
    let device = device::choose(&args.device.device)?;
    if device.is_cuda() {
        tracing::info!("tracks are built on the CPU");
    }
    device::set_threads(args.run.cpu_threads())?;
    neural::memory::for_long_runs();
    let trained = before.as_ref().map(|stage| stage.find("train-model")).transpose()?;
    let weights: PathBuf = match (args.weights.as_slice(), &trained) {
        ([one], _) => one.clone(),
        ([], Some(stage)) => stage.output("model")?,
        ([], None) => {
            return Err(Error::usage("`--from` is missing: the folder of a finished `train-model` stage")
                .hint("for example `--from runs/step_ahead`, or `--weights FILE --data FOLDER`")
                .into());
        }
        (many, _) => return Err(Error::usage(format!("`--weights` gives {} files, expected one", many.len())).into()),
    };
    let finder = Finder::open(&weights)?;
    let (prepared, mut events) = events(args.data.as_deref(), trained.as_ref())?;
    let limit = if args.fast_dev_run { Some(1) } else { args.run.limit };
    events.truncate(limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX)));
    let folder = args.run.folder("predict");
    tracing::info!("{} events into `{}`", events.len(), folder.display());
    if args.run.dry_run {
        return Ok(());
    }
    let seed = args.run.seed.or(trained.as_ref().map(|t| t.seed)).unwrap_or(0);
    let text = settings(&config, limit);
    let mut stage = Stage::begin("predict", "tracknet", &folder, &text, seed, args.run.force)?;
    trained.iter().chain(&prepared).for_each(|manifest| stage.upstream(manifest));
    stage.input("weights", &weights)?;
    let mut noted: Option<PathBuf> = None;
    for prefix in &events {
        let path = ::tracknet::event::part(prefix, "hits")?;
        // Events in a zip archive are noted with the archive, once.
        let path = common::store::archive::on_disk(&path);
        if noted.as_deref() == Some(path) {
            continue;
        }
        stage.input(&path.file_name().unwrap_or_default().to_string_lossy(), path)?;
        noted = Some(path.to_path_buf());
    }
    let path = stage.folder().join("submission.csv");
    let (written, report, fitted) = predict::submission(&finder, &config.value, &events, &path)?;
    stage.output("submission", &written);
    if config.value.fit {
        let [parquet, csv] = ::tracknet::tracker::fitted::write(&fitted, stage.folder())?;
        stage.output("tracks", &parquet);
        stage.output("tracks.csv", &csv);
        stage.metric("unfitted_tracks", fitted.iter().filter(|row| row.fit.is_none()).count());
    }
    if config.value.next_hits {
        let (Finder::StepAhead(loaded), Some(prepared)) = (&finder, &prepared) else {
            return Err(Error::usage("`next_hits` needs the published network and prepared tracks")
                .hint("train from a `prepare-data` stage, or leave it out: `next_hits=false`")
                .into());
        };
        let data = Dataset::of_stage(prepared, "valid")?;
        let path = stage.folder().join("next_hits.safetensors");
        let (written, metrics) = predict::next_hits(loaded, data, args.batch_size.unwrap_or(1024), &path)?;
        stage.output("next_hits", &written);
        for (horizon, figures) in [metrics.figures(0, false), metrics.figures(1, false)].into_iter().enumerate() {
            let Some(figures) = figures else { continue };
            stage.metric(&format!("hit_efficiency_t{}", horizon + 1), figures.hit_efficiency);
            stage.metric(&format!("search_area_t{}", horizon + 1), figures.search_area);
        }
    }
    if config.value.picture
        && let Some(first) = events.first()
    {
        let found = trackml::read_submission(&written.path)?;
        let submission = found.first().map(|(_, submission)| submission.clone()).unwrap_or_default();
        let (page, flat) = predict::picture(first, &submission, stage.folder())?;
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
    stage.finish()?;
    Ok(())
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

/// What a prediction depends on beside its inputs.
fn settings(config: &Resolved<PredictConfig>, limit: Option<u64>) -> String {
    let limit = limit.map_or(String::new(), |n| format!("# the first {n} events\n"));
    format!("{limit}{}", config.text)
}
