//! The page of a score of directions: resolution, coverage, pull and the sky, for one or several members.

use std::f64::consts::PI;

use report::{Axis, Chart, Figure, Heat, Page, Sense, Series, Sky, Spread, Table};

use super::report::{PULSES, Report, Scored};
use crate::angles;
use crate::directions::calibration::REGIONS;

/// Shares of the events whose angle is drawn, with their names.
const QUANTILES: [(f64, &str); 3] = [(0.5, "median"), (0.68, "68 %"), (0.9, "90 %")];
/// Classes of kappa and of energy hold as many events as this at least.
const FEW: usize = 20;
/// Classes of kappa.
const KAPPA_CLASSES: usize = 12;
/// Cells of the sky: bands of equal area, and cells in each.
const SKY: (usize, usize) = (9, 18);
/// Members whose sky is drawn.
const SKIES: usize = 3;

type Member<'a> = (&'a Report, &'a [Scored]);

/// The page of members and their events.
pub fn page(members: &[Member]) -> Page {
    let events = members.first().map_or(0, |(_, scored)| scored.len());
    let mut page =
        Page::new("Directions", format!("opening angle between predicted and true direction, {events} events"));
    for (report, _) in members {
        let name = |what: &str| if members.len() > 1 { format!("{}: {what}", report.name) } else { what.to_string() };
        let mean = Figure::new(name("mean angle (rad)"), report.mean).sense(Sense::Lower);
        page.figure(mean.note("the competition's score; 1.571 is a guess"));
        let median = Figure::new(name("median angle (deg)"), report.median.to_degrees()).sense(Sense::Lower);
        page.figure(median.note(format!("{} rad", report::number(report.median))));
        if let Some(calibration) = &report.calibration {
            let figure = Figure::new(name("calibration of kappa"), calibration.error).sense(Sense::Lower);
            page.figure(figure.note("mean difference of nominal and found shares"));
            let [half, most] = calibration.regions;
            let figure = Figure::text(
                name("held by regions of 50 and 90 %"),
                format!("{:.1} / {:.1} %", 100.0 * half, 100.0 * most),
            );
            page.figure(figure.note(if calibration.calibrated { "calibrated" } else { "as the network gives kappa" }));
        }
    }
    page.section("Resolution");
    page.chart(cumulative(members));
    let all = |has: &dyn Fn(&Scored) -> bool| members.iter().any(|(_, scored)| scored.iter().any(has));
    if all(&|event| event.energy > 0.0) {
        let value = |event: &Scored| event.energy.log10();
        let edges: Vec<f64> = (-4..=32).map(|quarter| f64::from(quarter) / 4.0).collect();
        let axis = Axis::new("true energy (GeV)").log();
        page.chart(resolution("Resolution against energy", axis, members, &edges, &value, &|edge| 10f64.powf(edge)));
    }
    if all(&|event| event.pulses.is_some()) {
        let value = |event: &Scored| event.pulses.map_or(f64::NAN, |n| n as f64);
        let most = members.iter().flat_map(|(_, scored)| *scored).filter_map(|event| event.pulses).max().unwrap_or(0);
        let mut edges = vec![1.0];
        edges.extend(PULSES.iter().filter(|high| **high < most).map(|high| *high as f64));
        edges.push((most + 1) as f64);
        let axis = Axis::new("pulses").log();
        page.chart(resolution("Resolution against pulses", axis, members, &edges, &value, &|edge| edge));
    }
    let edges: Vec<f64> = (0..=12).map(|step| f64::from(step) * 15.0).collect();
    let value = |event: &Scored| event.zenith.to_degrees();
    let axis = Axis::new("true zenith (deg)");
    page.chart(resolution("Resolution against zenith", axis, members, &edges, &value, &|edge| edge));
    kinds(&mut page, members);
    if members.iter().any(|(report, _)| report.calibration.is_some()) {
        page.section("Calibration");
        calibration(&mut page, members);
    }
    page.section("Sky");
    members.iter().take(SKIES).for_each(|(report, scored)| page.chart(sky(&report.name, scored)));
    heads(&mut page, members);
    page
}

