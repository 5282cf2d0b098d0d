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
    warnings: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> Result<bool> {
    let Some((first, others)) = members.split_first() else { return Ok(false) };
    let width = first.names.len();
    if truth.names.len() > 1 || width == 1 {
        return Ok(false);
    }
    if let Some(other) = others.iter().find(|member| member.names.len() != width) {
        let (own, more) = (other.names.join("`, `"), first.names.join("`, `"));
        let problem = format!("has the columns `{own}`, `{}` has `{more}`", first.path.display());
        return Err(Error::input(&other.path, problem).hint(
            "members have the same columns: one, or a probability a class; name the target, `--target`, or take others out",
        ));
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
    truth.values = truth
        .values
        .iter()
        .flat_map(|value| labels.iter().map(move |label| f64::from(u8::from(value == label))))
        .collect();
    for (k, member) in members.iter_mut().enumerate() {
        let (own, path) = (member.names.join("`, `"), member.path.display());
        match places(&member.names, &names) {
            Some(order) => {
                if order.iter().enumerate().any(|(class, c)| class != *c) {
                    let moved = |row: &[f64]| order.iter().map(|&c| row[c]).collect::<Vec<f64>>();
                    member.values = member.values.chunks_exact(width).flat_map(moved).collect();
                    member.names = order.iter().map(|&c| member.names[c].clone()).collect();
                }
                if k == 0 {
                    notes.push(format!("`{}` are the classes `{}`", member.names.join("`, `"), names.join("`, `")));
                }
            }
            None => warnings.push(format!(
                "the columns `{own}` of `{path}` are not called after the classes `{}`: they are taken for these, in this order",
                names.join("`, `")
            )),
        }
    }
    truth.names.clone_from(&members[0].names);
    members.iter_mut().for_each(|member| member.names.clone_from(&truth.names));
    Ok(true)
}

/// For every class its column: called as the class (`2`, `2.0`, `Cat`) behind what all columns begin with (`p_cat`), or
/// numbered in the order of the classes (`p0`, `p1`). None where the names do not say it.
fn places(columns: &[String], classes: &[String]) -> Option<Vec<usize>> {
    let number = |text: &str| text.parse::<f64>().ok().filter(|v| v.is_finite());
    let same = |name: &str, class: &str| name == class || number(name).is_some_and(|v| number(class) == Some(v));
    let alike = |name: &str, class: &str| name.to_lowercase() == class.to_lowercase();
    let first = columns.first()?;
    let fronts = (0..=first.len())
        .filter_map(|end| first.get(..end))
        .take_while(|front| columns.iter().all(|column| column.starts_with(front)));
    let fronts: Vec<&str> = fronts.collect();
    let find = |is: &dyn Fn(&str, &str) -> bool| {
        fronts.iter().find_map(|front| {
            let of = |class: &String| {
                let mut found =
                    columns.iter().enumerate().filter(|(_, c)| is(&c[front.len()..], class)).map(|(c, _)| c);
                found.next().filter(|_| found.next().is_none())
            };
            let order: Vec<usize> = classes.iter().map(of).collect::<Option<_>>()?;
            let distinct: std::collections::HashSet<usize> = order.iter().copied().collect();
            (distinct.len() == columns.len()).then_some(order)
        })
    };
    find(&same).or_else(|| find(&alike)).or_else(|| {
        let split = |name: &String| {
            let front = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            Some((name[..front].to_owned(), name[front..].parse::<u64>().ok()?))
        };
        let numbered: Vec<(String, u64)> = columns.iter().map(split).collect::<Option<_>>()?;
        let mut order: Vec<usize> = (0..columns.len()).collect();
        order.sort_by_key(|&c| numbered[c].1);
        let told = numbered.iter().all(|(front, _)| *front == numbered[0].0)
            && order.windows(2).all(|pair| numbered[pair[0]].1 + 1 == numbered[pair[1]].1);
        told.then_some(order)
    })
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
        return Err(Error::input(&other.path, format!("has the columns `{found}`, expected `{expected}`"))
            .hint("give all members the same quantiles or draws"));
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
    let mut tables = vec![(truth, content)];
    tables.extend(contents.iter_mut().map(|(_, path, content)| (path.as_path(), content)));
    if reading.by_position {
        // Nothing is matched by them, but ids are no targets and no predictions either.
        for (_, content) in &mut tables {
            let Content::Table(file) = content else { continue };
            match (&reading.id, candidates(file, reading).as_slice()) {
                (Some(id), _) if file.has(id) => file.choose_ids(id)?,
                (None, [only]) => file.choose_ids(only)?,
                _ => {}
            }
        }
        return Ok(());
    }
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

/// Tables without ids go by place; where both have further columns of whole numbers or texts, these must agree row by row, as
/// those of a store and a day that tell the rows apart together.
///
/// # Errors
/// [`Error::Input`] naming the first row and column that differ.
pub(super) fn same_rows(truth: &SubmissionFile, member: &SubmissionFile, reading: &Reading) -> Result<()> {
    if reading.targets.is_empty() || truth.has_ids() || member.has_ids() || truth.rows() != member.rows() {
        return Ok(());
    }
    let roles = [&reading.weight, &reading.fold];
    let other = |name: &&String| {
        !reading.targets.contains(*name) && !roles.iter().any(|role| role.as_ref() == Some(*name)) && member.has(name)
    };
    for name in truth.columns().iter().filter(other) {
        let differs = match (truth.keys(name)?, member.keys(name)?) {
            (Some(here), Some(there)) => {
                let row = (0..truth.rows()).find(|&row| here.shown(row) != there.shown(row));
                row.map(|row| (row, there.shown(row), here.shown(row)))
            }
            _ => None,
        };
        if let Some((row, found, expected)) = differs {
            let of = truth.path().display();
            let problem = format!(
                "has no ids, and its row {row} is another one than that of `{of}`: here `{name}` is {found}, there {expected}"
            );
            return Err(Error::input(member.path(), problem).hint(
                "give every row an id, in a column of one name in all tables, or match rows by place with `--by-position`",
            ));
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

/// Bytes that matching took beside the numbers, at most: the ids of both, those of the member once more in its file, what
/// finds them, and the member's numbers in another order.
pub(super) fn matching_bytes(truth: &Loaded, member: &Loaded) -> u64 {
    let (Some(expected), Some(found)) = (&truth.ids, &member.ids) else { return 0 };
    let lists = expected.ids.bytes() + 2 * found.ids.bytes() + expected.ids.places_bytes(&found.ids);
    lists + 8 * member.values.len() as u64
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
