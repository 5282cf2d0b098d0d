//! Events as pictures: a page in which each event of a prediction can be chosen, truth beside prediction, and a still of one.

use std::path::Path;

use common::Result;
use common::durable::{self, Written};
use report::Page;
use report::scene::{
    Coloring, Data, Event, FAINT, Filter, GREY, INK, Kind, Layer, Pair, Panel, Scene, Unit, View, hue,
};

use crate::dataset::EventView;
use crate::energy::EnergyScale;
use crate::grouping::CHANNELS;
use crate::preparation::Preparation;
use crate::raw::layout::{Detector, Voxel};

/// Bytes of a page's events at most: a browser opens it within seconds, a mail takes it.
const MOST: usize = 24 << 20;
/// Which axis points up: y, as the drift chambers lie.
const UP: usize = 1;
/// Class of a point whose class is not known.
const UNKNOWN: &str = "not known";

/// The colour of a class, the same wherever classes are drawn.
pub fn class_color(class: usize) -> Pair {
    match class {
        // Low-energy deposits, which are everywhere.
        4 => GREY,
        5.. => hue(class - 1),
        _ => hue(class),
    }
}

/// The columns of a picture beside the places, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Columns<'a> {
    /// The true class of each point; -1: not known.
    pub truth: &'a [i64],
    /// The predicted class of each point; empty: nothing was predicted.
    pub predicted: &'a [i64],
    /// The instance that each point was predicted to be of; empty: none were.
    pub instances: &'a [i32],
    /// Red, green and blue of each point: components of its features; empty: there are none.
    pub features: &'a [[u8; 3]],
}

/// A token.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    /// The middle of its points, voxels.
    pub place: [f32; 3],
    /// Its points.
    pub points: i64,
    /// Red, green and blue: components of its features.
    pub color: [u8; 3],
}

/// A hidden group that a pretraining rebuilt.
#[derive(Debug, Clone, Default)]
pub struct Rebuilt {
    /// Points that the network saw, voxels.
    pub seen: Vec<[f32; 3]>,
    /// Points that were hidden.
    pub hidden: Vec<[f32; 3]>,
    /// What was put in their place.
    pub rebuilt: Vec<[f32; 3]>,
}

/// The events of a prediction on their way to a page.
pub struct Pictures {
    scene: Scene,
    scale: EnergyScale,
    /// Number of the first event that is held.
    first: u64,
    bytes: Vec<usize>,
    /// Number of the event that is shown first.
    wanted: u64,
}

impl Pictures {
    /// Of classes with these names, or of features where there are no names; `wanted` is shown first.
    pub fn new(names: &[String], scale: EnergyScale, preparation: Option<&Preparation>, wanted: u64) -> Self {
        let voxel = preparation.map_or_else(Voxel::default, |known| known.voxel);
        let detector = preparation.map_or_else(|| Some(Detector::default()), |known| known.detector);
        let mut scene = Scene::new("Events", ["x", "y", "z"], "voxels");
        scene.up = UP;
        let cm = Unit { name: "cm".into(), factor: [voxel.cm; 3], zero: [0.0; 3] };
        scene.units.push(cm);
        scene.frame = detector.map(|held| (held.low.map(|v| v as f32), held.high.map(|v| v as f32), "detector"));
        scene.views.push(View::space());
        scene.instead = "The picture `event.svg` beside this page shows one event.".into();
        let mut names: Vec<(String, Pair)> =
            names.iter().enumerate().map(|(class, name)| (name.clone(), class_color(class))).collect();
        names.push((UNKNOWN.into(), FAINT));
        let texts: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
        let points = Layer::new("points", "points", Kind::Points).one("point").size(3.2);
        let points = points.class("truth", "truth", &texts).class("prediction", "prediction", &texts);
        let points = points.field("energy", "energy", "MeV").field("cluster", "true cluster", "");
        scene.layers.push(points.field("instance", "predicted instance", "").field(
            "voxel",
            "row in the raw event",
            "",
        ));
        let error = vec![("right".to_string(), FAINT), ("wrong".to_string(), hue(1)), (UNKNOWN.to_string(), GREY)];
        let again = "one colour a cluster, again after seven; grey: none";
        scene.colors = vec![
            Coloring::names("truth", "truth", names.clone()),
            Coloring::names("prediction", "prediction", names),
            Coloring::names("error", "errors", error),
            Coloring::ramp("energy", "energy", "MeV", true),
            Coloring::ids("cluster", "true clusters", again),
            Coloring::ids("instance", "predicted instances", again),
        ];
        scene.filters = vec![Filter::flag("wrong", "only wrong ones"), Filter::range("energy", "energy", "MeV", true)];
        scene.panels = vec![Panel::new("3d", "truth"), Panel::new("3d", "prediction")];
        Self { scene, scale, first: 0, bytes: vec![], wanted }
    }

