//! One training step of the Squeezeformer at its published width, confidence head and Huber loss: forward, loss, backward,
//! clip, fused AdamW.
//!
//! ```text
//! cargo bench --bench leap_squeezeformer -- --batch 16 --steps 5 --threads 1
//! python benches/python/leap_squeezeformer.py --batch 16 --steps 5 --threads 1     # the plain form in PyTorch
//! ```
//!
//! Both print one JSON line with the median seconds of wall time and of CPU time a step, and its parts. Compare runs made side by
//! side on an idle machine; on a busy one CPU time is the fairer figure.

use std::time::Instant;

use leap::losses::Distance;
use leap::models::ModelConfig;
use leap::train::LossConfig;
use leap::train::evaluate::training_loss;
use neural::Params;
use neural::clip::clip_grad_norm;
use neural::optim::{AdamWConfig, Group, Optimizer, OptimizerConfig};
use tch::{Device, Kind, Tensor};

mod support;
use support::{cpu_seconds, median, number, only_listed};

const PARTS: [&str; 5] = ["forward", "loss", "backward", "clip", "optimizer"];

fn main() -> anyhow::Result<()> {
    if only_listed() {
        return Ok(());
    }
    let (batch, steps, threads) = (number("--batch", 16)?, number("--steps", 5)?, number("--threads", 1)?);
    tch::set_num_threads(i32::try_from(threads)?);
    tch::manual_seed(1);
    neural::memory::for_long_runs();

    let params = Params::new(Device::Cpu, 1);
    let config: ModelConfig = serde_json::from_str(r#"{"squeezeformer": {"confidence": true}}"#)?;
    let network = config.build(&params)?;
    let group = Group { name: "all".into(), lr: 1e-4, params: params.named() };
    let mut optimizer = Optimizer::new(&OptimizerConfig::AdamW(AdamWConfig::default()), vec![group])?;
    let x = Tensor::randn([batch as i64, 60, 25], (Kind::Float, Device::Cpu));
    let y = Tensor::randn([batch as i64, 368], (Kind::Float, Device::Cpu));

    let criterion =
        LossConfig { distance: Distance::Huber, differences: 0.0, confidence: 1.0, ..LossConfig::default() };

    let mut walls = Vec::new();
    let mut cpus = Vec::new();
    let mut parts: [Vec<f64>; PARTS.len()] = Default::default();
    for step in 0..=steps {
        optimizer.zero_grad()?;
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let mut marks = vec![start];
        let output = network.forward(&x, true);
        marks.push(Instant::now());
        let loss = training_loss(&criterion, &output, &y);
        marks.push(Instant::now());
        loss.backward();
        marks.push(Instant::now());
        clip_grad_norm(&params.trainable(), 9.0)?;
        marks.push(Instant::now());
        optimizer.step()?;
        marks.push(Instant::now());
        // The first step allocates and creates the optimizer's state.
        if step > 0 {
            walls.push(start.elapsed().as_secs_f64());
            cpus.push(cpu_seconds() - cpu);
            for (part, pair) in parts.iter_mut().zip(marks.windows(2)) {
                part.push((pair[1] - pair[0]).as_secs_f64());
            }
        }
    }
    let parts: serde_json::Map<_, _> =
        PARTS.iter().zip(parts).map(|(name, p)| (format!("{name}_s"), median(p).into())).collect();
    let (wall, cpu) = (median(walls), median(cpus));
    let line = serde_json::json!({
        "bench": "leap_squeezeformer", "implementation": "podium", "batch": batch, "threads": threads,
        "wall_s": wall, "cpu_s": cpu, "rows_per_cpu_s": batch as f64 / cpu, "parts": parts,
    });
    #[allow(clippy::print_stdout, reason = "the result of a bench")]
    {
        println!("{line}");
    }
    Ok(())
}
