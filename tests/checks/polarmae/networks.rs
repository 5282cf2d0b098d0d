//! Whole networks: tokens, encoder, pretraining losses, segmentation, optimizer steps, parameter lists.

use anyhow::{Context, Result, anyhow, ensure};
use neural::Params;
use neural::clip::clip_grad_norm;
use neural::optim::{AdamWConfig, Group, Optimizer, OptimizerConfig};
use neural::schedule::{Schedule, ScheduleConfig, WarmupCosineConfig};
use polarmae::grouping::{Groups, group};
use polarmae::import::{base_model_name, finetuning_name};
use polarmae::losses::SegLoss;
use polarmae::masking::Mask;
use polarmae::models::encoder::{Encoder, EncoderConfig};
use polarmae::models::mae::{Mae, MaeConfig, Prediction};
use polarmae::models::segmentation::{PointBatch, Segmentation, SegmentationConfig, published_weights};
use polarmae::models::tokens::Grouped;
use polarmae::models::transformer::{Arch, TransformerConfig};
use polarmae::transforms;
use serde_json::json;
use tch::{Kind, Tensor};

use super::grouping::{self, events, pad};
use super::layers::{gradients, load, statistics, valid};
use crate::checks::{Case, Comparison, Tensors, equal_lists};

/// Sizes of the small networks of a case.
pub fn encoder_config(case: &Case) -> Result<EncoderConfig> {
    Ok(EncoderConfig {
        tokenizer: grouping::config(case, "config.tokenizer")?,
        transformer: transformer_config(case, "encoder_depth", case.bool("config.encoder_postnorm")?)?,
    })
}

fn transformer_config(case: &Case, depth: &str, postnorm: bool) -> Result<TransformerConfig> {
    Ok(TransformerConfig {
        embed_dim: Some(case.usize("config.embed_dim")? as i64),
        heads: Some(case.usize("config.num_heads")? as i64),
        depth: Some(case.usize(&format!("config.{depth}"))? as i64),
        mlp_ratio: case.usize("config.mlp_ratio")? as i64,
        postnorm,
        add_pos_at_every_layer: case.bool("config.add_pos_at_every_layer")?,
        drop_rate: case.f64("config.drop_rate")?,
        attn_drop_rate: case.f64("config.attn_drop_rate")?,
        drop_path_rate: case.f64("config.drop_path_rate")?,
        ..TransformerConfig::default()
    })
}

fn mae_config(case: &Case, energy_infilling: bool) -> Result<MaeConfig> {
    let pos = case.find("config.mae_prediction").and_then(|v| v.as_str()) == Some("pos");
    Ok(MaeConfig {
        encoder: encoder_config(case)?,
        decoder: transformer_config(case, "decoder_depth", case.bool("config.decoder_postnorm")?)?,
        masking_ratio: case.f64("config.masking_ratio")?,
        mae_prediction: if pos { Prediction::Pos } else { Prediction::Full },
        energy_infilling,
        chamfer_weight: 1.0,
        energy_weight: 1.0,
    })
}

fn seg_config(case: &Case) -> Result<SegmentationConfig> {
    let flag = |key: &str, default: bool| case.find(key).and_then(|v| v.as_bool()).unwrap_or(default);
    let layers = case.i64s("config.fetch_layers").or_else(|_| case.i64s("config.seg_head_fetch_layers"))?;
    let decoder = flag("config.decoder", false) || flag("config.seg_decoder", false);
    Ok(SegmentationConfig {
        encoder: encoder_config(case)?,
        num_classes: case.usize("config.num_classes")?,
        seg_decoder: if decoder { Some(transformer_config(case, "decoder_depth", true)?) } else { None },
        condition_global_features: flag("config.cond", true) && flag("config.condition_global_features", true),
        fetch_layers: layers.iter().map(|&l| l as usize).collect(),
        head_dim: case.usize("config.seg_head_dim")? as i64,
        head_dropout: case.f64("config.seg_head_dropout")?,
        ghost_neighbors: true,
    })
}

