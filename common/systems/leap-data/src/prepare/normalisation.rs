//! Where the constants of a run come from: published, files, or fitted to the training source in one pass.

use std::collections::BTreeMap;
use std::path::Path;

use common::cli::progress::Bar;
use common::cli::signals;
use common::durable::{self, Written};
use common::stage::Stage;
use common::store::netcdf::NcFile;
use common::{Error, Result};
use serde_json::{Map, Value};

use super::config::{NetcdfFiles, Normalisation, PrepareConfig};
use super::moments::{Moments, row_weights};
use super::scale::Scaler;
use super::{RowSource, Set, Sources, netcdf, tabular};
use crate::columns::{csv_inputs, submission, train_inputs, train_targets};
use crate::norm::{Chain, Constants};
use crate::raw::block::{self, Block};
use common::journal::{Finished, Journal};
use common::ordered::ordered;

/// Name of the fitted constants in the journal.
pub const SET: &str = "norm";
const FOLDER: &str = "norm";
const WEIGHTS: &str = "old_sample_weight.csv";

/// The scalers of all chains, in the order of the config.
pub fn scalers(
    config: &PrepareConfig,
    threads: usize,
    sources: &Sources,
    folder: &Path,
    journal: &Journal,
    stage: &mut Stage,
) -> Result<Vec<Scaler>> {
    let from = match &config.normalisation {
        Normalisation::Given => {
            return config.chains.iter().map(|&c| Ok(Scaler::new(Constants::published(c)?))).collect();
        }
        Normalisation::Files(path) => {
            for chain in &config.chains {
                for name in file_names(*chain) {
                    stage.input(&format!("norm/{name}"), &path.join(&name))?;
                }
            }
            if path.join(WEIGHTS).is_file() {
                stage.input(&format!("norm/{WEIGHTS}"), &path.join(WEIGHTS))?;
            }
            path.clone()
        }
        Normalisation::Netcdf(files) => {
            for (name, path) in files.named() {
                stage.input(&format!("norm/{name}"), path)?;
            }
            let constants = config.chains.iter().map(|&chain| of_netcdf(files, chain)).collect::<Result<Vec<_>>>()?;
            for (name, written) in write_all(folder, &constants)? {
                stage.output(&name, &written);
            }
            folder.join(FOLDER)
        }
        Normalisation::Fit { rows } => {
            let finished = fit(config, *rows, threads, sources, folder, journal)?;
            for (name, written) in &finished.outputs {
                stage.output(name, written);
            }
            folder.join(FOLDER)
        }
    };
    config.chains.iter().map(|&chain| Ok(Scaler::new(&read(&from, chain)?))).collect()
}

fn read(folder: &Path, chain: Chain) -> Result<Constants> {
    let [mean, std] = file_names(chain).map(|name| folder.join(name));
    Constants::read(chain, &mean, &std, &folder.join(WEIGHTS))
}

fn file_names(chain: Chain) -> [String; 2] {
    [format!("mean_{chain}.json"), format!("std_{chain}.json")]
}

fn fit(
    config: &PrepareConfig,
    rows: Option<u64>,
    threads: usize,
    sources: &Sources,
    folder: &Path,
    journal: &Journal,
) -> Result<Finished> {
    let (train, chains, limit, bad) = (&config.train, &config.chains, sources.limit, config.non_finite);
    let mut recipe = format!("{train:?} {chains:?} {rows:?} {limit:?} {bad:?}");
    let mut files = Vec::new();
    for set in sources.train() {
        let from = set.raw_files("", journal)?;
        recipe += &format!(" {}", from.key);
        files.push(from);
    }
    let key = blake3::hash(recipe.as_bytes()).to_hex().to_string();
    if let Some(kept) = journal.kept(SET, &key) {
        return Ok(kept);
    }
    let limit = rows.unwrap_or(u64::MAX);
    let weight = Constants::published(Chain::A)?.weight.clone();
    let bar = Bar::new("fit normalisation", sources.train().map(|s| s.rows.len()).sum());
    // One entry a chain: rounding of csv inputs differs between the chains.
    let mut moments = vec![Moments::empty(); config.chains.len()];
    for set in sources.train() {
        if moments.iter().all(|m| m.count() < limit) {
            add(set, &mut moments, limit, &row_weights(&weight), config, threads, &bar)?;
        }
    }
    bar.finish();
    let count = moments.first().map_or(0, Moments::count);
    if count < 2 {
        return Err(Error::failed(format!("fitting the normalisation needs at least 2 rows, found {count}")));
    }
    let constants: Vec<Constants> =
        config.chains.iter().zip(&moments).map(|(chain, moments)| moments.constants(*chain, weight.clone())).collect();
    let outputs = write_all(folder, &constants)?;
    let finished = Finished { key, rows: count, sources: count, skipped: Vec::new(), outputs };
    files.iter().try_for_each(|from| journal.demand_unchanged(from))?;
    journal.record(SET, finished)
}

