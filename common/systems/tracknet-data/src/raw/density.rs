//! How many hits an event has where: a voxel map, and the expected number of hits in a sphere (`hit-density`; upstream
//! `scripts/hit_density_calculation.py`, `src/tracknet/metrics/hit_density.py`). Uses no tensor library.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use common::{Error, Result};
use rayon::prelude::*;

use super::event::Hits;

/// A box cut into cubes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Lower corner in mm.
    pub origin: [f32; 3],
    /// Side of a voxel in mm.
    pub voxel_size: f64,
    /// Voxels along x, y, z.
    pub shape: [usize; 3],
}

/// How the place of a hit becomes the index of a voxel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rounding {
    /// Toward minus infinity: a hit below the grid is outside of it.
    #[default]
    Floor,
    /// Toward zero, as published: hits up to one voxel below the grid fall into its first voxel.
    Truncate,
}

/// Most voxels of a map: 4 GiB of counts.
const MOST_VOXELS: f64 = 1.0e9;

impl Grid {
    /// The grid around `low..high`, widened by a tenth of a voxel on each side; f32 arithmetic, as published.
    ///
    /// # Errors
    /// [`Error::Usage`] where the voxels are so small that the map would not fit into memory.
    pub fn around(low: [f32; 3], high: [f32; 3], voxel_size: f64) -> Result<Self> {
        let size = voxel_size as f32;
        let margin = (0.1 * voxel_size) as f32;
        let origin: [f32; 3] = std::array::from_fn(|i| low[i] - margin);
        let sides: [f64; 3] = std::array::from_fn(|i| f64::from((((high[i] + margin) - origin[i]) / size).ceil()));
        let voxels: f64 = sides.iter().product();
        if !(1.0..=MOST_VOXELS).contains(&voxels) {
            return Err(Error::usage(format!(
                "a voxel of {voxel_size} mm cuts {low:?} to {high:?} mm into {voxels:.1e} voxels, expected 1 to {MOST_VOXELS:.0e}"
            ))
            .hint("choose another voxel, such as `--voxel-size 100`"));
        }
        Ok(Self { origin, voxel_size, shape: sides.map(|s| s as usize) })
    }

    /// Number of voxels.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Voxel of a place (z fastest), none outside.
    pub fn voxel(&self, xyz: [f32; 3], rounding: Rounding) -> Option<usize> {
        let size = self.voxel_size as f32;
        let mut at = 0;
        for ((value, origin), side) in xyz.iter().zip(self.origin).zip(self.shape) {
            let place = (value - origin) / size;
            let inside = if rounding == Rounding::Floor { place >= 0.0 } else { place > -1.0 };
            if !(inside && place < side as f32) {
                return None;
            }
            // A cast cuts toward zero, which from 0 on is the floor, and makes 0 of what is below it.
            at = at * side + place as u32 as usize;
        }
        Some(at)
    }

    /// Centre of voxel `at`, mm.
    pub fn centre(&self, at: usize) -> [f64; 3] {
        let [_, ny, nz] = self.shape;
        let index = [at / (ny * nz), at / nz % ny, at % nz];
        std::array::from_fn(|i| index[i] as f64 * self.voxel_size + f64::from(self.origin[i]) + self.voxel_size / 2.0)
    }
}

/// Mean hits of an event in each voxel.
#[derive(Debug, Clone, PartialEq)]
pub struct DensityMap {
    /// The voxels.
    pub grid: Grid,
    /// Mean hits, z fastest.
    pub density: Vec<f32>,
}

/// What counting found beside the map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Events.
    pub events: u64,
    /// Hits.
    pub hits: u64,
    /// Hits outside of the grid.
    pub dropped: u64,
}

/// A box around hits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Lowest x, y, z in mm; infinite without a hit.
    pub low: [f32; 3],
    /// Highest x, y, z.
    pub high: [f32; 3],
}

impl Bounds {
    /// The box around nothing.
    pub const NOTHING: Self = Self { low: [f32::INFINITY; 3], high: [f32::NEG_INFINITY; 3] };

    /// The smallest box around positions.
    pub fn of(positions: &[[f32; 3]]) -> Self {
        positions.iter().fold(Self::NOTHING, |bounds, &xyz| bounds.join(Self { low: xyz, high: xyz }))
    }

    /// The smallest box around both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            low: std::array::from_fn(|i| self.low[i].min(other.low[i])),
            high: std::array::from_fn(|i| self.high[i].max(other.high[i])),
        }
    }
}

/// Events of full size whose positions are kept between finding the bounds and counting: 120 MB.
const KEPT: usize = 100;

