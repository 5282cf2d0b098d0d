//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use climb::SearchConfig;
use common::cli::{Arguments, HELP_STYLES, RunFlags, Verbosity};
use common::oof::Reading;
use common::system::{Blend, BlendRequest, SearchRequest};

/// Search the weights of a blend, or apply weights to submissions
#[derive(Debug, Parser)]
#[command(name = "hill-climb", version, max_term_width = 79, styles = HELP_STYLES, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct HillClimb {
    /// What is done.
    #[command(subcommand)]
    pub mode: Mode,
}

const EXAMPLES: &str = "Examples:
  hill-climb search --truth prepared runs/195 runs/197 --out blend
  hill-climb blend --weights blend/weights.csv subs --out final";

/// What is done.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one value, read once")]
pub enum Mode {
    /// Search the weights that blend out-of-fold predictions best
    Search(SearchArgs),
    /// Apply weights to submission files
    Blend(BlendArgs),
}

/// Arguments of `search`.
#[derive(Debug, Args)]
#[command(after_help = SEARCH_EXAMPLES)]
pub struct SearchArgs {
    /// Out-of-fold predictions: files or folders of finished runs
    #[arg(value_name = "[NAME=]OOF", required = true, help_heading = "Input", long_help = members())]
    pub oof: Vec<String>,
    /// Truth: a file, the folder of `prepare-data`, or `-`
    #[arg(short, long, value_name = "VALID", help_heading = "Input", long_help = truth())]
    pub truth: String,
    /// Columns of the truth that are predicted
    ///
    /// May be repeated. Without it: the only column beside the ids, or those that all members have.
    #[arg(long, value_name = "COLUMN", help_heading = "Input")]
    pub target: Vec<String>,
    /// Column of the ids [default: the one that all tables share]
    #[arg(long, value_name = "COLUMN", help_heading = "Input")]
    pub id: Option<String>,
    /// Column of the truth that weights its rows
    #[arg(long, value_name = "COLUMN", help_heading = "Input")]
    pub sample_weight: Option<String>,
    /// Order of text labels, comma-separated [default: sorted]
    ///
    /// Of two classes the second one is the positive one.
    #[arg(long, value_name = "A,B", value_delimiter = ',', help_heading = "Input")]
    pub classes: Vec<String>,
    /// Leave out rows that a member lacks (no id, NaN)
    ///
    /// They are counted and said. Without it such a row is an error.
    #[arg(long, help_heading = "Input")]
    pub mask_missing: bool,
    /// Match rows by their place even where there are ids
    #[arg(long, help_heading = "Input")]
    pub by_position: bool,
    /// Every column of the one file is a member
    #[arg(long, help_heading = "Input")]
    pub wide: bool,
    /// Config of the search (YAML)
    ///
    /// The flags below win over it.
    #[arg(short, long, value_name = "FILE", value_parser = common::share::config_argument(), help_heading = "Search")]
    pub config: Option<PathBuf>,
    /// Override of a config key
    ///
    /// May be repeated, `--set ridge=1e-6 --set polish=true`.
    #[arg(short, long = "set", value_name = "KEY=VALUE", help_heading = "Search")]
    pub set: Vec<String>,
    /// What is optimised: r2, rmse, auc, logloss .. [config: r2]
    #[arg(long, help_heading = "Search", long_help = metric())]
    pub metric: Option<String>,
    /// A command that judges blends in place of a metric
    ///
    /// It is started once, with the shell. It reads arrays in npy format (doubles, rows x columns) from its standard
    /// input, the truth first and then blends, and answers each blend with a number on a line. See docs/blending.md.
    #[arg(long, value_name = "COMMAND", help_heading = "Search")]
    pub metric_command: Option<String>,
    /// The command's number should be large
    #[arg(long, conflicts_with = "minimize", help_heading = "Search")]
    pub maximize: bool,
    /// The command's number should be small
    #[arg(long, help_heading = "Search")]
    pub minimize: bool,
    /// Search the threshold between two labels as well
    #[arg(long, help_heading = "Search")]
    pub search_threshold: bool,
    /// Blend as value, rank, logit or geometric [config: value]
    ///
    /// Ranks are shares of the rows, for scores of the order alone. The space is stored with the weights and applied by
    /// `blend`.
    #[arg(long, value_name = "SPACE", help_heading = "Search")]
    pub space: Option<String>,
    /// climb, optimum or non_negative [config: climb]
    #[arg(long, help_heading = "Search")]
    pub method: Option<String>,
    /// Start: best, equal or a table of weights [config: best]
    #[arg(long, value_name = "START", help_heading = "Search")]
    pub start: Option<String>,
    /// No negative trial weights
    #[arg(long, help_heading = "Search")]
    pub positive: bool,
    /// Distance of the trial weights [config: 0.01]
    #[arg(long, value_name = "H", help_heading = "Search")]
    pub step: Option<f64>,
    /// Trial weights from MIN to MAX
    #[arg(long, value_name = "MIN,MAX", allow_hyphen_values = true, help_heading = "Search")]
    pub step_range: Option<String>,
    /// Final weights from MIN to MAX only
    #[arg(long, value_name = "MIN,MAX", allow_hyphen_values = true, help_heading = "Search")]
    pub weight_range: Option<String>,
    /// A step must gain more than this [config: 1e-12]
    #[arg(long, value_name = "GAIN", help_heading = "Search")]
    pub tolerance: Option<f64>,
    /// Steps at most
    #[arg(long, value_name = "N", help_heading = "Search")]
    pub max_steps: Option<usize>,
    /// Models with a weight at most
    #[arg(long, value_name = "N", help_heading = "Search")]
    pub max_models: Option<usize>,
    /// Average over N climbs, each with a share of the models
    ///
    /// The share is `--set bag_share=0.5`; what each climb found, and the spread, is in `weights.json`.
    #[arg(long, value_name = "N", help_heading = "Search")]
    pub bags: Option<usize>,
    /// Weights need not sum to one
    #[arg(long, help_heading = "Search")]
    pub free_sum: bool,
    /// Models may be taken more than once
    #[arg(long, help_heading = "Search")]
    pub with_replacement: bool,
    /// Polish the weights at the end
    #[arg(long, help_heading = "Search")]
    pub polish: bool,
    /// Weights for every group of columns as well
    #[arg(long, help_heading = "Search")]
    pub per_group: bool,
    /// Weights for every target or class as well
    #[arg(long, help_heading = "Search")]
    pub per_target: bool,
    /// Also score on K held-out folds, drawn by seed
    ///
    /// For every fold the weights are searched on the other rows; the final ones come from all rows. Classes are spread
    /// evenly.
    #[arg(long, value_name = "K", help_heading = "Search")]
    pub folds: Option<usize>,
    /// The same with the folds of a column of the truth
    #[arg(long, value_name = "COLUMN", conflicts_with = "folds", help_heading = "Search")]
    pub fold_column: Option<String>,
    /// Also search N resamples of the rows, for the spread of weights
    ///
    /// Rows are drawn with replacement, every class as often as it is there. Mean, deviation and quantiles of every
    /// weight are in `weights.json` and on the page.
    #[arg(long, value_name = "N", help_heading = "Search")]
    pub bootstrap: Option<usize>,
    /// Also write the blended predictions, `oof.safetensors`
    #[arg(long, help_heading = "Output")]
    pub write_oof: bool,
    #[command(flatten)]
    pub run: RunFlags,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// `own`, and what systems with blends of their own say.
fn with(own: &str, text: fn(&Blend) -> &'static str) -> String {
    registry::blend().fold(own.to_string(), |all, blend| format!("{all} {}", text(blend)))
}

fn members() -> String {
    let own = "Out-of-fold predictions: files or folders of finished runs\n\nTables (csv, also .gz, or parquet) with ids and a \
               column a target or a class, npy, npz and safetensors files; or one table with a column a member. Rows are \
               matched by id. Of ours: a safetensors file with `predictions` [rows, columns], `mean` and `std`, or the \
               folder of a finished stage with the output `oof`. The model is called NAME, else what the file's metadata \
               say, else after its file.";
    with(own, |blend| blend.members)
}

fn truth() -> String {
    let own = "Truth: a file, the folder of `prepare-data`, or `-`\n\nA table with ids (csv or parquet; `--target` names the \
               columns), npy or npz. Of ours: a safetensors file with `targets` [rows, columns], `target_mean` and \
               `target_std`; a folder or a piped manifest stands for its output with true values: `valid`, or that of one \
               chain, `b/valid` or `a/valid`, the first that exists.";
    with(own, |blend| blend.truth)
}

fn metric() -> String {
    let own = "What is optimised: r2, rmse, auc, logloss .. [config: r2]\n\nNumbers: r2, mse, rmse, mae, rmsle, mape, smape, \
               pearson, spearman. Probabilities: logloss, brier, auc, average_precision. Quantiles or draws, a column each: crps. Vectors: \
               mean_angle. Labels (two by `threshold`, more \
               by rounding or the likeliest class): accuracy, balanced_accuracy, f1, f1_macro, f1_micro, f1_weighted, mcc, \
               qwk.\n\n";
    with(own, |blend| blend.metric).replace("\n\n ", "\n\n")
}

fn submissions() -> String {
    let own = "Submissions: parquet or csv files, or folders of them\n\nAlso npy, npz and safetensors files, by place with \
               `--sample`; one table with a column a model; and folders of finished stages (`-`: piped manifest), \
               which stand for their output `submission`. Files that the table of weights does not name are left out; a \
               model without a file is an error.";
    with(own, |blend| blend.submissions)
}

const SEARCH_EXAMPLES: &str = "Examples:
  hill-climb search --truth prepared runs/195 runs/197 runs/200 --out blend
  hill-climb search -t valid.safetensors a=a.safetensors b=b.safetensors \\
    --with-replacement --step 0.05 --tolerance 1e-6";

impl SearchArgs {
    /// What was said about the files.
    pub fn reading(&self) -> Reading {
        Reading {
            id: self.id.clone(),
            targets: self.target.clone(),
            weight: self.sample_weight.clone(),
            fold: self.fold_column.clone(),
            classes: self.classes.clone(),
            mask: self.mask_missing,
            by_position: self.by_position,
            wide: self.wide,
            samples: false,
        }
    }

