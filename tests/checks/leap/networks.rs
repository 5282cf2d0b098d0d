//! The networks: forward, losses, gradients, optimizer steps, names and initial values.

use anyhow::{Context, Result, anyhow, bail, ensure};
use common::config::Problems;
use leap::columns::GROUPS;
use leap::models::{ModelConfig, adam};
use leap::{layout, losses};
use neural::Params;
use neural::clip::clip_grad_norm;
use neural::layers::Network;
use neural::optim::{AdamConfig, AdamWConfig, Group, Optimizer, OptimizerConfig};
use neural::schedule::{CosineConfig, Schedule, ScheduleConfig};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use crate::checks::{Case, Comparison, Tensors};

/// Builds the network that a case names: `sizes` are its config, a text stands for the published sizes.
pub fn build(model: &str, sizes: &Value) -> Result<(Params, Box<dyn Network>)> {
    let config = model_config(model, sizes)?;
    let params = Params::new(crate::checks::device(), 1);
    let network = config.build(&params)?;
    Ok((params, network))
}

/// The config of a network that a case names, as [`build`] understands it.
pub fn model_config(model: &str, sizes: &Value) -> Result<ModelConfig> {
    let mut sizes = if sizes.is_object() { sizes.clone() } else { json!({}) };
    // `max007 (fine-tune 010)`, `2lstm1mamba-state64`, `lstmmamba-stage1`.
    let name = model.split(' ').next().unwrap_or(model);
    let (name, states) = match name.split_once("-state") {
        Some((name, states)) => (name, states.parse::<u64>().ok()),
        None => (name, None),
    };
    if let (Some(states), Some(sizes)) = (states, sizes.as_object_mut()) {
        sizes.entry("d_state").or_insert(json!(states));
    }
    let name = name.replace('-', "_");
    let channels = sizes.as_object_mut().and_then(|sizes| sizes.remove("inputs_dim"));
    let mut config: ModelConfig =
        serde_json::from_value(json!({ &name: sizes })).with_context(|| format!("model `{name}`"))?;
    if let (ModelConfig::Cnnlstm(c), Some(channels)) = (&mut config, channels.as_ref().and_then(Value::as_i64)) {
        c.inputs_dim = channels;
    }
    let mut problems = Problems::default();
    config.validate("model", &mut problems);
    ensure!(problems.is_empty(), "model `{model}`: {problems:?}");
    Ok(config)
}

/// Networks and what stands for them in names of runs and files. Numbers stand alone, behind `exp` or behind `max`.
const IN_NAMES: [(&str, &[&str]); 13] = [
    ("max007", &["max007", "007", "010"]),
    ("max014", &["max014", "014"]),
    ("max015", &["max015", "015"]),
    ("max021", &["max021", "021"]),
    ("max022", &["max022", "022"]),
    ("reslstm", &["reslstm"]),
    ("cnnlstm", &["cnnlstm"]),
    ("lstmmamba-stage1", &["lstmmambastage1"]),
    ("lstmmamba-stage2", &["lstmmamba", "lstmmambastage2"]),
    ("lstmmambamixed", &["lstmmambamixed"]),
    ("2lstm1mamba", &["2lstm1mamba"]),
    ("1lstm1mamba", &["1lstm1mamba"]),
    ("jo907", &["jo907", "ex907"]),
];

/// The network of a published run: that of the longest known name in it.
pub fn network_of_run(run: &str) -> Result<&'static str> {
    let lower = run.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let joined: String = lower.chars().filter(char::is_ascii_alphanumeric).collect();
    let stands = |name: &str| match name.starts_with('0') {
        true => words.iter().any(|word| word.trim_start_matches("exp").trim_start_matches("max") == name),
        false => joined.contains(name),
    };
    let known = IN_NAMES.iter().flat_map(|(network, names)| names.iter().map(move |name| (*network, *name)));
    let longest = known.filter(|(_, name)| stands(name)).max_by_key(|(_, name)| name.len());
    Ok(longest.with_context(|| format!("no network is known for the run `{run}`"))?.0)
}

