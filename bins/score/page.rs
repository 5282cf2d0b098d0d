//! The page of a score of plain values: groups, profiles over levels, and predictions over truth.

use common::oof::Group;
use common::system::Levels;
use report::{Axis, Chart, Figure, Heat, Page, Sense, Series, Table};

use crate::score::density::Density;
use crate::score::report::Report;
use crate::score::zonal::{BANDS, Figures, edges as latitudes};

/// Columns of a group without levels that are drawn as bars with names, at most.
const SINGLE: usize = 24;
/// Files whose levels are drawn as colours.
const MAPS: usize = 3;

/// The page of one or several files; `system` is empty where the truth does not say.
pub fn page(reports: &[Report], system: &str) -> Page {
    let rows = reports.first().map_or(0, |report| report.rows);
    let targets = reports.first().map_or(0, |report| report.targets.len());
    let mut page = Page::new("Scores", format!("R2 of {targets} targets on {rows} rows"));
    for report in reports {
        let zero = report.zero_list.len();
        let note = if zero > 0 { format!("{zero} targets scored as zero") } else { String::new() };
        page.figure(Figure::new(format!("R2 of {}", report.name), report.mean).sense(Sense::Higher).note(note));
        for (part, score) in &report.parts {
            page.figure(Figure::new(format!("{}, {}", report.name, part.to_lowercase()), *score).sense(Sense::Higher));
        }
    }
    let Some(first) = reports.first() else { return page };
    let known: Vec<(&Group, Option<Levels>)> = first.spans.iter().map(|group| (group, levels(system, group))).collect();
    if known.len() > 1 {
        page.section("Groups");
        groups(&mut page, reports, &known);
    }
    let long: Vec<_> = known.iter().filter(|(group, _)| group.end - group.start > 1).collect();
    if long.iter().any(|(_, levels)| levels.is_some()) {
        page.section("Levels");
        for report in reports.iter().take(MAPS) {
            maps(&mut page, report, &known);
        }
    }
    if !long.is_empty() {
        page.section("Profiles");
        for (group, levels) in long {
            profiles(&mut page, reports, group, levels.as_ref());
        }
    }
    if reports.iter().any(|report| report.zonal.is_some()) {
        page.section("Latitudes");
        page.text("Rows of each band of 10 degrees, weighted by their area; R2 from the mean of the band.");
        for (i, report) in reports.iter().take(MAPS).enumerate() {
            zonal(&mut page, report, &known, i == 0);
        }
    }
    if !first.densities.is_empty() {
        page.section("Predictions over truth");
        page.text(format!(
            "File `{}`; both axes in standard deviations of the truth, each column from its mean.",
            first.name
        ));
        for density in &first.densities {
            let title = known
                .iter()
                .find(|(group, _)| group.name == density.group)
                .map_or(&*density.group, |(group, l)| title(group, l.as_ref()));
            page.chart(scatter(title, density));
        }
    }
    page.section("Targets");
    page.table(targets_table(reports));
    page
}

/// The levels of a group, where its system says what they are and there are as many columns.
fn levels(system: &str, group: &Group) -> Option<Levels> {
    registry::levels(system, &group.name).filter(|levels| levels.values.len() == group.end - group.start)
}

fn title<'a>(group: &'a Group, levels: Option<&Levels>) -> &'a str {
    levels.map_or(&group.name, |levels| levels.title)
}

fn groups(page: &mut Page, reports: &[Report], known: &[(&Group, Option<Levels>)]) {
    let names = known.iter().map(|(group, levels)| title(group, levels.as_ref()));
    let series = reports.iter().map(|report| {
        let points = report.groups.iter().enumerate().map(|(i, (_, r2))| (*r2, i as f64)).collect();
        Series::bars(&report.name, points)
    });
    page.chart(Chart::profile("R2 by group", Axis::new("R2"), Axis::new("").names(names).reversed()).with_all(series));
    let header = ["group", "what", "unit", "columns"].map(str::to_string).into_iter();
    let mut table = Table::new("R2 by group", header.chain(reports.iter().map(|report| report.name.clone())));
    for (i, (group, levels)) in known.iter().enumerate() {
        let (what, unit) = levels.as_ref().map_or(("", ""), |levels| (levels.title, levels.unit));
        let mut row = vec![group.name.clone(), what.into(), unit.into(), (group.end - group.start).to_string()];
        row.extend(reports.iter().map(|report| format!("{:.6}", report.groups[i].1)));
        table.row(row);
    }
    page.table(table);
}

/// R2 of each group with levels, over the levels.
fn maps(page: &mut Page, report: &Report, known: &[(&Group, Option<Levels>)]) {
    let with: Vec<(&Group, &Levels)> =
        known.iter().filter_map(|(group, levels)| Some((*group, levels.as_ref()?))).collect();
    let Some((_, first)) = with.first() else { return };
    let same: Vec<_> = with.iter().filter(|(_, levels)| levels.values == first.values).collect();
    let rows = (0..first.values.len()).flat_map(|level| same.iter().map(move |(group, _)| (group, level)));
    let values = rows.clone().map(|(group, level)| report.targets[group.start + level].1).collect();
    let notes = rows.map(|(group, level)| report.targets[group.start + level].0.clone()).collect();
    let heat = Heat::new("R2", values).edges((0..=same.len()).map(|i| i as f64 - 0.5).collect(), edges(&first.values));
    let names = same.iter().map(|(_, levels)| levels.title);
    let axis = Axis::new(first.axis).reversed();
    let axis = if first.log { axis.log() } else { axis };
    let chart = Chart::heat(
        format!("R2 over {}: {}", first.axis, report.name),
        Axis::new("").names(names),
        axis,
        heat.notes(notes).limits(0.0, 1.0),
    );
    page.chart(chart.note("values below 0 have the colour of 0"));
}

