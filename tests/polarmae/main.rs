//! PoLAr-MAE through the binaries: simulated and damaged events, the store, training killed and resumed, classes, scores.

#[path = "../support/mod.rs"]
mod support;

mod back;
mod chain;
mod demo;
mod groups;
mod leftovers;
mod own;
mod prepare;
mod raw;
mod recipes;
mod train;
