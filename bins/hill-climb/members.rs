//! The models of a search: names and out-of-fold files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::metrics::Matrix;
use common::oof::{Table, named, resolve};
use common::{Error, Result};

/// One model.
pub struct Member {
    /// Name in the table of weights.
    pub name: String,
    /// Its predictions.
    pub table: Table,
}

/// Opens `[NAME=]PATH` arguments. Names must differ.
pub fn open(arguments: &[String]) -> Result<Vec<Member>> {
    let mut seen = BTreeSet::new();
    arguments
        .iter()
        .map(|argument| {
            let (name, path) = named(argument);
            let table = Table::predictions(resolve(path, &["oof"])?)?;
            let name = name.map(str::to_string).or_else(|| table.layout().member.clone());
            let name = name.unwrap_or_else(|| name_of(table.path()));
            if !seen.insert(name.clone()) {
                return Err(Error::usage(format!("two models are called `{name}`"))
                    .hint(format!("name them: `NAME={}`", table.path().display())));
            }
            Ok(Member { name, table })
        })
        .collect()
}

/// The predictions of all models in the space of the truth, the first `rows` of them.
pub fn matrices<'a>(members: &'a [Member], truth: &Table, rows: usize) -> Result<Vec<Matrix<'a>>> {
    members.iter().map(|m| Ok(m.table.in_space_of(truth)?.head(rows))).collect()
}

/// The file's stem, or its folder's name if the file is just called `oof`.
fn name_of(path: &Path) -> String {
    let full: PathBuf = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let stem = full.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match full.parent().and_then(Path::file_name) {
        Some(folder) if stem == "oof" => folder.to_string_lossy().into_owned(),
        _ => stem,
    }
}
