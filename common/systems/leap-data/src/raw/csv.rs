//! Kaggle's csv files, read in pieces: `sample_id`, then numbers, every value correctly rounded.
//!
//! The file is mapped and cut into pieces at line ends. A first pass counts the lines of each piece, so that pieces can
//! be parsed in parallel and still know their row numbers.
//!
//! The text, with all its dialects, is opened by `common::store::tables`; its reader of columns is not used, because rows are wanted
//! here: of 924 numbers, by their numbers, from any place of a file that is larger than memory.
//!
//! Differs: upstream's parser is not correctly rounded (a quarter of the values is off by up to 6e-13 relative, spec
//! D-Q4); this one is.

use std::path::{Path, PathBuf};

use common::store::tables::CsvText;
use common::{Error, Result};

use common::ordered::ordered;

/// Bytes of a piece; a line of `train.csv` has about 20 kB.
const PIECE: usize = 2 << 20;

/// A csv file with a known set of columns.
pub struct CsvFile {
    path: PathBuf,
    text: CsvText,
    /// What each field of a line is.
    fields: Vec<Role>,
    width: usize,
    id_prefix: &'static str,
    pieces: Vec<Piece>,
}

/// What a field of a line is.
#[derive(Debug, Clone, Copy)]
enum Role {
    Id,
    /// Place of its value.
    Value(usize),
    /// The numbers of the rows, which pandas and R write beside the columns.
    RowNumber,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    begin: usize,
    end: usize,
    first_row: u64,
    rows: u64,
}

/// Consecutive parsed rows.
#[derive(Debug, Clone, PartialEq)]
pub struct CsvRows {
    /// Number of the first row, counting from 0 after the header.
    pub first: u64,
    /// The number in `sample_id`.
    pub ids: Vec<i32>,
    /// `[rows, width]` in the order of the columns asked for.
    pub values: Vec<f64>,
}

impl CsvFile {
    /// Opens `path`, whose header must hold `sample_id` and exactly `columns`, in any order.
    ///
    /// # Errors
    /// [`Error::Input`] naming the columns that are missing, unknown or there twice.
    pub fn open(path: &Path, columns: &[&str], id_prefix: &'static str, threads: usize) -> Result<Self> {
        let text = CsvText::open_lines(path)?;
        let bytes = text.bytes();
        let fields = match_header(path, text.header(), columns)?;
        let mut pieces = Vec::new();
        let mut begin = text.begin();
        while begin < bytes.len() {
            let target = (begin + PIECE).min(bytes.len());
            let end = bytes[target - 1..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| target + n);
            pieces.push(Piece { begin, end, first_row: 0, rows: 0 });
            begin = end;
        }
        let mut counts = Vec::with_capacity(pieces.len());
        let count = |i: usize| Ok(lines(&bytes[pieces[i].begin..pieces[i].end]).count() as u64);
        ordered(pieces.len(), threads, 64, count, |_, n| {
            counts.push(n);
            Ok(())
        })?;
        let mut first_row = 0;
        for (piece, rows) in pieces.iter_mut().zip(counts) {
            (piece.first_row, piece.rows) = (first_row, rows);
            first_row += rows;
        }
        Ok(Self { path: path.to_path_buf(), text, fields, width: columns.len(), id_prefix, pieces })
    }

    /// Rows after the header.
    pub fn rows(&self) -> u64 {
        self.pieces.last().map_or(0, |p| p.first_row + p.rows)
    }

    /// Number of pieces for [`CsvFile::piece`] that hold rows of `from..to`, and the first of them.
    pub fn pieces_of(&self, from: u64, to: u64) -> std::ops::Range<usize> {
        let first = self.pieces.partition_point(|p| p.first_row + p.rows <= from);
        let last = self.pieces.partition_point(|p| p.first_row < to);
        first..last.max(first)
    }

    /// Parses the rows of piece `index` that lie in `from..to`.
    pub fn piece(&self, index: usize, from: u64, to: u64) -> Result<CsvRows> {
        let piece = self.pieces[index];
        let first = piece.first_row.max(from);
        let expected = (piece.first_row + piece.rows).min(to).saturating_sub(first) as usize;
        let mut rows = CsvRows { first, ids: Vec::with_capacity(expected), values: vec![0.0; expected * self.width] };
        let skip = (first - piece.first_row) as usize;
        let text = &self.text.bytes()[piece.begin..piece.end];
        for (i, line) in lines(text).skip(skip).take(expected).enumerate() {
            let id = self.line(first + i as u64, line, &mut rows.values[i * self.width..(i + 1) * self.width])?;
            rows.ids.push(id);
        }
        Ok(rows)
    }

