//! TrackML events as files, and the map of where their hits lie.

mod acts;
mod count;
pub mod csv;
pub mod density;
mod density_file;
pub mod event;
pub mod files;
mod number;

pub use count::DENSITY;
