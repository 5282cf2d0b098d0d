//! Pictures of tracks: a page that turns under the mouse, and the same as a still.
//!
//! The traces of one track are those of the original's picture (`src/tracknet/visualization`): input hits, target hits,
//! and for every step the predicted centres with their spheres as grids of 20 x 20 points. Differs: the page carries no
//! plotting library (4.9 MB there), and places are in mm where a normaliser is given.

pub mod event;

use std::f32::consts::PI;
use std::path::Path;

use common::Result;
use common::durable::{self, Written};
use report::Page;
use report::scene::{Data, Event, Kind, Layer, Pair, Panel, Scene, View};

use crate::normalizer::Normalizer;

/// Points along each side of a sphere's grid.
pub const GRID: usize = 20;
/// Colour of input hits.
pub const INPUT: &str = "#8884d8";
/// Colour of target hits.
pub const TARGET: &str = "#82ca9d";
/// Colours of the predictions of the next hit and the one after it.
pub const PREDICTED: [&str; 2] = ["#ff7300", "#ff0000"];

/// How a trace is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Dots.
    Markers,
    /// Dots joined by lines.
    Line,
    /// A grid of [`GRID`] x [`GRID`] points.
    Surface,
}

/// Points that are drawn alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Name; most predictions have none, so that the legend stays short.
    pub name: Option<String>,
    /// Whether the legend names it.
    pub legend: bool,
    /// How it is drawn.
    pub form: Form,
    /// Colour as `#rrggbb`.
    pub color: String,
    /// Diameter of dots, pixels.
    pub size: u32,
    /// 1 is solid.
    pub opacity: f32,
    /// Places.
    pub points: Vec<[f32; 3]>,
}

/// What the network said at one step: centre and radius for the next hit, and for the one after it.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// For the next hit.
    pub first: ([f32; 3], f32),
    /// For the hit after it.
    pub second: ([f32; 3], f32),
}

/// The grid of a sphere: azimuth by rows, polar angle by columns.
pub fn sphere([x, y, z]: [f32; 3], radius: f32) -> Vec<[f32; 3]> {
    let at = |i: usize, whole: f32| whole * i as f32 / (GRID - 1) as f32;
    let mut points = Vec::with_capacity(GRID * GRID);
    for row in 0..GRID {
        let u = at(row, 2.0 * PI);
        for column in 0..GRID {
            let v = at(column, PI);
            points.push([radius * u.cos() * v.sin() + x, radius * u.sin() * v.sin() + y, radius * v.cos() + z]);
        }
    }
    points
}

/// The traces of one track and its predictions, in normalised coordinates; the last step has no hit after next.
pub fn track(inputs: &[[f32; 3]], targets: &[[f32; 3]], steps: &[Step]) -> Vec<Trace> {
    let dots = |name: Option<&str>, legend, color: &str, size, points| Trace {
        name: name.map(str::to_string),
        legend,
        form: Form::Markers,
        color: color.into(),
        size,
        opacity: 1.0,
        points,
    };
    let mut traces = vec![
        dots(Some("Input Hits"), true, INPUT, 8, inputs.to_vec()),
        dots(Some("Target Hits"), true, TARGET, 6, targets.to_vec()),
    ];
    for horizon in 0..2 {
        // The last step has no hit after next.
        for (i, step) in steps.iter().enumerate().take(steps.len() - horizon.min(steps.len())) {
            let (centre, radius) = [step.first, step.second][horizon];
            let color = PREDICTED[horizon];
            let name = format!("t{} Prediction 1", horizon + 1);
            traces.push(dots((i == 0).then_some(name.as_str()), i == 0, color, 6, vec![centre]));
            traces.push(Trace {
                name: Some(format!("t{} Sphere {}", horizon + 1, i + 1)),
                legend: false,
                form: Form::Surface,
                color: color.into(),
                size: 0,
                opacity: 0.2,
                points: sphere(centre, radius),
            });
        }
    }
    traces
}

/// The same in mm.
pub fn in_mm(traces: Vec<Trace>, normalizer: &Normalizer) -> Vec<Trace> {
    let to_mm =
        |trace: Trace| Trace { points: trace.points.iter().map(|&p| normalizer.denormalize(p)).collect(), ..trace };
    traces.into_iter().map(to_mm).collect()
}

