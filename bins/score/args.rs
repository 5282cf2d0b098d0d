//! The command line.

use std::path::PathBuf;

use clap::Parser;
use common::cli::{Arguments, HELP_STYLES, Verbosity};

/// Score predictions: mean R2, mean opening angle, or F1 of classes
///
/// What is scored follows from the truth. Values get R2 (higher is better): mean, per target, group and level.
/// Directions (`event_id`, `azimuth`, `zenith`) get the mean opening angle in radians (lower is better): overall, by
/// kind of event, pulses, zenith and kappa, and how well kappa is calibrated. Tracks (TrackML submissions) get the
/// TrackML score, efficiency, purity, clones and ghosts, by pT, eta and number of hits. Classes of points (tables of
/// `predict` for PoLAr-MAE, which bring their labels: no `--truth`) get F1 and intersection over union by class, their
/// means, and the confusion matrix. The table goes to standard error, the figures as one line of JSON to standard output.
#[derive(Debug, Parser)]
#[command(name = "score", version, max_term_width = 79, styles = HELP_STYLES, after_help = EXAMPLES)]
pub struct ScoreArgs {
    /// Predictions: out-of-fold files, run folders, or submissions
    ///
    /// For a truth of arrays: safetensors files with `predictions`, `mean` and `std`, or folders of finished runs. For
    /// a table as truth: submissions in parquet or csv. For directions: tables with `event_id`, `azimuth`, `zenith` and,
    /// where known, `kappa`. For events of TrackML: submissions, or folders of `predict` stages.
    /// `NAME=` in front gives a name for the report.
    #[arg(value_name = "[NAME=]PREDICTIONS", required = true, help_heading = "Input")]
    pub predictions: Vec<String>,
    /// Truth: arrays (`valid.safetensors`), a table, a folder, or `-`
    ///
    /// A safetensors file with `targets`, `target_mean` and `target_std`; a parquet or csv table in the form of a
    /// submission; or the folder (`-`: piped manifest) of a stage with the output `valid` or `solution`. Directions: a
    /// parquet table, or the folder of a simulate-data or prepare-data stage of IceCube. Tracks: a folder or zip archive
    /// of `event*-{hits,particles,truth}.csv`, one truth file, or a stage that was fed by such events.
    #[arg(short, long, value_name = "TRUTH", help_heading = "Input")]
    pub truth: Option<String>,
    /// What counts as a particle and a track, as KEY=VALUE
    ///
    /// For tracks; may be given several times: `min_pt`, `max_eta`, `min_hits`, `first_layers`, `max_vertex_radius`,
    /// `max_vertex_z`, `min_track_hits`, `high_pt`, `missing_events=refuse`.
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Scoring")]
    pub cut: Vec<String>,
    /// Let columns with R2 below that of predicting zero keep it
    ///
    /// By default such a column counts as if zero were predicted, and is listed: the rule of the published score.
    #[arg(long, help_heading = "Scoring")]
    pub no_zero_rule: bool,
    /// List every target in the table, not only the worst
    #[arg(long, help_heading = "Scoring")]
    pub targets: bool,
    /// Print the JSON over several lines
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Write the means as JSON, the form of `dvc metrics`
    ///
    /// `{"members": {NAME: SCORE, ...}}`; the predictions named `blend`, if any, stand beside the members as `blend`.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub summary: Option<PathBuf>,
    /// Write one table of all members, their experiments and scores
    ///
    /// For directions: a `.csv`, `.md` or `.json` file; may be given several times. The columns are those of an
    /// experiment log: experiment, score, published score, score of tracks and of cascades where the truth has kinds,
    /// description, config, training set. What an experiment is stands in the configs of the runs.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub table: Vec<PathBuf>,
    /// Write `score.json` and `stage.json` to this folder
    #[arg(short, long, value_name = "FOLDER", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Replace a finished stage in the output folder
    #[arg(short, long, help_heading = "Output")]
    pub force: bool,
    /// CPU threads [default: OMP_NUM_THREADS or all]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub threads: Option<usize>,
    /// Take only the first N rows, or events
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

const EXAMPLES: &str = "Examples:
  score --truth valid.safetensors runs/195/oof.safetensors runs/197
  score --truth solution.parquet submission.csv --json
  score --truth train_meta_655.parquet runs/b32 runs/b64
  score classes/polarmae_peft classes/polarmae_fft";

impl Arguments for ScoreArgs {
    fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }
}

impl ScoreArgs {
    /// Sizes the shared thread pool.
    pub fn cpu_threads(&self) {
        let threads = self.threads.unwrap_or_else(common::cli::default_threads).max(1);
        // Fails only when the pool exists already, which then keeps its size.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }

    /// What a score depends on beside its inputs, as config of the stage.
    pub fn config_text(&self) -> String {
        let limit = self.limit.map_or("null".to_string(), |n| n.to_string());
        let cuts: String = self.cut.iter().map(|cut| format!("cut: {cut}\n")).collect();
        format!("zero_rule: {}\nlimit: {limit}\n{cuts}", !self.no_zero_rule)
    }
}
