//! Losses, metrics, the probe, schedules, and whole runs from raw files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use neural::Params;
use neural::schedule::{Schedule, ScheduleConfig, WarmupCosineConfig};
use polarmae::batch::{Batch, Draw};
use polarmae::confusion::{Confusion, event_iou, published_iou};
use polarmae::losses::{binary_focal, dice, focal};
use polarmae::models::encoder::Encoder;
use polarmae::models::mae::Mae;
use polarmae::models::segmentation::{CLASS_NAMES, Segmentation, SegmentationConfig, published_weights};
use polarmae::probe::{Embedding, Features, ProbeConfig, join, judge};
use polarmae::published;
use polarmae::svm::{Components, Judged, Machines};
use polarmae::train::{ModelConfig, TrainConfig};
use polarmae::transforms::Transform;
use tch::{Kind, Tensor};

use super::layers::load;
use super::{data, grouping, networks};
use crate::checks::{Case, Comparison, Tensors, equal_lists};

/// Of batches that draw nothing: numbers of events are names there.
fn draw(events: usize) -> Draw<'static> {
    static NUMBERS: [u64; 65_536] = [0; 65_536];
    Draw { seed: 0, step: 0, events: &NUMBERS[..events] }
}

/// `losses`: values and gradients.
pub fn losses(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let tolerance = case.f64("tolerance")?;
    let mut all = Comparison::new();
    let weight = inputs.get("weight")?;
    let labels = inputs.get("labels")?.to_kind(Kind::Int64);
    let mut check = |name: &str, input: &str, loss: &dyn Fn(&Tensor) -> Tensor| -> Result<()> {
        // A copy: tensors of a file share memory, and gradients would add up.
        let x = inputs.get(input)?.copy().set_requires_grad(true);
        let value = loss(&x);
        let want = expected.get(name)?;
        all.tensors(name, &value.view(want.size().as_slice()), &want, tolerance);
        value.sum(Kind::Float).backward();
        if expected.has(&format!("{name}_grad")) {
            all.tensors(&format!("{name}_grad"), &x.grad(), &expected.get(&format!("{name}_grad"))?, tolerance);
        }
        Ok(())
    };
    let gamma = case.f64("config.gamma")?;
    check("focal_mean", "logits", &|x| focal(x, &labels, Some(&weight), gamma).mean)?;
    check("focal_sum", "logits", &|x| focal(x, &labels, Some(&weight), gamma).sum)?;
    check("focal_none", "logits", &|x| focal(x, &labels, Some(&weight), gamma).rows)?;
    check("focal_on_logprob", "logits", &|x| {
        focal(&x.log_softmax(-1, Kind::Float), &labels, Some(&weight), gamma).mean
    })?;
    check("nll", "logits", &|x| polarmae::losses::SegLoss::Nll.forward(x, &labels, &weight))?;
    let smooth = case.f64("config.dice_smooth")?;
    for name in ["dice_2d", "dice_2d_ignore"] {
        let key = if name == "dice_2d" { "dice_labels" } else { "dice_labels_ignore" };
        let labels = inputs.get(key)?.to_kind(Kind::Int64).squeeze_dim(1);
        check(name, "dice_logits", &|x| dice(x, &labels, smooth))?;
    }
    let targets = inputs.get("bin_targets")?;
    for (name, at) in [("bfocal", "config.bfocal"), ("bfocal_posw", "config.bfocal_posw")] {
        let number = |key: &str| case.f64(&format!("{at}.{key}"));
        let (alpha, gamma, pos) = (number("alpha")?, number("gamma")?, number("pos_weight").ok());
        check(name, "bin_logits", &|x| binary_focal(x, &targets, alpha, gamma, pos))?;
    }
    all.finish()
}

