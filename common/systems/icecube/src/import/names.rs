//! Checkpoints of other code with these networks.

use std::path::Path;

use common::{Error, Result};
use neural::weights::{Allow, Dialect};
use serde_json::Value;
use tch::Tensor;

use crate::dataset::{InputConfig, PulseCount};
use crate::predict::About;

/// What the names of a file are where they are GraphNeT's.
pub const GRAPHNET: &str = "GraphNeT's DeepIce";

static DIALECTS: [Dialect; 1] = [Dialect { name: GRAPHNET, ours: of_graphnet, value: from_graphnet }];

/// How files of these networks are read: also by GraphNeT's names.
pub fn allow() -> Allow {
    Allow { dialects: &DIALECTS, ..Allow::default() }
}

/// What a file says about itself whose weights came under the names `dialect`: GraphNeT's networks are told the number
/// of pulses that were kept, the published ones that of the whole event.
pub fn about_of(about: &Value, dialect: Option<&str>) -> Result<Value> {
    let mut about = about.clone();
    if dialect == Some(GRAPHNET) {
        about["input"]["pulse_count"] =
            serde_json::to_value(PulseCount::Kept).map_err(|e| Error::failed(format!("describing the input: {e}")))?;
        tracing::info!("the network is told the number of kept pulses: `input.pulse_count: kept`");
    }
    Ok(about)
}

/// Says what a weights file with the names `dialect`, read as it is, cannot say itself.
pub fn warn_of_pulse_count(path: &Path, dialect: Option<&str>) {
    if dialect == Some(GRAPHNET) {
        tracing::warn!(
            "`{}` is of GraphNeT, whose networks are told the number of kept pulses: give `input.pulse_count=kept`, or \
             `convert-weights` it, which writes it down",
            path.display()
        );
    }
}

/// Says where events would be read otherwise than a weights file was trained on. Another number of pulses is no such thing: a
/// network reads longer events than those of its training, as published.
pub fn warn_of_other_input(path: &Path, input: &InputConfig) {
    let Ok(about) = About::read(path) else { return };
    let typed = |value: serde_json::Result<Value>| value.map(|v| v.as_str().unwrap_or_default().to_string());
    for (key, learned, here) in [
        ("pulse_count", serde_json::to_value(about.input.pulse_count), serde_json::to_value(input.pulse_count)),
        ("ice", serde_json::to_value(about.input.ice), serde_json::to_value(input.ice)),
    ] {
        let (Ok(learned), Ok(here)) = (typed(learned), typed(here)) else { continue };
        if learned != here {
            tracing::warn!(
                "`{}` was trained with `input.{key}={learned}`, it is told `{here}` here: give the former",
                path.display()
            );
        }
    }
}

/// Names of `graphnet.models.gnn.DeepIce` below a `StandardModel` with one task, a direction.
fn of_graphnet(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("_tasks.0._affine.") {
        return Some(format!("proj_out.{rest}"));
    }
    let name = name.strip_prefix("backbone.")?;
    if let Some(rest) = name.strip_prefix("fourier_ext.") {
        return Some(format!(
            "extractor.{}",
            rest.strip_prefix("mlp.").map_or(rest.into(), |mlp| format!("proj.{mlp}"))
        ));
    }
    if let Some(rest) = name.strip_prefix("rel_pos.projection.") {
        return Some(format!("rel_pos.proj.{rest}"));
    }
    Some(name.replace(".mlp.input_projection.", ".mlp.fc1.").replace(".mlp.output_projection.", ".mlp.fc2."))
}

/// GraphNeT's last layer gives x, y, z; the published one, whose truth has x and y exchanged, gives y, x, z.
fn from_graphnet(name: &str, tensor: Tensor) -> Tensor {
    if name.starts_with("proj_out.") && tensor.size().first() == Some(&3) {
        return tensor.index_select(0, &Tensor::from_slice(&[1_i64, 0, 2]));
    }
    tensor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphnets_names_are_ours_under_other_words() {
        for (theirs, ours) in [
            ("backbone.fourier_ext.mlp.3.weight", "extractor.proj.3.weight"),
            ("backbone.fourier_ext.aux_emb.weight", "extractor.aux_emb.weight"),
            ("backbone.rel_pos.projection.bias", "rel_pos.proj.bias"),
            ("backbone.sandwich.0.mlp.input_projection.weight", "sandwich.0.mlp.fc1.weight"),
            ("backbone.blocks.11.mlp.output_projection.bias", "blocks.11.mlp.fc2.bias"),
            ("backbone.cls_token.weight", "cls_token.weight"),
            ("_tasks.0._affine.weight", "proj_out.weight"),
        ] {
            assert_eq!(of_graphnet(theirs).as_deref(), Some(ours));
        }
        assert_eq!(of_graphnet("_tasks.1._affine.weight"), None);
        let rows = from_graphnet("proj_out.bias", Tensor::from_slice(&[1.0_f32, 2.0, 3.0]));
        assert_eq!(Vec::<f32>::try_from(rows).unwrap(), [2.0, 1.0, 3.0]);
    }
}
