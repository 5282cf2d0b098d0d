//! The normaliser of a checkpoint: in the original's files a pickled object, in those of other people a dictionary, lists,
//! tensors or OmegaConf's nodes. Whatever says two corners is read; what does not is refused, never replaced in silence.

use std::path::Path;

use common::config::Problems;
use common::store::pickle::{Checkpoint, Column, Kind, Value};
use common::store::tensors::Dtype;
use common::{Error, Result};
use neural::weights;

use crate::normalizer::Normalizer;

/// The normaliser that the hyper-parameters of a Lightning checkpoint name; the published one, with a warning, where they
/// name none.
///
/// # Errors
/// [`Error::Input`] for a normaliser in a form that is not known.
pub fn of_parameters(path: &Path, parameters: Option<Value<'_>>) -> Result<Normalizer> {
    let value = parameters.and_then(|p| field(p, "hits_normalizer")).filter(|v| v.kind() != Kind::None);
    let Some(value) = value else { return Ok(published(path)) };
    let corner = |name: &str| field(value, name).and_then(numbers);
    let (min, range) = (corner("min_xyz"), corner("range_xyz"));
    let max = corner("max_xyz").or_else(|| {
        let (min, range) = (min?, range?);
        Some(std::array::from_fn(|i| min[i] + range[i]))
    });
    let (Some(min_xyz), Some(max_xyz)) = (min, max) else {
        let found = format!("`hyper_parameters.hits_normalizer` is {:?}", value.kind());
        return Err(Error::input(path, format!("{found}, without a `min_xyz` and a `max_xyz` of three numbers"))
            .hint("save the normaliser with both corners as arrays or lists"));
    };
    checked(path, Normalizer { min_xyz, max_xyz })
}

/// The normaliser in the metadata of a safetensors file; the published one, with a warning, where there is none.
///
/// # Errors
/// [`Error::Input`] for one that cannot be read.
pub fn of_metadata(path: &Path, about: &serde_json::Value) -> Result<Normalizer> {
    match &about["normalizer"] {
        serde_json::Value::Null => Ok(published(path)),
        value => {
            let read = serde_json::from_value(value.clone());
            checked(path, read.map_err(|e| Error::input(path, format!("its normaliser is `{value}`: {e}")))?)
        }
    }
}

/// The normaliser that a file of weights says by itself; none where it says nothing.
///
/// # Errors
/// As [`of_parameters`] and [`of_metadata`].
pub fn said(path: &Path) -> Result<Option<Normalizer>> {
    if path.extension().is_some_and(|e| e == "safetensors") {
        let about = weights::metadata(path)?.unwrap_or_default();
        return Some(&about)
            .filter(|about| !about["normalizer"].is_null())
            .map(|about| of_metadata(path, about))
            .transpose();
    }
    let Ok(checkpoint) = Checkpoint::open(path) else { return Ok(None) };
    let parameters = checkpoint.value().get("hyper_parameters");
    let said = parameters.and_then(|p| field(p, "hits_normalizer")).is_some_and(|v| v.kind() != Kind::None);
    said.then(|| of_parameters(path, parameters)).transpose()
}

/// Refuses weights that were trained on positions in another box than the prepared tracks of `data` are: the same numbers
/// would be other places.
///
/// # Errors
/// [`Error::Input`] with both boxes.
pub fn demand_normalizer(weights: &Path, found: &Normalizer, data: &Path) -> Result<()> {
    let Some(learned) = said(weights)?.filter(|learned| learned != found) else { return Ok(()) };
    Err(Error::input(weights, other_box(&learned, found, data)).hint(as_trained(&learned)))
}

/// In what a network and tracks differ, in words.
pub fn other_box(learned: &Normalizer, found: &Normalizer, data: &Path) -> String {
    let corners = |n: &Normalizer| format!("{:?} to {:?} mm", n.min_xyz, n.max_xyz);
    let (learned, found) = (corners(learned), corners(found));
    format!("learned from positions in the box {learned}, the tracks of `{}` were prepared in {found}", data.display())
}

/// What to type so that tracks are prepared as those that a network learned from.
pub fn as_trained(learned: &Normalizer) -> String {
    let (min, max) = (learned.min_xyz, learned.max_xyz);
    format!(
        "prepare them so: `'transforms=[drop_repeated_layers, {{normalize: {{min_xyz: {min:?}, max_xyz: {max:?}}}}}]'`"
    )
}

fn published(path: &Path) -> Normalizer {
    let normalizer = Normalizer::default();
    tracing::warn!(
        "`{}` does not name its normaliser: that of the published configuration is taken, {:?} to {:?} mm; `predict` takes \
         another one with `normalizer={{min_xyz: [..], max_xyz: [..]}}`",
        path.display(),
        normalizer.min_xyz,
        normalizer.max_xyz
    );
    normalizer
}

fn checked(path: &Path, normalizer: Normalizer) -> Result<Normalizer> {
    let mut problems = Problems::default();
    normalizer.validate("normalizer", &mut problems);
    if problems.is_empty() {
        return Ok(normalizer);
    }
    let (min, max) = (normalizer.min_xyz, normalizer.max_xyz);
    Err(Error::input(path, format!("its normaliser spans {min:?} to {max:?}, expected min < max on all axes")))
}

/// A value by name: of a dictionary, of an object's attributes, or of a map of OmegaConf.
fn field<'a>(value: Value<'a>, name: &str) -> Option<Value<'a>> {
    if let Some(attributes) = value.attributes() {
        return attributes.get(name).or_else(|| field(attributes.get("_content")?, name));
    }
    value.get(name)
}

/// Three numbers of any form.
fn numbers(value: Value<'_>) -> Option<[f32; 3]> {
    let list: Vec<f64> = match value.kind() {
        Kind::Array => match value.array().ok()?.column {
            Column::Floats(list) => list,
            Column::Ints(list) => list.into_iter().map(|n| n as f64).collect(),
            Column::Texts(_) => return None,
        },
        Kind::Tensor => {
            let tensor = value.tensor().ok()?;
            match tensor.dtype {
                Dtype::F32 => {
                    tensor.bytes.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
                }
                Dtype::F64 => tensor.bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
                Dtype::I64 => tensor.bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
                _ => return None,
            }
        }
        Kind::Object(_) => return numbers(value.attributes()?.get("_content")?),
        _ => {
            // Items of OmegaConf's lists are nodes that hold the number.
            let number = |item: Value<'_>| match item.attributes() {
                Some(node) => node.get("_val")?.float().ok(),
                None => item.float().ok(),
            };
            value.items().map(number).collect::<Option<Vec<_>>>()?
        }
    };
    let list: Vec<f32> = list.into_iter().map(|v| v as f32).collect();
    list.try_into().ok()
}
