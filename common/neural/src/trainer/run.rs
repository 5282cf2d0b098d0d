//! The loop over epochs and steps.

use std::time::{Duration, Instant};

use common::cli::progress::Bar;
use common::cli::signals;
use common::scalars::ScalarLog;
use common::{Error, Result, exhausted, world};
use serde_json::Value;
use tch::Tensor;

use super::best::Best;
use super::config::Training;
use super::files::{AVERAGED, BEST, CHECKPOINTS, GRADIENTS, LAST, MODEL, OPTIMIZER, restore_gradients};
use super::groups::groups;
use super::log::{self, Speed};
use super::recorded::Recordings;
use super::state::{self, Evaluated, State};
use super::step::{Changing, Context, step};
use super::together::{batch_rows, evaluate_for_all, find, follow_statistics};
use super::{Event, Outcome, Plan, Task};
use crate::checkpoint::{self, Checkpoints, Found};
use crate::ema::Ema;
use crate::loader::{Batches, Delivery, Loader};
use crate::optim::Optimizer;
use crate::parallel::{self, Averaging};
use crate::schedule::Schedule;
use crate::{shim, weights};

/// Skipped steps in a row that end a run.
const MOST_SKIPPED: u64 = 100;

/// Trains until the last epoch, an early stop or an interruption.
///
/// # Errors
/// [`Error::Interrupted`] after SIGINT or SIGTERM, with everything saved; [`Error::Failed`] for a non-finite loss under
/// that policy; [`Error::Device`] out of memory; whatever the source, the task or the file system report.
pub fn train(mut plan: Plan, task: &mut dyn Task) -> Result<Outcome> {
    let drop_last = !plan.training.keep_last_batch;
    let batches = Batches { shard: parallel::shard(), drop_last, ..Batches::training(plan.training.batch_size) };
    let whole = batches.steps(plan.order.len());
    let steps = plan.max_steps.map_or(whole, |most| whole.min(most));
    if steps == 0 {
        return Err(Error::usage(format!(
            "{} training rows are less than one batch of {}, and incomplete batches are left out",
            plan.order.len(),
            plan.training.batch_size
        ))
        .hint(format!("use a smaller batch: `training.batch_size={}`", plan.order.len().max(1))));
    }
    if let Some(group) = parallel::group()
        && plan.training.batch_size < group.size()
    {
        let problem =
            format!("a batch of {} rows is too small for {} processes", plan.training.batch_size, group.size());
        return Err(Error::usage(problem).hint(format!("`training.batch_size={}` or fewer processes", group.size())));
    }
    if let Some(group) = parallel::group()
        && let shortest @ 1.. = plan.order.len() % plan.training.batch_size
        && plan.training.keep_last_batch
        && shortest < group.size()
    {
        return Err(Error::usage(format!(
            "the last batch of an epoch has {shortest} rows, too few for {} processes",
            group.size()
        ))
        .hint("leave it out: `training.keep_last_batch=false`"));
    }
    if plan.training.cuda_graphs {
        let unfit = [
            (!task.steps_alike(), "the steps of this network differ from batch to batch"),
            (parallel::group().is_some(), "several processes train together"),
        ];
        if let Some((_, why)) = unfit.iter().find(|(unfit, _)| *unfit) {
            return Err(Error::usage(format!("`training.cuda_graphs` is true, but {why}"))
                .hint("leave it out: `training.cuda_graphs=false`"));
        }
    }
    let mut run = Run::start(&mut plan, steps)?;
    if run.state.finished.is_none() {
        run.epochs(&mut plan, task, batches)?;
    }
    // What comes after training (out-of-fold predictions, the manifest) is rank 0's.
    if !world::leads() {
        return Err(Error::ShareDone);
    }
    Ok(run.outcome(&plan))
}

/// A run in progress.
pub(super) struct Run {
    steps: u64,
    pub(super) optimizer: Optimizer,
    pub(super) ema: Option<Ema>,
    pub(super) state: State,
    pub(super) checkpoints: Checkpoints,
    /// Rank 0 writes it.
    pub(super) log: Option<ScalarLog>,
    /// Averages gradients where several processes train together.
    averaging: Option<Averaging>,
    /// Steps recorded on a GPU, where that is asked for.
    recordings: Option<Recordings>,
    /// Whether any process of the group was asked to stop.
    stop_agreed: bool,
    speed: Speed,
    pub(super) saved_at: Instant,
}

