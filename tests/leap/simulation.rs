//! `simulate-data leap` beside the real data: every variable on every level.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use leap::simulate::climate::{FLUXES, GASES, STATES};
use leap::simulate::column::SCALARS;
use leap::simulate::grid::Grid;
use leap::simulate::physics::DEFAULT_NOISE;
use leap::simulate::world::{Step, World};

use leap::raw::month::Month;

use crate::support::root;

/// The one variable whose mean and deviation are others than the real ones: its real deviation comes from one value in a
/// million, and is a thousandth of what its tendency moves in a step.
const EXEMPT: &str = "mlo_state_q0003_12";

/// Mean, deviation, smallest and largest value.
type Figures = [f64; 4];

/// The published statistics, names as `mli_state_t_0`.
fn real() -> Option<BTreeMap<String, Figures>> {
    let path = root().join("../shared/data/climsim/statistics.csv");
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next()?.split(',').collect();
    let place = |name: &str| header.iter().position(|h| *h == name).unwrap();
    let places = ["mean", "standard_deviation", "minimum", "maximum"].map(place);
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let figures = places.map(|p| cells[p].parse().unwrap_or(f64::NAN));
        // Levels count from 1 there: `mli_state_tlev_01`.
        let name = match cells[place("variable")].split_once("lev_") {
            Some((variable, level)) => format!("{variable}_{}", level.parse::<usize>().unwrap() - 1),
            None => cells[place("variable")].to_string(),
        };
        (name, figures)
    };
    Some(lines.map(line).filter(|(_, figures)| figures.iter().all(|f| f.is_finite())).collect())
}

/// Sums of one variable on one level.
#[derive(Clone)]
struct Seen {
    rows: f64,
    mean: f64,
    m2: f64,
    min: f64,
    max: f64,
}

impl Seen {
    const NOTHING: Self = Self { rows: 0.0, mean: 0.0, m2: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

    fn add(&mut self, x: f64) {
        self.rows += 1.0;
        let apart = x - self.mean;
        self.mean += apart / self.rows;
        self.m2 += apart * (x - self.mean);
        (self.min, self.max) = (self.min.min(x), self.max.max(x));
    }
}

/// Every variable that the raw files hold, over all seasons and hours and an eighth of the grid.
fn simulated(seed: u64) -> BTreeMap<String, Seen> {
    let folder = tempfile::tempdir().unwrap();
    let (grid, _) = Grid::publish(folder.path(), 48).unwrap();
    let world = World::new(grid, seed, DEFAULT_NOISE).unwrap();
    let mut names: Vec<String> = vec![];
    let mut profile = |name: &str| names.extend((0..60).map(|l| format!("{name}_{l}")));
    STATES.iter().for_each(|s| profile(&format!("mli_state_{s}")));
    GASES.iter().for_each(|gas| profile(&format!("mli_{gas}")));
    profile("mli_state_pmid");
    STATES.iter().for_each(|s| profile(&format!("mlo_state_{s}")));
    names.extend(SCALARS.iter().map(|name| format!("mli_{name}")));
    names.extend(FLUXES.iter().map(|name| format!("mlo_{name}")));
    let mut seen = vec![Seen::NOTHING; names.len()];
    for month in 0..24_u32 {
        let month = Month { year: 2 + month / 12, month: 1 + month % 12 };
        for (i, step) in Step::of_month(month, Some(6), 17).iter().enumerate() {
            for column in (i % 3..48).step_by(3) {
                let (before, after) = world.sample(step, column);
                let profiles = before.states.iter().chain(&before.gases).chain([&before.pressure]).chain(&after.states);
                let values = profiles.flatten().chain(&before.scalars).chain(&after.fluxes);
                seen.iter_mut().zip(values).for_each(|(seen, x)| seen.add(*x));
            }
        }
    }
    names.into_iter().zip(seen).collect()
}

#[test]
#[allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the table is printed, and a test that is skipped says why"
)]
fn every_variable_on_every_level_looks_like_the_real_one() {
    let Some(real) = real() else {
        eprintln!("skipped: ../shared/data/climsim/statistics.csv, the statistics of the real data, is not at hand");
        return;
    };
    for seed in [2024, 5] {
        let simulated = simulated(seed);
        let (mut table, mut outside, mut compared) = (String::new(), vec![], 0);
        writeln!(table, "{:<24}{:>44}{:>48}", "seed", "simulated: mean, deviation, range", "real").unwrap();
        for (name, seen) in &simulated {
            // Neither the surface pressure nor one level after the step is in the published table.
            let Some([mean, std, min, max]) = real.get(name).copied() else { continue };
            compared += 1;
            let found = (seen.m2 / seen.rows).sqrt();
            // What is constant in the real data is the same constant here; their deviation is rounding.
            let constant = max - min <= 1e-6 * max.abs();
            let room = if constant { 1e-6 * max.abs() } else { 0.1 * (max - min) };
            let within = seen.min >= min - room && seen.max <= max + room;
            let alike =
                constant || name == EXEMPT || ((seen.mean - mean).abs() <= std && (0.5..=2.0).contains(&(found / std)));
            let mark = if within && alike { "" } else { "  <--" };
            writeln!(
                table,
                "{name:<24}{:>11.3e}{found:>11.3e}{:>11.3e}{:>11.3e}  |{mean:>11.3e}{std:>11.3e}{min:>11.3e}{max:>11.3e}{mark}",
                seen.mean, seen.min, seen.max
            )
            .unwrap();
            if !(within && alike) {
                outside.push(name.clone());
            }
        }
        println!("{table}");
        assert!(compared > 970, "only {compared} variables are in both tables");
        assert!(outside.is_empty(), "seed {seed}: {outside:?}\n{table}");
    }
}
