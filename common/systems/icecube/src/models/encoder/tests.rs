//! The whole encoder, choice by choice.

use std::f64::consts::{PI, TAU};

use neural::Params;
use neural::init::Init;
use tch::{Device, Tensor};

use super::testing::batch;
use super::{
    DropoutConfig, Encoder, EncoderConfig, EquivariantConfig, Feature, GraphConfig, Head, LocalConfig, MatricesConfig,
    Norm, Pool, PoolingConfig, Positions, Scaling, Space,
};
use crate::batch::Batch;
use crate::losses::{LossKind, Normalisation, mean};
use crate::models::{DynEdgeConfig, Network};

fn small() -> EncoderConfig {
    let features = vec![
        Feature::Position,
        Feature::Time,
        Feature::Charge,
        Feature::Auxiliary,
        Feature::Qe,
        Feature::Scattering,
        Feature::Absorption,
    ];
    EncoderConfig { features, dim: 16, depth: 2, heads: 2, head_size: 8, max_length: 24, ..EncoderConfig::default() }
}

fn graph(space: Space) -> Option<GraphConfig> {
    let dynedge = DynEdgeConfig { layers: vec![[12, 8], [12, 8]], post: 12, readout: 4 };
    Some(GraphConfig { space, outputs: 10, dynedge })
}

fn pooling(kinds: &[Pool]) -> PoolingConfig {
    PoolingConfig { kinds: kinds.to_vec(), ..PoolingConfig::default() }
}

/// Every choice at least once, each with a name for the message.
fn choices() -> Vec<(&'static str, EncoderConfig)> {
    let all = [Pool::Mean, Pool::Max, Pool::Min, Pool::Sum, Pool::Class];
    vec![
        ("plain", small()),
        ("without positions", EncoderConfig { positions: Positions::None, ..small() }),
        ("rotary", EncoderConfig { positions: Positions::Rotary, gated: true, embed_norm: true, ..small() }),
        ("rms", EncoderConfig { norm: Norm::Rms, ..small() }),
        ("all poolings", EncoderConfig { pooling: pooling(&all), ..small() }),
        (
            "bottleneck and inputs",
            EncoderConfig { pooling: PoolingConfig { bottleneck: 5, inputs: true, ..pooling(&all) }, ..small() },
        ),
        ("unmasked", EncoderConfig { pooling: PoolingConfig { masked: false, ..pooling(&[Pool::Mean]) }, ..small() }),
        ("sensors", EncoderConfig { sensor_embedding: 6, sensor_norm: true, scaling: Scaling::Unit, ..small() }),
        ("sinusoids", EncoderConfig { features: vec![], sinusoids: 8, ..small() }),
        ("matrices", EncoderConfig { matrices: Some(MatricesConfig { near: 0.8, ..Default::default() }), ..small() }),
        (
            "matrices and class token",
            EncoderConfig {
                matrices: Some(MatricesConfig::default()),
                pooling: pooling(&[Pool::Class]),
                positions: Positions::None,
                ..small()
            },
        ),
        ("local", EncoderConfig { local: Some(LocalConfig { layers: 2, ..Default::default() }), ..small() }),
        ("graph before", EncoderConfig { graph: graph(Space::Xyzt), ..small() }),
        ("graph alone", EncoderConfig { features: vec![], graph: graph(Space::Xyz), depth: 0, ..small() }),
        ("equivariant alone", EncoderConfig { equivariant: Some(EquivariantConfig::default()), depth: 0, ..small() }),
        (
            "equivariant, rebuilt, before attention",
            EncoderConfig {
                equivariant: Some(EquivariantConfig { layers: 2, rebuild: true, ..Default::default() }),
                ..small()
            },
        ),
        ("angles", EncoderConfig { head: Head::Angles, ..small() }),
        ("bounded angles", EncoderConfig { head: Head::BoundedAngles, ..small() }),
    ]
}

fn build(config: &EncoderConfig) -> (Params, Encoder) {
    let params = Params::new(Device::Cpu, 3);
    let network = Encoder::new(&params.root(), config).unwrap();
    // Larger weights than the initial ones, so that every part shows in the output.
    params.reinitialise(|_, shape| (shape.len() == 2).then_some(Init::Normal(0.2))).unwrap();
    (params, network)
}

