//! The Mamba block ("Mamba 1"): a gated state space model whose step size and input and output maps depend on the input
//! (Gu and Dao 2023, arXiv 2312.00752; names and shapes of mamba-ssm 2.1.0).

use common::Result;
use tch::{Kind, Tensor};

use crate::init::Init;
use crate::params::Path;
use crate::shim;

/// Sizes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MambaConfig {
    /// Channels that come in and go out (D).
    pub dim: i64,
    /// States of each inner channel (N).
    pub states: i64,
    /// Taps of the convolution (K).
    pub taps: i64,
    /// Inner channels in multiples of `dim` (E); I = E D.
    pub expand: i64,
}

impl MambaConfig {
    /// The sizes of the publication for `dim` channels and `states` states: four taps, twice the width inside.
    pub fn new(dim: i64, states: i64) -> Self {
        Self { dim, states, taps: 4, expand: 2 }
    }

    fn inner(&self) -> i64 {
        self.expand * self.dim
    }

    /// Width of the bottleneck that the step sizes come from: ceil(D / 16).
    fn rank(&self) -> i64 {
        (self.dim + 15) / 16
    }
}

/// How the recurrence is computed. The results differ by rounding only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The sequential reference of the original: every step an operation of the library that keeps its states for the
    /// backward pass. Slow; what the other forms are compared with.
    Plain,
    /// Tensor operations with a backward pass of its own that computes the states again, on any device and in any format.
    Operations,
    /// Kernels of our own that go over memory once each way, for f32 on CPUs and GPUs; [`Form::Operations`] elsewhere.
    Fused,
    /// A loop over the levels in TorchScript's language: what programs without our kernels run.
    Script,
}

/// The recurrence, one level after the other.
const SCRIPT: &str = "
def selective_scan(x: Tensor, dt: Tensor, a_log: Tensor, b: Tensor, c: Tensor, d: Tensor, z: Tensor) -> Tensor:
    a = -torch.exp(a_log)
    delta = torch.softplus(dt)
    state = torch.zeros([x.size(0), x.size(2), a.size(1)], dtype=x.dtype, device=x.device)
    levels: List[Tensor] = []
    for t in range(x.size(1)):
        step = delta[:, t].unsqueeze(-1)
        state = torch.exp(step * a) * state + (step * b[:, t].unsqueeze(1)) * x[:, t].unsqueeze(-1)
        levels.append(torch.matmul(state, c[:, t].unsqueeze(-1)).squeeze(-1))
    return (torch.stack(levels, 1) + x * d) * torch.silu(z)
";

/// A block without residual or normalisation: `out = W_out (scan(x~) * silu(z))` with `[x | z] = W_in u` and
/// `x~ = silu(conv(x))`. It runs from the first level to the last.
#[derive(Debug)]
pub struct Mamba {
    config: MambaConfig,
    a_log: Tensor,
    d: Tensor,
    in_proj: Tensor,
    conv: (Tensor, Tensor),
    x_proj: Tensor,
    dt_proj: (Tensor, Tensor),
    out_proj: Tensor,
}

impl Mamba {
    /// Parameters in the order of the published checkpoints, with the published initial distributions: A = -(1..=N) in
    /// every channel, D = 1, and step sizes that lie log-uniformly between 0.001 and 0.1 before training.
    pub fn new(p: &Path, config: MambaConfig) -> Result<Self> {
        let (inner, rank, n) = (config.inner(), config.rank(), config.states);
        let a_log: Vec<f32> = (0..inner * n).map(|i| ((i % n + 1) as f32).ln()).collect();
        let conv_fan_in = config.taps; // depthwise: one input channel
        Ok(Self {
            config,
            a_log: p.parameter("A_log", &[inner, n], Init::Values(a_log))?,
            d: p.parameter("D", &[inner], Init::Ones)?,
            in_proj: p.sub("in_proj").parameter("weight", &[2 * inner, config.dim], Init::FanIn)?,
            conv: {
                let p = p.sub("conv1d");
                let weight = p.parameter("weight", &[inner, 1, config.taps], Init::FanIn)?;
                (weight, p.parameter("bias", &[inner], Init::fan_in(conv_fan_in))?)
            },
            x_proj: p.sub("x_proj").parameter("weight", &[rank + 2 * n, inner], Init::FanIn)?,
            dt_proj: {
                let p = p.sub("dt_proj");
                let weight = p.parameter("weight", &[inner, rank], Init::fan_in(rank))?;
                (weight, p.parameter("bias", &[inner], Init::StepSizes)?)
            },
            out_proj: p.sub("out_proj").parameter("weight", &[config.dim, inner], Init::FanIn)?,
        })
    }

