//! Errors of every target in its own unit: R2, root mean square, mean absolute value and mean of the error for each file of
//! predictions and for the mean of all, and the CRPS of all together as an ensemble.

use std::fmt::Write as _;
use std::path::Path;

use common::durable;
use common::metrics::r2;
use common::submission::{Rows, SubmissionFile};
use common::{Error, Result};
use rayon::prelude::*;

/// Doubles of the columns held at a time, 64 MiB for each table.
const COLUMN_VALUES: usize = 8 << 20;
/// Name of the mean of all predictions in the table.
const ENSEMBLE: &str = "ensemble";

/// Predictions that are compared with the truth.
pub struct Compared<'a> {
    /// Name in the table.
    pub name: String,
    /// The table.
    pub file: &'a SubmissionFile,
    /// How its rows follow from those of the truth.
    pub order: Rows,
}

/// Figures of one target of one file.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    r2: f64,
    rmse: f64,
    mae: f64,
    bias: f64,
}

impl Figures {
    fn of(truth: &[f64], predicted: impl Iterator<Item = f64>) -> Self {
        let n = truth.len() as f64;
        let mean = truth.iter().sum::<f64>() / n;
        let sst: f64 = truth.iter().map(|y| (y - mean).powi(2)).sum();
        let (mut sse, mut sae, mut sum) = (0.0, 0.0, 0.0);
        for (y, p) in truth.iter().zip(predicted) {
            let error = p - y;
            sse += error * error;
            sae += error.abs();
            sum += error;
        }
        Self { r2: r2(sse, sst), rmse: (sse / n).sqrt(), mae: sae / n, bias: sum / n }
    }
}

/// Mean over the rows of the continuous ranked probability score of an ensemble of equally likely members:
/// `mean |x - y| - mean |x - x'| / 2`. One member: its mean absolute error.
fn crps(truth: &[f64], members: &[Vec<f64>]) -> f64 {
    let m = members.len() as f64;
    let mut values = vec![0.0; members.len()];
    let mut sum = 0.0;
    for (row, y) in truth.iter().enumerate() {
        values.iter_mut().zip(members).for_each(|(value, member)| *value = member[row]);
        values.sort_by(f64::total_cmp);
        let far: f64 = values.iter().map(|x| (x - y).abs()).sum::<f64>() / m;
        // The sum of all distances between pairs, from the sorted values.
        let apart: f64 = values.iter().enumerate().map(|(k, x)| (2.0 * k as f64 + 1.0 - m) * x).sum();
        sum += far - apart / (m * m);
    }
    sum / truth.len() as f64
}

/// Writes the table: a line for every target and file, and for the mean of several files. `rows` are those that count;
/// `watts` gives a target's factor to W/m2, where it has one.
///
/// # Errors
/// Those of reading the tables and of writing.
pub fn write(
    path: &Path,
    truth: &SubmissionFile,
    all: &[Compared<'_>],
    rows: &[usize],
    watts: impl Fn(&str) -> Option<f64> + Sync,
) -> Result<()> {
    let mut text =
        String::from("target,predictions,rows,r2,rmse,mae,bias,crps,w_m2,rmse_w_m2,mae_w_m2,bias_w_m2,crps_w_m2\n");
    let names = truth.columns();
    for batch in names.chunks((COLUMN_VALUES / truth.rows().max(1)).clamp(1, names.len().max(1))) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let take = |values: &[f64]| rows.iter().map(|&row| values[row]).collect::<Vec<f64>>();
        let y: Vec<Vec<f64>> = truth.read(&batch)?.iter().map(|column| take(column)).collect();
        // By file, then by target.
        let predicted = all
            .iter()
            .map(|one| Ok(one.file.read(&batch)?.into_iter().map(|column| take(&one.order.align(column))).collect()))
            .collect::<Result<Vec<Vec<Vec<f64>>>>>()?;
        let lines: Vec<String> = batch
            .par_iter()
            .enumerate()
            .map(|(c, target)| {
                let members: Vec<Vec<f64>> = predicted.iter().map(|columns| columns[c].clone()).collect();
                lines_of(target, &y[c], &members, all, watts(target))
            })
            .collect();
        lines.iter().for_each(|lines| text += lines);
    }
    durable::write(path, text.as_bytes()).map(|_| ())
}

fn lines_of(target: &str, y: &[f64], members: &[Vec<f64>], all: &[Compared<'_>], watts: Option<f64>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, figures: Figures, crps: Option<f64>| {
        let Figures { r2, rmse, mae, bias } = figures;
        let number = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x:e}"));
        let _ = write!(text, "{target},{},{},{r2},{rmse:e},{mae:e},{bias:e},{}", quoted(name), y.len(), number(crps));
        let _ = write!(text, ",{}", number(watts));
        for x in [Some(rmse), Some(mae), Some(bias), crps] {
            let _ = write!(text, ",{}", number(watts.and_then(|watts| Some(x? * watts))));
        }
        text.push('\n');
    };
    for (one, member) in all.iter().zip(members) {
        line(&one.name, Figures::of(y, member.iter().copied()), None);
    }
    if members.len() > 1 {
        let m = members.len() as f64;
        let mean = (0..y.len()).map(|row| members.iter().map(|member| member[row]).sum::<f64>() / m);
        line(ENSEMBLE, Figures::of(y, mean), Some(crps(y, members)));
    }
    text
}

/// A name as a field of a csv file.
pub fn quoted(name: &str) -> String {
    match name.contains([',', '"', '\n']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.into(),
    }
}

/// What the table needs beside arrays.
pub fn tables_only() -> Error {
    Error::usage("`--errors` is for tables: a solution and submissions, in the targets' own units")
        .hint("score submissions of `predict` against `truth/solution.parquet`, or leave `--errors` out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_their_definitions() {
        let y = [1.0, 2.0, 3.0, 6.0];
        let found = Figures::of(&y, [2.0, 2.0, 2.0, 5.0].into_iter());
        // Mean 3: squares 4 + 1 + 0 + 9.
        assert_eq!(found, Figures { r2: 1.0 - 3.0 / 14.0, rmse: (3.0_f64 / 4.0).sqrt(), mae: 0.75, bias: -0.25 });
    }

    #[test]
    fn the_crps_is_the_integral_of_the_squared_distance_of_distributions() {
        let members = [vec![0.3, -1.0], vec![1.1, 0.5], vec![-0.4, 2.0], vec![0.9, 0.4]];
        let truth = [0.6, -2.0];
        let by_integral = |row: usize| {
            let step = 1e-4;
            (0..100_000)
                .map(|i| {
                    let x = -5.0 + (f64::from(i) + 0.5) * step;
                    let part = members.iter().filter(|m| m[row] <= x).count() as f64 / 4.0;
                    let reached = if truth[row] <= x { 1.0 } else { 0.0 };
                    (part - reached) * (part - reached) * step
                })
                .sum::<f64>()
        };
        let expected = (by_integral(0) + by_integral(1)) / 2.0;
        let found = crps(&truth, &members);
        assert!((found - expected).abs() < 2e-4, "{found} {expected}");
        // One member: its absolute error.
        assert!((crps(&truth, &members[..1]) - (0.3 + 1.0) / 2.0).abs() < 1e-12);
    }
}
