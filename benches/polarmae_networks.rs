//! Tokens, a pretraining step and a segmentation step of `vit_small` against the published padded form in plain PyTorch,
//! in interleaved repetitions, with peak resident memory of both processes.
//!
//! `PODIUM_BENCH_PYTHON=venv/bin/python cargo bench --bench polarmae_networks -- [REPETITIONS]` (default 3, one thread,
//! four simulated events). Without `PODIUM_BENCH_PYTHON` only our side runs. The Python side is
//! `benches/python/polarmae_networks.py`; both get the same groups.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench prints its figures")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::seed::rng_for;
use neural::Params;
use neural::clip::clip_grad_norm;
use neural::optim::{AdamWConfig, Group, Optimizer, OptimizerConfig};
use polarmae::batch::{Batch, Draw};
use polarmae::grouping::GroupingConfig;
use polarmae::losses::SegLoss;
use polarmae::masking::{Mask, random_mask};
use polarmae::models::encoder::EncoderConfig;
use polarmae::models::mae::{Mae, MaeConfig};
use polarmae::models::segmentation::{PointBatch, Segmentation, SegmentationConfig, published_weights};
use polarmae::models::transformer::TransformerConfig;
use polarmae::simulate::{Rates, event};
use polarmae::transforms::{Transform, published_scale};
use serde_json::json;
use tch::{Device, Tensor};

/// Places of the published tokenizer.
const PLACES: usize = 512;

fn main() -> anyhow::Result<()> {
    let repetitions: usize = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(3);
    neural::device::set_threads(1)?;
    neural::memory::for_long_runs();
    let encoder = EncoderConfig {
        tokenizer: GroupingConfig::voxels_5(published_scale()),
        transformer: TransformerConfig::default(),
    };
    let (points, labels) = events();
    let grouping = Instant::now();
    let chain = Transform::published_validation();
    let batch =
        Batch::new(points, &chain, &encoder.tokenizer, Draw { seed: 0, step: 0, events: &[0, 1, 2, 3] }, Device::Cpu)?;
    println!(
        "events of {:?} points, {:?} tokens, grouped in {:.1} ms; {:.1} % of the points in no group",
        batch.points.iter().map(|rows| rows.len() / 4).collect::<Vec<_>>(),
        batch.grouped.events.lengths(),
        1e3 * grouping.elapsed().as_secs_f64(),
        100.0 * batch.uncovered()
    );
    let masks: Vec<Mask> = batch
        .grouped
        .events
        .lengths()
        .iter()
        .enumerate()
        .map(|(i, &n)| random_mask(n as usize, 0.6, 0, 0, i as u64))
        .collect();
    let config: MaeConfig = serde_json::from_value(json!({ "encoder": encoder }))?;
    let mae_params = Params::new(Device::Cpu, 1);
    let mae = Mae::new(&mae_params.root(), &config)?;
    let config: SegmentationConfig = serde_json::from_value(json!({ "encoder": encoder }))?;
    let seg_params = Params::new(Device::Cpu, 1);
    let segmentation = Segmentation::new(&seg_params.root(), &config, &published_weights(4))?;
    let place = batch.point_batch(false, Device::Cpu);
    let flat = Tensor::from_slice(&labels.concat());
    let mut mae_optimizer = optimizer(&mae_params)?;
    let mut seg_optimizer = optimizer(&seg_params)?;

    let folder = tempfile::tempdir()?;
    write(folder.path(), &batch, &masks, &place, &labels)?;
    let mut python = match std::env::var_os("PODIUM_BENCH_PYTHON") {
        Some(python) => {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python/polarmae_networks.py");
            let child = Command::new(python)
                .arg(script)
                .arg(folder.path())
                .arg("1")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            Some(child)
        }
        None => None,
    };
    let mut pipes = python.as_mut().and_then(|child| Some((child.stdin.take()?, BufReader::new(child.stdout.take()?))));
    for what in ["tokens", "pretrain", "segment"] {
        let (mut ours, mut theirs, mut memory) = (vec![], vec![], 0.0);
        // The first round warms both sides up.
        for round in 0..=repetitions {
            let begun = Instant::now();
            match what {
                "tokens" => {
                    tch::no_grad(|| mae.encoder.tokens(&batch.grouped, false))?;
                }
                "pretrain" => {
                    step(&mut mae_optimizer, &mae_params, || Ok(mae.losses(&batch.grouped, &masks, true)?.total))?
                }
                _ => step(&mut seg_optimizer, &seg_params, || {
                    let logits = segmentation.forward(&batch.grouped, &place, true, true)?;
                    Ok(SegLoss::Focal.forward(&logits, &flat, &segmentation.class_weights))
                })?,
            }
            let seconds = begun.elapsed().as_secs_f64();
            if let Some((input, output)) = &mut pipes {
                writeln!(input, "{what}")?;
                let mut line = String::new();
                output.read_line(&mut line)?;
                let (seconds, peak) = line.trim().split_once(' ').ok_or_else(|| anyhow::anyhow!("`{line}`"))?;
                memory = peak.parse()?;
                if round > 0 {
                    theirs.push(seconds.parse::<f64>()?);
                }
            }
            if round > 0 {
                ours.push(seconds);
            }
        }
        let mine = median(ours);
        print!("{what}: podium {:.1} ms, peak {:.0} MiB", 1e3 * mine, peak_mib());
        match theirs.is_empty() {
            true => println!(),
            false => {
                let other = median(theirs);
                println!("; PyTorch {:.1} ms, peak {memory:.0} MiB; ratio {:.2}", 1e3 * other, other / mine);
            }
        }
    }
    drop(pipes);
    if let Some(mut child) = python {
        child.wait()?;
    }
    Ok(())
}

