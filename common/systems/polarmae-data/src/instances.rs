//! Particles from classes: density clustering of the points of each class, and how well it finds the true clusters.
//!
//! A baseline that learns nothing: DBSCAN (Ester et al. 1996) as scikit-learn defines it, with a cell list. Two showers that
//! touch become one. Source of the measures: Hubert and Arabie 1985 (adjusted Rand index); efficiency and purity as used for
//! particle clustering in liquid argon (arXiv 2007.01335).

use std::collections::BTreeMap;

use common::config::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::{Cells, Points};

/// How points become instances.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Density {
    /// Points at most so many voxels apart are neighbours, > 0.
    pub radius: f64,
    /// Neighbours, itself included, that make a point part of the inside of an instance, >= 1.
    pub neighbors: usize,
}

impl Default for Density {
    fn default() -> Self {
        Self { radius: 5.0, neighbors: 3 }
    }
}

impl Density {
    /// Reports values that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        problems.demand(self.radius > 0.0 && self.radius.is_finite(), &format!("{key}.radius"), || {
            format!("is {}, expected a number above 0", self.radius)
        });
        problems.demand(self.neighbors >= 1, &format!("{key}.neighbors"), || "is 0, expected at least 1".into());
    }
}

/// Number of the instance of each point; -1 for one that is in none.
pub fn cluster(points: &Points, density: &Density) -> Vec<i32> {
    let radius = density.radius as f32;
    // The library's distance is inclusive, that of the cells is not.
    let within = (radius * radius).next_up();
    let cells = Cells::new(points, radius);
    let inside: Vec<bool> =
        cells.counts(within, u32::MAX).into_iter().map(|count| count as usize >= density.neighbors).collect();
    let mut found = vec![-1; points.len()];
    let mut number = 0;
    let mut open = vec![];
    for start in 0..points.len() {
        if found[start] >= 0 || !inside[start] {
            continue;
        }
        found[start] = number;
        open.push(start);
        while let Some(at) = open.pop() {
            if !inside[at] {
                continue;
            }
            cells.within(points.at(at), within, |near, _| {
                let near = near as usize;
                if found[near] < 0 {
                    found[near] = number;
                    open.push(near);
                }
            });
        }
        number += 1;
    }
    found
}

/// Instances of all classes of an event: numbers run on from class to class, in the order of the classes. `rows` have x, y, z
/// first.
pub fn by_class(rows: &[f32], width: usize, classes: &[i64], density: &Density) -> Vec<i32> {
    let all = Points::from_rows(rows, width);
    let mut members: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for (i, &class) in classes.iter().enumerate().filter(|(_, class)| **class >= 0) {
        members.entry(class).or_default().push(i as u32);
    }
    let mut found = vec![-1; classes.len()];
    let mut first = 0;
    for indices in members.values() {
        let clusters = cluster(&all.select(indices), density);
        for (&i, &number) in indices.iter().zip(&clusters).filter(|(_, number)| **number >= 0) {
            found[i as usize] = first + number;
        }
        first += clusters.iter().max().map_or(0, |last| last + 1);
    }
    found
}

/// How well instances agree with the true ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Agreement {
    /// Adjusted Rand index: 1 for the same partition, about 0 for a random one.
    pub ari: f64,
    /// Share of points that lie in the largest part of their true cluster.
    pub efficiency: f64,
    /// Share of the points in instances that belong to the true cluster that most of their instance belongs to.
    pub purity: f64,
    /// Points that were compared.
    pub points: usize,
}

