//! Reading csv of any size: the columns and their types are given, blocks of lines are parsed in parallel, floats are
//! correctly rounded, and a mistake is reported with its line and column.
//!
//! Differs: pandas' default parser is off by one unit in the last place for a quarter of all floats; this one is exact.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::csv_text::{CsvText, line_at};
use super::{Column, ColumnKind, Table, missing};
use crate::error::{Error, Result};

/// Text that one task parses.
const BLOCK_BYTES: usize = 1 << 20;
/// Tasks of one batch.
const BLOCKS: usize = 16;
/// How much of a wrong value a message shows.
const SHOWN: usize = 40;

/// Reads a whole file: the named columns, in the order asked for. Other columns of the file are skipped.
pub fn read_csv(path: impl AsRef<Path>, schema: &[(&str, ColumnKind)]) -> Result<Table> {
    CsvReader::open(path, schema)?.all()
}

/// Reads a csv file batch by batch; beside a plain file, memory holds one batch of some 16 MiB of text, whatever its size.
///
/// Fields may be quoted, with quotes inside doubled; a quoted field may hold ends of
/// lines. What else may differ between
/// writers (compression, byte order mark, ends of lines) is settled by [`CsvText`].
#[derive(Debug)]
pub struct CsvReader {
    text: Arc<CsvText>,
    /// For every column of the file: which column of the table it is, and its type.
    wanted: Vec<Option<(usize, ColumnKind)>>,
    schema: Vec<(String, ColumnKind)>,
    /// Whether a missing number is NaN instead of an error.
    holes: bool,
    /// Where the next batch begins.
    at: usize,
}

/// What is wrong, and where: a position in the file.
struct Mistake {
    at: usize,
    problem: String,
    remedy: &'static str,
}

/// What to do about quotes, and about fields that are too few or too many.
const QUOTES: &str = "close quotes, and write those inside of a field twice";
const FIELDS: &str = "put fields that hold what separates fields into quotes";

impl CsvReader {
    /// Opens a file and finds the wanted columns in its header.
    ///
    /// # Errors
    /// [`Error::Input`] where the file or a column is missing, or a column appears twice.
    pub fn open(path: impl AsRef<Path>, schema: &[(&str, ColumnKind)]) -> Result<Self> {
        Self::over(Arc::new(CsvText::open(path)?), schema)
    }

    /// Reads a text that is open already.
    ///
    /// # Errors
    /// [`Error::Input`] where a column is missing.
    pub fn over(text: Arc<CsvText>, schema: &[(&str, ColumnKind)]) -> Result<Self> {
        let header = text.header();
        let places: HashMap<&str, usize> =
            header.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let mut wanted = vec![None; header.len()];
        for (index, (name, kind)) in schema.iter().enumerate() {
            let place = *places.get(name).ok_or_else(|| {
                // With very many columns the search for a near name would take longer than the reading.
                missing(text.path(), name, header.iter().take(10_000).map(String::as_str))
            })?;
            if wanted[place].replace((index, *kind)).is_some() {
                return Err(Error::failed(format!("the column `{name}` is asked for twice")));
            }
        }
        let schema = schema.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        drop(places);
        let at = text.begin();
        Ok(Self { wanted, schema, at, holes: false, text })
    }

    /// Takes empty fields, `NA`, `null` and the like in columns of floats for NaN.
    #[must_use]
    pub fn with_holes(mut self) -> Self {
        self.holes = true;
        self
    }

    /// Names of all columns of the file.
    pub fn header(&self) -> &[String] {
        self.text.header()
    }

    /// All rows that are left.
    ///
    /// # Errors
    /// As of [`Self::next_batch`].
    pub fn all(&mut self) -> Result<Table> {
        let mut table = self.empty()?;
        while let Some(batch) = self.next_batch()? {
            table.append(batch);
        }
        Ok(table)
    }

