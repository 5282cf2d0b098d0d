//! A table of people, opened: its ids read, its columns of numbers ready to be read one by one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::ids::Ids;
use super::roles::{Roles, names_ids, roles, row_above};
use super::spool::{Spool, SpoolWriter};
use crate::error::{Error, Result};
use crate::store::tables::{Column, ColumnKind, CsvReader, CsvText, ParquetFile, kinds_of_csv};

/// How the names of tables end.
pub const ENDINGS: [&str; 6] = [".csv", ".csv.gz", ".parquet", ".tsv", ".tsv.gz", ".pq"];

/// Whether a path names a table: `.csv` or `.tsv`, also `.gz`, `.parquet` or `.pq`.
pub fn is_table(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ENDINGS.iter().any(|end| name.ends_with(end))
}

/// Whether a file is one of parquet, by its name or its first bytes.
pub fn is_parquet(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let begins = || {
        let mut first = [0; 4];
        path.is_file()
            && std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut first)).is_ok()
            && first == *b"PAR1"
    };
    ["parquet", "pq"].iter().any(|known| ending.eq_ignore_ascii_case(known)) || begins()
}

/// What is asked of a table when it is opened.
#[derive(Debug, Clone, Default)]
pub struct Open<'a> {
    /// The column of the ids, where it was named.
    pub id: Option<&'a str>,
    /// Whether a table without ids is an error.
    pub demands_ids: bool,
    /// Whether missing numbers are NaN instead of errors.
    pub holes: bool,
}

/// Values of a column of labels.
#[derive(Debug, Clone, PartialEq)]
pub enum Labels {
    /// Numbers.
    Numbers(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}

/// What pandas calls row labels without a name.
const COUNTER: &str = "__index_level_0__";

/// A table: a submission, a solution, out-of-fold predictions, a training table.
pub struct SubmissionFile {
    path: PathBuf,
    source: Source,
    schema: Vec<(String, ColumnKind)>,
    roles: Roles,
    id: Option<usize>,
    /// Positions of the columns that are neither ids nor row labels nor usage.
    values: Vec<String>,
    ids: Ids,
    rows: usize,
    holes: bool,
}

enum Source {
    Parquet(ParquetFile),
    /// Text is read once, into columns on disk, when the first number is asked for.
    Csv {
        text: Arc<CsvText>,
        scratch: PathBuf,
        spool: OnceLock<Box<(Vec<String>, Spool)>>,
    },
}

impl SubmissionFile {
    /// Opens a submission or solution: ids are demanded, numbers may not be missing. `scratch` is a folder for
    /// temporaries.
    pub fn open(path: impl AsRef<Path>, scratch: impl AsRef<Path>) -> Result<Self> {
        Self::open_as(path, scratch, &Open { demands_ids: true, ..Open::default() })
    }

    /// Opens a parquet or csv file, told by its first bytes, finds the column of the ids and reads them.
    ///
    /// # Errors
    /// [`Error::Input`] where the file is damaged, or the column of the ids cannot be told; then it names the
    /// candidates and the flag that decides.
    pub fn open_as(path: impl AsRef<Path>, scratch: impl AsRef<Path>, how: &Open) -> Result<Self> {
        let mut file = Self::unnamed(path, scratch, how.holes)?;
        let id = match how.id {
            Some(name) => Some(file.place(name)?),
            None => match file.candidates().as_slice() {
                [] => None,
                [only] => Some(file.place(only)?),
                several => {
                    let problem = format!("the ids may be in the columns `{}`", several.join("`, `"));
                    return Err(Error::input(&file.path, problem).hint(format!("say which: `--id {}`", several[0])));
                }
            },
        };
        if id.is_none() && how.demands_ids {
            return Err(file.no_ids());
        }
        file.take_ids(id)?;
        Ok(file)
    }

