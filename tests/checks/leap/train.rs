//! Whole training runs: ADAM's 195, Max2020's stack, and the seven group fine-tunings from one base.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use leap::columns::{INPUTS, TARGETS, always_zero, linear, target_position};
use leap::finetune::{self, BadGroups, Base, FinetuneConfig};
use leap::norm::{Chain, Constants};
use leap::score::Score;
use leap::train::{self, Arrays, LossConfig, Options, RowsConfig, TrainConfig};
use neural::loader::{Field, InMemory, Order, Shuffle, Source};
use neural::optim::{AdamConfig, AdamWConfig, OptimizerConfig};
use neural::schedule::{CosineConfig, PlateauConfig, ScheduleConfig};
use neural::trainer::{Evaluated, Event, Resume, Training};
use serde_json::{Value, json};

use super::networks::determined;
use super::numbers::read_constants;
use crate::checks::{Case, Comparison, Tensors, compare, compare_absolute, said};

/// ADAM's 195: evaluations, learning-rate drops, early stop, zero list, out-of-fold array, submission.
pub fn adam(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let constants = read_constants(&case.normalisation()?, Chain::A)?;
    let mut sizes = case.value("config")?.clone();
    sizes["dropout"] = json!(case.f64("training.dropout")?);
    let number = |key: &str| -> Result<u64> { Ok(case.usize(&format!("training.{key}"))? as u64) };
    let config = TrainConfig {
        training: Training {
            epochs: number("epochs")?,
            batch_size: number("batch_size")?,
            shuffle: if case.bool("training.shuffle")? { Shuffle::Global } else { Shuffle::Sequential },
            max_grad_norm: Some(case.f64("training.max_grad_norm")?),
            evaluate_n_times_per_epoch: number("evaluate_n_times_per_epoch")?,
            early_stop_step: Some(number("early_stop_step")?),
            learning_rate: case.f64("training.lr")?,
            schedule: ScheduleConfig::Plateau(PlateauConfig::default()),
            ..training(OptimizerConfig::Adam(AdamConfig::default()))?
        },
        loss: LossConfig::default(),
        val_batch_size: number("val_batch_size")?,
        ..train_config(case, &sizes)?
    };
    let arrays = Arrays {
        train: rows(&inputs, "train_x", "train_y", 0, number("rows")? as usize)?,
        order: None,
        valid: rows(&inputs, "valid_x", "valid_y", 0, number("valid_rows")? as usize)?,
        constants: constants.clone(),
        normalisation: None,
    };
    let run = Run::train(&config, &arrays, &case.path("initial_weights.safetensors"))?;

    let mut checks = Comparison::new();
    let trace = expected.f64s("trace")?;
    let want: Vec<&[f64]> = trace.chunks(8).collect();
    checks.add(if run.evaluations.len() == want.len() {
        Ok(())
    } else {
        Err(anyhow!("{} evaluations, expected {}", run.evaluations.len(), want.len()))
    });
    /// Name of a trace column, its tolerance, and where its value comes from.
    type Traced = (&'static str, f64, fn(&Evaluated) -> f64);
    let sentence = case.str("tolerance")?;
    let (near, norm, slack) =
        (said(sentence, "trace")?, said(sentence, "gradient norm")?, said(sentence, "zero-list length")?);
    let columns: [Traced; 8] = [
        ("epoch", 0.0, |e| e.epoch as f64),
        ("step", 0.0, |e| e.step as f64),
        ("train loss", near, |e| e.training_loss),
        ("gradient norm", norm, |e| e.gradient_norm),
        ("validation loss", near, |e| e.metrics[0].value),
        ("score", near, |e| e.score),
        ("lr", 1e-12, |e| e.rates[0]),
        ("zero list", 0.0, |e| train::zero_list(&e.detail).len() as f64),
    ];
    for (i, (name, tolerance, of)) in columns.iter().enumerate() {
        let got: Vec<f64> = run.evaluations.iter().map(of).collect();
        let want: Vec<f64> = want.iter().map(|row| row[i]).collect();
        // The length of the zero list may differ: columns near the zero score.
        let most = want.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
        let tolerance = if *name == "zero list" { slack / most } else { *tolerance };
        checks.values(name, &got, &want, tolerance);
    }
    let kept = run.trained.outcome.state.kept.clone().context("no evaluation was kept")?;
    checks.number("best_score", kept.score, expected.scalar("best_score")?, near);
    let zero_list = check_zero_list(&mut checks, &kept, &case.strings("best_zero_list")?, slack as usize);

    let skip = &leap::score::Rules::of(&constants).skip;
    let oof = Tensors::read(&run.trained.oof.path)?.get("predictions")?;
    let columns: Vec<i64> =
        (0..TARGETS).filter(|c| !skip.contains(c) && !zero_list.contains(c)).map(|c| c as i64).collect();
    let columns = tch::Tensor::from_slice(&columns).to_device(crate::checks::device());
    let pick = |t: &tch::Tensor| t.index_select(1, &columns);
    checks.add(compare_absolute("oof", &pick(&oof), &pick(&expected.get("oof")?), said(sentence, "oof:")?));
    checks.add(submission(case, &run, &constants, &expected.f64s("submission")?));
    checks.finish()
}

/// The submission of the best weights on the case's `test.csv`, times the weights.
fn submission(case: &Case, run: &Run, constants: &Constants, want: &[f64]) -> Result<()> {
    let folder = case.str("test_input")?.split(' ').next().unwrap_or_default();
    let folder = case.path(folder).join("kaggle-data");
    let got = super::predict::values_of(&folder, &case.normalisation()?, &run.trained.model)?;
    compare_submission(&got, want, constants, said(case.str("tolerance")?, "submission*weight")?)
}

/// Each value times its weight within `allowed`; zero and linear columns to the last digits.
pub fn compare_submission(got: &[f64], want: &[f64], constants: &Constants, allowed: f64) -> Result<()> {
    ensure!(got.len() == want.len(), "submission: {} values, expected {}", got.len(), want.len());
    let order = leap::columns::submission_to_train_targets();
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let column = order[i % TARGETS];
        let exact = linear().contains(&column) || always_zero().contains(&column);
        let (difference, allowed) = if exact {
            ((got - want).abs(), 2e-12 * want.abs())
        } else {
            ((got - want).abs() * constants.weight[column], allowed)
        };
        ensure!(difference <= allowed, "submission, row {}, column {column}: {got:e}, expected {want:e}", i / TARGETS);
    }
    Ok(())
}

