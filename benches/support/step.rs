//! One training step of a network of LEAP, over and over: forward, loss, backward, clip, fused AdamW.

use std::time::Instant;

use leap::models::ModelConfig;
use neural::Params;
use neural::clip::clip_grad_norm;
use neural::optim::{AdamWConfig, Group, Optimizer, OptimizerConfig};
use tch::{Device, Kind, Tensor};

use crate::support::{cpu_seconds, median, number, only_listed};

const PARTS: [&str; 5] = ["forward", "loss", "backward", "clip", "optimizer"];

/// What is trained.
pub struct Step {
    /// Name of the bench.
    pub bench: &'static str,
    /// The network, as in a config.
    pub model: &'static str,
    /// Learning rate.
    pub lr: f64,
    /// Rows of a batch, unless `--batch` says otherwise.
    pub batch: usize,
}

impl Step {
    /// Prints one JSON line: median seconds of wall and of CPU time a step, and of its parts. Reads `--batch`, `--steps` and
    /// `--threads`.
    pub fn measure(&self, loss_of: impl Fn(&Tensor, &Tensor) -> Tensor) -> anyhow::Result<()> {
        if only_listed() {
            return Ok(());
        }
        let (batch, steps, threads) = (number("--batch", self.batch)?, number("--steps", 5)?, number("--threads", 1)?);
        tch::set_num_threads(i32::try_from(threads)?);
        tch::manual_seed(1);
        neural::memory::for_long_runs();

        let params = Params::new(Device::Cpu, 1);
        let config: ModelConfig = serde_json::from_str(self.model)?;
        let network = config.build(&params)?;
        let group = Group { name: "all".into(), lr: self.lr, params: params.named() };
        let mut optimizer = Optimizer::new(&OptimizerConfig::AdamW(AdamWConfig::default()), vec![group])?;
        let x = Tensor::randn([batch as i64, 60, 25], (Kind::Float, Device::Cpu));
        let y = Tensor::randn([batch as i64, 368], (Kind::Float, Device::Cpu));

        let mut walls = Vec::new();
        let mut cpus = Vec::new();
        let mut parts: [Vec<f64>; PARTS.len()] = Default::default();
        for step in 0..=steps {
            optimizer.zero_grad()?;
            let (start, cpu) = (Instant::now(), cpu_seconds());
            let mut marks = vec![start];
            let output = network.forward(&x, true);
            marks.push(Instant::now());
            let loss = loss_of(&output, &y);
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
            "bench": self.bench, "implementation": "podium", "batch": batch, "threads": threads,
            "wall_s": wall, "cpu_s": cpu, "rows_per_cpu_s": batch as f64 / cpu, "parts": parts,
        });
        #[allow(clippy::print_stdout, reason = "the result of a bench")]
        {
            println!("{line}");
        }
        Ok(())
    }
}
