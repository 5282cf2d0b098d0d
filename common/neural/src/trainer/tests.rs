//! The loop on a small regression: y = x w with noise, a linear model with dropout.

use common::criterion::Criterion;
use std::collections::BTreeMap;
use std::path::Path;

use common::seed::rng_for;
use rand::RngExt;
use tch::Kind;

use super::config::{CheckpointRule, LoaderRule, NonFinite};
use super::*;
use crate::Params;
use crate::checkpoint::Checkpoints;
use crate::ema::EmaConfig;
use crate::errors::Doing;
use crate::init::Init;
use crate::loader::{Field, InMemory, Shuffle};
use crate::optim::{AdamWConfig, OptimizerConfig};
use crate::precision::Precision;
use crate::schedule::{CosineConfig, ScheduleConfig};

const ROWS: usize = 50;

struct Line {
    weight: Tensor,
    x: Tensor,
    y: Tensor,
    dropout: f64,
    /// Global steps whose loss is NaN.
    broken: Vec<u64>,
    /// Global step whose loss is finite and whose gradient is not.
    infinite: Option<u64>,
    /// The loss runs out of memory: with an error, or with a panic.
    out_of_memory: Option<bool>,
    /// Evaluations that fail as interrupted.
    interrupt_evaluation: bool,
    steps_alike: bool,
}

impl Task for Line {
    fn loss(&mut self, batch: &[Tensor], step: u64) -> Result<Tensor> {
        const TEXT: &str = "CUDA out of memory. Tried to allocate 2.00 GiB";
        match self.out_of_memory {
            Some(true) => panic!("{TEXT}"),
            Some(false) => return Err(tch::TchError::Torch(TEXT.into())).doing("computing the loss"),
            None => {}
        }
        let loss = (batch[0].dropout(self.dropout, true).matmul(&self.weight) - &batch[1]).square().mean(Kind::Float);
        if self.infinite == Some(step) {
            // The root has an infinite slope at 0.
            return Ok(loss + (&self.weight - self.weight.detach()).square().sum(Kind::Float).sqrt());
        }
        Ok(if self.broken.contains(&step) { loss * f64::NAN } else { loss })
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        if self.interrupt_evaluation {
            return Err(interrupted());
        }
        let error = (self.x.matmul(&self.weight) - &self.y).square().mean(Kind::Float);
        let score = tch::no_grad(|| error.double_value(&[]));
        let metrics = vec![Metric { name: "mse".into(), value: score }];
        let detail = serde_json::json!({ "third": 1.0 / 3.0 });
        Ok(Evaluation::by(Criterion::lower("score"), score, metrics, detail))
    }

    fn steps_alike(&self) -> bool {
        self.steps_alike
    }

    fn metadata(&self, best: Option<&Evaluated>) -> Value {
        serde_json::json!({ "best": best.map(|best| best.global_step) })
    }
}

fn training() -> Training {
    Training {
        max_steps: None,
        evaluate_every_steps: None,
        epochs: 4,
        batch_size: 8,
        keep_last_batch: false,
        shuffle: Shuffle::Global,
        accumulation: 1,
        accumulate_rows: None,
        max_grad_norm: Some(5.0),
        evaluate_n_times_per_epoch: 2,
        evaluate_only_last: None,
        evaluate_overrides: BTreeMap::new(),
        evaluate_last: None,
        early_stop_step: None,
        min_gain: 0.0,
        optimizer: OptimizerConfig::AdamW(AdamWConfig::default()),
        learning_rate: 0.05,
        group_learning_rates: BTreeMap::new(),
        scale_learning_rate: None,
        tf32: false,
        deterministic: true,
        cuda_graphs: false,
        sync_batch_norm: false,
        schedule: ScheduleConfig::CosineRestarts(CosineConfig { t_0: 1, t_mult: 2, eta_min: 1e-6 }),
        precision: Precision::F32,
        ema: Some(EmaConfig { decay: 0.9, every_batch: false }),
        non_finite: NonFinite::Stop,
        checkpoint: CheckpointRule { every_steps: Some(3), every_seconds: None, top_k: 2 },
        print_freq: 2,
        loader: LoaderRule { workers: 2, ahead: 3 },
    }
}

