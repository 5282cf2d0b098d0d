//! Lines, points, bars and steps with their intervals.

use std::fmt::Write as _;

use super::{MUTED, Plot, Sheet, round, scale};
use crate::chart::Chart;
use crate::color::{self, Colors};
use crate::series::{Series, Style};

/// Points of a line that get a dot of their own, at most.
const DOTTED: usize = 80;
/// Points of a line that are drawn, at most; beyond, of each column of pixels the lowest and the highest.
const DRAWN: usize = 3000;

/// Draws all series that are not hidden.
pub(super) fn draw(chart: &Chart, all: &[Series], colors: &mut Colors, sheet: &mut Sheet, plot: &Plot) {
    let shown: Vec<&Series> = all.iter().filter(|s| !s.hidden).collect();
    let bars: Vec<&Series> = shown.iter().copied().filter(|s| s.style == Style::Bars).collect();
    let classes: Vec<&Series> =
        shown.iter().copied().filter(|s| s.style == Style::Steps && !s.spread.is_empty()).collect();
    for &series in &shown {
        let slot = colors.of(&series.color);
        let (hue, dash) = (color::light(slot), color::dash(slot));
        match series.style {
            Style::Line => {
                band(chart, series, hue, sheet, plot);
                let kept = thinned(&series.points, plot);
                path(&kept, hue, dash, sheet, plot);
                if series.points.len() <= DOTTED {
                    dots(&series.points, 2.6, hue, sheet, plot);
                }
            }
            Style::Points => {
                whiskers(chart, series, hue, 0.0, sheet, plot);
                dots(&series.points, if series.points.len() > 400 { 1.4 } else { 3.0 }, hue, sheet, plot);
            }
            Style::Bars => {
                let place = bars.iter().position(|other| std::ptr::eq(*other, series)).unwrap_or(0);
                draw_bars(chart, series, (place, bars.len(), scale::gap(&bars)), hue, sheet, plot);
            }
            Style::Steps => {
                steps(chart, series, hue, dash, sheet, plot);
                let beside = classes.iter().position(|other| std::ptr::eq(*other, series));
                if let Some(place) = beside {
                    let shift = (place as f64 - (classes.len() - 1) as f64 / 2.0) * 5.0;
                    whiskers(chart, series, hue, shift, sheet, plot);
                }
            }
        }
    }
    if chart.diagonal {
        let (low, high) = (plot.x.low().max(plot.y.low()), plot.x.high().min(plot.y.high()));
        if let (Some(from), Some(to)) = (plot.at((low, low)), plot.at((high, high))) {
            sheet.line(from, to, MUTED, " stroke-dasharray=\"4 3\"");
        }
    }
}

fn thinned(points: &[(f64, f64)], plot: &Plot) -> Vec<(f64, f64)> {
    if points.len() <= DRAWN || points.windows(2).any(|pair| pair[1].0 < pair[0].0) {
        return points.to_vec();
    }
    let mut kept: Vec<(f64, f64)> = vec![];
    for column in points.chunk_by(|a, b| plot.x(a.0).floor() == plot.x(b.0).floor()) {
        let low = column.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let high = column.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        kept.extend(low.into_iter().chain(high));
    }
    kept
}

fn path(points: &[(f64, f64)], hue: &str, dash: &str, sheet: &mut Sheet, plot: &Plot) {
    let (mut d, mut pen) = (String::new(), false);
    for point in points {
        match plot.at(*point) {
            Some((x, y)) => {
                let _ = write!(d, "{}{} {}", if pen { 'L' } else { 'M' }, round(x), round(y));
                pen = true;
            }
            None => pen = false,
        }
    }
    sheet.add(format_args!(
        "<path d=\"{d}\" fill=\"none\" stroke=\"{hue}\" stroke-width=\"1.8\" stroke-linejoin=\"round\" stroke-dasharray=\"{dash}\"/>"
    ));
}

fn dots(points: &[(f64, f64)], radius: f64, hue: &str, sheet: &mut Sheet, plot: &Plot) {
    let mut d = String::new();
    for (x, y) in points.iter().filter_map(|point| plot.at(*point)) {
        let (x, y, r) = (round(x - radius), round(y), radius);
        let _ = write!(d, "M{x} {y}a{r} {r} 0 1 0 {0} 0a{r} {r} 0 1 0 -{0} 0", 2.0 * r);
    }
    sheet.add(format_args!("<path d=\"{d}\" fill=\"{hue}\"/>"));
}

