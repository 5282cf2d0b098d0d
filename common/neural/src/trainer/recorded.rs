//! Steps of fixed shape on a GPU, recorded as CUDA graphs (`training.cuda_graphs`).
//!
//! A network of many small operations keeps a GPU waiting for their launches. Forward and backward of a batch of one shape
//! are the same operations on the same memory every time, so they are recorded once and launched as a whole. Clipping
//! and the optimizer stay outside: their numbers change.

use common::Result;
use tch::{Device, Kind, Tensor};

use super::Term;
use crate::errors::Doing;
use crate::shim::{self, Graph};

/// Steps of a shape before it is recorded, in which libraries choose and set up what they need.
const WARM_UP: u32 = 3;
/// Recordings at most: each keeps memory of its own. Other shapes run operation by operation.
const MOST: usize = 4;

/// What tells batches apart for which the same operations run.
type Shape = Vec<(Vec<i64>, Kind)>;

/// The recordings of a run.
#[derive(Default)]
pub(super) struct Recordings {
    seen: Vec<Seen>,
}

struct Seen {
    shape: Shape,
    steps: u32,
    recording: Option<Recording>,
}

struct Recording {
    graph: Graph,
    /// Where the graph reads the batch.
    batch: Vec<Tensor>,
    /// Where it leaves the terms of the loss.
    terms: Vec<Term>,
    /// Where it leaves the gradients.
    grads: Vec<(Tensor, Tensor)>,
}

/// What is done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Operation by operation.
    Plain,
    /// Recorded, then launched.
    Record(usize),
    /// Launched.
    Launch(usize),
}

impl Recordings {
    /// Forward and backward of `batch` from a recording, if there is one by now; else the caller does it itself. `params`
    /// have no gradients yet; afterwards they have those of the batch.
    pub fn run(
        &mut self,
        device: Device,
        batch: &[Tensor],
        params: &[(String, Tensor)],
        work: impl FnOnce(&[Tensor]) -> Result<Vec<Term>>,
    ) -> Result<Option<Vec<Term>>> {
        let i = match self.way(batch) {
            Way::Plain => return Ok(None),
            Way::Launch(i) => i,
            Way::Record(i) => {
                self.seen[i].recording = Some(Recording::of(device, batch, params, work)?);
                i
            }
        };
        self.seen[i].recording.as_ref().map(|recording| recording.launch(batch)).transpose()
    }

    fn way(&mut self, batch: &[Tensor]) -> Way {
        let shape: Shape = batch.iter().map(|t| (t.size(), t.kind())).collect();
        let Some(i) = self.seen.iter().position(|seen| seen.shape == shape) else {
            if self.seen.len() < MOST {
                self.seen.push(Seen { shape, steps: 1, recording: None });
            }
            return Way::Plain;
        };
        let seen = &mut self.seen[i];
        seen.steps = seen.steps.saturating_add(1);
        match seen.recording {
            Some(_) => Way::Launch(i),
            None if seen.steps > WARM_UP => Way::Record(i),
            None => Way::Plain,
        }
    }
}

impl Recording {
    fn of(
        device: Device,
        batch: &[Tensor],
        params: &[(String, Tensor)],
        work: impl FnOnce(&[Tensor]) -> Result<Vec<Term>>,
    ) -> Result<Self> {
        // A batch that comes next lies elsewhere: it is copied to where this one lies now.
        let kept = batch.iter().map(Tensor::f_detach_copy).collect::<Result<Vec<_>, _>>().doing("keeping a batch")?;
        let (graph, terms) = Graph::record(device, || {
            let terms = work(&kept)?;
            Term::sum(&terms)?.f_backward().doing("computing gradients")?;
            // The numbers alone: what led to them is not run backward again.
            Ok(terms.into_iter().map(|term| Term { mean: term.mean.detach(), count: term.count }).collect())
        })
        .map_err(|error| error.hint("`training.cuda_graphs=false` runs steps operation by operation"))?;
        let grads = params.iter().map(|(_, param)| (param.shallow_clone(), param.grad()));
        let grads = grads.filter(|(_, grad)| grad.defined()).collect();
        tracing::debug!("recorded the step of batches of {:?}", kept.iter().map(Tensor::size).collect::<Vec<_>>());
        Ok(Self { graph, batch: kept, terms, grads })
    }

    fn launch(&self, batch: &[Tensor]) -> Result<Vec<Term>> {
        for (place, values) in self.batch.iter().zip(batch) {
            place.shallow_clone().f_copy_(values).doing("copying a batch to the recorded step")?;
        }
        self.graph.launch()?;
        let (params, grads): (Vec<_>, Vec<_>) = self.grads.iter().map(|(param, grad)| (param, grad)).unzip();
        shim::set_grads(&params, &grads)?;
        Ok(self.terms.iter().map(|term| Term { mean: term.mean.shallow_clone(), count: term.count }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_come_again_are_recorded_after_a_warm_up_and_only_a_few_of_them() {
        let mut recordings = Recordings::default();
        let batch = |rows: i64| [Tensor::zeros([rows, 3], (Kind::Float, Device::Cpu))];
        for _ in 0..WARM_UP {
            assert_eq!(recordings.way(&batch(8)), Way::Plain);
        }
        assert_eq!(recordings.way(&batch(8)), Way::Record(0));
        // The last batch of an epoch comes once in a while.
        assert_eq!(recordings.way(&batch(5)), Way::Plain);
        assert_eq!(recordings.way(&batch(8)), Way::Record(0));
        let other_kind = [Tensor::zeros([8, 3], (Kind::Double, Device::Cpu))];
        assert_eq!(recordings.way(&other_kind), Way::Plain);
        for rows in 10..100 {
            assert_eq!(recordings.way(&batch(rows)), Way::Plain);
        }
        assert_eq!(recordings.seen.len(), MOST);
    }

    #[test]
    fn without_a_gpu_nothing_is_recorded() {
        assert!(Graph::record(Device::Cpu, || Ok(())).is_err());
    }

    #[test]
    fn gradients_are_those_that_were_set() {
        let param = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let grad = Tensor::from_slice(&[1_f32, 2.0, 3.0]);
        shim::set_grads(&[&param], &[&grad]).unwrap();
        assert_eq!(param.grad().data_ptr(), grad.data_ptr());
    }
}
