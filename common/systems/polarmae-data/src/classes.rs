//! Classes of points: their names and how rare they are.

/// Classes of points, in the order of the published labels; `led` is low-energy deposits.
pub const CLASS_NAMES: [&str; 5] = ["shower", "track", "michel", "delta", "led"];

/// The class of a point that has none: its label is ignored, or the file has no labels.
pub const UNLABELLED: u8 = u8::MAX;

/// Kinds of particles in the later releases, in the order of their numbers.
pub const PARTICLE_NAMES: [&str; 5] = ["photon", "electron", "muon", "pion", "proton"];

/// Names of so many classes: those given, then the published ones, then numbers.
pub fn names(count: usize, given: &[String]) -> Vec<String> {
    let published = |class: usize| CLASS_NAMES.get(class).map(ToString::to_string);
    let name = |class: usize| {
        let own = if given.is_empty() { published(class) } else { given.get(class).cloned() };
        own.unwrap_or_else(|| format!("class{class}"))
    };
    (0..count).map(name).collect()
}

/// Points of each class in the published training set.
const CLASS_COUNTS: [f64; 5] = [1_926_651_899.0, 2_038_240_940.0, 34_083_197.0, 92_015_482.0, 1_145_363_125.0];

/// Published weights of the classes: all points over the points of the class.
pub fn published_weights(classes: usize) -> Vec<f32> {
    let counts = &CLASS_COUNTS[..classes.min(CLASS_COUNTS.len())];
    let total: f64 = counts.iter().sum();
    counts.iter().map(|count| (total / count) as f32).collect()
}
