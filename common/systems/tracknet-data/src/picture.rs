//! Pictures of tracks in three dimensions: one self-contained page that turns under the mouse, and a flat SVG.
//!
//! The traces of one track are those of the original's picture (`src/tracknet/visualization`): input hits, target hits,
//! and for every step the predicted centres with their spheres as grids of 20 x 20 points. Differs: the page carries no
//! plotting library (4.9 MB there), and places are in mm where a normaliser is given.

use std::f32::consts::PI;
use std::fmt::Write as _;
use std::path::Path;

use common::durable::{self, Written};
use common::{Error, Result};
use serde::Serialize;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Dots.
    Markers,
    /// Dots joined by lines.
    Line,
    /// A grid of [`GRID`] x [`GRID`] points.
    Surface,
}

/// Points that are drawn alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
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

/// Colours of the tracks of an event.
const COLORS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#11a579"];

/// The traces of an event: tracks as lines, hits without one as small grey dots.
pub fn event(tracks: &[(i64, Vec<[f32; 3]>)], rest: Vec<[f32; 3]>) -> Vec<Trace> {
    let mut traces = vec![Trace {
        name: Some("Hits without a track".into()),
        legend: true,
        form: Form::Markers,
        color: "#b0b0b0".into(),
        size: 2,
        opacity: 0.5,
        points: rest,
    }];
    traces.extend(tracks.iter().enumerate().map(|(i, (number, points))| Trace {
        name: Some(format!("Track {number}")),
        legend: i < 8,
        form: Form::Line,
        color: COLORS[i % COLORS.len()].into(),
        size: 4,
        opacity: 0.9,
        points: points.clone(),
    }));
    traces
}

/// A page that shows the traces: no other file, no network. Drag turns, the wheel zooms.
pub fn html(title: &str, traces: &[Trace]) -> Result<String> {
    let rounded: Vec<Trace> = traces
        .iter()
        .map(|t| Trace { points: t.points.iter().map(|p| p.map(|v| (v * 1e3).round() / 1e3)).collect(), ..t.clone() })
        .collect();
    let data = serde_json::to_string(&rounded).map_err(|e| Error::failed(format!("drawing: {e}")))?;
    // `</script>` inside of a name would end the script.
    let data = data.replace('<', "\\u003c");
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    Ok(include_str!("picture.html").replace("@TITLE@", &title).replace("@DATA@", &data))
}

/// From a place to a flat one.
type View<'a> = &'a dyn Fn([f32; 3]) -> (f32, f32);

/// Two flat views side by side: across the beam (x, y), and along it (z, r).
pub fn svg(title: &str, traces: &[Trace]) -> String {
    const SIDE: f32 = 420.0;
    let views: [(&str, View); 2] = [("x, y in mm", &|p| (p[0], p[1])), ("z, r in mm", &|p| (p[2], p[0].hypot(p[1])))];
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>{title}</title><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        2.0 * SIDE + 60.0,
        SIDE + 60.0
    );
    for (place, (label, view)) in views.iter().enumerate() {
        let flat: Vec<(f32, f32)> = traces.iter().flat_map(|t| t.points.iter().map(|&p| view(p))).collect();
        let range = |f: &dyn Fn(&(f32, f32)) -> f32| {
            flat.iter().map(f).fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
        };
        let ((x0, x1), (y0, y1)) = (range(&|p| p.0), range(&|p| p.1));
        // Equal scales across the beam; along it each axis has its own.
        let (sx, sy) = ((x1 - x0).max(1e-3), (y1 - y0).max(1e-3));
        let (sx, sy) = if place == 0 { (sx.max(sy), sx.max(sy)) } else { (sx, sy) };
        let left = 20.0 + place as f32 * (SIDE + 20.0);
        let map = |p: [f32; 3]| {
            let (x, y) = view(p);
            (left + (x - x0) / sx * SIDE, 30.0 + SIDE - (y - y0) / sy * SIDE)
        };
        let _ = writeln!(
            text,
            "<text x=\"{left}\" y=\"{}\">{label}: {x0:.0} to {x1:.0}, {y0:.0} to {y1:.0}</text>",
            SIDE + 50.0
        );
        for trace in traces {
            let (color, opacity) = (&trace.color, trace.opacity);
            match trace.form {
                Form::Surface => {
                    let mean = |f: &dyn Fn((f32, f32)) -> f32| {
                        let (low, high) = trace
                            .points
                            .iter()
                            .map(|&p| f(map(p)))
                            .fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(v), b.max(v)));
                        (0.5 * (low + high), 0.5 * (high - low))
                    };
                    let ((cx, rx), (cy, ry)) = (mean(&|p| p.0), mean(&|p| p.1));
                    let _ = writeln!(
                        text,
                        "<ellipse cx=\"{cx:.1}\" cy=\"{cy:.1}\" rx=\"{rx:.1}\" ry=\"{ry:.1}\" fill=\"{color}\" opacity=\"{opacity}\"/>"
                    );
                }
                Form::Line | Form::Markers => {
                    if trace.form == Form::Line {
                        let path: String = trace
                            .points
                            .iter()
                            .map(|&p| {
                                let (x, y) = map(p);
                                format!("{x:.1},{y:.1} ")
                            })
                            .collect();
                        let _ = writeln!(
                            text,
                            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" opacity=\"{opacity}\"/>",
                            path.trim_end()
                        );
                    }
                    let r = trace.size as f32 / 3.0;
                    for &p in &trace.points {
                        let (x, y) = map(p);
                        let _ = writeln!(
                            text,
                            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\" fill=\"{color}\" opacity=\"{opacity}\"/>"
                        );
                    }
                }
            }
        }
    }
    text.push_str("</svg>\n");
    text
}

/// Writes `NAME.html` and `NAME.svg`.
pub fn write(folder: &Path, name: &str, title: &str, traces: &[Trace]) -> Result<(Written, Written)> {
    let page = durable::write(folder.join(format!("{name}.html")), html(title, traces)?.as_bytes())?;
    Ok((page, durable::write(folder.join(format!("{name}.svg")), svg(title, traces).as_bytes())?))
}
