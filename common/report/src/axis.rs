//! Axes of charts.

use serde_json::{Map, Value};

use crate::text::numbers;

/// An axis: what stands beside it and how values lie on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Axis {
    pub(crate) label: String,
    pub(crate) log: bool,
    pub(crate) reversed: bool,
    pub(crate) names: Vec<String>,
    pub(crate) range: Option<(f64, f64)>,
    pub(crate) seconds: bool,
}

impl Axis {
    /// A linear axis; the unit belongs into the label: `pressure (hPa)`.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// Starts logarithmic; values that are not positive are left out then. Readers may switch.
    #[must_use]
    pub fn log(mut self) -> Self {
        self.log = true;
        self
    }

    /// Grows to the left or downwards, as pressure does with height.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.reversed = true;
        self
    }

    /// Names at the places 0, 1, 2 ..
    #[must_use]
    pub fn names<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Shows at least what lies between two values.
    #[must_use]
    pub fn range(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }

    /// Values are seconds, shown as times.
    #[must_use]
    pub fn seconds(mut self) -> Self {
        self.seconds = true;
        self
    }

    pub(crate) fn json(&self) -> Value {
        let mut map = Map::new();
        map.insert("label".into(), self.label.clone().into());
        for (name, set) in [("log", self.log), ("reversed", self.reversed), ("seconds", self.seconds)] {
            if set {
                map.insert(name.into(), true.into());
            }
        }
        if !self.names.is_empty() {
            map.insert("names".into(), self.names.clone().into());
        }
        if let Some((low, high)) = self.range {
            map.insert("range".into(), numbers(&[low, high]));
        }
        map.into()
    }
}
