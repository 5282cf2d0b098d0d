//! What a search reads, all of it or some rows, and what it finds.

use climb::{Gram, Metric, Move, SearchConfig};
use common::metrics::{Matrix, Rules};
use common::oof::{Member, Set, Table};
use common::{Error, Result};
use serde_json::{Map, Value};

use crate::hill_climb::command::Command;
use crate::hill_climb::labels::Labels;
use crate::hill_climb::members;
use crate::hill_climb::solve::Solver;
use climb::space::Blending;

/// Everything that a search reads.
pub struct Problem<'a> {
    /// The truth.
    pub table: &'a Table,
    /// The models.
    pub members: &'a [Member],
    /// How to search.
    pub config: &'a SearchConfig,
    /// Predictions in the space of the truth.
    pub models: Vec<Matrix<'a>>,
    /// Fixed columns and zero rule.
    pub rules: Rules,
    /// What folds and bags are drawn by.
    pub seed: u64,
    /// Fold of every row, where a column says it.
    pub folds: Option<Vec<usize>>,
    /// Weights of the members to start from.
    pub start: Option<Vec<f64>>,
    /// The truth's numbers.
    pub truth: Matrix<'a>,
    /// Whether a column is a class.
    pub classes: bool,
    /// Weight of every row.
    pub weights: Option<Vec<f64>>,
    /// Labels of every column, where these are only some of the rows.
    pub labels: Option<Vec<Option<Labels>>>,
    /// The user's own metric.
    pub command: Option<Command>,
}

/// Some rows of a problem, copied.
pub struct Part {
    truth: Vec<f64>,
    models: Vec<Vec<f64>>,
    weights: Option<Vec<f64>>,
}

/// Weights for a set of columns, and how they were found.
pub struct Scope {
    /// `all`, or the name of the group.
    pub name: String,
    /// Columns that the weights are for.
    pub columns: Vec<usize>,
    /// Weight of every model.
    pub weights: Vec<f64>,
    /// Score of the blend on these columns, higher is better.
    pub score: f64,
    /// Score of every model alone.
    pub singles: Vec<f64>,
    /// Accepted steps of the climb; with bags, those of the bags.
    pub moves: Vec<Move>,
    /// The bags whose mean the weights are.
    pub bags: Vec<Bag>,
    /// Scores of other ways to blend; none where there is no answer.
    pub others: Vec<(&'static str, Option<f64>)>,
}

/// A climb over some of the models.
pub struct Bag {
    /// Weight of every model.
    pub weights: Vec<f64>,
    /// Accepted steps.
    pub moves: Vec<Move>,
}

/// Sums of squares of larger numbers leave the range of double precision.
const LARGEST: f64 = 1e145;

impl Scope {
    /// Standard deviation over the bags of the weight of every model.
    pub fn spread(&self) -> Option<Vec<f64>> {
        let count = self.bags.len() as f64;
        let of = |k: usize| {
            let squares: f64 = self.bags.iter().map(|bag| (bag.weights[k] - self.weights[k]).powi(2)).sum();
            (squares / (count - 1.0).max(1.0)).sqrt()
        };
        (!self.bags.is_empty()).then(|| (0..self.weights.len()).map(of).collect())
    }
}

/// The result.
pub struct Blend {
    /// Weights for all columns.
    pub global: Scope,
    /// Weights for groups; columns of no group keep the global weights.
    pub groups: Vec<Scope>,
    /// Score over all columns with the groups' weights.
    pub score: f64,
    /// Columns that physical zero predicts better than the blend.
    pub zero_list: Vec<usize>,
    /// Score over all columns if a model's weight were shared out among the others in proportion; none where nothing
    /// is left, or where the score needs more than squared errors.
    pub without: Vec<Option<f64>>,
    /// Sums of products of the errors, for scores that are functions of squared errors.
    pub gram: Option<Gram>,
    /// The thresholds that are best for the blend, every member alone and equal weights, where they are searched.
    pub thresholds: Option<Vec<f64>>,
}

impl Blend {
    /// The weights in force for every column.
    pub fn by_column(&self, columns: usize) -> Vec<&[f64]> {
        let mut all = vec![self.global.weights.as_slice(); columns];
        for scope in &self.groups {
            for &c in &scope.columns {
                all[c] = &scope.weights;
            }
        }
        all
    }
}

impl<'a> Problem<'a> {
    /// Checks that the models go with the truth; takes the first `rows`.
    pub fn new(set: &'a Set, rows: usize, config: &'a SearchConfig, seed: u64) -> Result<Self> {
        let Set { truth: table, members, .. } = set;
        let shown = config.shown();
        let command = config.metric_command.as_ref();
        let of_all = matches!(config.metric, Metric::Crps | Metric::MeanAngle)
            || set.one_hot && (config.metric.of_labels() || matches!(config.metric, Metric::Logloss | Metric::Brier));
        for (asked, flag) in [(config.per_group, "--per-group"), (config.per_target, "--per-target")] {
            if asked && (of_all || command.is_some() || config.search_threshold) {
                return Err(Error::usage(format!("`{}` is a score of all columns together", shown.name()))
                    .hint(format!("leave out `{flag}`")));
            }
        }
        let weights = set.weights.as_ref().map(|weights| weights[..rows].to_vec());
        if weights.is_some() && command.is_some() {
            return Err(Error::usage("a metric command gets no weights of rows")
                .hint("leave out `--sample-weight`; the command may read them itself"));
        }
        Blending::new(config.space, set.one_hot).demand(table.normalisation().is_some())?;
        let truth = table.matrix()?.head(rows);
        let models = members::matrices(members, table, rows)?;
        Ok(Self {
            table,
            members,
            config,
            models,
            rules: table.rules(config.zero_rule),
            seed,
            folds: set.folds.as_ref().map(|folds| folds[..rows].to_vec()),
            start: None,
            truth,
            classes: set.one_hot,
            weights,
            labels: None,
            command: command.map(|text| Command::new(text, config.metric_timeout_s)),
        })
    }

