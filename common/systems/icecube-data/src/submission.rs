//! `submission.csv`: the angles of the events of a sample file, in its order.
//!
//! The sample is the file that `--sample` names, or else the one that `prepare-data` keeps beside the events, or else the
//! events themselves ascending.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use common::durable::{self, Written};
use common::stage::Manifest;
use common::store::tables::{ColumnKind, read_csv, read_parquet};
use common::{Error, Result};

use crate::{angles, directions};

/// Event ids of a sample submission, in its order: a parquet file, or a csv file with a header.
///
/// # Errors
/// [`Error::Input`] when an id appears twice, or is no whole number.
pub fn sample_ids(path: &Path) -> Result<Vec<i64>> {
    let table = if directions::is_csv(path) {
        read_csv(path, &[("event_id", ColumnKind::I64)])?
    } else {
        read_parquet(path, Some(&["event_id"]))?
    };
    let ids = table.whole("event_id")?.into_owned();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(Error::input(path, format!("event {} is there twice", twice[0]))),
        None => Ok(ids),
    }
}

/// The rows that a submission is to have.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The file.
    pub path: PathBuf,
    /// Its events, in order.
    pub ids: Vec<i64>,
    /// Whether it lay beside the events and nobody named it.
    pub stored: bool,
}

impl Sample {
    /// A file that was named.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self { ids: sample_ids(path)?, path: path.to_path_buf(), stored: false })
    }

    /// The sample that a `prepare-data` stage keeps, if it does.
    pub fn of_stage(prepared: &Manifest) -> Result<Option<Self>> {
        if !prepared.outputs.contains_key("sample_submission") {
            return Ok(None);
        }
        let path = prepared.output("sample_submission")?;
        Ok(Some(Self { ids: sample_ids(&path)?, path, stored: true }))
    }

    /// The rows of the submission of `predicted` events (ascending), where `limited` says that others were left out on
    /// purpose.
    ///
    /// # Errors
    /// [`Error::Input`] where a sample that was named asks for none of them: it is that of other events.
    pub fn rows(&self, predicted: &[i64], limited: bool) -> Result<Vec<i64>> {
        let known = |id: &&i64| predicted.binary_search(id).is_ok();
        if !self.ids.iter().any(|id| known(&id)) {
            let (first, ours) = (self.ids.first().copied().unwrap_or(0), predicted.first().copied().unwrap_or(0));
            let problem =
                format!("asks for none of the predicted events: its first is {first}, the first predicted one {ours}");
            if !self.stored {
                return Err(
                    Error::input(&self.path, problem).hint("name the sample submission of the same test events")
                );
            }
            if !limited {
                tracing::warn!("`{}` {problem}; the rows are the predicted events ascending", self.path.display());
            }
            return Ok(predicted.to_vec());
        }
        Ok(if self.stored && limited { self.ids.iter().filter(known).copied().collect() } else { self.ids.clone() })
    }
}

/// What became of the events of a sample.
#[derive(Debug, Clone, Copy)]
pub struct Joined {
    /// Events of the sample without a prediction, which get 0.0, 0.0.
    pub missing: usize,
    /// Predicted events that the sample does not ask for.
    pub surplus: usize,
}

/// Writes the angles of `ids` in that order, each with the fewest digits that give the same f32 back. Events without a
/// prediction get 0.0, as published. `known` are the predicted events, ascending, with their vectors.
///
/// # Errors
/// Those of writing.
pub fn write_submission(
    (known, vectors): (&[i64], &[[f32; 3]]),
    ids: &[i64],
    path: &Path,
) -> Result<(Written, Joined)> {
    let mut text = String::with_capacity(ids.len() * 32 + 32);
    text.push_str("event_id,azimuth,zenith\n");
    let mut found = 0;
    for id in ids {
        let [azimuth, zenith] = match known.binary_search(id) {
            Ok(row) => {
                found += 1;
                angles::angles(vectors[row])
            }
            Err(_) => [0.0, 0.0],
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{id},{azimuth:?},{zenith:?}");
    }
    let joined = Joined { missing: ids.len() - found, surplus: known.len() - found };
    Ok((durable::write(path, text.as_bytes())?, joined))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_gives_the_rows_and_one_of_other_events_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.csv");
        durable::write(&path, b"\xef\xbb\xbf\"event_id\",azimuth\r\n12,1.0\r\n10,1.0\r\n\r\n").unwrap();
        let named = Sample::read(&path).unwrap();
        assert_eq!(named.ids, [12, 10]);
        assert_eq!(named.rows(&[10, 11, 12], false).unwrap(), [12, 10]);
        assert_eq!(named.rows(&[10, 11], true).unwrap(), [12, 10]);
        let error = named.rows(&[1, 2], false).unwrap_err().to_string();
        assert!(error.contains("asks for none of the predicted events: its first is 12"), "{error}");
        let stored = Sample { stored: true, ..named };
        assert_eq!(stored.rows(&[10, 11], true).unwrap(), [10]);
        assert_eq!(stored.rows(&[1, 2], false).unwrap(), [1, 2]);
    }
}
