//! Scores of a blend and its members per group of columns, and along the levels of every longer group.

use climb::Gram;
use report::{Axis, Chart, Heat, Page, Series, Table};

use crate::hill_climb::problem::{Blend, Problem};

/// Columns of a group without levels that are drawn as bars with names, at most.
const SINGLE: usize = 24;
/// Members that are drawn beside the blend in the charts of single columns.
const DRAWN: usize = 6;

/// R2 per group of columns, and along the columns of every longer group (levels of a profile).
pub fn columns(problem: &Problem, blend: &Blend, gram: &Gram, page: &mut Page) {
    let members = problem.members.len();
    let by_column = blend.by_column(gram.columns());
    let of_blend = gram.scores(|c| by_column[c], &problem.rules).columns;
    let alone: Vec<Vec<f64>> = (0..members)
        .map(|k| {
            let only: Vec<f64> = (0..members).map(|m| f64::from(u8::from(m == k))).collect();
            gram.scores(|_| &only, &problem.rules).columns
        })
        .collect();
    let mean = |scores: &[f64], from: usize, to: usize| scores[from..to].iter().sum::<f64>() / (to - from) as f64;
    let groups = problem.table.groups();
    let mut table =
        Table::new("R2 per group of columns", ["group", "columns", "best member", "its R2", "blend", "gain"]);
    for group in &groups {
        let of = |scores: &[f64]| mean(scores, group.start, group.end);
        let best = (0..members).max_by(|&a, &b| of(&alone[a]).total_cmp(&of(&alone[b])));
        let (Some(best), all) = (best, of(&of_blend)) else { continue };
        let best_score = of(&alone[best]);
        table.row([
            group.name.clone(),
            (group.end - group.start).to_string(),
            problem.members[best].name.clone(),
            format!("{best_score:.6}"),
            format!("{all:.6}"),
            format!("{:+.6}", all - best_score),
        ]);
    }
    if groups.len() > 1 {
        let values = alone
            .iter()
            .chain([&of_blend])
            .flat_map(|scores| groups.iter().map(|group| mean(scores, group.start, group.end)).collect::<Vec<_>>());
        let names = problem.members.iter().map(|member| member.name.as_str()).chain(["blend"]);
        let (x, y) = (Axis::new("group").names(groups.iter().map(|g| &*g.name)), Axis::new("").names(names).reversed());
        page.chart(Chart::heat("R2 of each member and group", x, y, Heat::new("R2", values.collect())));
    }
    page.table(table);

    let mut best: Vec<usize> = (0..members).collect();
    best.sort_by(|&a, &b| blend.global.singles[b].total_cmp(&blend.global.singles[a]));
    let system = &problem.table.layout().system;
    for group in groups.iter().filter(|group| group.end - group.start > 1) {
        let levels = registry::levels(system, &group.name).filter(|l| l.values.len() == group.end - group.start);
        let free: Vec<usize> = (group.start..group.end).filter(|c| !problem.rules.fixed.contains(c)).collect();
        let place = |c: usize| match &levels {
            Some(levels) => levels.values[c - group.start],
            None => (c - group.start) as f64,
        };
        // Few columns that are no levels are single things with names.
        let single = levels.is_none() && group.end - group.start <= SINGLE;
        // A score far below zero would hide all others.
        let line = |name: &str, scores: &[f64]| {
            let points = free.iter().map(|&c| (scores[c].max(-1.0), place(c))).collect();
            if single {
                return Series::bars(name, points);
            }
            let notes = free.iter().map(|&c| problem.table.column_name(c)).collect();
            Series::line(name, points).notes(notes)
        };
        let chart = match &levels {
            Some(levels) => {
                let axis = Axis::new(levels.axis).reversed();
                let axis = if levels.log { axis.log() } else { axis };
                Chart::profile(format!("R2 of {}", levels.title), Axis::new("R2"), axis)
            }
            None if single => {
                let names = (group.start..group.end).map(|c| problem.table.column_name(c));
                Chart::profile(format!("R2 of {}", group.name), Axis::new("R2"), Axis::new("").names(names).reversed())
            }
            None => Chart::profile(
                format!("R2 of {} per level or column", group.name),
                Axis::new("R2"),
                Axis::new("level or column").reversed(),
            ),
        };
        let clipped = free.iter().any(|&c| alone.iter().chain([&of_blend]).any(|scores| scores[c] < -1.0));
        let chart = if clipped { chart.note("values below -1 are shown at -1") } else { chart };
        let drawn = best.iter().enumerate().map(|(place, &k)| {
            let series = line(&problem.members[k].name, &alone[k]);
            if place < DRAWN { series } else { series.hidden() }
        });
        page.chart(chart.with_all(drawn).with(line("blend", &of_blend)));
    }
}