/// [`go_on`] the CPU.
fn go(
    folder: &Path,
    training: &Training,
    resume: Resume,
    task_change: impl FnMut(&mut Line),
    die_at: Option<u64>,
) -> Result<Outcome> {
    go_on(Device::Cpu, folder, training, resume, task_change, die_at)
}

/// Trains in `folder`; `change` may break the task or stop the run from an observer.
fn go_on(
    device: Device,
    folder: &Path,
    training: &Training,
    resume: Resume,
    mut task_change: impl FnMut(&mut Line),
    die_at: Option<u64>,
) -> Result<Outcome> {
    let mut rng = rng_for(1, "data", 0);
    let x: Vec<f32> = (0..ROWS * 3).map(|_| rng.random::<f32>() - 0.5).collect();
    let y: Vec<f32> = x.chunks(3).map(|r| 2.0 * r[0] - r[1] + 0.5 * r[2]).collect();
    let tensors = [Tensor::from_slice(&x).view([-1, 3]), Tensor::from_slice(&y).view([-1, 1])];
    let source = InMemory::new(vec![(Field::vector("x", 3), x), (Field::vector("y", 1), y)])?;
    let params = Params::new(device, 7);
    let weight = params.root().parameter("w", &[3, 1], Init::Uniform(1.0))?;
    let [x, y] = tensors.map(|t| t.to_device(device));
    let mut task = Line {
        weight,
        x,
        y,
        dropout: 0.3,
        broken: vec![],
        infinite: None,
        out_of_memory: None,
        interrupt_evaluation: false,
        steps_alike: true,
    };
    task_change(&mut task);
    let mut steps = 0;
    let mut observer = |event: Event| {
        if let Event::Step { .. } = event {
            steps += 1;
            // Stands for SIGKILL: nothing is saved after it.
            assert!(Some(steps) != die_at, "killed");
        }
    };
    let plan = Plan {
        training,
        config_hash: "hash".into(),
        seed: 3,
        device,
        folder: folder.to_path_buf(),
        order: Arc::new(Order::new(source.rows(), &training.shuffle, 3)?),
        source: Arc::new(source),
        state: params.state(),
        trainable: params.trainable(),
        resume,
        max_steps: None,
        observer: Some(&mut observer),
        label: "line".into(),
    };
    train(plan, &mut task)
}

/// Every file of a run by relative name, without those that hold times.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                open.push(path);
            } else if !name.contains("tfevents") {
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

fn quietly<T>(work: impl FnOnce() -> T) -> std::thread::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
}

#[test]
fn a_run_killed_at_any_step_and_resumed_ends_with_the_same_bytes() {
    let straight = tempfile::tempdir().unwrap();
    let training = training();
    go(straight.path(), &training, Resume::Auto, |_| {}, None).unwrap();
    let expected = files(straight.path());
    assert!(expected.contains_key("checkpoints/best/ema.safetensors"));
    assert!(expected.contains_key("metrics.jsonl"));
    assert_eq!(expected.keys().filter(|name| name.contains("score") && name.ends_with("trainer.json")).count(), 2);
    for die_at in [1, 2, 5, 6, 7, 13, 23] {
        let killed = tempfile::tempdir().unwrap();
        assert!(quietly(|| go(killed.path(), &training, Resume::Auto, |_| {}, Some(die_at))).is_err());
        // Killed a second time on the way.
        let _ = quietly(|| go(killed.path(), &training, Resume::Auto, |_| {}, Some(4)));
        go(killed.path(), &training, Resume::Auto, |_| {}, None).unwrap();
        let found = files(killed.path());
        assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>(), "killed at {die_at}");
        for (name, content) in &expected {
            assert!(content == &found[name], "`{name}` differs after a kill at step {die_at}");
        }
    }
}

