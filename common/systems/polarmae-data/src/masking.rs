//! Which tokens of an event are hidden in pretraining.

use common::seed::rng_for;
use rand::RngExt;

/// Tokens of one event, by their place in it: hidden ones and visible ones, each ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mask {
    /// Hidden: to be reconstructed.
    pub masked: Vec<i64>,
    /// Visible to the encoder.
    pub visible: Vec<i64>,
}

/// Hides the tokens with the smallest scores: as many as the whole part of ratio times tokens, multiplied in f32 as
/// published. Equal scores go by place.
pub fn mask_by_scores(scores: &[f32], ratio: f64) -> Mask {
    let count = (ratio as f32 * scores.len() as f32) as usize;
    let mut order: Vec<i64> = (0..scores.len() as i64).collect();
    order.sort_by(|&a, &b| scores[a as usize].total_cmp(&scores[b as usize]));
    let mut masked = order[..count.min(order.len())].to_vec();
    let mut visible = order[masked.len()..].to_vec();
    masked.sort_unstable();
    visible.sort_unstable();
    Mask { masked, visible }
}

/// Draws the mask of one event of a step.
pub fn random_mask(tokens: usize, ratio: f64, seed: u64, step: u64, event: u64) -> Mask {
    let mut rng = rng_for(seed, &format!("mask of event {event}"), step);
    let scores: Vec<f32> = (0..tokens).map(|_| rng.random()).collect();
    mask_by_scores(&scores, ratio)
}
