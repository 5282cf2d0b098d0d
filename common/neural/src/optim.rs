//! Adam, `AdamW` and SGD as one fused call per group, with state under the parameters' names.
//!
//! The arithmetic is that of `torch.optim` with `fused=True`. Two of its habits matter for published runs: a parameter
//! without a gradient is skipped altogether (no decay, no state), and every parameter counts its own steps.

use std::collections::{BTreeMap, BTreeSet};

use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::errors::Doing;
use crate::shim;

/// Which rule turns gradients into steps. Learning rates belong to the groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerConfig {
    /// Adam; a weight decay is added to the gradient.
    Adam(AdamConfig),
    /// Adam with decoupled weight decay: `w *= 1 - lr * weight_decay` before the step.
    AdamW(AdamWConfig),
    /// Stochastic gradient descent with momentum.
    Sgd(SgdConfig),
}

/// The numbers of Adam.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamConfig {
    /// Decay of the averages of gradient and squared gradient, each in [0, 1).
    pub betas: [f64; 2],
    /// Added to the root of the squared average, > 0.
    pub eps: f64,
    /// Added to the gradient, times the parameter, >= 0.
    pub weight_decay: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 }
    }
}

/// The numbers of `AdamW`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// Decay of the averages of gradient and squared gradient, each in [0, 1).
    pub betas: [f64; 2],
    /// Added to the root of the squared average, > 0.
    pub eps: f64,
    /// Fraction of the parameter that a step with learning rate one would take away, >= 0.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01 }
    }
}

/// The numbers of SGD.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SgdConfig {
    /// Fraction of the last step that is taken again, >= 0.
    pub momentum: f64,
    /// How much less of the gradient enters the momentum, in [0, 1].
    pub dampening: f64,
    /// Added to the gradient, times the parameter, >= 0.
    pub weight_decay: f64,
    /// Nesterov's look-ahead; needs momentum and no dampening.
    pub nesterov: bool,
}

impl OptimizerConfig {
    /// What is wrong with the numbers: pairs of key (below the optimizer's own) and problem.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut ask = |key, value: f64, good: bool, expected| {
            if !good {
                found.push((key, format!("is {value}, expected {expected}")));
            }
        };
        match self {
            Self::Adam(AdamConfig { betas, eps, weight_decay })
            | Self::AdamW(AdamWConfig { betas, eps, weight_decay }) => {
                for beta in *betas {
                    ask("betas", beta, (0.0..1.0).contains(&beta), "0 <= beta < 1");
                }
                ask("eps", *eps, *eps > 0.0 && eps.is_finite(), "> 0");
                ask("weight_decay", *weight_decay, *weight_decay >= 0.0 && weight_decay.is_finite(), ">= 0");
            }
            Self::Sgd(SgdConfig { momentum, dampening, weight_decay, nesterov }) => {
                ask("momentum", *momentum, *momentum >= 0.0 && momentum.is_finite(), ">= 0");
                ask("dampening", *dampening, (0.0..=1.0).contains(dampening), "0 <= dampening <= 1");
                ask("weight_decay", *weight_decay, *weight_decay >= 0.0 && weight_decay.is_finite(), ">= 0");
                ask("momentum", *momentum, !nesterov || *momentum > 0.0, "> 0 with `nesterov`");
                ask("dampening", *dampening, !nesterov || *dampening == 0.0, "0 with `nesterov`");
            }
        }
        found
    }
}

/// Parameters that share a learning rate.
#[derive(Debug)]
pub struct Group {
    /// Shown in logs; must differ between groups.
    pub name: String,
    /// Learning rate of the next step.
    pub lr: f64,
    /// Names and tensors; all on one device and of one dtype.
    pub params: Vec<(String, Tensor)>,
}

/// What one parameter remembers between steps.
#[derive(Debug)]
enum State {
    Adam { exp_avg: Tensor, exp_avg_sq: Tensor, step: Tensor },
    Sgd { momentum: Tensor },
}

/// An optimizer over named parameters.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    groups: Vec<Group>,
    states: BTreeMap<String, State>,
}

impl Optimizer {
    /// An optimizer without state. Names must be unique over all groups.
    pub fn new(config: &OptimizerConfig, groups: Vec<Group>) -> Result<Self> {
        if let Some((key, problem)) = config.problems().first() {
            return Err(Error::usage(format!("optimizer: `{key}` {problem}")));
        }
        let mut seen = BTreeSet::new();
        for group in &groups {
            check_rate(&group.name, group.lr)?;
            for (name, _) in &group.params {
                if !seen.insert(name.as_str()) {
                    return Err(Error::failed(format!("optimizer: the parameter `{name}` is in two groups")));
                }
            }
        }
        Ok(Self { config: config.clone(), groups, states: BTreeMap::new() })
    }

    /// Names of the groups, in order.
    pub fn group_names(&self) -> Vec<&str> {
        self.groups.iter().map(|g| g.name.as_str()).collect()
    }

    /// Learning rates of the next step, one a group.
    pub fn learning_rates(&self) -> Vec<f64> {
        self.groups.iter().map(|g| g.lr).collect()
    }