/// Compares the instances of an event with its true clusters. Points without a true cluster (-1) are left out; a point in no
/// instance is one of its own.
pub fn agreement(truth: &[i32], found: &[i32]) -> Agreement {
    let mut pairs: BTreeMap<(i32, i64), u64> = BTreeMap::new();
    for (at, (&truth, &found)) in truth.iter().zip(found).enumerate().filter(|(_, (truth, _))| **truth >= 0) {
        let found = if found < 0 { -1 - at as i64 } else { i64::from(found) };
        *pairs.entry((truth, found)).or_default() += 1;
    }
    let (mut by_truth, mut by_found) = (BTreeMap::<i32, (u64, u64)>::new(), BTreeMap::<i64, (u64, u64)>::new());
    for (&(truth, found), &count) in &pairs {
        for (sum, most) in [by_truth.entry(truth).or_default(), by_found.entry(found).or_default()].map(|(a, b)| (a, b))
        {
            *sum += count;
            *most = (*most).max(count);
        }
    }
    let points: u64 = pairs.values().sum();
    if points == 0 {
        return Agreement::default();
    }
    let choose = |n: u64| n as f64 * (n as f64 - 1.0) / 2.0;
    let together: f64 = pairs.values().map(|&n| choose(n)).sum();
    let (of_truth, of_found): (f64, f64) =
        (by_truth.values().map(|n| choose(n.0)).sum(), by_found.values().map(|n| choose(n.0)).sum());
    let expected = if points > 1 { of_truth * of_found / choose(points) } else { 0.0 };
    let most = (of_truth + of_found) / 2.0;
    let ari = if (most - expected).abs() < 1e-12 { 1.0 } else { (together - expected) / (most - expected) };
    let best: u64 = by_truth.values().map(|n| n.1).sum();
    let inside = by_found.iter().filter(|(found, _)| **found >= 0).map(|(_, n)| *n);
    let (sum, most) = inside.fold((0, 0), |(a, b), (sum, most)| (a + sum, b + most));
    Agreement {
        ari,
        efficiency: best as f64 / points as f64,
        purity: if sum == 0 { 0.0 } else { most as f64 / sum as f64 },
        points: points as usize,
    }
}

/// Means over events, weighted by their points for efficiency and purity, plain for the Rand index.
#[derive(Debug, Clone, Copy, Default)]
pub struct Agreements {
    events: u64,
    sum: Agreement,
}

impl Agreements {
    /// Adds an event; one without true clusters counts for nothing.
    pub fn add(&mut self, one: &Agreement) {
        if one.points == 0 {
            return;
        }
        let weight = one.points as f64;
        self.events += 1;
        self.sum.ari += one.ari;
        self.sum.efficiency += one.efficiency * weight;
        self.sum.purity += one.purity * weight;
        self.sum.points += one.points;
    }

    /// The means; none without an event.
    pub fn mean(&self) -> Option<Agreement> {
        let (events, points) = (self.events as f64, self.sum.points as f64);
        (self.events > 0).then(|| Agreement {
            ari: self.sum.ari / events,
            efficiency: self.sum.efficiency / points,
            purity: self.sum.purity / points,
            points: self.sum.points,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `instances/reference.py` with scikit-learn 1.9.1.
    const REFERENCE: &str = include_str!("instances/reference.json");

    #[test]
    fn clusters_and_their_agreement_are_those_of_scikit_learn() {
        let cases: Vec<serde_json::Value> = serde_json::from_str(REFERENCE).unwrap();
        for case in cases {
            let numbers = |key: &str| -> Vec<i32> { serde_json::from_value(case[key].clone()).unwrap() };
            let rows: Vec<f32> = serde_json::from_value(case["points"].clone()).unwrap();
            let density = Density {
                radius: case["radius"].as_f64().unwrap(),
                neighbors: case["neighbors"].as_u64().unwrap() as usize,
            };
            let found = cluster(&Points::from_rows(&rows, 3), &density);
            assert_eq!(found, numbers("found"));
            let agreement = agreement(&numbers("truth"), &found);
            assert!((agreement.ari - case["ari"].as_f64().unwrap()).abs() < 1e-12, "{agreement:?}");
            assert!((agreement.efficiency - case["efficiency"].as_f64().unwrap()).abs() < 1e-12, "{agreement:?}");
            assert!((agreement.purity - case["purity"].as_f64().unwrap()).abs() < 1e-12, "{agreement:?}");
        }
    }

    #[test]
    fn classes_are_clustered_apart_and_points_without_truth_count_for_nothing() {
        let rows = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 90.0, 0.0, 0.0, 91.0, 0.0, 0.0];
        let density = Density { radius: 1.5, neighbors: 1 };
        let found = by_class(&rows, 3, &[1, 0, 1, 1, 1], &density);
        assert_eq!(found, [1, 0, 2, 3, 3]);
        assert_eq!(by_class(&rows, 3, &[-1; 5], &density), [-1; 5]);
        let same = agreement(&[0, 1, 2, 3, 3], &found);
        assert_eq!((same.ari, same.efficiency, same.purity), (1.0, 1.0, 1.0));
        assert_eq!(agreement(&[-1; 5], &found).points, 0);
        let mut all = Agreements::default();
        assert!(all.mean().is_none());
        all.add(&same);
        assert_eq!(all.mean().unwrap().ari, 1.0);
    }
}
