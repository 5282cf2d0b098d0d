//! From `test.csv` to submission values.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use common::stage::Stage;
use leap::columns::TARGETS;
use leap::norm::Constants;
use leap::predict::{Predictor, Settings, TestRows};
use leap::prepare::config::{Normalisation, RawConfig, TestSource};
use leap::prepare::{self, Options, PrepareConfig, Sources};
use leap::submission::Recipe;
use neural::precision::Precision;
use tch::Device;

use super::numbers::read_constants;

/// Submission values `[n, 368]` of the network in `model` for `test.csv` in `folder`, in the order of the sample file.
pub fn values_of(folder: &Path, normalisation: &Path, model: &Path) -> Result<Vec<f64>> {
    let config = PrepareConfig {
        raw: RawConfig { climsim: None, kaggle: Some(folder.to_path_buf()) },
        normalisation: Normalisation::Files(normalisation.to_path_buf()),
        train: None,
        valid: None,
        test: Some(TestSource::Csv("test.csv".into())),
        ..PrepareConfig::default()
    };
    let prepared = tempfile::tempdir()?;
    let options = Options { threads: 2, ..Options::default() };
    let sources = Sources::find(&config, &options)?;
    let mut stage = Stage::begin("prepare-data", "leap", prepared.path(), "", config.seed, false)?;
    prepare::run(&config, &options, &sources, &mut stage)?;

    let settings = Settings { device: Device::Cpu, batch: 4, precision: Precision::F32, apply_zero_list: Some(false) };
    let predictor = Predictor::single(model, &settings)?;
    let constants: Constants = read_constants(normalisation, predictor.chain)?;
    let test = Arc::new(TestRows::open(&prepared.path().join(format!("{}/test.safetensors", predictor.chain)), None)?);
    let recipe = Recipe::new(&constants, &predictor.zero_list);
    let mut columns = vec![vec![]; TARGETS];
    predictor.run(&test, &settings, |predicted, linear| {
        for (all, block) in columns.iter_mut().zip(recipe.columns(predicted, linear)?) {
            all.extend(block);
        }
        Ok(())
    })?;
    let rows = columns[0].len();
    Ok((0..rows).flat_map(|row| columns.iter().map(move |column| column[row]).collect::<Vec<_>>()).collect())
}
