//! Optimizers against the textbook loop in f64, and the promises about state.

use super::*;
use tch::Device;

const SHAPES: [&[i64]; 3] = [&[4, 3], &[5], &[2, 1, 3]];

/// Deterministic values without a generator, different for every use.
fn values(salt: usize, n: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 37 + salt * 101 + 11) % 97) as f64 / 48.5 - 1.0).collect()
}

fn leaf(salt: usize, shape: &[i64]) -> Tensor {
    let values: Vec<f32> = values(salt, shape.iter().product::<i64>() as usize).iter().map(|&x| x as f32).collect();
    Tensor::from_slice(&values).view(shape).set_requires_grad(true)
}

fn params() -> Vec<(String, Tensor)> {
    SHAPES.iter().enumerate().map(|(i, shape)| (format!("layer.{i}"), leaf(i, shape))).collect()
}

/// Gives `param` the gradient `values(salt)` through a linear loss.
fn backward(param: &Tensor, salt: usize) {
    let weight = leaf(salt, &param.size()).detach();
    (param * weight).sum(Kind::Float).backward();
}

fn one_group(params: &[(String, Tensor)], lr: f64) -> Vec<Group> {
    vec![Group { name: "all".into(), lr, params: params.iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect() }]
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.detach().flatten(0, -1)).unwrap()
}

fn train(optimizer: &mut Optimizer, params: &[(String, Tensor)], steps: std::ops::Range<usize>) {
    for step in steps {
        optimizer.zero_grad().unwrap();
        for (i, (_, param)) in params.iter().enumerate() {
            backward(param, 10 * step + i);
        }
        optimizer.step().unwrap();
    }
}

/// The published update rules, element by element in f64.
fn by_hand(config: &OptimizerConfig, lr: f64, salt: usize, n: usize, steps: usize) -> Vec<f64> {
    let mut w: Vec<f64> = values(salt, n).iter().map(|&x| f64::from(x as f32)).collect();
    let (mut m, mut v) = (vec![0.0; n], vec![0.0; n]);
    for step in 0..steps {
        let grads: Vec<f64> = values(10 * step + salt, n).iter().map(|&x| f64::from(x as f32)).collect();
        let t = (step + 1) as i32;
        for i in 0..n {
            let mut g = grads[i];
            match config {
                OptimizerConfig::Adam(AdamConfig { betas, eps, weight_decay })
                | OptimizerConfig::AdamW(AdamWConfig { betas, eps, weight_decay }) => {
                    if matches!(config, OptimizerConfig::AdamW(_)) {
                        w[i] *= 1.0 - lr * weight_decay;
                    } else {
                        g += weight_decay * w[i];
                    }
                    m[i] = betas[0] * m[i] + (1.0 - betas[0]) * g;
                    v[i] = betas[1] * v[i] + (1.0 - betas[1]) * g * g;
                    let (mh, vh) = (m[i] / (1.0 - betas[0].powi(t)), v[i] / (1.0 - betas[1].powi(t)));
                    w[i] -= lr * mh / (vh.sqrt() + eps);
                }
                OptimizerConfig::Sgd(SgdConfig { momentum, dampening, weight_decay, nesterov }) => {
                    g += weight_decay * w[i];
                    m[i] = if step == 0 { g } else { momentum * m[i] + (1.0 - dampening) * g };
                    let direction = match (*momentum, nesterov) {
                        (0.0, _) => g,
                        (_, true) => g + momentum * m[i],
                        (_, false) => m[i],
                    };
                    w[i] -= lr * direction;
                }
            }
        }
    }
    w
}

fn all_configs() -> Vec<OptimizerConfig> {
    vec![
        OptimizerConfig::Adam(AdamConfig::default()),
        OptimizerConfig::Adam(AdamConfig { weight_decay: 0.1, ..AdamConfig::default() }),
        OptimizerConfig::AdamW(AdamWConfig { betas: [0.9, 0.95], ..AdamWConfig::default() }),
        OptimizerConfig::AdamW(AdamWConfig { weight_decay: 0.5, ..AdamWConfig::default() }),
        OptimizerConfig::Sgd(SgdConfig::default()),
        OptimizerConfig::Sgd(SgdConfig { momentum: 0.9, weight_decay: 0.01, ..SgdConfig::default() }),
        OptimizerConfig::Sgd(SgdConfig { momentum: 0.9, dampening: 0.5, ..SgdConfig::default() }),
        OptimizerConfig::Sgd(SgdConfig { momentum: 0.9, nesterov: true, ..SgdConfig::default() }),
    ]
}

