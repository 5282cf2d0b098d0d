//! The table of predictions: a row an event, the same for validation and test events.

use std::path::Path;

use common::durable::Written;
use common::{Error, Result};
use tch::{Device, Kind, Tensor};

use crate::batch::Batch;
use crate::dataset::unscaled;
use crate::detector::Frame;
use crate::directions::calibration::Calibration;
use crate::targets::Extra;
use crate::{angles, directions};

/// Event ids and vectors in the order of prediction.
#[derive(Debug, Default)]
pub struct Rows {
    ids: Vec<i64>,
    vectors: Vec<[f32; 3]>,
    /// What heads say, in GeV, metres and probability of a track; empty without heads.
    extra: Vec<Extra>,
}

impl Rows {
    /// Adds the vectors of a batch, `[B, 3]`.
    pub fn add(&mut self, batch: &Batch, vectors: &Tensor) -> Result<()> {
        let failed = |e: tch::TchError| Error::failed(format!("reading predictions: {e}"));
        let flat = vectors.to_kind(Kind::Float).to_device(Device::Cpu).contiguous().flatten(0, -1);
        let values = Vec::<f32>::try_from(flat).map_err(failed)?;
        self.ids.extend(Vec::<i64>::try_from(batch.event_id.to_device(Device::Cpu)).map_err(failed)?);
        self.vectors.extend(values.chunks_exact(3).map(|v| [v[0], v[1], v[2]]));
        Ok(())
    }

    /// Adds what heads gave for the batch that was added last, `[B, 5]`, in the units of a frame.
    pub fn add_extra(&mut self, predicted: &Tensor, frame: &Frame) -> Result<()> {
        let flat = predicted.to_kind(Kind::Float).to_device(Device::Cpu).contiguous().flatten(0, -1);
        let values = Vec::<f32>::try_from(flat).map_err(|e| Error::failed(format!("reading predictions: {e}")))?;
        self.extra.extend(values.chunks_exact(5).map(|v| unscaled(std::array::from_fn(|k| v[k]), frame)));
        Ok(())
    }

    /// By ascending event id.
    ///
    /// # Errors
    /// [`Error::Input`] about `data` when an id appears twice: its rows would be counted twice in a submission.
    pub fn sorted(self, data: &Path) -> Result<Table> {
        let mut order: Vec<usize> = (0..self.ids.len()).collect();
        order.sort_by_key(|&row| self.ids[row]);
        let ids: Vec<i64> = order.iter().map(|&row| self.ids[row]).collect();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::input(data, format!("event {} is there twice", twice[0]))
                .hint("each event may stand in one file only: remove the double one and prepare the data anew"));
        }
        let vectors = order.iter().map(|&row| self.vectors[row]).collect();
        let whole = self.extra.len() == self.ids.len() && !self.extra.is_empty();
        let extra = whole.then(|| order.iter().map(|&row| self.extra[row]).collect());
        Ok(Table { ids, vectors, extra, calibration: Calibration::default() })
    }
}

/// Predictions by ascending event id.
#[derive(Debug, Clone)]
pub struct Table {
    /// Event ids.
    pub ids: Vec<i64>,
    /// Vectors, not normalised.
    pub vectors: Vec<[f32; 3]>,
    /// What heads say: energy in GeV, vertex in metres, probability of a track; NaN where there is no such head.
    pub extra: Option<Vec<Extra>>,
    /// What the written kappa and regions go through.
    pub calibration: Calibration,
}

impl Table {
    /// Azimuth and zenith in radians of each event.
    pub fn angles(&self) -> Vec<[f32; 2]> {
        self.vectors.iter().map(|&v| angles::angles(v)).collect()
    }

    /// Writes parquet: see [`directions::write_calibrated`].
    pub fn write(&self, path: &Path) -> Result<Written> {
        directions::write_calibrated(path, &self.ids, &self.vectors, &self.calibration, self.extra.as_deref())
    }
}
