//! `simulate-data leap`: raw files as the competition had them, with learnable content, for demos and tests.
//!
//! mli/mlo files in the layout of ClimSim low resolution on columns of the real grid, and Kaggle's csv files. Columns
//! have the real distribution of every variable on every level (the published statistics) as smooth weather; targets are
//! a nonlinear function of the column plus noise. The same seed gives the same bytes, whatever the threads.

pub mod climate;
pub mod column;
pub mod config;
mod files;
pub mod grid;
mod kaggle;
pub mod marginal;
pub mod physics;
mod task;
mod truth;
pub mod waves;
pub mod world;

use std::collections::BTreeMap;
use std::path::Path;

use common::cli::progress::Bar;
use common::cli::signals;
use common::durable::{self, Written};
use common::stage::Stage;
use common::{Error, Result};

pub use config::SimulateConfig;
use grid::Grid;
use kaggle::Draw;
pub use task::Simulate;
use world::{Step, World};

use crate::columns;
use common::ordered::ordered;

/// Folder of everything that a user would have downloaded.
pub use common::driver::RAW;
/// Folder of what a user would not have: the targets of the test rows.
pub const TRUTH: &str = "truth";

/// What is asked for on the command line beside the config.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// CPU threads.
    pub threads: usize,
    /// Only the first so many steps of each month, and 384 times as many csv rows.
    pub limit: Option<u64>,
}

/// Figures of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Pairs of mli/mlo files.
    pub pairs: u64,
    /// Samples in them.
    pub rows: u64,
    /// Rows of `test.csv`.
    pub test_rows: u64,
}

/// The steps that a config asks for, ascending, each once.
pub fn steps(config: &SimulateConfig, options: &Options) -> Result<Vec<Step>> {
    let mut all = Vec::new();
    for (i, plan) in config.months.iter().enumerate() {
        for month in plan.months.resolve(&format!("months.{i}.months"))? {
            let steps = Step::of_month(month, plan.days, plan.step_stride);
            all.extend(steps.into_iter().take(options.limit.map_or(usize::MAX, |n| n as usize)));
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Simulates everything that the config asks for into the stage's folder.
pub fn run(config: &SimulateConfig, options: &Options, stage: &mut Stage) -> Result<Report> {
    let raw = stage.folder().join(RAW);
    // Files of an unfinished run with another config would look like data.
    for folder in [&raw, &stage.folder().join(TRUTH)] {
        if folder.exists() {
            std::fs::remove_dir_all(folder).map_err(|e| Error::io("removing", folder, e))?;
        }
    }
    let steps = steps(config, options)?;
    let (grid, written) = Grid::publish(&raw, config.columns)?;
    stage.output("grid", &written);
    let world = World::new(grid, config.seed, config.noise)?;
    write_files(config, options, &world, &steps, &raw, stage)?;
    let mut report = Report { pairs: steps.len() as u64, rows: (steps.len() * config.columns) as u64, test_rows: 0 };
    if config.kaggle.is_some() {
        report.test_rows = write_kaggle(config, options, &world, &steps, &raw, stage)?;
    }
    stage.metric("pairs", report.pairs);
    stage.metric("rows", report.rows);
    stage.metric("test_rows", report.test_rows);
    Ok(report)
}

fn write_files(
    config: &SimulateConfig,
    options: &Options,
    world: &World,
    steps: &[Step],
    raw: &Path,
    stage: &mut Stage,
) -> Result<()> {
    let bar = Bar::new("simulate", steps.len() as u64);
    let mut listing: BTreeMap<String, Written> = BTreeMap::new();
    ordered(
        steps.len(),
        options.threads,
        4 * options.threads,
        |i| files::write(world, &steps[i], raw, config.format),
        |i, written| {
            signals::check("nothing that can be gone on with; the same command starts anew")?;
            bar.tick(1);
            for (path, mut written) in files::paths(&steps[i]).into_iter().zip(written) {
                written.path.clone_from(&path);
                listing.insert(path.to_string_lossy().into_owned(), written);
            }
            Ok(())
        },
    )?;
    bar.finish();
    let mut text = serde_json::to_vec(&listing).map_err(|e| Error::failed(format!("listing the files: {e}")))?;
    text.push(b'\n');
    let written = durable::write(stage.folder().join("raw_files.json"), &text)?;
    stage.output("raw_files", &written);
    Ok(())
}

fn write_kaggle(
    config: &SimulateConfig,
    options: &Options,
    world: &World,
    steps: &[Step],
    raw: &Path,
    stage: &mut Stage,
) -> Result<u64> {
    let Some(kaggle) = &config.kaggle else { return Ok(0) };
    let limit = options.limit.map_or(u64::MAX, |n| n.saturating_mul(384));
    let months = kaggle.test_months.resolve("kaggle.test_months")?;
    let test_steps: Vec<Step> = months.into_iter().flat_map(|m| Step::of_month(m, None, 1)).collect();
    let draw = |name, rows: u64, steps| Draw {
        world,
        steps,
        seed: config.seed,
        name,
        rows: rows.min(limit),
        threads: options.threads,
    };
    let test = draw("test", kaggle.test_rows, &test_steps);
    let train = draw("train", kaggle.train_rows, steps);
    let folder = raw.join("kaggle-data");
    let bar = Bar::new("simulate csv", (test.rows + train.rows).div_ceil(64));
    stage.output("test.csv", &test.write_csv(&folder.join("test.csv"), columns::csv_inputs(), &bar)?);
    if train.rows > 0 {
        stage.output("train.csv", &train.write_csv(&folder.join("train.csv"), &kaggle::train_columns(), &bar)?);
    }
    bar.finish();
    stage.output("sample_submission.csv", &kaggle::write_sample(&folder.join("sample_submission.csv"), &test)?);
    stage.output(
        "sample_submission_old.csv",
        &kaggle::write_old_sample(&folder.join("sample_submission_old.csv"), &test)?,
    );
    let solution = stage.folder().join(TRUTH).join("solution.parquet");
    stage.output("solution", &truth::write(&solution, &test)?);
    Ok(test.rows)
}
