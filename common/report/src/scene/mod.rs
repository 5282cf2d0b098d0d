//! Events in three dimensions and in flat views: what is drawn, by which colours, for which events.
//!
//! A [`Scene`] says what there is: axes and units, views and panels, layers of points, lines, helices, boxes and cones,
//! ways to colour them, filters, and for each [`Event`] the numbers of each layer. [`Scene::raw`] makes it a block of a
//! [`Page`](crate::Page) that turns under the mouse, fingers and keys on one WebGL canvas; [`Scene::svg`] is the same as a
//! still. Numbers lie in the page as base64 of typed arrays, whole ones in the narrowest type that holds them.
//!
//! ```
//! use report::scene::{Coloring, Data, Event, Kind, Layer, Panel, Scene, View};
//! let mut scene = Scene::new("Event", ["x", "y", "z"], "mm");
//! scene.views.push(View::space());
//! scene.layers.push(Layer::new("hits", "hits", Kind::Points));
//! scene.colors.push(Coloring::ramp("energy", "energy", "MeV", true));
//! scene.panels.push(Panel::new("3d", "energy"));
//! let data = Data::points(&[[0.0, 1.0, 2.0]]).floats("energy", &[0.5]);
//! scene.events.push(Event::new("event 7").with("hits", data));
//! assert!(scene.svg(0).starts_with("<svg"));
//! ```

mod axes;
mod camera;
mod data;
mod json;
mod still;

pub use data::{Cone, Data, Helix};

use crate::Raw;
use crate::color::{DARK, LIGHT};

/// A colour on light and on dark ground.
pub type Pair = [&'static str; 2];

/// What has no colour of its own.
pub const GREY: Pair = ["#8c929a", "#767e88"];
/// What stands behind the rest: detectors, what is right.
pub const FAINT: Pair = ["#c4c9cf", "#4a525c"];
/// What stands above the rest: the truth.
pub const INK: Pair = ["#1b1f24", "#e6edf3"];

/// Sequential colours from blue over grey to yellow: lightness rises all the way, every step reads alike for all kinds of
/// colour vision, and both ends stand off from light and from dark ground.
pub const RAMP: [&str; 8] = ["#1d3f8f", "#3a5a92", "#5a7290", "#7a8888", "#9c9d78", "#c0b062", "#dfc24a", "#f2d338"];

/// The hue of a number: seven, then again.
pub fn hue(number: usize) -> Pair {
    [LIGHT[number % LIGHT.len()], DARK[number % DARK.len()]]
}

/// Views of events, and the events.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Title of the block.
    pub title: String,
    /// Beginning of the names of files that are saved.
    pub file: String,
    /// Names of the axes.
    pub axes: [&'static str; 3],
    /// Unit of the places; others to show them in follow.
    pub units: Vec<Unit>,
    /// The axis that points up.
    pub up: usize,
    /// A frame around all: lowest and highest corner, and what it is.
    pub frame: Option<([f32; 3], [f32; 3], &'static str)>,
    /// From where one looks at first: angle around the axis that points up, and above the ground, radians.
    pub eye: (f64, f64),
    /// Ways to look.
    pub views: Vec<View>,
    /// What is shown at first, from left to right.
    pub panels: Vec<Panel>,
    /// Kinds of things, in the order in which they are drawn.
    pub layers: Vec<Layer>,
    /// Ways to colour.
    pub colors: Vec<Coloring>,
    /// What can be left out by its numbers.
    pub filters: Vec<Filter>,
    /// Numbers of layers that are the same for all events.
    pub shared: Vec<(&'static str, Data)>,
    /// The events.
    pub events: Vec<Event>,
    /// The event that is shown first.
    pub start: usize,
    /// What to look at where there is no WebGL.
    pub instead: String,
}

/// A unit of places: `(place - zero) * factor`.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Its numbers for one of the first unit, by axis.
    pub factor: [f64; 3],
    /// Where its zero lies, in the first unit.
    pub zero: [f64; 3],
}

/// A way to look.
#[derive(Debug, Clone)]
pub struct View {
    /// Short name, for panels.
    pub id: &'static str,
    /// What people read.
    pub label: String,
    /// Across and up: 0, 1, 2 are the axes, 3 the distance from the third axis. `None`: in space.
    pub flat: Option<[u8; 2]>,
}

impl View {
    /// In space; its id is `3d`.
    pub fn space() -> Self {
        Self { id: "3d", label: "3-D".into(), flat: None }
    }

    /// Flat.
    pub fn flat(id: &'static str, label: &str, across: u8, up: u8) -> Self {
        Self { id, label: label.into(), flat: Some([across, up]) }
    }
}

/// A view on the page.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Which view.
    pub view: &'static str,
    /// By what it is coloured at first.
    pub color: &'static str,
    /// A row of its own.
    pub wide: bool,
    /// What people read instead of the view's name.
    pub label: Option<&'static str>,
}

impl Panel {
    /// A view coloured by something.
    pub fn new(view: &'static str, color: &'static str) -> Self {
        Self { view, color, wide: false, label: None }
    }

    /// In a row of its own.
    #[must_use]
    pub fn wide(mut self) -> Self {
        self.wide = true;
        self
    }
}

/// The shape of a layer's things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`Data::points`].
    Points,
    /// [`Data::lines`].
    Lines,
    /// [`Data::helices`].
    Helices,
    /// [`Data::boxes`].
    Boxes,
    /// [`Data::cones`].
    Cones,
}

