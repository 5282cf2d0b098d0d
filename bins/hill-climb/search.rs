//! `hill-climb search`: from out-of-fold predictions to weights.

use std::path::{Path, PathBuf};

use climb::weights::{self, Weights};
use climb::{Metric, SearchConfig};
use common::durable::Written;
use common::oof::{Reading, Set, resolve, resolve_in};
use common::stage::{Manifest, Stage};
use common::store::scratch::Scratch;
use common::store::tensors::{Declaration, Dtype, TensorWriter};
use common::{Error, Result, config, durable};
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::hill_climb::args::SearchArgs;
use crate::hill_climb::bootstrap::Bootstrap;
use crate::hill_climb::facts::Facts;
use crate::hill_climb::folds::OutOfFold;
use crate::hill_climb::problem::{Blend, Problem};
use crate::hill_climb::{doubts, folds, members, page, report};

/// Rows of the blended predictions that are held at once.
const BLOCK_ROWS: usize = 4096;

/// What of memory is worth a line.
const LARGE: u64 = 256 << 20;
/// What the program itself takes.
const PROGRAM: u64 = 64 << 20;

/// Runs the search.
pub fn run(args: &SearchArgs) -> Result<()> {
    for own in registry::blend() {
        if (own.search)(&args.request())? {
            return Ok(());
        }
    }
    let config = config::load::<SearchConfig>(args.config.as_deref(), &args.overrides())?;
    if args.run.print_config {
        return common::cli::print_line(config.annotated().trim_end());
    }
    let truth = truth(&args.truth)?;
    let folder = args.run.folder("hill-climb");
    let scratch = Scratch::of(&folder);
    let reading = Reading { samples: config.value.metric == Metric::Crps, ..args.reading() };
    let set = Set::open(&truth, &members::paths(&args.oof)?, &reading, scratch.folder())?;
    drop(scratch);
    for note in &set.notes {
        info!("{note}");
    }
    for warning in &set.warnings {
        warn!("{warning}");
    }
    let Set { truth, members, .. } = &set;
    let rows = args.run.limit.map_or(truth.rows(), |n| truth.rows().min(usize::try_from(n).unwrap_or(usize::MAX)));
    let seed = args.run.seed.unwrap_or(0);
    let mut problem = Problem::new(&set, rows, &config.value, seed)?;
    if let (Some(_), Some(column)) = (config.value.folds, &args.fold_column) {
        return Err(Error::usage(format!("`folds` draws folds, `--fold-column {column}` reads them"))
            .hint("leave one of them out"));
    }
    let start = config.value.start_file().map(Path::new);
    problem.start = start.map(|path| started(path, &problem)).transpose()?;
    let folds = folds::assigned(&problem)?;
    args.run.cpu_threads();
    demand_memory(&problem, set.reading_bytes);
    info!("{} models, {rows} rows x {} columns of `{}`", members.len(), truth.columns(), truth.path().display());
    for doubt in doubts::of(&problem) {
        warn!("{doubt}");
    }
    if args.run.dry_run {
        info!("would search the weights and write them to `{}`", folder.display());
        return Ok(());
    }
    let system = &truth.layout().system;
    let mut stage = Stage::begin("hill-climb", system, &folder, &config.text, seed, args.run.force)?;
    stage.input("truth", truth.path())?;
    for member in members {
        stage.input(&format!("oof/{}", member.name), member.table.path())?;
    }
    if let Some(path) = start {
        stage.input("start", path)?;
    }

    let blend = problem.solve()?;
    let honest = folds.map(|folds| OutOfFold::of(&problem, &folds)).transpose()?;
    let resamples = config.value.bootstrap;
    let bootstrap = (resamples > 0).then(|| Bootstrap::of(&problem, resamples)).transpose()?;
    let facts = Facts::of(&problem, &blend, honest.as_ref(), bootstrap.as_ref())?;
    info!("{}", report::table(&problem, &blend, honest.as_ref()));
    if let Some(warning) = honest.as_ref().and_then(|honest| report::doubt(&problem, honest)) {
        warn!("{warning}");
    }

    let out = stage.folder().to_path_buf();
    let (table, own) = report::weighted(&problem, &blend);
    stage.output("weights", &weights::write_csv_in(problem.blending(), &out.join("weights.csv"), &table, &own)?);
    stage.output(
        "weights_json",
        &write_json(&out.join("weights.json"), &report::json(&problem, &blend, &facts, honest.as_ref()))?,
    );
    stage.output("history", &durable::write(out.join("history.csv"), report::history(&problem, &blend).as_bytes())?);
    let about = page::page(&problem, &blend, &facts, honest.as_ref(), config.annotated());
    stage.texts(about.beside())?;
    stage.output("report", &durable::write(out.join("report.html"), about.html().as_bytes())?);
    if args.write_oof {
        stage.output("oof", &write_oof(&out.join("oof.safetensors"), &problem, &blend)?);
    }
    for (name, value) in report::metrics(&problem, &blend, honest.as_ref()) {
        stage.metric(&name, value);
    }
    stage.finish()?;
    Ok(())
}