/// A loop of the base stage: loss, gradient norm and rate of every step, scores, the kept checkpoint, the out-of-fold array.
pub fn base(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let tolerance = |name: &str| case.f64(&format!("tolerance.{name}"));
    let config = TrainConfig {
        training: Training {
            evaluate_last: Some(neural::trainer::config::EvaluateLast {
                epochs: 1,
                times: case.usize("evaluations_last_epoch")? as u64,
            }),
            ..cosine_training(case)?
        },
        // Max2020 reports the whole loss of the validation rows, ForcewithMe its first part.
        loss: LossConfig {
            beta: beta(case)?,
            differences: 1.0,
            differences_in_validation: case.str("model")?.starts_with("max"),
            ..LossConfig::default()
        },
        val_batch_size: case.usize("valid_batch")? as u64,
        model: super::networks::model_config(case.str("model")?, case.value("constructor")?)?,
        ..train_config(case, &json!({}))?
    };
    let arrays = arrays(case, &inputs, inputs.i64s("order")?, case.usize("epochs")?)?;
    let run = Run::train(&config, &arrays, &case.path("weights.safetensors"))?;

    let mut checks = Comparison::new();
    let steps = |of: fn(&Step) -> f64| run.steps.iter().map(of).collect::<Vec<_>>();
    checks.values("step_loss", &steps(|s| s.loss), &expected.f64s("step_loss")?, tolerance("step_loss")?);
    checks.values(
        "step_grad_norm",
        &steps(|s| s.norm),
        &expected.f64s("step_grad_norm")?,
        tolerance("step_grad_norm").or_else(|_| tolerance("step_loss"))?,
    );
    checks.values("step_lr", &steps(|s| s.rates[0]), &expected.f64s("step_lr")?, 1e-12);
    let score: Vec<f64> = run.evaluations.iter().map(|e| e.score).collect();
    checks.values("score", &score, &expected.f64s("score")?, tolerance("score")?);
    let loss: Vec<f64> = run.evaluations.iter().map(|e| e.metrics[0].value).collect();
    checks.values("val_loss", &loss, &expected.f64s("val_loss")?, tolerance("score")?);
    for (i, (ours, evaluation)) in
        run.evaluations.iter().zip(case.value("evaluations")?.as_array().into_iter().flatten()).enumerate()
    {
        let names: Vec<&str> =
            evaluation["zero_list"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        checks.add(same_columns(&format!("zero list {i}"), &train::zero_list(&ours.detail), &names));
    }
    let kept = run.trained.outcome.state.kept.clone().context("no evaluation was kept")?;
    checks.number("best_score", kept.score, case.f64("best_score")?, tolerance("score")?);
    check_zero_list(&mut checks, &kept, &case.strings("best_zero_list")?, 0);
    check_weights(
        &mut checks,
        "",
        &Tensors::read(&run.trained.model)?,
        &case.tensors("best_checkpoint.safetensors")?,
        tolerance("best")?,
    );
    let oof = Tensors::read(&run.trained.oof.path)?;
    checks.add(compare("oof", &oof.get("predictions")?, &expected.get("oof")?, tolerance("oof")?));
    checks.finish()
}

/// Seven group runs from one base: their steps, scores and checkpoints, the merged out-of-fold array and its score.
pub fn groups(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let tolerance = |name: &str| case.f64(&format!("tolerance.{name}"));
    let config = FinetuneConfig {
        system: "leap".into(),
        member: case.name.clone(),
        seed: 1,
        rows: RowsConfig::default(),
        skip: vec![],
        bad_groups: BadGroups::Keep,
        val_batch_size: case.usize("valid_batch")? as u64,
        oof_npy: false,
        training: cosine_training(case)?,
    };
    let model = super::networks::model_config(case.str("model")?, case.value("constructor")?)?;
    let folder = tempfile::tempdir()?;
    let about = train::about("base", &model, Chain::B, true)?;
    let base = Base { path: case.path("weights.safetensors"), model, chain: Chain::B, about };
    let order = inputs.i64s("order")?;
    let per_group = order.len() / leap::columns::GROUPS;

    let mut checks = Comparison::new();
    let arrays = |group: usize| arrays(case, &inputs, order[group * per_group..(group + 1) * per_group].to_vec(), 1);
    let base_score = finetune::score_base(&base, &config, &arrays(0)?, &options(folder.path()))?;
    checks.number("base_score", base_score.score(), case.f64("base_score")?, tolerance("score")?);
    checks.values("base_group_r2", &base_score.groups(), &case.f64s("base_group_r2")?, tolerance("score")?);
    let checkpoints = case.tensors("checkpoints.safetensors")?;
    let mut tuned = vec![];
    for group in 0..leap::columns::GROUPS {
        let (mut steps, mut scores) = (vec![], vec![]);
        let mut observer = |event: Event| match event {
            Event::Step { loss, gradient_norm, rates, .. } => steps.push(Step { loss, norm: gradient_norm, rates }),
            Event::Evaluation { evaluated, .. } => scores.push(evaluated.score),
        };
        let options = Options { observer: Some(&mut observer), ..options(folder.path()) };
        let done = finetune::tune(group, &base, &base_score, &config, "golden", &arrays(group)?, options)?;
        let of_group = |name: &str| -> Result<Vec<f64>> {
            let all = expected.f64s(name)?;
            let each = all.len() / leap::columns::GROUPS;
            Ok(all[group * each..(group + 1) * each].to_vec())
        };
        let losses: Vec<f64> = steps.iter().map(|s| s.loss).collect();
        let norms: Vec<f64> = steps.iter().map(|s| s.norm).collect();
        let rates: Vec<f64> = steps.iter().flat_map(|s| s.rates.clone()).collect();
        let name = |what: &str| format!("group {group}: {what}");
        checks.values(&name("step_loss"), &losses, &of_group("step_loss")?, tolerance("step_loss")?);
        let near = tolerance("step_grad_norm").or_else(|_| tolerance("step_loss"))?;
        checks.values(&name("step_grad_norm"), &norms, &of_group("step_grad_norm")?, near);
        let want_rates = sorted_steps(&of_group("step_lr")?, steps.len());
        checks.values(&name("step_lr"), &sorted_steps(&rates, steps.len()), &want_rates, 1e-12);
        checks.values(&name("score"), &scores, &of_group("score")?, tolerance("score")?);
        checks.number(
            &name("best_score"),
            -done.best.unwrap_or(f64::NAN),
            of_group("best_score")?[0],
            tolerance("score")?,
        );
        check_weights(
            &mut checks,
            &format!("g{group}."),
            &Tensors::read(&done.file.path)?,
            &checkpoints,
            tolerance("checkpoints")?,
        );
        tuned.push(done);
    }
    let merged = finetune::merge(&base, base_score, tuned, &config, &arrays(0)?, &options(folder.path()))?;
    let oof = Tensors::read(&merged.oof.path)?;
    checks.add(compare("oof", &oof.get("predictions")?, &expected.get("oof")?, tolerance("oof")?));
    checks.number("merged_score", merged.score.score(), case.f64("merged_score")?, tolerance("score")?);
    checks.add(same_columns(
        "merged_zero_list",
        &merged_zero_list(&merged.score),
        &borrowed(&case.strings("merged_zero_list")?),
    ));
    checks.finish()
}

/// Rates of each step in ascending order: the case and we list the parameter groups in different orders.
fn sorted_steps(rates: &[f64], steps: usize) -> Vec<f64> {
    let mut rates = rates.to_vec();
    let each = (rates.len() / steps.max(1)).max(1);
    rates.chunks_mut(each).for_each(|step| step.sort_by(f64::total_cmp));
    rates
}

fn merged_zero_list(score: &Score) -> Vec<usize> {
    score.zero_list.clone()
}

/// One run in a folder that vanishes with it, and what its observer saw.
struct Run {
    trained: train::Trained,
    steps: Vec<Step>,
    evaluations: Vec<Evaluated>,
    _folder: tempfile::TempDir,
}

struct Step {
    loss: f64,
    norm: f64,
    rates: Vec<f64>,
}

impl Run {
    fn train(config: &TrainConfig, arrays: &Arrays, weights: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (mut steps, mut evaluations) = (vec![], vec![]);
        let mut observer = |event: Event| match event {
            Event::Step { loss, gradient_norm, rates, .. } => steps.push(Step { loss, norm: gradient_norm, rates }),
            Event::Evaluation { evaluated, .. } => evaluations.push(evaluated),
        };
        let options = Options { initial: Some(weights), observer: Some(&mut observer), ..options(folder.path()) };
        let trained = train::train(config, "golden", arrays, options)?;
        Ok(Self { trained, steps, evaluations, _folder: folder })
    }
}

pub fn options<'a>(folder: &Path) -> Options<'a> {
    Options {
        folder: folder.to_path_buf(),
        device: crate::checks::device(),
        resume: Resume::Never,
        max_steps: None,
        initial: None,
        observer: None,
    }
}

/// The sections of a training config that no case gives.
pub fn training(optimizer: OptimizerConfig) -> Result<Training> {
    Ok(serde_json::from_value(json!({
        "epochs": 1, "batch_size": 1, "learning_rate": 1e-3, "optimizer": serde_json::to_value(optimizer)?,
        "checkpoint": { "every_seconds": null },
    }))?)
}

fn cosine_training(case: &Case) -> Result<Training> {
    let betas = case.f64s("optimizer.betas")?;
    let adam_w = AdamWConfig {
        betas: [betas[0], betas[1]],
        weight_decay: case.f64("optimizer.weight_decay")?,
        ..AdamWConfig::default()
    };
    Ok(Training {
        epochs: case.usize("epochs")? as u64,
        batch_size: case.usize("batch")? as u64,
        max_grad_norm: Some(case.f64("optimizer.max_grad_norm")?),
        evaluate_n_times_per_epoch: case.usize("evaluations_per_epoch")? as u64,
        learning_rate: case.f64("optimizer.lr").unwrap_or(1e-3),
        group_learning_rates: rates_of_groups(case.value("optimizer.lr")?),
        schedule: ScheduleConfig::CosineRestarts(CosineConfig {
            t_0: case.usize("schedule.T_0")? as u32,
            t_mult: case.usize("schedule.T_mult")? as u32,
            eta_min: case.f64("schedule.eta_min")?,
        }),
        ..training(OptimizerConfig::AdamW(adam_w))?
    })
}

/// `{lstml: 8e-4, ..}`, or nothing where one rate serves all.
pub fn rates_of_groups(rates: &Value) -> BTreeMap<String, f64> {
    let rates = rates.as_object().into_iter().flatten();
    rates.filter_map(|(name, rate)| Some((format!("{name}."), rate.as_f64()?))).collect()
}

fn train_config(case: &Case, sizes: &Value) -> Result<TrainConfig> {
    // Where the case names its network otherwise, the caller replaces this one.
    let model = case.str("model").ok().filter(|name| name.starts_with("adam")).unwrap_or("max022");
    Ok(serde_json::from_value(json!({
        "system": "leap", "member": case.name, "seed": 1, "model": { model: sizes }, "loss": {},
        "training": serde_json::to_value(training(OptimizerConfig::Adam(AdamConfig::default()))?)?,
    }))?)
}

/// Training and validation rows of a case whose arrays hold both, with the order of each epoch.
fn arrays(case: &Case, inputs: &Tensors, order: Vec<i64>, epochs: usize) -> Result<Arrays> {
    let (train, valid) = (range(case.str("rows.train")?)?, range(case.str("rows.valid")?)?);
    let order: Vec<Vec<u64>> =
        order.chunks(order.len() / epochs).map(|epoch| epoch.iter().map(|&row| row as u64).collect()).collect();
    Ok(Arrays {
        train: rows(inputs, "rows", "targets", train.0, train.1)?,
        order: Some(Arc::new(Order::given(order)?)),
        valid: rows(inputs, "rows", "targets", valid.0, valid.1)?,
        constants: read_constants(&case.normalisation()?, Chain::B)?,
        normalisation: None,
    })
}

/// `0..21`, both ends included, as first row and number of rows.
fn range(text: &str) -> Result<(usize, usize)> {
    let (first, last) = text.split_once("..").with_context(|| format!("`{text}` is no range"))?;
    let (first, last): (usize, usize) = (first.parse()?, last.parse()?);
    Ok((first, last + 1 - first))
}

pub fn rows(tensors: &Tensors, inputs: &str, targets: &str, first: usize, count: usize) -> Result<Arc<dyn Source>> {
    let cut = |name: &str, width: usize| -> Result<(Field, Vec<f32>)> {
        let values = tensors.f32s(name)?;
        ensure!(values.len() >= (first + count) * width, "`{name}` has {} values", values.len());
        Ok((Field::vector(name, width), values[first * width..(first + count) * width].to_vec()))
    };
    Ok(Arc::new(InMemory::new(vec![cut(inputs, INPUTS)?, cut(targets, TARGETS)?])?))
}

/// `SmoothL1(beta=0.5) over all 368 ...`.
fn beta(case: &Case) -> Result<f64> {
    let text = case.str("loss")?;
    let rest = text.split("beta=").nth(1).and_then(|rest| rest.split(')').next());
    Ok(rest.with_context(|| format!("no beta in `{text}`"))?.parse()?)
}

fn check_weights(checks: &mut Comparison, prefix: &str, ours: &Tensors, want: &Tensors, tolerance: f64) {
    let want = want.under(prefix);
    let count = ours.names().count();
    checks.add(if count == want.len() { Ok(()) } else { Err(anyhow!("{count} tensors, expected {}", want.len())) });
    for (name, tensor) in want {
        let compared = ours.get(&name).and_then(|ours| {
            let (ours, tensor) = (determined(&name, &ours), determined(&name, &tensor));
            compare(&format!("{prefix}{name}"), &ours, &tensor, tolerance)
        });
        checks.add(compared);
    }
}

/// The zero list of the kept evaluation: at most `slack` columns differ.
fn check_zero_list(checks: &mut Comparison, kept: &Evaluated, want: &[String], slack: usize) -> Vec<usize> {
    let got = train::zero_list(&kept.detail);
    let want: Vec<usize> = want.iter().filter_map(|name| target_position(name)).collect();
    let different = got.iter().filter(|c| !want.contains(c)).chain(want.iter().filter(|c| !got.contains(c))).count();
    checks.add(if different <= slack { Ok(()) } else { Err(anyhow!("{different} columns of the zero list differ")) });
    got.into_iter().chain(want).collect()
}

fn same_columns(name: &str, got: &[usize], want: &[&str]) -> Result<()> {
    let got: Vec<&str> = got.iter().map(|&c| leap::columns::train_targets()[c]).collect();
    crate::checks::equal_lists(name, &got, want)
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
