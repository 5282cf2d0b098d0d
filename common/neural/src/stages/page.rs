//! The page of a training: how good it became, its curves, what it was made of, and how to go on from it.

use std::path::Path;

use common::config::differences;
use common::criterion::Better;
use common::curves::Curves;
use common::provenance::Link;
use common::stage::{CONFIG, Stage};
use common::{Result, durable};
use report::{Axis, Chart, Figure, Page, Sense, Series, Table};

use super::curves;
use crate::trainer::{Outcome, Sample};
use crate::{device, parallel};

/// Metrics of the best evaluation among the headline figures, at most.
const HEADLINES: usize = 4;

/// What a page says that its folder does not.
pub struct Told<'a> {
    /// The model's name.
    pub member: &'a str,
    /// One line below it.
    pub subtitle: &'a str,
    /// The config with the origin of each value.
    pub annotated: &'a str,
    /// What is counted: `rows_per_s`, `events_per_s`.
    pub rows: &'a str,
}

/// The page of a run that has just ended in the folder of `stage`.
///
/// # Errors
/// Those of reading its metric log and its parent's config.
pub fn of_run(stage: &Stage, told: &Told, outcome: &Outcome) -> Result<Page> {
    let curves = Curves::read(&stage.folder().join(common::scalars::JSONL))?;
    let mut page =
        Page::new(told.member, format!("{} of {}: {}", stage.manifest().stage, stage.manifest().system, told.subtitle));
    headline(&mut page, stage, &curves, outcome, told.rows);
    page.section("Curves");
    let best = outcome.state.kept.as_ref().map(|kept| kept.global_step);
    curves::charts(&curves, best).into_iter().for_each(|chart| page.chart(chart));
    let header = ["name", "last", "lowest", "highest", "points"];
    page.table(Table::new("All figures", header).rows(curves::summary(&curves)).folded());
    page.section("Speed and memory");
    pace(&mut page, &outcome.pace, told.rows);
    about(&mut page, stage, told.annotated)?;
    Ok(page)
}

fn headline(page: &mut Page, stage: &Stage, curves: &Curves, outcome: &Outcome, rows: &str) {
    let state = &outcome.state;
    if let Some(kept) = &state.kept {
        let sense = match kept.criterion.better {
            Better::Higher => Sense::Higher,
            Better::Lower => Sense::Lower,
        };
        let place = format!("best of {}: step {}, epoch {}", state.history.len(), kept.global_step, kept.epoch + 1);
        page.figure(Figure::new(format!("valid/{}", kept.criterion.name), kept.shown()).sense(sense).note(place));
        let others = kept.metrics.iter().filter(|m| m.name != kept.criterion.name).take(HEADLINES);
        others.for_each(|m| page.figure(Figure::new(format!("valid/{}", m.name), m.value).note("at the best step")));
    }
    if let Some((step, loss)) = curves.points("train/loss").last() {
        let note = format!("last, step {step}");
        page.figure(Figure::new("train/loss", *loss).sense(Sense::Lower).note(note));
    }
    let ended = state.finished.clone().unwrap_or_default();
    page.figure(Figure::text("steps", state.global_step.to_string()).note(ended));
    let speed = Figure::new(rows.replace("_per_", " per "), outcome.rows_per_s.round());
    page.figure(speed.note(format!("{:.0} % of the time waiting for data", 100.0 * outcome.data_wait)));
    page.figure(Figure::text("time", duration(stage.seconds())).note("of this process"));
}

fn pace(page: &mut Page, samples: &[Sample], rows: &str) {
    if samples.is_empty() {
        page.text("No step was done in this process.");
        return;
    }
    let line = |name: &str, value: &dyn Fn(&Sample) -> f64| {
        Series::line(name, samples.iter().map(|s| (s.step as f64, value(s))).collect())
    };
    let mebibytes = |bytes: u64| (bytes >> 20) as f64;
    let over_steps = |title: &str, y: Axis| Chart::lines(title, Axis::new("step"), y);
    let rows = rows.replace("_per_", " per ");
    page.chart(
        over_steps("Throughput", Axis::new(&rows).range(0.0, 0.0)).smoothing().with(line(&rows, &Sample::rows_per_s)),
    );
    let waiting = Axis::new("share of the time").range(0.0, 0.0);
    page.chart(over_steps("Waiting for data", waiting).with(line("data wait", &Sample::data_wait)));
    let mut memory =
        over_steps("Memory", Axis::new("MiB").range(0.0, 0.0)).with(line("process", &|s| mebibytes(s.memory)));
    if samples.iter().any(|s| s.gpu_memory > 0) {
        memory = memory.with(line("GPU", &|s| mebibytes(s.gpu_memory)));
    }
    page.chart(memory.note("of the process: without what only mirrors files"));
}