/// `ops_chamfer`: packed clouds, values and gradients.
pub fn chamfer(case: &Case) -> Result<()> {
    use polarmae::models::packed::Runs;
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let tolerance = case.f64("tolerance")?;
    let (x, y) = (inputs.get("x")?, inputs.get("y")?);
    let slots = x.size()[1];
    let pack = |t: &Tensor, lengths: &[i64]| {
        let rows: Vec<i64> =
            lengths.iter().enumerate().flat_map(|(m, &n)| (0..n).map(move |i| m as i64 * slots + i)).collect();
        (t.flatten(0, 1).index_select(0, &Tensor::from_slice(&rows).to_device(t.device())), Runs::new(lengths.to_vec()))
    };
    let lengths = inputs.i64s("lengths")?;
    let other = inputs.i64s("y_lengths_other")?;
    let full = vec![slots; lengths.len()];
    let mut all = Comparison::new();
    for (name, a, b) in
        [("loss", &lengths, &lengths), ("loss_full", &full, &full), ("loss_other_lengths", &lengths, &other)]
    {
        let (x, y) = (x.copy().set_requires_grad(true), y.copy().set_requires_grad(true));
        let ((px, rx), (py, ry)) = (pack(&x, a), pack(&y, b));
        let loss = polarmae::losses::chamfer(&px, &rx, &py, &ry)?;
        all.number(name, loss.double_value(&[]), expected.scalar(name)?, tolerance);
        if name == "loss" {
            loss.backward();
            all.tensors("grad_x", &x.grad(), &expected.get("grad_x")?, tolerance);
            all.tensors("grad_y", &y.grad(), &expected.get("grad_y")?, tolerance);
        }
    }
    all.finish()
}

/// `metrics`.
pub fn metrics(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let tolerance = case.f64("tolerance")?;
    let shape = inputs.shape("labels")?;
    let (batches, events, points) = (shape[0], shape[1], shape[2]);
    let (labels, predicted) = (inputs.i64s("labels")?, inputs.i64s("pred")?);
    let lengths = inputs.i64s("lengths")?;
    let classes = expected.shape("acc.none.pooled")?[0];
    let mut pooled = Confusion::new(classes);
    let mut each = vec![];
    let mut all = Comparison::new();
    for b in 0..batches {
        let mut one = Confusion::new(classes);
        for e in 0..events {
            let begin = (b * events + e) * points;
            let rows = begin..begin + points;
            one.add(&labels[rows.clone()], &predicted[rows]);
        }
        pooled.merge(&one);
        let mut correct = vec![];
        let mut defective = vec![vec![]; classes];
        for e in 0..events {
            let begin = (b * events + e) * points;
            let rows = begin..begin + lengths[b * events + e] as usize;
            let (l, p) = (&labels[rows.clone()], &predicted[rows]);
            correct.extend(event_iou(l, p, classes));
            for (class, value) in published_iou(l, p, e, classes).into_iter().enumerate() {
                defective[class].push(value);
            }
        }
        all.values(
            &format!("iou_correct.batch{b}"),
            &correct,
            &expected.f64s(&format!("iou_correct.batch{b}"))?,
            tolerance,
        );
        for (class, name) in CLASS_NAMES[..classes].iter().enumerate() {
            let key = format!("iou_upstream.batch{b}.{name}");
            all.values(&key, &defective[class], &expected.f64s(&key)?, tolerance);
        }
        each.push(one);
    }
    type Figure = fn(&Confusion) -> Vec<f64>;
    let kinds: [(&str, Figure); 4] = [
        ("acc", Confusion::recall),
        ("recall", Confusion::recall),
        ("precision", Confusion::precision),
        ("f1_score", Confusion::f1),
    ];
    for (name, values) in kinds {
        let mean = |c: &Confusion| c.macro_mean(&values(c));
        let mut check = |what: &str, of: &dyn Fn(&Confusion) -> Vec<f64>| -> Result<()> {
            let per_batch: Vec<f64> = each.iter().flat_map(of).collect();
            all.values(
                &format!("{name}.{what}.per_batch"),
                &per_batch,
                &expected.f64s(&format!("{name}.{what}.per_batch"))?,
                tolerance,
            );
            all.values(
                &format!("{name}.{what}.pooled"),
                &of(&pooled),
                &expected.f64s(&format!("{name}.{what}.pooled"))?,
                tolerance,
            );
            Ok(())
        };
        check("micro", &|c| vec![c.accuracy()])?;
        check("macro", &|c| vec![mean(c)])?;
        check("none", &values)?;
    }
    all.finish()
}

