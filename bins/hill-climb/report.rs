//! What a search leaves behind: the table on standard error, weights, history, figures.

use std::fmt::Write as _;

use climb::space::Blending;
use climb::weights::{Own, field, g17};
use climb::{Move, MoveKind};
use serde_json::{Map, Value, json};

use crate::hill_climb::facts::Facts;
use crate::hill_climb::folds::{Estimate, OutOfFold};
use crate::hill_climb::problem::{Bag, Blend, Problem, Scope};

/// The table for people.
pub fn table(problem: &Problem, blend: &Blend, honest: Option<&OutOfFold>) -> String {
    let metric = problem.config.shown();
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
    if let Some(threshold) = blend.thresholds.as_ref().and_then(|all| all.first()) {
        let _ = write!(text, "\n{:wide$}  {threshold:>9.6}", "threshold");
    }
    if let Some(honest) = honest {
        let head = format!("out of {} folds", honest.folds.len());
        let _ = write!(text, "\n\n{head:wide$}  {:>9}  {:>9}", metric.name(), "std error");
        for (which, name) in ["blend", "best member", "equal weights"].iter().enumerate() {
            let Estimate { mean, error } = honest.score(which);
            let _ = write!(text, "\n{name:wide$}  {:>9.6}  {error:>9.6}", metric.signed(mean));
        }
        let Estimate { mean, error } = honest.gain();
        let _ = write!(text, "\n{:wide$}  {mean:>+9.6}  {error:>9.6}", "gain over best member");
    }
    text
}

/// What to say where the blend is not better than its best member.
pub fn doubt(problem: &Problem, honest: &OutOfFold) -> Option<String> {
    let Estimate { mean, error } = honest.gain();
    let name = problem.config.shown().name();
    (!honest.better()).then(|| {
        format!(
            "out of fold the blend is not better than the best member beyond noise: {name} better by {mean:+.2e}, \
             standard error {error:.2e}"
        )
    })
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
pub fn json(problem: &Problem, blend: &Blend, facts: &Facts, honest: Option<&OutOfFold>) -> Value {
    let metric = problem.config.shown();
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
    let mut all = json!({
        "metric": metric.name(),
        "score": metric.signed(blend.score),
        "rows": problem.rows(),
        "weights": weights(&blend.global),
        "alone": named(problem, blend.global.singles.iter().map(|&s| metric.signed(s).into())),
        "zero_list": names(&blend.zero_list),
        "groups": groups,
    });
    if problem.blending() != Blending::VALUE {
        all["space"] = problem.blending().name().into();
    }
    if !problem.config.sum_one {
        all["sum_one"] = false.into();
    }
    if let Some(thresholds) = &blend.thresholds {
        all["threshold"] = thresholds[0].into();
    }
    if let Some(spread) = blend.global.spread() {
        all["weight_spread"] = named(problem, spread.into_iter().map(Value::from)).into();
        let bag = |bag: &Bag| Value::from(named(problem, bag.weights.iter().map(|&w| w.into())));
        all["bags"] = blend.global.bags.iter().map(bag).collect();
    }
    if let Some(honest) = honest {
        all["out_of_fold"] = honest.json(problem);
    }
    if let (Value::Object(all), Value::Object(more)) = (&mut all, facts.json()) {
        all.extend(more);
    }
    all
}

/// `history.csv`: every accepted step.
pub fn history(problem: &Problem, blend: &Blend) -> String {
    let mut text = String::from("scope,step,kind,model,from,weight,score\n");
    let metric = problem.config.shown();
    let mut steps = |scope: &str, moves: &[Move]| {
        let starts = moves.iter().filter(|m| m.kind == MoveKind::Start).count();
        for (i, step) in moves.iter().enumerate() {
            let name = |k: usize| field(problem.name(k));
            let _ = writeln!(
                text,
                "{},{},{},{},{},{},{}",
                field(scope),
                (i + 1).saturating_sub(starts),
                step.kind.name(),
                name(step.model),
                step.from.map(name).unwrap_or_default(),
                g17(step.weight),
                g17(metric.signed(step.score)),
            );
        }
    };
    for scope in std::iter::once(&blend.global).chain(&blend.groups) {
        steps(&scope.name, &scope.moves);
        for (i, bag) in scope.bags.iter().enumerate() {
            steps(&format!("{}/bag {i}", scope.name), &bag.moves);
        }
    }
    text
}

/// Figures for the manifest.
pub fn metrics(problem: &Problem, blend: &Blend, honest: Option<&OutOfFold>) -> Map<String, Value> {
    let metric = problem.config.shown();
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
    if let Some(threshold) = blend.thresholds.as_ref().and_then(|all| all.first()) {
        all.insert("threshold".into(), (*threshold).into());
    }
    if let Some(spread) = blend.global.spread() {
        all.insert("weight_spread".into(), named(problem, spread.into_iter().map(Value::from)).into());
    }
    if let Some(honest) = honest {
        let mut value = honest.json(problem);
        value["folds"] = honest.folds.len().into();
        all.insert("out_of_fold".into(), value);
    }
    all
}

fn named(problem: &Problem, values: impl Iterator<Item = Value>) -> Map<String, Value> {
    problem.members.iter().map(|m| m.name.clone()).zip(values).collect()
}
