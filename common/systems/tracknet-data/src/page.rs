//! The page of a score: efficiency, fake and duplicate rate in classes, as plots and tables, and the same as csv.

use std::path::Path;

use common::Result;
use common::durable::{self, Written};
use common::report::{Report, Series};

use crate::classes::{Classes, interval};
use crate::figures::Counts;
use crate::judge::Judgement;

/// A share of a class: how many of how many.
type Share = fn(&Counts) -> (u64, u64);

/// What is plotted.
const SHARES: [(&str, Share); 3] = [
    ("efficiency", |c| (c.found, c.reconstructible)),
    ("fake rate", |c| (c.tracks - c.matched, c.tracks)),
    ("duplicate rate", |c| (c.clones, c.tracks)),
];

/// Writes `figures.csv` and `report.html` of one or more submissions into a folder.
pub fn write(judgements: &[(&str, &Judgement)], folder: &Path) -> Result<(Written, Written)> {
    let mut text = String::new();
    for (i, (name, judgement)) in judgements.iter().enumerate() {
        for (row, line) in judgement.csv().lines().enumerate().filter(|(row, _)| i == 0 || *row > 0) {
            let first = if row == 0 { "name".to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) };
            text += &format!("{first},{line}\n");
        }
    }
    let table = durable::write(folder.join("figures.csv"), text.as_bytes())?;
    let subtitle =
        "double majority on hits; intervals of 68.27 % after Wilson; particles pass all cuts but that on the variable";
    let mut page = Report::new("Tracks", subtitle);
    for (name, judgement) in judgements {
        page.text(name, judgement.table());
    }
    let all = |judgement: &Judgement| judgement.figures.first().map(|(_, f)| f.classes.clone()).unwrap_or_default();
    let listed: Vec<(&str, Vec<Classes>)> = judgements.iter().map(|(name, j)| (*name, all(j))).collect();
    let variables = listed.first().map_or(0, |(_, classes)| classes.len());
    for v in 0..variables {
        let variable = listed[0].1[v].variable;
        for (title, share) in SHARES {
            let series: Vec<Series> = listed
                .iter()
                .map(|(name, classes)| Series { name: (*name).into(), points: steps(&classes[v], share) })
                .collect();
            page.plot(&format!("{title} by {}", variable.label()), variable.label(), title, &series)?;
        }
        for (name, classes) in &listed {
            let rows = classes[v].iter().map(|((from, to), c)| row(from, to, c)).collect();
            let header = ["from", "to", "reconstructible", "efficiency", "tracks", "fake rate", "duplicate rate"];
            page.table(&format!("{name}: by {}", variable.label()), &header, rows);
        }
    }
    Ok((table, page.write(&folder.join("report.html"))?))
}

/// A line through the classes with its interval drawn as a stroke at each middle; classes without entries are left out.
fn steps(classes: &Classes, share: Share) -> Vec<(f64, f64)> {
    let finite: Vec<f64> =
        classes.iter().flat_map(|((from, to), _)| [f64::from(from), f64::from(to)]).filter(|v| v.is_finite()).collect();
    let (low, high) = finite.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let edge = 0.1 * (high - low).max(1e-9);
    let mut points = Vec::new();
    for ((from, to), counts) in classes.iter() {
        let (part, whole) = share(counts);
        if whole == 0 {
            continue;
        }
        let (from, to) = (f64::from(from).max(low - edge), f64::from(to).min(high + edge));
        let (value, middle, (below, above)) = (part as f64 / whole as f64, 0.5 * (from + to), interval(part, whole));
        points.extend([(from, value), (middle, value), (middle, below), (middle, above), (middle, value), (to, value)]);
    }
    points
}

fn row(from: f32, to: f32, c: &Counts) -> Vec<String> {
    let shown = |share: Share| {
        let (part, whole) = share(c);
        let (low, high) = interval(part, whole);
        if whole == 0 { "-".to_string() } else { format!("{:.3} [{low:.3}, {high:.3}]", part as f64 / whole as f64) }
    };
    let mut cells = vec![from.to_string(), to.to_string(), c.reconstructible.to_string(), shown(SHARES[0].1)];
    cells.extend([c.tracks.to_string(), shown(SHARES[1].1), shown(SHARES[2].1)]);
    cells
}
