//! A picture of one event, truth beside prediction: an HTML file that turns with the mouse and needs nothing else, and
//! a still SVG.

use std::fmt::Write as _;
use std::path::Path;

use common::Result;
use common::durable::{self, Written};

use crate::classes::CLASS_NAMES;
use crate::dataset::EventView;
use crate::energy::EnergyScale;
use crate::grouping::CHANNELS;

/// Colours of the classes that stay apart for colour-blind readers (Okabe and Ito).
const COLORS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#999999"];
/// Width of a panel of the SVG in pixels.
const PANEL: f64 = 460.0;

/// Points of an event with two classes each.
#[derive(Debug, Clone)]
pub struct Scene {
    title: String,
    places: Vec<[f32; 3]>,
    energies: Vec<f32>,
    truth: Vec<u8>,
    predicted: Vec<u8>,
}

impl Scene {
    /// From an event and the predicted class of each of its points.
    pub fn new(event: &EventView, predicted: &[i64], scale: EnergyScale) -> Self {
        let rows = event.points.chunks_exact(CHANNELS);
        Self {
            title: format!("event {} of {}", event.row, event.source),
            places: rows.clone().map(|row| [row[0], row[1], row[2]]).collect(),
            energies: rows.map(|row| scale.inverse(f64::from(row[3]))).collect(),
            truth: event.semantic.to_vec(),
            predicted: predicted.iter().map(|&c| u8::try_from(c).unwrap_or(u8::MAX)).collect(),
        }
    }

    fn right(&self) -> f64 {
        let right = self.truth.iter().zip(&self.predicted).filter(|(a, b)| a == b).count();
        right as f64 / self.truth.len().max(1) as f64
    }

    fn subtitle(&self) -> String {
        format!("{} points, {:.1} % of the classes right", self.truth.len(), 100.0 * self.right())
    }

    /// Centre and half the largest side, in voxels.
    fn frame(&self) -> ([f32; 3], f32) {
        let bounds: [(f32, f32); 3] = std::array::from_fn(|a| {
            let all = self.places.iter().map(|p| p[a]);
            all.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
        });
        if self.places.is_empty() {
            return ([384.0; 3], 384.0);
        }
        let half = bounds.iter().map(|(low, high)| (high - low) / 2.0).fold(1.0, f32::max);
        (bounds.map(|(low, high)| (low + high) / 2.0), half)
    }

    /// A still picture: both panels seen from the same corner.
    pub fn write_svg(&self, path: &Path) -> Result<Written> {
        durable::write(path, self.svg().as_bytes())
    }

    fn svg(&self) -> String {
        let (center, half) = self.frame();
        let (width, height) = (2.0 * PANEL + 20.0, PANEL + 96.0);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"14\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n<text x=\"12\" y=\"22\" font-size=\"16\">{}: {}</text>\n",
            escaped(&self.title),
            self.subtitle()
        );
        for (name, classes, shift) in [("truth", &self.truth, 0.0), ("prediction", &self.predicted, PANEL + 20.0)] {
            let _ = writeln!(svg, "<text x=\"{}\" y=\"46\">{name}</text>", shift + 12.0);
            for (place, class) in self.places.iter().zip(classes.iter()) {
                let (x, y) = project(place, center, half);
                let color = COLORS.get(*class as usize).unwrap_or(&"#000000");
                let _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"1.6\" fill=\"{color}\"/>", x + shift);
            }
        }
        for (i, name) in CLASS_NAMES.iter().enumerate() {
            let x = 12.0 + 110.0 * i as f64;
            let y = height - 16.0;
            let color = COLORS[i];
            let _ = writeln!(
                svg,
                "<circle cx=\"{x}\" cy=\"{}\" r=\"5\" fill=\"{color}\"/><text x=\"{}\" y=\"{y}\">{name}</text>",
                y - 5.0,
                x + 10.0
            );
        }
        svg + "</svg>\n"
    }

    /// A page that turns with the mouse. Everything is inside; it opens without a network.
    pub fn write_html(&self, path: &Path) -> Result<Written> {
        let (center, half) = self.frame();
        let list = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join(",");
        let places = list(
            &mut self
                .places
                .iter()
                .flat_map(|p| (0..3).map(|a| format!("{:.4}", (p[a] - center[a]) / half)).collect::<Vec<_>>()),
        );
        let page = include_str!("picture.html")
            .replace("@TITLE@", &escaped(&self.title))
            .replace("@SUBTITLE@", &self.subtitle())
            .replace("@PLACES@", &places)
            .replace("@ENERGIES@", &list(&mut self.energies.iter().map(|e| format!("{e:.2}"))))
            .replace("@TRUTH@", &list(&mut self.truth.iter().map(ToString::to_string)))
            .replace("@PREDICTED@", &list(&mut self.predicted.iter().map(ToString::to_string)))
            .replace("@NAMES@", &list(&mut CLASS_NAMES.iter().map(|n| format!("\"{n}\""))))
            .replace("@COLORS@", &list(&mut COLORS.iter().map(|c| format!("\"{c}\""))));
        durable::write(path, page.as_bytes())
    }
}

