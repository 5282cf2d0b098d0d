//! PILArNet-M files: HDF5 with one list of voxels and one list of clusters an event.
//!
//! `point` holds rows of 8 (x, y, z in voxels, value in MeV, energy deposit, time, electrons, dx), ordered by cluster;
//! `cluster` rows of 5 (points, fragment, group, interaction, semantic type) or, in later releases, 6 (the last is the
//! particle). The first cluster is the one of low-energy scatters. Both widths are told apart by their sums.

use std::path::{Path, PathBuf};

use common::config::Problems;
use common::store::hdf5::{ListFile, Lists};
use common::store::npy;
use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::energy::EnergyScale;

/// Values of a voxel.
pub const POINT_WIDTH: usize = 8;
/// Column of the energy that is used.
const VALUE: usize = 3;
/// Column of the semantic type of a cluster.
const SEMANTIC: usize = 4;
/// Events that are read at once.
pub const BLOCK: usize = 64;

/// Which voxels of an event are used, and which events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// Voxels must have more than this energy, MeV; 0 switches it off.
    pub energy_threshold: f64,
    /// Whether the first cluster, of low-energy scatters, is left out.
    pub remove_low_energy_scatters: bool,
    /// Energy that becomes 1 on the scale, MeV.
    pub energy_max: f64,
    /// Energy that is added before the logarithm, MeV, > 0. `null`: the threshold, as published runs did whatever
    /// their configs said.
    pub log_floor: Option<f64>,
    /// Voxels that an event must have, all clusters counted, before anything is left out.
    pub min_points: u64,
    /// Points that must remain of an event, >= 1. Published: not asked, events could become empty.
    pub min_selected: u64,
    /// Whether voxels with an energy or place that is no number are left out instead of being an error.
    pub drop_non_finite: bool,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            energy_threshold: 0.13,
            remove_low_energy_scatters: true,
            energy_max: 20.0,
            log_floor: None,
            min_points: 1024,
            min_selected: 1,
            drop_non_finite: false,
        }
    }
}

impl Selection {
    /// The scale of energies.
    pub fn scale(&self) -> EnergyScale {
        EnergyScale { floor: self.log_floor.unwrap_or(self.energy_threshold), max: self.energy_max }
    }

    /// Reports values that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let floor = self.scale().floor;
        problems.demand(floor > 0.0 && floor.is_finite(), &format!("{key}.log_floor"), || {
            format!("is {floor}, expected a number above 0; without a threshold it must be given")
        });
        for (name, value) in
            [("energy_max", self.energy_max), ("energy_threshold", self.energy_threshold + f64::MIN_POSITIVE)]
        {
            problems.demand(value > 0.0 && value.is_finite(), &format!("{key}.{name}"), || {
                format!("is {value}, expected a finite number")
            });
        }
        problems.demand(self.min_selected >= 1, &format!("{key}.min_selected"), || "is 0, expected at least 1".into());
    }
}

/// One event, ready for the networks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    /// Rows of x, y, z in voxels and the energy on its scale.
    pub points: Vec<f32>,
    /// Semantic type of each point.
    pub semantic: Vec<u8>,
    /// Number of each point's cluster within the event.
    pub cluster: Vec<i32>,
}

impl Event {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.semantic.len()
    }

    /// Whether nothing remained.
    pub fn is_empty(&self) -> bool {
        self.semantic.is_empty()
    }
}

/// An open PILArNet-M file.
#[derive(Debug)]
pub struct RawFile {
    path: PathBuf,
    points: Lists,
    clusters: Lists,
    width: usize,
}

