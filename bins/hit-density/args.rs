//! What can be typed.

use std::path::PathBuf;

use clap::Parser;
use common::cli::{Arguments, HELP_STYLES, Verbosity};

/// Count the hits of events in voxels: the map of the density metric
///
/// The grid spans all hits of all events, or the bounds given. The archive holds plain arrays and, beside them, the
/// layout of the original, which therefore can load it. The statistics of the map go to standard output.
#[derive(Debug, Parser)]
#[command(name = "hit-density", version, styles = HELP_STYLES, max_term_width = 79, after_help = SHORT, after_long_help = examples())]
pub struct Args {
    /// Folder of events (`event*-hits.csv`)
    #[arg(long, value_name = "FOLDER", help_heading = "Input")]
    pub data_dir: PathBuf,
    /// Side of a voxel in mm
    #[arg(long, value_name = "MM", default_value_t = 100.0, help_heading = "Map")]
    pub voxel_size: f64,
    /// Box instead of the one of all hits: x0,x1,y0,y1,z0,z1 in mm
    #[arg(
        long,
        value_name = "BOX",
        value_delimiter = ',',
        num_args = 1,
        allow_hyphen_values = true,
        help_heading = "Map"
    )]
    pub bounds: Option<Vec<f32>>,
    /// Round towards zero, as the original does
    ///
    /// Hits up to one voxel below the grid then count in its first voxel.
    #[arg(long, help_heading = "Map")]
    pub upstream_compat: bool,
    /// Accepted for old scripts; changes nothing
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Map")]
    pub batch_size: usize,
    /// Leave unreadable events out instead of failing
    #[arg(long, help_heading = "Input")]
    pub skip_bad: bool,
    /// Where the map goes
    #[arg(short, long, value_name = "FILE", default_value = "outputs/hit_density_stats.npz", help_heading = "Output")]
    pub output: PathBuf,
    /// Print one line of JSON instead of the text
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// CPU threads [default: all cores]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub threads: Option<usize>,
    /// Take only the first N events
    #[arg(long, value_name = "N", help_heading = "Run", value_parser = common::cli::positive)]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

impl Arguments for Args {
    fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }
}

const SHORT: &str = "`--help` says more and shows examples.";

fn examples() -> String {
    let examples: Vec<&str> = registry::density().map(|density| density.examples).collect();
    format!("Examples:\n{}", examples.join("\n\n"))
}