/// Things that are drawn alike.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Short name, for events.
    pub id: &'static str,
    /// What people read.
    pub label: String,
    /// One of them; empty: the label.
    pub one: String,
    /// Their shape.
    pub kind: Kind,
    /// Diameter of points, width of lines, pixels.
    pub size: f32,
    /// Colour where the chosen way has none for this layer.
    pub color: Option<Pair>,
    /// 1 is solid.
    pub opacity: f32,
    /// Whether it is shown at first.
    pub shown: bool,
    /// Whether it can be pointed at, and counts when an event is brought into view.
    pub plain: bool,
    /// Rings instead of dots.
    pub hollow: bool,
    /// A column that sizes its points.
    pub size_by: Option<&'static str>,
    /// Names of its things instead of numbers.
    pub names: Vec<String>,
    /// What is said of a thing that is pointed at.
    pub fields: Vec<Field>,
    /// Panels that show it; empty: all.
    pub panels: Vec<usize>,
}

impl Layer {
    /// A layer that is shown.
    pub fn new(id: &'static str, label: &str, kind: Kind) -> Self {
        Self {
            id,
            label: label.into(),
            one: String::new(),
            kind,
            size: if kind == Kind::Points { 3.0 } else { 1.4 },
            color: None,
            opacity: 1.0,
            shown: true,
            plain: true,
            hollow: false,
            size_by: None,
            names: vec![],
            fields: vec![],
            panels: vec![],
        }
    }

    /// One of its things.
    #[must_use]
    pub fn one(mut self, name: &str) -> Self {
        self.one = name.into();
        self
    }

    /// Diameter of points, width of lines, pixels.
    #[must_use]
    pub fn size(mut self, size: f32) -> Self {
        self.size = size;
        self
    }

    /// A colour of its own.
    #[must_use]
    pub fn color(mut self, color: Pair) -> Self {
        self.color = Some(color);
        self
    }

    /// Not shown until asked for.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.shown = false;
        self
    }

    /// Behind the rest: cannot be pointed at, and does not count when an event is brought into view.
    #[must_use]
    pub fn backdrop(mut self, opacity: f32) -> Self {
        (self.plain, self.opacity) = (false, opacity);
        self
    }

    /// Something that is said of a thing.
    #[must_use]
    pub fn field(mut self, column: &'static str, label: &str, unit: &'static str) -> Self {
        self.fields.push(Field { column, label: label.into(), unit, names: vec![] });
        self
    }

    /// A class that is said of a thing.
    #[must_use]
    pub fn class(mut self, column: &'static str, label: &str, names: &[String]) -> Self {
        self.fields.push(Field { column, label: label.into(), unit: "", names: names.to_vec() });
        self
    }
}

/// What is said of a thing.
#[derive(Debug, Clone)]
pub struct Field {
    /// The column.
    pub column: &'static str,
    /// What people read.
    pub label: String,
    /// Its unit; empty: none.
    pub unit: &'static str,
    /// Names of its numbers; empty: numbers are shown.
    pub names: Vec<String>,
}

/// A way to colour things.
#[derive(Debug, Clone)]
pub struct Coloring {
    /// Short name, for panels.
    pub id: &'static str,
    /// What people read.
    pub label: String,
    /// Its unit; empty: none.
    pub unit: &'static str,
    /// The column.
    pub column: &'static str,
    /// From numbers to colours.
    pub scale: Scale,
    /// What the legend says beside.
    pub note: String,
}

