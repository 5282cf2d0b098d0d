//! The five published networks: `DeepIceModel`, and `EncoderWithDirectionReconstructionV22` / `V23`, which put a graph
//! encoder beside the pulse encoder.
//!
//! ```text
//! pulses -> extractor [| DynEdge] -> 4 blocks with relative bias -> class token, depth blocks -> 3 numbers
//! ```
//!
//! The three numbers are a vector: its direction is the estimate, its length the concentration kappa. Train one with
//! `train-model configs/icecube/b64/stage1.yaml`.

use std::sync::Arc;

use common::Result;
use common::config::Problems;
use neural::export::recording;
use neural::init::Init;
use neural::layers::again;
use neural::{Doing, Path, device};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::block::Block;
use super::dynedge::{DynEdge, DynEdgeConfig, Nodes};
use super::embed::{Extractor, Pulses};
use super::layout::Layout;
use super::linear::{Dense, normal};
use super::relative::{BlockRel, Pairs, Places, RelPos};
use super::{Network, Witness};
use crate::batch::Batch;

/// `DeepIceModel`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeepIce {
    /// Channels of a token; a multiple of `head_size`.
    pub dim: i64,
    /// Values of each sinusoidal embedding; a multiple of 4.
    pub dim_base: i64,
    /// Main blocks, >= 1.
    pub depth: i64,
    /// Channels of an attention head; even.
    pub head_size: i64,
    /// Blocks with relative attention in front of the main blocks.
    pub depth_rel: i64,
    /// How many of them get the relative bias, the first ones; 0: all.
    pub n_rel: i64,
    /// Whether the main blocks compute their intermediate values again for the gradients instead of keeping them: less
    /// memory, more time, the same numbers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub use_checkpoint: bool,
}

impl Default for DeepIce {
    fn default() -> Self {
        Self { dim: 384, dim_base: 128, depth: 12, head_size: 32, depth_rel: 4, n_rel: 1, use_checkpoint: false }
    }
}

/// `EncoderWithDirectionReconstructionV22` (graph on xyz, bias in the first block) or `V23` (graph on xyz and time,
/// bias in all four).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WithGraph {
    /// Channels of a token, half of them from the graph; a multiple of `head_size`, even.
    pub dim: i64,
    /// Values of each sinusoidal embedding; a multiple of 4.
    pub dim_base: i64,
    /// Main blocks, >= 1.
    pub depth: i64,
    /// Channels of an attention head; even.
    pub head_size: i64,
    /// Sizes of the graph encoder.
    pub dynedge: DynEdgeConfig,
    /// Whether the main blocks compute their intermediate values again for the gradients instead of keeping them: less
    /// memory, more time, the same numbers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub use_checkpoint: bool,
}

impl Default for WithGraph {
    fn default() -> Self {
        let dynedge = DynEdgeConfig::default();
        Self { dim: 384, dim_base: 128, depth: 8, head_size: 64, dynedge, use_checkpoint: false }
    }
}

/// All that a network of this family depends on.
#[derive(Debug, Clone)]
pub struct Config {
    dim: i64,
    dim_base: i64,
    depth: i64,
    head_size: i64,
    depth_rel: i64,
    n_rel: i64,
    /// The graph encoder, and the columns of its first graph.
    graph: Option<(DynEdgeConfig, i64)>,
    use_checkpoint: bool,
}

impl From<&DeepIce> for Config {
    fn from(c: &DeepIce) -> Self {
        let DeepIce { dim, dim_base, depth, head_size, depth_rel, n_rel, use_checkpoint } = *c;
        Self { dim, dim_base, depth, head_size, depth_rel, n_rel, graph: None, use_checkpoint }
    }
}

impl Config {
    /// V22.
    pub fn v22(c: &WithGraph) -> Self {
        Self::with_graph(c, 1, 3)
    }

    /// V23.
    pub fn v23(c: &WithGraph) -> Self {
        Self::with_graph(c, 4, 4)
    }

