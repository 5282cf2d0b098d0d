//! From `test.csv` to submission values.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use common::stage::Stage;
use common::store::tables::read_parquet;
use leap::columns::{GROUPS, TARGETS};
use leap::models::ModelConfig;
use leap::norm::Constants;
use leap::predict::{Predictor, Settings, TestRows};
use leap::prepare::config::{Normalisation, RawConfig, TestSource};
use leap::prepare::{self, Options, PrepareConfig, Sources};
use leap::submission::Recipe;
use leap::train;
use neural::precision::Precision;
use neural::weights;
use serde_json::Value;

use super::networks::{model_config, network_of_run};
use super::numbers::read_constants;
use crate::checks::{Case, Comparison, Tensors, said};

/// Submission values `[n, 368]` of the network in `model` for `test.csv` in `folder`, in the order of the sample file.
pub fn values_of(folder: &Path, normalisation: &Path, model: &Path) -> Result<Vec<f64>> {
    values_of_files(folder, normalisation, &[model.to_path_buf()])
}

/// The same of one network or of the seven of the groups.
pub fn values_of_files(folder: &Path, normalisation: &Path, files: &[PathBuf]) -> Result<Vec<f64>> {
    Prepared::test_rows(folder, normalisation)?.values(normalisation, files)
}

/// `test.csv` as `prepare-data` makes it, in a folder that vanishes.
struct Prepared(tempfile::TempDir);

