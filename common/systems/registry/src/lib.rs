//! The systems, as stages without tensors know them. A new system is one line here, and one in the crate `networks` for its
//! stages with networks; no other place names it.

use std::path::Path;

use common::Result;
use common::driver::{Choice, NoFlags, PrepareFlags};
use common::system::{Blend, Density, Levels, Places, Score, System};

/// All systems, in the order in which help lists them.
pub static SYSTEMS: &[&System] =
    &[&icecube_data::SYSTEM, &leap_data::SYSTEM, &polarmae_data::SYSTEM, &tracknet_data::SYSTEM];

/// Those of `simulate-data`.
pub fn simulate() -> Choice<NoFlags> {
    Choice::new(SYSTEMS.iter().map(|system| system.simulate.as_ref()))
}

/// Those of `prepare-data`.
pub fn prepare() -> Choice<PrepareFlags> {
    Choice::new(SYSTEMS.iter().map(|system| system.prepare.as_ref()))
}

/// Those whose predictions are scored in their own way.
pub fn score() -> impl Iterator<Item = (&'static str, &'static Score)> {
    SYSTEMS.iter().filter_map(|system| Some((system.name, system.score.as_ref()?)))
}

/// Those whose predictions are blended in their own way.
pub fn blend() -> impl Iterator<Item = &'static Blend> {
    SYSTEMS.iter().filter_map(|system| system.blend.as_ref())
}

/// Those with maps of hits.
pub fn density() -> impl Iterator<Item = &'static Density> {
    SYSTEMS.iter().filter_map(|system| system.density.as_ref())
}

/// The outputs of a stage of `system` that hold true values, the first that exists.
pub fn truth(system: &str) -> &'static [&'static str] {
    SYSTEMS.iter().find(|known| known.name == system).map_or(&["valid"], |known| known.truth)
}

/// What the columns of a group of `system` are along, where they are levels. Files that name no system have the groups of
/// the first that knows them.
pub fn levels(system: &str, group: &str) -> Option<Levels> {
    let known = SYSTEMS.iter().filter(|known| system.is_empty() || known.name == system);
    known.filter_map(|known| known.levels?(group)).next()
}

/// Where on the globe the rows of a file of true values of `system` are, where it says so.
///
/// # Errors
/// Where the file cannot be read, or what it says makes no sense.
pub fn places(system: &str, truth: &Path) -> Result<Option<Places>> {
    match SYSTEMS.iter().find(|known| known.name == system).and_then(|known| known.places) {
        Some(places) => places(truth),
        None => Ok(None),
    }
}

/// W/m2 for one unit of a target, of the first system that knows such a target.
pub fn watts(target: &str) -> Option<f64> {
    SYSTEMS.iter().find_map(|system| system.watts?(target))
}
