//! The page about a blend: weights, honest score, steps of the search, correlations, scores per group and per level.

use climb::MoveKind;
use report::{Axis, Chart, Figure, Heat, Page, Sense, Series, Spread as ReportSpread, Table};

use crate::hill_climb::bootstrap::{LEVELS, Spread};
use crate::hill_climb::facts::{Correlations, Facts, Figures};
use crate::hill_climb::folds::{Estimate, OutOfFold};
use crate::hill_climb::problem::{Blend, Problem};
use crate::hill_climb::profiles;

/// The whole page, offline in one file.
pub fn page(problem: &Problem, blend: &Blend, facts: &Facts, honest: Option<&OutOfFold>, recipe: &str) -> Page {
    let members = problem.members.len();
    let subtitle = format!(
        "{members} models on {} rows x {} columns of {}",
        problem.rows(),
        problem.table.columns(),
        problem.table.path().file_name().unwrap_or_default().to_string_lossy()
    );
    let mut page = Page::new("Blend", subtitle);
    headline(problem, blend, honest, &mut page);
    page.section("Weights");
    weights(problem, blend, &mut page);
    if let Some(honest) = honest {
        page.section("Held-out rows");
        out_of_fold(problem, blend, honest, &mut page);
    }
    page.section("Search");
    match blend.global.spread() {
        Some(spread) => bags(problem, blend, &spread, &mut page),
        None => steps(problem, blend, &mut page),
    }
    figures(problem, facts, &mut page);
    resamples(facts, &mut page);
    correlations(facts, &mut page);
    if let Some(gram) = &blend.gram {
        page.section("Groups and levels");
        profiles::columns(problem, blend, gram, &mut page);
    }
    page.section("Configuration");
    page.code("Config, with the origin of each value", recipe);
    page
}

fn sense(problem: &Problem) -> Sense {
    if problem.config.shown().higher() { Sense::Higher } else { Sense::Lower }
}

fn headline(problem: &Problem, blend: &Blend, honest: Option<&OutOfFold>, page: &mut Page) {
    let (metric, singles) = (problem.config.shown(), &blend.global.singles);
    let sense = sense(problem);
    let figure = |name: &str, score: f64| Figure::new(name, metric.signed(score)).sense(sense);
    let whose = "on the rows that the weights were searched on";
    page.figure(figure(&format!("{} of the blend", metric.name()), blend.score).note(whose));
    if let Some(honest) = honest {
        let Estimate { mean, error } = honest.score(0);
        page.figure(figure("held-out", mean).note(format!(
            "± {}, {} folds",
            report::number(error),
            honest.folds.len()
        )));
        let Estimate { mean, error } = honest.gain();
        let gain = Figure::new("held-out gain over the best member", mean).sense(Sense::Higher);
        page.figure(gain.note(format!("± {}", report::number(error))));
    }
    if let Some(best) = (0..singles.len()).max_by(|&a, &b| singles[a].total_cmp(&singles[b])) {
        let note =
            format!("{}, the blend gains {}", problem.members[best].name, report::number(blend.score - singles[best]));
        page.figure(figure("best member alone", singles[best]).note(note));
    }
    let taken = blend.global.weights.iter().filter(|weight| **weight != 0.0).count();
    page.figure(Figure::text("members with weight", format!("{taken} of {}", problem.members.len())));
}

/// Places of the members, largest weight first.
fn by_weight(blend: &Blend) -> Vec<usize> {
    let mut order: Vec<usize> = (0..blend.global.weights.len()).collect();
    order.sort_by(|&a, &b| blend.global.weights[b].total_cmp(&blend.global.weights[a]));
    order
}