/// Copies weights into the network; both sides must have the same names and shapes.
pub fn load(params: &Params, weights: &Tensors) -> Result<()> {
    let state = params.state();
    for (name, target) in &state {
        let source = weights.get(name)?;
        ensure!(source.size() == target.size(), "`{name}`: shape {:?}, expected {:?}", source.size(), target.size());
        tch::no_grad(|| target.shallow_clone().copy_(&source));
    }
    let surplus: Vec<_> = weights.names().filter(|name| params.get(name).is_none()).collect();
    ensure!(surplus.is_empty(), "the network has no {surplus:?}");
    Ok(())
}

/// The training loss from its sentence: `SmoothL1(beta=0.5) over all 368 + (1/6)*sum over the 6 profiles of ...`.
pub fn loss_from_sentence(sentence: &str) -> Result<impl Fn(&Tensor, &Tensor) -> Tensor + use<>> {
    let between = |start: &str, end: char| {
        let rest = &sentence[sentence.find(start)? + start.len()..];
        rest[..rest.find(end)?].parse::<f64>().ok()
    };
    let beta = between("SmoothL1(beta=", ')').with_context(|| format!("no beta in `{sentence}`"))?;
    let factor = between("+ (", '/').unwrap_or(0.0);
    Ok(move |predicted: &Tensor, target: &Tensor| losses::full(predicted, target, beta, factor))
}

/// `parameters.txt`: a comment, then `name [shape]` a line, in `state_dict` order.
pub fn names_and_shapes(text: &str) -> Vec<(String, Vec<i64>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let (name, shape) = line.split_once(" [")?;
        let shape = shape.trim_end().trim_end_matches(']').split(',').map(|n| n.trim().parse().ok());
        Some((name.to_owned(), shape.collect::<Option<Vec<i64>>>()?))
    };
    lines.filter_map(parse).collect()
}

fn check_names(checks: &mut Comparison, params: &Params, text: &str) {
    let want = names_and_shapes(text);
    let got: Vec<_> = params.state().into_iter().map(|(name, tensor)| (name, tensor.size())).collect();
    let different = got.iter().zip(&want).find(|(a, b)| a != b);
    checks.add(match different {
        Some((got, want)) => Err(anyhow!("parameter {got:?}, expected {want:?}")),
        None if got.len() != want.len() => Err(anyhow!("{} parameters, expected {}", got.len(), want.len())),
        None => Ok(()),
    });
}

fn zero_gradients(params: &Params) {
    params.named().iter().for_each(|(_, p)| p.shallow_clone().zero_grad());
}

fn total_norm(params: &Params) -> f64 {
    let square = |p: Tensor| {
        if p.grad().defined() {
            p.grad().to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[])
        } else {
            0.0
        }
    };
    params.named().into_iter().map(|(_, p)| square(p)).sum::<f64>().sqrt()
}

/// Narrow networks: forward, loss, gradients, the losses of all groups, optimizer steps with schedule.
pub fn small(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let (params, network) = build(case.str("model")?, case.value("constructor")?)?;
    load(&params, &case.tensors("weights.safetensors")?)?;
    let loss = loss_from_sentence(case.str("loss")?)?;
    let tolerance = |name: &str| case.f64(&format!("tolerance.{name}"));
    let targets = inputs.get("targets")?;
    // One case has the network's input itself.
    let all = if inputs.has("x") { inputs.get("x")? } else { layout::expand(&inputs.get("rows")?) };
    let size = case.usize("batch")? as i64;
    let batch = |i: i64| (all.narrow(0, i * size, size), targets.narrow(0, i * size, size));
    let mut checks = Comparison::new();
    if case.has_file("parameters.txt") {
        check_names(&mut checks, &params, &case.text("parameters.txt")?);
    }

    let (x, y) = batch(0);
    let output = network.forward(&x, true);
    checks.tensors("out0", &output, &expected.get("out0")?, tolerance("out0")?);
    let value = loss(&output, &y);
    checks.number("loss0", value.double_value(&[]), expected.scalar("loss0")?, tolerance("loss0")?);
    value.backward();
    let without = case.strings("parameters_without_gradient")?;
    for (name, param) in params.named() {
        let (gradient, wanted) = (param.grad(), format!("grad.{name}"));
        if without.contains(&name) {
            let stays_away = !gradient.defined() || gradient.abs().max().double_value(&[]) == 0.0;
            checks.add(if stays_away { Ok(()) } else { Err(anyhow!("`{name}` has a gradient")) });
        } else if gradient.defined() {
            checks.tensors(&wanted, &gradient, &expected.get(&wanted)?, tolerance("grad")?);
        } else {
            checks.add(Err(anyhow!("`{name}` has no gradient")));
        }
    }

    let (group_loss, group_norm) = (expected.f64s("group_loss")?, expected.f64s("group_grad_norm")?);
    for g in 0..GROUPS {
        zero_gradients(&params);
        let value = losses::of_group(&network.forward(&x, true), &y, g);
        checks.number(&format!("group_loss {g}"), value.double_value(&[]), group_loss[g], tolerance("loss0")?);
        value.backward();
        checks.number(
            &format!("group_grad_norm {g}"),
            total_norm(&params),
            group_norm[g],
            tolerance("step_grad_norm")?,
        );
    }
    zero_gradients(&params);
    steps(case, &params, &*network, &loss, &batch, &mut checks)?;
    checks.finish()
}

