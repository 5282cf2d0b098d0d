//! The networks: forward with what happens inside, losses, gradients, names and sizes.

use anyhow::{Context, Result, anyhow, bail, ensure};
use common::config::Problems;
use icecube::batch::{Batch, NAMES};
use icecube::losses::{self, LossKind, Normalisation};
use icecube::models::{self, Built, Direction, ModelConfig, Network, dynedge, graph};
use neural::Params;
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use crate::checks::{Case, Comparison, Tensors, compare_absolute, equal_lists};

/// The config of a network from the published class name, its arguments and the sizes of its graph encoder.
pub fn model_config(class: &str, arguments: &Value, dynedge: Option<&Value>) -> Result<ModelConfig> {
    let mut sizes = arguments.as_object().cloned().unwrap_or_default();
    let name = match class {
        "DeepIceModel" => "deep_ice",
        "EncoderWithDirectionReconstructionV22" => "v22",
        "EncoderWithDirectionReconstructionV23" => "v23",
        other => bail!("no network `{other}`"),
    };
    if let Some(sizes_of_graph) = dynedge {
        let list = |key: &str| {
            let value = &sizes_of_graph[key];
            // The output width, `dim/2`, follows from the network.
            match value.as_str() {
                Some(text) => {
                    text.trim_matches(|c: char| !c.is_ascii_digit()).split(',').next().unwrap_or("").trim().parse().ok()
                }
                None => value[0].as_i64(),
            }
        };
        let mut graph = Map::new();
        graph.insert("layers".into(), sizes_of_graph["dynedge_layer_sizes"].clone());
        graph.insert("post".into(), json!(list("post_processing_layer_sizes").context("no post-processing")?));
        graph.insert("readout".into(), json!(list("readout_layer_sizes").context("no read-out")?));
        sizes.insert("dynedge".into(), Value::Object(graph));
    }
    let config: ModelConfig = serde_json::from_value(json!({ name: sizes }))?;
    let mut problems = Problems::default();
    config.validate("model", &mut problems);
    ensure!(problems.is_empty(), "{problems:?}");
    Ok(config)
}

/// The network of a case.
pub fn case_model(case: &Case) -> Result<ModelConfig> {
    model_config(case.str("model")?, case.value("config")?, case.find("dynedge"))
}

/// Copies weights into a network; both sides must have the same names and shapes.
pub fn load(params: &Params, weights: &Tensors) -> Result<()> {
    neural::weights::load_strict(&params.state(), &weights.all(), &neural::weights::Allow::default())?;
    Ok(())
}

/// A collated batch of a file.
pub fn batch(tensors: &Tensors, prefix: &str) -> Result<Batch> {
    let all = NAMES.iter().map(|name| tensors.get(&format!("{prefix}{name}"))).collect::<Result<Vec<_>>>()?;
    Ok(Batch::from_tensors(&all)?)
}

/// A loss by its published name.
pub fn loss_kind(name: &str) -> Result<LossKind> {
    Ok(match name {
        "loss" => LossKind::Angle,
        "loss_vms" => LossKind::Vms,
        "loss_comb" => LossKind::Comb,
        other => bail!("no loss `{other}`"),
    })
}

fn published(kind: LossKind, predicted: &Tensor, target: &Tensor) -> Tensor {
    losses::mean(kind, Normalisation::Switched, predicted, target)
}

/// Forward by all routes, activations, loss and gradients.
pub fn forward(case: &Case) -> Result<()> {
    let config = case_model(case)?;
    let Built { params, network } = models::build(&config, crate::checks::device(), 1)?;
    load(&params, &case.tensors("weights.safetensors")?)?;
    let (inputs, expected) = (case.tensors("inputs.safetensors")?, case.tensors("expected.safetensors")?);
    let batch = batch(&inputs, "")?;
    let kind = loss_kind(case.str("loss")?)?;
    let tolerance = |name: &str| case.f64(&format!("tolerance.{name}"));
    let mut checks = Comparison::new();
    let count = usize::try_from(params.count())?;
    checks.add(equal_lists("n_parameters", &[count], &[case.usize("n_parameters")?]));

    let want = expected.get("pred")?;
    let inference = tch::no_grad(|| network.forward(&batch, false))?;
    checks.tensors("pred (inference)", &inference, &want, tolerance("pred")?);
    let angles = losses::angles(&inference);
    checks.add(compare_absolute("angles", &angles, &expected.get("angles")?, tolerance("angles_absolute")?));

    for padded in [false, true] {
        let params = Params::new(crate::checks::device(), 1);
        let network = Direction::new(&params.root(), &config.config().unwrap())?;
        load(&params, &case.tensors("weights.safetensors")?)?;
        let mut seen = vec![];
        let predicted = tch::no_grad(|| {
            network.trace(&batch, padded, &mut |name, t| seen.push((name.to_string(), t.shallow_clone())))
        })?;
        checks.tensors(&format!("pred (padded {padded})"), &predicted, &want, tolerance("pred")?);
        activations(&mut checks, case, &expected, &batch, &seen)?;
    }

    let predicted = network.forward(&batch, true)?;
    checks.tensors("pred (training)", &predicted, &want, tolerance("pred")?);
    let loss = published(kind, &predicted, batch.truth()?);
    checks.number("loss_value", loss.double_value(&[]), expected.scalar("loss_value")?, tolerance("loss_value")?);
    loss.backward();
    gradients(&mut checks, case, &params)?;
    checks.finish()
}

