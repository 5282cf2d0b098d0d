//! Transforms of the coordinates of a batch of events before tokens are made.
//!
//! Source: the transforms of the published models. Rows are `[x, y, z, ...]`; an event's rows are its points, without
//! padding. Differs: upstream pads events first, and `center` and `unit_sphere` then take the padding for points.

use common::seed::rng_for;
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Centre of the published detector, in voxels.
pub const CENTER: [f32; 3] = [384.0; 3];

/// Half a side of the grid times the root of 3: the grid lands in the unit ball.
pub fn published_scale() -> f64 {
    1.0 / (384.0 * 3f64.sqrt())
}

/// One step of the chain, applied in the order of the config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// `(p - center) * scale`: voxels to the unit ball.
    CenterAndScale {
        /// Centre in voxels. Published: 384 on each axis.
        #[serde(default = "center")]
        center: [f32; 3],
        /// Factor, > 0. Published: 1 / (384 sqrt(3)).
        #[serde(default = "published_scale")]
        scale: f64,
    },
    /// `p R'` with R = Rx(a) Ry(b) Rz(c), angles uniform in [-pi, pi).
    Rotate {
        /// One rotation for the whole batch, as published, or one for each event.
        #[serde(default)]
        per_event: bool,
        /// Angles only in steps of so many degrees. `null`: any.
        #[serde(default)]
        degrees: Option<u32>,
        /// Axes that are turned about: 0, 1, 2.
        #[serde(default = "all_axes")]
        axes: Vec<usize>,
    },
    /// `p * s`, s uniform in a range on each axis, and mirrored on some axes with probability one half.
    Scale {
        /// Smallest factor.
        min: f32,
        /// Largest factor.
        max: f32,
        /// Axes that are mirrored.
        #[serde(default)]
        mirror: [bool; 3],
    },
    /// `p + t`, t uniform in a cube.
    Translate {
        /// Half the side of the cube.
        distance: f32,
    },
    /// The mean of the event's points becomes the origin.
    Center,
    /// Divided by the largest distance from the origin.
    UnitSphere,
    /// The smallest coordinate along an axis becomes 0.
    HeightNorm {
        /// The axis: 0, 1, 2.
        axis: usize,
    },
}

fn center() -> [f32; 3] {
    CENTER
}

fn all_axes() -> Vec<usize> {
    vec![0, 1, 2]
}

impl Transform {
    /// The published chain in training.
    pub fn published_training() -> Vec<Self> {
        let mut chain = Self::published_validation();
        chain.push(Self::Rotate { per_event: false, degrees: None, axes: all_axes() });
        chain
    }

    /// The published chain of validation and prediction.
    pub fn published_validation() -> Vec<Self> {
        vec![Self::CenterAndScale { center: CENTER, scale: published_scale() }]
    }

    /// What is wrong with its numbers.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::CenterAndScale { scale, center }
                if scale.is_nan() || *scale <= 0.0 || center.iter().any(|c| !c.is_finite()) =>
            {
                Some("`center_and_scale` expects a finite centre and a scale above 0".into())
            }
            Self::Rotate { degrees: Some(d), .. } if !(1..=180).contains(d) => {
                Some(format!("`rotate.degrees` is {d}, expected 1 to 180"))
            }
            Self::Rotate { axes, .. } if axes.iter().any(|a| *a > 2) => {
                Some(format!("`rotate.axes` is {axes:?}, expected axes 0 to 2"))
            }
            Self::Scale { min, max, .. } if min.is_nan() || max.is_nan() || *min <= 0.0 || max < min => {
                Some(format!("`scale` is {min} to {max}, expected 0 < min <= max"))
            }
            Self::Translate { distance } if distance.is_nan() || *distance < 0.0 => {
                Some(format!("`translate.distance` is {distance}, expected >= 0"))
            }
            Self::HeightNorm { axis } if *axis > 2 => Some(format!("`height_norm.axis` is {axis}, expected 0 to 2")),
            _ => None,
        }
    }

    /// Factor on lengths, as far as it is fixed.
    pub fn scale_of(chain: &[Self]) -> f64 {
        chain.iter().map(|t| if let Self::CenterAndScale { scale, .. } = t { *scale } else { 1.0 }).product()
    }
}

