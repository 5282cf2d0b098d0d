//! Submissions against a solution, both tables with ids.

use std::path::{Path, PathBuf};

use common::metrics::{ColumnSums, Matrix, Scores, mean};
use common::oof::Group;
use common::submission::{Open, SubmissionFile, match_ids};
use common::system::ScoreRequest;
use common::{Error, Result};
use rayon::prelude::*;
use tracing::info;

use crate::score::density::{self, Density};
use crate::score::errors::{self, Compared};
use crate::score::report::Report;

/// Doubles of the columns held at a time, 64 MiB of each table.
const COLUMN_VALUES: usize = 8 << 20;

/// Whether all predictions are tables, which go by column; arrays among them are read otherwise.
pub fn alone(request: &ScoreRequest) -> bool {
    request.predictions.iter().all(|argument| {
        let path = Path::new(common::oof::named(argument).1);
        !path.is_file() || common::submission::is_table(path)
    })
}

/// Reports, and the files that were read.
type Scored = (Vec<Report>, Vec<PathBuf>);

/// Scores all predictions against one table with ids; none where it has none.
pub fn score(request: &ScoreRequest, truth: &Path) -> Result<Option<Scored>> {
    // Text is turned into columns on disk, beside the report if there is one.
    let scratch = match &request.out {
        Some(out) => {
            common::durable::create_folder(out)?;
            out.clone()
        }
        None => std::env::temp_dir(),
    };
    let how = Open { id: request.id.as_deref(), ..Open::default() };
    let truth = SubmissionFile::open_as(truth, &scratch, &how)?;
    if !truth.has_ids() {
        return Ok(None);
    }
    let mut reports = Vec::new();
    let mut opened = Vec::new();
    let mut inputs = vec![truth.path().to_path_buf()];
    for argument in &request.predictions {
        let (name, file) = common::oof::named(argument);
        let path = common::oof::resolve(file, &["submission"])?;
        let mut predictions = SubmissionFile::unnamed(&path, &scratch, false)?;
        let nameless = predictions.nameless().filter(|_| !predictions.has(truth.id()));
        if nameless.is_none() && !predictions.has(truth.id()) {
            let problem = format!("has no column `{}`, the ids of `{}`", truth.id(), truth.path().display());
            return Err(Error::input(&path, problem)
                .hint("give the columns of the ids one name, or name one that both have: `--id COLUMN`"));
        }
        predictions.name_ids(nameless.as_deref().unwrap_or(truth.id()))?;
        let report = compare(request, &truth, &predictions)?.called(name);
        opened.push((report.name.clone(), predictions));
        reports.push(report);
        inputs.push(path);
    }
    if let Some(file) = &request.errors {
        let compared = opened
            .iter()
            .map(|(name, file)| {
                let order = match_ids(truth.ids(), truth.path(), file.ids(), file.path())?;
                Ok(Compared { name: name.clone(), file, order })
            })
            .collect::<Result<Vec<_>>>()?;
        errors::write(file, &truth, &compared, &Parts::of(&truth, limit(request, &truth))?.all, registry::watts)?;
    }
    Ok(Some((reports, inputs)))
}

/// Rows that are read.
fn limit(request: &ScoreRequest, truth: &SubmissionFile) -> usize {
    request.limit.map_or(truth.rows(), |n| truth.rows().min(usize::try_from(n).unwrap_or(usize::MAX)))
}

