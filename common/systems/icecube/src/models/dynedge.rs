//! The graph encoder of V22 and V23 (`DynEdge` of graphnet): four edge convolutions, each on the graph of the nearest
//! neighbours in the space of what the one before made.

use common::{Error, Result};
use neural::export::recording;
use neural::layers::{LayerNorm, linear};
use neural::{Doing, Path, device};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::graph::{self, Edges};
use super::linear::{Dense, normal};
use super::recorded;

/// Features of a node: x, y, z, time, auxiliary, qe, charge, scattering, absorption.
pub const FEATURES: i64 = 9;
/// What is known of a whole event: the means of the features, four homophilies, the number of pulses.
pub const GLOBALS: i64 = FEATURES + 4 + 1;
/// Columns of latent features that span the space of the later graphs.
const LATENT: i64 = 3;

/// Sizes of the graph encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DynEdgeConfig {
    /// Hidden and output width of each edge convolution.
    pub layers: Vec<[i64; 2]>,
    /// Hidden width of the perceptron behind them.
    pub post: i64,
    /// Width of the published read-out, which is stored and never used.
    pub readout: i64,
}

impl Default for DynEdgeConfig {
    fn default() -> Self {
        Self { layers: vec![[128, 256], [336, 256], [336, 256], [336, 256]], post: 336, readout: 128 }
    }
}

/// Linear, norm, GELU twice, on `[x_i, x_j - x_i]` of every edge, summed over the edges of a node.
#[derive(Debug)]
struct EdgeConv {
    first: Dense,
    norm1: LayerNorm,
    second: Dense,
    norm2: LayerNorm,
    inputs: i64,
}

impl EdgeConv {
    fn new(p: &Path, inputs: i64, hidden: i64, outputs: i64) -> Result<Self> {
        let p = p.sub("nn");
        Ok(Self {
            first: Dense::new(&p.sub(0), 2 * inputs, hidden, normal())?,
            norm1: LayerNorm::new(&p.sub(1), &[hidden])?,
            second: Dense::new(&p.sub(3), hidden, outputs, normal())?,
            norm2: LayerNorm::new(&p.sub(4), &[outputs])?,
            inputs,
        })
    }

    /// `[N, inputs]` -> `[N, outputs]`. The first map is linear in both ends of an edge, `(A - B) x_i + B x_j`, so it is
    /// applied to nodes and not to their eight times as many edges.
    fn forward(&self, x: &Tensor, source: &Tensor, target: &Tensor) -> Tensor {
        let own = self.first.weight.narrow(1, 0, self.inputs);
        let other = self.first.weight.narrow(1, self.inputs, self.inputs);
        let of_target = product(x, &(own - &other), self.first.bias.as_ref());
        let of_source = product(x, &other, None);
        let edges = of_target.index_select(0, target) + of_source.index_select(0, source);
        let edges = self.norm1.forward(&edges).gelu("none");
        let edges = self.norm2.forward(&product(&edges, &self.second.weight, self.second.bias.as_ref())).gelu("none");
        let nodes = edges.new_zeros([x.size()[0], edges.size()[1]], (edges.kind(), edges.device()));
        nodes.index_add(0, target, &edges)
    }
}

/// The nodes of a batch.
#[derive(Debug)]
pub struct Nodes<'a> {
    /// Features `[N, 9]`.
    pub features: Tensor,
    /// Event of each node, i64 `[N]`.
    pub event: Tensor,
    /// Nodes of each event.
    pub lengths: &'a [i64],
    /// `log10` of the number of pulses of each event, f32 `[B]`.
    pub log_pulses: Tensor,
}

/// The graph encoder.
#[derive(Debug)]
pub struct DynEdge {
    convs: Vec<EdgeConv>,
    post1: Dense,
    norm1: LayerNorm,
    post2: Dense,
    norm2: LayerNorm,
    columns: i64,
}

impl DynEdge {
    /// `outputs` channels a pulse; the first graph lies on the first `columns` features (3: xyz, 4: and time).
    pub fn new(p: &Path, config: &DynEdgeConfig, outputs: i64, columns: i64) -> Result<Self> {
        let mut width = FEATURES + GLOBALS;
        let mut all = width;
        let mut convs = vec![];
        for (i, &[hidden, out]) in config.layers.iter().enumerate() {
            convs.push(EdgeConv::new(&p.sub("_conv_layers").sub(i), width, hidden, out)?);
            width = out;
            all += out;
        }
        let post = p.sub("_post_processing");
        let built = Self {
            convs,
            post1: Dense::new(&post.sub(0), all, config.post, normal())?,
            norm1: LayerNorm::new(&post.sub(1), &[config.post])?,
            post2: Dense::new(&post.sub(3), config.post, outputs, normal())?,
            norm2: LayerNorm::new(&post.sub(4), &[outputs])?,
            columns,
        };
        // As published: checkpoints hold a read-out that no forward pass uses.
        let readout = p.sub("_readout");
        Dense::new(&readout.sub(0), outputs, config.readout, normal())?;
        LayerNorm::new(&readout.sub(1), &[config.readout])?;
        Ok(built)
    }