/// Applies a chain to one event. `seed` and `step` fix what is drawn; `event` counts within the batch.
pub fn apply(chain: &[Transform], rows: &mut [f32], width: usize, seed: u64, step: u64, event: u64) {
    for (place, transform) in chain.iter().enumerate() {
        let draw = |per_event: bool| {
            let name =
                format!("transform {place}{}", if per_event { format!(" event {event}") } else { String::new() });
            rng_for(seed, &name, step)
        };
        match transform {
            Transform::CenterAndScale { center, scale } => center_and_scale(rows, width, *center, *scale as f32),
            Transform::Rotate { per_event, degrees, axes } => {
                let mut rng = draw(*per_event);
                let mut angle = |axis: usize| {
                    let u: f64 = rng.random();
                    let turns = degrees.map_or(u, |d| (u * 360.0 / f64::from(d)).floor() * f64::from(d) / 360.0);
                    if axes.contains(&axis) { (turns * 2.0 - 1.0) * std::f64::consts::PI } else { 0.0 }
                };
                let angles = [angle(0), angle(1), angle(2)].map(|a| a as f32);
                rotate(rows, width, &rotation(angles));
            }
            Transform::Scale { min, max, mirror } => {
                let mut rng = draw(false);
                let u: [f32; 3] = std::array::from_fn(|_| rng.random());
                let signs: [f32; 3] = std::array::from_fn(|_| rng.random());
                scale(rows, width, scale_factors(*min, *max, *mirror, u, signs));
            }
            Transform::Translate { distance } => {
                let mut rng = draw(false);
                translate(rows, width, std::array::from_fn(|_| (rng.random::<f32>() * 2.0 - 1.0) * distance));
            }
            Transform::Center => {
                let mean = mean(rows, width);
                translate(rows, width, mean.map(|m| -m));
            }
            Transform::UnitSphere => unit_sphere(rows, width),
            Transform::HeightNorm { axis } => height_norm(rows, width, *axis),
        }
    }
}

/// `(p - center) * scale` in f32.
pub fn center_and_scale(rows: &mut [f32], width: usize, center: [f32; 3], scale: f32) {
    for row in rows.chunks_exact_mut(width) {
        for (value, middle) in row.iter_mut().zip(center) {
            *value = (*value - middle) * scale;
        }
    }
}

/// R = Rx(a0) Ry(a1) Rz(a2), row-major.
pub fn rotation(angles: [f32; 3]) -> [[f32; 3]; 3] {
    let [(sx, cx), (sy, cy), (sz, cz)] = angles.map(f32::sin_cos);
    let product = |a: [[f32; 3]; 3], b: [[f32; 3]; 3]| {
        std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
    };
    let x = [[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]];
    let y = [[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]];
    let z = [[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]];
    product(product(x, y), z)
}

/// Each point times the transposed matrix.
pub fn rotate(rows: &mut [f32], width: usize, matrix: &[[f32; 3]; 3]) {
    for row in rows.chunks_exact_mut(width) {
        let p = [row[0], row[1], row[2]];
        for (value, line) in row.iter_mut().zip(matrix) {
            *value = line[0] * p[0] + line[1] * p[1] + line[2] * p[2];
        }
    }
}

/// Factors from uniform draws: `u` within the range, `signs` decide about mirroring.
pub fn scale_factors(min: f32, max: f32, mirror: [bool; 3], u: [f32; 3], signs: [f32; 3]) -> [f32; 3] {
    std::array::from_fn(|a| {
        let sign = if mirror[a] { 2.0 * signs[a].round_ties_even() - 1.0 } else { 1.0 };
        (u[a] * (max - min) + min) * sign
    })
}

/// `p * factors`.
pub fn scale(rows: &mut [f32], width: usize, factors: [f32; 3]) {
    for row in rows.chunks_exact_mut(width) {
        row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
    }
}

/// `p + shift`.
pub fn translate(rows: &mut [f32], width: usize, shift: [f32; 3]) {
    for row in rows.chunks_exact_mut(width) {
        row.iter_mut().zip(shift).for_each(|(value, shift)| *value += shift);
    }
}

/// Mean of the points; 0 of none.
pub fn mean(rows: &[f32], width: usize) -> [f32; 3] {
    let count = (rows.len() / width).max(1) as f64;
    std::array::from_fn(|a| (rows.chunks_exact(width).map(|row| f64::from(row[a])).sum::<f64>() / count) as f32)
}

/// Divides by the largest norm; points that are all at the origin stay there.
pub fn unit_sphere(rows: &mut [f32], width: usize) {
    let norm = |row: &[f32]| (row[0] * row[0] + row[1] * row[1] + row[2] * row[2]).sqrt();
    let largest = rows.chunks_exact(width).map(norm).fold(0.0_f32, f32::max);
    if largest > 0.0 {
        for row in rows.chunks_exact_mut(width) {
            row.iter_mut().take(3).for_each(|value| *value /= largest);
        }
    }
}

/// Moves the smallest coordinate along `axis` to 0.
pub fn height_norm(rows: &mut [f32], width: usize, axis: usize) {
    let lowest = rows.chunks_exact(width).map(|row| row[axis]).fold(f32::INFINITY, f32::min);
    rows.chunks_exact_mut(width).for_each(|row| row[axis] -= lowest);
}

/// Height of each point above the lowest along `axis`.
pub fn heights(rows: &[f32], width: usize, axis: usize) -> Vec<f32> {
    let mut moved = rows.to_vec();
    height_norm(&mut moved, width, axis);
    moved.chunks_exact(width).map(|row| row[axis]).collect()
}
