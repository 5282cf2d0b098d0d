//! Comparisons of what was computed with what is expected.

use std::fmt::Display;

use anyhow::{Result, bail, ensure};
use tch::{Kind, Tensor};

/// Fails unless `max|got - want| <= tolerance * max|want|`. Shapes must agree; NaN equals nothing.
pub fn compare(name: &str, got: &Tensor, want: &Tensor, tolerance: f64) -> Result<()> {
    ensure!(got.size() == want.size(), "`{name}`: shape {:?}, expected {:?}", got.size(), want.size());
    compare_values(name, &values(got)?, &values(want)?, tolerance)
}

/// Fails unless `max|got - want| <= tolerance`.
pub fn compare_absolute(name: &str, got: &Tensor, want: &Tensor, tolerance: f64) -> Result<()> {
    ensure!(got.size() == want.size(), "`{name}`: shape {:?}, expected {:?}", got.size(), want.size());
    within(name, &values(got)?, &values(want)?, tolerance)
}

/// As [`compare`], on plain numbers.
pub fn compare_values(name: &str, got: &[f64], want: &[f64], tolerance: f64) -> Result<()> {
    let scale = want.iter().fold(0.0_f64, |max, v| max.max(v.abs()));
    within(name, got, want, tolerance * scale)
}

/// Fails at the first place where two lists differ.
pub fn equal_lists<A: PartialEq<B> + Display, B: Display>(name: &str, got: &[A], want: &[B]) -> Result<()> {
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        ensure!(got == want, "`{name}`: entry {i} is `{got}`, expected `{want}`");
    }
    ensure!(got.len() == want.len(), "`{name}`: {} entries, expected {}", got.len(), want.len());
    Ok(())
}

fn within(name: &str, got: &[f64], want: &[f64], allowed: f64) -> Result<()> {
    ensure!(got.len() == want.len(), "`{name}`: {} values, expected {}", got.len(), want.len());
    let mut worst = (0, 0.0);
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        // Equal infinities have no difference; a NaN on either side is worse than any number.
        let difference = if got == want { 0.0 } else { (got - want).abs() };
        let difference = if difference.is_nan() { f64::INFINITY } else { difference };
        if difference > worst.1 {
            worst = (i, difference);
        }
    }
    let (at, difference) = worst;
    ensure!(
        difference <= allowed,
        "`{name}`: value {at} of {} is {}, expected {}; off by {difference:.3e}, allowed {allowed:.3e}",
        want.len(),
        got[at],
        want[at],
    );
    Ok(())
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(Vec::try_from(tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Double).flatten(0, -1))?)
}

/// Many comparisons of one case: all run, all failures are reported together.
#[derive(Default)]
pub struct Comparison {
    done: usize,
    failures: Vec<String>,
}

impl Comparison {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the outcome of a comparison.
    pub fn add(&mut self, outcome: Result<()>) {
        self.done += 1;
        if let Err(failure) = outcome {
            self.failures.push(format!("{failure:#}"));
        }
    }

    /// [`compare`].
    pub fn tensors(&mut self, name: &str, got: &Tensor, want: &Tensor, tolerance: f64) {
        self.add(compare(name, got, want, tolerance));
    }

    /// [`compare_values`].
    pub fn values(&mut self, name: &str, got: &[f64], want: &[f64], tolerance: f64) {
        self.add(compare_values(name, got, want, tolerance));
    }

    /// Whether `got` lies within `tolerance * |want|`.
    pub fn number(&mut self, name: &str, got: f64, want: f64, tolerance: f64) {
        self.add(compare_values(name, &[got], &[want], tolerance));
    }

    /// Fails if any comparison failed, or none was made.
    pub fn finish(self) -> Result<()> {
        ensure!(self.done > 0, "nothing was compared");
        if !self.failures.is_empty() {
            let shown = self.failures.iter().take(12).map(|f| format!("\n  {f}")).collect::<String>();
            bail!("{} of {} comparisons failed:{shown}", self.failures.len(), self.done);
        }
        Ok(())
    }
}
