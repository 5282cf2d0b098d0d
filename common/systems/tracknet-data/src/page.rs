//! The page of a score: efficiency, fake and duplicate rate in classes, as charts and tables, and the same as csv.

use std::path::Path;

use common::Result;
use common::durable::{self, Written};
use report::{Axis, Chart, Figure, Page, Sense, Series, Spread, Table};

use crate::classes::{Classes, interval};
use crate::figures::{Counts, Figures};
use crate::judge::Judgement;

/// A share of a class: how many of how many.
type Share = fn(&Counts) -> (u64, u64);

/// What is plotted.
const SHARES: [(&str, &str, Share); 3] = [
    ("efficiency", "higher is better", |c| (c.found, c.reconstructible)),
    ("fake rate", "lower is better", |c| (c.tracks - c.matched, c.tracks)),
    ("duplicate rate", "lower is better", |c| (c.clones, c.tracks)),
];

/// Writes `figures.csv` and `report.html` of one or more submissions into a folder; the page is returned, too.
pub fn write(judgements: &[(&str, &Judgement)], folder: &Path) -> Result<(Written, Written, Page)> {
    let mut text = String::new();
    for (i, (name, judgement)) in judgements.iter().enumerate() {
        for (row, line) in judgement.csv().lines().enumerate().filter(|(row, _)| i == 0 || *row > 0) {
            let first = if row == 0 { "name".to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) };
            text += &format!("{first},{line}\n");
        }
    }
    let table = durable::write(folder.join("figures.csv"), text.as_bytes())?;
    let page = page(judgements);
    Ok((table, durable::write(folder.join("report.html"), page.html().as_bytes())?, page))
}

/// The page.
fn page(judgements: &[(&str, &Judgement)]) -> Page {
    let subtitle =
        "double majority on hits; intervals of 68.27 % after Wilson; particles pass all cuts but that on the variable";
    let mut page = Page::new("Tracks", subtitle);
    for (name, judgement) in judgements {
        headline(&mut page, if judgements.len() > 1 { name } else { "" }, judgement);
    }
    let all = |judgement: &Judgement| judgement.figures.first().map(|(_, f)| f.classes.clone()).unwrap_or_default();
    let listed: Vec<(&str, Vec<Classes>)> = judgements.iter().map(|(name, j)| (*name, all(j))).collect();
    let variables = listed.first().map_or(0, |(_, classes)| classes.len());
    for v in 0..variables {
        let variable = listed[0].1[v].variable;
        page.section(format!("By {}", variable.label()));
        for (title, sense, share) in SHARES {
            let series = listed.iter().map(|(name, classes)| steps(name, &classes[v], share));
            let axis = Axis::new(title).range(0.0, if title == "efficiency" { 1.0 } else { 0.0 });
            let chart = Chart::lines(format!("{title} by {}", variable.label()), Axis::new(variable.label()), axis);
            page.chart(chart.with_all(series).note(sense));
        }
        for (name, classes) in &listed {
            let header = ["from", "to", "reconstructible", "efficiency", "tracks", "fake rate", "duplicate rate"];
            let rows = classes[v].iter().map(|((from, to), c)| row(from, to, c)).collect();
            page.table(Table::new(format!("{name}: by {}", variable.label()), header).rows(rows).folded());
        }
    }
    page.section("Figures");
    for (name, judgement) in judgements {
        page.code(*name, judgement.table());
    }
    page
}

fn headline(page: &mut Page, name: &str, judgement: &Judgement) {
    let called = |what: &str| if name.is_empty() { what.to_string() } else { format!("{name}: {what}") };
    page.figure(Figure::new(called("TrackML score"), judgement.trackml).sense(Sense::Higher));
    let Some((_, Figures { all, high_pt, .. })) = judgement.figures.first() else { return };
    let shown = |what: &str, share: Share, sense: Sense| {
        let (part, whole) = share(all);
        let (low, high) = interval(part, whole);
        let note = format!("{part} of {whole}, [{}, {}]", report::number(low), report::number(high));
        Figure::new(called(what), part as f64 / whole as f64).sense(sense).note(note)
    };
    page.figure(shown("efficiency", SHARES[0].2, Sense::Higher));
    page.figure(shown("fake rate", SHARES[1].2, Sense::Lower));
    page.figure(shown("duplicate rate", SHARES[2].2, Sense::Lower));
    if high_pt.tracks > 0 {
        page.figure(Figure::new(called("purity above the high pT"), high_pt.purity()).sense(Sense::Higher));
    }
}

/// The classes as levels with their intervals; classes without entries are left out, the outer ones drawn as wide as a tenth
/// of the others together.
fn steps(name: &str, classes: &Classes, share: Share) -> Series {
    let finite: Vec<f64> =
        classes.iter().flat_map(|((from, to), _)| [f64::from(from), f64::from(to)]).filter(|v| v.is_finite()).collect();
    let (low, high) = finite.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let edge = 0.1 * (high - low).max(1e-9);
    let (mut levels, mut spread, mut notes) = (vec![], vec![], vec![]);
    for ((from, to), counts) in classes.iter() {
        let (part, whole) = share(counts);
        if whole == 0 {
            continue;
        }
        let (below, above) = interval(part, whole);
        let beyond = if to.is_infinite() {
            ", and beyond"
        } else if from.is_infinite() {
            ", and below"
        } else {
            ""
        };
        let (from, to) = (f64::from(from).max(low - edge), f64::from(to).min(high + edge));
        levels.push((from, to, part as f64 / whole as f64));
        spread.push(Spread { low: below, high: above });
        notes.push(format!("{part} of {whole}{beyond}"));
    }
    Series::steps(name, &levels).spread(spread).notes(notes)
}

fn row(from: f32, to: f32, c: &Counts) -> Vec<String> {
    let shown = |share: Share| {
        let (part, whole) = share(c);
        let (low, high) = interval(part, whole);
        if whole == 0 { "-".to_string() } else { format!("{:.3} [{low:.3}, {high:.3}]", part as f64 / whole as f64) }
    };
    let mut cells = vec![from.to_string(), to.to_string(), c.reconstructible.to_string(), shown(SHARES[0].2)];
    cells.extend([c.tracks.to_string(), shown(SHARES[1].2), shown(SHARES[2].2)]);
    cells
}