/// On a GPU most steps are launched from a recording; without one both runs are plain.
#[test]
fn recorded_steps_train_to_the_same_bytes() {
    let device = crate::device::choose("auto").unwrap();
    let (plain, recorded) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    go_on(device, plain.path(), &training(), Resume::Auto, |_| {}, None).unwrap();
    let training = Training { cuda_graphs: true, ..training() };
    go_on(device, recorded.path(), &training, Resume::Auto, |_| {}, None).unwrap();
    assert_eq!(files(plain.path()), files(recorded.path()));
}

#[test]
fn steps_that_differ_are_not_recorded() {
    let training = Training { cuda_graphs: true, ..training() };
    let folder = tempfile::tempdir().unwrap();
    let error = go(folder.path(), &training, Resume::Auto, |task| task.steps_alike = false, None).unwrap_err();
    assert!(error.to_string().contains("differ from batch to batch"), "{error}");
    let mut problems = common::config::Problems::default();
    let unfit = Training { accumulation: 2, accumulate_rows: Some(64), precision: Precision::F16, ..training };
    unfit.validate("training", &mut problems);
    let text = format!("{problems:?}");
    assert_eq!(text.matches("training.cuda_graphs").count(), 3, "{text}");
}

#[test]
fn a_run_killed_between_the_checkpoints_of_one_evaluation_writes_the_missing_ones() {
    let straight = tempfile::tempdir().unwrap();
    let training = training();
    go(straight.path(), &training, Resume::Auto, |_| {}, None).unwrap();
    let expected = files(straight.path());
    for survivor in ["best", "epoch"] {
        let killed = tempfile::tempdir().unwrap();
        assert!(quietly(|| go(killed.path(), &training, Resume::Auto, |_| {}, Some(7))).is_err());
        // The evaluation after step 6 was the last thing done: of its checkpoints only one came to be.
        let mut survived = 0;
        for name in Checkpoints::open(killed.path().join(CHECKPOINTS)).unwrap().names().unwrap() {
            let folder = killed.path().join(CHECKPOINTS).join(&name);
            let newest = crate::checkpoint::verify(&folder).unwrap().global_step == 6;
            if newest && !name.starts_with(survivor) {
                std::fs::remove_dir_all(folder).unwrap();
            }
            survived += usize::from(newest && name.starts_with(survivor));
        }
        assert_eq!(survived, 1, "{survivor}");
        go(killed.path(), &training, Resume::Auto, |_| {}, None).unwrap();
        assert!(expected == files(killed.path()), "{survivor}");
    }
}

#[test]
fn out_of_memory_says_what_was_done_and_gives_three_overrides() {
    let folder = tempfile::tempdir().unwrap();
    for panics in [false, true] {
        let run = || go(folder.path(), &training(), Resume::Never, |task| task.out_of_memory = Some(panics), None);
        let error = run().unwrap_err();
        assert!(matches!(error, Error::Device { .. }));
        let text = error.to_string();
        assert!(
            text.starts_with("out of memory while training step 1: a batch of 8 rows in 1 piece(s), F32: "),
            "{text}"
        );
        let hint = error.hint_text().unwrap();
        for remedy in ["training.accumulation=2", "training.batch_size=4", "training.precision=bf16"] {
            assert!(hint.contains(remedy), "{hint}");
        }
    }
}

#[test]
fn the_number_of_loader_workers_changes_nothing() {
    let bytes = |workers| {
        let folder = tempfile::tempdir().unwrap();
        let training = Training { loader: LoaderRule { workers, ahead: 2 }, ..training() };
        go(folder.path(), &training, Resume::Never, |_| {}, None).unwrap();
        files(folder.path())
    };
    assert!(bytes(0) == bytes(3));
}

#[test]
fn a_finished_run_resumes_to_its_end_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = go(folder.path(), &training(), Resume::Auto, |_| {}, None).unwrap();
    let before = files(folder.path());
    let again = go(folder.path(), &training(), Resume::Auto, |_| {}, None).unwrap();
    assert_eq!(first.state.history, again.state.history);
    assert!(before == files(folder.path()));
    assert_eq!(again.state.finished.as_deref(), Some("all 4 epochs done"));
}

