//! The members of a set: numbers of the targets, probabilities or votes of classes, a column a member.

use std::path::{Path, PathBuf};

use super::super::Layout;
use super::super::foreign::{Content, Reading};
use super::rows::{Loaded, RowIds};
use super::truth::{interleaved, positions};
use crate::error::{Error, Result};
use crate::submission::{Labels, SubmissionFile};

pub(super) fn array(name: String, path: &Path, content: Content) -> Result<(Loaded, Layout)> {
    let (values, names, ids, layout) = match content {
        Content::Array(values, columns, ids) => {
            let names = if columns == 1 { vec!["target".to_string()] } else { numbered_names(columns) };
            (values, names, ids.map(RowIds::of_archive), Layout::default())
        }
        Content::Ours(table) => {
            let matrix = table.matrix()?;
            // Beside files without one, a normalisation has to go: numbers are those that were measured.
            let matrix = match table.normalisation() {
                Some((mean, std)) => matrix.mapped(std.to_vec(), mean.to_vec())?,
                None => matrix,
            };
            let columns = table.columns();
            let mut values = vec![0.0; table.rows() * columns];
            for (row, out) in values.chunks_exact_mut(columns).enumerate() {
                matrix.read(row, 0..columns, out);
            }
            let names = (0..columns).map(|c| table.column_name(c)).collect();
            (values, names, None, table.layout().clone())
        }
        Content::Labels(..) => {
            return Err(Error::input(path, "holds texts, expected numbers")
                .hint("texts are votes for the classes of a truth of texts"));
        }
        Content::Table(_) => return Err(Error::failed("a table is no array")),
    };
    Ok((Loaded { path: path.into(), name, values, names, ids }, layout))
}

pub(super) fn numbered_names(columns: usize) -> Vec<String> {
    (0..columns).map(|c| format!("column_{c}")).collect()
}

/// Reads a member: the columns of the targets, else all of its numbers, else votes for classes.
pub(super) fn member(
    name: String,
    path: &Path,
    content: Content,
    truth: &Loaded,
    classes: &[String],
    reading: &Reading,
    notes: &mut Vec<String>,
) -> Result<Loaded> {
    let file = match content {
        Content::Table(mut file) => {
            file.read_ids()?;
            file
        }
        Content::Labels(votes, ids) if !classes.is_empty() => {
            let places = positions(path, "votes", &votes, classes)?;
            return Ok(voted(path.to_path_buf(), name, ids.map(RowIds::of_archive), &places, classes));
        }
        other => return Ok(array(name, path, other)?.0),
    };
    let ids = RowIds::of(&file);
    let path = path.to_path_buf();
    if truth.names.iter().all(|target| file.columns().contains(target)) && !reading.wide {
        if let ([target], false) = (truth.names.as_slice(), classes.is_empty())
            && let Labels::Texts(votes) = file.labels(target)?
        {
            return Ok(voted(path.clone(), name, ids, &positions(&path, target, &votes, classes)?, classes));
        }
        let names: Vec<&str> = truth.names.iter().map(String::as_str).collect();
        return Ok(Loaded { values: interleaved(file.read(&names)?), path, name, names: truth.names.clone(), ids });
    }
    let there = |target: &&String| file.columns().contains(target);
    if truth.names.len() > 1
        && truth.names.iter().any(|target| there(&target))
        && let Some(target) = truth.names.iter().find(|target| !there(target))
    {
        return Err(crate::store::tables::missing(&path, target, file.columns().iter().map(String::as_str)));
    }
    let mut numbers = numbers(&file, reading);
    if reading.wide && numbers.len() > 1 && numbers.iter().any(|c| truth.names.iter().any(|target| target == c)) {
        let target = truth.names.join("`, `");
        notes.push(format!("`{target}` of `{}` is the truth and no member", path.display()));
        numbers.retain(|c| !truth.names.iter().any(|target| target == c));
    }
    if numbers.is_empty() {
        let column = file.columns().first().cloned().unwrap_or_default();
        if let (Labels::Texts(votes), false) = (file.labels(&column)?, classes.is_empty()) {
            return Ok(voted(path.clone(), name, ids, &positions(&path, &column, &votes, classes)?, classes));
        }
        return Err(Error::input(&path, format!("column `{column}` holds texts, expected predictions"))
            .hint("give a column of numbers; texts are votes for the classes of a truth of texts"));
    }
    // Probabilities named after their classes are put into the order of the classes.
    let ordered: Vec<&str> = classes
        .iter()
        .filter_map(|class| numbers.iter().copied().find(|n| n == class || ends_with_class(n, class, &numbers)))
        .collect();
    let numbers = if !classes.is_empty() && ordered.len() == numbers.len() { ordered } else { numbers };
    let names = numbers.iter().map(ToString::to_string).collect();
    Ok(Loaded { values: interleaved(file.read(&numbers)?), path, name, names, ids })
}

/// The columns of numbers that have no role.
pub(super) fn numbers<'f>(file: &'f SubmissionFile, reading: &Reading) -> Vec<&'f str> {
    let roles = [&reading.weight, &reading.fold];
    let free = |column: &&str| !roles.iter().any(|role| role.as_deref() == Some(*column));
    file.numbers().into_iter().filter(free).collect()
}

/// `proba_cat` for the class `cat`, where all columns share what stands in front.
pub(super) fn ends_with_class(column: &str, class: &str, columns: &[&str]) -> bool {
    let Some(front) = column.strip_suffix(class) else { return false };
    !front.is_empty() && columns.iter().all(|other| other.starts_with(front))
}

/// Votes as certain probabilities.
pub(super) fn voted(path: PathBuf, name: String, ids: Option<RowIds>, votes: &[f64], classes: &[String]) -> Loaded {
    let certain = |vote: &f64, class: usize| {
        if vote.is_nan() { f64::NAN } else { f64::from(u8::from(*vote == class as f64)) }
    };
    if let [_, _] = classes {
        let values = votes.iter().map(|vote| certain(vote, 1)).collect();
        return Loaded { path, name, values, names: vec![classes[1].clone()], ids };
    }
    let values = votes.iter().flat_map(|vote| (0..classes.len()).map(move |class| certain(vote, class))).collect();
    Loaded { path, name, values, names: classes.to_vec(), ids }
}

/// Every column becomes a member.
pub(super) fn widened(table: Loaded) -> Vec<Loaded> {
    let width = table.names.len();
    let column = |c: usize| Loaded {
        path: table.path.clone(),
        name: table.names[c].clone(),
        values: table.values.iter().skip(c).step_by(width).copied().collect(),
        names: vec!["target".into()],
        ids: table.ids.clone(),
    };
    (0..width).map(column).collect()
}

/// The file's name without its ending, or its folder's name if the file is just called `oof`.
pub(super) fn name_of(path: &Path) -> String {
    let full: PathBuf = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let name = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match full.parent().and_then(Path::file_name) {
        Some(folder) if stem == "oof" => folder.to_string_lossy().into_owned(),
        _ => stem,
    }
}
