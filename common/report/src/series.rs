//! Series of charts: lines, points, bars, steps, with intervals.

use serde_json::{Map, Value};

use crate::arrays::Arrays;
use crate::color::Colors;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A line through the points, in their order; where they lie far apart, points too.
    Line,
    /// Points alone.
    Points,
    /// A bar from zero to each value.
    Bars,
    /// A level from edge to edge: histograms and values of classes.
    Steps,
}

/// An interval around a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// One thing over another: a curve, a cloud, bars. Values that are not finite leave a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub(crate) name: String,
    pub(crate) color: String,
    pub(crate) style: Style,
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) spread: Vec<Spread>,
    pub(crate) edges: Vec<(f64, f64)>,
    pub(crate) notes: Vec<String>,
    pub(crate) hidden: bool,
}

impl Series {
    fn new(name: impl Into<String>, style: Style, points: Vec<(f64, f64)>) -> Self {
        let name = name.into();
        let color = name.clone();
        Self { name, color, style, points, spread: vec![], edges: vec![], notes: vec![], hidden: false }
    }

    /// A line.
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self::new(name, Style::Line, points)
    }

    /// Points.
    pub fn points(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self::new(name, Style::Points, points)
    }

    /// Bars; several series of one chart stand beside each other.
    pub fn bars(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self::new(name, Style::Bars, points)
    }

    /// Values of classes from edge to edge: `(from, to, value)`.
    pub fn steps(name: impl Into<String>, classes: &[(f64, f64, f64)]) -> Self {
        let points = classes.iter().map(|(from, to, value)| (0.5 * (from + to), *value)).collect();
        let edges = classes.iter().map(|(from, to, _)| (*from, *to)).collect();
        Self { edges, ..Self::new(name, Style::Steps, points) }
    }

    /// Intervals of the values (of the first coordinate in a chart along y), one a point.
    #[must_use]
    pub fn spread(mut self, spread: Vec<Spread>) -> Self {
        self.spread = spread;
        self
    }

    /// A line of text for each point, shown with its value.
    #[must_use]
    pub fn notes(mut self, notes: Vec<String>) -> Self {
        self.notes = notes;
        self
    }

    /// Has the colour of the thing `name` rather than of its own name.
    #[must_use]
    pub fn colored(mut self, name: impl Into<String>) -> Self {
        self.color = name.into();
        self
    }

    /// Is shown only after a click on its name.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    pub(crate) fn json(&self, colors: &mut Colors, arrays: &mut Arrays) -> Value {
        let style = match self.style {
            Style::Line => "line",
            Style::Points => "points",
            Style::Bars => "bars",
            Style::Steps => "steps",
        };
        let x: Vec<f64> = self.points.iter().map(|p| p.0).collect();
        let y: Vec<f64> = self.points.iter().map(|p| p.1).collect();
        let mut map = Map::new();
        map.insert("name".into(), self.name.clone().into());
        map.insert("slot".into(), colors.of(&self.color).into());
        map.insert("style".into(), style.into());
        map.insert("x".into(), arrays.place(&x));
        map.insert("y".into(), arrays.place(&y));
        if !self.spread.is_empty() {
            map.insert("low".into(), arrays.place(&self.spread.iter().map(|s| s.low).collect::<Vec<_>>()));
            map.insert("high".into(), arrays.place(&self.spread.iter().map(|s| s.high).collect::<Vec<_>>()));
        }
        if !self.edges.is_empty() {
            map.insert("from".into(), arrays.place(&self.edges.iter().map(|e| e.0).collect::<Vec<_>>()));
            map.insert("to".into(), arrays.place(&self.edges.iter().map(|e| e.1).collect::<Vec<_>>()));
        }
        if !self.notes.is_empty() {
            map.insert("notes".into(), self.notes.clone().into());
        }
        if self.hidden {
            map.insert("hidden".into(), true.into());
        }
        map.into()
    }
}