impl Prepared {
    fn test_rows(folder: &Path, normalisation: &Path) -> Result<Self> {
        let config = PrepareConfig {
            raw: RawConfig { climsim: None, kaggle: Some(folder.to_path_buf()), grid: None },
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
        Ok(Self(prepared))
    }

    fn values(&self, normalisation: &Path, files: &[PathBuf]) -> Result<Vec<f64>> {
        let settings = Settings {
            device: crate::checks::device(),
            batch: 4,
            precision: Precision::F32,
            apply_zero_list: Some(false),
        };
        let predictor = match files {
            [one] => Predictor::single(one, &settings)?,
            files => Predictor::groups(files, &settings)?,
        };
        let constants: Constants = read_constants(normalisation, predictor.chain)?;
        let rows = self.0.path().join(format!("{}/test.safetensors", predictor.chain));
        let test = Arc::new(TestRows::open(&rows, None)?);
        let recipe = Recipe::new(&constants, &predictor.zero_list);
        let mut columns = vec![vec![]; TARGETS];
        predictor.run(&test, &settings, |rows| {
            for (all, block) in columns.iter_mut().zip(recipe.columns(rows.predicted, rows.linear)?) {
                all.extend(block);
            }
            Ok(())
        })?;
        let rows = columns[0].len();
        Ok((0..rows).flat_map(|row| columns.iter().map(move |column| column[row]).collect::<Vec<_>>()).collect())
    }
}

/// A checkpoint as published, with what `convert-weights` adds: which network it is.
fn converted(file: &Path, model: &ModelConfig, folder: &Path) -> Result<PathBuf> {
    let about = train::about("published", model, model.chain(), false)?;
    let name = file.file_name().context("no file name")?.to_string_lossy();
    let target = folder.join(format!("{name}.safetensors"));
    weights::save(&target, &weights::read(file)?, Some(&about))?;
    Ok(target)
}

/// The files of a run in the published layout: one checkpoint, or `_g0` to `_g6`; `.pt` and its safetensors twin hold
/// the same bits.
fn checkpoints(folder: &Path, names: &[String], model: &ModelConfig, made: &Path) -> Result<Vec<PathBuf>> {
    let one = |name: &String| {
        let pickled = folder.join(format!("{name}.pt"));
        let twin = folder.join(format!("{name}.safetensors"));
        if twin.is_file() {
            let (mut a, mut b) = (weights::read(&pickled)?, weights::read(&twin)?);
            a.sort_by(|x, y| x.0.cmp(&y.0));
            b.sort_by(|x, y| x.0.cmp(&y.0));
            ensure!(a.len() == b.len(), "`{name}`: {} tensors and {}", a.len(), b.len());
            for ((name, a), (other, b)) in a.iter().zip(&b) {
                ensure!(name == other && a.equal(b), "`{name}` of the two files differ");
            }
        }
        converted(&pickled, model, made)
    };
    names.iter().map(one).collect()
}

/// Each column of `[n, 368]` within `tolerance` of its own largest value, constant columns exactly.
fn by_column(checks: &mut Comparison, name: &str, got: &[f64], want: &[f64], tolerance: f64) {
    let column = |values: &[f64], c: usize| values.iter().skip(c).step_by(TARGETS).copied().collect::<Vec<_>>();
    for c in 0..TARGETS {
        checks.values(&format!("{name}, column {c}"), &column(got, c), &column(want, c), tolerance);
    }
}

/// The 368 value columns of a submission file, row by row.
fn parquet_values(path: &Path) -> Result<Vec<f64>> {
    let names = leap::columns::submission();
    let table = read_parquet(path, Some(names))?;
    let columns = names.iter().map(|name| Ok(table.f64(name)?)).collect::<Result<Vec<_>>>()?;
    let rows = columns.first().map_or(0, |column| column.len());
    Ok((0..rows).flat_map(|row| columns.iter().map(move |column| column[row]).collect::<Vec<_>>()).collect())
}

/// Runs in the published folder layout: group fine-tuned ones and a single one, from raw `test.csv` to the submission.
pub fn published_folders(case: &Case) -> Result<()> {
    let (normalisation, made) = (case.path("../norm"), tempfile::tempdir()?);
    let test = Prepared::test_rows(&case.path("raw_data/kaggle-data"), &normalisation)?;
    let mut checks = Comparison::new();
    for run in case.value("runs")?.as_array().into_iter().flatten() {
        let name = run["model"].as_str().context("a run without `model`")?;
        let model = model_config(network_of_run(name)?, &run["constructor"])?;
        let names: Vec<String> = serde_json::from_value(run["checkpoints"].clone())?;
        ensure!(names.len() == 1 || names.len() == GROUPS, "`{name}` has {} checkpoints", names.len());
        let files = checkpoints(&case.path(&format!("weights/{name}")), &names, &model, made.path())?;
        let got = test.values(&normalisation, &files)?;
        let output = run["output"].as_str().context("a run without `output`")?;
        let near = said(case.str("tolerance.submission")?, "<=")?;
        by_column(&mut checks, name, &got, &parquet_values(&case.path(&format!("expected/{output}")))?, near);
    }
    checks.finish()
}

/// The stored tensors of both chains, and the submissions of all five networks from checkpoints as users have them.
pub fn end_to_end(case: &Case) -> Result<()> {
    super::data::test_tensors(case)?;
    let (normalisation, made) = (case.normalisation()?, tempfile::tempdir()?);
    let test = Prepared::test_rows(&case.path("raw_data/kaggle-data"), &normalisation)?;
    let near = said(case.str("tolerance")?, "model columns")?;
    let mut checks = Comparison::new();
    for network in case.value("models")?.as_object().context("`models` is no map")?.keys() {
        let sizes = case.value(&format!("models.{network}"))?;
        let model = model_config(network, &sizes_of(sizes, network))?;
        let number = network.trim_start_matches(|c: char| !c.is_ascii_digit());
        let (folder, names) = saved(&case.path("checkpoints"), number)?;
        let files = checkpoints(&folder, &names, &model, made.path())?;
        let got = test.values(&normalisation, &files)?;
        let path = listed(&case.path("expected_submissions"))?.into_iter().find(|path| stem(path).contains(number));
        let path = path.with_context(|| format!("no expected submission of `{network}`"))?;
        let want = match path.extension().is_some_and(|e| e == "parquet") {
            true => parquet_values(&path)?,
            false => Tensors::read(&path)?.f64s("values")?,
        };
        by_column(&mut checks, &stem(&path), &got, &want, near);
    }
    checks.finish()
}

/// Files and folders in a folder, by name.
fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("listing `{}`", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The checkpoints of the network with this number: `195.pt`, or a folder with those of the seven groups.
fn saved(folder: &Path, number: &str) -> Result<(PathBuf, Vec<String>)> {
    let found = listed(folder)?;
    let of_network = |path: &&PathBuf| stem(path).contains(number);
    if let Some(groups) = found.iter().filter(of_network).find(|path| path.is_dir()) {
        let files = listed(groups)?;
        let names = files.iter().filter(|path| path.extension().is_some_and(|e| e == "pt")).map(|path| stem(path));
        return Ok((groups.clone(), names.collect()));
    }
    let one = found.iter().filter(of_network).find(|path| path.extension().is_some_and(|e| e == "pt"));
    let one = one.with_context(|| format!("no checkpoint of `{number}` in `{}`", folder.display()))?;
    Ok((folder.to_path_buf(), vec![stem(one)]))
}

/// The case's names of ADAM's sizes are not the config's.
fn sizes_of(sizes: &Value, network: &str) -> Value {
    let mut sizes = sizes.clone();
    if network.starts_with("adam")
        && let Some(map) = sizes.as_object_mut()
        && let Some(hidden) = map.remove("hidden")
    {
        map.insert("lstm_hidden".into(), hidden);
    }
    sizes
}