/// R2 and mean error of each group with levels, over latitude and levels; of the first file also the true mean.
fn zonal(page: &mut Page, report: &Report, known: &[(&Group, Option<Levels>)], first: bool) {
    let Some(zonal) = &report.zonal else { return };
    for (group, levels) in known.iter().filter_map(|(group, levels)| Some((*group, levels.as_ref()?))) {
        let axis = || {
            let axis = Axis::new(levels.axis).reversed();
            if levels.log { axis.log() } else { axis }
        };
        let cells = |value: &dyn Fn(&Figures) -> f64| -> Vec<f64> {
            let levels = group.start..group.end;
            levels.flat_map(|c| (0..BANDS).map(move |b| (b, c))).map(|(b, c)| value(zonal.at(b, c))).collect()
        };
        let (what, unit, name) = (levels.title, levels.unit, &report.name);
        let heat = |label: &str, values| Heat::new(label, values).edges(latitudes(), edges(&levels.values));
        let chart = |title: String, heat| Chart::heat(title, Axis::new("latitude (degrees)"), axis(), heat);
        let r2 = heat("R2", cells(&|figures| figures.r2)).limits(0.0, 1.0);
        let note = "values below 0 have the colour of 0";
        page.chart(chart(format!("R2 of {what} by latitude: {name}"), r2).note(note));
        let bias = heat("mean error", cells(&|figures| figures.bias)).centre(0.0);
        page.chart(chart(format!("Mean error of {what} by latitude ({unit}): {name}"), bias));
        if first {
            let truth = heat("mean", cells(&|figures| figures.truth)).centre(0.0);
            page.chart(chart(format!("Zonal mean of {what} ({unit}): truth"), truth));
        }
    }
}

/// Edges of cells half way between the values.
fn edges(values: &[f64]) -> Vec<f64> {
    let middle = |i: usize| 0.5 * (values[i] + values[i + 1]);
    let last = values.len() - 1;
    let mut edges = vec![if last > 0 { (values[0] - 0.5 * (values[1] - values[0])).max(0.0) } else { values[0] - 0.5 }];
    edges.extend((0..last).map(middle));
    edges.push(if last > 0 { values[last] + 0.5 * (values[last] - values[last - 1]) } else { values[0] + 0.5 });
    edges
}

fn profiles(page: &mut Page, reports: &[Report], group: &Group, levels: Option<&Levels>) {
    // Few columns that are no levels are single things with names.
    let single = levels.is_none() && group.end - group.start <= SINGLE;
    let names = || reports[0].targets[group.start..group.end].iter().map(|(name, _)| name.clone());
    let axis = || match levels {
        Some(levels) if levels.log => Axis::new(levels.axis).reversed().log(),
        Some(levels) => Axis::new(levels.axis).reversed(),
        None if single => Axis::new("").names(names()).reversed(),
        None => Axis::new("column of the group").reversed(),
    };
    let place = |c: usize| levels.map_or(c as f64, |levels| levels.values[c]);
    let (what, unit) = (title(group, levels), levels.map_or("", |levels| levels.unit));
    let line = |report: &Report, value: &dyn Fn(usize) -> f64| {
        let points = (group.start..group.end).map(|c| (value(c), place(c - group.start))).collect();
        let notes: Vec<String> = report.targets[group.start..group.end].iter().map(|(name, _)| name.clone()).collect();
        if single { Series::bars(&report.name, points) } else { Series::line(&report.name, points).notes(notes) }
    };
    let r2 = reports.iter().map(|report| line(report, &|c| report.targets[c].1.max(-1.0)));
    let clipped = reports.iter().any(|report| report.targets[group.start..group.end].iter().any(|(_, r2)| *r2 < -1.0));
    let chart = Chart::profile(format!("R2 of {what}"), Axis::new("R2"), axis()).with_all(r2);
    page.chart(if clipped { chart.note("values below -1 are shown at -1") } else { chart });
    if reports.iter().any(|report| !report.rmse.is_empty()) {
        let unit = if unit.is_empty() { "unit of the truth" } else { unit };
        let chart = Chart::profile(format!("RMSE of {what}"), Axis::new(format!("RMSE ({unit})")), axis());
        let with = reports.iter().filter(|report| !report.rmse.is_empty());
        page.chart(chart.with_all(with.map(|report| line(report, &|c| report.rmse[c]))));
    }
}

fn scatter(title: &str, density: &Density) -> Chart {
    let heat = Heat::new("values", density.counts.clone()).edges(Density::edges(), Density::edges()).log();
    Chart::heat(format!("Predictions of {title}"), Axis::new("truth"), Axis::new("prediction"), heat)
        .note("the outer cells hold what lies beyond")
}

fn targets_table(reports: &[Report]) -> Table {
    let mut header = vec!["target".to_string()];
    for report in reports {
        header.push(format!("R2 of {}", report.name));
        header.extend((!report.rmse.is_empty()).then(|| format!("RMSE of {}", report.name)));
    }
    let mut table = Table::new("Every target", header).folded();
    let count = reports.first().map_or(0, |report| report.targets.len());
    for c in 0..count {
        let mut row = vec![reports[0].targets[c].0.clone()];
        for report in reports {
            row.push(format!("{:.6}", report.targets[c].1));
            row.extend(report.rmse.get(c).map(|rmse| report::number(*rmse)));
        }
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_levels_lie_around_them() {
        assert_eq!(edges(&[1.0, 2.0, 4.0]), [0.5, 1.5, 3.0, 5.0]);
        assert_eq!(edges(&[3.0]), [2.5, 3.5]);
    }
}
