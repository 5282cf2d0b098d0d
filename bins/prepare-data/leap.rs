//! LEAP: netCDF and csv files to normalised arrays of every chain.

use std::path::PathBuf;

use common::config::Resolved;
use common::stage::{Manifest, Stage};
use leap_data::prepare::{self, Options, PrepareConfig, Sources};
use leap_data::simulate::RAW;

use crate::args::Args;
use crate::shared;

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
    let mut more = vec![];
    if let Some(raw) = shared::raw_folder(args, upstream.as_ref(), RAW)? {
        let climsim = if raw.join("ClimSim_low-res").is_dir() { raw.join("ClimSim_low-res") } else { raw.clone() };
        more.push(format!("raw.climsim={}", climsim.display()));
        more.push(format!("raw.kaggle={}", raw.join("kaggle-data").display()));
    }
    let Some(config) = args.run.config::<PrepareConfig>(&args.config, more)? else { return Ok(None) };
    let limit = args.limit();
    let options = Options { threads: args.run.cpu_threads(), limit, fresh: args.run.force };
    let sources = Sources::find(&config.value, &options)?;
    Ok(Some(Plan { config, options, sources, upstream, folder: args.run.folder("prepare-data") }))
}

fn describe(plan: &Plan) -> anyhow::Result<()> {
    let chains: Vec<&str> = plan.config.value.chains.iter().map(|c| c.name()).collect();
    tracing::info!("would prepare into {} (chains {}):", plan.folder.display(), chains.join(", "));
    for line in plan.sources.describe() {
        tracing::info!("  {line}");
    }
    Ok(())
}
