//! A module beside `predict`: the same numbers, and gradients of what goes in.

use std::fmt;

use common::{Error, Result};
use tch::{CModule, Device, IValue, Kind, Tensor};

use super::{BATCHES, Method};
use crate::errors::Doing;
use crate::precision::{Precision, with_autocast};

/// What counts as the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Closeness {
    /// The largest difference of a column in units of its largest value.
    Relative(f64),
    /// The largest length of the difference of a row in units of the row's length: for embeddings, whose columns are one vector.
    Length(f64),
    /// The largest angle between the vectors of the first output, rad; the other outputs by `Relative(1e-3)`.
    Angle(f64),
}

/// How much more a smaller number format may differ: kernels round at other places.
const COARSER: f64 = 4e3;

impl fmt::Display for Closeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative(_) => f.write_str("largest difference of a column in units of its largest value"),
            Self::Length(_) => f.write_str("largest length of the difference of a row in units of the row's length"),
            Self::Angle(_) => f.write_str("largest angle between the vectors, rad"),
        }
    }
}

impl Closeness {
    fn limit(self, precision: Precision) -> f64 {
        let (Self::Relative(limit) | Self::Length(limit) | Self::Angle(limit)) = self;
        if precision == Precision::F32 { limit } else { limit * COARSER }
    }
}

/// Opens the bytes of a file.
pub fn open(bytes: &[u8]) -> Result<CModule> {
    CModule::load_data(&mut std::io::Cursor::new(bytes)).doing("reading the module back")
}

/// What the method gives.
pub fn run(module: &CModule, name: &str, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let given: Vec<IValue> = inputs.iter().map(|t| IValue::Tensor(t.shallow_clone())).collect();
    let tensor = |value: IValue| match value {
        IValue::Tensor(tensor) => Ok(tensor),
        other => Err(Error::failed(format!("`{name}` gives {other:?}, expected a tensor"))),
    };
    match module.method_is(name, &given).doing(format!("running the module's `{name}`"))? {
        IValue::Tuple(values) => values.into_iter().map(tensor).collect(),
        value => Ok(vec![tensor(value)?]),
    }
}

/// The largest difference over batches of 1, 7 and 64.
///
/// # Errors
/// Where it is larger than rounding, or where the module has no gradients.
pub fn compare(module: &CModule, method: &Method, precision: Precision) -> Result<f64> {
    let mut all: Vec<Vec<(Tensor, Tensor)>> = method.outputs.iter().map(|_| vec![]).collect();
    for (i, batch) in BATCHES.into_iter().enumerate() {
        let sizes: Vec<i64> = method.sizes.iter().map(|size| size.compared[i]).collect();
        let inputs = (method.example)(&sizes, 1000 + i as u64)?;
        let (found, wanted) = tch::no_grad(|| -> Result<_> {
            let wanted = with_autocast(precision, Device::Cpu, || (method.predicted)(&inputs))?;
            Ok((run(module, method.name, &inputs)?, wanted))
        })?;
        if found.len() != all.len() || wanted.len() != all.len() {
            let (found, wanted) = (found.len(), wanted.len());
            return Err(Error::failed(format!("`{}` gives {found} tensors, `predict` {wanted}", method.name)));
        }
        for ((pairs, found), (wanted, port)) in all.iter_mut().zip(&found).zip(wanted.iter().zip(&method.outputs)) {
            if found.size() != wanted.size() {
                return Err(Error::failed(format!(
                    "`{}` of `{}` is {:?} for {batch} rows, `predict` gives {:?}",
                    port.name,
                    method.name,
                    found.size(),
                    wanted.size()
                )));
            }
            let flat = |t: &Tensor| {
                let width = if t.dim() > 1 { t.size().last().copied().unwrap_or(1) } else { 1 };
                t.f_to_kind(Kind::Double).and_then(|t| t.f_reshape([-1, width])).doing("comparing with `predict`")
            };
            pairs.push((flat(found)?, flat(wanted)?));
        }
    }
    let mut largest = 0.0_f64;
    for (place, (pairs, port)) in all.iter().zip(&method.outputs).enumerate() {
        let join = |t: &dyn Fn(&(Tensor, Tensor)) -> Tensor| Tensor::cat(&pairs.iter().map(t).collect::<Vec<_>>(), 0);
        let (found, wanted) = (join(&|pair| pair.0.shallow_clone()), join(&|pair| pair.1.shallow_clone()));
        if wanted.isfinite().all().int64_value(&[]) == 0 {
            return Err(Error::failed(format!("`{}`: `predict` gives numbers that are not finite", port.name))
                .hint("the network diverged: take an earlier checkpoint"));
        }
        let (off, limit) = match method.closeness {
            Closeness::Angle(_) if place == 0 => (angle(&found, &wanted), method.closeness.limit(precision)),
            Closeness::Angle(_) => (relative(&found, &wanted), Closeness::Relative(1e-3).limit(precision)),
            Closeness::Relative(_) => (relative(&found, &wanted), method.closeness.limit(precision)),
            Closeness::Length(_) => (length(&found, &wanted), method.closeness.limit(precision)),
        };
        if off.is_nan() || off > limit {
            return Err(Error::failed(format!(
                "`{}` of `{}` differs from what `predict` gives by {off:.1e}, expected at most {limit:.0e}; nothing was written",
                port.name, method.name
            )));
        }
        if place == 0 || !matches!(method.closeness, Closeness::Angle(_)) {
            largest = largest.max(off);
        }
    }
    gradients(module, method)?;
    Ok(largest)
}