/// The file that an argument stands for: itself, or what the system of a finished stage says holds true values.
fn truth(argument: &str) -> Result<PathBuf> {
    if argument != "-" && !Path::new(argument).is_dir() {
        return resolve(argument, &[]);
    }
    let stage = Manifest::read(argument)?;
    resolve_in(&stage, registry::truth(&stage.system))
}

/// The weights of a file as weights of the members to start from.
fn started(path: &Path, problem: &Problem) -> Result<Vec<f64>> {
    let given = Weights::read(path)?;
    let (expected, found) = (problem.blending(), given.blending);
    if expected != found {
        let problem = format!("holds weights for the space `{}`, the search is in `{}`", found.name(), expected.name());
        return Err(Error::input(path, problem).hint(format!("`--space {}`", found.space.name())));
    }
    let mut weights = vec![0.0; problem.members.len()];
    for (name, weight) in given.models.iter().zip(given.global()) {
        let place = problem.members.iter().position(|member| weights::stem(&member.name) == name);
        let Some(place) = place else {
            let members = problem.members.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join("`, `");
            return Err(Error::input(path, format!("the model `{name}` is none of the members `{members}`"))
                .hint("name the members as the table does: `NAME=FILE`"));
        };
        weights[place] = *weight;
    }
    let sum: f64 = weights.iter().sum();
    if problem.config.sum_one && (sum - 1.0).abs() > 1e-6 {
        return Err(Error::input(path, format!("the weights to start from sum to {sum}, expected 1"))
            .hint("`--free-sum` searches weights with any sum"));
    }
    Ok(weights)
}

/// Says what memory the search needs where that is much, and warns where there is less.
fn demand_memory(problem: &Problem, reading: u64) {
    let (own, more) = (problem.own_bytes(), problem.bytes(rayon::current_num_threads()));
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    match common::memory::available_bytes() {
        Some(free) if more > free => {
            let (more, free) = (mib(more), free >> 20);
            warn!("the search needs up to {more} MiB, {free} MiB are free; fewer `--threads` and no folds need less");
        }
        _ if own + more > LARGE => {
            let (all, own) = (mib(own + more.max(reading) + PROGRAM), mib(own));
            info!("the search needs up to {all} MiB of memory, {own} MiB of it for truth and members");
        }
        _ => {}
    }
}

fn write_json(path: &Path, value: &Value) -> Result<Written> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::failed(format!("weights: {e}")))?;
    durable::write(path, format!("{text}\n").as_bytes())
}

/// Writes the blended predictions in the space of the truth.
fn write_oof(path: &Path, problem: &Problem, blend: &Blend) -> Result<Written> {
    let columns = problem.table.columns();
    let weights = blend.by_column(columns);
    let whole = if problem.is_plain() { None } else { Some(problem.blended(blend)?) };
    let mut declared = vec![Declaration::new("predictions", Dtype::F32, &[problem.rows(), columns])];
    let normalisation = problem.table.normalisation();
    if normalisation.is_some() {
        declared.push(Declaration::new("mean", Dtype::F64, &[columns]));
        declared.push(Declaration::new("std", Dtype::F64, &[columns]));
    }
    let mut metadata = problem.table.metadata().cloned().unwrap_or_else(|| json!({}));
    metadata["member"] = "blend".into();
    let mut writer = TensorWriter::create(path, &declared, Some(&metadata))?;
    if let Some((mean, std)) = normalisation {
        writer.append_elements("mean", mean)?;
        writer.append_elements("std", std)?;
    }
    let mut block = Vec::with_capacity(BLOCK_ROWS * columns);
    let (mut values, mut total) = (vec![0.0; columns], vec![0.0; columns]);
    for start in (0..problem.rows()).step_by(BLOCK_ROWS) {
        common::cli::signals::check("nothing, the search is repeated in seconds")?;
        block.clear();
        if let Some(whole) = &whole {
            let end = (start + BLOCK_ROWS).min(problem.rows());
            block.extend(whole[start * columns..end * columns].iter().map(|&v| v as f32));
            writer.append_elements("predictions", &block)?;
            continue;
        }
        for row in start..(start + BLOCK_ROWS).min(problem.rows()) {
            total.fill(0.0);
            for (k, model) in problem.models.iter().enumerate() {
                model.read(row, 0..columns, &mut values);
                for ((sum, value), weights) in total.iter_mut().zip(&values).zip(&weights) {
                    *sum += weights[k] * value;
                }
            }
            block.extend(total.iter().map(|&v| v as f32));
        }
        writer.append_elements("predictions", &block)?;
    }
    writer.finish()
}
