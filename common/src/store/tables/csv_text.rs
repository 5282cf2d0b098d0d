//! The text of a csv file, whoever wrote it: gzip, UTF-16, byte order mark, quotes, ends of lines, blank lines at the end,
//! semicolons (with commas in the numbers), tabs or bars between the fields, Excel's `sep=;` before the header.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::store::map::Mapped;

/// A csv file whose header was read. Plain files are mapped; one that has to be decoded lies in memory.
#[derive(Debug)]
pub struct CsvText {
    path: PathBuf,
    stored: Stored,
    /// The text where it is not what the file holds byte by byte.
    decoded: Option<Vec<u8>>,
    header: Vec<String>,
    begin: usize,
    end: usize,
    sign: u8,
    /// Lines before the first row.
    above: usize,
    /// Whether ends of lines inside of quotes are written as [`INSIDE`].
    joined: bool,
}

/// What a file holds.
#[derive(Debug)]
enum Stored {
    Mapped(Mapped),
    /// Of an archive.
    Read(Vec<u8>),
}

impl Stored {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(mapped) => mapped.bytes(),
            Self::Read(bytes) => bytes,
        }
    }
}

/// Stands for the end of a line inside of quotes, so that a row is a line: the separator of records, which no text has.
const INSIDE: u8 = 0x1e;

impl CsvText {
    /// Opens a file; what is compressed or UTF-16 is told by its first bytes, what separates the fields by its header.
    ///
    /// # Errors
    /// [`Error::Input`] where the file is missing, empty, no text, packed in a way that is not read, or names a column
    /// twice.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::opened(path.as_ref(), true)
    }

    /// The same for files whose rows are lines: nobody looks for ends of lines inside of quotes, which takes a pass over
    /// the file.
    ///
    /// # Errors
    /// As [`CsvText::open`].
    pub fn open_lines(path: impl AsRef<Path>) -> Result<Self> {
        Self::opened(path.as_ref(), false)
    }

    fn opened(path: &Path, quotes: bool) -> Result<Self> {
        let mapped = Mapped::open(path)?;
        Self::of(mapped.path().to_path_buf(), Stored::Mapped(mapped), quotes)
    }

    /// The same of what was read already; `path` is for messages.
    ///
    /// # Errors
    /// As [`CsvText::open`].
    pub fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        super::super::foreign::demand_data(path, &bytes)?;
        Self::of(path.to_path_buf(), Stored::Read(bytes), true)
    }

    fn of(path: PathBuf, stored: Stored, quotes: bool) -> Result<Self> {
        let mut decoded = decode(&path, stored.bytes())?;
        let bytes = decoded.as_deref().unwrap_or(stored.bytes());
        let bad = |problem: String| Error::input(&path, problem);
        let blank = bytes.iter().rev().take_while(|b| matches!(b, b'\n' | b'\r')).count();
        let end = bytes.len() - blank;
        let start = if bytes[..end].starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let (mut line, mut begin) = line_at(&bytes[..end], start);
        let mut above = 1;
        let mut sign = None;
        if let Some(&[named]) = line.strip_prefix(b"sep=")
            && SIGNS.contains(&named)
        {
            sign = Some(named);
            above = 2;
            (line, begin) = line_at(&bytes[..end], begin);
        }
        if line.is_empty() {
            return Err(bad("is empty or begins with an empty line, expected a header".into())
                .hint("write it again: a line with a name for every column, and the rows below"));
        }
        let bad = |problem: String| bad(format!("line {above}: {problem}"));
        let sign = match sign {
            Some(sign) => sign,
            None => sign_of(line).map_err(bad)?,
        };
        let mut header = Vec::new();
        for field in Fields::between(line, sign) {
            let field = field.map_err(bad)?;
            let name = std::str::from_utf8(&field).map_err(|_| bad("a column name is no UTF-8".into()))?;
            // Some writers put a space behind each comma.
            header.push(name.trim().to_owned());
        }
        let mut seen = HashSet::with_capacity(header.len());
        if let Some(name) = header.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(bad(format!("the column `{name}` appears twice")));
        }
        drop(seen);
        let begin = begin.min(end);
        let inside = if quotes { broken_lines(&bytes[..end], begin, sign) } else { vec![] };
        let joined = !inside.is_empty();
        if joined {
            let text = decoded.get_or_insert_with(|| stored.bytes().to_vec());
            inside.into_iter().for_each(|at| text[at] = INSIDE);
        }
        let bytes = decoded.as_deref().unwrap_or(stored.bytes());
        let end = if header.len() > 1 { begin + filled(&bytes[begin..end], sign) } else { end };
        Ok(Self { decoded, header, begin, end, sign, above, joined, path, stored })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all columns.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The whole text without blank lines at its end; the rows begin at [`CsvText::begin`].
    pub fn bytes(&self) -> &[u8] {
        &self.decoded.as_deref().unwrap_or(self.stored.bytes())[..self.end]
    }

    /// The fields of one line without its end.
    pub fn fields<'a>(&self, line: &'a [u8]) -> Fields<'a> {
        Fields { joined: self.joined, ..Fields::between(line, self.sign) }
    }

    /// Number of the line of the file in which a position lies; those inside of quotes count, too.
    pub fn line_of(&self, at: usize) -> usize {
        1 + self.bytes()[..at].iter().filter(|&&b| b == b'\n' || self.joined && b == INSIDE).count()
    }

    /// A field as the digits of a number: where semicolons separate fields, numbers may be written with a comma.
    pub fn number<'a>(&self, field: &'a [u8]) -> Cow<'a, [u8]> {
        if self.sign != b';' || !field.contains(&b',') {
            return Cow::Borrowed(field);
        }
        let points = field.iter().filter(|b| matches!(b, b',' | b'.')).count();
        if points > 1 {
            return Cow::Borrowed(field); // thousands: no number to us
        }
        Cow::Owned(field.iter().map(|&b| if b == b',' { b'.' } else { b }).collect())
    }

    /// Number of the line that holds the first row.
    pub fn first_line(&self) -> u64 {
        self.above as u64 + 1
    }

    /// Where the first row begins.
    pub fn begin(&self) -> usize {
        self.begin
    }
}

