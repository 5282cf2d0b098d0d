//! Networks for programs without Podium: one TorchScript file that `torch.jit.load` opens in Python, C++ and Fortran.
//!
//! A system says what the module's methods compute ([`Method`]); here they are recorded, with inputs of several sizes so that
//! the module takes any (see `torch-ext/export.cpp`), compared with what `predict` gives, and written with a description of
//! themselves. A module that gives other numbers, or no gradients of its inputs, is never written.

mod check;
mod describe;

use std::path::{Path, PathBuf};

use common::durable::{self, Written};
use common::stage::Manifest;
use common::{Error, Result};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

use crate::precision::{Precision, with_autocast};
use crate::shim::Recorder;
pub use crate::shim::{constant, recording, script};
pub use check::Closeness;
pub use describe::{Column, Port};

/// Name of the description inside of the file.
pub const DESCRIPTION: &str = "podium.json";

/// Rows of the batches that are compared with `predict`.
pub const BATCHES: [i64; 3] = [1, 7, 64];

/// What is written as a module.
#[derive(Debug)]
pub struct Source {
    /// Weights files: one, or those of a fine-tuning's groups.
    pub files: Vec<PathBuf>,
    /// The stage that they came out of, where they were given by its folder.
    pub stage: Option<Manifest>,
    /// The members of a blend; none where a single network is written.
    pub members: Vec<Member>,
    /// Number format of matrix products.
    pub precision: Precision,
}

/// A network of a blend.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The stage that predicted with it.
    pub stage: Manifest,
    /// Its weight for every column that has weights of its own, and for all others.
    pub weights: Vec<(Option<String>, f64)>,
}

/// A size of the inputs that is free: how many rows, how many pulses.
#[derive(Debug, Clone)]
pub struct Size {
    /// Its name in shapes.
    pub name: &'static str,
    /// Which input has it.
    pub input: usize,
    /// As which dimension.
    pub dim: i64,
    /// Two sizes that the pass is recorded with, and a third that checks what was made of them.
    pub recorded: [i64; 3],
    /// Sizes that are compared with `predict`: one for each of [`BATCHES`].
    pub compared: [i64; 3],
}

impl Size {
    /// The number of rows: dimension 0 of the first input.
    pub fn batch() -> Self {
        Self { name: "batch", input: 0, dim: 0, recorded: [2, 3, 5], compared: BATCHES }
    }

    /// Another one.
    pub fn new(name: &'static str, input: usize, dim: i64, recorded: [i64; 3], compared: [i64; 3]) -> Self {
        Self { name, input, dim, recorded, compared }
    }
}

/// A pass from tensors to tensors.
pub type Pass<'a> = Box<dyn Fn(&[Tensor]) -> Result<Vec<Tensor>> + 'a>;
/// Inputs of such sizes, drawn from a seed.
pub type Example<'a> = Box<dyn Fn(&[i64], u64) -> Result<Vec<Tensor>> + 'a>;

/// A method of a module.
pub struct Method<'a> {
    /// Its name: `forward`.
    pub name: &'static str,
    /// What goes in.
    pub inputs: Vec<Port>,
    /// What comes out.
    pub outputs: Vec<Port>,
    /// The free sizes.
    pub sizes: Vec<Size>,
    /// Real or simulated inputs.
    pub example: Example<'a>,
    /// The pass that is recorded, in operations of the library.
    pub pass: Pass<'a>,
    /// What `predict` makes of the same inputs.
    pub predicted: Pass<'a>,
    /// What counts as the same.
    pub closeness: Closeness,
}

/// A module before it is written.
pub struct Module<'a> {
    /// Name of its class.
    pub name: String,
    /// Its tensors under the names of a state dict; true: one that is not trained.
    pub tensors: Vec<(String, Tensor, bool)>,
    /// What it can do.
    pub methods: Vec<Method<'a>>,
    /// What it says about itself beside its methods.
    pub about: Map<String, Value>,
    /// Number format of matrix products.
    pub precision: Precision,
}

