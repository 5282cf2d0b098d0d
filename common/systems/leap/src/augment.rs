//! Augmentation of training rows along the vertical, as published for Joseph's 907: some columns are turned upside down,
//! some are shifted cyclically by a few levels. Physically neither makes sense (the surface ends up at the top of the
//! atmosphere), and 912 was trained without; it is here so that the recipe can be reproduced.

use common::config::Problems;
use common::seed::rng_for;
use neural::device;
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::columns::{LEVELS, PROFILE_TARGETS, SCALAR_INPUTS, SCALAR_TARGETS};

/// How often profiles are changed. Inputs and targets of a sample are changed alike; scalars stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Share of samples whose levels are turned upside down, 0..1. Published: 0.08.
    pub flip: f64,
    /// Share of samples whose levels are shifted cyclically, 0..1. Published: 0.08.
    pub roll: f64,
    /// Largest shift in levels, up or down, 1..59. Published: 5.
    pub max_shift: u32,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self { flip: 0.08, roll: 0.08, max_shift: 5 }
    }
}

/// What happens to one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Level l becomes level 59 - l.
    Flip,
    /// Level l becomes level (l + shift) mod 60.
    Roll(i64),
}

impl Augmentation {
    /// Reports shares and shifts that cannot be; `key` is the dotted path in the config.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        for (name, share) in [("flip", self.flip), ("roll", self.roll)] {
            problems.demand((0.0..=1.0).contains(&share), &format!("{key}.{name}"), || {
                format!("is {share}, expected 0 to 1")
            });
        }
        if self.flip + self.roll > 1.0 {
            problems.push(format!("{key}.roll"), "and `flip` together are more than 1");
        }
        let shift = self.max_shift;
        problems.demand((1..LEVELS as u32).contains(&shift), &format!("{key}.max_shift"), || {
            format!("is {shift}, expected 1 to {}", LEVELS - 1)
        });
    }

    /// What a uniform draw `u` from 0..1 means; `shift` is used where it means a roll.
    pub fn change(&self, u: f64, shift: i64) -> Change {
        if u > 1.0 - self.flip {
            Change::Flip
        } else if u < self.roll {
            Change::Roll(shift)
        } else {
            Change::None
        }
    }

    /// The changes of `rows` samples of the batch of a step, from the sample at place `first` on: a sample is changed
    /// alike whatever parts its batch is cut into.
    pub fn draw(&self, seed: u64, step: u64, first: u64, rows: usize) -> Vec<Change> {
        let mut rng = rng_for(seed, "augmentation 0", step);
        let largest = i64::from(self.max_shift);
        let mut one = || {
            let (u, shift) = (rng.random::<f64>(), rng.random_range(1..=2 * largest));
            // -max..-1 and 1..max, all equally likely.
            self.change(u, if shift <= largest { shift } else { largest - shift })
        };
        (0..first).for_each(|_| _ = one());
        (0..rows).map(|_| one()).collect()
    }
}

/// Applies the changes to network inputs `[B, 60, 25]` and targets `[B, 368]`, one change a sample.
pub fn apply(changes: &[Change], x: &Tensor, y: &Tensor) -> (Tensor, Tensor) {
    if changes.iter().all(|change| *change == Change::None) {
        return (x.shallow_clone(), y.shallow_clone());
    }
    let (rows, levels, profiles) = (changes.len() as i64, LEVELS as i64, PROFILE_TARGETS as i64);
    let source: Vec<i64> = changes.iter().flat_map(|change| (0..levels).map(|level| change.source(level))).collect();
    let source = device::placed(&Tensor::from_slice(&source).view([rows, levels]), x.device());

    // Further channels are profiles, or the same on all levels.
    let (scalars, inputs) = (x.narrow(2, 0, SCALAR_INPUTS as i64), x.size()[2] - SCALAR_INPUTS as i64);
    let index = source.unsqueeze(2).expand([rows, levels, inputs], false);
    let moved = x.narrow(2, SCALAR_INPUTS as i64, inputs).gather(1, &index, false);
    let x = Tensor::cat(&[scalars, moved], 2);

    let (scalars, index) = (y.narrow(1, 0, SCALAR_TARGETS as i64), source.unsqueeze(1));
    let all = y.narrow(1, SCALAR_TARGETS as i64, profiles * levels).reshape([rows, profiles, levels]);
    let moved = all.gather(2, &index.expand([rows, profiles, levels], false), false);
    // Behind the targets may stand where the rows are.
    let end = SCALAR_TARGETS as i64 + profiles * levels;
    let places = y.narrow(1, end, y.size()[1] - end);
    (x, Tensor::cat(&[scalars, moved.reshape([rows, profiles * levels]), places], 1))
}

impl Change {
    /// The level that `level` is filled from.
    fn source(self, level: i64) -> i64 {
        let levels = LEVELS as i64;
        match self {
            Self::None => level,
            Self::Flip => levels - 1 - level,
            Self::Roll(shift) => (level - shift).rem_euclid(levels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_shifts_are_those_of_the_config() {
        let augmentation = Augmentation { flip: 0.25, roll: 0.5, max_shift: 2 };
        let all: Vec<Change> = (0..20).flat_map(|step| augmentation.draw(7, step, 0, 500)).collect();
        let share = |wanted: fn(&Change) -> bool| all.iter().filter(|c| wanted(c)).count() as f64 / all.len() as f64;
        assert!((share(|c| *c == Change::Flip) - 0.25).abs() < 0.02);
        for shift in [-2, -1, 1, 2] {
            let count = all.iter().filter(|c| **c == Change::Roll(shift)).count() as f64 / all.len() as f64;
            assert!((count - 0.125).abs() < 0.02, "shift {shift}: {count}");
        }
        assert!(!all.contains(&Change::Roll(0)));
    }

    #[test]
    fn draws_depend_on_seed_step_and_place_only() {
        let augmentation = Augmentation { flip: 0.3, roll: 0.3, max_shift: 5 };
        let draw = |seed, step, first| augmentation.draw(seed, step, first, 50);
        assert_eq!(draw(1, 2, 0), draw(1, 2, 0));
        assert!(draw(1, 2, 0) != draw(1, 3, 0) && draw(1, 2, 0) != draw(2, 2, 0));
        assert_eq!(draw(1, 2, 0)[20..], draw(1, 2, 20)[..30]);
    }
}