/// What may stand between fields. A bar is one only where there is no other.
const SIGNS: [u8; 4] = *b",;\t|";

/// The text of a file that is packed or in another encoding; none where it can be read as it lies there.
fn decode(path: &Path, stored: &[u8]) -> Result<Option<Vec<u8>>> {
    let bad = |problem: &str| Error::input(path, problem);
    let mut decoded = None;
    if stored.starts_with(b"\x1f\x8b") {
        let mut bytes = Vec::new();
        flate2::read::MultiGzDecoder::new(stored).read_to_end(&mut bytes).map_err(|e| {
            Error::input(path, format!("inflating: {e}")).hint("the file is damaged; compress it again")
        })?;
        decoded = Some(bytes);
    }
    let bytes = decoded.as_deref().unwrap_or(stored);
    let packed: [(&[u8], &str); 5] = [
        (b"PK\x03\x04", "a zip archive"),
        (b"BZh", "packed with bzip2"),
        (b"\xfd7zXZ\0", "packed with xz"),
        (b"\x28\xb5\x2f\xfd", "packed with zstd"),
        (b"PAR1", "a parquet file"),
    ];
    if let Some((_, what)) = packed.iter().find(|(begin, _)| bytes.starts_with(begin)) {
        return Err(bad(&format!("is {what}, expected csv, plain or packed with gzip")).hint("unpack it first"));
    }
    let units = |pair: fn([u8; 2]) -> u16| bytes[2..].as_chunks::<2>().0.iter().map(move |&b| pair(b));
    let wide = match bytes {
        [0xff, 0xfe, ..] => Some(char::decode_utf16(units(u16::from_le_bytes)).collect::<Result<String, _>>()),
        [0xfe, 0xff, ..] => Some(char::decode_utf16(units(u16::from_be_bytes)).collect::<Result<String, _>>()),
        _ => None,
    };
    if let Some(text) = wide {
        decoded = Some(text.map_err(|_| bad("is no sound UTF-16 text").hint("save it as `CSV UTF-8`"))?.into_bytes());
    }
    // Old spreadsheet programs end lines with a carriage return alone.
    let bytes = decoded.as_deref().unwrap_or(stored);
    let first = bytes.iter().position(|&b| b == b'\n').unwrap_or(bytes.len());
    if bytes[..first].trim_ascii_end().contains(&b'\r') {
        decoded = Some(bytes.iter().map(|&b| if b == b'\r' { b'\n' } else { b }).collect());
    }
    Ok(decoded)
}

