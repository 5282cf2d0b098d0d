//! The simulated world: any column at any step, before and after.

use common::Result;

use super::climate::Climate;
use super::column::{Column, Weather};
use super::config::STEPS_A_DAY;
use super::grid::Grid;
use super::physics::{Outcome, Physics};
use crate::columns::{INPUTS, LEVELS, STEP_SECONDS};
use crate::raw::block::WIDTH;
use crate::raw::month::Month;

/// One 20-minute step of the calendar without leap days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// Month.
    pub month: Month,
    /// Day of the month, from 1.
    pub day: u32,
    /// Second of the day, a multiple of 1200.
    pub second: u32,
}

impl Step {
    /// Step `index` (0..72) of a day.
    pub fn new(month: Month, day: u32, index: u32) -> Self {
        Self { month, day, second: index * STEP_SECONDS as u32 }
    }

    /// As in file names: `0001-02-01-00000`.
    pub fn name(&self) -> String {
        format!("{}-{:02}-{:05}", self.month, self.day, self.second)
    }

    /// Seconds since 0001-01-01.
    pub fn time(&self) -> f64 {
        let before: u32 = (1..self.month.month).map(|month| Month { month, ..self.month }.days()).sum();
        let days = (self.month.year - 1) * 365 + before + self.day - 1;
        f64::from(days) * 86_400.0 + f64::from(self.second)
    }

    /// Number of the step since 0001-01-01.
    fn number(&self) -> u64 {
        (self.time() / STEP_SECONDS) as u64
    }

    /// `days` days of a month, spread evenly, and every `stride`-th step of each.
    pub fn of_month(month: Month, days: Option<u32>, stride: u32) -> Vec<Self> {
        let all = month.days();
        let days = days.unwrap_or(all).min(all);
        let day = move |i: u32| 1 + i * all / days;
        (0..days)
            .flat_map(|i| (0..STEPS_A_DAY).step_by(stride as usize).map(move |s| Self::new(month, day(i), s)))
            .collect()
    }
}

/// Weather, physics and grid of one run.
pub struct World {
    /// The chosen columns.
    pub grid: Grid,
    weather: Weather,
    physics: Physics,
    seed: u64,
}

impl World {
    /// The world of a seed.
    pub fn new(grid: Grid, seed: u64, noise: f64) -> Result<Self> {
        let climate = Climate::published()?;
        let weather = Weather::new(seed, climate.clone(), &grid);
        let physics = Physics::new(climate, &weather, noise);
        Ok(Self { grid, weather, physics, seed })
    }

    /// Column `index` of the chosen ones before and after a step.
    pub fn sample(&self, step: &Step, index: usize) -> (Column, Outcome) {
        let column = self.weather.column(step.time(), self.grid.lat[index], self.grid.lon[index]);
        // Noise belongs to the place and the moment, not to the choice of columns.
        let stream = step.number() * 1024 + self.grid.numbers[index] as u64;
        let outcome = self.physics.step(&column, self.seed, stream);
        (column, outcome)
    }

