//! Prepared events as the trainer's loader sees them: by number.

use std::sync::Arc;

use common::{Error, Result};
use neural::loader::{Field, Source};
use tch::Tensor;

pub use polarmae_data::dataset::{EventView, Events, Target};

/// Numbers of events for the loader: the trainer reads the events themselves from the mapped files.
///
/// Delivering a number touches the event's bytes, so that a worker of the loader waits for the disk and not the training.
pub struct Numbers {
    events: Arc<Events>,
    rows: u64,
}

impl Numbers {
    /// The first `most` events of a set, or all.
    pub fn new(events: Arc<Events>, most: Option<u64>) -> Self {
        let rows = most.map_or(events.len(), |most| most.min(events.len()));
        Self { events, rows }
    }

    /// The numbers in a batch that the loader delivered.
    pub fn of(batch: &Tensor) -> Result<Vec<u64>> {
        let numbers = Vec::<i64>::try_from(batch.to_device(tch::Device::Cpu));
        let numbers = numbers.map_err(|e| Error::failed(format!("reading the numbers of events: {e}")))?;
        Ok(numbers.into_iter().map(|n| n as u64).collect())
    }
}

impl Source for Numbers {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::vector("event", 1)]
    }

    fn gather(&self, rows: &[u64], buffers: &mut [Vec<f32>]) -> Result<()> {
        let Some(buffer) = buffers.first_mut() else { return Err(Error::failed("gathering events: no buffer")) };
        buffer.extend(rows.iter().map(|&row| row as f32));
        Ok(())
    }

    fn on_host(&self) -> bool {
        true
    }

    fn tensors(&self, rows: &[u64]) -> Result<Vec<Tensor>> {
        for &row in rows {
            let event = self.events.get(row)?;
            std::hint::black_box(event.points.iter().step_by(1024).sum::<f32>());
        }
        let numbers: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        Ok(vec![Tensor::from_slice(&numbers)])
    }
}
