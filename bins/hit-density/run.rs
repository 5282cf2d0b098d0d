//! From arguments to a map.

use std::borrow::Cow;
use std::path::PathBuf;

use common::cli::print_line;
use common::{Error, Result};
use rayon::prelude::*;
use serde_json::json;
use tracknet::density::{self, DensityMap, Grid, Rounding};
use tracknet::files;

use crate::args::Args;

/// Counts, writes, prints.
pub fn run(args: Args) -> anyhow::Result<()> {
    if !(args.voxel_size > 0.0 && args.voxel_size.is_finite()) {
        let problem = format!("`--voxel-size` is {}, expected a number of mm above 0", args.voxel_size);
        return Err(Error::usage(problem).into());
    }
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.unwrap_or(available).max(1);
    // Fails only when the pool exists already.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    let mut events = files::events(std::slice::from_ref(&args.data_dir))?;
    events.truncate(args.limit.unwrap_or(usize::MAX));
    let events = readable(&args, events)?;
    let (grid, kept) = grid(&args, &events)?;
    let rounding = if args.upstream_compat { Rounding::Truncate } else { Rounding::Floor };
    let (map, counted) = match &kept {
        Some(kept) => DensityMap::count(grid, rounding, kept.par_iter().map(|p| Ok(Cow::Borrowed(p.as_slice())))),
        None => DensityMap::count(grid, rounding, events.par_iter().map(|e| Ok(Cow::Owned(density::positions(e)?)))),
    }?;
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
fn readable(args: &Args, events: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    if !args.skip_bad {
        return Ok(events);
    }
    let checked: Vec<Result<PathBuf>> =
        events.into_par_iter().map(|event| density::positions(&event).map(|_| event)).collect();
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

/// Positions are kept between the two passes up to this many events: 120 MB of full size.
const KEPT: usize = 100;

/// Positions of the hits of each event.
type Positions = Vec<Vec<[f32; 3]>>;

/// The grid, and the positions where they were read for it.
fn grid(args: &Args, events: &[PathBuf]) -> Result<(Grid, Option<Positions>)> {
    if let Some(bounds) = &args.bounds {
        let [x0, x1, y0, y1, z0, z1] = bounds[..] else {
            return Err(Error::usage(format!("`--bounds` has {} numbers, expected 6", bounds.len()))
                .hint("`--bounds=-1100,1100,-1100,1100,-3000,3000`"));
        };
        if !(x0 < x1 && y0 < y1 && z0 < z1) || bounds.iter().any(|b| !b.is_finite()) {
            return Err(Error::usage(format!("`--bounds` is {bounds:?}, expected x0 < x1, y0 < y1, z0 < z1")));
        }
        return Ok((Grid::around([x0, y0, z0], [x1, y1, z1], args.voxel_size)?, None));
    }
    if events.len() > KEPT {
        let (low, high) = density::bounds(events)?;
        return Ok((Grid::around(low, high, args.voxel_size)?, None));
    }
    let kept: Positions = events.par_iter().map(|event| density::positions(event)).collect::<Result<_>>()?;
    let (mut low, mut high) = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
    for xyz in kept.iter().flatten() {
        low = std::array::from_fn(|i| low[i].min(xyz[i]));
        high = std::array::from_fn(|i| high[i].max(xyz[i]));
    }
    if low[0] > high[0] {
        return Err(Error::input(&args.data_dir, "the events hold no hits"));
    }
    Ok((Grid::around(low, high, args.voxel_size)?, Some(kept)))
}
