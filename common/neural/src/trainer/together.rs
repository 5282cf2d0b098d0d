//! What several processes that train together agree on: rows of a batch, evaluations, the checkpoint to resume from.

use std::path::Path;

use common::{Error, Result, world};
use serde_json::{Value, json};

use super::files::{demand_own, newest};
use super::state::Metric;
use super::{Evaluation, Plan, Resume, Task, adopt, interrupted};
use crate::checkpoint::{self, Checkpoints, Found};
use crate::parallel::{self, Reduce};

/// Rows of the batch of `step` over all processes, of which this one took `here`.
pub(super) fn batch_rows(plan: &Plan, step: u64, here: u64) -> u64 {
    let left = plan.order.len().saturating_sub(step * plan.training.batch_size);
    if parallel::group().is_some() { plan.training.batch_size.min(left) } else { here }
}

/// Every process evaluates its share. Rank 0 joins them and tells the others, who then take the same decisions.
pub(super) fn evaluate_for_all(task: &mut dyn Task) -> Result<Evaluation> {
    let Some(group) = parallel::group() else { return task.evaluate() };
    const DONE: f64 = 0.0;
    const WHOLE: f64 = 1.0;
    const INTERRUPTED: f64 = 2.0;
    let (part, state) = match task.evaluate_share(parallel::shard()) {
        Ok(Some(part)) => (part, DONE),
        Ok(None) => (vec![], WHOLE),
        Err(Error::Interrupted { .. }) => (vec![], INTERRUPTED),
        // The others lose the connection, and this process says why.
        Err(error) => return Err(error),
    };
    let mut agreed = [state];
    group.all_reduce(&mut agreed, Reduce::Max)?;
    if agreed[0] == INTERRUPTED {
        return Err(interrupted());
    }
    let parts = if agreed[0] == DONE { Some(group.gather(&part)?) } else { None };
    let found = world::leads().then(|| match &parts {
        Some(parts) => task.evaluation_of(parts),
        None => task.evaluate(),
    });
    let text = match &found {
        Some(Ok(evaluation)) => spoken(evaluation),
        Some(Err(Error::Interrupted { .. })) => "interrupted".into(),
        Some(Err(error)) => format!("failed: {error}"),
        None => String::new(),
    };
    let told = group.tell(&text)?;
    match found {
        Some(found) => found,
        None if told == "interrupted" => Err(interrupted()),
        None => heard(&told).ok_or(Error::ShareDone),
    }
}

/// Gives the statistics that training moves the values of rank 0, so that all shares of an evaluation use the same.
pub(super) fn follow_statistics(plan: &Plan) -> Result<()> {
    let Some(group) = parallel::group() else { return Ok(()) };
    let moving = plan.state.iter().filter(|(name, _)| name.contains("running_"));
    group.follow(&moving.map(|(_, tensor)| tensor.shallow_clone()).collect::<Vec<_>>())
}

/// An evaluation as text. Numbers travel as their bits: JSON has no NaN.
fn spoken(evaluation: &Evaluation) -> String {
    let metrics: Vec<_> = evaluation.metrics.iter().map(|m| (&m.name, m.value.to_bits())).collect();
    json!({
        "criterion": evaluation.criterion,
        "score": evaluation.score.to_bits(),
        "metrics": metrics,
        "detail": evaluation.detail,
    })
    .to_string()
}

fn heard(text: &str) -> Option<Evaluation> {
    let value: Value = serde_json::from_str(text).ok()?;
    let metric = |m: &Value| Some(Metric { name: m[0].as_str()?.into(), value: f64::from_bits(m[1].as_u64()?) });
    Some(Evaluation {
        criterion: serde_json::from_value(value["criterion"].clone()).ok()?,
        score: f64::from_bits(value["score"].as_u64()?),
        metrics: value["metrics"].as_array()?.iter().map(metric).collect::<Option<_>>()?,
        detail: value["detail"].clone(),
    })
}

/// The checkpoint to resume from, if any.
pub(super) fn find(checkpoints: &Checkpoints, plan: &Plan) -> Result<Option<Found>> {
    let Some(group) = parallel::group() else { return find_here(checkpoints, plan) };
    // Rank 0 chooses; the others take the same folder.
    let found = if world::leads() { Some(find_here(checkpoints, plan)) } else { None };
    let folder = match &found {
        Some(Ok(Some(found))) => found.folder.display().to_string(),
        Some(Err(error)) => format!("failed: {error}"),
        _ => String::new(),
    };
    let told = group.tell(&folder)?;
    match found {
        Some(found) => found,
        None if told.is_empty() => Ok(None),
        // Rank 0 says why.
        None if told.starts_with("failed: ") => Err(Error::ShareDone),
        None => Ok(Some(Found { manifest: checkpoint::verify(Path::new(&told))?, folder: told.into() })),
    }
}

fn find_here(checkpoints: &Checkpoints, plan: &Plan) -> Result<Option<Found>> {
    let found = match &plan.resume {
        Resume::Never => {
            adopt::forget(checkpoints)?;
            checkpoints.clear()?;
            None
        }
        Resume::From(folder) => Some(adopt::adopt(checkpoints, folder, &plan.config_hash)?),
        Resume::Auto => match adopt::unfinished(checkpoints)? {
            Some(folder) => Some(adopt::adopt(checkpoints, &folder, &plan.config_hash)?),
            None => newest(checkpoints)?,
        },
    };
    if let Some(found) = &found {
        demand_own(found, &plan.config_hash, checkpoints)?;
    }
    Ok(found)
}
