//! The truth of a set: its targets, labels as positions, weights and folds of its rows.

use std::path::Path;

use super::super::Layout;
use super::super::foreign::{Content, Reading};
use super::members::array;
use super::rows::{Loaded, RowIds};
use crate::error::{Error, Result};
use crate::submission::{Labels, SubmissionFile};

/// Most folds that a column may name.
const FOLDS: usize = 1000;

/// The truth as read, before rows are matched.
pub(super) struct Truth {
    pub(super) loaded: Loaded,
    pub(super) classes: Vec<String>,
    pub(super) weights: Option<Vec<f64>>,
    pub(super) folds: Option<Vec<usize>>,
    /// Rows that count for no part of the leaderboard.
    pub(super) ignored: Vec<usize>,
    pub(super) layout: Layout,
}

impl Truth {
    pub(super) fn read(path: &Path, content: Content, members: &[&SubmissionFile], reading: &Reading) -> Result<Self> {
        let name = String::from("truth");
        let file = match content {
            Content::Table(mut file) => {
                file.read_ids()?;
                file
            }
            other => {
                if !reading.targets.is_empty() || reading.weight.is_some() || reading.fold.is_some() {
                    return Err(Error::input(path, "holds an array, whose columns have no names")
                        .hint("`--target`, `--sample-weight` and `--fold-column` need a csv or parquet file"));
                }
                let mut classes = vec![];
                let (loaded, layout) = match other {
                    Content::Labels(texts, ids) => {
                        classes = in_order(path, "target", &texts, &reading.classes)?;
                        let values = positions(path, "target", &texts, &classes)?;
                        let (names, ids) = (vec!["target".to_string()], ids.map(RowIds::of_archive));
                        (Loaded { path: path.into(), name, values, names, ids }, Layout::default())
                    }
                    other => array(name, path, other)?,
                };
                return Ok(Self { loaded, classes, weights: None, folds: None, ignored: vec![], layout });
            }
        };
        let targets = targets(&file, members, reading)?;
        let mut columns = vec![];
        let mut classes = vec![];
        for target in &targets {
            let values = match file.labels(target)? {
                Labels::Numbers(values) => values,
                Labels::Texts(texts) if targets.len() > 1 => {
                    let problem = format!("column `{target}` holds texts ({} labels)", texts.len());
                    return Err(Error::input(path, problem).hint("text labels are searched one target at a time"));
                }
                Labels::Texts(texts) => {
                    classes = in_order(path, target, &texts, &reading.classes)?;
                    positions(path, target, &texts, &classes)?
                }
            };
            columns.push(values);
        }
        let weights = reading.weight.as_ref().map(|name| weights(&file, name)).transpose()?;
        let folds = reading.fold.as_ref().map(|name| folds(&file, name)).transpose()?;
        let ignored = file.usage()?.into_iter().flatten().enumerate();
        let ignored = ignored.filter(|(_, part)| part.eq_ignore_ascii_case("ignored")).map(|(row, _)| row).collect();
        let ids = RowIds::of(&file);
        let loaded = Loaded { path: path.into(), name, values: interleaved(columns), names: targets, ids };
        Ok(Self { loaded, classes, weights, folds, ignored, layout: Layout::default() })
    }
}

/// Weights of rows: 0 or more, and some of them above 0.
fn weights(file: &SubmissionFile, name: &str) -> Result<Vec<f64>> {
    let weights = file.read(&[name])?.remove(0);
    let hint = "`--sample-weight` names the column with the weight of every row";
    if let Some(row) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        let problem = format!("row {row}, column `{name}`: the weight is {}, expected 0 or more", weights[row]);
        return Err(Error::input(file.path(), problem).hint(hint));
    }
    if weights.iter().all(|w| *w == 0.0) {
        return Err(Error::input(file.path(), format!("column `{name}`: all rows have the weight 0")).hint(hint));
    }
    Ok(weights)
}

