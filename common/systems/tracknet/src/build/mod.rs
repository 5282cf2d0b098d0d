//! Building tracks with the published network: every hit of the innermost layers starts a candidate, which grows by the
//! hits inside the predicted spheres; a beam keeps the best, and at the end hits are given out without overlap.

mod candidates;
mod cells;

use common::config::Problems;
use common::{Error, Result};
use neural::Doing;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::event::Hits;
use crate::models::StepAhead;
use crate::normalizer::Normalizer;
use crate::submission::Submission;
use crate::tracks::{SEED_LAYERS, radius};
use candidates::{Candidate, Layers, cost_order};
pub use cells::Cells;

/// How tracks are built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BuildConfig {
    /// Layers (volume, layer) whose hits start candidates.
    pub seed_layers: Vec<(i32, i32)>,
    /// Factor on all radii, > 0. Wide: 1.5.
    pub radius_scale: f32,
    /// Nearest hits that a candidate goes on with, >= 1. Wide: 3.
    pub branch: usize,
    /// Candidates kept of each seed, >= 1. Wide: 6.
    pub beam: usize,
    /// Whether the prediction of the hit after next bridges a missing hit.
    pub use_t2: bool,
    /// Most hits behind the first one, >= 1.
    pub max_steps: usize,
    /// Fewest hits of a track, >= 2.
    pub min_hits: usize,
    /// Most hits of an accepted candidate that belong to better ones.
    pub max_shared: usize,
}

impl Default for BuildConfig {
    fn default() -> Self {
        Self {
            seed_layers: SEED_LAYERS.to_vec(),
            radius_scale: 1.0,
            branch: 2,
            beam: 4,
            use_t2: true,
            max_steps: 20,
            min_hits: 3,
            max_shared: 0,
        }
    }
}

impl BuildConfig {
    /// Checks ranges.
    pub fn validate(&self, at: &str, problems: &mut Problems) {
        let scale = self.radius_scale;
        problems.demand(scale > 0.0 && scale.is_finite(), &format!("{at}.radius_scale"), || {
            format!("is {scale}, expected > 0")
        });
        problems.demand(!self.seed_layers.is_empty(), &format!("{at}.seed_layers"), || {
            "is empty, so no track can start".into()
        });
        for (key, value, least) in [
            ("branch", self.branch, 1),
            ("beam", self.beam, 1),
            ("max_steps", self.max_steps, 1),
            ("min_hits", self.min_hits, 2),
        ] {
            problems
                .demand(value >= least, &format!("{at}.{key}"), || format!("is {value}, expected at least {least}"));
        }
    }
}

/// Tracks of one event.
#[derive(Debug)]
pub struct Built {
    /// A number for every hit, by ascending hit id; 0 without a track.
    pub submission: Submission,
    /// Candidates with enough hits, before hits were given out.
    pub candidates: usize,
    /// Tracks.
    pub tracks: usize,
}

/// Smallest radius: a softplus of a very negative number underflows to 0.
const SMALLEST_RADIUS: f32 = 1e-6;
/// Candidates that are advanced at a time.
const BATCH: usize = 8192;

/// Builds the tracks of an event.
///
/// # Errors
/// [`Error::Input`]-like failures come from reading; here only more than 128 layers fail.
pub fn build(hits: &Hits, network: &StepAhead, normalizer: &Normalizer, config: &BuildConfig) -> Result<Built> {
    let mut order: Vec<usize> = (0..hits.len()).collect();
    order.sort_unstable_by_key(|&i| hits.hit_id[i]);
    let xyz: Vec<[f32; 3]> = order.iter().map(|&i| normalizer.normalize(hits.xyz[i])).collect();
    let radii: Vec<f32> = order.iter().map(|&i| radius(hits.xyz[i])).collect();
    let layers = Layers::of(order.iter().map(|&i| (hits.volume[i], hits.layer[i])))?;
    let seeds = layers.named(&config.seed_layers);
    let event = Event { xyz: &xyz, radii: &radii, layers: &layers, cells: Cells::new(&xyz) };

    let starts: Vec<u32> = (0..xyz.len()).filter(|&i| seeds >> layers.of_hit[i] & 1 == 1).map(|i| i as u32).collect();
    let mut finished = Vec::new();
    // Seeds do not meet before the selection, so they run in blocks of bounded memory.
    for block in starts.chunks(BATCH / config.beam.clamp(1, BATCH)) {
        common::cli::signals::check("nothing of this event; the same command starts it anew")?;
        tch::no_grad(|| grow(&event, network, config, block, &mut finished))?;
    }
    finished.retain(|c: &Candidate| c.hits.len() >= config.min_hits);
    finished.sort_by(|a, b| b.hits.len().cmp(&a.hits.len()).then_with(|| cost_order(a, b)));
    let mut track_of = vec![0_i64; xyz.len()];
    let mut tracks = 0;
    for candidate in &finished {
        let free = candidate.hits.iter().filter(|&&hit| track_of[hit as usize] == 0).count();
        if candidate.hits.len() - free <= config.max_shared && free >= config.min_hits {
            tracks += 1;
            for &hit in &candidate.hits {
                if track_of[hit as usize] == 0 {
                    track_of[hit as usize] = tracks;
                }
            }
        }
    }
    let hit_id = order.iter().map(|&i| hits.hit_id[i]).collect();
    Ok(Built {
        submission: Submission { hit_id, track_id: track_of },
        candidates: finished.len(),
        tracks: tracks as usize,
    })
}