/// All weights of the files that a case names, as far as `wanted` says.
fn weights(case: &Case, params: &Params) -> Result<()> {
    let files = case.strings("weights").or_else(|_| case.str("weights").map(|file| vec![file.to_string()]))?;
    let mut source: Vec<(String, Tensor)> = vec![];
    for file in files {
        source.extend(case.tensors(&file)?.all());
    }
    source.retain(|(name, _)| params.get(name).is_some());
    if case.has_file("weights_override.safetensors") {
        let other = case.tensors("weights_override.safetensors")?.all();
        source.retain(|(name, _)| other.iter().all(|(n, _)| n != name));
        source.extend(other);
    }
    load(params, &source)
}

/// A batch of a case: its events, labels, groups.
pub struct Batch {
    pub points: Vec<Vec<f32>>,
    pub labels: Option<Vec<Vec<i64>>>,
    pub groups: Vec<Groups>,
    pub grouped: Grouped,
}

impl Batch {
    pub fn read(inputs: &Tensors, prefix: &str, config: &EncoderConfig) -> Result<Self> {
        let (points, labels) = events(inputs, prefix)?;
        Self::of(points, labels, config)
    }

    pub fn of(points: Vec<Vec<f32>>, labels: Option<Vec<Vec<i64>>>, config: &EncoderConfig) -> Result<Self> {
        let groups: Vec<Groups> = points.iter().map(|rows| group(&config.tokenizer, rows, 0)).collect();
        let grouped = Grouped::new(&groups, crate::checks::device())?;
        Ok(Self { points, labels, groups, grouped })
    }

    fn flat_labels(&self) -> Tensor {
        let all: Vec<i64> = self.labels.iter().flatten().flatten().copied().collect();
        Tensor::from_slice(&all).to_device(crate::checks::device())
    }

    fn point_batch(&self) -> PointBatch {
        let rows: Vec<&[f32]> = self.points.iter().map(Vec::as_slice).collect();
        PointBatch::new(&rows, &self.groups, true, crate::checks::device())
    }
}

/// Masks of a padded tensor.
pub fn masks(inputs: &Tensors, prefix: &str) -> Result<Vec<Mask>> {
    let list = |name: &str| -> Result<Vec<Vec<i64>>> {
        let name = format!("{prefix}{name}");
        let width = inputs.shape(&name)?[1];
        let places = |row: &[i64]| (0..width as i64).filter(|&i| row[i as usize] != 0).collect();
        Ok(inputs.i64s(&name)?.chunks(width).map(places).collect())
    };
    let pairs = list("masked")?.into_iter().zip(list("unmasked")?);
    Ok(pairs.map(|(masked, visible)| Mask { masked, visible }).collect())
}

/// `tokenizer`.
pub fn tokenizer(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let config = encoder_config(case)?;
    let params = Params::new(crate::checks::device(), 1);
    let encoder = Encoder::new(&params.root().sub("encoder"), &config)?;
    weights(case, &params)?;
    let tolerance = case.f64("tolerance")?;
    let batch = Batch::read(&inputs, "", &config)?;
    let mask = expected.get("emb_mask")?;
    let mut all = Comparison::new();
    let eval = tch::no_grad(|| encoder.tokens(&batch.grouped, false))?;
    all.tensors("tokens_eval", &eval.embedded, &valid(&expected.get("tokens_eval")?, &mask), tolerance);
    let train = encoder.tokens(&batch.grouped, true)?;
    all.tensors("tokens_train", &train.embedded, &valid(&expected.get("tokens_train")?, &mask), tolerance);
    all.tensors("pos_embed", &train.positions, &valid(&expected.get("pos_embed")?, &mask), tolerance);
    let padded = pad(&batch.groups, config.tokenizer.slots, mask.size()[1] as usize, batch.labels.as_deref());
    all.tensors("emb_mask", &padded.embedding_mask, &mask, 0.0);
    all.tensors("point_mask", &padded.point_mask, &expected.get("point_mask")?, 0.0);
    all.tensors("grouping_idx", &padded.idx, &expected.get("grouping_idx")?, 0.0);
    all.tensors("groups", &padded.groups, &expected.get("groups")?, tolerance);
    if let Some(labels) = &padded.labels {
        all.tensors("id_groups", labels, &expected.get("id_groups")?, 0.0);
    }
    let loss = (&train.embedded * valid(&inputs.get("w_x")?, &mask)).sum(Kind::Float)
        + (&train.positions * valid(&inputs.get("w_pos")?, &mask)).sum(Kind::Float);
    // Positions are computed at padded centres, too, which are the origin there; their share of the gradient.
    let empty = 1 - mask.to_kind(Kind::Int64);
    let weights_there = valid(&inputs.get("w_pos")?, &empty);
    let origins = valid(&expected.get("centers")?, &empty);
    let there = (encoder.place(&origins) * weights_there).sum(Kind::Float);
    (loss + there).backward();
    gradients(&mut all, &params, &expected, "grad", "encoder.", tolerance)?;
    statistics(&mut all, &params, &expected, "encoder.", tolerance)?;
    all.finish()
}

