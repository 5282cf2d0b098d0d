//! An honest score: weights are searched on the rows of the other folds and judged on those of the fold.

use common::cli::signals;
use common::seed::seed_for;
use common::{Error, Result};
use serde_json::{Value, json};

use crate::hill_climb::problem::Problem;

/// What one fold says.
pub struct Fold {
    /// Rows that were held out.
    pub rows: usize,
    /// The best member on the other rows.
    pub best_member: usize,
    /// Scores on the held-out rows, higher is better: the blend, that member, equal weights.
    pub scores: [f64; 3],
    /// Weights that the other rows gave.
    pub weights: Vec<f64>,
}

/// What all folds say.
pub struct OutOfFold {
    /// One a fold.
    pub folds: Vec<Fold>,
}

/// A mean over folds and its standard error.
#[derive(Debug, Clone, Copy)]
pub struct Estimate {
    /// Mean.
    pub mean: f64,
    /// Standard error.
    pub error: f64,
}

impl OutOfFold {
    /// Searches and judges, the rows being in the folds `of_row`.
    pub fn of(problem: &Problem, of_row: &[usize]) -> Result<Self> {
        let count = of_row.iter().max().map_or(0, |most| most + 1);
        let mut folds = Vec::with_capacity(count);
        for fold in 0..count {
            signals::check("nothing, start the search again")?;
            let told = |error: Error| error.within(&format!("fold {fold}"));
            let rows =
                |held: bool| -> Vec<usize> { (0..of_row.len()).filter(|&row| (of_row[row] == fold) == held).collect() };
            let (held, others) = (rows(true), rows(false));
            let blend = {
                let part = problem.gather(&others)?;
                problem.on(&part)?.solve().map_err(told)?
            };
            let singles = &blend.global.singles;
            let best_member = (0..singles.len()).fold(0, |best, k| if singles[k] > singles[best] { k } else { best });
            let part = problem.gather(&held)?;
            let scores = problem.on(&part)?.judged(&blend, best_member).map_err(told)?;
            folds.push(Fold { rows: held.len(), best_member, scores, weights: blend.global.weights });
        }
        Ok(Self { folds })
    }

    /// Mean and standard error of the blend (0), the best member (1), equal weights (2).
    pub fn score(&self, which: usize) -> Estimate {
        estimate(self.folds.iter().map(|fold| fold.scores[which]))
    }

    /// What the blend gains over the best member, fold by fold.
    pub fn gain(&self) -> Estimate {
        estimate(self.folds.iter().map(|fold| fold.scores[0] - fold.scores[1]))
    }

    /// Whether the blend is better than the best member by more than the standard error.
    pub fn better(&self) -> bool {
        let gain = self.gain();
        gain.mean > gain.error
    }

    /// For `weights.json` and the manifest.
    pub fn json(&self, problem: &Problem) -> Value {
        let shown = problem.config.shown();
        let of = |which: usize| {
            let Estimate { mean, error } = self.score(which);
            json!({ "mean": shown.signed(mean), "standard_error": error })
        };
        let each: Vec<Value> = self
            .folds
            .iter()
            .map(|fold| {
                json!({
                    "rows": fold.rows,
                    "best_member": problem.members[fold.best_member].name,
                    "scores": fold.scores.map(|score| shown.signed(score)),
                    "weights": problem.named(&fold.weights),
                })
            })
            .collect();
        let gain = self.gain();
        json!({
            "blend": of(0),
            "best_member": of(1),
            "equal_weights": of(2),
            "gain": { "mean": gain.mean, "standard_error": gain.error },
            "better": self.better(),
            "folds": each,
        })
    }
}

fn estimate(values: impl Iterator<Item = f64>) -> Estimate {
    let values: Vec<f64> = values.collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Estimate { mean, error: (squares / (count - 1.0) / count).sqrt() }
}

/// The fold of every row where folds are asked for: that of the column, or drawn by seed, every class evenly.
pub fn assigned(problem: &Problem) -> Result<Option<Vec<usize>>> {
    let (of_row, count) = match (&problem.folds, problem.config.folds) {
        (Some(folds), _) => (numbered(folds), None),
        (None, Some(count)) => (drawn(&problem.classes_of_rows(), count, problem.seed), Some(count)),
        (None, None) => return Ok(None),
    };
    let folds = of_row.iter().max().map_or(0, |most| most + 1);
    if folds < 2 || count.is_some_and(|count| count > problem.rows()) {
        let rows = problem.rows();
        return Err(match count {
            Some(count) => Error::usage(format!("{count} folds for {rows} rows")).hint("take fewer with `--folds`"),
            None => Error::input(problem.table.path(), "all rows are in one fold")
                .hint("`--fold-column` names the column with the number of every row's fold"),
        });
    }
    Ok(Some(of_row))
}

/// Folds 0, 1, 2, ... without holes, which a limit of rows may leave.
fn numbered(folds: &[usize]) -> Vec<usize> {
    let known: std::collections::BTreeSet<usize> = folds.iter().copied().collect();
    let place: std::collections::BTreeMap<usize, usize> = known.into_iter().enumerate().map(|(i, f)| (f, i)).collect();
    folds.iter().map(|fold| place[fold]).collect()
}

/// Deals the rows of every class to the folds in turn, shuffled; one class goes on where the one before ended.
fn drawn(classes: &[usize], count: usize, seed: u64) -> Vec<usize> {
    let mut of_row = vec![0; classes.len()];
    let mut turn = 0;
    for class in 0..=classes.iter().copied().max().unwrap_or(0) {
        let mut rows: Vec<usize> = (0..classes.len()).filter(|&row| classes[row] == class).collect();
        rows.sort_by_cached_key(|&row| seed_for(seed, "folds", row as u64));
        for row in rows {
            of_row[row] = turn % count;
            turn += 1;
        }
    }
    of_row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_are_even_stratified_and_by_seed() {
        let classes: Vec<usize> = (0..103).map(|row| usize::from(row % 10 == 0)).collect();
        let folds = drawn(&classes, 5, 7);
        assert_eq!(folds, drawn(&classes, 5, 7));
        assert_ne!(folds, drawn(&classes, 5, 8));
        for fold in 0..5 {
            let rows: Vec<usize> = (0..103).filter(|&row| folds[row] == fold).collect();
            assert!((20..=21).contains(&rows.len()));
            assert!((2..=3).contains(&rows.iter().filter(|&&row| classes[row] == 1).count()));
        }
    }

    #[test]
    fn the_standard_error_is_that_of_a_mean() {
        let Estimate { mean, error } = estimate([1.0, 2.0, 3.0, 6.0].into_iter());
        assert_eq!(mean, 3.0);
        assert!((error - (14.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn numbers_of_folds_may_have_holes() {
        assert_eq!(numbered(&[4, 2, 9, 2]), [1, 0, 2, 0]);
    }
}
