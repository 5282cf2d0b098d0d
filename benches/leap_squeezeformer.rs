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

use leap::losses::Distance;
use leap::train::LossConfig;
use leap::train::evaluate::training_loss;

#[path = "support/step.rs"]
mod step;
mod support;

fn main() -> anyhow::Result<()> {
    let criterion =
        LossConfig { distance: Distance::Huber, differences: 0.0, confidence: 1.0, ..LossConfig::default() };
    let model = r#"{"squeezeformer": {"confidence": true}}"#;
    step::Step { bench: "leap_squeezeformer", model, lr: 1e-4, batch: 16 }
        .measure(|output, target| training_loss(&criterion, output, target))
}
