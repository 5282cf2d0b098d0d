//! PoLAr-MAE through the binaries: simulated and damaged events, the store, training killed and resumed, classes, scores.

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/debian.rs"]
mod debian;
#[path = "../support/event_page.rs"]
mod event_page;
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