    /// Of features: their three first components are the colours, beside the truth.
    pub fn of_features(names: &[String], scale: EnergyScale, preparation: Option<&Preparation>, wanted: u64) -> Self {
        let mut pictures = Self::new(names, scale, preparation, wanted);
        let scene = &mut pictures.scene;
        let told = "principal components of the event's tokens as red, green and blue";
        scene.colors.retain(|color| !matches!(color.id, "prediction" | "error" | "instance"));
        scene.colors.insert(0, Coloring::rgb("features", "features", ["red", "green", "blue"], told));
        let token = Layer::new("tokens", "token centres", Kind::Points).one("token").size(7.0);
        let mut token = token.color(INK).field("count", "points", "").hidden();
        token.hollow = true;
        scene.layers.push(token);
        scene.layers.push(Layer::new("seen", "seen by the network", Kind::Points).size(3.2).color(FAINT));
        scene.layers.push(Layer::new("hidden", "hidden", Kind::Points).size(3.2).color(hue(0)));
        scene.layers.push(Layer::new("rebuilt", "rebuilt", Kind::Points).size(3.2).color(hue(1)));
        scene.panels = vec![Panel::new("3d", "features"), Panel::new("3d", "truth")];
        scene.filters.retain(|filter| !filter.flag);
        pictures
    }

    /// Adds a panel with what a pretraining rebuilt of hidden groups.
    #[must_use]
    pub fn with_rebuilt(mut self) -> Self {
        let scene = &mut self.scene;
        scene.panels.push(Panel { label: Some("hidden and rebuilt"), ..Panel::new("3d", "own") });
        let last = scene.panels.len() - 1;
        for layer in &mut scene.layers {
            layer.panels = match layer.id {
                "seen" | "hidden" | "rebuilt" => vec![last],
                _ => (0..last).collect(),
            };
        }
        self
    }

    /// Whether an event would be held.
    pub fn takes(&self, number: u64) -> bool {
        number <= self.wanted || self.bytes.iter().sum::<usize>() <= MOST
    }

    /// Adds an event. What does not fit into the page is left out: events far before the wanted one, then those behind.
    pub fn add(
        &mut self,
        number: u64,
        event: &EventView,
        columns: &Columns,
        tokens: &[Token],
        rebuilt: Option<&Rebuilt>,
    ) {
        if !self.takes(number) {
            return;
        }
        let drawn = self.event(number, event, columns, tokens, rebuilt);
        self.bytes.push(drawn.bytes());
        self.scene.events.push(drawn);
        while self.bytes.len() > 1 && self.bytes.iter().sum::<usize>() > MOST && number <= self.wanted {
            self.bytes.remove(0);
            self.scene.events.remove(0);
            self.first += 1;
        }
    }

