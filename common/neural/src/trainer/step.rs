//! One optimizer step.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use common::seed::seed_for;
use common::{Error, Result, exhausted, world};
use tch::{Device, Kind, Tensor};

use super::config::{NonFinite, Training};
use super::recorded::Recordings;
use super::{Place, Task, Term, interrupted};
use crate::clip::clip_grad_norm;
use crate::errors::{Doing, from_text};
use crate::optim::Optimizer;
use crate::parallel::{self, Averaging, Reduce};
use crate::precision::{GradScaler, with_autocast};
use crate::shim::{self, manual_seed};

/// What a step did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub loss: f64,
    pub gradient_norm: f64,
    /// Whether the weights were updated.
    pub applied: bool,
    /// Whether the gradients wait for more rows.
    pub waiting: bool,
    /// Whether the gradients of earlier batches still wait, though this batch was left out.
    pub keeps: bool,
    /// Whether any process of the group was asked to stop.
    pub stop: bool,
}

/// What a step needs besides weights and rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub training: &'a Training,
    pub device: Device,
    pub seed: u64,
    pub global_step: u64,
    /// Rows whose gradients are summed already.
    pub accumulated: u64,
    /// Rows of the batch over all processes.
    pub whole: u64,
}

/// What changes in a step beside the weights.
pub(super) struct Changing<'a> {
    pub task: &'a mut dyn Task,
    pub optimizer: &'a mut Optimizer,
    /// Keeps gradients of f16 in range; nothing else needs one.
    pub scaler: Option<&'a mut GradScaler>,
    /// Averages gradients where several processes train together.
    pub averaging: Option<&'a Averaging>,
    /// Forward and backward recorded on a GPU, where that is asked for.
    pub recordings: Option<&'a mut Recordings>,
}

/// Forward, backward, clip, check, update. On an error or interruption the weights are those before the step.
pub(super) fn step(mut changing: Changing, context: &Context, batch: &[Tensor]) -> Result<Done> {
    let rows = batch.first().and_then(|t| t.size().first().copied()).unwrap_or(0);
    let pieces = context.training.accumulation;
    let mut remedies = context.training.less_memory();
    remedies.splice(1..1, changing.task.less_memory());
    exhausted::working_on(
        format!(
            "training step {}: a batch of {rows} rows in {pieces} piece(s), {:?}",
            context.global_step + 1,
            context.training.precision
        ),
        remedies,
    );
    // Model code uses the panicking calls where only memory can fail; here such a panic becomes an error.
    let attempt = AssertUnwindSafe(|| attempt(&mut changing, context, batch, rows));
    catch_unwind(attempt).unwrap_or_else(|panic| match panic_text(panic.as_ref()) {
        Some(text) => match from_text("training", &text) {
            Error::Failed { .. } => resume_unwind(panic),
            device => Err(device),
        },
        None => resume_unwind(panic),
    })
}