    /// Sets the learning rates of the next step, one a group.
    pub fn set_learning_rates(&mut self, rates: &[f64]) -> Result<()> {
        if rates.len() != self.groups.len() {
            return Err(Error::failed(format!("optimizer: {} rates for {} groups", rates.len(), self.groups.len())));
        }
        for (group, &rate) in self.groups.iter().zip(rates) {
            check_rate(&group.name, rate)?;
        }
        for (group, &rate) in self.groups.iter_mut().zip(rates) {
            group.lr = rate;
        }
        Ok(())
    }

    /// Sets beta1 of the next step of Adam; SGD has none.
    pub fn set_beta1(&mut self, beta1: f64) {
        if let OptimizerConfig::Adam(AdamConfig { betas, .. }) | OptimizerConfig::AdamW(AdamWConfig { betas, .. }) =
            &mut self.config
        {
            betas[0] = beta1;
        }
    }

    /// All parameters with their names, group by group.
    pub fn params(&self) -> Vec<(String, Tensor)> {
        self.groups.iter().flat_map(|g| &g.params).map(|(n, t)| (n.clone(), t.shallow_clone())).collect()
    }

    /// Takes the gradients away.
    pub fn zero_grad(&mut self) -> Result<()> {
        let tensors: Vec<&Tensor> = self.groups.iter().flat_map(|g| &g.params).map(|(_, t)| t).collect();
        shim::clear_grads(&tensors)
    }

    /// One step from the gradients at hand. Parameters without a gradient are left alone.
    pub fn step(&mut self) -> Result<()> {
        for group in &self.groups {
            let with_grads: Vec<(&str, &Tensor, Tensor)> = group
                .params
                .iter()
                .map(|(name, param)| (name.as_str(), param, param.grad()))
                .filter(|(_, _, grad)| grad.defined())
                .collect();
            match &self.config {
                OptimizerConfig::Adam(AdamConfig { betas, eps, weight_decay }) => {
                    let adam = adam_numbers(false, group.lr, *betas, *eps, *weight_decay);
                    adam_group(&with_grads, &mut self.states, &adam)?;
                }
                OptimizerConfig::AdamW(AdamWConfig { betas, eps, weight_decay }) => {
                    let adam = adam_numbers(true, group.lr, *betas, *eps, *weight_decay);
                    adam_group(&with_grads, &mut self.states, &adam)?;
                }
                OptimizerConfig::Sgd(config) => sgd_group(&with_grads, &mut self.states, config, group.lr)?,
            }
        }
        Ok(())
    }

    /// The state under `PARAMETER.exp_avg`, `.exp_avg_sq`, `.step` (Adam) or `.momentum_buffer` (SGD), in the order of
    /// the parameters. Parameters that never had a gradient have none. The tensors share memory with the optimizer.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut all = Vec::new();
        for (name, _) in self.groups.iter().flat_map(|g| &g.params) {
            let mut push = |slot: &str, tensor: &Tensor| all.push((format!("{name}.{slot}"), tensor.shallow_clone()));
            match self.states.get(name) {
                Some(State::Adam { exp_avg, exp_avg_sq, step }) => {
                    push(EXP_AVG, exp_avg);
                    push(EXP_AVG_SQ, exp_avg_sq);
                    push(STEP, step);
                }
                Some(State::Sgd { momentum }) => push(MOMENTUM, momentum),
                None => {}
            }
        }
        all
    }

    /// Replaces the whole state by one that [`Optimizer::state`] gave. Refused, without changing anything, when a name
    /// belongs to no parameter or other optimizer, a slot is missing, or a shape or dtype differs.
    pub fn load_state(&mut self, saved: &[(String, Tensor)]) -> Result<()> {
        let mut given: BTreeMap<&str, &Tensor> = BTreeMap::new();
        for (name, tensor) in saved {
            if given.insert(name, tensor).is_some() {
                return Err(Error::failed(format!("optimizer state: `{name}` is given twice")));
            }
        }
        let mut states = BTreeMap::new();
        for (name, param) in self.groups.iter().flat_map(|g| &g.params) {
            let mut take = |slot: &str| given.remove(format!("{name}.{slot}").as_str());
            let state = if matches!(self.config, OptimizerConfig::Sgd(_)) {
                let Some(momentum) = take(MOMENTUM) else { continue };
                State::Sgd { momentum: like(name, MOMENTUM, param, momentum)? }
            } else {
                match (take(EXP_AVG), take(EXP_AVG_SQ), take(STEP)) {
                    (None, None, None) => continue,
                    (Some(exp_avg), Some(exp_avg_sq), Some(step)) => State::Adam {
                        exp_avg: like(name, EXP_AVG, param, exp_avg)?,
                        exp_avg_sq: like(name, EXP_AVG_SQ, param, exp_avg_sq)?,
                        step: like(name, STEP, &step_counter(param)?, step)?,
                    },
                    (avg, sq, step) => {
                        let missing: Vec<_> = [(EXP_AVG, avg), (EXP_AVG_SQ, sq), (STEP, step)]
                            .into_iter()
                            .filter_map(|(slot, t)| t.is_none().then_some(format!("`{name}.{slot}`")))
                            .collect();
                        return Err(Error::failed(format!("optimizer state: missing {}", missing.join(", "))));
                    }
                }
            };
            states.insert(name.clone(), state);
        }
        if let Some(name) = given.keys().next() {
            return Err(Error::failed(format!("optimizer state: `{name}` belongs to no parameter of this optimizer"))
                .hint("continue with the config of the run that wrote the checkpoint"));
        }
        self.states = states;
        Ok(())
    }
}

