//! Writing csv: shortest digits that read back as the same number, rows formatted in parallel, order kept.

use std::io::Write;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Column, Table};
use crate::durable::{AtomicFile, Written};
use crate::error::{Error, Result};

/// Values that one task formats, about half a MiB of text.
const BLOCK_VALUES: usize = 1 << 15;
/// Tasks whose text is in memory at a time.
const BLOCKS: usize = 64;

/// Writes a whole table with a header. Equal content gives equal bytes, whatever the number of threads.
pub fn write_csv(path: impl AsRef<Path>, table: &Table) -> Result<Written> {
    let mut writer = CsvWriter::create(path, table.names())?;
    writer.append(table)?;
    writer.finish()
}

/// Writes a csv file block by block, in memory that does not grow with it.
///
/// Floats have the fewest digits that read back as the same number, not-a-number is `NaN`, bools are `true` and
/// `false`; texts with a comma, quote or line end are quoted. Lines end with `\n`.
pub struct CsvWriter {
    path: PathBuf,
    file: AtomicFile,
    width: usize,
}

impl CsvWriter {
    /// Opens a file and writes the header.
    pub fn create(path: impl AsRef<Path>, names: &[impl AsRef<str>]) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let mut file = AtomicFile::create(&path)?;
        let mut header = Vec::new();
        for (place, name) in names.iter().enumerate() {
            if place > 0 {
                header.push(b',');
            }
            text(&mut header, name.as_ref());
        }
        header.push(b'\n');
        file.write_all(&header).map_err(|e| Error::io("writing", &path, e))?;
        Ok(Self { path, file, width: names.len() })
    }

    /// Appends the rows of a table with as many columns as the header.
    pub fn append(&mut self, table: &Table) -> Result<()> {
        self.append_with(table, float)
    }

    /// As [`CsvWriter::append`], doubles with a fixed number of digits behind the point.
    pub fn append_rounded(&mut self, table: &Table, decimals: usize) -> Result<()> {
        self.append_with(table, |out, value| {
            // Writing into memory cannot fail.
            let _ = write!(out, "{value:.decimals$}");
        })
    }

    fn append_with(&mut self, table: &Table, double: impl Fn(&mut Vec<u8>, f64) + Sync) -> Result<()> {
        self.check(table.columns().len())?;
        self.rows(table.rows(), |out, row| {
            for (place, column) in table.columns().iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                match column {
                    Column::F64(v) => double(out, v[row]),
                    Column::F32(v) => float(out, v[row]),
                    Column::I64(v) => integer(out, v[row]),
                    Column::I32(v) => integer(out, v[row].into()),
                    Column::I16(v) => integer(out, v[row].into()),
                    Column::Bool(v) => out.extend_from_slice(if v[row] { b"true" } else { b"false" }),
                    Column::Text(v) => text(out, &v[row]),
                }
            }
        })
    }

    /// Appends rows of an id and a row-major `[ids.len(), width - 1]` matrix, without a table in between.
    pub fn append_matrix(&mut self, ids: &[impl AsRef<str> + Sync], values: &[f64]) -> Result<()> {
        let width = self.width.saturating_sub(1);
        if ids.len() * width != values.len() {
            self.check(1 + values.len() / ids.len().max(1))?;
            let problem = format!("{} values for {} rows of {width}", values.len(), ids.len());
            return Err(Error::failed(format!("writing `{}`: {problem}", self.path.display())));
        }
        self.rows(ids.len(), |out, row| {
            text(out, ids[row].as_ref());
            for value in &values[row * width..(row + 1) * width] {
                out.push(b',');
                float(out, *value);
            }
        })
    }

    /// Publishes the file.
    pub fn finish(self) -> Result<Written> {
        self.file.commit()
    }

    fn check(&self, found: usize) -> Result<()> {
        if found == self.width {
            return Ok(());
        }
        let problem = format!("rows of {found} columns, expected {}", self.width);
        Err(Error::failed(format!("writing `{}`: {problem}", self.path.display())))
    }

    /// Formats rows in parallel and writes them in order.
    fn rows(&mut self, rows: usize, format: impl Fn(&mut Vec<u8>, usize) + Sync) -> Result<()> {
        let step = (BLOCK_VALUES / self.width.max(1)).max(1);
        let starts: Vec<_> = (0..rows).step_by(step).collect();
        // The buffers are used again and again: fresh memory for every block would cost as much as the digits.
        let mut texts = vec![Vec::new(); BLOCKS.min(starts.len())];
        for group in starts.chunks(BLOCKS) {
            texts.par_iter_mut().zip(group).for_each(|(out, &begin)| {
                out.clear();
                for row in begin..(begin + step).min(rows) {
                    format(out, row);
                    out.push(b'\n');
                }
            });
            for out in &texts[..group.len()] {
                self.file.write_all(out).map_err(|e| Error::io("writing", &self.path, e))?;
            }
        }
        Ok(())
    }
}

fn float(out: &mut Vec<u8>, value: impl ryu::Float) {
    out.extend_from_slice(ryu::Buffer::new().format(value).as_bytes());
}

fn integer(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

fn text(out: &mut Vec<u8>, text: &str) {
    if !text.bytes().any(|b| matches!(b, b',' | b'"' | b'\n' | b'\r')) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_short_and_exact() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = Table::new();
        table.push("a,b", Column::Text(vec!["x".into(), "say \"hi\"".into(), String::new()])).unwrap();
        table.push("f", Column::F64(vec![0.1 + 0.2, -1e-300, f64::NAN])).unwrap();
        table.push("g", Column::F32(vec![0.1, 1.0, f32::INFINITY])).unwrap();
        table.push("i", Column::I64(vec![i64::MIN, 0, i64::MAX])).unwrap();
        table.push("b", Column::Bool(vec![true, false, true])).unwrap();
        let path = folder.path().join("x.csv");
        write_csv(&path, &table).unwrap();
        let expected = "\"a,b\",f,g,i,b\n\
            x,0.30000000000000004,0.1,-9223372036854775808,true\n\
            \"say \"\"hi\"\"\",-1e-300,1.0,0,false\n\
            ,NaN,inf,9223372036854775807,true\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn a_matrix_gives_the_bytes_of_its_table_with_any_number_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        let ids: Vec<_> = (0..20_011).map(|i| format!("test_{i}")).collect();
        let values: Vec<_> = (0..20_011 * 7).map(|i| f64::from(i).sin() * 1e-7).collect();
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let table = Table::of_matrix("id", ids.clone(), &names, &values).unwrap();
        let expected = write_csv(folder.path().join("a.csv"), &table).unwrap();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut writer = CsvWriter::create(folder.path().join("b.csv"), table.names()).unwrap();
            pool.install(|| {
                writer.append_matrix(&ids[..9_000], &values[..63_000]).unwrap();
                writer.append_matrix(&ids[9_000..], &values[63_000..]).unwrap();
            });
            assert_eq!(writer.finish().unwrap().blake3, expected.blake3);
        }
        let mut writer = CsvWriter::create(folder.path().join("c.csv"), table.names()).unwrap();
        let wrong = writer.append_matrix(&ids[..2], &values[..16]).unwrap_err().to_string();
        assert!(wrong.contains("rows of 9 columns, expected 8"), "{wrong}");
    }
}
