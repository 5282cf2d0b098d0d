//! `hill-climb` as a blending tool: files of other programs, folds, weights, spaces, metrics, and the page about it.

mod data;
mod files;
mod folds;
mod metrics;
mod page;
mod spaces;
mod weights;
