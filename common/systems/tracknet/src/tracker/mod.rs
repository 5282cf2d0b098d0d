//! A tracker for events of real density, `tracknet/tracker`: the step-ahead idea of TrackNET on displacements from a
//! helix instead of positions in a box.
//!
//! Where the published network predicts a sphere of some 40 mm around the next hit (107 hits inside at real density), this
//! one extrapolates the helix of the hits so far, and a small GRU says how the residual of the next hit is distributed
//! (mean and width along both directions, in units of what resolution and scattering make likely). A candidate grows by
//! the hits that are likelier than chance, and the sum of those log-likelihood ratios ranks the candidates.

pub mod network;
pub mod search;
pub mod source;
pub mod train;

pub use search::{SearchConfig, find};
pub use tracknet_data::tracker::{checks, conditions, fit, fitted, helix, known, layers, state};
