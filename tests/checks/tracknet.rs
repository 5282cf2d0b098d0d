//! The kinds of golden cases of TrackNET, each with its check.

mod data;
mod maps;
pub mod networks;
mod run;
mod scoring;
mod steps;

use super::Kind;

/// Beginnings of case paths, and their checks.
pub const KINDS: &[Kind] = &[
    ("load_event", data::load_event),
    ("dataset_", data::dataset),
    ("validation_split", data::validation_split),
    ("normalizer", data::normalizer),
    ("collate", data::collate),
    ("loader_order", data::loader_order),
    ("forward_", networks::forward),
    ("init_seed42", networks::initial_weights),
    ("checkpoint_e2e", networks::checkpoint),
    ("loss_gradients", steps::gradients),
    ("loss_zero_distance", steps::zero_distance),
    ("metrics", steps::metrics),
    ("train_steps_", steps::training),
    ("lr_plateau", steps::plateau),
    ("sphere_density", maps::sphere),
    ("hit_density_", maps::map),
    ("score_event", scoring::score),
    ("hit_weights", scoring::weights),
    ("track_building", scoring::building),
    ("train_run", run::training),
    ("visualization", run::picture),
];
