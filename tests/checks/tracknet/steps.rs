//! Loss, metrics, optimizer steps, schedule.

use anyhow::{Result, ensure};
use neural::clip::clip_grad_norm;
use neural::optim::{AdamConfig, Group, Optimizer, OptimizerConfig};
use neural::schedule::{PlateauConfig, Schedule, ScheduleConfig};
use tch::{Kind, Tensor};
use tracknet::density::DensityMap;
use tracknet::losses::{point_in_area, terms};
use tracknet::metrics::StepMetrics;
use tracknet::models::Outputs;

use super::networks::{named, network};
use crate::checks::{Case, Comparison, Tensors, said};

/// Loss, its terms and its gradients.
pub fn gradients(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let (params, network) = network(&case.tensors("weights.safetensors")?, crate::checks::device())?;
    let near = case.f64("tolerance")?;
    let mut checks = Comparison::new();
    for alpha in case.f64s("alphas")? {
        let outputs = network.forward(&inputs.get("inputs")?, &inputs.get("input_lengths")?);
        let leaf = |t: &Tensor| t.detach().set_requires_grad(true);
        let leaves = Outputs {
            coords_1: leaf(&outputs.coords_1),
            radius_1: leaf(&outputs.radius_1),
            coords_2: leaf(&outputs.coords_2),
            radius_2: leaf(&outputs.radius_2),
        };
        point_in_area(&leaves, &inputs.get("targets")?, &inputs.get("target_mask")?, alpha).backward();
        let loss = point_in_area(&outputs, &inputs.get("targets")?, &inputs.get("target_mask")?, alpha);
        params.named().iter().for_each(|(_, p)| p.shallow_clone().zero_grad());
        loss.backward();
        let at = expected.names().find_map(|n| n.strip_suffix(".loss").filter(|n| n[5..].parse() == Ok(alpha)));
        let at = at.ok_or_else(|| anyhow::anyhow!("no expected values of alpha {alpha}"))?.to_string();
        checks.number("loss", loss.double_value(&[]), expected.scalar(&format!("{at}.loss"))?, near);
        let zeros = |t: &Tensor| if t.grad().defined() { t.grad() } else { t.zeros_like() };
        for (name, tensor) in named(&leaves) {
            let want = format!("{at}.grad_out.{name}");
            checks.tensors(&want, &zeros(tensor), &expected.get(&want)?, near);
        }
        for (name, parameter) in params.named() {
            let want = format!("{at}.grad.{name}");
            checks.tensors(&want, &zeros(&parameter), &expected.get(&want)?, near);
        }
    }
    let outputs = network.forward(&inputs.get("inputs")?, &inputs.get("input_lengths")?);
    let (point, size) = terms(&outputs, &inputs.get("targets")?);
    checks.tensors("point_in_area", &point, &expected.get("point_in_area")?, near);
    checks.tensors("area_size", &size, &expected.get("area_size")?, near);
    for (name, got) in named(&outputs) {
        checks.tensors(name, got, &expected.get(&format!("out.{name}"))?, near);
    }
    checks.finish()
}

/// Nothing becomes NaN where predictions meet the hits.
pub fn zero_distance(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let outputs = outputs_of(&inputs, "")?;
    for (_, tensor) in named(&outputs) {
        let _ = tensor.set_requires_grad(true);
    }
    let loss = point_in_area(&outputs, &inputs.get("targets")?, &inputs.get("target_mask")?, case.f64("alpha")?);
    loss.backward();
    let near = case.f64("tolerance")?;
    let mut checks = Comparison::new();
    checks.number("loss", loss.double_value(&[]), expected.scalar("loss")?, near);
    for (name, tensor) in named(&outputs) {
        checks.tensors(name, &tensor.grad(), &expected.get(&format!("grad.{name}"))?, near);
    }
    checks.finish()
}

fn outputs_of(tensors: &Tensors, prefix: &str) -> Result<Outputs> {
    Ok(Outputs {
        coords_1: tensors.get(&format!("{prefix}coords_t1"))?,
        radius_1: tensors.get(&format!("{prefix}radius_t1"))?,
        coords_2: tensors.get(&format!("{prefix}coords_t2"))?,
        radius_2: tensors.get(&format!("{prefix}radius_t2"))?,
    })
}

/// Running values after each batch.
pub fn metrics(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let map = DensityMap::read(&case.path(case.str("stats")?))?;
    let normalizer = serde_json::from_value(case.value("normalizer")?.clone())?;
    let mut running = StepMetrics::default();
    let mut checks = Comparison::new();
    let batches = (0..).take_while(|i| inputs.has(&format!("{i}.targets"))).count();
    ensure!(batches > 0, "no batches");
    for i in 0..batches {
        let outputs = outputs_of(&inputs, &format!("{i}."))?;
        let (targets, mask) = (inputs.get(&format!("{i}.targets"))?, inputs.get(&format!("{i}.target_mask"))?);
        running.add(&outputs, &targets, &mask, Some((&map, &normalizer)))?;
        for horizon in 0..2 {
            let figures = running.figures(horizon, true).ok_or_else(|| anyhow::anyhow!("no figures"))?;
            for (name, got) in [
                ("search_area", figures.search_area),
                ("hit_efficiency", figures.hit_efficiency),
                ("hit_density", figures.hit_density.unwrap_or(f64::NAN)),
            ] {
                let name = format!("{i}.{name}_t{}", horizon + 1);
                checks.number(&name, got, expected.scalar(&name)?, case.f64("tolerance")?);
            }
        }
    }
    checks.finish()
}