/// The optimizer steps of a narrow network, one batch a step.
fn steps(
    case: &Case,
    params: &Params,
    network: &dyn Network,
    loss: &dyn Fn(&Tensor, &Tensor) -> Tensor,
    batch: &dyn Fn(i64) -> (Tensor, Tensor),
    checks: &mut Comparison,
) -> Result<()> {
    let after = case.tensors("expected_after.safetensors")?;
    let tolerance = |name: &str| case.f64(&format!("tolerance.{name}"));
    let groups = groups(params, case.value("optimizer.lr")?)?;
    let base: Vec<f64> = groups.iter().map(|g| g.lr).collect();
    let mut optimizer = Optimizer::new(&optimizer_config(case, "optimizer")?, groups)?;
    let config = CosineConfig {
        t_0: case.usize("schedule.T_0")? as u32,
        t_mult: case.usize("schedule.T_mult")? as u32,
        eta_min: case.f64("schedule.eta_min")?,
    };
    let mut schedule = Schedule::new(&ScheduleConfig::CosineRestarts(config), &base)?;
    let per_epoch = case.usize("schedule.steps_per_epoch")? as u64;
    let (want_loss, want_norm, want_rates) =
        (after.f64s("step_loss")?, after.f64s("step_grad_norm")?, after.f64s("step_lr")?);
    for step in 0..want_loss.len() {
        let (x, y) = batch(step as i64);
        optimizer.zero_grad()?;
        let value = loss(&network.forward(&x, true), &y);
        value.backward();
        let norm = clip_grad_norm(&params.trainable(), case.f64("optimizer.max_grad_norm")?)?;
        let rates = schedule.rates().to_vec();
        optimizer.set_learning_rates(&rates)?;
        optimizer.step()?;
        schedule.after_step(step as u64 / per_epoch, step as u64 % per_epoch, per_epoch);
        // The case lists the groups in another order.
        let (mut rates, mut want_rates) = (rates, want_rates[step * base.len()..(step + 1) * base.len()].to_vec());
        rates.sort_by(f64::total_cmp);
        want_rates.sort_by(f64::total_cmp);
        checks.number(&format!("step_loss {step}"), value.double_value(&[]), want_loss[step], tolerance("step_loss")?);
        checks.number(&format!("step_grad_norm {step}"), norm, want_norm[step], tolerance("step_grad_norm")?);
        checks.values(&format!("step_lr {step}"), &rates, &want_rates, 1e-12);
    }
    for (name, param) in params.named() {
        let wanted = format!("param.{name}");
        let (got, want) = (determined(&name, &param), determined(&name, &after.get(&wanted)?));
        checks.tensors(&wanted, &got, &want, tolerance("param")?);
    }
    Ok(())
}

/// A parameter without what training does not determine: the keys' part of an attention's bias has a gradient of
/// zero in theory and of rounding noise in practice, which the optimizer blows up.
pub fn determined(name: &str, parameter: &Tensor) -> Tensor {
    if !name.ends_with("in_proj_bias") {
        return parameter.detach();
    }
    let third = parameter.size()[0] / 3;
    let parameter = parameter.detach();
    Tensor::cat(&[parameter.narrow(0, 0, third), parameter.narrow(0, 2 * third, third)], 0)
}

