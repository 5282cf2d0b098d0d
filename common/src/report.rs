//! One offline HTML page about a run: figures, tables and line plots (SVG), without a script and without a single
//! outside reference, so that it opens anywhere and for ever.

use std::path::Path;

use minijinja::Environment;
use minijinja::value::Serde;
use plotters::prelude::*;
use serde::Serialize;

use crate::durable::{self, Written};
use crate::error::{Error, Result};

const TEMPLATE: &str = include_str!("report.html");
/// Size of a plot in pixels.
const SIZE: (u32, u32) = (640, 300);
/// Colours that stay apart for colour-blind readers (Okabe and Ito).
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// A page under construction.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    title: String,
    subtitle: String,
    sections: Vec<Section>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Section {
    Table { heading: String, header: Vec<String>, rows: Vec<Vec<String>> },
    Plot { heading: String, svg: String },
    Text { heading: String, text: String },
}

/// One line of a plot.
#[derive(Debug, Clone)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Points in the order of `x`.
    pub points: Vec<(f64, f64)>,
}

impl Report {
    /// A page with a title and one line below it.
    pub fn new(title: impl Into<String>, subtitle: impl Into<String>) -> Self {
        Self { title: title.into(), subtitle: subtitle.into(), sections: Vec::new() }
    }

    /// Adds a table.
    pub fn table(&mut self, heading: &str, header: &[&str], rows: Vec<Vec<String>>) {
        let header = header.iter().map(ToString::to_string).collect();
        self.sections.push(Section::Table { heading: heading.into(), header, rows });
    }

    /// Adds text as it is, in a fixed-width font.
    pub fn text(&mut self, heading: &str, text: impl Into<String>) {
        self.sections.push(Section::Text { heading: heading.into(), text: text.into() });
    }

    /// Adds a line plot. Non-finite points are left out; without any point the plot is left out too.
    pub fn plot(&mut self, heading: &str, x_label: &str, y_label: &str, series: &[Series]) -> Result<()> {
        let finite = |s: &Series| -> Series {
            let points = s.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
            Series { name: s.name.clone(), points }
        };
        let series: Vec<Series> = series.iter().map(finite).filter(|s| !s.points.is_empty()).collect();
        if series.is_empty() {
            return Ok(());
        }
        let svg = draw(x_label, y_label, &series).map_err(|e| Error::failed(format!("plot `{heading}`: {e}")))?;
        self.sections.push(Section::Plot { heading: heading.into(), svg });
        Ok(())
    }

    /// Writes the page.
    pub fn write(&self, path: &Path) -> Result<Written> {
        durable::write(path, self.html()?.as_bytes())
    }

    /// The page as text.
    pub fn html(&self) -> Result<String> {
        let mut environment = Environment::new();
        let bad = |e: minijinja::Error| Error::failed(format!("report template: {e}"));
        environment.add_template("report.html", TEMPLATE).map_err(bad)?;
        let page = Serde(serde_json::json!({
            "title": self.title,
            "subtitle": self.subtitle,
            "sections": self.sections,
            "version": crate::VERSION,
        }));
        environment.get_template("report.html").and_then(|t| t.render(page)).map_err(bad)
    }
}

fn draw(x_label: &str, y_label: &str, series: &[Series]) -> Result<String, Box<dyn std::error::Error>> {
    let points = || series.iter().flat_map(|s| s.points.iter().copied());
    let range = |pick: fn((f64, f64)) -> f64| {
        let (low, high) = points().map(pick).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let pad = if high > low { (high - low) * 0.04 } else { high.abs().max(1.0) * 0.1 };
        low - pad..high + pad
    };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(range(|p| p.0), range(|p| p.1))?;
        chart.configure_mesh().x_desc(x_label).y_desc(y_label).light_line_style(BLACK.mix(0.06)).draw()?;
        for (line, color) in series.iter().zip(COLORS.iter().cycle()) {
            let style = color.stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))?
                .label(line.name.clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_stands_alone_and_escapes_what_it_shows() {
        let mut report = Report::new("exp195", "<seed> 47");
        report.table("Scores", &["name", "r2"], vec![vec!["a&b".into(), "0.5".into()]]);
        let curve = Series { name: "loss".into(), points: vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.5)] };
        report.plot("Loss", "step", "loss", &[curve]).unwrap();
        report.plot("Empty", "step", "loss", &[]).unwrap();
        let html = report.html().unwrap();
        assert!(html.contains("a&amp;b") && html.contains("&lt;seed&gt;") && html.contains("<svg"));
        assert!(!html.contains("Empty"));
        for outside in ["src=", "href=", "@import", "<script"] {
            assert!(!html.contains(outside), "{outside}");
        }
    }
}