impl Run {
    /// Sets everything up, or takes everything from the checkpoint to resume from.
    fn start(plan: &mut Plan, steps: u64) -> Result<Self> {
        let training = plan.training;
        let rows = training.batch_size.div_ceil(training.accumulation);
        exhausted::working_on(format!("training `{}` with {rows} rows at a time", plan.label), training.less_memory());
        if let Some(group) = parallel::group() {
            // Shares of a batch are rounded in another way for another number of processes.
            plan.config_hash += &format!(" over {} processes", group.size());
        }
        if let Some(told) = training.rate_told() {
            tracing::info!("{}: {told}", plan.label);
        }
        if plan.device.is_cuda() {
            shim::set_tf32(training.tf32)?;
            shim::set_deterministic(training.deterministic)?;
            shim::reset_cuda_peak(plan.device)?;
        }
        let checkpoints = Checkpoints::open(plan.folder.join(CHECKPOINTS))?;
        let mut optimizer = Optimizer::new(&training.optimizer, groups(plan)?)?;
        let schedule = Schedule::new(&training.schedule, &optimizer.learning_rates())?.over(training.epochs);
        let mut ema = training.ema.as_ref().map(|ema| Ema::new(ema, &plan.trainable)).transpose()?;
        let state = match find(&checkpoints, plan)? {
            Some(found) => {
                let mut state = State::read(&found.folder)?;
                demand_best(&checkpoints, &mut state, &found, &plan.label);
                weights::load(&plan.state, found.folder.join(MODEL), &weights::Allow::default())?;
                optimizer.load_state(&weights::read(found.folder.join(OPTIMIZER))?)?;
                if let Some(ema) = &mut ema {
                    ema.load_state(&weights::read(found.folder.join(AVERAGED))?)?;
                }
                optimizer.set_learning_rates(state.schedule.rates())?;
                if state.accumulated > 0 {
                    restore_gradients(plan, &weights::read(found.folder.join(GRADIENTS))?)?;
                }
                tracing::info!(
                    "{}: resuming from `{}`: epoch {}, step {} of {steps}, best score {}",
                    plan.label,
                    found.folder.display(),
                    state.epoch + 1,
                    state.step,
                    state.kept.as_ref().map_or("none yet".into(), |kept| format!(
                        "{:.6} ({})",
                        kept.shown(),
                        kept.criterion.name
                    )),
                );
                state
            }
            None => State::new(plan.seed, schedule, training.precision),
        };
        let log = world::leads().then(|| ScalarLog::resume(&plan.folder, &state.log)).transpose()?;
        if let Some(group) = parallel::group() {
            let start = format!("{} step {} of {steps}", plan.config_hash, state.global_step);
            group.demand_equal("the config, the data and the checkpoint", &start)?;
            group.demand_equal("the initial weights", &parallel::fingerprint(&plan.state)?)?;
        }
        let params: Vec<Tensor> = plan.trainable.iter().map(|(_, parameter)| parameter.shallow_clone()).collect();
        let averaging = Averaging::of(&params, plan.device)?;
        Ok(Self {
            steps,
            optimizer,
            ema,
            state,
            checkpoints,
            log,
            averaging,
            recordings: (training.cuda_graphs && plan.device.is_cuda()).then(Recordings::default),
            stop_agreed: false,
            speed: Speed::default(),
            saved_at: Instant::now(),
        })
    }

