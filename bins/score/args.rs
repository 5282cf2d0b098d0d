//! The command line.

use std::cell::OnceCell;
use std::path::PathBuf;

use clap::Parser;
use common::cli::{Arguments, HELP_STYLES, Verbosity};
use common::system::{Score, ScoreRequest};

/// Score predictions: R2 of values, or what a system's predictions are judged by
#[derive(Debug, Parser)]
#[command(name = "score", version, max_term_width = 79, styles = HELP_STYLES, long_about = about(), after_help = examples())]
pub struct ScoreArgs {
    /// Predictions: out-of-fold files, run folders, or submissions
    #[arg(value_name = "[NAME=]PREDICTIONS", required = true, help_heading = "Input", long_help = predictions())]
    pub predictions: Vec<String>,
    /// Truth: arrays (`valid.safetensors`), a table, a folder, or `-`
    #[arg(short, long, value_name = "TRUTH", help_heading = "Input", long_help = truth())]
    pub truth: Option<String>,
    /// Column of the ids in tables [default: found by its name]
    #[arg(long, value_name = "COLUMN", help_heading = "Input")]
    pub id: Option<String>,
    /// Columns of the truth that are scored [default: all]
    ///
    /// May be repeated. With it a training table is a truth: predictions need these columns alone.
    #[arg(long, value_name = "COLUMN", help_heading = "Input")]
    pub target: Vec<String>,
    /// Leave out rows that predictions lack (no id, NaN)
    ///
    /// They are counted and said. Without it such a row is an error.
    #[arg(long, help_heading = "Input")]
    pub mask_missing: bool,
    /// Match rows by their place even where there are ids
    #[arg(long, help_heading = "Input")]
    pub by_position: bool,
    /// What counts as a particle and a track, as KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Scoring", long_help = flag("--cut", "What counts as a particle and a track, as KEY=VALUE"))]
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
    #[arg(long, value_name = "FILE", help_heading = "Output", long_help = flag("--table", "Write one table of all members, their experiments and scores"))]
    pub table: Vec<PathBuf>,
    /// Write a csv table of every target's errors in its own unit
    ///
    /// For tables: R2, root mean square, mean absolute and mean error of every file of predictions and of their mean, and the
    /// CRPS of all of them as an ensemble; in W/m2 beside that, where a target is a flux of energy.
    #[arg(long, value_name = "FILE", help_heading = "Output", hide_short_help = true)]
    pub errors: Option<PathBuf>,
    /// Write a csv table of means and errors by latitude
    ///
    /// For arrays whose rows say where they are: true and predicted mean, bias, root mean square of the error and R2 of every
    /// target in its own unit, weighted by area, for bands of 10 degrees and for the globe; in W/m2 where a target is a flux
    /// of energy. `--out` draws them over latitude and pressure.
    #[arg(long, value_name = "FILE", help_heading = "Output", hide_short_help = true)]
    pub zonal: Option<PathBuf>,
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
    #[arg(long, value_name = "N", help_heading = "Run", value_parser = common::cli::positive)]
    pub limit: Option<u64>,
    /// Hash all files of earlier stages, unchanged ones too
    #[arg(long, help_heading = "Run", hide_short_help = true)]
    pub verify: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// Texts of all systems that have one.
fn texts(text: fn(&Score) -> &'static str, between: &str) -> String {
    let texts: Vec<&str> = registry::score().map(|(_, score)| text(score)).filter(|text| !text.is_empty()).collect();
    texts.join(between)
}

fn flag(flag: &str, about: &str) -> String {
    let own = registry::score().flat_map(|(_, score)| score.flags).filter(|(name, _)| *name == flag);
    own.fold(about.to_string(), |all, (_, text)| format!("{all}\n\n{text}"))
}

fn about() -> String {
    format!(
        "Score predictions: R2 of values, or what a system's predictions are judged by\n\nWhat is scored follows from the \
         truth. Values get R2 (higher is better): mean, per target, group and level. {} The table goes to standard error, \
         the figures as one line of JSON to standard output.",
        texts(|score| score.about, " ")
    )
}

fn predictions() -> String {
    format!(
        "Predictions: out-of-fold files, run folders, or submissions\n\nFor a truth of arrays: safetensors files with \
         `predictions`, `mean` and `std`, or folders of finished runs. For a table as truth: submissions in parquet or csv. \
         {} `NAME=` in front gives a name for the report.",
        texts(|score| score.predictions, " ")
    )
}

fn truth() -> String {
    format!(
        "Truth: arrays (`valid.safetensors`), a table, a folder, or `-`\n\nA safetensors file with `targets`, \
         `target_mean` and `target_std`; a parquet or csv table in the form of a submission; or the folder (`-`: piped \
         manifest) of a stage with true values. {}",
        texts(|score| score.truth, " ")
    )
}

fn examples() -> String {
    format!(
        "Examples:\n  score --truth valid.safetensors runs/195/oof.safetensors runs/197\n  score --truth \
         solution.parquet submission.csv --json\n{}",
        texts(|score| score.examples, "\n")
    )
}

impl Arguments for ScoreArgs {
    fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }
}

impl ScoreArgs {
    /// Sizes the shared thread pool.
    pub fn cpu_threads(&self) {
        let threads = self.threads.unwrap_or_else(common::cli::default_threads).max(1);
        if self.verify {
            common::verified::read_all();
        }
        // Fails only when the pool exists already, which then keeps its size.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }

    /// What is asked for, whichever kind of score it is.
    pub fn request(self) -> ScoreRequest {
        ScoreRequest {
            predictions: self.predictions,
            truth: self.truth,
            id: self.id,
            target: self.target,
            mask_missing: self.mask_missing,
            by_position: self.by_position,
            cut: self.cut,
            no_zero_rule: self.no_zero_rule,
            targets: self.targets,
            json: self.json,
            summary: self.summary,
            table: self.table,
            errors: self.errors,
            zonal: self.zonal,
            out: self.out,
            force: self.force,
            limit: self.limit,
            stage: OnceCell::new(),
        }
    }
}
