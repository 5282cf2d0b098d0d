//! The published files, as they are found: ClimSim's months of netCDF pairs, and Kaggle's csv tables.

pub mod block;
pub mod csv;
pub mod month;
pub mod tree;
