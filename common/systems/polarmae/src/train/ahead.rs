//! The next batch, prepared by the CPU while a GPU trains the one at hand.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use common::{Error, Result};

use super::setup::Labels;
use crate::batch::{Draw, Prepared, prepare};
use crate::dataset::{EventView, Events, Target};
use crate::grouping::GroupingConfig;
use crate::transforms::Transform;

/// An event and the semantic types of its points.
type Labelled = (Prepared, Vec<i64>);

/// The events of the step at hand and of the one after it.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    steps: Vec<Step>,
}

/// Events of one step, by their numbers: on their way, then there until they are taken.
#[derive(Debug)]
struct Step {
    number: u64,
    coming: Option<JoinHandle<Result<HashMap<u64, Labelled>>>>,
    here: HashMap<u64, Labelled>,
}

impl Ahead {
    /// Begins with the events of a step.
    pub fn begin(
        &mut self,
        (set, target): (Arc<Events>, Target),
        transforms: Vec<Transform>,
        grouping: GroupingConfig,
        (seed, step, events): (u64, u64, Vec<u64>),
    ) -> Result<()> {
        let work = move || {
            let views = events.iter().map(|&i| set.get(i)).collect::<Result<Vec<EventView>>>()?;
            let labels: Labels = views.iter().map(|view| view.labels_of(target)).collect();
            let points = views.iter().map(|view| set.rows(view)).collect();
            let prepared = prepare(points, &transforms, &grouping, Draw { seed, step, events: &events })?;
            Ok(events.into_iter().zip(prepared.into_iter().zip(labels)).collect())
        };
        let thread = thread::Builder::new().name("groups".into()).spawn(work);
        let thread = thread.map_err(|e| Error::failed(format!("starting a thread that groups points: {e}")))?;
        // What nobody took of older steps is not asked for any more.
        self.steps.retain(|earlier| earlier.number + 1 == step);
        self.steps.push(Step { number: step, coming: Some(thread), here: HashMap::new() });
        Ok(())
    }

    /// Events of a step, if they were begun with; a batch may come in pieces.
    pub fn take(&mut self, step: u64, events: &[u64]) -> Result<Option<(Vec<Prepared>, Labels)>> {
        let Some(found) = self.steps.iter_mut().find(|found| found.number == step) else { return Ok(None) };
        if let Some(thread) = found.coming.take() {
            found.here = thread.join().map_err(|_| Error::failed("the thread that groups points panicked"))??;
        }
        if !events.iter().all(|event| found.here.contains_key(event)) {
            return Ok(None);
        }
        let taken = events.iter().filter_map(|event| found.here.remove(event));
        Ok(Some(taken.unzip()))
    }
}
