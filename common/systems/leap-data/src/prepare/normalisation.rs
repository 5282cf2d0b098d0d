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

use super::config::{Normalisation, PrepareConfig};
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
    let mut outputs = BTreeMap::new();
    for (chain, moments) in config.chains.iter().zip(&moments) {
        let constants = moments.constants(*chain, weight.clone());
        let [mean, std] = file_names(*chain);
        let files =
            [(mean, &constants.input_mean, &constants.target_mean), (std, &constants.input_std, &constants.target_std)];
        for (name, inputs, targets) in files {
            outputs.insert(format!("{FOLDER}/{name}"), write_json(folder, &name, inputs, targets)?);
        }
    }
    let header = train_targets().join(",");
    let row: Vec<String> = weight.iter().map(f64::to_string).collect();
    let written =
        durable::write(folder.join(FOLDER).join(WEIGHTS), format!("{header}\n{}\n", row.join(",")).as_bytes())?;
    outputs.insert(format!("{FOLDER}/{WEIGHTS}"), below(folder, written));
    let finished = Finished { key, rows: count, sources: count, skipped: Vec::new(), outputs };
    files.iter().try_for_each(|from| journal.demand_unchanged(from))?;
    journal.record(SET, finished)
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
    use crate::columns::{INPUTS, TARGETS};

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
