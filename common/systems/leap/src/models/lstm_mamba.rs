//! ForcewithMe's networks of LSTM blocks and Mamba blocks: lstmmamba in its two stages (40), LstmMambaMixed, and
//! 2LSTM1mamba-3 (38), which is LstmMambaMixed with 64 states.
//!
//! Train one with `train-model configs/leap/forcewithme/2lstm1mamba.yaml`.

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::layers::{BiLstm, LayerNorm, Linear, Mamba, MambaConfig, Network};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::lstm_block::{LstmBlock, LstmBlockConfig};
use super::{HEAD, TAPS, targets};
use crate::columns::CHANNELS;

/// How LSTM blocks and Mamba blocks follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// All LSTM blocks, then the Mamba blocks; the head sees both results.
    Stage1,
    /// The same, but the head sees the Mamba blocks' result alone.
    Stage2,
    /// A Mamba block after every LSTM block.
    Mixed,
}

/// All that a network of this family depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of `LstmmambaStage1`")]
pub struct Config {
    pub arrangement: Arrangement,
    pub hidden_state: i64,
    pub num_lstm: usize,
    pub num_mamba: usize,
    pub d_state: i64,
    pub d_conv: i64,
}

/// The networks differ in arrangement and defaults only, which serde ties to a type.
macro_rules! network {
    ($(#[$doc:meta])* $name:ident, $arrangement:ident: $states:literal $(, $mamba:ident: $count:literal)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            /// Hidden size of every LSTM per direction.
            pub hidden_state: i64,
            /// LSTM blocks, of two stacked layers each.
            pub num_lstm: usize,
            $(
                /// Mamba blocks after the LSTM blocks.
                pub $mamba: usize,
            )?
            /// States of every inner channel of a Mamba block.
            pub d_state: i64,
            /// Taps of a Mamba block's convolution.
            #[serde(skip_serializing_if = "super::published_taps")]
            pub d_conv: i64,
        }

        impl Default for $name {
            fn default() -> Self {
                Self { hidden_state: 256, num_lstm: 3, $($mamba: $count,)? d_state: $states, d_conv: TAPS }
            }
        }

        impl From<&$name> for Config {
            fn from(c: &$name) -> Self {
                #[allow(unused_mut, unused_assignments)]
                let mut num_mamba = c.num_lstm;
                $(num_mamba = c.$mamba;)?
                Self {
                    arrangement: Arrangement::$arrangement,
                    hidden_state: c.hidden_state,
                    num_lstm: c.num_lstm,
                    num_mamba,
                    d_state: c.d_state,
                    d_conv: c.d_conv,
                }
            }
        }
    };
}

network!(
    /// The first stage of ForcewithMe's lstmmamba (16,965,134 parameters).
    LstmmambaStage1, Stage1: 16, num_mamba: 2
);
network!(
    /// The second stage of ForcewithMe's lstmmamba, which starts from the first one's weights with a new head (40: CV
    /// 0.7885 after fine-tuning; 16,957,966 parameters).
    LstmmambaStage2, Stage2: 16, num_mamba: 2
);
network!(
    /// ForcewithMe's LstmMambaMixed (CV 0.7884, not in the published blend; 18,652,686 parameters).
    Lstmmambamixed, Mixed: 16
);
network!(
    /// ForcewithMe's 2LSTM1mamba-3 (38: CV 0.7893, 0.7897 after fine-tuning; 19,095,054 parameters).
    TwoLstmOneMamba, Mixed: 64
);

impl Config {
    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let numbers = [
            ("hidden_state", self.hidden_state),
            ("num_lstm", self.num_lstm as i64),
            ("num_mamba", self.num_mamba as i64),
            ("d_state", self.d_state),
            ("d_conv", self.d_conv),
        ];
        for (name, value) in numbers {
            problems.demand(value >= 1, &format!("{key}.{name}"), || format!("is {value}, expected at least 1"));
        }
    }
}

/// A network of this family.
#[derive(Debug)]
pub struct LstmMamba {
    arrangement: Arrangement,
    // In every checkpoint, and in no forward pass.
    _enc_norm: LayerNorm,
    lstm_enc: BiLstm,
    blocks: Vec<LstmBlock>,
    mambas: Vec<Mamba>,
    fc: Linear,
}

impl LstmMamba {
    /// Creates all parameters, with the library's default distributions.
    pub fn new(params: &Params, c: &Config) -> Result<Self> {
        let (p, width) = (params.root(), 2 * c.hidden_state);
        let mixed = c.arrangement == Arrangement::Mixed;
        let sizes = MambaConfig { taps: c.d_conv, ..MambaConfig::new(width, c.d_state) };
        let enc_norm = LayerNorm::new(&p.sub("enc_norm"), &[width])?;
        let (mut blocks, mut mambas) = (vec![], vec![]);
        for i in 1..=c.num_lstm {
            let name = p.sub("lstm_layers").sub(format!("lstm{i}"));
            let (block, mamba) = if mixed { (name.sub(0), Some(name.sub(1))) } else { (name, None) };
            blocks.push(LstmBlock::new(&block, LstmBlockConfig::new(c.hidden_state, true))?);
            if let Some(name) = mamba {
                mambas.push(Mamba::new(&name, sizes)?);
            }
        }
        let lstm_enc = BiLstm::new(&p.sub("lstm_enc"), CHANNELS as i64, c.hidden_state, 1)?;
        if !mixed {
            for i in 1..=c.num_mamba {
                mambas.push(Mamba::new(&p.sub("mamba_layers").sub(format!("mamba{i}")), sizes)?);
            }
        }
        let seen = if c.arrangement == Arrangement::Stage1 { 2 * width } else { width };
        let fc = Linear::new(&p.sub("fc").sub(0), seen, HEAD)?;
        Ok(Self { arrangement: c.arrangement, _enc_norm: enc_norm, lstm_enc, blocks, mambas, fc })
    }
}

impl Network for LstmMamba {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let start = self.lstm_enc.forward(x, train); // [B, 60, 2H]
        if self.arrangement == Arrangement::Mixed {
            let pairs = self.blocks.iter().zip(&self.mambas);
            let h = pairs.fold(start, |h, (block, mamba)| mamba.forward(&block.forward(&h, train)));
            return targets(&self.fc.forward(&h));
        }
        let h = self.blocks.iter().fold(start, |h, block| block.forward(&h, train));
        let m = self.mambas.iter().fold(h.shallow_clone(), |m, mamba| mamba.forward(&m));
        let seen = if self.arrangement == Arrangement::Stage1 { Tensor::cat(&[m, h], 2) } else { m };
        targets(&self.fc.forward(&seen))
    }
}
