//! Charts as data: what is drawn, not how. The script of the page draws them, [`crate::svg`] does for print.

use serde_json::{Map, Value, json};

use crate::color::Colors;
use crate::text::{numbers, slug};

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

    fn json(&self) -> Value {
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

    fn json(&self, colors: &mut Colors, arrays: &mut Arrays) -> Value {
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

/// A place on an axis that is worth a line across: the best step.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Whether it stands on the vertical axis.
    pub(crate) on_y: bool,
    pub(crate) at: f64,
    pub(crate) label: String,
}

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

    fn json(&self, arrays: &mut Arrays) -> Map<String, Value> {
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
        Self { wide: true, ..Self::new(title, Axis::new(longitude), Axis::new(latitude), Body::Sky(sky)) }
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

/// The arrays of a page, each once: curves of one run share their steps.
#[derive(Debug, Default)]
pub(crate) struct Arrays {
    known: std::collections::HashMap<Vec<u64>, usize>,
    pub(crate) all: Vec<Value>,
}

impl Arrays {
    /// The number of an array with these values.
    fn place(&mut self, values: &[f64]) -> Value {
        let bits: Vec<u64> = values.iter().map(|v| v.to_bits()).collect();
        let next = self.all.len();
        let place = *self.known.entry(bits).or_insert(next);
        if place == next {
            self.all.push(numbers(values));
        }
        place.into()
    }
}
