//! Ranges and ticks of axes.

use crate::axis::Axis;
use crate::chart::{Body, Chart};
use crate::series::{Series, Style};
use crate::text::number;

/// Values on an axis, as shares of its length.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    low: f64,
    high: f64,
    log: bool,
    reversed: bool,
}

impl Scale {
    /// Of a range.
    pub fn new((low, high): (f64, f64), axis: &Axis) -> Self {
        Self { low, high, log: axis.log, reversed: axis.reversed }
    }

    /// Least value shown.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// Greatest value shown.
    pub fn high(&self) -> f64 {
        self.high
    }

    /// The value half way between two on the axis.
    pub fn middle(&self, a: f64, b: f64) -> f64 {
        if self.log && a > 0.0 && b > 0.0 { (a * b).sqrt() } else { f64::midpoint(a, b) }
    }

    /// 0 at the left or lower end, 1 at the other; NaN for a value without logarithm on a logarithmic axis.
    pub fn share(&self, value: f64) -> f64 {
        let place = |v: f64| {
            if self.log && v <= 0.0 {
                f64::NAN
            } else if self.log {
                v.log10()
            } else {
                v
            }
        };
        let share = (place(value) - place(self.low)) / (place(self.high) - place(self.low));
        if self.reversed { 1.0 - share } else { share }
    }

    /// Places of ticks with their texts, about `most`.
    pub fn ticks(&self, axis: &Axis, most: usize) -> Vec<(f64, String)> {
        if !axis.names.is_empty() {
            return axis.names.iter().enumerate().map(|(i, name)| (i as f64, name.clone())).collect();
        }
        let text = |value: f64| if axis.seconds { time(value) } else { number(value) };
        let values = if self.log { self.decades(most) } else { self.steps(most, axis.seconds) };
        values.into_iter().map(|value| (value, text(value))).collect()
    }

    fn steps(&self, most: usize, seconds: bool) -> Vec<f64> {
        const TIMES: [f64; 13] =
            [15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0];
        let raw = (self.high - self.low) / most as f64;
        let size = 10f64.powf(raw.log10().floor());
        let round = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * size).find(|step| *step >= raw * 0.999);
        let timed = TIMES.iter().copied().find(|step| *step >= raw).filter(|_| seconds && raw > 10.0);
        let step = timed.or(round).unwrap_or(raw);
        let first = (self.low / step - 1e-9).ceil();
        let count = ((self.high / step + 1e-9).floor() - first) as i64;
        (0..=count.clamp(0, 100))
            .map(|i| (first + i as f64) * step)
            .map(|v| if v.abs() < step * 1e-6 { 0.0 } else { v })
            .collect()
    }

    fn decades(&self, most: usize) -> Vec<f64> {
        let count = self.high.log10() - self.low.log10();
        if count < 0.4 {
            return self.steps(most / 2 + 1, false);
        }
        let every = (count / most as f64).ceil().max(1.0) as i32;
        let within: &[f64] = if count * 3.0 <= most as f64 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let (from, to) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let all = (from..=to).filter(|e| e % every == 0).flat_map(|e| within.iter().map(move |m| m * 10f64.powi(e)));
        all.filter(|v| *v >= self.low * (1.0 - 1e-9) && *v <= self.high * (1.0 + 1e-9)).collect()
    }
}

/// Seconds for people.
pub fn time(seconds: f64) -> String {
    let whole = seconds.abs().round() as u64;
    match whole {
        0..60 => format!("{} s", number(seconds)),
        60..3600 => format!("{}:{:02}", whole / 60, whole % 60),
        _ => format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60),
    }
}

/// Distance of neighbouring bars.
pub fn gap(all: &[&Series]) -> f64 {
    let mut places: Vec<f64> = vec![];
    for series in all.iter().filter(|s| s.style == Style::Bars) {
        places.extend(series.points.iter().map(|p| p.0).filter(|v| v.is_finite()));
    }
    places.sort_by(f64::total_cmp);
    places.dedup();
    let least = places.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    if least.is_finite() { least } else { 1.0 }
}

/// The ranges of both axes of a chart that has some.
pub fn ranges(chart: &Chart) -> ((f64, f64), (f64, f64)) {
    let (mut xs, mut ys) = (vec![], vec![]);
    let (mut tight_x, mut tight_y) = (false, false);
    match &chart.body {
        Body::Series(all) => {
            for series in all.iter().filter(|s| !s.hidden) {
                let (free, value) = if chart.along_y { (&mut ys, &mut xs) } else { (&mut xs, &mut ys) };
                let of = |p: &(f64, f64)| if chart.along_y { (p.1, p.0) } else { *p };
                free.extend(series.points.iter().map(|p| of(p).0));
                value.extend(series.points.iter().map(|p| of(p).1));
                value.extend(series.spread.iter().flat_map(|s| [s.low, s.high]));
                free.extend(series.edges.iter().flat_map(|e| [e.0, e.1]));
                if series.style == Style::Bars {
                    value.push(0.0);
                    let half = 0.5 * gap(&[series]);
                    free.extend(series.points.iter().flat_map(|p| [of(p).0 - half, of(p).0 + half]));
                }
            }
            let all_wide = all.iter().all(|s| matches!(s.style, Style::Steps | Style::Bars));
            *(if chart.along_y { &mut tight_y } else { &mut tight_x }) = all_wide;
        }
        Body::Heat(heat) => {
            (xs, ys) = (heat.x_edges.clone(), heat.y_edges.clone());
            (tight_x, tight_y) = (true, true);
        }
        Body::Gantt(bars) => {
            xs = bars.iter().flat_map(|bar| [bar.from, bar.to]).chain([0.0]).collect();
            tight_x = true;
        }
        Body::Sky(_) => {}
    }
    (range(&xs, &chart.x, tight_x), range(&ys, &chart.y, tight_y))
}

fn range(values: &[f64], axis: &Axis, tight: bool) -> (f64, f64) {
    if !axis.names.is_empty() {
        return (-0.5, axis.names.len() as f64 - 0.5);
    }
    let usable = |v: &f64| v.is_finite() && (!axis.log || *v > 0.0);
    let demanded = axis.range.iter().flat_map(|(low, high)| [*low, *high]);
    let all = values.iter().copied().chain(demanded).filter(|v| usable(v));
    let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return if axis.log { (0.1, 10.0) } else { (0.0, 1.0) };
    }
    let share = if tight { 0.0 } else { 0.04 };
    if axis.log {
        let (a, b) = (low.log10(), high.log10());
        let pad = if b > a { (b - a) * share } else { 0.5 };
        return (10f64.powf(a - pad), 10f64.powf(b + pad));
    }
    let pad = if high > low { (high - low) * share } else { (high.abs() * 0.1).max(f64::MIN_POSITIVE) };
    let pad = if pad < f64::MIN_POSITIVE * 2.0 && high <= low { 1.0 } else { pad };
    (low - pad, high + pad)
}