    /// `[B, L, D]` -> `[B, L, D]`.
    pub fn forward(&self, u: &Tensor) -> Tensor {
        self.forward_as(u, if shim::recording() { Form::Script } else { Form::Fused })
    }

    /// [`Mamba::forward`] in a given form.
    pub fn forward_as(&self, u: &Tensor, form: Form) -> Tensor {
        let (inner, rank, n) = (self.config.inner(), self.config.rank(), self.config.states);
        let xz = u.linear(&self.in_proj, None::<&Tensor>).split(inner, 2); // 2 x [B, L, I]
        let (x, z) = (&xz[0], &xz[1]);
        let x = self.convolve(x, form);
        let from_x = x.linear(&self.x_proj, None::<&Tensor>).split_with_sizes([rank, n, n], 2);
        let dt = from_x[0].linear(&self.dt_proj.0, Some(&self.dt_proj.1)); // [B, L, I], before softplus
        // The recurrence stays in f32 under autocast.
        let f32 = |t: &Tensor| t.to_kind(Kind::Float);
        let (x, dt, z) = (f32(&x), f32(&dt), f32(z));
        let (b, c) = (f32(&from_x[1]), f32(&from_x[2])); // [B, L, N]
        let scan = shim::Scan { x: &x, dt: &dt, a_log: &self.a_log, b: &b, c: &c, d: &self.d, z: &z };
        let y = match form {
            Form::Plain => plain_scan(&scan),
            Form::Script => scripted_scan(&scan),
            Form::Operations | Form::Fused => {
                shim::selective_scan(&scan, form == Form::Fused).unwrap_or_else(|e| panic!("{e}"))
            }
        };
        y.linear(&self.out_proj, None::<&Tensor>)
    }

    /// silu of a depthwise convolution whose last tap multiplies the current level.
    fn convolve(&self, x: &Tensor, form: Form) -> Tensor {
        let (weight, bias) = &self.conv;
        if form == Form::Fused
            && let Some(y) = shim::causal_conv_silu(x, weight, bias).unwrap_or_else(|e| panic!("{e}"))
        {
            return y;
        }
        let levels_last = x.transpose(1, 2).constant_pad_nd([self.config.taps - 1, 0]); // [B, I, K - 1 + L]
        let y = levels_last.conv1d(weight, Some(bias), [1], [0], [1], self.config.inner());
        y.silu().transpose(1, 2)
    }
}

fn scripted_scan(p: &shim::Scan) -> Tensor {
    let inputs = [p.x, p.dt, p.a_log, p.b, p.c, p.d, p.z];
    shim::script(SCRIPT, "selective_scan", &inputs).unwrap_or_else(|e| panic!("{e}"))
}

