//! LEAP: netCDF and csv files to normalised arrays of every chain.

use std::path::{Path, PathBuf};

use common::Error;
use common::cli::print_line;
use common::config::{self, Resolved};
use common::stage::{Manifest, Stage};
use leap::prepare::{self, Options, PrepareConfig, Sources};

use crate::args::Args;

/// What will be done: everything resolved and found, nothing written.
struct Plan {
    config: Resolved<PrepareConfig>,
    options: Options,
    sources: Sources,
    upstream: Option<Manifest>,
    folder: PathBuf,
}

/// Prepares the arrays of all chains.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Some(plan) = resolve(&args)? else { return Ok(()) };
    if args.run.dry_run {
        return describe(&plan);
    }
    let mut stage =
        Stage::begin("prepare-data", "leap", &plan.folder, &plan.config.text, plan.config.value.seed, args.run.force)?;
    if let Some(upstream) = &plan.upstream {
        stage.upstream(upstream);
    }
    let report = prepare::run(&plan.config.value, &plan.options, &plan.sources, &mut stage)?;
    let rows: Vec<String> = report.rows.iter().map(|(kind, rows)| format!("{rows} {kind}")).collect();
    tracing::info!(
        "rows: {}; {} sets kept from an earlier run, {} raw files left out",
        rows.join(", "),
        report.kept,
        report.skipped
    );
    stage.finish()?;
    Ok(())
}

/// None when the config was only to be printed.
fn resolve(args: &Args) -> anyhow::Result<Option<Plan>> {
    let upstream = args.from.from.as_deref().map(Manifest::read).transpose()?;
    let mut overrides = args.config.overrides.clone();
    if let Some(raw) = raw_folder(args, upstream.as_ref())? {
        let climsim = if raw.join("ClimSim_low-res").is_dir() { raw.join("ClimSim_low-res") } else { raw.clone() };
        overrides.push(format!("raw.climsim={}", climsim.display()));
        overrides.push(format!("raw.kaggle={}", raw.join("kaggle-data").display()));
    }
    if let Some(seed) = args.run.seed {
        overrides.push(format!("seed={seed}"));
    }
    let config = config::load::<PrepareConfig>(Some(&args.config.config), &overrides)?;
    if args.run.print_config {
        print_line(config.annotated().trim_end())?;
        return Ok(None);
    }
    let limit = if args.fast_dev_run { Some(2) } else { args.run.limit };
    let options = Options { threads: args.run.cpu_threads(), limit, fresh: args.run.force };
    let sources = Sources::find(&config.value, &options)?;
    Ok(Some(Plan { config, options, sources, upstream, folder: args.run.folder("prepare-data") }))
}

/// `--raw`, or the raw folder that a `simulate-data` stage wrote.
fn raw_folder(args: &Args, upstream: Option<&Manifest>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(raw) = &args.raw {
        if !raw.is_dir() {
            return Err(Error::input(raw, "no such folder")
                .hint("`--raw` takes the folder that holds `train/` and `kaggle-data/`")
                .into());
        }
        return Ok(Some(raw.clone()));
    }
    Ok(upstream.map(|m| m.find("simulate-data")).transpose()?.map(|m| m.folder.join(Path::new("raw"))))
}

fn describe(plan: &Plan) -> anyhow::Result<()> {
    let chains: Vec<&str> = plan.config.value.chains.iter().map(|c| c.name()).collect();
    tracing::info!("would prepare into {} (chains {}):", plan.folder.display(), chains.join(", "));
    for line in plan.sources.describe() {
        tracing::info!("  {line}");
    }
    Ok(())
}
