//! Training from memory-mapped months against training from RAM, and the memory of either as the months grow.
//!
//! ```text
//! cargo bench --bench leap_months -- --rows 4096 --batch 256 --hidden 32 --repetitions 3 --threads 1
//! ```
//!
//! Writes 20 months of made-up rows into a temporary folder. Prints one JSON line: rows/s of training steps of a narrow 022
//! on the same rows from both places (in turns), and the growth of anonymous memory during an epoch of 1 and of 20 months.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use common::memory;
use common::store::tensors::{Declaration, Dtype, TensorWriter};
use leap::columns::{INPUTS, TARGETS};
use leap::dataset::Dataset;
use leap::models::ModelConfig;
use leap::{layout, losses};
use neural::Params;
use neural::clip::clip_grad_norm;
use neural::layers::Network;
use neural::loader::{Batches, Delivery, Field, InMemory, Loader, Order, Shuffle, Source};
use neural::optim::{AdamWConfig, Group, Optimizer, OptimizerConfig};
use tch::Device;

mod support;
use support::{median, number, only_listed};

const MONTHS: usize = 20;

fn main() -> anyhow::Result<()> {
    if only_listed() {
        return Ok(());
    }
    let (rows, batch, hidden) = (number("--rows", 4096)?, number("--batch", 256)?, number("--hidden", 32)?);
    let (repetitions, threads) = (number("--repetitions", 3)?, number("--threads", 1)?);
    tch::set_num_threads(i32::try_from(threads)?);
    neural::memory::for_long_runs();

    let folder = tempfile::tempdir()?;
    let mut months: Vec<(String, PathBuf)> = vec![];
    let mut in_ram = (vec![], vec![]);
    for month in 0..MONTHS {
        let path = folder.path().join(format!("month{month}.safetensors"));
        let (inputs, targets) = (made_up(month, rows * INPUTS), made_up(month + MONTHS, rows * TARGETS));
        let tensors = [
            Declaration::new("inputs", Dtype::F32, &[rows, INPUTS]),
            Declaration::new("targets", Dtype::F32, &[rows, TARGETS]),
        ];
        let mut writer = TensorWriter::create(&path, &tensors, None)?;
        writer.append_elements("inputs", &inputs)?;
        writer.append_elements("targets", &targets)?;
        writer.finish()?;
        months.push((format!("month{month}"), path));
        if month == 0 {
            in_ram = (inputs, targets);
        }
    }
    let model: ModelConfig =
        serde_json::from_str(&format!(r#"{{"max022": {{"hidden_state": {hidden}, "num_lstm": 3}}}}"#))?;
    let one: Arc<dyn Source> = Arc::new(Dataset::open(&months[..1], None)?);
    let all: Arc<dyn Source> = Arc::new(Dataset::open(&months, None)?);
    let ram: Arc<dyn Source> = Arc::new(InMemory::new(vec![
        (Field::vector("inputs", INPUTS), in_ram.0),
        (Field::vector("targets", TARGETS), in_ram.1),
    ])?);

    let (mut mapped_speed, mut ram_speed) = (vec![], vec![]);
    for repetition in 0..=repetitions {
        let mapped = epoch(&model, &one, batch)?.rows_per_s;
        let ram = epoch(&model, &ram, batch)?.rows_per_s;
        if repetition > 0 {
            mapped_speed.push(mapped);
            ram_speed.push(ram);
        }
    }
    drop(ram);
    let short = epoch(&model, &one, batch)?;
    let long = epoch(&model, &all, batch)?;
    let (mapped, ram) = (median(mapped_speed), median(ram_speed));
    let line = serde_json::json!({
        "bench": "leap_months", "rows_of_a_month": rows, "batch": batch, "hidden": hidden, "threads": threads,
        "mapped_rows_per_s": mapped, "ram_rows_per_s": ram, "ratio": mapped / ram,
        "peak_mib_1_month": short.peak_mib, "peak_mib_20_months": long.peak_mib,
    });
    #[allow(clippy::print_stdout, reason = "the result of a bench")]
    {
        println!("{line}");
    }
    Ok(())
}

struct Epoch {
    rows_per_s: f64,
    peak_mib: f64,
}

/// One epoch of training steps on all rows of a source.
fn epoch(model: &ModelConfig, source: &Arc<dyn Source>, batch: usize) -> anyhow::Result<Epoch> {
    let params = Params::new(Device::Cpu, 1);
    let network: Box<dyn Network> = model.build(&params)?;
    let group = Group { name: "all".into(), lr: 1e-4, params: params.named() };
    let mut optimizer = Optimizer::new(&OptimizerConfig::AdamW(AdamWConfig::default()), vec![group])?;
    let order = Arc::new(Order::new(source.rows(), &Shuffle::default(), 1)?);
    let batches = Batches::training(batch as u64);
    let steps = batches.steps(source.rows());
    let start = Instant::now();
    let mut loader = Loader::start(Arc::clone(source), order, batches, (0, 0), (0, steps), Delivery::to(Device::Cpu))?;
    let (mut rows, mut peak) = (0, 0);
    while let Some(batch) = loader.next_batch()? {
        optimizer.zero_grad()?;
        let output = network.forward(&layout::expand(&batch.tensors[0]), true);
        losses::full(&output, &batch.tensors[1], 0.5, 1.0).backward();
        clip_grad_norm(&params.trainable(), 9.0)?;
        optimizer.step()?;
        rows += batch.tensors[0].size()[0];
        peak = peak.max(memory::anonymous_bytes());
    }
    Ok(Epoch { rows_per_s: rows as f64 / start.elapsed().as_secs_f64(), peak_mib: peak as f64 / 1048576.0 })
}

/// Numbers between -1 and 1 that look random enough.
fn made_up(stream: usize, n: usize) -> Vec<f32> {
    let hash = |i: usize| (i as u64 + ((stream as u64) << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    (0..n).map(|i| hash(i) as f32 / (1 << 23) as f32 - 1.0).collect()
}
