//! Flags that have the same name, letter and meaning in all binaries. A binary flattens the groups that it needs.

use std::path::{Path, PathBuf};

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Effects};
use clap::{Args, ValueEnum};

use super::print_line;
use crate::config::{self, Config, Resolved};
use crate::error::Result;
use crate::verified;

/// Colours of `--help`.
pub const HELP_STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::Cyan.on_default().effects(Effects::BOLD))
    .placeholder(AnsiColor::Cyan.on_default());

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How much is said on standard error.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Messages")]
pub struct Verbosity {
    /// Say more; twice shows everything
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Say only warnings and errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Colours on standard error
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// No progress bars or lines
    #[arg(long)]
    pub no_progress: bool,
}

/// The config file and what is overridden in it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Input")]
pub struct ConfigArgs {
    /// Config file (YAML)
    #[arg(value_name = "CONFIG", value_parser = crate::share::config_argument())]
    pub config: PathBuf,
    /// Overrides: dotted keys, typed values, `training.epochs=3`
    #[arg(value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// As [`ConfigArgs`], where a stage also runs without a config.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Input")]
pub struct OptionalConfigArgs {
    /// Config file (YAML), where the system has one for this stage
    #[arg(value_name = "CONFIG", value_parser = crate::share::config_argument())]
    pub config: Option<PathBuf>,
    /// Overrides of the config: dotted keys, typed values
    #[arg(value_name = "KEY=VALUE", requires = "config")]
    pub overrides: Vec<String>,
}

impl OptionalConfigArgs {
    /// The config file, where one was given, and the overrides: without a config the first of them stands in its place.
    pub fn parts(&self) -> (Option<&Path>, Vec<String>) {
        let first = self.config.as_deref();
        let is_override = |path: &Path| {
            let key = path.to_str().and_then(|text| text.split_once('=')).map(|(key, _)| key);
            let dotted = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            key.is_some_and(|key| !key.is_empty() && key.chars().all(dotted)) && !path.exists()
        };
        match first.filter(|path| is_override(path)) {
            None => (first, self.overrides.clone()),
            Some(first) => {
                let first = first.to_string_lossy().into_owned();
                (None, std::iter::once(first).chain(self.overrides.iter().cloned()).collect())
            }
        }
    }
}

/// The stage before this one.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Input")]
pub struct FromFlag {
    /// Folder of the stage before, or `-` to read its manifest from a pipe
    #[arg(long, value_name = "FOLDER|-")]
    pub from: Option<String>,
}

/// How one run of a stage is carried out.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Run")]
pub struct RunFlags {
    /// Output folder [default: outputs/DATE/TIME/STAGE]
    #[arg(short, long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Seed; wins over the config's
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// CPU threads [default: OMP_NUM_THREADS or all]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Take only the first N units of work, for a quick look
    #[arg(long, value_name = "N", value_parser = positive)]
    pub limit: Option<u64>,
    /// Replace a finished stage in the output folder
    #[arg(short, long)]
    pub force: bool,
    /// Hash all files of earlier stages, unchanged ones too
    #[arg(long, hide_short_help = true)]
    pub verify: bool,
    /// Check everything and say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Print the resolved config with the origin of each value
    #[arg(long)]
    pub print_config: bool,
}

impl RunFlags {
    /// The output folder: as given, or `outputs/DATE/TIME/STAGE` by the clock (UTC).
    pub fn folder(&self, stage: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
            let (year, month, day) = date_of(now / 86_400);
            let (h, m, s) = (now / 3600 % 24, now / 60 % 60, now % 60);
            PathBuf::from(format!("outputs/{year:04}-{month:02}-{day:02}/{h:02}-{m:02}-{s:02}/{stage}"))
        })
    }

    /// The config with the overrides of the command line, `--seed` and then `more`. None when it was only to be printed.
    ///
    /// # Errors
    /// Those of [`config::load`].
    pub fn config<C: Config>(&self, args: &ConfigArgs, more: Vec<String>) -> Result<Option<Resolved<C>>> {
        let mut overrides = args.overrides.clone();
        overrides.extend(self.seed_override());
        overrides.extend(more);
        self.printed(config::load(Some(&args.config), &overrides)?)
    }

    /// What `--seed` means for a config.
    pub fn seed_override(&self) -> Option<String> {
        self.seed.map(|seed| format!("seed={seed}"))
    }

    /// Prints the config where `--print-config` asks for it, and gives it on where a run is to follow.
    ///
    /// # Errors
    /// Only those of a closed standard output.
    pub fn printed<C>(&self, config: Resolved<C>) -> Result<Option<Resolved<C>>> {
        if self.print_config {
            print_line(config.annotated().trim_end())?;
            return Ok(None);
        }
        Ok(Some(config))
    }

    /// Number of CPU threads: as given, else [`default_threads`]. Also sizes the shared thread pool; call it once, before
    /// any parallel work.
    pub fn cpu_threads(&self) -> usize {
        let threads = self.threads.unwrap_or_else(default_threads).max(1);
        if self.verify {
            verified::read_all();
        }
        // Fails only when the pool exists already, which then keeps its size.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        threads
    }
}

/// A count of which there is at least one.
///
/// # Errors
/// With what is expected.
pub fn positive(text: &str) -> std::result::Result<u64, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a whole number, 1 or more".into())
}

/// Threads where none are asked for: `OMP_NUM_THREADS`, by which pipelines, batch systems and PyTorch users say it, else
/// all cores that the process may use.
pub fn default_threads() -> usize {
    let asked = std::env::var("OMP_NUM_THREADS").ok();
    // OpenMP allows a list, one figure a nesting level.
    let asked = asked.and_then(|list| list.split(',').next()?.trim().parse::<usize>().ok()).filter(|n| *n > 0);
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Where tensors live.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Run")]
pub struct DeviceFlag {
    /// Device: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
}

/// Civil date of a day number since 1970-01-01 (proleptic Gregorian calendar).
fn date_of(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days since 0000-03-01
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_config_the_first_override_stands_in_its_place() {
        let args = |config: &str| OptionalConfigArgs { config: Some(config.into()), overrides: vec!["b=2".into()] };
        assert_eq!(args("a.c=1").parts(), (None, vec!["a.c=1".to_string(), "b=2".to_string()]));
        assert_eq!(args("runs/a=1.yaml").parts().0, Some(Path::new("runs/a=1.yaml")));
        assert_eq!(args("a.yaml").parts(), (Some(Path::new("a.yaml")), vec!["b=2".to_string()]));
    }

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(date_of(0), (1970, 1, 1));
        assert_eq!(date_of(11_016), (2000, 2, 29));
        assert_eq!(date_of(20_454), (2026, 1, 1));
    }
}