    fn epochs(&mut self, plan: &mut Plan, task: &mut dyn Task, batches: Batches) -> Result<()> {
        let training = plan.training;
        let total = training.epochs * self.steps;
        let bar = Bar::new(plan.label.clone(), training.max_steps.map_or(total, |most| most.min(total)));
        bar.start_at(self.state.global_step);
        if self.state.evaluation_pending {
            self.evaluate(plan, task)?;
        } else if self.state.step > 0
            && self.state.history.last().is_some_and(|e| e.global_step == self.state.global_step)
        {
            // Resumed from one of the checkpoints of an evaluation: the others may be missing.
            self.publish(plan, task)?;
        }
        while self.state.finished.is_none() {
            if self.at_limit(training) {
                self.end_at_limit(plan, task)?;
                break;
            }
            if self.state.step < self.steps {
                // One loader an epoch: batches that `max_steps` leaves out are never read.
                let epoch = self.state.epoch;
                let delivery =
                    Delivery { device: plan.device, workers: training.loader.workers, ahead: training.loader.ahead };
                let mut loader = Loader::start(
                    plan.source.clone(),
                    plan.order.clone(),
                    batches,
                    (epoch, self.state.step),
                    (epoch, self.steps),
                    delivery,
                )?;
                let evaluations = training.evaluation_steps(epoch, self.steps);
                let mut begun = Instant::now();
                let mut coming = loader.next_batch()?;
                while let Some(batch) = coming.take() {
                    // Others have no use for a batch that waits in memory.
                    if task.looks_ahead() {
                        coming = loader.next_batch()?;
                        if let Some(next) = &coming {
                            task.ahead(&next.tensors, self.state.global_step + 1)?;
                        }
                    }
                    self.step(plan, task, &batch.tensors)?;
                    let rows = batch.tensors.first().and_then(|t| t.size().first().copied()).unwrap_or(0);
                    let rows = batch_rows(plan, self.state.step - 1, rows as u64);
                    self.speed.add((self.state.global_step, rows), begun.elapsed(), loader.waited(), plan.device);
                    bar.tick(1);
                    bar.message(self.line(plan));
                    let due = match training.evaluate_every_steps {
                        Some(every) => self.state.global_step.is_multiple_of(every),
                        None => evaluations.contains(&(self.state.step as usize)),
                    };
                    if due {
                        self.evaluate(plan, task)?;
                    }
                    self.checkpoint_if_due(plan, task)?;
                    if self.at_limit(training) {
                        break;
                    }
                    begun = Instant::now();
                    if coming.is_none() {
                        coming = loader.next_batch()?;
                    }
                }
                self.speed.end_loader();
            }
            if !self.at_limit(training) {
                self.end_epoch(plan, task)?;
            }
        }
        bar.finish();
        Ok(())
    }

    fn step(&mut self, plan: &mut Plan, task: &mut dyn Task, batch: &[Tensor]) -> Result<()> {
        let training = plan.training;
        self.optimizer.set_learning_rates(self.state.schedule.rates())?;
        let rates = self.optimizer.learning_rates();
        let beta1 = self.state.schedule.beta1();
        beta1.into_iter().for_each(|beta1| self.optimizer.set_beta1(beta1));
        let here = batch.first().and_then(|t| t.size().first().copied()).unwrap_or(0) as u64;
        let whole = batch_rows(plan, self.state.step, here);
        let context = Context {
            training,
            device: plan.device,
            seed: plan.seed,
            global_step: self.state.global_step,
            accumulated: self.state.accumulated,
            whole,
        };
        let changing = Changing {
            task,
            optimizer: &mut self.optimizer,
            scaler: self.state.scaler.as_mut(),
            averaging: self.averaging.as_ref(),
            recordings: self.recordings.as_mut(),
        };
        let done = match step(changing, &context, batch) {
            Err(Error::Interrupted { .. }) => return Err(self.stop(plan, task)?),
            outcome => outcome?,
        };
        self.stop_agreed = done.stop;
        let state = &mut self.state;
        let rows = whole;
        state.accumulated = match (done.waiting, done.keeps) {
            (true, _) => state.accumulated + rows,
            (_, true) => state.accumulated,
            _ => 0,
        };
        let every_batch = training.ema.as_ref().is_some_and(|ema| ema.every_batch);
        if let Some(ema) = &mut self.ema
            && (done.applied || every_batch)
        {
            ema.update(&plan.trainable)?;
        }
        if done.applied || done.waiting {
            state.skipped_in_a_row = 0;
            state.loss.add(done.loss, rows);
            state.smooth.add(done.loss);
            if done.applied {
                state.gradient_norm = done.gradient_norm;
            }
        } else {
            state.skipped += 1;
            state.skipped_in_a_row += 1;
            tracing::warn!(
                "step {}: loss {}, gradient norm {}: left out",
                state.global_step + 1,
                done.loss,
                done.gradient_norm
            );
            if state.skipped_in_a_row >= MOST_SKIPPED {
                return Err(Error::failed(format!(
                    "the last {MOST_SKIPPED} batches gave a loss or gradient that is no finite number"
                ))
                .hint("lower the learning rate, or look for wrong values in the training data"));
            }
        }
        state.schedule.after_step(state.epoch, state.step, self.steps);
        state.step += 1;
        state.global_step += 1;
        self.optimizer.set_learning_rates(self.state.schedule.rates())?;
        let state = &self.state;
        if state.global_step.is_multiple_of(training.print_freq) || state.step == self.steps {
            if let Some(log) = &mut self.log {
                log::step(log, state, done.loss, &rates, task)?;
            }
            tracing::debug!("{}", self.line(plan));
        }
        tell(plan, || Event::Step {
            epoch: state.epoch,
            step: state.step,
            loss: done.loss,
            gradient_norm: done.gradient_norm,
            rates,
            beta1,
            applied: done.applied,
        });
        Ok(())
    }

