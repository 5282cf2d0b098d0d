//! The rows of the metric files, and the speed that the progress line shows. The rows hold nothing that depends on the
//! clock: a resumed run ends with the same bytes.

use std::time::Duration;

use common::Result;
use common::memory::anonymous_bytes;
use common::scalars::ScalarLog;
use tch::Device;

use super::Task;
use super::pace::Pace;
use super::state::{Evaluated, State};

/// The line of an optimizer step.
pub(super) fn step(log: &mut ScalarLog, state: &State, loss: f64, rates: &[f64], task: &mut dyn Task) -> Result<()> {
    let rates = named(rates);
    let more: Vec<(String, f64)> =
        task.step_metrics()?.into_iter().map(|m| (format!("train/{}", m.name), m.value)).collect();
    let mut row = vec![
        ("train/batch_loss", loss),
        ("train/loss", state.loss.value()),
        ("train/gradient_norm", state.gradient_norm),
    ];
    row.extend(rates.iter().chain(&more).map(|(name, rate)| (name.as_str(), *rate)));
    published(&mut row, task);
    log.write(state.epoch + 1, state.global_step, &row)
}

/// The line of an evaluation.
pub(super) fn evaluation(log: &mut ScalarLog, evaluated: &Evaluated, task: &dyn Task) -> Result<()> {
    let metrics: Vec<(String, f64)> =
        evaluated.metrics.iter().map(|m| (format!("valid/{}", m.name), m.value)).collect();
    let rates = named(&evaluated.rates);
    let judged = format!("valid/{}", evaluated.criterion.name);
    let mut row = vec![("train/loss", evaluated.training_loss)];
    // What decides stands among the metrics of most tasks.
    if metrics.iter().all(|(name, _)| *name != judged) {
        row.push((judged.as_str(), evaluated.shown()));
    }
    row.extend(metrics.iter().chain(&rates).map(|(name, value)| (name.as_str(), *value)));
    published(&mut row, task);
    log.write(evaluated.epoch + 1, evaluated.global_step, &row)
}

/// Repeats what the original logs under a name of its own under that name.
fn published(row: &mut Vec<(&str, f64)>, task: &dyn Task) {
    let more: Vec<(&str, f64)> = row.iter().filter_map(|(name, v)| Some((task.published_name(name)?, *v))).collect();
    row.extend(more);
}

fn named(rates: &[f64]) -> Vec<(String, f64)> {
    let name = |i| if i == 0 { "lr".to_string() } else { format!("lr/{i}") };
    rates.iter().enumerate().map(|(i, &rate)| (name(i), rate)).collect()
}

/// How fast a run is, and what it waits for.
#[derive(Default)]
pub(super) struct Speed {
    rows: u64,
    steps: Duration,
    waited: Duration,
    waited_here: Duration,
    /// The same along the steps.
    pub pace: Pace,
}

impl Speed {
    /// A step (its number, its rows) took `time`; its loader has waited for `waited` in all.
    pub fn add(&mut self, (step, rows): (u64, u64), time: Duration, waited: Duration, device: Device) {
        self.pace.add(step, rows, time, waited.saturating_sub(self.waited_here), || {
            let gpu = device.is_cuda().then(|| crate::shim::cuda_memory(device).ok()).flatten();
            (anonymous_bytes(), gpu.map_or(0, |memory| memory.allocated as u64))
        });
        self.rows += rows;
        self.steps += time;
        self.waited_here = waited;
    }

    /// The loader of these steps ended; the next one counts from zero again.
    pub fn end_loader(&mut self) {
        self.waited += std::mem::take(&mut self.waited_here);
    }

    /// Rows trained on per second.
    pub fn rows_per_s(&self) -> f64 {
        if self.steps.is_zero() { 0.0 } else { self.rows as f64 / self.steps.as_secs_f64() }
    }

    /// Share of the time spent waiting for data.
    pub fn data_wait(&self) -> f64 {
        let waited = self.waited + self.waited_here;
        if self.steps.is_zero() { 0.0 } else { waited.as_secs_f64() / self.steps.as_secs_f64() }
    }

    /// The end of the progress line.
    pub fn text(&self, device: Device) -> String {
        let mut text = format!(
            "{:.0} rows/s  data wait {:.0} %  memory {}",
            self.rows_per_s(),
            100.0 * self.data_wait(),
            mebibytes(anonymous_bytes())
        );
        if device.is_cuda()
            && let Ok(memory) = crate::shim::cuda_memory(device)
        {
            text += &format!(
                " + {} GPU (peak {})",
                mebibytes(memory.allocated as u64),
                mebibytes(memory.allocated_peak as u64)
            );
        }
        text
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
