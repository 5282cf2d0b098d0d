//! Pulses as vectors: sinusoids of position, charge and time, the auxiliary flag and the number of pulses
//! (`Extractor`, `ExtractorV11Scaled` of the published code).

use common::Result;
use neural::init::Init;
use neural::layers::LayerNorm;
use neural::{Doing, Path};
use tch::{Device, Kind, Tensor};

use super::linear::{Dense, normal};

/// Coordinates, times and charges are multiplied with these before the sinusoids.
const POSITION_SCALE: f64 = 4096.0;
const TIME_SCALE: f64 = 4096.0;
const CHARGE_SCALE: f64 = 1024.0;

/// `[sin(u f_0).., cos(u f_0)..]` with `f_j = 10000^(-j / half)`, all in f32: the arguments reach thousands of radians,
/// so the product has to be rounded as the published code rounds it.
#[derive(Debug)]
pub struct Sinusoid {
    frequencies: Tensor,
}

impl Sinusoid {
    /// `dim` values a number; `dim` is even.
    pub fn new(dim: i64, device: Device) -> Result<Self> {
        let half = dim / 2;
        let step = (10_000_f64.ln() / half as f64) as f32;
        let exponents = Tensor::f_arange(half, (Kind::Float, device)).doing("creating the frequencies")?;
        Ok(Self { frequencies: (exponents * -f64::from(step)).exp() })
    }

    /// `[..]` -> `[.., dim]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let argument = x.unsqueeze(-1) * &self.frequencies;
        Tensor::cat(&[argument.sin(), argument.cos()], -1)
    }
}

/// What the pulses of a batch look like to an encoder: one row a pulse, events one after another, no padding.
#[derive(Debug)]
pub struct Pulses {
    /// Scaled position `[N, 3]`.
    pub pos: Tensor,
    /// Scaled time `[N]`.
    pub time: Tensor,
    /// Scaled logarithm of the charge `[N]`.
    pub charge: Tensor,
    /// Auxiliary flag, i64 `[N]`.
    pub auxiliary: Tensor,
    /// `log10` of the event's number of pulses, for every pulse, f32 `[N]`.
    pub log_pulses: Tensor,
}

impl Pulses {
    /// With copies of the first pulse behind the last up to so many rows.
    #[must_use]
    pub fn extended(&self, rows: i64) -> Self {
        let found = self.time.size()[0];
        let whole = (Kind::Int64, self.time.device());
        let index = Tensor::cat(&[Tensor::arange(found, whole), Tensor::zeros([rows - found], whole)], 0);
        let extend = |t: &Tensor| if rows == found { t.shallow_clone() } else { t.index_select(0, &index) };
        Self {
            pos: extend(&self.pos),
            time: extend(&self.time),
            charge: extend(&self.charge),
            auxiliary: extend(&self.auxiliary),
            log_pulses: extend(&self.log_pulses),
        }
    }
}

/// Learned factors of the four kinds of sinusoids.
#[derive(Debug)]
struct Scales {
    pos: Tensor,
    charge: Tensor,
    time: Tensor,
    pulses: Tensor,
}

/// The pulse encoder.
#[derive(Debug)]
pub struct Extractor {
    wide: Sinusoid,
    narrow: Sinusoid,
    aux_emb: Tensor,
    scales: Option<Scales>,
    first: Dense,
    norm: LayerNorm,
    second: Dense,
}

impl Extractor {
    /// `dim_base` values for each of the sinusoids, `dim` outputs. `scaled`: with a learned factor for each.
    pub fn new(p: &Path, dim_base: i64, dim: i64, scaled: bool) -> Result<Self> {
        let scale = |name: &str, dim: i64| -> Result<Tensor> {
            p.sub(name).parameter("scale", &[1], Init::Constant((dim as f32).powf(-0.5)))
        };
        // The order of the published modules.
        let (mut scales, aux);
        if scaled {
            let pos = scale("pos", dim_base)?;
            let charge = scale("emb_charge", dim_base)?;
            let time = scale("time", dim_base)?;
            aux = p.sub("aux_emb").parameter("weight", &[2, dim_base / 2], Init::Normal(1.0))?;
            scales = Some(Scales { pos, charge, time, pulses: scale("emb2", dim_base / 2)? });
        } else {
            scales = None;
            aux = p.sub("aux_emb").parameter("weight", &[2, dim_base / 2], Init::Normal(1.0))?;
        }
        let proj = p.sub("proj");
        Ok(Self {
            wide: Sinusoid::new(dim_base, p.device())?,
            narrow: Sinusoid::new(dim_base / 2, p.device())?,
            aux_emb: aux,
            scales: scales.take(),
            first: Dense::new(&proj.sub(0), 6 * dim_base, 6 * dim_base, normal())?,
            norm: LayerNorm::new(&proj.sub(1), &[6 * dim_base])?,
            second: Dense::new(&proj.sub(3), 6 * dim_base, dim, normal())?,
        })
    }

    /// `[N]` pulses -> `[N, dim]`.
    pub fn forward(&self, pulses: &Pulses) -> Tensor {
        let rows = pulses.time.size()[0];
        let encoded = tch::no_grad(|| {
            [
                self.wide.forward(&(&pulses.pos * POSITION_SCALE)).view([rows, -1]),
                self.wide.forward(&(&pulses.charge * CHARGE_SCALE)),
                self.wide.forward(&(&pulses.time * TIME_SCALE)),
                self.narrow.forward(&pulses.log_pulses),
            ]
        });
        let [pos, charge, time, log_pulses] = match &self.scales {
            None => encoded,
            Some(s) => {
                let [pos, charge, time, log_pulses] = encoded;
                [pos * &s.pos, charge * &s.charge, time * &s.time, log_pulses * &s.pulses]
            }
        };
        let auxiliary = Tensor::embedding(&self.aux_emb, &pulses.auxiliary, -1, false, false);
        let x = Tensor::cat(&[pos, charge, time, auxiliary, log_pulses], 1);
        let x = self.norm.forward(&self.first.forward(&x)).gelu("none");
        self.second.forward(&x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sines_come_first() {
        let sinusoid = Sinusoid::new(4, Device::Cpu).unwrap();
        let values = Vec::<f32>::try_from(sinusoid.forward(&Tensor::from_slice(&[2.0_f32])).flatten(0, -1)).unwrap();
        let expected = [2.0_f32.sin(), 0.02_f32.sin(), 2.0_f32.cos(), 0.02_f32.cos()];
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{value} against {expected}");
        }
    }
}
