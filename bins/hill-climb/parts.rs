//! The submissions that a blend is summed of: tables with ids, columns of one wide table, arrays by place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::oof::Content;
use common::submission::{Ids, Rows, SubmissionFile, match_ids};
use common::{Error, Result};

/// The file of a model: all of it, or a column of a table that holds several models.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The column.
    pub column: Option<String>,
}

/// Predictions of one model.
pub enum Part {
    /// A table with the columns of the blend.
    Table(Box<SubmissionFile>),
    /// A column of a table, for a blend of one column.
    Column(Arc<SubmissionFile>, String),
    /// Numbers without names, row-major, in the order of the columns of the blend.
    Array(PathBuf, Vec<f64>),
}

impl Part {
    /// A table, compared with the ids and columns of the base.
    pub fn table(base: &SubmissionFile, mut file: SubmissionFile) -> Result<(Self, Rows)> {
        file.read_ids()?;
        same_columns(base, &file)?;
        let rows = match_ids(base.ids(), base.path(), file.ids(), file.path())?;
        file.forget_ids();
        Ok((Self::Table(Box::new(file)), rows))
    }

    /// A table with a column for each of several models.
    pub fn wide(base: &SubmissionFile, mut file: SubmissionFile) -> Result<(Arc<SubmissionFile>, Rows)> {
        file.read_ids()?;
        if base.columns().len() != 1 {
            let (against, columns) = (base.path().display(), base.columns().len());
            let problem = format!("holds a column a model, but `{against}` has {columns} columns");
            return Err(Error::input(file.path(), problem).hint("pass a file a model"));
        }
        let rows = match_ids(base.ids(), base.path(), file.ids(), file.path())?;
        file.forget_ids();
        Ok((Arc::new(file), rows))
    }

    /// An array, whose rows are those of the base by place, or by the ids of its archive.
    pub fn array(base: &SubmissionFile, path: &Path, scratch: &Path) -> Result<(Self, Rows)> {
        let (values, width, ids): (Vec<f64>, usize, Option<Ids>) = match Content::open(path, false, scratch)? {
            Content::Array(values, width, ids) => (values, width, ids),
            Content::Ours(table) => {
                let matrix = table.matrix()?;
                let matrix = match table.normalisation() {
                    Some((mean, std)) => matrix.mapped(std.to_vec(), mean.to_vec())?,
                    None => matrix,
                };
                let width = table.columns();
                let mut values = vec![0.0; table.rows() * width];
                let rows = values.chunks_exact_mut(width).enumerate();
                rows.for_each(|(row, out)| matrix.read(row, 0..width, out));
                (values, width, None)
            }
            _ => return Err(Error::input(path, "holds texts, expected predictions")),
        };
        let (rows, against) = (values.len() / width, base.path().display());
        if width != base.columns().len() {
            let problem = format!("has {width} columns, `{against}` has {}", base.columns().len());
            return Err(Error::input(path, problem));
        }
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            let (row, column) = (at / width, &base.columns()[at % width]);
            let problem = format!("row {row}, column `{column}`: {} is not finite", values[at]);
            return Err(Error::input(path, problem).hint("predict again; a diverged network gives NaN"));
        }
        let order = match ids {
            Some(ids) => match_ids(base.ids(), base.path(), &ids, path)?,
            None if rows == base.ids().len() => Rows::Same,
            None => {
                let problem = format!("holds {rows} rows, but `{against}` has {}", base.ids().len());
                return Err(Error::input(path, problem).hint("without ids, rows are matched by their place"));
            }
        };
        Ok((Self::Array(path.into(), values), order))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Table(file) => file.path(),
            Self::Column(file, _) => file.path(),
            Self::Array(path, _) => path,
        }
    }

    /// Whether the rows have no ids.
    pub fn is_array(&self) -> bool {
        matches!(self, Self::Array(..))
    }

    /// Some columns of the blend, which has `all` of them.
    pub fn read(&self, names: &[&str], all: &[String]) -> Result<Vec<Vec<f64>>> {
        match self {
            Self::Table(file) => file.read(names),
            Self::Column(file, column) => file.read(&[column.as_str()]),
            Self::Array(_, values) => {
                let place = |name: &&str| all.iter().position(|column| column == name).unwrap_or_default();
                let column = |c: usize| values.iter().skip(c).step_by(all.len()).copied().collect();
                Ok(names.iter().map(|name| column(place(name))).collect())
            }
        }
    }
}

/// Demands the same columns; their order may differ.
fn same_columns(base: &SubmissionFile, file: &SubmissionFile) -> Result<()> {
    let against = base.path().display();
    let hint = format!("it needs the columns of `{against}` and no others");
    if let Some(name) = base.columns().iter().find(|c| !file.columns().contains(c)) {
        return Err(Error::input(file.path(), format!("lacks the column `{name}` of `{against}`")).hint(hint));
    }
    if let Some(name) = file.columns().iter().find(|c| !base.columns().contains(c)) {
        let problem = format!("has the column `{name}`, which `{against}` has not");
        return Err(Error::input(file.path(), problem).hint(hint));
    }
    Ok(())
}
