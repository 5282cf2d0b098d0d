//! PoLAr-MAE: a class for every point of prepared events.

use std::path::PathBuf;
use std::sync::Arc;

use common::config;
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use neural::device;
use neural::precision::Precision;
use polarmae::dataset::Events;
use polarmae::models::segmentation::CLASS_NAMES;
use polarmae::picture;
use polarmae::predict::{Segmenter, Settings, Writer};
use polarmae::train::TrainConfig;

use crate::predict::args::{Args, Format};

/// What will be done: everything resolved and found, nothing written.
struct Plan {
    settings: Settings,
    segmenter: Segmenter,
    weights: PathBuf,
    events: Arc<Events>,
    upstream: Vec<Manifest>,
    folder: PathBuf,
    seed: u64,
    limit: Option<u64>,
}

/// Predicts a set of events.
pub fn run(args: Args, before: Option<Manifest>) -> anyhow::Result<()> {
    let text = settings_text(&args);
    if args.run.print_config {
        common::cli::print_line(text.trim_end())?;
        return Ok(());
    }
    if args.sample.is_some() || args.csv {
        return Err(Error::usage("`--sample` and `--csv` are for submissions, this system has none")
            .hint("leave them out")
            .into());
    }
    let plan = resolve(&args, before)?;
    let most = plan.limit.unwrap_or(plan.events.len()).min(plan.events.len());
    tracing::info!("{}: {most} events of `{}` into `{}`", plan.segmenter.member, args.set, plan.folder.display());
    if args.run.dry_run {
        return Ok(());
    }
    let mut stage = Stage::begin("predict", "polarmae", &plan.folder, &text, plan.seed, args.run.force)?;
    plan.upstream.iter().for_each(|manifest| stage.upstream(manifest));
    stage.input("weights", &plan.weights)?;
    let scale = plan.events.energy_scale().ok_or_else(|| {
        Error::failed("the prepared events do not say how their energies were scaled").hint("prepare them again")
    })?;
    let classes = plan.segmenter.classes();
    let mut writer = Writer::create(stage.folder(), classes, scale)?;
    let mut shown = None;
    plan.segmenter.run(&plan.events, most, &plan.settings, |number, event, predicted| {
        if number == args.picture.unwrap_or(0) {
            shown = Some(picture::Scene::new(event, &predicted.classes, scale));
        }
        writer.append(number, event, predicted)
    })?;
    let (lists, table, counted) = writer.finish()?;
    stage.output("predictions.h5", &lists);
    stage.output("predictions", &table);
    if let Some(scene) = shown {
        stage.output("picture", &scene.write_html(&stage.folder().join("event.html"))?);
        stage.output("picture.svg", &scene.write_svg(&stage.folder().join("event.svg"))?);
    }
    let figures = counted.figures(&CLASS_NAMES[..classes]);
    tracing::info!(
        "{most} events, {} points: mean F1 {:.4}, accuracy {:.4}",
        counted.points(),
        figures["f1_mean"].as_f64().unwrap_or(0.0),
        counted.accuracy()
    );
    stage.metric("member", plan.segmenter.member.clone());
    stage.metric("events", most);
    for key in ["f1_mean", "iou_mean", "accuracy"] {
        stage.metric(key, figures[key].clone());
    }
    stage.finish()?;
    Ok(())
}

fn resolve(args: &Args, before: Option<Manifest>) -> Result<Plan> {
    let device = device::choose(&args.device.device)?;
    device::set_threads(args.run.cpu_threads())?;
    neural::memory::for_long_runs();
    let settings = Settings {
        device,
        // Of events, alone unless asked: with the published norm the events of a batch change one another.
        batch: args.batch_size.unwrap_or(1),
        precision: match args.precision {
            Format::F32 => Precision::F32,
            Format::Bf16 => Precision::Bf16,
            Format::F16 => Precision::F16,
        },
    };
    let config = match &args.config.config {
        Some(file) => Some(config::load::<TrainConfig>(Some(file), &args.config.overrides)?.value),
        None => None,
    };
    let mut upstream = vec![];
    let weights = match (args.weights.as_slice(), before) {
        ([one], _) => one.clone(),
        ([], Some(stage)) => {
            let trained = stage.find("train-model")?;
            let weights = trained.output("model")?;
            upstream.push(trained);
            weights
        }
        ([], None) => {
            return Err(Error::usage("`--from` is missing: the folder of a finished `train-model` stage")
                .hint("for example `--from runs/polarmae_fft`, or `CONFIG --weights FILE --data FOLDER` for a published checkpoint"));
        }
        (files, _) => {
            return Err(Error::usage(format!("`--weights` gives {} files, this system has one network", files.len())));
        }
    };
    let prepared = match (&args.data, upstream.first()) {
        (Some(data), _) => Manifest::read(data)?.find("prepare-data")?,
        (None, Some(trained)) => trained.find("prepare-data")?,
        (None, None) => return Err(Error::usage("`--data` is missing: the folder of a finished `prepare-data` stage")),
    };
    let segmenter = Segmenter::open(&weights, config.as_ref(), &settings)?;
    let events = Arc::new(Events::of_stage(&prepared, &args.set)?);
    let seed = args.run.seed.or(upstream.first().map(|m| m.seed)).unwrap_or(0);
    upstream.push(prepared);
    let limit = if args.fast_dev_run { Some(2) } else { args.run.limit };
    Ok(Plan { settings, segmenter, weights, events, upstream, folder: args.run.folder("predict"), seed, limit })
}

/// What a prediction depends on beside its inputs.
fn settings_text(args: &Args) -> String {
    let limit = if args.fast_dev_run { Some(2) } else { args.run.limit };
    format!(
        "system: polarmae\nset: {}\nbatch: {}\nprecision: {}\nlimit: {}\n",
        args.set,
        args.batch_size.unwrap_or(1),
        format!("{:?}", args.precision).to_lowercase(),
        limit.map_or("null".into(), |limit| limit.to_string())
    )
}
