//! LEAP: a submission of one network, or of the seven networks of the groups.

use std::path::PathBuf;
use std::sync::Arc;

use common::stage::{Manifest, Stage};
use common::{Error, Result};
use leap::columns::GROUPS;
use leap::norm::Constants;
use leap::predict::{Predictor, Settings, TestRows};
use leap::submission::{self, Recipe, Writer};
use leap::train;
use neural::device;
use neural::precision::Precision;

use crate::predict::args::{Args, Format, ZeroList};

/// What will be done: everything resolved and found, nothing written.
struct Plan {
    settings: Settings,
    predictor: Predictor,
    weights: Vec<PathBuf>,
    test: Arc<TestRows>,
    test_path: PathBuf,
    constants: Constants,
    upstream: Vec<Manifest>,
    folder: PathBuf,
    seed: u64,
    limited: bool,
}

/// Predicts the test rows.
pub fn run(args: Args, before: Option<Manifest>) -> anyhow::Result<()> {
    if let Some(config) = &args.config.config {
        return Err(
            Error::usage(format!("`{}`: predicting with LEAP networks takes no config", config.display())).into()
        );
    }
    let text = settings_text(&args);
    if args.run.print_config {
        common::cli::print_line(text.trim_end())?;
        return Ok(());
    }
    let plan = resolve(&args, before)?;
    let name = if plan.predictor.member.is_empty() { "submission" } else { &plan.predictor.member };
    tracing::info!(
        "{name}: {} test rows of chain {} into `{}`",
        plan.test.len(),
        plan.predictor.chain,
        plan.folder.display()
    );
    let ids = submission::ids(plan.test.ids()?);
    if args.run.dry_run {
        return Ok(());
    }
    let mut stage = Stage::begin("predict", "leap", &plan.folder, &text, plan.seed, args.run.force)?;
    plan.upstream.iter().for_each(|manifest| stage.upstream(manifest));
    for (i, path) in plan.weights.iter().enumerate() {
        stage.input(&format!("weights/{i}"), path)?;
    }
    if let Some(sample) = &args.sample {
        stage.input("sample", sample)?;
        match plan.limited {
            false => submission::check_sample(sample, stage.folder(), &ids, &plan.test_path)?,
            true => tracing::warn!("only some rows are predicted: the sample file is not compared"),
        }
    }
    let recipe = Recipe::new(&plan.constants, &plan.predictor.zero_list);
    let mut writer = Writer::create(stage.folder(), name, recipe, ids, args.csv)?;
    plan.predictor.run(&plan.test, &plan.settings, |predicted, linear| writer.append(predicted, linear))?;
    let written = writer.finish()?;
    let competition = (!plan.limited).then_some(submission::COMPETITION);
    tracing::info!("{}", written.summary(competition, name));
    stage.output("submission", &written.parquet);
    if let Some(csv) = &written.csv {
        stage.output("submission.csv", csv);
    }
    stage.metric("member", name);
    stage.metric("rows", plan.test.len());
    stage.metric("zero_list", plan.predictor.zero_list.len());
    stage.finish()?;
    Ok(())
}

fn resolve(args: &Args, before: Option<Manifest>) -> Result<Plan> {
    let device = device::choose(&args.device.device)?;
    device::set_threads(args.run.cpu_threads())?;
    neural::memory::for_long_runs();
    let settings = Settings {
        device,
        batch: if args.fast_dev_run { 8 } else { args.batch_size.unwrap_or(4096) },
        precision: match args.precision {
            Format::F32 => Precision::F32,
            Format::Bf16 => Precision::Bf16,
            Format::F16 => Precision::F16,
        },
        apply_zero_list: match args.zero_list {
            ZeroList::Auto => None,
            ZeroList::Apply => Some(true),
            ZeroList::Ignore => Some(false),
        },
    };
    let mut upstream = vec![];
    let (predictor, weights) = match (args.weights.as_slice(), before) {
        ([one], _) => (Predictor::single(one, &settings)?, vec![one.clone()]),
        ([], Some(manifest)) => {
            // The nearest stage that holds networks.
            let trained = match manifest.find_if_any("finetune-group")? {
                Some(tuned) => tuned,
                None => manifest.find("train-model")?,
            };
            let predictor = Predictor::of_stage(&trained, &settings)?;
            let weights = Predictor::files_of(&trained)?;
            upstream.push(trained);
            (predictor, weights)
        }
        ([], None) => {
            return Err(Error::usage(
                "`--from` is missing: the folder of a finished `train-model` or `finetune-group` stage",
            )
            .hint("for example `--from runs/exp195`, or `--weights FILE --data FOLDER` for converted weights"));
        }
        (files, _) if files.len() != GROUPS => {
            return Err(Error::usage(format!("`--weights` gives {} files, expected 1 or {GROUPS}", files.len())));
        }
        (files, _) => (Predictor::groups(files, &settings)?, files.to_vec()),
    };
    let prepared = match (&args.data, upstream.first()) {
        (Some(data), _) => Manifest::read(data)?.find("prepare-data")?,
        (None, Some(trained)) => trained.find("prepare-data")?,
        (None, None) => return Err(Error::usage("`--data` is missing: the folder of a finished `prepare-data` stage")),
    };
    let chain = predictor.chain;
    let test_path = prepared.output(&format!("{chain}/test"))?;
    let limit = if args.fast_dev_run { Some(8) } else { args.run.limit };
    let test = Arc::new(TestRows::open(&test_path, limit)?);
    // The constants that the arrays were made with stand in the validation file; without one the published are meant.
    let constants = match prepared.outputs.contains_key(&format!("{chain}/valid")) {
        true => train::constants_of(&prepared.output(&format!("{chain}/valid"))?, chain)?,
        false => Constants::published(chain)?.clone(),
    };
    let seed = args.run.seed.or(upstream.first().map(|m| m.seed)).unwrap_or(0);
    upstream.push(prepared);
    Ok(Plan {
        settings,
        predictor,
        weights,
        test,
        test_path,
        constants,
        upstream,
        folder: args.run.folder("predict"),
        seed,
        limited: limit.is_some(),
    })
}

/// What a prediction depends on beside its inputs.
fn settings_text(args: &Args) -> String {
    let limit = if args.fast_dev_run { Some(8) } else { args.run.limit };
    format!(
        "system: leap\nprecision: {}\nzero_list: {}\nlimit: {}\n",
        format!("{:?}", args.precision).to_lowercase(),
        format!("{:?}", args.zero_list).to_lowercase(),
        limit.map_or("null".into(), |limit| limit.to_string())
    )
}
