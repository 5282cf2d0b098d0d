//! The Mamba block at published width: the fused scan, tensor operations, and the plain sequential scan as the paper
//! writes it, in turns in one process.
//!
//! ```text
//! cargo bench --bench leap_mamba -- --batch 16 --states 16 --repetitions 5 --threads 1
//! python benches/python/leap_mamba.py --batch 16 --states 16 --repetitions 5 --threads 1     # the plain form in PyTorch
//! ```
//!
//! Prints one JSON line with median seconds (CPU time of the process, and wall time) and ratios to the plain form. All
//! forms run the same matrix products around the scan; what differs is the convolution and the scan.

use neural::Params;
use neural::layers::{Form, Mamba, MambaConfig};
use tch::{Device, Kind, Tensor};

mod support;
use support::{median, number, only_listed, timed};

const FORMS: [(&str, Form); 3] = [("fused", Form::Fused), ("operations", Form::Operations), ("plain", Form::Plain)];

fn main() -> anyhow::Result<()> {
    if only_listed() {
        return Ok(());
    }
    let (batch, states, repetitions) = (number("--batch", 16)?, number("--states", 16)?, number("--repetitions", 5)?);
    let threads = number("--threads", 1)?;
    tch::set_num_threads(i32::try_from(threads)?);
    tch::manual_seed(1);
    neural::memory::for_long_runs();

    let params = Params::new(Device::Cpu, 1);
    let block = Mamba::new(&params.root(), MambaConfig::new(512, states as i64))?;
    let u = Tensor::randn([batch as i64, 60, 512], (Kind::Float, Device::Cpu));
    let mut measured = [const { [const { vec![] }; 4] }; FORMS.len()];
    for repetition in 0..=repetitions {
        for (i, (_, form)) in FORMS.iter().enumerate() {
            let forward = timed(|| drop(tch::no_grad(|| block.forward_as(&u, *form))));
            let both = timed(|| {
                params.named().iter().for_each(|(_, p)| p.shallow_clone().zero_grad());
                let u = u.detach().set_requires_grad(true);
                block.forward_as(&u, *form).square().mean(Kind::Float).backward();
            });
            // The first round allocates.
            if repetition > 0 {
                for (list, value) in measured[i].iter_mut().zip([forward.0, forward.1, both.0, both.1]) {
                    list.push(value);
                }
            }
        }
    }
    let medians = measured.map(|lists| lists.map(median));
    let plain = medians[2];
    let mut line = serde_json::json!({
        "bench": "leap_mamba", "implementation": "podium", "batch": batch, "states": states, "threads": threads,
    });
    for ((name, _), m) in FORMS.iter().zip(medians) {
        line[name] = serde_json::json!({
            "forward_cpu_s": m[0], "forward_wall_s": m[1], "train_cpu_s": m[2], "train_wall_s": m[3],
            "forward_ratio": plain[0] / m[0], "train_ratio": plain[2] / m[2],
        });
    }
    #[allow(clippy::print_stdout, reason = "the result of a bench")]
    {
        println!("{line}");
    }
    Ok(())
}
