//! The parameters of a model under the names of the published `state_dict`, in the order of construction.
//!
//! ```no_run
//! # fn main() -> common::Result<()> {
//! use neural::{init::Init, params::Params};
//! let params = Params::new(tch::Device::Cpu, 47);
//! let fc = params.root().sub("fc").sub(0);
//! let weight = fc.parameter("weight", &[14, 512], Init::FanIn)?;     // `fc.0.weight`
//! let bias = fc.parameter("bias", &[14], Init::fan_in(512))?;
//! # Ok(()) }
//! ```
//!
//! Our own registry instead of `tch::nn::VarStore`: that one panics on a dot in a name, renames a duplicate silently,
//! and draws from the library's global generator. Here a tensor draws from a generator of its own, named after it, so
//! adding a layer never changes the initial values of another one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

use common::seed::rng_for;
use common::{Error, Result};
use tch::{Device, Tensor};

use crate::errors::Doing;
use crate::init::Init;

/// All tensors of a model: trainable parameters and buffers.
#[derive(Debug)]
pub struct Params {
    device: Device,
    seed: u64,
    registry: RefCell<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    entries: Vec<Entry>,
    positions: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    tensor: Tensor,
    buffer: bool,
}

impl Params {
    /// An empty registry. Parameters are created on `device`; `seed` decides their initial values.
    pub fn new(device: Device, seed: u64) -> Self {
        Self { device, seed, registry: RefCell::default() }
    }

    /// Where the tensors live.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The path without a prefix, from which a model is built.
    pub fn root(&self) -> Path<'_> {
        Path { params: self, prefix: String::new() }
    }

    /// The parameters (no buffers), in the order of construction. The tensors share memory with the model's.
    pub fn named(&self) -> Vec<(String, Tensor)> {
        self.list(|entry| !entry.buffer)
    }

    /// The parameters that are not frozen.
    pub fn trainable(&self) -> Vec<(String, Tensor)> {
        self.list(|entry| !entry.buffer && entry.tensor.requires_grad())
    }

    /// Parameters and buffers: what a checkpoint holds, in the order of construction.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.list(|_| true)
    }

    /// One tensor by its full name.
    pub fn get(&self, name: &str) -> Option<Tensor> {
        let registry = self.registry.borrow();
        registry.positions.get(name).map(|&i| registry.entries[i].tensor.shallow_clone())
    }

    /// Number of elements of all parameters (no buffers).
    pub fn count(&self) -> u64 {
        self.registry.borrow().entries.iter().filter(|e| !e.buffer).map(|e| e.tensor.numel() as u64).sum()
    }

    /// Freezes the parameters for which `keep` is false; the optimizer and the clip then skip them.
    pub fn set_trainable(&self, keep: impl Fn(&str) -> bool) {
        for entry in self.registry.borrow().entries.iter().filter(|e| !e.buffer) {
            let _ = entry.tensor.set_requires_grad(keep(&entry.name));
        }
    }

    /// Draws new initial values for the parameters for which `rule` (name, shape) gives a rule. Published models
    /// first take the library's defaults and then overwrite all parameters whose name contains a word.
    pub fn reinitialise(&self, rule: impl Fn(&str, &[i64]) -> Option<Init>) -> Result<()> {
        for entry in self.registry.borrow().entries.iter().filter(|e| !e.buffer) {
            if let Some(init) = rule(&entry.name, &entry.tensor.size()) {
                init.fill(&entry.tensor, &mut rng_for(self.seed, &stream(&entry.name), 0))?;
            }
        }
        Ok(())
    }

    fn list(&self, keep: impl Fn(&Entry) -> bool) -> Vec<(String, Tensor)> {
        let registry = self.registry.borrow();
        registry.entries.iter().filter(|e| keep(e)).map(|e| (e.name.clone(), e.tensor.shallow_clone())).collect()
    }

    fn add(&self, name: String, tensor: Tensor, buffer: bool) -> Result<Tensor> {
        let mut registry = self.registry.borrow_mut();
        let position = registry.entries.len();
        if registry.positions.insert(name.clone(), position).is_some() {
            return Err(Error::failed(format!("building the model: the parameter `{name}` is defined twice")));
        }
        let shared = tensor.shallow_clone();
        registry.entries.push(Entry { name, tensor, buffer });
        Ok(shared)
    }
}