#[test]
fn steps_agree_with_the_textbook_in_f64() {
    for config in all_configs() {
        let params = params();
        let mut optimizer = Optimizer::new(&config, one_group(&params, 0.05)).unwrap();
        train(&mut optimizer, &params, 0..7);
        for (i, (name, param)) in params.iter().enumerate() {
            let expected = by_hand(&config, 0.05, i, param.numel(), 7);
            for (found, expected) in flat(param).into_iter().zip(expected) {
                let error = (f64::from(found) - expected).abs();
                assert!(error < 1e-6, "{config:?} {name}: {found} against {expected}");
            }
        }
    }
}

#[test]
fn adamw_agrees_with_the_loop_of_libtorch() {
    use tch::nn::OptimizerConfig as _;
    let ours = params();
    let config = OptimizerConfig::AdamW(AdamWConfig::default());
    let mut optimizer = Optimizer::new(&config, one_group(&ours, 0.01)).unwrap();
    train(&mut optimizer, &ours, 0..5);

    let vs = tch::nn::VarStore::new(Device::Cpu);
    let theirs: Vec<Tensor> = SHAPES
        .iter()
        .enumerate()
        .map(|(i, shape)| {
            let mut var = vs.root().zeros(&i.to_string(), shape);
            tch::no_grad(|| var.copy_(&leaf(i, shape)));
            var
        })
        .collect();
    let mut reference = tch::nn::AdamW { wd: 0.01, ..Default::default() }.build(&vs, 0.01).unwrap();
    for step in 0..5 {
        reference.zero_grad();
        theirs.iter().enumerate().for_each(|(i, var)| backward(var, 10 * step + i));
        reference.step();
    }
    for ((_, ours), theirs) in ours.iter().zip(&theirs) {
        let difference = (ours - theirs).abs().max().double_value(&[]);
        assert!(difference < 3e-7, "{difference}");
    }
}

#[test]
fn a_parameter_without_a_gradient_is_neither_decayed_nor_remembered() {
    for config in all_configs() {
        let params = params();
        let before = flat(&params[1].1);
        let mut optimizer = Optimizer::new(&config, one_group(&params, 0.1)).unwrap();
        backward(&params[0].1, 3);
        optimizer.step().unwrap();
        assert_eq!(flat(&params[1].1), before);
        assert!(optimizer.state().iter().all(|(name, _)| name.starts_with("layer.0.")), "{config:?}");
        // Zeroing takes the gradient away: the parameter is skipped again, not stepped with zeros.
        let after = flat(&params[0].1);
        optimizer.zero_grad().unwrap();
        optimizer.step().unwrap();
        assert_eq!(flat(&params[0].1), after);
    }
}

#[test]
fn a_parameter_that_joins_late_counts_its_own_steps() {
    let params = params();
    let config = OptimizerConfig::Adam(AdamConfig::default());
    let mut optimizer = Optimizer::new(&config, one_group(&params, 0.1)).unwrap();
    for step in 0..3 {
        optimizer.zero_grad().unwrap();
        backward(&params[0].1, step);
        if step == 2 {
            backward(&params[1].1, step);
        }
        optimizer.step().unwrap();
    }
    let steps: Vec<f64> =
        optimizer.state().iter().filter(|(n, _)| n.ends_with(".step")).map(|(_, t)| t.double_value(&[0])).collect();
    assert_eq!(steps, [3.0, 1.0]);
}