fn band(chart: &Chart, series: &Series, hue: &str, sheet: &mut Sheet, plot: &Plot) {
    let end = |i: usize, value: f64| {
        let (x, y) = series.points[i];
        plot.at(if chart.along_y { (value, y) } else { (x, value) })
    };
    let there = 0..series.spread.len().min(series.points.len());
    let low = there.clone().filter_map(|i| end(i, series.spread[i].low));
    let high = there.rev().filter_map(|i| end(i, series.spread[i].high));
    let mut d = String::new();
    for (i, (x, y)) in low.chain(high).enumerate() {
        let _ = write!(d, "{}{} {}", if i == 0 { 'M' } else { 'L' }, round(x), round(y));
    }
    if !d.is_empty() {
        sheet.add(format_args!("<path d=\"{d}Z\" fill=\"{hue}\" opacity=\"0.18\"/>"));
    }
}

/// The points, those of classes where the middle is on the axis, also on a logarithmic one.
fn centres(chart: &Chart, series: &Series, plot: &Plot) -> Vec<(f64, f64)> {
    let scale = if chart.along_y { &plot.y } else { &plot.x };
    let moved = |(i, point): (usize, &(f64, f64))| match series.edges.get(i) {
        Some((from, to)) if chart.along_y => (point.0, scale.middle(*from, *to)),
        Some((from, to)) => (scale.middle(*from, *to), point.1),
        None => *point,
    };
    series.points.iter().enumerate().map(moved).collect()
}

fn whiskers(chart: &Chart, series: &Series, hue: &str, shift: f64, sheet: &mut Sheet, plot: &Plot) {
    let mut d = String::new();
    let points = centres(chart, series, plot);
    for ((x, y), spread) in points.iter().zip(&series.spread) {
        let ends = [spread.low, spread.high].map(|end| plot.at(if chart.along_y { (end, *y) } else { (*x, end) }));
        let [Some(a), Some(b)] = ends else { continue };
        if chart.along_y {
            let y = round(a.1 + shift);
            let _ = write!(d, "M{} {y}L{} {y}", round(a.0), round(b.0));
        } else {
            let x = round(a.0 + shift);
            let _ = write!(d, "M{x} {}L{x} {}", round(a.1), round(b.1));
            let _ = write!(d, "M{0} {1}h6M{0} {2}h6", round(x - 3.0), round(a.1), round(b.1));
        }
    }
    if !d.is_empty() {
        sheet.add(format_args!("<path d=\"{d}\" fill=\"none\" stroke=\"{hue}\" stroke-width=\"1.3\"/>"));
        for (x, y) in points.iter().filter_map(|point| plot.at(*point)) {
            let (x, y) = if chart.along_y { (x, y + shift) } else { (x + shift, y) };
            let (x, y) = (round(x), round(y));
            sheet.add(format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"2.4\" fill=\"{hue}\"/>"));
        }
    }
}

fn draw_bars(
    chart: &Chart,
    series: &Series,
    (place, count, gap): (usize, usize, f64),
    hue: &str,
    sheet: &mut Sheet,
    plot: &Plot,
) {
    let thick = 0.8 * gap / count as f64;
    let mut middles = vec![];
    for (x, y) in &series.points {
        let (free, value) = if chart.along_y { (*y, *x) } else { (*x, *y) };
        let from = free - 0.4 * gap + place as f64 * thick;
        middles.push(from + 0.5 * thick);
        let low = if chart.along_y { plot.x.low() } else { plot.y.low() };
        let floor = if low > 0.0 { low } else { 0.0 };
        let corners = [(from, floor), (from + thick, value)]
            .map(|(free, value)| if chart.along_y { (value, free) } else { (free, value) });
        let [Some(a), Some(b)] = corners.map(|corner| plot.at(corner)) else { continue };
        sheet.rect((a.0.min(b.0), a.1.min(b.1)), ((a.0 - b.0).abs().max(1.0), (a.1 - b.1).abs().max(1.0)), hue);
    }
    if !series.spread.is_empty() {
        let points = series.points.iter().zip(middles);
        let points = points.map(|((x, y), middle)| if chart.along_y { (*x, middle) } else { (middle, *y) }).collect();
        whiskers(chart, &Series { points, ..series.clone() }, color::INK, 0.0, sheet, plot);
    }
}

fn steps(chart: &Chart, series: &Series, hue: &str, dash: &str, sheet: &mut Sheet, plot: &Plot) {
    let mut points = vec![];
    let mut end = f64::NAN;
    for ((x, y), (from, to)) in series.points.iter().zip(&series.edges) {
        if end != *from {
            points.push((f64::NAN, f64::NAN));
        }
        points.extend(if chart.along_y { [(*x, *from), (*x, *to)] } else { [(*from, *y), (*to, *y)] });
        end = *to;
    }
    path(&points, hue, dash, sheet, plot);
}
