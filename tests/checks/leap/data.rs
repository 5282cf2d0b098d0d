//! Raw files to arrays: both chains, training months, the two training samples, validation, test.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use common::stage::Stage;
use common::store::tables::read_parquet;
use leap::columns::{INPUTS, TARGETS};
use leap::dataset::Dataset;
use leap::norm::Chain;
use leap::prepare::config::{IndexSource, Normalisation, RawConfig, TestSource, TrainSource, ValidSource};
use leap::prepare::{self, Options, PrepareConfig, Sources};
use leap::raw::month::Months;

use crate::checks::{Case, Tensors, compare_values, equal_lists};

/// Every tensor that the case expects is made by `prepare-data`'s own code and compared within one unit in the last
/// place.
pub fn arrays(case: &Case) -> Result<()> {
    let config = PrepareConfig {
        raw: RawConfig { climsim: Some(case.path("raw")), kaggle: None, grid: None },
        normalisation: Normalisation::Files(constants_folder(case)?),
        train: Some(TrainSource::Netcdf { months: Months::of(&["0001-01..0009-12"]), stride: 1 }),
        valid: has_validation(case).then(|| ValidSource::Netcdf {
            months: Months::of(&["0008-07..0009-01"]),
            stride: 7,
            table: case.has_file("expected_validation_table.safetensors"),
        }),
        index: case.has_file("v3_index.pt").then(|| IndexSource::File(case.path("v3_index.pt"))),
        test: None,
        ..PrepareConfig::default()
    };
    let made = Made::prepare(&config)?;
    if case.has_file("v3_index.safetensors") {
        let (ours, given) = (
            leap::prepare::index::read(&made.path("a/v3_index")),
            leap::prepare::index::read(&case.path("v3_index.safetensors")),
        );
        ensure!(ours? == given?, "the index of `v3_index.pt` differs from `v3_index.safetensors`");
    }
    let mut compared = 0;
    for (file, chain) in [("expected_chain_a.safetensors", Chain::A), ("expected_chain_b.safetensors", Chain::B)] {
        if case.has_file(file) {
            let expected = case.tensors(file)?;
            for name in expected.names() {
                let want = expected.f32s(name)?;
                let (inputs, targets) = made.set(chain, name)?;
                close(name, if is_inputs(name)? { &inputs } else { &targets }, &want)?;
                compared += 1;
            }
        }
    }
    if case.has_file("expected.safetensors") {
        compared += one_step(&made, &case.tensors("expected.safetensors")?, chain_named(case)?)?;
    }
    if case.has_file("expected_validation_table.safetensors") {
        table(case, &made)?;
    }
    ensure!(compared > 0, "the case expects no arrays that this check knows");
    Ok(())
}

/// `test.csv` of the case gives the stored tensors of both chains.
pub fn test_tensors(case: &Case) -> Result<()> {
    let config = PrepareConfig {
        raw: RawConfig { climsim: None, kaggle: Some(case.path("raw_data/kaggle-data")), grid: None },
        normalisation: Normalisation::Files(constants_folder(case)?),
        train: None,
        valid: None,
        test: Some(TestSource::Csv("test.csv".into())),
        ..PrepareConfig::default()
    };
    let made = Made::prepare(&config)?;
    for chain in [Chain::A, Chain::B] {
        let expected = case.tensors(&format!("expected_tensors_chain_{chain}.safetensors"))?;
        let ours = Tensors::read(&made.path(&format!("{chain}/test")))?;
        close("test inputs", &ours.f32s("inputs")?, &expected.f32s("test_0_inputs")?)?;
        let linear = expected.names().find(|n| n.starts_with("linear")).context("no linear columns")?;
        let (got, want) = (ours.f64s("linear")?, expected.f64s(linear)?);
        ensure!(got.len() == want.len(), "{linear}: {} values, expected {}", got.len(), want.len());
        for (got, want) in got.iter().zip(&want) {
            // The stored values went through a csv parser that is not correctly rounded.
            ensure!((got - want).abs() <= 2e-12 * want.abs(), "{linear}: {got:e}, expected {want:e}");
        }
    }
    Ok(())
}

/// A prepared folder that vanishes with the check.
struct Made {
    folder: tempfile::TempDir,
}

impl Made {
    fn prepare(config: &PrepareConfig) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = Options { threads: 2, ..Options::default() };
        let sources = Sources::find(config, &options)?;
        let mut stage = Stage::begin("prepare-data", "leap", folder.path(), "", config.seed, false)?;
        prepare::run(config, &options, &sources, &mut stage)?;
        Ok(Self { folder })
    }

    fn path(&self, output: &str) -> PathBuf {
        self.folder.path().join(format!("{output}.safetensors"))
    }

    /// Inputs and targets of the set that upstream calls `name`.
    fn set(&self, chain: Chain, name: &str) -> Result<(Vec<f32>, Vec<f32>)> {
        if name.starts_with("new_test") {
            return rows(&[("valid".into(), self.path(&format!("{chain}/valid")))], None);
        }
        let index = self.path("a/v3_index");
        let (months, index) = match name {
            n if n.ends_with("_v3") => (months("0001-02..0008-06")?, Some(index.as_path())),
            n if n.ends_with("_v4") => (months("0004-01..0008-06")?, None),
            n if n.ends_with("_final") || n.ends_with("_full") => (months("0001-02..0008-06")?, None),
            n => {
                let month =
                    n.strip_prefix("train_").and_then(|n| n.get(..5)).ok_or_else(|| anyhow!("unknown array `{n}`"))?;
                (vec![month.to_owned()], None)
            }
        };
        let files: Vec<(String, PathBuf)> = months
            .into_iter()
            .map(|m| (m.clone(), self.path(&format!("{chain}/train_{m}"))))
            .filter(|(_, p)| p.exists())
            .collect();
        rows(&files, index)
    }
}

