//! `score`: how well predictions meet a truth, per target, group and level. Uses no tensor library.

mod args;
mod icecube;
mod polarmae;
mod report;
mod tables;
mod tracknet;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::directions::Truth;
use common::metrics::{ColumnSums, Scores};
use common::oof::{Reading, Set, Table, named, resolve, resolve_in};
use common::stage::{Manifest, Stage};
use common::submission::is_table;
use common::{Error, Result, durable};
use tracing::{info, warn};

use args::ScoreArgs;
use report::Report;

/// Runs it with the arguments of this process.
pub fn main() -> ExitCode {
    common::cli::main(|args: ScoreArgs| Ok(run(&args)?))
}

fn run(args: &ScoreArgs) -> Result<()> {
    args.cpu_threads();
    // Standard input is read once, by whoever it is for.
    let is_classes = |p: &String| match p.as_str() {
        "-" => args.truth.is_none(),
        path => resolve(path, &["predictions"]).is_ok_and(|path| polarmae::is_classes(&path)),
    };
    if args.predictions.iter().any(is_classes) {
        return polarmae::run(args);
    }
    let Some(truth) = &args.truth else {
        return Err(Error::usage("`--truth` is missing: only tables of classes bring their labels")
            .hint("for example `--truth valid.safetensors`"));
    };
    let truth = match find(truth)? {
        Found::Directions(_) if !args.cut.is_empty() => {
            return Err(Error::usage("`--cut` is for tracks").hint("leave it out"));
        }
        Found::Directions(truth) => return icecube::run(args, &truth),
        _ if !args.table.is_empty() => {
            return Err(
                Error::usage("`--table` is for directions").hint("leave it out, or use `--json` or `--summary`")
            );
        }
        Found::Events(events) => return tracknet::run(args, &events),
        Found::Values(path) => path,
    };
    if !args.cut.is_empty() {
        return Err(Error::usage("`--cut` is for tracks").hint("leave it out"));
    }
    let system;
    let (reports, inputs) = if is_table(&truth) && tables::alone(args) {
        system = String::new();
        tables::score(args, &truth)?
    } else {
        let mut reports = Vec::new();
        let mut inputs = vec![truth.clone()];
        let mut named_system = String::new();
        for argument in &args.predictions {
            let (name, file) = named(argument);
            let path = resolve(file, &["oof", "submission"])?;
            let members = [(name.map(str::to_string), path.clone())];
            let set = Set::open(&truth, &members, &Reading::default(), &std::env::temp_dir())?;
            set.notes.iter().for_each(|note| info!("{note}"));
            set.warnings.iter().for_each(|warning| warn!("{warning}"));
            let [member] = set.members.as_slice() else {
                return Err(Error::input(&path, format!("holds {} columns for one target", set.members.len())));
            };
            named_system.clone_from(&set.truth.layout().system);
            reports.push(arrays(args, &set.truth, &member.table)?.called(name));
            inputs.push(path);
        }
        system = named_system;
        (reports, inputs)
    };
    info!("{}", report::table(&reports, args.targets));
    if let Some(file) = &args.summary {
        report::write_summary(file, &reports.iter().map(|r| (r.name.as_str(), r.mean)).collect::<Vec<_>>())?;
    }
    let Some(out) = &args.out else {
        let value = report::json(&reports);
        let text = if args.json { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        return common::cli::print_line(&text.map_err(|e| Error::failed(format!("report: {e}")))?);
    };
    let mut stage = Stage::begin("score", &system, out, &args.config_text(), 0, args.force)?;
    for path in &inputs {
        stage.input(&path.display().to_string(), path)?;
    }
    let text =
        serde_json::to_string_pretty(&report::json(&reports)).map_err(|e| Error::failed(format!("report: {e}")))?;
    let written = durable::write(stage.folder().join("score.json"), format!("{text}\n").as_bytes())?;
    stage.output("score", &written);
    stage.metric("members", reports.iter().map(|r| (r.name.clone(), r.mean.into())).collect::<serde_json::Map<_, _>>());
    if let [only] = reports.as_slice() {
        stage.metric("score", only.mean);
    }
    stage.finish()?;
    Ok(())
}

/// What is compared with, which also says what is scored.
enum Found {
    /// Directions: opening angles.
    Directions(Truth),
    /// Arrays or a table of values: R2.
    Values(PathBuf),
    /// Events of TrackML, by the beginning of their file names.
    Events(Vec<PathBuf>),
}

fn find(argument: &str) -> Result<Found> {
    let path = Path::new(argument);
    if let Some(events) = tracknet::events_in(path)? {
        return Ok(Found::Events(events));
    }
    if argument != "-" && !path.is_dir() {
        return Ok(match Truth::of_file(path) {
            Some(truth) => Found::Directions(truth),
            None => Found::Values(resolve(argument, &[])?),
        });
    }
    let manifest = Manifest::read(argument)?;
    if manifest.system == "icecube" {
        return Truth::of_stage(&manifest).map(Found::Directions);
    }
    if manifest.system == "tracknet" {
        return tracknet::events_of(&manifest).map(Found::Events);
    }
    resolve_in(&manifest, &["valid", "b/valid", "a/valid", "solution"]).map(Found::Values)
}

/// Scores one file of out-of-fold predictions in a single pass.
fn arrays(args: &ScoreArgs, truth: &Table, table: &Table) -> Result<Report> {
    let rows = args.limit.map_or(truth.rows(), |n| truth.rows().min(usize::try_from(n).unwrap_or(usize::MAX)));
    let (y, p) = (truth.matrix()?.head(rows), table.in_space_of(truth)?.head(rows));
    let sums = ColumnSums::of(&y, &p)?;
    // One pass serves well-formed files; the place of a bad value is looked for only when the sums show one.
    if sums.sse.iter().chain(&sums.truth.m2).any(|s| !s.is_finite()) {
        truth.demand_finite(&y)?;
        table.demand_finite(&p)?;
        return Err(Error::input(table.path(), "the squares of the errors exceed the range of double precision"));
    }
    let rules = truth.rules(!args.no_zero_rule);
    let scores = Scores::new(&sums, &rules);
    let names = (0..truth.columns()).map(|c| truth.column_name(c)).collect();
    let name = table.layout().member.clone().unwrap_or_else(|| table.path().display().to_string());
    Ok(Report::new(name, table.path(), rows, names, &truth.layout().groups, &scores))
}
