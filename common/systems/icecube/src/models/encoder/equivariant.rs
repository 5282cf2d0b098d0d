//! The E(n)-equivariant graph network of Satorras et al. (arXiv 2102.09844): features of a node see of positions only
//! distances, and positions move along the differences to their neighbours. Turning the event turns the positions
//! and leaves the features as they are.
//!
//! The log found that such features alone cannot tell a direction (27, 32): they only work where the
//! coordinates are among the features too (26, 28, 30, 34), which gives the symmetry up.

use common::Result;
use common::config::Problems;
use neural::Path;
use neural::layers::{Activation, LayerNorm};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::local::{MOST_NEIGHBOURS, Space, demand_neighbours, edges, ends};
use crate::models::linear::{Dense, normal};
use crate::models::recorded;

/// Layers of an equivariant graph network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EquivariantConfig {
    /// Layers, >= 1.
    pub layers: i64,
    /// Pulses from which each one gets messages, 1 to 8.
    pub neighbours: i64,
    /// Where they are near.
    pub space: Space,
    /// Looks for neighbours anew before every layer but the first, among the positions as they moved.
    pub rebuild: bool,
    /// Activation between the linear maps.
    pub activation: Activation,
}

impl Default for EquivariantConfig {
    fn default() -> Self {
        Self {
            layers: 5,
            neighbours: MOST_NEIGHBOURS,
            space: Space::Xyzt,
            rebuild: false,
            activation: Activation::Relu,
        }
    }
}

impl EquivariantConfig {
    /// Reports numbers that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        problems.demand(self.layers >= 1, &format!("{key}.layers"), || "is below 1".into());
        demand_neighbours(self.neighbours, key, problems);
    }
}

/// Linear, norm, activation, linear, and where it ends a feature once more norm and activation.
#[derive(Debug)]
struct Perceptron {
    first: Dense,
    norm1: LayerNorm,
    second: Dense,
    norm2: Option<LayerNorm>,
    activation: Activation,
}

impl Perceptron {
    fn new(p: &Path, inputs: i64, dim: i64, outputs: Option<i64>, activation: Activation) -> Result<Self> {
        let second = Dense::new(&p.sub(3), dim, outputs.unwrap_or(dim), normal())?;
        let norm2 = if outputs.is_none() { Some(LayerNorm::new(&p.sub(4), &[dim])?) } else { None };
        Ok(Self {
            first: Dense::new(&p.sub(0), inputs, dim, normal())?,
            norm1: LayerNorm::new(&p.sub(1), &[dim])?,
            second,
            norm2,
            activation,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let hidden = self.activation.forward(&self.norm1.forward(&self.first.forward(x)));
        let out = self.second.forward(&hidden);
        self.norm2.as_ref().map_or_else(|| out.shallow_clone(), |norm| self.activation.forward(&norm.forward(&out)))
    }
}

/// One layer: messages along edges, features and positions from their sums.
#[derive(Debug)]
struct Layer {
    mlp_msg: Perceptron,
    mlp_pos: Perceptron,
    mlp_upd: Perceptron,
}

impl Layer {
    fn new(p: &Path, dim: i64, activation: Activation) -> Result<Self> {
        Ok(Self {
            mlp_msg: Perceptron::new(&p.sub("mlp_msg"), 2 * dim + 1, dim, None, activation)?,
            mlp_pos: Perceptron::new(&p.sub("mlp_pos"), dim, dim, Some(1), activation)?,
            mlp_upd: Perceptron::new(&p.sub("mlp_upd"), 2 * dim, dim, None, activation)?,
        })
    }

    /// Features `[N, D]` and positions `[N, 3]`, both updated.
    fn forward(&self, h: &Tensor, pos: &Tensor, (source, target): (&Tensor, &Tensor)) -> (Tensor, Tensor) {
        let at = |t: &Tensor, ends: &Tensor| t.index_select(0, ends);
        let apart = at(pos, target) - at(pos, source); // [E, 3]
        // Pulses of one sensor lie at distance 0, where a root has no gradient.
        let squared = apart.square().sum_dim_intlist([1_i64].as_slice(), true, Kind::Float);
        let distance = squared.clamp_min(1e-12).sqrt().to_kind(h.kind());
        let message = self.mlp_msg.forward(&Tensor::cat(&[at(h, target), at(h, source), distance], 1));
        let step = &apart * self.mlp_pos.forward(&message).to_kind(apart.kind());
        let sum = |values: &Tensor, like: &Tensor| {
            let zeros = values.new_zeros([like.size()[0], values.size()[1]], (values.kind(), values.device()));
            zeros.index_add(0, target, values)
        };
        let degree = sum(&step.ones_like().narrow(1, 0, 1), pos).clamp_min(1.0);
        let pos = pos + sum(&step, pos) / degree;
        let update = self.mlp_upd.forward(&Tensor::cat(&[h.shallow_clone(), sum(&message, h)], 1));
        (h + update, pos)
    }
}

/// The network: its layers, and the rule for the edges.
#[derive(Debug)]
pub struct Equivariant {
    layers: Vec<Layer>,
    config: EquivariantConfig,
}

impl Equivariant {
    /// Layers on features of `dim` channels.
    pub fn new(p: &Path, config: EquivariantConfig, dim: i64) -> Result<Self> {
        let layers =
            (0..config.layers).map(|i| Layer::new(&p.sub(i), dim, config.activation)).collect::<Result<_>>()?;
        Ok(Self { layers, config })
    }

    /// Features `[N, D]` and positions `[N, 3]` behind all layers. `coordinates` are the columns of the configured space;
    /// events of `lengths` nodes lie one after another.
    pub fn forward(
        &self,
        h: &Tensor,
        pos: &Tensor,
        coordinates: &[Vec<f32>],
        lengths: &[i64],
    ) -> Result<(Tensor, Tensor)> {
        let device = h.device();
        let k = self.config.neighbours;
        let mut graph = ends(&edges(coordinates, lengths), k, device)?;
        let (mut h, mut pos) = (h.shallow_clone(), pos.shallow_clone());
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 && self.config.rebuild {
                graph = ends(&edges(&super::local::columns_of(&pos, Space::Xyz)?, lengths), k, device)?;
            }
            (h, pos) = layer.forward(&h, &pos, (&graph.0, &graph.1));
        }
        Ok((h, pos))
    }

    /// The same on nodes that lie padded, for passes that are recorded; `coordinates` `[B L, c]`, `mask` bool `[B, L]`.
    pub fn recorded(&self, h: &Tensor, pos: &Tensor, coordinates: &Tensor, mask: &Tensor) -> (Tensor, Tensor) {
        let (k, rows) = (self.config.neighbours, h.size()[0]);
        let mut graph = recorded::ends(coordinates, mask, k);
        let (mut h, mut pos) = (recorded::extended(h), recorded::extended(pos));
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 && self.config.rebuild {
                graph = recorded::ends(&pos.narrow(0, 0, rows), mask, k);
            }
            (h, pos) = layer.forward(&h, &pos, (&graph.0, &graph.1));
        }
        (h.narrow(0, 0, rows), pos.narrow(0, 0, rows))
    }