/// The value below which a share of sorted values lies, and the interval of 68.27 % of it from the binomial law of ranks.
fn quantile(sorted: &[f64], share: f64) -> (f64, Spread) {
    let n = sorted.len() as f64;
    let at = |rank: f64| sorted[(rank.round().max(0.0) as usize).min(sorted.len() - 1)];
    let (rank, width) = (share * (n - 1.0), (n * share * (1.0 - share)).sqrt());
    (at(rank), Spread { low: at(rank - width), high: at(rank + width) })
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Share of the events within an angle.
fn cumulative(members: &[Member]) -> Chart {
    let chart = Chart::lines(
        "Events within an angle",
        Axis::new("opening angle (deg)").log(),
        Axis::new("share of the events").range(0.0, 1.0),
    );
    chart.level(0.5, "median").with_all(members.iter().map(|(report, scored)| {
        let angles = sorted(scored.iter().map(|event| event.angle.to_degrees()));
        // At most 400 points: a step each 0.25 %.
        let steps = angles.len().min(400);
        let place = |i: usize| (angles.len() - 1) * i / steps.max(2).saturating_sub(1);
        let points = (0..steps).map(|i| (angles[place(i)].max(1e-4), (place(i) + 1) as f64 / angles.len() as f64));
        Series::line(&report.name, points.collect())
    }))
}

/// Quantiles of the angle in classes of `value`, whose edges `shown` puts on the axis.
fn resolution(
    title: &str,
    axis: Axis,
    members: &[Member],
    edges: &[f64],
    value: &dyn Fn(&Scored) -> f64,
    shown: &dyn Fn(f64) -> f64,
) -> Chart {
    let mut chart = Chart::lines(title, axis, Axis::new("opening angle (deg)").log());
    for (report, scored) in members {
        for (share, name) in QUANTILES {
            let (mut classes, mut spread, mut notes) = (vec![], vec![], vec![]);
            for pair in edges.windows(2) {
                let inside = |event: &&Scored| value(event) >= pair[0] && value(event) < pair[1];
                let angles = sorted(scored.iter().filter(inside).map(|event| event.angle.to_degrees()));
                if angles.is_empty() {
                    continue;
                }
                let (middle, ends) = quantile(&angles, share);
                classes.push((shown(pair[0]), shown(pair[1]), middle));
                spread.push(ends);
                notes.push(format!("{} events", angles.len()));
            }
            let alone = members.len() == 1;
            let called = if alone { name.to_string() } else { format!("{} {name}", report.name) };
            let series = Series::steps(called, &classes).spread(spread).notes(notes);
            let series = if alone || share != 0.5 { series } else { series.colored(&report.name) };
            // The median alone of several members, so that they can be told apart.
            chart = chart.with(if alone || share == 0.5 { series } else { series.hidden() });
        }
    }
    chart.note("quantiles of the angle; intervals of 68.27 % from the ranks of the events")
}

/// Mean and quantiles by kind of event.
fn kinds(page: &mut Page, members: &[Member]) {
    let mut table = Table::new(
        "By kind of event",
        ["member", "kind", "events", "mean (rad)", "median (deg)", "68 % (deg)", "90 % (deg)"],
    );
    for (report, scored) in members {
        let mut kinds: Vec<&str> = scored.iter().filter_map(|event| event.kind.as_deref()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let of = || scored.iter().filter(|event| event.kind.as_deref() == Some(kind)).map(|event| event.angle);
            let (all, count) = (sorted(of().map(f64::to_degrees)), of().count());
            let mut row = vec![report.name.clone(), kind.into(), count.to_string()];
            row.push(report::number(of().sum::<f64>() / count as f64));
            row.extend(QUANTILES.iter().map(|(share, _)| report::number(quantile(&all, *share).0)));
            table.row(row);
        }
    }
    page.table(table);
}

/// Share and its interval of 68.27 % after Wilson.
fn share(part: usize, whole: usize) -> (f64, Spread) {
    let (n, p) = (whole as f64, part as f64 / whole as f64);
    let (middle, denominator) = (p + 0.5 / n, 1.0 + 1.0 / n);
    let half = (p * (1.0 - p) / n + 0.25 / (n * n)).sqrt();
    (p, Spread { low: (middle - half) / denominator, high: (middle + half) / denominator })
}

fn calibration(page: &mut Page, members: &[Member]) {
    let (nominal, found) = (Axis::new("nominal share of a region"), Axis::new("share of the events inside"));
    let mut shares = Chart::lines("Coverage", nominal.range(0.0, 1.0), found.range(0.0, 1.0)).diagonal();
    let kappa = Axis::new("kappa").log();
    let mut by_kappa =
        Chart::lines("Coverage against kappa", kappa, Axis::new("share of the events inside").range(0.0, 1.0));
    let (axis, density) = (
        Axis::new("pull: angle over the predicted one-sigma angle").range(0.0, 0.0),
        Axis::new("density").range(0.0, 0.0),
    );
    let mut pull = Chart::lines("Pull", axis, density);
    for (report, scored) in members {
        let known: Vec<(f64, f64)> = scored.iter().filter_map(|event| Some((event.kappa?, event.angle))).collect();
        if known.is_empty() {
            continue;
        }
        let within: Vec<f64> = known.iter().map(|(kappa, angle)| angles::share_within(*kappa, *angle)).collect();
        let (mut points, mut spread) = (vec![], vec![]);
        for percent in (2..100).step_by(2) {
            let nominal = f64::from(percent) / 100.0;
            let (found, ends) = share(within.iter().filter(|share| **share <= nominal).count(), within.len());
            points.push((nominal, found));
            spread.push(ends);
        }
        shares = shares.with(Series::line(&report.name, points).spread(spread));
        let both = |event: &Scored, share: f64| [event.inside(0, share), event.inside(1, share)];
        let inside = scored.iter().filter(|event| event.kappa.is_some()).zip(&within);
        let inside: Vec<[bool; 2]> = inside.map(|(event, share)| both(event, *share)).collect();
        by_kappa = by_kappa.with_all(coverage(&report.name, members.len() == 1, &known, &inside));
        pull = pull.with(pulls(&report.name, &known));
    }
    page.chart(shares.note("on the dashed line kappa means what it says; above it regions are too large"));
    let by_kappa = by_kappa.level(0.5, "nominal 50 %").level(0.9, "nominal 90 %");
    page.chart(by_kappa.note("the regions of the table where it has any (`angle50`, `angle90`), else those of kappa"));
    let rayleigh = (0..=80).map(|i| f64::from(i) / 16.0).map(|x| (x, x * (-0.5 * x * x).exp()));
    pull = pull.with(Series::line("expected (Rayleigh)", rayleigh.collect()).colored("expected"));
    page.chart(
        pull.note("the predicted one-sigma angle holds 39.3 % of the events, as a normal error in two dimensions does"),
    );
}

/// Shares inside the regions of 50 % and 90 % in classes of kappa that hold equally many events.
fn coverage(name: &str, alone: bool, known: &[(f64, f64)], within: &[[bool; 2]]) -> Vec<Series> {
    let mut order: Vec<usize> = (0..known.len()).collect();
    order.sort_by(|&a, &b| known[a].0.total_cmp(&known[b].0));
    let classes = (known.len() / FEW).clamp(1, KAPPA_CLASSES);
    // Events of one kappa stay together, so classes may be fewer.
    let mut cuts = vec![0];
    for class in 1..=classes {
        let mut cut = (order.len() * class / classes).max(cuts[cuts.len() - 1]);
        while cut > 0 && cut < order.len() && known[order[cut]].0 == known[order[cut - 1]].0 {
            cut += 1;
        }
        cuts.push(cut);
    }
    cuts.dedup();
    (REGIONS.into_iter().enumerate())
        .map(|(region, nominal)| {
            let (mut levels, mut spread, mut notes) = (vec![], vec![], vec![]);
            for pair in cuts.windows(2) {
                let inside = &order[pair[0]..pair[1]];
                let next = order.get(pair[1]).copied().unwrap_or(order[order.len() - 1]);
                let (from, to) = (known[inside[0]].0, known[next].0);
                // A last class of one kappa is drawn with some width.
                let to = if to > from { to } else { 1.05 * from };
                let (found, ends) = share(inside.iter().filter(|&&i| within[i][region]).count(), inside.len());
                levels.push((from, to, found));
                spread.push(ends);
                notes.push(format!("{} events", inside.len()));
            }
            let region = format!("{:.0} % region", 100.0 * nominal);
            let called = if alone { region } else { format!("{name}, {region}") };
            let series = Series::steps(called, &levels).spread(spread).notes(notes);
            if alone { series } else { series.colored(name) }
        })
        .collect()
}

/// Density of the angle over the one that should hold 39.3 % of the events; beyond 5 the last class holds the rest.
fn pulls(name: &str, known: &[(f64, f64)]) -> Series {
    const CLASSES: usize = 40;
    const MOST: f64 = 5.0;
    let one_sigma = 1.0 - (-0.5_f64).exp();
    let mut counts = [0_u64; CLASSES];
    for (kappa, angle) in known {
        let ratio = angle / angles::containment(*kappa, one_sigma);
        counts[((ratio / MOST * CLASSES as f64) as usize).min(CLASSES - 1)] += 1;
    }
    let width = MOST / CLASSES as f64;
    let density = |count: f64| count / known.len() as f64 / width;
    let classes: Vec<(f64, f64, f64)> = counts
        .iter()
        .enumerate()
        .map(|(i, count)| (i as f64 * width, (i + 1) as f64 * width, density(*count as f64)))
        .collect();
    let notes = counts.iter().map(|count| format!("{count} events")).collect();
    Series::steps(name, &classes).notes(notes)
}

/// Median angle over the sky, in cells of equal area.
fn sky(name: &str, scored: &[Scored]) -> Chart {
    let (bands, around) = SKY;
    let latitudes: Vec<f64> = (0..=bands).map(|i| (2.0 * i as f64 / bands as f64 - 1.0).asin().to_degrees()).collect();
    let longitudes: Vec<f64> = (0..=around).map(|i| 360.0 * i as f64 / around as f64).collect();
    let mut cells = vec![vec![]; bands * around];
    for event in scored {
        let band = ((event.zenith.cos() + 1.0) / 2.0 * bands as f64) as usize;
        let cell = (event.azimuth / (2.0 * PI) * around as f64) as usize;
        cells[band.min(bands - 1) * around + cell.min(around - 1)].push(event.angle.to_degrees());
    }
    let notes = cells.iter().map(|angles| format!("{} events", angles.len())).collect();
    let values = cells.into_iter().map(|angles| {
        let all = sorted(angles.into_iter());
        if all.is_empty() { f64::NAN } else { quantile(&all, 0.5).0 }
    });
    let mut sky = Sky::new("median opening angle (deg)", longitudes, latitudes, values.collect());
    sky.heat = sky.heat.notes(notes);
    Chart::sky(format!("Errors over the sky: {name}"), "true azimuth", "true altitude (90° - zenith)", sky)
        .note("Hammer's projection, cells of equal area; cells without events are empty")
}

/// What heads beside the direction say, against the truth.
fn heads(page: &mut Page, members: &[Member]) {
    let mut charts = vec![];
    for (report, scored) in members {
        let energies: Vec<(f64, f64)> = scored
            .iter()
            .filter_map(|event| Some((event.energy.log10(), event.extra?[0].log10())))
            .filter(|(truth, found)| truth.is_finite() && found.is_finite())
            .collect();
        if energies.len() >= FEW {
            charts.push(density(&report.name, &energies));
        }
        let distances = sorted(scored.iter().filter_map(|event| {
            let extra = event.extra?;
            Some((0..3).map(|k| (extra[1 + k] - event.vertex[k]).powi(2)).sum::<f64>().sqrt())
        }));
        if distances.len() >= FEW {
            let n = distances.len();
            let points = (0..200.min(n)).map(|i| (n - 1) * i / 199.min(n - 1).max(1));
            let points = points.map(|i| (distances[i].max(1e-3), (i + 1) as f64 / n as f64)).collect();
            let axis = Axis::new("distance of the vertex (m)").log();
            let chart = Chart::lines(
                format!("Vertex: {}", report.name),
                axis,
                Axis::new("share of the events").range(0.0, 1.0),
            );
            charts.push(chart.with(Series::line(&report.name, points)));
        }
    }
    if !charts.is_empty() {
        page.section("Energy and vertex");
        charts.into_iter().for_each(|chart| page.chart(chart));
    }
}

/// How many events have which true and predicted energy.
fn density(name: &str, energies: &[(f64, f64)]) -> Chart {
    const CELLS: usize = 40;
    let all = energies.iter().flat_map(|(truth, found)| [*truth, *found]);
    let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let width = ((high - low) / CELLS as f64).max(1e-6);
    let mut counts = vec![0.0; CELLS * CELLS];
    let place = |v: f64| (((v - low) / width) as usize).min(CELLS - 1);
    energies.iter().for_each(|(truth, found)| counts[place(*found) * CELLS + place(*truth)] += 1.0);
    let edges: Vec<f64> = (0..=CELLS).map(|i| 10f64.powf(low + i as f64 * width)).collect();
    let heat = Heat::new("events", counts).edges(edges.clone(), edges).log();
    Chart::heat(
        format!("Energy: {name}"),
        Axis::new("true energy (GeV)").log(),
        Axis::new("predicted energy (GeV)").log(),
        heat,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Events whose angles are drawn from their own kappa.
    fn events(n: usize) -> Vec<Scored> {
        let one = |i: usize| {
            let (share, kappa) = ((i as f64 + 0.5) / n as f64, [5.0, 50.0, 500.0][i % 3]);
            Scored {
                angle: angles::containment(kappa, share),
                zenith: PI * ((i * 7 % n) as f64 + 0.5) / n as f64,
                azimuth: 2.0 * PI * ((i * 13 % n) as f64 + 0.5) / n as f64,
                kappa: Some(kappa),
                length: None,
                regions: None,
                pulses: Some(i as u64 % 300 + 1),
                kind: Some(["track", "cascade"][i % 2].into()),
                extra: None,
                energy: 10f64.powf(2.0 + 3.0 * ((i * 3 % n) as f64 / n as f64)),
                vertex: [f64::NAN; 3],
            }
        };
        (0..n).map(one).collect()
    }

    #[test]
    fn a_page_has_every_chart_a_physicist_looks_for() {
        let scored = events(3000);
        let report = Report::new("<b64>".into(), Path::new("m"), &scored);
        let made = page(&[(&report, &scored)]);
        let files = made.beside();
        for name in [
            "events-within-an-angle",
            "resolution-against-energy",
            "resolution-against-pulses",
            "resolution-against-zenith",
            "coverage",
            "coverage-against-kappa",
            "pull",
            "errors-over-the-sky-b64",
        ] {
            for ending in ["svg", "csv"] {
                assert!(files.iter().any(|(path, _)| *path == format!("plots/{name}.{ending}")), "{name}.{ending}");
            }
        }
        assert!(!made.html().contains("<b64>"));
    }

    #[test]
    fn what_is_calibrated_lies_on_the_diagonal_and_its_pull_is_the_expected_one() {
        let scored = events(30_000);
        let known: Vec<(f64, f64)> = scored.iter().filter_map(|e| Some((e.kappa?, e.angle))).collect();
        let within = known.iter().map(|(kappa, angle)| angles::share_within(*kappa, *angle));
        let inside: Vec<[bool; 2]> =
            scored.iter().zip(within).map(|(event, share)| [event.inside(0, share), event.inside(1, share)]).collect();
        let csv = Chart::lines("c", Axis::new("kappa"), Axis::new("share"))
            .with_all(coverage("m", true, &known, &inside))
            .csv();
        for line in csv.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            let nominal = if cells[0].starts_with("50") { 0.5 } else { 0.9 };
            assert!((cells[2].parse::<f64>().unwrap() - nominal).abs() < 0.02, "{line}");
        }
        // Of narrow distributions the pull is Rayleigh's: its density at 1 is exp(-1/2).
        let narrow: Vec<(f64, f64)> = known.iter().copied().filter(|(kappa, _)| *kappa == 500.0).collect();
        let csv = Chart::lines("p", Axis::new("x"), Axis::new("y")).with(pulls("m", &narrow)).csv();
        let at_one = csv.lines().find(|line| line.contains(",1.0625,")).unwrap().split(',').nth(2).unwrap();
        assert!((at_one.parse::<f64>().unwrap() - 1.0625 * (-0.5 * 1.0625_f64.powi(2)).exp()).abs() < 0.02, "{at_one}");
    }

    #[test]
    fn quantiles_have_the_interval_of_their_ranks() {
        let values: Vec<f64> = (0..10_001).map(f64::from).collect();
        let (median, Spread { low, high }) = quantile(&values, 0.5);
        assert_eq!((median, low, high), (5000.0, 4950.0, 5050.0));
        let (p, Spread { low, high }) = share(0, 10);
        assert!(p == 0.0 && low.abs() < 1e-12 && (high - 1.0 / 11.0).abs() < 1e-12, "{low} {high}");
    }
}