/// A page and a still of traces, in space, across the beam and along it with equal scales. `unit` is that of the places.
pub fn write(folder: &Path, name: &str, title: &str, traces: &[Trace], unit: &str) -> Result<(Written, Written)> {
    let scene = scene(name, title, traces, unit);
    let mut page =
        Page::new(title, "input and target hits, and what the network says of the next hit and the one after it");
    page.raw(scene.raw());
    let written = durable::write(folder.join(format!("{name}.html")), page.html().as_bytes())?;
    Ok((written, durable::write(folder.join(format!("{name}.svg")), scene.svg(0).as_bytes())?))
}

/// The views of tracks: in space, across the beam, along it.
pub(crate) fn views(scene: &mut Scene, color: &'static str) {
    // y points up, the beam lies across.
    (scene.up, scene.eye) = (1, (1.1, 0.35));
    scene.views =
        vec![View::space(), View::flat("xy", "across the beam", 0, 1), View::flat("zr", "along the beam", 2, 3)];
    scene.panels = vec![Panel::new("3d", color), Panel::new("xy", color), Panel::new("zr", color).wide()];
}

/// Traces of one kind are a layer: dots of one name, and the grids of their spheres.
fn scene(name: &str, title: &str, traces: &[Trace], unit: &str) -> Scene {
    let mut scene = Scene::new(title, ["x", "y", "z"], unit);
    scene.file = name.to_string();
    views(&mut scene, "own");
    let mut event = Event::new("");
    let kinds: [(&'static str, &'static str, &str, Pair); 4] = [
        ("inputs", "", "input hits", [INPUT, INPUT]),
        ("targets", "", "target hits", [TARGET, TARGET]),
        ("t1", "t1_spheres", "predicted next hit", [PREDICTED[0], PREDICTED[0]]),
        ("t2", "t2_spheres", "predicted hit after next", [PREDICTED[1], PREDICTED[1]]),
    ];
    let mut dots = traces.iter().filter(|trace| trace.form != Form::Surface).peekable();
    for (k, (id, spheres, label, color)) in kinds.into_iter().enumerate() {
        // Inputs and targets are a trace each, predictions a trace a step.
        let mut places = vec![];
        while let Some(trace) = dots.next_if(|trace| trace.color == color[0] && (k > 1 || places.is_empty())) {
            places.extend_from_slice(&trace.points);
        }
        let steps: Vec<i64> = (1..=places.len() as i64).collect();
        let layer =
            Layer::new(id, label, Kind::Points).one(label.trim_end_matches('s')).size(if k == 0 { 8.0 } else { 6.0 });
        scene.layers.push(layer.color(color).field("step", "step", ""));
        event = event.with(id, Data::points(&places).whole("step", steps));
        if spheres.is_empty() {
            continue;
        }
        let grids = traces.iter().filter(|trace| trace.form == Form::Surface && trace.color == color[0]);
        let grids: Vec<&[[f32; 3]]> = grids.map(|trace| trace.points.as_slice()).collect();
        let turned: Vec<Vec<[f32; 3]>> = grids.iter().map(|grid| columns(grid)).collect();
        let lines = grids.iter().zip(&turned).flat_map(|(rows, columns)| rows.chunks(GRID).chain(columns.chunks(GRID)));
        let layer = Layer::new(spheres, &format!("{label}: region"), Kind::Lines).size(1.0).color(color);
        scene.layers.push(layer.backdrop(0.25));
        event = event.with(spheres, Data::lines(lines));
    }
    scene.events.push(event);
    scene
}

/// The columns of a grid, one after another.
fn columns(grid: &[[f32; 3]]) -> Vec<[f32; 3]> {
    (0..GRID).flat_map(|column| grid.iter().skip(column).step_by(GRID).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trace_of_a_track_is_in_the_scene() {
        let hits = [[1.0, 0.0, 0.0], [2.0, 0.0, 1.0], [3.0, 0.5, 2.0], [4.0, 1.0, 3.0]];
        let step = |i: usize| Step { first: (hits[i + 1], 0.5), second: (hits[(i + 2).min(3)], 0.7) };
        let traces = track(&hits[..3], &hits[1..], &[step(0), step(1), step(2)]);
        let scene = scene("last_track_viz", "Track", &traces, "mm");
        let count =
            |id: &str| scene.events[0].data.iter().find(|(layer, _)| *layer == id).map_or(0, |(_, data)| data.len());
        assert_eq!(["inputs", "targets", "t1", "t2"].map(count), [3, 3, 3, 2]);
        // Rows and columns of each sphere.
        assert_eq!(["t1_spheres", "t2_spheres"].map(count), [3 * 2 * GRID, 2 * 2 * GRID]);
        let svg = scene.svg(0);
        assert!(svg.contains("z (mm)") && svg.contains("r (mm)") && !svg.contains("NaN"), "{svg}");
    }
}
