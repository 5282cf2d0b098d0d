//! What of TrackNET needs no network: simulated events, tracks of particles, the TrackML score, pictures.
//!
//! It stands apart from the crate `tracknet`, so that the binaries that use nothing else start without libtorch.

pub mod blacklist;
pub mod classes;
pub mod cuts;
pub mod figures;
pub mod gaps;
pub mod judge;
mod judgement;
pub mod measured;
pub mod normalizer;
pub mod page;
pub mod picture;
pub mod prepare;
pub mod published;
pub mod raw;
pub mod score;
pub mod simulate;
pub mod submission;
mod system;
pub mod tracker;
pub mod tracks;

pub use raw::{csv, density, event, files};
pub use score::trackml;
pub use system::SYSTEM;

/// Name in configs, manifests and command lines.
pub const NAME: &str = "tracknet";