/// `[N, C]` in f64 each.
fn relative(found: &Tensor, wanted: &Tensor) -> f64 {
    let largest = |t: &Tensor| t.abs().amax([0_i64].as_slice(), false);
    in_units(&largest(&(found - wanted)), &largest(wanted))
}

/// `[N, C]` in f64 each.
fn length(found: &Tensor, wanted: &Tensor) -> f64 {
    let of = |t: &Tensor| t.square().sum_dim_intlist([1_i64].as_slice(), false, Kind::Double).sqrt();
    in_units(&of(&(found - wanted)), &of(wanted))
}

/// The largest of some differences, each in units of its scale; where that is 0 there must be none.
fn in_units(off: &Tensor, scale: &Tensor) -> f64 {
    let off = off.where_self(&scale.eq(0.0), &(off / scale.clamp_min(f64::MIN_POSITIVE)));
    off.max().double_value(&[])
}

/// `[N, 3]` in f64 each. From sine and cosine: the cosine alone says nothing of small angles.
fn angle(found: &Tensor, wanted: &Tensor) -> f64 {
    let sine = found.cross(wanted, 1).square().sum_dim_intlist([1_i64].as_slice(), false, Kind::Double).sqrt();
    let cosine = (found * wanted).sum_dim_intlist([1_i64].as_slice(), false, Kind::Double);
    sine.atan2(&cosine).max().double_value(&[])
}

/// Demands gradients of the inputs that are no whole numbers.
fn gradients(module: &CModule, method: &Method) -> Result<()> {
    let sizes: Vec<i64> = method.sizes.iter().map(|size| size.compared[1]).collect();
    let inputs = (method.example)(&sizes, 2000)?;
    let asked: Vec<Tensor> = inputs
        .iter()
        .map(|t| if t.is_floating_point() { t.copy().set_requires_grad(true) } else { t.shallow_clone() })
        .collect();
    let outputs = tch::with_grad(|| run(module, method.name, &asked))?;
    let sums: Vec<Tensor> = outputs.iter().filter(|t| t.is_floating_point()).map(|t| t.sum(Kind::Double)).collect();
    let leaves: Vec<&Tensor> = asked.iter().filter(|t| t.requires_grad()).collect();
    if leaves.is_empty() || !sums.iter().all(Tensor::requires_grad) {
        return Err(Error::failed(format!("`{}` has no gradients of its inputs", method.name)));
    }
    let gradients = Tensor::f_run_backward(&sums, &leaves, false, false).doing("gradients of the inputs")?;
    // An input may say nothing about the outputs, but not all of them.
    let found: Vec<&Tensor> = gradients.iter().filter(|t| t.defined()).collect();
    if found.is_empty() || !found.iter().all(|t| t.isfinite().all().int64_value(&[]) == 1) {
        return Err(Error::failed(format!("gradients of the inputs of `{}` are not finite", method.name)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_measured_by_column_and_by_row() {
        let wanted = Tensor::from_slice(&[3.0, 4.0, 0.0, 0.0, 30.0, 40.0]).view([3, 2]);
        let found = Tensor::from_slice(&[3.0, 4.5, 0.0, 0.0, 30.0, 42.0]).view([3, 2]);
        assert!((relative(&found, &wanted) - 2.0 / 40.0).abs() < 1e-12);
        assert!((length(&found, &wanted) - 0.5 / 5.0).abs() < 1e-12);
        // What is zero has to be zero.
        let found = &wanted + Tensor::from_slice(&[0.0, 0.0, 1e-3, 0.0, 0.0, 0.0]).view([3, 2]);
        assert_eq!(length(&found, &wanted), 1e-3);
    }
}
