//! Norms, token embedding, positions, transformer, masks.

use anyhow::{Context, Result};
use neural::Params;
use polarmae::masking::mask_by_scores;
use polarmae::models::norm::{MaskedBatchNorm, NormScope, TokenNorm, normalise, normalise_padded};
use polarmae::models::packed::Runs;
use polarmae::models::plain;
use polarmae::models::pointnet::{Members, MiniPointNet};
use polarmae::models::positions::{LearnedPositions, relative_cells, sinusoidal};
use polarmae::models::transformer::{Layout, Transformer, TransformerConfig};
use tch::{Kind, Tensor};

use crate::checks::{Case, Comparison, Tensors};

/// Copies `source` into the parameters; both must have the same names and shapes.
pub fn load(params: &Params, source: &[(String, Tensor)]) -> Result<()> {
    neural::weights::load_strict(&params.state(), source, &neural::weights::Allow::default())?;
    Ok(())
}

/// Rows of a padded tensor `[B, T, ..]` where `mask [B, T]` is set.
pub fn valid(x: &Tensor, mask: &Tensor) -> Tensor {
    let rows = mask.reshape([-1]).nonzero().squeeze_dim(1);
    x.flatten(0, 1).index_select(0, &rows)
}

/// Lengths of the valid runs of a mask `[B, T]` whose valid places come first.
pub fn runs(mask: &Tensor) -> Result<Runs> {
    let counts = mask.to_kind(Kind::Int64).sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
    Ok(Runs::new(Vec::try_from(counts)?))
}

fn grad(x: &Tensor) -> Tensor {
    x.set_requires_grad(true)
}

/// Compares gradients with `<prefix>.<name>`, or with every so-manieth value and the norm where a tensor is large.
/// Parameters that have no expected gradient must have none, or zero.
pub fn gradients(
    all: &mut Comparison,
    params: &Params,
    expected: &Tensors,
    prefix: &str,
    strip: &str,
    tolerance: f64,
) -> Result<()> {
    // Some gradients are exactly zero in theory and noise in practice: absolute limits come from the largest of all.
    let mut largest = 0.0f64;
    for name in expected.names().filter(|n| n.starts_with(&format!("{prefix}."))) {
        largest = largest.max(expected.get(name)?.abs().max().double_value(&[]));
    }
    for (name, tensor) in params.named() {
        let short = name.strip_prefix(strip).unwrap_or(&name).to_string();
        let got = tensor.grad();
        let (whole, stride, norm) =
            (format!("{prefix}.{short}"), format!("{prefix}_stride.{short}"), format!("{prefix}_norm.{short}"));
        if !expected.has(&whole) && !expected.has(&stride) {
            let none = !got.defined() || got.abs().max().double_value(&[]) == 0.0;
            all.add(if none { Ok(()) } else { Err(anyhow::anyhow!("`{name}` has a gradient, expected none")) });
            continue;
        }
        if !got.defined() {
            all.add(Err(anyhow::anyhow!("`{name}` has no gradient")));
            continue;
        }
        let noise = name.ends_with("qkv.bias")
            || name.ends_with("first_conv.3.bias")
            || name.ends_with("seg_decoder.transformer.norm.beta");
        let mut one = |label: &str, got: &Tensor, want: &Tensor| {
            let scale = if noise { largest } else { want.abs().max().double_value(&[]) };
            all.add(crate::checks::compare_absolute(label, got, want, tolerance * scale));
        };
        if expected.has(&whole) {
            one(&whole, &got, &expected.get(&whole)?);
        } else {
            let step = (got.numel() as i64 + 1023) / 1024;
            one(&stride, &got.flatten(0, -1).slice(0, 0, None, step), &expected.get(&stride)?);
            one(&norm, &got.norm().view([1]), &expected.get(&norm)?);
        }
    }
    Ok(())
}

