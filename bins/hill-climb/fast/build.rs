//! Which scores have a quick way, and what it needs.

use std::borrow::Cow;

use climb::ranks::ranks;
use climb::space::Blending;
use climb::{Metric, Space};
use common::Result;
use common::metrics::Matrix;
use common::oof::Table;
use rayon::prelude::*;

use super::decide::Decision;
use super::losses::{Finish, Loss};
use super::{Fast, Kind, Products, RowLoss, Whole};
use crate::hill_climb::curve::Curve;
use crate::hill_climb::judge::Threshold;
use crate::hill_climb::labels::Labels;
use crate::hill_climb::ordered::mean_from_first;
use crate::hill_climb::samples::Samples;

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Quick<'q> {
    /// The score.
    pub metric: Metric,
    /// Members hold a probability a class.
    pub classes: bool,
    /// How members are blended.
    pub blending: Blending,
    /// What decides between two labels.
    pub threshold: Threshold,
    /// Weights of the rows.
    pub weights: Option<&'q [f64]>,
    /// Labels of the column, where it is one and they are known from more rows than these.
    pub labels: Option<Option<Labels>>,
    /// Where names come from.
    pub table: &'q Table,
    /// The truth.
    pub truth: &'q Matrix<'q>,
}

/// How the numbers are laid out.
struct Layout {
    kind: Kind,
    /// Columns of the members that a row has.
    columns: Columns,
    /// Whether rows stand in the order of their classes.
    sorted: bool,
}

enum Columns {
    These(Vec<usize>),
    /// The one of the row's class.
    Own,
}

impl<'a> Fast<'a> {
    /// The objective over `columns`, which the score judges together or which are one; none where there is no quick way.
    pub fn new(asked: Quick, models: &'a [Matrix<'a>], columns: &[usize]) -> Result<Option<Self>> {
        let (truth, weights) = (asked.truth, asked.weights);
        let rows = truth.rows();
        let total = weights.map_or(rows as f64, |weights| weights.iter().sum());
        let mut row = vec![0.0; truth.columns()];
        let mut read = |r: usize, c: &[usize], out: &mut Vec<f64>| {
            truth.read(r, 0..truth.columns(), &mut row);
            out.extend(c.iter().map(|&c| row[c]));
        };
        let mut y = Vec::with_capacity(rows * columns.len());
        (0..rows).for_each(|r| read(r, columns, &mut y));
        let labels = if columns.len() == 1 { asked.labels.unwrap_or_else(|| Labels::of(&y)) } else { None };
        let Some(Layout { kind, columns: taken, sorted }) = layout(asked, columns, labels, &y, total)? else {
            return Ok(None);
        };
        // Class of every row, where rows have one.
        let class: Vec<usize> = match (sorted, asked.classes && columns.len() > 1, labels) {
            (true, true, _) => {
                y.chunks_exact(columns.len()).map(|y| y.iter().position(|v| *v == 1.0).unwrap_or(0)).collect()
            }
            (true, false, Some(labels)) => y.iter().map(|y| labels.place(*y)).collect(),
            _ => vec![0; rows],
        };
        let classes = match (sorted, asked.classes && columns.len() > 1, labels) {
            (true, true, _) => columns.len(),
            (true, false, Some(labels)) => labels.count,
            _ => 1,
        };
        let mut order: Vec<usize> = (0..rows).collect();
        if sorted {
            order.sort_by_key(|&row| class[row]);
        }
        let mut ends = vec![0; classes];
        class.iter().for_each(|&class| ends[class] += 1);
        (1..classes).for_each(|k| ends[k] += ends[k - 1]);

        let width = if let Columns::These(columns) = &taken { columns.len() } else { 1 };
        let plain = |model: &'a Matrix<'a>| {
            let all = matches!(&taken, Columns::These(columns) if columns.iter().copied().eq(0..model.columns()));
            model.plain().filter(|_| all && !sorted && !matches!(kind, Kind::Pearson { .. }))
        };
        let gathered = |model: &'a Matrix<'a>| -> Cow<'a, [f64]> {
            if let Some(values) = plain(model) {
                return Cow::Borrowed(values);
            }
            let mut values = vec![0.0; rows * width];
            let mut whole = vec![0.0; model.columns()];
            for (&row, out) in order.iter().zip(values.chunks_exact_mut(width)) {
                match &taken {
                    Columns::Own => model.read(row, columns[class[row]]..columns[class[row]] + 1, out),
                    Columns::These(columns) if width == 1 => model.read(row, columns[0]..columns[0] + 1, out),
                    Columns::These(columns) => {
                        model.read(row, 0..whole.len(), &mut whole);
                        out.iter_mut().zip(columns).for_each(|(value, &c)| *value = whole[c]);
                    }
                }
            }
            if let Kind::Pearson { .. } = kind {
                centre(&mut values, weights);
            }
            Cow::Owned(values)
        };
        let models: Vec<Cow<'a, [f64]>> = models.par_iter().map(gathered).collect();
        let truth: Vec<f64> = match &kind {
            Kind::Sum(Loss::Logarithmic, _) => y.iter().map(|y| y.ln_1p()).collect(),
            Kind::Sum(Loss::Squared, _) if asked.metric == Metric::Brier && columns.len() == 1 => class_of(&y, labels),
            Kind::Sum(..) | Kind::Whole(Whole::Pearson) | Kind::Rows(RowLoss::Angle(_)) => y,
            Kind::Rows(RowLoss::Crps(_)) => y.iter().step_by(columns.len()).copied().collect(),
            Kind::Whole(Whole::Spearman) => ranks(&y),
            Kind::Pearson { .. } => {
                centre(&mut y, weights);
                y
            }
            _ => order.iter().map(|&row| class[row] as f64).collect(),
        };
        let weights = weights.map(|weights| order.iter().map(|&row| weights[row]).collect());
        let (current, curve, products) = (vec![], Curve::default(), Products::default());
        let blending = asked.blending;
        Ok(Some(Self { kind, blending, width, models, truth, weights, total, ends, current, curve, products }))
    }
}

