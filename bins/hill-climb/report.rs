//! What a search leaves behind: the table on standard error, weights, history, figures.

use std::fmt::Write as _;

use climb::MoveKind;
use serde_json::{Map, Value, json};

use crate::hill_climb::problem::{Blend, Problem, Scope};
use climb::weights::{Own, field, g17};

/// The table for people.
pub fn table(problem: &Problem, blend: &Blend) -> String {
    let metric = problem.config.metric;
    let wide = problem.members.iter().map(|m| m.name.len()).max().unwrap_or(0).max(24);
    let mut text = format!("{:wide$}  {:>9}  {:>9}", "model", metric.name(), "weight");
    let global = &blend.global;
    let mut order: Vec<usize> = (0..problem.members.len()).collect();
    order.sort_by(|&a, &b| global.weights[b].total_cmp(&global.weights[a]));
    for k in order {
        let (score, weight) = (metric.signed(global.singles[k]), global.weights[k]);
        let _ = write!(text, "\n{:wide$}  {score:>9.6}  {weight:>9.6}", problem.members[k].name);
    }
    for (name, score) in &global.others {
        let _ = match score {
            Some(score) => write!(text, "\n{name:wide$}  {:>9.6}", metric.signed(*score)),
            None => write!(text, "\n{name:wide$}  {:>9}", "-"),
        };
    }
    for scope in &blend.groups {
        let _ = write!(text, "\n{:wide$}  {:>9.6}", format!("group {}", scope.name), metric.signed(scope.score));
    }
    let _ = write!(text, "\n{:wide$}  {:>9.6}", "blend", metric.signed(blend.score));
    text
}

/// Names and global weights for the table of weights, largest first, models without weight anywhere left out; and the
/// targets of groups with weights of their own.
pub fn weighted(problem: &Problem, blend: &Blend) -> (Vec<(String, f64)>, Vec<Own>) {
    let used = |k: usize| std::iter::once(&blend.global).chain(&blend.groups).any(|scope| scope.weights[k] != 0.0);
    let mut order: Vec<usize> = (0..problem.members.len()).filter(|&k| used(k)).collect();
    order.sort_by(|&a, &b| blend.global.weights[b].total_cmp(&blend.global.weights[a]));
    let table = order.iter().map(|&k| (problem.members[k].name.clone(), blend.global.weights[k])).collect();
    let own = blend.groups.iter().flat_map(|group| {
        let order = &order;
        group.columns.iter().map(move |&c| {
            let weights = order.iter().map(|&k| group.weights[k]).collect();
            (problem.table.column_name(c), weights)
        })
    });
    (table, own.collect())
}

/// `weights.json`: everything needed to apply the weights, and the scores.
pub fn json(problem: &Problem, blend: &Blend) -> Value {
    let metric = problem.config.metric;
    let names = |columns: &[usize]| -> Vec<String> { columns.iter().map(|&c| problem.table.column_name(c)).collect() };
    let weights = |scope: &Scope| named(problem, scope.weights.iter().map(|&w| w.into()));
    let groups: Vec<Value> = blend
        .groups
        .iter()
        .map(|scope| {
            json!({
                "name": scope.name,
                "score": metric.signed(scope.score),
                "weights": weights(scope),
                "columns": names(&scope.columns),
            })
        })
        .collect();
    json!({
        "metric": metric.name(),
        "score": metric.signed(blend.score),
        "rows": problem.rows(),
        "weights": weights(&blend.global),
        "alone": named(problem, blend.global.singles.iter().map(|&s| metric.signed(s).into())),
        "zero_list": names(&blend.zero_list),
        "groups": groups,
    })
}

/// `history.csv`: every accepted step.
pub fn history(problem: &Problem, blend: &Blend) -> String {
    let mut text = String::from("scope,step,kind,model,from,weight,score\n");
    for scope in std::iter::once(&blend.global).chain(&blend.groups) {
        let starts = scope.moves.iter().filter(|m| m.kind == MoveKind::Start).count();
        for (i, step) in scope.moves.iter().enumerate() {
            let name = |k: usize| field(&problem.members[k].name);
            let _ = writeln!(
                text,
                "{},{},{},{},{},{},{}",
                field(&scope.name),
                (i + 1).saturating_sub(starts),
                step.kind.name(),
                name(step.model),
                step.from.map(name).unwrap_or_default(),
                g17(step.weight),
                g17(problem.config.metric.signed(step.score)),
            );
        }
    }
    text
}

/// Figures for the manifest.
pub fn metrics(problem: &Problem, blend: &Blend) -> Map<String, Value> {
    let metric = problem.config.metric;
    let mut all = Map::new();
    all.insert("metric".into(), metric.name().into());
    all.insert("blend".into(), metric.signed(blend.score).into());
    all.insert("members".into(), named(problem, blend.global.singles.iter().map(|&s| metric.signed(s).into())).into());
    all.insert("weights".into(), named(problem, blend.global.weights.iter().map(|&w| w.into())).into());
    for (name, score) in &blend.global.others {
        let key = name.replace(", ", "_").replace(' ', "_");
        all.insert(key, score.map(|s| metric.signed(s)).into());
    }
    let groups = blend.groups.iter().map(|g| (g.name.clone(), metric.signed(g.score).into()));
    all.insert("groups".into(), groups.collect::<Map<_, _>>().into());
    all.insert("rows".into(), problem.rows().into());
    all
}

fn named(problem: &Problem, values: impl Iterator<Item = Value>) -> Map<String, Value> {
    problem.members.iter().map(|m| m.name.clone()).zip(values).collect()
}