/// `layer_norm_masked`.
pub fn layer_norm(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let params = Params::new(crate::checks::device(), 1);
    let width = *inputs.get("x")?.size().last().context("`x` is a scalar")?;
    let norm = TokenNorm::new(&params.root(), width, NormScope::Batch)?;
    load(&params, &case.tensors("weights.safetensors")?.all())?;
    let tolerance = case.f64("tolerance")?;
    let mask = inputs.get("mask")?;
    let padding = mask.to_kind(Kind::Float).unsqueeze(2);
    let mut all = Comparison::new();
    let (x, w) = (inputs.get("x")?, inputs.get("w")?);
    let packed = grad(&valid(&x, &mask));
    let y = norm.forward(&packed)?;
    all.tensors("y", &y, &valid(&expected.get("y")?, &mask), tolerance);
    all.tensors("y, padded form", &norm.forward_padded(&x, &padding), &expected.get("y")?, tolerance);
    (y * valid(&w, &mask)).sum(Kind::Float).backward();
    all.tensors("grad_x", &packed.grad(), &valid(&expected.get("grad_x")?, &mask), tolerance);
    for name in ["gamma", "beta"] {
        let got = params.get(name).map(|t| t.grad()).unwrap_or_default();
        all.tensors(name, &got, &expected.get(&format!("grad.{name}"))?, tolerance);
    }
    let want = expected.get("functional")?;
    all.tensors("functional", &normalise(&valid(&x, &mask), NormScope::Batch), &valid(&want, &mask), tolerance);
    let functional = normalise_padded(&x, &padding, NormScope::Batch) * &padding;
    all.tensors("functional, padded form", &functional, &want, tolerance);
    all.finish()
}

/// `batch_norm_masked`: `[B, C, L]` with a mask `[B, 1, L]`.
pub fn batch_norm(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let params = Params::new(crate::checks::device(), 1);
    let norm = MaskedBatchNorm::new(&params.root(), inputs.get("x")?.size()[1])?;
    load(&params, &case.tensors("weights.safetensors")?.all())?;
    let tolerance = case.f64("tolerance")?;
    let mask = inputs.get("mask")?.squeeze_dim(1);
    let rows = |t: &Tensor| valid(&t.transpose(1, 2).contiguous(), &mask);
    let mut all = Comparison::new();
    let x = grad(&rows(&inputs.get("x")?));
    let y = norm.forward(&x, true)?;
    all.tensors("train", &y, &rows(&expected.get("train")?), tolerance);
    (y * rows(&inputs.get("w")?)).sum(Kind::Float).backward();
    // Padded places equal the bias and take part in the loss: their share of its gradient is their weight.
    let padding = 1 - mask.to_kind(Kind::Int64);
    let shared = valid(&inputs.get("w")?.transpose(1, 2).contiguous(), &padding).sum_dim_intlist(
        [0i64].as_slice(),
        false,
        Kind::Float,
    );
    all.tensors("grad_x", &x.grad(), &rows(&expected.get("grad_x")?), tolerance);
    all.tensors("grad.weight", &norm.weight.grad(), &expected.get("grad.weight")?, tolerance);
    all.tensors("grad.bias", &(norm.bias.grad() + shared), &expected.get("grad.bias")?, tolerance);
    tch::no_grad(|| -> Result<()> {
        let again = norm.forward(&x, true)?;
        all.tensors("train_second", &again, &rows(&expected.get("train_second")?), tolerance);
        for (name, tensor) in params.state() {
            all.tensors(&name, &tensor, &expected.get(&format!("after2.{name}"))?, tolerance);
        }
        all.tensors("eval_after", &norm.forward(&x, false)?, &rows(&expected.get("eval_after")?), tolerance);
        Ok(())
    })?;
    let padded = valid(&expected.get("train")?.transpose(1, 2).contiguous(), &padding);
    all.tensors("padding", &norm.bias.unsqueeze(0).expand_as(&padded), &padded, tolerance);
    all.finish()
}