    fn evaluate(&mut self, plan: &mut Plan, task: &mut dyn Task) -> Result<()> {
        self.state.evaluation_pending = true;
        let rates = self.state.schedule.rates().to_vec();
        let begun = Instant::now();
        // The averaged weights stand in for the trained ones while the task looks at them.
        self.swap_averages(plan)?;
        follow_statistics(plan)?;
        let evaluation = evaluate_for_all(task);
        self.swap_averages(plan)?;
        let evaluation = match evaluation {
            Err(Error::Interrupted { .. }) => return Err(self.stop(plan, task)?),
            outcome => outcome?,
        };
        let state = &mut self.state;
        state.evaluation_pending = false;
        let evaluated = Evaluated {
            epoch: state.epoch,
            step: state.step,
            global_step: state.global_step,
            criterion: evaluation.criterion,
            score: evaluation.score,
            training_loss: state.loss.value(),
            smooth_loss: state.smooth.value(),
            gradient_norm: state.gradient_norm,
            rates,
            metrics: evaluation.metrics,
            detail: evaluation.detail,
        };
        state.history.push(Evaluated { detail: Value::Null, ..evaluated.clone() });
        state.schedule.after_evaluation(evaluation.score);
        let kept = state.best.offer(evaluation.score, plan.training.min_gain);
        if kept {
            state.kept = Some(evaluated.clone());
        }
        self.rank(plan, &evaluated);
        self.optimizer.set_learning_rates(self.state.schedule.rates())?;
        if let Some(log) = &mut self.log {
            log::evaluation(log, &evaluated, task)?;
        }
        tracing::info!(
            "{}: epoch {} step {}: score {:.6} ({}{})  loss {:.4}  lr {}  {}  evaluated in {:.0} s",
            plan.label,
            evaluated.epoch + 1,
            evaluated.step,
            evaluated.shown(),
            evaluated.criterion.name,
            if kept { ", best" } else { "" },
            evaluated.training_loss,
            rates_text(&evaluated.rates),
            self.speed.text(plan.device),
            begun.elapsed().as_secs_f64(),
        );
        self.publish(plan, task)?;
        tell(plan, || Event::Evaluation { evaluated, kept });
        Ok(())
    }

    fn swap_averages(&mut self, plan: &Plan) -> Result<()> {
        self.ema.as_mut().map_or(Ok(()), |ema| ema.swap(&plan.trainable))
    }

    /// Whether the run has done all steps that it may.
    fn at_limit(&self, training: &Training) -> bool {
        training.max_steps.is_some_and(|most| self.state.global_step >= most)
    }

    /// Ends a run at its last step, evaluated.
    fn end_at_limit(&mut self, plan: &mut Plan, task: &mut dyn Task) -> Result<()> {
        if self.state.history.last().is_none_or(|e| e.global_step != self.state.global_step) {
            self.evaluate(plan, task)?;
        }
        let reason = format!("all {} steps done", self.state.global_step);
        tracing::info!("{}: {reason}", plan.label);
        self.state.finished = Some(reason);
        self.save(plan, task, LAST)?;
        Ok(())
    }