    /// Number of rows that are used.
    pub fn rows(&self) -> usize {
        self.truth.rows()
    }

    /// How members are blended.
    pub fn blending(&self) -> Blending {
        Blending::new(self.config.space, self.classes)
    }

    /// The name of a model; behind the members comes one that predicts nothing.
    pub fn name(&self, model: usize) -> &str {
        self.members.get(model).map_or("(nothing)", |member| &member.name)
    }

    /// Numbers of the members by their names.
    pub fn named(&self, values: &[f64]) -> Map<String, Value> {
        self.members.iter().map(|m| m.name.clone()).zip(values.iter().map(|&value| value.into())).collect()
    }

    /// Copies some rows.
    pub fn gather(&self, rows: &[usize]) -> Result<Part> {
        let columns = self.truth.columns();
        let copy = |matrix: &Matrix| {
            let mut values = vec![0.0; rows.len() * columns];
            for (&row, out) in rows.iter().zip(values.chunks_exact_mut(columns)) {
                matrix.read(row, 0..columns, out);
            }
            values
        };
        Ok(Part {
            truth: copy(&self.truth),
            models: self.models.iter().map(copy).collect(),
            weights: self.weights.as_ref().map(|weights| rows.iter().map(|&row| weights[row]).collect()),
        })
    }

    /// The same problem on some of its rows.
    pub fn on<'p>(&'p self, part: &'p Part) -> Result<Problem<'p>> {
        let columns = self.truth.columns();
        let labels = |c: usize| {
            let mut values = vec![0.0; columns];
            let column = (0..self.rows()).map(|row| {
                self.truth.read(row, 0..columns, &mut values);
                values[c]
            });
            Labels::of(&column.collect::<Vec<f64>>())
        };
        let metric = self.config.metric;
        let of_classes = matches!(metric, Metric::Auc | Metric::AveragePrecision | Metric::Logloss | Metric::Brier);
        let of_labels = (metric.of_labels() || of_classes) && self.command.is_none();
        Ok(Problem {
            table: self.table,
            members: self.members,
            config: self.config,
            models: part.models.iter().map(|values| Matrix::f64(values, columns)).collect::<Result<_>>()?,
            rules: self.rules.clone(),
            seed: self.seed,
            folds: None,
            start: self.start.clone(),
            truth: Matrix::f64(&part.truth, columns)?,
            classes: self.classes,
            weights: part.weights.clone(),
            labels: of_labels.then(|| (0..columns).map(labels).collect()),
            command: self.config.metric_command.as_ref().map(|c| Command::new(c, self.config.metric_timeout_s)),
        })
    }

    /// Class of every row where rows have one: the largest column of classes, or which of two labels; else 0.
    pub fn classes_of_rows(&self) -> Vec<usize> {
        let columns = self.truth.columns();
        let mut row = vec![0.0; columns];
        let mut read = |r: usize| {
            self.truth.read(r, 0..columns, &mut row);
            if self.classes { row.iter().position(|v| *v == 1.0).unwrap_or(0) as f64 } else { row[0] }
        };
        let values: Vec<f64> = (0..self.rows()).map(&mut read).collect();
        if self.classes {
            return values.iter().map(|class| *class as usize).collect();
        }
        let first = values[0];
        let second = values.iter().copied().find(|v| *v != first);
        let two = columns == 1 && values.iter().all(|v| *v == first || Some(*v) == second);
        values.iter().map(|v| usize::from(two && *v != first)).collect()
    }