#[test]
fn a_restored_state_continues_bit_for_bit() {
    for config in all_configs() {
        let straight = params();
        let mut optimizer = Optimizer::new(&config, one_group(&straight, 0.02)).unwrap();
        train(&mut optimizer, &straight, 0..6);

        let first = params();
        let mut optimizer = Optimizer::new(&config, one_group(&first, 0.02)).unwrap();
        train(&mut optimizer, &first, 0..3);
        let saved: Vec<(String, Tensor)> = optimizer.state().into_iter().map(|(n, t)| (n, t.copy())).collect();
        let second: Vec<(String, Tensor)> =
            first.iter().map(|(n, t)| (n.clone(), t.detach().copy().set_requires_grad(true))).collect();
        let mut resumed = Optimizer::new(&config, one_group(&second, 0.02)).unwrap();
        resumed.load_state(&saved).unwrap();
        train(&mut resumed, &second, 3..6);
        for ((_, a), (_, b)) in straight.iter().zip(&second) {
            assert_eq!(flat(a), flat(b), "{config:?}");
        }
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused_and_changes_nothing() {
    let params = params();
    let config = OptimizerConfig::AdamW(AdamWConfig::default());
    let mut optimizer = Optimizer::new(&config, one_group(&params, 0.1)).unwrap();
    train(&mut optimizer, &params, 0..2);
    let good = || -> Vec<(String, Tensor)> { optimizer.state().into_iter().map(|(n, t)| (n, t.copy())).collect() };
    let (mut missing, mut extra, mut shape, mut twice) = (good(), good(), good(), good());
    missing.retain(|(n, _)| n != "layer.1.exp_avg_sq");
    extra.push(("other.exp_avg".into(), Tensor::zeros([1], (Kind::Float, Device::Cpu))));
    shape[0].1 = Tensor::zeros([3, 4], (Kind::Float, Device::Cpu));
    twice.push(("layer.0.step".into(), twice[2].1.copy()));
    let before: Vec<Vec<f32>> = good().iter().map(|(_, t)| flat(t)).collect();
    for (saved, expected) in [
        (missing, "missing `layer.1.exp_avg_sq`"),
        (extra, "`other.exp_avg` belongs to no parameter"),
        (shape, "`layer.0.exp_avg` is Float [3, 4], expected Float [4, 3]"),
        (twice, "`layer.0.step` is given twice"),
    ] {
        let error = optimizer.load_state(&saved).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(optimizer.state().iter().map(|(_, t)| flat(t)).collect::<Vec<_>>(), before);
    }
}

#[test]
fn groups_have_learning_rates_of_their_own() {
    let params = params();
    let group = |name: &str, lr, i: usize| Group {
        name: name.into(),
        lr,
        params: vec![(params[i].0.clone(), params[i].1.shallow_clone())],
    };
    let config = OptimizerConfig::Sgd(SgdConfig::default());
    let mut optimizer = Optimizer::new(&config, vec![group("a", 1.0, 0), group("b", 0.0, 1)]).unwrap();
    let before = flat(&params[1].1);
    train(&mut optimizer, &params[..2], 0..1);
    assert_eq!(flat(&params[1].1), before);
    optimizer.set_learning_rates(&[0.0, 0.5]).unwrap();
    assert_eq!(optimizer.learning_rates(), [0.0, 0.5]);
    let frozen = flat(&params[0].1);
    train(&mut optimizer, &params[..2], 1..2);
    assert_eq!(flat(&params[0].1), frozen);
    assert_ne!(flat(&params[1].1), before);
    assert!(optimizer.set_learning_rates(&[0.1]).is_err());
    assert!(optimizer.set_learning_rates(&[0.1, f64::NAN]).is_err());
    assert_eq!(optimizer.learning_rates(), [0.0, 0.5]);
    assert!(Optimizer::new(&config, vec![group("a", 1.0, 0), group("b", 1.0, 0)]).is_err());
}

#[test]
fn numbers_out_of_range_are_named() {
    let adam = |betas, eps, weight_decay| OptimizerConfig::Adam(AdamConfig { betas, eps, weight_decay });
    for (config, key) in [
        (adam([1.0, 0.9], 1e-8, 0.0), "betas"),
        (adam([0.9, f64::NAN], 1e-8, 0.0), "betas"),
        (adam([0.9, 0.99], 0.0, 0.0), "eps"),
        (adam([0.9, 0.99], 1e-8, -1.0), "weight_decay"),
        (OptimizerConfig::Sgd(SgdConfig { nesterov: true, ..SgdConfig::default() }), "momentum"),
    ] {
        assert_eq!(config.problems().len(), 1, "{config:?}");
        let error = Optimizer::new(&config, Vec::new()).unwrap_err();
        assert!(matches!(&error, Error::Usage { message, .. } if message.contains(key)), "{error}");
    }
}