/// What separates most fields of the header; a comma where that is as good as another sign.
fn sign_of(header: &[u8]) -> Result<u8, String> {
    let mut best = (0, b',');
    for sign in SIGNS.into_iter().filter(|sign| *sign != b'|' || !header.iter().any(|b| SIGNS[..3].contains(b))) {
        let mut fields = 0;
        for field in Fields::between(header, sign) {
            match field {
                Ok(_) => fields += 1,
                Err(problem) if sign == b',' && !SIGNS[1..].iter().any(|s| header.contains(s)) => return Err(problem),
                Err(_) => {
                    fields = 0;
                    break;
                }
            }
        }
        if fields > best.0 {
            best = (fields, sign);
        }
    }
    Ok(best.1)
}

/// Length of the rows without those at the end that spreadsheet programs leave of rows that were emptied: signs alone.
fn filled(rows: &[u8], sign: u8) -> usize {
    let mut end = rows.len();
    while end > 0 {
        let begin = rows[..end].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        if !rows[begin..end].iter().all(|&b| b == sign || b == b'\r' || b == b' ') {
            break;
        }
        end = begin.saturating_sub(1);
    }
    end
}

/// Where lines end inside of quotes, the rows beginning at `begin`. A quote opens a field at its begin alone; one that has no
/// end is left to who reads its line.
fn broken_lines(bytes: &[u8], begin: usize, sign: u8) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = begin;
    let quote = |from: usize| {
        let block = bytes[from..].chunks(4096).position(|block| block.contains(&b'"'))?;
        let from = from + 4096 * block;
        bytes[from..].iter().position(|&b| b == b'"').map(|length| from + length)
    };
    while let Some(open) = quote(at) {
        at = open + 1;
        if open > begin && bytes[open - 1] != sign && bytes[open - 1] != b'\n' {
            continue;
        }
        let known = found.len();
        loop {
            let Some(close) = quote(at) else {
                found.truncate(known);
                return found;
            };
            found.extend((at..close).filter(|&i| bytes[i] == b'\n'));
            at = close + 1;
            if bytes.get(at) != Some(&b'"') {
                break;
            }
            at += 1;
        }
    }
    found
}

/// The line that holds position `at` or what is left of it, without its end, and where the next one begins.
pub(super) fn line_at(bytes: &[u8], at: usize) -> (&[u8], usize) {
    let rest = &bytes[at..];
    match rest.iter().position(|&b| b == b'\n') {
        Some(length) => (rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]), at + length + 1),
        None => (rest.strip_suffix(b"\r").unwrap_or(rest), bytes.len()),
    }
}

/// The fields of one line. A line without a separating sign has one field.
pub struct Fields<'a> {
    line: &'a [u8],
    sign: u8,
    /// One beyond the length of the line when all fields were given.
    at: usize,
    /// Whether quoted fields may hold ends of lines.
    joined: bool,
}

impl<'a> Fields<'a> {
    fn between(line: &'a [u8], sign: u8) -> Self {
        Self { line, sign, at: 0, joined: false }
    }

