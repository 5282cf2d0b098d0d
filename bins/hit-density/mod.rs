//! `hit-density`: how many hits an event has where, as a voxel map. Uses no tensor library.

mod args;

use args::Args;
use common::Error;
use common::system::DensityRequest;

/// Runs it with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    common::cli::main(run)
}

/// One system has events of hits.
fn run(args: Args) -> anyhow::Result<()> {
    let request = DensityRequest {
        data_dir: args.data_dir,
        voxel_size: args.voxel_size,
        bounds: args.bounds,
        upstream_compat: args.upstream_compat,
        skip_bad: args.skip_bad,
        output: args.output,
        json: args.json,
        threads: args.threads,
        limit: args.limit.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
    };
    let density = registry::density().next().ok_or_else(|| Error::usage("no system has maps of hits"))?;
    Ok((density.run)(&request)?)
}
