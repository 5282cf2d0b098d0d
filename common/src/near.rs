//! The name that was probably meant: one answer for keys, flags, columns, tensors, stages and programs.

use crate::error::Error;

/// Smallest share of letters that agree, by the distance of Damerau and Levenshtein, for a typing mistake.
const ENOUGH: f64 = 0.6;

/// The candidate that `name` was probably meant to be: one that differs by a few letters, whatever their case, or that begins
/// with it. The first in the order of the alphabet among equals.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = name.to_lowercase();
    let score = |known: &str| {
        let known = known.to_lowercase();
        let score = strsim::normalized_damerau_levenshtein(&typed, &known);
        // Cut short, `lr` for `lr_max`: as good as a mistake that is just small enough.
        if typed.len() >= 2 && known.starts_with(&typed) { score.max(ENOUGH) } else { score }
    };
    let scored = candidates.into_iter().map(|known| (score(known), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))?;
    (best.0 >= ENOUGH).then_some(best.1)
}

impl Error {
    /// With the hint `did you mean ..?` where one of `candidates` is near enough to `name`.
    #[must_use]
    pub fn did_you_mean<'a>(self, name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(name, candidates) {
            Some(near) => self.hint(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_beginnings_are_recognised_and_other_words_are_not() {
        let known = ["depth", "dim", "learning_rate", "lr_max", "encoder.blocks.0.attn.qkv.weight"];
        let near = |name: &str| nearest(name, known);
        assert_eq!(near("deph"), Some("depth"));
        assert_eq!(near("DEPHT"), Some("depth"));
        assert_eq!(near("lr"), Some("lr_max"));
        assert_eq!(near("learnig_rate"), Some("learning_rate"));
        assert_eq!(near("encoder.blocks.0.attn.qkv.bias"), Some("encoder.blocks.0.attn.qkv.weight"));
        assert_eq!(near("optimizer"), None);
        assert_eq!(nearest("x", []), None);
    }
}
