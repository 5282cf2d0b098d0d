//! `score`: how well predictions meet a truth, per target, group and level. Uses no tensor library.

mod args;
mod density;
mod errors;
mod page;
mod report;
mod tables;
mod zonal;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::driver::refuse_unread;
use common::metrics::{ColumnSums, Scores};
use common::oof::{Reading, Set, Table, named, resolve, resolve_in};
use common::submission::is_table;
use common::system::{Places, ScoreRequest};
use common::{Error, Result};
use serde_json::Map;
use tracing::{info, warn};

use args::ScoreArgs;
use report::Report;
use zonal::Zonal;

/// What scores of plain values are called beside those of systems, and the flags that they read.
const VALUES: (&str, &[&str]) = (
    "plain values",
    &[
        "--truth",
        "--id",
        "--target",
        "--mask-missing",
        "--by-position",
        "--no-zero-rule",
        "--targets",
        "--errors",
        "--zonal",
    ],
);

/// Runs it with the arguments of this process.
pub fn main() -> ExitCode {
    common::cli::main(|args: ScoreArgs| Ok(run(args)?))
}

fn run(args: ScoreArgs) -> Result<()> {
    args.cpu_threads();
    let request = args.request();
    let mut all: Vec<(&str, &[&str])> = registry::score().map(|(name, score)| (name, score.reads)).collect();
    all.push(VALUES);
    for (name, score) in registry::score() {
        if (score.claims)(&request)? {
            refuse_unread(name, score.reads, &request.given(), &all)?;
            return (score.run)(&request);
        }
    }
    let (name, reads) = VALUES;
    refuse_unread(name, reads, &request.given(), &all)?;
    values(&request)
}

/// Scores plain values: R2.
fn values(request: &ScoreRequest) -> Result<()> {
    let Some(argument) = &request.truth else {
        return Err(Error::usage("`--truth` is missing: only tables of classes bring their labels")
            .hint("for example `--truth valid.safetensors`"));
    };
    let truth = match request.truth_stage()? {
        Some(stage) => resolve_in(stage, &[registry::truth(&stage.system), &["solution"]].concat())?,
        None => resolve(argument, &[])?,
    };
    let system;
    let whole = !request.mask_missing && !request.by_position;
    let by_id =
        if whole && is_table(&truth) && tables::alone(request) { tables::score(request, &truth)? } else { None };
    let (mut reports, inputs) = if let Some(scored) = by_id {
        system = String::new();
        scored
    } else if request.errors.is_some() {
        return Err(errors::tables_only());
    } else {
        let places = places(request, &truth)?;
        let reading = Reading {
            id: request.id.clone(),
            targets: request.target.clone(),
            mask: request.mask_missing,
            by_position: request.by_position,
            ..Reading::default()
        };
        let mut reports = Vec::new();
        let mut inputs = vec![truth.clone()];
        let mut named_system = String::new();
        for argument in &request.predictions {
            let (name, file) = named(argument);
            let path = resolve(file, &["oof", "submission"])?;
            let members = [(name.map(str::to_string), path.clone())];
            let set = Set::open(&truth, &members, &reading, &std::env::temp_dir())?;
            set.notes.iter().for_each(|note| info!("{note}"));
            set.warnings.iter().for_each(|warning| warn!("{warning}"));
            let [member] = set.members.as_slice() else {
                return Err(Error::input(&path, format!("holds {} columns for one target", set.members.len()))
                    .hint("call the column of the predictions as the target, or leave the others out"));
            };
            named_system.clone_from(&set.truth.layout().system);
            reports.push(arrays(request, &set.truth, &member.table, places.as_ref())?.called(name));
            inputs.push(path);
        }
        system = named_system;
        (reports, inputs)
    };
    report::tell_apart(&mut reports);
    if let Some(path) = &request.zonal {
        let named =
            |report: &'_ Report| -> Vec<String> { report.targets.iter().map(|(name, _)| name.clone()).collect() };
        let names: Vec<Vec<String>> = reports.iter().map(named).collect();
        let all = reports.iter().zip(&names).filter_map(|(report, names)| {
            Some((report.name.as_str(), report.zonal.as_ref()?, names.iter().map(String::as_str).collect()))
        });
        let all: Vec<(&str, &Zonal, Vec<&str>)> = all.collect();
        if all.is_empty() {
            return Err(zonal::no_places(&truth));
        }
        zonal::write(path, &all, registry::watts)?;
    }
    info!("{}", report::table(&reports, request.targets));
    let means: Vec<(&str, f64)> = reports.iter().map(|r| (r.name.as_str(), r.mean)).collect();
    let inputs: Vec<(String, PathBuf)> = inputs.into_iter().map(|path| (path.display().to_string(), path)).collect();
    request.publish(&system, &report::json(&reports), &means, &inputs, |stage| {
        let members: Map<_, _> = means.iter().map(|(name, mean)| ((*name).to_string(), (*mean).into())).collect();
        stage.metric("members", members);
        if let [only] = reports.as_slice() {
            stage.metric("score", only.mean);
        }
        let page = page::page(&reports, &system);
        stage.texts(page.beside())?;
        let written = common::durable::write(stage.folder().join("report.html"), page.html().as_bytes())?;
        stage.output("report", &written);
        Ok(())
    })
}

/// Where the rows of the truth are, if that is wanted and known.
fn places(request: &ScoreRequest, truth: &Path) -> Result<Option<Places>> {
    if request.zonal.is_none() && request.out.is_none() {
        return Ok(None);
    }
    let system = Table::truth(truth).map(|table| table.layout().system.clone()).unwrap_or_default();
    let places = registry::places(&system, truth)?;
    if places.is_none() && request.zonal.is_some() {
        return Err(zonal::no_places(truth));
    }
    Ok(places)
}

/// Scores one file of out-of-fold predictions in a single pass.
fn arrays(request: &ScoreRequest, truth: &Table, table: &Table, places: Option<&Places>) -> Result<Report> {
    let rows = request.limit.map_or(truth.rows(), |n| truth.rows().min(usize::try_from(n).unwrap_or(usize::MAX)));
    let (y, p) = (truth.matrix()?.head(rows), table.in_space_of(truth)?.head(rows));
    let sums = ColumnSums::of(&y, &p)?;
    // One pass serves well-formed files; the place of a bad value is looked for only when the sums show one.
    if sums.sse.iter().chain(&sums.truth.m2).any(|s| !s.is_finite()) {
        truth.demand_finite(&y)?;
        table.demand_finite(&p)?;
        return Err(Error::input(table.path(), "the squares of the errors exceed the range of double precision"));
    }
    let rules = truth.rules(!request.no_zero_rule);
    let scores = Scores::new(&sums, &rules);
    let names = (0..truth.columns()).map(|c| truth.column_name(c)).collect();
    let name = table.layout().member.clone().unwrap_or_else(|| table.path().display().to_string());
    let mut report = Report::new(name, table.path(), rows, names, &truth.layout().groups, &scores);
    let scale = |c: usize| truth.normalisation().map_or(1.0, |(_, std)| std[c]);
    report.rmse = (0..sums.columns()).map(|c| sums.rmse(c) * scale(c)).collect();
    if request.out.is_some() {
        report.densities = density::of(&y, &p, &report.spans, &sums)?;
    }
    if let Some(places) = places.filter(|places| places.scale.len() == truth.columns()) {
        report.zonal = Some(Zonal::of(places, &y, &p)?);
    }
    Ok(report)
}
