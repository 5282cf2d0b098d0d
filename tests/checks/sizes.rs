//! Networks of other sizes than those of the cases, with weights drawn from a seed: what is fast is compared with the plain
//! form of the same network, where there is one, or with the same events taken one by one.
//!
//! Sizes are drawn too, odd ones among them, so that no size that a case happens to have stands in the code unseen.

use anyhow::{Result, anyhow, ensure};
use common::seed::rng_for;
use icecube::batch::{Batch, NAMES};
use icecube::models::{Direction, ModelConfig};
use leap::models::ModelConfig as LeapConfig;
use neural::Params;
use neural::layers::{Form, Mamba, MambaConfig};
use polarmae::models::plain;
use polarmae::models::transformer::{Layout, Transformer, TransformerConfig};
use rand::RngExt;
use serde_json::{Value, json};
use tch::{Kind, Tensor};
use tracknet::models::{ModelConfig as TrackConfig, StepAhead};

use super::polarmae::layers::{runs, valid};
use super::{Comparison, compare, device};

/// Name of a set of sizes, and its check.
pub type Sizes = (&'static str, fn() -> Result<()>);

/// All of them, by system.
pub const ALL: &[Sizes] = &[
    ("icecube::directions", directions),
    ("icecube::checkpoints_keep_numbers", checkpoints),
    ("icecube::checkpoints_save_memory", memory),
    ("leap::mamba", mamba),
    ("leap::networks", rows_alone),
    ("polarmae::transformer", transformers),
    ("tracknet::step_ahead", tracks_alone),
];

/// Networks of a kind that are tried.
const TRIES: u64 = 6;
/// What sums in another order cost in f32, relative to the largest value; gradients feel it through more products.
const NEAR: f64 = 2e-5;
const NEAR_GRADIENT: f64 = 2e-4;

/// A number drawn for the `i`-th try.
fn draw(what: &str, i: u64, of: std::ops::RangeInclusive<i64>) -> i64 {
    rng_for(11, what, i).random_range(of)
}

fn normal(seed: i64, shape: &[i64]) -> Tensor {
    tch::manual_seed(seed);
    Tensor::randn(shape, (Kind::Float, tch::Device::Cpu)).to_device(device())
}

/// Weights that all differ, so that no part of a network hides: initial ones are zero or one in many places.
fn scatter(params: &Params, seed: i64) {
    tch::manual_seed(seed);
    for (_, tensor) in params.named() {
        let noise = Tensor::randn_like(&tensor) * 0.1;
        let _ = tch::no_grad(|| tensor.shallow_clone().g_add_(&noise.to_kind(tensor.kind())));
    }
}

fn gradients(params: &Params) -> Vec<(String, Tensor)> {
    params.named().into_iter().filter(|(_, t)| t.grad().defined()).map(|(name, t)| (name, t.grad().copy())).collect()
}

fn zero(params: &Params) {
    params.named().iter().for_each(|(_, t)| t.shallow_clone().zero_grad());
}

/// Gradients of two forms; a tensor whose true gradient is zero holds noise, so the largest of all counts, too.
fn same_gradients(checks: &mut Comparison, name: &str, got: &[(String, Tensor)], want: &[(String, Tensor)]) {
    let largest = want.iter().map(|(_, t)| t.abs().max().double_value(&[])).fold(0.0, f64::max);
    checks.add(super::equal_lists(name, &names(got), &names(want)));
    for ((label, got), (_, want)) in got.iter().zip(want) {
        let scale = want.abs().max().double_value(&[]).max(1e-2 * largest);
        checks.add(super::compare_absolute(&format!("{name}, {label}"), got, want, NEAR_GRADIENT * scale));
    }
}

fn names(list: &[(String, Tensor)]) -> Vec<&str> {
    list.iter().map(|(name, _)| name.as_str()).collect()
}

/// The Mamba block in its three forms: any width, states, taps, expansion, and sequences shorter than the taps.
fn mamba() -> Result<()> {
    let mut checks = Comparison::new();
    for i in 0..TRIES {
        let config = MambaConfig {
            dim: draw("dim", i, 1..=37),
            states: draw("states", i, 1..=20),
            taps: draw("taps", i, 1..=7),
            expand: draw("expand", i, 1..=3),
        };
        let (batch, length) = (draw("batch", i, 1..=5), draw("length", i, 1..=23));
        let x = normal(i as i64, &[batch, length, config.dim]);
        let mut plain: Option<(Tensor, Vec<(String, Tensor)>)> = None;
        for form in [Form::Plain, Form::Operations, Form::Fused] {
            let params = Params::new(device(), i);
            let block = Mamba::new(&params.root(), config)?;
            scatter(&params, i as i64);
            let x = x.copy().set_requires_grad(true);
            let out = block.forward_as(&x, form);
            (&out * out.detach().cos()).sum(Kind::Float).backward();
            let mut found = gradients(&params);
            found.push(("x".into(), x.grad()));
            let name = format!("{config:?}, {batch} x {length}, {form:?}");
            match &plain {
                None => plain = Some((out.detach(), found)),
                Some((want, slopes)) => {
                    checks.tensors(&name, &out, want, NEAR);
                    same_gradients(&mut checks, &name, &found, slopes);
                }
            }
        }
    }
    checks.finish()
}

/// LEAP's networks: a batch gives what its rows give alone, in training as in evaluation, and every size is used.
fn rows_alone() -> Result<()> {
    let mut checks = Comparison::new();
    for i in 0..TRIES {
        let (hidden, layers) = (draw("hidden", i, 2..=9), draw("layers", i, 1..=5));
        let stack = json!({ "hidden_state": hidden, "num_lstm": layers });
        let mut mamba = json!({
            "hidden_state": hidden, "num_lstm": layers.min(3), "d_state": draw("d_state", i, 1..=20),
            "d_conv": draw("d_conv", i, 2..=6),
        });
        let mut all: Vec<(&str, Value)> =
            ["reslstm", "max014", "max015", "max021", "max022"].map(|n| (n, stack.clone())).into();
        all.extend(["1lstm1mamba", "2lstm1mamba", "lstmmambamixed"].map(|n| (n, mamba.clone())));
        mamba["num_mamba"] = json!(draw("num_mamba", i, 1..=3));
        all.extend(["lstmmamba_stage1", "lstmmamba_stage2"].map(|n| (n, mamba.clone())));
        for (name, sizes) in all {
            let label = format!("{name} {sizes}");
            let config: LeapConfig = serde_json::from_value(json!({ name: sizes }))?;
            // What a config says is what comes back of it.
            ensure!(
                serde_json::from_value::<LeapConfig>(serde_json::to_value(&config)?)? == config,
                "{label} is not kept"
            );
            let params = Params::new(device(), i);
            let network = config.build(&params)?;
            let rows = draw("rows", i, 2..=4);
            let x = normal(i as i64, &[rows, 60, 25]);
            let whole = tch::no_grad(|| network.forward(&x, false));
            let alone: Vec<Tensor> =
                (0..rows).map(|r| tch::no_grad(|| network.forward(&x.narrow(0, r, 1), false))).collect();
            checks.tensors(&label, &whole, &Tensor::cat(&alone, 0), NEAR);
            let trained = network.forward(&x, true);
            checks.tensors(&format!("{label}, training"), &trained, &whole, NEAR);
            trained.sum(Kind::Float).backward();
            let idle: Vec<String> =
                params.named().into_iter().filter(|(_, t)| !t.grad().defined()).map(|(name, _)| name).collect();
            let idle: Vec<&String> = idle.iter().filter(|name| !name.starts_with("enc_norm.")).collect();
            checks.add(if idle.is_empty() { Ok(()) } else { Err(anyhow!("{label}: {idle:?} have no gradient")) });
        }
    }
    checks.finish()
}

/// PoLAr-MAE's transformer: packed rows against the published padded form.
fn transformers() -> Result<()> {
    let mut checks = Comparison::new();
    for i in 0..TRIES {
        let heads = draw("heads", i, 1..=4);
        let config = TransformerConfig {
            embed_dim: Some(heads * draw("head", i, 1..=12)),
            heads: Some(heads),
            depth: Some(draw("depth", i, 1..=5)),
            mlp_ratio: draw("ratio", i, 1..=5),
            postnorm: i % 2 == 0,
            add_pos_at_every_layer: i % 3 != 0,
            drop_rate: 0.0,
            attn_drop_rate: 0.0,
            drop_path_rate: 0.0,
            ..TransformerConfig::default()
        };
        let params = Params::new(device(), i);
        let network = Transformer::new(&params.root(), &config)?;
        scatter(&params, i as i64);
        let (events, longest) = (draw("events", i, 1..=5), draw("tokens", i, 2..=17));
        let shape = [events, longest, config.dim()];
        let (x, pos) = (normal(i as i64, &shape), normal(100 + i as i64, &shape));
        let lengths: Vec<i64> = (0..events)
            .map(|e| if e == 0 { longest } else { draw("length", 10 * i + e as u64, 1..=longest) })
            .collect();
        let places = Tensor::arange(longest, (Kind::Int64, device()));
        let mask = places.unsqueeze(0).lt_tensor(&Tensor::from_slice(&lengths).to_device(device()).unsqueeze(1));
        let mask = mask.to_kind(Kind::Uint8);
        let want = tch::no_grad(|| plain::forward(&network, &x, &pos, &mask, None));
        let layout = Layout::new(runs(&mask)?, device());
        let got = tch::no_grad(|| network.forward(&valid(&x, &mask), &valid(&pos, &mask), &layout, false))?;
        checks.tensors(&format!("{config:?}"), &got, &valid(&want.last, &mask), NEAR);
    }
    checks.finish()
}

/// TrackNET: tracks of a padded batch against each alone.
fn tracks_alone() -> Result<()> {
    let mut checks = Comparison::new();
    for i in 0..TRIES {
        let config = TrackConfig {
            input_features: draw("inputs", i, 3..=6),
            hidden_features: draw("hidden", i, 1..=40),
            output_features: draw("outputs", i, 3..=5),
        };
        let params = Params::new(device(), i);
        let network = StepAhead::new(&params, &config)?;
        scatter(&params, i as i64);
        let (tracks, longest) = (draw("tracks", i, 2..=6), draw("hits", i, 2..=15));
        let x = normal(i as i64, &[tracks, longest, config.input_features]);
        let lengths: Vec<i64> = (0..tracks)
            .map(|t| if t == 0 { longest } else { draw("length", 10 * i + t as u64, 1..=longest) })
            .collect();
        let whole = tch::no_grad(|| network.forward(&x, &Tensor::from_slice(&lengths).to_device(device())));
        for (t, &n) in lengths.iter().enumerate() {
            let one = x.narrow(0, t as i64, 1).narrow(1, 0, n);
            let alone = tch::no_grad(|| network.forward(&one, &Tensor::from_slice(&[n]).to_device(device())));
            let both =
                super::tracknet::networks::named(&whole).into_iter().zip(super::tracknet::networks::named(&alone));
            for ((name, got), (_, want)) in both {
                let got = got.narrow(0, t as i64, 1).narrow(1, 0, n);
                checks.add(compare(&format!("{config:?}, track {t}, {name}"), &got, want, NEAR));
            }
        }
    }
    checks.finish()
}

/// A batch of events for IceCube's networks.
fn pulses(i: u64) -> Result<Batch> {
    let (events, longest) = (draw("events", i, 2..=4), draw("pulses", i, 12..=30));
    let lengths: Vec<i64> =
        (0..events).map(|e| if e == 0 { longest } else { draw("length", 10 * i + e as u64, 1..=longest) }).collect();
    let shape = [events, longest];
    let places = Tensor::arange(longest, (Kind::Int64, device()));
    let counts = Tensor::from_slice(&lengths).to_device(device());
    let mask = places.unsqueeze(0).lt_tensor(&counts.unsqueeze(1));
    let filled = |t: Tensor| t * mask.to_kind(Kind::Float).reshape([events, longest, 1]);
    let number = |seed: i64| filled(normal(seed + i as i64, &[events, longest, 1]) * 0.3).squeeze_dim(2);
    let flag = |seed: i64| (normal(seed, &shape).gt(0.0).logical_and(&mask)).to_kind(Kind::Int64);
    let tensors: Vec<Tensor> = NAMES
        .iter()
        .enumerate()
        .map(|(k, name)| match *name {
            "pos" => filled(normal(k as i64 + i as i64, &[events, longest, 3]) * 0.5),
            "ice_properties" => filled(normal(k as i64, &[events, longest, 2])),
            "time" | "charge" => number(10 * k as i64),
            "auxiliary" | "qe" => flag(k as i64),
            "mask" => mask.shallow_clone(),
            "sensor_id" => mask.to_kind(Kind::Int64) * 7,
            "L0" => &counts * 3,
            "idx" => Tensor::arange(events, (Kind::Int64, device())),
            _ => normal(k as i64, &[events, 2]).abs(),
        })
        .collect();
    Ok(Batch::from_tensors(&tensors)?)
}

/// A network of IceCube of drawn sizes; every other one has a graph encoder.
fn sizes(i: u64) -> Value {
    let head = 2 * draw("head", i, 1..=6);
    let dim = head * 2 * draw("heads", i, 1..=3);
    let mut sizes = json!({
        "dim": dim, "head_size": head, "dim_base": 4 * draw("base", i, 1..=4), "depth": draw("depth", i, 1..=4),
    });
    match i % 3 {
        0 => {
            sizes["depth_rel"] = json!(draw("depth_rel", i, 0..=4));
            sizes["n_rel"] = json!(draw("n_rel", i, 0..=4));
            json!({ "deep_ice": sizes })
        }
        kind => {
            let layers: Vec<[i64; 2]> = (0..draw("layers", i, 1..=4))
                .map(|l| [draw("wide", 10 * i + l as u64, 4..=20), draw("out", 10 * i + l as u64, 4..=16)])
                .collect();
            sizes["dynedge"] = json!({
                "layers": layers, "post": draw("post", i, 3..=20), "readout": draw("readout", i, 2..=9),
            });
            if kind == 1 { json!({ "v22": sizes }) } else { json!({ "v23": sizes }) }
        }
    }
}

/// IceCube's networks: packed groups, one padded group, inference and training.
fn directions() -> Result<()> {
    let mut checks = Comparison::new();
    for i in 0..TRIES {
        let sizes = sizes(i);
        let config: ModelConfig = serde_json::from_value(sizes.clone())?;
        let config = config.config().ok_or_else(|| anyhow!("no published network"))?;
        let params = Params::new(device(), i);
        let network = Direction::new(&params.root(), &config)?;
        scatter(&params, i as i64);
        let batch = pulses(i)?;
        let traced = |padded: bool| tch::no_grad(|| network.trace(&batch, padded, &mut |_, _| {}));
        let want = traced(true)?;
        checks.tensors(&format!("{sizes}, packed"), &traced(false)?, &want, NEAR);
        let by = |train: bool| icecube::models::Network::forward(&network, &batch, train);
        checks.tensors(&format!("{sizes}, inference"), &tch::no_grad(|| by(false))?, &want, NEAR);
        checks.tensors(&format!("{sizes}, training"), &by(true)?, &want, NEAR);
    }
    checks.finish()
}

/// Gradient checkpointing changes no bit of output and gradients.
fn checkpoints() -> Result<()> {
    let mut checks = Comparison::new();
    for i in 0..TRIES {
        let mut sizes = sizes(i);
        let batch = pulses(i)?;
        let mut kept: Option<(Tensor, Vec<(String, Tensor)>)> = None;
        for again in [false, true] {
            if let Some(network) = sizes.as_object_mut().and_then(|map| map.values_mut().next()) {
                network["use_checkpoint"] = json!(again);
            }
            let config: ModelConfig = serde_json::from_value(sizes.clone())?;
            let params = Params::new(device(), i);
            let network = config.build(&params)?;
            scatter(&params, i as i64);
            zero(&params);
            let out = network.forward(&batch, true)?;
            out.square().sum(Kind::Float).backward();
            let found = gradients(&params);
            match &kept {
                None => kept = Some((out.detach(), found)),
                Some((want, slopes)) => {
                    checks.tensors(&sizes.to_string(), &out, want, 0.0);
                    checks.add(super::equal_lists("gradients", &names(&found), &names(slopes)));
                    for ((name, got), (_, want)) in found.iter().zip(slopes) {
                        checks.tensors(&format!("{sizes}, {name}"), got, want, 0.0);
                    }
                }
            }
        }
    }
    checks.finish()
}

/// Gradient checkpointing holds a fraction of what a forward pass holds without. Alone in a process, whose memory is measured.
fn memory() -> Result<()> {
    const INSIDE: &str = "PODIUM_MEMORY_OF_CHECKPOINTS";
    if device() != tch::Device::Cpu {
        return Ok(());
    }
    if std::env::var_os(INSIDE).is_none() {
        let mut alone = std::process::Command::new(std::env::current_exe()?);
        let out = alone.args(["--exact", "icecube::sizes::checkpoints_save_memory"]).env(INSIDE, "1").output()?;
        let text = String::from_utf8_lossy(&out.stdout);
        ensure!(out.status.success() && text.contains(" 1 passed"), "{}\n{text}", out.status);
        return Ok(());
    }
    let long = Tensor::ones([8, 400], (Kind::Float, tch::Device::Cpu));
    let tensors: Vec<Tensor> = NAMES
        .iter()
        .map(|name| match *name {
            "pos" => normal(1, &[8, 400, 3]),
            "ice_properties" => normal(2, &[8, 400, 2]),
            "time" | "charge" => normal(3, &[8, 400]),
            "mask" => long.to_kind(Kind::Bool),
            "L0" | "idx" => Tensor::full([8], 400, (Kind::Int64, tch::Device::Cpu)),
            "target" => normal(4, &[8, 2]),
            _ => long.to_kind(Kind::Int64),
        })
        .collect();
    let batch = Batch::from_tensors(&tensors)?;
    let held = |again: bool| -> Result<i64> {
        let sizes =
            json!({ "dim": 96, "dim_base": 16, "depth": 12, "head_size": 32, "depth_rel": 0, "use_checkpoint": again });
        let config: ModelConfig = serde_json::from_value(json!({ "deep_ice": sizes }))?;
        let params = Params::new(device(), 1);
        let network = config.build(&params)?;
        let before = resident()?;
        let out = network.forward(&batch, true)?;
        let after = resident()?;
        drop(out);
        Ok(after - before)
    };
    // The first pass of each kind makes room that the library keeps.
    held(true)?;
    let (again, kept) = (held(true)?, held(false)?);
    ensure!(3 * again.max(0) < kept, "{again} KiB are held with checkpoints, {kept} KiB without");
    Ok(())
}

/// Memory of this process, KiB.
fn resident() -> Result<i64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or_else(|| anyhow!("no `VmRSS`"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