/// `lr_schedule`: the rate of every optimizer step.
pub fn schedule(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let mut all = Comparison::new();
    for one in case.value("config")?.as_array().into_iter().flatten() {
        let name = one["name"].as_str().unwrap_or_default();
        let number = |key: &str| one[key].as_f64().unwrap_or(f64::NAN);
        let config = WarmupCosineConfig {
            warmup: number("warmup") as u64,
            max_steps: number("max_steps") as u64,
            start: number("warmup_start_lr"),
            eta_min: number("eta_min"),
        };
        let mut schedule = Schedule::new(&ScheduleConfig::WarmupCosine(config), &[number("learning_rate")])?;
        let want = expected.f64s(&format!("{name}.lr"))?;
        let steps = expected.i64s(&format!("{name}.step")).unwrap_or_else(|_| (0..want.len() as i64).collect());
        let mut used = vec![];
        for step in 0..=steps.last().copied().unwrap_or(0) {
            if steps.binary_search(&step).is_ok() {
                used.push(schedule.rates()[0]);
            }
            schedule.after_step(0, step as u64, 1);
        }
        all.values(name, &used, &want, case.f64("tolerance")?);
    }
    all.finish()
}

/// Notes of the cases: distance to an optimum, figures of a fixed set, figures of a set from raw files.
const OPTIMUM: f64 = 1e-4;
const F1: f64 = 0.005;
const F1_OF_FILES: f64 = 0.02;

/// `svm_protocol`.
pub fn svm_protocol(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let tolerance = case.f64("tolerance")?;
    let components = Components::fit(&inputs.get("x_train")?, case.usize("config.n_components")?)?;
    let mut all = Comparison::new();
    all.tensors("pca_mean", &components.mean, &expected.get("pca_mean")?, tolerance);
    all.tensors("pca_components", &components.axes, &expected.get("pca_components")?, tolerance);
    all.tensors("pca_explained_variance", &components.variances, &expected.get("pca_explained_variance")?, tolerance);
    let (x, z) = (components.project(&inputs.get("x_train")?), components.project(&inputs.get("x_val")?));
    for (name, t) in [("z_train_head", &x), ("z_val_head", &z)] {
        let want = expected.get(name)?;
        all.tensors(name, &t.narrow(0, 0, want.size()[0]), &want, tolerance);
    }
    let machines = Machines::fit(&x, &inputs.get("y_train")?, case.f64("config.C")?)?;
    // An independent solver is compared with the optimum of the case; upstream's own stops within `tol` of it.
    all.tensors("coef_opt", &machines.weights, &expected.get("coef_opt")?, OPTIMUM);
    all.tensors("intercept_opt", &machines.intercepts, &expected.get("intercept_opt")?, OPTIMUM);
    all.tensors("coef", &machines.weights, &expected.get("coef")?, tolerance);
    for (set, x) in [("train", &x), ("val", &z)] {
        let decisions = machines.decide(x);
        let want = expected.get(&format!("pred_{set}"))?;
        let sure = decisions.abs().ge(tolerance);
        let wrong =
            decisions.gt(0.0).to_kind(Kind::Int).ne_tensor(&want).logical_and(&sure).sum(Kind::Int64).int64_value(&[]);
        all.add(if wrong == 0 { Ok(()) } else { Err(anyhow!("{wrong} predictions of `{set}` differ")) });
        let judged = Judged::new(&decisions, &inputs.get(&format!("y_{set}"))?);
        all.add(within(&format!("{set}_f1"), &judged.f1, &expected.f64s(&format!("{set}_f1"))?, F1));
        all.add(within(&format!("{set}_acc"), &[judged.accuracy], &expected.f64s(&format!("{set}_acc"))?, F1));
        if set == "val" {
            all.add(within("val_macro_f1", &[judged.mean()], &expected.f64s("val_macro_f1")?, F1));
        }
    }
    all.finish()
}

