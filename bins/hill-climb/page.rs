//! The page about a blend: members, steps of the search, correlations, scores per group and per column.

use climb::{Gram, MoveKind};
use common::Result;
use common::report::{Report, Series};

use crate::hill_climb::bootstrap::{LEVELS, Spread};
use crate::hill_climb::facts::{Correlations, Facts, Figures};
use crate::hill_climb::folds::{Estimate, OutOfFold};
use crate::hill_climb::problem::{Blend, Problem};

/// Members that are drawn beside the blend in the plots of single columns.
const DRAWN: usize = 3;

/// The whole page, offline in one file.
pub fn page(
    problem: &Problem,
    blend: &Blend,
    facts: &Facts,
    honest: Option<&OutOfFold>,
    recipe: &str,
) -> Result<Report> {
    let (metric, members) = (problem.config.shown(), problem.members.len());
    let subtitle = format!(
        "{} {:.6} of {members} models on {} rows x {} columns of {}",
        metric.name(),
        metric.signed(blend.score),
        problem.rows(),
        problem.table.columns(),
        problem.table.path().file_name().unwrap_or_default().to_string_lossy()
    );
    let mut page = Report::new("Blend", subtitle);
    page.table("Members", &["model", metric.name(), "weight", "blend without its weight"], member_rows(problem, blend));
    if let Some(honest) = honest {
        out_of_fold(problem, honest, &mut page);
    }
    match blend.global.spread() {
        Some(spread) => bags(problem, blend, &spread, &mut page),
        None => steps(problem, blend, &mut page)?,
    }
    figures(problem, facts, &mut page);
    resamples(facts, &mut page);
    correlations(facts, &mut page);
    if let Some(gram) = &blend.gram {
        columns(problem, blend, gram, &mut page)?;
    }
    page.text("Configuration", recipe);
    Ok(page)
}

/// Largest weight first.
fn member_rows(problem: &Problem, blend: &Blend) -> Vec<Vec<String>> {
    let metric = problem.config.shown();
    let mut order: Vec<usize> = (0..problem.members.len()).collect();
    order.sort_by(|&a, &b| blend.global.weights[b].total_cmp(&blend.global.weights[a]));
    let row = |k: usize| {
        let without = blend.without.get(k).copied().flatten();
        vec![
            problem.members[k].name.clone(),
            format!("{:.6}", metric.signed(blend.global.singles[k])),
            format!("{:.6}", blend.global.weights[k]),
            without.map_or("-".into(), |score| format!("{:.6}", metric.signed(score))),
        ]
    };
    let mut rows: Vec<Vec<String>> = order.into_iter().map(row).collect();
    let others = blend.global.others.iter();
    rows.extend(others.map(|(name, score)| {
        let score = score.map_or("-".into(), |score| format!("{:.6}", metric.signed(score)));
        vec![format!("({name})"), score, String::new(), String::new()]
    }));
    rows
}

/// Scores on rows that the weights were not searched on.
fn out_of_fold(problem: &Problem, honest: &OutOfFold, page: &mut Report) {
    let metric = problem.config.shown();
    let mut rows: Vec<Vec<String>> = honest
        .folds
        .iter()
        .enumerate()
        .map(|(i, fold)| {
            let mut row = vec![format!("fold {i}"), fold.rows.to_string()];
            row.extend(fold.scores.iter().map(|score| format!("{:.6}", metric.signed(*score))));
            row.push(problem.members[fold.best_member].name.clone());
            row
        })
        .collect();
    let mut mean = vec!["mean".to_string(), problem.rows().to_string()];
    mean.extend((0..3).map(|which| {
        let Estimate { mean, error } = honest.score(which);
        format!("{:.6} ± {error:.6}", metric.signed(mean))
    }));
    let Estimate { mean: gain, error } = honest.gain();
    mean.push(format!("gain over it {gain:+.6} ± {error:.6}"));
    rows.push(mean);
    page.table("Out of fold", &["", "rows", "blend", "best member", "equal weights", "best on the other rows"], rows);
}

/// How the weights differ between bags.
fn bags(problem: &Problem, blend: &Blend, spread: &[f64], page: &mut Report) {
    let scope = &blend.global;
    let row = |k: usize| {
        let taken = scope.bags.iter().filter(|bag| bag.weights[k] != 0.0).count();
        let (least, most) = scope.bags.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), bag| {
            (least.min(bag.weights[k]), most.max(bag.weights[k]))
        });
        let numbers = [scope.weights[k], spread[k], least, most];
        let mut row = vec![problem.members[k].name.clone(), taken.to_string()];
        row.extend(numbers.iter().map(|number| format!("{number:.6}")));
        row
    };
    let rows = (0..problem.members.len()).map(row).collect();
    let title = format!("Weights of {} bags", scope.bags.len());
    page.table(&title, &["model", "bags with it", "mean", "std", "smallest", "largest"], rows);
}

