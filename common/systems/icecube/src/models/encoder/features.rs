//! What the encoder sees of a pulse: plain numbers, learned vectors of sensors, sinusoids.
//!
//! Everything is padded, `[B, L, C]`, and zero in padded places, as the log's data sets were.

use common::Result;
use neural::export::{constant, recording};
use neural::init::Init;
use neural::layers::LayerNorm;
use neural::{Doing, Path, device};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::EncoderConfig;
use super::local::{Space, columns_of, edges};
use crate::batch::Batch;
use crate::models::direction::Packed;
use crate::models::dynedge::{DynEdge, GLOBALS, Nodes, globals, padded_globals};
use crate::models::embed::Extractor;
use crate::models::recorded;

/// Sensors of the detector.
const SENSORS: i64 = 5160;
/// Extent of the detector in units of 500 m: lowest coordinates and widths.
const LOWEST: [f64; 3] = [-1.141_8, -1.042_16, -1.025_64];
const WIDTH: [f64; 3] = [2.294_54, 2.061_16, 2.074_76];

/// A number of a pulse, or several that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// x, y, z of the sensor.
    Position,
    /// Time.
    Time,
    /// `log10(charge) / 3`.
    Charge,
    /// The charge itself, in photo-electrons.
    RawCharge,
    /// 1 where no neighbour saw light too.
    Auxiliary,
    /// 1 on sensors of high quantum efficiency.
    Qe,
    /// Scattering length of the ice at the sensor.
    Scattering,
    /// Absorption length of the ice at the sensor.
    Absorption,
    /// Place in the order of time, 0 for the first pulse and 1 for the last.
    Rank,
    /// Position and charge times what is left of the event's time: early light counts more (4 numbers).
    Weighted,
    /// Distance from, and time after, the charge-weighted centre of the event (2 numbers).
    CentreOfGravity,
    /// What is known of the whole event: means of nine features, four homophilies, the number of pulses (14 numbers).
    Globals,
}

impl Feature {
    /// How many numbers it is.
    pub fn width(self) -> i64 {
        match self {
            Self::Position => 3,
            Self::Weighted => 4,
            Self::CentreOfGravity => 2,
            Self::Globals => GLOBALS,
            _ => 1,
        }
    }
}

/// Range of positions and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Positions in units of 500 m, times as `(time_ns - 1e4) / 3e4`.
    Detector,
    /// Positions between 0 and 1 over the detector, times between 0 and 1 over the event.
    Unit,
}

/// All sources of features, side by side.
#[derive(Debug)]
pub struct Inputs {
    features: Vec<Feature>,
    scaling: Scaling,
    sensors: Option<(Tensor, Option<LayerNorm>)>,
    extractor: Option<Extractor>,
    graph: Option<DynEdge>,
    /// Channels of all of them.
    pub width: i64,
}

impl Inputs {
    /// Creates the parameters: `sensor_emb.weight`, `sensor_norm.*`, `extractor.*`, `graph.*`.
    pub fn new(p: &Path, config: &EncoderConfig) -> Result<Self> {
        let mut width: i64 = config.features.iter().map(|f| f.width()).sum();
        let sensors = if config.sensor_embedding > 0 {
            let dim = config.sensor_embedding;
            width += dim;
            let weight = p.sub("sensor_emb").parameter("weight", &[SENSORS, dim], Init::KaimingNormal)?;
            let norm = config.sensor_norm.then(|| LayerNorm::new(&p.sub("sensor_norm"), &[dim])).transpose()?;
            Some((weight, norm))
        } else {
            None
        };
        let extractor = if config.sinusoids > 0 {
            width += config.dim;
            Some(Extractor::new(&p.sub("extractor"), config.sinusoids, config.dim, false)?)
        } else {
            None
        };
        let graph = match &config.graph {
            Some(graph) => {
                width += graph.outputs;
                let columns = if graph.space == Space::Xyz { 3 } else { 4 };
                Some(DynEdge::new(&p.sub("graph"), &graph.dynedge, graph.outputs, columns)?)
            }
            None => None,
        };
        Ok(Self { features: config.features.clone(), scaling: config.scaling, sensors, extractor, graph, width })
    }

