//! Candidates for tracks, and the layers they have been through.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use common::{Error, Result};

/// Which layer each hit is in, as small numbers.
pub struct Layers {
    numbers: BTreeMap<(i32, i32), u8>,
    /// Number of the layer of each hit.
    pub of_hit: Vec<u8>,
}

impl Layers {
    /// Numbers the layers of hits.
    ///
    /// # Errors
    /// [`Error::Failed`] beyond 128 layers; the TrackML detector has 48.
    pub fn of(keys: impl Iterator<Item = (i32, i32)> + Clone) -> Result<Self> {
        let mut numbers: BTreeMap<(i32, i32), u8> = keys.clone().map(|key| (key, 0)).collect();
        if numbers.len() > 128 {
            return Err(Error::failed(format!("the event has hits in {} layers, expected at most 128", numbers.len())));
        }
        for (number, value) in numbers.values_mut().enumerate() {
            *value = number as u8;
        }
        let of_hit = keys.map(|key| numbers[&key]).collect();
        Ok(Self { numbers, of_hit })
    }

    /// The set of layers with these names, as bits; layers without hits are left out.
    pub fn named(&self, keys: &[(i32, i32)]) -> u128 {
        keys.iter().filter_map(|key| self.numbers.get(key)).fold(0, |set, number| set | 1 << number)
    }
}

/// A chain of hits that may be a track.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The seed it grew from.
    pub seed: usize,
    /// Indices of its hits.
    pub hits: Vec<u32>,
    /// Layers of its hits, as bits.
    pub layers: u128,
    /// Sum over its steps.
    pub cost: f64,
    /// The predicted place of a hit that it skipped, not yet fed to the network.
    pub virtual_point: Option<[f32; 3]>,
}

impl Candidate {
    /// One hit.
    pub fn start(seed: usize, hit: u32, layers: &Layers) -> Self {
        Self { seed, hits: vec![hit], layers: 1 << layers.of_hit[hit as usize], cost: 0.0, virtual_point: None }
    }

    /// This one and another hit.
    pub fn child(&self, hit: u32, cost: f64, gap: Option<[f32; 3]>, layers: &Layers) -> Self {
        let mut hits = Vec::with_capacity(self.hits.len() + 1);
        hits.extend_from_slice(&self.hits);
        hits.push(hit);
        let of = 1 << layers.of_hit[hit as usize];
        Self { seed: self.seed, hits, layers: self.layers | of, cost: self.cost + cost, virtual_point: gap }
    }

    fn mean_cost(&self) -> f64 {
        self.cost / (self.hits.len() as f64 - 1.0)
    }
}

/// By mean cost of a step, then by hits.
pub fn cost_order(a: &Candidate, b: &Candidate) -> Ordering {
    a.mean_cost().total_cmp(&b.mean_cost()).then_with(|| a.hits.cmp(&b.hits))
}
