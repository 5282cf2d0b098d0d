//! The seven networks of a group fine-tuning: one pass over the test rows against seven passes, one a network.
//!
//! ```text
//! cargo bench --bench leap_groups -- --rows 512 --batch 64 --hidden 256 --repetitions 3 --threads 1
//! ```
//!
//! Both sides read the rows through the loader, expand them and run the same networks (Max2020's 022); one pass reads and
//! expands once. Prints one JSON line with seconds of CPU and wall time and the ratio of the CPU times.

use std::sync::Arc;
use std::time::Instant;

use leap::columns::{GROUPS, INPUTS};
use leap::finetune::GroupNetworks;
use leap::models::ModelConfig;
use leap::train::evaluate::predict;
use leap::train::{Built, build};
use neural::loader::{Delivery, Field, InMemory, Loader, Source};
use neural::weights;
use tch::{Device, Kind, Tensor};

fn main() -> anyhow::Result<()> {
    let number = |flag: &str, default: usize| {
        let mut arguments = std::env::args().skip_while(|a| a != flag).skip(1);
        arguments.next().map_or(Ok(default), |text| text.parse())
    };
    let (rows, batch, hidden) = (number("--rows", 512)?, number("--batch", 64)?, number("--hidden", 256)?);
    let (repetitions, threads) = (number("--repetitions", 3)?, number("--threads", 1)?);
    tch::set_num_threads(i32::try_from(threads)?);
    tch::manual_seed(1);
    neural::memory::keep_freed_blocks();

    let model: ModelConfig = serde_json::from_str(&format!(r#"{{"max022": {{"hidden_state": {hidden}}}}}"#))?;
    let folder = tempfile::tempdir()?;
    let mut networks: Vec<Built> = vec![];
    let mut files = vec![];
    for g in 0..GROUPS {
        let built = build(&model, Device::Cpu, g as u64)?;
        let path = folder.path().join(format!("g{g}.safetensors"));
        weights::save(&path, &built.params.state(), None)?;
        networks.push(built);
        files.push(path);
    }
    let together = GroupNetworks::load(&model, &files, Device::Cpu)?;
    let values = Vec::<f32>::try_from(Tensor::randn([(rows * INPUTS) as i64], (Kind::Float, Device::Cpu)))?;
    let source: Arc<dyn Source> = Arc::new(InMemory::new(vec![(Field::vector("inputs", INPUTS), values)])?);
    let pass = |network: &dyn Fn(&Tensor) -> common::Result<Tensor>| -> anyhow::Result<f64> {
        let mut loader = Loader::sequential(Arc::clone(&source), batch as u64, Delivery::to(Device::Cpu))?;
        let mut sum = 0.0;
        while let Some(batch) = loader.next_batch()? {
            sum += tch::no_grad(|| network(&batch.tensors[0]))?.sum(Kind::Double).double_value(&[]);
        }
        Ok(sum)
    };
    let (mut one, mut seven) = (vec![], vec![]);
    for repetition in 0..=repetitions {
        let first = timed(|| pass(&|rows| together.predict(rows)))?;
        let second = timed(|| networks.iter().map(|b| pass(&|rows| Ok(predict(b.network.as_ref(), rows)))).sum())?;
        if repetition > 0 {
            one.push(first);
            seven.push(second);
        }
    }
    let (one, seven) = (median(one), median(seven));
    let line = serde_json::json!({
        "bench": "leap_groups", "rows": rows, "batch": batch, "hidden": hidden, "threads": threads,
        "one_pass_cpu_s": one.0, "one_pass_wall_s": one.1, "seven_passes_cpu_s": seven.0, "seven_passes_wall_s": seven.1,
        "ratio": seven.0 / one.0,
    });
    #[allow(clippy::print_stdout, reason = "the result of a bench")]
    {
        println!("{line}");
    }
    Ok(())
}

/// Seconds of CPU time and of wall time.
fn timed(work: impl FnOnce() -> anyhow::Result<f64>) -> anyhow::Result<(f64, f64)> {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    work()?;
    Ok((cpu_seconds() - cpu, start.elapsed().as_secs_f64()))
}

fn median(mut values: Vec<(f64, f64)>) -> (f64, f64) {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    values.get(values.len() / 2).copied().unwrap_or((f64::NAN, f64::NAN))
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    // SAFETY: `getrusage` fills the structure that it is given.
    let usage = unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
