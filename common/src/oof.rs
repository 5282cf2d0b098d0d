//! Out-of-fold predictions and the truth they are judged by, as the stages hand them on.
//!
//! Ours are safetensors files. The truth holds `targets` `[rows, columns]` and the normalisation `target_mean`,
//! `target_std`; predictions hold `predictions`, `mean`, `std`. Two models may have been trained on different
//! normalisations: reading maps every column affinely into the space of the truth, where R2 is the same.
//!
//! Files of other programs (csv, parquet, npy, npz, other safetensors) are read by [`Set`], rows matched by their ids.

mod foreign;
mod set;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::metrics::{Matrix, Rules};
use crate::stage::{MANIFEST, Manifest};
use crate::store::tensors::{Dtype, TensorFile};

pub use foreign::{Content, Reading};
pub use set::{Member, Set};

/// A group of neighbouring columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// First column.
    pub start: usize,
    /// Column after the last.
    pub end: usize,
}

/// What the metadata of a file says about its columns.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// Column names, empty if the file names none.
    pub columns: Vec<String>,
    /// Groups in column order, empty if the file names none.
    pub groups: Vec<Group>,
    /// Columns that count 1 whatever a model predicts.
    pub fixed: Vec<usize>,
    /// Name of the system, empty where it is not known.
    pub system: String,
    /// Name of the member that predicted.
    pub member: Option<String>,
}

/// Where the numbers of a table lie.
#[derive(Debug)]
enum Source {
    /// In a mapped file, as this tensor.
    Tensor(TensorFile, &'static str),
    /// In memory, row-major.
    Loaded(PathBuf, Vec<f64>),
}

/// A truth or out-of-fold file.
#[derive(Debug)]
pub struct Table {
    source: Source,
    rows: usize,
    columns: usize,
    normalisation: Option<(Vec<f64>, Vec<f64>)>,
    layout: Layout,
}

impl Table {
    /// Opens a truth: `targets`, `target_mean`, `target_std`.
    pub fn truth(path: impl AsRef<Path>) -> Result<Self> {
        Self::open(path.as_ref(), "targets", "target_mean", "target_std")
    }

    /// Opens out-of-fold predictions: `predictions`, `mean`, `std`.
    pub fn predictions(path: impl AsRef<Path>) -> Result<Self> {
        Self::open(path.as_ref(), "predictions", "mean", "std")
    }

    fn open(path: &Path, values: &'static str, mean: &str, std: &str) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let shape = file.shape(values)?;
        let (rows, columns) = match *shape {
            [rows] => (rows, 1),
            [rows, columns] => (rows, columns),
            _ => {
                let problem = format!("tensor `{values}` has shape {shape:?}, expected [rows] or [rows, columns]");
                return Err(Error::input(path, problem));
            }
        };
        if rows == 0 || columns == 0 {
            return Err(Error::input(path, format!("tensor `{values}` is empty: {shape:?}")));
        }
        let dtype = file.dtype(values)?;
        if !matches!(dtype, Dtype::F32 | Dtype::F64) {
            return Err(Error::input(path, format!("tensor `{values}` is {dtype}, expected F32 or F64")));
        }
        let normalisation = match (file.contains(mean), file.contains(std)) {
            (false, false) => None,
            _ => {
                let mean = file.elements_of_shape::<f64>(mean, &[Some(columns)])?.to_vec();
                let std = file.elements_of_shape::<f64>(std, &[Some(columns)])?.to_vec();
                if let Some(c) = (0..columns).find(|&c| !(mean[c].is_finite() && std[c].is_finite() && std[c] > 0.0)) {
                    let problem =
                        format!("column {c} has mean {} and std {}, expected finite and std > 0", mean[c], std[c]);
                    return Err(Error::input(path, problem));
                }
                Some((mean, std))
            }
        };
        let layout = layout(path, file.metadata(), columns)?;
        Ok(Self { source: Source::Tensor(file, values), rows, columns, normalisation, layout })
    }