/// One group for a number, one group a beginning of names for an object.
pub fn groups(params: &Params, rates: &Value) -> Result<Vec<Group>> {
    if let Some(lr) = rates.as_f64() {
        return Ok(vec![Group { name: "all".into(), lr, params: params.named() }]);
    }
    let rates = rates.as_object().context("`lr` is neither a number nor an object")?;
    let group = |(name, lr): (&String, &Value)| {
        let prefix = format!("{name}.");
        let params = params.named().into_iter().filter(|(n, _)| n.starts_with(&prefix)).collect();
        Ok(Group { name: name.clone(), lr: lr.as_f64().context("a rate is no number")?, params })
    };
    rates.iter().map(group).collect()
}

/// Optimizer from `type` or `optimizer`, `betas`, `eps`, `weight_decay` below `key`.
pub fn optimizer_config(case: &Case, key: &str) -> Result<OptimizerConfig> {
    let at = |name: &str| format!("{key}.{name}");
    let kind = case.str(&at("type")).or_else(|_| case.str(&at("optimizer")))?;
    let betas = case.f64s(&at("betas"))?;
    let betas: [f64; 2] = betas.try_into().map_err(|b| anyhow!("betas {b:?}"))?;
    let (eps, weight_decay) = (case.f64(&at("eps"))?, case.f64(&at("weight_decay"))?);
    match kind {
        "Adam" => Ok(OptimizerConfig::Adam(AdamConfig { betas, eps, weight_decay })),
        "AdamW" => Ok(OptimizerConfig::AdamW(AdamWConfig { betas, eps, weight_decay })),
        other => bail!("optimizer `{other}` is not known"),
    }
}

/// Published sizes with generated weights: names, forward, loss, norm of every gradient.
pub fn full(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let (params, network) = build(case.str("model")?, case.value("constructor")?)?;
    let mut checks = Comparison::new();
    check_names(&mut checks, &params, &case.text("parameters.txt")?);
    let count = case.usize("parameter_count")? as u64;
    checks.add(if params.count() == count {
        Ok(())
    } else {
        Err(anyhow!("{} parameters, expected {count}", params.count()))
    });

    let state = params.state();
    generate_weights(&state, case.usize("weights.seed")? as u64)?;
    let first_four = |(_, t): &(String, Tensor)| t.detach().flatten(0, -1).narrow(0, 0, 4);
    if let (Some(first), Some(last)) = (state.first(), state.last()) {
        checks.tensors("probe", &Tensor::cat(&[first_four(first), first_four(last)], 0), &expected.get("probe")?, 0.0);
    }

    let loss = loss_from_sentence(case.str("loss")?)?;
    let output = network.forward(&layout::expand(&inputs.get("rows")?), true);
    checks.tensors("out", &output, &expected.get("out")?, case.f64("tolerance.out")?);
    let value = loss(&output, &inputs.get("targets")?);
    checks.number("loss", value.double_value(&[]), expected.scalar("loss")?, case.f64("tolerance.loss")?);
    value.backward();
    for ((name, param), want) in state.iter().zip(expected.f64s("grad_norm")?) {
        let gradient = param.grad();
        let norm = if gradient.defined() { gradient.to_kind(Kind::Double).norm().double_value(&[]) } else { -1.0 };
        checks.number(&format!("grad_norm of {name}"), norm, want, case.f64("tolerance.grad_norm")?);
    }
    checks.finish()
}

/// The weights of the full-width cases: a hash of seed, tensor and element, spread over an interval that depends on
/// the tensor's name and shape.
fn generate_weights(state: &[(String, Tensor)], seed: u64) -> Result<()> {
    for (k, (name, tensor)) in state.iter().enumerate() {
        let shape = tensor.size();
        let last = shape.last().copied().unwrap_or(1).max(1) as u64;
        let values: Vec<f32> = (0..tensor.numel() as u64)
            .map(|j| {
                let (base, scale) = base_and_scale(name, &shape, j % last);
                (base + scale * hash_to_unit(seed, k as u64, j)) as f32
            })
            .collect();
        tch::no_grad(|| tensor.shallow_clone().f_copy_(&Tensor::from_slice(&values).view(shape.as_slice())))?;
    }
    Ok(())
}

