//! Joseph's networks, the augmentation of 907, and the group fine-tuning of 912.

use anyhow::{Context, Result, anyhow};
use leap::augment::{self, Augmentation, Change};
use leap::columns::GROUPS;
use leap::finetune::{self, BadGroups, Base, FinetuneConfig};
use leap::models::ModelConfig;
use leap::norm::Chain;
use leap::train::{self, Arrays, Options, RowsConfig};
use leap::{layout, losses};
use neural::clip::clip_grad_norm;
use neural::loader::Shuffle;
use neural::optim::{AdamWConfig, Optimizer, OptimizerConfig};
use neural::schedule::{CosineConfig, ScheduleConfig};
use neural::trainer::{Evaluated, Event, Training};
use serde_json::{Value, json};

use super::networks::{build, determined, groups as parameter_groups, load, model_config, optimizer_config};
use super::numbers::read_constants;
use super::train::{options, rates_of_groups, rows, training};
use crate::checks::{Case, Comparison, Tensors, compare_absolute, compare_values, said};

/// Forward, losses, gradients, steps of the optimizer on one batch; of 912 the losses of all groups too.
pub fn networks(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let (near, near_grad, near_step) =
        (case.f64("tolerance.rel_to_max")?, case.f64("tolerance.grad")?, case.f64("tolerance.step3")?);
    let (params, network) = build(case.str("model")?, &without_dropout(case.str("model")?, case.value("config")?)?)?;
    load(&params, &case.tensors("weights.safetensors")?)?;
    let (x, y) = (layout::expand(&inputs.get("x")?), inputs.get("y")?);
    let mut checks = Comparison::new();
    let output = network.forward(&x, false);
    checks.tensors("output", &output, &expected.get("output")?, near);
    if expected.has("group_losses_on_output") {
        let got: Vec<f64> = (0..GROUPS).map(|g| losses::of_group(&output, &y, g).double_value(&[])).collect();
        checks.values("group_losses_on_output", &got, &expected.f64s("group_losses_on_output")?, near);
    }

    let groups = parameter_groups(&params, case.value("training.lr_groups")?)?;
    let mut optimizer = Optimizer::new(&optimizer_config(case, "training")?, groups)?;
    let (want_losses, want_norms) = (expected.f64s("losses")?, expected.f64s("grad_norms")?);
    for step in 0..case.usize("training.steps")? {
        optimizer.zero_grad()?;
        let loss = losses::full(&network.forward(&x, true), &y, 1.0, 1.0);
        loss.backward();
        if step == 0 {
            for (name, parameter) in params.named() {
                let (wanted, gradient) = (format!("grad.{name}"), parameter.grad());
                if expected.has(&wanted) {
                    let (got, want) = (determined(&name, &gradient), determined(&name, &expected.get(&wanted)?));
                    checks.tensors(&wanted, &got, &want, near_grad);
                } else {
                    checks.add(if gradient.defined() { Err(anyhow!("`{name}` has a gradient")) } else { Ok(()) });
                }
            }
        }
        let norm = clip_grad_norm(&params.trainable(), case.f64("training.max_grad_norm")?)?;
        optimizer.step()?;
        checks.number(&format!("loss {step}"), loss.double_value(&[]), want_losses[step], near_step);
        checks.number(&format!("grad_norm {step}"), norm, want_norms[step], near_step);
    }
    let steps = format!("step{}.", case.usize("training.steps")?);
    for (name, want) in expected.under(&steps) {
        let got = params.get(&name).with_context(|| format!("no parameter `{name}`"))?;
        checks.tensors(&format!("{steps}{name}"), &determined(&name, &got), &determined(&name, &want), near_step);
    }
    checks.finish()
}

/// The sizes of a case; its values are made without dropout.
fn without_dropout(model: &str, sizes: &Value) -> Result<Value> {
    let mut sizes = sizes.as_object().context("`config` is no object")?.clone();
    if model.starts_with("jo912") {
        sizes.insert("dropout".into(), json!(0.0));
        let count = sizes.get("sample_dropouts").and_then(Value::as_array).map_or(4, Vec::len);
        sizes.insert("sample_dropouts".into(), json!(vec![0.0; count]));
    }
    Ok(Value::Object(sizes))
}

/// Flip and roll for given draws, bit for bit.
pub fn augmentation(case: &Case) -> Result<()> {
    let (inputs, expected) = (case.tensors("inputs.safetensors")?, case.tensors("expected.safetensors")?);
    let (x, y) = (layout::expand(&inputs.get("x")?), inputs.get("y")?);
    let rule = Augmentation::default();
    let mut checks = Comparison::new();
    for name in expected.names().filter_map(|name| name.strip_suffix(".features")) {
        // `roll_p3` rolls by 3, `roll_m5` by -5, `edge_u0.92` is a draw that changes nothing.
        let (u, shift) = match name.split_once('_') {
            None if name == "none" => (0.5, 1),
            None if name == "flip" => (0.95, 1),
            Some(("roll", by)) if by.starts_with('p') => (0.01, by[1..].parse()?),
            Some(("roll", by)) if by.starts_with('m') => (0.07, -by[1..].parse::<i64>()?),
            Some(("edge", draw)) => (draw.trim_start_matches('u').parse()?, 1),
            _ => anyhow::bail!("`{name}`: no draw is known"),
        };
        let changes: Vec<Change> = (0..x.size()[0]).map(|_| rule.change(u, shift)).collect();
        let (features, targets) = augment::apply(&changes, &x, &y);
        checks.tensors(&format!("{name}.features"), &features, &expected.get(&format!("{name}.features"))?, 0.0);
        checks.tensors(&format!("{name}.targets"), &targets, &expected.get(&format!("{name}.targets"))?, 0.0);
    }
    checks.finish()
}

