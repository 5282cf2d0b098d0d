//! Training one network on all 368 targets: the task that the trainer runs, the out-of-fold predictions of the best
//! evaluation, and what its checkpoints say about themselves.

pub mod confidence;
pub mod config;
pub mod evaluate;
mod npy;
mod rows;
mod run;
mod task;

use std::collections::BTreeSet;
use std::path::Path;

use common::criterion::Criterion;
use common::{Error, Result};
use neural::layers::Network;
use neural::loader::Shard;
use neural::trainer::{Evaluated, Evaluation, Metric, Place, Task, Term, evaluate_alone};
use serde_json::{Value, json};
use tch::Tensor;

use crate::augment::{self, Augmentation};
use crate::columns::{GROUP_NAMES, TARGETS};
use crate::layout::expand;
use crate::losses;
use crate::score::Score;
pub use config::{InitialConfig, LossConfig, RowsConfig, TrainConfig};
use evaluate::{Evaluator, predict, training_loss, validation_loss};
pub use neural::trainer::Options;
pub use npy::write_npy;
pub use run::{Arrays, Built, OOF, Trained, about, build, evaluator, fit, inputs_of, train};
pub use task::Train;

/// What is minimised, and what decides which weights are kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Objective {
    /// All targets; minus the mean R2.
    All(LossConfig),
    /// One group of targets, for fine-tuning; minus its mean R2.
    Group(usize),
}

/// One network in training.
pub struct LeapTask {
    /// The network; its parameters are the trainer's.
    pub network: Box<dyn Network>,
    /// What is minimised.
    pub objective: Objective,
    /// The validation rows.
    pub evaluator: Evaluator,
    /// What checkpoints say: see [`about`].
    pub about: Value,
    /// Changes of the training rows, and the seed that they are drawn from.
    pub augmentation: Option<(Augmentation, u64)>,
}

impl LeapTask {
    /// A network in training, without augmentation.
    pub fn new(network: Box<dyn Network>, objective: Objective, evaluator: Evaluator, about: Value) -> Self {
        Self { network, objective, evaluator, about, augmentation: None }
    }

    /// Network input and targets of a batch, augmented where that is wanted.
    fn prepared(&self, batch: &[Tensor], place: Place) -> (Tensor, Tensor) {
        let (x, y) = (expand(&batch[0]), batch[1].shallow_clone());
        let Some((augmentation, seed)) = &self.augmentation else { return (x, y) };
        let changes = augmentation.draw(*seed, place.step, place.first, x.size()[0] as usize);
        augment::apply(&changes, &x, &y)
    }
}

impl Task for LeapTask {
    fn loss(&mut self, batch: &[Tensor], step: u64) -> Result<Tensor> {
        Term::sum(&self.terms(batch, Place::of(step))?)
    }

    fn terms(&mut self, batch: &[Tensor], place: Place) -> Result<Vec<Term>> {
        let (x, target) = self.prepared(batch, place);
        let predicted = self.network.forward(&x, true);
        let mean = match &self.objective {
            Objective::All(config) => training_loss(config, &predicted, &target),
            Objective::Group(g) => losses::of_group(&predicted, &target, *g),
        };
        Ok(vec![Term { mean, count: target.size()[0] as f64 }])
    }

    /// Augmentation draws on the host.
    fn steps_alike(&self) -> bool {
        self.augmentation.is_none()
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        evaluate_alone(self)
    }

    fn evaluate_share(&mut self, share: Shard) -> Result<Option<Vec<f64>>> {
        let network = self.network.as_ref();
        let sums = self.evaluator.sums(
            share,
            |rows| Ok(predict(network, rows)),
            |predicted, target| match &self.objective {
                Objective::All(config) => validation_loss(config, predicted, target),
                Objective::Group(g) => losses::of_group(predicted, target, *g),
            },
            losses::absolute,
        )?;
        Ok(Some(sums))
    }

    fn evaluation_of(&mut self, parts: &[Vec<f64>]) -> Result<Evaluation> {
        let found = self.evaluator.found(parts)?;
        let (judged, r2) = match self.objective {
            Objective::All(_) => ("r2".to_string(), found.score.mean()),
            Objective::Group(g) => (format!("r2/{}", GROUP_NAMES[g]), found.score.group(g)),
        };
        // In the fine-tuning of a group no zero list is kept, as published.
        let zero_list =
            if matches!(self.objective, Objective::All(_)) { found.score.zero_list.clone() } else { vec![] };
        let mut metrics = vec![metric("loss", found.loss)];
        metrics.extend(group_metrics(&found.score));
        metrics.extend(found.confidence.map(|correlation| metric("confidence", correlation)));
        Ok(Evaluation::by(Criterion::higher(judged), r2, metrics, json!({ "zero_list": zero_list })))
    }

    fn metadata(&self, best: Option<&Evaluated>) -> Value {
        let mut about = self.about.clone();
        about["zero_list"] = best.map_or(json!([]), |best| best.detail["zero_list"].clone());
        if let Some(best) = best {
            about["score"] = json!(best.shown());
        }
        about
    }
}

/// R2 of all targets and of each group.
fn group_metrics(score: &Score) -> Vec<Metric> {
    let groups = GROUP_NAMES.iter().zip(score.groups()).map(|(name, r2)| metric(&format!("r2/{name}"), r2));
    std::iter::once(metric("r2", score.mean())).chain(groups).collect()
}

fn metric(name: &str, value: f64) -> Metric {
    Metric { name: name.into(), value }
}

/// Positions of the zero list of an evaluation of this process.
pub fn zero_list(of: &Value) -> Vec<usize> {
    let list = of["zero_list"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_u64).map(|c| c as usize).collect()
}

/// Positions of the zero list that the JSON of a checkpoint or weights file holds; none where it has no such entry.
///
/// # Errors
/// [`Error::Input`] under the name of `file` for anything but columns below 368, each once: a list that cannot be read
/// is not an empty one.
pub fn zero_list_of_file(of: &Value, file: &Path) -> Result<Vec<usize>> {
    let entry = match &of["zero_list"] {
        Value::Null => return Ok(vec![]),
        entry => entry,
    };
    let column = |value: &Value| value.as_u64().and_then(|c| usize::try_from(c).ok()).filter(|c| *c < TARGETS);
    let list: Option<Vec<usize>> = entry.as_array().and_then(|list| list.iter().map(column).collect());
    let each_once = |list: &Vec<usize>| list.iter().collect::<BTreeSet<_>>().len() == list.len();
    list.filter(each_once).ok_or_else(|| {
        let problem =
            format!("`zero_list` is {entry}, expected a list of columns from 0 to {}, each once", TARGETS - 1);
        Error::input(file, problem)
            .hint("convert or train the weights again, or predict without the list: `--zero-list ignore`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_zero_list_is_no_empty_one() {
        let read = |list: Value| zero_list_of_file(&json!({ "zero_list": list }), Path::new("x.safetensors"));
        assert_eq!(read(json!([3, 7])).unwrap(), [3, 7]);
        assert_eq!(read(json!([])).unwrap(), [0; 0]);
        assert_eq!(zero_list_of_file(&json!({}), Path::new("x")).unwrap(), [0; 0]);
        let malformed = [json!("3,7"), json!([3.5]), json!(["3"]), json!([-1]), json!([368]), json!([3, 3]), json!({})];
        for list in malformed {
            let text = read(list.clone()).unwrap_err().to_string();
            assert!(text.contains("x.safetensors") && text.contains("zero_list"), "{list}: {text}");
        }
    }
}