fn weights(problem: &Problem, blend: &Blend, page: &mut Page) {
    let metric = problem.config.shown();
    let order = by_weight(blend);
    let names = || order.iter().map(|&k| problem.members[k].name.clone());
    let place = |value: &dyn Fn(usize) -> f64| -> Vec<(f64, f64)> {
        order.iter().enumerate().map(|(place, &k)| (value(k), place as f64)).collect()
    };
    let mut bars = Series::bars("weight", place(&|k| blend.global.weights[k]));
    let mut note = String::new();
    if !blend.global.bags.is_empty() {
        let ends = |k: usize| {
            let all = blend.global.bags.iter().map(|bag| bag.weights[k]);
            all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), weight| (low.min(weight), high.max(weight)))
        };
        bars = bars.spread(order.iter().map(|&k| ends(k)).map(|(low, high)| ReportSpread { low, high }).collect());
        note = format!("mean of {} bags, smallest and largest", blend.global.bags.len());
    }
    page.chart(
        Chart::profile("Weights", Axis::new("weight"), Axis::new("").names(names()).reversed()).with(bars).note(note),
    );
    let alone = Series::points("alone", place(&|k| metric.signed(blend.global.singles[k])));
    let chart = Chart::profile("Members alone", Axis::new(metric.name()), Axis::new("").names(names()).reversed());
    let note = format!(
        "{}, in the order of their weights",
        if metric.higher() { "higher is better" } else { "lower is better" }
    );
    page.chart(chart.with(alone).note(note));
    let mut table = Table::new("Members", ["model", metric.name(), "weight", "blend without its weight"]);
    for k in order {
        let without = blend.without.get(k).copied().flatten();
        table.row([
            problem.members[k].name.clone(),
            format!("{:.6}", metric.signed(blend.global.singles[k])),
            format!("{:.6}", blend.global.weights[k]),
            without.map_or("-".into(), |score| format!("{:.6}", metric.signed(score))),
        ]);
    }
    for (name, score) in &blend.global.others {
        let score = score.map_or("-".into(), |score| format!("{:.6}", metric.signed(score)));
        table.row([format!("({name})"), score, String::new(), String::new()]);
    }
    page.table(table);
}

/// Scores on rows that the weights were not searched on.
fn out_of_fold(problem: &Problem, blend: &Blend, honest: &OutOfFold, page: &mut Page) {
    let metric = problem.config.shown();
    const NAMES: [(&str, &str); 3] =
        [("blend", "blend"), ("best member", "best member"), ("equal weights", "equal weights")];
    let series = NAMES.iter().enumerate().map(|(which, (name, color))| {
        let points = honest.folds.iter().enumerate().map(|(i, fold)| (i as f64, metric.signed(fold.scores[which])));
        Series::line(*name, points.collect()).colored(*color)
    });
    let folds = (0..honest.folds.len()).map(|i| format!("fold {i}"));
    let chart = Chart::lines("Score of each fold", Axis::new("held-out fold").names(folds), Axis::new(metric.name()));
    let level = metric.signed(blend.score);
    page.chart(chart.with_all(series).level(level, format!("in-sample {}", report::number(level))));
    let header = ["", "rows", "blend", "best member", "equal weights", "best on the other rows"];
    let mut table = Table::new("Out of fold", header);
    for (i, fold) in honest.folds.iter().enumerate() {
        let mut row = vec![format!("fold {i}"), fold.rows.to_string()];
        row.extend(fold.scores.iter().map(|score| format!("{:.6}", metric.signed(*score))));
        row.push(problem.members[fold.best_member].name.clone());
        table.row(row);
    }
    let mut mean = vec!["mean".to_string(), problem.rows().to_string()];
    mean.extend((0..3).map(|which| {
        let Estimate { mean, error } = honest.score(which);
        format!("{:.6} ± {error:.6}", metric.signed(mean))
    }));
    let Estimate { mean: gain, error } = honest.gain();
    mean.push(format!("gain over it {gain:+.6} ± {error:.6}"));
    table.marked(mean);
    let single = |k: usize| format!("{:.6}", metric.signed(blend.global.singles[k]));
    let best = (0..problem.members.len()).max_by(|&a, &b| blend.global.singles[a].total_cmp(&blend.global.singles[b]));
    let inside = format!("{:.6}", metric.signed(blend.score));
    table.row([
        "in-sample".into(),
        problem.rows().to_string(),
        inside,
        best.map_or("-".into(), single),
        "-".into(),
        String::new(),
    ]);
    page.table(table);
}

/// How the weights differ between bags.
fn bags(problem: &Problem, blend: &Blend, spread: &[f64], page: &mut Page) {
    let scope = &blend.global;
    let title = format!("Weights of {} bags", scope.bags.len());
    let mut table = Table::new(title, ["model", "bags with it", "mean", "std", "smallest", "largest"]);
    for k in by_weight(blend) {
        let taken = scope.bags.iter().filter(|bag| bag.weights[k] != 0.0).count();
        let (least, most) = scope.bags.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), bag| {
            (least.min(bag.weights[k]), most.max(bag.weights[k]))
        });
        let mut row = vec![problem.members[k].name.clone(), taken.to_string()];
        row.extend([scope.weights[k], spread[k], least, most].iter().map(|number| format!("{number:.6}")));
        table.row(row);
    }
    page.table(table);
}