    fn with_graph(c: &WithGraph, n_rel: i64, columns: i64) -> Self {
        let graph = Some((c.dynedge.clone(), columns));
        let WithGraph { dim, dim_base, depth, head_size, use_checkpoint, .. } = *c;
        Self { dim, dim_base, depth, head_size, depth_rel: 4, n_rel, graph, use_checkpoint }
    }

    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let mut demand = |holds: bool, name: &str, value: i64, expected: &str| {
            problems.demand(holds, &format!("{key}.{name}"), || format!("is {value}, expected {expected}"));
        };
        demand(self.depth >= 1, "depth", self.depth, "at least 1");
        demand(self.depth_rel >= 0, "depth_rel", self.depth_rel, "0 or more");
        demand(self.n_rel >= 0, "n_rel", self.n_rel, "0 or more");
        demand(self.dim_base >= 4 && self.dim_base % 4 == 0, "dim_base", self.dim_base, "a multiple of 4");
        demand(self.head_size >= 2 && self.head_size % 2 == 0, "head_size", self.head_size, "an even number");
        let even = self.graph.is_none() || self.dim % 2 == 0;
        let fits = self.dim >= 1 && self.head_size >= 1 && self.dim % self.head_size == 0 && even;
        demand(fits, "dim", self.dim, &format!("a multiple of `head_size` = {}", self.head_size));
        if let Some((graph, _)) = &self.graph {
            demand(!graph.layers.is_empty(), "dynedge.layers", 0, "at least one convolution");
            for [hidden, out] in &graph.layers {
                demand(*hidden >= 1, "dynedge.layers", *hidden, "widths of at least 1");
                demand(*out >= 3, "dynedge.layers", *out, "outputs of at least 3: they span the next graph");
            }
            demand(graph.post >= 1, "dynedge.post", graph.post, "at least 1");
            demand(graph.readout >= 1, "dynedge.readout", graph.readout, "at least 1");
        }
    }
}

/// A network of this family.
#[derive(Debug)]
pub struct Direction {
    extractor: Extractor,
    rel_pos: RelPos,
    sandwich: Vec<BlockRel>,
    cls_token: Tensor,
    blocks: Vec<Arc<Block>>,
    proj_out: Dense,
    dim: i64,
    local_root: Option<DynEdge>,
    biased: usize,
    use_checkpoint: bool,
}

/// The valid pulses of a batch, packed.
pub(super) struct Packed {
    pub pulses: Pulses,
    /// Rows of the flattened `[B * L]` that hold pulses.
    pub rows: Tensor,
    pub lengths: Vec<i64>,
    /// `log10` of the number of pulses of each event, `[B]`.
    pub log_pulses: Tensor,
    /// Event of each row, `[N]`.
    pub event: Tensor,
}

impl Packed {
    pub fn new(batch: &Batch) -> Result<Self> {
        let (events, length) = (batch.events(), batch.length());
        if recording() {
            return Ok(Self::recorded(batch));
        }
        let rows = batch.mask.flatten(0, 1).f_nonzero().doing("packing the pulses")?.squeeze_dim(1);
        let take = |t: &Tensor| t.flatten(0, 1).f_index_select(0, &rows).doing("packing the pulses");
        let log_pulses = batch.pulses.to_kind(Kind::Float).log10();
        let event = Tensor::f_arange(events, (Kind::Int64, batch.device())).doing("packing the pulses")?;
        let event = event.unsqueeze(1).expand([events, length], false).reshape([-1]).index_select(0, &rows);
        let pulses = Pulses {
            pos: take(&batch.pos)?,
            time: take(&batch.time)?,
            charge: take(&batch.charge)?,
            auxiliary: take(&batch.auxiliary)?,
            log_pulses: log_pulses.index_select(0, &event),
        };
        Ok(Self { pulses, rows, lengths: batch.lengths()?, log_pulses, event })
    }

