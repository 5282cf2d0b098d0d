//! Constants, input layout, losses, metric.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use leap::columns::{self, GROUPS, TARGETS, train_targets};
use leap::norm::{Chain, Constants};
use leap::score::{Rules, Sums};
use leap::{layout, losses};
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use crate::checks::{Case, Comparison, compare_values, equal_lists};

/// The constants of a folder such as `golden/leap/norm`.
pub fn read_constants(folder: &Path, chain: Chain) -> Result<Constants> {
    let file = |name: &str| folder.join(format!("{name}_{chain}.json"));
    Ok(Constants::read(chain, &file("mean"), &file("std"), &folder.join("old_sample_weight.csv"))?)
}

/// All 924 statistics and 368 weights are found by name, in our orders; the stds respect the stated floor.
pub fn constants(case: &Case) -> Result<()> {
    let lines = |name: &str| Ok::<_, anyhow::Error>(case.text(name)?.lines().map(str::to_owned).collect::<Vec<_>>());
    let csv_inputs = lines("columns_csv_inputs.txt")?;
    let inputs = lines("columns_train_inputs.txt")?;
    let submission = lines("columns_submission.txt")?;
    let targets = lines("columns_train_targets.txt")?;
    equal_lists("csv inputs", columns::csv_inputs(), &borrowed(&csv_inputs))?;
    equal_lists("training inputs", columns::train_inputs(), &borrowed(&inputs))?;
    equal_lists("submission", columns::submission(), &borrowed(&submission))?;
    equal_lists("training targets", columns::train_targets(), &borrowed(&targets))?;

    for chain in [Chain::A, Chain::B] {
        let ours = read_constants(&case.folder, chain)?;
        let parse = |name: &str| -> Result<Map<String, Value>> {
            Ok(serde_json::from_str(&case.text(&format!("{name}_{chain}.json"))?)?)
        };
        let values = |map: &Map<String, Value>, names: &[String]| -> Result<Vec<f64>> {
            names.iter().map(|n| map.get(n).and_then(Value::as_f64).with_context(|| format!("no `{n}`"))).collect()
        };
        let (mean, std) = (parse("mean")?, parse("std")?);
        ensure!(mean.len() == inputs.len() + targets.len(), "{} means", mean.len());
        // Chain B rounds the constants of its inputs to f32.
        let rounding = if chain == Chain::A { 0.0 } else { f64::from(f32::EPSILON) };
        compare_values("input_mean", &ours.input_mean, &values(&mean, &inputs)?, rounding)?;
        compare_values("input_std", &ours.input_std, &values(&std, &inputs)?, rounding)?;
        compare_values("target_mean", &ours.target_mean, &values(&mean, &targets)?, 0.0)?;
        compare_values("target_std", &ours.target_std, &values(&std, &targets)?, 0.0)?;
        let floor: f64 = match case.str(&format!("std_{chain}"))?.rsplit_once("floor ") {
            Some((_, number)) => number.trim().parse()?,
            None => bail!("`std_{chain}` states no floor"),
        };
        let lowest = ours.input_std.iter().chain(&ours.target_std).copied().fold(f64::INFINITY, f64::min);
        ensure!(lowest >= floor * (1.0 - 1e-6), "lowest std of chain {chain} is {lowest:e}, floor {floor:e}");
    }

    let text = case.text("old_sample_weight.csv")?;
    let mut rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let (header, row) = (rows.next().context("no header")?, rows.next().context("no row")?);
    let ours = read_constants(&case.folder, Chain::A)?;
    ensure!(header.len() == TARGETS, "{} weights", header.len());
    for (name, field) in header.iter().zip(row) {
        let column = columns::target_position(name).with_context(|| format!("unknown target `{name}`"))?;
        let weight: f64 = field.parse()?;
        ensure!(ours.weight[column] == weight, "weight of `{name}`: {}, expected {weight}", ours.weight[column]);
    }
    Ok(())
}

/// 556 values to `[60, 25]`, and the sets of columns.
pub fn layout(case: &Case) -> Result<()> {
    let mut checks = Comparison::new();
    let rows = case.tensors("inputs.safetensors")?.get("rows")?;
    let want = case.tensors("expected.safetensors")?.get("x")?;
    checks.tensors("x", &layout::expand(&rows), &want, case.f64("tolerance.x")?);

    for g in 0..GROUPS {
        let ends = case.i64s(&format!("groups.{g}"))?;
        let ours = columns::group(g);
        checks.add(equal_lists(&format!("group {g}"), &[ours.start as i64, ours.end as i64 - 1], &ends));
    }
    let zero: Vec<&str> = columns::always_zero().iter().map(|&c| train_targets()[c]).collect();
    let linear: Vec<&str> = columns::linear().map(|c| train_targets()[c]).collect();
    checks.add(equal_lists("zero_columns", &zero, &borrowed(&case.strings("zero_columns")?)));
    checks.add(equal_lists("linear_columns", &linear, &borrowed(&case.strings("linear_columns")?)));

    let text = case.text("columns.csv")?;
    let pairs: Vec<_> = text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once(',')).collect();
    let (targets, submission): (Vec<&str>, Vec<&str>) = pairs.into_iter().unzip();
    checks.add(equal_lists("target order", train_targets(), &targets));
    checks.add(equal_lists("submission order", columns::submission(), &submission));
    checks.finish()
}

