//! The systems, as stages with networks know them. A new system is one line here, and one in the crate `registry` for its
//! stages without; no other place names it.

use common::driver::Choice;
use neural::stages::{FinetuneFlags, Import, Networks, PredictFlags, TrainFlags};

/// All systems, in the order in which help lists them.
pub static SYSTEMS: &[&Networks] = &[&icecube::NETWORKS, &leap::NETWORKS, &polarmae::NETWORKS, &tracknet::NETWORKS];

/// Those of `train-model`.
pub fn train() -> Choice<TrainFlags> {
    Choice::new(SYSTEMS.iter().map(|system| system.train.as_ref()))
}

/// Those of `finetune-group`.
pub fn finetune() -> Choice<FinetuneFlags> {
    Choice::new(SYSTEMS.iter().map(|system| system.finetune.as_ref()))
}

/// Those of `predict`.
pub fn predict() -> Choice<PredictFlags> {
    Choice::new(SYSTEMS.iter().map(|system| system.predict.as_ref()))
}

/// What each system knows of files of weights.
pub fn import() -> Vec<&'static Import> {
    SYSTEMS.iter().filter_map(|system| system.import.as_ref()).collect()
}