/// The recurrence as the original's own reference has it: factors and inputs of all levels at once, then one level after
/// the other.
fn plain_scan(p: &shim::Scan) -> Tensor {
    let delta = p.dt.softplus().unsqueeze(-1); // [B, L, I, 1]
    let a = -p.a_log.exp(); // [I, N]
    let factors = (&delta * &a).exp(); // [B, L, I, N]
    let inputs = delta * p.b.unsqueeze(2) * p.x.unsqueeze(-1); // [B, L, I, N]
    let (batch, length, inner) = (p.x.size()[0], p.x.size()[1], p.x.size()[2]);
    let mut s = Tensor::zeros([batch, inner, a.size()[1]], (p.x.kind(), p.x.device()));
    let mut levels = Vec::new();
    for t in 0..length {
        s = factors.select(1, t) * &s + inputs.select(1, t);
        levels.push(s.matmul(&p.c.select(1, t).unsqueeze(-1)).squeeze_dim(-1));
    }
    (Tensor::stack(&levels, 1) + p.x * p.d) * p.z.silu()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use crate::params::Params;
    use tch::Device;

    const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn block(config: MambaConfig, seed: u64) -> (Params, Mamba) {
        let params = Params::new(Device::Cpu, seed);
        let block = Mamba::new(&params.root(), config).unwrap();
        (params, block)
    }

    fn random(shape: &[i64], seed: u64) -> Tensor {
        let mut rng = common::seed::rng_for(seed, "mamba test", 0);
        Tensor::from_slice(&Init::Normal(1.0).draw(shape, &mut rng).unwrap()).view(shape)
    }

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        let scale = b.abs().max().double_value(&[]).max(1e-30);
        (a - b).abs().max().double_value(&[]) / scale
    }

    /// Output and all gradients, those of the input first.
    fn outcome(params: &Params, block: &Mamba, u: &Tensor, form: Form) -> Vec<(String, Tensor)> {
        params.named().iter().for_each(|(_, p)| p.shallow_clone().zero_grad());
        let u = u.copy().set_requires_grad(true);
        let out = block.forward_as(&u, form);
        (&out * random(&out.size(), 9)).sum(None).backward();
        let mut all = vec![("out".to_string(), out.detach()), ("u".into(), u.grad())];
        all.extend(params.named().into_iter().map(|(name, p)| (name, p.grad().copy())));
        all
    }

    #[test]
    fn all_forms_agree_with_the_plain_one() {
        // Widths off the vectors' length, lengths below the taps, states off the unrolling, more samples than parts.
        for (batch, length, dim, states) in [(2, 60, 17, 16), (1, 2, 8, 64), (3, 7, 40, 5), (21, 9, 4, 3), (2, 1, 8, 1)]
        {
            let (params, block) = block(MambaConfig::new(dim, states), 3);
            let u = random(&[batch, length, dim], 1);
            let want = outcome(&params, &block, &u, Form::Plain);
            for form in [Form::Fused, Form::Operations, Form::Script] {
                for ((name, got), (_, want)) in outcome(&params, &block, &u, form).iter().zip(&want) {
                    let off = difference(got, want);
                    assert!(off < 2e-5, "{form:?} {batch}x{length}x{dim}, {states} states: `{name}` is off by {off:e}");
                }
            }
        }
    }

    #[test]
    fn the_fused_scan_does_not_depend_on_the_number_of_threads() {
        let (batch, length, inner, states) = (19, 30, 40, 7);
        let shapes: [&[i64]; 7] = [
            &[batch, length, inner],
            &[batch, length, inner],
            &[inner, states],
            &[batch, length, states],
            &[batch, length, states],
            &[inner],
            &[batch, length, inner],
        ];
        let run = |threads| {
            tch::set_num_threads(threads);
            let t: Vec<Tensor> = (0..).zip(shapes).map(|(i, shape)| random(shape, i).set_requires_grad(true)).collect();
            let scan = shim::Scan { x: &t[0], dt: &t[1], a_log: &t[2], b: &t[3], c: &t[4], d: &t[5], z: &t[6] };
            let out = shim::selective_scan(&scan, true).unwrap();
            (&out * random(&out.size(), 9)).sum(None).backward();
            t.iter().map(Tensor::grad).chain([out.detach()]).collect::<Vec<_>>()
        };
        let before = tch::get_num_threads();
        let (one, four) = (run(1), run(4));
        tch::set_num_threads(before);
        for (i, (a, b)) in one.iter().zip(&four).enumerate() {
            assert!(a.equal(b), "result {i}");
        }
    }

    #[test]
    fn without_gradients_the_output_is_the_same() {
        let (_, block) = block(MambaConfig::new(12, 8), 4);
        let u = random(&[2, 60, 12], 2);
        let with = block.forward(&u).detach();
        assert!(tch::no_grad(|| block.forward(&u)).equal(&with));
    }

    #[test]
    fn steps_start_between_a_thousandth_and_a_tenth() {
        let (params, _) = block(MambaConfig::new(64, 16), 5);
        let delta = params.get("dt_proj.bias").unwrap().softplus();
        let (low, high) = (delta.min().double_value(&[]), delta.max().double_value(&[]));
        assert!((0.000_999..0.003).contains(&low) && (0.05..0.100_1).contains(&high), "{low} {high}");
        let a = params.get("A_log").unwrap().exp();
        assert!((a.get(7) - (Tensor::arange(16, CPU) + 1)).abs().max().double_value(&[]) < 1e-5);
    }

    #[test]
    fn nan_stays_nan() {
        let (_, block) = block(MambaConfig::new(8, 4), 5);
        let u = Tensor::full([1, 5, 8], f64::NAN, CPU);
        assert!(block.forward(&u).isnan().all().double_value(&[]) == 1.0);
    }
}