/// `encoder_eval`.
pub fn encoder_eval(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let config = encoder_config(case)?;
    let params = Params::new(crate::checks::device(), 1);
    let encoder = Encoder::new(&params.root().sub("encoder"), &config)?;
    weights(case, &params)?;
    let tolerance = case.f64("tolerance")?;
    let batch = Batch::read(&inputs, "", &config)?;
    let mask = expected.get("emb_mask")?;
    let mut all = Comparison::new();
    tch::no_grad(|| -> Result<()> {
        let last = encoder.forward(&batch.grouped, false)?;
        all.tensors("last", &last, &valid(&expected.get("last")?, &mask), tolerance);
        let layers: Vec<usize> = case.i64s("combined_layers")?.iter().map(|&l| l as usize).collect();
        let (combined, _) = encoder.combined(&batch.grouped, &layers, false)?;
        all.tensors("combined", &combined, &valid(&expected.get("combined")?, &mask), tolerance);
        let tokens = encoder.tokens(&batch.grouped, false)?;
        let layout = polarmae::models::transformer::Layout::new(batch.grouped.events.clone(), crate::checks::device());
        let wanted: Vec<usize> = (0..encoder.transformer.depth()).collect();
        let (_, hidden) = encoder.transformer.hidden(&tokens.embedded, &tokens.positions, &layout, false, &wanted)?;
        for (i, hidden) in hidden.iter().enumerate() {
            all.tensors(&format!("hidden{i}"), hidden, &valid(&expected.get(&format!("hidden{i}"))?, &mask), tolerance);
        }
        for (i, rows) in batch.points.iter().enumerate() {
            let single = Batch::of(vec![rows.clone()], None, &config)?;
            let last = encoder.forward(&single.grouped, false)?;
            all.tensors(
                &format!("single{i}"),
                &last,
                &expected.get(&format!("single{i}.last"))?.squeeze_dim(0),
                tolerance,
            );
        }
        Ok(())
    })?;
    all.finish()
}

/// `pointmae_loss`, `polarmae_loss`, `polarmae_loss_pos`.
pub fn pretraining_loss(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let config = mae_config(case, expected.has("eval.energy"))?;
    let params = Params::new(crate::checks::device(), 1);
    let network = Mae::new(&params.root(), &config)?;
    weights(case, &params)?;
    let (values, slopes) = (case.f64("tolerance.values")?, case.f64("tolerance.gradients")?);
    let batch = Batch::read(&inputs, "", &config.encoder)?;
    let masks = masks(&inputs, "")?;
    let mut all = Comparison::new();
    for mode in ["eval", "train"] {
        let losses = network.losses(&batch.grouped, &masks, mode == "train")?;
        let got = losses.chamfer.double_value(&[]);
        all.number(&format!("{mode}.chamfer"), got, expected.scalar(&format!("{mode}.chamfer"))?, values);
        if let Some(energy) = &losses.energy {
            let want = expected.scalar(&format!("{mode}.energy"))?;
            all.number(&format!("{mode}.energy"), energy.double_value(&[]), want, values);
        }
        if mode == "train" {
            losses.total.backward();
        }
    }
    gradients(&mut all, &params, &expected, "grad", "", slopes)?;
    statistics(&mut all, &params, &expected, "", values)?;
    all.finish()
}

