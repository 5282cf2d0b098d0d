//! IceCube without a tensor: the competition's files, simulated ones, and the event store that is made of them. Binaries
//! that need no network use this crate alone and start without libtorch.

pub mod angles;
mod blend;
pub mod detector;
pub mod directions;
pub mod geometry;
pub mod graphnet;
pub mod nevents;
pub mod picture;
pub mod prepare;
pub mod published;
pub mod raw;
pub mod score;
pub mod selection;
pub mod sensors;
pub mod simulate;
pub mod submission;
mod system;
pub mod targets;

pub use system::SYSTEM;

/// Name in configs, manifests and command lines.
pub const NAME: &str = "icecube";
