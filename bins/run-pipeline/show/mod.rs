//! What a pipeline would do and how it hangs together, without doing it.

pub mod dag;
pub mod estimate;
pub mod plan;
pub mod snakemake;
