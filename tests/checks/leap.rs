//! The kinds of golden cases of LEAP, each with its check.

mod blend;
mod blocks;
mod data;
mod joseph;
mod networks;
mod numbers;
mod predict;
mod schedules;
mod train;

use super::Kind;

/// Beginnings of case paths, and their checks.
pub const KINDS: &[Kind] = &[
    ("blend/", blend::published_weights),
    ("hill_climb", blend::hill_climb),
    ("norm", numbers::constants),
    ("prep_", data::arrays),
    ("infer_", data::test_tensors),
    ("schedules", schedules::schedules),
    ("fdzm-lr-curves", schedules::lr_curves),
    ("fdzm-eval-steps", schedules::eval_steps),
    ("fdzm-sampler", schedules::sampler),
    ("metric", numbers::metric_of_both_chains),
    ("fdzm-layout", numbers::layout),
    ("fdzm-losses", numbers::losses),
    ("fdzm-metric", numbers::metric_of_chain_b),
    ("fdzm-init", networks::init),
    ("fdzm-lstm-block-", blocks::lstm),
    ("fdzm-mamba-", blocks::mamba),
    ("fdzm-stage2-resume", blocks::second_stage),
    ("fdzm-small-", networks::small),
    ("fdzm-full-", networks::full),
    ("model_adam", networks::adam),
    ("train_run_adam", train::adam),
    ("model_jo", joseph::networks),
    ("augment_jo907", joseph::augmentation),
    ("train_run_jo912sep", joseph::groups),
    ("fdzm-train-", train::base),
    ("fdzm-gf-", train::groups),
    ("fdzm-predict-", predict::published_folders),
    ("infer_end_to_end", predict::end_to_end),
    ("full_size_parameters", networks::parameter_lists),
];
