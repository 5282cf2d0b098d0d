//! `hit-density`: from arguments to a map.

use std::path::PathBuf;

use common::cli::print_line;
use common::system::{Density, DensityRequest};
use common::{Error, Result};
use rayon::prelude::*;
use serde_json::json;

use super::density::{self, Bounds, Rounding};
use super::event::Hits;
use super::files;

/// Maps of TrackML events.
pub const DENSITY: Density = Density {
    examples: "  \
  The map of the published configuration:
    hit-density --data-dir data/trackml/train_100_events \\
      --output outputs/hit_density_stats.npz

  Finer voxels in a box of your own:
    hit-density --data-dir sim/raw --voxel-size 50 \\
      --bounds=-1100,1100,-1100,1100,-3000,3000 --output map.npz",
    run,
};

/// Counts, writes, prints.
fn run(args: &DensityRequest) -> Result<()> {
    if !(args.voxel_size > 0.0 && args.voxel_size.is_finite()) {
        let problem = format!("`--voxel-size` is {}, expected a number of mm above 0", args.voxel_size);
        return Err(Error::usage(problem));
    }
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.unwrap_or(available).max(1);
    // Fails only when the pool exists already.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    let bounds = bounds(args)?;
    let mut events = files::events(std::slice::from_ref(&args.data_dir))?;
    events.truncate(args.limit.unwrap_or(usize::MAX));
    let events = readable(args, events)?;
    let rounding = if args.upstream_compat { Rounding::Truncate } else { Rounding::Floor };
    let (map, counted) = density::map_of(&events, args.voxel_size, bounds, rounding)?;
    let grid = map.grid;
    let written = map.write(&args.output)?;
    if counted.dropped > 0 {
        tracing::warn!("{} of {} hits lie outside of the grid and are not counted", counted.dropped, counted.hits);
    }
    tracing::info!("{} hits of {} events into `{}`", counted.hits, counted.events, written.path.display());
    if args.json {
        let value = json!({
            "output": written.path, "blake3": written.blake3, "events": counted.events, "hits": counted.hits,
            "dropped": counted.dropped, "origin": grid.origin, "shape": grid.shape, "voxel_size": grid.voxel_size,
        });
        print_line(&value.to_string())?;
    } else {
        let [x, y, z] = grid.shape;
        print_line(&format!("Grid shape: ({x}, {y}, {z})\nEvents: {}\n\n{}", counted.events, map.statistics()))?;
    }
    Ok(())
}

/// The events that can be read: all, or an error, unless bad ones are to be skipped.
fn readable(args: &DensityRequest, events: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    if !args.skip_bad {
        return Ok(events);
    }
    let checked: Vec<Result<PathBuf>> =
        events.into_par_iter().map(|event| Hits::read_positions(&event).map(|_| event)).collect();
    let mut good = Vec::new();
    for outcome in checked {
        match outcome {
            Ok(event) => good.push(event),
            Err(error) => tracing::warn!("left out: {error}"),
        }
    }
    if good.is_empty() {
        return Err(Error::input(&args.data_dir, "holds no event that can be read"));
    }
    Ok(good)
}

/// The box of `--bounds`, none where it is that of all hits.
fn bounds(args: &DensityRequest) -> Result<Option<Bounds>> {
    let Some(bounds) = &args.bounds else { return Ok(None) };
    let [x0, x1, y0, y1, z0, z1] = bounds[..] else {
        return Err(Error::usage(format!("`--bounds` has {} numbers, expected 6", bounds.len()))
            .hint("`--bounds=-1100,1100,-1100,1100,-3000,3000`"));
    };
    if !(x0 < x1 && y0 < y1 && z0 < z1) || bounds.iter().any(|b| !b.is_finite()) {
        return Err(Error::usage(format!("`--bounds` is {bounds:?}, expected x0 < x1, y0 < y1, z0 < z1")));
    }
    Ok(Some(Bounds { low: [x0, y0, z0], high: [x1, y1, z1] }))
}
