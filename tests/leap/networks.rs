//! The networks of the first place and of the benchmark beside plain PyTorch: outputs in training and evaluation, the
//! loss, running statistics, the gradient of every parameter, and the number of parameters at the published size.
//! `tests/leap/benchmark/networks.py` made the figures.

use common::store::tensors::TensorFile;
use leap::losses::{Criterion, Distance};
use leap::models::{ModelConfig, parts};
use leap::train::LossConfig;
use leap::train::evaluate::training_loss;
use neural::Params;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::support::root;

/// f32 through some thirty layers, relative to the largest value.
const NEAR: f64 = 2e-5;
/// The same of gradients, which run through twice as many.
const NEAR_GRADIENT: f64 = 2e-4;
const BATCH: i64 = 3;

/// Numbers in -0.5..0.5 that follow from a name, as in the script.
fn value(name: &str, shape: &[i64]) -> Tensor {
    let seed = name.bytes().fold(2_166_136_261_u32, |h, byte| (h ^ u32::from(byte)).wrapping_mul(16_777_619));
    let n = shape.iter().product::<i64>();
    let number = |i: i64| {
        let mut x = seed.wrapping_add((i as u32).wrapping_mul(2_654_435_761));
        for (shift, factor) in [(15, 2_246_822_519), (13, 3_266_489_917)] {
            x = (x ^ (x >> shift)).wrapping_mul(factor);
        }
        x ^= x >> 16;
        (f64::from(x) / 4_294_967_296.0 - 0.5) as f32
    };
    Tensor::from_slice(&(1..=n).map(number).collect::<Vec<f32>>()).view(shape)
}

/// Gives every parameter and running statistic its value.
fn fill(params: &Params) {
    for (name, tensor) in params.state() {
        let u = value(&name, &tensor.size());
        let last = name.rsplit('.').next().unwrap();
        let one = tensor.dim() == 1;
        let filled = match last {
            "running_mean" => u,
            "running_var" => u + 1.0,
            "weight" | "scale" | "weights" | "gamma" if one => u * 0.4 + 1.0,
            _ if one => u * 0.4,
            _ => {
                let fan_in = tensor.size()[1..].iter().product::<i64>() as f64;
                u * (2.0 / fan_in.sqrt())
            }
        };
        tch::no_grad(|| tensor.shallow_clone().copy_(&filled));
    }
}

fn wanted(file: &TensorFile, name: &str) -> Tensor {
    let shape: Vec<i64> = file.shape(name).unwrap().iter().map(|n| *n as i64).collect();
    Tensor::from_slice(file.f32(name).unwrap()).view(shape.as_slice())
}

fn close(what: &str, got: &Tensor, want: &Tensor, near: f64) {
    assert_eq!(got.size(), want.size(), "{what}");
    let off = (got - want).abs().max().double_value(&[]) / want.abs().max().double_value(&[]);
    assert!(off < near, "{what}: {off:e}");
}

fn model(name: &str, sizes: &Value) -> ModelConfig {
    let name = name.trim_end_matches("_batch").trim_end_matches("_places");
    serde_json::from_value(json!({ name: sizes })).unwrap()
}

/// A network of the file.
struct Case {
    name: String,
    sizes: Value,
    parameters: Vec<String>,
    /// Their number at the published size.
    published: u64,
}

/// The networks of the file.
fn cases() -> (TensorFile, Vec<Case>) {
    let file = TensorFile::open(root().join("tests/leap/benchmark/networks.safetensors")).unwrap();
    let about: Value = serde_json::from_str(file.metadata_text("networks").unwrap()).unwrap();
    let case = |(name, entry): (&String, &Value)| {
        let names = entry["parameters"].as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_string());
        Case {
            name: name.clone(),
            sizes: entry["sizes"].clone(),
            parameters: names.collect(),
            published: entry["published_parameters"].as_u64().unwrap(),
        }
    };
    let cases = about.as_object().unwrap().iter().map(case).collect();
    (file, cases)
}