/// From the numbers of a column to colours.
#[derive(Debug, Clone)]
pub enum Scale {
    /// A name and a colour for each number from 0; larger numbers have the last one.
    Names(Vec<(String, Pair)>),
    /// [`RAMP`] from the lowest to the highest number of the event.
    Ramp {
        /// Equal steps for equal factors.
        log: bool,
    },
    /// The [`hue`] of the number; negative ones are grey.
    Ids,
    /// Three columns of bytes are red, green and blue.
    Rgb([&'static str; 3]),
}

impl Coloring {
    fn new(id: &'static str, label: &str, column: &'static str, scale: Scale) -> Self {
        Self { id, label: label.into(), unit: "", column, scale, note: String::new() }
    }

    /// By name.
    pub fn names(id: &'static str, label: &str, names: Vec<(String, Pair)>) -> Self {
        Self::new(id, label, id, Scale::Names(names))
    }

    /// By a number.
    pub fn ramp(id: &'static str, label: &str, unit: &'static str, log: bool) -> Self {
        Self { unit, ..Self::new(id, label, id, Scale::Ramp { log }) }
    }

    /// By what belongs together.
    pub fn ids(id: &'static str, label: &str, note: &str) -> Self {
        Self { note: note.into(), ..Self::new(id, label, id, Scale::Ids) }
    }

    /// By three columns of bytes.
    pub fn rgb(id: &'static str, label: &str, columns: [&'static str; 3], note: &str) -> Self {
        Self { note: note.into(), ..Self::new(id, label, columns[0], Scale::Rgb(columns)) }
    }
}

/// What can be left out by its numbers.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The column.
    pub column: &'static str,
    /// What people read.
    pub label: String,
    /// Its unit; empty: none.
    pub unit: &'static str,
    /// Whether its slider has equal steps for equal factors.
    pub log: bool,
    /// A box that leaves zeros out, instead of sliders.
    pub flag: bool,
}

impl Filter {
    /// Two sliders.
    pub fn range(column: &'static str, label: &str, unit: &'static str, log: bool) -> Self {
        Self { column, label: label.into(), unit, log, flag: false }
    }

    /// A box.
    pub fn flag(column: &'static str, label: &str) -> Self {
        Self { column, label: label.into(), unit: "", log: false, flag: true }
    }
}

/// An event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name in the list.
    pub name: String,
    /// What is said above its views.
    pub note: String,
    /// Its numbers by layer.
    pub data: Vec<(&'static str, Data)>,
}

impl Event {
    /// An event without anything.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), note: String::new(), data: vec![] }
    }

    /// What is said above its views.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The numbers of a layer.
    #[must_use]
    pub fn with(mut self, layer: &'static str, data: Data) -> Self {
        self.data.push((layer, data));
        self
    }

    /// About how many bytes it adds to a page.
    pub fn bytes(&self) -> usize {
        self.data.iter().map(|(_, data)| data.bytes()).sum::<usize>() + self.name.len() + self.note.len() + 64
    }
}

impl Scene {
    /// A scene without views and events; places are in `unit`.
    pub fn new(title: impl Into<String>, axes: [&'static str; 3], unit: &str) -> Self {
        let unit = Unit { name: unit.into(), factor: [1.0; 3], zero: [0.0; 3] };
        Self {
            title: title.into(),
            file: "event".into(),
            axes,
            units: vec![unit],
            up: 2,
            frame: None,
            eye: (0.7, 0.4),
            views: vec![],
            panels: vec![],
            layers: vec![],
            colors: vec![],
            filters: vec![],
            shared: vec![],
            events: vec![],
            start: 0,
            instead: String::new(),
        }
    }

    /// The block of a page.
    pub fn raw(&self) -> Raw {
        const KIT: &str = include_str!("../../assets/scene.js");
        const CONTROLS: &str = include_str!("../../assets/scene-controls.js");
        let raw = Raw::new(self.title.clone(), "scene", CONTROLS, self.json()).after(KIT);
        raw.style(include_str!("../../assets/scene.css")).aspect(0, 0)
    }

    /// An event as a still picture on white ground, seen as the page shows it first.
    ///
    /// # Panics
    /// Where there is no event of that number.
    pub fn svg(&self, event: usize) -> String {
        still::svg(self, &self.events[event])
    }
}

#[cfg(test)]
mod tests;