    fn event(
        &self,
        number: u64,
        event: &EventView,
        columns: &Columns,
        tokens: &[Token],
        rebuilt: Option<&Rebuilt>,
    ) -> Event {
        let rows = event.points.chunks_exact(CHANNELS);
        let places: Vec<[f32; 3]> = rows.clone().map(|row| [row[0], row[1], row[2]]).collect();
        let energies: Vec<f32> = rows.map(|row| self.scale.inverse(f64::from(row[3]))).collect();
        let unknown = self.scene.colors.iter().find_map(|color| match &color.scale {
            report::scene::Scale::Names(names) if color.id == "truth" => Some(names.len() as i64 - 1),
            _ => None,
        });
        let known = |class: i64| if class < 0 { unknown.unwrap_or(0) } else { class };
        let mut data = Data::points(&places).floats("energy", &energies);
        let mut note = format!("{} points", event.len());
        let dropped = event.raw_points - event.len() as i64;
        if event.raw_points > 0 {
            note += &format!(", {dropped} of the {} voxels dropped in the preparation", event.raw_points);
        }
        if columns.truth.len() == event.len() {
            data = data.whole("truth", columns.truth.iter().map(|&class| known(class)));
        }
        if columns.predicted.len() == event.len() && !columns.predicted.is_empty() {
            data = data.whole("prediction", columns.predicted.iter().map(|&class| known(class)));
            let error =
                columns.truth.iter().zip(columns.predicted).map(|(&t, p)| if t < 0 { 2 } else { i64::from(t != *p) });
            let errors: Vec<i64> = error.collect();
            let judged = errors.iter().filter(|error| **error < 2).count();
            let wrong = errors.iter().filter(|error| **error == 1).count();
            if judged > 0 {
                let right = 100.0 * (judged - wrong) as f64 / judged as f64;
                note += &format!(", {right:.1} % of the classes right");
            }
            let wrong: Vec<i64> = errors.iter().map(|error| i64::from(*error == 1)).collect();
            data = data.whole("error", errors).whole("wrong", wrong);
        }
        data = data.whole("cluster", event.cluster.iter().copied());
        if columns.instances.len() == event.len() {
            data = data.whole("instance", columns.instances.iter().copied());
        }
        if event.voxel.len() == event.len() {
            data = data.whole("voxel", event.voxel.iter().copied());
        }
        if columns.features.len() == event.len() {
            for (k, name) in ["red", "green", "blue"].into_iter().enumerate() {
                data = data.whole(name, columns.features.iter().map(|color| color[k]));
            }
        }
        let mut drawn =
            Event::new(format!("{number}: event {} of {}", event.row, event.source)).note(note).with("points", data);
        if !tokens.is_empty() {
            let places: Vec<[f32; 3]> = tokens.iter().map(|token| token.place).collect();
            let mut data = Data::points(&places).whole("count", tokens.iter().map(|token| token.points));
            for (k, name) in ["red", "green", "blue"].into_iter().enumerate() {
                data = data.whole(name, tokens.iter().map(|token| token.color[k]));
            }
            drawn = drawn.with("tokens", data);
        }
        if let Some(rebuilt) = rebuilt {
            for (layer, places) in [("seen", &rebuilt.seen), ("hidden", &rebuilt.hidden), ("rebuilt", &rebuilt.rebuilt)]
            {
                drawn = drawn.with(layer, Data::points(places));
            }
        }
        drawn
    }

    /// Writes `event.html`, all that fit of so many events, and `event.svg`, the wanted one. None where there is no event.
    pub fn write(mut self, folder: &Path, events: u64) -> Result<Option<(Written, Written)>> {
        if self.scene.events.is_empty() {
            return Ok(None);
        }
        let last = self.scene.events.len() - 1;
        self.scene.start = ((self.wanted.saturating_sub(self.first)) as usize).min(last);
        let held = self.scene.events.len() as u64;
        let what = match held == events {
            true => format!("all {held} event(s) of this prediction"),
            false => format!(
                "events {} to {} of the {} of this prediction; `--picture N` draws others",
                self.first,
                self.first + held - 1,
                events,
            ),
        };
        // Columns that no event has cannot colour anything.
        let used = |id: &str| self.scene.events.iter().any(|event| event.data.iter().any(|(_, data)| data.has(id)));
        let kept: Vec<Coloring> = self.scene.colors.iter().filter(|color| used(color.column)).cloned().collect();
        self.scene.colors = kept;
        let svg = self.scene.svg(self.scene.start);
        let mut page = Page::new("Events", what);
        page.raw(self.scene.raw());
        let html = durable::write(folder.join("event.html"), page.html().as_bytes())?;
        Ok(Some((html, durable::write(folder.join("event.svg"), svg.as_bytes())?)))
    }
}

