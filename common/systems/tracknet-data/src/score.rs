//! Submissions against the truth of their events.

pub mod trackml;

use std::path::{Path, PathBuf};

use common::stage::{MANIFEST, Manifest};
use common::system::{Score, ScoreRequest};
use common::{Error, Result};
use serde_json::{Value, json};

use crate::NAME;
use crate::cuts::Cuts;
use crate::judge::{self, Judgement};
use crate::{page, prepare};

/// Scores of tracks.
pub const SCORE: Score = Score {
    reads: &["--truth", "--cut"],
    about: "Tracks (TrackML submissions) get the TrackML score, efficiency, purity, clones and ghosts, by pT, eta and number \
            of hits.",
    predictions: "For events of TrackML: submissions, or folders of `predict` stages.",
    truth: "Tracks: a folder or zip archive of `event*-{hits,particles,truth}.csv`, one truth file, or a stage that was fed by \
            such events.",
    flags: &[(
        "--cut",
        "For tracks; may be given several times: `min_pt`, `max_eta`, `min_hits`, `first_layers`, `max_vertex_radius`, \
         `max_vertex_z`, `min_track_hits`, `high_pt`, `missing_events=refuse`.",
    )],
    examples: "  score --truth events/train_1 tracks",
    claims: |request| Ok(events(request)?.is_some()),
    run,
};

/// The events of the truth: those of a path; those of a stage, the validating ones that were prepared, or all simulated ones
/// where nothing was prepared. None where it is no truth of events.
fn events(request: &ScoreRequest) -> Result<Option<Vec<PathBuf>>> {
    if let Some(path) = request.truth_path()
        && let Some(events) = judge::truth_at(path)?
    {
        return Ok(Some(events));
    }
    let Some(stage) = request.truth_stage()?.filter(|stage| stage.system == NAME) else { return Ok(None) };
    match stage.find_if_any("prepare-data")? {
        Some(prepared) => prepare::raw_events(&prepared, "valid").map(Some),
        None => prepare::simulated_events(&stage.find("simulate-data")?).map(Some),
    }
}

/// Scores all submissions.
fn run(request: &ScoreRequest) -> Result<()> {
    let Some(events) = events(request)? else { return Err(Error::usage("the truth is none of events")) };
    let cuts = common::config::load::<Cuts>(None, &request.cut)?.value;
    let mut reports: Vec<(String, PathBuf, Judgement, Option<Value>)> = Vec::new();
    for argument in &request.predictions {
        let (called, given) = common::oof::named(argument);
        let folder = Path::new(given);
        let stage = (given == "-" || folder.join(MANIFEST).exists()).then(|| Manifest::read(given)).transpose()?;
        let (path, speed) = match &stage {
            Some(stage) => (stage.output("submission")?, stage.metrics.get("ms_per_event").cloned()),
            None => (folder.to_path_buf(), None),
        };
        let judgement = judge::judge(&path, &events, &cuts, request.limit)?;
        let speed_text =
            speed.as_ref().and_then(Value::as_f64).map_or(String::new(), |ms| format!("\n{ms:.0} ms an event"));
        tracing::info!("`{}`: {}{speed_text}", path.display(), judgement.table());
        reports.push((called.unwrap_or(given).to_string(), path, judgement, speed));
    }
    let scores: Vec<Value> = reports
        .iter()
        .map(|(name, path, judgement, speed)| {
            let mut value = judgement.json();
            value["name"] = json!(name);
            value["path"] = json!(path);
            value["ms_per_event"] = speed.clone().unwrap_or(Value::Null);
            value
        })
        .collect();
    let value = json!({ "metric": "trackml", "scores": scores });
    let means: Vec<(&str, f64)> = reports.iter().map(|(name, _, j, _)| (name.as_str(), j.trackml)).collect();
    let inputs: Vec<_> = reports.iter().map(|(name, path, _, _)| (name.clone(), path.clone())).collect();
    request.publish(NAME, &value, &means, &inputs, |stage| {
        let tables: Vec<(&str, &Judgement)> = reports.iter().map(|(name, _, j, _)| (name.as_str(), j)).collect();
        let (table, written, page) = page::write(&tables, stage.folder())?;
        stage.output("figures.csv", &table);
        stage.output("report.html", &written);
        stage.texts(page.beside())?;
        if let [(_, _, judgement, speed)] = reports.as_slice() {
            stage.metric("trackml_score", judgement.trackml);
            if let Some((_, figures)) = judgement.figures.first() {
                for (name, value) in [
                    ("efficiency", figures.all.efficiency()),
                    ("purity", figures.all.purity()),
                    ("purity_above_1_gev", figures.high_pt.purity()),
                    ("clone_rate", figures.all.clone_rate()),
                    ("ghost_rate", figures.all.ghost_rate()),
                ] {
                    if value.is_finite() {
                        stage.metric(name, value);
                    }
                }
            }
            if let Some(ms) = speed {
                stage.metric("ms_per_event", ms.clone());
            }
        }
        Ok(())
    })
}