/// Counts the hits of all events in voxels of `voxel_size` mm. Without `bounds` the grid spans all hits.
///
/// # Errors
/// [`Error::Input`] for an event that cannot be read, or where there is no hit; [`Error::Usage`] for too many voxels.
pub fn map_of(
    events: &[PathBuf],
    voxel_size: f64,
    bounds: Option<Bounds>,
    rounding: Rounding,
) -> Result<(DensityMap, Counted)> {
    let read = |prefix: &PathBuf| Ok(Cow::Owned(Hits::read_positions(prefix)?));
    if let Some(Bounds { low, high }) = bounds {
        return DensityMap::count(Grid::around(low, high, voxel_size)?, rounding, events.par_iter().map(read));
    }
    let with_bounds = |prefix: &PathBuf| {
        let positions = Hits::read_positions(prefix)?;
        Ok((Bounds::of(&positions), positions))
    };
    let join = |a: Bounds, b: Bounds| Ok(a.join(b));
    let around = |bounds: Bounds| {
        if bounds.low[0] > bounds.high[0] {
            let folder = events.first().map_or(Path::new("."), |e| e.parent().unwrap_or(Path::new(".")));
            return Err(Error::input(folder, "the events hold no hits"));
        }
        Grid::around(bounds.low, bounds.high, voxel_size)
    };
    if events.len() > KEPT {
        let bounds = events.par_iter().map(|event| Ok(with_bounds(event)?.0)).try_reduce(|| Bounds::NOTHING, join)?;
        return DensityMap::count(around(bounds)?, rounding, events.par_iter().map(read));
    }
    let kept = events.par_iter().map(with_bounds).collect::<Result<Vec<_>>>()?;
    let grid = around(kept.iter().fold(Bounds::NOTHING, |all, (bounds, _)| all.join(*bounds)))?;
    DensityMap::count(grid, rounding, kept.par_iter().map(|(_, positions)| Ok(Cow::Borrowed(positions.as_slice()))))
}

impl DensityMap {
    /// Counts the hits of all events, in parallel; counts are whole numbers, so the order does not matter.
    pub fn count<'a>(
        grid: Grid,
        rounding: Rounding,
        events: impl ParallelIterator<Item = Result<Cow<'a, [[f32; 3]]>>>,
    ) -> Result<(Self, Counted)> {
        let empty = || (vec![0_u32; grid.len()], Counted::default());
        let one = |(mut counts, mut counted): (Vec<u32>, Counted), positions: Result<Cow<[[f32; 3]]>>| {
            let positions = positions?;
            for &xyz in positions.iter() {
                match grid.voxel(xyz, rounding) {
                    Some(at) => counts[at] += 1,
                    None => counted.dropped += 1,
                }
            }
            counted.events += 1;
            counted.hits += positions.len() as u64;
            Ok((counts, counted))
        };
        let (counts, counted) = events.try_fold(empty, one).try_reduce(empty, |mut a, b| {
            a.0.iter_mut().zip(b.0).for_each(|(a, b)| *a += b);
            let sum = |a, b| a + b;
            a.1 = Counted {
                events: sum(a.1.events, b.1.events),
                hits: sum(a.1.hits, b.1.hits),
                dropped: sum(a.1.dropped, b.1.dropped),
            };
            Ok(a)
        })?;
        let density = counts.iter().map(|&n| n as f32 / counted.events as f32).collect();
        Ok((Self { grid, density }, counted))
    }

    /// Expected hits in a sphere (mm), and how many occupied voxels have their centre in it: their mean density times
    /// the volume of the sphere, or of those voxels where that is less.
    ///
    /// Differs: the original draws 100 of the voxels where there are more, unseeded, and so caps the volume.
    pub fn expected(&self, centre: [f32; 3], radius: f32) -> (f32, usize) {
        if radius.is_nan() || radius <= 0.0 {
            return (0.0, 0);
        }
        let (grid, size) = (&self.grid, self.grid.voxel_size);
        let range = |i: usize| {
            let (c, r) = (f64::from(centre[i]) - f64::from(grid.origin[i]), f64::from(radius));
            let low = ((c - r) / size - 0.5).ceil().max(0.0) as usize;
            // One more on each side: the exact test below decides.
            let high = (((c + r) / size - 0.5).floor() + 1.0).clamp(-1.0, grid.shape[i] as f64 - 1.0);
            low.saturating_sub(1)..(high + 1.0) as usize
        };
        let (mut sum, mut inside) = (0.0_f64, 0_usize);
        for x in range(0) {
            for y in range(1) {
                for z in range(2) {
                    let at = (x * grid.shape[1] + y) * grid.shape[2] + z;
                    if self.density[at] <= 0.0 {
                        continue;
                    }
                    let voxel = grid.centre(at);
                    let d2: f64 = (0..3).map(|i| (voxel[i] - f64::from(centre[i])).powi(2)).sum();
                    if d2.sqrt() <= f64::from(radius) {
                        sum += f64::from(self.density[at]);
                        inside += 1;
                    }
                }
            }
        }
        if inside == 0 {
            return (0.0, 0);
        }
        let cube = (size as f32).powi(3);
        let sphere = (4.0 / 3.0 * std::f64::consts::PI) as f32 * radius.powi(3);
        let mean = (sum / inside as f64) as f32;
        (mean * sphere.min(inside as f32 * cube) / cube, inside)
    }

    /// The text that the original prints of a map.
    pub fn statistics(&self) -> String {
        let mean = self.density.iter().map(|&d| f64::from(d)).sum::<f64>() / self.density.len() as f64;
        let max = self.density.iter().copied().fold(0.0_f32, f32::max);
        let mut occupied: Vec<f32> = self.density.iter().copied().filter(|&d| d > 0.0).collect();
        occupied.sort_unstable_by(f32::total_cmp);
        let mut text = format!(
            "Density map statistics:\nMean density: {mean:.2} hits/voxel\nMax density: {max:.2} hits/voxel\nDensity percentiles:"
        );
        for q in [50, 90, 95, 99] {
            text += &format!("\n{q}th percentile: {:.2}", percentile(&occupied, f64::from(q) / 100.0));
        }
        text
    }
}

/// Percentile of sorted values with linear interpolation.
pub fn percentile(sorted: &[f32], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = q * last as f64;
    let (low, part) = (place.floor() as usize, place.fract());
    let (a, b) = (f64::from(sorted[low]), f64::from(sorted[(low + 1).min(last)]));
    a + (b - a) * part
}
