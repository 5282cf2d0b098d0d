//! From places to the paper.

use super::{Panel, Scene};

/// Half the angle of view, radians; as in the script.
const EYE: f64 = 0.26;

/// A rectangle of the paper.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rect {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

impl Rect {
    pub fn middle(&self) -> (f64, f64) {
        (self.x + self.w / 2.0, self.y + self.h / 2.0)
    }

    pub fn holds(&self, (x, y): (f64, f64)) -> bool {
        x > self.x + 2.0 && x < self.x + self.w - 2.0 && y > self.y + 8.0 && y < self.y + self.h - 2.0
    }
}

/// How a panel looks at an event.
pub(super) enum Camera {
    /// In space: right, up, towards the eye, the eye itself, pixels a unit of slope.
    Space { right: [f64; 3], up: [f64; 3], back: [f64; 3], eye: [f64; 3], focal: f64, rect: Rect },
    /// Flat: which coordinates, the middle, pixels a unit.
    Flat { plane: [u8; 2], middle: [f64; 2], scale: f64, rect: Rect },
}

impl Camera {
    /// Brings a box into view.
    pub fn fit(scene: &Scene, panel: &Panel, rect: Rect, low: [f64; 3], high: [f64; 3]) -> Self {
        let flat = scene.views.iter().find(|view| view.id == panel.view).and_then(|view| view.flat);
        if let Some(plane) = flat {
            let reach = |k: u8| match k {
                0..=2 => (low[k as usize], high[k as usize]),
                _ => (0.0, radius(low, high)),
            };
            let ends = plane.map(reach);
            let spans = ends.map(|(a, b)| (b - a).max(1e-9));
            let scale = (0.94 * rect.w / spans[0]).min(0.94 * rect.h / spans[1]);
            return Self::Flat { plane, middle: ends.map(|(a, b)| f64::midpoint(a, b)), scale, rect };
        }
        let (yaw, pitch) = scene.eye;
        let axis = |a: usize| -> [f64; 3] { std::array::from_fn(|k| if k == a % 3 { 1.0 } else { 0.0 }) };
        let (ground, side, vertical) = (axis(scene.up + 1), axis(scene.up + 2), axis(scene.up));
        let back: [f64; 3] = std::array::from_fn(|k| {
            pitch.cos() * (yaw.cos() * ground[k] + yaw.sin() * side[k]) + pitch.sin() * vertical[k]
        });
        let right = unit(cross(vertical, back));
        let up = cross(back, right);
        let at: [f64; 3] = std::array::from_fn(|k| f64::midpoint(low[k], high[k]));
        let half = 0.5 * (0..3).map(|k| (high[k] - low[k]).powi(2)).sum::<f64>().sqrt();
        let focal = rect.h / 2.0 / (EYE * (rect.h / rect.w).clamp(1.0, 1.8)).tan();
        let mut far = half / EYE.sin();
        for _ in 0..8 {
            let eye = std::array::from_fn(|k| at[k] + far * back[k]);
            let camera = Self::Space { right, up, back, eye, focal, rect };
            let (x, y) = rect.middle();
            let off = corners(low, high).filter_map(|corner| camera.project(corner)).map(|(u, v, _)| {
                ((u - x).abs() / (rect.w / 2.0 - 52.0)).max((v - y - 8.0).abs() / (rect.h / 2.0 - 42.0))
            });
            far *= off.fold(0.0, f64::max).clamp(0.4, 2.5);
        }
        Self::Space { right, up, back, eye: std::array::from_fn(|k| at[k] + far * back[k]), focal, rect }
    }

    /// Where a place lies on the paper, and how far away; none behind the eye.
    pub fn project(&self, place: [f64; 3]) -> Option<(f64, f64, f64)> {
        match self {
            Self::Space { right, up, back, eye, focal, rect } => {
                let from = std::array::from_fn(|k| place[k] - eye[k]);
                let depth = -dot(*back, from);
                let (x, y) = rect.middle();
                (depth > 0.0)
                    .then(|| (x + dot(*right, from) / depth * focal, y - dot(*up, from) / depth * focal, depth))
            }
            Self::Flat { plane, middle, scale, rect } => {
                let part = |k: u8| if k < 3 { place[k as usize] } else { place[0].hypot(place[1]) };
                let (x, y) = rect.middle();
                let [u, v] = [part(plane[0]) - middle[0], part(plane[1]) - middle[1]];
                Some((x + u * scale, y - v * scale, 0.0))
            }
        }
    }

    pub fn rect(&self) -> Rect {
        match self {
            Self::Space { rect, .. } | Self::Flat { rect, .. } => *rect,
        }
    }
}

/// The largest distance from the third axis of what a box around it holds, which is about a cylinder.
fn radius(low: [f64; 3], high: [f64; 3]) -> f64 {
    (0..2).map(|k| low[k].abs().max(high[k].abs())).fold(0.0, f64::max).max(1e-9)
}

/// The corners of a box; bit k of the number is the axis k.
pub(super) fn corners(low: [f64; 3], high: [f64; 3]) -> impl Iterator<Item = [f64; 3]> {
    (0..8).map(move |n: usize| std::array::from_fn(|k| if n >> k & 1 == 1 { high[k] } else { low[k] }))
}

pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(super) fn unit(a: [f64; 3]) -> [f64; 3] {
    let length = dot(a, a).sqrt();
    a.map(|v| v / if length > 0.0 { length } else { 1.0 })
}
