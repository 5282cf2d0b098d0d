//! Other names for the tensors of our networks, and what a file may hold beside them.

use neural::weights::{Allow, Dialect};

/// Other names for our tensors.
static DIALECTS: [Dialect; 2] =
    [Dialect::renames("the pimm release", of_pimm), Dialect::renames("an earlier version of the original", of_earlier)];

/// What a file may have or lack beside the tensors of a network: a table of relative positions, which the original
/// stores and never uses, and the weights of the classes in a loss, which are a setting.
pub fn allow() -> Allow {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect();
    Allow {
        missing: list(&["loss_func.weight"]),
        unexpected: list(&["encoder.relative_position_bias.*", "focal_loss.weight", "ce_loss.weight"]),
        dialects: &DIALECTS,
        ..Allow::default()
    }
}

/// Names of the release of pimm (`DeepLearnPhysics/particle-imaging-models`): the tokenizer and the positions stand beside
/// the encoder, encoder and decoder are the transformers themselves.
fn of_pimm(name: &str) -> Option<String> {
    // Buffers that are settings here.
    if ["center", "scale"].contains(&name) || name.contains("relative_position_bias") {
        return None;
    }
    let renames = [
        ("embedding.", "encoder.tokenizer.embedding."),
        ("pos_embed.", "encoder.pos_embed."),
        ("encoder.", "encoder.transformer."),
        ("decoder.", "decoder.transformer."),
        ("seg_decoder.", "seg_decoder.transformer."),
    ];
    Some(renamed(name, &renames).unwrap_or_else(|| name.to_string()))
}

/// Names before the tokenizer and the positions moved into the encoder.
fn of_earlier(name: &str) -> Option<String> {
    let dropped = ["teacher.", "regressor.", "diffusion", "var_scheduler.", "time_encoding."];
    if dropped.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    let renames = [
        ("student.blocks.", "encoder.transformer.blocks."),
        ("student.norm.", "encoder.transformer.norm."),
        ("student.", "encoder."),
        ("encoder.blocks.", "encoder.transformer.blocks."),
        ("encoder.norm.", "encoder.transformer.norm."),
        ("decoder.blocks.", "decoder.transformer.blocks."),
        ("decoder.norm.", "decoder.transformer.norm."),
        ("tokenizer.embedding.", "encoder.tokenizer.embedding."),
        ("pos_embedding.pos_enc.", "encoder.pos_embed.pos_enc."),
        ("positional_encoding.pos_enc.", "encoder.pos_embed.pos_enc."),
        ("pos_embedding.", "encoder.pos_embed.pos_enc."),
        ("positional_encoding.", "encoder.pos_embed.pos_enc."),
    ];
    Some(renamed(name, &renames).unwrap_or_else(|| name.to_string()))
}

/// The name with the first fitting beginning replaced.
pub(super) fn renamed(name: &str, renames: &[(&str, &str)]) -> Option<String> {
    renames.iter().find_map(|(old, new)| name.strip_prefix(old).map(|rest| format!("{new}{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_releases_names_are_ours_under_other_words() {
        for (dialect, theirs, ours) in [
            (0, "embedding.first_conv.0.weight", "encoder.tokenizer.embedding.first_conv.0.weight"),
            (0, "pos_embed.pos_enc.0.bias", "encoder.pos_embed.pos_enc.0.bias"),
            (0, "encoder.blocks.3.norm1.gamma", "encoder.transformer.blocks.3.norm1.gamma"),
            (0, "decoder.norm.beta", "decoder.transformer.norm.beta"),
            (0, "mask_token", "mask_token"),
            (1, "student.blocks.0.attn.qkv.weight", "encoder.transformer.blocks.0.attn.qkv.weight"),
            (1, "pos_embedding.0.weight", "encoder.pos_embed.pos_enc.0.weight"),
            (1, "positional_encoding.2.bias", "encoder.pos_embed.pos_enc.2.bias"),
            (1, "positional_encoding.pos_enc.2.bias", "encoder.pos_embed.pos_enc.2.bias"),
        ] {
            assert_eq!((DIALECTS[dialect].ours)(theirs).as_deref(), Some(ours));
        }
        assert_eq!((DIALECTS[0].ours)("center"), None);
        assert_eq!((DIALECTS[1].ours)("teacher.blocks.0.x"), None);
    }
}
