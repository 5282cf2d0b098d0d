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
    pub(super) ids: Option<RowIds>,
}

/// The ids of a table, and where they stand.
#[derive(Clone)]
pub(super) struct RowIds {
    pub(super) ids: Ids,
    /// Their column; empty in an archive.
    column: String,
    /// They are row labels without a name, taken for ids.
    nameless: bool,
}

impl RowIds {
    pub(super) fn of(file: &SubmissionFile) -> Option<Self> {
        let nameless = file.nameless().as_deref() == Some(file.id());
        file.has_ids().then(|| Self { ids: file.ids().clone(), column: file.id().into(), nameless })
    }

    pub(super) fn of_archive(ids: Ids) -> Self {
        Self { ids, column: String::new(), nameless: false }
    }

    /// What to do where these are the wrong ones.
    fn hint(&self) -> String {
        match self.column.as_str() {
            "" => "every row needs an id of its own; `--by-position` matches rows by their place".into(),
            column => format!("the ids are those of the column `{column}`; `--id COLUMN` names another one"),
        }
    }
}

impl Loaded {
    /// Puts the rows into the order of the truth, rows that are not there being NaN, and lets go of the ids.
    pub(super) fn align(&mut self, places: &[Option<usize>]) {
        self.ids = None;
        if places.len() == self.rows() && places.iter().enumerate().all(|(row, place)| *place == Some(row)) {
            return;
        }
        let width = self.names.len();
        let mut moved = vec![f64::NAN; places.len() * width];
        for (place, out) in places.iter().zip(moved.chunks_exact_mut(width)) {
            if let Some(at) = place {
                out.copy_from_slice(&self.values[at * width..(at + 1) * width]);
            }
        }
        self.values = moved;
    }

    /// The id of a row, in brackets behind its number; nothing where there are none.
    pub(super) fn id(&self, row: usize) -> String {
        self.ids.as_ref().map_or(String::new(), |own| format!(" (`{}`)", own.ids.shown(row)))
    }

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

/// Takes some rows, in the order given.
pub(super) fn gather(values: &mut Vec<f64>, width: usize, rows: &[usize]) {
    *values = rows.iter().flat_map(|&row| values[row * width..(row + 1) * width].iter().copied()).collect();
}

pub(super) fn lacking(reading: &Reading, truth: &Loaded, row: usize, column: &str) -> Result<()> {
    if reading.mask {
        return Ok(());
    }
    let problem = format!("row {row}{}, column `{column}`: the target is missing", truth.id(row));
    Err(Error::input(&truth.path, problem).hint("leave such rows out with `--mask-missing`"))
}

pub(super) fn file(content: &Content) -> Option<&SubmissionFile> {
    if let Content::Table(file) = content { Some(file) } else { None }
}

/// Settles the column of the ids for all tables at once; the ids themselves are read later.
pub(super) fn name_ids(
    truth: &Path,
    content: &mut Content,
    contents: &mut [(Option<String>, PathBuf, Content)],
    reading: &Reading,
    notes: &mut Vec<String>,
) -> Result<()> {
    if reading.by_position {
        return Ok(());
    }
    let mut tables = vec![(truth, content)];
    tables.extend(contents.iter_mut().map(|(_, path, content)| (path.as_path(), content)));
    let id = match &reading.id {
        Some(id) => Some(id.clone()),
        None => {
            let of =
                |content: &Content| file(content).filter(|f| f.nameless().is_none()).map(|f| candidates(f, reading));
            let named: Vec<(&Path, Vec<String>)> =
                tables.iter().filter_map(|(path, content)| of(content).map(|names| (*path, names))).collect();
            common_id(&named)?
        }
    };
    for (path, content) in &mut tables {
        let Content::Table(file) = content else { continue };
        match (&id, file.nameless()) {
            (Some(id), None) if reading.id.is_some() || file.has(id) => file.choose_ids(id)?,
            (Some(id), Some(_)) if file.has(id) => file.choose_ids(id)?,
            (id, Some(own)) => {
                file.choose_ids(&own)?;
                let of = id.as_ref().map_or("for ids".to_string(), |id| format!("for those of the column `{id}`"));
                notes.push(format!("the row labels of `{}`, which have no name, are taken {of}", path.display()));
            }
            _ => {}
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
            let twice = |error: Error| {
                // Which of both lists has an id twice is told by the path.
                let own =
                    if matches!(&error, Error::Input { path, .. } if *path == member.path) { found } else { expected };
                error.hint(own.hint())
            };
            let (places, surplus) = expected.ids.places(&truth.path, &found.ids, &member.path).map_err(twice)?;
            if surplus == found.ids.len() {
                let problem = format!(
                    "none of its ids is in `{}`: `{}` here, `{}` there",
                    truth.path.display(),
                    found.ids.shown(0),
                    expected.ids.shown(0)
                );
                return Err(Error::input(&member.path, problem).hint("name the column of the ids: `--id COLUMN`"));
            }
            if (found.nameless || expected.nameless)
                && let Some(row) = places.iter().position(Option::is_none)
            {
                let problem = format!(
                    "its row labels, which have no name, are not the ids of `{}`: they lack `{}`",
                    truth.path.display(),
                    expected.ids.shown(row)
                );
                return Err(Error::input(&member.path, problem).hint(
                    "name the column of the ids with `--id COLUMN`, or match rows by place with `--by-position`",
                ));
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
                    format!("lacks the id `{}`, row {row} of `{}`", expected.ids.shown(row), truth.path.display());
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