    /// `[N, outputs]`; `seen` is told the features after each convolution, and the graphs.
    pub fn forward(&self, nodes: &Nodes, seen: &mut dyn FnMut(&str, &Tensor)) -> Result<Tensor> {
        let device = nodes.features.device();
        let columns = columns(&nodes.features, 4)?;
        let edges = search(&columns[..self.columns as usize], nodes.lengths);
        let globals = globals(nodes, &columns, &edges)?;
        let inputs = Tensor::cat(&[&nodes.features, &globals.index_select(0, &nodes.event)], 1);
        let mut graph = ends(&edges, device)?;
        let mut x = inputs.shallow_clone();
        let mut all = vec![inputs];
        for (i, conv) in self.convs.iter().enumerate() {
            seen(&format!("graph.{i}"), &Tensor::stack(&[&graph.0, &graph.1], 0));
            x = conv.forward(&x, &graph.0, &graph.1);
            seen(&format!("_conv_layers.{i}.0"), &x);
            all.push(x.shallow_clone());
            if i + 1 < self.convs.len() {
                let latent = self::columns(&x, LATENT)?;
                let latent: Vec<&[f32]> = latent.iter().map(Vec::as_slice).collect();
                graph = ends(&graph::nearest(&latent, nodes.lengths, parallel()), device)?;
            }
        }
        Ok(self.finished(&all))
    }

    /// The same of features `[B L, 9]` that lie padded, for passes that are recorded.
    pub fn recorded(&self, features: &Tensor, log_pulses: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let most = recorded::MOST;
        let (source, target) = recorded::ends(&features.narrow(1, 0, self.columns), mask, most);
        let globals = padded_globals(features, log_pulses, (&source, &target), mask);
        let (events, length) = (mask.size()[0], mask.size()[1]);
        let globals = globals.unsqueeze(1).expand([events, length, GLOBALS], false).reshape([events * length, GLOBALS]);
        let inputs = recorded::extended(&Tensor::cat(&[features.shallow_clone(), globals], 1));
        let mut graph = (source, target);
        let mut x = inputs.shallow_clone();
        let mut all = vec![inputs];
        for (i, conv) in self.convs.iter().enumerate() {
            x = conv.forward(&x, &graph.0, &graph.1);
            all.push(x.shallow_clone());
            if i + 1 < self.convs.len() {
                let latent = x.narrow(1, 0, LATENT).narrow(0, 0, events * length);
                graph = recorded::ends(&latent, mask, most);
            }
        }
        Ok(self.finished(&all).narrow(0, 0, events * length))
    }

    fn finished(&self, all: &[Tensor]) -> Tensor {
        let of = |dense: &Dense, x: &Tensor| product(x, &dense.weight, dense.bias.as_ref());
        let x = self.norm1.forward(&of(&self.post1, &Tensor::cat(all, 1))).gelu("none");
        self.norm2.forward(&of(&self.post2, &x)).gelu("none")
    }
}

/// `x W' + b` for numbers of rows that are hardly ever seen twice: preparing a product for oneDNN pays off for large
/// ones only.
fn product(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    if recording() {
        return x.linear(weight, bias);
    }
    const LEAST_WORK: usize = 1 << 27;
    let work = x.numel() * weight.size()[0] as usize;
    if work < LEAST_WORK { x.linear(weight, bias) } else { linear(x, &weight.contiguous(), bias) }
}

fn parallel() -> bool {
    tch::get_num_threads() > 1
}

fn search(columns: &[Vec<f32>], lengths: &[i64]) -> Edges {
    let columns: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
    graph::nearest(&columns, lengths, parallel())
}

/// The first columns of a tensor, each as values.
fn columns(x: &Tensor, count: i64) -> Result<Vec<Vec<f32>>> {
    let x = x.detach().narrow(1, 0, count).to_kind(Kind::Float).transpose(0, 1).contiguous();
    let x = x.f_to_device(Device::Cpu).doing("reading coordinates for the graph")?;
    (0..count)
        .map(|c| Vec::try_from(x.get(c)).map_err(|e| Error::failed(format!("reading coordinates for the graph: {e}"))))
        .collect()
}

fn ends(edges: &Edges, device: Device) -> Result<(Tensor, Tensor)> {
    let place = |list: &[i64]| device::place(&Tensor::from_slice(list), device);
    Ok((place(&edges.source)?, place(&edges.target)?))
}

/// [`globals`] of features `[B L, 9]` that lie padded.
pub fn padded_globals(features: &Tensor, log_pulses: &Tensor, edges: (&Tensor, &Tensor), mask: &Tensor) -> Tensor {
    let (events, length) = (mask.size()[0], mask.size()[1]);
    let there = mask.unsqueeze(2).to_kind(Kind::Float);
    let sum = |t: &Tensor| t.sum_dim_intlist([1_i64].as_slice(), false, Kind::Float);
    let means = sum(&(features.view([events, length, FEATURES]) * &there)) / sum(&there).clamp_min(1.0);
    let same = recorded::homophily(&features.narrow(1, 0, 4), edges, mask);
    Tensor::cat(&[means, same, log_pulses.unsqueeze(1)], 1)
}

/// What is known of every event, `[B, 14]`: feature means, homophilies in x, y, z and time, `log10` of its pulses.
pub fn globals(nodes: &Nodes, columns: &[Vec<f32>], edges: &Edges) -> Result<Tensor> {
    let device = nodes.features.device();
    let events = nodes.lengths.len() as i64;
    let place = |t: Tensor| device::place(&t, device);
    let counts: Vec<f32> = nodes.lengths.iter().map(|&n| n.max(1) as f32).collect();
    let sums = nodes.features.new_zeros([events, FEATURES], (Kind::Float, device));
    let means = sums.index_add(0, &nodes.event, &nodes.features) / place(Tensor::from_slice(&counts))?.unsqueeze(1);
    let columns: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
    let same = place(Tensor::from_slice(&graph::homophily(&columns, edges)))?.view([events, 4]);
    Ok(Tensor::cat(&[means, same, nodes.log_pulses.unsqueeze(1)], 1))
}