    /// `[B, L, width]`.
    pub(in crate::models) fn forward(&self, batch: &Batch, packed: &Packed) -> Result<Tensor> {
        let scaled = Scaled::new(batch, self.scaling);
        let mut parts = vec![];
        for feature in &self.features {
            parts.push(self.plain(*feature, batch, packed, &scaled)?);
        }
        if let Some((weight, norm)) = &self.sensors {
            let rows = Tensor::f_embedding(weight, &batch.sensor_id, -1, false, false).doing("looking up sensors")?;
            let rows = norm.as_ref().map_or_else(|| rows.shallow_clone(), |norm| norm.forward(&rows));
            parts.push(rows * batch.mask.unsqueeze(-1));
        }
        if let Some(extractor) = &self.extractor {
            parts.push(packed.spread(&extractor.forward(&packed.pulses), batch));
        }
        if let (Some(graph), true) = (&self.graph, recording()) {
            let local = graph.recorded(&packed.features(batch), &packed.log_pulses, &batch.mask)?;
            parts.push(packed.spread(&local.to_kind(Kind::Float), batch));
        } else if let Some(graph) = &self.graph {
            let nodes = Nodes {
                features: packed.features(batch),
                event: packed.event.shallow_clone(),
                lengths: &packed.lengths,
                log_pulses: packed.log_pulses.shallow_clone(),
            };
            let local = graph.forward(&nodes, &mut |_, _| {})?;
            parts.push(packed.spread(&local.to_kind(Kind::Float), batch));
        }
        Ok(Tensor::cat(&parts, -1))
    }

    fn plain(&self, feature: Feature, batch: &Batch, packed: &Packed, scaled: &Scaled) -> Result<Tensor> {
        let valid = batch.mask.unsqueeze(-1);
        let column = |t: &Tensor| t.to_kind(Kind::Float).unsqueeze(-1);
        Ok(match feature {
            Feature::Position => scaled.pos.shallow_clone(),
            Feature::Time => column(&scaled.time),
            Feature::Charge => column(&batch.charge),
            Feature::RawCharge => column(&(&batch.charge * (3.0 * std::f64::consts::LN_10)).exp()) * valid,
            Feature::Auxiliary => column(&batch.auxiliary),
            Feature::Qe => column(&batch.qe),
            Feature::Scattering => batch.ice_properties.narrow(-1, 0, 1),
            Feature::Absorption => batch.ice_properties.narrow(-1, 1, 1),
            Feature::Rank => {
                // Sums of integers: those of floating point numbers have no deterministic form on a GPU.
                let place = batch.mask.cumsum(1, Kind::Int64).to_kind(Kind::Float) - 1.0;
                let last = (batch.mask.sum_dim_intlist([1_i64].as_slice(), true, Kind::Float) - 1.0).clamp_min(1.0);
                column(&(place / last)) * valid
            }
            Feature::Weighted => {
                let left = column(&(1.0 - unit_time(batch))) * valid;
                Tensor::cat(&[&scaled.pos, &column(&batch.charge)], -1) * left
            }
            Feature::CentreOfGravity => centre_of_gravity(batch),
            Feature::Globals if recording() => {
                let features = packed.features(batch);
                let (source, target) = recorded::ends(&features.narrow(1, 0, 3), &batch.mask, recorded::MOST);
                padded_globals(&features, &packed.log_pulses, (&source, &target), &batch.mask).unsqueeze(1) * valid
            }
            Feature::Globals => {
                let nodes = Nodes {
                    features: packed.features(batch),
                    event: packed.event.shallow_clone(),
                    lengths: &packed.lengths,
                    log_pulses: packed.log_pulses.shallow_clone(),
                };
                let columns = columns_of(&nodes.features, Space::Xyzt)?;
                let found = edges(&columns[..3], &packed.lengths);
                globals(&nodes, &columns, &found)?.unsqueeze(1) * valid
            }
        })
    }
}

/// Positions and times in the configured range, zero in padded places.
struct Scaled {
    pos: Tensor,
    time: Tensor,
}

impl Scaled {
    fn new(batch: &Batch, scaling: Scaling) -> Self {
        match scaling {
            Scaling::Detector => Self { pos: batch.pos.shallow_clone(), time: batch.time.shallow_clone() },
            Scaling::Unit => Self { pos: unit_positions(batch), time: unit_time(batch) },
        }
    }
}

/// Positions between 0 and 1 over the detector, `[B, L, 3]`.
pub fn unit_positions(batch: &Batch) -> Tensor {
    let row =
        |values: [f64; 3]| device::placed(&constant(&Tensor::from_slice(&values)).to_kind(Kind::Float), batch.device());
    (&batch.pos - row(LOWEST)) / row(WIDTH) * batch.mask.unsqueeze(-1)
}

/// Times between 0 and 1 over each event, `[B, L]`; 0 in an event of one pulse.
fn unit_time(batch: &Batch) -> Tensor {
    let absent = batch.mask.logical_not();
    let first = batch.time.masked_fill(&absent, f64::INFINITY).amin([1_i64].as_slice(), true);
    let last = batch.time.masked_fill(&absent, f64::NEG_INFINITY).amax([1_i64].as_slice(), true);
    let span = (last - &first).clamp_min(1e-6);
    ((&batch.time - first) / span).masked_fill(&absent, 0.0)
}