fn segmentation(case: &Case) -> Result<(Params, Segmentation, SegmentationConfig)> {
    let config = seg_config(case)?;
    let params = Params::new(crate::checks::device(), 1);
    let network = Segmentation::new(&params.root(), &config, &published_weights(config.num_classes))?;
    let want = network.class_weights.shallow_clone().copy();
    weights(case, &params)?;
    ensure!((want - &network.class_weights).abs().max().double_value(&[]) < 1e-4, "class weights");
    Ok((params, network, config))
}

fn seg_loss(case: &Case) -> Result<SegLoss> {
    serde_json::from_value(json!(case.str("config.loss")?)).with_context(|| "`config.loss`")
}

/// Squared distances in the unit ball that count as equal: a few units in the last place of f32.
const TIE: f64 = 1e-6;

/// `seg_*`.
pub fn segmentation_loss(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let (params, network, config) = segmentation(case)?;
    let (values, slopes) = (case.f64("tolerance.values")?, case.f64("tolerance.gradients")?);
    let logits_out = case.str("config.loss")? == "fancy";
    let frozen = case.find("config.freeze").is_some();
    if frozen {
        params.set_trainable(|name| !name.starts_with("encoder."));
    }
    let loss = seg_loss(case)?;
    let batch = Batch::read(&inputs, "", &config.encoder)?;
    let points = batch.point_batch();
    let labels = batch.flat_labels();
    let mask = expected.get("point_mask")?;
    let mut all = Comparison::new();
    let shown = |logits: &Tensor| if logits_out { logits.shallow_clone() } else { logits.log_softmax(-1, Kind::Float) };
    let eval = tch::no_grad(|| network.forward(&batch.grouped, &points, false, false))?;
    all.tensors("eval_out", &eval.log_softmax(-1, Kind::Float), &valid(&expected.get("eval_out")?, &mask), values);
    let want = valid(&expected.get("eval_pred")?, &mask);
    let differing = eval.argmax(-1, false).ne_tensor(&want).sum(Kind::Int64).int64_value(&[]);
    all.add(if differing == 0 { Ok(()) } else { Err(anyhow!("{differing} predictions differ")) });
    let value = loss.forward(&eval, &labels, &network.class_weights).double_value(&[]);
    all.number("eval_loss", value, expected.scalar("eval_loss")?, values);
    let near = valid(&expected.get("neighbour_idx")?, &mask);
    let firsts: Vec<i64> = points.runs.owners().iter().map(|&b| batch.grouped.events.starts()[b as usize]).collect();
    let local = &points.neighbors - Tensor::from_slice(&firsts).unsqueeze(1).to_device(crate::checks::device());
    // Others than expected only where the distances are the same.
    let centers = batch.grouped.centers.narrow(1, 0, 3);
    let distances = |local: &Tensor| {
        let tokens = local + Tensor::from_slice(&firsts).unsqueeze(1).to_device(crate::checks::device());
        let centers = centers.index_select(0, &tokens.reshape([-1]).to_kind(Kind::Int64)).view([-1, near.size()[1], 3]);
        (points.places.unsqueeze(1) - centers).square().sum_dim_intlist([-1i64].as_slice(), false, Kind::Double)
    };
    let apart = (distances(&local) - distances(&near)).abs();
    let apart = apart.where_self(&local.ne_tensor(&near), &apart.zeros_like()).max().double_value(&[]);
    all.add(if apart <= TIE { Ok(()) } else { Err(anyhow!("neighbours are {apart:e} farther than the expected")) });
    let train = network.forward(&batch.grouped, &points, true, true)?;
    all.tensors("train_out", &shown(&train), &valid(&expected.get("train_out")?, &mask), values);
    let value = loss.forward(&train, &labels, &network.class_weights);
    all.number("train_loss", value.double_value(&[]), expected.scalar("train_loss")?, values);
    value.backward();
    gradients(&mut all, &params, &expected, "grad", "", slopes)?;
    statistics(&mut all, &params, &expected, "", values)?;
    all.finish()
}

