//! IceCube: opening angles between predicted and true directions.

mod experiments;
mod report;
mod targets;

use std::path::Path;

use common::angles;
use common::directions::{Missing, Predictions, Truth};
use common::oof::{named, resolve};
use common::stage::Stage;
use common::{Error, Result, durable};
use tracing::{info, warn};

use crate::score::args::ScoreArgs;
use experiments::Row;
use report::{Report, Scored};

/// Scores all predictions.
pub fn run(args: &ScoreArgs, truth: &Truth) -> Result<()> {
    if args.no_zero_rule || args.targets {
        return Err(Error::usage("`--no-zero-rule` and `--targets` are for R2, directions have one score")
            .hint("leave them out"));
    }
    experiments::check(&args.table)?;
    let (mut reports, mut rows) = (Vec::new(), Vec::new());
    let mut inputs = truth.files();
    for argument in &args.predictions {
        let (called, file) = named(argument);
        let path = resolve(file, &["predictions", "oof", "submission", "submission.csv"])?;
        let predictions = Predictions::read(&path, args.limit)?;
        let (scored, missing) = scored(&predictions, truth)?;
        if let Some(missing) = missing.describe().filter(|_| args.limit.is_none()) {
            warn!(
                "`{}`: {missing} of `{}`; the score is that of the others",
                path.display(),
                truth.files()[0].display()
            );
        }
        reports.push(Report::new(called.map_or_else(|| name(file, &path), str::to_string), &path, &scored));
        if !args.table.is_empty() {
            rows.push(Row::new(reports.last().ok_or_else(|| Error::failed("no report"))?, Path::new(file))?);
        }
        inputs.push(path);
    }
    if args.table.is_empty() {
        info!("{}", report::table(&reports));
    } else {
        info!("{}", experiments::markdown(&rows));
        experiments::write(&rows, &args.table)?;
    }
    if let Some(file) = &args.summary {
        let means: Vec<_> = reports.iter().map(|r| (r.name.as_str(), r.mean)).collect();
        crate::score::report::write_summary(file, &means)?;
    }
    let value = report::json(&reports);
    let Some(out) = &args.out else {
        let text = if args.json { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        return common::cli::print_line(&text.map_err(|e| Error::failed(format!("report: {e}")))?);
    };
    let mut stage = Stage::begin("score", "icecube", out, &args.config_text(), 0, args.force)?;
    for path in &inputs {
        stage.input(&path.display().to_string(), path)?;
    }
    let text = serde_json::to_string_pretty(&value).map_err(|e| Error::failed(format!("report: {e}")))?;
    let written = durable::write(stage.folder().join("score.json"), format!("{text}\n").as_bytes())?;
    stage.output("score", &written);
    stage.metric("members", reports.iter().map(|r| (r.name.clone(), r.mean.into())).collect::<serde_json::Map<_, _>>());
    if let [only] = reports.as_slice() {
        stage.metric("score", only.mean);
    }
    stage.finish()?;
    Ok(())
}

/// The folder's name where a folder was given, else that of the file.
fn name(argument: &str, path: &Path) -> String {
    let given = Path::new(argument);
    let named = if given.is_dir() { given.file_name() } else { path.file_stem() };
    named.unwrap_or_default().to_string_lossy().into_owned()
}

/// Joins with the truth by event.
fn scored(predictions: &Predictions, truth: &Truth) -> Result<(Vec<Scored>, Missing)> {
    let (known, missing) = predictions.joined(truth)?;
    let scored = known.into_iter().zip(&predictions.directions).enumerate().map(|(place, (known, direction))| Scored {
        angle: angles::opening(*direction, known.direction),
        zenith: known.zenith,
        kappa: predictions.kappas.as_ref().map(|kappas| kappas[place]),
        pulses: known.pulses,
        kind: known.kind,
        extra: predictions.extra.as_ref().map(|extra| extra[place]),
        energy: known.energy,
        vertex: known.vertex,
    });
    Ok((scored.collect(), missing))
}
