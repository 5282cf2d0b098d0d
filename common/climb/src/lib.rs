//! Search for the weights of a blend.
//!
//! The weights sum to one, so the blend's error is the weighted sum of the models' errors, and every sum of squares
//! the search asks for follows from the Gram matrix of the residuals ([`Gram`], one pass over the data). A trial then
//! costs a few multiplications instead of a pass. Scores that are no function of squared errors go through [`Direct`],
//! which blends and measures.
//!
//! [`climb`] is the hill climb of the Python package `hillclimbers` 0.1.4 with its options widened; [`optimum`] holds
//! the closed-form answers.

mod config;
mod direct;
mod gram;
mod objective;
mod optimum;
pub mod ranks;
mod search;
pub mod space;
pub mod weights;

pub use config::{Direction, Method, Metric, SearchConfig, Shown, Space};
pub use direct::Direct;
pub use gram::{Gram, Square};
pub use objective::{GramObjective, GramScore, Objective};
pub use optimum::{Dependent, simplex, sum_one};
pub use search::{Climbed, Move, MoveKind, Plan, Start, Trials, climb, equal, grid, published_grid};
