//! Sets from mli/mlo files: months of training steps and the validation set, each raw file read once for all chains.

use std::path::PathBuf;
use std::sync::Mutex;

use common::cli::signals;
use common::store::netcdf::NcFile;
use common::{Error, Result};

use super::Plan;
use super::config::NonFinite;
use super::output::{Beside, Kind, SetWriter};
use super::places::{self, Before};
use super::scale::Rows;
use super::table::TableWriter;
use crate::columns::LEVELS;
use crate::raw::block::{self, Block, WIDTH};
use crate::raw::tree::Pair;
use common::journal::Finished;
use common::ordered::ordered;

/// Memory that blocks in flight may take, in bytes. With everything else a run stays below 2 GiB.
const BUDGET: usize = 1 << 30;

/// Threads and window such that the blocks in flight fit [`BUDGET`], for steps of `columns` grid columns.
pub fn concurrency(threads: usize, columns: usize, chains: usize) -> (usize, usize) {
    // A worker holds the block and one variable in f64; a finished result holds f32 rows of every chain, and the
    // block itself where a table is written.
    let working = columns * (WIDTH + LEVELS) * 8;
    let result = columns * WIDTH * (4 * chains + 8);
    let threads = threads.clamp(1, (BUDGET / 2 / working).max(1));
    (threads, (2 * threads).clamp(1, (BUDGET / 2 / result).max(1)))
}

/// Writes one set from `pairs`, in order. With a table also the values before normalisation; with `before` also which row
/// is the step before each.
pub fn write_set(
    plan: &Plan,
    name: &str,
    kind: Kind,
    pairs: &[Pair],
    table: bool,
    before: bool,
    key: String,
) -> Result<Finished> {
    let mut pairs = pairs.to_vec();
    let (mut skipped, mut last) = (Vec::new(), PathBuf::new());
    loop {
        let bad = match attempt(plan, name, kind, &pairs, table, before)? {
            Attempt::Done { rows, outputs } => {
                return Ok(Finished { key, rows: rows as u64, sources: pairs.len() as u64, skipped, outputs });
            }
            Attempt::Bad(bad) => bad,
        };
        // The number of rows stands at the beginning of a file, so files left out mean a second pass over this set.
        for (pair, reason) in bad {
            tracing::warn!("{name}: left out: {reason}");
            pairs.retain(|p| *p != pair);
            last = pair.mli;
            skipped.push(reason);
        }
        if pairs.is_empty() {
            let problem = format!("all steps of `{name}` hold values that are not finite; nothing is left of it");
            return Err(Error::input(&last, problem));
        }
    }
}

enum Attempt {
    Done { rows: usize, outputs: std::collections::BTreeMap<String, common::durable::Written> },
    Bad(Vec<(Pair, String)>),
}

fn attempt(plan: &Plan, name: &str, kind: Kind, pairs: &[Pair], table: bool, before: bool) -> Result<Attempt> {
    let first = &pairs[0].mli;
    let columns = block::columns_of(&NcFile::open(first)?, first)?;
    let rows = columns * pairs.len();
    let steps = if before { places::steps_before(pairs)? } else { Vec::new() };
    let earlier = steps.iter().filter(|step| matches!(step, Before::Files(_))).count() * columns;
    let beside = Beside { places: plan.places.is_some(), earlier: before.then_some(earlier) };
    let mut set = SetWriter::create(&plan.folder, name, kind, rows, &plan.scalers, beside)?;
    let mut table = table.then(|| TableWriter::create(&plan.folder)).transpose()?;
    let bad = Mutex::new(Vec::new());
    let (threads, window) = concurrency(plan.threads, columns, plan.scalers.len());
    let skip = plan.config.non_finite == NonFinite::SkipFile;
    let keep_block = table.is_some();
    let mut done = 0;
    ordered(
        pairs.len(),
        threads,
        window,
        |i| {
            let read = |pair: &Pair| match Block::read(pair) {
                Err(e) if skip && block::is_non_finite(&e) => {
                    if let Ok(mut bad) = bad.lock() {
                        bad.push((i, e.to_string()));
                    }
                    Ok(None)
                }
                Ok(block) if block.rows != columns => {
                    let (found, first) = (block.rows, first.display());
                    let problem = format!("dimension `ncol` is {found}, expected {columns} as in `{first}`");
                    Err(Error::input(&pair.mli, problem))
                }
                other => other.map(Some),
            };
            let Some(block) = read(&pairs[i])? else { return Ok(None) };
            let before = match steps.get(i) {
                Some(Before::Files(pair)) => {
                    let Some(before) = read(pair)? else { return Ok(None) };
                    let scaled = plan.scalers.iter().map(|s| s.scale(&before));
                    Some(scaled.map(|rows| places::earlier(&rows.inputs, &rows.targets)).collect::<Vec<_>>())
                }
                _ => None,
            };
            let rows: Vec<Rows> = plan.scalers.iter().map(|s| s.scale(&block)).collect();
            Ok(Some((rows, keep_block.then_some(block), before)))
        },
        |i, made| {
            signals::check(super::SAVED)?;
            plan.bar.tick(1);
            if let Some((rows, block, before)) = made {
                set.append(&rows)?;
                if let Some(places) = &plan.places {
                    set.append_places(&places.of(&pairs[i].moment()?))?;
                }
                if let Some(step) = steps.get(i) {
                    set.append_previous(&places::previous_rows(step, i * columns, columns, done))?;
                }
                if let Some(before) = before {
                    set.append_earlier(&before)?;
                    done += 1;
                }
                if let (Some(table), Some(block)) = (&mut table, block) {
                    table.append(&block)?;
                }
            }
            Ok(())
        },
    )?;
    let mut bad = bad.into_inner().unwrap_or_default();
    if !bad.is_empty() {
        bad.sort_unstable_by_key(|(i, _)| *i);
        return Ok(Attempt::Bad(bad.into_iter().map(|(i, reason)| (pairs[i].clone(), reason)).collect()));
    }
    let mut outputs = set.finish()?;
    if let Some(table) = table {
        outputs.insert("valid_table".into(), table.finish()?);
    }
    Ok(Attempt::Done { rows, outputs })
}
