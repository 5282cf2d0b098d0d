//! What a score takes without a word and a user should know: members of log loss that are no probabilities.

use climb::Metric;
use common::metrics::Matrix;
use common::oof::Table;

use crate::hill_climb::problem::Problem;

/// How far probabilities of a row may be from a sum of one: half floats are.
const APART: f64 = 1e-2;

/// Warnings about the members, where the score is one of probabilities.
pub fn of(problem: &Problem) -> Vec<String> {
    let metric = problem.config.metric;
    if problem.command.is_some() || !matches!(metric, Metric::Logloss | Metric::Brier) {
        return vec![];
    }
    let members = problem.members.iter().zip(&problem.models);
    members.filter_map(|(member, matrix)| about(&member.table, matrix, metric, problem)).collect()
}

fn about(table: &Table, matrix: &Matrix, metric: Metric, problem: &Problem) -> Option<String> {
    let columns = matrix.columns();
    let mut values = vec![0.0; columns];
    let (mut outside, mut apart) = (None, None);
    let (mut outsiders, mut unequal) = (0, 0);
    for row in 0..problem.rows() {
        matrix.read(row, 0..columns, &mut values);
        if let Some(c) = values.iter().position(|p| !(-1e-9..=1.0 + 1e-9).contains(p)) {
            outside.get_or_insert((row, c, values[c]));
            outsiders += 1;
        }
        let sum: f64 = values.iter().sum();
        if problem.classes && columns > 1 && (sum - 1.0).abs() > APART {
            apart.get_or_insert((row, sum));
            unequal += 1;
        }
    }
    let (path, rows, metric) = (table.path().display(), problem.rows(), metric.name());
    if let Some((row, c, value)) = outside {
        let column = table.column_name(c);
        return Some(format!(
            "`{path}`: row {row}, column `{column}`: {value} is no probability, nor are {outsiders} of {rows} rows; `{metric}` \
             expects numbers from 0 to 1"
        ));
    }
    let (row, sum) = apart?;
    Some(format!(
        "`{path}`: the probabilities of row {row} sum to {sum}, those of {unequal} of {rows} rows not to 1; `{metric}` takes \
         them as they are"
    ))
}
