//! Events on their way into a network: transformed, grouped, packed.

use common::Result;
use rayon::prelude::*;
use tch::{Device, Tensor};

use crate::grouping::{CHANNELS, GroupingConfig, Groups, group, random_start};
use crate::models::segmentation::PointBatch;
use crate::models::tokens::Grouped;
use crate::transforms::{Transform, apply};

/// What fixes every random draw of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// Optimizer step, or number of the batch.
    pub step: u64,
    /// Place of the first event in the batch of all processes: an event is drawn for alike whatever shares a batch is
    /// cut into.
    pub first: u64,
}

impl Draw {
    /// The place of an event of this share in the whole batch.
    pub fn place(&self, event: usize) -> u64 {
        self.first + event as u64
    }
}

/// A batch of events.
#[derive(Debug)]
pub struct Batch {
    /// Transformed points of each event, rows of x, y, z, energy.
    pub points: Vec<Vec<f32>>,
    /// Their groups.
    pub groups: Vec<Groups>,
    /// The groups as tensors.
    pub grouped: Grouped,
}

impl Batch {
    /// Transforms and groups events, in parallel.
    pub fn new(
        events: Vec<Vec<f32>>,
        transforms: &[Transform],
        grouping: &GroupingConfig,
        draw: Draw,
        device: Device,
    ) -> Result<Self> {
        let Draw { seed, step, .. } = draw;
        let prepared: Vec<(Vec<f32>, Groups)> = events
            .into_par_iter()
            .enumerate()
            .map(|(i, mut rows)| {
                apply(transforms, &mut rows, CHANNELS, seed, step, draw.place(i));
                let start = random_start(rows.len() / CHANNELS, seed, step, draw.place(i));
                let groups = group(grouping, &rows, start);
                (rows, groups)
            })
            .collect();
        let (points, groups): (Vec<_>, Vec<_>) = prepared.into_iter().unzip();
        for (i, cut) in groups.iter().enumerate().filter_map(|(i, g)| (g.cut > 0).then_some((i, g.cut))) {
            tracing::warn!("event {i} of batch {step}: {cut} groups beyond `max_groups` are cut off");
        }
        let grouped = Grouped::new(&groups, device)?;
        Ok(Self { points, groups, grouped })
    }

    /// The points, and the tokens they take features from.
    pub fn point_batch(&self, ghosts: bool, device: Device) -> PointBatch {
        let rows: Vec<&[f32]> = self.points.iter().map(Vec::as_slice).collect();
        PointBatch::new(&rows, &self.groups, ghosts, device)
    }

    /// Multi-hot classes of every token, `[tokens, classes]`: those of its points.
    pub fn token_classes(&self, labels: &[Vec<i64>], classes: usize) -> Tensor {
        let tokens = self.grouped.events.rows() as usize;
        let mut hot = vec![0f32; tokens * classes];
        let mut token = 0;
        for (groups, labels) in self.groups.iter().zip(labels) {
            let mut begin = 0;
            for &count in &groups.counts {
                for &member in &groups.members[begin..begin + count as usize] {
                    let class = usize::try_from(labels[member as usize]).unwrap_or(usize::MAX);
                    if class < classes {
                        hot[token * classes + class] = 1.0;
                    }
                }
                begin += count as usize;
                token += 1;
            }
        }
        Tensor::from_slice(&hot).view([tokens as i64, classes as i64])
    }

    /// Share of points that no group holds.
    pub fn uncovered(&self) -> f64 {
        let points: usize = self.points.iter().map(|rows| rows.len() / CHANNELS).sum();
        let covered: usize = self
            .groups
            .iter()
            .map(|groups| {
                let mut members = groups.members.clone();
                members.sort_unstable();
                members.dedup();
                members.len()
            })
            .sum();
        if points == 0 { 0.0 } else { 1.0 - covered as f64 / points as f64 }
    }
}