const EXP_AVG: &str = "exp_avg";
const EXP_AVG_SQ: &str = "exp_avg_sq";
const STEP: &str = "step";
const MOMENTUM: &str = "momentum_buffer";

fn check_rate(group: &str, rate: f64) -> Result<()> {
    if rate.is_finite() && rate >= 0.0 {
        return Ok(());
    }
    Err(Error::usage(format!("optimizer: the learning rate of group `{group}` is {rate}, expected a number >= 0")))
}

fn adam_numbers(decoupled: bool, lr: f64, betas: [f64; 2], eps: f64, weight_decay: f64) -> shim::Adam {
    shim::Adam { decoupled, lr, betas: (betas[0], betas[1]), weight_decay, eps }
}

/// Steps are counted in f32 on the parameter's device, where the fused kernel reads them.
fn step_counter(param: &Tensor) -> Result<Tensor> {
    Tensor::f_zeros([1], (Kind::Float, param.device())).doing("creating the optimizer state")
}

/// Zeros in the memory layout of the parameter, which the fused kernel demands.
fn fresh(param: &Tensor) -> Result<Tensor> {
    param.detach().f_zeros_like().doing("creating the optimizer state")
}

/// A copy of a saved slot in the layout and on the device of what it belongs to.
fn like(name: &str, slot: &str, target: &Tensor, saved: &Tensor) -> Result<Tensor> {
    if saved.size() != target.size() || saved.kind() != target.kind() {
        return Err(Error::failed(format!(
            "optimizer state: `{name}.{slot}` is {:?} {:?}, expected {:?} {:?}",
            saved.kind(),
            saved.size(),
            target.kind(),
            target.size()
        )));
    }
    let mut copy = fresh(target)?;
    copy.f_copy_(saved).doing(format!("restoring `{name}.{slot}`"))?;
    Ok(copy)
}

fn adam_group(
    with_grads: &[(&str, &Tensor, Tensor)],
    states: &mut BTreeMap<String, State>,
    adam: &shim::Adam,
) -> Result<()> {
    for (name, param, _) in with_grads {
        if !states.contains_key(*name) {
            let state = State::Adam { exp_avg: fresh(param)?, exp_avg_sq: fresh(param)?, step: step_counter(param)? };
            states.insert((*name).to_string(), state);
        }
    }
    let (mut exp_avgs, mut exp_avg_sqs, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for (name, _, _) in with_grads {
        if let Some(State::Adam { exp_avg, exp_avg_sq, step }) = states.get(*name) {
            exp_avgs.push(exp_avg);
            exp_avg_sqs.push(exp_avg_sq);
            steps.push(step);
        }
    }
    let params: Vec<&Tensor> = with_grads.iter().map(|(_, p, _)| *p).collect();
    let grads: Vec<&Tensor> = with_grads.iter().map(|(_, _, g)| g).collect();
    let state = shim::AdamState { exp_avgs: &exp_avgs, exp_avg_sqs: &exp_avg_sqs, steps: &steps };
    shim::adam_step(&params, &grads, &state, adam)
}

fn sgd_group(
    with_grads: &[(&str, &Tensor, Tensor)],
    states: &mut BTreeMap<String, State>,
    config: &SgdConfig,
    lr: f64,
) -> Result<()> {
    let numbers = |first| shim::Sgd {
        lr,
        momentum: config.momentum,
        dampening: config.dampening,
        weight_decay: config.weight_decay,
        nesterov: config.nesterov,
        first,
    };
    // A fresh buffer takes the whole gradient whatever the dampening, so fresh and old ones are stepped apart.
    let (old, new): (Vec<_>, Vec<_>) = with_grads.iter().partition(|(name, _, _)| states.contains_key(*name));
    for (part, first) in [(old, false), (new, true)] {
        if first && config.momentum != 0.0 {
            for (name, param, _) in &part {
                states.insert(name.to_string(), State::Sgd { momentum: fresh(param)? });
            }
        }
        let params: Vec<&Tensor> = part.iter().map(|(_, p, _)| *p).collect();
        let grads: Vec<&Tensor> = part.iter().map(|(_, _, g)| g).collect();
        let buffers: Vec<&Tensor> = part
            .iter()
            .filter_map(|(name, _, _)| match states.get(*name) {
                Some(State::Sgd { momentum }) => Some(momentum),
                _ => None,
            })
            .collect();
        shim::sgd_step(&params, &grads, &buffers, &numbers(first))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "optim_tests.rs"]
mod tests;
