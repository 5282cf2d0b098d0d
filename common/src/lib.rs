//! What every stage of a Podium pipeline shares: the manifest that stages hand on, configs, the command line, file
//! formats, durable writing. Nothing here knows a tensor library, so binaries built on it alone start anywhere.

pub mod cli;
pub mod config;
pub mod criterion;
pub mod curves;
pub mod driver;
pub mod durable;
pub mod error;
pub mod exhausted;
pub mod journal;
pub mod memory;
pub mod metrics;
pub mod near;
pub mod oof;
pub mod ordered;
pub mod provenance;
pub mod scalars;
pub mod seed;
pub mod share;
pub mod stage;
pub mod store;
pub mod submission;
pub mod system;
pub mod verified;
pub mod world;

pub use error::{Error, ExitCode, Result};

/// Version of Podium, as written into manifests.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
