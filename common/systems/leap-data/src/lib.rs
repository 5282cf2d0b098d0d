//! LEAP / ClimSim before any network: the columns and their constants, simulated files, preparation, R2 and submissions.
//! Nothing here uses a tensor, so programs that need no more than this start without libtorch.

pub mod climsim;
pub mod columns;
pub mod constraints;
pub mod energy;
pub mod levels;
pub mod norm;
pub mod prepare;
pub mod raw;
pub mod score;
pub mod simulate;
pub mod submission;
mod system;

pub use system::SYSTEM;

/// Name in configs, manifests and command lines.
pub const NAME: &str = "leap";