/// Seven group runs of 912 with the published rule for bad groups: what every evaluation saw, which groups were bad, the
/// merged out-of-fold array and its score, the submission.
pub fn groups(case: &Case) -> Result<()> {
    let (inputs, expected) = (case.tensors("inputs.safetensors")?, case.tensors("expected.safetensors")?);
    let number = |key: &str| -> Result<u64> { Ok(case.usize(&format!("training.{key}"))? as u64) };
    let constants = read_constants(&case.normalisation()?, Chain::B)?;
    let adam_w = AdamWConfig { weight_decay: case.f64("training.weight_decay")?, ..AdamWConfig::default() };
    let config = FinetuneConfig {
        system: "leap".into(),
        member: case.name.clone(),
        seed: 1,
        rows: RowsConfig::default(),
        skip: vec![],
        bad_groups: BadGroups::Parity,
        val_batch_size: number("val_batch_size")?,
        oof_npy: false,
        training: Training {
            batch_size: number("batch_size")?,
            shuffle: Shuffle::Sequential,
            max_grad_norm: Some(case.f64("training.max_grad_norm")?),
            evaluate_n_times_per_epoch: 8,
            evaluate_only_last: Some((expected.shape("trace")?[0] / GROUPS) as u64),
            group_learning_rates: rates_of_groups(case.value("training.lr_groups")?),
            schedule: ScheduleConfig::CosineRestarts(CosineConfig {
                t_0: 1,
                t_mult: 1,
                eta_min: case.f64("training.eta_min")?,
            }),
            ..training(OptimizerConfig::AdamW(adam_w))?
        },
    };
    let model: ModelConfig = model_config("jo912", &without_dropout("jo912", case.value("config")?)?)?;
    let folder = tempfile::tempdir()?;
    let about = train::about("base", &model, Chain::B, true)?;
    let base = Base { path: case.path("initial_weights.safetensors"), model, chain: Chain::B, about };
    let arrays = Arrays {
        train: rows(&inputs, "train_x", "train_y", 0, number("rows")? as usize)?,
        order: None,
        valid: rows(&inputs, "valid_x", "valid_y", 0, number("valid_rows")? as usize)?,
        constants: constants.clone(),
        normalisation: None,
    };

    let mut checks = Comparison::new();
    let sentence = case.str("tolerance")?;
    let near = said(sentence, "trace")?;
    let base_score = finetune::score_base(&base, &config, &arrays, &options(folder.path()))?;
    checks.values("base_scores", &base_score.groups(), &expected.f64s("base_scores")?, near);
    let (mut tuned, mut trace) = (vec![], vec![]);
    for group in 0..GROUPS {
        let mut seen: Vec<Evaluated> = vec![];
        let mut observer = |event: Event| {
            if let Event::Evaluation { evaluated, .. } = event {
                seen.push(evaluated);
            }
        };
        let options = Options { observer: Some(&mut observer), ..options(folder.path()) };
        tuned.push(finetune::tune(group, &base, &base_score, &config, "golden", &arrays, options)?);
        for e in seen {
            let loss = e.metrics[0].value;
            trace.push([group as f64, e.step as f64, e.training_loss, e.gradient_norm, loss, e.score, e.rates[0]]);
        }
    }
    let want = expected.f64s("trace")?;
    let names = ["group", "step", "train loss", "gradient norm", "validation loss", "score", "lr"];
    for (i, name) in names.iter().enumerate() {
        let got: Vec<f64> = trace.iter().map(|row| row[i]).collect();
        let want: Vec<f64> = want.chunks(names.len()).map(|row| row[i]).collect();
        let tolerance = if ["group", "step", "lr"].contains(name) { 1e-12 } else { near };
        checks.add(compare_values(name, &got, &want, tolerance));
    }
    let bad: Vec<i64> = tuned.iter().filter(|t| t.from_base).map(|t| t.group as i64).collect();
    checks.add(crate::checks::equal_lists("bad groups", &bad, &case.i64s("bad_groups")?));
    let files: Vec<_> = tuned.iter().map(|t| t.file.path.clone()).collect();
    let merged = finetune::merge(&base, base_score, tuned, &config, &arrays, &options(folder.path()))?;
    let oof = Tensors::read(&merged.oof.path)?;
    checks.add(compare_absolute("oof", &oof.get("predictions")?, &expected.get("oof")?, said(sentence, "oof")?));
    checks.number("final_score", merged.score.score(), expected.scalar("final_score")?, near);
    let test = case.path(case.str("test_input")?).join("kaggle-data");
    let got = super::predict::values_of_files(&test, &case.normalisation()?, &files)?;
    checks.add(super::train::compare_submission(
        &got,
        &expected.f64s("submission")?,
        &constants,
        said(sentence, "submission*weight")?,
    ));
    checks.finish()
}