    /// Opens a file whose ids are settled later, by [`SubmissionFile::name_ids`], because several files must agree on
    /// their column.
    pub fn unnamed(path: impl AsRef<Path>, scratch: impl AsRef<Path>, holes: bool) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let (source, schema, index) = if is_parquet(&path) {
            let mut file = ParquetFile::open(&path)?;
            if holes {
                file = file.with_holes();
            }
            let (mut schema, mut index) = (file.schema().to_vec(), file.index().to_vec());
            // Dates are read where they name the rows.
            let dates = file.moments().iter().filter(|name| names_ids(name) || index.contains(name));
            schema.extend(dates.map(|name| (name.clone(), ColumnKind::Text)));
            // Labels that are a mere count are no column of the file.
            if let Some(counter) = file.counter()
                && (counter.name.is_some() || counter.start != 0 || counter.step != 1)
            {
                let name = counter.name.clone().unwrap_or_else(|| COUNTER.into());
                if !schema.iter().any(|(known, _)| *known == name) {
                    schema.push((name.clone(), ColumnKind::I64));
                    index.extend(counter.name.clone());
                }
            }
            (Source::Parquet(file), schema, index)
        } else {
            let text = Arc::new(CsvText::open(&path)?);
            if let Some(numbers) = row_above(text.header()) {
                return Err(row_in_place_of_names(&path, &numbers));
            }
            let schema = kinds_of_csv(&text)?;
            (Source::Csv { text, scratch: scratch.as_ref().into(), spool: OnceLock::new() }, schema, vec![])
        };
        let roles = roles(&schema, &index);
        let mut file =
            Self { path, source, schema, roles, id: None, values: vec![], ids: Ids::Integers(vec![]), rows: 0, holes };
        file.rows = match &file.source {
            Source::Parquet(parquet) => parquet.rows(),
            Source::Csv { text, .. } => lines(&text.bytes()[text.begin()..]),
        };
        if file.rows == 0 {
            return Err(
                Error::input(&file.path, "has no rows").hint("write it again: what wrote it may have been stopped")
            );
        }
        // Without a telling name, a first column of distinct whole numbers before others is one of ids, and so are
        // distinct row labels that do not merely count.
        if file.roles.candidates.is_empty() {
            let others = file.schema.len() - file.roles.labels.len() - usize::from(file.roles.usage.is_some());
            let first = (0..file.schema.len()).find(|c| !file.roles.labels.contains(c) && file.roles.usage != Some(*c));
            let labels = file.roles.labels.clone();
            if let Some(first) = first.filter(|&c| others > 1 && is_whole(file.schema[c].1))
                && file.distinct(first, false)?
            {
                // Names that are numbers, and ids below: the first row stands in place of the header.
                if file.schema.iter().all(|(name, _)| name.parse::<f64>().is_ok()) {
                    let numbers =
                        file.schema.iter().take(4).map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",");
                    return Err(row_in_place_of_names(&file.path, &numbers));
                }
                file.roles.candidates = vec![first];
            } else if let [label] = labels.as_slice()
                && matches!(file.schema[*label].1, ColumnKind::Text | ColumnKind::I64 | ColumnKind::I32)
                && file.distinct(*label, true)?
            {
                file.roles.candidates = vec![*label];
            }
        }
        file.values = file.value_names();
        Ok(file)
    }

    /// Opens submissions whose ids stand in one column, by this name or the one that they share; the ids are read by
    /// [`SubmissionFile::name_ids`], of one file at a time.
    ///
    /// # Errors
    /// [`Error::Input`] where no column or several may be that of the ids.
    pub fn open_together(paths: &[&Path], scratch: &Path, id: Option<&str>) -> Result<Vec<Self>> {
        let mut files = paths.iter().map(|path| Self::unnamed(path, scratch, false)).collect::<Result<Vec<_>>>()?;
        let of = |f: &&Self| f.nameless().is_none();
        let named: Vec<(&Path, Vec<String>)> = files.iter().filter(of).map(|f| (f.path(), f.candidates())).collect();
        let id = match id {
            Some(id) => Some(id.to_owned()),
            None => super::roles::common_id(&named)?.or_else(|| files[0].nameless()),
        };
        let Some(id) = id else { return Err(files[0].no_ids()) };
        for file in &mut files {
            let own = file.nameless().filter(|_| !file.has(&id)).unwrap_or_else(|| id.clone());
            file.choose_ids(&own)?;
        }
        Ok(files)
    }

    fn no_ids(&self) -> Error {
        let names: Vec<&str> = self.schema.iter().map(|(name, _)| name.as_str()).collect();
        let shown = names.iter().take(8).copied().collect::<Vec<_>>().join("`, `");
        Error::input(&self.path, format!("no column holds the ids; it has `{shown}`")).hint("name it: `--id COLUMN`")
    }

    /// Names of the columns that may hold the ids.
    pub fn candidates(&self) -> Vec<String> {
        self.roles.candidates.iter().map(|&c| self.schema[c].0.clone()).collect()
    }

    /// The only candidate where it is one of row labels without a name, which may be those of any column of ids.
    pub fn nameless(&self) -> Option<String> {
        match self.roles.candidates.as_slice() {
            [only] if self.roles.labels.contains(only) => Some(self.schema[*only].0.clone()),
            _ => None,
        }
    }

    /// Says which column holds the ids; they are read by [`SubmissionFile::read_ids`].
    pub fn choose_ids(&mut self, name: &str) -> Result<()> {
        self.id = Some(self.place(name)?);
        self.values = self.value_names();
        Ok(())
    }

    /// Reads the ids of the column that was chosen, if any was.
    pub fn read_ids(&mut self) -> Result<()> {
        self.take_ids(self.id)
    }

    /// Reads the ids from this column.
    pub fn name_ids(&mut self, name: &str) -> Result<()> {
        let place = self.place(name)?;
        self.take_ids(Some(place))
    }

    /// Whether there is a column of this name.
    pub fn has(&self, name: &str) -> bool {
        self.schema.iter().any(|(c, _)| c == name)
    }

    fn take_ids(&mut self, id: Option<usize>) -> Result<()> {
        self.id = id;
        self.values = self.value_names();
        if let Some(id) = id {
            let name = self.schema[id].0.clone();
            self.ids = Ids::of_column(self.column(id)?, &name, &self.path)?;
        }
        if self.values.is_empty() {
            let problem = format!("has {} columns, expected ids and values", self.schema.len());
            return Err(Error::input(&self.path, problem));
        }
        Ok(())
    }

    fn value_names(&self) -> Vec<String> {
        let special = |c: &usize| Some(*c) == self.id || self.roles.labels.contains(c) || self.roles.usage == Some(*c);
        (0..self.schema.len()).filter(|c| !special(c)).map(|c| self.schema[c].0.clone()).collect()
    }

    /// Whether a column holds no value twice; `beyond_count`: and is not 0, 1, 2, ...
    fn distinct(&self, c: usize, beyond_count: bool) -> Result<bool> {
        let Ok(ids) = Ids::of_column(self.column(c)?, &self.schema[c].0, &self.path) else { return Ok(false) };
        Ok(match ids {
            Ids::Numbers(_) => false,
            Ids::Integers(ids) => {
                let counts = ids.iter().enumerate().all(|(row, id)| *id == row as i64);
                let all: std::collections::HashSet<i64> = ids.iter().copied().collect();
                all.len() == ids.len() && !(beyond_count && counts)
            }
            Ids::Texts(ids) => ids.iter().collect::<std::collections::HashSet<_>>().len() == ids.len(),
        })
    }

    /// A column as it is stored.
    fn column(&self, c: usize) -> Result<Column> {
        let (name, kind) = &self.schema[c];
        match &self.source {
            Source::Parquet(file) => match file.counter().filter(|_| !file.has(name)) {
                Some(counter) => Ok(Column::I64(counter.labels(self.rows))),
                None => file.read_ids(name),
            },
            Source::Csv { text, .. } => {
                let mut reader = CsvReader::over(text.clone(), &[(name, *kind)])?;
                if self.holes {
                    reader = reader.with_holes();
                }
                let mut column = Column::empty(*kind);
                while let Some(mut batch) = reader.next_batch()? {
                    column.append(batch.take(name)?);
                }
                Ok(column)
            }
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the column of ids; empty where there is none.
    pub fn id(&self) -> &str {
        self.id.map_or("", |c| &self.schema[c].0)
    }

    /// How many of [`SubmissionFile::columns`] stand before the ids.
    pub fn id_at(&self) -> usize {
        let before = self.schema.iter().take(self.id.unwrap_or_default());
        before.filter(|(name, _)| self.values.contains(name)).count()
    }

    /// Names of the columns beside ids, row labels and `Usage`, in file order.
    pub fn columns(&self) -> &[String] {
        &self.values
    }

    /// Names of the columns of numbers or truths among [`SubmissionFile::columns`].
    pub fn numbers(&self) -> Vec<&str> {
        let of = |name: &&String| self.schema.iter().any(|(n, kind)| n == *name && *kind != ColumnKind::Text);
        self.values.iter().filter(of).map(String::as_str).collect()
    }

    /// The ids, in file order; empty where the table has none.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Whether the table has ids.
    pub fn has_ids(&self) -> bool {
        self.id.is_some()
    }

    /// The part of the leaderboard that each row counts for, where the table says it.
    pub fn usage(&self) -> Result<Option<Vec<String>>> {
        let Some(c) = self.roles.usage else { return Ok(None) };
        match self.column(c)? {
            Column::Text(parts) => Ok(Some(parts)),
            _ => Ok(None),
        }
    }

    /// Lets go of the ids, which weigh as much as several columns; messages then name rows by number alone.
    pub fn forget_ids(&mut self) {
        self.ids = Ids::Integers(Vec::new());
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A column of labels: numbers, or texts.
    pub fn labels(&self, name: &str) -> Result<Labels> {
        Ok(match self.column(self.place(name)?)? {
            Column::Text(texts) => Labels::Texts(texts),
            other => Labels::Numbers(self.as_numbers(name, other)?),
        })
    }

    /// A column of whole numbers or texts, as it would be one of ids; none for other types and where values are missing.
    pub fn keys(&self, name: &str) -> Result<Option<Ids>> {
        let c = self.place(name)?;
        if !is_whole(self.schema[c].1) && self.schema[c].1 != ColumnKind::Text {
            return Ok(None);
        }
        Ok(Ids::of_column(self.column(c)?, name, &self.path).ok())
    }

    /// Whole columns, in double precision. A value that is not finite is an error naming its row and id, except NaN
    /// in a table opened with holes.
    pub fn read(&self, names: &[&str]) -> Result<Vec<Vec<f64>>> {
        for name in names {
            if self.schema[self.place(name)?].1 == ColumnKind::Text {
                return Err(self.bad_field(name));
            }
        }
        let columns: Vec<Vec<f64>> = match &self.source {
            Source::Parquet(file) => {
                let mut table = file.read(Some(names), 0..usize::MAX)?;
                names.iter().map(|name| self.as_numbers(name, table.take(name)?)).collect::<Result<_>>()?
            }
            Source::Csv { scratch, spool, text } => {
                let (order, spool) = match spool.get() {
                    Some(spool) => &**spool,
                    None => {
                        let filled = self.spooled(text, scratch)?;
                        &**spool.get_or_init(|| Box::new(filled))
                    }
                };
                let place = |name: &str| order.iter().position(|n| n == name).unwrap_or_default();
                names.iter().map(|name| spool.read(place(name), 0..self.rows)).collect()
            }
        };
        for (name, values) in names.iter().zip(&columns) {
            if let Some(row) = values.iter().position(|v| !(v.is_finite() || self.holes && v.is_nan())) {
                let id = if row < self.ids.len() { format!(" (`{}`)", self.ids.shown(row)) } else { String::new() };
                let problem = format!("row {row}{id}, column `{name}`: {} is not finite", values[row]);
                return Err(Error::input(&self.path, problem).hint("predict again; a diverged network gives NaN"));
            }
        }
        Ok(columns)
    }

    /// Where texts stand in a column of csv that should hold numbers, the line of the first one is named.
    fn bad_field(&self, name: &str) -> Error {
        let otherwise = || Error::input(&self.path, format!("column `{name}` holds texts, expected numbers"));
        let Source::Csv { text, .. } = &self.source else { return otherwise() };
        let strict = CsvReader::over(text.clone(), &[(name, ColumnKind::F64)]).map(CsvReader::with_holes);
        let Ok(mut strict) = strict else { return otherwise() };
        loop {
            match strict.next_batch() {
                Ok(Some(_)) => {}
                Err(error @ Error::Input { .. }) => return error,
                Ok(None) | Err(_) => return otherwise(),
            }
        }
    }

    fn as_numbers(&self, name: &str, column: Column) -> Result<Vec<f64>> {
        Ok(match column {
            Column::F64(v) => v,
            Column::F32(v) => v.into_iter().map(f64::from).collect(),
            Column::I32(v) => v.into_iter().map(f64::from).collect(),
            Column::I16(v) => v.into_iter().map(f64::from).collect(),
            Column::I64(v) => v.into_iter().map(|x| x as f64).collect(),
            Column::Bool(v) => v.into_iter().map(|x| f64::from(u8::from(x))).collect(),
            Column::Text(_) => {
                return Err(Error::input(&self.path, format!("column `{name}` holds texts, expected numbers")));
            }
        })
    }

    fn place(&self, name: &str) -> Result<usize> {
        let found = self.schema.iter().position(|(c, _)| c == name);
        found
            .ok_or_else(|| crate::store::tables::missing(&self.path, name, self.schema.iter().map(|(n, _)| n.as_str())))
    }

    fn spooled(&self, text: &Arc<CsvText>, scratch: &Path) -> Result<(Vec<String>, Spool)> {
        let names: Vec<String> = self.numbers().into_iter().map(str::to_owned).collect();
        let schema: Vec<(&str, ColumnKind)> = names.iter().map(|c| (c.as_str(), ColumnKind::F64)).collect();
        // A missing number is an error unless it was asked for: then the strict reader names its line.
        let mut reader = CsvReader::over(text.clone(), &schema)?.with_holes();
        if !self.holes && !self.schema.iter().any(|(_, kind)| *kind == ColumnKind::Bool) {
            reader = CsvReader::over(text.clone(), &schema)?;
        }
        let mut writer = SpoolWriter::create(scratch, self.rows, names.len())?;
        let mut row = 0;
        while let Some(batch) = reader.next_batch()? {
            for (c, name) in names.iter().enumerate() {
                writer.put(c, row, batch.f64(name)?)?;
            }
            row += batch.rows();
        }
        Ok((names, writer.seal()?))
    }
}

fn row_in_place_of_names(path: &Path, row: &str) -> Error {
    Error::input(path, format!("line 1: holds the row `{row}` in place of the names of columns"))
        .hint("write a line with a name for every column above the rows")
}

fn is_whole(kind: ColumnKind) -> bool {
    matches!(kind, ColumnKind::I64 | ColumnKind::I32 | ColumnKind::I16)
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|&&b| b == b'\n').count() + usize::from(!text.is_empty() && !text.ends_with(b"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str, how: &Open) -> Result<SubmissionFile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        crate::durable::write(&path, text.as_bytes()).unwrap();
        let file = SubmissionFile::open_as(&path, folder.path(), how)?;
        // Numbers are read while the folder of temporaries is there.
        file.read(&file.numbers())?;
        Ok(file)
    }

    #[test]
    fn the_row_numbers_of_pandas_are_neither_ids_nor_values() {
        let file = open(",id,target\n0,903,0.5\n1,902,0.25\n", &Open { demands_ids: true, ..Open::default() }).unwrap();
        assert_eq!((file.id(), file.columns()), ("id", &["target".to_string()][..]));
        assert_eq!(file.ids(), &Ids::from(vec![903, 902]));
        // Labels that are no mere count are the ids where there are no others.
        let file = open(",target\n903,0.5\n902,0.25\n", &Open::default()).unwrap();
        assert_eq!(file.ids(), &Ids::from(vec![903, 902]));
        let file = open(",target\n0,0.5\n1,0.25\n", &Open::default()).unwrap();
        assert!(!file.has_ids());
    }

    #[test]
    fn two_columns_that_may_hold_ids_are_named_with_the_flag() {
        let text = "id,user_id,target\n1,2,0.5\n";
        let error = open(text, &Open::default()).err().unwrap();
        assert!(error.to_string().ends_with("the ids may be in the columns `id`, `user_id`"), "{error}");
        assert_eq!(error.hint_text().as_deref(), Some("say which: `--id id`"));
        assert_eq!(open(text, &Open { id: Some("user_id"), ..Open::default() }).unwrap().columns().len(), 2);
    }

    #[test]
    fn a_column_of_the_leaderboard_is_no_value() {
        let file = open("id,y,Usage\na,1,Public\nb,2,Private\n", &Open::default()).unwrap();
        assert_eq!(file.columns(), ["y"]);
        assert_eq!(file.usage().unwrap().unwrap(), ["Public", "Private"]);
    }

    #[test]
    fn missing_numbers_are_errors_or_holes() {
        let text = "id,y\na,1\nb,\n";
        let error = open(text, &Open::default()).err().unwrap().to_string();
        assert!(error.contains("line 3: column `y` is ``, expected a number"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        crate::durable::write(&path, text.as_bytes()).unwrap();
        let file = SubmissionFile::open_as(&path, folder.path(), &Open { holes: true, ..Open::default() }).unwrap();
        assert!(file.read(&["y"]).unwrap()[0][1].is_nan());
    }
}