fn hash_to_unit(seed: u64, tensor: u64, element: u64) -> f64 {
    let start = (seed << 48).wrapping_add(tensor << 32).wrapping_add(element);
    let mut x = start.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^= x >> 31;
    2.0 * ((x >> 11) as f64 * 2.0_f64.powi(-53)) - 1.0
}

fn base_and_scale(name: &str, shape: &[i64], last_index: u64) -> (f64, f64) {
    if name.ends_with("A_log") {
        ((last_index as f64 + 1.0).ln(), 0.2)
    } else if name.ends_with(".D") {
        (1.0, 0.2)
    } else if name.ends_with("dt_proj.bias") {
        (-3.5, 1.5)
    } else if name.contains("residual_stack") || name.contains("norm") {
        (if name.ends_with("weight") { 1.0 } else { 0.0 }, 0.2)
    } else if shape.len() == 1 {
        (0.0, 0.2)
    } else {
        (0.0, (3.0 / shape[1..].iter().product::<i64>() as f64).sqrt())
    }
}

/// Deterministic parts of the initial values must be equal, the others within their bounds or orthogonal.
pub fn init(case: &Case) -> Result<()> {
    /// The case says 1e-5 in a sentence.
    const ORTHOGONAL: f64 = 1e-5;
    let model = case.find("model").and_then(Value::as_str).unwrap_or("max022");
    let sizes = match case.find("constructor") {
        Some(sizes) => sizes.clone(),
        None => json!({ "hidden_state": case.value("hidden_state")?, "num_lstm": case.value("num_lstm")? }),
    };
    let (params, _) = build(model, &sizes)?;
    let expected = case.tensors("expected.safetensors")?;
    let mut checks = Comparison::new();
    for (name, tensor) in params.named() {
        let shape = tensor.size();
        if expected.has(&name) {
            checks.tensors(&name, &tensor, &expected.get(&name)?, 0.0);
        } else if name.contains("weight_hh") {
            let t = tensor.detach().to_kind(Kind::Double);
            let product = t.transpose(0, 1).matmul(&t) - Tensor::eye(shape[1], (Kind::Double, crate::checks::device()));
            let error = product.abs().max().double_value(&[]);
            checks.add(if error < ORTHOGONAL {
                Ok(())
            } else {
                Err(anyhow!("`{name}` is orthogonal to {error:e} only"))
            });
        } else {
            let bound = (6.0 / (shape[0] + shape[1]) as f64).sqrt();
            let largest = tensor.abs().max().double_value(&[]);
            let uniform = largest <= bound * 1.000_001 && largest > 0.9 * bound;
            checks.add(if uniform { Ok(()) } else { Err(anyhow!("`{name}` reaches {largest}, bound {bound}")) });
            let mean = tensor.mean(Kind::Double).double_value(&[]);
            let spread = bound / 3.0_f64.sqrt() / (tensor.numel() as f64).sqrt();
            checks.add(if mean.abs() < 5.0 * spread { Ok(()) } else { Err(anyhow!("`{name}` has the mean {mean}")) });
        }
    }
    checks.finish()
}