/// Distance from the charge-weighted centre (units of 500 m) and time after its mean time, `[B, L, 2]`.
fn centre_of_gravity(batch: &Batch) -> Tensor {
    let valid = batch.mask.to_kind(Kind::Float);
    let charge = (&batch.charge * (3.0 * std::f64::consts::LN_10)).exp() * &valid;
    let sum = charge.sum_dim_intlist([1_i64].as_slice(), true, Kind::Float).clamp_min(1e-12);
    let share = (charge / sum).unsqueeze(-1);
    let centre = (&batch.pos * &share).sum_dim_intlist([1_i64].as_slice(), true, Kind::Float);
    let mean = (&batch.time * share.squeeze_dim(-1)).sum_dim_intlist([1_i64].as_slice(), true, Kind::Float);
    let squared = (&batch.pos - centre).square().sum_dim_intlist([-1_i64].as_slice(), false, Kind::Float);
    let distance = recorded::root(&squared);
    Tensor::stack(&[distance * &valid, (&batch.time - mean) * &valid], -1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::encoder::testing::batch;
    use neural::Params;
    use tch::Device;

    #[test]
    fn features_are_as_wide_as_they_say_and_zero_in_padded_places() {
        use Feature::{
            Absorption, Auxiliary, CentreOfGravity, Charge, Globals, Position, Qe, Rank, RawCharge, Scattering, Time,
            Weighted,
        };
        let all = vec![
            Position,
            Time,
            Charge,
            RawCharge,
            Auxiliary,
            Qe,
            Scattering,
            Absorption,
            Rank,
            Weighted,
            CentreOfGravity,
            Globals,
        ];
        let batch = batch(&[5, 1, 3], 7);
        let packed = Packed::new(&batch).unwrap();
        for scaling in [Scaling::Detector, Scaling::Unit] {
            for sensor_norm in [false, true] {
                let config = EncoderConfig {
                    features: all.clone(),
                    scaling,
                    sensor_embedding: 6,
                    sensor_norm,
                    sinusoids: 8,
                    dim: 10,
                    graph: Some(super::super::GraphConfig { outputs: 4, ..Default::default() }),
                    ..EncoderConfig::default()
                };
                let params = Params::new(Device::Cpu, 1);
                let inputs = Inputs::new(&params.root(), &config).unwrap();
                let x = inputs.forward(&batch, &packed).unwrap();
                assert_eq!(x.size(), [3, 5, inputs.width]);
                assert_eq!(inputs.width, 3 + 8 + 4 + 2 + 14 + 6 + 10 + 4);
                let absent = batch.mask.logical_not().unsqueeze(-1).expand_as(&x);
                assert_eq!(x.masked_select(&absent).abs().max().double_value(&[]), 0.0);
                assert_eq!(x.isfinite().all().int64_value(&[]), 1);
            }
        }
    }

    #[test]
    fn rank_runs_from_zero_to_one_and_unit_times_too() {
        let batch = batch(&[5, 2], 3);
        let config = EncoderConfig { features: vec![Feature::Rank, Feature::Time], ..EncoderConfig::default() };
        let config = EncoderConfig { scaling: Scaling::Unit, ..config };
        let params = Params::new(Device::Cpu, 1);
        let x = Inputs::new(&params.root(), &config).unwrap();
        let x = x.forward(&batch, &Packed::new(&batch).unwrap()).unwrap();
        let rank = Vec::<f32>::try_from(x.select(-1, 0).flatten(0, -1)).unwrap();
        assert_eq!(rank, [0.0, 0.25, 0.5, 0.75, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        let time = x.select(-1, 1);
        assert_eq!((time.double_value(&[0, 0]), time.double_value(&[0, 4])), (0.0, 1.0));
        assert_eq!((time.double_value(&[1, 0]), time.double_value(&[1, 1])), (0.0, 1.0));
        let places = unit_positions(&batch);
        assert!(places.min().double_value(&[]) >= 0.0 && places.max().double_value(&[]) <= 1.0);
    }

    #[test]
    fn the_centre_of_gravity_of_one_pulse_is_that_pulse() {
        let batch = batch(&[1, 4], 5);
        let x = centre_of_gravity(&batch);
        assert!(x.get(0).abs().max().double_value(&[]) < 1e-6);
        assert!(x.get(1).select(1, 0).min().double_value(&[]) > 0.0);
    }
}