/// Adam steps with clipping and accumulation.
pub fn training(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let (params, network) = network(&case.tensors("weights.safetensors")?, crate::checks::device())?;
    let (alpha, clip) = (case.f64("alpha")?, case.f64("gradient_clip_norm")?);
    let (accumulate, batches) = (case.usize("accumulate")?, case.usize("n_batches")?);
    let group = Group { name: String::new(), params: params.trainable(), lr: case.f64("learning_rate")? };
    let betas = case.f64s("betas")?.try_into().map_err(|_| anyhow::anyhow!("`betas` are not two"))?;
    let adam = AdamConfig { betas, eps: case.f64("eps")?, ..AdamConfig::default() };
    let mut optimizer = Optimizer::new(&OptimizerConfig::Adam(adam), vec![group])?;
    let sentence = case.str("tolerance")?;
    let (near, near_moments) = (said(sentence, "")?, said(sentence, ";")?);
    let mut checks = Comparison::new();
    let (mut losses, mut norms, mut step, mut compared) = (vec![], vec![], 0, 0);
    optimizer.zero_grad()?;
    for i in 0..batches {
        let at = |name: &str| inputs.get(&format!("{i}.{name}"));
        let outputs = network.forward(&at("inputs")?, &at("input_lengths")?);
        let loss = point_in_area(&outputs, &at("targets")?, &at("target_mask")?, alpha);
        losses.push(loss.double_value(&[]));
        (loss / accumulate as f64).backward();
        if (i + 1) % accumulate == 0 || i + 1 == batches {
            norms.push(clip_grad_norm(&params.trainable(), clip)?);
            optimizer.step()?;
            optimizer.zero_grad()?;
            step += 1;
            for (name, got) in params.named() {
                let key = format!("step{step}.{name}");
                if expected.has(&key) {
                    checks.tensors(&key, &got, &expected.get(&key)?, near);
                    compared += 1;
                }
            }
        }
    }
    let wanted =
        (1..=step).flat_map(|step| params.named().into_iter().map(move |(name, _)| format!("step{step}.{name}")));
    let wanted = wanted.filter(|key| expected.has(key)).count();
    ensure!(compared == wanted && compared > 0, "weights of {compared} parameters compared, expected {wanted}");
    ensure!(step == expected.scalar("n_steps")? as usize, "{step} steps");
    checks.values("losses", &losses, &expected.f64s("losses")?, near);
    for (i, norm) in norms.iter().enumerate() {
        checks.number("norm", *norm, expected.scalar(&format!("step{}.grad_norm", i + 1))?, near);
    }
    let state = optimizer.state();
    let mut moments = 0;
    for (name, got) in &state {
        for moment in ["exp_avg", "exp_avg_sq"] {
            if let Some(parameter) = name.strip_suffix(&format!(".{moment}")) {
                let want = expected.get(&format!("adam.{moment}.{parameter}"))?;
                checks.tensors(name, &got.to_kind(Kind::Float), &want, near_moments);
                moments += 1;
            }
        }
    }
    let wanted = 2 * params.trainable().len();
    ensure!(
        moments == wanted,
        "{moments} of {wanted} moments, of {:?}",
        state.iter().map(|(n, _)| n).collect::<Vec<_>>()
    );
    checks.finish()
}

/// Learning rate after each epoch.
pub fn plateau(case: &Case) -> Result<()> {
    let config = ScheduleConfig::Plateau(PlateauConfig {
        factor: case.f64("factor")?,
        patience: case.usize("patience")? as u32,
        min_lr: case.f64("min_lr")?,
        threshold: case.f64("threshold")?,
    });
    let sequences = case.value("sequences")?.as_object().cloned().unwrap_or_default();
    ensure!(!sequences.is_empty(), "no sequences");
    for name in sequences.keys() {
        let mut schedule = Schedule::new(&config, &[case.f64("initial_lr")?])?;
        let values = case.value(&format!("sequences.{name}.val_loss"))?.as_array().cloned().unwrap_or_default();
        let want = case.f64s(&format!("sequences.{name}.lr_after"))?;
        for (i, (value, want)) in values.iter().zip(&want).enumerate() {
            let value = value.as_f64().or_else(|| value.as_str().and_then(|v| v.trim_start_matches('.').parse().ok()));
            schedule.after_evaluation(value.unwrap_or(f64::NAN));
            ensure!(schedule.rates() == [*want], "{name}: {:?} after epoch {i}, expected {want}", schedule.rates());
        }
    }
    Ok(())
}