/// All losses of `expected.safetensors`, and their gradients with respect to the prediction.
pub fn losses(case: &Case) -> Result<()> {
    let (loss_tolerance, grad_tolerance) = (case.f64("tolerance.loss")?, case.f64("tolerance.grad")?);
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let (predicted, target) = (inputs.get("pred")?, inputs.get("targets")?);
    let mut checks = Comparison::new();
    for name in expected.names().filter(|name| !name.starts_with("grad.")) {
        let (_, short) = name.split_once('.').unwrap_or(("", name));
        let predicted = predicted.copy().set_requires_grad(true);
        let loss = loss_by_name(name, &predicted, &target)?;
        checks.number(name, loss.double_value(&[]), expected.scalar(name)?, loss_tolerance);
        let gradient = format!("grad.{short}");
        if name.starts_with("loss.") && expected.has(&gradient) {
            loss.backward();
            checks.tensors(&gradient, &predicted.grad(), &expected.get(&gradient)?, grad_tolerance);
        }
    }
    checks.finish()
}

/// `full_beta05_w2` is beta 0.5 with the difference terms weighted 2, `group3` the loss of group 3.
fn loss_by_name(name: &str, predicted: &Tensor, target: &Tensor) -> Result<Tensor> {
    let short = name.trim_start_matches("loss.").trim_start_matches("eval.");
    if short == "mse" {
        return Ok(losses::mse(predicted, target));
    }
    if let Some(g) = short.strip_prefix("group") {
        return Ok(losses::of_group(predicted, target, g.parse()?));
    }
    let Some(rest) = short.strip_prefix("full_beta") else { bail!("`{name}`: not a known loss") };
    let (beta, factor) = match rest.split_once("_w") {
        Some((beta, factor)) => (beta, factor.parse()?),
        None => (rest, 1.0),
    };
    // `05` is 0.5, `1` is 1.
    let beta = match beta.strip_prefix('0') {
        Some(decimals) => format!("0.{decimals}").parse()?,
        None => beta.parse()?,
    };
    if name.starts_with("eval.") {
        return Ok(losses::smooth_l1(predicted, target, beta));
    }
    Ok(losses::full(predicted, target, beta, factor))
}

/// The fdzm scorer: columns, groups, fallback, zero list, and the stored out-of-fold array.
pub fn metric_of_chain_b(case: &Case) -> Result<()> {
    let constants = read_constants(&case.normalisation()?, Chain::B)?;
    let rules = Rules::of(&constants);
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let mut predicted = inputs.f32s("pred")?;
    let mut sums = Sums::new();
    sums.add(&inputs.f32s("targets")?, &predicted);
    let score = sums.score(&rules);

    let (columns, total) = (case.f64("tolerance.column_r2")?, case.f64("tolerance.score")?);
    let mut checks = Comparison::new();
    checks.values("column_r2", &score.column_r2, &expected.f64s("column_r2")?, columns);
    // What training minimises, group by group.
    checks.values("group_score", &score.groups().map(|r2| -r2), &expected.f64s("group_score")?, total);
    checks.number("score", score.score(), expected.scalar("score")?, total);
    checks.number("score", score.score(), case.f64("score")?, total);
    checks.add(zero_list(case, "zero_list", &score.zero_list));
    if expected.has("oof") {
        // The array as it was scored: the zero list is only applied at the end of a run.
        rules.overwrite(&mut predicted, &[]);
        let want = expected.get("oof")?;
        let got = Tensor::from_slice(&predicted).reshape(want.size());
        checks.tensors("oof", &got, &want.to_kind(Kind::Float), total);
    }
    checks.finish()
}

/// Scores are absolute to 1e-6, as the case's sentence says.
const SCORE_TOLERANCE: f64 = 1e-6;

/// Both scorers on their own labels.
pub fn metric_of_both_chains(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let predicted = inputs.f32s("y_pred")?;
    let mut checks = Comparison::new();
    for chain in [Chain::A, Chain::B] {
        let constants = read_constants(&case.normalisation()?, chain)?;
        let mut sums = Sums::new();
        sums.add(&inputs.f32s(&format!("y_true_{chain}"))?, &predicted);
        let score = sums.score(&Rules::of(&constants));
        let mut check = |what: &str, got: &[f64]| -> Result<()> {
            let name = format!("{chain}.{what}");
            if expected.has(&name) {
                let want = expected.f64s(&name)?;
                ensure!(want.len() == got.len(), "`{name}`: {} values, expected {}", got.len(), want.len());
                for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                    let near = (got - want).abs() <= SCORE_TOLERANCE * want.abs().max(1.0);
                    checks.add(if near {
                        Ok(())
                    } else {
                        Err(anyhow::anyhow!("`{name}` {i}: {got}, expected {want}"))
                    });
                }
            }
            Ok(())
        };
        check("score", &[score.score()])?;
        check("column_r2", &score.plain_r2)?;
        check("group_scores", &score.groups())?;
        check("group_finetune_scores", &score.groups().map(|r2| -r2))?;
        checks.add(zero_list(case, &format!("zero_list_{chain}"), &score.zero_list));
    }
    checks.finish()
}

fn zero_list(case: &Case, key: &str, got: &[usize]) -> Result<()> {
    let names: Vec<&str> = got.iter().map(|&c| train_targets()[c]).collect();
    equal_lists(key, &names, &borrowed(&case.strings(key)?))
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