/// `train_steps_*`: four optimizer steps.
pub fn train_steps(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let params;
    let center_and_scale = |rows: &mut Vec<f32>| {
        transforms::center_and_scale(rows, 4, transforms::CENTER, transforms::published_scale() as f32);
    };
    let batch = |step: usize, config: &EncoderConfig| -> Result<Batch> {
        let (mut points, labels) = events(&inputs, &format!("step{step}."))?;
        // The points of these cases are in voxels.
        points.iter_mut().for_each(center_and_scale);
        Batch::of(points, labels, config)
    };
    let mut loss: Box<dyn FnMut(usize) -> Result<Tensor>>;
    if case.find("config.num_classes").is_some() {
        let (own, network, config) = segmentation(case)?;
        params = own;
        let kind = seg_loss(case)?;
        loss = Box::new(move |step| {
            let batch = batch(step, &config.encoder)?;
            let logits = network.forward(&batch.grouped, &batch.point_batch(), true, true)?;
            Ok(kind.forward(&logits, &batch.flat_labels(), &network.class_weights))
        });
    } else {
        let infilling = expected.names().any(|name| name.contains("energy_decoder."));
        let config = mae_config(case, infilling)?;
        params = Params::new(crate::checks::device(), 1);
        let network = Mae::new(&params.root(), &config)?;
        weights(case, &params)?;
        let inputs = &inputs;
        loss = Box::new(move |step| {
            let batch = batch(step, &config.encoder)?;
            Ok(network.losses(&batch.grouped, &masks(inputs, &format!("step{step}."))?, true)?.total)
        });
    }
    let before: Vec<(String, Tensor)> = params.named().into_iter().map(|(n, t)| (n, t.detach().copy())).collect();
    let adam = OptimizerConfig::AdamW(AdamWConfig {
        betas: case.f64s("config.betas")?.try_into().map_err(|_| anyhow!("`config.betas` are not two"))?,
        eps: case.f64("config.eps")?,
        weight_decay: case.f64("config.optimizer_adamw_weight_decay")?,
    });
    let base = case.f64("config.learning_rate")?;
    let schedule = ScheduleConfig::WarmupCosine(WarmupCosineConfig {
        warmup: case.usize("config.lr_scheduler_linear_warmup_epochs")? as u64,
        max_steps: case.usize("config.max_steps")? as u64,
        start: case.f64("config.lr_scheduler_linear_warmup_start_lr")?,
        eta_min: case.f64("config.lr_scheduler_cosine_eta_min")?,
    });
    let mut schedule = Schedule::new(&schedule, &[base])?;
    let group = Group { name: "all".into(), lr: schedule.rates()[0], params: params.trainable() };
    let mut optimizer = Optimizer::new(&adam, vec![group])?;
    let steps = case.usize("config.steps")?;
    let config_slots = case.usize("config.tokenizer.group_max_points")? as i64;
    let (mut losses, mut rates, mut norms) = (vec![], vec![], vec![]);
    for step in 0..steps {
        optimizer.set_learning_rates(schedule.rates())?;
        rates.push(schedule.rates()[0]);
        optimizer.zero_grad()?;
        let value = loss(step)?;
        losses.push(value.double_value(&[]));
        value.backward();
        norms.push(clip_grad_norm(&params.trainable(), case.f64("config.gradient_clip_val")?)?);
        optimizer.step()?;
        schedule.after_step(0, step as u64, steps as u64);
    }
    let tolerance = |name: &str| case.f64(&format!("tolerance.{name}"));
    let mut all = Comparison::new();
    all.values("loss", &losses, &expected.f64s("loss")?, tolerance("loss")?);
    all.values("lr", &rates, &expected.f64s("lr")?, tolerance("lr")?);
    all.values("grad_norm", &norms, &expected.f64s("grad_norm_before_clip")?, tolerance("grad_norm")?);
    let allowed = tolerance("delta_relative_l2")?;
    for (name, start) in &before {
        let now = params.get(name).context("the parameter vanished")?;
        let mut delta = now.detach() - start;
        if name.ends_with("first_conv.3.bias") || name.ends_with("seg_decoder.transformer.norm.beta") {
            continue;
        }
        let strided = format!("delta_stride.{name}");
        let mut want = expected.get(&format!("delta.{name}")).or_else(|_| expected.get(&strided))?;
        if expected.has(&strided) {
            delta = delta.flatten(0, -1).slice(0, 0, None, (delta.numel() as i64 + 1023) / 1024);
        }
        if name.ends_with("time_embed.1.bias") {
            // A unit that is above zero in all slots moves all of them alike, which the next norm takes away: its true
            // gradient is zero, too.
            let keep = index_of_units_that_vary(&before, name, config_slots)?;
            (delta, want) = (delta.index_select(0, &keep), want.index_select(0, &keep));
        }
        if name.ends_with("qkv.bias") {
            // The key part has no true gradient: only queries and values.
            let width = delta.size()[0] / 3;
            let keep = |t: &Tensor| Tensor::cat(&[t.narrow(0, 0, width), t.narrow(0, 2 * width, width)], 0);
            (delta, want) = (keep(&delta), keep(&want));
        }
        let (error, size) = ((&delta - &want).norm().double_value(&[]), want.norm().double_value(&[]));
        all.add(if error <= allowed * size {
            Ok(())
        } else {
            Err(anyhow!("`{name}`: relative difference {:.3}", error / size))
        });
    }
    for (name, tensor) in params.state().iter().filter(|(n, _)| n.contains(".running_")) {
        let want = expected.get(&format!("buffer.{name}"))?;
        // The case's note: this one feels the noise of a bias without a gradient.
        let noisy = name.ends_with("second_conv.1.running_mean");
        let allowed = if noisy { 1e-2 } else { tolerance("running_var")? };
        all.tensors(name, tensor, &want, allowed);
    }
    all.finish()
}

