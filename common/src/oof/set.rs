//! A truth and its members from files of any kind: rows matched by id, labels turned into numbers, holes masked.

use std::path::{Path, PathBuf};

use super::foreign::{Content, Reading};
use super::{Layout, Source, Table};
use crate::error::{Error, Result};
use crate::submission::{Ids, Labels, SubmissionFile, common_id};

/// One model.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its predictions, row by row those of the truth.
    pub table: Table,
}

/// A truth and members that go together row by row.
#[derive(Debug)]
pub struct Set {
    /// The truth; text labels are positions in [`Set::classes`].
    pub truth: Table,
    /// The members, in the order given.
    pub members: Vec<Member>,
    /// Classes of text labels, in order.
    pub classes: Vec<String>,
    /// The truth holds labels, members a probability a class: every column of the truth says whether a row is of a class.
    pub one_hot: bool,
    /// Weight of every row.
    pub weights: Option<Vec<f64>>,
    /// Fold of every row.
    pub folds: Option<Vec<usize>>,
    /// What a user should know about how the rows came together.
    pub notes: Vec<String>,
    /// What was left out, and why.
    pub warnings: Vec<String>,
}

/// A table on its way: what is known of its rows.
struct Loaded {
    path: PathBuf,
    name: String,
    values: Vec<f64>,
    names: Vec<String>,
    ids: Option<Ids>,
}

impl Loaded {
    fn rows(&self) -> usize {
        self.values.len() / self.names.len()
    }

    fn table(self, layout: &Layout) -> Result<Table> {
        let mut table = Table::loaded(&self.path, self.values, self.names, Some(self.name))?;
        table.layout.system = layout.system.clone();
        Ok(table)
    }
}

impl Set {
    /// Opens everything. `members` are names (none: that of the file) and paths.
    ///
    /// # Errors
    /// [`Error::Input`] naming file, row and column, and the flag that would settle it.
    pub fn open(
        truth: &Path,
        members: &[(Option<String>, PathBuf)],
        reading: &Reading,
        scratch: &Path,
    ) -> Result<Self> {
        let truth_content = Content::open(truth, true, scratch)?;
        let mut contents = Vec::with_capacity(members.len());
        for (name, path) in members {
            contents.push((name.clone(), path.clone(), Content::open(path, false, scratch)?));
        }
        let ours = |content: &Content| matches!(content, Content::Ours(_));
        if ours(&truth_content) && contents.iter().all(|(_, _, content)| ours(content)) && !reading.mask {
            return Self::of_ours(truth_content, contents, reading);
        }
        Self::of_others(truth, truth_content, contents, reading)
    }

    fn of_ours(truth: Content, contents: Vec<(Option<String>, PathBuf, Content)>, reading: &Reading) -> Result<Self> {
        let Content::Ours(truth) = truth else { return Err(Error::failed("the truth is none of ours")) };
        if !reading.targets.is_empty() || reading.weight.is_some() || reading.fold.is_some() || reading.id.is_some() {
            return Err(Error::usage(
                "`--id`, `--target`, `--sample-weight` and `--fold-column` name columns of a table",
            )
            .hint(format!("`{}` holds arrays; pass a csv or parquet file", truth.path().display())));
        }
        let mut set = Self::empty(truth);
        for (name, path, content) in contents {
            let Content::Ours(table) = content else { continue };
            let name = name.or_else(|| table.layout().member.clone()).unwrap_or_else(|| name_of(&path));
            set.push(name, table)?;
        }
        Ok(set)
    }

    fn empty(truth: Table) -> Self {
        Self {
            truth,
            members: vec![],
            classes: vec![],
            one_hot: false,
            weights: None,
            folds: None,
            notes: vec![],
            warnings: vec![],
        }
    }

    fn push(&mut self, name: String, table: Table) -> Result<()> {
        if self.members.iter().any(|m| m.name == name) {
            return Err(Error::usage(format!("two models are called `{name}`"))
                .hint(format!("name them: `NAME={}`", table.path().display())));
        }
        self.members.push(Member { name, table });
        Ok(())
    }

