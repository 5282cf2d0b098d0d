//! Numbers as colours: heat maps and the sky.

use serde_json::{Map, Value};

use crate::arrays::Arrays;
use crate::text::numbers;

/// Numbers in rows and columns as colours. The axes have either names or the edges given here.
#[derive(Debug, Clone, PartialEq)]
pub struct Heat {
    pub(crate) x_edges: Vec<f64>,
    pub(crate) y_edges: Vec<f64>,
    pub(crate) values: Vec<f64>,
    pub(crate) label: String,
    pub(crate) centre: Option<f64>,
    pub(crate) limits: Option<(f64, f64)>,
    pub(crate) log: bool,
    pub(crate) notes: Vec<String>,
}

impl Heat {
    /// Values row by row, the first row at the first place of the vertical axis; the label says what they are.
    pub fn new(label: impl Into<String>, values: Vec<f64>) -> Self {
        let label = label.into();
        let (x_edges, y_edges, notes) = (vec![], vec![], vec![]);
        Self { x_edges, y_edges, values, label, centre: None, limits: None, log: false, notes }
    }

    /// Edges of the columns and of the rows, one more than there are, growing.
    #[must_use]
    pub fn edges(mut self, x: Vec<f64>, y: Vec<f64>) -> Self {
        (self.x_edges, self.y_edges) = (x, y);
        self
    }

    /// Two colours apart from this value on, as for correlations and differences.
    #[must_use]
    pub fn centre(mut self, value: f64) -> Self {
        self.centre = Some(value);
        self
    }

    /// Colours end at these values; what lies beyond has that of the end.
    #[must_use]
    pub fn limits(mut self, low: f64, high: f64) -> Self {
        self.limits = Some((low, high));
        self
    }

    /// Colours by the logarithm, as for counts; values that are not positive have none.
    #[must_use]
    pub fn log(mut self) -> Self {
        self.log = true;
        self
    }

    /// A line of text for each value, shown with it.
    #[must_use]
    pub fn notes(mut self, notes: Vec<String>) -> Self {
        self.notes = notes;
        self
    }

    /// Least and greatest value that has a colour of its own.
    pub(crate) fn bounds(&self) -> (f64, f64) {
        let shown = |v: &&f64| v.is_finite() && (!self.log || **v > 0.0);
        let all = self.values.iter().filter(shown);
        let found = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
        let (low, high) = self.limits.unwrap_or(found);
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        match self.centre {
            // Both sides reach equally far, so that equal distances have equal strength.
            Some(centre) => {
                let reach = (high - centre).abs().max((centre - low).abs()).max(f64::MIN_POSITIVE);
                (centre - reach, centre + reach)
            }
            None => (low, high),
        }
    }

    pub(crate) fn json(&self, arrays: &mut Arrays) -> Map<String, Value> {
        let (low, high) = self.bounds();
        let mut map = Map::new();
        map.insert("value".into(), self.label.clone().into());
        map.insert("values".into(), arrays.place(&self.values));
        map.insert("bounds".into(), numbers(&[low, high]));
        if !self.x_edges.is_empty() {
            map.insert("xEdges".into(), numbers(&self.x_edges));
            map.insert("yEdges".into(), numbers(&self.y_edges));
        }
        for (name, set) in [("diverging", self.centre.is_some()), ("logColor", self.log)] {
            if set {
                map.insert(name.into(), true.into());
            }
        }
        if !self.notes.is_empty() {
            map.insert("notes".into(), self.notes.clone().into());
        }
        map
    }
}

/// Values over the whole sky, in Hammer's projection, which keeps areas.
#[derive(Debug, Clone, PartialEq)]
pub struct Sky {
    /// Values by cell, row by row (a row is a band of latitude).
    pub heat: Heat,
}

impl Sky {
    /// Cells between longitudes (0 to 360 degrees) and latitudes (-90 to 90 degrees).
    pub fn new(label: impl Into<String>, longitudes: Vec<f64>, latitudes: Vec<f64>, values: Vec<f64>) -> Self {
        Self { heat: Heat::new(label, values).edges(longitudes, latitudes) }
    }
}