    /// A sample as a row of the tables: inputs and un-weighted targets, csv order.
    pub fn row(&self, step: &Step, index: usize, row: &mut [f64]) {
        debug_assert_eq!(row.len(), WIDTH);
        let (column, outcome) = self.sample(step, index);
        let mut slots = row.iter_mut();
        let mut put = |values: &[f64]| slots.by_ref().zip(values).for_each(|(slot, x)| *slot = *x);
        column.states.iter().for_each(|p| put(p));
        put(&column.scalars[..16]);
        column.gases.iter().for_each(|p| put(p));
        for (before, after) in column.states.iter().zip(&outcome.states) {
            let tendency: [f64; LEVELS] = std::array::from_fn(|l| (after[l] - before[l]) / STEP_SECONDS);
            put(&tendency);
        }
        put(&outcome.fluxes);
        debug_assert_eq!(INPUTS + 368, WIDTH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{csv_inputs, submission};

    fn world(columns: usize) -> World {
        let folder = tempfile::tempdir().unwrap();
        let (grid, _) = Grid::publish(folder.path(), columns).unwrap();
        World::new(grid, 11, super::super::physics::DEFAULT_NOISE).unwrap()
    }

    #[test]
    fn steps_follow_the_calendar_without_leap_days() {
        let month = Month { year: 4, month: 2 };
        let steps = Step::of_month(month, None, 1);
        assert_eq!(steps.len(), 28 * 72);
        assert_eq!((steps[0].name().as_str(), steps[2015].name().as_str()), ("0004-02-01-00000", "0004-02-28-85200"));
        assert_eq!(steps[73].time() - steps[0].time(), 86_400.0 + 1200.0);
        assert_eq!(Step::new(Month { year: 2, month: 1 }, 1, 0).time(), 365.0 * 86_400.0);
        let few: Vec<_> = Step::of_month(month, Some(4), 36).iter().map(Step::name).collect();
        assert_eq!(few.len(), 8);
        assert_eq!((few[1].as_str(), few[7].as_str()), ("0004-02-01-43200", "0004-02-22-43200"));
    }

    /// Solves `a x = b` for a positive definite matrix, in place.
    fn solve(a: &mut [Vec<f64>], b: &mut [f64]) {
        for i in 0..b.len() {
            for j in i + 1..b.len() {
                let f = a[j][i] / a[i][i];
                let (upper, lower) = a.split_at_mut(j);
                for (target, pivot) in lower[0][i..].iter_mut().zip(&upper[i][i..]) {
                    *target -= f * pivot;
                }
                b[j] -= f * b[i];
            }
        }
        for i in (0..b.len()).rev() {
            b[i] = (b[i] - (i + 1..b.len()).map(|k| a[i][k] * b[k]).sum::<f64>()) / a[i][i];
        }
    }

    #[test]
    fn a_line_through_a_few_inputs_explains_part_of_the_targets_but_not_all() {
        let world = world(40);
        let steps = Step::of_month(Month { year: 3, month: 5 }, Some(10), 5);
        let mut rows = Vec::new();
        for step in &steps {
            for column in 0..40 {
                let mut row = vec![0.0; WIDTH];
                world.row(step, column, &mut row);
                rows.push(row);
            }
        }
        let place = |name: &str, names: &[&str]| names.iter().position(|n| *n == name).unwrap();
        let mut inputs: Vec<usize> = (360..376).collect(); // scalars
        for variable in ["state_t", "state_q0001", "state_q0003", "state_u"] {
            inputs.extend([20, 28, 34, 40, 44, 50, 54, 59].map(|l| place(&format!("{variable}_{l}"), csv_inputs())));
        }
        let spread = |i: usize| {
            let mean = rows.iter().map(|r| r[i]).sum::<f64>() / rows.len() as f64;
            let variance = rows.iter().map(|r| (r[i] - mean).powi(2)).sum::<f64>() / rows.len() as f64;
            (mean, variance.sqrt())
        };
        let scales: Vec<(f64, f64)> = inputs.iter().map(|&i| spread(i)).collect();
        let features = |row: &[f64]| -> Vec<f64> {
            let scaled = inputs.iter().zip(&scales).map(|(&i, (mean, std))| (row[i] - mean) / std.max(1e-30));
            scaled.chain([1.0]).collect()
        };
        for name in ["ptend_t_40", "ptend_q0001_50", "ptend_q0003_34", "ptend_u_44", "cam_out_NETSW", "cam_out_FLWDS"] {
            let target = INPUTS + place(name, submission());
            let scale = spread(target).1;
            let n = inputs.len() + 1;
            let (mut a, mut b) = (vec![vec![0.0; n]; n], vec![0.0; n]);
            for row in rows.iter().step_by(2) {
                let x = features(row);
                for i in 0..n {
                    (0..n).for_each(|k| a[i][k] += x[i] * x[k]);
                    b[i] += x[i] * row[target] / scale;
                }
            }
            (0..n).for_each(|i| a[i][i] += 1.0);
            solve(&mut a, &mut b);
            let held_out = || rows.iter().skip(1).step_by(2);
            let mean = held_out().map(|r| r[target] / scale).sum::<f64>() / held_out().count() as f64;
            let (mut sse, mut sst) = (0.0, 0.0);
            for row in held_out() {
                let y = row[target] / scale;
                let fit: f64 = features(row).iter().zip(&b).map(|(x, w)| x * w).sum();
                sse += (y - fit).powi(2);
                sst += (y - mean).powi(2);
            }
            let r2 = 1.0 - sse / sst;
            assert!((0.15..0.985).contains(&r2), "{name}: R2 {r2}");
        }
    }
}
