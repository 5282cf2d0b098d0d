//! What every model shares: layers, strict weight loading, optimizers, schedules, the trainer, its checkpoints and
//! the loader, on libtorch.

pub mod checkpoint;
pub mod loader;
