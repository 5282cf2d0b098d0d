//! What a `dvc.yaml` declares: its tree, its variables, its stages.

pub mod context;
pub mod emit;
pub mod entries;
pub mod expand;
pub mod expression;
pub mod file;
pub mod interpolate;
pub mod literals;
pub mod needs;
pub mod promise;
pub mod read;
pub mod sizes;
pub mod text;
pub mod tree;
