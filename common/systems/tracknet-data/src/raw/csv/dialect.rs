//! Files that are not written as TrackML's are: quotes, semicolons with commas in the numbers, tabs, spaces behind commas,
//! UTF-16, lines that end with a carriage return alone. They are rewritten as plain ones, so that one reader serves all.

use std::path::Path;

use common::store::tables::CsvText;
use common::{Error, Result};

/// Lines that show how a file is written.
const SHOWN: usize = 2;

/// Whether a text is written as TrackML's: commas and numbers, as its first lines show.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    let other = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_end();
        line.iter().any(|b| matches!(b, b'"' | b';' | b'\t' | b' ' | b'\r' | 0))
    };
    let wide = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    let packed = bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"BZh") || bytes.starts_with(b"PAR1");
    !wide && !packed && !bytes.split(|&b| b == b'\n').take(SHOWN).any(other)
}

/// The same rows with commas and nothing else between plain numbers.
///
/// # Errors
/// [`Error::Input`] for what is no csv, and for a field whose quote has no end, with its line.
pub(super) fn plain(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let text = CsvText::of_bytes(path, bytes)?;
    let mut rewritten = text.header().join(",").into_bytes();
    rewritten.push(b'\n');
    let rows = text.bytes().get(text.begin()..).unwrap_or_default();
    for (number, line) in (text.first_line()..).zip(rows.split(|&b| b == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        for (place, field) in text.fields(line).enumerate() {
            let field = field.map_err(|problem| Error::input(path, format!("line {number}: {problem}")))?;
            if place > 0 {
                rewritten.push(b',');
            }
            rewritten.extend_from_slice(text.number(&field).trim_ascii());
        }
        rewritten.push(b'\n');
    }
    Ok(rewritten)
}
