//! The table of predictions: a row an event, the same for validation and test events.

use std::path::Path;

use common::angles;
use common::durable::Written;
use common::store::tables::{self, Column};
use common::{Error, Result};
use tch::{Device, Kind, Tensor};

use crate::batch::Batch;

/// Event ids and vectors in the order of prediction.
#[derive(Debug, Default)]
pub struct Rows {
    ids: Vec<i64>,
    vectors: Vec<[f32; 3]>,
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
        Ok(Table { ids, vectors: order.iter().map(|&row| self.vectors[row]).collect() })
    }
}

/// Predictions by ascending event id.
#[derive(Debug, Clone)]
pub struct Table {
    /// Event ids.
    pub ids: Vec<i64>,
    /// Vectors, not normalised.
    pub vectors: Vec<[f32; 3]>,
}

impl Table {
    /// Azimuth and zenith in radians of each event.
    pub fn angles(&self) -> Vec<[f32; 2]> {
        self.vectors.iter().map(|&v| angles::angles(v)).collect()
    }

    /// Writes parquet: `event_id`, `azimuth`, `zenith`, the vector `x`, `y`, `z`, its length `kappa`, and the angles around
    /// the direction that hold 50 % and 90 % of its von Mises-Fisher distribution, in radians.
    pub fn write(&self, path: &Path) -> Result<Written> {
        let found = self.angles();
        let kappa: Vec<f32> = self.vectors.iter().map(|v| angles::length(v.map(f64::from)) as f32).collect();
        let within = |p: f64| kappa.iter().map(|&k| angles::containment(f64::from(k), p) as f32).collect::<Vec<_>>();
        let mut table = tables::Table::new();
        table.push("event_id", Column::I64(self.ids.clone()))?;
        table.push("azimuth", Column::F32(found.iter().map(|a| a[0]).collect()))?;
        table.push("zenith", Column::F32(found.iter().map(|a| a[1]).collect()))?;
        for (i, name) in ["x", "y", "z"].into_iter().enumerate() {
            table.push(name, Column::F32(self.vectors.iter().map(|v| v[i]).collect()))?;
        }
        let (half, most) = (within(0.5), within(0.9));
        table.push("kappa", Column::F32(kappa))?;
        table.push("angle50", Column::F32(half))?;
        table.push("angle90", Column::F32(most))?;
        tables::write_parquet(path, &table)
    }
}