impl RawFile {
    /// Opens a file and finds the width of its cluster rows (given or detected).
    pub fn open(path: &Path, cluster_width: Option<usize>) -> Result<Self> {
        let file = ListFile::open(path)?;
        let (points, clusters) = (file.lists("point")?, file.lists("cluster")?);
        if points.len() != clusters.len() {
            let problem = format!(
                "has {} elements in `point` and {} in `cluster`, expected as many",
                points.len(),
                clusters.len()
            );
            return Err(Error::input(path, problem));
        }
        let mut raw = Self { path: path.to_path_buf(), points, clusters, width: 0 };
        raw.width = match cluster_width {
            Some(width) => width,
            None => raw.detect_width()?,
        };
        Ok(raw)
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Values of a cluster row: 5 or 6.
    pub fn cluster_width(&self) -> usize {
        self.width
    }

    /// The only width under which the sizes of the clusters add up to the points, from the first events that tell.
    fn detect_width(&self) -> Result<usize> {
        let mut possible = vec![5, 6];
        for start in (0..self.len()).step_by(BLOCK) {
            let range = start..(start + BLOCK).min(self.len());
            let mut counts = vec![];
            self.points.floats(range.clone(), |_, list| {
                counts.push(list.len() / POINT_WIDTH);
                Ok(())
            })?;
            self.clusters.integers(range, |i, list| {
                let fits = |width: &usize| {
                    list.len().is_multiple_of(*width)
                        && list.iter().step_by(*width).try_fold(0i64, |sum, &n| sum.checked_add(n))
                            == Some(counts[i - start] as i64)
                };
                let left: Vec<usize> = possible.iter().copied().filter(fits).collect();
                if left.is_empty() {
                    let detail = format!("{} numbers for {} points", list.len(), counts[i - start]);
                    return Err(format!("{detail}: neither 5 nor 6 columns make the sizes of the clusters add up"));
                }
                possible = left;
                Ok(())
            })?;
            if let [width] = possible.as_slice() {
                return Ok(*width);
            }
        }
        Ok(5)
    }

    /// Voxels of each event of a range, all clusters counted: what the published index holds.
    pub fn counts(&self, range: std::ops::Range<usize>) -> Result<Vec<i64>> {
        let mut counts = vec![];
        self.clusters.integers(range, |_, list| {
            self.check_clusters(list)?;
            counts.push(list.iter().step_by(self.width).sum());
            Ok(())
        })?;
        Ok(counts)
    }

    fn check_clusters(&self, list: &[i64]) -> Result<(), String> {
        if !list.len().is_multiple_of(self.width) {
            return Err(format!("holds {} numbers, expected rows of {}", list.len(), self.width));
        }
        if let Some(bad) = list.iter().step_by(self.width).find(|n| !(0..1 << 40).contains(*n)) {
            return Err(format!("a cluster of {bad} points"));
        }
        Ok(())
    }

    /// Reads a block of events and selects their voxels: `None` for events that `wanted` leaves out.
    pub fn events(
        &self,
        range: std::ops::Range<usize>,
        selection: &Selection,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<Option<Event>>> {
        let start = range.start;
        let mut clusters: Vec<Vec<i64>> = Vec::with_capacity(range.len());
        self.clusters.integers(range.clone(), |_, list| {
            self.check_clusters(list)?;
            clusters.push(list.to_vec());
            Ok(())
        })?;
        let mut events = Vec::with_capacity(range.len());
        self.points.floats(range, |i, list| {
            events.push(if wanted(i) {
                Some(select(list, &clusters[i - start], self.width, selection)?)
            } else {
                None
            });
            Ok(())
        })?;
        Ok(events)
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Voxels of every event: from the index beside the file where there is one, else from the file.
    ///
    /// Differs: without an index upstream uses every event, whatever its voxels.
    pub fn index(&self) -> Result<Vec<i64>> {
        let path = index_path(&self.path);
        if path.is_file() {
            // Also without a dimension: what upstream writes for a file of one event.
            let counts = npy::NpyArray::open(&path)?.to_i64()?;
            if counts.len() != self.len() {
                let problem = format!("lists {} events, `{}` has {}", counts.len(), self.path.display(), self.len());
                return Err(Error::input(&path, problem).hint("remove it: the events are counted anew without it"));
            }
            return Ok(counts);
        }
        let mut counts = Vec::with_capacity(self.len());
        for start in (0..self.len()).step_by(BLOCK) {
            counts.extend(self.counts(start..(start + BLOCK).min(self.len()))?);
        }
        Ok(counts)
    }
}

/// Name of the index of a file: `_points.npy` instead of `.h5`.
pub fn index_path(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{}_points.npy", name.trim_end_matches(".h5")))
}

/// Applies a selection to one raw event. An error is the text after the event's place.
fn select(points: &[f32], clusters: &[i64], width: usize, selection: &Selection) -> Result<Event, String> {
    if !points.len().is_multiple_of(POINT_WIDTH) {
        return Err(format!("holds {} numbers, expected rows of {POINT_WIDTH}", points.len()));
    }
    let count = points.len() / POINT_WIDTH;
    let total: i64 = clusters.iter().step_by(width).sum();
    if total != count as i64 {
        return Err(format!("has {count} points, the sizes of its clusters add up to {total}"));
    }
    let scale = selection.scale();
    let threshold = selection.energy_threshold as f32;
    let mut event = Event::default();
    let mut rows = points.chunks_exact(POINT_WIDTH);
    for (number, cluster) in clusters.chunks_exact(width).enumerate() {
        let size = cluster[0] as usize;
        let removed = selection.remove_low_energy_scatters && number == 0;
        let instance = number as i32 - i32::from(selection.remove_low_energy_scatters);
        for (place, row) in rows.by_ref().take(size).enumerate() {
            if removed {
                continue;
            }
            if !row[..=VALUE].iter().all(|v| v.is_finite()) {
                if selection.drop_non_finite {
                    continue;
                }
                return Err(format!(
                    "voxel {place} of cluster {number} has x, y, z, value {:?}, expected finite numbers; `selection.drop_non_finite=true` leaves such voxels out",
                    &row[..=VALUE]
                ));
            }
            let energy = row[VALUE];
            if selection.energy_threshold > 0.0 && energy <= threshold {
                continue;
            }
            event.points.extend_from_slice(&row[..3]);
            event.points.push(scale.forward(f64::from(energy)));
            let semantic = cluster[SEMANTIC];
            event.semantic.push(
                u8::try_from(semantic).map_err(|_| format!("cluster {number} has the semantic type {semantic}"))?,
            );
            event.cluster.push(instance);
        }
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(energy: f32) -> [f32; POINT_WIDTH] {
        [1.0, 2.0, 3.0, energy, 0.0, 0.0, 0.0, 0.0]
    }

    #[test]
    fn the_first_cluster_and_weak_voxels_are_left_out() {
        let points = [row(5.0), row(0.13), row(0.14), row(2.0)].concat();
        let clusters = [1, 0, 0, 0, 4, 2, 1, 1, 0, 1, 1, 2, 2, 0, 0];
        let event = select(&points, &clusters, 5, &Selection::default()).unwrap();
        assert_eq!((event.semantic.as_slice(), event.cluster.as_slice()), ([1, 0].as_slice(), [0, 1].as_slice()));
        let all = Selection {
            remove_low_energy_scatters: false,
            energy_threshold: 0.0,
            log_floor: Some(0.01),
            ..Selection::default()
        };
        assert_eq!(select(&points, &clusters, 5, &all).unwrap().cluster, [0, 1, 1, 2]);
    }

    #[test]
    fn broken_events_are_told_apart() {
        let clusters = [1, 0, 0, 0, 1];
        let keep = Selection { remove_low_energy_scatters: false, ..Selection::default() };
        let error = |points: &[f32], clusters: &[i64]| select(points, clusters, 5, &keep).unwrap_err();
        assert!(error(&[1.0; 7], &clusters).contains("7 numbers, expected rows of 8"));
        assert!(error(&[1.0; 16], &clusters).contains("2 points, the sizes of its clusters add up to 1"));
        assert!(error(&row(f32::NAN), &clusters).contains("expected finite numbers"));
        assert!(error(&row(1.0), &[1, 0, 0, 0, -3]).contains("semantic type -3"));
        let dropping = Selection { drop_non_finite: true, ..keep.clone() };
        assert!(select(&row(f32::NAN), &clusters, 5, &dropping).unwrap().is_empty());
        assert!(select(&[], &[], 5, &keep).unwrap().is_empty());
    }
}
