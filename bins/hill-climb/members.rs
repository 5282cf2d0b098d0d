//! The models of a search: names and out-of-fold files.

use std::path::PathBuf;

use common::Result;
use common::metrics::Matrix;
use common::oof::{Member, Table, named, resolve};

/// Names and files of `[NAME=]PATH` arguments.
pub fn paths(arguments: &[String]) -> Result<Vec<(Option<String>, PathBuf)>> {
    let one = |argument: &String| {
        let (name, path) = named(argument);
        Ok((name.map(str::to_string), resolve(path, &["oof"])?))
    };
    arguments.iter().map(one).collect()
}

/// The predictions of all models in the space of the truth, the first `rows` of them.
pub fn matrices<'a>(members: &'a [Member], truth: &Table, rows: usize) -> Result<Vec<Matrix<'a>>> {
    members.iter().map(|m| Ok(m.table.in_space_of(truth)?.head(rows))).collect()
}
