//! Charts as data: what is drawn, not how. The script of the page draws them, [`crate::svg`] does for print.

use serde_json::{Map, Value, json};

use crate::arrays::Arrays;
use crate::axis::Axis;
use crate::color::Colors;
use crate::heat::{Heat, Sky};
use crate::series::Series;
use crate::text::{numbers, slug};

/// A place on an axis that is worth a line across: the best step.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Whether it stands on the vertical axis.
    pub(crate) on_y: bool,
    pub(crate) at: f64,
    pub(crate) label: String,
}

/// A bar of a Gantt chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Name of its row; bars of one name share a row.
    pub row: String,
    /// Start in seconds.
    pub from: f64,
    /// End in seconds.
    pub to: f64,
    /// What it is: names the colour and stands in the legend (`ran`, `cached`, `failed`).
    pub state: String,
    /// Shown with it.
    pub note: String,
}

/// What a chart shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Things over another.
    Series(Vec<Series>),
    /// Rows and columns of colours.
    Heat(Heat),
    /// Bars over time.
    Gantt(Vec<Bar>),
    /// The sphere.
    Sky(Sky),
}

/// A chart of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) body: Body,
    pub(crate) marks: Vec<Mark>,
    pub(crate) along_y: bool,
    pub(crate) smoothing: bool,
    pub(crate) diagonal: bool,
    pub(crate) wide: bool,
}

impl Chart {
    fn new(title: impl Into<String>, x: Axis, y: Axis, body: Body) -> Self {
        let (title, note, marks) = (title.into(), String::new(), vec![]);
        Self { title, note, x, y, body, marks, along_y: false, smoothing: false, diagonal: false, wide: false }
    }

    /// Things over another: lines, points, bars and steps as the series say.
    pub fn lines(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self::new(title, x, y, Body::Series(vec![]))
    }

    /// A chart whose free variable is the vertical one, as height is: hovers read along it.
    pub fn profile(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { along_y: true, ..Self::lines(title, x, y) }
    }

    /// Rows and columns of colours.
    pub fn heat(title: impl Into<String>, x: Axis, y: Axis, heat: Heat) -> Self {
        Self::new(title, x, y, Body::Heat(heat))
    }

    /// Bars over time, a row a name, in the order of their first bar.
    pub fn gantt(title: impl Into<String>, x: Axis, bars: Vec<Bar>) -> Self {
        let mut names: Vec<String> = vec![];
        bars.iter().for_each(|bar| {
            if !names.contains(&bar.row) {
                names.push(bar.row.clone());
            }
        });
        let y = Axis::new("").names(names).reversed();
        Self { wide: true, ..Self::new(title, x, y, Body::Gantt(bars)) }
    }

    /// Values over the whole sky.
    pub fn sky(title: impl Into<String>, longitude: &str, latitude: &str, sky: Sky) -> Self {
        Self::new(title, Axis::new(longitude), Axis::new(latitude), Body::Sky(sky))
    }

    /// Adds a series; one without a finite value is left out.
    #[must_use]
    pub fn with(mut self, series: Series) -> Self {
        if let Body::Series(all) = &mut self.body
            && series.points.iter().any(|(x, y)| x.is_finite() && y.is_finite())
        {
            all.push(series);
        }
        self
    }

    /// Adds several.
    #[must_use]
    pub fn with_all(self, series: impl IntoIterator<Item = Series>) -> Self {
        series.into_iter().fold(self, Self::with)
    }

    /// A line below the title.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// A line across at a value of the horizontal axis, with a label.
    #[must_use]
    pub fn mark(mut self, at: f64, label: impl Into<String>) -> Self {
        self.marks.push(Mark { on_y: false, at, label: label.into() });
        self
    }

    /// A line across at a value of the vertical axis, with a label.
    #[must_use]
    pub fn level(mut self, at: f64, label: impl Into<String>) -> Self {
        self.marks.push(Mark { on_y: true, at, label: label.into() });
        self
    }

    /// Readers may smooth the lines; the chart says so when they do.
    #[must_use]
    pub fn smoothing(mut self) -> Self {
        self.smoothing = true;
        self
    }

    /// A line where both axes are equal.
    #[must_use]
    pub fn diagonal(mut self) -> Self {
        self.diagonal = true;
        self
    }

    /// Takes a whole row of the page.
    #[must_use]
    pub fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        match &self.body {
            Body::Series(series) => series.is_empty(),
            Body::Heat(heat) => heat.values.is_empty(),
            Body::Gantt(bars) => bars.is_empty(),
            Body::Sky(sky) => sky.heat.values.is_empty(),
        }
    }

    /// Names of the things that have colours in it.
    pub(crate) fn things(&self) -> Vec<&str> {
        match &self.body {
            Body::Series(series) => series.iter().map(|s| s.color.as_str()).collect(),
            Body::Gantt(bars) => bars.iter().map(|b| b.state.as_str()).collect(),
            Body::Heat(_) | Body::Sky(_) => vec![],
        }
    }

    /// File name of its downloads, without ending.
    pub fn slug(&self) -> String {
        slug(&self.title)
    }

    pub(crate) fn json(&self, colors: &mut Colors, arrays: &mut Arrays) -> Value {
        let kind = match &self.body {
            Body::Series(_) => "xy",
            Body::Heat(_) => "heat",
            Body::Gantt(_) => "gantt",
            Body::Sky(_) => "sky",
        };
        let mut map = Map::new();
        map.insert("kind".into(), kind.into());
        map.insert("title".into(), self.title.clone().into());
        map.insert("file".into(), self.slug().into());
        map.insert("x".into(), self.x.json());
        map.insert("y".into(), self.y.json());
        for (name, set) in [("alongY", self.along_y), ("smoothing", self.smoothing), ("diagonal", self.diagonal)] {
            if set {
                map.insert(name.into(), true.into());
            }
        }
        if !self.marks.is_empty() {
            let mark = |m: &Mark| json!({ "onY": m.on_y, "at": numbers(&[m.at])[0], "label": m.label });
            map.insert("marks".into(), self.marks.iter().map(mark).collect());
        }
        match &self.body {
            Body::Series(series) => {
                let all: Vec<Value> = series.iter().map(|s| s.json(colors, arrays)).collect();
                map.insert("series".into(), all.into());
            }
            Body::Heat(heat) => map.extend(heat.json(arrays)),
            Body::Sky(sky) => map.extend(sky.heat.json(arrays)),
            Body::Gantt(bars) => {
                let place = |row: &String| self.y.names.iter().position(|name| name == row);
                let bar = |b: &Bar| {
                    let ends = numbers(&[b.from, b.to]);
                    json!({ "row": place(&b.row), "from": ends[0], "to": ends[1], "state": b.state,
                            "slot": colors.of(&b.state), "note": b.note })
                };
                let all: Vec<Value> = bars.iter().map(bar).collect();
                map.insert("bars".into(), all.into());
            }
        }
        map.into()
    }
}
