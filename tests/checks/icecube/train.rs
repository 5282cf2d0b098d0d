//! Training: the schedule, and runs of a few batches step by step.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use common::Error;
use icecube::batch::NAMES;
use icecube::dataset::InputConfig;
use icecube::losses::Normalisation;
use icecube::models::{self, Built};
use icecube::train::{self, IceCubeTask, TrainConfig, Visits};
use neural::loader::{Field, Order, Source};
use neural::precision::Precision;
use neural::schedule::{OneCycleConfig, Schedule, ScheduleConfig};
use neural::trainer::{self, AVERAGED, CHECKPOINTS, Evaluated, Event, LAST, Plan, Resume};
use serde_json::{Value, json};
use tch::Tensor;

use super::networks::{batch, case_model, load, loss_kind};
use crate::checks::{Case, Comparison, Tensors, compare_absolute, said};

/// Batches as they are in files; row `i * size + j` is event j of batch i, and only whole batches can be had.
struct Collated {
    batches: Vec<Vec<Tensor>>,
    size: u64,
}

impl Collated {
    fn read(case: &Case, prefix: &str, size: u64) -> Result<Self> {
        let mut batches = vec![];
        while case.has_file(&format!("{prefix}_{}.safetensors", batches.len())) {
            let file = case.tensors(&format!("{prefix}_{}.safetensors", batches.len()))?;
            batch(&file, "")?;
            batches.push(NAMES.iter().map(|name| file.get(name)).collect::<Result<Vec<_>>>()?);
        }
        ensure!(!batches.is_empty(), "no `{prefix}_0.safetensors`");
        Ok(Self { batches, size })
    }

    fn events(&self) -> u64 {
        self.batches.iter().map(|b| b[0].size()[0] as u64).sum()
    }
}

/// Shape, kind and bytes of a tensor.
type Plain = (Vec<i64>, tch::Kind, Vec<u8>);

/// Tensors are no `Sync`: each thread builds its own from the values.
struct Values {
    batches: Vec<Vec<Plain>>,
    size: u64,
    events: u64,
}

impl From<Collated> for Values {
    fn from(collated: Collated) -> Self {
        let events = collated.events();
        let bytes = |t: &Tensor| {
            let mut bytes = vec![0_u8; t.numel() * t.kind().elt_size_in_bytes()];
            t.contiguous().copy_data_u8(&mut bytes, t.numel());
            (t.size(), t.kind(), bytes)
        };
        let batches = collated.batches.iter().map(|b| b.iter().map(bytes).collect()).collect();
        Self { batches, size: collated.size, events }
    }
}

impl Source for Values {
    fn rows(&self) -> u64 {
        self.events
    }

    fn fields(&self) -> Vec<Field> {
        vec![]
    }

    fn gather(&self, _: &[u64], _: &mut [Vec<f32>]) -> common::Result<()> {
        Err(Error::failed("whole batches only"))
    }

    fn tensors(&self, rows: &[u64]) -> common::Result<Vec<Tensor>> {
        let batch = &self.batches[(rows[0] / self.size) as usize];
        Ok(batch.iter().map(|(shape, kind, bytes)| Tensor::from_data_size(bytes, shape, *kind)).collect())
    }
}

fn cycle(of: &Value) -> Result<OneCycleConfig> {
    let number = |key: &str| of[key].as_f64().with_context(|| format!("no `{key}`"));
    Ok(OneCycleConfig {
        pct_start: number("pct_start")?,
        div: number("div")?,
        div_final: number("div_final")?,
        moms: serde_json::from_value(of["moms"].clone())?,
    })
}

