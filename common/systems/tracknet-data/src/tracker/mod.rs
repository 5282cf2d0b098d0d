//! The geometry of the tracker: helices through hits, the hits of an event by layer, what is known of a track so far.

pub mod bends;
pub mod checks;
pub mod conditions;
pub mod field;
pub mod fit;
pub mod fitted;
pub mod helix;
pub mod known;
pub mod layers;
pub mod state;