    fn of_others(
        truth: &Path,
        mut content: Content,
        mut contents: Vec<(Option<String>, PathBuf, Content)>,
        reading: &Reading,
    ) -> Result<Self> {
        name_ids(truth, &mut content, &mut contents, reading)?;
        let mut notes = vec![];
        let shared: Vec<&SubmissionFile> = contents.iter().filter_map(|(_, _, c)| file(c)).collect();
        let read = Truth::read(truth, content, &shared, reading)?;
        let Truth { loaded: mut truth, classes, mut weights, mut folds, layout } = read;

        let mut members: Vec<Loaded> = vec![];
        for (name, path, content) in contents {
            let name = name.unwrap_or_else(|| name_of(&path));
            members.push(member(name, &path, content, &truth, &classes, reading)?);
        }
        if let [only] = members.as_mut_slice()
            && only.names.len() > 1
            && truth.names.len() == 1
            && !reading.samples
            && (reading.wide || !only.names.iter().all(|name| classes.contains(name)))
        {
            notes.push(format!("every column of `{}` is a member", only.path.display()));
            members = widened(members.remove(0));
        } else if reading.wide {
            return Err(Error::usage("`--wide` takes one file of several columns, and a truth of one target"));
        }

        let mut rows: Vec<usize> = (0..truth.rows()).collect();
        let mut warnings = vec![];
        let mut masked = vec![false; truth.rows()];
        let mut orders: Vec<Vec<Option<usize>>> = vec![];
        for member in &members {
            orders.push(order(&truth, member, reading, &mut warnings, &mut notes)?);
        }
        // A truth that is missing cannot be predicted; a member that lacks a row cannot be blended there.
        for (row, masked) in masked.iter_mut().enumerate() {
            let here = &truth.values[row * truth.names.len()..(row + 1) * truth.names.len()];
            if let Some(c) = here.iter().position(|v| v.is_nan()) {
                lacking(reading, &truth, row, &truth.names[c])?;
                *masked = true;
            }
        }
        let unknown = masked.iter().filter(|m| **m).count();
        if unknown > 0 {
            warnings.push(format!("`{}`: {unknown} rows without a target are left out", truth.path.display()));
        }
        for (member, order) in members.iter().zip(&orders) {
            let mut count = 0;
            let width = member.names.len();
            for (row, place) in order.iter().enumerate() {
                let hole = match place {
                    None => Some("the row itself"),
                    Some(at) => {
                        let here = &member.values[at * width..(at + 1) * width];
                        here.iter().position(|v| v.is_nan()).map(|c| member.names[c].as_str())
                    }
                };
                if let Some(what) = hole {
                    if !reading.mask {
                        let shown = truth.ids.as_ref().map_or(String::new(), |ids| format!(" (`{}`)", ids.shown(row)));
                        let problem = format!("row {row}{shown}, column `{what}`: the value is missing");
                        return Err(Error::input(&member.path, problem)
                            .hint("leave such rows out, for all members, with `--mask-missing`"));
                    }
                    count += 1;
                    masked[row] = true;
                }
            }
            if count > 0 {
                warnings.push(format!("`{}` (`{}`) lacks {count} rows", member.path.display(), member.name));
            }
        }
        rows.retain(|&row| !masked[row]);
        if rows.len() < truth.rows() {
            warnings.push(format!("{} of {} rows are left out", truth.rows() - rows.len(), truth.rows()));
        }
        if rows.is_empty() {
            return Err(Error::input(&truth.path, "no row has a target and predictions of all members"));
        }
        weights = weights.map(|w| rows.iter().map(|&row| w[row]).collect());
        folds = folds.map(|f| rows.iter().map(|&row| f[row]).collect());
        for (member, order) in members.iter_mut().zip(orders) {
            let wanted: Vec<usize> = rows.iter().filter_map(|&row| order[row]).collect();
            gather(&mut member.values, member.names.len(), &wanted);
        }
        if rows.len() < truth.rows() {
            let width = truth.names.len();
            gather(&mut truth.values, width, &rows);
        }
        let one_hot = if reading.samples {
            repeat(&mut truth, &mut members)?;
            false
        } else {
            expand(&mut truth, &mut members, &classes, &mut notes)?
        };
        // What a member calls its only column does not matter.
        members.iter_mut().filter(|m| m.names.len() == 1 && truth.names.len() == 1).for_each(|member| {
            member.names.clone_from(&truth.names);
        });
        let mut set = Self::empty(truth.table(&layout)?);
        for member in members {
            let name = member.name.clone();
            set.push(name, member.table(&layout)?)?;
        }
        Ok(Self { classes, one_hot, weights, folds, notes, warnings, ..set })
    }
}