/// Parent, data, environment, commands, config: the same for every training.
///
/// # Errors
/// Those of reading the parent's config.
pub fn about(page: &mut Page, stage: &Stage, annotated: &str) -> Result<()> {
    let manifest = stage.manifest();
    page.section("Origin");
    let parent = manifest.chain.iter().find(|link| link.stage == "train-model" || link.stage == "finetune-group");
    if let Some(parent) = parent {
        against(page, stage.folder(), parent)?;
    }
    let mut data = Table::new("Stages before this one", ["stage", "folder", "identity of what it wrote"]);
    for link in &manifest.chain {
        data.row([link.stage.clone(), link.folder.display().to_string(), link.identity.clone()]);
    }
    page.table(data);
    let mut files = Table::new("Files read", ["file", "bytes", "BLAKE3"]).folded();
    for artifact in stage.inputs() {
        files.row([artifact.path.display().to_string(), artifact.bytes.to_string(), artifact.blake3]);
    }
    page.table(files);
    let mut environment = Table::new("Environment", ["what", "value"]);
    environment.row(["Podium", common::VERSION]);
    environment.row(["system", &format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)]);
    environment.row(["threads of a kernel", &device::threads().to_string()]);
    environment.row(["processes", &parallel::group().map_or(1, parallel::Group::size).to_string()]);
    environment.row(["seed", &manifest.seed.to_string()]);
    environment.row(["config, BLAKE3", &manifest.config_hash]);
    page.table(environment);
    page.section("Going on");
    page.commands(commands(stage));
    page.folded_code("Config, with the origin of each value", annotated);
    Ok(())
}

/// What differs from the training that this one began with.
fn against(page: &mut Page, folder: &Path, parent: &Link) -> Result<()> {
    let paths = [parent.folder.join(CONFIG), folder.join(CONFIG)];
    let name = parent.folder.display();
    let mut texts = vec![];
    for path in &paths {
        match std::fs::read_to_string(path) {
            Ok(text) => texts.push((path.as_path(), text)),
            Err(error) => {
                page.text(format!("The config of the parent run `{name}` cannot be read: {error}"));
                return Ok(());
            }
        }
    }
    let texts: Vec<(&Path, &str)> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let mut table = Table::new("Config against the parent run", ["key", "parent", "this run"]);
    for difference in differences(&texts)? {
        let shown = |place: usize| difference.values[place].clone().unwrap_or_else(|| "not there".into());
        table.row([difference.key.clone(), shown(0), shown(1)]);
    }
    page.table(table.note(format!("parent: {} in {name}", parent.stage)));
    Ok(())
}

/// Commands that can be typed as they are.
fn commands(stage: &Stage) -> Vec<(String, String)> {
    let manifest = stage.manifest();
    let folder = quoted(stage.folder());
    let config = quoted(&stage.folder().join(CONFIG));
    let from = manifest.upstream.first().map_or(String::new(), |path| format!(" --from {}", quoted(path)));
    let again = format!("{} {config}{from}", manifest.stage);
    let next = |name: &str| quoted(&stage.folder().with_file_name(name));
    let member = stage.folder().file_name().unwrap_or_default().to_string_lossy().into_owned();
    vec![
        ("the same run into another folder".into(), format!("{again} --out {}", next(&format!("{member}-again")))),
        (
            "take it up after a kill (what is done is kept, the end has the same bytes)".into(),
            format!("{again} --out {folder} --resume auto"),
        ),
        ("predict".into(), format!("predict --from {folder} --out {}", next(&format!("{member}-predictions")))),
        (
            "compare with other runs".into(),
            format!("run-pipeline report {folder} OTHER_RUN --out {}", next("comparison")),
        ),
    ]
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Writes the page and names it among the outputs.
///
/// # Errors
/// Those of writing.
pub fn write(stage: &mut Stage, page: &Page) -> Result<()> {
    let written = durable::write(stage.folder().join("report.html"), page.html().as_bytes())?;
    stage.output("report", &written);
    Ok(())
}

/// Seconds for people.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{}:{:02} min", whole / 60, whole % 60),
        _ => format!("{}:{:02}:{:02} h", whole / 3600, whole / 60 % 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed() {
        assert_eq!(quoted(Path::new("/a b/c'd")), "'/a b/c'\\''d'");
        assert_eq!(quoted(Path::new("/a/b-1.0")), "/a/b-1.0");
        assert_eq!([12.34, 75.0, 3661.0].map(duration), ["12.3 s", "1:15 min", "1:01:01 h"]);
    }
}
