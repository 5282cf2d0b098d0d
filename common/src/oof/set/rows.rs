//! How rows of different files come together: by ids, by place, with holes masked, a column a class.

use std::path::{Path, PathBuf};

use super::super::foreign::{Content, Reading};
use super::super::{Layout, Table};
use crate::error::{Error, Result};
use crate::submission::{Ids, SubmissionFile, common_id};

/// A table on its way: what is known of its rows.
pub(super) struct Loaded {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) values: Vec<f64>,
    pub(super) names: Vec<String>,
    pub(super) ids: Option<Ids>,
}

impl Loaded {
    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.names.len()
    }

    pub(super) fn table(self, layout: &Layout) -> Result<Table> {
        let mut table = Table::loaded(&self.path, self.values, self.names, Some(self.name))?;
        table.layout.system = layout.system.clone();
        Ok(table)
    }
}

/// Turns labels into a column a class where the members have one. False where truth and members have the same columns.
pub(super) fn expand(
    truth: &mut Loaded,
    members: &mut [Loaded],
    classes: &[String],
    notes: &mut Vec<String>,
) -> Result<bool> {
    let Some((first, others)) = members.split_first_mut() else { return Ok(false) };
    let width = first.names.len();
    if truth.names.len() > 1 || width == 1 {
        return Ok(false);
    }
    if let Some(other) = others.iter().find(|member| member.names.len() != width) {
        let problem = format!("has {} columns, `{}` has {width}", other.names.len(), first.path.display());
        return Err(Error::input(&other.path, problem).hint("members have a probability a class, or one of two"));
    }
    let mut labels = truth.values.clone();
    labels.sort_by(f64::total_cmp);
    labels.dedup();
    if !classes.is_empty() {
        labels = (0..classes.len()).map(|class| class as f64).collect();
    }
    if labels.len() != width {
        let problem = format!("has {width} columns, `{}` has {} classes", truth.path.display(), labels.len());
        return Err(
            Error::input(&first.path, problem).hint("give a probability a class, or name the target: `--target`")
        );
    }
    let shown = |label: &f64| classes.get(*label as usize).filter(|_| !classes.is_empty()).cloned();
    let names: Vec<String> = labels.iter().map(|label| shown(label).unwrap_or_else(|| label.to_string())).collect();
    notes.push(format!("`{}` are the classes `{}`", first.names.join("`, `"), names.join("`, `")));
    truth.values = truth
        .values
        .iter()
        .flat_map(|value| labels.iter().map(move |label| f64::from(u8::from(value == label))))
        .collect();
    truth.names.clone_from(&first.names);
    for other in others.iter_mut().filter(|other| other.names != first.names) {
        let order: Option<Vec<usize>> =
            first.names.iter().map(|name| other.names.iter().position(|own| own == name)).collect();
        match order {
            Some(order) => {
                let moved = |row: &[f64]| order.iter().map(|&c| row[c]).collect::<Vec<f64>>();
                other.values = other.values.chunks_exact(width).flat_map(moved).collect();
            }
            None => notes.push(format!(
                "`{}` of `{}` are taken for these classes, in this order",
                other.names.join("`, `"),
                other.path.display()
            )),
        }
        other.names.clone_from(&first.names);
    }
    Ok(true)
}

/// Repeats the one target for every quantile or draw of the members.
pub(super) fn repeat(truth: &mut Loaded, members: &mut [Loaded]) -> Result<()> {
    let Some(first) = members.first() else { return Ok(()) };
    let width = first.names.len();
    if truth.names.len() != 1 || width < 2 {
        let problem = format!("has {width} columns for {} targets, expected several for one", truth.names.len());
        return Err(Error::input(&first.path, problem).hint("give the quantiles or draws of one target, a column each"));
    }
    if let Some(other) = members.iter().find(|member| member.names != first.names) {
        let (found, expected) = (other.names.join("`, `"), first.names.join("`, `"));
        return Err(Error::input(&other.path, format!("has the columns `{found}`, expected `{expected}`")));
    }
    truth.values = truth.values.iter().flat_map(|&value| std::iter::repeat_n(value, width)).collect();
    truth.names.clone_from(&first.names);
    Ok(())
}

/// Takes some rows, in the order given; nothing is copied where these are all.
pub(super) fn gather(values: &mut Vec<f64>, width: usize, rows: &[usize]) {
    if rows.len() * width == values.len() && rows.iter().enumerate().all(|(i, &row)| i == row) {
        return;
    }
    *values = rows.iter().flat_map(|&row| values[row * width..(row + 1) * width].iter().copied()).collect();
}