/// A module that was written.
#[derive(Debug)]
pub struct Exported {
    /// The file.
    pub written: Written,
    /// How many tensors it holds.
    pub tensors: usize,
    /// The largest difference from `predict`, by method.
    pub differences: Map<String, Value>,
}

/// Parameters and buffers of a network, as a module takes them; `prefix` stands in front of their names.
pub fn tensors(params: &crate::Params, prefix: &str) -> Vec<(String, Tensor, bool)> {
    let trained: std::collections::BTreeSet<String> = params.named().into_iter().map(|(name, _)| name).collect();
    let named = |(name, tensor): (String, Tensor)| {
        let buffer = !trained.contains(&name);
        (format!("{prefix}{name}"), tensor, buffer)
    };
    params.state().into_iter().map(named).collect()
}

impl Module<'_> {
    /// Records, compares, and writes the file; with `dry` everything but the last.
    ///
    /// # Errors
    /// Where a pass cannot be written for any size, or gives other numbers than `predict`: then no file appears.
    pub fn write(&self, path: &Path, dry: bool) -> Result<Option<Exported>> {
        let mut recorder = Recorder::new(&self.name, &self.tensors)?;
        for method in &self.methods {
            self.record(&mut recorder, method)?;
        }
        let bytes = recorder.bytes()?;
        let module = check::open(&bytes)?;
        let mut differences = Map::new();
        for method in &self.methods {
            let difference = check::compare(&module, method, self.precision)?;
            tracing::info!("`{}`: the largest difference from `predict` is {difference:.1e}", method.name);
            differences.insert(method.name.into(), json!(rounded(difference)));
        }
        drop((module, bytes));
        let description = describe::description(self, &differences);
        let text = serde_json::to_string(&description)
            .map_err(|e| Error::failed(format!("describing `{}`: {e}", path.display())))?;
        recorder.text(DESCRIPTION, &text)?;
        let bytes = recorder.bytes()?;
        if dry {
            return Ok(None);
        }
        let written = durable::write(path, &bytes)?;
        Ok(Some(Exported { written, tensors: self.tensors.len(), differences }))
    }

    fn record(&self, recorder: &mut Recorder, method: &Method) -> Result<()> {
        let free: Vec<(i64, i64)> = method.sizes.iter().map(|size| (size.input as i64, size.dim)).collect();
        let names: Vec<String> = method.inputs.iter().map(|port| port.name.clone()).collect();
        let sizes = recorded(&method.sizes);
        for (seed, sizes) in (1..).zip(&sizes) {
            let inputs = (method.example)(sizes, seed)?;
            tch::no_grad(|| {
                recorder.record(&inputs, &names, |inputs| {
                    let outputs = with_autocast(self.precision, Device::Cpu, || (method.pass)(inputs))?;
                    Ok(outputs.into_iter().map(whole).collect())
                })
            })?;
        }
        recorder.method(method.name, &free, &sizes)
    }
}

/// Results are f32 or f64, whatever they were computed in.
fn whole(tensor: Tensor) -> Tensor {
    if matches!(tensor.kind(), Kind::BFloat16 | Kind::Half) { tensor.to_kind(Kind::Float) } else { tensor }
}

/// All corners of the first two sizes of each, then the third of all.
fn recorded(sizes: &[Size]) -> Vec<Vec<i64>> {
    let corner = |bits: usize| sizes.iter().enumerate().map(|(s, size)| size.recorded[bits >> s & 1]).collect();
    let mut all: Vec<Vec<i64>> = (0..1 << sizes.len()).map(corner).collect();
    all.push(sizes.iter().map(|size| size.recorded[2]).collect());
    all
}

/// With two digits: what follows hangs on the processor.
fn rounded(difference: f64) -> f64 {
    format!("{difference:.1e}").parse().unwrap_or(difference)
}

#[cfg(test)]
mod tests;