fn run(network: &Encoder, batch: &Batch) -> Tensor {
    tch::no_grad(|| network.forward(batch, false).unwrap())
}

fn largest(t: &Tensor) -> f64 {
    t.abs().max().double_value(&[])
}

/// One event of a batch, cut to its own length.
fn alone(all: &Batch, event: i64, length: i64) -> Batch {
    let take = |t: &Tensor| {
        let one = t.narrow(0, event, 1);
        if one.dim() > 1 { one.narrow(1, 0, length) } else { one }
    };
    Batch {
        pos: take(&all.pos),
        time: take(&all.time),
        charge: take(&all.charge),
        auxiliary: take(&all.auxiliary),
        qe: take(&all.qe),
        ice_properties: take(&all.ice_properties),
        mask: take(&all.mask),
        sensor_id: take(&all.sensor_id),
        pulses: all.pulses.narrow(0, event, 1),
        event_id: all.event_id.narrow(0, event, 1),
        target: all.target.as_ref().map(|t| t.narrow(0, event, 1)),
        extra: None,
    }
}

#[test]
fn an_event_is_the_same_alone_and_padded_beside_longer_ones() {
    let all = batch(&[12, 3, 1, 7], 5);
    for (name, config) in choices() {
        let network = build(&config).1;
        let together = run(&network, &all);
        for (event, length) in [(0, 12), (1, 3), (2, 1), (3, 7)] {
            let single = run(&network, &alone(&all, event, length)).get(0);
            let apart = largest(&(together.get(event) - single));
            assert!(apart < 2e-4 * (1.0 + largest(&together)), "{name}, event {event}: {apart}");
        }
        assert_eq!(together.isfinite().all().int64_value(&[]), 1, "{name}");
        assert!(largest(&(together.get(0) - together.get(3))) > 1e-6, "{name}: all events are the same");
    }
}

#[test]
fn every_parameter_learns_and_initial_weights_follow_the_seed() {
    let all = batch(&[12, 9, 2], 6);
    for (name, config) in choices() {
        let (params, network) = build(&config);
        let out = network.forward(&all, true).unwrap();
        mean(LossKind::VmsCosine, Normalisation::Switched, &out, all.target.as_ref().unwrap()).backward();
        for (parameter, tensor) in params.named() {
            // The published graph encoder holds a read-out that nothing uses; positions that no later layer reads, and
            // a key's bias, have no influence.
            let unused = parameter.contains("_readout") || parameter.contains("mlp_pos");
            let learns = tensor.grad().defined() && largest(&tensor.grad()) > 0.0;
            assert!(learns || unused, "{name}: `{parameter}` gets no gradient");
        }
        let names = |p: &Params| p.named().into_iter().map(|(n, t)| (n, t.size())).collect::<Vec<_>>();
        assert_eq!(names(&params), names(&build(&config).0));
    }
}

#[test]
fn without_positions_the_order_of_pulses_does_not_matter_and_with_them_it_does() {
    let all = batch(&[8, 8], 7);
    let order = Tensor::from_slice(&[3_i64, 0, 7, 1, 6, 2, 5, 4]);
    let by = |t: &Tensor| t.index_select(1, &order);
    let mixed = Batch {
        pos: by(&all.pos),
        time: by(&all.time),
        charge: by(&all.charge),
        auxiliary: by(&all.auxiliary),
        qe: by(&all.qe),
        ice_properties: by(&all.ice_properties),
        mask: all.mask.shallow_clone(),
        sensor_id: by(&all.sensor_id),
        pulses: all.pulses.shallow_clone(),
        event_id: all.event_id.shallow_clone(),
        target: None,
        extra: None,
    };
    for (name, config) in choices() {
        let placed = config.positions != Positions::None && config.depth > 0;
        let network = build(&config).1;
        let apart = largest(&(run(&network, &all) - run(&network, &mixed)));
        assert_eq!(apart > 1e-4, placed, "{name}: {apart}");
    }
}