#[test]
fn a_run_by_steps_evaluates_by_steps_and_ends_in_the_middle_of_an_epoch_killed_or_not() {
    let limited = Training { max_steps: Some(7), evaluate_every_steps: Some(3), ..training() };
    let whole = tempfile::tempdir().unwrap();
    let outcome = go(whole.path(), &limited, Resume::Never, |_| {}, None).unwrap();
    let evaluated: Vec<u64> = outcome.state.history.iter().map(|e| e.global_step).collect();
    assert_eq!((evaluated, outcome.state.global_step), (vec![3, 6, 7], 7));
    assert_eq!(outcome.state.finished.as_deref(), Some("all 7 steps done"));
    for die_at in [4, 7] {
        let folder = tempfile::tempdir().unwrap();
        let killed = std::panic::catch_unwind(|| go(folder.path(), &limited, Resume::Auto, |_| {}, Some(die_at)));
        assert!(killed.is_err());
        go(folder.path(), &limited, Resume::Auto, |_| {}, None).unwrap();
        assert!(files(whole.path()) == files(folder.path()), "killed at step {die_at}");
    }
    // Evaluations by steps need not meet the end of the run: it is evaluated all the same.
    let sparse = Training { epochs: 1, evaluate_every_steps: Some(1000), ..training() };
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(go(folder.path(), &sparse, Resume::Never, |_| {}, None).unwrap().state.history.len(), 1);
}

#[test]
fn training_lowers_the_score_and_the_best_checkpoint_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let outcome =
        go(folder.path(), &Training { epochs: 12, ema: None, ..training() }, Resume::Never, |_| {}, None).unwrap();
    let history = &outcome.state.history;
    let kept = outcome.state.kept.unwrap();
    assert!(kept.score < 0.3 * history[0].score, "{} -> {}", history[0].score, kept.score);
    assert_eq!(kept.score, history.iter().map(|e| e.score).fold(f64::INFINITY, f64::min));
    assert_eq!(crate::checkpoint::verify(&outcome.best).unwrap().global_step, kept.global_step);
}

#[test]
fn an_interrupted_evaluation_is_done_first_after_resuming() {
    let straight = tempfile::tempdir().unwrap();
    go(straight.path(), &training(), Resume::Auto, |_| {}, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error =
        go(folder.path(), &training(), Resume::Auto, |task| task.interrupt_evaluation = true, None).unwrap_err();
    assert!(matches!(&error, Error::Interrupted { saved } if saved.contains("step 3 of epoch 1")), "{error}");
    go(folder.path(), &training(), Resume::Auto, |_| {}, None).unwrap();
    assert!(files(straight.path()) == files(folder.path()));
}

#[test]
fn a_non_finite_loss_stops_before_the_update_or_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let broken = |task: &mut Line| task.broken = vec![4];
    let error = go(folder.path(), &training(), Resume::Auto, broken, None).unwrap_err();
    assert!(error.to_string().contains("step 5: the loss is NaN"), "{error}");
    assert!(error.hint_text().unwrap().contains("training.non_finite=skip"));
    let skipping = Training { non_finite: NonFinite::Skip, ..training() };
    let outcome = go(folder.path(), &skipping, Resume::Never, broken, None).unwrap();
    assert_eq!((outcome.state.skipped, outcome.state.global_step), (1, 24));
    assert!(outcome.state.history.iter().all(|e| e.score.is_finite()));
    let always = |task: &mut Line| task.broken = (0..1000).collect();
    let long = Training { epochs: 50, ..skipping };
    let error = go(folder.path(), &long, Resume::Never, always, None).unwrap_err();
    assert!(error.to_string().contains("the last 100 batches"), "{error}");
}

#[test]
fn accumulation_gives_the_step_of_the_whole_batch() {
    let scores = |accumulation| {
        let folder = tempfile::tempdir().unwrap();
        let training = Training { accumulation, ..training() };
        // Dropout would draw anew for each piece.
        let outcome = go(folder.path(), &training, Resume::Never, |task| task.dropout = 0.0, None).unwrap();
        outcome.state.history.iter().map(|e| e.score).collect::<Vec<_>>()
    };
    for (whole, pieces) in scores(1).iter().zip(scores(3)) {
        assert!((whole - pieces).abs() < 1e-5 * whole, "{whole} {pieces}");
    }
}

