//! The columns of LEAP: their four orders, groups, and the sets with rules of their own.
//!
//! Everywhere inside Podium a column is its position in the *training* order (scalars first). The *csv* order of the
//! inputs and the *submission* order of the targets exist only at the doors: reading Kaggle files, writing submissions.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

/// Vertical levels: 0 is the top of the atmosphere, 59 the surface.
pub const LEVELS: usize = 60;
/// Inputs of one sample.
pub const INPUTS: usize = 556;
/// Inputs without levels; they come first in the training order.
pub const SCALAR_INPUTS: usize = 16;
/// Input profiles of 60 levels each.
pub const PROFILE_INPUTS: usize = 9;
/// Channels of the network input: scalars repeated on every level, then profiles.
pub const CHANNELS: usize = SCALAR_INPUTS + PROFILE_INPUTS;
/// Targets of one sample.
pub const TARGETS: usize = 368;
/// Targets without levels; they come first in the training order.
pub const SCALAR_TARGETS: usize = 8;
/// Target profiles of 60 levels each.
pub const PROFILE_TARGETS: usize = 6;
/// Groups of targets: the scalars, then one of each profile.
pub const GROUPS: usize = 1 + PROFILE_TARGETS;
/// Seconds between the two states whose difference is a tendency.
pub const STEP_SECONDS: f64 = 1200.0;

/// Names of the groups, in order.
pub const GROUP_NAMES: [&str; GROUPS] =
    ["scalars", "ptend_t", "ptend_q0001", "ptend_q0002", "ptend_q0003", "ptend_u", "ptend_v"];

static CSV_INPUTS: Names = LazyLock::new(|| lines(include_str!("../resources/columns_csv_inputs.txt")));
static TRAIN_INPUTS: Names = LazyLock::new(|| lines(include_str!("../resources/columns_train_inputs.txt")));
static SUBMISSION: Names = LazyLock::new(|| lines(include_str!("../resources/columns_submission.txt")));
static TRAIN_TARGETS: Names = LazyLock::new(|| lines(include_str!("../resources/columns_train_targets.txt")));

static CSV_FROM_TRAIN: Order = LazyLock::new(|| positions(&CSV_INPUTS, &TRAIN_INPUTS));
static SUBMISSION_FROM_TRAIN: Order = LazyLock::new(|| positions(&SUBMISSION, &TRAIN_TARGETS));

static INPUT_POSITIONS: Index = LazyLock::new(|| index(&TRAIN_INPUTS));
static TARGET_POSITIONS: Index = LazyLock::new(|| index(&TRAIN_TARGETS));

static ALWAYS_ZERO: Order = LazyLock::new(|| {
    let profiles = [2, 3, 4, 5, 6];
    profiles.into_iter().flat_map(|g| group(g).take(12)).collect()
});

type Names = LazyLock<Vec<&'static str>>;
type Order = LazyLock<Vec<usize>>;
type Index = LazyLock<HashMap<&'static str, usize>>;

/// Input columns as in `train.csv` and `test.csv`: six profiles, scalars, three profiles.
pub fn csv_inputs() -> &'static [&'static str] {
    &CSV_INPUTS
}

/// Input columns in training order: scalars, then nine profiles.
pub fn train_inputs() -> &'static [&'static str] {
    &TRAIN_INPUTS
}

/// Target columns as in `sample_submission.csv`: six profiles, then scalars.
pub fn submission() -> &'static [&'static str] {
    &SUBMISSION
}

/// Target columns in training order: scalars, then six profiles.
pub fn train_targets() -> &'static [&'static str] {
    &TRAIN_TARGETS
}

/// For each csv input column, its position in the training order.
pub fn csv_to_train_inputs() -> &'static [usize] {
    &CSV_FROM_TRAIN
}

/// For each submission column, its position in the training order.
pub fn submission_to_train_targets() -> &'static [usize] {
    &SUBMISSION_FROM_TRAIN
}

/// Position of an input in the training order.
pub fn input_position(name: &str) -> Option<usize> {
    INPUT_POSITIONS.get(name).copied()
}

/// Position of a target in the training order.
pub fn target_position(name: &str) -> Option<usize> {
    TARGET_POSITIONS.get(name).copied()
}

/// Positions of group 0 (scalars) .. 6 (`ptend_v`). Further groups are empty.
pub fn group(g: usize) -> Range<usize> {
    match g {
        0 => 0..SCALAR_TARGETS,
        g if g < GROUPS => SCALAR_TARGETS + LEVELS * (g - 1)..SCALAR_TARGETS + LEVELS * g,
        _ => 0..0,
    }
}

/// The 60 targets that are zero in all data: levels 0..12 of all profiles but temperature. Never predicted.
pub fn always_zero() -> &'static [usize] {
    &ALWAYS_ZERO
}

/// The 16 targets `ptend_q0002_12` .. `_27`, which are `-state_q0002 / 1200` to the last bit: above level 27 the
/// model removes all cloud liquid in one step. They count as R2 = 1.
pub fn linear() -> Range<usize> {
    let start = group(3).start;
    start + 12..start + 28
}

/// The input whose value gives a linear target: `state_q0002` at the same level.
pub fn linear_source(target: usize) -> usize {
    let level = target - group(3).start;
    SCALAR_INPUTS + 2 * LEVELS + level
}

fn lines(text: &'static str) -> Vec<&'static str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

fn index(names: &[&'static str]) -> HashMap<&'static str, usize> {
    names.iter().enumerate().map(|(i, name)| (*name, i)).collect()
}

/// For each of `names`, its position in `order`. Both are the shipped lists, whose agreement a test proves.
fn positions(names: &[&'static str], order: &[&'static str]) -> Vec<usize> {
    let index = index(order);
    names.iter().filter_map(|name| index.get(name).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orders_are_permutations_of_each_other() {
        for (map, n) in [(csv_to_train_inputs(), INPUTS), (submission_to_train_targets(), TARGETS)] {
            let mut sorted = map.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..n).collect::<Vec<_>>());
        }
        assert_eq!(train_inputs()[csv_to_train_inputs()[0]], "state_t_0");
        assert_eq!(train_targets()[submission_to_train_targets()[367]], "cam_out_SOLLD");
    }

    #[test]
    fn groups_hold_the_columns_that_their_names_say() {
        for (g, name) in GROUP_NAMES.iter().enumerate().skip(1) {
            for (level, column) in group(g).enumerate() {
                assert_eq!(train_targets()[column], format!("{name}_{level}"));
            }
        }
        assert!(group(0).all(|c| train_targets()[c].starts_with("cam_out_")));
        assert_eq!((0..GROUPS).map(|g| group(g).len()).sum::<usize>(), TARGETS);
        assert!(group(GROUPS).is_empty());
    }

    #[test]
    fn the_special_sets_have_their_published_sizes() {
        assert_eq!(always_zero().len(), 60);
        assert_eq!(train_targets()[always_zero()[0]], "ptend_q0001_0");
        assert_eq!(train_targets()[always_zero()[59]], "ptend_v_11");
        assert_eq!(linear().len(), 16);
        for target in linear() {
            let source = train_inputs()[linear_source(target)];
            assert_eq!(train_targets()[target].strip_prefix("ptend"), source.strip_prefix("state"));
        }
    }
}
