//! The text of a csv file, whoever wrote it: gzip, byte order mark, quotes, ends of lines, blank lines at the end.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::store::map::Mapped;

/// A csv file whose header was read. Plain files are mapped; a compressed one lies in memory, inflated.
#[derive(Debug)]
pub struct CsvText {
    mapped: Mapped,
    inflated: Option<Vec<u8>>,
    header: Vec<String>,
    begin: usize,
    end: usize,
}

impl CsvText {
    /// Opens a file; what is compressed is told by its first bytes.
    ///
    /// # Errors
    /// [`Error::Input`] where the file is missing, empty, no UTF-8, not separated by commas, or names a column twice.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mapped = Mapped::open(path)?;
        let mut inflated = None;
        if mapped.bytes().starts_with(b"\x1f\x8b") {
            let mut bytes = Vec::new();
            flate2::read::MultiGzDecoder::new(mapped.bytes()).read_to_end(&mut bytes).map_err(|e| {
                Error::input(mapped.path(), format!("inflating: {e}")).hint("the file is damaged; compress it again")
            })?;
            inflated = Some(bytes);
        }
        let bytes = inflated.as_deref().unwrap_or(mapped.bytes());
        let bad = |problem: String| Error::input(mapped.path(), problem);
        if bytes.starts_with(b"PK\x03\x04") {
            return Err(bad("is a zip archive, expected csv".into()).hint("unpack it first"));
        }
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(bad("is UTF-16 text, expected UTF-8".into()).hint("save it as `CSV UTF-8`"));
        }
        let blank = bytes.iter().rev().take_while(|b| matches!(b, b'\n' | b'\r')).count();
        let end = bytes.len() - blank;
        let start = if bytes[..end].starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let (line, begin) = line_at(&bytes[..end], start);
        if line.is_empty() {
            return Err(bad("is empty or begins with an empty line, expected a header".into()));
        }
        let bad = |problem: String| bad(format!("line 1: {problem}"));
        let mut header = Vec::new();
        for field in Fields::of(line) {
            let field = field.map_err(bad)?;
            let name = std::str::from_utf8(&field).map_err(|_| bad("a column name is no UTF-8".into()))?;
            header.push(name.to_owned());
        }
        if let [only] = header.as_slice()
            && let Some(sign) = [';', '\t'].into_iter().find(|sign| only.contains(*sign))
        {
            let sign = if sign == ';' { "semicolons" } else { "tabs" };
            return Err(bad(format!("the fields are separated by {sign}, expected commas")));
        }
        let mut seen = HashSet::with_capacity(header.len());
        if let Some(name) = header.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(bad(format!("the column `{name}` appears twice")));
        }
        drop(seen);
        Ok(Self { inflated, header, begin: begin.min(end), end, mapped })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.mapped.path()
    }

    /// Names of all columns.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The whole text without blank lines at its end; the rows begin at [`CsvText::begin`].
    pub fn bytes(&self) -> &[u8] {
        &self.inflated.as_deref().unwrap_or(self.mapped.bytes())[..self.end]
    }

    /// Where the first row begins.
    pub fn begin(&self) -> usize {
        self.begin
    }
}

/// The line that holds position `at` or what is left of it, without its end, and where the next one begins.
pub(super) fn line_at(bytes: &[u8], at: usize) -> (&[u8], usize) {
    let rest = &bytes[at..];
    match rest.iter().position(|&b| b == b'\n') {
        Some(length) => (rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]), at + length + 1),
        None => (rest.strip_suffix(b"\r").unwrap_or(rest), bytes.len()),
    }
}

/// The fields of one line. A line without a comma has one field.
pub struct Fields<'a> {
    line: &'a [u8],
    /// One beyond the length of the line when all fields were given.
    at: usize,
}

impl<'a> Fields<'a> {
    /// The fields of a line without its end.
    pub fn of(line: &'a [u8]) -> Self {
        Self { line, at: 0 }
    }

    fn quoted(&mut self, inside: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        let mut text = Vec::new();
        let mut rest = inside;
        loop {
            let length = rest.iter().position(|&b| b == b'"').ok_or("a quoted field has no end on its line")?;
            text.extend_from_slice(&rest[..length]);
            rest = &rest[length + 1..];
            match rest.first() {
                Some(b'"') => {
                    text.push(b'"');
                    rest = &rest[1..];
                }
                None | Some(b',') => {
                    self.at = self.line.len() - rest.len() + 1;
                    return Ok(Cow::Owned(text));
                }
                Some(_) => return Err("a quoted field goes on behind its quote".into()),
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
        let length = rest.iter().position(|&b| b == b',').unwrap_or(rest.len());
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
        let texts: [&[u8]; 6] = [
            b"id,x\n1,2\n",
            b"\xef\xbb\xbfid,x\n1,2\n",
            b"\"id\",\"x\"\n1,2",
            b"id,x\r\n1,2\r\n",
            b"id,x\n1,2\n\n\r\n\n",
            &zipped,
        ];
        for text in texts {
            let file = open(text).unwrap();
            assert_eq!(file.header(), ["id", "x"]);
            let line = line_at(file.bytes(), file.begin()).0;
            let fields: Vec<_> = Fields::of(line).map(|field| field.unwrap().into_owned()).collect();
            assert_eq!(fields, [b"1", b"2"]);
        }
    }

    #[test]
    fn what_is_no_csv_of_commas_is_refused_with_what_it_is() {
        let problem = |bytes: &[u8]| open(bytes).unwrap_err().to_string();
        assert!(problem(b"id;x\n1;2\n").ends_with("line 1: the fields are separated by semicolons, expected commas"));
        assert!(problem(b"id\tx\n").contains("tabs"));
        assert!(problem(b"\xff\xfei\0d\0").contains("UTF-16"));
        assert!(problem(b"PK\x03\x04").contains("zip archive"));
        assert!(problem(b"\x1f\x8b\x08junk").contains("inflating"));
        assert!(problem(b"\n\n").contains("is empty"));
    }

    #[test]
    fn a_header_alone_has_no_rows() {
        let file = open(b"id,x").unwrap();
        assert_eq!(file.begin(), file.bytes().len());
        let file = open(b"id,x\n\n").unwrap();
        assert_eq!(file.begin(), file.bytes().len());
    }
}