#[test]
fn a_checkpoint_of_another_config_is_refused_and_never_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    go(folder.path(), &training(), Resume::Auto, |_| {}, None).unwrap();
    let manifest = folder.path().join("checkpoints/last/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap().replace("\"hash\"", "\"other\"");
    common::durable::write(&manifest, text.as_bytes()).unwrap();
    let error =
        go(folder.path(), &training(), Resume::From(folder.path().join("checkpoints/last")), |_| {}, None).unwrap_err();
    assert!(error.to_string().contains("another config"), "{error}");
    let outcome = go(folder.path(), &training(), Resume::Never, |_| {}, None).unwrap();
    assert!(outcome.rows_per_s > 0.0);
}

#[test]
fn a_damaged_last_checkpoint_falls_back_to_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let training = Training { checkpoint: CheckpointRule { top_k: 0, ..training().checkpoint }, ..training() };
    go(folder.path(), &training, Resume::Auto, |_| {}, None).unwrap();
    let expected = files(folder.path());
    common::durable::write(folder.path().join("checkpoints/last/model.safetensors"), b"damaged").unwrap();
    go(folder.path(), &training, Resume::Auto, |_| {}, None).unwrap();
    assert!(expected == files(folder.path()));
}

#[test]
fn fewer_rows_than_a_batch_is_a_usage_error_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let error = go(folder.path(), &Training { batch_size: 64, ..training() }, Resume::Never, |_| {}, None).unwrap_err();
    assert!(error.hint_text().unwrap().contains("training.batch_size=50"));
}

#[test]
fn groups_of_parameters_have_rates_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let rates = |prefix: &str| BTreeMap::from([(prefix.to_string(), 0.01)]);
    let outcome =
        go(folder.path(), &Training { group_learning_rates: rates("w"), ..training() }, Resume::Never, |_| {}, None)
            .unwrap();
    assert!(outcome.state.history[0].rates[0] <= 0.01);
    let wrong = Training { group_learning_rates: rates("lstm"), ..training() };
    let error = go(folder.path(), &wrong, Resume::Never, |_| {}, None).unwrap_err();
    assert!(error.to_string().contains("training.group_learning_rates.lstm"), "{error}");
}

/// Batches whose gradients wait are kept when another one is left out: the weights are those of a run without it.
#[test]
fn a_bad_batch_among_summed_ones_leaves_the_good_ones_in_the_sum() {
    let base = Training {
        accumulate_rows: Some(24),
        schedule: ScheduleConfig::Constant,
        non_finite: NonFinite::Skip,
        epochs: 1,
        evaluate_n_times_per_epoch: 1,
        ema: None,
        ..training()
    };
    let sums = |training: &Training, broken: Vec<u64>, infinite: Option<u64>| {
        let folder = tempfile::tempdir().unwrap();
        let change = |task: &mut Line| {
            task.dropout = 0.0;
            task.broken = broken.clone();
            task.infinite = infinite;
        };
        let outcome = go(folder.path(), training, Resume::Never, change, None).unwrap();
        let sum = std::fs::read(folder.path().join("checkpoints/last").join(super::files::GRADIENTS)).unwrap();
        (sum, outcome.state)
    };
    // Six batches of 8 rows: of the first four one is bad, so the first update comes after four.
    for (broken, infinite) in [(vec![1], None), (vec![2], None), (vec![], Some(1)), (vec![], Some(2))] {
        let (_, state) = sums(&base, broken.clone(), infinite);
        assert_eq!((state.skipped, state.accumulated), (1, 16), "{broken:?} {infinite:?}");
    }
    // The sum that waits is that of the good batches alone, to the bit.
    let (expected, state) = sums(&Training { max_steps: Some(2), ..base.clone() }, vec![], None);
    assert_eq!(state.accumulated, 16);
    for (steps, broken, infinite) in [(4, vec![2, 3], None), (3, vec![], Some(2))] {
        let (sum, state) = sums(&Training { max_steps: Some(steps), ..base.clone() }, broken, infinite);
        assert_eq!(state.accumulated, 16, "no update is made of less than 24 good rows");
        assert!(sum == expected);
    }
    let stopping = Training { non_finite: NonFinite::Stop, ..base };
    let folder = tempfile::tempdir().unwrap();
    let error = go(folder.path(), &stopping, Resume::Never, |task| task.infinite = Some(1), None).unwrap_err();
    assert!(error.to_string().contains("step 2: the gradient is no finite number"), "{error}");
}

