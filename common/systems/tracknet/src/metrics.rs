//! Metrics of the original (`src/tracknet/metrics`): size of the search regions, share of hits inside, and expected hits
//! inside. All are sums that are divided at the end.
//!
//! Differs: the original never resets them, so its curves average over the sanity check and all epochs; see
//! [`StepMetrics::reset`], which every evaluation calls.

use common::Result;
use neural::Doing;
use tch::{Kind, Tensor};

use crate::density::DensityMap;
use crate::models::Outputs;
use crate::normalizer::Normalizer;

/// Sums of one horizon (next hit, or the one after it).
#[derive(Debug, Clone, Default)]
struct Sums {
    volume: f64,
    inside: u64,
    expected: f64,
    count: u64,
}

/// Figures of one horizon; none where no step was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Mean volume of the spheres, normalised units cubed.
    pub search_area: f64,
    /// Share of hits inside their sphere.
    pub hit_efficiency: f64,
    /// Mean expected hits in a sphere; none without a density map.
    pub hit_density: Option<f64>,
}

/// Running sums over batches.
#[derive(Debug, Default)]
pub struct StepMetrics {
    sums: [Sums; 2],
}

impl StepMetrics {
    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Adds a batch.
    pub fn add(
        &mut self,
        outputs: &Outputs,
        targets: &Tensor,
        mask: &Tensor,
        map: Option<(&DensityMap, &Normalizer)>,
    ) -> Result<()> {
        let length = targets.size()[1];
        let later = length - 1;
        let mask = mask.to_kind(Kind::Bool);
        let first = (&outputs.coords_1, &outputs.radius_1, targets.shallow_clone(), mask.narrow(1, 0, length));
        self.horizon(0, (first.0, first.1, &first.2, &first.3), map)?;
        // Differs: with sequences of one step the original fails here; there is nothing to count.
        if later > 0 {
            let (centre, radius) = (outputs.coords_2.narrow(1, 0, later), outputs.radius_2.narrow(1, 0, later));
            let (target, mask) = (targets.narrow(1, 1, later), mask.narrow(1, length, later));
            self.horizon(1, (&centre, &radius, &target, &mask), map)?;
        }
        Ok(())
    }

    fn horizon(
        &mut self,
        at: usize,
        (centre, radius, target, mask): (&Tensor, &Tensor, &Tensor, &Tensor),
        map: Option<(&DensityMap, &Normalizer)>,
    ) -> Result<()> {
        let centre = centre.narrow(-1, 0, 3);
        let distance = (&centre - target).norm_scalaropt_dim(2, [-1].as_slice(), false);
        let radius = radius.squeeze_dim(-1);
        let real = radius.masked_select(mask);
        let number = |t: Tensor| t.f_double_value(&[]).doing("reading a metric");
        let sums = &mut self.sums[at];
        sums.count += real.size()[0] as u64;
        sums.volume += number((real.pow_tensor_scalar(3) * (4.0 / 3.0 * std::f64::consts::PI)).sum(Kind::Double))?;
        sums.inside += number(distance.le_tensor(&radius).masked_select(mask).sum(Kind::Int64))? as u64;
        if let Some((map, normalizer)) = map {
            let centres = centre.masked_select(&mask.unsqueeze(-1)).contiguous();
            let centres: Vec<f32> =
                Vec::try_from(centres).map_err(|e| common::Error::failed(format!("metrics: {e}")))?;
            let radii: Vec<f32> = Vec::try_from(real).map_err(|e| common::Error::failed(format!("metrics: {e}")))?;
            for (centre, radius) in centres.as_chunks::<3>().0.iter().zip(radii) {
                let centre = normalizer.denormalize(*centre);
                sums.expected += f64::from(map.expected(centre, radius * normalizer.mean_range()).0);
            }
        }
        Ok(())
    }

    /// All sums as numbers, to be sent to another process.
    pub fn numbers(&self) -> Vec<f64> {
        self.sums.iter().flat_map(|s| [s.volume, s.inside as f64, s.expected, s.count as f64]).collect()
    }

    /// Adds the sums of other batches, as [`StepMetrics::numbers`] gave them.
    pub fn add_numbers(&mut self, numbers: &[f64]) -> Result<()> {
        let [a, b] = numbers.as_chunks::<4>().0 else {
            return Err(common::Error::failed(format!("{} numbers, expected eight sums", numbers.len())));
        };
        for (sums, [volume, inside, expected, count]) in self.sums.iter_mut().zip([a, b]) {
            sums.volume += volume;
            sums.inside += *inside as u64;
            sums.expected += expected;
            sums.count += *count as u64;
        }
        Ok(())
    }

    /// Figures of the next hit (0) or the one after it (1).
    pub fn figures(&self, at: usize, with_density: bool) -> Option<Figures> {
        let sums = &self.sums[at];
        let n = sums.count as f64;
        (sums.count > 0).then(|| Figures {
            search_area: sums.volume / n,
            hit_efficiency: sums.inside as f64 / n,
            hit_density: with_density.then_some(sums.expected / n),
        })
    }
}