pub(super) fn lacking(reading: &Reading, truth: &Loaded, row: usize, column: &str) -> Result<()> {
    if reading.mask {
        return Ok(());
    }
    let shown = truth.ids.as_ref().map_or(String::new(), |ids| format!(" (`{}`)", ids.shown(row)));
    let problem = format!("row {row}{shown}, column `{column}`: the target is missing");
    Err(Error::input(&truth.path, problem).hint("leave such rows out with `--mask-missing`"))
}

pub(super) fn file(content: &Content) -> Option<&SubmissionFile> {
    if let Content::Table(file) = content { Some(file) } else { None }
}

/// Settles the column of the ids for all tables at once.
pub(super) fn name_ids(
    truth: &Path,
    content: &mut Content,
    contents: &mut [(Option<String>, PathBuf, Content)],
    reading: &Reading,
) -> Result<()> {
    if reading.by_position {
        return Ok(());
    }
    let mut tables = vec![(truth, content)];
    tables.extend(contents.iter_mut().map(|(_, path, content)| (path.as_path(), content)));
    let id = match &reading.id {
        Some(id) => Some(id.clone()),
        None => {
            let named: Vec<(&Path, Vec<String>)> = tables
                .iter()
                .filter_map(|(path, content)| file(content).map(|f| (*path, candidates(f, reading))))
                .collect();
            common_id(&named)?
        }
    };
    let Some(id) = id else { return Ok(()) };
    for (_, content) in &mut tables {
        if let Content::Table(file) = content
            && (reading.id.is_some() || file.has(&id))
        {
            file.name_ids(&id)?;
        }
    }
    Ok(())
}

/// Columns that were given another role are no ids.
pub(super) fn candidates(file: &SubmissionFile, reading: &Reading) -> Vec<String> {
    let roles = [&reading.weight, &reading.fold];
    let other = |name: &String| reading.targets.contains(name) || roles.iter().any(|role| role.as_ref() == Some(name));
    let mut all = file.candidates();
    // A table of one column of labels has no ids.
    if file.columns().len() == 1 {
        all.clear();
    }
    all.retain(|name| !other(name));
    all
}

/// For every row of the truth its row in the member.
pub(super) fn order(
    truth: &Loaded,
    member: &Loaded,
    reading: &Reading,
    warnings: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> Result<Vec<Option<usize>>> {
    match (&truth.ids, &member.ids) {
        (Some(expected), Some(found)) if !reading.by_position => {
            let (places, surplus) = expected.places(&truth.path, found, &member.path)?;
            if surplus == found.len() {
                let problem = format!(
                    "none of its ids is in `{}`: `{}` here, `{}` there",
                    truth.path.display(),
                    found.shown(0),
                    expected.shown(0)
                );
                return Err(Error::input(&member.path, problem).hint("name the column of the ids: `--id COLUMN`"));
            }
            if surplus > 0 {
                warnings.push(format!(
                    "`{}` has {surplus} rows that `{}` has not; they are left out",
                    member.path.display(),
                    truth.path.display()
                ));
            }
            if let (false, Some(row)) = (reading.mask, places.iter().position(Option::is_none)) {
                let problem =
                    format!("lacks the id `{}`, row {row} of `{}`", expected.shown(row), truth.path.display());
                return Err(Error::input(&member.path, problem)
                    .hint("leave rows that a member lacks out with `--mask-missing`"));
            }
            let moved = places.iter().enumerate().any(|(i, place)| place.is_some_and(|place| place != i));
            if moved {
                notes.push(format!("`{}` has its rows in another order: aligned by id", member.path.display()));
            }
            Ok(places)
        }
        (expected, found) => {
            if !reading.by_position && expected.is_some() != found.is_some() {
                let (with, without) =
                    if expected.is_some() { (&truth.path, &member.path) } else { (&member.path, &truth.path) };
                let problem = format!("has no ids, `{}` has", with.display());
                return Err(Error::input(without, problem)
                    .hint("name their column with `--id COLUMN`, or match rows by place with `--by-position`"));
            }
            if truth.rows() != member.rows() {
                let problem = format!(
                    "holds {} rows, but the truth `{}` has {}",
                    member.rows(),
                    truth.path.display(),
                    truth.rows()
                );
                return Err(Error::input(&member.path, problem).hint("without ids, rows are matched by their place"));
            }
            let note = "rows are matched by their place, not by id".to_string();
            if !notes.contains(&note) {
                notes.push(note);
            }
            Ok((0..truth.rows()).map(Some).collect())
        }
    }
}