/// Turns labels into a column a class where the members have one. False where truth and members have the same columns.
fn expand(truth: &mut Loaded, members: &mut [Loaded], classes: &[String], notes: &mut Vec<String>) -> Result<bool> {
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
fn repeat(truth: &mut Loaded, members: &mut [Loaded]) -> Result<()> {
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
fn gather(values: &mut Vec<f64>, width: usize, rows: &[usize]) {
    if rows.len() * width == values.len() && rows.iter().enumerate().all(|(i, &row)| i == row) {
        return;
    }
    *values = rows.iter().flat_map(|&row| values[row * width..(row + 1) * width].iter().copied()).collect();
}

fn lacking(reading: &Reading, truth: &Loaded, row: usize, column: &str) -> Result<()> {
    if reading.mask {
        return Ok(());
    }
    let shown = truth.ids.as_ref().map_or(String::new(), |ids| format!(" (`{}`)", ids.shown(row)));
    let problem = format!("row {row}{shown}, column `{column}`: the target is missing");
    Err(Error::input(&truth.path, problem).hint("leave such rows out with `--mask-missing`"))
}

fn file(content: &Content) -> Option<&SubmissionFile> {
    if let Content::Table(file) = content { Some(file) } else { None }
}

/// Settles the column of the ids for all tables at once.
fn name_ids(
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
fn candidates(file: &SubmissionFile, reading: &Reading) -> Vec<String> {
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

/// The truth as read, before rows are matched.
struct Truth {
    loaded: Loaded,
    classes: Vec<String>,
    weights: Option<Vec<f64>>,
    folds: Option<Vec<usize>>,
    layout: Layout,
}

impl Truth {
    fn read(path: &Path, content: Content, members: &[&SubmissionFile], reading: &Reading) -> Result<Self> {
        let name = String::from("truth");
        let file = match content {
            Content::Table(file) => file,
            other => {
                if !reading.targets.is_empty() || reading.weight.is_some() || reading.fold.is_some() {
                    return Err(Error::input(path, "holds an array, whose columns have no names")
                        .hint("`--target`, `--sample-weight` and `--fold-column` need a csv or parquet file"));
                }
                let (loaded, layout) = array(name, path, other)?;
                return Ok(Self { loaded, classes: vec![], weights: None, folds: None, layout });
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
        let numbers = |role: &Option<String>| -> Result<Option<Vec<f64>>> {
            role.as_ref().map(|name| file.read(&[name]).map(|mut columns| columns.remove(0))).transpose()
        };
        let weights = numbers(&reading.weight)?;
        if let (Some(weights), Some(name)) = (&weights, &reading.weight)
            && let Some(row) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0))
        {
            let problem = format!("row {row}, column `{name}`: the weight is {}, expected 0 or more", weights[row]);
            return Err(Error::input(path, problem));
        }
        let folds = numbers(&reading.fold)?.map(|folds| numbered(&folds));
        let values = interleaved(columns);
        let ids = file.has_ids().then(|| file.ids().clone());
        let loaded = Loaded { path: path.into(), name, values, names: targets, ids };
        Ok(Self { loaded, classes, weights, folds, layout: Layout::default() })
    }
}

/// The columns of the truth that are predicted: those that were named, the only one, or those that all members have.
fn targets(file: &SubmissionFile, members: &[&SubmissionFile], reading: &Reading) -> Result<Vec<String>> {
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
fn in_order(path: &Path, target: &str, texts: &[String], given: &[String]) -> Result<Vec<String>> {
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
        Some(label) => Err(Error::input(path, format!("column `{target}` holds `{label}`, which `--classes` lacks"))),
        None => Ok(given.to_vec()),
    }
}

/// Labels as positions in the classes; an empty text is a missing label.
fn positions(path: &Path, column: &str, texts: &[String], classes: &[String]) -> Result<Vec<f64>> {
    let place: std::collections::HashMap<&str, f64> =
        classes.iter().enumerate().map(|(i, class)| (class.as_str(), i as f64)).collect();
    let position = |(row, text): (usize, &String)| match place.get(text.as_str()) {
        Some(&place) => Ok(place),
        None if text.is_empty() => Ok(f64::NAN),
        None => {
            let known = classes.iter().take(8).cloned().collect::<Vec<_>>().join("`, `");
            Err(Error::input(path, format!("row {row}, column `{column}`: `{text}` is none of the classes `{known}`")))
        }
    };
    texts.iter().enumerate().map(position).collect()
}

/// Folds 0, 1, 2, ... in the order of their numbers.
fn numbered(folds: &[f64]) -> Vec<usize> {
    let mut known: Vec<f64> = folds.to_vec();
    known.sort_by(f64::total_cmp);
    known.dedup();
    folds.iter().map(|fold| known.iter().position(|k| k.total_cmp(fold).is_eq()).unwrap_or(0)).collect()
}

fn interleaved(mut columns: Vec<Vec<f64>>) -> Vec<f64> {
    if columns.len() == 1 {
        return columns.remove(0);
    }
    let rows = columns.first().map_or(0, Vec::len);
    (0..rows).flat_map(|row| columns.iter().map(move |column| column[row])).collect()
}

fn array(name: String, path: &Path, content: Content) -> Result<(Loaded, Layout)> {
    let (values, names, ids, layout) = match content {
        Content::Array(values, columns, ids) => {
            let names = if columns == 1 { vec!["target".to_string()] } else { numbered_names(columns) };
            (values, names, ids.map(Ids::from), Layout::default())
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
        Content::Table(_) => return Err(Error::failed("a table is no array")),
    };
    Ok((Loaded { path: path.into(), name, values, names, ids }, layout))
}

fn numbered_names(columns: usize) -> Vec<String> {
    (0..columns).map(|c| format!("column_{c}")).collect()
}

/// Reads a member: the columns of the targets, else all of its numbers, else votes for classes.
fn member(
    name: String,
    path: &Path,
    content: Content,
    truth: &Loaded,
    classes: &[String],
    reading: &Reading,
) -> Result<Loaded> {
    let Content::Table(file) = content else { return Ok(array(name, path, content)?.0) };
    let ids = file.has_ids().then(|| file.ids().clone());
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
    let roles = [&reading.weight, &reading.fold];
    let free = |column: &&str| !roles.iter().any(|role| role.as_deref() == Some(*column));
    let numbers: Vec<&str> =
        file.numbers().into_iter().filter(|c| file.columns().iter().any(|v| v == c)).filter(free).collect();
    if numbers.is_empty() {
        let column = file.columns().first().cloned().unwrap_or_default();
        if let (Labels::Texts(votes), false) = (file.labels(&column)?, classes.is_empty()) {
            return Ok(voted(path.clone(), name, ids, &positions(&path, &column, &votes, classes)?, classes));
        }
        return Err(Error::input(&path, format!("column `{column}` holds texts, expected predictions")));
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

/// `proba_cat` for the class `cat`, where all columns share what stands in front.
fn ends_with_class(column: &str, class: &str, columns: &[&str]) -> bool {
    let Some(front) = column.strip_suffix(class) else { return false };
    !front.is_empty() && columns.iter().all(|other| other.starts_with(front))
}

/// Votes as certain probabilities.
fn voted(path: PathBuf, name: String, ids: Option<Ids>, votes: &[f64], classes: &[String]) -> Loaded {
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
fn widened(table: Loaded) -> Vec<Loaded> {
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

/// For every row of the truth its row in the member.
fn order(
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

/// The file's name without its ending, or its folder's name if the file is just called `oof`.
fn name_of(path: &Path) -> String {
    let full: PathBuf = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let name = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match full.parent().and_then(Path::file_name) {
        Some(folder) if stem == "oof" => folder.to_string_lossy().into_owned(),
        _ => stem,
    }
}

impl Table {
    /// The numbers of a table in memory.
    pub fn numbers(&self) -> Option<&[f64]> {
        if let Source::Loaded(_, values) = &self.source { Some(values) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        crate::durable::write(&path, text.as_bytes()).unwrap();
        path
    }

    fn open(folder: &Path, truth: &str, members: &[&str], reading: &Reading) -> Result<Set> {
        let truth = write(folder, "truth.csv", truth);
        let members: Vec<_> =
            members.iter().enumerate().map(|(k, text)| (None, write(folder, &format!("m{k}.csv"), text))).collect();
        Set::open(&truth, &members, reading, folder)
    }

    #[test]
    fn rows_are_matched_by_id_and_labels_by_class() {
        let folder = tempfile::tempdir().unwrap();
        let set = open(
            folder.path(),
            "id,animal,age\n7,cat,1\n8,dog,2\n9,cat,3\n",
            &["id,p_dog,p_cat\n9,0.1,0.9\n7,0.2,0.8\n8,0.7,0.3\n", "id,p_cat,p_dog\n7,0.5,0.5\n8,0.25,0.75\n9,1,0\n"],
            &Reading { targets: vec!["animal".into()], ..Reading::default() },
        )
        .unwrap();
        assert_eq!(set.classes, ["cat", "dog"]);
        assert_eq!(set.truth.numbers().unwrap(), [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
        assert_eq!(set.members[0].table.numbers().unwrap(), [0.8, 0.2, 0.3, 0.7, 0.9, 0.1]);
        assert_eq!(set.members[1].table.numbers().unwrap(), [0.5, 0.5, 0.25, 0.75, 1.0, 0.0]);
        assert!(set.notes.iter().any(|note| note.contains("aligned by id")), "{:?}", set.notes);
    }

    #[test]
    fn rows_that_a_member_lacks_are_refused_or_masked_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (truth, members) = ("id,y\n1,1\n2,2\n3,3\n4,4\n", ["id,y\n1,1\n2,\n3,3\n", "id,y\n1,1\n2,2\n3,3\n4,4\n"]);
        let error = open(folder.path(), truth, &members, &Reading::default()).unwrap_err();
        assert!(error.to_string().contains("lacks the id `4`, row 3"), "{error}");
        assert!(error.hint_text().unwrap().contains("--mask-missing"));
        let set = open(folder.path(), truth, &members, &Reading { mask: true, ..Reading::default() }).unwrap();
        assert_eq!(set.truth.numbers().unwrap(), [1.0, 3.0]);
        assert!(set.warnings.iter().any(|w| w == "2 of 4 rows are left out"), "{:?}", set.warnings);
    }

    #[test]
    fn files_without_ids_go_by_place_and_mixtures_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let set = open(folder.path(), "y\n1\n2\n", &["p\n1\n2\n"], &Reading::default()).unwrap();
        assert!(set.notes.iter().any(|note| note.contains("by their place")));
        let error = open(folder.path(), "id,y\n5,1\n6,2\n", &["p\n1\n2\n"], &Reading::default()).unwrap_err();
        assert!(error.to_string().contains("has no ids") && error.hint_text().unwrap().contains("--by-position"));
    }

    #[test]
    fn a_wide_table_is_a_member_a_column() {
        let folder = tempfile::tempdir().unwrap();
        let set = open(folder.path(), "id,y\n5,1\n6,2\n", &["id,a,b\n6,4,5\n5,2,3\n"], &Reading::default()).unwrap();
        let names: Vec<&str> = set.members.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(set.members[1].table.numbers().unwrap(), [3.0, 5.0]);
    }

    #[test]
    fn numbered_classes_go_by_the_names_of_their_columns() {
        let folder = tempfile::tempdir().unwrap();
        let members = [
            "id,c0,c1,c2\n1,0.5,0.3,0.2\n2,0.1,0.2,0.7\n3,0.3,0.4,0.3\n",
            "id,c2,c1,c0\n1,0.2,0.3,0.5\n2,0.7,0.2,0.1\n3,0.3,0.4,0.3\n",
        ];
        let set = open(folder.path(), "id,y\n1,0\n2,2\n3,1\n", &members, &Reading::default()).unwrap();
        assert!(set.one_hot);
        assert_eq!(set.truth.numbers().unwrap(), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(set.members[0].table.numbers(), set.members[1].table.numbers());
        let error = open(folder.path(), "id,y\n1,0\n2,1\n3,1\n", &members, &Reading::default()).unwrap_err();
        assert!(error.to_string().contains("has 3 columns") && error.to_string().contains("2 classes"), "{error}");
    }

    #[test]
    fn what_a_member_calls_its_only_column_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let set = open(folder.path(), "id,y\n5,1\n6,2\n", &["id,p\n6,4\n5,2\n"], &Reading::default()).unwrap();
        assert!(set.members[0].table.in_space_of(&set.truth).is_ok());
    }

    #[test]
    fn a_truth_of_many_columns_asks_which_is_the_target() {
        let folder = tempfile::tempdir().unwrap();
        let error = open(folder.path(), "id,a,b\n5,1,1\n", &["id,p\n5,1\n"], &Reading::default()).unwrap_err();
        assert!(error.to_string().contains("which of its columns is predicted: `a`, `b`"), "{error}");
        assert!(error.hint_text().unwrap().contains("--target"));
    }
}