/// ADAM's networks: features, activations, composite loss, gradients, steps of the optimizer on one batch.
pub fn adam(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let (near, near_grad, near_step) =
        (case.f64("tolerance.rel_to_max")?, case.f64("tolerance.grad")?, case.f64("tolerance.step3")?);
    let model = case.str("model")?;
    let mut sizes = case.value("config")?.as_object().context("`config` is no object")?.clone();
    // The published dropout would make the steps random; the forward values are those of evaluation.
    sizes.insert("dropout".into(), json!(0.0));
    let config: adam::Config = match model_config(model, &Value::Object(sizes))? {
        ModelConfig::Adam195(c) => (&c).into(),
        ModelConfig::Adam197(c) => (&c).into(),
        ModelConfig::Adam200(c) => (&c).into(),
        other => bail!("`{}` is none of ADAM's networks", other.name()),
    };
    let params = Params::new(crate::checks::device(), 1);
    let network = adam::Adam::new(&params, &config)?;
    let mut checks = Comparison::new();
    let weights = case.tensors("weights.safetensors")?;
    if let Some((_, positions)) = params.state().iter().find(|(name, _)| name == "pos_encdoer.pe") {
        checks.tensors("pos_encdoer.pe", positions, &weights.get("pos_encdoer.pe")?, near);
    }
    load(&params, &weights)?;

    let (x, y) = (layout::expand(&inputs.get("x")?), inputs.get("y")?);
    checks.tensors("features", &x, &expected.get("features")?, 0.0);
    let activations = network.activations(&x, false);
    checks.tensors("output", &activations.output, &expected.get("output")?, near);
    for (name, tensor) in
        [("norm1", &activations.norm1), ("lstm1", &activations.lstm1), ("trans1", &activations.trans1)]
    {
        let want = expected.get(&format!("after_{name}"))?;
        checks.tensors(&format!("after_{name}"), &tensor.narrow(0, 0, want.size()[0]), &want, near);
    }
    let plain = losses::smooth_l1(&activations.output, &y, 1.0).double_value(&[]);
    checks.number("loss_smooth_l1", plain, expected.scalar("loss_smooth_l1")?, near);

    let group = Group { name: "all".into(), lr: case.f64("training.lr")?, params: params.named() };
    let mut optimizer = Optimizer::new(&optimizer_config(case, "training")?, vec![group])?;
    let (want_losses, want_norms) = (expected.f64s("losses")?, expected.f64s("grad_norms")?);
    ensure!(case.bool("training.same_batch_each_step")?, "the case has one batch only");
    let count = case.usize("training.steps")?;
    for step in 0..count {
        optimizer.zero_grad()?;
        let loss = losses::full(&network.forward(&x, true), &y, 1.0, 1.0);
        loss.backward();
        if step == 0 {
            for (name, want) in expected.under("grad.") {
                let param = params.get(&name).with_context(|| format!("no parameter `{name}`"))?;
                checks.tensors(&format!("grad.{name}"), &param.grad(), &want, near_grad);
            }
        }
        let norm = clip_grad_norm(&params.trainable(), case.f64("training.max_grad_norm")?)?;
        optimizer.step()?;
        checks.number(&format!("loss {step}"), loss.double_value(&[]), want_losses[step], near_step);
        checks.number(&format!("grad_norm {step}"), norm, want_norms[step], near_step);
    }
    // A step of Adam is at most the rate (the case's note).
    let farthest = case.f64("training.lr")? * (count as f64 + 0.1);
    for (name, want) in expected.under(&format!("step{count}.")) {
        let param = params.get(&name).with_context(|| format!("no parameter `{name}`"))?.detach();
        let gradient = expected.get(&format!("grad.{name}"))?;
        // Where the gradient is rounding noise, so is the direction of Adam's step (the case's note).
        let noise = gradient.abs().lt(1e-6);
        let settled = param.where_self(&noise.logical_not(), &want);
        checks.tensors(&format!("step{count}.{name}"), &settled, &want, near_step);
        let worst = (param - &want).abs().max().double_value(&[]);
        checks.add(if worst <= farthest { Ok(()) } else { Err(anyhow!("step{count}.{name} is off by {worst}")) });
    }
    let after = format!("step{count}_output");
    checks.tensors(&after, &network.forward(&x, false), &expected.get(&after)?, near_step);
    checks.finish()
}

/// Names and shapes of the published networks, one `MODEL.parameters.txt` each.
pub fn parameter_lists(case: &Case) -> Result<()> {
    let mut checks = Comparison::new();
    for model in case.strings("models")? {
        let (params, _) = build(&model, &json!({}))?;
        let text = case.text(&format!("{model}.parameters.txt"))?;
        check_names(&mut checks, &params, &text);
        let count = params.count();
        let stated = text.lines().next().is_some_and(|line| line.contains(&format!("{count} trainable")));
        checks.add(if stated { Ok(()) } else { Err(anyhow!("{model}: {count} parameters, the list says otherwise")) });
    }
    checks.finish()
}
