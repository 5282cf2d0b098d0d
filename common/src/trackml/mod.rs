//! TrackML events as files, and the map of where their hits lie: what `hit-density` and the system `tracknet` share.

mod acts;
pub mod csv;
pub mod density;
mod density_file;
pub mod event;
pub mod files;
mod number;