    /// Where neighbours are near.
    pub fn space(&self) -> Space {
        self.config.space
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use neural::Params;
    use neural::init::Init;
    use tch::Device;

    const DIM: i64 = 12;

    fn network(rebuild: bool) -> (Params, Equivariant) {
        let params = Params::new(Device::Cpu, 4);
        let config = EquivariantConfig { layers: 3, rebuild, neighbours: 4, ..EquivariantConfig::default() };
        let network = Equivariant::new(&params.root(), config, DIM).unwrap();
        // Large enough weights that positions really move.
        params.reinitialise(|name, shape| (shape.len() == 2 && !name.is_empty()).then_some(Init::Normal(0.4))).unwrap();
        (params, network)
    }

    fn run(network: &Equivariant, h: &Tensor, pos: &Tensor, lengths: &[i64]) -> (Tensor, Tensor) {
        // The space is that of the positions, so that a turned event has the same neighbours.
        let columns = super::super::local::columns_of(pos, Space::Xyz).unwrap();
        tch::no_grad(|| network.forward(h, pos, &columns, lengths).unwrap())
    }

    fn largest(t: &Tensor) -> f64 {
        t.abs().max().double_value(&[])
    }

    fn event() -> (Tensor, Tensor) {
        tch::manual_seed(8);
        let normal = |n| Tensor::randn([10, n], (Kind::Float, Device::Cpu));
        (normal(DIM), normal(3))
    }

    /// A rotation by 0.7 around z, then by 1.1 around x.
    fn rotation() -> Tensor {
        let (s, c) = 0.7_f32.sin_cos();
        let around_z = Tensor::from_slice(&[c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0]).view([3, 3]);
        let (s, c) = 1.1_f32.sin_cos();
        Tensor::from_slice(&[1.0, 0.0, 0.0, 0.0, c, -s, 0.0, s, c]).view([3, 3]).matmul(&around_z)
    }

    #[test]
    fn a_turned_and_moved_event_has_the_same_features_and_turned_positions() {
        let (h, pos) = event();
        for rebuild in [false, true] {
            let (_params, network) = network(rebuild);
            let (features, places) = run(&network, &h, &pos, &[6, 4]);
            assert!(largest(&(&places - &pos)) > 1e-2, "positions do not move");
            let turn = |p: &Tensor| p.matmul(&rotation()) + 0.5;
            let (turned_features, turned_places) = run(&network, &h, &turn(&pos), &[6, 4]);
            assert!(largest(&(features - turned_features)) < 1e-4);
            assert!(largest(&(turn(&places) - turned_places)) < 1e-4);
        }
    }

    #[test]
    fn the_order_of_pulses_does_not_matter() {
        let (h, pos) = event();
        let (_params, network) = network(true);
        let (features, places) = run(&network, &h, &pos, &[6, 4]);
        let order = Tensor::from_slice(&[3_i64, 0, 5, 1, 4, 2, 9, 7, 6, 8]);
        let by = |t: &Tensor| t.index_select(0, &order);
        let (other, moved) = run(&network, &by(&h), &by(&pos), &[6, 4]);
        assert!(largest(&(by(&features) - other)) < 1e-5 && largest(&(by(&places) - moved)) < 1e-5);
        let (alone, _) = run(&network, &h.narrow(0, 6, 4), &pos.narrow(0, 6, 4), &[4]);
        assert!(largest(&(features.narrow(0, 6, 4) - alone)) < 1e-5, "events see each other");
    }

    #[test]
    fn rebuilt_edges_change_what_is_seen_and_pulses_at_one_place_have_finite_gradients() {
        let (h, pos) = event();
        let (fixed, rebuilt) = (network(false).1, network(true).1);
        assert!(largest(&(run(&fixed, &h, &pos, &[10]).0 - run(&rebuilt, &h, &pos, &[10]).0)) > 1e-6);
        let (params, network) = network(true);
        let pos = pos.get(0).expand([10, 3], false).contiguous();
        let columns = super::super::local::columns_of(&pos, Space::Xyz).unwrap();
        let (features, _) = network.forward(&h, &pos, &columns, &[10]).unwrap();
        features.sum(Kind::Float).backward();
        assert!(
            params.named().iter().all(|(_, t)| !t.grad().defined() || t.grad().isfinite().all().int64_value(&[]) == 1)
        );
    }
}