fn within(name: &str, got: &[f64], want: &[f64], allowed: f64) -> Result<()> {
    crate::checks::compare_absolute(name, &Tensor::from_slice(got), &Tensor::from_slice(want), allowed)
}

fn validation() -> Vec<Transform> {
    Transform::published_validation()
}

/// `svm_features`.
pub fn svm_features(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let config = networks::encoder_config(case)?;
    let params = Params::new(crate::checks::device(), 1);
    let encoder = Encoder::new(&params.root().sub("encoder"), &config)?;
    load(&params, &encoder_of(&case.tensors(case.str("weights")?)?))?;
    let chain = validation();
    let most = case.usize("config.svm_validation_max_tokens")?;
    let classes = case.usize("config.num_classes")?;
    let tolerance = case.f64("tolerance")?;
    let part = |prefix: &str, chain: &[Transform]| -> Result<Features> {
        let (points, labels) = grouping::events(&inputs, prefix)?;
        let embedding = Embedding {
            encoder: &encoder,
            grouping: &config.tokenizer,
            transforms: chain,
            device: crate::checks::device(),
        };
        let draw = draw(points.len());
        Ok(embedding.embed(points, &labels.context("no labels")?, classes, draw)?)
    };
    let mut all = Comparison::new();
    // As published: the batch with number floor(max_tokens / (slots * batch)) is the last.
    let last = most / (config.tokenizer.slots * case.usize("config.batch_size")?);
    let batches = |key: &str| case.strings(&format!("config.{key}"));
    let every = inputs.names().filter_map(|name| name.strip_suffix(".points")).map(String::from).collect();
    let train: Vec<String> = batches("train_batches").unwrap_or(every);
    let visited = &train[..train.len().min(last + 1)];
    // A batch that both sets share was centred and scaled in place for the training set, and then once more: so crowded
    // that each point counts the first neighbours only, and suppression leaves nearly all of them.
    let twice = [validation(), validation()].concat();
    let valid = batches("val_batches")?;
    let valid: Vec<Features> = valid
        .iter()
        .take(last + 1)
        .map(|name| part(&format!("{name}."), if visited.contains(name) { &twice } else { &chain }))
        .collect::<Result<_>>()?;
    let train: Vec<Features> = visited.iter().map(|name| part(&format!("{name}."), &chain)).collect::<Result<_>>()?;
    for (name, parts) in [("train", &train), ("val", &valid)] {
        let found = join(parts, most)?;
        all.tensors(&format!("x_{name}"), &found.embeddings, &expected.get(&format!("x_{name}"))?, tolerance);
        all.tensors(&format!("y_{name}"), &found.classes, &expected.get(&format!("y_{name}"))?, 0.0);
    }
    all.finish()
}

fn encoder_of(weights: &Tensors) -> Vec<(String, Tensor)> {
    weights.all().into_iter().filter(|(name, _)| name.starts_with("encoder.")).collect()
}

/// What the config of an end-to-end case means here.
fn end_to_end(case: &Case) -> Result<TrainConfig> {
    Ok(serde_json::from_value(published::translate(case.value("config")?)?)?)
}

/// Its file of weights.
fn checkpoint(case: &Case) -> Result<PathBuf> {
    let named = case.strings("checkpoint")?;
    Ok(case.path(named.iter().find(|name| name.ends_with(".ckpt")).context("no `.ckpt` in `checkpoint`")?))
}

/// Number of classes of its events.
fn classes_of(case: &Case) -> Result<usize> {
    let led = !case.bool("config.data.init_args.dataset_kwargs.remove_low_energy_scatters")?;
    Ok(if led { CLASS_NAMES.len() } else { CLASS_NAMES.len() - 1 })
}

