//! From network outputs to the competition's file.
//!
//! Networks predict normalised, weighted targets in training order; the file holds physical values in the order of
//! `sample_submission.csv`. 60 columns are always zero, 16 follow from the input by arithmetic in double precision
//! (`ptend_q0002_12..27 = -state_q0002 / 1200`), the rest is `(p * std + mean) / weight`, 0 where the weight is 0.

use std::path::Path;

use common::submission::{Ids, Submission, SubmissionFile, SubmissionWriter, same_ids};
use common::{Error, Result};

use crate::columns::{TARGETS, always_zero, linear, submission, submission_to_train_targets};
use crate::norm::Constants;

/// Name of the competition, for the line that submits.
pub const COMPETITION: &str = "leap-atmospheric-physics-ai-climsim";
/// Name of the column of ids.
pub const ID: &str = "sample_id";

/// Where the value of a submission column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Zero,
    /// Column of the linear table.
    Linear(usize),
    Network,
}

/// How normalised predictions become submission columns.
#[derive(Debug, Clone)]
pub struct Recipe<'a> {
    constants: &'a Constants,
    /// By training order.
    origins: Vec<Origin>,
}

impl<'a> Recipe<'a> {
    /// The published rule with the constants that the network was trained on. `zero_list` (training order) names
    /// further columns to be 0, those that scored worse than zero in validation; ADAM's published files ignore it.
    pub fn new(constants: &'a Constants, zero_list: &[usize]) -> Self {
        let mut origins = vec![Origin::Network; TARGETS];
        for &c in zero_list.iter().chain(always_zero()).filter(|&&c| c < TARGETS) {
            origins[c] = Origin::Zero;
        }
        for (place, c) in linear().enumerate() {
            origins[c] = Origin::Linear(place);
        }
        Self { constants, origins }
    }

    /// Submission columns of some rows. `predictions` are [rows, 368], normalised, in training order; `linear_table`
    /// is [rows, 16 or more] and begins with `ptend_q0002_12..27`.
    ///
    /// # Errors
    /// [`Error::Failed`] where the two do not have the same number of whole rows.
    pub fn columns(&self, predictions: &[f32], linear_table: &[f64]) -> Result<Vec<Vec<f64>>> {
        let rows = predictions.len() / TARGETS;
        let width = linear_table.len().checked_div(rows).unwrap_or(linear().len());
        if predictions.len() != rows * TARGETS || linear_table.len() != rows * width || width < linear().len() {
            return Err(Error::failed(format!(
                "{} predictions and {} linear values are no rows of {TARGETS} and at least {}",
                predictions.len(),
                linear_table.len(),
                linear().len()
            )));
        }
        let column = |&c: &usize| -> Vec<f64> {
            match self.origins[c] {
                Origin::Zero => vec![0.0; rows],
                Origin::Linear(place) => linear_table.iter().skip(place).step_by(width).copied().collect(),
                Origin::Network => {
                    let values = predictions.iter().skip(c).step_by(TARGETS);
                    values.map(|&p| self.constants.physical_target(c, f64::from(p))).collect()
                }
            }
        };
        Ok(submission_to_train_targets().iter().map(column).collect())
    }
}

/// The ids of test rows, as Kaggle writes them.
pub fn ids(numbers: &[i32]) -> Vec<String> {
    numbers.iter().map(|n| format!("test_{n}")).collect()
}

/// Compares a sample submission (csv or parquet) with the test set: its header must be the 368 targets in submission
/// order, its ids those of the test rows in their order. `test` names the test set in messages.
///
/// Upstream writes by row position and compares nothing.
pub fn check_sample(sample: &Path, scratch: &Path, test_ids: &[String], test: &Path) -> Result<()> {
    let file = SubmissionFile::open(sample, scratch)?;
    if file.id() != ID {
        return Err(Error::input(sample, format!("the first column is `{}`, expected `{ID}`", file.id())));
    }
    let expected = submission();
    for (place, name) in expected.iter().enumerate() {
        match file.columns().get(place) {
            Some(found) if found == name => {}
            Some(found) => {
                let problem = format!("column {} is `{found}`, expected `{name}`", place + 1);
                return Err(Error::input(sample, problem));
            }
            None => return Err(Error::input(sample, format!("lacks the column `{name}`"))),
        }
    }
    if let Some(extra) = file.columns().get(expected.len()) {
        return Err(Error::input(sample, format!("has the surplus column `{extra}`")));
    }
    same_ids(&Ids::from(test_ids.to_vec()), test, file.ids(), sample)
}

/// Writes a submission while predictions come in, block by block.
pub struct Writer<'a> {
    recipe: Recipe<'a>,
    writer: SubmissionWriter,
}

impl<'a> Writer<'a> {
    /// Opens `NAME.parquet` (and `NAME.csv`) in `folder` for rows with these ids.
    pub fn create(folder: &Path, name: &str, recipe: Recipe<'a>, ids: Vec<String>, csv: bool) -> Result<Self> {
        let columns: Vec<String> = submission().iter().map(ToString::to_string).collect();
        Ok(Self { recipe, writer: SubmissionWriter::create(folder, name, ID, ids, &columns, csv)? })
    }

    /// Appends the next rows: see [`Recipe::columns`].
    ///
    /// # Errors
    /// [`Error::Failed`] with id and column of the first value that is not finite.
    pub fn append(&mut self, predictions: &[f32], linear_table: &[f64]) -> Result<()> {
        self.writer.append(self.recipe.columns(predictions, linear_table)?)
    }

