//! What is handed in: the tracks of events, `event_id,hit_id,track_id`.

use std::collections::HashMap;
use std::path::Path;

use common::{Error, Result};

use crate::csv::{Kind, Table};
use crate::event::Places;

/// Tracks found in one event: a number for each of its hits, in the order of `hit_id`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submission {
    /// The hits.
    pub hit_id: Vec<i32>,
    /// Their tracks, >= 0.
    pub track_id: Vec<i64>,
}

/// Submissions of a file: events with their tracks, in the order of their first rows.
pub fn read_submission(path: &Path) -> Result<Vec<(i64, Submission)>> {
    let columns = [("event_id", Kind::I64, false), ("hit_id", Kind::I32, true), ("track_id", Kind::I64, true)];
    let mut table = Table::read_optional(path, &columns)?;
    let named = table.has(0);
    let events = if named { table.i64(0)? } else { vec![-1; table.rows()] };
    let (hits, tracks) = (table.i32(1)?, table.i64(2)?);
    if named && let Some(row) = events.iter().position(|event| *event < 0) {
        let problem = format!("line {}: `event_id` is {}, expected a number >= 0", row + 2, events[row]);
        return Err(Error::input(path, problem));
    }
    let mut found: Vec<(i64, Submission)> = Vec::new();
    let mut at: HashMap<i64, usize> = HashMap::new();
    for (row, ((event, hit), track)) in events.into_iter().zip(hits).zip(tracks).enumerate() {
        if track < 0 {
            let problem = format!("line {}: `track_id` is {track}, expected a number >= 0", row + 2);
            return Err(Error::input(path, problem).hint("0 marks hits without a track"));
        }
        let place = *at.entry(event).or_insert_with(|| {
            found.push((event, Submission::default()));
            found.len() - 1
        });
        found[place].1.hit_id.push(hit);
        found[place].1.track_id.push(track);
    }
    for (event, submission) in &found {
        Places::of(&submission.hit_id, path).map_err(|_| duplicate(path, *event, submission))?;
    }
    Ok(found)
}

fn duplicate(path: &Path, event: i64, submission: &Submission) -> Error {
    let mut seen = std::collections::HashSet::new();
    let hit = submission.hit_id.iter().find(|hit| !seen.insert(**hit)).copied().unwrap_or_default();
    if event < 0 {
        let problem = format!("hit {hit} has two rows, and no column `event_id` tells events apart");
        return Error::input(path, problem).hint("the header is `event_id,hit_id,track_id`");
    }
    Error::input(path, format!("event {event}: hit {hit} has two rows, expected one"))
}