fn compare(request: &ScoreRequest, truth: &SubmissionFile, predictions: &SubmissionFile) -> Result<Report> {
    let names = if request.target.is_empty() { truth.columns() } else { &request.target };
    if let Some(name) = names.iter().find(|name| !truth.columns().contains(name)) {
        return Err(
            Error::input(truth.path(), format!("has no column `{name}`")).hint("`--target` names columns of the truth")
        );
    }
    if let Some(name) = names.iter().find(|name| !predictions.columns().contains(name)) {
        let problem = format!("lacks the column `{name}` of `{}`", truth.path().display());
        return Err(Error::input(predictions.path(), problem).hint("`--target COLUMN` scores some columns alone"));
    }
    let surplus = || predictions.columns().iter().find(|name| !names.contains(name));
    if request.target.is_empty()
        && let Some(name) = surplus()
    {
        let problem = format!("has the column `{name}`, which `{}` has not", truth.path().display());
        return Err(Error::input(predictions.path(), problem).hint("`--target COLUMN` scores some columns alone"));
    }
    let order = match_ids(truth.ids(), truth.path(), predictions.ids(), predictions.path())?;
    if order != common::submission::Rows::Same {
        info!("`{}` has its rows in another order: aligned by id", predictions.path().display());
    }
    let parts = Parts::of(truth, limit(request, truth))?;
    let mut columns = Vec::with_capacity(names.len());
    let mut by_part = vec![Vec::with_capacity(names.len()); parts.named.len()];
    let spans = groups(names);
    let group_of = |c: usize| spans.iter().position(|group| (group.start..group.end).contains(&c)).unwrap_or(0);
    let mut densities: Vec<Density> = spans.iter().map(|group| Density::new(&group.name)).collect();
    let mut rmse = Vec::with_capacity(names.len());
    let drawn = request.out.is_some();
    for batch in names.chunks((COLUMN_VALUES / truth.rows()).clamp(1, names.len())) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let pairs: Vec<_> = truth.read(&batch)?.into_iter().zip(predictions.read(&batch)?).collect();
        let scores: Vec<(Column, Vec<f64>)> = pairs
            .into_par_iter()
            .enumerate()
            .map(|(place, (y, p))| {
                let p = order.align(p);
                let of = |rows: &[usize]| -> Result<ColumnSums> {
                    let take = |values: &[f64]| rows.iter().map(|&row| values[row]).collect::<Vec<f64>>();
                    let (y, p) = (take(&y), take(&p));
                    ColumnSums::of(&Matrix::f64(&y, 1)?, &Matrix::f64(&p, 1)?)
                };
                let sums = of(&parts.all)?;
                let mut cells = Density::new(&spans[group_of(columns.len() + place)].name);
                if let Some(std) = density::spread(&sums, 0).filter(|_| drawn) {
                    for &row in parts.all.iter().step_by(density::stride(parts.all.len())) {
                        cells.add(y[row], p[row], sums.truth.mean[0], std);
                    }
                }
                let column = Column { r2: sums.r2(0), rmse: sums.rmse(0), density: cells };
                let of_parts = parts.named.iter().map(|(_, rows)| Ok(of(rows)?.r2(0)));
                Ok((column, of_parts.collect::<Result<_>>()?))
            })
            .collect::<Result<_>>()?;
        for (Column { r2, rmse: error, density }, of_parts) in scores {
            let sum = &mut densities[group_of(columns.len())].counts;
            sum.iter_mut().zip(density.counts).for_each(|(sum, count)| *sum += count);
            columns.push(r2);
            rmse.push(error);
            by_part.iter_mut().zip(of_parts).for_each(|(scores, score)| scores.push(score));
        }
    }
    let rows = parts.all.len();
    let scores = Scores { columns, zero_list: Vec::new() };
    let name = predictions.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = [".csv", ".tsv"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name).to_owned();
    let mut report = Report::new(name, predictions.path(), rows, names.to_vec(), &spans, &scores);
    report.rmse = rmse;
    report.densities = densities;
    report.densities.retain(|density| density.counts.iter().any(|count| *count > 0.0));
    report.parts = parts.named.into_iter().zip(by_part).map(|((name, _), scores)| (name, mean(&scores))).collect();
    Ok(report)
}

/// What is known of a column.
struct Column {
    r2: f64,
    rmse: f64,
    density: Density,
}

/// Rows that count, and those of each part of the leaderboard.
struct Parts {
    all: Vec<usize>,
    named: Vec<(String, Vec<usize>)>,
}

impl Parts {
    /// By the column `Usage` of a solution; its rows `Ignored` count nowhere.
    fn of(truth: &SubmissionFile, limit: usize) -> Result<Self> {
        let Some(usage) = truth.usage()? else { return Ok(Self { all: (0..limit).collect(), named: vec![] }) };
        let mut parts = Self { all: vec![], named: vec![] };
        for (row, part) in usage.iter().enumerate().take(limit) {
            if part.eq_ignore_ascii_case("ignored") {
                continue;
            }
            parts.all.push(row);
            match parts.named.iter_mut().find(|(name, _)| name == part) {
                Some((_, rows)) => rows.push(row),
                None => parts.named.push((part.clone(), vec![row])),
            }
        }
        if parts.all.is_empty() {
            return Err(Error::input(truth.path(), "all rows are `Ignored`"));
        }
        if parts.all.len() < limit {
            info!("{} rows of `{}` are `Ignored` and not scored", limit - parts.all.len(), truth.path().display());
        }
        Ok(parts)
    }
}

/// Neighbouring columns whose names differ only in the level at their end; columns without level are the scalars.
fn groups(names: &[String]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (c, name) in names.iter().enumerate() {
        let stem = name.rsplit_once('_').filter(|(_, level)| level.parse::<u32>().is_ok());
        let group = stem.map_or("scalars", |(stem, _)| stem);
        match groups.last_mut() {
            Some(last) if last.name == group => last.end = c + 1,
            _ => groups.push(Group { name: group.into(), start: c, end: c + 1 }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_follow_the_names() {
        let names = ["ptend_t_0", "ptend_t_1", "ptend_q0001_0", "cam_out_A", "cam_out_B"].map(String::from);
        let found: Vec<_> = groups(&names).into_iter().map(|g| (g.name, g.start, g.end)).collect();
        let expected = [("ptend_t", 0, 2), ("ptend_q0001", 2, 3), ("scalars", 3, 5)];
        assert_eq!(found, expected.map(|(n, s, e)| (n.to_string(), s, e)));
    }
}
