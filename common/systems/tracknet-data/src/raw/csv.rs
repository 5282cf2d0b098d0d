//! Reading the comma-separated files of TrackML, plain or gzip, at the speed of memory. Files that other programs wrote
//! otherwise (quotes, semicolons, tabs, spaces, UTF-16) are rewritten in memory first ([`dialect`]).
//!
//! A file is read whole (15 MB an event at most) into a buffer that its thread keeps, and walked once, eight bytes at a
//! time (`number`); only the columns asked for are turned into numbers. A reader is told its columns by name; other
//! columns are skipped, their order is free.
//!
//! Why a reader of its own: the common one (`common::store::tables`, the `csv` crate) took 2.9 to 4.1 times as long for places of
//! hits in three rounds of `cargo bench --bench tracknet_events`, and reading is most of what preparing does.

mod dialect;

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::number::{ROOM, field_end, line_end, long, short};
use common::store::archive::{self, Archive};
use common::store::foreign;
use common::{Error, Result};

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 32-bit integer.
    I32,
    /// 64-bit integer, never passed through a float: particle ids exceed 2^53.
    I64,
    /// Parsed as f64, rounded to f32; must be finite.
    F32,
}

/// Values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// [`Kind::I32`].
    I32(Vec<i32>),
    /// [`Kind::I64`].
    I64(Vec<i64>),
    /// [`Kind::F32`].
    F32(Vec<f32>),
}

/// The columns that were asked for, in that order.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    columns: Vec<Option<Values>>,
    rows: usize,
}

impl Table {
    /// Reads `path`; `.gz` at its end means gzip.
    ///
    /// # Errors
    /// [`Error::Input`] for a missing file, column or value, a value of another type, a number that is not finite.
    pub fn read(path: &Path, columns: &[(&str, Kind)]) -> Result<Self> {
        let optional = columns.iter().map(|&(name, kind)| (name, kind, true)).collect::<Vec<_>>();
        Self::read_optional(path, &optional)
    }

