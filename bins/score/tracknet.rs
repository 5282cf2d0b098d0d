//! TrackNET: submissions against the truth of their events.

use std::path::{Path, PathBuf};

use ::tracknet_data::cuts::Cuts;
use ::tracknet_data::judge::{self, Judgement};
use ::tracknet_data::{page, prepare};
use common::stage::{MANIFEST, Manifest, Stage};
use common::{Error, Result, durable};
use serde_json::{Value, json};

use crate::score::args::ScoreArgs;
use crate::score::report;

/// The events that a path leads to; none where it is something else.
pub fn events_in(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    judge::truth_at(path)
}

/// The events of a stage: the validating ones that were prepared, or all simulated ones where nothing was prepared.
pub fn events_of(stage: &Manifest) -> Result<Vec<PathBuf>> {
    match stage.find_if_any("prepare-data")? {
        Some(prepared) => prepare::raw_events(&prepared, "valid"),
        None => prepare::simulated_events(&stage.find("simulate-data")?),
    }
}

/// Scores all submissions.
pub fn run(args: &ScoreArgs, events: &[PathBuf]) -> Result<()> {
    let cuts = common::config::load::<Cuts>(None, &args.cut)?.value;
    let mut reports: Vec<(String, PathBuf, Judgement, Option<Value>)> = Vec::new();
    for argument in &args.predictions {
        let (called, given) = common::oof::named(argument);
        let folder = Path::new(given);
        let stage = (given == "-" || folder.join(MANIFEST).exists()).then(|| Manifest::read(given)).transpose()?;
        let (path, speed) = match &stage {
            Some(stage) => (stage.output("submission")?, stage.metrics.get("ms_per_event").cloned()),
            None => (folder.to_path_buf(), None),
        };
        let judgement = judge::judge(&path, events, &cuts, args.limit)?;
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
    let pretty = |value: &Value| serde_json::to_string_pretty(value).map_err(|e| Error::failed(format!("report: {e}")));
    if let Some(file) = &args.summary {
        let means: Vec<(&str, f64)> = reports.iter().map(|(name, _, j, _)| (name.as_str(), j.trackml)).collect();
        report::write_summary(file, &means)?;
    }
    let Some(out) = &args.out else {
        let text = if args.json { pretty(&value)? } else { value.to_string() };
        return common::cli::print_line(&text);
    };
    let mut stage = Stage::begin("score", "tracknet", out, &args.config_text(), 0, args.force)?;
    for (name, path, _, _) in &reports {
        stage.input(name, path)?;
    }
    let written = durable::write(stage.folder().join("score.json"), format!("{}\n", pretty(&value)?).as_bytes())?;
    stage.output("score", &written);
    let tables: Vec<(&str, &Judgement)> = reports.iter().map(|(name, _, j, _)| (name.as_str(), j)).collect();
    let (table, page) = page::write(&tables, stage.folder())?;
    stage.output("figures.csv", &table);
    stage.output("report.html", &page);
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
    stage.finish()?;
    Ok(())
}