    /// A table in memory, row-major, with the names of its columns.
    pub fn loaded(path: &Path, values: Vec<f64>, names: Vec<String>, member: Option<String>) -> Result<Self> {
        let columns = names.len();
        if columns == 0 || values.is_empty() || !values.len().is_multiple_of(columns) {
            return Err(Error::input(path, format!("holds {} numbers for {columns} columns", values.len())));
        }
        let layout = Layout { columns: names, member, ..Layout::default() };
        let rows = values.len() / columns;
        Ok(Self { source: Source::Loaded(path.into(), values), rows, columns, normalisation: None, layout })
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        match &self.source {
            Source::Tensor(file, _) => file.path(),
            Source::Loaded(path, _) => path,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// What the metadata says.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The metadata as stored.
    pub fn metadata(&self) -> Option<&Value> {
        match &self.source {
            Source::Tensor(file, _) => file.metadata(),
            Source::Loaded(..) => None,
        }
    }

    /// Mean and std of the normalisation, if the file has one.
    pub fn normalisation(&self) -> Option<(&[f64], &[f64])> {
        self.normalisation.as_ref().map(|(mean, std)| (mean.as_slice(), std.as_slice()))
    }

    /// The numbers as stored.
    pub fn matrix(&self) -> Result<Matrix<'_>> {
        match &self.source {
            Source::Loaded(_, values) => Matrix::f64(values, self.columns),
            Source::Tensor(file, values) => match file.dtype(values)? {
                Dtype::F64 => Matrix::f64(file.f64(values)?, self.columns),
                _ => Matrix::f32(file.f32(values)?, self.columns),
            },
        }
    }

    /// The numbers in the space of `truth`, after rows, columns and normalisations were found to go together.
    pub fn in_space_of(&self, truth: &Table) -> Result<Matrix<'_>> {
        if (self.rows, self.columns) != (truth.rows, truth.columns) {
            let problem = format!(
                "holds [{}, {}] predictions, but the truth `{}` is [{}, {}]",
                self.rows,
                self.columns,
                truth.path().display(),
                truth.rows,
                truth.columns
            );
            return Err(Error::input(self.path(), problem).hint("predict the rows of that truth, in its order"));
        }
        let (own, other) = (&self.layout.columns, &truth.layout.columns);
        if !own.is_empty()
            && !other.is_empty()
            && let Some(c) = (0..self.columns).find(|&c| own[c] != other[c])
        {
            let problem = format!("column {c} is `{}`, in the truth it is `{}`", own[c], other[c]);
            return Err(Error::input(self.path(), problem));
        }
        let matrix = self.matrix()?;
        match (&self.normalisation, &truth.normalisation) {
            (Some((mean, std)), Some((truth_mean, truth_std))) => {
                let scale: Vec<f64> = std.iter().zip(truth_std).map(|(a, b)| a / b).collect();
                let shift = (0..self.columns).map(|c| (mean[c] - truth_mean[c]) / truth_std[c]).collect();
                matrix.mapped(scale, shift)
            }
            (None, None) => Ok(matrix),
            (Some(_), None) => Err(self.one_sided(truth, "mean and std, the truth has none")),
            (None, Some(_)) => Err(self.one_sided(truth, "no mean and std, the truth has them")),
        }
    }

    fn one_sided(&self, truth: &Table, what: &str) -> Error {
        Error::input(
            self.path(),
            format!("has {what} (`{}`), so their spaces cannot be matched", truth.path().display()),
        )
    }

    /// Name of column `c`: from the metadata, else its number.
    pub fn column_name(&self, c: usize) -> String {
        self.layout.columns.get(c).cloned().unwrap_or_else(|| format!("column_{c}"))
    }

    /// The groups of the metadata, or one group of all columns.
    pub fn groups(&self) -> Vec<Group> {
        if self.layout.groups.is_empty() {
            return vec![Group { name: "all".into(), start: 0, end: self.columns }];
        }
        self.layout.groups.clone()
    }