    fn line(&self, row: u64, line: &[u8], out: &mut [f64]) -> Result<i32> {
        let number = row + self.text.first_line();
        let fail = |problem: String| Error::input(&self.path, format!("line {number}: {problem}"));
        let mut id = None;
        let mut parts = self.text.fields(line);
        for (field, slot) in self.fields.iter().enumerate() {
            let Some(part) = parts.next() else {
                return Err(fail(format!("has {field} fields, expected {}", self.fields.len())));
            };
            let part = part.map_err(|problem| fail(format!("field {}: {problem}", field + 1)))?;
            let text = std::str::from_utf8(&part).map_err(|_| fail(format!("field {} is not text", field + 1)))?;
            match slot {
                Role::RowNumber => {}
                Role::Id => {
                    let number = text
                        .trim()
                        .strip_prefix(self.id_prefix)
                        .and_then(|n| n.parse::<i32>().ok())
                        .filter(|n| *n >= 0);
                    id = Some(number.ok_or_else(|| {
                        fail(format!("`sample_id` is `{text}`, expected `{}` and a number", self.id_prefix))
                    })?);
                }
                Role::Value(column) => {
                    let digits = self.text.number(&part);
                    let value = std::str::from_utf8(&digits).ok().and_then(|digits| digits.trim().parse::<f64>().ok());
                    let value = value.filter(|v| v.is_finite());
                    out[*column] = value
                        .ok_or_else(|| fail(format!("field {} is `{text}`, expected a finite number", field + 1)))?;
                }
            }
        }
        if parts.next().is_some() {
            return Err(fail(format!("has more than {} fields", self.fields.len())));
        }
        id.ok_or_else(|| fail("has no `sample_id`".into()))
    }

    /// Parses the rows `from..to` and works on them in parallel; the results arrive at `sink` in order.
    pub fn map<T: Send>(
        &self,
        (from, to): (u64, u64),
        threads: usize,
        work: impl Fn(CsvRows) -> Result<T> + Sync,
        mut sink: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let pieces = self.pieces_of(from, to);
        let begin = pieces.start;
        let piece = |i: usize| work(self.piece(begin + i, from, to)?);
        ordered(pieces.len(), threads, 2 * threads, piece, |_, made| sink(made))
    }
}

/// Ids must be unique; the error names one that is not.
pub fn check_unique(path: &Path, ids: &[i32], prefix: &str) -> Result<()> {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|w| w[0] == w[1]) {
        Some(twice) => Err(Error::input(path, format!("`sample_id` `{prefix}{}` is there more than once", twice[0]))),
        None => Ok(()),
    }
}

fn match_header(path: &Path, header: &[String], columns: &[&str]) -> Result<Vec<Role>> {
    let position: std::collections::HashMap<&str, usize> = columns.iter().enumerate().map(|(i, c)| (*c, i)).collect();
    let mut seen = vec![false; columns.len()];
    let mut id_seen = false;
    let mut fields = Vec::new();
    let mut unknown = Vec::new();
    for name in header.iter().map(String::as_str) {
        match position.get(name) {
            Some(&i) => {
                fields.push(Role::Value(i));
                seen[i] = true;
            }
            None if name == "sample_id" => {
                fields.push(Role::Id);
                id_seen = true;
            }
            None if name.is_empty() || name.starts_with("Unnamed: ") => fields.push(Role::RowNumber),
            None => unknown.push(name),
        }
    }
    let missing: Vec<&str> = (!id_seen)
        .then_some("sample_id")
        .into_iter()
        .chain(columns.iter().zip(&seen).filter(|(_, s)| !**s).map(|(c, _)| *c))
        .collect();
    if missing.is_empty() && unknown.is_empty() {
        return Ok(fields);
    }
    let list = |what: &str, names: &[&str]| match names {
        [] => None,
        [one] => Some(format!("column `{one}` is {what}")),
        [first, ..] => Some(format!("{} columns are {what}, the first is `{first}`", names.len())),
    };
    let problems: Vec<String> = [list("missing", &missing), list("unknown", &unknown)].into_iter().flatten().collect();
    Err(Error::input(path, format!("line 1: {}", problems.join("; ")))
        .hint("expected `sample_id` and the columns of Kaggle's file of this name"))
}

