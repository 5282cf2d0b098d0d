//! LEAP's stages with networks, as the registry lists them.

use common::driver::Entry;
use neural::stages::Networks;

use crate::{NAME, finetune, import, predict, train};

/// LEAP with networks.
pub static NETWORKS: Networks = Networks {
    name: NAME,
    train: Some(Entry::of::<train::Train>()),
    finetune: Some(Entry::of::<finetune::Finetune>()),
    predict: Some(Entry::of::<predict::Predict>()),
    import: Some(import::IMPORT),
};
