//! One raw event to what networks read, with the count of what was left out and why.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Event;
use super::layout::{ClusterColumns, Layout};
use super::selection::{Scatters, Selection, Unusable};
use crate::classes::UNLABELLED;

/// Numbers of an event as its file has them.
#[derive(Debug, Clone, Copy)]
pub struct RawEvent<'a> {
    /// Rows of points.
    pub rows: &'a [f32],
    /// Numbers of a row.
    pub width: usize,
    /// Places of x, y, z and energy in it.
    pub places: [usize; 4],
    /// What points belong to.
    pub owners: Owners<'a>,
}

/// What the points of an event belong to.
#[derive(Debug, Clone, Copy)]
pub enum Owners<'a> {
    /// Nothing is known.
    None,
    /// Rows of clusters, and the numbers of a row; the points lie in their order.
    Clusters(&'a [i64], usize),
    /// Values of each point, as far as they are known.
    Points {
        /// Semantic types.
        semantic: Option<&'a [i64]>,
        /// Numbers of clusters.
        cluster: Option<&'a [i64]>,
        /// Kinds of particles.
        particle: Option<&'a [i64]>,
    },
}

/// Points that were left out, by reason, and what else is worth a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Points of low-energy scatters.
    pub scatters: u64,
    /// Points at or below the threshold.
    pub weak: u64,
    /// Points with a place or an energy that is no number.
    pub non_finite: u64,
    /// Points with a negative energy.
    pub negative: u64,
    /// Points outside of the detector.
    pub outside: u64,
    /// Points whose label is unknown, kept without one.
    pub unknown_label: u64,
    /// Events whose first cluster was left out, although its type is not that of scatters.
    pub led_by_others: u64,
    /// Points of these clusters.
    pub not_scatters: u64,
}

impl Tally {
    /// Adds the counts of another one.
    pub fn add(&mut self, other: &Self) {
        self.scatters += other.scatters;
        self.weak += other.weak;
        self.non_finite += other.non_finite;
        self.negative += other.negative;
        self.outside += other.outside;
        self.unknown_label += other.unknown_label;
        self.led_by_others += other.led_by_others;
        self.not_scatters += other.not_scatters;
    }

