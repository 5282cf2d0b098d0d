//! The detector: where its sensors are, which of them see more light, and how clear the ice around them is.
//!
//! Source: section 3 of the specification; upstream `dataset.py` (`prepare_sensors`, `ice_transparency`).

use std::path::Path;

use common::durable::Written;
use common::store::tensors::{self, TensorFile, TensorView};
use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::detector::{DetectorConfig, Efficiency, Frame};
use crate::geometry::Geometry;

/// Metres of one unit of scaled positions.
pub const SCALE_M: f32 = 500.0;
/// Depth of the detector's centre, in metres below the surface.
pub const CENTRE_DEPTH_M: f64 = 1950.0;
/// Sensors of a string.
const STRING: usize = 60;

/// Which way up the ice profile is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IceProfile {
    /// As published: looked up at `z = depth - 1950`, although z points up, so the profile is upside down. The published
    /// weights were trained with it.
    #[default]
    Published,
    /// Looked up at the sensor's own depth, `1950 - z`.
    Upright,
}

/// What is known of every sensor, by `sensor_id`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensors {
    /// Position in units of 500 m; z points up.
    pub positions: Vec<[f32; 3]>,
    /// 1 for sensors of high quantum efficiency, by the published rule.
    pub efficiency: Vec<u8>,
    /// Scaled scattering and absorption length as published.
    pub ice: Vec<[f32; 2]>,
    /// The same at the sensor's own depth.
    pub ice_upright: Vec<[f32; 2]>,
    /// How positions and times are scaled.
    pub frame: Frame,
}

impl Sensors {
    /// Reads `sensor_geometry.csv` and `ice_transparency.txt`.
    ///
    /// # Errors
    /// [`Error::Input`] for ids that do not count from 0, positions that are no numbers, or a depth outside of the ice
    /// table.
    pub fn read(geometry: &Path, transparency: &Path) -> Result<Self> {
        let detector = DetectorConfig::default();
        let table = Geometry::read(geometry, &detector.columns)?;
        table.demand_numbered()?;
        Self::of(&detector, &table, true, Some(transparency))
    }

    /// The sensors of a table as a config asks for them. `published`: the table is the competition's, whose better
    /// sensors follow from their numbers.
    ///
    /// # Errors
    /// [`Error::Input`] for a depth outside of the ice table.
    pub fn of(config: &DetectorConfig, table: &Geometry, published: bool, ice: Option<&Path>) -> Result<Self> {
        let scaled = |p: &[f64; 3]| -> [f32; 3] {
            std::array::from_fn(|k| (p[k] - config.centre_m[k]) as f32 / config.scale_m as f32)
        };
        let n = table.positions.len();
        let efficiency = match (config.efficiency, published) {
            (Efficiency::None, _) => vec![0; n],
            (Efficiency::Auto, true) => (0..n).map(high_efficiency).collect(),
            (Efficiency::Auto, false) => table.efficient.iter().map(|&better| u8::from(better)).collect(),
        };
        let (ice, ice_upright) = match ice {
            None => (vec![[0.0; 2]; n], vec![[0.0; 2]; n]),
            Some(path) => {
                let ice = IceTable::read(path)?;
                let of = |sign: f32| -> Result<Vec<[f32; 2]>> {
                    let heights = table.positions.iter().map(|p| p[2] as f32 / SCALE_M).enumerate();
                    heights.map(|(id, z)| ice.at_sensor(sign * z, id, &table.path)).collect()
                };
                (of(1.0)?, of(-1.0)?)
            }
        };
        let positions = table.positions.iter().map(scaled).collect();
        Ok(Self { positions, efficiency, ice, ice_upright, frame: config.frame() })
    }

    /// Number of sensors.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Ice properties under a profile.
    pub fn ice(&self, profile: IceProfile) -> &[[f32; 2]] {
        match profile {
            IceProfile::Published => &self.ice,
            IceProfile::Upright => &self.ice_upright,
        }
    }

