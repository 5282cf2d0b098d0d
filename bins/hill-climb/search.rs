//! `hill-climb search`: from out-of-fold predictions to weights.

use std::path::{Path, PathBuf};

use climb::SearchConfig;
use common::durable::Written;
use common::oof::{Set, resolve, resolve_in};
use common::stage::{Manifest, Stage};
use common::store::scratch::Scratch;
use common::store::tensors::{Declaration, Dtype, TensorWriter};
use common::{Error, Result, config, durable};
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::hill_climb::args::SearchArgs;
use crate::hill_climb::problem::{Blend, Problem};
use crate::hill_climb::{members, page, report};
use climb::weights;

/// Rows of the blended predictions that are held at once.
const BLOCK_ROWS: usize = 4096;

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
    let set = Set::open(&truth, &members::paths(&args.oof)?, &args.reading(), scratch.folder())?;
    drop(scratch);
    for note in &set.notes {
        info!("{note}");
    }
    for warning in &set.warnings {
        warn!("{warning}");
    }
    let Set { truth, members, .. } = &set;
    let rows = args.run.limit.map_or(truth.rows(), |n| truth.rows().min(usize::try_from(n).unwrap_or(usize::MAX)));
    let problem = Problem::new(&set, rows, &config.value)?;
    info!("{} models, {rows} rows x {} columns of `{}`", members.len(), truth.columns(), truth.path().display());
    if args.run.dry_run {
        info!("would search the weights and write them to `{}`", folder.display());
        return Ok(());
    }
    args.run.cpu_threads();
    let system = &truth.layout().system;
    let seed = args.run.seed.unwrap_or(0);
    let mut stage = Stage::begin("hill-climb", system, &folder, &config.text, seed, args.run.force)?;
    stage.input("truth", truth.path())?;
    for member in members {
        stage.input(&format!("oof/{}", member.name), member.table.path())?;
    }

    let blend = problem.solve()?;
    info!("{}", report::table(&problem, &blend));

    let out = stage.folder().to_path_buf();
    let (table, own) = report::weighted(&problem, &blend);
    stage.output("weights", &weights::write_csv(&out.join("weights.csv"), &table, &own)?);
    stage.output("weights_json", &write_json(&out.join("weights.json"), &report::json(&problem, &blend))?);
    stage.output("history", &durable::write(out.join("history.csv"), report::history(&problem, &blend).as_bytes())?);
    let about = page::page(&problem, &blend, config.annotated())?;
    stage.output("report", &about.write(&out.join("report.html"))?);
    if args.write_oof {
        stage.output("oof", &write_oof(&out.join("oof.safetensors"), &problem, &blend)?);
    }
    for (name, value) in report::metrics(&problem, &blend) {
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

fn write_json(path: &Path, value: &Value) -> Result<Written> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::failed(format!("weights: {e}")))?;
    durable::write(path, format!("{text}\n").as_bytes())
}

/// Writes the blended predictions in the space of the truth.
fn write_oof(path: &Path, problem: &Problem, blend: &Blend) -> Result<Written> {
    let columns = problem.table.columns();
    let weights = blend.by_column(columns);
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