fn published_events(case: &Case, folder: &Path) -> Result<(grouping::Points, grouping::Labels)> {
    let selection = data::selection(case, "config.data.init_args.dataset_kwargs")?;
    let most = case.f64("config.data.init_args.dataset_kwargs.maxlen")?;
    let most = if most > 0.0 { most as usize } else { usize::MAX };
    let (events, _) = data::events(folder, &selection, most)?;
    let labels = events.iter().map(|e| e.semantic.iter().map(|&s| i64::from(s)).collect()).collect();
    Ok((events.into_iter().map(|e| e.points).collect(), labels))
}

/// `e2e_pretrain`: raw files and a checkpoint to validation losses, embeddings and the probe.
pub fn pretraining_from_files(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let tolerance = case.f64("tolerance")?;
    let config = end_to_end(case)?;
    let ModelConfig::Mae(task) = &config.model else { bail!("the config is no pretraining") };
    let (network, encoder) = (&task.network, &task.network.encoder);
    let params = Params::new(crate::checks::device(), 1);
    let network = Mae::new(&params.root(), network)?;
    load(&params, &neural::weights::read(checkpoint(case)?)?)?;
    let size = case.usize("config.data.init_args.batch_size")?;
    let chain = config.data.val_transforms.clone();
    let (points, labels) = published_events(case, &case.path("data/val"))?;
    let mut all = Comparison::new();
    for (i, chunk) in points.chunks(size).enumerate() {
        let batch = Batch::new(chunk.to_vec(), &chain, &encoder.tokenizer, draw(chunk.len()), crate::checks::device())?;
        let masks = networks::masks(&inputs, &format!("val{i}."))?;
        tch::no_grad(|| -> Result<()> {
            let losses = network.losses(&batch.grouped, &masks, false)?;
            let key = |what: &str| format!("val{i}.{what}");
            all.number(&key("chamfer"), losses.chamfer.double_value(&[]), expected.scalar(&key("chamfer"))?, tolerance);
            if let Some(energy) = losses.energy {
                all.number(&key("energy"), energy.double_value(&[]), expected.scalar(&key("energy"))?, tolerance);
            }
            all.tensors(
                &key("tokens"),
                &network.encoder.forward(&batch.grouped, false)?,
                &expected.get(&key("tokens"))?,
                tolerance,
            );
            all.add(equal_lists(&key("counts"), batch.grouped.events.lengths(), &expected.i64s(&key("counts"))?));
            Ok(())
        })?;
    }
    let embedding = Embedding {
        encoder: &network.encoder,
        grouping: &encoder.tokenizer,
        transforms: &chain,
        device: crate::checks::device(),
    };
    let classes = classes_of(case)?;
    let probe = ProbeConfig {
        components: case.usize("svm_pca_components")?,
        max_tokens: case.usize("config.model.svm_validation_max_tokens")?,
        c: case.f64_or("config.model.svm_validation_C", ProbeConfig::default().c)?,
        batch_size: size,
        classes,
    };
    let gather = |points: &[Vec<f32>], labels: &[Vec<i64>], whole: bool| -> Result<Features> {
        let size = probe.batch_size;
        let count = if whole { points.len() / size * size } else { points.len() };
        let chunks = points[..count].chunks(size).zip(labels[..count].chunks(size));
        let parts = chunks
            .map(|(p, l)| Ok(embedding.embed(p.to_vec(), l, classes, draw(p.len()))?))
            .collect::<Result<Vec<_>>>()?;
        Ok(join(&parts, probe.max_tokens)?)
    };
    let (train_points, train_labels) = published_events(case, &case.path("data/train"))?;
    let found = judge(&gather(&train_points, &train_labels, true)?, &gather(&points, &labels, false)?, &probe)?;
    for (name, judged) in [("train", &found.train), ("val", &found.valid)] {
        all.add(within(&format!("svm.{name}_f1"), &judged.f1, &expected.f64s(&format!("svm.{name}_f1"))?, F1_OF_FILES));
        all.add(within(
            &format!("svm.{name}_acc"),
            &[judged.accuracy],
            &expected.f64s(&format!("svm.{name}_acc"))?,
            F1_OF_FILES,
        ));
    }
    all.finish()
}

