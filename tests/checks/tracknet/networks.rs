//! The network: forward pass, initial weights, import of an original checkpoint.

use anyhow::{Result, ensure};
use neural::params::Params;
use neural::weights::{self, Allow};
use tch::Tensor;
use tracknet::batch::Batch;
use tracknet::checkpoint;
use tracknet::losses::point_in_area;
use tracknet::models::{ModelConfig, Outputs, StepAhead};

use super::data;
use crate::checks::{Case, Comparison, Tensors};

/// A network with the weights of a file, on a device.
pub fn network(weights_file: &Tensors, device: tch::Device) -> Result<(Params, StepAhead)> {
    let ih = weights_file.shape("rnn.weight_ih_l0")?;
    let out = weights_file.shape("coords_1.0.weight")?;
    let config = ModelConfig {
        input_features: ih[1] as i64,
        hidden_features: (ih[0] / 3) as i64,
        output_features: out[0] as i64,
    };
    let params = Params::new(device, 0);
    let network = StepAhead::new(&params, &config)?;
    weights::load_strict(&params.state(), &weights_file.all(), &Allow::default())?;
    Ok((params, network))
}

/// The four outputs under the names of the cases.
pub fn named(outputs: &Outputs) -> [(&'static str, &Tensor); 4] {
    [
        ("coords_t1", &outputs.coords_1),
        ("coords_t2", &outputs.coords_2),
        ("radius_t1", &outputs.radius_1),
        ("radius_t2", &outputs.radius_2),
    ]
}

/// A padded batch of unequal lengths.
pub fn forward(case: &Case) -> Result<()> {
    let (_params, network) = network(&case.tensors("weights.safetensors")?, crate::checks::device())?;
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let outputs = network.forward(&inputs.get("inputs")?, &inputs.get("input_lengths")?);
    let mut checks = Comparison::new();
    for (name, got) in named(&outputs) {
        checks.tensors(name, got, &expected.get(name)?, case.f64("tolerance")?);
    }
    checks.finish()
}

/// Names, order, shapes and distribution of the initial weights; the draws are our own.
pub fn initial_weights(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let params = Params::new(crate::checks::device(), 42);
    let size = |name: &str| -> Result<i64> { Ok(case.usize(name)? as i64) };
    let config = ModelConfig {
        input_features: size("input_features")?,
        hidden_features: size("hidden_features")?,
        output_features: size("output_features")?,
    };
    StepAhead::new(&params, &config)?;
    ensure!(params.count() == case.usize("total_parameters")? as u64, "{} parameters", params.count());
    let listed = case.text("parameters.txt")?;
    let named = params.named();
    let names: Vec<&str> = named.iter().map(|(n, _)| n.as_str()).collect();
    let order: Vec<&str> = listed
        .lines()
        .filter_map(|l| l.split(|c: char| c.is_whitespace() || c == ':' || c == ',').next())
        .map(|n| n.trim_start_matches("model."))
        .filter(|n| names.contains(n))
        .collect();
    ensure!(order == names, "order {names:?}, expected {order:?}");
    let flat = |all: &mut dyn Iterator<Item = Tensor>| -> Result<Vec<f64>> {
        let mut values: Vec<f64> = vec![];
        for t in all {
            values.extend(Vec::<f64>::try_from(t.detach().to_kind(tch::Kind::Double).flatten(0, -1))?);
        }
        values.sort_by(f64::total_cmp);
        Ok(values)
    };
    for (name, tensor) in &named {
        let want = if expected.has(name) { expected.get(name)? } else { expected.get(&format!("model.{name}"))? };
        ensure!(tensor.size() == want.size(), "`{name}` is {:?}, expected {:?}", tensor.size(), want.size());
    }
    let got = flat(&mut named.iter().map(|(_, t)| t.shallow_clone()))?;
    let want = flat(&mut expected.all().into_iter().map(|(_, t)| t))?;
    ensure!(got.len() == want.len(), "{} values, expected {}", got.len(), want.len());
    // Two samples of the same distribution: quantiles agree to a few times 1/sqrt(n) of the width.
    let allowed = 2.0 / (want.len() as f64).sqrt();
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    ensure!(worst < allowed * (want[want.len() - 1] - want[0]), "quantiles differ by {worst}");
    Ok(())
}

/// The original's checkpoint: weights, optimizer, schedule, predictions from the csv files on, validation loss.
pub fn checkpoint(case: &Case) -> Result<()> {
    let path = case.path(case.str("checkpoint")?);
    let loaded = checkpoint::load(&path)?;
    let weights = case.tensors("weights.safetensors")?;
    let mut checks = Comparison::new();
    for (name, got) in loaded.params.named() {
        checks.tensors(&name, &got, &weights.get(&format!("model.{name}"))?, 0.0);
    }
    let normalizer = serde_json::from_value(case.value("normalizer")?.clone())?;
    ensure!(loaded.normalizer == normalizer, "normaliser {:?}", loaded.normalizer);
    let training = checkpoint::training(&path)?;
    ensure!(training.epoch == case.f64("epoch")? as i64, "epoch {}", training.epoch);
    ensure!(training.global_step == case.f64("global_step")? as i64, "step {}", training.global_step);
    let optimizer = case.tensors("optimizer.safetensors")?;
    for (i, state) in training.adam.iter().enumerate() {
        let values = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        checks.values("step", &[f64::from(state.step)], &optimizer.f64s(&format!("{i}.step"))?, 0.0);
        checks.values("exp_avg", &values(&state.exp_avg), &optimizer.f64s(&format!("{i}.exp_avg"))?, 0.0);
        checks.values("exp_avg_sq", &values(&state.exp_avg_sq), &optimizer.f64s(&format!("{i}.exp_avg_sq"))?, 0.0);
    }
    let states = loaded.params.trainable().len();
    ensure!(training.adam.len() == states, "{} states of Adam, expected {states}", training.adam.len());
    for key in ["factor", "patience", "last_epoch", "threshold", "best", "num_bad_epochs"] {
        let want = case.f64(&format!("lr_scheduler.{key}"))?;
        let got = training.schedule.iter().find(|(name, _)| name == key).map(|(_, v)| *v);
        ensure!(got == Some(want), "schedule `{key}` is {got:?}, expected {want}");
    }
    let (found, _) = data::tracks_of(case)?;
    let tracks: Vec<&[[f32; 3]]> = found.iter().flat_map(|(_, t)| (0..t.len()).map(|i| &t.xyz[t.hits(i)])).collect();
    let expected = case.tensors("expected.safetensors")?;
    let chunks: Vec<_> = tracks.chunks(case.usize("batch_size")?).collect();
    ensure!(chunks.len() == case.usize("n_batches")?, "{} batches", chunks.len());
    let alpha = loaded.about["loss_alpha"].as_f64();
    let alpha = alpha.ok_or_else(|| anyhow::anyhow!("the checkpoint does not say its `loss_alpha`"))?;
    let near = case.f64("tolerance")?;
    let (mut sum, mut n) = (0.0, 0.0);
    for (i, chunk) in chunks.iter().enumerate() {
        let batch = Batch::of(chunk);
        let outputs = tch::no_grad(|| loaded.network.forward(&batch.inputs, &batch.lengths));
        for (name, got) in named(&outputs) {
            let name = format!("{i}.{name}");
            checks.tensors(&name, got, &expected.get(&name)?, near);
        }
        let loss = point_in_area(&outputs, &batch.targets, &batch.mask, alpha).double_value(&[]);
        sum += loss * chunk.len() as f64;
        n += chunk.len() as f64;
    }
    checks.number("val_loss", sum / n, case.f64("val_loss")?, near);
    checks.finish()
}
