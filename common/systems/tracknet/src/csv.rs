//! Reading the comma-separated files of TrackML, plain or gzip, at the speed of memory.
//!
//! A file is read whole (15 MB an event at most) and walked once; only the columns asked for are turned into numbers.
//! Numbers of up to 15 digits, which is all that the data set has, take an exact short cut; everything else goes through
//! the full parser. A reader is told its columns by name; other columns are skipped, their order is free.

use std::io::Read;
use std::path::{Path, PathBuf};

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
        let bytes = content(path)?;
        let end = bytes.iter().position(|&b| b == b'\n').unwrap_or(bytes.len());
        let header = String::from_utf8_lossy(&bytes[..end]).trim_start_matches('\u{feff}').trim_end().to_string();
        let names: Vec<&str> = header.split(',').map(str::trim).collect();
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
        // Fields behind the last wanted one need not be walked.
        places.truncate(places.iter().rposition(Option::is_some).map_or(0, |at| at + 1));
        let room = bytes.len() / 16;
        let mut values: Vec<Values> = columns
            .iter()
            .map(|(_, kind, _)| match kind {
                Kind::I32 => Values::I32(Vec::with_capacity(room / 4)),
                Kind::I64 => Values::I64(Vec::with_capacity(room / 4)),
                Kind::F32 => Values::F32(Vec::with_capacity(room / 4)),
            })
            .collect();
        let mut at = (end + 1).min(bytes.len());
        let mut rows = 0;
        while at < bytes.len() {
            if matches!(bytes[at], b'\n' | b'\r') {
                at += 1;
                continue;
            }
            at = row(&bytes, at, &places, &mut values).map_err(|(place, problem)| {
                let name = places[place].map_or("", |i| columns[i].0);
                Error::input(path, format!("line {}: column `{name}` {problem}", rows + 2))
            })?;
            rows += 1;
        }
        let columns = values.into_iter().zip(found).map(|(v, found)| found.then_some(v)).collect();
        Ok(Self { path: path.to_path_buf(), columns, rows })
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

/// The bytes of a file, unpacked.
fn content(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(|e| Error::opening(path, e))?;
    if path.extension().is_none_or(|e| e != "gz") {
        return Ok(bytes);
    }
    let mut unpacked = Vec::with_capacity(4 * bytes.len());
    flate2::read::MultiGzDecoder::new(bytes.as_slice())
        .read_to_end(&mut unpacked)
        .map_err(|e| Error::input(path, format!("is no sound gzip file: {e}")))?;
    Ok(unpacked)
}

/// Reads one row; gives the place of the next one, or the place of the field at fault and what is wrong with it.
fn row(
    bytes: &[u8],
    mut at: usize,
    places: &[Option<usize>],
    values: &mut [Values],
) -> std::result::Result<usize, (usize, String)> {
    for (place, wanted) in places.iter().enumerate() {
        let begin = at;
        let Some(column) = wanted else {
            while at < bytes.len() && bytes[at] != b',' && bytes[at] != b'\n' {
                at += 1;
            }
            if at < bytes.len() && bytes[at] == b',' {
                at += 1;
            }
            continue;
        };
        let number = decimal(bytes, &mut at);
        while at < bytes.len() && bytes[at] != b',' && bytes[at] != b'\n' {
            at += 1;
        }
        let mut end = at;
        while end > begin && matches!(bytes[end - 1], b'\r' | b' ') {
            end -= 1;
        }
        let bad = |expected: &str| {
            let text = String::from_utf8_lossy(&bytes[begin..end]);
            if text.is_empty() {
                (place, format!("is empty, expected {expected}"))
            } else {
                (place, format!("is `{text}`, expected {expected}"))
            }
        };
        let exact = number.filter(|n| n.end == end);
        match &mut values[*column] {
            Values::I32(list) => {
                let value = exact.filter(|n| n.whole).and_then(|n| i32::try_from(n.integer()).ok());
                list.push(value.ok_or_else(|| bad("a 32-bit whole number"))?);
            }
            Values::I64(list) => {
                let value = exact.filter(|n| n.whole && n.digits < 19).map(|n| n.integer());
                let value = value.or_else(|| std::str::from_utf8(&bytes[begin..end]).ok()?.parse().ok());
                list.push(value.ok_or_else(|| bad("a 64-bit whole number"))?);
            }
            Values::F32(list) => {
                let value = exact.and_then(Number::float);
                let value = value.or_else(|| std::str::from_utf8(&bytes[begin..end]).ok()?.parse::<f64>().ok());
                let value = value.ok_or_else(|| bad("a number"))? as f32;
                if !value.is_finite() {
                    return Err(bad("a finite number"));
                }
                list.push(value);
            }
        }
        if at < bytes.len() && bytes[at] == b',' {
            at += 1;
        }
    }
    while at < bytes.len() && bytes[at] != b'\n' {
        at += 1;
    }
    Ok(at + 1)
}