/// `e2e_segmentation`: raw files and a checkpoint to classes, events alone and in batches of four.
pub fn segmentation_from_files(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let tolerance = case.f64("tolerance")?;
    let config = end_to_end(case)?;
    let ModelConfig::Segmentation(task) = &config.model else { bail!("the config is no segmentation") };
    let (network, encoder) =
        (SegmentationConfig { ghost_neighbors: true, ..task.network.clone() }, &task.network.encoder);
    let (classes, size) = (network.num_classes, case.usize("config.data.init_args.batch_size")?);
    let params = Params::new(crate::checks::device(), 1);
    let network = Segmentation::new(&params.root(), &network, &published_weights(classes))?;
    load(&params, &neural::weights::read(checkpoint(case)?)?)?;
    let (points, labels) = published_events(case, &case.path(case.str("data")?).join("val"))?;
    let mut all = Comparison::new();
    let mut pooled = Confusion::new(classes);
    let mut logged = [0.0; 3];
    let predict = |events: &[Vec<f32>]| -> Result<Vec<Tensor>> {
        let batch = Batch::new(
            events.to_vec(),
            &config.data.val_transforms,
            &encoder.tokenizer,
            draw(events.len()),
            crate::checks::device(),
        )?;
        let points = batch.point_batch(true, crate::checks::device());
        let logits = tch::no_grad(|| network.forward(&batch.grouped, &points, false, false))?;
        Ok(points.runs.iter().map(|(start, length)| logits.narrow(0, start, length)).collect())
    };
    let mut check = |key: &str, logits: &Tensor, want: &Tensor| -> Result<Vec<i64>> {
        all.tensors(key, &logits.log_softmax(-1, Kind::Float), want, tolerance);
        Ok(Vec::try_from(logits.argmax(-1, false))?)
    };
    let mut wrong = vec![];
    for (i, event) in points.iter().enumerate() {
        let logits = predict(std::slice::from_ref(event))?;
        let got = check(&format!("single{i}"), &logits[0], &expected.get(&format!("single{i}.logprob"))?)?;
        wrong.push(equal_lists(&format!("single{i}.pred"), &got, &expected.i64s(&format!("single{i}.pred"))?));
        wrong.push(equal_lists(&format!("single{i}.label"), &labels[i], &expected.i64s(&format!("single{i}.label"))?));
    }
    for (b, chunk) in points.chunks(size).enumerate() {
        let mut one = Confusion::new(classes);
        for (j, logits) in predict(chunk)?.iter().enumerate() {
            let key = format!("batch{b}.{j}");
            let got = check(&key, logits, &expected.get(&format!("{key}.logprob"))?)?;
            wrong.push(equal_lists(&key, &got, &expected.i64s(&format!("{key}.pred"))?));
            one.add(&labels[size * b + j], &got);
        }
        pooled.merge(&one);
        // Logged values are means over batches, weighted by their events.
        let weight = chunk.len() as f64 / points.len() as f64;
        let figures = [one.macro_mean(&one.recall()), one.accuracy(), one.macro_mean(&one.f1())];
        logged.iter_mut().zip(figures).for_each(|(sum, v)| *sum += v * weight);
    }
    wrong.into_iter().for_each(|outcome| all.add(outcome));
    for (name, got) in ["val_macc", "val_acc", "val_f1_score_m"].iter().zip(logged) {
        all.number(name, got, case.f64(&format!("logged_metrics.{name}"))?, tolerance);
    }
    all.values("pooled_f1_per_class", &pooled.f1(), &case.f64s("logged_metrics.pooled_f1_per_class")?, tolerance);
    all.finish()
}