    /// The scoring rules of a truth: its fixed columns and, where asked and possible, the zero rule.
    pub fn rules(&self, zero_rule: bool) -> Rules {
        let zero = if zero_rule { self.normalisation.clone() } else { None };
        Rules { fixed: self.layout.fixed.clone(), zero }
    }

    /// Turns "not finite" into an error that names file, row and column, if there is such a value in the first `rows`.
    pub fn demand_finite(&self, matrix: &Matrix) -> Result<()> {
        match matrix.first_non_finite() {
            None => Ok(()),
            Some((row, c)) => {
                let problem = format!("row {row}, column `{}`: the value is not finite", self.column_name(c));
                Err(Error::input(self.path(), problem).hint("predict again; a diverged network gives NaN"))
            }
        }
    }
}

/// Name and path of `NAME=PATH`; no name where there is none, or the whole is the path of something that exists.
pub fn named(argument: &str) -> (Option<&str>, &str) {
    match argument.split_once('=') {
        Some((name, path)) if !name.is_empty() && !name.contains('/') && !Path::new(argument).exists() => {
            (Some(name), path)
        }
        _ => (None, argument),
    }
}

/// The file that an argument stands for: itself, or the first of `outputs` in the folder (or piped manifest, `-`) of a
/// finished stage.
pub fn resolve(argument: &str, outputs: &[&str]) -> Result<PathBuf> {
    let path = Path::new(argument);
    if argument != "-" && !path.is_dir() {
        return if path.exists() { Ok(path.into()) } else { Err(Error::input(path, "no such file or folder")) };
    }
    resolve_in(&Manifest::read(argument)?, outputs)
}

/// The first of `outputs` that a finished stage has.
pub fn resolve_in(manifest: &Manifest, outputs: &[&str]) -> Result<PathBuf> {
    match outputs.iter().find(|name| manifest.outputs.contains_key(**name)) {
        Some(name) => manifest.output(name),
        None => Err(Error::input(
            manifest.folder.join(MANIFEST),
            format!("`{}` has none of the outputs `{}`", manifest.stage, outputs.join("`, `")),
        )),
    }
}

fn layout(path: &Path, metadata: Option<&Value>, columns: usize) -> Result<Layout> {
    let Some(metadata) = metadata else { return Ok(Layout::default()) };
    let bad = |problem: String| Error::input(path, format!("metadata: {problem}"));
    let mut layout = Layout {
        system: metadata["system"].as_str().unwrap_or_default().into(),
        member: metadata["member"].as_str().map(Into::into),
        ..Layout::default()
    };
    if let Some(names) = metadata["columns"].as_array() {
        layout.columns = names.iter().filter_map(|n| n.as_str().map(Into::into)).collect();
        if layout.columns.len() != columns {
            return Err(bad(format!("`columns` names {} columns, the data has {columns}", layout.columns.len())));
        }
    }
    if let Some(groups) = metadata["groups"].as_object() {
        for (name, range) in groups {
            let ends: Vec<usize> = range.as_array().into_iter().flatten().filter_map(position).collect();
            match ends[..] {
                [start, end] if start < end && end <= columns => {
                    layout.groups.push(Group { name: name.clone(), start, end });
                }
                _ => {
                    return Err(bad(format!(
                        "group `{name}` is {range}, expected [start, end] within {columns} columns"
                    )));
                }
            }
        }
        layout.groups.sort_by_key(|g| g.start);
    }
    if let Some(fixed) = metadata["fixed"].as_array() {
        layout.fixed = fixed.iter().filter_map(position).collect();
        if layout.fixed.len() != fixed.len() || layout.fixed.iter().any(|&c| c >= columns) {
            return Err(bad(format!("`fixed` must hold positions below {columns}")));
        }
    }
    Ok(layout)
}

fn position(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|v| usize::try_from(v).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ColumnSums;
    use crate::store::tensors::{TensorView, write};
    use serde_json::json;

    fn table(folder: &Path, name: &str, values: &[f32], mean: &[f64], std: &[f64], metadata: &Value) -> PathBuf {
        let path = folder.join(format!("{name}.safetensors"));
        let (data, m, s) =
            if name == "truth" { ("targets", "target_mean", "target_std") } else { ("predictions", "mean", "std") };
        let shape = [values.len() / mean.len(), mean.len()];
        let columns = [mean.len()];
        let tensors =
            [TensorView::of(data, &shape, values), TensorView::of(m, &columns, mean), TensorView::of(s, &columns, std)];
        write(&path, &tensors, Some(metadata)).unwrap();
        path
    }

    #[test]
    fn predictions_of_another_normalisation_score_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = json!({"columns": ["a", "b"], "groups": {"late": [1, 2], "early": [0, 1]}, "fixed": [1]});
        let truth = [0.5f32, 1.0, -0.5, 2.0, 1.5, 4.0];
        let near = [0.25f32, 1.5, -0.25, 2.5, 1.25, 3.0];
        // x = v * std + mean in both spaces
        let far: Vec<f32> = near
            .iter()
            .enumerate()
            .map(|(i, v)| if i % 2 == 0 { (v * 2.0 + 1.0 - 3.0) / 4.0 } else { v * 0.5 })
            .collect();
        let truth = Table::truth(table(folder.path(), "truth", &truth, &[1.0, 0.0], &[2.0, 0.5], &metadata)).unwrap();
        let same = table(folder.path(), "same", &near, &[1.0, 0.0], &[2.0, 0.5], &metadata);
        let other = table(folder.path(), "other", &far, &[3.0, 0.0], &[4.0, 1.0], &metadata);
        let score = |path: PathBuf| {
            let table = Table::predictions(path).unwrap();
            let sums = ColumnSums::of(&truth.matrix().unwrap(), &table.in_space_of(&truth).unwrap()).unwrap();
            [sums.r2(0), sums.r2(1)]
        };
        let (a, b) = (score(same), score(other));
        assert!((a[0] - b[0]).abs() < 1e-12 && (a[1] - b[1]).abs() < 1e-12, "{a:?} {b:?}");
        assert_eq!(truth.groups().iter().map(|g| g.name.as_str()).collect::<Vec<_>>(), ["early", "late"]);
        assert_eq!(truth.rules(true).fixed, [1]);
    }