    /// As [`Table::read`]; the third entry of a column says whether the file must have it.
    pub fn read_optional(path: &Path, columns: &[(&str, Kind, bool)]) -> Result<Self> {
        with_content(path, |bytes| {
            let Header { places, found, begin, rows: room } = Header::read(path, bytes, columns)?;
            let mut values: Vec<Values> = columns
                .iter()
                .map(|(_, kind, _)| match kind {
                    Kind::I32 => Values::I32(Vec::with_capacity(room)),
                    Kind::I64 => Values::I64(Vec::with_capacity(room)),
                    Kind::F32 => Values::F32(Vec::with_capacity(room)),
                })
                .collect();
            let rows = each_row(bytes, begin, |at, line| {
                row(bytes, at, &places, &mut values).map_err(|(place, problem)| {
                    let name = places[place].map_or("", |i| columns[i].0);
                    Error::input(path, format!("line {line}: column `{name}` {problem}"))
                })
            })?;
            let columns = values.into_iter().zip(found).map(|(v, found)| found.then_some(v)).collect();
            Ok(Self { path: path.to_path_buf(), columns, rows })
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the file has this column.
    pub fn has(&self, column: usize) -> bool {
        self.columns[column].is_some()
    }

    /// Takes the column at `column`, an [`Kind::I32`] one.
    pub fn i32(&mut self, column: usize) -> Result<Vec<i32>> {
        if let Some(Values::I32(v)) = self.columns[column].take() { Ok(v) } else { Err(self.mistaken(column)) }
    }

    /// Takes the column at `column`, an [`Kind::I64`] one.
    pub fn i64(&mut self, column: usize) -> Result<Vec<i64>> {
        if let Some(Values::I64(v)) = self.columns[column].take() { Ok(v) } else { Err(self.mistaken(column)) }
    }

    /// Takes the column at `column`, an [`Kind::F32`] one.
    pub fn f32(&mut self, column: usize) -> Result<Vec<f32>> {
        if let Some(Values::F32(v)) = self.columns[column].take() { Ok(v) } else { Err(self.mistaken(column)) }
    }

    /// Takes three columns from `first` on as points.
    pub fn points(&mut self, first: usize) -> Result<Vec<[f32; 3]>> {
        let (x, y, z) = (self.f32(first)?, self.f32(first + 1)?, self.f32(first + 2)?);
        Ok(x.into_iter().zip(y).zip(z).map(|((x, y), z)| [x, y, z]).collect())
    }

    fn mistaken(&self, column: usize) -> Error {
        Error::failed(format!(
            "reading `{}`: column {column} was taken before or is of another type",
            self.path.display()
        ))
    }
}

/// Three neighbouring columns of finite numbers as points, and nothing else of the file; the same values and messages as
/// from [`Table::read`] in half the time, because no field's kind is asked for.
pub fn read_points(path: &Path, names: [&str; 3]) -> Result<Vec<[f32; 3]>> {
    with_content(path, |bytes| {
        let columns = names.map(|name| (name, Kind::F32, true));
        let Header { places, begin, rows, .. } = Header::read(path, bytes, &columns)?;
        let skipped = places.iter().take_while(|place| place.is_none()).count();
        let together = places[skipped..] == [Some(0), Some(1), Some(2)];
        let mut points = Vec::with_capacity(rows);
        each_row(bytes, begin, |at, line| {
            if let Some((point, next)) = point(bytes, at, skipped).filter(|_| together) {
                points.push(point);
                return Ok(next);
            }
            // The general way takes every form of a number, and says what is wrong with one.
            let mut values = [const { Values::F32(Vec::new()) }; 3];
            let next = row(bytes, at, &places, &mut values).map_err(|(place, problem)| {
                let name = places[place].map_or("", |i| names[i]);
                Error::input(path, format!("line {line}: column `{name}` {problem}"))
            })?;
            let first = |values: &Values| if let Values::F32(list) = values { list.first().copied() } else { None };
            points.push(values.each_ref().map(|list| first(list).unwrap_or_default()));
            Ok(next)
        })?;
        Ok(points)
    })
}

/// Three numbers behind `skipped` fields, and the place of the next row; none where a field is not short and plain.
#[inline]
fn point(bytes: &[u8], mut at: usize, skipped: usize) -> Option<([f32; 3], usize)> {
    for _ in 0..skipped {
        at = field_end(bytes, at);
        if bytes[at] != b',' {
            return None;
        }
        at += 1;
    }
    let mut point = [0.0; 3];
    for (i, value) in point.iter_mut().enumerate() {
        let number = short(bytes, at)?;
        if bytes[number.end] != b',' && !(i == 2 && bytes[number.end] == b'\n') {
            return None;
        }
        *value = number.float()? as f32;
        at = number.end + usize::from(i < 2);
    }
    Some((point, line_end(bytes, at) + 1))
}

/// The rows of a text from `begin` on, blank lines left out: `read` takes the place and line number of each and gives the
/// place behind it. Gives the number of rows.
fn each_row(bytes: &[u8], begin: usize, mut read: impl FnMut(usize, usize) -> Result<usize>) -> Result<usize> {
    let (mut at, mut rows) = (begin, 0);
    while at < bytes.len() - ROOM {
        if matches!(bytes[at], b'\n' | b'\r' | b' ') {
            at += 1;
            continue;
        }
        at = read(at, rows + 2)?;
        rows += 1;
    }
    Ok(rows)
}

/// Where the columns that were asked for stand.
struct Header {
    /// The wanted column of each field of a row, up to the last wanted one.
    places: Vec<Option<usize>>,
    /// Which of the wanted columns there are.
    found: Vec<bool>,
    /// Place of the first row.
    begin: usize,
    /// About how many rows there are, seldom fewer.
    rows: usize,
}

impl Header {
    fn read(path: &Path, bytes: &[u8], columns: &[(&str, Kind, bool)]) -> Result<Self> {
        let (text, _) = bytes.split_at(bytes.len() - ROOM);
        let end = text.iter().position(|&b| b == b'\n').unwrap_or(text.len());
        let header = String::from_utf8_lossy(&text[..end]).trim_start_matches('\u{feff}').trim_end().to_string();
        let names: Vec<&str> = names(&header).collect();
        let expected = || columns.iter().map(|c| c.0).collect::<Vec<_>>().join(",");
        let mut places = vec![None; names.len()];
        let mut found = vec![false; columns.len()];
        for (i, (name, _, required)) in columns.iter().enumerate() {
            let mut at = names.iter().enumerate().filter(|(_, n)| *n == name).map(|(at, _)| at);
            match (at.next(), at.next()) {
                (Some(place), None) => {
                    places[place] = Some(i);
                    found[i] = true;
                }
                (Some(_), Some(_)) => {
                    return Err(Error::input(path, format!("line 1: has two columns `{name}`: `{header}`")));
                }
                (None, _) if *required => {
                    let problem =
                        format!("line 1: has no column `{name}`, found `{header}`, expected `{}`", expected());
                    return Err(Error::input(path, problem)
                        .hint("the file must be one of the TrackML data set, with its header line"));
                }
                (None, _) => {}
            }
        }
        let begin = (end + 1).min(text.len());
        demand_width(path, &text[begin..], names.len())?;
        // Fields behind the last wanted one need not be walked.
        places.truncate(places.iter().rposition(Option::is_some).map_or(0, |at| at + 1));
        // The first row is about as short as rows get: its id has one digit.
        let rows = text.len() / line_end(bytes, begin).saturating_sub(end).max(8) + 1;
        Ok(Self { places, found, begin, rows })
    }
}

/// Refuses rows that have other fields than the header. Looked at are the first one, because a writer's habit shows in all
/// of them, and the last one, which a file that was cut off lacks a part of.
fn demand_width(path: &Path, rows: &[u8], width: usize) -> Result<()> {
    let filled = rows.trim_ascii_end();
    let first = filled.iter().position(|&b| b == b'\n').map_or(filled, |end| &filled[..end]);
    let last = filled.iter().rposition(|&b| b == b'\n').map_or(filled, |end| &filled[end + 1..]);
    for (row, which) in [(first, "first"), (last, "last")].into_iter().filter(|(row, _)| !row.trim_ascii().is_empty()) {
        let fields = 1 + row.iter().filter(|&&b| b == b',').count();
        let surplus = row.trim_ascii_end().iter().rev().take_while(|&&b| b == b',').count();
        if fields < width || fields - surplus.min(fields - width) > width {
            let problem = format!("the {which} row has {fields} fields, the header {width}");
            return Err(Error::input(path, problem).hint(match which {
                "first" => "numbers with a decimal comma need another sign between the fields, such as a semicolon",
                _ => "the end of the file is missing: fetch it again",
            }));
        }
    }
    Ok(())
}

/// Gives `read` the content of a file, with a line end and [`ROOM`] behind it.
fn with_content<T>(path: &Path, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
    thread_local! {
        // A fresh buffer for every file would cost a page fault every 4 KiB, a tenth of the time.
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    BUFFER.with_borrow_mut(|bytes| {
        let outcome = content(path, bytes).and_then(|()| read(bytes));
        if bytes.capacity() > KEPT {
            *bytes = Vec::new();
        }
        outcome
    })
}

/// Largest buffer that a thread keeps; events are smaller, submissions of many events are not.
const KEPT: usize = 32 << 20;

/// Names of the columns of a file, in their order; only the beginning of the file is read.
pub fn header(path: &Path) -> Result<Vec<String>> {
    let mut bytes = Vec::new();
    raw(path, &mut bytes, 1 << 14)?;
    if !dialect::is_plain(&bytes) {
        // Cut off behind a whole row, so that what is there can be read.
        let end = bytes.iter().rposition(|&b| b == b'\n').map_or(bytes.len(), |end| end + 1);
        let half = bytes.starts_with(b"\xff\xfe") && end % 2 == 1;
        bytes.truncate(end + usize::from(half));
        bytes = dialect::plain(path, bytes)?;
    }
    let end = bytes.iter().position(|&b| b == b'\n').unwrap_or(bytes.len());
    Ok(names(&String::from_utf8_lossy(&bytes[..end])).map(str::to_string).collect())
}

/// The names of a header line; quotes around them and a byte order mark are no part of them.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.trim_start_matches('\u{feff}').trim_end().split(',').map(|name| name.trim().trim_matches('"'))
}

/// The bytes of a file, unpacked, with a line end and [`ROOM`] behind them.
fn content(path: &Path, bytes: &mut Vec<u8>) -> Result<()> {
    bytes.clear();
    raw(path, bytes, u64::MAX)?;
    if bytes.is_empty() {
        return Err(Error::input(path, "is empty, expected a header line and rows"));
    }
    if !dialect::is_plain(bytes) {
        *bytes = dialect::plain(path, std::mem::take(bytes))?;
    }
    if bytes.last().is_some_and(|&last| last != b'\n') {
        bytes.push(b'\n');
    }
    bytes.extend([0; ROOM]);
    Ok(())
}

/// The first bytes of a file, or of an entry of an archive, unpacked: gzip is told by how it begins, whatever the name says.
fn raw(path: &Path, bytes: &mut Vec<u8>, most: u64) -> Result<()> {
    let inner;
    let source: Box<dyn Read + '_> = match archive::within(path) {
        Some((file, name)) => {
            inner = Archive::shared(&file)?;
            // A zip of one file, as single files are downloaded.
            let only = inner.files().next().unwrap_or_default().to_string();
            let name = if name.is_empty() { only } else { name };
            Box::new(std::io::Cursor::new(inner.read(&name)?))
        }
        None => Box::new(std::fs::File::open(path).map_err(|e| Error::opening(path, e))?),
    };
    let mut source = BufReader::with_capacity(1 << 18, source);
    let beginning = source.fill_buf().map_err(|e| Error::io("reading", path, e))?;
    foreign::demand_data(path, beginning)?;
    if beginning.starts_with(b"\x1f\x8b") {
        flate2::bufread::MultiGzDecoder::new(source)
            .take(most)
            .read_to_end(bytes)
            .map_err(|e| Error::input(path, format!("is no sound gzip file: {e}")))?;
    } else {
        source.take(most).read_to_end(bytes).map_err(|e| Error::io("reading", path, e))?;
    }
    Ok(())
}

/// Reads one row; gives the place of the next one, or the place of the field at fault and what is wrong with it.
fn row(
    bytes: &[u8],
    mut at: usize,
    places: &[Option<usize>],
    values: &mut [Values],
) -> std::result::Result<usize, (usize, String)> {
    for (place, wanted) in places.iter().enumerate() {
        let Some(column) = wanted else {
            at = field_end(bytes, at);
            at += usize::from(bytes[at] == b',');
            continue;
        };
        let number = short(bytes, at).unwrap_or_else(|| long(bytes, at));
        let (begin, end) = (at, number.end);
        at = if matches!(bytes[end], b',' | b'\n') { end } else { field_end(bytes, end) };
        let text = || {
            let text = &bytes[begin..at];
            std::str::from_utf8(text.trim_ascii_end()).ok()
        };
        let exact = || end == at || text().is_some_and(|text| text.len() == end - begin);
        let bad = |expected: &str| {
            let text = String::from_utf8_lossy(bytes[begin..at].trim_ascii_end());
            if text.is_empty() {
                (place, format!("is empty, expected {expected}"))
            } else {
                (place, format!("is `{text}`, expected {expected}"))
            }
        };
        match &mut values[*column] {
            Values::I32(list) => {
                let value = number.integer().filter(|_| exact()).or_else(|| whole(text()?));
                let value = value.and_then(|n| i32::try_from(n).ok());
                list.push(value.ok_or_else(|| bad("a 32-bit whole number"))?);
            }
            Values::I64(list) => {
                let value = number.integer().filter(|_| exact()).or_else(|| text()?.parse().ok());
                let value = value.or_else(|| whole(text()?));
                list.push(value.ok_or_else(|| bad("a 64-bit whole number"))?);
            }
            Values::F32(list) => {
                let value = number.float().filter(|_| exact()).or_else(|| text()?.parse::<f64>().ok());
                let value = value.ok_or_else(|| bad("a number"))? as f32;
                if !value.is_finite() {
                    return Err(bad("a finite number"));
                }
                list.push(value);
            }
        }
        at += usize::from(bytes[at] == b',');
    }
    Ok(line_end(bytes, at) + 1)
}

/// A whole number that a program with missing values in the column wrote as a float, `12.0`, where a float holds it exactly.
fn whole(text: &str) -> Option<i64> {
    let (digits, zeros) = text.split_once('.')?;
    let value: i64 = digits.parse().ok()?;
    (!zeros.is_empty() && zeros.bytes().all(|b| b == b'0') && value.unsigned_abs() <= 1 << 53).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Table> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event000000001-hits.csv");
        common::durable::write(&path, text.as_bytes()).unwrap();
        Table::read(&path, &[("id", Kind::I64), ("x", Kind::F32), ("n", Kind::I32)])
    }

    #[test]
    fn numbers_of_every_form_are_read_exactly() {
        let mut table =
            read("n,other,x,id\r\n-1,a,0.1,9007199254740993\r\n7,,-1e-3,4503668346847232\n+0,,12345678901234567890,-5")
                .unwrap_err();
        assert!(table.to_string().contains("line 4: column `n` is `+0`"), "{table}");
        table = read("x,id,n\n1,2,3.5\n").unwrap_err();
        assert!(table.to_string().contains("`n` is `3.5`, expected a 32-bit whole number"));
        let mut floats = read("x,id,n\n1,4503668346847232.0,3.00\n").unwrap();
        assert_eq!((floats.i64(0).unwrap(), floats.i32(2).unwrap()), (vec![4_503_668_346_847_232], vec![3]));
        assert!(read("x,id,n\n1,40533015121625088.0,3\n").is_err(), "beyond what floats hold");
        let mut table =
            read("n,other,x,id\r\n-1,a,0.1,9007199254740993\r\n7,,-1.5e-3,9223372036854775807\n0,,123.456,-5").unwrap();
        assert_eq!(table.i64(0).unwrap(), [9_007_199_254_740_993, i64::MAX, -5]);
        assert_eq!(table.f32(1).unwrap(), [0.1, -1.5e-3, 123.456]);
        assert_eq!(table.i32(2).unwrap(), [-1, 7, 0]);
    }

    #[test]
    fn points_are_those_of_a_table_and_so_are_their_mistakes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event000000001-hits.csv");
        let names = ["x", "y", "z"];
        let wanted = names.map(|name| (name, Kind::F32));
        for text in [
            "hit_id,x,y,z,volume_id\n1,-64.4099,0.987654,-1502.5,7\n2,-1e-3,-72,0.00123456,7\r\n\n3,1,2,3\n",
            "x,y,z\n1,2,3\n-4.5,123456789.5,6",
            "z,x,y\n1,2,3\n",
            "y,i,x,z\n1,2,3,4\n",
            "x,y,z\n",
            "i,x,y,z\n1,2,3\n",
            "i,x,y,z\n1,2,3,4\n1,2,inf,4\n",
            "i,x,y,z\n1,2,3,4\n1\n1,2,3,4\n",
            "i,x,y,z\n1,2,3 4,5\n",
            "i,x,y\n",
        ] {
            common::durable::write(&path, text.as_bytes()).unwrap();
            let table = Table::read(&path, &wanted).and_then(|mut table| table.points(0));
            let said = |r: Result<Vec<[f32; 3]>>| r.map_err(|e| e.to_string());
            assert_eq!(said(read_points(&path, names)), said(table), "{text}");
        }
    }