/// A prefix of parameter names, such as `lstm_stack.lstm1`.
#[derive(Debug, Clone)]
pub struct Path<'a> {
    params: &'a Params,
    prefix: String,
}

impl<'a> Path<'a> {
    /// One level deeper: `root.sub("fc").sub(0)` is `fc.0`. A name may hold dots itself.
    #[must_use]
    pub fn sub(&self, name: impl Display) -> Path<'a> {
        Path { params: self.params, prefix: self.full(&name.to_string()) }
    }

    /// The prefix without a dot at its end; empty for the root.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where the tensors are created.
    pub fn device(&self) -> Device {
        self.params.device
    }

    /// A new trainable f32 parameter. A name that is taken is an error.
    pub fn parameter(&self, name: &str, shape: &[i64], init: Init) -> Result<Tensor> {
        let name = self.full(name);
        let values = init.draw(shape, &mut rng_for(self.params.seed, &stream(&name), 0))?;
        let what = || format!("creating the parameter `{name}` of shape {shape:?}");
        let tensor = Tensor::f_from_slice(&values).and_then(|t| t.f_view(shape)).doing(what())?;
        let tensor = tensor.f_to_device(self.params.device).doing(what())?;
        self.params.add(name, tensor.set_requires_grad(true), false)
    }

    /// A tensor that is part of the checkpoint but not trained, such as a positional encoding.
    pub fn buffer(&self, name: &str, tensor: Tensor) -> Result<Tensor> {
        let name = self.full(name);
        let tensor = tensor.f_to_device(self.params.device).doing(format!("creating the buffer `{name}`"))?;
        self.params.add(name, tensor.set_requires_grad(false), true)
    }

    fn full(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}

fn stream(name: &str) -> String {
    format!("init {name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.detach().flatten(0, -1)).unwrap()
    }

    #[test]
    fn names_keep_dots_and_the_order_of_construction() {
        let params = Params::new(Device::Cpu, 1);
        let root = params.root();
        let _ = root.sub("pos").buffer("pe", Tensor::zeros([1, 3], (Kind::Float, Device::Cpu))).unwrap();
        let _ = root.sub("residual_stack").sub(0).parameter("0.weight", &[2, 2], Init::Ones).unwrap();
        let _ = root.parameter("a", &[3], Init::Zeros).unwrap();
        let names = |list: Vec<(String, Tensor)>| list.into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(names(params.named()), ["residual_stack.0.0.weight", "a"]);
        assert_eq!(names(params.state()), ["pos.pe", "residual_stack.0.0.weight", "a"]);
        assert_eq!(params.count(), 7);
        params.set_trainable(|name| name == "a");
        assert_eq!(names(params.trainable()), ["a"]);
    }

    #[test]
    fn a_name_that_is_taken_is_refused() {
        let params = Params::new(Device::Cpu, 1);
        let _ = params.root().sub("fc").parameter("weight", &[2], Init::Zeros).unwrap();
        let error = params.root().parameter("fc.weight", &[2], Init::Zeros).unwrap_err().to_string();
        assert!(error.contains("`fc.weight` is defined twice"), "{error}");
    }

    #[test]
    fn initial_values_depend_on_seed_and_name_only() {
        let build = |seed, before: usize| {
            let params = Params::new(Device::Cpu, seed);
            for i in 0..before {
                let _ = params.root().sub(i).parameter("w", &[4], Init::Uniform(1.0)).unwrap();
            }
            values(&params.root().parameter("fc", &[4], Init::Uniform(1.0)).unwrap())
        };
        assert_eq!(build(1, 0), build(1, 3));
        assert_ne!(build(1, 0), build(2, 0));
    }

    #[test]
    fn the_model_and_the_registry_share_memory() {
        let params = Params::new(Device::Cpu, 1);
        let weight = params.root().parameter("w", &[2, 3], Init::Zeros).unwrap();
        assert!(weight.requires_grad() && weight.is_leaf());
        params.reinitialise(|name, shape| (name == "w" && shape == [2, 3]).then_some(Init::Ones)).unwrap();
        assert_eq!(values(&weight), [1.0; 6]);
        assert_eq!(values(&params.get("w").unwrap()), [1.0; 6]);
    }
}
