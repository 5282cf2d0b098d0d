//! The data of charts as csv, the columns being those of a page's own downloads.

use crate::axis::Axis;
use crate::chart::{Body, Chart};
use crate::heat::Heat;
use crate::page::Page;
use crate::series::Series;

impl Chart {
    /// All numbers of the chart, with a header.
    pub fn csv(&self) -> String {
        let rows = match &self.body {
            Body::Series(all) => series(self, all),
            Body::Heat(heat) => cells(self, heat),
            Body::Sky(sky) => sphere(self, &sky.heat),
            Body::Gantt(bars) => {
                let head = ["row", "state", "from_s", "to_s", "note"].map(str::to_string).to_vec();
                let bar =
                    |b: &crate::Bar| vec![b.row.clone(), b.state.clone(), digits(b.from), digits(b.to), b.note.clone()];
                std::iter::once(head).chain(bars.iter().map(bar)).collect()
            }
        };
        let line = |row: &Vec<String>| row.iter().map(|cell| field(cell)).collect::<Vec<_>>().join(",");
        rows.iter().map(|row| line(row) + "\n").collect()
    }
}

impl Page {
    /// Every chart as a picture and as csv: the path below the page's folder, and the text.
    pub fn beside(&self) -> Vec<(String, String)> {
        let mut names: Vec<String> = vec![];
        let mut files = vec![];
        for chart in self.charts() {
            let same = names.iter().filter(|name| **name == chart.slug()).count();
            let name = if same == 0 { chart.slug() } else { format!("{}-{}", chart.slug(), same + 1) };
            names.push(chart.slug());
            files.push((format!("plots/{name}.svg"), chart.svg()));
            files.push((format!("plots/{name}.csv"), chart.csv()));
        }
        files
    }
}

fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

/// A number with all its digits; nothing where there is none.
fn digits(value: f64) -> String {
    if value.is_finite() { format!("{value:?}").trim_end_matches(".0").to_string() } else { String::new() }
}

fn named(label: &str, otherwise: &str) -> String {
    if label.is_empty() { otherwise.into() } else { label.into() }
}

fn cell(axis: &Axis, value: f64) -> String {
    let place = (value.fract() == 0.0 && value >= 0.0).then_some(value as usize);
    place.and_then(|place| axis.names.get(place)).cloned().unwrap_or_else(|| digits(value))
}

fn series(chart: &Chart, all: &[Series]) -> Vec<Vec<String>> {
    let has = |f: fn(&Series) -> bool| all.iter().any(f);
    let (spread, edges, notes) =
        (has(|s| !s.spread.is_empty()), has(|s| !s.edges.is_empty()), has(|s| !s.notes.is_empty()));
    let mut head = vec!["series".to_string(), named(&chart.x.label, "x"), named(&chart.y.label, "y")];
    let more = [(spread, "low"), (spread, "high"), (edges, "from"), (edges, "to"), (notes, "note")];
    head.extend(more.iter().filter(|(there, _)| *there).map(|(_, name)| name.to_string()));
    let mut rows = vec![head];
    for s in all {
        for (i, (x, y)) in s.points.iter().enumerate() {
            let mut row = vec![s.name.clone(), cell(&chart.x, *x), cell(&chart.y, *y)];
            if spread {
                row.extend(
                    [s.spread.get(i).map_or(f64::NAN, |s| s.low), s.spread.get(i).map_or(f64::NAN, |s| s.high)]
                        .map(digits),
                );
            }
            if edges {
                row.extend(
                    [s.edges.get(i).map_or(f64::NAN, |e| e.0), s.edges.get(i).map_or(f64::NAN, |e| e.1)].map(digits),
                );
            }
            if notes {
                row.push(s.notes.get(i).cloned().unwrap_or_default());
            }
            rows.push(row);
        }
    }
    rows
}

/// Name or edges of a row or column.
fn along(axis: &Axis, edges: &[f64], place: usize) -> String {
    match axis.names.get(place) {
        Some(name) => name.clone(),
        None => format!("{} to {}", digits(edges[place]), digits(edges[place + 1])),
    }
}

fn cells(chart: &Chart, heat: &Heat) -> Vec<Vec<String>> {
    let columns = if heat.x_edges.is_empty() { chart.x.names.len() } else { heat.x_edges.len() - 1 };
    let head = vec![named(&chart.x.label, "x"), named(&chart.y.label, "y"), heat.label.clone()];
    let row = |(i, value): (usize, &f64)| {
        let (x, y) = (along(&chart.x, &heat.x_edges, i % columns), along(&chart.y, &heat.y_edges, i / columns));
        vec![x, y, digits(*value)]
    };
    std::iter::once(head).chain(heat.values.iter().enumerate().map(row)).collect()
}

fn sphere(chart: &Chart, heat: &Heat) -> Vec<Vec<String>> {
    let columns = heat.x_edges.len() - 1;
    let ends = |axis: &Axis| ["from", "to"].map(|end| format!("{} {end}", axis.label));
    let head = ends(&chart.x).into_iter().chain(ends(&chart.y)).chain([heat.label.clone()]).collect();
    let row = |(i, value): (usize, &f64)| {
        let (c, r) = (i % columns, i / columns);
        [heat.x_edges[c], heat.x_edges[c + 1], heat.y_edges[r], heat.y_edges[r + 1], *value].map(digits).to_vec()
    };
    std::iter::once(head).chain(heat.values.iter().enumerate().map(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spread;

    #[test]
    fn every_number_is_there_with_all_digits() {
        let series = Series::line("a,\"b\"", vec![(0.0, 1.0 / 3.0), (1.0, f64::NAN)]);
        let series = series.spread(vec![Spread { low: 0.0, high: 1e-7 }; 2]);
        let chart = Chart::lines("Loss", Axis::new("step"), Axis::new("loss")).with(series);
        let expected =
            "series,step,loss,low,high\n\"a,\"\"b\"\"\",0,0.3333333333333333,0,1e-7\n\"a,\"\"b\"\"\",1,,0,1e-7\n";
        assert_eq!(chart.csv(), expected);
        let mut page = Page::new("", "");
        page.chart(chart.clone());
        page.chart(chart);
        let names: Vec<String> = page.beside().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["plots/loss.svg", "plots/loss.csv", "plots/loss-2.svg", "plots/loss-2.csv"]);
    }

    #[test]
    fn cells_are_named_by_their_axes() {
        let axis = Axis::new("x").names(["p", "q"]);
        let heat = Heat::new("v", vec![1.0, f64::NAN, 2.5, 4.0]).edges(vec![], vec![]);
        let chart = Chart::heat("Heat", axis.clone(), Axis::new("y").names(["r", "s"]), heat);
        assert_eq!(chart.csv(), "x,y,v\np,r,1\nq,r,\np,s,2.5\nq,s,4\n");
    }
}
