//! Axes of a still: edges of the box with ticks in space, a frame in flat views.

use std::fmt::Write as _;

use super::Scene;
use super::camera::{Camera, Rect, corners};
use crate::{escape, number};

const MUTED: &str = "#57606a";
const LINE: &str = "#d8dee4";

/// Text at a place.
pub(super) fn text(out: &mut String, x: f64, y: f64, anchor: &str, size: u32, color: &str, text: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{color}\">{}</text>",
        escape(text)
    );
}

fn line(out: &mut String, a: (f64, f64), b: (f64, f64), color: &str) {
    let _ = writeln!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{color}\"/>",
        a.0, a.1, b.0, b.1
    );
}

/// Round numbers from `low` to `high`, about `count` of them.
pub(super) fn ticks(low: f64, high: f64, count: f64) -> Vec<f64> {
    let span = high - low;
    if span.is_nan() || span <= 0.0 || count < 1.0 {
        return vec![];
    }
    let raw = span / count;
    let ten = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].iter().map(|k| k * ten).find(|step| *step >= raw * 0.999).unwrap_or(raw);
    let first = (low / step - 1e-9).ceil() as i64;
    (first..).map(|k| k as f64 * step).take_while(|v| *v <= high + 1e-9 * span).collect()
}

fn title(scene: &Scene, axis: u8) -> String {
    let name = scene.axes.get(axis as usize).unwrap_or(&"r");
    if scene.units[0].name.is_empty() { (*name).to_string() } else { format!("{name} ({})", scene.units[0].name) }
}

fn label(value: f64) -> String {
    number(value).replace('-', "\u{2212}")
}

/// Draws the axes of a panel around a box.
pub(super) fn draw(out: &mut String, scene: &Scene, camera: &Camera, low: [f64; 3], high: [f64; 3]) {
    match camera {
        Camera::Flat { plane, middle, scale, rect } => flat(out, scene, *plane, *middle, *scale, *rect),
        Camera::Space { rect, .. } => space(out, scene, camera, *rect, low, high),
    }
}

fn flat(out: &mut String, scene: &Scene, plane: [u8; 2], middle: [f64; 2], scale: f64, r: Rect) {
    let _ = writeln!(
        out,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" stroke=\"{LINE}\"/>",
        r.x, r.y, r.w, r.h
    );
    let (cx, cy) = r.middle();
    let half = [r.w / 2.0 / scale, r.h / 2.0 / scale];
    for tick in ticks(middle[0] - half[0], middle[0] + half[0], r.w / 84.0) {
        let x = cx + (tick - middle[0]) * scale;
        line(out, (x, r.y + r.h), (x, r.y + r.h + 4.0), MUTED);
        text(out, x, r.y + r.h + 16.0, "middle", 11, MUTED, &label(tick));
    }
    for tick in ticks(middle[1] - half[1], middle[1] + half[1], r.h / 48.0) {
        let y = cy - (tick - middle[1]) * scale;
        line(out, (r.x - 4.0, y), (r.x, y), MUTED);
        text(out, r.x - 7.0, y + 4.0, "end", 11, MUTED, &label(tick));
    }
    text(out, cx, r.y + r.h + 33.0, "middle", 12, MUTED, &title(scene, plane[0]));
    let (x, y) = (r.x - 44.0, cy);
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" font-size=\"12\" fill=\"{MUTED}\" \
         transform=\"rotate(-90 {x:.1} {y:.1})\">{}</text>",
        escape(&title(scene, plane[1]))
    );
}

fn space(out: &mut String, scene: &Scene, camera: &Camera, r: Rect, low: [f64; 3], high: [f64; 3]) {
    let at = |place: [f64; 3]| camera.project(place).map_or((r.x, r.y), |(x, y, _)| (x, y));
    let all: Vec<[f64; 3]> = corners(low, high).collect();
    let seen: Vec<(f64, f64)> = all.iter().map(|corner| at(*corner)).collect();
    let center = at(std::array::from_fn(|k| f64::midpoint(low[k], high[k])));
    for axis in 0..3 {
        let edges = (0..8_usize).filter(|n| n >> axis & 1 == 0).map(|n| (n, n | 1 << axis));
        for (a, b) in edges.clone() {
            line(out, seen[a], seen[b], LINE);
        }
        // The edge of the outline that lies lowest; leftmost for the axis that points up.
        let outer = |&(a, b): &(usize, usize)| {
            let (u, v) = (seen[a], seen[b]);
            let side = |c: &(f64, f64)| (v.0 - u.0) * (c.1 - u.1) - (v.1 - u.1) * (c.0 - u.0);
            seen.iter().all(|c| side(c) < 40.0) || seen.iter().all(|c| side(c) > -40.0)
        };
        let up = axis == scene.up;
        let rank = |&(a, b): &(usize, usize)| {
            if up { -(seen[a].0 + seen[b].0) } else { seen[a].1 + seen[b].1 }
        };
        let Some((a, b)) = edges.filter(outer).max_by(|p, q| rank(p).total_cmp(&rank(q))) else { continue };
        let (u, v) = (seen[a], seen[b]);
        let long = (v.0 - u.0).hypot(v.1 - u.1);
        if long < 30.0 {
            continue;
        }
        let mut n = ((u.1 - v.1) / long, (v.0 - u.0) / long);
        let middle = (f64::midpoint(u.0, v.0), f64::midpoint(u.1, v.1));
        if n.0 * (middle.0 - center.0) + n.1 * (middle.1 - center.1) < 0.0 {
            n = (-n.0, -n.1);
        }
        let anchor = if n.0 > 0.4 {
            "start"
        } else if n.0 < -0.4 {
            "end"
        } else {
            "middle"
        };
        for tick in ticks(low[axis], high[axis], (long / 64.0).clamp(1.0, 8.0)) {
            let mut place = all[a];
            place[axis] = tick;
            let q = at(place);
            line(out, q, (q.0 + 5.0 * n.0, q.1 + 5.0 * n.1), MUTED);
            let y = q.1 + 9.0 * n.1 + 4.0 + 4.0 * n.1.max(0.0);
            text(out, q.0 + 9.0 * n.0, y, anchor, 11, MUTED, &label(tick));
        }
        let name = title(scene, axis as u8);
        if up {
            let end = if u.1 < v.1 { u } else { v };
            text(out, end.0, (end.1 - 10.0).max(r.y + 34.0), "middle", 12, "#1b1f24", &name);
            continue;
        }
        let reach = 24.0 + 22.0 * n.0.abs();
        let place = (middle.0 + reach * n.0, (middle.1 + reach * n.1 + 5.0).min(r.y + r.h - 6.0));
        if r.holds(place) {
            text(out, place.0, place.1, anchor, 12, "#1b1f24", &name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_lie_inside() {
        assert_eq!(ticks(0.0, 768.0, 4.0), [0.0, 200.0, 400.0, 600.0]);
        assert_eq!(ticks(-1.0, 1.0, 4.0), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert!(ticks(1.0, 1.0, 4.0).is_empty() && ticks(f64::NAN, 1.0, 4.0).is_empty());
    }
}
