//! Charts as static SVG, for papers and READMEs: what [`Chart`] holds, on light ground, without a script.

mod maps;
mod scale;
mod series;

use std::fmt::Write as _;

use crate::axis::Axis;
use crate::chart::{Body, Chart};
use crate::color::{self, Colors, Slot};
use crate::text::escape;
use scale::Scale;

/// Width of a picture in pixels.
const WIDTH: f64 = 760.0;
/// Size of the letters beside axes.
const LETTERS: f64 = 12.0;
const MUTED: &str = "#57606a";
const LINE: &str = "#d8dee4";

impl Chart {
    /// The chart as a picture. Series that readers of a page would have to switch on are left out.
    pub fn svg(&self) -> String {
        let mut colors = Colors::default();
        colors.together(self.things());
        let mut sheet = Sheet { parts: String::new() };
        let top = heading(self, &mut colors, &mut sheet);
        let height = match &self.body {
            Body::Sky(sky) => maps::sky(&mut sheet, &sky.heat, self, top),
            _ => on_axes(self, &mut colors, &mut sheet, top),
        };
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{0}\" viewBox=\"0 0 {WIDTH} {0}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"{LETTERS}\" role=\"img\">\n<title>{1}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{2}</svg>\n",
            round(height),
            escape(&self.title),
            sheet.parts
        )
    }
}

/// What is drawn so far.
struct Sheet {
    parts: String,
}

impl Sheet {
    fn add(&mut self, part: std::fmt::Arguments) {
        let _ = self.parts.write_fmt(part);
        self.parts.push('\n');
    }

    /// Text at a place, `anchor` being start, middle or end.
    fn text(&mut self, (x, y): (f64, f64), anchor: &str, color: &str, text: &str) {
        let (x, y, text) = (round(x), round(y), escape(text));
        self.add(format_args!(
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" dominant-baseline=\"central\" fill=\"{color}\">{text}</text>"
        ));
    }

    /// Text that is read upwards.
    fn upright(&mut self, (x, y): (f64, f64), anchor: &str, color: &str, text: &str) {
        let (x, y, text) = (round(x), round(y), escape(text));
        self.add(format_args!(
            "<text transform=\"translate({x} {y}) rotate(-90)\" text-anchor=\"{anchor}\" dominant-baseline=\"central\" \
             fill=\"{color}\">{text}</text>"
        ));
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), color: &str, more: &str) {
        let [a, b, c, d] = [from.0, from.1, to.0, to.1].map(round);
        self.add(format_args!("<path d=\"M{a} {b}L{c} {d}\" fill=\"none\" stroke=\"{color}\"{more}/>"));
    }

    fn rect(&mut self, (x, y): (f64, f64), (wide, tall): (f64, f64), color: &str) {
        let [x, y, wide, tall] = [x, y, wide, tall].map(round);
        self.add(format_args!("<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{tall}\" fill=\"{color}\" shape-rendering=\"crispEdges\"/>"));
    }
}

/// Where a plot lies, and how values come to their places.
struct Plot {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    x: Scale,
    y: Scale,
}

impl Plot {
    fn x(&self, value: f64) -> f64 {
        self.left + self.x.share(value) * self.width
    }

    fn y(&self, value: f64) -> f64 {
        self.top + (1.0 - self.y.share(value)) * self.height
    }

    /// A place; none for what is not finite or has no logarithm.
    fn at(&self, point: (f64, f64)) -> Option<(f64, f64)> {
        let (x, y) = (self.x(point.0), self.y(point.1));
        (x.is_finite() && y.is_finite()).then_some((x, y))
    }
}

