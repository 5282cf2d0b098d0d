//! One optimizer step on one thread: ours (fused) against libtorch's own loop, for `AdamW` over 31.5 M parameters in
//! 120 tensors. Run it with `cargo bench --bench optimizer`; goal: four times as fast.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::time::Instant;

use neural::optim::{AdamWConfig, Group, Optimizer, OptimizerConfig};
use tch::nn::OptimizerConfig as _;
use tch::{Device, Kind, Tensor, nn};

const TENSORS: usize = 120;
const SHAPE: [i64; 2] = [512, 512];
const ROUNDS: usize = 15;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tch::set_num_threads(1);
    let gradient = Tensor::randn(SHAPE, (Kind::Float, Device::Cpu));

    let params: Vec<(String, Tensor)> = (0..TENSORS)
        .map(|i| (format!("p{i}"), Tensor::randn(SHAPE, (Kind::Float, Device::Cpu)).set_requires_grad(true)))
        .collect();
    give_gradients(params.iter().map(|(_, p)| p), &gradient);
    let config = OptimizerConfig::AdamW(AdamWConfig::default());
    let mut ours = Optimizer::new(&config, vec![Group { name: "all".into(), lr: 1e-4, params }])?;

    let vs = nn::VarStore::new(Device::Cpu);
    let theirs: Vec<Tensor> = (0..TENSORS).map(|i| vs.root().randn_standard(&format!("p{i}"), &SHAPE)).collect();
    give_gradients(theirs.iter(), &gradient);
    let mut loop_of_libtorch = nn::AdamW { wd: 0.01, ..Default::default() }.build(&vs, 1e-4)?;

    // In turns, so that a busy machine slows both; the first round creates the state and does not count.
    let (mut fused, mut reference) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let begun = Instant::now();
        ours.step()?;
        let between = Instant::now();
        loop_of_libtorch.step();
        if round > 0 {
            fused.push((between - begun).as_secs_f64());
            reference.push(between.elapsed().as_secs_f64());
        }
    }
    let (fused, reference) = (median(fused), median(reference));
    let elements = TENSORS as f64 * SHAPE.iter().product::<i64>() as f64;
    println!(
        "AdamW step, {:.1} M parameters in {TENSORS} tensors, 1 thread, median of {ROUNDS}: fused {:.1} ms, loop {:.1} ms, {:.1} times as fast",
        elements / 1e6,
        fused * 1e3,
        reference * 1e3,
        reference / fused
    );
    Ok(())
}

fn give_gradients<'a>(params: impl Iterator<Item = &'a Tensor>, gradient: &Tensor) {
    params.for_each(|param| (param * gradient).sum(Kind::Float).backward());
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
