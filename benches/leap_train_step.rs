//! One training step of network 022 at its published width: forward, loss, backward, clip, fused AdamW.
//!
//! ```text
//! cargo bench --bench leap_train_step -- --batch 64 --steps 5 --threads 1
//! python benches/python/leap_train_step.py --batch 64 --steps 5 --threads 1     # the same network in PyTorch
//! ```
//!
//! Both print one JSON line with the median seconds of wall time and of CPU time a step, and its parts. Compare runs made side by
//! side on an idle machine; on a busy one CPU time is the fairer figure.

#[path = "support/step.rs"]
mod step;
mod support;

fn main() -> anyhow::Result<()> {
    step::Step { bench: "leap_train_step", model: r#"{"max022": {}}"#, lr: 8e-4, batch: 64 }
        .measure(|output, target| leap::losses::full(output, target, 0.5, 1.0))
}
