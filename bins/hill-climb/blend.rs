//! `hill-climb blend`.
use crate::args::BlendArgs;

pub fn run(_args: &BlendArgs) -> common::Result<()> {
    Ok(())
}