/// Components of features as colours: the lowest and highest of each over the rows are dark and full; grey where there are
/// fewer than three.
pub fn feature_colors(numbers: &[f32], channels: usize) -> Vec<[u8; 3]> {
    let ends: Vec<(f32, f32)> = (0..channels)
        .map(|channel| {
            let all = numbers.iter().skip(channel).step_by(channels);
            all.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
        })
        .collect();
    let shade = |row: &[f32], channel: usize| {
        let Some(&(low, high)) = ends.get(channel) else { return 128 };
        (40.0 + 200.0 * (row[channel] - low) / (high - low).max(f32::MIN_POSITIVE)) as u8
    };
    numbers.chunks_exact(channels.max(1)).map(|row| std::array::from_fn(|channel| shade(row, channel))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: EnergyScale = EnergyScale { floor: 0.13, max: 20.0 };

    fn names() -> Vec<String> {
        crate::classes::CLASS_NAMES.map(String::from).to_vec()
    }

    fn event<'a>(points: &'a [f32], semantic: &'a [u8], cluster: &'a [i32]) -> EventView<'a> {
        EventView { points, semantic, cluster, source: "a<b", row: 7, raw_points: 5, ..EventView::default() }
    }

    #[test]
    fn both_files_hold_every_point_and_say_what_was_dropped_and_right() {
        let points = [1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 0.5];
        let view = event(&points, &[0, 1], &[0, 1]);
        let mut pictures = Pictures::new(&names(), SCALE, None, 0);
        let columns = Columns { truth: &[0, 1], predicted: &[0, 2], ..Columns::default() };
        pictures.add(0, &view, &columns, &[], None);
        let folder = tempfile::tempdir().unwrap();
        let (page, still) = pictures.write(folder.path(), 1).unwrap().unwrap();
        let svg = std::fs::read_to_string(still.path).unwrap();
        assert_eq!(svg.matches("h0").count(), 4, "two points in two panels: {svg}");
        let told =
            "0: event 7 of a&lt;b: 2 points, 3 of the 5 voxels dropped in the preparation, 50.0 % of the classes right";
        assert!(svg.contains(told), "{svg}");
        let html = std::fs::read_to_string(page.path).unwrap();
        // x, y, z of both points as bytes, and their classes.
        assert!(html.contains("AQIDBAUG") && html.contains("all 1 event(s) of this prediction"));
        assert!(!html.contains("a<b") && !html.contains("src="));
    }

    #[test]
    fn a_page_that_is_full_keeps_the_wanted_event() {
        let count = 400_000;
        let points: Vec<f32> = (0..count).flat_map(|i| [i as f32 + 0.5, 2.0, 3.0, 0.1]).collect();
        let (classes, clusters) = (vec![0; count], vec![0; count]);
        let view = event(&points, &classes, &clusters);
        let mut pictures = Pictures::new(&names(), SCALE, None, 4);
        (0..8).for_each(|number| pictures.add(number, &view, &Columns::default(), &[], None));
        let last = pictures.first + pictures.scene.events.len() as u64 - 1;
        assert!((pictures.first..=last).contains(&4), "{} to {last}", pictures.first);
        assert!(pictures.scene.events.len() < 8);
    }

    #[test]
    fn components_become_colours_from_dark_to_full() {
        assert_eq!(feature_colors(&[0.0, 5.0, 1.0, 7.0], 2), [[40, 40, 128], [240, 240, 128]]);
        assert!(feature_colors(&[], 3).is_empty());
    }
}