/// `pointnet_*`.
pub fn pointnet(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let params = Params::new(crate::checks::device(), 1);
    let points = inputs.get("points")?;
    let slots = points.size()[1];
    let network = MiniPointNet::new(
        &params.root(),
        case.usize("config.channels")? as i64,
        case.usize("config.feature_dim")? as i64,
        slots,
        case.bool("config.equivariant")?,
    )?;
    load(&params, &case.tensors(case.str("weights")?)?.under(case.str("weights_prefix")?))?;
    let tolerance = case.f64("tolerance")?;
    let mask = inputs.get("mask")?.squeeze_dim(1);
    let (features, runs) = (valid(&points, &mask), runs(&mask)?);
    let members = Members { features: &features, runs: &runs };
    let mut all = Comparison::new();
    let eval = tch::no_grad(|| network.forward(&members, false))?;
    all.tensors("eval", &eval, &expected.get("eval")?, tolerance);
    let train = network.forward(&members, true)?;
    all.tensors("train", &train, &expected.get("train")?, tolerance);
    (train * inputs.get("w")?).sum(Kind::Float).backward();
    gradients(&mut all, &params, &expected, "grad", "", tolerance)?;
    statistics(&mut all, &params, &expected, "", tolerance)?;
    all.finish()
}

/// Running statistics against `after.<name>`.
pub fn statistics(
    all: &mut Comparison,
    params: &Params,
    expected: &Tensors,
    strip: &str,
    tolerance: f64,
) -> Result<()> {
    for (name, tensor) in params.state().iter().filter(|(name, _)| name.contains(".running_")) {
        let want = format!("after.{}", name.strip_prefix(strip).unwrap_or(name));
        if expected.has(&want) {
            all.tensors(&want, tensor, &expected.get(&want)?, tolerance);
        }
    }
    Ok(())
}

/// `pos_embed`.
pub fn positions(case: &Case) -> Result<()> {
    let centers = case.tensors("inputs.safetensors")?.get("centers")?;
    let expected = case.tensors("expected.safetensors")?;
    let weights = case.tensors("weights.safetensors")?;
    let tolerance = case.f64("tolerance")?;
    let mut all = Comparison::new();
    let params = Params::new(crate::checks::device(), 1);
    let width = *expected.get("plain")?.size().last().context("`plain` is a scalar")?;
    let learned = LearnedPositions::new(&params.root(), width)?;
    load(&params, &weights.under("plain."))?;
    all.tensors("plain", &learned.forward(&centers), &expected.get("plain")?, tolerance);
    let (dim, scale) = (case.usize("config.sincos_dim")? as i64, case.f64("config.sincos_scale")?);
    all.tensors("sincos", &sinusoidal(&centers, dim, scale), &expected.get("sincos")?, tolerance);
    let (bins, bin) = (case.usize("config.rpb.num_bins")? as i64, case.f64("config.rpb.bin_size")?);
    let cells = relative_cells(&centers, bins, bin);
    all.tensors("rpb_index", &cells.reshape([-1]), &expected.get("rpb_index")?, 0.0);
    let size = cells.size();
    let table = weights.get("rpb.bias_table")?; // [H, cells]
    let bias = table.index_select(1, &cells.reshape([-1])).view([-1, size[0], size[1], size[2]]).transpose(0, 1);
    all.tensors("rpb_bias", &bias, &expected.get("rpb_bias")?, tolerance);
    all.finish()
}

