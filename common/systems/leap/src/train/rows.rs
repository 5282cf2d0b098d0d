//! Prepared arrays as a source for the loader.

use common::{Error, Result};
use neural::loader::{Field, Source};

use crate::columns::{INPUTS, TARGETS};
use crate::dataset::Dataset;

impl Source for Dataset {
    fn rows(&self) -> u64 {
        Self::rows(self)
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::vector("inputs", INPUTS), Field::vector("targets", TARGETS)]
    }

    fn gather(&self, rows: &[u64], buffers: &mut [Vec<f32>]) -> Result<()> {
        let [inputs, targets] = buffers else {
            return Err(Error::failed(format!("gathering rows: {} buffers, expected two", buffers.len())));
        };
        inputs.resize(rows.len() * INPUTS, 0.0);
        targets.resize(rows.len() * TARGETS, 0.0);
        Self::gather(self, rows, inputs, targets)
    }
}