/// Folds 0, 1, 2, ... in the order of their numbers or names.
fn folds(file: &SubmissionFile, name: &str) -> Result<Vec<usize>> {
    let hint = "`--fold-column` names the column with the number or name of every row's fold";
    let missing =
        |row: usize| Error::input(file.path(), format!("row {row}, column `{name}`: the fold is missing")).hint(hint);
    let numbered = match file.labels(name)? {
        Labels::Numbers(folds) => match folds.iter().position(|fold| fold.is_nan()) {
            Some(row) => return Err(missing(row)),
            None => numbered(&folds, f64::total_cmp),
        },
        Labels::Texts(folds) => match folds.iter().position(String::is_empty) {
            Some(row) => return Err(missing(row)),
            None => numbered(&folds, String::cmp),
        },
    };
    let count = numbered.iter().max().map_or(0, |most| most + 1);
    if count > FOLDS {
        let problem = format!("column `{name}` has {count} different values, too many for folds");
        return Err(Error::input(file.path(), problem).hint(hint));
    }
    Ok(numbered)
}

/// The columns of the truth that are predicted: those that were named, the only one, or those that all members have.
pub(super) fn targets(file: &SubmissionFile, members: &[&SubmissionFile], reading: &Reading) -> Result<Vec<String>> {
    if !reading.targets.is_empty() {
        if let Some(name) = reading.targets.iter().find(|name| !file.has(name)) {
            return Err(crate::store::tables::missing(file.path(), name, file.columns().iter().map(String::as_str)));
        }
        return Ok(reading.targets.clone());
    }
    let roles = [&reading.weight, &reading.fold];
    let free = |name: &&String| !roles.iter().any(|role| role.as_ref() == Some(*name));
    let own: Vec<String> = file.columns().iter().filter(free).cloned().collect();
    if own.len() == 1 {
        return Ok(own);
    }
    let shared: Vec<String> =
        own.iter().filter(|name| members.iter().all(|member| member.columns().contains(name))).cloned().collect();
    if !members.is_empty() && !shared.is_empty() {
        return Ok(shared);
    }
    let shown = own.iter().take(8).cloned().collect::<Vec<_>>().join("`, `");
    Err(Error::input(file.path(), format!("does not say which of its columns is predicted: `{shown}`"))
        .hint("name it: `--target COLUMN`"))
}

/// The classes of labels: as given, else sorted.
pub(super) fn in_order(path: &Path, target: &str, texts: &[String], given: &[String]) -> Result<Vec<String>> {
    let mut found: Vec<String> = texts.iter().filter(|t| !t.is_empty()).cloned().collect();
    found.sort_unstable();
    found.dedup();
    if given.is_empty() {
        if found.len() > 1000 {
            let problem = format!("column `{target}` holds {} different texts, too many for classes", found.len());
            return Err(Error::input(path, problem).hint("name the column of the target: `--target COLUMN`"));
        }
        return Ok(found);
    }
    match found.iter().find(|label| !given.contains(label)) {
        Some(label) => Err(Error::input(path, format!("column `{target}` holds `{label}`, which `--classes` lacks"))
            .hint("name all of them in order: `--classes A,B,..`")),
        None => Ok(given.to_vec()),
    }
}

/// Labels as positions in the classes; an empty text is a missing label.
pub(super) fn positions(path: &Path, column: &str, texts: &[String], classes: &[String]) -> Result<Vec<f64>> {
    let place: std::collections::HashMap<&str, f64> =
        classes.iter().enumerate().map(|(i, class)| (class.as_str(), i as f64)).collect();
    let position = |(row, text): (usize, &String)| match place.get(text.as_str()) {
        Some(&place) => Ok(place),
        None if text.is_empty() => Ok(f64::NAN),
        None => {
            let known = classes.iter().take(8).cloned().collect::<Vec<_>>().join("`, `");
            let problem = format!("row {row}, column `{column}`: `{text}` is none of the classes `{known}`");
            Err(Error::input(path, problem).hint("classes are those of the truth, or what `--classes` names"))
        }
    };
    texts.iter().enumerate().map(position).collect()
}

fn numbered<T: Clone>(folds: &[T], order: impl Fn(&T, &T) -> std::cmp::Ordering) -> Vec<usize> {
    let mut known: Vec<T> = folds.to_vec();
    known.sort_by(&order);
    known.dedup_by(|a, b| order(a, b).is_eq());
    folds.iter().map(|fold| known.binary_search_by(|k| order(k, fold)).unwrap_or(0)).collect()
}

pub(super) fn interleaved(mut columns: Vec<Vec<f64>>) -> Vec<f64> {
    if columns.len() == 1 {
        return columns.remove(0);
    }
    let rows = columns.first().map_or(0, Vec::len);
    (0..rows).flat_map(|row| columns.iter().map(move |column| column[row])).collect()
}