#[test]
fn networks_of_first_place_and_benchmark_are_those_of_plain_pytorch() {
    let (file, cases) = cases();
    assert_eq!(cases.len(), 8);
    for Case { name, sizes, parameters: names, .. } in cases {
        let config = model(&name, &sizes);
        let params = Params::new(Device::Cpu, 3);
        let network = config.build(&params).unwrap();
        let mut ours: Vec<String> = params.named().into_iter().map(|(name, _)| name).collect();
        let mut theirs = names.clone();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{name}");
        fill(&params);
        let x = value(&format!("{name}.x"), &[BATCH, 60, 25]) * 4.0;
        // Scalars are the same on every level.
        let scalars = x.narrow(1, 0, 1).narrow(2, 0, 16).expand([BATCH, 60, 16], false);
        let x = Tensor::cat(&[scalars, x.narrow(2, 16, 9)], 2);
        let mut y = value(&format!("{name}.y"), &[BATCH, 368]) * 4.0;
        if config.places() {
            y = Tensor::cat(&[y, value(&format!("{name}.places"), &[BATCH, 8])], 1);
        }
        let at = |key: &str| format!("{name}.{key}");
        let evaluated = || tch::no_grad(|| network.forward(&x, false));
        close(&at("eval"), &evaluated(), &wanted(&file, &at("eval")), NEAR);
        let output = network.forward(&x, true);
        close(&at("train"), &output, &wanted(&file, &at("train")), NEAR);
        let loss = LossConfig {
            distance: if config.confidence() { Distance::Huber } else { Distance::Mae },
            differences: 0.0,
            confidence: f64::from(u8::from(config.confidence())),
            places: if config.places() { 0.5 } else { 0.0 },
            ..LossConfig::default()
        };
        let loss = training_loss(&loss, &output, &y);
        close(&at("loss"), &loss.reshape([1]), &wanted(&file, &at("loss")), NEAR);
        loss.backward();
        close(&at("eval_after"), &evaluated(), &wanted(&file, &at("eval_after")), NEAR);
        let norms = file.f64(&at("gradient_norms")).unwrap();
        let sums = file.f64(&at("gradient_sums")).unwrap();
        let largest = norms.iter().fold(0.0_f64, |a, b| a.max(*b));
        for (i, parameter) in names.iter().enumerate() {
            let gradient = params.get(parameter).unwrap().grad();
            // What is never used has none.
            let (norm, sum) = match gradient.defined() {
                true => {
                    let gradient = gradient.to_kind(Kind::Double);
                    (gradient.norm().double_value(&[]), gradient.sum(Kind::Double).double_value(&[]))
                }
                false => (0.0, 0.0),
            };
            let room = NEAR_GRADIENT * norms[i].max(1e-2 * largest);
            let numbers = params.get(parameter).unwrap().numel() as f64;
            assert!((norm - norms[i]).abs() < room, "{name}, {parameter}: norm {norm}, expected {}", norms[i]);
            assert!((sum - sums[i]).abs() < room * numbers.sqrt(), "{name}, {parameter}: sum {sum}, {}", sums[i]);
        }
    }
}

#[test]
fn published_sizes_have_the_published_numbers_of_parameters() {
    for Case { name, sizes, published: expected, .. } in cases().1 {
        let confidence = sizes["confidence"].as_bool().unwrap_or(false);
        let config = model(&name, &json!({ "confidence": confidence }));
        let params = Params::new(Device::Cpu, 3);
        config.build(&params).unwrap();
        assert_eq!(params.count(), expected, "{name}");
    }
}

#[test]
fn distances_and_expected_errors_are_those_of_their_definition() {
    let tensor = |values: &[f32]| Tensor::from_slice(values);
    let (p, y) = (tensor(&[0.0, 1.0, 4.0]), tensor(&[0.5, 3.0, 4.0]));
    let each = |distance, beta| Vec::<f32>::try_from(Criterion { distance, beta }.each(&p, &y)).unwrap();
    assert_eq!(each(Distance::Mae, 1.0), [0.5, 2.0, 0.0]);
    assert_eq!(each(Distance::Mse, 1.0), [0.25, 4.0, 0.0]);
    assert_eq!(each(Distance::SmoothL1, 2.0), [0.0625, 1.0, 0.0]);
    assert_eq!(each(Distance::Huber, 2.0), [0.125, 2.0, 0.0]);
    // Errors of 1 everywhere, expected to be 3: an MAE of 1 and twice 2 on top.
    let output = Tensor::cat(
        &[Tensor::zeros([2, 368], (Kind::Float, Device::Cpu)), Tensor::full([2, 368], 3.0, (Kind::Float, Device::Cpu))],
        1,
    )
    .set_requires_grad(true);
    let target = Tensor::ones([2, 368], (Kind::Float, Device::Cpu));
    let config = LossConfig { distance: Distance::Mae, differences: 0.0, confidence: 2.0, ..LossConfig::default() };
    let loss = training_loss(&config, &output, &target);
    assert!((loss.double_value(&[]) - 5.0).abs() < 1e-6, "{loss:?}");
    loss.backward();
    // No gradient reaches the predictions through the error that was expected.
    let (of_predictions, of_expected) = parts(&output.grad());
    let n = 2.0 * 368.0;
    assert!((of_predictions.min().double_value(&[]) + 1.0 / n).abs() < 1e-8);
    assert!((of_expected.unwrap().max().double_value(&[]) - 2.0 / n).abs() < 1e-8);
}