/// Units of the slot encoding that some slot switches off, with the weights of the start.
fn index_of_units_that_vary(before: &[(String, Tensor)], bias: &str, slots: i64) -> Result<Tensor> {
    let of = |name: &str| before.iter().find(|(n, _)| n == name).map(|(_, t)| t).context("no such parameter");
    let (weight, bias) = (of(&bias.replace("bias", "weight"))?, of(bias)?);
    let half = weight.size()[1] / 2;
    let rates =
        (Tensor::arange(half, (Kind::Float, crate::checks::device())) * (-(10_000f64.ln()) / (half - 1) as f64)).exp();
    let angles = Tensor::arange(slots, (Kind::Float, crate::checks::device())).unsqueeze(1) * rates.unsqueeze(0);
    let values = Tensor::cat(&[angles.sin(), angles.cos()], 1).linear(weight, Some(bias)); // [slots, units]
    Ok(values.gt(0.0).all_dim(0, false).logical_not().nonzero().squeeze_dim(1))
}

/// `weights_tiny`: names and shapes of the small networks, in order.
pub fn small_parameters(case: &Case) -> Result<()> {
    let encoder = encoder_config(case)?;
    let decoder = transformer_config(case, "decoder_depth", true)?;
    let config: MaeConfig = serde_json::from_value(json!({ "encoder": encoder, "decoder": decoder }))?;
    let params = Params::new(crate::checks::device(), 1);
    Mae::new(&params.root(), &config)?;
    load(&params, &case.tensors("model.safetensors")?.all())?;
    let text = case.text("parameters.txt")?;
    let (first, second) = text.split_once("# segmentation").context("no section of the segmentation")?;
    let mut all = Comparison::new();
    same_names(&mut all, "pretraining", &params, first, false);
    let config: SegmentationConfig = serde_json::from_value(json!({
        "encoder": encoder,
        "num_classes": case.usize("seg_config.num_classes")?,
        "fetch_layers": case.i64s("seg_config.fetch_layers")?,
        "head_dim": case.usize("seg_config.seg_head_dim")?,
    }))?;
    let params = Params::new(crate::checks::device(), 1);
    Segmentation::new(&params.root(), &config, &published_weights(config.num_classes))?;
    same_names(&mut all, "segmentation", &params, second, false);
    all.finish()
}

