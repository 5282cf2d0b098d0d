//! `submission.csv`: the angles of the events of a sample file, in its order.

use std::fmt::Write;
use std::path::Path;

use common::durable::{self, Written};
use common::store::tables::read_parquet;
use common::{Error, Result};

use crate::angles;

/// Event ids of a sample submission, in its order: a parquet file, or a csv file with a header.
///
/// # Errors
/// [`Error::Input`] when an id appears twice, or is no whole number.
pub fn sample_ids(path: &Path) -> Result<Vec<i64>> {
    let ids = match path.extension().and_then(|e| e.to_str()) {
        Some("csv") => {
            let text = std::fs::read_to_string(path).map_err(|e| Error::opening(path, e))?;
            let mut lines = text.lines();
            let header = lines.next().unwrap_or_default();
            if header.split(',').next() != Some("event_id") {
                return Err(Error::input(path, format!("begins with `{header}`, expected a first column `event_id`")));
            }
            let id = |(row, line): (usize, &str)| {
                let text = line.split(',').next().unwrap_or_default();
                text.parse().map_err(|_| Error::input(path, format!("row {row}: event_id `{text}` is no whole number")))
            };
            lines.enumerate().map(id).collect::<Result<Vec<i64>>>()?
        }
        _ => read_parquet(path, Some(&["event_id"]))?.i64("event_id")?.to_vec(),
    };
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(Error::input(path, format!("event {} is there twice", twice[0]))),
        None => Ok(ids),
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
