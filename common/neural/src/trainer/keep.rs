//! What a run keeps on disk: the last checkpoint, the best one and the top ones.

use std::path::PathBuf;
use std::time::Instant;

use common::{Error, Result, world};
use serde_json::json;

use super::files::{BEST, GRADIENTS, LAST, MODEL, OPTIMIZER, averaged, gradients};
use super::run::Run;
use super::state::{Evaluated, Named};
use super::{Plan, Task};
use crate::checkpoint::Label;
use crate::weights;

impl Run {
    /// Saves the state of an interrupted run and gives the error that ends it.
    pub(super) fn stop(&mut self, plan: &Plan, task: &dyn Task) -> Result<Error> {
        let folder = self.save(plan, task, LAST)?;
        Ok(Error::Interrupted {
            saved: format!(
                "step {} of epoch {} is saved in `{}`; the same command with `--resume auto` continues there",
                self.state.step,
                self.state.epoch + 1,
                folder.display()
            ),
        })
    }

    pub(super) fn save(&mut self, plan: &Plan, task: &dyn Task, name: &str) -> Result<PathBuf> {
        // The log is on disk before the checkpoint that says how long it is.
        let Some(log) = &mut self.log else { return Ok(self.checkpoints.path(name)) };
        self.state.log = log.sync()?;
        let state = &self.state;
        let label = Label {
            global_step: state.global_step,
            config_hash: plan.config_hash.clone(),
            summary: json!({
                "epoch": state.epoch,
                "step": state.step,
                "best": state.kept.as_ref().map(|kept| json!({ kept.criterion.name.as_str(): kept.shown() })),
            }),
        };
        let metadata = task.metadata(state.kept.as_ref());
        let path = self.checkpoints.save(name, label, |folder| {
            let mut files = vec![
                weights::save(folder.join(MODEL), &plan.state, Some(&metadata))?,
                weights::save(folder.join(OPTIMIZER), &self.optimizer.state(), None)?,
                state.write(folder)?,
            ];
            if state.accumulated > 0 {
                files.push(weights::save(folder.join(GRADIENTS), &gradients(plan), None)?);
            }
            if let Some(ema) = &self.ema {
                files.push(averaged(folder, ema, plan, &metadata)?);
            }
            Ok(files)
        })?;
        if name == LAST {
            self.saved_at = Instant::now();
        }
        Ok(path)
    }

    /// Puts an evaluation among the best ones, if it is one.
    pub(super) fn rank(&mut self, plan: &Plan, evaluated: &Evaluated) {
        let keep = plan.training.checkpoint.top_k;
        if keep == 0 || evaluated.score.is_nan() {
            return;
        }
        let figure = evaluated.criterion.name.replace('/', "_");
        let (epoch, step, shown) = (evaluated.epoch + 1, evaluated.step, evaluated.shown());
        let name = format!("epoch{epoch:03}-step{step:07}-score_{figure}_{shown:.6}");
        let top = &mut self.state.top;
        let place = top.partition_point(|named| named.score <= evaluated.score);
        top.insert(place, Named { name, score: evaluated.score, global_step: evaluated.global_step });
        top.truncate(keep);
    }

    /// Writes the checkpoints that the evaluation of this step earned, and removes those that it pushed out. It follows
    /// from the state alone and may be repeated: a run that was killed in it does it again when it resumes.
    pub(super) fn publish(&mut self, plan: &Plan, task: &dyn Task) -> Result<()> {
        if !world::leads() {
            return Ok(());
        }
        let now = self.state.global_step;
        let earned = self.state.top.iter().filter(|named| named.global_step == now).map(|named| named.name.clone());
        for name in earned.collect::<Vec<_>>() {
            self.save(plan, task, &name)?;
        }
        if self.state.kept.as_ref().is_some_and(|kept| kept.global_step == now) {
            self.save(plan, task, BEST)?;
        }
        for name in self.checkpoints.names()? {
            if name.starts_with("epoch") && self.state.top.iter().all(|named| named.name != name) {
                self.checkpoints.discard(&name)?;
            }
        }
        Ok(())
    }
}