    /// Writes the table as safetensors.
    pub fn write(&self, path: &Path) -> Result<Written> {
        let n = self.len();
        let (one, two, three) = ([n], [n, 2], [n, 3]);
        let flat = |rows: &[[f32; 2]]| rows.concat();
        let (ice, upright, positions) = (flat(&self.ice), flat(&self.ice_upright), self.positions.concat());
        let views = [
            TensorView::of("pos", &three, &positions),
            TensorView::of("qe", &one, &self.efficiency),
            TensorView::of("ice", &two, &ice),
            TensorView::of("ice_upright", &two, &upright),
        ];
        tensors::write(path, &views, Some(&serde_json::json!({ "system": "icecube", "frame": self.frame })))
    }

    /// Reads what [`Sensors::write`] wrote.
    pub fn open(path: &Path) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let positions = rows(file.elements_of_shape::<f32>("pos", &[None, Some(3)])?);
        let n = Some(positions.len());
        Ok(Self {
            efficiency: file.elements_of_shape::<u8>("qe", &[n])?.to_vec(),
            ice: rows(file.elements_of_shape("ice", &[n, Some(2)])?),
            ice_upright: rows(file.elements_of_shape("ice_upright", &[n, Some(2)])?),
            // Stores of earlier versions are of the one detector that there was.
            frame: match file.metadata().and_then(|about| about.get("frame")) {
                None => Frame::default(),
                Some(frame) => serde_json::from_value(frame.clone())
                    .map_err(|e| Error::input(path, format!("describes no detector of this version: {e}")))?,
            },
            positions,
        })
    }
}

fn rows<const W: usize>(flat: &[f32]) -> Vec<[f32; W]> {
    flat.chunks_exact(W).map(|row| std::array::from_fn(|i| row[i])).collect()
}

/// As published: an inclusive slice makes the rule miss the eleventh sensor of each dense string and take the first
/// sensor of strings 79 to 85 instead. The weights were trained with it.
fn high_efficiency(sensor: usize) -> u8 {
    let (string, place) = (sensor / STRING, sensor % STRING);
    u8::from((string >= 78 && place >= 11) || (string >= 79 && place == 0))
}

/// Scattering and absorption length over depth, robustly scaled.
#[derive(Debug, Clone)]
pub struct IceTable {
    /// Scaled depth, ascending.
    depth: Vec<f64>,
    /// Scaled lengths, one list each.
    lengths: [Vec<f64>; 2],
    /// Centre and scale of each length, in metres.
    pub scaling: [(f64, f64); 2],
}

impl IceTable {
    /// Reads `ice_transparency.txt`: a header, then depth, scattering and absorption length in metres.
    pub fn read(path: &Path) -> Result<Self> {
        let text = common::store::foreign::read_text(path)?;
        let mut depth: Vec<f64> = Vec::new();
        let mut raw = [Vec::new(), Vec::new()];
        for (line, text) in text.lines().enumerate().skip(1).filter(|(_, text)| !text.trim().is_empty()) {
            let bad = |problem: String| Error::input(path, format!("line {}: {problem}", line + 1));
            let fields: Vec<&str> = text.split_whitespace().collect();
            let [d, scattering, absorption] = fields[..] else {
                return Err(bad(format!("{} fields, expected depth, scattering_len and absorption_len", fields.len())));
            };
            let number = |text: &str| match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(value),
                _ => Err(bad(format!("`{text}` is no finite number"))),
            };
            let scaled = (number(d)? - CENTRE_DEPTH_M) / f64::from(SCALE_M);
            if depth.last().is_some_and(|last| *last >= scaled) {
                return Err(bad(format!("depth {d} does not ascend")));
            }
            depth.push(scaled);
            raw[0].push(number(scattering)?);
            raw[1].push(number(absorption)?);
        }
        if depth.len() < 2 {
            return Err(Error::input(path, format!("has {} depths, expected at least two", depth.len())));
        }
        let scaling = [0, 1].map(|i| (quantile(&raw[i], 0.5), quantile(&raw[i], 0.75) - quantile(&raw[i], 0.25)));
        if scaling.iter().any(|(_, scale)| *scale <= 0.0) {
            return Err(Error::input(path, "the lengths do not vary with depth, so they cannot be scaled"));
        }
        let lengths = [0, 1].map(|i| raw[i].iter().map(|v| (v - scaling[i].0) / scaling[i].1).collect());
        Ok(Self { depth, lengths, scaling })
    }

    /// Scaled scattering and absorption length at a scaled height; `None` outside of the table.
    pub fn at(&self, z: f32) -> Option<[f32; 2]> {
        let z = f64::from(z);
        let last = self.depth.len() - 1;
        if !(self.depth[0]..=self.depth[last]).contains(&z) {
            return None;
        }
        let upper = self.depth.partition_point(|d| *d < z).clamp(1, last);
        let (x0, x1) = (self.depth[upper - 1], self.depth[upper]);
        Some(std::array::from_fn(|i| {
            let (y0, y1) = (self.lengths[i][upper - 1], self.lengths[i][upper]);
            ((y1 - y0) / (x1 - x0) * (z - x0) + y0) as f32
        }))
    }

    fn at_sensor(&self, z: f32, id: usize, geometry: &Path) -> Result<[f32; 2]> {
        self.at(z).ok_or_else(|| {
            let metres = |scaled: f64| scaled * f64::from(SCALE_M);
            let (low, high) = (self.depth[0], self.depth[self.depth.len() - 1]);
            let problem = format!(
                "sensor {id} needs the ice at z = {:.1} m, the table covers {:.1} to {:.1} m",
                metres(f64::from(z)),
                metres(low),
                metres(high)
            );
            Error::input(geometry, problem)
                .hint("the ice table must reach as deep as the detector; `detector.ice=none` does without one")
        })
    }
}