fn class_of(y: &[f64], labels: Option<Labels>) -> Vec<f64> {
    y.iter().map(|y| labels.map_or(0.0, |labels| labels.place(*y) as f64)).collect()
}

/// Takes the mean away and, where rows have weights, scales by their roots.
fn centre(values: &mut [f64], weights: Option<&[f64]>) {
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let mean = mean_from_first(values, weights);
    values.iter_mut().enumerate().for_each(|(row, value)| *value = (*value - mean) * weight(row).sqrt());
}

/// The quick way of a score.
fn layout(asked: Quick, columns: &[usize], labels: Option<Labels>, y: &[f64], total: f64) -> Result<Option<Layout>> {
    let Quick { metric, blending, weights, table, .. } = asked;
    let linear = matches!(blending.space, Space::Value | Space::Rank);
    let together = |kind: Kind, sorted: bool| Some(Layout { kind, columns: Columns::These(columns.to_vec()), sorted });
    let one_hot = asked.classes && columns.len() > 1;
    let threshold = if let Threshold::Fixed(threshold) = asked.threshold { Some(threshold) } else { None };
    if let Metric::Crps | Metric::MeanAngle = metric {
        let samples = Samples::new(metric, table, columns)?;
        let loss = if metric == Metric::Crps { RowLoss::Crps(samples) } else { RowLoss::Angle(samples) };
        return Ok(together(Kind::Rows(loss), false));
    }
    if one_hot {
        return Ok(match metric {
            Metric::Logloss if linear => Some(Layout { kind: Kind::OwnClass, columns: Columns::Own, sorted: true }),
            Metric::Logloss => together(Kind::Rows(RowLoss::OwnClass), true),
            Metric::Brier if linear => together(Kind::Sum(Loss::Squared, Finish::Mean(total)), false),
            Metric::Brier => together(Kind::Rows(RowLoss::Brier), true),
            _ if metric.of_labels() => together(Kind::Labels(metric, Decision::Likeliest(columns.len())), true),
            _ => None,
        });
    }
    // A column of classes that have to sum to one is not judged alone.
    if columns.len() != 1 || blending.classes {
        return Ok(None);
    }
    let two = labels.is_some_and(|labels| labels.count == 2);
    let sum = |loss: Loss, finish: fn(f64) -> Finish| together(Kind::Sum(loss, finish(total)), false);
    Ok(match (metric, labels) {
        (Metric::Mse, _) => sum(Loss::Squared, Finish::Mean),
        (Metric::Rmse, _) => sum(Loss::Squared, Finish::Root),
        (Metric::R2, _) => {
            let mut centred = y.to_vec();
            centre(&mut centred, weights);
            let squares = centred.iter().map(|y| y * y).sum();
            together(Kind::Sum(Loss::Squared, Finish::R2(squares)), false)
        }
        (Metric::Mae, _) => sum(Loss::Absolute, Finish::Mean),
        (Metric::Mape, _) => sum(Loss::Relative, Finish::Mean),
        (Metric::Smape, _) => sum(Loss::Symmetric, Finish::Mean),
        (Metric::Rmsle, _) => sum(Loss::Logarithmic, Finish::Root),
        (Metric::Brier, _) if two => sum(Loss::Squared, Finish::Mean),
        (Metric::Pearson, _) if linear => {
            let mut centred = y.to_vec();
            centre(&mut centred, weights);
            together(Kind::Pearson { squares: centred.iter().map(|y| y * y).sum() }, false)
        }
        (Metric::Pearson, _) => together(Kind::Whole(Whole::Pearson), false),
        (Metric::Spearman, _) => together(Kind::Whole(Whole::Spearman), false),
        (Metric::Auc, _) if two && weights.is_none() => together(Kind::Auc, true),
        (Metric::Auc, _) if two => together(Kind::Whole(Whole::Auc), true),
        (Metric::AveragePrecision, _) if two => together(Kind::Whole(Whole::AveragePrecision), true),
        (Metric::Logloss, _) if two => together(Kind::Logloss, true),
        (_, Some(labels)) if metric.of_labels() => match threshold {
            None => together(Kind::Whole(Whole::Threshold(metric)), true),
            Some(threshold) if two => together(Kind::Labels(metric, Decision::Threshold(threshold)), true),
            Some(_) => together(Kind::Labels(metric, Decision::Nearest(labels)), true),
        },
        _ => None,
    })
}
