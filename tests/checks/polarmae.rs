//! The kinds of golden cases of PoLAr-MAE, each with its check.

mod data;
mod geometry;
mod grouping;
pub mod layers;
mod networks;
mod numbers;
mod scores;

use super::Kind;

/// Beginnings of case paths, and their checks.
pub const KINDS: &[Kind] = &[
    ("energy_transform", numbers::energy_transform),
    ("transforms_basic", numbers::transforms),
    ("ops_fps", geometry::farthest_points),
    ("ops_ball_query", geometry::ball_query),
    ("ops_knn", geometry::nearest),
    ("ops_cnms", geometry::suppression),
    ("grouping_", grouping::groups),
    ("tokenizer", networks::tokenizer),
    ("encoder_eval", networks::encoder_eval),
    ("pointmae_loss", networks::pretraining_loss),
    ("polarmae_loss", networks::pretraining_loss),
    ("seg_", networks::segmentation_loss),
    ("train_steps_", networks::train_steps),
    ("weights_tiny", networks::small_parameters),
    ("full_size_parameters", networks::full_parameters),
    ("checkpoint_import", networks::checkpoint_import),
    ("dataset_h5", data::dataset),
    ("dataset_h5_variants", data::variants),
    ("sampler_order", data::sampler),
    ("losses", scores::losses),
    ("ops_chamfer", scores::chamfer),
    ("metrics", scores::metrics),
    ("lr_schedule", scores::schedule),
    ("svm_protocol", scores::svm_protocol),
    ("svm_features", scores::svm_features),
    ("e2e_pretrain", scores::pretraining_from_files),
    ("e2e_segmentation", scores::segmentation_from_files),
    ("layer_norm_masked", layers::layer_norm),
    ("batch_norm_masked", layers::batch_norm),
    ("pointnet_", layers::pointnet),
    ("pos_embed", layers::positions),
    ("transformer", layers::transformer),
    ("masking_rand", layers::masking),
];