#[test]
fn summed_gradients_follow_the_scale_of_f16() {
    let mut scaler = crate::precision::GradScaler::default();
    assert_eq!(scaler.leave_out(true), 0.5);
    assert_eq!(scaler.leave_out(false), 1.0);
}

/// The files of a run but what tells where it came from.
fn results(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = files(folder);
    all.remove("checkpoints/adopted.json");
    all
}

#[test]
fn a_run_from_an_old_checkpoint_that_is_killed_goes_on_by_auto_and_by_the_same_command() {
    let training = training();
    let straight = tempfile::tempdir().unwrap();
    go(straight.path(), &training, Resume::Auto, |_| {}, None).unwrap();
    // A run that was killed after its second evaluation gives the old checkpoint.
    let old = tempfile::tempdir().unwrap();
    assert!(quietly(|| go(old.path(), &training, Resume::Auto, |_| {}, Some(8))).is_err());
    let from = old.path().join("checkpoints/last");
    let old_step = crate::checkpoint::verify(&from).unwrap().global_step;
    assert_eq!(old_step, 6);
    for again in [Resume::Auto, Resume::From(from.clone())] {
        // In a folder that holds nothing, and in one that went another way to its end.
        for other in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            if other {
                go(folder.path(), &training, Resume::Auto, |task| task.broken = vec![], None).unwrap();
            }
            assert!(quietly(|| go(folder.path(), &training, Resume::From(from.clone()), |_| {}, Some(5))).is_err());
            let newest = Checkpoints::open(folder.path().join(CHECKPOINTS)).unwrap().newest().unwrap().0.unwrap();
            assert_eq!(newest.manifest.global_step, 9, "what was trained since is the newest, nothing of another run");
            let mut steps = 0;
            let outcome = go(folder.path(), &training, again.clone(), |_| steps += 1, None).unwrap();
            assert_eq!(outcome.state.global_step, 24);
            let (expected, found) = (results(straight.path()), results(folder.path()));
            for (name, content) in expected.iter().filter(|(name, _)| name.ends_with("safetensors")) {
                assert!(found.get(name) == Some(content), "{name}, {again:?}, other: {other}");
            }
            assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
        }
    }
}

#[test]
fn best_weights_that_are_gone_are_not_replaced_by_those_of_another_run() {
    let training = training();
    let folder = tempfile::tempdir().unwrap();
    go(folder.path(), &training, Resume::Auto, |_| {}, None).unwrap();
    let last = folder.path().join("checkpoints/last");
    let mut state = State::read(&last).unwrap();
    let step = state.kept.as_ref().unwrap().global_step;
    let checkpoints = Checkpoints::open(folder.path().join(CHECKPOINTS)).unwrap();
    let kept = state.kept.clone();
    let found = crate::checkpoint::Found { manifest: crate::checkpoint::verify(&last).unwrap(), folder: last };
    if found.manifest.global_step == step {
        // The last evaluation was the best: its checkpoint is written anew from the state.
        return;
    }
    run::demand_best(&checkpoints, &mut state, &found, "line");
    assert_eq!(state.kept, kept);
    checkpoints.discard(BEST).unwrap();
    run::demand_best(&checkpoints, &mut state, &found, "line");
    assert_eq!((state.kept, state.best.score()), (None, f64::INFINITY));
}
