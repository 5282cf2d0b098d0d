//! Tokenizer, positions and transformer: from groups to embeddings.

use common::Result;
use common::config::Problems;
use neural::Path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::norm::{NormScope, normalise_shared};
use super::packed::index;
use super::pointnet::{Members, MiniPointNet};
use super::positions::LearnedPositions;
use super::tokens::Grouped;
use super::transformer::{Layout, Transformer, TransformerConfig};
use crate::grouping::{CHANNELS, GroupingConfig};

/// The encoder: how events become tokens, and the transformer over them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Groups of points.
    pub tokenizer: GroupingConfig,
    /// The transformer.
    #[serde(default)]
    pub transformer: TransformerConfig,
}

impl EncoderConfig {
    /// Reports values that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        self.tokenizer.validate(&format!("{key}.tokenizer"), problems);
        self.transformer.validate(&format!("{key}.transformer"), problems);
    }
}

/// `transformer.*`, `tokenizer.embedding.*`, `pos_embed.*`.
#[derive(Debug)]
pub struct Encoder {
    /// The blocks.
    pub transformer: Transformer,
    pub(super) embedding: MiniPointNet,
    pub(super) positions: LearnedPositions,
    norm: NormScope,
    dim: i64,
}

/// Tokens of a batch before the transformer, packed.
#[derive(Debug)]
pub struct Tokens {
    /// Embeddings, `[M, C]`.
    pub embedded: Tensor,
    /// Positions, `[M, C]`.
    pub positions: Tensor,
}

impl Encoder {
    /// Builds the encoder below `p`.
    pub fn new(p: &Path, config: &EncoderConfig) -> Result<Self> {
        let dim = config.transformer.dim();
        let slots = config.tokenizer.slots as i64;
        Ok(Self {
            transformer: Transformer::new(&p.sub("transformer"), &config.transformer)?,
            embedding: MiniPointNet::new(&p.sub("tokenizer.embedding"), CHANNELS as i64, dim, slots, false)?,
            positions: LearnedPositions::new(&p.sub("pos_embed"), dim)?,
            norm: config.transformer.norm,
            dim,
        })
    }

    /// Width of its features.
    pub fn dim(&self) -> i64 {
        self.dim
    }

    /// Embeds groups and their centres.
    pub fn tokens(&self, grouped: &Grouped, train: bool) -> Result<Tokens> {
        let members = Members { features: &grouped.features, runs: &grouped.points };
        Ok(Tokens {
            embedded: self.embedding.forward(&members, train)?,
            positions: self.positions.forward(&grouped.centers),
        })
    }

    /// Positions of centres `[.., 3]`: `[.., C]`.
    pub fn place(&self, centers: &Tensor) -> Tensor {
        self.positions.forward(centers)
    }

    /// All tokens through the transformer: `[M, C]`.
    pub fn forward(&self, grouped: &Grouped, train: bool) -> Result<Tensor> {
        let tokens = self.tokens(grouped, train)?;
        let layout = Layout::new(grouped.events.clone(), grouped.features.device());
        self.transformer.forward(&tokens.embedded, &tokens.positions, &layout, train)
    }

    /// The mean of the outputs of the blocks `layers`, each normalised without weights; and the last output.
    pub fn combined(&self, grouped: &Grouped, layers: &[usize], train: bool) -> Result<(Tensor, Tensor)> {
        let tokens = self.tokens(grouped, train)?;
        let layout = Layout::new(grouped.events.clone(), grouped.features.device());
        let (last, hidden) = self.transformer.hidden(&tokens.embedded, &tokens.positions, &layout, train, layers)?;
        let normal = hidden.iter().map(|h| normalise_shared(h, self.norm)).collect::<Result<Vec<_>>>()?;
        let sum = normal.into_iter().reduce(|a, b| a + b);
        let combined = sum.map_or_else(|| last.shallow_clone(), |sum| sum / layers.len() as f64);
        Ok((combined, last))
    }

    /// Only the tokens `rows` (packed numbers), which see one another and nothing else.
    pub fn visible(&self, tokens: &Tokens, rows: &[i64], layout: &Layout, train: bool) -> Result<Tensor> {
        let rows = index(rows, tokens.embedded.device());
        let (x, positions) = (tokens.embedded.index_select(0, &rows), tokens.positions.index_select(0, &rows));
        self.transformer.forward(&x, &positions, layout, train)
    }
}