    /// The search as a system with blends of its own is asked for it.
    pub fn request(&self) -> SearchRequest<'_> {
        let settings = [
            ("--config", self.config.is_some()),
            ("--set", !self.overrides().is_empty()),
            ("--write-oof", self.write_oof),
            ("--print-config", self.run.print_config),
            ("--target", !self.target.is_empty()),
            ("--id", self.id.is_some()),
            ("--sample-weight", self.sample_weight.is_some()),
            ("--classes", !self.classes.is_empty()),
            ("--mask-missing", self.mask_missing),
            ("--by-position", self.by_position),
            ("--wide", self.wide),
            ("--fold-column", self.fold_column.is_some()),
        ];
        let setting = settings.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag);
        SearchRequest { truth: &self.truth, members: &self.oof, setting, run: &self.run }
    }

    /// The flags as overrides of the config, after those given with `--set`.
    pub fn overrides(&self) -> Vec<String> {
        let mut all = self.set.clone();
        let mut text = |key: &str, value: Option<String>| all.extend(value.map(|v| format!("{key}={v}")));
        text("metric", self.metric.clone());
        text("metric_command", self.metric_command.as_ref().map(|v| serde_json::Value::from(v.as_str()).to_string()));
        text("direction", self.maximize.then(|| "maximize".into()));
        text("direction", self.minimize.then(|| "minimize".into()));
        text("search_threshold", self.search_threshold.then(|| "true".into()));
        text("space", self.space.clone());
        text("start", self.start.as_ref().map(|v| serde_json::Value::from(v.as_str()).to_string()));
        text("max_models", self.max_models.map(|v| v.to_string()));
        text("bags", self.bags.map(|v| v.to_string()));
        text("sum_one", self.free_sum.then(|| "false".into()));
        text("bootstrap", self.bootstrap.map(|v| v.to_string()));
        text("folds", self.folds.map(|v| v.to_string()));
        text("per_target", self.per_target.then(|| "true".into()));
        text("method", self.method.clone());
        text("negative", self.positive.then(|| "false".into()));
        text("step", self.step.map(|v| v.to_string()));
        text("step_range", self.step_range.as_ref().map(|v| format!("[{v}]")));
        text("weight_range", self.weight_range.as_ref().map(|v| format!("[{v}]")));
        text("tolerance", self.tolerance.map(|v| v.to_string()));
        text("max_steps", self.max_steps.map(|v| v.to_string()));
        text("with_replacement", self.with_replacement.then(|| "true".into()));
        text("polish", self.polish.then(|| "true".into()));
        text("per_group", self.per_group.then(|| "true".into()));
        all
    }
}