    /// The same with something done to the columns before they are written.
    pub fn append_changed(
        &mut self,
        predictions: &[f32],
        linear_table: &[f64],
        change: impl FnOnce(&mut [Vec<f64>]),
    ) -> Result<()> {
        let mut columns = self.recipe.columns(predictions, linear_table)?;
        change(&mut columns);
        self.writer.append(columns)
    }

    /// Publishes the files. Print [`Submission::summary`] with [`COMPETITION`] for the user.
    pub fn finish(self) -> Result<Submission> {
        self.writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{target_position, train_targets};
    use crate::norm::Chain;

    fn values(rows: usize) -> (Vec<f32>, Vec<f64>) {
        let predictions = (0..rows * TARGETS).map(|i| ((i * 37 % 101) as f32 - 50.0) / 20.0).collect();
        let table = (0..rows * 17).map(|i| -1e-9 * (i as f64 + 1.0) / 3.0).collect();
        (predictions, table)
    }

    #[test]
    fn every_column_has_the_value_of_its_rule() {
        let constants = Constants::published(Chain::A).unwrap();
        let zero_list = [target_position("ptend_t_3").unwrap()];
        let (predictions, table) = values(3);
        let columns = Recipe::new(constants, &zero_list).columns(&predictions, &table).unwrap();
        for (place, name) in submission().iter().enumerate() {
            let c = target_position(name).unwrap();
            for row in 0..3 {
                let p = f64::from(predictions[row * TARGETS + c]);
                let level: usize = name.rsplit('_').next().and_then(|l| l.parse().ok()).unwrap_or(99);
                let expected = match *name {
                    "ptend_t_3" => 0.0,
                    n if n.starts_with("ptend_q0002_") && (12..28).contains(&level) => table[row * 17 + level - 12],
                    n if !n.starts_with("ptend_t_") && level < 12 => 0.0,
                    _ => (p * constants.target_std[c] + constants.target_mean[c]) / constants.weight[c],
                };
                assert_eq!(columns[place][row], expected, "{name}");
            }
        }
    }

    #[test]
    fn blocks_of_rows_give_the_same_file_as_all_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let constants = Constants::published(Chain::B).unwrap();
        let (predictions, table) = values(5);
        let test_ids = ids(&[3, 1, 4, 15, 9]);
        let write = |name: &str, block: usize| {
            let recipe = Recipe::new(constants, &[]);
            let mut writer = Writer::create(folder.path(), name, recipe, test_ids.clone(), true).unwrap();
            for (p, l) in predictions.chunks(block * TARGETS).zip(table.chunks(block * 17)) {
                writer.append(p, l).unwrap();
            }
            writer.finish().unwrap()
        };
        let (one, two) = (write("one", 5), write("two", 2));
        assert_eq!(one.csv.unwrap().blake3, two.csv.unwrap().blake3);
        let file = SubmissionFile::open(&two.parquet.path, folder.path()).unwrap();
        assert_eq!(file.ids(), &Ids::from(test_ids.clone()));
        assert_eq!(
            file.read(&["cam_out_SOLL"]).unwrap(),
            SubmissionFile::open(&one.parquet.path, folder.path()).unwrap().read(&["cam_out_SOLL"]).unwrap()
        );
        check_sample(&one.parquet.path, folder.path(), &test_ids, Path::new("test.csv")).unwrap();
    }

    #[test]
    fn a_sample_of_another_test_set_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.csv");
        let write = |names: &[&str], rows: &[&str]| {
            let values = ",0".repeat(names.len());
            let lines: String = rows.iter().map(|id| format!("{id}{values}\n")).collect();
            common::durable::write(&path, format!("sample_id,{}\n{lines}", names.join(",")).as_bytes()).unwrap();
        };
        let problem = || {
            let checked = check_sample(&path, folder.path(), &ids(&[0, 1]), Path::new("test.csv"));
            checked.unwrap_err().to_string()
        };
        write(train_targets(), &["test_0", "test_1"]);
        assert!(problem().ends_with("column 1 is `cam_out_NETSW`, expected `ptend_t_0`"), "{}", problem());
        write(submission(), &["test_1", "test_0"]);
        assert!(problem().ends_with("row 0: the id is `test_1`, in `test.csv` it is `test_0`"), "{}", problem());
        write(submission(), &["test_0"]);
        assert!(problem().ends_with("lacks the id `test_1`, row 1 of `test.csv`"), "{}", problem());
        write(&submission()[..367], &["test_0", "test_1"]);
        assert!(problem().ends_with("lacks the column `cam_out_SOLLD`"), "{}", problem());
    }

    #[test]
    fn a_diverged_network_is_noticed_before_the_file_appears() {
        let folder = tempfile::tempdir().unwrap();
        let (mut predictions, table) = values(2);
        predictions[TARGETS] = f32::NAN;
        let recipe = Recipe::new(Constants::published(Chain::A).unwrap(), &[]);
        let mut writer = Writer::create(folder.path(), "s", recipe, ids(&[7, 8]), true).unwrap();
        let error = writer.append(&predictions, &table).unwrap_err().to_string();
        assert!(error.ends_with("row 1 (`test_8`), column `cam_out_NETSW`: NaN is not finite"), "{error}");
        assert!(writer.append(&predictions[..TARGETS], &table[..12]).is_err());
        drop(writer);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
