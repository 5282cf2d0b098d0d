//! Groups of all events of a batch at once, in tensor operations: for a network on a GPU.
//!
//! The same groups as [`crate::grouping::group`], bit by bit and on every device: distances are the same three products
//! and two sums in f32, ties go to the lowest index, and every operation used is deterministic. Events lie one after
//! another without padding; neighbours are looked up in sorted cells, so that no matrix of distances of whole events is
//! made. On a CPU the kernels of `polarmae-data` are faster.

mod farthest;
mod neighbors;
mod suppress;

use common::{Error, Result};
use neural::{Doing, device};
use tch::{Device, Kind, Tensor};

use crate::grouping::{CHANNELS, GroupingConfig, Groups, Reduction, Seeds};
use crate::models::packed::Runs;
use farthest::farthest_points;
use neighbors::{Lists, ball_query, nearest};
use suppress::suppress;

/// Points of several events, one event after another.
struct Cloud {
    /// Coordinates, `[P, 3]`.
    places: Tensor,
    /// Points of each event.
    runs: Runs,
}

impl Cloud {
    fn new(places: Tensor, lengths: Vec<i64>) -> Self {
        Self { places, runs: Runs::new(lengths) }
    }

    /// The points `rows`, ascending or event by event; `[P]` says of each point which event it is of.
    fn select(&self, rows: &Tensor) -> Result<Self> {
        let owners = self.owners().index_select(0, rows);
        let counts = owners.bincount(None::<&Tensor>, self.runs.len() as i64);
        Ok(Self::new(self.places.index_select(0, rows), integers(&counts)?))
    }

    /// The event of each point, `[P]`.
    fn owners(&self) -> Tensor {
        device::placed(&Tensor::from_slice(&self.runs.owners()), self.places.device())
    }
}

/// Groups events, rows of x, y, z, energy each, on `device`. `starts` are the first ones of farthest-point seeds.
pub fn group_all(config: &GroupingConfig, events: &[&[f32]], starts: &[u32], device: Device) -> Result<Vec<Groups>> {
    if events.len() != starts.len() {
        return Err(Error::failed(format!("grouping {} events with {} starts", events.len(), starts.len())));
    }
    let width = if config.mean_centers { CHANNELS } else { 3 };
    let lengths: Vec<i64> = events.iter().map(|rows| (rows.len() / CHANNELS) as i64).collect();
    if lengths.iter().all(|&n| n == 0) {
        return Ok(events.iter().map(|_| Groups { center_width: width, ..Groups::default() }).collect());
    }
    let rows = device::placed(&Tensor::from_slice(&events.concat()).view([-1, CHANNELS as i64]), device);
    let cloud = Cloud::new(rows.narrow(1, 0, 3).contiguous(), lengths);
    tch::no_grad(|| grouped(config, &rows, &cloud, starts, width))
}

fn grouped(config: &GroupingConfig, rows: &Tensor, cloud: &Cloud, starts: &[u32], width: usize) -> Result<Vec<Groups>> {
    let (centers, cut) = cut_to(config.max_groups, centers(config, cloud, starts)?)?;
    let lists = match config.radius {
        Some(radius) => ball_query(&centers, cloud, config.upscale_points, radius as f32)?,
        None => nearest(&centers, cloud, config.upscale_points)?,
    };
    // A centre that lies among no points is no group.
    let found = lists.counts.gt(0).nonzero().squeeze_dim(1);
    let centers = centers.select(&found)?;
    let lists = lists.select(&found)?;
    let slots = config.slots as i64;
    // `[G, slots]`: members of each group in the order of slots, the first one where there is none.
    let members = match config.reduction {
        Reduction::Fps => {
            let near = lists.padded();
            let first = vec![0; centers.places.size()[0] as usize];
            let places = cloud.places.index_select(0, &near.view([-1])).view([near.size()[0], near.size()[1], 3]);
            let picked = farthest_points(&places, &lists.counts, slots.min(near.size()[1]), &first);
            near.gather(1, &picked, false)
        }
        Reduction::Energy => strongest(&rows.select(1, 3), &lists, slots),
    };
    let counts = lists.counts.clamp_max(slots);
    let valid =
        Tensor::arange(members.size()[1], (Kind::Int64, rows.device())).unsqueeze(0).lt_tensor(&counts.unsqueeze(1));
    let middles = middles(config, rows, &centers, &members, &valid, &counts);
    let owner = Tensor::repeat_interleave(&counts, None);
    let members = members.masked_select(&valid);
    let features = local(config, &rows.index_select(0, &members), &middles.index_select(0, &owner));
    unpack(cloud, &centers, &middles.narrow(1, 0, width as i64), &counts, &members, &features, &cut)
}