/// Arguments of `blend`.
#[derive(Debug, Args)]
#[command(after_help = BLEND_EXAMPLES)]
pub struct BlendArgs {
    /// Submissions: parquet or csv files, or folders of them
    #[arg(value_name = "[NAME=]SUBMISSION", required = true, help_heading = "Input", long_help = submissions())]
    pub submissions: Vec<String>,
    /// Weights: csv, json, pickled table, or folder of a search
    ///
    /// A csv file with the columns model and weight, the `weights.json` of a search, a pickled pandas table, or the
    /// folder (`-`: piped manifest) of a search. A model is the name of its submission without the ending; the
    /// published table has `.npy` instead.
    #[arg(short, long, value_name = "WEIGHTS", help_heading = "Input")]
    pub weights: String,
    /// Model whose ids and columns the blend takes [default: the first]
    #[arg(long, value_name = "MODEL", help_heading = "Input")]
    pub base: Option<String>,
    /// Column of the ids [default: the one that all files share]
    #[arg(long, value_name = "COLUMN", help_heading = "Input")]
    pub id: Option<String>,
    /// Sample submission whose ids and columns the blend takes
    ///
    /// Every member must have its ids and its columns; the blend has them in its order.
    #[arg(long, value_name = "FILE", conflicts_with = "base", help_heading = "Input")]
    pub sample: Option<PathBuf>,
    /// Space of the blend [default: that of the weights]
    ///
    /// value, rank, logit, geometric; logit_classes and geometric_classes make the columns of a row sum to one.
    #[arg(long, value_name = "SPACE", help_heading = "Input")]
    pub space: Option<String>,
    /// Calibrate how sure the blend is of its predictions
    ///
    /// The folder of a `score` stage that scored this blend on validation events (the folder of the search, as
    /// `blend=FOLDER`), or its `score.json`. For blends of predictions that say how sure they are.
    #[arg(long, value_name = "SCORE", help_heading = "Input")]
    pub calibration: Option<PathBuf>,
    /// Keep columns in which all submissions agree
    ///
    /// Always-zero and linear columns are the same in all submissions, bit for bit; a weighted sum moves their last bit.
    #[arg(long, help_heading = "Output")]
    pub keep_equal: bool,
    /// Name of the files without their ending
    #[arg(long, value_name = "NAME", default_value = "submission", help_heading = "Output")]
    pub name: String,
    /// Competition, for the line that submits the blend
    #[arg(long, value_name = "SLUG", help_heading = "Output")]
    pub competition: Option<String>,
    /// Write no csv beside the parquet
    #[arg(long, help_heading = "Output")]
    pub no_csv: bool,
    /// Digits behind the point in the csv
    ///
    /// Without it: the fewest that read back as the same number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=17), help_heading = "Output")]
    pub decimals: Option<u8>,
    /// Output folder [default: outputs/DATE/TIME/STAGE]
    #[arg(short, long, value_name = "FOLDER", help_heading = "Run")]
    pub out: Option<PathBuf>,
    /// CPU threads [default: OMP_NUM_THREADS or all]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub threads: Option<usize>,
    /// Replace a finished stage in the output folder
    #[arg(short, long, help_heading = "Run")]
    pub force: bool,
    /// Hash all files of earlier stages, unchanged ones too
    #[arg(long, help_heading = "Run", hide_short_help = true)]
    pub verify: bool,
    /// Check everything and say what would be done
    #[arg(long, help_heading = "Run")]
    pub dry_run: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

const BLEND_EXAMPLES: &str = "Examples:
  hill-climb blend --weights weights_v10.csv submission/subs \\
    --base adam_195_78569.oof --name final_blend_v10 --out final
  hill-climb blend -w blend/weights.csv a=a/submission.parquet b.csv -o final";

impl BlendArgs {
    /// The output folder, as all stages choose it.
    pub fn folder(&self) -> PathBuf {
        self.run_flags().folder("hill-climb")
    }