struct Event<'a> {
    xyz: &'a [[f32; 3]],
    radii: &'a [f32],
    layers: &'a Layers,
    cells: Cells,
}

/// Grows the candidates of a block of seeds until none is active.
fn grow(
    event: &Event,
    network: &StepAhead,
    config: &BuildConfig,
    seeds: &[u32],
    finished: &mut Vec<Candidate>,
) -> Result<()> {
    let mut active: Vec<Candidate> =
        seeds.iter().enumerate().map(|(seed, &hit)| Candidate::start(seed, hit, event.layers)).collect();
    let mut state = network.start(active.len() as i64);
    for _ in 0..config.max_steps {
        if active.is_empty() {
            return Ok(());
        }
        state = advance(event, network, &mut active, &state)?;
        let outputs = network.heads(&state.get(1));
        let read = |t: &Tensor| {
            Vec::<f32>::try_from(t.flatten(0, -1)).map_err(|e| Error::failed(format!("building tracks: {e}")))
        };
        let (c1, c2) = (
            read(&outputs.coords_1.narrow(-1, 0, 3).contiguous())?,
            read(&outputs.coords_2.narrow(-1, 0, 3).contiguous())?,
        );
        let (r1, r2) = (read(&outputs.radius_1)?, read(&outputs.radius_2)?);
        let mut next: Vec<Candidate> = Vec::new();
        let mut parents: Vec<i64> = Vec::new();
        let mut near: Vec<(f32, u32)> = Vec::new();
        let mut children: Vec<(Candidate, i64)> = Vec::new();
        let mut seed = active[0].seed;
        for (i, parent) in active.iter().enumerate() {
            if parent.seed != seed {
                keep_best(&mut children, config.beam, &mut next, &mut parents);
                seed = parent.seed;
            }
            let last = *parent.hits.last().unwrap_or(&0) as usize;
            let admissible = |hit: u32| {
                let hit = hit as usize;
                event.radii[hit] > event.radii[last] && parent.layers >> event.layers.of_hit[hit] & 1 == 0
            };
            let centre = |c: &[f32]| [c[3 * i], c[3 * i + 1], c[3 * i + 2]];
            let mut search = |centre: [f32; 3], radius: f32| {
                near.clear();
                event.cells.within(centre, radius, |hit, d| {
                    if admissible(hit) {
                        near.push((d, hit));
                    }
                });
                near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                near.truncate(config.branch);
                near.clone()
            };
            let radius = r1[i].max(SMALLEST_RADIUS) * config.radius_scale;
            let mut found = search(centre(&c1), radius);
            let mut gap = None;
            let mut scale = radius;
            if found.is_empty() && config.use_t2 {
                scale = r2[i].max(SMALLEST_RADIUS) * config.radius_scale;
                found = search(centre(&c2), scale);
                gap = Some(centre(&c1));
            }
            if found.is_empty() {
                finished.push(parent.clone());
            }
            for (d, hit) in found {
                let cost = f64::from(d / scale) + f64::from(u8::from(gap.is_some()));
                children.push((parent.child(hit, cost, gap, event.layers), i as i64));
            }
        }
        keep_best(&mut children, config.beam, &mut next, &mut parents);
        state = state.index_select(1, &Tensor::from_slice(&parents));
        active = next;
    }
    finished.append(&mut active);
    Ok(())
}

/// Moves the best children of one seed on.
fn keep_best(children: &mut Vec<(Candidate, i64)>, beam: usize, next: &mut Vec<Candidate>, parents: &mut Vec<i64>) {
    children.sort_by(|a, b| cost_order(&a.0, &b.0));
    children.truncate(beam);
    for (child, parent) in children.drain(..) {
        next.push(child);
        parents.push(parent);
    }
}

/// Feeds what each candidate waits for: after a gap first the virtual point, then its last hit.
fn advance(event: &Event, network: &StepAhead, active: &mut [Candidate], state: &Tensor) -> Result<Tensor> {
    let gaps: Vec<i64> = (0..active.len()).filter(|&i| active[i].virtual_point.is_some()).map(|i| i as i64).collect();
    let mut state = state.shallow_clone();
    let rows = |points: &[f32]| Tensor::f_from_slice(points).and_then(|t| t.f_view([-1, 3])).doing("building tracks");
    if !gaps.is_empty() {
        let points: Vec<f32> = active.iter_mut().filter_map(|c| c.virtual_point.take()).flatten().collect();
        let index = Tensor::from_slice(&gaps);
        let stepped = network.step(&rows(&points)?, &state.index_select(1, &index));
        state = state.index_copy(1, &index, &stepped);
    }
    let last: Vec<f32> = active.iter().flat_map(|c| event.xyz[*c.hits.last().unwrap_or(&0) as usize]).collect();
    Ok(network.step(&rows(&last)?, &state))
}