/// A plain decimal number: sign, digits, at most one point.
#[derive(Clone, Copy)]
struct Number {
    negative: bool,
    mantissa: u64,
    digits: u32,
    decimals: u32,
    whole: bool,
    end: usize,
}

/// Powers of ten that an f64 holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

impl Number {
    fn integer(self) -> i64 {
        if self.negative { -(self.mantissa as i64) } else { self.mantissa as i64 }
    }

    /// Both operands of the one division are exact, so its result is the correctly rounded value.
    fn float(self) -> Option<f64> {
        if self.digits > 15 || self.decimals > 22 {
            return None;
        }
        let value = self.mantissa as f64 / POWERS[self.decimals as usize];
        Some(if self.negative { -value } else { value })
    }
}

/// Reads digits at `at` and moves it behind them; none where there is no plain number.
fn decimal(bytes: &[u8], at: &mut usize) -> Option<Number> {
    let negative = bytes.get(*at) == Some(&b'-');
    *at += usize::from(negative);
    let mut number = Number { negative, mantissa: 0, digits: 0, decimals: 0, whole: true, end: 0 };
    let mut any = false;
    while let Some(&byte) = bytes.get(*at) {
        if byte.is_ascii_digit() {
            any = true;
            number.mantissa = number.mantissa.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
            number.digits += u32::from(number.digits > 0 || byte != b'0');
            number.decimals += u32::from(!number.whole);
        } else if byte == b'.' && number.whole {
            number.whole = false;
        } else {
            break;
        }
        *at += 1;
    }
    number.end = *at;
    any.then_some(number)
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
        table = read("x,id,n\n1,2,3.0\n").unwrap_err();
        assert!(table.to_string().contains("`n` is `3.0`, expected a 32-bit whole number"));
        let mut table =
            read("n,other,x,id\r\n-1,a,0.1,9007199254740993\r\n7,,-1.5e-3,9223372036854775807\n0,,123.456,-5").unwrap();
        assert_eq!(table.i64(0).unwrap(), [9_007_199_254_740_993, i64::MAX, -5]);
        assert_eq!(table.f32(1).unwrap(), [0.1, -1.5e-3, 123.456]);
        assert_eq!(table.i32(2).unwrap(), [-1, 7, 0]);
    }

    #[test]
    fn mistakes_name_line_column_and_value() {
        for (text, part) in [
            ("id,x\n1,2\n", "has no column `n`"),
            ("id,x,n,x\n", "two columns `x`"),
            ("id,x,n\n1,nan,3\n", "line 2: column `x` is `nan`, expected a finite number"),
            ("id,x,n\n1,2,3\n1,,3\n", "line 3: column `x` is empty"),
            ("id,x,n\n4.5e15,2,3\n", "`id` is `4.5e15`, expected a 64-bit whole number"),
            ("id,x,n\n1,2\n", "column `n` is empty"),
            ("id,x,n\n99999999999999999999,2,3\n", "expected a 64-bit"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