/// What every accepted step of the search gained.
fn steps(problem: &Problem, blend: &Blend, page: &mut Report) -> Result<()> {
    let metric = problem.config.shown();
    let mut points = vec![];
    let mut rows = vec![];
    let mut before: Option<f64> = None;
    for (i, step) in blend.global.moves.iter().filter(|m| m.score.is_finite()).enumerate() {
        points.push((i as f64, metric.signed(step.score)));
        let gain = match (step.kind, before) {
            (MoveKind::Start, _) | (_, None) => String::new(),
            (_, Some(before)) => format!("{:.3e}", step.score - before),
        };
        before = Some(step.score);
        rows.push(vec![
            i.to_string(),
            step.kind.name().to_string(),
            problem.name(step.model).to_string(),
            format!("{:.4}", step.weight),
            format!("{:.6}", metric.signed(step.score)),
            gain,
        ]);
    }
    let series = [Series { name: "blend".into(), points }];
    page.plot("Score per step of the search", "step", metric.name(), &series)?;
    page.table("Steps of the search", &["step", "kind", "model", "weight", metric.name(), "gain"], rows);
    Ok(())
}

/// What the blend is worth beside its best member and equal weights.
fn figures(problem: &Problem, facts: &Facts, page: &mut Report) {
    let row = |name: &str, figures: &Figures| {
        let all = [figures.blend, figures.best_member, figures.equal_weights];
        let cell = |i: usize| match figures.errors {
            Some(errors) => format!("{:.6} ± {:.6}", all[i], errors[i]),
            None => format!("{:.6}", all[i]),
        };
        vec![name.to_string(), cell(0), cell(1), cell(2)]
    };
    let mut rows = vec![row("rows that were searched", &facts.in_sample)];
    rows.extend(facts.out_of_fold.iter().map(|figures| row("held-out rows", figures)));
    let title = format!("{} of the blend, its best member and equal weights", problem.config.shown().name());
    page.table(&title, &["", "blend", "best member", "equal weights"], rows);
}

/// How the weights differ between resamples of the rows.
fn resamples(facts: &Facts, page: &mut Report) {
    let row = |(name, s): (&String, &Spread)| {
        let mut row = vec![name.clone(), format!("{:.0} %", 100.0 * s.taken)];
        row.extend([s.mean, s.std].iter().chain(&s.quantiles).map(|number| format!("{number:.6}")));
        row
    };
    if facts.spread.is_empty() {
        return;
    }
    let levels = LEVELS.map(|level| format!("{:.0} %", 100.0 * level));
    let mut header = vec!["model", "taken in", "mean", "std"];
    header.extend(levels.iter().map(String::as_str));
    let rows = facts.models.iter().zip(&facts.spread).map(row).collect();
    page.table(&format!("Weights of {} resamples of the rows", facts.resamples), &header, rows);
}

/// How alike the members are.
fn correlations(facts: &Facts, page: &mut Report) {
    let Some(Correlations { of, matrix }) = &facts.correlations else { return };
    let numbers: Vec<String> = (1..=matrix.len()).map(|k| k.to_string()).collect();
    let mut header = vec!["", *of];
    header.extend(numbers.iter().map(String::as_str));
    let rows = matrix.iter().enumerate().map(|(i, values)| {
        let mut row = vec![numbers[i].clone(), facts.models[i].clone()];
        row.extend(values.iter().map(|r| if r.is_finite() { format!("{r:.3}") } else { "-".into() }));
        row
    });
    page.table(&format!("Correlations of the members' {of}"), &header, rows.collect());
}

/// R2 per group of columns, and along the columns of every longer group (levels of a profile).
fn columns(problem: &Problem, blend: &Blend, gram: &Gram, page: &mut Report) -> Result<()> {
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
    let mut rows = vec![];
    for group in problem.table.groups() {
        let of = |scores: &[f64]| mean(scores, group.start, group.end);
        let best = (0..members).max_by(|&a, &b| of(&alone[a]).total_cmp(&of(&alone[b])));
        let (Some(best), all) = (best, of(&of_blend)) else { continue };
        let best_score = of(&alone[best]);
        rows.push(vec![
            group.name.clone(),
            (group.end - group.start).to_string(),
            problem.members[best].name.clone(),
            format!("{best_score:.6}"),
            format!("{all:.6}"),
            format!("{:+.6}", all - best_score),
        ]);
    }
    page.table("R2 per group of columns", &["group", "columns", "best member", "its R2", "blend", "gain"], rows);

    let mut best: Vec<usize> = (0..members).collect();
    best.sort_by(|&a, &b| blend.global.singles[b].total_cmp(&blend.global.singles[a]));
    for group in problem.table.groups().into_iter().filter(|group| group.end - group.start > 1) {
        let free: Vec<usize> = (group.start..group.end).filter(|c| !problem.rules.fixed.contains(c)).collect();
        let line = |name: &str, scores: &[f64]| {
            // A score far below zero would hide all others.
            let points = free.iter().map(|&c| ((c - group.start) as f64, scores[c].max(-1.0)));
            Series { name: name.into(), points: points.collect() }
        };
        let mut series = vec![line("blend", &of_blend)];
        series.extend(best.iter().take(DRAWN).map(|&k| line(&problem.members[k].name, &alone[k])));
        page.plot(&format!("R2 of {} per level or column", group.name), "level or column", "R2", &series)?;
    }
    Ok(())
}