fn attempt(changing: &mut Changing, context: &Context, batch: &[Tensor], rows: i64) -> Result<Done> {
    let Changing { task, optimizer, scaler, averaging, recordings } = changing;
    let Context { training, device, seed, global_step, accumulated, whole } = *context;
    // Dropout draws from the library's generator: seeded anew for each step, so a resumed run draws the same.
    // Each process draws for its own rows.
    let stream = if world::leads() { "dropout".to_string() } else { format!("dropout/{}", world::rank()) };
    manual_seed(device, seed_for(seed, &stream, global_step))?;
    if accumulated == 0 {
        optimizer.zero_grad()?;
    }
    // Gradients of batches are summed in place. A batch that turns out to be bad is left out alone: the sum of those
    // before it is kept aside until its gradients are known to be finite.
    let summing = training.accumulate_rows.is_some();
    let before = if accumulated > 0 { Some(Waiting::of(&optimizer.params())?) } else { None };
    // A batch counts with its share of the rows that make an update.
    let share = training.accumulate_rows.map_or(1.0, |limit| whole as f64 / limit as f64);
    let complete = training.accumulate_rows.is_none_or(|limit| accumulated + whole >= limit);
    let shard = parallel::shard();
    let first = whole * shard.rank / shard.world;
    // Processes agree on every piece, so all cut as many as the smallest share has rows for.
    let pieces = training.accumulation.min(whole / shard.world).max(1) as i64;
    let (mut loss, mut stop) = (0.0, false);
    for piece in 0..pieces {
        if piece > 0 && averaging.is_none() && common::cli::signals::interrupted() {
            return Err(interrupted());
        }
        let (from, to) = (rows * piece / pieces, rows * (piece + 1) / pieces);
        let place = Place { step: global_step, first: first + from as u64 };
        let mut terms_of = |batch: &[Tensor]| {
            with_autocast(training.precision, device, || {
                parallel::with_statistics(training.sync_batch_norm, || {
                    if pieces == 1 {
                        return task.terms(batch, place);
                    }
                    let cut = batch.iter().map(|t| t.narrow(0, from, to - from)).collect::<Vec<_>>();
                    task.terms(&cut, place)
                })
            })
        };
        if let Some(recordings) = recordings
            && let Some(terms) = recordings.run(device, batch, &optimizer.params(), &mut terms_of)?
        {
            loss += weigh(&terms, rows as u64, whole, pieces)?.value;
            break;
        }
        let terms = terms_of(batch)?;
        let weighed = weigh(&terms, (to - from) as u64, whole, pieces)?;
        loss += weighed.value;
        stop |= weighed.stop;
        // A loss that is not finite is not worth a backward pass; all processes found the same.
        if !loss.is_finite() {
            break;
        }
        let part = if share == 1.0 { weighed.loss } else { weighed.loss * share };
        let part = match scaler {
            Some(scaler) => scaler.scale(&part)?,
            None => part,
        };
        if let Some(averaging) = averaging
            && complete
            && piece + 1 == pieces
        {
            averaging.prepare(&part)?;
        }
        part.f_backward().doing("computing gradients")?;
    }
    let params = optimizer.params();
    if summing {
        let overflow = loss.is_finite() && !finite_for_all(&params)?;
        if overflow || !loss.is_finite() {
            let factor = scaler.as_mut().map_or(1.0, |scaler| scaler.leave_out(overflow));
            if training.non_finite == NonFinite::Stop && !(overflow && scaler.is_some()) {
                let what = if overflow { "gradient is no finite number".into() } else { format!("loss is {loss}") };
                return Err(stopped(global_step, &what));
            }
            if let Some(before) = &before {
                before.restore(&params, factor)?;
            }
            let keeps = before.is_some();
            return Ok(Done { loss, gradient_norm: f64::NAN, applied: false, waiting: false, keeps, stop });
        }
    }
    if loss.is_finite() && !complete {
        return Ok(Done { loss, gradient_norm: f64::NAN, applied: false, waiting: true, keeps: false, stop });
    }
    let in_range = match scaler {
        Some(scaler) if loss.is_finite() => scaler.unscale(&params)?,
        _ => true,
    };
    let gradient_norm = if loss.is_finite() && in_range {
        clip_grad_norm(&params, training.max_grad_norm.unwrap_or(f64::INFINITY))?
    } else {
        f64::NAN
    };
    if let Some(scaler) = scaler {
        scaler.update();
    }
    let applied = loss.is_finite() && gradient_norm.is_finite();
    if applied {
        optimizer.step()?;
    } else if training.non_finite == NonFinite::Stop && in_range {
        // An overflow of f16 is no fault of the data: the scaler has lowered its factor, and the batch is left out.
        let what =
            if loss.is_finite() { format!("gradient norm is {gradient_norm}") } else { format!("loss is {loss}") };
        return Err(stopped(global_step, &what));
    }
    Ok(Done { loss, gradient_norm, applied, waiting: false, keeps: false, stop })
}

fn stopped(global_step: u64, what: &str) -> Error {
    Error::failed(format!("step {}: the {what}; the weights were not updated", global_step + 1)).hint(
        "lower the learning rate, clip gradients (`training.max_grad_norm=1`), or leave such batches out: `training.non_finite=skip`",
    )
}