fn same_names(all: &mut Comparison, label: &str, params: &Params, text: &str, kinds: bool) {
    let buffers: Vec<String> =
        params.state().into_iter().map(|(n, _)| n).filter(|n| params.named().iter().all(|(p, _)| p != n)).collect();
    let got: Vec<String> = params
        .state()
        .iter()
        .map(|(name, tensor)| {
            let kind = if !kinds {
                ""
            } else if buffers.contains(name) {
                "\tbuffer"
            } else {
                "\tparameter"
            };
            format!("{name}\t{:?}{kind}", tensor.size())
        })
        .collect();
    let want: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    all.add(equal_lists(label, &got, &want));
}

/// Length of a vector in a list of parameters.
fn length_of(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'))?;
    line.trim_start_matches('[').split(']').next()?.parse().ok()
}

/// `full_size_parameters`: the published sizes.
pub fn full_parameters(case: &Case) -> Result<()> {
    let mut all = Comparison::new();
    for name in case.value("counts")?.as_object().context("`counts` is no map")?.keys() {
        let text = case.text(&format!("{name}.txt"))?;
        let arch = match name.rsplit('_').next() {
            Some("tiny") => Arch::VitTiny,
            Some("base") => Arch::VitBase,
            _ => Arch::VitSmall,
        };
        let mut tokenizer = polarmae::grouping::GroupingConfig::voxels_5(transforms::published_scale());
        // One energy a slot, where energies are predicted; four numbers a slot of the reconstruction.
        if let Some(slots) =
            length_of(&text, "energy_decoder.bias").or(length_of(&text, "increase_dim.bias").map(|n| n / 4))
        {
            tokenizer.slots = slots;
        }
        let encoder =
            EncoderConfig { tokenizer, transformer: TransformerConfig { arch, ..TransformerConfig::default() } };
        let params = Params::new(crate::checks::device(), 1);
        if name.starts_with("segmentation") {
            let classes = length_of(&text, "seg_head.conv3.bias").context("no `seg_head.conv3.bias`")?;
            let config: SegmentationConfig =
                serde_json::from_value(json!({ "encoder": encoder, "num_classes": classes }))?;
            Segmentation::new(&params.root(), &config, &published_weights(classes))?;
        } else {
            let decoder = TransformerConfig { arch, depth: Some(4), postnorm: true, ..TransformerConfig::default() };
            let config: MaeConfig = serde_json::from_value(
                json!({ "encoder": encoder, "decoder": decoder, "energy_infilling": name.starts_with("polarmae") }),
            )?;
            Mae::new(&params.root(), &config)?;
        }
        same_names(&mut all, name, &params, &text, text.contains("\tparameter"));
        let want = case.usize(&format!("counts.{name}.parameters"))? as u64;
        all.add(equal_lists(&format!("{name}: parameters"), &[params.count()], &[want]));
        if let Some(want) = case.find(&format!("counts.{name}.tensors")).and_then(|v| v.as_u64()) {
            all.add(equal_lists(&format!("{name}: tensors"), &[params.state().len() as u64], &[want]));
        }
    }
    all.finish()
}

/// `checkpoint_import`: which tensors reach a fine-tuning, and their names.
pub fn checkpoint_import(case: &Case) -> Result<()> {
    let mut all = Comparison::new();
    type Rule = fn(&str) -> Option<String>;
    let rules: [(&str, Rule); 3] = [
        ("lightning", finetuning_name),
        ("base_model_point_mae", base_model_name),
        ("base_model_point_bert", base_model_name),
    ];
    for (kind, rule) in rules {
        let got: Vec<String> = case
            .strings(&format!("table.{kind}.input"))?
            .iter()
            .enumerate()
            .filter_map(|(i, name)| rule(name).map(|name| format!("{name} from {i}")))
            .collect();
        let want: Vec<String> = case
            .value(&format!("table.{kind}.output"))?
            .as_array()
            .into_iter()
            .flatten()
            .map(|row| format!("{} from {}", row["name"].as_str().unwrap_or_default(), row["from_index"]))
            .collect();
        all.add(equal_lists(kind, &got, &want));
    }
    all.finish()
}