    /// The next rows, in order; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Input`] with the line, the column and what was found there.
    pub fn next_batch(&mut self) -> Result<Option<Table>> {
        let bytes = self.text.bytes();
        if self.at >= bytes.len() {
            return Ok(None);
        }
        let mut blocks = Vec::with_capacity(BLOCKS);
        let mut begin = self.at;
        while blocks.len() < BLOCKS && begin < bytes.len() {
            // Up to the end of the line in which the block would end.
            let target = (begin + BLOCK_BYTES).min(bytes.len()) - 1;
            let end = line_at(bytes, target).1;
            blocks.push(begin..end);
            begin = end;
        }
        let parsed: Vec<_> = blocks.par_iter().map(|block| self.parse(block.clone())).collect();
        let mut table = self.empty()?;
        for columns in parsed {
            let columns = columns.map_err(|mistake| self.error(&mistake))?;
            for (column, more) in table.columns.iter_mut().zip(columns) {
                column.append(more);
            }
        }
        self.at = begin;
        Ok(Some(table))
    }

    /// A table of the schema without rows.
    fn empty(&self) -> Result<Table> {
        let mut table = Table { path: self.text.path().to_path_buf(), ..Table::default() };
        for (name, kind) in &self.schema {
            table.push(name.clone(), Column::empty(*kind))?;
        }
        Ok(table)
    }

    fn parse(&self, block: std::ops::Range<usize>) -> Result<Vec<Column>, Mistake> {
        let bytes = &self.text.bytes()[..block.end];
        let mut columns: Vec<_> = self.schema.iter().map(|(_, kind)| Column::empty(*kind)).collect();
        let mut begin = block.start;
        while begin < block.end {
            let (line, next) = line_at(bytes, begin);
            let mistake = |problem, remedy| Mistake { at: begin, problem, remedy };
            let mut count = 0;
            for field in self.text.fields(line) {
                let field = field.map_err(|problem| mistake(problem, QUOTES))?;
                let Some(wanted) = self.wanted.get(count) else {
                    let problem = format!("has more fields than the {} of the header", self.text.header().len());
                    return Err(mistake(problem, FIELDS));
                };
                if let Some((index, kind)) = wanted
                    && !push(&mut columns[*index], &self.stored(&field, *kind), self.holes)
                {
                    let found = String::from_utf8_lossy(&field[..field.len().min(SHOWN)]).into_owned();
                    let name = &self.text.header()[count];
                    let problem = format!("column `{name}` is `{found}`, expected {}", expectation(*kind));
                    return Err(mistake(problem, remedy(*kind)));
                }
                count += 1;
            }
            if count < self.text.header().len() {
                return Err(mistake(format!("has {count} fields, expected {}", self.text.header().len()), FIELDS));
            }
            begin = next;
        }
        Ok(columns)
    }

    /// A field as the digits of its number, or as the text that it is.
    fn stored<'a>(&self, field: &'a [u8], kind: ColumnKind) -> std::borrow::Cow<'a, [u8]> {
        match kind {
            ColumnKind::F64 | ColumnKind::F32 => self.text.number(field),
            _ => field.into(),
        }
    }

    /// Lines are counted only when one is reported.
    fn error(&self, mistake: &Mistake) -> Error {
        let line = self.text.line_of(mistake.at);
        Error::input(self.text.path(), format!("line {line}: {}", mistake.problem)).hint(mistake.remedy)
    }
}

