//! Predicting events with an ensemble: vectors of all members from one batch of features, their weighted sum, and the
//! tables and the submission that are made of them.
//!
//! Vectors are not normalised before they are summed: their lengths are the members' own confidence in an event.

pub mod config;
mod table;
mod task;

use common::{Error, Result};
use neural::Doing;
use neural::precision::Precision;
use neural::weights;
use serde_json::Value;
use std::path::Path;
use tch::{Device, Tensor};

use crate::batch::Batch;
use crate::dataset::InputConfig;
use crate::detector::Frame;
use crate::import;
use crate::models::{self, Built, ModelConfig, Targets};
use crate::train::{Visits, vectors};
pub use config::{MemberConfig, PredictConfig};
pub use table::{Rows, Table};
pub use task::Predict;

/// Components of a vector beyond this are cut.
const MOST: f64 = 1000.0;

/// One network of an ensemble.
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its share; they need not sum to one.
    pub weight: f64,
    built: Built,
}

/// What a weights file of `train-model` says about itself.
#[derive(Debug, Clone)]
pub struct About {
    /// Name of the network.
    pub member: String,
    /// Which network it is.
    pub model: ModelConfig,
    /// How events were read in training.
    pub input: InputConfig,
}

impl About {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Input`] where the file does not say it.
    pub fn read(path: &Path) -> Result<Self> {
        let missing = || {
            Error::input(path, "does not say which IceCube network it is")
                .hint("name the network under `model` of the member, or import the file with `convert-weights`")
        };
        if path.extension().is_none_or(|e| e != "safetensors") {
            return Err(missing());
        }
        let about = weights::metadata(path)?.ok_or_else(missing)?;
        if about["system"] != "icecube" {
            return Err(missing());
        }
        let bad = |e: serde_json::Error| Error::input(path, format!("describes no network of this version: {e}"));
        let field = |name: &str| about.get(name).cloned().unwrap_or(Value::Null);
        Ok(Self {
            member: about["member"].as_str().unwrap_or("member").to_string(),
            model: serde_json::from_value(field("model")).map_err(bad)?,
            input: serde_json::from_value(field("input")).map_err(bad)?,
        })
    }
}

/// The heads that a weights file says its network has.
pub fn targets_of(path: &Path) -> Result<Targets> {
    if path.extension().is_none_or(|e| e != "safetensors") {
        return Ok(Targets::default());
    }
    match weights::metadata(path)?.and_then(|about| about.get("targets").cloned()) {
        None => Ok(Targets::default()),
        Some(targets) => serde_json::from_value(targets)
            .map_err(|e| Error::input(path, format!("describes no heads of this version: {e}"))),
    }
}

impl Member {
    /// A network with the weights of a file.
    pub fn load(name: &str, weight: f64, model: &ModelConfig, path: &Path, device: Device) -> Result<Self> {
        let built = models::build_with(model, &targets_of(path)?, device, 0)?;
        let (state, allow) = (built.params.state(), import::allow());
        let found = weights::read_for(&state, path, &allow)?;
        weights::load_strict(&state, &found.tensors, &allow).map_err(|error| weights::in_file(path, error))?;
        import::warn_of_pulse_count(path, found.dialect);
        Ok(Self { name: name.to_string(), weight, built })
    }

    /// Its parameters.
    pub(crate) fn params(&self) -> &neural::Params {
        &self.built.params
    }

    /// Its network.
    pub(crate) fn network(&self) -> &dyn models::Network {
        self.built.network.as_ref()
    }
}

/// Several networks and their weights.
pub struct Ensemble {
    members: Vec<Member>,
    precision: Precision,
    /// In which units its networks see positions.
    pub frame: Frame,
    /// Number of outputs of each member that were not finite and count as zero.
    pub not_finite: Vec<i64>,
}

impl Ensemble {
    /// At least one member; weights are finite and their sum is positive.
    pub fn new(members: Vec<Member>, precision: Precision) -> Result<Self> {
        let sum: f64 = members.iter().map(|m| m.weight).sum();
        if sum.is_nan() || sum <= 0.0 || sum.is_infinite() {
            return Err(Error::usage(format!(
                "the weights of the {} members sum to {sum}, expected above 0",
                members.len()
            )));
        }
        let not_finite = vec![0; members.len()];
        Ok(Self { members, precision, frame: Frame::default(), not_finite })
    }

    /// The networks.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The weighted sum of the members' vectors, `[B, 3]`, as [`Ensemble::predict`] gives it.
    pub(crate) fn sum(&self, batch: &Batch) -> Result<Tensor> {
        let mut blend: Option<Tensor> = None;
        for (member, share) in self.members.iter().zip(self.shares()) {
            let (raw, _) = vectors(member.network(), None, batch, self.precision)?;
            let vector = raw.nan_to_num(0.0, None, None).clamp(-MOST, MOST) * f64::from(share);
            blend = Some(blend.map_or_else(|| vector.shallow_clone(), |sum| sum + &vector));
        }
        blend.ok_or_else(|| Error::failed("an ensemble without members"))
    }

    /// Names of the members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|m| m.name.as_str())
    }

    /// Weights that sum to one, f32 as the published script has them.
    pub fn shares(&self) -> Vec<f32> {
        let sum: f32 = self.members.iter().map(|m| m.weight as f32).sum();
        self.members.iter().map(|m| m.weight as f32 / sum).collect()
    }

    /// The vectors of each member, `[B, 3]` f32, outputs that are not finite replaced as published (NaN by 0, infinity by
    /// the largest number, all cut to +-1000), their weighted sum, and what the heads of the members give, with its mean
    /// over the members that have a head.
    pub fn predict(&mut self, batch: &Batch) -> Result<Outcome> {
        let (mut all, mut extras) = (vec![], vec![]);
        for (member, bad) in self.members.iter().zip(&mut self.not_finite) {
            let built = &member.built;
            let (raw, extra) = vectors(built.network.as_ref(), built.heads.as_ref(), batch, self.precision)?;
            extras.push(extra);
            *bad +=
                raw.isfinite().logical_not().sum(tch::Kind::Int64).f_int64_value(&[]).doing("checking predictions")?;
            all.push(raw.nan_to_num(0.0, None, None).clamp(-MOST, MOST));
        }
        let mut blend = all[0].zeros_like();
        for (vector, share) in all.iter().zip(self.shares()) {
            blend += vector * f64::from(share);
        }
        let extra = mean_of(&extras, &self.shares());
        Ok(Outcome { vectors: all, blend, extras, extra })
    }
}

/// What an ensemble gives for a batch.
pub struct Outcome {
    /// The vectors of each member.
    pub vectors: Vec<Tensor>,
    /// Their weighted sum.
    pub blend: Tensor,
    /// What the heads of each member give.
    extras: Vec<Option<Tensor>>,
    /// Their mean.
    extra: Option<Tensor>,
}

/// The mean of what heads give, each number over the members that have it.
fn mean_of(extras: &[Option<Tensor>], shares: &[f32]) -> Option<Tensor> {
    let first = extras.iter().flatten().next()?;
    let (mut sum, mut weight) = (first.zeros_like(), first.zeros_like());
    for (extra, share) in extras.iter().zip(shares).filter_map(|(extra, share)| Some((extra.as_ref()?, *share))) {
        let share = f64::from(share.max(f32::MIN_POSITIVE));
        sum += extra.nan_to_num(0.0, None, None) * share;
        weight += extra.isnan().logical_not().to_kind(tch::Kind::Float) * share;
    }
    // Nobody has it: zero by zero is what is not known.
    Some(sum / weight)
}

/// What a prediction gave.
pub struct Predicted {
    /// The ensemble, by ascending event id.
    pub blend: Table,
    /// Each member with its name; empty for a single one.
    pub members: Vec<(String, Table)>,
}

/// Predicts events in order. `duplicates` names the data in the message about an id that appears twice.
pub fn predict(ensemble: &mut Ensemble, visits: &Visits, device: Device, duplicates: &Path) -> Result<Predicted> {
    let names: Vec<String> = ensemble.names().map(str::to_string).collect();
    let mut rows: Vec<Rows> = names.iter().map(|_| Rows::default()).collect();
    let mut blend = Rows::default();
    let bar = common::cli::progress::Bar::new("predict", visits.order.len());
    visits.each(device, |batch| {
        let outcome = ensemble.predict(batch)?;
        for ((rows, vectors), extra) in rows.iter_mut().zip(&outcome.vectors).zip(&outcome.extras) {
            rows.add(batch, vectors)?;
            extra.iter().try_for_each(|extra| rows.add_extra(extra, &ensemble.frame))?;
        }
        blend.add(batch, &outcome.blend)?;
        outcome.extra.iter().try_for_each(|extra| blend.add_extra(extra, &ensemble.frame))?;
        bar.tick(batch.events() as u64);
        Ok(())
    })?;
    bar.finish();
    for (name, bad) in names.iter().zip(&ensemble.not_finite).filter(|(_, bad)| **bad > 0) {
        tracing::warn!("`{name}`: {bad} outputs were not finite and count as zero or as the largest number");
    }
    let members = if names.len() == 1 {
        vec![]
    } else {
        names.into_iter().zip(rows).map(|(name, rows)| Ok((name, rows.sorted(duplicates)?))).collect::<Result<_>>()?
    };
    Ok(Predicted { blend: blend.sorted(duplicates)?, members })
}
