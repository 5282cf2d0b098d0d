//! The seven networks of a group fine-tuning: one pass over the test rows against seven passes, one a network.
//!
//! ```text
//! cargo bench --bench leap_groups -- --rows 512 --batch 64 --hidden 256 --repetitions 3 --threads 1
//! ```
//!
//! Both sides read the rows through the loader, expand them and run the same networks (Max2020's 022); one pass reads and
//! expands once. Prints one JSON line with seconds of CPU and wall time and the ratio of the CPU times.

use std::sync::Arc;

use leap::columns::{GROUPS, INPUTS};
use leap::finetune::GroupNetworks;
use leap::models::ModelConfig;
use leap::train::evaluate::predict;
use leap::train::{Built, build};
use neural::loader::{Delivery, Field, InMemory, Loader, Source};
use neural::weights;
use tch::{Device, Kind, Tensor};

mod support;
use support::{median, number, only_listed, timed};

fn main() -> anyhow::Result<()> {
    if only_listed() {
        return Ok(());
    }
    let (rows, batch, hidden) = (number("--rows", 512)?, number("--batch", 64)?, number("--hidden", 256)?);
    let (repetitions, threads) = (number("--repetitions", 3)?, number("--threads", 1)?);
    tch::set_num_threads(i32::try_from(threads)?);
    tch::manual_seed(1);
    neural::memory::for_long_runs();

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
        let (mut first, mut second) = (Ok(0.0), Ok(0.0));
        let taken = [
            timed(|| first = pass(&|rows| together.predict(rows))),
            timed(|| second = networks.iter().map(|b| pass(&|rows| Ok(predict(b.network.as_ref(), rows)))).sum()),
        ];
        let (first, second) = (first?, second?);
        anyhow::ensure!(first.is_finite() && second.is_finite(), "the outputs sum to {first} and {second}");
        if repetition > 0 {
            one.push(taken[0]);
            seven.push(taken[1]);
        }
    }
    let [one, seven] = [one, seven].map(|seconds: Vec<(f64, f64)>| {
        let (cpu, wall) = seconds.into_iter().unzip();
        (median(cpu), median(wall))
    });
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