    /// Searches.
    pub fn solve(&self) -> Result<Blend> {
        let own = self.own()?;
        Solver::new(self, own.as_deref())?.solve()
    }

    /// Scores of weights that were found on other rows: the blend, a member alone, equal weights.
    pub fn judged(&self, blend: &Blend, best: usize) -> Result<[f64; 3]> {
        let own = self.own()?;
        Solver::new(self, own.as_deref())?.judged(blend, best)
    }

    /// The blended predictions, row-major, in the space of the truth.
    pub fn blended(&self, blend: &Blend) -> Result<Vec<f64>> {
        let own = self.own()?;
        Solver::new(self, own.as_deref())?.blended(blend)
    }

    /// Whether the search reads other numbers than the members': in another space, or with a model of nothing.
    pub fn is_plain(&self) -> bool {
        self.config.space == climb::Space::Value && self.config.sum_one
    }

    /// These numbers.
    fn own(&self) -> Result<Option<Vec<Vec<f64>>>> {
        if self.is_plain() {
            return Ok(None);
        }
        self.not_finite()?;
        let columns = self.truth.columns();
        let rows: Vec<usize> = (0..self.rows()).collect();
        let Part { models: mut all, .. } = self.gather(&rows)?;
        for (member, values) in self.members.iter().zip(&mut all) {
            self.blending().forward_all(values, columns).map_err(|(row, c, problem)| {
                let column = member.table.column_name(c);
                Error::input(member.table.path(), format!("row {row}, column `{column}`: {problem}"))
                    .hint("choose another `--space`")
            })?;
        }
        if !self.config.sum_one {
            // Nothing is 0 as it was measured, which a normalisation moves.
            let zero: Vec<f64> = match self.table.normalisation() {
                Some((mean, std)) => mean.iter().zip(std).map(|(mean, std)| -mean / std).collect(),
                None => vec![0.0; columns],
            };
            all.push(zero.repeat(self.rows()));
        }
        Ok(Some(all))
    }

    /// Names the file, row and column of the first value that is not finite.
    pub fn not_finite(&self) -> Result<()> {
        self.table.demand_finite(&self.truth)?;
        self.members.iter().zip(&self.models).try_for_each(|(m, matrix)| m.table.demand_finite(matrix))
    }

    /// Why there are no sums of squares: a value that is not finite, or one whose square is not.
    pub fn no_squares(&self, otherwise: Error) -> Error {
        if let Err(error) = self.not_finite() {
            return error;
        }
        let mut values = vec![0.0; self.truth.columns()];
        let tables = self.members.iter().map(|member| &member.table).zip(&self.models);
        for (table, matrix) in [(self.table, &self.truth)].into_iter().chain(tables) {
            for row in 0..self.rows() {
                matrix.read(row, 0..values.len(), &mut values);
                if let Some(c) = values.iter().position(|v| v.abs() > LARGEST) {
                    let problem = format!(
                        "row {row}, column `{}`: the square of {:e} is too large",
                        table.column_name(c),
                        values[c]
                    );
                    return Error::input(table.path(), problem)
                        .hint("predict again; a diverged network gives such numbers");
                }
            }
        }
        otherwise
    }

    /// Bytes of truth and members in memory.
    pub fn own_bytes(&self) -> u64 {
        let tables = self.members.iter().map(|m| &m.table).chain([self.table]);
        tables.filter_map(|table| table.numbers()).map(|numbers| numbers.len() as u64 * 8).sum()
    }

    /// Bytes that the search takes beside truth and members, at most.
    pub fn bytes(&self, threads: usize) -> u64 {
        let matrix = (self.rows() * self.truth.columns() * 8) as u64;
        let models = self.models.len() as u64 + u64::from(!self.config.sum_one);
        let own = if self.is_plain() { 0 } else { models };
        let folds = self.folds.is_some() || self.config.folds.is_some();
        let parts = if folds || self.config.bootstrap > 0 { models + 1 } else { 0 };
        if self.config.of_squares() {
            let scaled = if self.weights.is_some() { models + 2 } else { 0 };
            return (parts + own + scaled) * matrix;
        }
        // What is searched by passes is copied in the order of its classes; a trial may hold the blend, its order and its ranks.
        (parts + own + models + 4 + 3 * threads as u64) * matrix
    }
}