    #[test]
    fn predictions_that_do_not_go_with_the_truth_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let (one, m, s) = ([1.0f32, 2.0, 3.0, 4.0], [0.0, 0.0], [1.0, 1.0]);
        let truth = Table::truth(table(folder.path(), "truth", &one, &m, &s, &json!({"columns": ["a", "b"]}))).unwrap();
        let problem = |name: &str, values: &[f32], metadata: Value| {
            let table = Table::predictions(table(folder.path(), name, values, &m, &s, &metadata));
            table.and_then(|t| t.in_space_of(&truth).map(|_| ())).unwrap_err().to_string()
        };
        assert!(problem("short", &one[..2], json!({})).contains("holds [1, 2] predictions, but the truth"));
        assert!(
            problem("swapped", &one, json!({"columns": ["b", "a"]}))
                .contains("column 0 is `b`, in the truth it is `a`")
        );
        assert!(problem("many", &one, json!({"columns": ["a"]})).contains("`columns` names 1 columns, the data has 2"));
        assert!(problem("group", &one, json!({"groups": {"x": [1, 3]}})).contains("group `x` is [1,3]"));
        let zero = table(folder.path(), "zero", &one, &m, &[1.0, 0.0], &json!({}));
        assert!(Table::predictions(zero).unwrap_err().to_string().contains("column 1 has mean 0 and std 0"));
    }
}