    /// All places of the batch, whether they hold a pulse or not: for passes that are recorded.
    fn recorded(batch: &Batch) -> Self {
        let (events, length) = (batch.events(), batch.length());
        let whole = (Kind::Int64, batch.device());
        let take = |t: &Tensor| t.flatten(0, 1);
        let log_pulses = batch.pulses.to_kind(Kind::Float).log10();
        let event = Tensor::arange(events, whole).unsqueeze(1).expand([events, length], false).reshape([-1]);
        let pulses = Pulses {
            pos: take(&batch.pos),
            time: take(&batch.time),
            charge: take(&batch.charge),
            auxiliary: take(&batch.auxiliary),
            log_pulses: log_pulses.index_select(0, &event),
        };
        let (rows, lengths) = (Tensor::arange(events * length, whole), vec![length; events as usize]);
        Self { pulses, rows, lengths, log_pulses, event }
    }

    /// Packed rows `[N, C]` at their places in `[B, L, C]`, zero elsewhere.
    pub fn spread(&self, x: &Tensor, batch: &Batch) -> Tensor {
        let (events, length) = (batch.events(), batch.length());
        if recording() {
            return x.view([events, length, x.size()[1]]) * batch.mask.unsqueeze(-1);
        }
        let zeros = x.new_zeros([events * length, x.size()[1]], (x.kind(), x.device()));
        zeros.index_copy(0, &self.rows, x).view([events, length, -1])
    }

    /// Features of the nodes of the graph encoder, `[N, 9]`.
    pub fn features(&self, batch: &Batch) -> Tensor {
        let take = |t: &Tensor| t.flatten(0, 1).index_select(0, &self.rows);
        let p = &self.pulses;
        let column = |t: &Tensor| t.to_kind(Kind::Float).unsqueeze(1);
        Tensor::cat(
            &[
                p.pos.shallow_clone(),
                column(&p.time),
                column(&p.auxiliary),
                column(&take(&batch.qe)),
                column(&p.charge),
                take(&batch.ice_properties),
            ],
            1,
        )
    }
}

impl Direction {
    /// Creates the parameters, in the order of the published `state_dict`.
    pub fn new(p: &Path, config: &Config) -> Result<Self> {
        let Config { dim, dim_base, depth, head_size, depth_rel, n_rel, .. } = *config;
        let own = if config.graph.is_some() { dim / 2 } else { dim };
        let extractor = Extractor::new(&p.sub("extractor"), dim_base, own, config.graph.is_some())?;
        let rel_pos = RelPos::new(&p.sub("rel_pos"), head_size)?;
        let sandwich =
            (0..depth_rel).map(|i| BlockRel::new(&p.sub("sandwich").sub(i), dim, head_size)).collect::<Result<_>>()?;
        let cls_token = p.sub("cls_token").parameter("weight", &[1, dim], Init::Normal(0.02))?;
        let blocks = (0..depth)
            .map(|i| Block::new(&p.sub("blocks").sub(i), dim, head_size).map(shared))
            .collect::<Result<_>>()?;
        let proj_out = Dense::new(&p.sub("proj_out"), dim, 3, normal())?;
        let local_root = match &config.graph {
            Some((sizes, columns)) => Some(DynEdge::new(&p.sub("local_root"), sizes, dim / 2, *columns)?),
            None => None,
        };
        let biased = if n_rel == 0 { depth_rel } else { n_rel.min(depth_rel) } as usize;
        let use_checkpoint = config.use_checkpoint;
        Ok(Self { extractor, rel_pos, sandwich, cls_token, blocks, proj_out, dim, local_root, biased, use_checkpoint })
    }

    /// The forward pass with all that happens on the way: `seen` is told the outputs of the modules under their
    /// published names, packed without padding; the pairs of the first group as `rel_pos.0` (projected) and
    /// `rel_pos.1`. `padded`: attention on one padded group, as on a GPU.
    pub fn trace(&self, batch: &Batch, padded: bool, seen: &mut dyn FnMut(&str, &Tensor)) -> Result<Tensor> {
        Ok(self.run(batch, true, padded, Some(seen))?.0)
    }

