//! Published checkpoints: under which names they know the tensors of our networks, and what a fine-tuning takes of them.

mod names;
pub mod original;
pub(crate) mod task;

pub use names::allow;
use names::renamed;

/// Beginnings of names that a fine-tuning does not take.
const DROPPED: [&str; 6] = ["teacher.", "regressor.", "decoder.", "diffusion", "var_scheduler.", "time_encoding."];

/// The name under which a tensor of a pretraining checkpoint reaches a fine-tuning; `None`: it does not.
///
/// Source: `extract_model_checkpoint` of the published code.
pub fn finetuning_name(name: &str) -> Option<String> {
    if name == "mask_token" || DROPPED.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    let renames = [("student.", "encoder."), ("pos_embedding.", "positional_encoding.")];
    Some(renamed(name, &renames).unwrap_or_else(|| name.to_string()))
}

/// The same for files of Point-MAE and Point-BERT. The names are those of an early version of the published code;
/// nothing of today's networks has them, so such a file is only good for being looked at.
pub fn base_model_name(name: &str) -> Option<String> {
    let name = name.strip_prefix("module.").unwrap_or(name);
    let renames = [
        ("MAE_encoder.blocks.", "encoder."),
        ("MAE_encoder.norm.", "encoder.norm."),
        ("MAE_encoder.pos_embed.", "positional_encoding."),
        ("MAE_encoder.encoder.", "tokenizer.embedding."),
        ("transformer_q.encoder.", "tokenizer.embedding."),
        ("transformer_q.reduce_dim.", "tokenizer_to_encoder."),
        ("transformer_q.blocks.", "encoder."),
        ("transformer_q.norm.", "encoder.norm."),
        ("transformer_q.pos_embed.", "positional_encoding."),
        ("transformer_q.cls_", "cls_"),
    ];
    renamed(name, &renames)
}