/// Whether all gradients are finite numbers, in all processes.
fn finite_for_all(params: &[(String, Tensor)]) -> Result<bool> {
    let grads: Vec<Tensor> = params.iter().map(|(_, p)| p.grad()).filter(Tensor::defined).collect();
    let mut bad = 0.0;
    if let Some(first) = grads.first() {
        let doing = || "looking at the gradients";
        let found = Tensor::f_zeros([1], (Kind::Float, first.device())).doing(doing())?;
        let one = Tensor::f_ones([1], (Kind::Float, first.device())).doing(doing())?;
        // A product with one changes no bit.
        shim::unscale(&grads.iter().collect::<Vec<_>>(), &found, &one)?;
        bad = found.f_double_value(&[0]).doing(doing())?;
    }
    if let Some(group) = parallel::group() {
        let mut agreed = [bad];
        group.all_reduce(&mut agreed, Reduce::Max)?;
        bad = agreed[0];
    }
    Ok(bad == 0.0)
}

/// Gradients of earlier batches, by the place of their parameter.
struct Waiting(Vec<Option<Tensor>>);

impl Waiting {
    fn of(params: &[(String, Tensor)]) -> Result<Self> {
        let copy = |p: &Tensor| -> Result<Option<Tensor>, tch::TchError> {
            let grad = p.grad();
            if !grad.defined() {
                return Ok(None);
            }
            let mut kept = grad.f_zeros_like()?;
            kept.f_copy_(&grad)?;
            Ok(Some(kept))
        };
        Ok(Self(params.iter().map(|(_, p)| copy(p)).collect::<Result<_, _>>().doing("keeping gradients")?))
    }

    /// Puts them back, times `factor`.
    fn restore(&self, params: &[(String, Tensor)], factor: f64) -> Result<()> {
        for ((_, parameter), kept) in params.iter().zip(&self.0) {
            let mut grad = parameter.grad();
            if !grad.defined() {
                continue;
            }
            match kept {
                Some(kept) => {
                    let scaled = kept.f_mul_scalar(factor).doing("restoring gradients")?;
                    grad.f_copy_(&scaled).doing("restoring gradients")?;
                }
                None => drop(grad.f_zero_().doing("restoring gradients")?),
            }
        }
        Ok(())
    }
}

/// The loss of a piece of the batch.
struct Weighed {
    /// What backward is called on. The mean of its gradients over the processes is the gradient of `value`.
    loss: Tensor,
    /// Its part of the loss of the batch over all processes.
    value: f64,
    /// Whether any process of the group was asked to stop.
    stop: bool,
}

/// Weighs the terms of a piece of `rows` rows of a batch that has `whole` over all processes: each term is a mean over
/// what all processes hold of it, and pieces count by their rows.
fn weigh(terms: &[Term], rows: u64, whole: u64, pieces: i64) -> Result<Weighed> {
    let Some(group) = parallel::group() else {
        let loss = Term::sum(terms)?;
        let loss = if pieces == 1 { loss } else { loss * (rows as f64 / whole as f64) };
        return Ok(Weighed { value: loss.f_double_value(&[]).doing("reading the loss")?, loss, stop: false });
    };
    let mut numbers = vec![rows as f64, f64::from(u8::from(common::cli::signals::interrupted()))];
    for term in terms {
        let value = term.mean.f_double_value(&[]).doing("reading the loss")?;
        numbers.extend([term.count, if term.count == 0.0 { 0.0 } else { value * term.count }]);
    }
    group.all_reduce(&mut numbers, Reduce::Sum)?;
    let piece = if pieces == 1 { 1.0 } else { numbers[0] / whole as f64 };
    let (mut loss, mut value) = (None, 0.0);
    for (term, total) in terms.iter().zip(numbers[2..].chunks_exact(2)) {
        let (count, sum) = (total[0].max(f64::MIN_POSITIVE), total[1]);
        value += sum / count * piece;
        // The group takes the plain mean of its gradients.
        let part = &term.mean * (term.count / count * group.size() as f64 * piece);
        loss = Some(loss.map_or_else(|| part.shallow_clone(), |sum: Tensor| sum + &part));
    }
    let loss = loss.ok_or_else(|| Error::failed("a loss without terms"))?;
    Ok(Weighed { loss, value, stop: numbers[1] > 0.0 })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> Option<String> {
    panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
}
