//! Neighbours: the graph of the nearest pulses, and attention that sees no others.

use common::config::Problems;
use common::{Error, Result};
use neural::export::recording;
use neural::{Doing, device};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::batch::Batch;
use crate::models::direction::Packed;
use crate::models::graph::{self, Edges};
use crate::models::recorded;

/// The search finds so many neighbours of a pulse.
pub const MOST_NEIGHBOURS: i64 = 8;

/// What spans the space in which neighbours are near.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// Positions.
    #[default]
    Xyz,
    /// Positions and times.
    Xyzt,
    /// Positions, times and charges.
    Xyztc,
}

impl Space {
    /// Columns of the node features (`Packed::features`).
    fn columns(self) -> &'static [i64] {
        match self {
            Self::Xyz => &[0, 1, 2],
            Self::Xyzt => &[0, 1, 2, 3],
            Self::Xyztc => &[0, 1, 2, 3, 6],
        }
    }
}

/// Blocks whose attention sees the nearest pulses only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocalConfig {
    /// Blocks, >= 1.
    pub layers: i64,
    /// Pulses that each one sees beside itself, 1 to 8.
    pub neighbours: i64,
    /// Where they are near.
    pub space: Space,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self { layers: 3, neighbours: MOST_NEIGHBOURS, space: Space::Xyz }
    }
}

impl LocalConfig {
    /// Reports numbers that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        problems.demand(self.layers >= 1, &format!("{key}.layers"), || "is below 1".into());
        demand_neighbours(self.neighbours, key, problems);
    }
}

/// Reports numbers of neighbours that the search does not find.
pub fn demand_neighbours(neighbours: i64, key: &str, problems: &mut Problems) {
    problems.demand((1..=MOST_NEIGHBOURS).contains(&neighbours), &format!("{key}.neighbours"), || {
        format!("is {neighbours}, expected 1 to {MOST_NEIGHBOURS}")
    });
}

/// The columns of node features `[N, 9]` that span a space, each with a value for every node.
pub fn columns_of(features: &Tensor, space: Space) -> Result<Vec<Vec<f32>>> {
    let doing = "reading coordinates of neighbours";
    let on_host = features.detach().to_kind(Kind::Float).f_to_device(Device::Cpu).doing(doing)?;
    let read =
        |c: &i64| Vec::try_from(on_host.select(1, *c).contiguous()).map_err(|e| Error::failed(format!("{doing}: {e}")));
    space.columns().iter().map(read).collect()
}

/// The same columns as a tensor, `[N, c]`.
pub(super) fn coordinates_of(features: &Tensor, space: Space) -> Tensor {
    let columns: Vec<Tensor> = space.columns().iter().map(|&c| features.select(1, c)).collect();
    Tensor::stack(&columns, 1)
}

/// The nearest pulses of every pulse, of columns with a value for each; events lie one after another.
pub fn edges(columns: &[Vec<f32>], lengths: &[i64]) -> Edges {
    let columns: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
    graph::nearest(&columns, lengths, tch::get_num_threads() > 1)
}

/// Source and target of the edges to the `neighbours` nearest of each node, i64 `[E]` each.
pub fn ends(edges: &Edges, neighbours: i64, device: Device) -> Result<(Tensor, Tensor)> {
    let (mut sources, mut targets) = (vec![], vec![]);
    // Targets ascend, and the neighbours of each come nearest first.
    let mut last = (-1, 0);
    for (&source, &target) in edges.source.iter().zip(&edges.target) {
        last = if last.0 == target { (target, last.1 + 1) } else { (target, 1) };
        if last.1 <= neighbours {
            sources.push(source);
            targets.push(target);
        }
    }
    let place = |list: &[i64]| device::place(&Tensor::from_slice(list), device);
    Ok((place(&sources)?, place(&targets)?))
}

/// What a pulse sees: true for itself and its neighbours, bool `[B, L, L]`, the pulse that sees first.
pub(in crate::models) fn window(local: LocalConfig, batch: &Batch, packed: &Packed) -> Result<Tensor> {
    let (events, length) = (batch.events(), batch.length());
    if recording() {
        let coordinates = coordinates_of(&packed.features(batch), local.space);
        return Ok(recorded::window(&coordinates, &batch.mask, local.neighbours));
    }
    let columns = columns_of(&packed.features(batch), local.space)?;
    let (source, target) = ends(&edges(&columns, &packed.lengths), local.neighbours, batch.device())?;
    // Row of a node in the flattened `[B * L]`, and that of the first place of its event.
    let (rows, seen) = (packed.rows.index_select(0, &target), packed.rows.index_select(0, &source));
    let flat = rows * length + seen.remainder(length);
    let itself = Tensor::f_eye(length, (Kind::Bool, batch.device())).doing("making windows of attention")?;
    let window = itself.unsqueeze(0).repeat([events, 1, 1]).view([-1]);
    let window = window.f_index_fill(0, &flat, 1).doing("making windows of attention")?;
    Ok(window.view([events, length, length]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::encoder::testing::batch;

    fn seen(local: LocalConfig, lengths: &[i64]) -> Vec<i64> {
        let batch = batch(lengths, 11);
        let window = window(local, &batch, &Packed::new(&batch).unwrap()).unwrap();
        let counts = window.sum_dim_intlist([2_i64].as_slice(), false, Kind::Int64);
        // Only the rows of pulses.
        Vec::try_from(counts.masked_select(&batch.mask)).unwrap()
    }

    #[test]
    fn a_pulse_sees_itself_and_so_many_neighbours() {
        let local = LocalConfig { neighbours: 3, ..LocalConfig::default() };
        assert_eq!(seen(local, &[6, 2, 1]), [4, 4, 4, 4, 4, 4, 2, 2, 1]);
    }

    #[test]
    fn a_window_that_covers_everything_leaves_no_pulse_out() {
        let batch = batch(&[9, 4], 11);
        for space in [Space::Xyz, Space::Xyzt, Space::Xyztc] {
            let local = LocalConfig { space, ..LocalConfig::default() };
            let window = window(local, &batch, &Packed::new(&batch).unwrap()).unwrap();
            let both = batch.mask.unsqueeze(1).logical_and(&batch.mask.unsqueeze(2));
            let itself = Tensor::eye(9, (Kind::Bool, Device::Cpu)).unsqueeze(0);
            assert_eq!(window, both.logical_or(&itself), "{space:?}");
        }
    }
}