#[test]
fn local_attention_is_full_attention_where_the_window_covers_everything() {
    let blocks = |local: bool| {
        let config = EncoderConfig { positions: Positions::Rotary, ..small() };
        if local {
            EncoderConfig { depth: 0, local: Some(LocalConfig { layers: 2, ..Default::default() }), ..config }
        } else {
            config
        }
    };
    let ((near, few), (far, all)) = (build(&blocks(true)), build(&blocks(false)));
    for (name, tensor) in near.named() {
        let other = far.get(&name.replace("local.", "blocks.")).unwrap();
        tch::no_grad(|| tensor.shallow_clone().copy_(&other));
    }
    let covered = batch(&[9, 4, 1], 8);
    assert!(largest(&(run(&few, &covered) - run(&all, &covered))) < 1e-5);
    let wider = batch(&[20, 15], 8);
    assert!(largest(&(run(&few, &wider) - run(&all, &wider))) > 1e-5);
}

#[test]
fn bounded_angles_stay_in_their_ranges() {
    let (params, network) = build(&EncoderConfig { head: Head::BoundedAngles, ..small() });
    params.reinitialise(|name, _| name.starts_with("proj_out").then_some(Init::Normal(50.0))).unwrap();
    let angles = run(&network, &batch(&[5, 6, 7, 8], 9));
    assert_eq!(angles.size(), [4, 2]);
    let (azimuth, zenith) = (angles.select(1, 0), angles.select(1, 1));
    assert!(angles.min().double_value(&[]) >= 0.0);
    assert!(azimuth.max().double_value(&[]) < TAU + 1e-6 && zenith.max().double_value(&[]) < PI + 1e-6);
}

#[test]
fn an_event_longer_than_the_network_is_an_error_with_both_numbers() {
    let network = build(&small()).1;
    let error = network.forward(&batch(&[25], 1), false).unwrap_err().to_string();
    assert!(error.contains("25 pulses") && error.contains("built for 24"), "{error}");
    let rotary = EncoderConfig { positions: Positions::Rotary, ..small() };
    assert_eq!(run(&build(&rotary).1, &batch(&[25], 1)).size(), [1, 3]);
}

#[test]
fn dropout_changes_training_alone() {
    let dropout = DropoutConfig { layer: 0.2, attention: 0.2, feed_forward: 0.2 };
    let network = build(&EncoderConfig { dropout, ..small() }).1;
    let all = batch(&[12, 9], 2);
    assert_eq!(run(&network, &all), run(&network, &all));
    let draw = |seed| {
        tch::manual_seed(seed);
        tch::no_grad(|| network.forward(&all, true).unwrap())
    };
    assert_ne!(draw(4), draw(5));
}

#[test]
fn impossible_choices_are_named() {
    let found = |config: EncoderConfig| {
        let mut problems = common::config::Problems::default();
        config.validate("model.encoder", &mut problems);
        format!("{problems:?}")
    };
    assert_eq!(found(small()), "Problems { found: [] }");
    for (config, key) in [
        (EncoderConfig { features: vec![], ..small() }, "model.encoder.features"),
        (EncoderConfig { features: vec![Feature::Time; 2], ..small() }, "names a feature twice"),
        (EncoderConfig { head_size: 5, ..small() }, "model.encoder.head_size"),
        (EncoderConfig { sinusoids: 6, ..small() }, "model.encoder.sinusoids"),
        (EncoderConfig { pooling: pooling(&[]), ..small() }, "model.encoder.pooling.kinds"),
        (EncoderConfig { pooling: pooling(&[Pool::Class]), depth: 0, ..small() }, "has `class`"),
        (EncoderConfig { graph: graph(Space::Xyztc), ..small() }, "model.encoder.graph.space"),
        (
            EncoderConfig { local: Some(LocalConfig { neighbours: 9, ..Default::default() }), ..small() },
            "model.encoder.local.neighbours",
        ),
        (
            EncoderConfig { dropout: DropoutConfig { layer: 1.0, ..Default::default() }, ..small() },
            "model.encoder.dropout.layer",
        ),
    ] {
        assert!(found(config.clone()).contains(key), "{key}: {}", found(config));
    }
}