/// Activations at the places of pulses; the published ones are padded.
fn activations(
    checks: &mut Comparison,
    case: &Case,
    expected: &Tensors,
    batch: &Batch,
    seen: &[(String, Tensor)],
) -> Result<()> {
    let tolerance = case.f64("tolerance.activations")?;
    let lengths = batch.lengths()?;
    for (name, want) in expected.under("act.") {
        let find = |name: &str| {
            let found = seen.iter().find(|(n, _)| n == name);
            found.map(|(_, t)| t.shallow_clone()).with_context(|| format!("no activation `{name}`"))
        };
        if let Some((part, _)) = name.split_once(".event0_block") {
            let got = find(part)?.get(0).narrow(0, 0, want.size()[0]).narrow(1, 0, want.size()[1]);
            if part.ends_with('1') {
                checks.add(compare_absolute(&name, &got, &want, case.f64("tolerance.rel_pos_raw_encoding_absolute")?));
            } else {
                checks.tensors(&name, &got, &want, tolerance);
            }
            continue;
        }
        if want.kind() == Kind::Int64 {
            // Output 1 of a convolution is the graph of the next one; of the last one nothing needs it.
            let layer = name.strip_prefix("local_root._conv_layers.").and_then(|rest| rest.strip_suffix(".1"));
            let next = layer.and_then(|layer| layer.parse::<usize>().ok()).map(|layer| layer + 1);
            let Some(graph) = next.and_then(|next| find(&format!("local_root.graph.{next}")).ok()) else { continue };
            let flat = |t: &Tensor| Vec::<i64>::try_from(t.flatten(0, -1));
            checks.add(equal_lists(&name, &flat(&graph)?, &flat(&want)?));
            continue;
        }
        let got = find(&name)?;
        // The published tensors are padded; the token of the main blocks counts as a pulse.
        let want = if want.dim() == 3 {
            let extra = want.size()[1] - batch.length();
            let rows = lengths.iter().enumerate().map(|(event, n)| want.get(event as i64).narrow(0, 0, n + extra));
            Tensor::cat(&rows.collect::<Vec<_>>(), 0)
        } else {
            want
        };
        checks.tensors(&name, &got, &want, tolerance);
    }
    Ok(())
}

fn gradients(checks: &mut Comparison, case: &Case, params: &Params) -> Result<()> {
    let tolerance = case.f64("tolerance.gradients")?;
    let without: Vec<String> =
        case.find("parameters_without_gradient").map_or(Ok(vec![]), |_| case.strings("parameters_without_gradient"))?;
    let whole = case.has_file("expected_grads.safetensors");
    let file = if whole { "expected_grads.safetensors" } else { "expected_grads_digest.safetensors" };
    let expected = case.tensors(file)?;
    let largest = |t: &Tensor| if t.numel() == 0 { 0.0 } else { t.abs().max().double_value(&[]) };
    let floor = 1e-6 * expected.all().iter().map(|(_, t)| largest(t)).fold(0.0, f64::max);
    for (name, parameter) in params.named() {
        let grad = parameter.grad();
        if without.contains(&name) {
            checks.add(if grad.defined() { Err(anyhow!("`{name}` has a gradient")) } else { Ok(()) });
            continue;
        }
        if !grad.defined() {
            // A parameter whose influence cancels exactly may have no path to the loss.
            let want = if whole { expected.get(&name)? } else { expected.get(&format!("norm.{name}"))? };
            checks.add(if largest(&want) <= floor { Ok(()) } else { Err(anyhow!("`{name}` has no gradient")) });
            continue;
        }
        let mut check = |label: &str, got: Tensor, want: Tensor| {
            let allowed = (tolerance * largest(&want)).max(floor);
            checks.add(compare_absolute(label, &got, &want, allowed));
        };
        if whole {
            check(&name, grad, expected.get(&name)?);
        } else {
            let norm = grad.to_kind(Kind::Double).norm();
            let want = expected.get(&format!("norm.{name}"))?;
            check(&format!("norm.{name}"), norm.reshape(want.size()), want.to_kind(Kind::Double));
            let flat = grad.flatten(0, -1);
            let every = (flat.numel() as i64 / 64).max(1);
            let end = (flat.numel() as i64).min(every * 64);
            check(&format!("sample.{name}"), flat.slice(0, 0, end, every), expected.get(&format!("sample.{name}"))?);
        }
    }
    Ok(())
}