    /// The vectors, and what they are made of.
    fn run(&self, batch: &Batch, train: bool, padded: bool, seen: Option<&mut Witness>) -> Result<(Tensor, Tensor)> {
        let mut nobody = |_: &str, _: &Tensor| {};
        let tracing = seen.is_some();
        let seen: &mut dyn FnMut(&str, &Tensor) = match seen {
            Some(seen) => seen,
            None => &mut nobody,
        };
        let packed = Packed::new(batch)?;
        let device = batch.device();
        let lengths = &packed.lengths;
        let layout = match (padded, tracing) {
            (true, _) => Layout::padded(lengths.clone(), device)?,
            (false, true) => Layout::new(lengths.clone(), self.dim, device)?,
            (false, false) => Layout::rounded(lengths.clone(), self.dim, device)?,
        };
        let pulses = packed.pulses.extended(layout.rows());
        let mut x = self.extractor.forward(&pulses);
        seen("extractor", &x);
        if let Some(graph) = &self.local_root {
            let nodes = Nodes {
                features: packed.features(batch),
                event: packed.event.shallow_clone(),
                lengths,
                log_pulses: packed.log_pulses.shallow_clone(),
            };
            let local = graph.forward(&nodes, &mut |name, t| seen(&format!("local_root.{name}"), t))?;
            seen("local_root.0", &local);
            let extra = layout.rows() - local.size()[0];
            x = Tensor::cat(&[x, local.to_kind(Kind::Float).constant_pad_nd([0, 0, 0, extra])], 1);
        }
        let pairs = self.pairs(&pulses, &layout, train);
        if tracing && let Some(first) = layout.split(&packed.pulses.pos).first() {
            let time = &layout.split(&packed.pulses.time.unsqueeze(1))[0];
            let encoded = self.rel_pos.encode(&Places { pos: first.shallow_clone(), time: time.squeeze_dim(-1) });
            seen("rel_pos.0", &self.rel_pos.project(&encoded));
            seen("rel_pos.1", &encoded);
        }
        for (i, block) in self.sandwich.iter().enumerate() {
            let bias = (i < self.biased).then_some((&self.rel_pos, pairs.as_slice()));
            let mut tell = |name: &str, t: &Tensor| seen(&format!("sandwich.{i}.{name}"), t);
            x = block.forward(&x, &layout, bias, if tracing { Some(&mut tell) } else { None });
            seen(&format!("sandwich.{i}"), &x);
        }
        drop(pairs);

        let (mut order, firsts) = with_token(lengths);
        let place = |list: &[i64]| device::place(&Tensor::from_slice(list), device);
        let firsts = place(&firsts)?;
        let layout = shared(layout.like(lengths.iter().map(|n| n + 1).collect(), device)?);
        order.resize(layout.rows() as usize, 0);
        x = Tensor::cat(&[&self.cls_token, &x], 0).index_select(0, &place(&order)?);
        let (last, before) = self.blocks.split_last().map_or((None, &[][..]), |(last, before)| (Some(last), before));
        let keeps = !(self.use_checkpoint && train) || tracing;
        for (i, block) in before.iter().enumerate() {
            if !keeps {
                let (block, layout) = (Arc::clone(block), Arc::clone(&layout));
                x = again(&x, move |x| block.forward(x, &layout, None))?;
                continue;
            }
            let mut tell = |name: &str, t: &Tensor| seen(&format!("blocks.{i}.{name}"), t);
            x = block.forward(&x, &layout, if tracing { Some(&mut tell) } else { None });
            seen(&format!("blocks.{i}"), &x);
        }
        if let Some(last) = last {
            if tracing {
                let full = last.forward(&x, &layout, None);
                seen(&format!("blocks.{}", before.len()), &full);
            }
            x = if keeps {
                last.forward_first(&x, &layout, &firsts)
            } else {
                let (last, layout) = (Arc::clone(last), Arc::clone(&layout));
                again(&x, move |x| last.forward_first(x, &layout, &firsts))?
            };
        } else {
            x = x.index_select(0, &firsts);
        }
        Ok((self.proj_out.forward(&x), x))
    }

