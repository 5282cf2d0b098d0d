//! One set of arrays being written: the same rows in a file of each chain, published together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::durable::Written;
use common::store::tensors::{Declaration, Dtype, TensorWriter};
use common::{Error, Result};

use super::places::{BEFORE, EARLIER, PLACES, PREVIOUS, WIDTH};
use super::scale::{Rows, Scaler};
use crate::columns::{INPUTS, TARGETS};
use crate::norm::{NORMALISATION, target_metadata};

/// What a set holds beside the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Targets.
    Train,
    /// Targets, and the constants that lead back from normalised targets.
    Valid,
    /// Ids and linear columns.
    Test,
}

/// What stands beside the arrays of a set.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside {
    /// Where and when every row is.
    pub places: bool,
    /// Which row is the step before every row, and so many rows of steps that are no rows of the set.
    pub earlier: Option<usize>,
}

/// Writes `FOLDER/{a,b}/NAME.safetensors` row by row.
pub struct SetWriter {
    folder: PathBuf,
    name: String,
    kind: Kind,
    chains: Vec<(Scaler, TensorWriter)>,
}

impl SetWriter {
    /// Declares `rows` rows in a file of each chain.
    pub fn create(
        folder: &Path,
        name: &str,
        kind: Kind,
        rows: usize,
        scalers: &[Scaler],
        beside: Beside,
    ) -> Result<Self> {
        let mut chains = Vec::with_capacity(scalers.len());
        for scaler in scalers {
            let mut tensors = vec![Declaration::new("inputs", Dtype::F32, &[rows, INPUTS])];
            match kind {
                Kind::Train | Kind::Valid => {
                    tensors.push(Declaration::new("targets", Dtype::F32, &[rows, TARGETS]));
                }
                Kind::Test => {
                    let linear = super::scale::exact_columns(scaler.chain()).count();
                    tensors.push(Declaration::new("ids", Dtype::I32, &[rows]));
                    tensors.push(Declaration::new("linear", Dtype::F64, &[rows, linear]));
                }
            }
            if beside.places {
                tensors.push(Declaration::new(PLACES, Dtype::F32, &[rows, WIDTH]));
            }
            if let Some(earlier) = beside.earlier {
                tensors.push(Declaration::new(PREVIOUS, Dtype::I64, &[rows]));
                tensors.push(Declaration::new(EARLIER, Dtype::F32, &[earlier, BEFORE]));
            }
            // Constants that nobody has published travel with the arrays, and say which they are.
            let identity = scaler.identity()?;
            let mut about = target_metadata(scaler.chain());
            if let Some(identity) = &identity {
                about[NORMALISATION] = identity.as_str().into();
            }
            let [mean, std, weight] = scaler.target_constants();
            let mut constants: Vec<(&str, &[f64])> = Vec::new();
            if kind == Kind::Valid || (kind == Kind::Test && identity.is_some()) {
                constants.extend([("target_mean", mean.as_slice()), ("target_std", std.as_slice())]);
                constants.extend(identity.is_some().then_some(("target_weight", weight.as_slice())));
            }
            tensors.extend(constants.iter().map(|(name, _)| Declaration::new(*name, Dtype::F64, &[TARGETS])));
            let path = folder.join(file_of(scaler, name));
            let mut writer = TensorWriter::create(path, &tensors, Some(&about))?;
            for (name, values) in constants {
                writer.append_elements(name, values)?;
            }
            chains.push((scaler.clone(), writer));
        }
        Ok(Self { folder: folder.to_path_buf(), name: name.to_string(), kind, chains })
    }

    /// Appends the rows of one block, one entry a chain in the order of the scalers.
    pub fn append(&mut self, rows: &[Rows]) -> Result<()> {
        for ((_, writer), rows) in self.chains.iter_mut().zip(rows) {
            writer.append_elements("inputs", &rows.inputs)?;
            if self.kind != Kind::Test {
                writer.append_elements("targets", &rows.targets)?;
            }
        }
        Ok(())
    }

    /// Appends where and when the rows of a block are.
    pub fn append_places(&mut self, places: &[f32]) -> Result<()> {
        self.chains.iter_mut().try_for_each(|(_, writer)| writer.append_elements(PLACES, places))
    }

    /// Appends which row is the step before each of a block.
    pub fn append_previous(&mut self, rows: &[i64]) -> Result<()> {
        self.chains.iter_mut().try_for_each(|(_, writer)| writer.append_elements(PREVIOUS, rows))
    }

    /// Appends rows of steps that are no rows of the set, one entry a chain.
    pub fn append_earlier(&mut self, rows: &[Vec<f32>]) -> Result<()> {
        let mut chains = self.chains.iter_mut().zip(rows);
        chains.try_for_each(|((_, writer), rows)| writer.append_elements(EARLIER, rows))
    }

    /// Appends ids, and the linear columns of each chain.
    pub fn append_test(&mut self, ids: &[i32], linear: &[Vec<f64>]) -> Result<()> {
        for ((_, writer), linear) in self.chains.iter_mut().zip(linear) {
            writer.append_elements("ids", ids)?;
            writer.append_elements("linear", linear)?;
        }
        Ok(())
    }

    /// Publishes the files: manifest name -> what was written, paths below the folder.
    pub fn finish(self) -> Result<BTreeMap<String, Written>> {
        let mut outputs = BTreeMap::new();
        for (scaler, writer) in self.chains {
            let mut written = writer.finish()?;
            let below = written.path.strip_prefix(&self.folder).map(Path::to_path_buf);
            written.path = below
                .map_err(|_| Error::failed(format!("`{}` was written outside its folder", written.path.display())))?;
            outputs.insert(format!("{}/{}", scaler.chain().name(), self.name), written);
        }
        Ok(outputs)
    }
}

fn file_of(scaler: &Scaler, name: &str) -> String {
    format!("{}/{name}.safetensors", scaler.chain().name())
}