    /// Sizes the shared thread pool.
    pub fn cpu_threads(&self) {
        self.run_flags().cpu_threads();
    }

    /// What a blend depends on beside its inputs, as config of the stage.
    pub fn config_text(&self) -> String {
        let base = self.base.as_deref().map_or("null".into(), |b| serde_json::Value::from(b).to_string());
        let space = self.space.as_ref().map_or(String::new(), |space| format!("space: {space}\n"));
        format!("base: {base}\nkeep_equal: {}\n{space}", self.keep_equal)
    }

    /// The blend as a system with blends of its own is asked for it.
    pub fn request<'a>(&'a self, run: &'a RunFlags, config: &'a str) -> BlendRequest<'a> {
        let settings = [
            ("--base", self.base.is_some()),
            ("--id", self.id.is_some()),
            ("--sample", self.sample.is_some()),
            ("--keep-equal", self.keep_equal),
            ("--competition", self.competition.is_some()),
            ("--decimals", self.decimals.is_some()),
            ("--space", self.space.is_some()),
        ];
        let setting = settings.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag);
        let (predictions, csv) = (self.submissions.as_slice(), !self.no_csv);
        let calibration = self.calibration.as_deref();
        BlendRequest { weights: &self.weights, predictions, name: &self.name, calibration, csv, config, setting, run }
    }

    /// A blend has neither seed, limit nor config.
    pub fn run_flags(&self) -> RunFlags {
        RunFlags {
            out: self.out.clone(),
            seed: None,
            threads: self.threads,
            limit: None,
            force: self.force,
            verify: self.verify,
            dry_run: self.dry_run,
            print_config: false,
        }
    }
}

impl Arguments for HillClimb {
    fn verbosity(&self) -> &Verbosity {
        match &self.mode {
            Mode::Search(args) => &args.verbosity,
            Mode::Blend(args) => &args.verbosity,
        }
    }

    fn schemas() -> Vec<(&'static str, String)> {
        vec![("search", common::config::schema::<SearchConfig>())]
    }
}