/// What every accepted step of the search gained.
fn steps(problem: &Problem, blend: &Blend, page: &mut Page) {
    let metric = problem.config.shown();
    let (mut points, mut gains, mut notes) = (vec![], vec![], vec![]);
    let header = ["step", "kind", "model", "weight", metric.name(), "gain"];
    let mut table = Table::new("Steps of the search", header).folded();
    let mut before: Option<f64> = None;
    for (i, step) in blend.global.moves.iter().filter(|m| m.score.is_finite()).enumerate() {
        let (kind, name) = (step.kind.name(), problem.name(step.model));
        points.push((i as f64, metric.signed(step.score)));
        notes.push(format!("{kind} {name}, weight {}", report::number(step.weight)));
        let gain = match (step.kind, before) {
            (MoveKind::Start, _) | (_, None) => None,
            (_, Some(before)) => Some(step.score - before),
        };
        gains.extend(gain.map(|gain| (i as f64, gain)));
        before = Some(step.score);
        table.row([
            i.to_string(),
            kind.to_string(),
            name.to_string(),
            format!("{:.4}", step.weight),
            format!("{:.6}", metric.signed(step.score)),
            gain.map_or(String::new(), |gain| format!("{gain:.3e}")),
        ]);
    }
    let chart = Chart::lines("Score per step of the search", Axis::new("step"), Axis::new(metric.name()));
    page.chart(chart.with(Series::line("blend", points).notes(notes)));
    let positive = gains.iter().all(|(_, gain)| *gain > 0.0);
    let axis = Axis::new(format!("gain of {}", metric.name()));
    let axis = if positive { axis.log() } else { axis };
    page.chart(Chart::lines("Gain per step of the search", Axis::new("step"), axis).with(Series::line("gain", gains)));
    page.table(table);
}

/// What the blend is worth beside its best member and equal weights.
fn figures(problem: &Problem, facts: &Facts, page: &mut Page) {
    let row = |name: &str, figures: &Figures| {
        let all = [figures.blend, figures.best_member, figures.equal_weights];
        let cell = |i: usize| match figures.errors {
            Some(errors) => format!("{:.6} ± {:.6}", all[i], errors[i]),
            None => format!("{:.6}", all[i]),
        };
        [name.to_string(), cell(0), cell(1), cell(2)]
    };
    let title = format!("{} of the blend, its best member and equal weights", problem.config.shown().name());
    let mut table = Table::new(title, ["", "blend", "best member", "equal weights"]);
    table.row(row("rows that were searched", &facts.in_sample));
    if let Some(figures) = &facts.out_of_fold {
        table.row(row("held-out rows", figures));
    }
    page.table(table);
}

/// How the weights differ between resamples of the rows.
fn resamples(facts: &Facts, page: &mut Page) {
    if facts.spread.is_empty() {
        return;
    }
    page.section("Resamples of the rows");
    let mut order: Vec<usize> = (0..facts.spread.len()).collect();
    order.sort_by(|&a, &b| facts.spread[b].mean.total_cmp(&facts.spread[a].mean));
    let points = order.iter().enumerate().map(|(place, &k)| (facts.spread[k].mean, place as f64)).collect();
    let ends = |k: usize| ReportSpread { low: facts.spread[k].quantiles[0], high: facts.spread[k].quantiles[4] };
    let bars = Series::bars("mean weight", points).spread(order.iter().map(|&k| ends(k)).collect());
    let names = Axis::new("").names(order.iter().map(|&k| facts.models[k].clone())).reversed();
    let chart = Chart::profile("Weights of resamples", Axis::new("weight"), names).with(bars);
    page.chart(chart.note(format!("mean of {} resamples, 5 % and 95 %", facts.resamples)));
    let mut header = vec!["model".to_string(), "taken in".into(), "mean".into(), "std".into()];
    header.extend(LEVELS.map(|level| format!("{:.0} %", 100.0 * level)));
    let mut table = Table::new(format!("Weights of {} resamples of the rows", facts.resamples), header);
    for &k in &order {
        let spread: &Spread = &facts.spread[k];
        let mut row = vec![facts.models[k].clone(), format!("{:.0} %", 100.0 * spread.taken)];
        row.extend([spread.mean, spread.std].iter().chain(&spread.quantiles).map(|number| format!("{number:.6}")));
        table.row(row);
    }
    page.table(table);
}

/// How alike the members are.
fn correlations(facts: &Facts, page: &mut Page) {
    let Some(Correlations { of, matrix }) = &facts.correlations else { return };
    page.section("Correlations");
    let names = || facts.models.iter().cloned();
    let (x, y) = (Axis::new(format!("{of} of")).names(names()), Axis::new("").names(names()).reversed());
    let heat = Heat::new("correlation", matrix.iter().flatten().copied().collect()).centre(0.0).limits(-1.0, 1.0);
    page.chart(Chart::heat(format!("Correlations of the members' {of}"), x, y, heat));
}
