//! Blends of what is no plain value, as `hill-climb` asks for them.

use std::path::Path;

use crate::Result;
use crate::cli::RunFlags;

/// How a system blends predictions of its own kind.
pub struct Blend {
    /// What the help says of the models of a search.
    pub members: &'static str,
    /// What it says of the truth.
    pub truth: &'static str,
    /// What it says of how weights are found.
    pub metric: &'static str,
    /// What it says of the predictions that are blended.
    pub submissions: &'static str,
    /// Searches the weights, where the truth is of this kind; else false, and nothing is done.
    pub search: fn(&SearchRequest) -> Result<bool>,
    /// Blends, where the predictions are of this kind; else false, and nothing is done.
    pub blend: fn(&BlendRequest) -> Result<bool>,
}

/// A search that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct SearchRequest<'a> {
    /// A file, a folder, or `-`.
    pub truth: &'a str,
    /// `[NAME=]PATH` of the models.
    pub members: &'a [String],
    /// The first flag of those about the search of plain values that was given.
    pub setting: Option<&'static str>,
    /// The flags of all stages.
    pub run: &'a RunFlags,
}

/// A blend that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct BlendRequest<'a> {
    /// A table of weights, or the folder of a search.
    pub weights: &'a str,
    /// `[NAME=]PATH` of the predictions.
    pub predictions: &'a [String],
    /// Name of the files without their ending.
    pub name: &'a str,
    /// A score whose calibration of the blend is applied, a file or a folder.
    pub calibration: Option<&'a Path>,
    /// Whether to write csv, too.
    pub csv: bool,
    /// What the blend depends on beside its inputs, as config of the stage.
    pub config: &'a str,
    /// The first flag of those about blends of plain values that was given.
    pub setting: Option<&'static str>,
    /// The flags of all stages.
    pub run: &'a RunFlags,
}