/// Rates and beta1 at every batch.
pub fn schedule(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let tolerance = case.f64("tolerance.relative")?;
    let mut checks = Comparison::new();
    for config in case.value("configs")?.as_array().context("`configs` is no list")? {
        let name = config["name"].as_str().context("no name")?;
        let whole = |key: &str| config[key].as_u64().with_context(|| format!("no `{key}`"));
        let (epochs, steps) = (whole("n_epoch")?, whole("n_iter")?);
        let peak = config["lr_max"].as_f64().context("no `lr_max`")?;
        let mut schedule = Schedule::new(&ScheduleConfig::OneCycle(cycle(config)?), &[peak])?.over(epochs);
        let (mut rates, mut moms) = (vec![], vec![]);
        for epoch in 0..epochs {
            for step in 0..steps {
                rates.push(schedule.rates()[0]);
                moms.push(schedule.beta1().context("no beta1")?);
                schedule.after_step(epoch, step, steps);
            }
        }
        for (what, got) in [("lr", rates), ("mom", moms)] {
            let want = expected.f64s(&format!("{name}.{what}"))?;
            ensure!(got.len() == want.len(), "{name}: {} batches, expected {}", got.len(), want.len());
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                checks.number(&format!("{name}.{what}[{i}]"), *got, *want, tolerance);
            }
        }
    }
    checks.finish()
}

/// A short training run: every batch, every evaluation, the weights at the end.
pub fn steps(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let size = case.usize("batch_size")? as u64;
    let model = case_model(case)?;
    let Built { params, network } = models::build(&model, crate::checks::device(), 1)?;
    load(&params, &case.tensors("weights_start.safetensors")?)?;

    let train: Values = Collated::read(case, "train_batch", size)?.into();
    let valid_size = case.value("valid_batches")?[0].as_array().context("no `valid_batches`")?.len() as u64;
    let valid: Values = Collated::read(case, "valid_batch", valid_size)?.into();
    let epochs = case.usize("schedule.n_epoch")? as u64;
    let with_ema = case.find("ema").is_some_and(Value::is_object);
    let config: TrainConfig = serde_json::from_value(json!({
        "system": "icecube", "member": case.name, "seed": 1, "model": serde_json::to_value(&model)?,
        "loss": serde_json::to_value(loss_kind(case.str("loss")?)?)?,
        "training": {
            "epochs": epochs, "batch_size": size, "accumulate_rows": case.usize("accumulation_samples")?,
            "max_grad_norm": case.f64("gradient_clip_norm")?,
            "optimizer": { "adam_w": {
                "betas": [0.9, case.f64("optimizer.beta2")?], "eps": case.f64("optimizer.eps")?,
                "weight_decay": case.f64("optimizer.weight_decay")?,
            } },
            "learning_rate": case.f64("schedule.lr_max")?,
            "schedule": { "one_cycle": serde_json::to_value(cycle(case.value("schedule")?)?)? },
            "ema": if with_ema { json!({ "decay": case.f64("ema.decay")?, "every_batch": true }) } else { Value::Null },
            "checkpoint": { "every_seconds": null, "every_steps": 1 },
            "loader": { "workers": 0, "ahead": 1 },
        },
    }))?;
    let folder = tempfile::tempdir()?;
    let (mut seen, mut evaluations, mut probes) = (vec![], vec![], vec![]);
    let names: Vec<String> = expected.under("batch0.").into_iter().map(|(name, _)| name).collect();
    let watched: Vec<(String, Tensor)> =
        names.iter().filter_map(|name| Some((name.clone(), params.get(name)?))).collect();
    let mut observer = |event: Event| match event {
        Event::Step { loss, gradient_norm, rates, beta1, applied, .. } => {
            probes.push(watched.iter().map(|(name, t)| (name.clone(), t.detach().copy())).collect::<Vec<_>>());
            seen.push((loss, gradient_norm, rates[0], beta1.unwrap_or(f64::NAN), applied));
        }
        Event::Evaluation { evaluated, .. } => evaluations.push(evaluated),
    };
    let rows = valid.events;
    let (train_order, valid_order) = (vec![(0..train.events).collect()], vec![(0..rows).collect()]);
    let mut task = IceCubeTask {
        network,
        loss: config.loss,
        normalisation: Normalisation::Switched,
        valid: Visits { source: Arc::new(valid), order: Arc::new(Order::given(valid_order)?), batch: valid_size },
        precision: Precision::F32,
        device: crate::checks::device(),
        about: train::about(&case.name, &model, &InputConfig::default())?,
    };
    let plan = Plan {
        training: &config.training,
        config_hash: "golden".into(),
        seed: 1,
        device: crate::checks::device(),
        folder: folder.path().to_path_buf(),
        source: Arc::new(train),
        order: Arc::new(Order::given(train_order)?),
        state: params.state(),
        trainable: params.trainable(),
        resume: Resume::Never,
        max_steps: None,
        observer: Some(&mut observer),
        label: case.name.clone(),
    };
    trainer::train(plan, &mut task)?;
    check_steps(case, &expected, &seen, &evaluations, &probes, folder.path(), with_ema)
}

