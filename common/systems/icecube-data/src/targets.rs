//! What may be known of an event beside its direction: energy, vertex, and whether it is a track.

use common::Result;
use common::store::tables::Table;

/// Energy in GeV, vertex in metres (x, y, z), 1 for a track and 0 for a cascade; NaN: not known.
pub type Extra = [f32; 5];

/// Nothing is known.
pub const UNKNOWN: Extra = [f32::NAN; 5];

/// Names of the columns in the competition's meta files where they have them, as simulated ones do, and in tables of truths.
pub const COLUMNS: [&str; 5] = ["energy", "vertex_x", "vertex_y", "vertex_z", "kind"];

/// What a table says of its rows; `None` where it has none of the columns.
pub fn of_table(table: &Table) -> Result<Option<Vec<Extra>>> {
    let has = |name: &str| table.names().iter().any(|known| known == name);
    if !COLUMNS.iter().any(|name| has(name)) {
        return Ok(None);
    }
    let mut all = vec![UNKNOWN; table.rows()];
    for (place, name) in COLUMNS.iter().enumerate().take(4).filter(|(_, name)| has(name)) {
        all.iter_mut().zip(table.numbers(name)?.iter()).for_each(|(extra, value)| extra[place] = *value as f32);
    }
    if has("kind") {
        all.iter_mut().zip(table.texts("kind")?).for_each(|(extra, kind)| extra[4] = track(kind));
    }
    Ok(Some(all))
}

fn track(kind: &str) -> f32 {
    match kind {
        "track" => 1.0,
        "cascade" => 0.0,
        _ => f32::NAN,
    }
}

/// Whether a neutrino of this PDG code leaves a track under this interaction (1: charged current), or a muon is one itself.
pub fn is_track(code: i64, interaction: i64) -> f32 {
    f32::from(u8::from(code.abs() == 13 || code.abs() == 14 && interaction == 1))
}