    fn end_epoch(&mut self, plan: &mut Plan, task: &mut dyn Task) -> Result<()> {
        let training = plan.training;
        let evaluated = self.state.history.last().is_some_and(|e| e.global_step == self.state.global_step);
        if self.state.epoch + 1 >= training.epochs && !evaluated {
            // Evaluations by steps need not meet the end of the last epoch.
            self.evaluate(plan, task)?;
        }
        let stop = self.state.best.end_epoch(training.early_stop_step);
        self.state.epoch += 1;
        self.state.step = 0;
        self.state.loss = state::Mean::default();
        if self.state.epoch >= training.epochs {
            self.state.finished = Some(format!("all {} epochs done", training.epochs));
        } else if stop {
            self.state.finished = Some(format!("no better {} in epoch {}", criterion(&self.state), self.state.epoch));
        }
        if let Some(reason) = &self.state.finished {
            tracing::info!("{}: {reason}", plan.label);
            self.save(plan, task, LAST)?;
        } else if plan.training.checkpoint.every_steps.is_none() {
            self.checkpoint_if_due(plan, task)?;
        }
        if self.interrupted() && self.state.finished.is_none() {
            return Err(self.stop(plan, task)?);
        }
        Ok(())
    }

    fn checkpoint_if_due(&mut self, plan: &Plan, task: &dyn Task) -> Result<()> {
        if self.interrupted() {
            return Err(self.stop(plan, task)?);
        }
        let rule = &plan.training.checkpoint;
        let by_steps = rule.every_steps.is_some_and(|every| self.state.global_step.is_multiple_of(every));
        let by_time = rule.every_seconds.is_some_and(|every| self.saved_at.elapsed() >= Duration::from_secs(every));
        if by_steps || by_time {
            self.save(plan, task, LAST)?;
        }
        Ok(())
    }

    /// Whether to stop. Several processes stop together: after the step in which one of them was asked.
    fn interrupted(&self) -> bool {
        if self.averaging.is_some() { self.stop_agreed } else { signals::interrupted() }
    }

    /// The progress line.
    fn line(&self, plan: &Plan) -> String {
        let state = &self.state;
        let score = state.history.last().map_or(String::new(), |e| format!("  {} {:.4}", e.criterion.name, e.shown()));
        format!(
            "epoch {}/{} step {}/{}  loss {:.4}{score}  lr {}  {}",
            state.epoch + 1,
            plan.training.epochs,
            state.step,
            self.steps,
            state.loss.value(),
            rates_text(state.schedule.rates()),
            self.speed.text(plan.device),
        )
    }

    fn outcome(self, plan: &Plan) -> Outcome {
        let best = if self.state.kept.is_some() { BEST } else { LAST };
        Outcome {
            best: self.checkpoints.path(best),
            rows_per_s: self.speed.rows_per_s(),
            data_wait: self.speed.data_wait(),
            pace: self.speed.pace.into_samples(),
            rate_factor: plan.training.rate_factor(),
            gpu_peak: if plan.device.is_cuda() {
                shim::cuda_memory(plan.device).ok().map(|memory| memory.allocated_peak as u64)
            } else {
                None
            },
            state: self.state,
        }
    }
}

/// Forgets a best evaluation whose weights are gone: the next one counts as best again, and nobody predicts with
/// weights of another run. The checkpoint of the evaluation that is resumed from is written by [`Run::publish`].
pub(super) fn demand_best(checkpoints: &Checkpoints, state: &mut State, found: &Found, label: &str) {
    let step_of = |name: &str| checkpoint::verify(&checkpoints.path(name)).ok().map(|manifest| manifest.global_step);
    let here = found.manifest.global_step;
    if let Some(kept) = &state.kept
        && kept.global_step != here
        && step_of(BEST) != Some(kept.global_step)
    {
        tracing::warn!(
            "{label}: the best weights so far, of step {} with {} {:.6}, are gone: `{}` does not hold them. The next \
             evaluation counts as best again",
            kept.global_step,
            kept.criterion.name,
            kept.shown(),
            checkpoints.path(BEST).display()
        );
        state.kept = None;
        state.best = Best::default();
    }
    state.top.retain(|top| top.global_step == here || step_of(&top.name) == Some(top.global_step));
}

/// Name of what decides.
fn criterion(state: &State) -> &str {
    state.history.last().map_or("score", |evaluated| &evaluated.criterion.name)
}

fn rates_text(rates: &[f64]) -> String {
    rates.iter().map(|rate| format!("{rate:.1e}")).collect::<Vec<_>>().join(" ")
}

fn tell(plan: &mut Plan, event: impl FnOnce() -> Event) {
    if let Some(observer) = plan.observer.as_mut() {
        observer(event());
    }
}