type Step = (f64, f64, f64, f64, bool);

fn check_steps(
    case: &Case,
    expected: &Tensors,
    seen: &[Step],
    evaluations: &[Evaluated],
    probes: &[Vec<(String, Tensor)>],
    folder: &Path,
    with_ema: bool,
) -> Result<()> {
    let (loss, rate, norm) = (case.f64("tolerance.loss")?, case.f64("tolerance.lr")?, case.f64("tolerance.grad_norm")?);
    // `2e-5 absolute for the DeepIce cases, 1e-4 absolute for the GNN case`
    let sentence = case.str("tolerance.weights")?;
    let weights = said(sentence, if case.str("model")? == "DeepIceModel" { "" } else { "," })?;
    let mut checks = Comparison::new();
    let column = |pick: fn(&Step) -> f64| seen.iter().map(pick).collect::<Vec<f64>>();
    checks.values("loss", &column(|s| s.0), &expected.f64s("loss")?, loss);
    checks.values("lr", &column(|s| s.2), &expected.f64s("lr")?, rate);
    checks.values("beta1", &column(|s| s.3), &expected.f64s("beta1")?, rate);
    checks.values("stepped", &column(|s| f64::from(u8::from(s.4))), &expected.f64s("stepped")?, 0.0);
    for (i, (want, step)) in expected.f64s("grad_norm_before_clip")?.iter().zip(seen).enumerate() {
        if want.is_nan() {
            checks.add(if step.1.is_nan() {
                Ok(())
            } else {
                Err(anyhow!("batch {i} has a gradient norm, expected none"))
            });
        } else {
            checks.number(&format!("gradient norm of batch {i}"), step.1, *want, norm);
        }
    }
    for (i, probe) in probes.iter().enumerate() {
        for (name, got) in probe {
            let want = expected.get(&format!("batch{i}.{name}"))?;
            checks.add(compare_absolute(&format!("batch{i}.{name}"), got, &want, weights));
        }
    }
    let metric = |e: &Evaluated, name: &str| e.metrics.iter().find(|m| m.name == name).map_or(f64::NAN, |m| m.value);
    let each = |pick: &dyn Fn(&Evaluated) -> f64| evaluations.iter().map(pick).collect::<Vec<f64>>();
    checks.values("smooth loss", &each(&|e| e.smooth_loss), &expected.f64s("epoch_train_loss_smooth")?, loss);
    checks.values("valid loss", &each(&|e| metric(e, "loss")), &expected.f64s("epoch_valid_loss")?, loss);
    checks.values("valid metric", &each(&|e| e.score), &expected.f64s("epoch_valid_metric")?, loss);
    let last = folder.join(CHECKPOINTS).join(LAST);
    compare_weights(&mut checks, &last.join("model.safetensors"), &case.tensors("weights_end.safetensors")?, weights)?;
    if with_ema {
        compare_weights(&mut checks, &last.join(AVERAGED), &case.tensors("ema_end.safetensors")?, weights)?;
    }
    checks.finish()
}

/// All weights but the key biases, whose true gradient is zero.
fn compare_weights(checks: &mut Comparison, path: &Path, want: &Tensors, tolerance: f64) -> Result<()> {
    let got = Tensors::read(path)?;
    let mut wanted = want.all();
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    let without_keys = |name: &str, t: &Tensor| {
        if !name.ends_with("attn.in_proj_bias") {
            return t.shallow_clone();
        }
        let dim = t.size()[0] / 3;
        Tensor::cat(&[t.narrow(0, 0, dim), t.narrow(0, 2 * dim, dim)], 0)
    };
    for (name, want) in wanted {
        let got = got.get(&name)?;
        checks.add(compare_absolute(&name, &without_keys(&name, &got), &without_keys(&name, &want), tolerance));
    }
    Ok(())
}