/// Appends a field to a column; false where it is no value of the column's type.
fn push(column: &mut Column, field: &[u8], holes: bool) -> bool {
    fn number<T: std::str::FromStr>(values: &mut Vec<T>, field: &[u8]) -> bool {
        let parsed = std::str::from_utf8(whole(field)).ok().and_then(|text| text.parse().ok());
        parsed.map(|value| values.push(value)).is_some()
    }
    // Texts keep their spaces.
    let field = if matches!(column, Column::Text(_)) { field } else { field.trim_ascii() };
    match column {
        Column::F64(values) => match fast_float2::parse(field) {
            Ok(value) => {
                values.push(value);
                true
            }
            Err(_) if holes && Field::of(field) == Field::Missing => {
                values.push(f64::NAN);
                true
            }
            // Whether a column of numbers holds truths is a matter of its writer.
            Err(_) if holes => match field.trim_ascii() {
                b"True" | b"true" | b"TRUE" => {
                    values.push(1.0);
                    true
                }
                b"False" | b"false" | b"FALSE" => {
                    values.push(0.0);
                    true
                }
                field => fast_float2::parse(field).map(|value| values.push(value)).is_ok(),
            },
            Err(_) => false,
        },
        Column::F32(values) => fast_float2::parse(field).map(|value| values.push(value)).is_ok(),
        Column::I64(values) => number(values, field),
        Column::I32(values) => number(values, field),
        Column::I16(values) => number(values, field),
        Column::Bool(values) => match field {
            b"true" | b"True" | b"TRUE" | b"1" => {
                values.push(true);
                true
            }
            b"false" | b"False" | b"FALSE" | b"0" => {
                values.push(false);
                true
            }
            _ => false,
        },
        Column::Text(values) => match std::str::from_utf8(field) {
            Ok(text) => {
                values.push(text.to_owned());
                true
            }
            Err(_) => false,
        },
    }
}

/// The digits of a whole number that a program with missing values in the column wrote as a float: `12.0`.
fn whole(field: &[u8]) -> &[u8] {
    let Some(point) = field.iter().position(|&b| b == b'.') else { return field };
    let (digits, zeros) = (&field[..point], &field[point + 1..]);
    let plain = !digits.is_empty() && !zeros.is_empty() && zeros.iter().all(|&b| b == b'0');
    if plain { digits } else { field }
}

/// What a field may be taken for. A column is the least of these that holds all its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Missing,
    Bool,
    Integer,
    Float,
    Text,
}

impl Field {
    fn of(field: &[u8]) -> Self {
        let field = field.trim_ascii();
        match field {
            // What pandas takes for a missing value.
            b"" | b"NA" | b"N/A" | b"n/a" | b"<NA>" | b"nan" | b"NaN" | b"NAN" | b"-nan" | b"-NaN" | b"null"
            | b"NULL" | b"None" | b"#N/A" | b"#N/A N/A" | b"#NA" | b"1.#QNAN" | b"-1.#QNAN" | b"1.#IND"
            | b"-1.#IND" => {
                return Self::Missing;
            }
            b"True" | b"true" | b"TRUE" | b"False" | b"false" | b"FALSE" => return Self::Bool,
            _ => {}
        }
        let digits = field.strip_prefix(b"-").unwrap_or(field);
        if digits.iter().all(u8::is_ascii_digit) && !digits.is_empty() {
            // `007` is a name, and so is a number of more digits than a machine word has.
            let plain = digits.len() == 1 || digits[0] != b'0';
            let fits = std::str::from_utf8(field).is_ok_and(|text| text.parse::<i64>().is_ok());
            return if plain && fits { Self::Integer } else { Self::Text };
        }
        if fast_float2::parse::<f64, _>(field).is_ok() { Self::Float } else { Self::Text }
    }

    /// Truths beside numbers are no numbers.
    fn join(self, other: Self) -> Self {
        match (self.min(other), self.max(other)) {
            (Self::Bool, Self::Integer | Self::Float) => Self::Text,
            (_, wider) => wider,
        }
    }
}

