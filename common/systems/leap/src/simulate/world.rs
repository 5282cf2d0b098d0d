//! The simulated world: any column at any step, before and after.

use common::Result;

use super::climate::Climate;
use super::column::{Column, Weather};
use super::config::STEPS_A_DAY;
use super::grid::Grid;
use super::physics::{Outcome, Physics};
use crate::columns::{INPUTS, LEVELS, STEP_SECONDS};
use crate::prepare::block::WIDTH;
use crate::prepare::month::Month;

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
