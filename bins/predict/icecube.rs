//! IceCube: an ensemble of networks on test events, to tables of directions and a submission.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::config;
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use icecube::dataset::{EventSource, Events, Lengths};
use icecube::predict::{self, About, Ensemble, Member, MemberConfig, PredictConfig};
use icecube::sampler;
use icecube::train::{Visits, weights_of};
use neural::device;
use neural::loader::Order;
use neural::precision::Precision;
use tch::Device;

use crate::predict::args::{Args, Format};

/// What will be done: everything resolved and found, nothing written.
struct Plan {
    config: PredictConfig,
    text: String,
    ensemble: Ensemble,
    weights: Vec<PathBuf>,
    visits: Visits,
    sample: Option<Vec<i64>>,
    upstream: Vec<Manifest>,
    prepared: PathBuf,
    device: Device,
    folder: PathBuf,
    limited: bool,
}

/// Predicts the test events.
pub fn run(args: Args, before: Option<Manifest>) -> anyhow::Result<()> {
    let mut overrides = args.config.overrides.clone();
    overrides.extend(args.run.seed_override());
    overrides.extend(args.batch_size.map(|size| format!("batch_size={size}")));
    match args.precision {
        Format::F32 => {}
        Format::Bf16 => overrides.push("precision=bf16".into()),
        Format::F16 => overrides.push("precision=f16".into()),
    }
    let config = match (&args.config.config, &before) {
        (Some(file), _) => config::load::<PredictConfig>(Some(file), &overrides)?,
        (None, Some(stage)) => of_stage(&stage.find("train-model")?, &overrides)?,
        (None, None) => {
            return Err(Error::usage("a config or `--from` is missing: which networks predict")
                .hint(
                    "for example `--from runs/b64`, or `configs/icecube/ensemble.yaml --weights FOLDER --data FOLDER`",
                )
                .into());
        }
    };
    if args.run.print_config {
        return Ok(common::cli::print_line(config.annotated().trim_end())?);
    }
    let mut plan = resolve(&args, config.value, config.text, before)?;
    tracing::info!(
        "{}: {} network(s), {} events, into `{}`",
        plan.config.member,
        plan.config.members.len(),
        plan.visits.order.len(),
        plan.folder.display()
    );
    if args.run.dry_run {
        return Ok(());
    }
    let mut stage = Stage::begin("predict", "icecube", &plan.folder, &plan.text, plan.config.seed, args.run.force)?;
    plan.upstream.iter().for_each(|manifest| stage.upstream(manifest));
    for (member, path) in plan.config.members.iter().zip(&plan.weights) {
        stage.input(&format!("weights/{}", member.name), path)?;
    }
    if let Some(sample) = &args.sample {
        stage.input("sample", sample)?;
    }
    let predicted = predict::predict(&mut plan.ensemble, &plan.visits, plan.device, &plan.prepared)?;
    let folder = stage.folder().to_path_buf();
    stage.output("predictions", &predicted.blend.write(&folder.join("predictions.parquet"))?);
    if plan.config.tables && !predicted.members.is_empty() {
        common::durable::create_folder(folder.join("members"))?;
        for (name, table) in &predicted.members {
            stage.output(&format!("members/{name}"), &table.write(&folder.join(format!("members/{name}.parquet")))?);
        }
    }
    let ids = plan.sample.take().unwrap_or_else(|| predicted.blend.ids.clone());
    let (submission, joined) = predict::write_submission(&predicted.blend, &ids, &folder.join("submission.csv"))?;
    stage.output("submission", &submission);
    if joined.missing > 0 {
        tracing::warn!("{} events of the sample have no prediction: they get 0.0, 0.0", joined.missing);
    }
    if joined.surplus > 0 && !plan.limited {
        tracing::warn!("{} predicted events are not in the sample and left out of the submission", joined.surplus);
    }
    stage.metric("member", plan.config.member.clone());
    stage.metric("events", predicted.blend.ids.len());
    stage.metric("rows", ids.len());
    stage.metric("missing", joined.missing);
    let names: Vec<String> = plan.ensemble.names().map(String::from).collect();
    for (name, bad) in names.iter().zip(&plan.ensemble.not_finite) {
        stage.metric(&format!("not_finite/{name}"), *bad);
    }
    stage.finish()?;
    Ok(())
}

/// The config of a single network that a stage trained: events are read as its validation read them.
fn of_stage(trained: &Manifest, overrides: &[String]) -> Result<config::Resolved<PredictConfig>> {
    let file = trained.output("model")?;
    let about = About::read(&file)?;
    let member = MemberConfig { name: about.member.clone(), weights: file, weight: 1.0, model: None };
    let text = serde_json::json!({
        "system": "icecube", "member": about.member, "input": about.input, "members": [member],
    });
    config::load_text(&trained.folder, &format!("{text:#}\n"), overrides)
}

fn resolve(args: &Args, config: PredictConfig, text: String, before: Option<Manifest>) -> Result<Plan> {
    let device = device::choose(&args.device.device)?;
    device::set_threads(args.run.cpu_threads())?;
    neural::memory::for_long_runs();
    let prepared = match (&args.data, &before) {
        (Some(data), _) => Manifest::read(data)?.find("prepare-data")?,
        (None, Some(stage)) => stage.find("prepare-data")?,
        (None, None) => return Err(Error::usage("`--data` is missing: the folder of a finished `prepare-data` stage")),
    };
    let (mut members, mut weights) = (vec![], vec![]);
    for member in &config.members {
        let path = place(args, &member.weights)?;
        let model = match &member.model {
            Some(model) => model.clone(),
            None => About::read(&path)?.model,
        };
        members.push(Member::load(&member.name, member.weight, &model, &path, device)?);
        weights.push(path);
    }
    let precision: Precision = config.precision;
    let ensemble = Ensemble::new(members, precision)?;
    let limit = if args.fast_dev_run { Some(8) } else { args.run.limit };
    let events = match args.set.as_str() {
        "train" => Events::training(&prepared, &[], Lengths::Total)?,
        _ => Events::test(&prepared)?,
    };
    let order = sampler::evaluation(&events, config.input.length, config.batch_size)?;
    let order = match limit {
        Some(most) if most < order.len() => Order::given(vec![order.epoch(0)?.rows(0, most)])?,
        _ => order,
    };
    let source = Arc::new(EventSource::new(Arc::new(events), config.input.clone(), config.seed));
    let visits = Visits { source, order: Arc::new(order), batch: config.batch_size };
    let sample = args.sample.as_deref().map(predict::sample_ids).transpose()?;
    let mut upstream: Vec<Manifest> = before.into_iter().collect();
    let folder = prepared.folder.clone();
    upstream.push(prepared);
    Ok(Plan {
        config,
        text,
        ensemble,
        weights,
        visits,
        sample,
        upstream,
        prepared: folder,
        device,
        folder: args.run.folder("predict"),
        limited: limit.is_some(),
    })
}

/// Where the weights of a member lie: below the folder of `--weights`, or that file itself, or as the config says.
fn place(args: &Args, named: &Path) -> Result<PathBuf> {
    let path = match args.weights.as_slice() {
        [] => named.to_path_buf(),
        [folder] if folder.is_dir() => folder.join(named),
        [file] => file.clone(),
        files => {
            return Err(Error::usage(format!(
                "`--weights` gives {} files, expected the folder of the members",
                files.len()
            )));
        }
    };
    let file = weights_of(&path)?;
    if !file.is_file() {
        return Err(Error::usage(format!("there is no weights file `{}`", file.display()))
            .hint("name the folder that holds the weights of all members with `--weights FOLDER`"));
    }
    Ok(file)
}
