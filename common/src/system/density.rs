//! Maps of where hits lie, as the binary `hit-density` asks for them.

use std::path::PathBuf;

use crate::Result;

/// How a system makes the map.
pub struct Density {
    /// What the help says, as examples: each a line that says what it does and the indented command.
    pub examples: &'static str,
    /// Counts, writes, prints.
    pub run: fn(&DensityRequest) -> Result<()>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct DensityRequest {
    /// Folder of events.
    pub data_dir: PathBuf,
    /// Side of a voxel in mm.
    pub voxel_size: f64,
    /// Box instead of the one of all hits, mm.
    pub bounds: Option<Vec<f32>>,
    /// Round as the original does.
    pub upstream_compat: bool,
    /// Leave unreadable events out.
    pub skip_bad: bool,
    /// Where the map goes.
    pub output: PathBuf,
    /// One line of JSON instead of text.
    pub json: bool,
    /// CPU threads.
    pub threads: Option<usize>,
    /// The first events alone.
    pub limit: Option<usize>,
}
