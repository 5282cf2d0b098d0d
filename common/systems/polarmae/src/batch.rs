//! Events on their way into a network: transformed, grouped, packed.

use common::{Error, Result};
use rayon::prelude::*;
use tch::{Device, Tensor};

use crate::batched;
use crate::grouping::{CHANNELS, GroupingConfig, Groups, group_all, random_start};
use crate::models::segmentation::PointBatch;
use crate::models::tokens::Grouped;
use crate::transforms::{Transform, apply};

/// What fixes every random draw of a batch. What is drawn for an event hangs on its number and not on its place in the
/// batch, so that several processes draw what one would.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// Seed of the run.
    pub seed: u64,
    /// Optimizer step, or number of the batch.
    pub step: u64,
    /// Numbers of the batch's events in their set.
    pub events: &'a [u64],
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

/// An event before it is part of a batch: transformed, and grouped by the CPU.
#[derive(Debug)]
pub struct Prepared {
    /// Transformed points, rows of x, y, z, energy.
    pub points: Vec<f32>,
    /// Their groups.
    pub groups: Groups,
}

/// Transforms and groups events on the CPU, in parallel.
///
/// # Errors
/// Not as many numbers as events.
pub fn prepare(
    events: Vec<Vec<f32>>,
    transforms: &[Transform],
    grouping: &GroupingConfig,
    draw: Draw<'_>,
) -> Result<Vec<Prepared>> {
    let (points, starts) = transformed(events, transforms, draw)?;
    let rows: Vec<&[f32]> = points.iter().map(Vec::as_slice).collect();
    let groups = group_all(grouping, &rows, &starts);
    Ok(points.into_iter().zip(groups).map(|(points, groups)| Prepared { points, groups }).collect())
}

/// Transformed points of each event, and where farthest point sampling begins in it.
fn transformed(events: Vec<Vec<f32>>, transforms: &[Transform], draw: Draw<'_>) -> Result<(Vec<Vec<f32>>, Vec<u32>)> {
    let Draw { seed, step, events: numbers } = draw;
    if numbers.len() != events.len() {
        return Err(Error::failed(format!("a batch of {} events with {} numbers", events.len(), numbers.len())));
    }
    let prepared: Vec<(Vec<f32>, u32)> = events
        .into_par_iter()
        .zip(numbers)
        .map(|(mut rows, &event)| {
            apply(transforms, &mut rows, CHANNELS, seed, step, event);
            let start = random_start(rows.len() / CHANNELS, seed, step, event);
            (rows, start)
        })
        .collect();
    Ok(prepared.into_iter().unzip())
}

impl Batch {
    /// Transforms and groups events where the network computes.
    pub fn new(
        events: Vec<Vec<f32>>,
        transforms: &[Transform],
        grouping: &GroupingConfig,
        draw: Draw<'_>,
        device: Device,
    ) -> Result<Self> {
        // Both give the same groups.
        if device == Device::Cpu {
            return Self::of(prepare(events, transforms, grouping, draw)?, draw.events, device);
        }
        let (points, starts) = transformed(events, transforms, draw)?;
        let rows: Vec<&[f32]> = points.iter().map(Vec::as_slice).collect();
        let groups = batched::group_all(grouping, &rows, &starts, device)?;
        Self::packed(points, groups, draw.events, device)
    }

    /// A batch of events that are prepared, with their numbers.
    pub fn of(events: Vec<Prepared>, numbers: &[u64], device: Device) -> Result<Self> {
        let (points, groups) = events.into_iter().map(|event| (event.points, event.groups)).unzip();
        Self::packed(points, groups, numbers, device)
    }

    fn packed(points: Vec<Vec<f32>>, groups: Vec<Groups>, numbers: &[u64], device: Device) -> Result<Self> {
        for (event, cut) in numbers.iter().zip(&groups).filter_map(|(n, g)| (g.cut > 0).then_some((n, g.cut))) {
            tracing::warn!("event {event}: {cut} groups beyond `max_groups` are cut off");
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