    /// The same on events as they lie padded, for passes that are recorded.
    fn recorded(&self, batch: &Batch) -> Result<(Tensor, Tensor)> {
        let (events, length) = (batch.events(), batch.length());
        let packed = Packed::new(batch)?;
        // An event without pulses sees all places, which keeps it finite; its token sees none of them.
        let any = batch.mask.any_dim(1, true);
        let layout = Layout::recorded(&batch.mask.logical_or(&any.logical_not()));
        let mut x = self.extractor.forward(&packed.pulses);
        if let Some(graph) = &self.local_root {
            let local = graph.recorded(&packed.features(batch), &packed.log_pulses, &batch.mask)?;
            x = Tensor::cat(&[x, local.to_kind(Kind::Float)], 1);
        }
        let pairs = self.pairs(&packed.pulses, &layout, true);
        for (i, block) in self.sandwich.iter().enumerate() {
            let bias = (i < self.biased).then_some((&self.rel_pos, pairs.as_slice()));
            x = block.forward(&x, &layout, bias, None);
        }
        let token = self.cls_token.unsqueeze(0).expand([events, 1, self.dim], false);
        let x = Tensor::cat(&[token.to_kind(x.kind()), x.view([events, length, self.dim])], 1);
        let keys = Tensor::cat(&[any.ones_like(), batch.mask.shallow_clone()], 1);
        let layout = Layout::recorded(&keys);
        let mut x = x.view([events * (length + 1), self.dim]);
        let firsts = Tensor::arange(events, (Kind::Int64, batch.device())) * (length + 1);
        if let Some((last, before)) = self.blocks.split_last() {
            for block in before {
                x = block.forward(&x, &layout, None);
            }
            x = last.forward_first(&x, &layout, &firsts);
        } else {
            x = x.index_select(0, &firsts);
        }
        Ok((self.proj_out.forward(&x), x))
    }

    fn pairs(&self, pulses: &Pulses, layout: &Layout, keep: bool) -> Vec<Pairs> {
        if self.biased == 0 {
            return vec![];
        }
        let (pos, time) = (layout.split(&pulses.pos), layout.split(&pulses.time.unsqueeze(1)));
        pos.into_iter()
            .zip(time)
            .map(|(pos, time)| self.rel_pos.pairs(Places { pos, time: time.squeeze_dim(-1) }, keep))
            .collect()
    }
}

/// Shared with work that the backward pass does again, on the thread that computes gradients while all others wait.
#[allow(clippy::arc_with_non_send_sync, reason = "one thread at a time, see above; its end counts on any")]
fn shared<T>(value: T) -> Arc<T> {
    Arc::new(value)
}

/// Rows of `[token, pulses..]` in the order token, pulses of event 0, token, pulses of event 1, ...; and the places of the
/// tokens in that order.
pub(super) fn with_token(lengths: &[i64]) -> (Vec<i64>, Vec<i64>) {
    let (mut order, mut firsts, mut next) = (vec![], vec![], 1);
    for &length in lengths {
        firsts.push(order.len() as i64);
        order.push(0);
        order.extend(next..next + length);
        next += length;
    }
    (order, firsts)
}

impl Network for Direction {
    fn with_features(&self, batch: &Batch, train: bool) -> Result<(Tensor, Tensor)> {
        if recording() {
            return self.recorded(batch);
        }
        let padded = batch.device() != tch::Device::Cpu;
        self.run(batch, train, padded, None)
    }

    fn width(&self) -> i64 {
        self.dim
    }
}