/// `transformer`: the padded form as published, garbage of padding included, and the packed form on valid rows.
pub fn transformer(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let weights = case.tensors("weights.safetensors")?;
    let tolerance = case.f64("tolerance")?;
    let config = |postnorm, every| -> Result<TransformerConfig> {
        Ok(TransformerConfig {
            embed_dim: Some(case.usize("config.embed_dim")? as i64),
            heads: Some(case.usize("config.num_heads")? as i64),
            depth: Some(case.usize("config.depth")? as i64),
            mlp_ratio: case.usize("config.mlp_ratio")? as i64,
            postnorm,
            add_pos_at_every_layer: every,
            drop_rate: 0.0,
            attn_drop_rate: 0.0,
            drop_path_rate: 0.0,
            ..TransformerConfig::default()
        })
    };
    let (x, pos, mask) = (inputs.get("x")?, inputs.get("pos")?, inputs.get("mask")?);
    let mut all = Comparison::new();
    // `postnorm_everypos`, `postnorm_oncepos`, `noposnorm_everypos`: whether a norm ends it, how often positions are added.
    let forms: Vec<String> = expected.names().filter_map(|name| name.strip_suffix(".last")).map(String::from).collect();
    for name in forms.iter().filter(|name| name.contains('_')) {
        let (postnorm, every) = (name.starts_with("postnorm"), name.ends_with("everypos"));
        let params = Params::new(crate::checks::device(), 1);
        let network = Transformer::new(&params.root(), &config(postnorm, every)?)?;
        let own: Vec<_> = weights.all().into_iter().filter(|(n, _)| postnorm || !n.starts_with("norm.")).collect();
        load(&params, &own)?;
        let want = expected.get(&format!("{name}.last"))?;
        let trace = tch::no_grad(|| plain::forward(&network, &x, &pos, &mask, None));
        all.tensors(&format!("{name}, padded form"), &trace.last, &want, tolerance);
        // Places of a mask may lie anywhere; the packed form takes the valid ones in order.
        let layout = Layout::new(runs(&mask)?, crate::checks::device());
        let (packed, pos_rows) = (grad(&valid(&x, &mask)), grad(&valid(&pos, &mask)));
        let last = network.forward(&packed, &pos_rows, &layout, false)?;
        all.tensors(&format!("{name}, packed"), &last, &valid(&want, &mask), tolerance);
        if !(postnorm && every) {
            continue;
        }
        all.tensors("fused", &last, &valid(&expected.get("fused.last")?, &mask), tolerance);
        for (i, (hidden, attention)) in trace.hidden.iter().zip(&trace.attentions).enumerate() {
            all.tensors(&format!("hidden{i}"), hidden, &expected.get(&format!("{name}.hidden{i}"))?, tolerance);
            all.tensors(&format!("attn{i}"), attention, &expected.get(&format!("{name}.attn{i}"))?, tolerance);
        }
        let biased =
            tch::no_grad(|| plain::forward(&network, &x, &pos, &mask, Some(&inputs.get("rpb").unwrap_or_default())));
        all.tensors("rpb", &biased.last, &expected.get("rpb.last")?, tolerance);
        (last * valid(&inputs.get("w")?, &mask)).sum(Kind::Float).backward();
        all.tensors("grad_x", &packed.grad(), &valid(&expected.get("grad_x")?, &mask), tolerance);
        all.tensors("grad_pos", &pos_rows.grad(), &valid(&expected.get("grad_pos")?, &mask), tolerance);
        gradients(&mut all, &params, &expected, "grad", "", tolerance)?;
    }
    all.finish()
}

/// `masking_rand`.
pub fn masking(case: &Case) -> Result<()> {
    let inputs = case.tensors("inputs.safetensors")?;
    let expected = case.tensors("expected.safetensors")?;
    let (lengths, scores) = (inputs.i64s("lengths")?, inputs.f32s("scores")?);
    let width = inputs.shape("scores")?[1];
    let mut all = Comparison::new();
    for ratio in case.f64s("config.ratios")? {
        let name = format!("r{ratio:?}");
        let (mut masked, mut unmasked) = (vec![0i64; scores.len()], vec![0i64; scores.len()]);
        for (b, &length) in lengths.iter().enumerate() {
            let mask = mask_by_scores(&scores[b * width..][..length as usize], ratio);
            mask.masked.iter().for_each(|&t| masked[b * width + t as usize] = 1);
            mask.visible.iter().for_each(|&t| unmasked[b * width + t as usize] = 1);
        }
        all.add(crate::checks::equal_lists(
            &format!("{name}.masked"),
            &masked,
            &expected.i64s(&format!("{name}.masked"))?,
        ));
        all.add(crate::checks::equal_lists(
            &format!("{name}.unmasked"),
            &unmasked,
            &expected.i64s(&format!("{name}.unmasked"))?,
        ));
    }
    all.finish()
}