/// About as wide as a text is.
fn wide(text: &str) -> f64 {
    text.chars().count() as f64 * 0.6 * LETTERS
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// A text cut to a width.
fn fitted(text: &str, room: f64) -> String {
    let most = (room / (0.6 * LETTERS)) as usize;
    if text.chars().count() <= most {
        return text.into();
    }
    let cut: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{cut}…")
}

/// Title and names of what is shown; returns where the plot may begin.
fn heading(chart: &Chart, colors: &mut Colors, sheet: &mut Sheet) -> f64 {
    let title = escape(&chart.title);
    sheet.add(format_args!(
        "<text x=\"12\" y=\"18\" font-size=\"15\" font-weight=\"600\" dominant-baseline=\"central\" fill=\"{}\">{title}</text>",
        color::INK
    ));
    let mut top = 34.0;
    if !chart.note.is_empty() {
        sheet.text((12.0, 37.0), "start", MUTED, &fitted(&chart.note, WIDTH - 24.0));
        top = 50.0;
    }
    let named: Vec<(String, Slot)> = match &chart.body {
        Body::Series(all) => all.iter().filter(|s| !s.hidden).map(|s| (s.name.clone(), colors.of(&s.color))).collect(),
        Body::Gantt(bars) => {
            let mut seen: Vec<(String, Slot)> = vec![];
            for bar in bars {
                if seen.iter().all(|(name, _)| *name != bar.state) {
                    seen.push((bar.state.clone(), colors.of(&bar.state)));
                }
            }
            seen
        }
        _ => vec![],
    };
    if named.len() < 2 {
        return top;
    }
    let mut x = 12.0;
    for (name, slot) in named {
        let room = 32.0 + wide(&name);
        if x + room > WIDTH && x > 12.0 {
            (x, top) = (12.0, top + 18.0);
        }
        let dash = format!(" stroke-width=\"3\" stroke-dasharray=\"{}\"", color::dash(slot));
        sheet.line((x, top + 6.0), (x + 20.0, top + 6.0), color::light(slot), &dash);
        sheet.text((x + 25.0, top + 6.0), "start", color::INK, &name);
        x += room + 8.0;
    }
    top + 20.0
}

/// Everything but the sky; returns the height of the picture.
fn on_axes(chart: &Chart, colors: &mut Colors, sheet: &mut Sheet, top: f64) -> f64 {
    let (x_range, y_range) = scale::ranges(chart);
    let x = Scale::new(x_range, &chart.x);
    let y = Scale::new(y_range, &chart.y);
    let y_ticks = y.ticks(&chart.y, 7);
    let widest = y_ticks.iter().map(|(_, text)| wide(text)).fold(16.0, f64::max).min(0.35 * WIDTH);
    let left = 14.0 + widest + 8.0 + if chart.y.label.is_empty() { 0.0 } else { 18.0 };
    // Labels of lines across stand beside the plot, where no curve is.
    let labels = chart.marks.iter().filter(|mark| mark.on_y).map(|mark| wide(&mark.label) + 10.0);
    let margin = labels.fold(16.0, f64::max).min(0.25 * WIDTH);
    let bar = match &chart.body {
        Body::Heat(_) => maps::BAR,
        // The bars that end last have their durations beside the plot.
        Body::Gantt(bars) => bars.iter().map(|bar| wide(&maps::duration(bar)) + 8.0).fold(margin, f64::max),
        _ => margin,
    };
    let width = WIDTH - left - bar;
    let longest = chart.x.names.iter().map(|name| wide(name)).fold(0.0, f64::max);
    let upright = longest + 8.0 > width / chart.x.names.len().max(1) as f64;
    let below = if chart.x.names.is_empty() || !upright { 20.0 } else { longest.min(120.0) + 10.0 };
    let height = match (&chart.body, chart.y.names.len()) {
        (Body::Gantt(_), rows) => (22.0 * rows as f64).max(60.0),
        (_, rows @ 1..) => (26.0 * rows as f64).max(120.0),
        _ if chart.along_y => 380.0,
        _ => 300.0,
    };
    let plot = Plot { left, top: top + 8.0, width, height, x, y };
    grid(chart, sheet, &plot, &y_ticks, upright);
    let beside = if matches!(chart.body, Body::Gantt(_)) { bar } else { 0.0 };
    sheet.add(format_args!(
        "<clipPath id=\"plot\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>\n<g clip-path=\"url(#plot)\">",
        round(plot.left), round(plot.top), round(plot.width + beside), round(plot.height)
    ));
    match &chart.body {
        Body::Series(all) => series::draw(chart, all, colors, sheet, &plot),
        Body::Heat(heat) => maps::heat(chart, heat, sheet, &plot),
        Body::Gantt(bars) => maps::gantt(bars, chart, colors, sheet, &plot),
        Body::Sky(_) => {}
    }
    sheet.add(format_args!("</g>"));
    if let Body::Heat(heat) = &chart.body {
        maps::bar(heat, sheet, (plot.left + plot.width + 12.0, plot.top, plot.height));
    }
    marks(chart, sheet, &plot);
    let mut bottom = plot.top + plot.height + below;
    if !chart.x.label.is_empty() {
        sheet.text((plot.left + plot.width / 2.0, bottom + 8.0), "middle", MUTED, &chart.x.label);
        bottom += 18.0;
    }
    bottom + 8.0
}

fn grid(chart: &Chart, sheet: &mut Sheet, plot: &Plot, y_ticks: &[(f64, String)], upright: bool) {
    let (right, bottom) = (plot.left + plot.width, plot.top + plot.height);
    let named = |axis: &Axis| !axis.names.is_empty();
    for (value, text) in y_ticks {
        let y = plot.y(*value);
        if !named(&chart.y) {
            sheet.line((plot.left, y), (right, y), LINE, "");
        }
        sheet.text((plot.left - 7.0, y), "end", MUTED, &fitted(text, 0.35 * WIDTH));
    }
    let room = if upright { 120.0 } else { f64::INFINITY };
    for (value, text) in plot.x.ticks(&chart.x, 8) {
        let x = plot.x(value);
        if !named(&chart.x) {
            sheet.line((x, plot.top), (x, bottom), LINE, "");
        }
        if named(&chart.x) && upright {
            sheet.upright((x, bottom + 6.0), "end", MUTED, &fitted(&text, room));
        } else {
            sheet.text((x, bottom + 13.0), "middle", MUTED, &text);
        }
    }
    if !chart.y.label.is_empty() {
        sheet.upright((12.0, plot.top + plot.height / 2.0), "middle", MUTED, &chart.y.label);
    }
}

fn marks(chart: &Chart, sheet: &mut Sheet, plot: &Plot) {
    let style = " stroke-dasharray=\"4 3\"";
    for (line, mark) in chart.marks.iter().enumerate() {
        let place = if mark.on_y { plot.y.share(mark.at) } else { plot.x.share(mark.at) };
        if !(0.0..=1.0).contains(&place) {
            continue;
        }
        if mark.on_y {
            let y = plot.y(mark.at);
            sheet.line((plot.left, y), (plot.left + plot.width, y), MUTED, style);
            sheet.text((plot.left + plot.width + 4.0, y), "start", color::INK, &fitted(&mark.label, 0.25 * WIDTH));
        } else {
            let x = plot.x(mark.at);
            sheet.line((x, plot.top), (x, plot.top + plot.height), MUTED, style);
            let (shift, anchor) = if place > 0.6 { (-5.0, "end") } else { (5.0, "start") };
            sheet.text((x + shift, plot.top + 10.0 + 15.0 * line as f64), anchor, color::INK, &mark.label);
        }
    }
}

#[cfg(test)]
mod tests;
