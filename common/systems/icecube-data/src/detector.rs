//! Which detector the events are of, as a config: its sensors, the medium around them, and how positions and times become
//! the numbers that networks read. The defaults are IceCube as the competition has it.

use std::path::PathBuf;

use common::config::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Metres of one unit of scaled positions, as published.
pub const SCALE_M: f64 = 500.0;
/// Nanoseconds that are subtracted from all times, as published.
pub const TIME_SHIFT_NS: f64 = 1e4;
/// Nanoseconds of one unit of scaled time, as published.
pub const TIME_SCALE_NS: f64 = 3e4;

/// A detector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DetectorConfig {
    /// Its name, which goes with prepared events and networks.
    pub name: String,
    /// Table of its sensors, csv or parquet: position in metres, and where there is one a whole-number id. `null`: the
    /// raw folder's `sensor_geometry.csv` for the competition, else the sensors that appear in the pulse files.
    pub sensors: Option<PathBuf>,
    /// Names of the columns of that table. `null`: the usual ones are tried.
    pub columns: SensorColumns,
    /// Which sensors see more light.
    pub efficiency: Efficiency,
    /// How clear the medium is.
    pub ice: Ice,
    /// Centre of the detector in metres; positions are counted from it.
    pub centre_m: [f64; 3],
    /// Metres of one unit of scaled positions, > 0. Published: 500.
    pub scale_m: f64,
    /// How times are scaled.
    pub time: TimeConfig,
}

/// Names of the columns of a table of sensors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SensorColumns {
    /// Whole-number id of the sensor.
    pub id: Option<String>,
    /// Position in metres.
    pub position: Option<[String; 3]>,
    /// Relative efficiency, above 1 for the better ones.
    pub efficiency: Option<String>,
}

/// Which sensors see more light.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Efficiency {
    /// The published rule of IceCube's numbering for the competition's table; for other tables as their column of
    /// efficiencies says, or none where they have no such column.
    #[default]
    Auto,
    /// None.
    None,
}

/// How clear the medium is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ice {
    /// `ice_transparency.txt` of the raw folder.
    #[default]
    Raw,
    /// Nothing is known of it: networks see zeros.
    None,
    /// A table in that form: depth, scattering and absorption length in metres.
    File(PathBuf),
}

/// How times are scaled: `(t - shift) / scale`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeConfig {
    /// Nanoseconds that are subtracted. Published: 10,000.
    pub shift_ns: f64,
    /// Nanoseconds of one unit, > 0. Published: 30,000. Together with `scale_m` it keeps the speed of light that the
    /// networks' encoding of intervals expects: change both by the same factor.
    pub scale_ns: f64,
    /// Counts from the first pulse of each event instead of the clock; `shift_ns` is subtracted then as well.
    pub from_first: bool,
}

impl Default for TimeConfig {
    fn default() -> Self {
        Self { shift_ns: TIME_SHIFT_NS, scale_ns: TIME_SCALE_NS, from_first: false }
    }
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self {
            name: "icecube".into(),
            sensors: None,
            columns: SensorColumns::default(),
            efficiency: Efficiency::Auto,
            ice: Ice::Raw,
            centre_m: [0.0; 3],
            scale_m: SCALE_M,
            time: TimeConfig::default(),
        }
    }
}

impl DetectorConfig {
    /// Reports values that cannot work; `key` is the dotted path of this section.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        problems.demand(!self.name.is_empty() && self.name.chars().all(plain), &format!("{key}.name"), || {
            format!("is `{}`, expected letters, digits, `_`, `-` and `.`", self.name)
        });
        for (name, value) in [("scale_m", self.scale_m), ("time.scale_ns", self.time.scale_ns)] {
            problems.demand(value.is_finite() && value > 0.0, &format!("{key}.{name}"), || {
                format!("is {value}, expected a number above 0")
            });
        }
        let centred = self.centre_m.iter().chain([&self.time.shift_ns]).all(|v| v.is_finite());
        problems.demand(centred, &format!("{key}.centre_m"), || "or `time.shift_ns` is no finite number".into());
    }

    /// What a network must know of the data that it is trained on: data that differ in it are other data.
    pub fn frame(&self) -> Frame {
        Frame {
            detector: self.name.clone(),
            centre_m: self.centre_m,
            scale_m: self.scale_m,
            time: self.time,
            ice: self.ice != Ice::None,
        }
    }
}

/// How the numbers that networks read follow from metres and nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Name of the detector.
    pub detector: String,
    /// See [`DetectorConfig`].
    pub centre_m: [f64; 3],
    /// See [`DetectorConfig`].
    pub scale_m: f64,
    /// See [`TimeConfig`].
    pub time: TimeConfig,
    /// Whether the medium is known.
    pub ice: bool,
}

impl Default for Frame {
    fn default() -> Self {
        DetectorConfig::default().frame()
    }
}

impl Frame {
    /// The first thing in which two frames differ, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let pairs = [
            ("detector.name", self.detector.clone(), other.detector.clone()),
            ("detector.centre_m", format!("{:?}", self.centre_m), format!("{:?}", other.centre_m)),
            ("detector.scale_m", self.scale_m.to_string(), other.scale_m.to_string()),
            ("detector.time.shift_ns", self.time.shift_ns.to_string(), other.time.shift_ns.to_string()),
            ("detector.time.scale_ns", self.time.scale_ns.to_string(), other.time.scale_ns.to_string()),
            ("detector.time.from_first", self.time.from_first.to_string(), other.time.from_first.to_string()),
            ("detector.ice", self.ice.to_string(), other.ice.to_string()),
        ];
        let found = pairs.into_iter().find(|(_, ours, theirs)| ours != theirs);
        found.map(|(key, ours, theirs)| format!("`{key}` is {ours}, in the data given it is {theirs}"))
    }
}