fn months(range: &str) -> Result<Vec<String>> {
    let list = Months::of(&[range]).list().map_err(|e| anyhow!(e))?;
    Ok(list.into_iter().map(|m| m.short()).collect())
}

fn rows(files: &[(String, PathBuf)], index: Option<&Path>) -> Result<(Vec<f32>, Vec<f32>)> {
    let data = Dataset::open(files, index)?;
    let ids: Vec<u64> = (0..data.rows()).collect();
    let (mut inputs, mut targets) = (vec![0.0; ids.len() * INPUTS], vec![0.0; ids.len() * TARGETS]);
    data.gather(&ids, &mut inputs, &mut targets)?;
    Ok((inputs, targets))
}

/// One full-width step: chosen rows, and column sums over all of them.
fn one_step(made: &Made, expected: &Tensors, chain: Chain) -> Result<usize> {
    let folder = made.folder.path().join(chain.name());
    let month = std::fs::read_dir(&folder)?.flatten().find(|e| e.file_name().to_string_lossy().starts_with("train_"));
    let month = month.context("no month was prepared")?.path();
    let (inputs, targets) = rows(&[("step".into(), month)], None)?;
    for (name, values, width) in [("inputs", &inputs, INPUTS), ("outputs", &targets, TARGETS)] {
        let chosen: Vec<f32> =
            expected.i64s("rows")?.iter().flat_map(|&r| values[r as usize * width..][..width].to_vec()).collect();
        close(name, &chosen, &expected.f32s(&format!("{name}_rows"))?)?;
        let sums = expected.f64s(&format!("{name}_column_sums"))?;
        for (column, want) in sums.iter().enumerate() {
            let column = values.iter().skip(column).step_by(width).map(|v| f64::from(*v));
            let (sum, absolute) = column.fold((0.0, 0.0), |(sum, absolute), v| (sum + v, absolute + v.abs()));
            ensure!((sum - want).abs() <= 1e-9 * absolute, "sum of {name}: {sum}, expected {want}");
        }
    }
    Ok(4)
}

/// The table before normalisation: ids, column names in their order, values to the last bit.
fn table(case: &Case, made: &Made) -> Result<()> {
    let names: Vec<String> = case.text("validation_table_columns.txt")?.lines().map(str::to_owned).collect();
    let want = case.tensors("expected_validation_table.safetensors")?.f64s("raw_f64")?;
    let table = read_parquet(made.folder.path().join("valid_table.parquet"), None)?;
    equal_lists("columns of the table", table.names(), &names)?;
    let ids: Vec<String> = (0..table.rows()).map(|i| format!("train_{i}")).collect();
    equal_lists("ids of the table", table.texts("sample_id")?, &ids)?;
    let width = names.len() - 1;
    ensure!(table.rows() * width == want.len(), "{} rows, expected {}", table.rows(), want.len() / width);
    for (c, name) in names.iter().skip(1).enumerate() {
        let column: Vec<f64> = want.iter().skip(c).step_by(width).copied().collect();
        compare_values(name, table.f64(name)?, &column, 0.0)?;
    }
    Ok(())
}

/// The folder of the constants: `normalisation` is a path, a list of files, or a map of such.
fn constants_folder(case: &Case) -> Result<PathBuf> {
    let value = case.value("normalisation")?;
    let text = match value.as_object() {
        Some(map) => map.values().next().and_then(|v| v.as_str()).context("empty `normalisation`")?,
        None => case.str("normalisation")?,
    };
    let first = text.split(',').next().unwrap_or(text).trim();
    let path = case.path(first);
    Ok(if path.is_dir() { path } else { path.parent().context("no folder")?.to_path_buf() })
}

fn chain_named(case: &Case) -> Result<Chain> {
    Ok(if case.str("normalisation")?.contains("_b.json") { Chain::B } else { Chain::A })
}

fn has_validation(case: &Case) -> bool {
    case.tensors("expected_chain_a.safetensors").is_ok_and(|t| t.names().any(|n| n.starts_with("new_test")))
}

fn is_inputs(name: &str) -> Result<bool> {
    match (name.contains("inputs"), name.contains("outputs")) {
        (true, false) => Ok(true),
        (false, true) => Ok(false),
        _ => Err(anyhow!("`{name}` is neither inputs nor outputs")),
    }
}

/// Equal, or one unit in the last place apart.
fn close(name: &str, got: &[f32], want: &[f32]) -> Result<()> {
    ensure!(got.len() == want.len(), "`{name}`: {} values, expected {}", got.len(), want.len());
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let apart = (i64::from(got.to_bits()) - i64::from(want.to_bits())).abs();
        ensure!(
            got == want || (apart <= 1 && got.signum() == want.signum()),
            "`{name}`: value {i} is {got:e}, expected {want:e}"
        );
    }
    Ok(())
}
