//! The probe that pretraining is judged by: linear support vector machines on token embeddings.
//!
//! Source: the validation callback of the published trainer; see [`crate::svm`] for its objective.

pub mod points;

use common::cli::signals;
use common::config::Problems;
use common::{Error, Result};
use neural::trainer::interrupted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::batch::{Batch, Draw};
use crate::dataset::Events;
use crate::grouping::GroupingConfig;
use crate::models::encoder::Encoder;
use crate::models::segmentation::{CLASS_NAMES, spread};
use crate::svm::{Components, Judged, Machines};
use crate::transforms::Transform;

/// How tokens are gathered and judged. Left-out values are the published ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeConfig {
    /// Tokens of each set at most.
    pub max_tokens: usize,
    /// Events that are embedded together: with the published norm their embeddings depend on one another.
    pub batch_size: usize,
    /// Principal components; fewer where the encoder is narrower.
    pub components: usize,
    /// Penalty of the machines, > 0.
    pub c: f64,
    /// Classes, 2 to 5.
    pub classes: usize,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { max_tokens: 15_000, batch_size: 4, components: 128, c: 0.005, classes: 4 }
    }
}

impl ProbeConfig {
    /// Reports values that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        for (name, value, least) in
            [("max_tokens", self.max_tokens, 2), ("batch_size", self.batch_size, 1), ("components", self.components, 1)]
        {
            problems
                .demand(value >= least, &format!("{key}.{name}"), || format!("is {value}, expected at least {least}"));
        }
        problems
            .demand(self.c > 0.0 && self.c.is_finite(), &format!("{key}.c"), || format!("is {}, expected > 0", self.c));
        problems
            .demand((2..=5).contains(&self.classes), &format!("{key}.classes"), || "expected 2 to 5 classes".into());
    }
}

/// Embeddings of tokens, and the classes among their points.
#[derive(Debug)]
pub struct Features {
    /// `[n, C]`.
    pub embeddings: Tensor,
    /// `[n, classes]`, 0 or 1.
    pub classes: Tensor,
}

/// What embeds the tokens of a batch.
pub struct Embedding<'a> {
    /// The encoder.
    pub encoder: &'a Encoder,
    /// Its tokenizer.
    pub grouping: &'a GroupingConfig,
    /// What happens to points before.
    pub transforms: &'a [Transform],
    /// Where it runs.
    pub device: Device,
}

/// An event's embeddings.
#[derive(Debug)]
pub struct Embedded {
    /// The event, grouped.
    pub batch: Batch,
    /// Of its tokens, `[T, C]`.
    pub tokens: Tensor,
    /// Of its points, `[P, C]`: the tokens around each, weighted by how near they are.
    pub points: Tensor,
}

impl Embedding<'_> {
    /// Embeds the tokens and points of one event, by the rows of its points.
    pub fn points(&self, rows: Vec<f32>, number: u64) -> Result<Embedded> {
        let draw = Draw { seed: 0, step: 0, events: &[number] };
        let batch = Batch::new(vec![rows], self.transforms, self.grouping, draw, self.device)?;
        let places = batch.point_batch(false, self.device);
        let tokens = tch::no_grad(|| self.encoder.forward(&batch.grouped, false))?.to_kind(Kind::Float);
        let points = tch::no_grad(|| spread(&tokens, &places));
        let here = |tensor: Tensor| tensor.to_device(Device::Cpu);
        Ok(Embedded { batch, tokens: here(tokens), points: here(points) })
    }

    /// Embeds the tokens of events, none hidden.
    pub fn embed(
        &self,
        points: Vec<Vec<f32>>,
        labels: &[Vec<i64>],
        classes: usize,
        draw: Draw<'_>,
    ) -> Result<Features> {
        let batch = Batch::new(points, self.transforms, self.grouping, draw, self.device)?;
        let embeddings = tch::no_grad(|| self.encoder.forward(&batch.grouped, false))?;
        let classes = batch.token_classes(labels, classes);
        Ok(Features { embeddings: embeddings.to_device(Device::Cpu).to_kind(Kind::Float), classes })
    }

    /// Embeds the first events of a set until there are enough tokens; with `whole`, an incomplete batch at the end is
    /// left out, as the published training loader does.
    pub fn gather(&self, events: &Events, most: u64, config: &ProbeConfig, whole: bool) -> Result<Features> {
        let size = config.batch_size as u64;
        let batches = if whole { most.min(events.len()) / size } else { most.min(events.len()).div_ceil(size) };
        // As published: the batch with this number is the last one, whatever it brought.
        let last = (config.max_tokens / (self.grouping.slots * config.batch_size)) as u64;
        let mut parts = vec![];
        for number in 0..batches.min(last + 1) {
            if signals::interrupted() {
                return Err(interrupted());
            }
            let range: Vec<u64> = (number * size..((number + 1) * size).min(events.len()).min(most)).collect();
            let views = range.iter().map(|&i| events.get(i)).collect::<Result<Vec<_>>>()?;
            let labels: Vec<Vec<i64>> = views.iter().map(|v| v.labels()).collect();
            parts.push(self.embed(
                views.iter().map(|v| events.rows(v)).collect(),
                &labels,
                config.classes,
                Draw { seed: 0, step: number, events: &range },
            )?);
        }
        join(&parts, config.max_tokens)
    }
}

/// The first `most` tokens of several batches.
pub fn join(parts: &[Features], most: usize) -> Result<Features> {
    if parts.is_empty() {
        return Err(Error::failed("the probe has no batch of events").hint("lower `svm.batch_size`"));
    }
    let cut = |pick: fn(&Features) -> &Tensor| {
        let all = Tensor::cat(&parts.iter().map(pick).collect::<Vec<_>>(), 0);
        all.narrow(0, 0, all.size()[0].min(most as i64))
    };
    Ok(Features { embeddings: cut(|f| &f.embeddings), classes: cut(|f| &f.classes) })
}

/// Scores of the machines.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// On the tokens they were fitted on.
    pub train: Judged,
    /// On the validation tokens: the published figures.
    pub valid: Judged,
}

impl Probed {
    /// Named figures: the mean F1, and each class.
    pub fn figures(&self) -> Vec<(String, f64)> {
        let mut figures = vec![("svm_f1".to_string(), self.valid.mean()), ("svm_acc".to_string(), self.valid.accuracy)];
        figures.push(("svm_train_f1".to_string(), self.train.mean()));
        figures.extend(CLASS_NAMES.iter().zip(&self.valid.f1).map(|(name, f1)| (format!("svm_f1/{name}"), *f1)));
        figures
    }
}

/// Fits on one set of tokens and judges on both.
pub fn judge(train: &Features, valid: &Features, config: &ProbeConfig) -> Result<Probed> {
    let components = Components::fit(&train.embeddings, config.components)?;
    let (x, z) = (components.project(&train.embeddings), components.project(&valid.embeddings));
    let machines = Machines::fit(&x, &train.classes, config.c)?;
    Ok(Probed {
        train: Judged::new(&machines.decide(&x), &train.classes),
        valid: Judged::new(&machines.decide(&z), &valid.classes),
    })
}
