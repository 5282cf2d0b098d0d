//! Single blocks of ForcewithMe's networks, and the start of a second stage from a first one's checkpoint.

use anyhow::{Context, Result};
use leap::layout;
use leap::models::lstm_block::{LstmBlock, LstmBlockConfig};
use neural::layers::{Form, Mamba, MambaConfig};
use neural::{Params, weights};
use serde_json::Value;
use tch::Tensor;

use super::networks::{build, load};
use crate::checks::{Case, Comparison};

/// Output and all gradients of an LSTM block.
pub fn lstm(case: &Case) -> Result<()> {
    let params = Params::new(crate::checks::device(), 1);
    let size = |name: &str| -> Result<i64> { Ok(case.usize(name)? as i64) };
    let config = LstmBlockConfig {
        inputs: size("input_dim")?,
        hidden: size("embed_dim")?,
        layers: size("num_lstm")?,
        expansion: size("forward_expansion")?,
        residual: !case.bool("first_layer")?,
    };
    let block = LstmBlock::new(&params.root(), config)?;
    gradients(case, &params, |x| block.forward(x, true))
}

/// Output and all gradients of a Mamba block, in all its forms.
pub fn mamba(case: &Case) -> Result<()> {
    for form in [Form::Fused, Form::Operations, Form::Plain] {
        let params = Params::new(crate::checks::device(), 1);
        let size = |name: &str| -> Result<i64> { Ok(case.usize(name)? as i64) };
        let config = MambaConfig {
            dim: size("d_model")?,
            states: size("d_state")?,
            taps: size("d_conv")?,
            expand: size("expand")?,
        };
        let block = Mamba::new(&params.root(), config)?;
        gradients(case, &params, |x| block.forward_as(x, form)).with_context(|| format!("{form:?}"))?;
    }
    Ok(())
}

/// Compares the output, and the gradients of `sum(output * cotangent)`.
fn gradients(case: &Case, params: &Params, forward: impl Fn(&Tensor) -> Tensor) -> Result<()> {
    let (inputs, expected) = (case.tensors("inputs.safetensors")?, case.tensors("expected.safetensors")?);
    load(params, &case.tensors("weights.safetensors")?)?;
    let x = inputs.get("x")?.set_requires_grad(true);
    let out = forward(&x);
    let mut checks = Comparison::new();
    checks.tensors("out", &out, &expected.get("out")?, case.f64("tolerance.out")?);
    (&out * inputs.get("cotangent")?).sum(None).backward();
    let near = case.f64("tolerance.grad")?;
    checks.tensors("grad.x", &x.grad(), &expected.get("grad.x")?, near);
    for (name, parameter) in params.named() {
        let wanted = format!("grad.{name}");
        checks.tensors(&wanted, &parameter.grad(), &expected.get(&wanted)?, near);
    }
    checks.finish()
}

/// Both stages of lstmmamba from the first one's `.pt`, whose names begin with `module.`; only the head's weight is new.
pub fn second_stage(case: &Case) -> Result<()> {
    let (inputs, expected) = (case.tensors("inputs.safetensors")?, case.tensors("expected.safetensors")?);
    let file = case.path("stage1.pt");
    let x = layout::expand(&inputs.get("rows")?);
    let near = case.f64("tolerance.out")?;
    let mut checks = Comparison::new();
    let sizes = case.value("constructor")?;

    let (params, network) = build("lstmmamba-stage1", sizes)?;
    weights::load(&params.state(), &file, &weights::Allow::default())?;
    checks.tensors("out_stage1", &network.forward(&x, false), &expected.get("out_stage1")?, near);

    let (params, network) = build("lstmmamba-stage2", &Value::clone(sizes))?;
    let fresh = inputs.under("stage2_");
    let drop: Vec<String> = fresh.iter().map(|(name, _)| name.clone()).collect();
    let allow = weights::Allow { dropped: drop.clone(), missing: drop, ..weights::Allow::default() };
    weights::load(&params.state(), &file, &allow)?;
    for (name, values) in &fresh {
        let target = params.get(name).with_context(|| format!("no parameter `{name}`"))?;
        tch::no_grad(|| target.shallow_clone().f_copy_(values).with_context(|| format!("copying `{name}`")))?;
    }
    checks.tensors("out_stage2", &network.forward(&x, false), &expected.get("out_stage2")?, near);
    checks.finish()
}
