//! Seven networks that predict one group of targets each: inputs are read and expanded once.

use std::path::PathBuf;

use common::{Error, Result};
use neural::Doing;
use neural::weights;
use tch::{Device, Kind, Tensor};

use crate::columns::{GROUPS, group};
use crate::layout::expand;
use crate::models::ModelConfig;
use crate::train::{Built, build};

/// The networks of the seven groups, in order.
pub struct GroupNetworks {
    networks: Vec<Built>,
}

impl GroupNetworks {
    /// Loads the weights of the groups, `files[g]` for group g, strictly.
    pub fn load(model: &ModelConfig, files: &[PathBuf], device: Device) -> Result<Self> {
        if files.len() != GROUPS {
            return Err(Error::failed(format!(
                "{} weight files, expected one for each of {GROUPS} groups",
                files.len()
            )));
        }
        let load = |path: &PathBuf| {
            let built = build(model, device, 0)?;
            weights::load(&built.params.state(), path, &weights::Allow::default())?;
            Ok(built)
        };
        Ok(Self { networks: files.iter().map(load).collect::<Result<_>>()? })
    }

    /// The networks, in the order of the groups.
    pub(crate) fn built(&self) -> &[Built] {
        &self.networks
    }

    /// `[B, 556]` -> `[B, 368]`: the columns of each group from its own network.
    pub fn predict(&self, rows: &Tensor) -> Result<Tensor> {
        let x = expand(rows); // [B, 60, 25]
        let parts: Vec<Tensor> = self
            .networks
            .iter()
            .enumerate()
            .map(|(g, built)| {
                let columns = group(g);
                let all = built.network.forward(&x, false);
                all.narrow(1, columns.start as i64, columns.len() as i64).to_kind(Kind::Float)
            })
            .collect();
        Tensor::f_cat(&parts, 1).doing("joining the groups")
    }
}
