//! IceCube through the binaries: simulated and damaged raw files, the event store, scores.

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/debian.rs"]
mod debian;
#[path = "../support/event_page.rs"]
mod event_page;
#[path = "../support/stand_in.rs"]
mod stand_in;
#[path = "../support/mod.rs"]
mod support;

mod blend;
mod chain;
mod configs;
mod detector;
mod files;
mod log;
mod outputs;
mod prepare;
mod raw;
mod score;
mod simulate;
mod tensors;