/// Lines without their ends; a last line without one counts, an empty rest does not.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let some = !text.is_empty();
    text.split(|b| *b == b'\n').filter(move |_| some).map(trim)
}

fn trim(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.csv");
        common::durable::write(&path, text.as_bytes()).unwrap();
        (folder, path)
    }

    fn open(text: &str) -> Result<CsvFile> {
        let (_folder, path) = file(text);
        CsvFile::open(&path, &["x", "y"], "test_", 2)
    }

    #[test]
    fn columns_are_matched_by_name_and_rows_keep_their_order() {
        let csv = open("sample_id,y,x\r\ntest_7,1e-300,-2.5\r\ntest_3,4,0.1").unwrap();
        assert_eq!(csv.rows(), 2);
        let rows = csv.piece(0, 0, 2).unwrap();
        assert_eq!((rows.ids, rows.values), (vec![7, 3], vec![-2.5, 1e-300, 0.1, 4.0]));
        assert_eq!(csv.piece(0, 1, 2).unwrap().ids, [3]);
    }

    #[test]
    fn what_spreadsheets_pandas_and_r_write_holds_the_same_rows() {
        for text in [
            ",sample_id,x,y\n0,test_7,-2.5,1e-3\n1,test_3,0.1,4\n",
            "Unnamed: 0,sample_id,x,y\n0,test_7,-2.5,1e-3\n1,test_3,0.1,4\n",
            "\"\",\"sample_id\",\"x\",\"y\"\n\"1\",\"test_7\",-2.5,1e-3\n\"2\",\"test_3\",0.1,4\n",
            "\u{feff}sample_id;x;y\r\ntest_7;-2,5;0,001\r\ntest_3;0,1;4\r\n;;\r\n",
            "sample_id\tx\ty\ntest_7\t-2.5\t1e-3\ntest_3\t0.1\t4\n\n",
        ] {
            let csv = open(text).unwrap();
            let rows = csv.piece(0, 0, 9).unwrap();
            assert_eq!((rows.ids, rows.values), (vec![7, 3], vec![-2.5, 1e-3, 0.1, 4.0]), "{text}");
        }
    }

    #[test]
    fn many_pieces_give_the_rows_of_one() {
        use std::fmt::Write as _;
        let mut text = String::from("sample_id,x,y\n");
        for i in 0..400_000 {
            writeln!(text, "test_{i},{i}.5,{}", -i).unwrap();
        }
        let (_folder, path) = file(&text);
        let csv = CsvFile::open(&path, &["x", "y"], "test_", 2).unwrap();
        assert!(csv.pieces.len() > 2);
        let mut next = 123_456;
        csv.map((next as u64, 390_000), 2, Ok, |rows| {
            for (id, xy) in rows.ids.iter().zip(rows.values.chunks(2)) {
                assert_eq!((*id, xy[0], xy[1]), (next, f64::from(next) + 0.5, -f64::from(next)));
                next += 1;
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(next, 390_000);
    }

    #[test]
    fn wrong_columns_ids_and_values_are_named_with_their_line() {
        let message = |text: &str| match open(text) {
            Err(e) => e.to_string(),
            Ok(csv) => csv.piece(0, 0, 9).unwrap_err().to_string(),
        };
        assert!(message("sample_id,x,z\n").contains("column `y` is missing; column `z` is unknown"));
        assert!(message("sample_id,x,x,y\n").contains("`x` appears twice"));
        assert!(message("x,y\n").contains("`sample_id` is missing"));
        assert!(message("sample_id,x,y\ntest_1,1,2\nrow_2,1,2\n").contains("line 3: `sample_id` is `row_2`"));
        assert!(message("sample_id,x,y\ntest_1,1,\n").contains("line 2: field 3 is ``"));
        assert!(message("sample_id,x,y\ntest_1,1,nan\n").contains("finite"));
        assert!(message("sample_id,x,y\ntest_1,1\n").contains("has 2 fields, expected 3"));
        assert!(message("sample_id,x,y\ntest_1,1,2,3\n").contains("more than 3 fields"));
        assert!(message("sample_id,x,y\n\ntest_1,1,2\n").contains("line 2"));
        assert!(message("sep=;\nsample_id;x;y\ntest_1;1;a\n").contains("line 3: field 3 is `a`"));
        assert!(check_unique(Path::new("t"), &[3, 1, 3], "test_").unwrap_err().to_string().contains("test_3"));
    }
}
