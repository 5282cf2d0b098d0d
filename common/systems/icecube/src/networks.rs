//! IceCube's stages with networks, as the registry lists them.

use common::driver::Entry;
use neural::stages::{Import, Networks, says_system};

use crate::{NAME, export, import, predict, published, train};

/// IceCube with networks.
pub static NETWORKS: Networks = Networks {
    name: NAME,
    train: Some(Entry::of::<train::Train>()),
    finetune: None,
    predict: Some(Entry::of::<predict::Predict>()),
    import: Some(IMPORT),
};

/// What is known of files of weights.
const IMPORT: Import = Import {
    system: NAME,
    examples: "  \
  A published IceCube checkpoint, for `predict` and further training:
    convert-weights V23FT5_6.pth b_gnn.safetensors \\
      --config configs/icecube/b_gnn/stage1.yaml",
    recognises: |file| Ok(published::read(file)?.is_some()),
    of_config: import::of_config,
    says: |file| says_system(file, NAME),
    of_file: import::of_file,
    export: export::module,
};
