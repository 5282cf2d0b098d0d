//! Where raw files keep what, and what their numbers mean: the layout of PILArNet-M unless a config says otherwise.

use std::collections::BTreeMap;

use common::config::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::classes::{CLASS_NAMES, UNLABELLED};

/// How raw files are laid out. Left-out values are those of PILArNet-M.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Layout {
    /// Data set of the points: one list of numbers an event in HDF5 (`data/point` for one in a group), or the array of an
    /// `.npz`.
    pub points: String,
    /// Data set of the clusters, one list of numbers an event. `null`, and in files without one: nothing is labelled, which
    /// is enough for pretraining and embeddings.
    pub clusters: Option<String>,
    /// What a row of numbers of a point holds.
    pub point_columns: PointColumns,
    /// What a row of numbers of a cluster holds.
    pub cluster_columns: ClusterColumns,
    /// Names of columns in tables: `.parquet`, and `.npz` with one array a column.
    pub table: TableColumns,
    /// What labels mean.
    pub labels: Labels,
    /// How places become voxels.
    pub voxel: Voxel,
    /// The box, in voxels, that all points lie in. `null`: anywhere.
    pub detector: Option<Detector>,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            points: "point".into(),
            clusters: Some("cluster".into()),
            point_columns: PointColumns::default(),
            cluster_columns: ClusterColumns::default(),
            table: TableColumns::default(),
            labels: Labels::default(),
            voxel: Voxel::default(),
            detector: Some(Detector::default()),
        }
    }
}

/// Places of the columns in a row of a point, counted from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PointColumns {
    /// Numbers of a row in lists. Arrays (`.npy`, `.npz`) say it themselves. PILArNet-M: 8.
    pub width: usize,
    /// x.
    pub x: usize,
    /// y.
    pub y: usize,
    /// z.
    pub z: usize,
    /// Energy, MeV.
    pub energy: usize,
}

impl Default for PointColumns {
    fn default() -> Self {
        Self { width: 8, x: 0, y: 1, z: 2, energy: 3 }
    }
}

impl PointColumns {
    /// x, y, z and energy.
    pub fn places(&self) -> [usize; 4] {
        [self.x, self.y, self.z, self.energy]
    }
}

/// Places of the columns in a row of a cluster, counted from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterColumns {
    /// Numbers of a row. `null`: 5 or 6, found out for each file by the sizes, which must add up to the points.
    pub width: Option<usize>,
    /// Points of the cluster: they follow one another in the order of the clusters.
    pub size: usize,
    /// Semantic type.
    pub semantic: usize,
    /// Kind of particle, where rows are so wide. PILArNet-M: 5, in the later releases.
    pub particle: Option<usize>,
}

impl Default for ClusterColumns {
    fn default() -> Self {
        Self { width: None, size: 0, semantic: 4, particle: Some(5) }
    }
}

/// Names of columns in tables. Columns of labels that a file lacks are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TableColumns {
    /// Number of the event of a row; rows of an event follow one another. In a file without it all rows are one event.
    pub event: String,
    /// x.
    pub x: String,
    /// y.
    pub y: String,
    /// z.
    pub z: String,
    /// Energy, MeV.
    pub energy: String,
    /// Semantic type of the point.
    pub semantic: String,
    /// Number of the point's cluster.
    pub cluster: String,
    /// Kind of the point's particle.
    pub particle: String,
}

impl Default for TableColumns {
    fn default() -> Self {
        let [event, x, y, z, energy, semantic, cluster, particle] =
            ["event", "x", "y", "z", "energy", "semantic", "cluster", "particle"].map(String::from);
        Self { event, x, y, z, energy, semantic, cluster, particle }
    }
}

/// What labels mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Labels {
    /// Labels of points that count for nothing: they are kept, without a class.
    pub ignore: Vec<i64>,
    /// Class of each label. Empty: a label is the number of its class.
    pub values: BTreeMap<i64, u8>,
    /// Names of the classes, in their order.
    pub names: Vec<String>,
    /// The label of low-energy scatters.
    pub scatters: i64,
}

impl Default for Labels {
    fn default() -> Self {
        Self {
            ignore: vec![-1],
            values: BTreeMap::new(),
            names: CLASS_NAMES.iter().map(ToString::to_string).collect(),
            scatters: 4,
        }
    }
}

impl Labels {
    /// The class of a label: none for one that is ignored. An error is the text that says what is allowed.
    pub fn class(&self, label: i64) -> Result<u8, String> {
        if self.ignore.contains(&label) {
            return Ok(UNLABELLED);
        }
        let class = match self.values.is_empty() {
            true => u8::try_from(label).ok(),
            false => self.values.get(&label).copied(),
        };
        class.filter(|class| usize::from(*class) < self.names.len()).ok_or_else(|| {
            let known = match self.values.is_empty() {
                true => format!("0 to {}", self.names.len().saturating_sub(1)),
                false => self.values.keys().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            };
            format!("{label}, expected {known}; `layout.labels.ignore` names labels that count for nothing")
        })
    }
}