    #[test]
    fn the_dialects_of_common_writers_hold_the_same_rows() {
        let wide: Vec<u8> = "\u{feff}id,x,n\r\n7,-1.5,3\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let packed = {
            use std::io::Write as _;
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(b"id,x,n\n7,-1.5,3\n").unwrap();
            packer.finish().unwrap()
        };
        let texts: [&[u8]; 11] = [
            b"id,x,n\n7,-1.5,3\n",
            b"\xef\xbb\xbfid,x,n\r\n7,-1.5,3\r\n",
            b"\"id\",\"x\",\"n\"\n\"7\",\"-1.5\",\"3\"\n",
            b"id;x;n\n7;-1,5;3\n",
            b"id\tx\tn\n7\t-1.5\t3\n\n",
            b"id, x, n\n7, -1.5, 3\n  \n",
            b"id,x,n\r7,-1.5,3\r",
            b",id,x,n\n0,7,-1.5,3\n",
            b"id,x,n,\n7,-1.5,3,\n",
            &wide,
            &packed,
        ];
        for text in texts {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("event000000001-hits.csv");
            common::durable::write(&path, text).unwrap();
            let shown = String::from_utf8_lossy(text);
            let columns = [("id", Kind::I64), ("x", Kind::F32), ("n", Kind::I32)];
            let mut table = Table::read(&path, &columns).unwrap_or_else(|e| panic!("{shown}: {e}"));
            assert_eq!((table.i64(0).unwrap(), table.f32(1).unwrap()), (vec![7], vec![-1.5]), "{shown}");
            assert!(header(&path).unwrap().iter().any(|name| name == "x"), "{shown}");
        }
    }

    #[test]
    fn mistakes_name_line_column_and_value() {
        for (text, part) in [
            ("id,x\n1,2\n", "has no column `n`"),
            ("id,x,n,x\n", "two columns `x`"),
            ("id,x,n\n1,nan,3\n", "line 2: column `x` is `nan`, expected a finite number"),
            ("id,x,n\n1,2,3\n1,,3\n", "line 3: column `x` is empty"),
            ("id,x,n\n4.5e15,2,3\n", "`id` is `4.5e15`, expected a 64-bit whole number"),
            ("id,x,n\n1,2\n", "the first row has 2 fields, the header 3"),
            ("id,x,n\n1,2,3\n4,5\n", "the last row has 2 fields, the header 3"),
            ("id,x,n\n1,2,3,4\n", "the first row has 4 fields, the header 3"),
            ("id,x,n\n1,2,3\n1,2\n1,2,3\n", "line 3: column `n` is empty"),
            ("", "is empty, expected a header"),
            ("version https://git-lfs.github.com/spec/v1\nsize 7\n", "is a pointer of git-lfs"),
            ("<!DOCTYPE html><html></html>", "is a web page"),
            ("id,x,n\n99999999999999999999,2,3\n", "expected a 64-bit"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