/// Candidates, thinned out where the config says so.
fn centers(config: &GroupingConfig, cloud: &Cloud, starts: &[u32]) -> Result<Cloud> {
    let count = |points: i64| match config.seeds {
        Seeds::AllPoints => points,
        Seeds::Farthest(count) => (count as i64).min(points),
        Seeds::FarthestShare(share) => ((points as f64 / share).ceil() as i64).min(points),
    };
    let candidates = match config.seeds {
        Seeds::AllPoints => None,
        _ => {
            let wanted: Vec<i64> = cloud.runs.lengths().iter().map(|&n| count(n)).collect();
            let (rows, valid) = cloud.runs.padded(cloud.places.device());
            let places = cloud.places.index_select(0, &rows.view([-1])).view([rows.size()[0], rows.size()[1], 3]);
            let lengths = valid.sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
            let most = wanted.iter().copied().max().unwrap_or(0);
            let picked = rows.gather(1, &farthest_points(&places, &lengths, most, starts), false);
            let wanted = device::placed(&Tensor::from_slice(&wanted), rows.device()).unsqueeze(1);
            let used = Tensor::arange(most, (Kind::Int64, rows.device())).unsqueeze(0).lt_tensor(&wanted);
            Some(cloud.select(&picked.masked_select(&used))?)
        }
    };
    let candidates =
        candidates.unwrap_or_else(|| Cloud { places: cloud.places.shallow_clone(), runs: cloud.runs.clone() });
    match (config.overlap, config.radius) {
        (Some(overlap), Some(radius)) => {
            let kept = suppress(&candidates, radius, overlap, config.suppression_neighbors)?;
            candidates.select(&kept)
        }
        _ => Ok(candidates),
    }
}

/// The first centres of each event, and how many were left out.
fn cut_to(most: Option<usize>, centers: Cloud) -> Result<(Cloud, Vec<usize>)> {
    let lengths = centers.runs.lengths();
    let most = most.map_or(i64::MAX, |most| most as i64);
    let cut: Vec<usize> = lengths.iter().map(|&n| (n - most).max(0) as usize).collect();
    if cut.iter().all(|&n| n == 0) {
        return Ok((centers, cut));
    }
    let kept: Vec<i64> = centers.runs.iter().flat_map(|(start, n)| start..start + n.min(most)).collect();
    let kept = device::placed(&Tensor::from_slice(&kept), centers.places.device());
    Ok((centers.select(&kept)?, cut))
}

/// `[G, slots]`: the members with the largest energy, earlier ones first among equals.
fn strongest(energies: &Tensor, lists: &Lists, slots: i64) -> Tensor {
    let near = lists.padded();
    let size = near.size();
    let there =
        Tensor::arange(size[1], (Kind::Int64, near.device())).unsqueeze(0).lt_tensor(&lists.counts.unsqueeze(1));
    let values = energies.index_select(0, &near.view([-1])).view([size[0], size[1]]);
    let values = values.masked_fill(&there.logical_not(), f64::NEG_INFINITY);
    let order = values.argsort_stable(true, 1, true).narrow(1, 0, slots.min(size[1]));
    near.gather(1, &order, false)
}

