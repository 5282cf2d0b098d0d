//! The metric files of a run, and the speed that the progress line shows.
//!
//! The files hold nothing that depends on the clock, so a resumed run ends with the same bytes: they are cut back to
//! where the checkpoint was taken and written on from there.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::memory::anonymous_bytes;
use common::{Error, Result};
use serde_json::{Map, Value, json};
use tch::Device;

use super::state::{Evaluated, State};

/// Metric log of a run.
pub(super) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens the files of the run in `folder` and cuts them back to `position`, as [`Log::sync`] gave it; `null` is
    /// the beginning.
    pub fn open(folder: &Path, position: &Value) -> Result<Self> {
        let path = folder.join("metrics.jsonl");
        let opening = |e| Error::io("opening", &path, e);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(opening)?;
        file.set_len(position.as_u64().unwrap_or(0)).map_err(opening)?;
        Ok(Self { path, file })
    }

    /// The line of an optimizer step.
    pub fn step(&mut self, state: &State, loss: f64, rates: &[f64]) -> Result<()> {
        let mut row = Map::new();
        row.insert("epoch".into(), (state.epoch + 1).into());
        row.insert("step".into(), state.global_step.into());
        row.insert("train/batch_loss".into(), loss.into());
        row.insert("train/loss".into(), state.loss.value().into());
        row.insert("train/gradient_norm".into(), state.gradient_norm.into());
        add_rates(&mut row, rates);
        self.line(row)
    }

    /// The line of an evaluation.
    pub fn evaluation(&mut self, evaluated: &Evaluated) -> Result<()> {
        let mut row = Map::new();
        row.insert("epoch".into(), (evaluated.epoch + 1).into());
        row.insert("step".into(), evaluated.global_step.into());
        row.insert("train/loss".into(), evaluated.training_loss.into());
        row.insert("valid/score".into(), evaluated.score.into());
        for metric in &evaluated.metrics {
            row.insert(format!("valid/{}", metric.name), metric.value.into());
        }
        add_rates(&mut row, &evaluated.rates);
        self.line(row)
    }

    fn line(&mut self, row: Map<String, Value>) -> Result<()> {
        let mut line = Value::Object(row).to_string();
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(|e| Error::io("writing", &self.path, e))
    }

    /// Puts everything on the disk and says where the files end.
    pub fn sync(&mut self) -> Result<Value> {
        let syncing = |e| Error::io("syncing", &self.path, e);
        self.file.sync_data().map_err(syncing)?;
        Ok(json!(self.file.metadata().map_err(syncing)?.len()))
    }
}

fn add_rates(row: &mut Map<String, Value>, rates: &[f64]) {
    for (i, &rate) in rates.iter().enumerate() {
        row.insert(if i == 0 { "lr".into() } else { format!("lr/{i}") }, rate.into());
    }
}

/// How fast a run is, and what it waits for.
#[derive(Default)]
pub(super) struct Speed {
    rows: u64,
    steps: Duration,
    waited: Duration,
    waited_here: Duration,
}

impl Speed {
    /// A step over `rows` rows took `time`; its loader has waited for `waited` in all.
    pub fn add(&mut self, rows: u64, time: Duration, waited: Duration) {
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
