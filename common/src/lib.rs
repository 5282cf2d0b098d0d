//! What every stage of a Podium pipeline shares: the manifest that stages hand on, configs, the command line, file
//! formats, durable writing. Nothing here knows a tensor library, so binaries built on it alone start anywhere.

pub mod climb;
pub mod durable;
pub mod error;
pub mod metrics;
pub mod seed;

pub use error::{Error, ExitCode, Result};
