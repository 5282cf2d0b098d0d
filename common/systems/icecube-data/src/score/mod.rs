//! Opening angles between predicted and true directions.

mod experiments;
mod page;
mod report;
mod targets;

use std::path::{Path, PathBuf};

use common::oof::{named, resolve};
use common::system::{Score, ScoreRequest};
use common::{Error, Result};
use serde_json::Map;
use tracing::{info, warn};

use crate::NAME;
use crate::angles;
use crate::directions::{Missing, Predictions, Truth};
use experiments::Row;
use report::{Report, Scored};

/// Scores of directions.
pub const SCORE: Score = Score {
    reads: &["--truth", "--table"],
    about: "Directions (`event_id`, `azimuth`, `zenith`) get the mean opening angle in radians (lower is better): overall, by \
            kind of event, pulses, zenith and kappa, and how well kappa is calibrated.",
    predictions: "For directions: tables with `event_id`, `azimuth`, `zenith` and, where known, `kappa`.",
    truth: "Directions: a parquet table, or the folder of a simulate-data or prepare-data stage of IceCube.",
    flags: &[(
        "--table",
        "For directions: a `.csv`, `.md` or `.json` file; may be given several times. The columns are those of an \
         experiment log: experiment, score, published score, score of tracks and of cascades where the truth has kinds, \
         description, config, training set. What an experiment is stands in the configs of the runs.",
    )],
    examples: "  score --truth train_meta_655.parquet runs/b32 runs/b64",
    claims: |request| Ok(truth(request)?.is_some()),
    run,
};

/// The truth, if it is one of directions.
fn truth(request: &ScoreRequest) -> Result<Option<Truth>> {
    let given = request.truth_path();
    if given.is_some_and(|path| !path.is_dir()) {
        let told = request.id.is_some() || !request.target.is_empty();
        return match given {
            Some(path) if told => Ok(Truth::of_file(path)),
            Some(path) => Truth::claimed(path),
            None => Ok(None),
        };
    }
    match request.truth_stage()? {
        Some(stage) if stage.system == NAME => Truth::of_stage(stage).map(Some),
        _ => Ok(None),
    }
}

/// Scores all predictions.
fn run(request: &ScoreRequest) -> Result<()> {
    let Some(truth) = truth(request)? else { return Err(Error::usage("the truth is none of directions")) };
    experiments::check(&request.table)?;
    let (mut reports, mut rows, mut events) = (Vec::new(), Vec::new(), Vec::new());
    let mut inputs: Vec<PathBuf> = truth.files();
    for argument in &request.predictions {
        let (called, file) = named(argument);
        let path = resolve(file, &["predictions", "oof", "submission", "submission.csv"])?;
        let predictions = Predictions::read(&path, request.limit)?;
        let (scored, missing) = scored(&predictions, &truth)?;
        if let Some(missing) = missing.describe().filter(|_| request.limit.is_none()) {
            let shown = truth.files()[0].display().to_string();
            warn!("`{}`: {missing} of `{shown}`; the score is that of the others", path.display());
        }
        reports.push(Report::new(called.map_or_else(|| name(file, &path), str::to_string), &path, &scored));
        if !request.table.is_empty() {
            rows.push(Row::new(reports.last().ok_or_else(|| Error::failed("no report"))?, Path::new(file))?);
        }
        events.push(scored);
        inputs.push(path);
    }
    if request.table.is_empty() {
        info!("{}", report::table(&reports));
    } else {
        info!("{}", experiments::markdown(&rows));
        experiments::write(&rows, &request.table)?;
    }
    let means: Vec<(&str, f64)> = reports.iter().map(|r| (r.name.as_str(), r.mean)).collect();
    let inputs: Vec<_> = inputs.into_iter().map(|path| (path.display().to_string(), path)).collect();
    request.publish(NAME, &report::json(&reports), &means, &inputs, |stage| {
        let members: Map<_, _> = means.iter().map(|(name, mean)| ((*name).to_string(), (*mean).into())).collect();
        stage.metric("members", members);
        if let [only] = reports.as_slice() {
            stage.metric("score", only.mean);
        }
        let members: Vec<(&Report, &[Scored])> = reports.iter().zip(events.iter().map(Vec::as_slice)).collect();
        let page = page::page(&members);
        stage.texts(page.beside())?;
        let written = common::durable::write(stage.folder().join("report.html"), page.html().as_bytes())?;
        stage.output("report", &written);
        Ok(())
    })
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
        // The first component is the sine: see `angles::vector`.
        azimuth: known.direction[0].atan2(known.direction[1]).rem_euclid(std::f64::consts::TAU),
        kappa: predictions.kappas.as_ref().map(|kappas| kappas[place]),
        length: predictions.lengths.as_ref().map(|lengths| lengths[place]),
        regions: predictions.regions.as_ref().map(|regions| regions[place]),
        pulses: known.pulses,
        kind: known.kind,
        extra: predictions.extra.as_ref().map(|extra| extra[place]),
        energy: known.energy,
        vertex: known.vertex,
    });
    Ok((scored.collect(), missing))
}