/// Linearly interpolated quantile.
fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = q * (sorted.len() - 1) as f64;
    let (low, part) = (place.floor() as usize, place.fract());
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (sorted[high] - sorted[low]) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    const ICE: &str = "depth\tscattering_len\tabsorption_len\n1450\t10\t20\n1950\t20\t40\n2450\t60\t60\n";

    fn files(geometry: &str, ice: &str) -> (tempfile::TempDir, Result<Sensors>) {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("g.csv"), folder.path().join("ice.txt"));
        common::durable::write(&a, geometry.as_bytes()).unwrap();
        common::durable::write(&b, ice.as_bytes()).unwrap();
        let sensors = Sensors::read(&a, &b);
        (folder, sensors)
    }

    #[test]
    fn the_two_profiles_are_mirror_images() {
        let (folder, sensors) = files("sensor_id,x,y,z\n0,1,2,250\n1,1,2,-250\n", ICE);
        let sensors = sensors.unwrap();
        assert_eq!(sensors.ice[0], sensors.ice_upright[1]);
        assert_ne!(sensors.ice[0], sensors.ice[1]);
        let path = folder.path().join("s.safetensors");
        sensors.write(&path).unwrap();
        assert_eq!(Sensors::open(&path).unwrap(), sensors);
    }

    #[test]
    fn a_sensor_outside_of_the_ice_table_is_named() {
        let (_folder, sensors) = files("sensor_id,x,y,z\n0,1,2,0\n1,1,2,501\n", ICE);
        let error = sensors.unwrap_err().to_string();
        assert!(error.contains("sensor 1 needs the ice at z = 501.0 m, the table covers -500.0 to 500.0 m"), "{error}");
    }

    #[test]
    fn unsound_tables_are_refused_with_their_place() {
        let good = "sensor_id,x,y,z\n0,1,2,0\n";
        for (geometry, ice, expected) in [
            ("sensor_id,x,y,z\n1,1,2,0\n", ICE, "row 0 has sensor_id 1, expected 0"),
            ("sensor_id,x,y,z\n", ICE, "has 0 sensors"),
            (good, "depth a b\n1 2\n", "line 2: 2 fields"),
            (good, "depth a b\n1 2 x\n", "line 2: `x` is no finite number"),
            (good, "depth a b\n2 2 2\n1 3 3\n", "line 3: depth 1 does not ascend"),
            (good, "depth a b\n2 2 2\n", "has 1 depths"),
            (good, "depth a b\n1 2 2\n2 2 2\n", "do not vary"),
        ] {
            let error = files(geometry, ice).1.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn high_efficiency_follows_the_published_rule() {
        let flags: Vec<usize> = (0..86 * STRING).filter(|&s| high_efficiency(s) == 1).collect();
        assert_eq!(flags.len(), 8 * 49 + 7);
        assert!(
            !flags.contains(&(78 * STRING)) && flags.contains(&(79 * STRING)) && !flags.contains(&(78 * STRING + 10))
        );
    }
}
