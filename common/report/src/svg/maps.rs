//! Numbers as colours, bars over time, and the sky.

use std::fmt::Write as _;

use super::scale::time;
use super::{LINE, MUTED, Plot, Sheet, WIDTH, round};
use crate::chart::{Bar, Chart};
use crate::color::{self, Colors};
use crate::heat::Heat;

/// Room for the bar that says which colour is which value.
pub(super) const BAR: f64 = 104.0;

/// Dark blue to yellow, after cividis: reads alike with any colour vision.
const SEQUENTIAL: [[f64; 3]; 8] = [
    [0.0, 34.0, 78.0],
    [33.0, 61.0, 109.0],
    [78.0, 87.0, 108.0],
    [112.0, 113.0, 115.0],
    [149.0, 140.0, 120.0],
    [190.0, 169.0, 105.0],
    [229.0, 200.0, 79.0],
    [254.0, 232.0, 56.0],
];
const GROUND: [f64; 3] = [246.0, 246.0, 246.0];
const BELOW: [f64; 3] = [0.0, 92.0, 158.0];
const ABOVE: [f64; 3] = [200.0, 82.0, 0.0];

/// Colour of a share of the scale.
fn shade(share: f64, diverging: bool) -> [f64; 3] {
    let t = share.clamp(0.0, 1.0);
    let mix = |a: [f64; 3], b: [f64; 3], t: f64| std::array::from_fn(|i| (a[i] + (b[i] - a[i]) * t).round());
    if diverging {
        return if t < 0.5 { mix(GROUND, BELOW, 1.0 - 2.0 * t) } else { mix(GROUND, ABOVE, 2.0 * t - 1.0) };
    }
    let at = t * (SEQUENTIAL.len() - 1) as f64;
    let low = (at as usize).min(SEQUENTIAL.len() - 2);
    mix(SEQUENTIAL[low], SEQUENTIAL[low + 1], at - low as f64)
}

fn css([r, g, b]: [f64; 3]) -> String {
    format!("rgb({r},{g},{b})")
}

/// Colour of a value; none where it has none.
fn color_of(heat: &Heat, value: f64) -> Option<[f64; 3]> {
    let (low, high) = heat.bounds();
    if !value.is_finite() || (heat.log && value <= 0.0) {
        return None;
    }
    let place = |v: f64| if heat.log { v.log10() } else { v };
    let share = if high > low { (place(value) - place(low)) / (place(high) - place(low)) } else { 0.5 };
    Some(shade(share, heat.centre.is_some()))
}

/// Edges of the cells along an axis.
fn edges(given: &[f64], names: usize) -> Vec<f64> {
    if given.is_empty() { (0..=names).map(|i| i as f64 - 0.5).collect() } else { given.to_vec() }
}

/// Draws the cells.
pub(super) fn heat(chart: &Chart, heat: &Heat, sheet: &mut Sheet, plot: &Plot) {
    let xs = edges(&heat.x_edges, chart.x.names.len());
    let ys = edges(&heat.y_edges, chart.y.names.len());
    let columns = xs.len() - 1;
    let written = heat.values.len() <= 400;
    for (i, value) in heat.values.iter().enumerate() {
        let (row, column) = (i / columns, i % columns);
        let Some(found) = color_of(heat, *value).filter(|_| row + 1 < ys.len()) else { continue };
        let corners = [(xs[column], ys[row]), (xs[column + 1], ys[row + 1])].map(|corner| plot.at(corner));
        let [Some(a), Some(b)] = corners else { continue };
        let (left, top) = (a.0.min(b.0), a.1.min(b.1));
        let (wide, tall) = ((a.0 - b.0).abs(), (a.1 - b.1).abs());
        // A little wider than it is, so that no ground shines through between neighbours.
        sheet.rect((left, top), (wide + 0.3, tall + 0.3), &css(found));
        let texts = [3, 2, 1].map(|digits| digits_of(*value, digits));
        let fits = texts.iter().find(|text| super::wide(text) + 4.0 < wide);
        if let Some(text) = fits.filter(|_| written && tall > 15.0) {
            let bright = 0.299 * found[0] + 0.587 * found[1] + 0.114 * found[2] > 140.0;
            let ink = if bright { "#101418" } else { "#ffffff" };
            sheet.text((left + wide / 2.0, top + tall / 2.0), "middle", ink, text);
        }
    }
}

