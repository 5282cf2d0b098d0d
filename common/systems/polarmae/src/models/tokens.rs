//! A batch of events as tensors: groups of all events one after another.

use common::Result;
use neural::device;
use tch::{Device, Tensor};

use super::packed::Runs;
use crate::grouping::{CHANNELS, Groups};

/// The groups of a batch, packed.
#[derive(Debug)]
pub struct Grouped {
    /// Groups (tokens) of each event.
    pub events: Runs,
    /// Points of each group, event after event.
    pub points: Runs,
    /// Local coordinates and energies of the points of all groups, `[P, 4]`.
    pub features: Tensor,
    /// Centres, `[M, 3 or 4]`.
    pub centers: Tensor,
}

impl Grouped {
    /// Joins the groups of the events of a batch.
    pub fn new(events: &[Groups], device: Device) -> Result<Self> {
        let width = events.iter().map(|g| g.center_width).max().unwrap_or(3).max(3) as i64;
        let tokens = Runs::new(events.iter().map(|g| g.len() as i64).collect());
        let points = Runs::new(events.iter().flat_map(|g| g.counts.iter().map(|&n| i64::from(n))).collect());
        let features: Vec<f32> = events.iter().flat_map(|g| g.features.iter().copied()).collect();
        let centers: Vec<f32> = events.iter().flat_map(|g| g.centers.iter().copied()).collect();
        Ok(Self {
            features: device::placed(&Tensor::from_slice(&features).view([-1, CHANNELS as i64]), device),
            centers: device::placed(&Tensor::from_slice(&centers).view([-1, width]), device),
            events: tokens,
            points,
        })
    }

    /// Rows of the points of these tokens, and the runs they form.
    pub fn points_of(&self, tokens: &[i64]) -> (Vec<i64>, Runs) {
        let (starts, lengths) = (self.points.starts(), self.points.lengths());
        let rows = tokens.iter().flat_map(|&t| starts[t as usize]..starts[t as usize] + lengths[t as usize]).collect();
        (rows, Runs::new(tokens.iter().map(|&t| lengths[t as usize]).collect()))
    }
}