/// The graph of nearest neighbours, and what is known of whole events.
pub fn graph_ops(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let mut checks = Comparison::new();
    for set in case.strings("sets")? {
        let get = |name: &str| expected.get(&format!("{set}.{name}"));
        let x = get("x")?;
        let event = get("batch")?;
        let pulses = get("L0")?;
        let of_node = Vec::<i64>::try_from(&event)?;
        let lengths: Vec<i64> =
            (0..pulses.size()[0]).map(|e| of_node.iter().filter(|&&b| b == e).count() as i64).collect();
        let columns =
            (0..4).map(|c| Ok(Vec::<f32>::try_from(x.select(1, c).contiguous())?)).collect::<Result<Vec<_>>>()?;
        let borrowed: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
        let used = if set == "xyzt" { 4 } else { 3 };
        let edges = graph::nearest(&borrowed[..used], &lengths, false);
        let want = get("edge_index")?;
        let row = |i: i64| Vec::<i64>::try_from(want.get(i));
        checks.add(equal_lists(&format!("{set}: sources"), &edges.source, &row(0)?));
        checks.add(equal_lists(&format!("{set}: targets"), &edges.target, &row(1)?));
        let nodes =
            dynedge::Nodes { features: x, event, lengths: &lengths, log_pulses: pulses.to_kind(Kind::Float).log10() };
        let globals = dynedge::globals(&nodes, &columns, &edges)?;
        checks.tensors(
            &format!("{set}: homophily"),
            &globals.narrow(1, 9, 4),
            &get("homophily")?,
            case.f64("tolerance.homophily")?,
        );
        checks.tensors(
            &format!("{set}: globals"),
            &globals,
            &get("global_variables")?,
            case.f64("tolerance.global_variables")?,
        );
    }
    checks.finish()
}

/// Values of each event, means and gradients of the losses.
pub fn loss_values(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let (values, slopes) = (case.f64("tolerance.values")?, case.f64("tolerance.gradients")?);
    let mut checks = Comparison::new();
    let (predicted, target) = (expected.get("pred")?, expected.get("target")?);
    for name in ["loss", "loss_vms", "loss_comb"] {
        let kind = loss_kind(name)?;
        let input = predicted.copy().set_requires_grad(true);
        let each = losses::per_event(kind, Normalisation::Switched, &input.detach(), &target);
        checks.tensors(&format!("{name}.per_event"), &each, &expected.get(&format!("{name}.per_event"))?, values);
        let mean = published(kind, &input, &target);
        checks.number(name, mean.double_value(&[]), expected.scalar(name)?, values);
        mean.backward();
        checks.tensors(&format!("{name}.grad"), &input.grad(), &expected.get(&format!("{name}.grad"))?, slopes);
        if expected.has(&format!("{name}.half_input")) {
            let half = published(kind, &predicted.to_kind(Kind::Half), &target).double_value(&[]);
            checks.number(&format!("{name}.half_input"), half, expected.scalar(&format!("{name}.half_input"))?, values);
        }
    }
    let kappa = expected.get("kappa")?.copy().set_requires_grad(true);
    let log_c3 = losses::log_c3(&kappa, Normalisation::Switched);
    checks.tensors("log_cmk", &log_c3.to_kind(Kind::Float), &expected.get("log_cmk")?, values);
    log_c3.sum(Kind::Double).backward();
    checks.tensors("log_cmk.grad", &kappa.grad(), &expected.get("log_cmk.grad")?, slopes);
    checks.finish()
}

/// Angles of vectors, poles and the zero vector among them.
pub fn decoding(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let angles = losses::angles(&expected.get("pred")?);
    let mut checks = Comparison::new();
    for variant in ["predict_variant", "loss_variant"] {
        checks.add(compare_absolute(variant, &angles, &expected.get(variant)?, case.f64("tolerance.absolute")?));
    }
    checks.finish()
}

/// Names, shapes and counts of the networks at full size.
pub fn parameters(case: &Case) -> Result<()> {
    let text = case.text("parameters.txt")?;
    let mut checks = Comparison::new();
    for part in text.split("\n\n").filter(|part| !part.trim().is_empty()) {
        let mut lines = part.lines();
        let head = lines.next().context("an empty part")?;
        let (_, call) = head.split_once(": ").context("no class")?;
        let (class, arguments) = call.trim_end_matches(')').split_once('(').context("no arguments")?;
        let mut sizes = Map::new();
        for argument in arguments.split(", ") {
            let (key, value) = argument.split_once('=').context("no value")?;
            sizes.insert(key.into(), json!(value.parse::<i64>()?));
        }
        let count = lines.next().and_then(|l| l.rsplit(' ').next()).context("no count")?.parse::<u64>()?;
        let config = model_config(class, &Value::Object(sizes), None)?;
        let params = Params::new(crate::checks::device(), 1);
        Direction::new(&params.root(), &config.config().unwrap())?;
        checks.add(equal_lists(head, &[params.count()], &[count]));
        let got: Vec<String> = params
            .state()
            .iter()
            .map(|(name, t)| {
                let sizes: Vec<String> = t.size().iter().map(ToString::to_string).collect();
                let comma = if sizes.len() == 1 { "," } else { "" };
                format!("{name}\t({}{comma})", sizes.join(", "))
            })
            .collect();
        checks.add(equal_lists(head, &got, &lines.collect::<Vec<_>>()));
    }
    checks.finish()
}