/// A still picture of an event whose points have colours of their own: up to three numbers of each, the lowest and highest of
/// the event being dark and full red, green and blue.
pub fn colored(title: &str, rows: &[f32], width: usize, numbers: &[f32], channels: usize) -> String {
    let places: Vec<[f32; 3]> = rows.chunks_exact(width).map(|row| [row[0], row[1], row[2]]).collect();
    let scene = Scene { title: title.into(), places, energies: vec![], truth: vec![], predicted: vec![] };
    let (center, half) = scene.frame();
    let ends: Vec<(f32, f32)> = (0..channels)
        .map(|channel| {
            let all = numbers.iter().skip(channel).step_by(channels);
            all.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
        })
        .collect();
    let shades = |point: usize| -> [u8; 3] {
        std::array::from_fn(|channel| {
            let Some(&(low, high)) = ends.get(channel) else { return 128 };
            let v = numbers[point * channels + channel];
            (40.0 + 200.0 * (v - low) / (high - low).max(f32::MIN_POSITIVE)) as u8
        })
    };
    let (width, height) = (PANEL, PANEL + 56.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n<text x=\"12\" y=\"22\" font-size=\"16\">{}</text>\n\
         <text x=\"12\" y=\"44\">principal components of the features as red, green and blue</text>\n",
        escaped(title)
    );
    for (point, place) in scene.places.iter().enumerate() {
        let (x, y) = project(place, center, half);
        let [red, green, blue] = shades(point);
        let _ =
            writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.6\" fill=\"#{red:02x}{green:02x}{blue:02x}\"/>");
    }
    svg + "</svg>\n"
}

/// Where a place is drawn, seen from a corner.
fn project(p: &[f32; 3], center: [f32; 3], half: f32) -> (f64, f64) {
    let (turn, tilt) = (0.6f64, 0.35f64);
    let [x, y, z]: [f64; 3] = std::array::from_fn(|a| f64::from((p[a] - center[a]) / half));
    let (across, depth) = (x * turn.cos() + z * turn.sin(), z * turn.cos() - x * turn.sin());
    let up = y * tilt.cos() - depth * tilt.sin();
    // The corners of the cube reach 1.74 halves.
    (PANEL / 2.0 * (1.0 + across / 1.5), PANEL / 2.0 * (1.0 - up / 1.5) + 56.0)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_hold_every_point_twice_and_refer_to_nothing_outside() {
        let points = [1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 0.5];
        let event = EventView {
            points: &points,
            semantic: &[0, 1],
            cluster: &[0, 1],
            source: "a<b",
            row: 7,
            ..EventView::default()
        };
        let scene = Scene::new(&event, &[0, 2], EnergyScale { floor: 0.13, max: 20.0 });
        let svg = scene.svg();
        assert_eq!(svg.matches("r=\"1.6\"").count(), 4);
        assert!(svg.contains("event 7 of a&lt;b: 2 points, 50.0 % of the classes right"), "{svg}");
        let folder = tempfile::tempdir().unwrap();
        scene.write_html(&folder.path().join("x.html")).unwrap();
        let page = std::fs::read_to_string(folder.path().join("x.html")).unwrap();
        assert!(page.contains("const truth=[0,1]") && page.contains("const predicted=[0,2]"), "{page}");
        assert!(!page.contains("http") && !page.contains('@'), "refers outside");
    }
}