/// The types of all columns, told by reading all of the file once. Whole numbers with holes are floats.
///
/// # Errors
/// [`Error::Input`] with the first line that has too few or too many fields.
pub fn kinds_of_csv(text: &Arc<CsvText>) -> Result<Vec<(String, ColumnKind)>> {
    let reader = CsvReader::over(text.clone(), &[])?;
    let bytes = text.bytes();
    let width = text.header().len();
    let mut blocks = Vec::new();
    let mut begin = text.begin();
    while begin < bytes.len() {
        let end = line_at(bytes, (begin + BLOCK_BYTES).min(bytes.len()) - 1).1;
        blocks.push(begin..end);
        begin = end;
    }
    let scan = |block: &std::ops::Range<usize>| -> Result<Vec<(Field, bool)>, Mistake> {
        let mut seen = vec![(Field::Missing, false); width];
        let mut begin = block.start;
        while begin < block.end {
            let (line, next) = line_at(&bytes[..block.end], begin);
            let mistake = |problem, remedy| Mistake { at: begin, problem, remedy };
            let mut count = 0;
            for field in text.fields(line) {
                let field = field.map_err(|problem| mistake(problem, QUOTES))?;
                let Some((widest, holes)) = seen.get_mut(count) else {
                    return Err(mistake(format!("has more fields than the {width} of the header"), FIELDS));
                };
                let found = Field::of(&text.number(&field));
                *holes |= found == Field::Missing;
                *widest = widest.join(found);
                count += 1;
            }
            if count < width {
                return Err(mistake(format!("has {count} fields, expected {width}"), FIELDS));
            }
            begin = next;
        }
        Ok(seen)
    };
    let mut total = vec![(Field::Missing, false); width];
    for part in blocks.par_iter().map(scan).collect::<Vec<_>>() {
        for ((widest, holes), (more, missing)) in total.iter_mut().zip(part.map_err(|m| reader.error(&m))?) {
            *widest = widest.join(more);
            *holes |= missing;
        }
    }
    let kind = |(widest, holes): (Field, bool)| match (widest, holes) {
        (Field::Text, _) => ColumnKind::Text,
        (Field::Integer, false) => ColumnKind::I64,
        (Field::Bool, false) => ColumnKind::Bool,
        _ => ColumnKind::F64,
    };
    Ok(text.header().iter().cloned().zip(total.into_iter().map(kind)).collect())
}

fn remedy(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::F64 | ColumnKind::F32 => "write numbers plainly, like -1234.5 or 1e-3",
        ColumnKind::I64 | ColumnKind::I32 | ColumnKind::I16 => "write whole numbers plainly, like -1234",
        ColumnKind::Bool => "write truths as true and false, or 1 and 0",
        ColumnKind::Text => "save the file as UTF-8",
    }
}

fn expectation(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::F64 | ColumnKind::F32 => "a number",
        ColumnKind::I64 => "an integer",
        ColumnKind::I32 => "an integer of 32 bits",
        ColumnKind::I16 => "an integer of 16 bits",
        ColumnKind::Bool => "true or false",
        ColumnKind::Text => "UTF-8 text",
    }
}

#[cfg(test)]
mod tests {
    use super::super::write_csv;
    use super::*;

