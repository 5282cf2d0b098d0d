//! Exponential moving average of the weights.

use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::errors::Doing;
use crate::weights::{self, Allow};

/// How fast the average follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmaConfig {
    /// Share of the old average that is kept at every step, in [0, 1).
    pub decay: f64,
    /// With gradients summed over several batches: whether the average moves after every batch, as in fastai, or only
    /// after steps of the optimizer.
    #[serde(default)]
    pub every_batch: bool,
}

impl EmaConfig {
    /// What is wrong with the numbers: pairs of key and problem.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        if (0.0..1.0).contains(&self.decay) {
            return Vec::new();
        }
        vec![("decay", format!("is {}, expected 0 <= decay < 1", self.decay))]
    }
}

/// The averages of a list of parameters, which they start as copies of.
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    shadow: Vec<(String, Tensor)>,
}

impl Ema {
    /// Averages that are equal to the parameters.
    pub fn new(config: &EmaConfig, params: &[(String, Tensor)]) -> Result<Self> {
        if let Some((key, problem)) = config.problems().first() {
            return Err(Error::usage(format!("ema: `{key}` {problem}")));
        }
        let copy = |(name, param): &(String, Tensor)| {
            Ok((name.clone(), copy_of(param).doing(format!("copying `{name}` for its average"))?))
        };
        Ok(Self { decay: config.decay, shadow: params.iter().map(copy).collect::<Result<_>>()? })
    }

    /// `average = decay * average + (1 - decay) * parameter`, after an optimizer step. `params` must be the list that
    /// the averages were made of.
    pub fn update(&mut self, params: &[(String, Tensor)]) -> Result<()> {
        self.check(params)?;
        for ((name, shadow), (_, param)) in self.shadow.iter_mut().zip(params) {
            let _ = tch::no_grad(|| shadow.f_lerp_(&param.detach(), 1.0 - self.decay))
                .doing(format!("averaging `{name}`"))?;
        }
        Ok(())
    }

    /// Exchanges averages and parameters in place. Call it before an evaluation and again after it.
    pub fn swap(&mut self, params: &[(String, Tensor)]) -> Result<()> {
        self.check(params)?;
        for ((name, shadow), (_, param)) in self.shadow.iter_mut().zip(params) {
            let what = format!("exchanging `{name}` with its average");
            let mut param = param.detach();
            let kept = copy_of(&param).doing(&what)?;
            param.f_copy_(shadow).doing(&what)?;
            shadow.f_copy_(&kept).doing(&what)?;
        }
        Ok(())
    }

    /// The averages under the parameters' names, sharing memory.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.shadow.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    /// Takes the averages from saved tensors, among which there may be others (buffers). Refused, without changing
    /// anything, when one is missing or has another shape or type.
    pub fn load_state(&mut self, saved: &[(String, Tensor)]) -> Result<()> {
        let others = Allow { unexpected: vec!["*".into()], ..Allow::default() };
        weights::load_strict(&self.shadow, saved, &others).map(drop)
    }

    fn check(&self, params: &[(String, Tensor)]) -> Result<()> {
        let same = params.len() == self.shadow.len()
            && params.iter().zip(&self.shadow).all(|((a, x), (b, y))| a == b && x.size() == y.size());
        if same { Ok(()) } else { Err(Error::failed("the averages were made of other parameters")) }
    }
}

fn copy_of(tensor: &Tensor) -> Result<Tensor, tch::TchError> {
    let mut copy = tensor.detach().f_empty_like()?;
    copy.f_copy_(&tensor.detach())?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(values: &[f32]) -> Vec<(String, Tensor)> {
        vec![("w".into(), Tensor::from_slice(values).set_requires_grad(true))]
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.detach()).unwrap()
    }

    fn set(params: &[(String, Tensor)], values: &[f32]) {
        params[0].1.detach().copy_(&Tensor::from_slice(values));
    }

    #[test]
    fn the_average_follows_with_its_decay() {
        let params = params(&[1.0, -2.0]);
        let mut ema = Ema::new(&EmaConfig { decay: 0.9, every_batch: false }, &params).unwrap();
        let mut expected = [1.0_f64, -2.0];
        for step in 1..20 {
            let new = [step as f32, 1.0 / step as f32];
            set(&params, &new);
            ema.update(&params).unwrap();
            expected.iter_mut().zip(new).for_each(|(e, x)| *e = 0.9 * *e + 0.1 * f64::from(x));
        }
        for (found, expected) in values(&ema.state()[0].1).into_iter().zip(expected) {
            assert!((f64::from(found) - expected).abs() < 2e-6, "{found} against {expected}");
        }
        assert_eq!(values(&params[0].1)[0], 19.0);
    }

    #[test]
    fn swapping_twice_changes_nothing_and_once_exchanges() {
        let params = params(&[1.0]);
        let mut ema = Ema::new(&EmaConfig { decay: 0.5, every_batch: false }, &params).unwrap();
        set(&params, &[3.0]);
        ema.update(&params).unwrap();
        ema.swap(&params).unwrap();
        assert_eq!((values(&params[0].1), values(&ema.state()[0].1)), (vec![2.0], vec![3.0]));
        assert!(params[0].1.requires_grad());
        ema.swap(&params).unwrap();
        assert_eq!((values(&params[0].1), values(&ema.state()[0].1)), (vec![3.0], vec![2.0]));
    }

    #[test]
    fn a_restored_average_continues_bit_for_bit() {
        let params = params(&[0.1]);
        let mut straight = Ema::new(&EmaConfig { decay: 0.99, every_batch: false }, &params).unwrap();
        set(&params, &[0.7]);
        straight.update(&params).unwrap();
        let mut saved: Vec<_> = straight.state().into_iter().map(|(n, t)| (n, t.copy())).collect();
        saved.push(("pe".into(), Tensor::from_slice(&[0.0_f32])));
        let mut resumed = Ema::new(&EmaConfig { decay: 0.99, every_batch: false }, &params).unwrap();
        resumed.load_state(&saved).unwrap();
        straight.update(&params).unwrap();
        resumed.update(&params).unwrap();
        assert_eq!(values(&straight.state()[0].1), values(&resumed.state()[0].1));
        assert!(resumed.load_state(&saved[1..]).is_err());
    }

    #[test]
    fn other_parameters_and_decays_out_of_range_are_refused() {
        let mut ema = Ema::new(&EmaConfig { decay: 0.5, every_batch: false }, &params(&[1.0])).unwrap();
        assert!(ema.update(&params(&[1.0, 2.0])).is_err());
        assert!(ema.swap(&[]).is_err());
        for decay in [1.0, -0.1, f64::NAN] {
            assert!(matches!(Ema::new(&EmaConfig { decay, every_batch: false }, &[]), Err(Error::Usage { .. })));
        }
    }
}