    /// Points that could not be right and were left out, and labels that were, each with its count; those that occurred.
    pub fn unusable(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("non_finite", self.non_finite),
            ("negative", self.negative),
            ("outside", self.outside),
            ("unknown_label", self.unknown_label),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

/// A run of points with one owner.
struct Run {
    size: usize,
    /// Number of the cluster in its event, or of the point.
    number: usize,
    instance: i32,
    semantic: Option<i64>,
    particle: Option<i64>,
    removed: bool,
}

/// Applies a selection to one raw event. An error is the text after the event's place.
pub fn select(raw: RawEvent, layout: &Layout, selection: &Selection, tally: &mut Tally) -> Result<Event, String> {
    if !raw.rows.len().is_multiple_of(raw.width) {
        return Err(format!("holds {} numbers, expected rows of {}", raw.rows.len(), raw.width));
    }
    let count = raw.rows.len() / raw.width;
    let runs = runs(raw.owners, count, layout, selection, tally)?;
    let scale = selection.scale();
    let threshold = selection.energy_threshold as f32;
    let skip = selection.unusable == Unusable::Skip;
    let mut event = Event { raw_points: count as u64, ..room(&runs) };
    let mut begin = 0;
    for run in &runs {
        let first = begin;
        begin += run.size;
        // Sizes add up to the rows.
        let rows = &raw.rows[first * raw.width..begin * raw.width];
        if run.removed {
            tally.scatters += run.size as u64;
            continue;
        }
        let place = |at: usize| match raw.owners {
            Owners::Clusters(..) => format!("row {at}, in cluster {}", run.number),
            _ => format!("row {at}"),
        };
        let mut class = None;
        for (at, row) in (first..).zip(rows.chunks_exact(raw.width)) {
            let values = raw.places.map(|column| row[column]);
            let [x, y, z, energy] = values;
            if !values.iter().all(|v| v.is_finite()) {
                if skip || selection.drop_non_finite {
                    tally.non_finite += 1;
                    continue;
                }
                return Err(format!(
                    "{} has x, y, z, energy {values:?}, expected finite numbers; `selection.unusable=skip` leaves such \
                     voxels out",
                    place(at)
                ));
            }
            if energy < 0.0 {
                if skip {
                    tally.negative += 1;
                    continue;
                }
                return Err(format!(
                    "{} has the energy {energy} MeV, expected 0 or more; `selection.unusable=skip` leaves such voxels out",
                    place(at)
                ));
            }
            let voxel = layout.voxel.of([x, y, z]);
            if let Some(detector) = &layout.detector
                && !detector.holds(voxel)
            {
                if skip {
                    tally.outside += 1;
                    continue;
                }
                return Err(format!(
                    "{} lies at {voxel:?} voxels, outside of the detector from {:?} to {:?} (`layout.detector`); \
                     `selection.unusable=skip` leaves such voxels out",
                    place(at),
                    detector.low,
                    detector.high
                ));
            }
            if selection.energy_threshold > 0.0 && energy <= threshold {
                tally.weak += 1;
                continue;
            }
            // Of a whole run at once, and only where a point of it is used.
            let class = match class {
                Some(class) => class,
                None => {
                    let found = match run.semantic.map_or(Ok(UNLABELLED), |label| layout.labels.class(label)) {
                        Ok(found) => (found, false),
                        Err(_) if skip => (UNLABELLED, true),
                        Err(problem) => return Err(format!("{} has the semantic type {problem}", place(at))),
                    };
                    *class.insert(found)
                }
            };
            tally.unknown_label += u64::from(class.1);
            let [x, y, z] = voxel;
            event.points.extend_from_slice(&[x, y, z, scale.forward(f64::from(energy))]);
            event.semantic.push(class.0);
            event.cluster.push(run.instance);
            event.voxel.push(at as i32);
            if let Some(particle) = run.particle {
                event.particle.push(u8::try_from(particle).unwrap_or(UNLABELLED));
            }
        }
    }
    Ok(event)
}

/// An event with room for the points of all runs that stay: growing by and by would copy them several times.
fn room(runs: &[Run]) -> Event {
    let points = runs.iter().filter(|run| !run.removed).map(|run| run.size).sum();
    let particles = if runs.iter().any(|run| run.particle.is_some()) { points } else { 0 };
    Event {
        points: Vec::with_capacity(4 * points),
        semantic: Vec::with_capacity(points),
        cluster: Vec::with_capacity(points),
        particle: Vec::with_capacity(particles),
        voxel: Vec::with_capacity(points),
        raw_points: 0,
    }
}

/// The points of an event in runs of one owner.
fn runs(
    owners: Owners,
    count: usize,
    layout: &Layout,
    selection: &Selection,
    tally: &mut Tally,
) -> Result<Vec<Run>, String> {
    let remove = selection.remove_low_energy_scatters;
    let scatters = layout.labels.scatters;
    match owners {
        Owners::None => {
            let run = Run { size: count, number: 0, instance: -1, semantic: None, particle: None, removed: false };
            Ok(vec![run])
        }
        Owners::Clusters(rows, width) => {
            let ClusterColumns { size, semantic, particle, .. } = &layout.cluster_columns;
            // Of a damaged file the sum may not fit 64 bits, and come out right for that.
            let total: i128 = rows.iter().skip(*size).step_by(width).map(|&points| i128::from(points)).sum();
            if total != count as i128 {
                return Err(format!("has {count} points, the sizes of its clusters add up to {total}"));
            }
            let mut instance = 0;
            let one = |(number, row): (usize, &[i64])| {
                let removed = remove
                    && match selection.scatters {
                        Scatters::FirstCluster => number == 0,
                        Scatters::Labelled => row[*semantic] == scatters,
                    };
                let points = row[*size] as usize;
                if removed && row[*semantic] != scatters && points > 0 {
                    tally.led_by_others += 1;
                    tally.not_scatters += points as u64;
                }
                let particle = particle.and_then(|column| row.get(column).copied());
                let run = Run { size: points, number, instance, semantic: Some(row[*semantic]), particle, removed };
                instance += i32::from(!removed);
                run
            };
            Ok(rows.chunks_exact(width).enumerate().map(one).collect())
        }
        Owners::Points { semantic, cluster, particle } => {
            let numbers = cluster.map(numbered);
            let one = |at: usize| {
                let semantic = semantic.map(|values| values[at]);
                Run {
                    size: 1,
                    number: at,
                    instance: numbers.as_ref().map_or(-1, |numbers| numbers[at]),
                    semantic,
                    particle: particle.map(|values| values[at]),
                    removed: remove && semantic == Some(scatters),
                }
            };
            Ok((0..count).map(one).collect())
        }
    }
}

/// Numbers of the clusters of an event in 32 bits: as they are where they fit, else in the order of their first points.
/// Negative ones are no cluster.
fn numbered(clusters: &[i64]) -> Vec<i32> {
    if clusters.iter().all(|&number| number <= i64::from(i32::MAX)) {
        return clusters.iter().map(|&number| i32::try_from(number.max(-1)).unwrap_or(-1)).collect();
    }
    let mut known = HashMap::new();
    let one = |&number: &i64| match number {
        ..0 => -1,
        _ => {
            let next = known.len() as i32;
            *known.entry(number).or_insert(next)
        }
    };
    clusters.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_clusters_beyond_32_bits_are_counted_anew() {
        assert_eq!(numbered(&[5, -7, 5, 0]), [5, -1, 5, 0]);
        let wide = 1 << 40;
        assert_eq!(numbered(&[wide, 3, -1, wide, wide + 1]), [0, 1, -1, 0, 2]);
    }

    fn row(energy: f32) -> [f32; 8] {
        [1.0, 2.0, 3.0, energy, 0.0, 0.0, 0.0, 0.0]
    }

    fn five(points: &[f32], clusters: &[i64], selection: &Selection) -> Result<(Event, Tally), String> {
        let raw = RawEvent { rows: points, width: 8, places: [0, 1, 2, 3], owners: Owners::Clusters(clusters, 5) };
        let mut tally = Tally::default();
        select(raw, &Layout::default(), selection, &mut tally).map(|event| (event, tally))
    }

    #[test]
    fn the_first_cluster_and_weak_voxels_are_left_out() {
        let points = [row(5.0), row(0.13), row(0.14), row(2.0)].concat();
        let clusters = [1, 0, 0, 0, 4, 2, 1, 1, 0, 1, 1, 2, 2, 0, 0];
        let (event, tally) = five(&points, &clusters, &Selection::default()).unwrap();
        assert_eq!((event.semantic.as_slice(), event.cluster.as_slice()), ([1, 0].as_slice(), [0, 1].as_slice()));
        assert_eq!((event.voxel.as_slice(), event.raw_points), ([2, 3].as_slice(), 4));
        assert_eq!((tally.scatters, tally.weak, tally.led_by_others), (1, 1, 0));
        let all = Selection {
            remove_low_energy_scatters: false,
            energy_threshold: 0.0,
            log_floor: Some(0.01),
            ..Selection::default()
        };
        assert_eq!(five(&points, &clusters, &all).unwrap().0.cluster, [0, 1, 1, 2]);
    }

    #[test]
    fn a_leading_track_is_dropped_as_published_and_counted_or_kept_by_its_label() {
        let points = [row(5.0), row(2.0), row(3.0)].concat();
        let clusters = [1, 0, 0, 0, 1, 1, 1, 1, 0, 4, 1, 2, 2, 0, 0];
        let (event, tally) = five(&points, &clusters, &Selection::default()).unwrap();
        assert_eq!((event.semantic.as_slice(), tally.led_by_others, tally.not_scatters), ([4, 0].as_slice(), 1, 1));
        let labelled = Selection { scatters: Scatters::Labelled, ..Selection::default() };
        let (event, tally) = five(&points, &clusters, &labelled).unwrap();
        assert_eq!((event.semantic.as_slice(), event.cluster.as_slice()), ([1, 0].as_slice(), [0, 1].as_slice()));
        assert_eq!((tally.scatters, tally.led_by_others), (1, 0));
    }

    #[test]
    fn what_cannot_be_right_is_told_or_left_out_and_counted() {
        let keep = Selection { remove_low_energy_scatters: false, ..Selection::default() };
        let skip = Selection { unusable: Unusable::Skip, ..keep.clone() };
        let one = [1, 0, 0, 0, 1];
        let error = |points: &[f32], clusters: &[i64]| five(points, clusters, &keep).unwrap_err();
        assert!(error(&[1.0; 7], &one).contains("7 numbers, expected rows of 8"));
        assert!(error(&[1.0; 16], &one).contains("2 points, the sizes of its clusters add up to 1"));
        let wraps = [[i64::MAX, 0, 0, 0, 1], [i64::MAX, 0, 0, 0, 1], [3, 0, 0, 0, 1]].concat();
        assert!(
            error(&[1.0; 8], &wraps).contains("1 points, the sizes of its clusters add up to 18446744073709551617")
        );
        let mut outside = row(1.0);
        outside[1] = -1.0;
        for (points, clusters, told) in [
            (row(f32::NAN), one, "row 0, in cluster 0 has x, y, z, energy [1.0, 2.0, 3.0, NaN], expected finite"),
            (row(-0.5), one, "row 0, in cluster 0 has the energy -0.5 MeV"),
            (outside, one, "outside of the detector"),
            (row(1.0), [1, 0, 0, 0, -3], "row 0, in cluster 0 has the semantic type -3"),
        ] {
            assert!(error(&points, &clusters).contains(told), "{}", error(&points, &clusters));
            let (event, tally) = five(&points, &clusters, &skip).unwrap();
            let kept = u64::from(told.contains("semantic"));
            assert_eq!((event.len() as u64, tally.unknown_label, tally.unusable().len()), (kept, kept, 1), "{told}");
        }
        let dropping = Selection { drop_non_finite: true, ..keep.clone() };
        assert!(five(&row(f32::NAN), &one, &dropping).unwrap().0.is_empty());
        assert!(five(&[], &[], &keep).unwrap().0.is_empty());
    }

    #[test]
    fn labels_of_points_and_ignored_ones_make_points_without_a_class() {
        let points = [1.0, 2.0, 3.0, 5.0, 1.0, 2.0, 3.0, 6.0, 1.0, 2.0, 3.0, 7.0];
        let owners = Owners::Points { semantic: Some(&[4, -1, 1]), cluster: Some(&[0, 8, 9]), particle: None };
        let raw = RawEvent { rows: &points, width: 4, places: [0, 1, 2, 3], owners };
        let event = select(raw, &Layout::default(), &Selection::default(), &mut Tally::default()).unwrap();
        assert_eq!((event.semantic, event.cluster), (vec![UNLABELLED, 1], vec![8, 9]));
        let raw = RawEvent { owners: Owners::None, ..raw };
        let event = select(raw, &Layout::default(), &Selection::default(), &mut Tally::default()).unwrap();
        assert_eq!((event.semantic, event.cluster), (vec![UNLABELLED; 3], vec![-1; 3]));
    }
}