    fn quoted(&mut self, inside: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        let mut text = Vec::new();
        let mut rest = inside;
        loop {
            let length = rest.iter().position(|&b| b == b'"').ok_or("a quoted field has no end")?;
            text.extend_from_slice(&rest[..length]);
            rest = &rest[length + 1..];
            match rest.first() {
                Some(b'"') => {
                    text.push(b'"');
                    rest = &rest[1..];
                }
                next if next.is_none_or(|&b| b == self.sign) => {
                    self.at = self.line.len() - rest.len() + 1;
                    if self.joined {
                        text.iter_mut().filter(|b| **b == INSIDE).for_each(|b| *b = b'\n');
                    }
                    return Ok(Cow::Owned(text));
                }
                _ => return Err("a quoted field goes on behind its quote".into()),
            }
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Cow<'a, [u8]>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.line.get(self.at..)?;
        if rest.first() == Some(&b'"') {
            return Some(self.quoted(&rest[1..]));
        }
        let length = rest.iter().position(|&b| b == self.sign).unwrap_or(rest.len());
        self.at += length + 1;
        Some(Ok(Cow::Borrowed(&rest[..length])))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn open(bytes: &[u8]) -> Result<CsvText> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        crate::durable::write(&path, bytes).unwrap();
        CsvText::open(&path)
    }

    #[test]
    fn the_dialects_of_common_writers_hold_the_same_rows() {
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        zipped.write_all(b"id,x\n1,2\n").unwrap();
        let zipped = zipped.finish().unwrap();
        let wide: Vec<u8> = "\u{feff}id\tx\r\n1\t2\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let texts: [&[u8]; 15] = [
            b"id,x\n1,2\n",
            b"\xef\xbb\xbfid,x\n1,2\n",
            b"\"id\",\"x\"\n1,2",
            b"id,x\r\n1,2\r\n",
            b"id,x\n1,2\n\n\r\n\n",
            &zipped,
            &wide,
            b"id;x\n1;2\n",
            b"id\tx\r\n1\t2\r\n",
            b"\xef\xbb\xbfsep=;\r\nid;x\r\n1;2\r\n",
            b"sep=,\nid,x\n1,2\n",
            b"id,x\r1,2\r",
            b"id,x\n1,2\n,\n,\r\n",
            b"id;x\n1;2\n;\n",
            b"\"id\";\"x\"\n\"1\";2",
        ];
        for text in texts {
            let file = open(text).unwrap();
            assert_eq!(file.header(), ["id", "x"]);
            let line = line_at(file.bytes(), file.begin()).0;
            let fields: Vec<_> = file.fields(line).map(|field| field.unwrap().into_owned()).collect();
            assert_eq!(fields, [b"1", b"2"]);
        }
    }

    #[test]
    fn what_is_no_csv_of_commas_is_refused_with_what_it_is() {
        let problem = |bytes: &[u8]| open(bytes).unwrap_err().to_string();
        assert!(problem(b"\xff\xfe\0\xd8\0\0").contains("no sound UTF-16"));
        assert!(problem(b"BZh91AY").contains("bzip2"));
        assert!(problem(b"PAR1").contains("parquet"));
        assert!(problem(b"sep=;\n\n").contains("is empty"));
        assert!(problem(b"PK\x03\x04").contains("zip archive"));
        assert!(problem(b"\x1f\x8b\x08junk").contains("inflating"));
        assert!(problem(b"\n\n").contains("is empty"));
    }

    #[test]
    fn texts_in_quotes_may_have_several_lines() {
        let file = open(b"id,x\n1,\"a \"\"b\"\"\r\nc,\n\"\n2,5\" wide\n\"3\",\"\"\n").unwrap();
        let mut rows = vec![];
        let mut begin = file.begin();
        while begin < file.bytes().len() {
            let (line, next) = line_at(file.bytes(), begin);
            let fields = file.fields(line).map(|field| String::from_utf8(field.unwrap().into_owned()).unwrap());
            rows.push(fields.collect::<Vec<_>>());
            begin = next;
        }
        assert_eq!(rows, [["1", "a \"b\"\r\nc,\n"], ["2", "5\" wide"], ["3", ""]]);
        assert_eq!(file.line_of(file.bytes().len() - 1), 6);
        // A quote without an end breaks no other line.
        let file = open(b"id,x\n1,2\n3,\"4\n5,6\n").unwrap();
        let (line, next) = line_at(file.bytes(), line_at(file.bytes(), file.begin()).1);
        assert!(file.fields(line).any(|field| field.is_err_and(|problem| problem.contains("has no end"))));
        assert_eq!(line_at(file.bytes(), next).0, b"5,6");
    }

    #[test]
    fn numbers_with_a_comma_belong_to_semicolons() {
        let text = |sign: &str| open(format!("id{sign}x\n1{sign}2").as_bytes()).unwrap();
        assert_eq!(text(";").number(b"1,5").as_ref(), b"1.5");
        assert_eq!(text(";").number(b"-1,5e-3").as_ref(), b"-1.5e-3");
        assert_eq!(text(";").number(b"1.234,5").as_ref(), b"1.234,5");
        assert_eq!(text("\t").number(b"1,5").as_ref(), b"1,5");
        assert_eq!(text(",").number(b"1,5").as_ref(), b"1,5");
    }

    #[test]
    fn a_header_alone_has_no_rows() {
        let file = open(b"id,x").unwrap();
        assert_eq!(file.begin(), file.bytes().len());
        let file = open(b"id,x\n\n").unwrap();
        assert_eq!(file.begin(), file.bytes().len());
    }
}
