//! The exported Snakefile on a real one-node Slurm.
