//! A truth and its members from files of any kind: rows matched by id, labels turned into numbers, holes masked.

mod members;
mod rows;
mod truth;

use std::path::{Path, PathBuf};

use super::foreign::{Content, Reading};
use super::{Source, Table};
use crate::error::{Error, Result};
use crate::submission::SubmissionFile;
use members::{member, name_of, numbers, widened};
use rows::{Loaded, expand, file, gather, lacking, matching_bytes, name_ids, order, repeat, same_rows};
use truth::Truth;

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
    /// Bytes that reading took beside truth and members, at most.
    pub reading_bytes: u64,
}

/// What lists of rows take while the members are read, in bytes a row.
const ROW: u64 = 24;

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
            reading_bytes: 0,
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
        let mut notes = vec![];
        name_ids(truth, &mut content, &mut contents, reading, &mut notes)?;
        // Before anything is read: a number of the truth and of every member in each row is the least there will be.
        let least = 8 * file(&content).map_or(0, SubmissionFile::rows) as u64 * (1 + contents.len() as u64);
        if let Some(free) = crate::memory::available_bytes().filter(|free| *free < least) {
            let (least, free) = (least >> 20, free >> 20);
            tracing::warn!("truth and members take {least} MiB of memory and more, {free} MiB are free");
        }
        let shared: Vec<&SubmissionFile> = contents.iter().filter_map(|(_, _, c)| file(c)).collect();
        if let (Some(table), false) = (file(&content), reading.by_position) {
            shared.iter().try_for_each(|member| same_rows(table, member, reading))?;
        }
        let read = Truth::read(truth, content, &shared, reading)?;
        let Truth { loaded: mut truth, classes, mut weights, mut folds, ignored, layout } = read;

        // A table with the target and several other numbers is one of members beside their truth.
        let beside = |content: &Content| match (file(content), truth.names.as_slice()) {
            (Some(table), [target]) => table.has(target) && numbers(table, reading).len() > 2,
            _ => false,
        };
        let mut reading = reading.clone();
        if let [(_, _, only)] = contents.as_slice()
            && classes.is_empty()
            && !reading.samples
        {
            reading.wide |= beside(only);
        }
        let reading = &reading;
        let mut members: Vec<Loaded> = vec![];
        let mut warnings = vec![];
        let mut matching = 0;
        for (name, path, content) in contents {
            let name = name.unwrap_or_else(|| name_of(&path));
            let mut member = member(name, &path, content, &truth, &classes, reading, &mut notes)?;
            // Ids weigh as much as several columns: of one member at a time.
            let places = order(&truth, &member, reading, &mut warnings, &mut notes)?;
            matching = matching_bytes(&truth, &member).max(matching);
            member.align(&places);
            members.push(member);
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
        let mut masked = vec![false; truth.rows()];
        ignored.iter().for_each(|&row| masked[row] = true);
        if !ignored.is_empty() {
            let (count, path) = (ignored.len(), truth.path.display());
            notes.push(format!("{count} rows of `{path}` are `Ignored` and left out"));
        }
        // A truth that is missing cannot be predicted; a member that lacks a row cannot be blended there.
        for (row, masked) in masked.iter_mut().enumerate().filter(|(_, masked)| !**masked) {
            let here = &truth.values[row * truth.names.len()..(row + 1) * truth.names.len()];
            if let Some(c) = here.iter().position(|v| v.is_nan()) {
                lacking(reading, &truth, row, &truth.names[c])?;
                *masked = true;
            }
        }
        let unknown = masked.iter().filter(|m| **m).count() - ignored.len();
        if unknown > 0 {
            warnings.push(format!("`{}`: {unknown} rows without a target are left out", truth.path.display()));
        }
        for member in &members {
            let mut count = 0;
            let rows = member.values.chunks_exact(member.names.len()).enumerate();
            for (row, values) in rows.filter(|(row, _)| ignored.binary_search(row).is_err()) {
                if let Some(what) = values.iter().position(|v| v.is_nan()).map(|c| &member.names[c]) {
                    if !reading.mask {
                        let problem = format!("row {row}{}, column `{what}`: the value is missing", truth.id(row));
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
        if rows.len() + ignored.len() < truth.rows() {
            warnings.push(format!("{} of {} rows are left out", truth.rows() - rows.len(), truth.rows()));
        }
        if rows.is_empty() {
            return Err(Error::input(&truth.path, "no row has a target and predictions of all members")
                .hint("leave members out that lack most rows"));
        }
        weights = weights.map(|w| rows.iter().map(|&row| w[row]).collect());
        folds = folds.map(|f| rows.iter().map(|&row| f[row]).collect());
        if rows.len() < truth.rows() {
            members.iter_mut().for_each(|member| gather(&mut member.values, member.names.len(), &rows));
            let width = truth.names.len();
            gather(&mut truth.values, width, &rows);
        }
        for (k, member) in members.iter().enumerate() {
            if let Some(twin) = members[..k].iter().find(|other| other.values == member.values) {
                warnings.push(format!("`{}` predicts in every row what `{}` predicts", member.name, twin.name));
            }
        }
        for member in members.iter().filter(|m| m.values == truth.values && truth.rows() > 1) {
            let name = &member.name;
            warnings.push(format!("`{name}` predicts every row exactly: is it the truth and no prediction?"));
        }
        let one_hot = if reading.samples {
            repeat(&mut truth, &mut members)?;
            false
        } else {
            expand(&mut truth, &mut members, &classes, &mut warnings, &mut notes)?
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
        let reading_bytes = ROW * rows.len() as u64 + matching;
        Ok(Self { classes, one_hot, weights, folds, notes, warnings, reading_bytes, ..set })
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
    fn rows_without_ids_that_other_columns_tell_apart_do_not_go_by_place() {
        let folder = tempfile::tempdir().unwrap();
        let (truth, member) = ("store,day,y\n1,1,5\n1,2,6\n2,1,7\n", "store,day,y\n1,1,5\n2,1,7\n1,2,6\n");
        let reading = Reading { targets: vec!["y".into()], ..Reading::default() };
        let error = open(folder.path(), truth, &[truth, member], &reading).unwrap_err();
        let said = "m1.csv`: has no ids, and its row 1 is another one than that of `";
        assert!(error.to_string().contains(said) && error.to_string().contains("`store` is 2, there 1"), "{error}");
        assert!(error.hint_text().unwrap().contains("--by-position"));
        assert!(open(folder.path(), truth, &[truth, truth], &reading).is_ok());
        let reading = Reading { by_position: true, ..reading };
        assert!(open(folder.path(), truth, &[truth, member], &reading).is_ok());
    }

    #[test]
    fn a_wide_table_is_a_member_a_column() {
        let folder = tempfile::tempdir().unwrap();
        let set = open(folder.path(), "id,y\n5,1\n6,2\n", &["id,a,b\n6,4,5\n5,2,3\n"], &Reading::default()).unwrap();
        let names: Vec<&str> = set.members.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(set.warnings.is_empty(), "{:?}", set.warnings);
        let twins = open(folder.path(), "id,y\n5,1\n6,2\n", &["id,a,b\n6,4,4\n5,2,2\n"], &Reading::default()).unwrap();
        assert_eq!(twins.warnings, ["`b` predicts in every row what `a` predicts"]);
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
        // Also where no member has them in order, or in numbers of another form.
        for other in [["c2", "c1", "c0"], ["2", "1", "0"], ["p_2.0", "p_1.0", "p_0.0"], ["x3", "x2", "x1"]] {
            let turned = format!("id,{}\n1,0.2,0.3,0.5\n2,0.7,0.2,0.1\n3,0.3,0.4,0.3\n", other.join(","));
            let found = open(folder.path(), "id,y\n1,0\n2,2\n3,1\n", &[&turned, &turned], &Reading::default()).unwrap();
            assert_eq!(found.members[1].table.numbers(), set.members[0].table.numbers(), "{other:?}");
            assert!(found.warnings.iter().all(|w| w.contains("predicts in every row")), "{:?}", found.warnings);
        }
        let named =
            ["id,Cat,Dog,Ant\n1,0.2,0.3,0.5\n2,0.7,0.2,0.1\n3,0.3,0.4,0.3\n", "id,u,v,w\n1,1,0,0\n2,0,1,0\n3,0,0,1\n"];
        let set = open(folder.path(), "id,y\n1,ant\n2,cat\n3,dog\n", &named, &Reading::default()).unwrap();
        assert_eq!(set.members[0].table.numbers().unwrap()[..3], [0.5, 0.2, 0.3]);
        assert!(set.warnings[0].starts_with("the columns `u`, `v`, `w` of `"), "{:?}", set.warnings);
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