/// What is subtracted from the members of each group, `[G, 4]`: its centre, or the mean of its members.
fn middles(
    config: &GroupingConfig,
    rows: &Tensor,
    centers: &Cloud,
    members: &Tensor,
    valid: &Tensor,
    counts: &Tensor,
) -> Tensor {
    if !config.mean_centers {
        let zero = centers.places.new_zeros([centers.places.size()[0], 1], (Kind::Float, rows.device()));
        return Tensor::cat(&[centers.places.shallow_clone(), zero], 1);
    }
    // In chunks of 16, one value after another, as the CPU form adds them: the whole chunks first, then the rest.
    const CHUNK: i64 = 16;
    let (groups, width) = (members.size()[0], members.size()[1]);
    let values = rows.index_select(0, &members.view([-1])).view([groups, width, CHANNELS as i64]);
    let values = values * valid.unsqueeze(2).to_kind(Kind::Float);
    let zero = rows.new_zeros([groups, CHANNELS as i64], (Kind::Float, rows.device()));
    let (mut whole, mut rest) = (zero.shallow_clone(), zero.shallow_clone());
    for begin in (0..width).step_by(CHUNK as usize) {
        let end = (begin + CHUNK).min(width);
        let sum = (begin..end).fold(zero.shallow_clone(), |sum, slot| sum + values.select(1, slot));
        let full = counts.ge(begin + CHUNK).unsqueeze(1);
        whole = (&whole + &sum).where_self(&full, &whole);
        rest = rest.where_self(&full, &(&rest + &sum));
    }
    (rest + whole) / counts.to_kind(Kind::Float).unsqueeze(1)
}

/// Coordinates of members from the middle of their group, in radii; energies.
fn local(config: &GroupingConfig, members: &Tensor, middles: &Tensor) -> Tensor {
    let channels = CHANNELS as i64;
    let relative = if config.relative_features { channels } else { 3 };
    let mut places = members.narrow(1, 0, 3) - middles.narrow(1, 0, 3);
    if let Some(radius) = config.radius {
        // A tensor of the device: by a number a GPU multiplies with its rounded inverse.
        places /= Tensor::full([1], radius, (Kind::Float, members.device()));
    }
    let rest = members.narrow(1, 3, 1);
    let rest = if relative == channels { rest - middles.narrow(1, 3, 1) } else { rest };
    Tensor::cat(&[places, rest], 1)
}

/// From tensors back to events.
fn unpack(
    cloud: &Cloud,
    centers: &Cloud,
    middles: &Tensor,
    counts: &Tensor,
    members: &Tensor,
    features: &Tensor,
    cut: &[usize],
) -> Result<Vec<Groups>> {
    let (counts, members) = (integers(counts)?, integers(members)?);
    let (middles, width) = (crate::models::floats(middles)?, middles.size()[1] as usize);
    let features = crate::models::floats(features)?;
    let mut begin = 0;
    let mut groups = Vec::with_capacity(cut.len());
    for (((start, length), first), &cut) in centers.runs.iter().zip(cloud.runs.starts()).zip(cut) {
        let own = start as usize..(start + length) as usize;
        let counts: Vec<u32> = counts[own.clone()].iter().map(|&n| n as u32).collect();
        let end = begin + counts.iter().sum::<u32>() as usize;
        groups.push(Groups {
            centers: middles[own.start * width..own.end * width].to_vec(),
            center_width: width,
            counts,
            members: members[begin..end].iter().map(|&m| (m - first) as u32).collect(),
            features: features[begin * CHANNELS..end * CHANNELS].to_vec(),
            cut,
        });
        begin = end;
    }
    Ok(groups)
}

fn integers(tensor: &Tensor) -> Result<Vec<i64>> {
    let tensor = tensor.f_to_device(Device::Cpu).doing("reading groups")?.to_kind(Kind::Int64).contiguous();
    Vec::try_from(tensor).map_err(|e| Error::failed(format!("reading groups: {e}")))
}
