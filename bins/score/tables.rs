//! Submissions against a solution, both tables with ids.

use std::path::{Path, PathBuf};

use common::metrics::{ColumnSums, Matrix, Scores};
use common::oof::Group;
use common::submission::{SubmissionFile, match_ids};
use common::{Error, Result};
use rayon::prelude::*;
use tracing::info;

use crate::args::ScoreArgs;
use crate::report::Report;

/// Doubles of the columns held at a time, 64 MiB of each table.
const COLUMN_VALUES: usize = 8 << 20;

/// Whether a truth is a table.
pub fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet") || e.eq_ignore_ascii_case("csv"))
}

/// Scores all predictions against one table; also returns the files that were read.
pub fn score(args: &ScoreArgs, truth: &Path) -> Result<(Vec<Report>, Vec<PathBuf>)> {
    // Text is turned into columns on disk, beside the report if there is one.
    let scratch = match &args.out {
        Some(out) => {
            common::durable::create_folder(out)?;
            out.clone()
        }
        None => std::env::temp_dir(),
    };
    let truth = SubmissionFile::open(truth, &scratch)?;
    let mut reports = Vec::new();
    let mut inputs = vec![truth.path().to_path_buf()];
    for argument in &args.predictions {
        let (name, file) = common::oof::named(argument);
        let path = common::oof::resolve(file, &["submission"])?;
        let predictions = SubmissionFile::open(&path, &scratch)?;
        reports.push(compare(args, &truth, &predictions)?.called(name));
        inputs.push(path);
    }
    Ok((reports, inputs))
}

fn compare(args: &ScoreArgs, truth: &SubmissionFile, predictions: &SubmissionFile) -> Result<Report> {
    let names = truth.columns();
    if let Some(name) = names.iter().find(|name| !predictions.columns().contains(name)) {
        let problem = format!("lacks the column `{name}` of `{}`", truth.path().display());
        return Err(Error::input(predictions.path(), problem));
    }
    if let Some(name) = predictions.columns().iter().find(|name| !names.contains(name)) {
        let problem = format!("has the column `{name}`, which `{}` has not", truth.path().display());
        return Err(Error::input(predictions.path(), problem));
    }
    let order = match_ids(truth.ids(), truth.path(), predictions.ids(), predictions.path())?;
    if order != common::submission::Rows::Same {
        info!("`{}` has its rows in another order: aligned by id", predictions.path().display());
    }
    let rows = args.limit.map_or(truth.rows(), |n| truth.rows().min(usize::try_from(n).unwrap_or(usize::MAX)));
    let mut columns = Vec::with_capacity(names.len());
    for batch in names.chunks((COLUMN_VALUES / truth.rows()).clamp(1, names.len())) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let pairs: Vec<_> = truth.read(&batch)?.into_iter().zip(predictions.read(&batch)?).collect();
        let scores: Vec<f64> = pairs
            .into_par_iter()
            .map(|(y, p)| {
                let p = order.align(p);
                Ok(ColumnSums::of(&Matrix::f64(&y[..rows], 1)?, &Matrix::f64(&p[..rows], 1)?)?.r2(0))
            })
            .collect::<Result<_>>()?;
        columns.extend(scores);
    }
    let scores = Scores { columns, zero_list: Vec::new() };
    let name = predictions.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Report::new(name, predictions.path(), rows, names.to_vec(), &groups(names), &scores))
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
