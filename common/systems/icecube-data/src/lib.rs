//! IceCube without a tensor: the competition's files, simulated ones, and the event store that is made of them. Binaries
//! that need no network use this crate alone and start without libtorch.

pub mod nevents;
pub mod prepare;
pub mod raw;
pub mod selection;
pub mod sensors;
pub mod simulate;
mod system;

pub use system::{NAME, SYSTEM};
