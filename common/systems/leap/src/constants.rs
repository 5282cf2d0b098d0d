//! The constants that arrays were normalised with, and networks that were trained on other ones.
//!
//! Arrays and weights that say nothing mean the published constants of their chain. Others carry an identity
//! ([`NORMALISATION`]), and what leads back to physical targets.

use std::path::Path;

use common::store::tensors::TensorFile;
use common::{Error, Result};
use serde_json::Value;

use crate::columns::TARGETS;
use crate::norm::{Chain, Constants, NORMALISATION};

/// The identity of the constants that a file of arrays was made with; none for the published ones.
///
/// # Errors
/// Where it is no file of arrays.
pub fn identity_of(arrays: &Path) -> Result<Option<String>> {
    let file = TensorFile::open(arrays)?;
    Ok(file.metadata().and_then(said))
}

/// The identity that the metadata of arrays or weights says.
pub fn said(about: &Value) -> Option<String> {
    about[NORMALISATION].as_str().map(str::to_string)
}

/// The published constants of a chain, with those of the targets that the arrays were made with.
///
/// # Errors
/// Where the file lacks them.
pub fn constants_of(arrays: &Path, chain: Chain) -> Result<Constants> {
    let file = TensorFile::open(arrays)?;
    let mut constants = Constants::published(chain)?.clone();
    let read = |name: &str| Ok(file.elements_of_shape::<f64>(name, &[Some(TARGETS)])?.to_vec());
    if file.contains("target_mean") {
        constants.target_mean = read("target_mean")?;
        constants.target_std = read("target_std")?;
    }
    if file.metadata().and_then(said).is_some() {
        constants.weight = read("target_weight")?;
    }
    Ok(constants)
}

/// Refuses arrays that were normalised with other constants than those that a network was trained on: its inputs would mean
/// something else, and so would its predictions.
///
/// # Errors
/// [`Error::Input`] under the name of the arrays.
pub fn demand(about: &Value, weights: &Path, arrays: &Path) -> Result<()> {
    match difference(about, &identity_of(arrays)?, weights) {
        None => Ok(()),
        Some(problem) => Err(Error::input(arrays, problem).hint(
            "take the data that the network was trained on, or prepare these with the constants of those: \
             `normalisation={files: DATA/norm}`",
        )),
    }
}

/// In what the constants of a network and of arrays differ, in words.
pub fn difference(about: &Value, found: &Option<String>, weights: &Path) -> Option<String> {
    let named =
        |identity: &Option<String>| identity.as_ref().map_or("the published ones".into(), |id| format!("`{id}`"));
    let learned = said(about);
    (learned != *found).then(|| {
        format!(
            "was normalised with other constants than those that `{}` was trained on: {} instead of {}",
            weights.display(),
            named(found),
            named(&learned)
        )
    })
}