/// Writes the constants of all chains and the weights of the targets below `folder`.
fn write_all(folder: &Path, all: &[Constants]) -> Result<BTreeMap<String, Written>> {
    let mut outputs = BTreeMap::new();
    for constants in all {
        let [mean, std] = file_names(constants.chain);
        let files =
            [(mean, &constants.input_mean, &constants.target_mean), (std, &constants.input_std, &constants.target_std)];
        for (name, inputs, targets) in files {
            outputs.insert(format!("{FOLDER}/{name}"), write_json(folder, &name, inputs, targets)?);
        }
    }
    let weight = &Constants::published(Chain::A)?.weight;
    let header = train_targets().join(",");
    let row: Vec<String> = weight.iter().map(f64::to_string).collect();
    let written =
        durable::write(folder.join(FOLDER).join(WEIGHTS), format!("{header}\n{}\n", row.join(",")).as_bytes())?;
    outputs.insert(format!("{FOLDER}/{WEIGHTS}"), below(folder, written));
    Ok(outputs)
}

impl NetcdfFiles {
    /// The files with the names that the benchmark gives them.
    fn named(&self) -> [(&'static str, &Path); 4] {
        [
            ("input_mean.nc", &self.mean),
            ("input_max.nc", &self.max),
            ("input_min.nc", &self.min),
            ("output_scale.nc", &self.scale),
        ]
    }
}

/// One number for every column of a netCDF file that has them by variable and level.
fn by_column(path: &Path, columns: &[&str]) -> Result<Vec<f64>> {
    let file = NcFile::open(path)?;
    let mut read: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut number = |column: &&str| -> Result<f64> {
        let level =
            column.rsplit_once('_').and_then(|(variable, level)| Some((variable, level.parse::<usize>().ok()?)));
        let (variable, level) = level.unwrap_or((column, 0));
        if !read.contains_key(variable) {
            read.insert(variable.to_string(), file.read_f64(variable)?);
        }
        let values = &read[variable];
        let value = values.get(level).copied().filter(|value| value.is_finite());
        value.ok_or_else(|| {
            let problem =
                format!("variable `{variable}` has no finite value on level {level}; it has {}", values.len());
            Error::input(path, problem).hint("give the benchmark's files, with 60 levels")
        })
    };
    columns.iter().map(&mut number).collect()
}

/// The constants that give `(x - mean) / (max - min)` and `y * scale`. What does not vary is divided by 1.
fn of_netcdf(files: &NetcdfFiles, chain: Chain) -> Result<Constants> {
    let inputs = |path: &Path| by_column(path, train_inputs());
    let (mean, max, min) = (inputs(&files.mean)?, inputs(&files.max)?, inputs(&files.min)?);
    let scale = by_column(&files.scale, train_targets())?;
    let weight = Constants::published(chain)?.weight.clone();
    let some = |x: f64| if x > 0.0 { x } else { 1.0 };
    Ok(Constants {
        chain,
        input_mean: mean,
        input_std: max.iter().zip(&min).map(|(max, min)| some(max - min)).collect(),
        target_mean: vec![0.0; weight.len()],
        // Targets are multiplied with the weights of the competition before anything else.
        target_std: weight.iter().zip(&scale).map(|(weight, scale)| some(weight / scale)).collect(),
        weight,
    })
}

fn add(
    set: &Set,
    moments: &mut [Moments],
    limit: u64,
    weight: &[f64],
    config: &PrepareConfig,
    threads: usize,
    bar: &Bar,
) -> Result<()> {
    let room = (limit - moments[0].count()).min(usize::MAX as u64) as usize;
    let chains = &config.chains;
    match &set.rows {
        RowSource::Steps { pairs, .. } => {
            let first = &pairs[0].mli;
            let columns = block::columns_of(&NcFile::open(first)?, first)?;
            let (threads, window) = netcdf::concurrency(threads, columns, chains.len());
            let steps = pairs.len().min(room.div_ceil(columns));
            ordered(
                steps,
                threads,
                window,
                |i| match Block::read(&pairs[i]) {
                    Err(e) if config.non_finite == super::config::NonFinite::SkipFile && block::is_non_finite(&e) => {
                        Ok(Moments::empty())
                    }
                    block => Ok(Moments::of(&block?, room - i * columns, weight)),
                },
                |_, made| {
                    signals::check(super::SAVED)?;
                    bar.tick(1);
                    moments.iter_mut().for_each(|m| m.merge(&made));
                    Ok(())
                },
            )
        }
        RowSource::Csv { file, range, .. } => {
            let range = (range.0, range.1.min(range.0.saturating_add(room as u64)));
            let scalers: Vec<Scaler> =
                chains.iter().map(|&c| Ok(Scaler::new(Constants::published(c)?))).collect::<Result<_>>()?;
            file.map(
                range,
                threads,
                |rows| {
                    let block = Block { rows: rows.ids.len(), values: rows.values };
                    let made = scalers.iter().map(|s| Moments::of(&tabular::rounded(s, &block), block.rows, weight));
                    Ok((block.rows, made.collect::<Vec<_>>()))
                },
                |(rows, made)| {
                    signals::check(super::SAVED)?;
                    bar.tick(rows as u64);
                    moments.iter_mut().zip(&made).for_each(|(m, new)| m.merge(new));
                    Ok(())
                },
            )
        }
    }
}

/// The published form: one object, inputs then targets in the order of the csv files.
fn write_json(folder: &Path, name: &str, inputs: &[f64], targets: &[f64]) -> Result<Written> {
    let by_name: BTreeMap<&str, f64> =
        train_inputs().iter().zip(inputs).chain(train_targets().iter().zip(targets)).map(|(n, v)| (*n, *v)).collect();
    let ordered = csv_inputs().iter().chain(submission());
    let object: Map<String, Value> = ordered.map(|n| ((*n).to_string(), Value::from(by_name[n]))).collect();
    let text = serde_json::to_string_pretty(&object).map_err(|e| Error::failed(format!("writing `{name}`: {e}")))?;
    durable::write(folder.join(FOLDER).join(name), format!("{text}\n").as_bytes()).map(|w| below(folder, w))
}

fn below(folder: &Path, mut written: Written) -> Written {
    if let Ok(path) = written.path.strip_prefix(folder) {
        written.path = path.to_path_buf();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{INPUTS, TARGETS, input_position, target_position};
    use common::store::netcdf::{NcKind, NcValues, NcWriter};

    /// A file with all variables of `columns`, whose numbers are `of` variable and level.
    fn file(path: &Path, columns: &[&str], of: impl Fn(&str, usize) -> f64) {
        let mut variables: BTreeMap<&str, usize> = BTreeMap::new();
        for column in columns {
            let level = column.rsplit_once('_').and_then(|(v, level)| Some((v, level.parse::<usize>().ok()? + 1)));
            let (variable, levels) = level.unwrap_or((column, 0));
            let most = variables.entry(variable).or_default();
            *most = levels.max(*most);
        }
        let mut writer = NcWriter::new(NcKind::Hdf5);
        writer.dimension("lev", 60).unwrap();
        let values: Vec<(&str, usize, Vec<f64>)> = variables
            .into_iter()
            .map(|(variable, levels)| {
                let count = if levels == 0 { 1 } else { 60 };
                (variable, levels, (0..count).map(|l| of(variable, l)).collect())
            })
            .collect();
        for (variable, levels, values) in &values {
            let dims: &[&str] = if *levels == 0 { &[] } else { &["lev"] };
            writer.variable(variable, dims, NcValues::F64(values)).unwrap();
        }
        writer.write(path).unwrap();
    }

    #[test]
    fn constants_of_the_benchmarks_files_give_its_arithmetic() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        file(&at("mean.nc"), train_inputs(), |v, l| v.len() as f64 + l as f64);
        // Methane does not vary.
        file(&at("max.nc"), train_inputs(), |v, l| if v == "pbuf_CH4" { 3.0 } else { 7.0 + l as f64 });
        file(&at("min.nc"), train_inputs(), |_, _| 3.0);
        file(&at("scale.nc"), train_targets(), |v, l| 1e3 * (v.len() + l + 1) as f64);
        let files = NetcdfFiles { mean: at("mean.nc"), max: at("max.nc"), min: at("min.nc"), scale: at("scale.nc") };
        let constants = of_netcdf(&files, Chain::A).unwrap();
        let input = |name: &str, raw: f64| f64::from(constants.input(input_position(name).unwrap(), raw));
        assert!((input("state_t_10", 20.0) - (20.0 - 17.0) / 14.0).abs() < 1e-6);
        assert!((input("state_ps", 20.0) - (20.0 - 8.0) / 4.0).abs() < 1e-6);
        assert!((input("pbuf_CH4_3", 12.5) - 1.5).abs() < 1e-6);
        for (name, factor) in [("ptend_t_5", 1e3 * 13.0), ("cam_out_FLWDS", 1e3 * 14.0), ("ptend_q0001_30", 1e3 * 42.0)]
        {
            let c = target_position(name).unwrap();
            let found = f64::from(constants.target(c, 2e-4));
            assert!((found / (2e-4 * factor) - 1.0).abs() < 1e-6, "{name}: {found}");
            assert!((constants.physical_target(c, found) / 2e-4 - 1.0).abs() < 1e-6);
        }
        // What is written is read back.
        write_all(folder.path(), std::slice::from_ref(&constants)).unwrap();
        assert_eq!(read(&folder.path().join(FOLDER), Chain::A).unwrap(), constants);
        file(&at("min.nc"), &train_inputs()[..300], |_, _| 3.0);
        assert!(of_netcdf(&files, Chain::A).unwrap_err().to_string().contains("min.nc"));
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "a test that is skipped says why")]
    fn the_published_files_of_the_benchmark_are_read() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/data/climsim/normalizations");
        if !data.is_dir() {
            eprintln!("skipped: ../shared/data/climsim/normalizations, the benchmark's files, is not at hand");
            return;
        }
        let inputs = |name: &str| data.join("inputs").join(name);
        let files = NetcdfFiles {
            mean: inputs("input_mean.nc"),
            max: inputs("input_max.nc"),
            min: inputs("input_min.nc"),
            scale: data.join("outputs/output_scale.nc"),
        };
        let constants = of_netcdf(&files, Chain::B).unwrap();
        let c = input_position("state_t_59").unwrap();
        assert!((280.0..295.0).contains(&constants.input_mean[c]) && (100.0..200.0).contains(&constants.input_std[c]));
        let c = target_position("ptend_t_40").unwrap();
        assert!(constants.target_std[c].is_finite() && constants.target_std[c] > 0.0);
        // The edition for the competition's data names its files otherwise and holds further variables.
        let edition = |name: &str| data.join("../kaggle_edition").join(name);
        let files = NetcdfFiles {
            mean: edition("input_mean_v2_rh_mc_pervar.nc"),
            max: edition("input_max_v2_rh_mc_pervar.nc"),
            min: edition("input_min_v2_rh_mc_pervar.nc"),
            scale: edition("output_scale_std_lowerthred_v2_rh_mc.nc"),
        };
        let constants = of_netcdf(&files, Chain::B).unwrap();
        let c = input_position("state_t_0").unwrap();
        assert!((constants.input_mean[c] - 215.598_194_83).abs() < 1e-6, "{}", constants.input_mean[c]);
    }

    #[test]
    fn written_constants_keep_all_their_digits() {
        let folder = tempfile::tempdir().unwrap();
        let awkward = |n: usize, salt: f64| -> Vec<f64> {
            (1..=n).map(|i| (i as f64 * salt).sin().abs() * 10f64.powi(i as i32 % 40 - 20)).collect()
        };
        let (inputs, targets) = (awkward(INPUTS, 1.7), awkward(TARGETS, 0.3));
        write_json(folder.path(), "mean_a.json", &inputs, &targets).unwrap();
        let text = std::fs::read_to_string(folder.path().join("norm/mean_a.json")).unwrap();
        let number = |name: &str| -> f64 {
            let line = text.lines().find(|l| l.trim_start().starts_with(&format!("\"{name}\":"))).unwrap();
            line.split_once(": ").unwrap().1.trim_end_matches(',').parse().unwrap()
        };
        for (name, value) in train_inputs().iter().zip(&inputs).chain(train_targets().iter().zip(&targets)) {
            assert_eq!(number(name), *value, "{name}");
        }
    }
}
