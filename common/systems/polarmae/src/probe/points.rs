//! Probes of single points: how much of the classes lies open in the features of a frozen encoder, told by a linear map and by
//! the nearest points, each beside what its encoder gives before it learned anything.
//!
//! A point's features are those of the tokens around it, weighted as the segmentation weights them.

use crate::confusion::Confusion;
use common::config::Problems;
use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::Embedding;
use crate::dataset::Events;
use crate::svm::{Components, Machines};

/// How points are gathered and judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PointProbeConfig {
    /// Points of each set at most, spread evenly over its events.
    pub max_points: usize,
    /// Training events at most, the first ones: how much few labels are worth. `null`: all.
    pub train_events: Option<u64>,
    /// Principal components; fewer where the encoder is narrower.
    pub components: usize,
    /// Penalty of the linear machines, > 0.
    pub c: f64,
    /// Nearest points that vote.
    pub neighbors: usize,
}

impl Default for PointProbeConfig {
    fn default() -> Self {
        Self { max_points: 20_000, train_events: None, components: 128, c: 0.005, neighbors: 20 }
    }
}

impl PointProbeConfig {
    /// Reports values that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        for (name, value, least) in
            [("max_points", self.max_points, 2), ("components", self.components, 1), ("neighbors", self.neighbors, 1)]
        {
            problems
                .demand(value >= least, &format!("{key}.{name}"), || format!("is {value}, expected at least {least}"));
        }
        problems.demand(self.train_events != Some(0), &format!("{key}.train_events"), || {
            "is 0, expected at least 1".into()
        });
        problems
            .demand(self.c > 0.0 && self.c.is_finite(), &format!("{key}.c"), || format!("is {}, expected > 0", self.c));
    }
}

/// Features of points and their classes.
#[derive(Debug)]
pub struct PointFeatures {
    /// `[n, C]`.
    pub features: Tensor,
    /// Class of each.
    pub labels: Vec<i64>,
}

/// Gathers points of the first `most` events of a set, as many of each.
pub fn gather(
    embedding: &Embedding,
    events: &Events,
    most: u64,
    classes: usize,
    config: &PointProbeConfig,
) -> Result<PointFeatures> {
    let count = most.min(events.len()).max(1);
    // Small sets give whole events; of large ones as many events as give a point each.
    let each = (config.max_points as u64).div_ceil(count) as usize;
    let (mut parts, mut labels) = (vec![], vec![]);
    for number in 0..count.min(config.max_points as u64) {
        if common::cli::signals::interrupted() {
            return Err(neural::trainer::interrupted());
        }
        let view = events.get(number)?;
        let known: Vec<(i64, i64)> =
            (0i64..).zip(view.labels()).filter(|(_, label)| (0..classes as i64).contains(label)).collect();
        // The points of a raw event lie cluster by cluster: a stride meets all of them.
        let stride = known.len().div_ceil(each).max(1);
        let chosen: Vec<(i64, i64)> = known.into_iter().step_by(stride).collect();
        if chosen.is_empty() {
            continue;
        }
        let embedded = embedding.points(events.rows(&view), number)?;
        let index = Tensor::from_slice(&chosen.iter().map(|(point, _)| *point).collect::<Vec<_>>());
        parts.push(embedded.points.index_select(0, &index));
        labels.extend(chosen.into_iter().map(|(_, label)| label));
    }
    if labels.len() < 2 {
        return Err(Error::input(events.place(), "the probe of points finds no labelled point")
            .hint("events without labels can be embedded, not probed"));
    }
    labels.truncate(config.max_points);
    let features = Tensor::cat(&parts, 0).narrow(0, 0, labels.len() as i64);
    Ok(PointFeatures { features, labels })
}

/// What the probes find.
#[derive(Debug, Clone)]
pub struct PointProbed {
    /// By linear machines, one a class; the largest decision counts.
    pub linear: Confusion,
    /// By the classes of the nearest points.
    pub nearest: Confusion,
}

impl PointProbed {
    /// Figures of both probes, with the number of points of each class.
    pub fn report(&self, names: &[&str]) -> Value {
        let supports: Vec<u64> = self.linear.rows().iter().map(|row| row.iter().sum()).collect();
        let supports: serde_json::Map<_, _> =
            names.iter().zip(supports).map(|(n, s)| ((*n).to_string(), json!(s))).collect();
        json!({ "linear": self.linear.figures(names), "nearest": self.nearest.figures(names), "supports": supports })
    }
}

/// Fits on one set of points and judges on the other.
pub fn judge(
    train: &PointFeatures,
    valid: &PointFeatures,
    classes: usize,
    config: &PointProbeConfig,
) -> Result<PointProbed> {
    let components = Components::fit(&train.features, config.components)?;
    let (x, z) = (components.project(&train.features), components.project(&valid.features));
    let hot = one_hot(&train.labels, classes);
    let machines = Machines::fit(&x, &hot, config.c)?;
    let mut probed = PointProbed { linear: Confusion::new(classes), nearest: Confusion::new(classes) };
    probed.linear.add(&valid.labels, &crate::train::classes_of(&machines.decide(&z))?);
    probed.nearest.add(&valid.labels, &nearest(&x, &hot, &z, config.neighbors)?);
    Ok(probed)
}

fn one_hot(labels: &[i64], classes: usize) -> Tensor {
    Tensor::from_slice(labels).one_hot(classes as i64).to_kind(Kind::Double)
}

/// The class that most of the nearest rows of `x` have, for each row of `z`; the lowest of equal ones.
fn nearest(x: &Tensor, hot: &Tensor, z: &Tensor, neighbors: usize) -> Result<Vec<i64>> {
    let k = (neighbors as i64).min(x.size()[0]);
    let squares = x.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
    let mut found = vec![];
    for part in z.split(1024, 0) {
        // |x - z|^2 without |z|^2, which is the same for all x.
        let distances = &squares - part.matmul(&x.tr()) * 2.0;
        let (_, index) = distances.topk(k, 1, false, true);
        let votes = hot.index_select(0, &index.reshape([-1])).view([-1, k, hot.size()[1]]);
        let votes = votes.sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
        found.extend(crate::train::classes_of(&votes)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_probes_tell_clouds_apart_and_count_what_they_judged() {
        let cloud = |n: usize, seed: u64| {
            let labels: Vec<i64> = (0..n as i64).map(|i| i % 3).collect();
            let rows: Vec<f32> = labels
                .iter()
                .zip(0u64..)
                .flat_map(|(&label, row)| {
                    std::array::from_fn::<f32, 6, _>(|axis| {
                        let noise = ((row * 6 + axis as u64 + seed) * 7919 % 101) as f32 / 101.0;
                        noise + if axis as i64 == label { 3.0 } else { 0.0 }
                    })
                })
                .collect();
            PointFeatures { features: Tensor::from_slice(&rows).view([n as i64, 6]), labels }
        };
        let config = PointProbeConfig { c: 1.0, ..PointProbeConfig::default() };
        let probed = judge(&cloud(90, 1), &cloud(60, 2), 3, &config).unwrap();
        assert_eq!((probed.linear.accuracy(), probed.nearest.accuracy()), (1.0, 1.0));
        let report = probed.report(&["a", "b", "c"]);
        assert_eq!((report["supports"]["b"].as_u64(), report["linear"]["f1_mean"].as_f64()), (Some(20), Some(1.0)));
    }
}