/// A number with few digits.
fn digits_of(value: f64, digits: usize) -> String {
    if value == 0.0 || value.fract() == 0.0 && value.abs() < 1e6 {
        return format!("{value}");
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..6.0).contains(&magnitude) {
        return format!("{value:.*e}", digits - 1);
    }
    let decimals = (digits as f64 - 1.0 - magnitude).clamp(0.0, 8.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

/// Draws the scale of colours at `(x, y, height)`.
pub(super) fn bar(heat: &Heat, sheet: &mut Sheet, (x, y, height): (f64, f64, f64)) {
    const STEPS: usize = 48;
    let (low, high) = heat.bounds();
    for i in 0..STEPS {
        let found = shade((i as f64 + 0.5) / STEPS as f64, heat.centre.is_some());
        let tall = height / STEPS as f64;
        sheet.rect((x, y + height - (i + 1) as f64 * tall), (12.0, tall + 0.4), &css(found));
    }
    let mut widest = 0.0_f64;
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let value = if heat.log {
            10f64.powf(low.log10() + share * (high.log10() - low.log10()))
        } else {
            low + share * (high - low)
        };
        let small = 1e-3 * low.abs().max(high.abs());
        let text = digits_of(if !heat.log && value.abs() < small { 0.0 } else { value }, 3);
        widest = widest.max(super::wide(&text));
        sheet.text((x + 17.0, y + height * (1.0 - share) + 6.0 * (share - 0.5) * 2.0), "start", MUTED, &text);
    }
    sheet.upright((x + 28.0 + widest, y + height / 2.0), "middle", MUTED, &super::fitted(&heat.label, height));
}

/// What stands behind a bar.
pub(super) fn duration(bar: &Bar) -> String {
    time(bar.to - bar.from)
}

/// Draws the bars, each with its duration.
pub(super) fn gantt(bars: &[Bar], chart: &Chart, colors: &mut Colors, sheet: &mut Sheet, plot: &Plot) {
    for bar in bars {
        let Some(row) = chart.y.names.iter().position(|name| *name == bar.row) else { continue };
        let row = row as f64;
        let (Some(a), Some(b)) = (plot.at((bar.from, row - 0.36)), plot.at((bar.to, row + 0.36))) else { continue };
        let wide = (b.0 - a.0).max(2.0);
        sheet.rect((a.0, a.1.min(b.1)), (wide, (a.1 - b.1).abs()), color::light(colors.of(&bar.state)));
        sheet.text((a.0 + wide + 4.0, (a.1 + b.1) / 2.0), "start", MUTED, &duration(bar));
    }
}

/// Hammer's projection in units of the half axes, longitude 180 in the middle.
fn hammer(longitude: f64, latitude: f64) -> (f64, f64) {
    let (l, b) = ((longitude - 180.0).to_radians() / 2.0, latitude.to_radians());
    let z = (1.0 + b.cos() * l.cos()).sqrt();
    (b.cos() * l.sin() / z, b.sin() / z)
}

/// Draws the sphere; returns the height of the picture.
pub(super) fn sky(sheet: &mut Sheet, heat: &Heat, chart: &Chart, top: f64) -> f64 {
    let half = (WIDTH - BAR - 24.0) / 2.0;
    let (cx, cy) = (12.0 + half, top + 8.0 + half / 2.0);
    let at = |l: f64, b: f64| {
        let (x, y) = hammer(l, b);
        (cx + half * x, cy - half / 2.0 * y)
    };
    let path = |points: &[(f64, f64)]| {
        let mut d = String::new();
        for (i, (l, b)) in points.iter().enumerate() {
            let (x, y) = at(*l, *b);
            let _ = write!(d, "{}{} {}", if i == 0 { 'M' } else { 'L' }, round(x), round(y));
        }
        d
    };
    let columns = heat.x_edges.len() - 1;
    for (i, value) in heat.values.iter().enumerate() {
        let Some(found) = color_of(heat, *value) else { continue };
        let (l, b) = (&heat.x_edges[i % columns..], &heat.y_edges[i / columns..]);
        let steps = |from: f64, to: f64| (0..=6).map(move |s| from + (to - from) * f64::from(s) / 6.0);
        let mut outline: Vec<(f64, f64)> = steps(l[0], l[1]).map(|x| (x, b[0])).collect();
        outline.extend(steps(l[1], l[0]).map(|x| (x, b[1])));
        let (d, hue) = (path(&outline), css(found));
        sheet.add(format_args!("<path d=\"{d}Z\" fill=\"{hue}\" stroke=\"{hue}\" stroke-width=\"0.4\"/>"));
    }
    let mut lines = String::new();
    for step in 0..=6 {
        let meridian: Vec<(f64, f64)> =
            (0..=60).map(|i| (f64::from(step) * 60.0, -90.0 + 3.0 * f64::from(i))).collect();
        lines += &path(&meridian);
    }
    for parallel in [-60.0, -30.0, 0.0, 30.0, 60.0] {
        lines += &path(&(0..=72).map(|i| (5.0 * f64::from(i), parallel)).collect::<Vec<_>>());
    }
    sheet.add(format_args!("<path d=\"{lines}\" fill=\"none\" stroke=\"{LINE}\" stroke-width=\"0.7\"/>"));
    for longitude in [60.0, 120.0, 180.0, 240.0, 300.0] {
        sheet.text(at(longitude, 0.0), "middle", "#ffffff", &format!("{longitude}°"));
    }
    bar(heat, sheet, (cx + half + 14.0, cy - half / 2.0, half));
    let label = format!("{} to the right, {} upwards", chart.x.label, chart.y.label);
    sheet.text((cx, cy + half / 2.0 + 16.0), "middle", MUTED, &label);
    cy + half / 2.0 + 32.0
}