fn events() -> (Vec<Vec<f32>>, Vec<Vec<i64>>) {
    let rates = Rates { tracks: [3, 5], showers: [1, 2], interactions: [1, 2], ..Rates::default() };
    let scale = polarmae::energy::EnergyScale { floor: 0.13, max: 20.0 };
    (0..4)
        .map(|i| {
            let (mut rows, mut labels) = (vec![], vec![]);
            for cluster in event(&rates, &mut rng_for(4, "bench event", i)).into_iter().skip(1) {
                for (place, &energy) in cluster.voxels.iter().zip(&cluster.energies) {
                    rows.extend(place.map(|c| c as f32));
                    rows.push(scale.forward(f64::from(energy)));
                    labels.push(i64::from(cluster.semantic));
                }
            }
            (rows, labels)
        })
        .unzip()
}

fn optimizer(params: &Params) -> anyhow::Result<Optimizer> {
    let config = OptimizerConfig::AdamW(AdamWConfig { weight_decay: 0.05, ..AdamWConfig::default() });
    Ok(Optimizer::new(&config, vec![Group { name: "all".into(), lr: 1e-6, params: params.trainable() }])?)
}

fn step(
    optimizer: &mut Optimizer,
    params: &Params,
    loss: impl FnOnce() -> anyhow::Result<Tensor>,
) -> anyhow::Result<()> {
    optimizer.zero_grad()?;
    loss()?.backward();
    clip_grad_norm(&params.trainable(), 3.0)?;
    optimizer.step()?;
    Ok(())
}

/// The same batch in the published padded form, as raw f32 arrays.
fn write(folder: &Path, batch: &Batch, masks: &[Mask], place: &PointBatch, labels: &[Vec<i64>]) -> anyhow::Result<()> {
    let (events, slots) = (batch.groups.len(), 32);
    let most = batch.points.iter().map(|rows| rows.len() / 4).max().unwrap_or(0);
    let mut arrays: BTreeMap<&str, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
    let mut array = |name: &'static str, shape: &[usize]| {
        arrays.insert(name, (shape.to_vec(), vec![0.0; shape.iter().product()]));
    };
    array("groups", &[events, PLACES, slots, 4]);
    array("mask", &[events, PLACES, slots]);
    array("centers", &[events, PLACES, 3]);
    for name in ["valid", "masked", "visible"] {
        array(name, &[events, PLACES]);
    }
    array("places", &[events, most, 3]);
    array("neighbors", &[events, most, 5]);
    array("weights", &[events, most, 5]);
    array("point_valid", &[events, most]);
    array("labels", &[events, most]);
    let (neighbors, weights) =
        (Vec::<i64>::try_from(place.neighbors.reshape([-1]))?, Vec::<f32>::try_from(place.weights.reshape([-1]))?);
    let mut set = |name: &str, at: usize, value: f32| {
        if let Some((_, values)) = arrays.get_mut(name) {
            values[at] = value;
        }
    };
    let mut first_point = 0;
    for (b, groups) in batch.groups.iter().enumerate() {
        let mut begin = 0;
        for (g, &count) in groups.counts.iter().enumerate().take(PLACES) {
            let token = b * PLACES + g;
            set("valid", token, 1.0);
            (0..3).for_each(|c| set("centers", token * 3 + c, groups.centers[g * groups.center_width + c]));
            for slot in 0..slots {
                let source = begin + if slot < count as usize { slot } else { 0 };
                (0..4).for_each(|c| set("groups", (token * slots + slot) * 4 + c, groups.features[source * 4 + c]));
                set("mask", token * slots + slot, f32::from(slot < count as usize));
            }
            begin += count as usize;
        }
        masks[b].masked.iter().for_each(|&t| set("masked", b * PLACES + t as usize, 1.0));
        masks[b].visible.iter().for_each(|&t| set("visible", b * PLACES + t as usize, 1.0));
        let first_token = batch.grouped.events.starts()[b];
        for (i, row) in batch.points[b].chunks_exact(4).enumerate() {
            let at = b * most + i;
            (0..3).for_each(|c| set("places", at * 3 + c, row[c]));
            for k in 0..5 {
                set("neighbors", at * 5 + k, (neighbors[(first_point + i) * 5 + k] - first_token) as f32);
                set("weights", at * 5 + k, weights[(first_point + i) * 5 + k]);
            }
            set("point_valid", at, 1.0);
            set("labels", at, labels[b][i] as f32);
        }
        first_point += batch.points[b].len() / 4;
    }
    let shapes: BTreeMap<&str, &Vec<usize>> = arrays.iter().map(|(name, (shape, _))| (*name, shape)).collect();
    common::durable::write(folder.join("shapes.json"), serde_json::to_string(&shapes)?.as_bytes())?;
    for (name, (_, values)) in &arrays {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        common::durable::write(folder.join(name), &bytes)?;
    }
    Ok(())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Largest resident memory of this process so far.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap_or(0.0) / 1024.0
}
