//! PoLAr-MAE's stages with networks, as the registry lists them.

use common::driver::Entry;
use neural::stages::Networks;

use crate::{NAME, import, predict, train};

/// PoLAr-MAE with networks.
pub static NETWORKS: Networks = Networks {
    name: NAME,
    train: Some(Entry::of::<train::Train>()),
    finetune: None,
    predict: Some(Entry::of::<predict::Predict>()),
    import: Some(import::task::IMPORT),
};