/// How places become voxels: `(place - origin) / size`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Voxel {
    /// Side of a voxel in the unit of the places, > 0. PILArNet-M: 1, places are voxels.
    pub size: f64,
    /// Where voxel 0 is, in the unit of the places.
    pub origin: [f64; 3],
    /// Side of a voxel in cm, for axes of pictures. PILArNet-M: 0.3.
    pub cm: f64,
}

impl Default for Voxel {
    fn default() -> Self {
        Self { size: 1.0, origin: [0.0; 3], cm: 0.3 }
    }
}

impl Voxel {
    /// A place in voxels; untouched where places are voxels.
    pub fn of(&self, place: [f32; 3]) -> [f32; 3] {
        if self.size == 1.0 && self.origin == [0.0; 3] {
            return place;
        }
        std::array::from_fn(|axis| ((f64::from(place[axis]) - self.origin[axis]) / self.size) as f32)
    }
}

/// A box in voxels, its faces included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// Lowest x, y, z.
    pub low: [f64; 3],
    /// Highest x, y, z.
    pub high: [f64; 3],
}

impl Default for Detector {
    fn default() -> Self {
        Self { low: [0.0; 3], high: [768.0; 3] }
    }
}

impl Detector {
    /// Whether a place lies inside.
    pub fn holds(&self, place: [f32; 3]) -> bool {
        (0..3).all(|axis| (self.low[axis]..=self.high[axis]).contains(&f64::from(place[axis])))
    }
}

impl Layout {
    /// Reports values that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let places = self.point_columns.places();
        let mut apart = places;
        apart.sort_unstable();
        let sound = apart.windows(2).all(|pair| pair[0] != pair[1]) && apart[3] < self.point_columns.width;
        problems.demand(sound, &format!("{key}.point_columns"), || {
            format!(
                "has x, y, z, energy at {places:?}, expected four columns below the width {}",
                self.point_columns.width
            )
        });
        let clusters = &self.cluster_columns;
        let widest = clusters.size.max(clusters.semantic);
        let width = clusters.width.unwrap_or(5);
        problems.demand(
            widest < width && clusters.size != clusters.semantic,
            &format!("{key}.cluster_columns"),
            || {
                format!(
                    "has size and semantic at {} and {}, expected two columns below the width {width}",
                    clusters.size, clusters.semantic
                )
            },
        );
        problems.demand(self.voxel.size > 0.0 && self.voxel.size.is_finite(), &format!("{key}.voxel.size"), || {
            format!("is {}, expected a number above 0", self.voxel.size)
        });
        problems.demand(self.voxel.cm > 0.0 && self.voxel.cm.is_finite(), &format!("{key}.voxel.cm"), || {
            format!("is {}, expected a number above 0", self.voxel.cm)
        });
        if let Some(detector) = &self.detector {
            let sound = (0..3).all(|a| detector.low[a] < detector.high[a]);
            problems.demand(sound, &format!("{key}.detector"), || "expected `low` below `high` on each axis".into());
        }
        let names = self.labels.names.len();
        problems.demand((1..=usize::from(UNLABELLED)).contains(&names), &format!("{key}.labels.names"), || {
            format!("has {names} names, expected 1 to {UNLABELLED}")
        });
        for (label, class) in &self.labels.values {
            problems.demand(usize::from(*class) < names, &format!("{key}.labels.values"), || {
                format!("makes {label} the class {class}, expected a class below {names}, the number of names")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_classes_are_ignored_or_are_told() {
        let own = Labels { values: BTreeMap::from([(11, 0), (-13, 1)]), ignore: vec![0], ..Labels::default() };
        assert_eq!((own.class(-13), own.class(0)), (Ok(1), Ok(UNLABELLED)));
        assert!(own.class(5).unwrap_err().contains("5, expected -13, 11;"));
        let published = Labels::default();
        assert_eq!((published.class(4), published.class(-1)), (Ok(4), Ok(UNLABELLED)));
        assert!(published.class(-3).is_err() && published.class(5).unwrap_err().contains("expected 0 to 4"));
    }

    #[test]
    fn places_become_voxels_of_the_detector() {
        let voxel = Voxel { size: 3.0, origin: [-30.0, 0.0, 0.0], cm: 0.3 };
        assert_eq!(voxel.of([0.0, 9.0, -3.0]), [10.0, 3.0, -1.0]);
        assert!(Detector::default().holds([768.0, 0.0, 3.5]) && !Detector::default().holds([10.0, 3.0, -1.0]));
    }
}