    fn file(text: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        crate::durable::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn whole_numbers_written_as_floats_and_spaces_behind_commas_are_read() {
        let (_folder, path) = file(b"id, n, x\n7.0, 3, 1.5\n-2.00, 4.0,2\n");
        let schema = [("id", ColumnKind::I64), ("n", ColumnKind::I16), ("x", ColumnKind::F64)];
        let table = read_csv(&path, &schema).unwrap();
        assert_eq!((table.i64("id").unwrap(), table.f64("x").unwrap()), (&[7, -2][..], &[1.5, 2.0][..]));
        for wrong in ["7.5", "7.", ".0", "7.0e0", "1e3"] {
            let (_folder, path) = file(format!("id\n{wrong}\n").as_bytes());
            assert!(read_csv(&path, &[("id", ColumnKind::I64)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn columns_are_found_by_name_whatever_their_order() {
        let text = b"id,skipped,\"a,b\",flag\r\n\"x \"\"1\"\"\",junk,1e-320,True\r\ny,,0.1,0\r\n\r\n";
        let (_folder, path) = file(text);
        let schema = [("a,b", ColumnKind::F64), ("flag", ColumnKind::Bool), ("id", ColumnKind::Text)];
        let table = read_csv(&path, &schema).unwrap();
        assert_eq!(table.names(), ["a,b", "flag", "id"]);
        assert_eq!(table.f64("a,b").unwrap(), [1e-320, 0.1]);
        assert_eq!(table.columns()[1], Column::Bool(vec![true, false]));
        assert_eq!(table.texts("id").unwrap(), ["x \"1\"", "y"]);
    }

    #[test]
    fn a_file_of_many_blocks_reads_back_exactly_and_in_bounded_batches() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        let rows = 400_000;
        let mut table = Table::new();
        let floats = (0..rows).map(|i| f64::from_bits(0x3e00_0000_0000_0001u64.wrapping_mul(i as u64 * 2 + 1)));
        table.push("f", Column::F64(floats.map(|f| if f.is_finite() { f } else { 0.5 }).collect())).unwrap();
        table.push("n", Column::I64((0..rows as i64).collect())).unwrap();
        table.push("pad", Column::Text(vec!["0123456789012345678901234567890123456789".into(); rows])).unwrap();
        let written = write_csv(&path, &table).unwrap();
        assert!(written.bytes > (BLOCK_BYTES * BLOCKS) as u64);
        let schema = [("f", ColumnKind::F64), ("n", ColumnKind::I64)];
        let mut reader = CsvReader::open(&path, &schema).unwrap();
        let mut next = 0;
        let mut batches = 0;
        while let Some(batch) = reader.next_batch().unwrap() {
            let end = next + batch.rows();
            let exact =
                |found: &[f64], expected: &[f64]| found.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(exact(batch.f64("f").unwrap(), &table.f64("f").unwrap()[next..end]));
            assert_eq!(batch.i64("n").unwrap(), &table.i64("n").unwrap()[next..end]);
            next = end;
            batches += 1;
        }
        assert_eq!((next, batches), (rows, 2));
    }

    #[test]
    fn types_are_those_of_all_fields_of_a_column() {
        let rows = "i,f,t,b,h,z,q\n1,2,x,True,1,007,1\n-3,0.5,4,False,#N/A,012,True\n";
        let (_folder, path) = file(rows.as_bytes());
        let kinds = kinds_of_csv(&Arc::new(CsvText::open(&path).unwrap())).unwrap();
        let kinds: Vec<ColumnKind> = kinds.into_iter().map(|(_, kind)| kind).collect();
        use ColumnKind::{Bool, F64, I64, Text};
        assert_eq!(kinds, [I64, F64, Text, Bool, F64, Text, Text]);
        let (_folder, path) = file(b"a,b\n1,2\n3\n");
        let error = kinds_of_csv(&Arc::new(CsvText::open(&path).unwrap())).unwrap_err().to_string();
        assert!(error.ends_with("line 3: has 1 fields, expected 2"), "{error}");
    }

    #[test]
    fn mistakes_are_reported_with_line_column_and_value() {
        let schema = [("a", ColumnKind::F64), ("n", ColumnKind::I32)];
        let problem = |text: &[u8]| {
            let (_folder, path) = file(text);
            read_csv(&path, &schema).unwrap_err().to_string()
        };
        let cases: [(&[u8], &str); 10] = [
            (b"", "is empty or begins"),
            (b"a,b\n1,2\n", "has no column `n`"),
            (b"a,n,a\n1,2,3\n", "line 1: the column `a` appears twice"),
            (b"a,n\n1,2\n1.5x,3\n", "line 3: column `a` is `1.5x`, expected a number"),
            (b"a,n\n1,2\n,3\n", "line 3: column `a` is ``, expected a number"),
            (b"a,n\n1,3000000000\n", "line 2: column `n` is `3000000000`, expected an integer of 32 bits"),
            (b"a,n\n1\n", "line 2: has 1 fields, expected 2"),
            (b"a,n\n1,2,3\n", "line 2: has more fields than the 2 of the header"),
            (b"a,n\n\n1,2\n", "line 2: column `a` is ``"),
            (b"a,n\n\"1,2\n", "line 2: a quoted field has no end"),
        ];
        for (text, expected) in cases {
            let found = problem(text);
            assert!(found.contains(expected), "{expected}: {found}");
        }
    }
}
