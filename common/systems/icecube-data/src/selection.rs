//! Which pulses of an event that is longer than the sequence are kept (section 4.1).

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::prepare::store::is_auxiliary;

/// Rule for events of at least as many pulses as the sequence is long. All kept pulses stay in time order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PulseRule {
    /// A uniformly random subset. As published: the code means to prefer non-auxiliary pulses, but indexes its
    /// permutation where it should order by it, which makes the choice uniform. The published weights saw this.
    #[default]
    Uniform,
    /// All non-auxiliary pulses first, random ones where there are too many, then random auxiliary ones.
    PreferHlc,
    /// Non-auxiliary pulses first, then auxiliary ones, the earlier ones first in both.
    HlcThenTime,
    /// The pulses nearest to the light cone of the brightest non-auxiliary pulse: smallest `|r^2 - (ct)^2|`.
    LightSpeed,
}

/// The pulses of one event, as stored.
#[derive(Debug, Clone, Copy)]
pub struct PulseView<'a> {
    /// Packed sensor and flag.
    pub sensor: &'a [i16],
    /// Scaled time.
    pub time: &'a [f32],
    /// Scaled logarithm of the charge.
    pub charge: &'a [f32],
}

/// Memory that is used again from event to event.
#[derive(Debug, Default)]
pub struct Scratch {
    kept: Vec<u32>,
    order: Vec<u32>,
    distance: Vec<f32>,
}

impl PulseRule {
    /// Indices of the kept pulses, ascending: all where there are fewer than `length`. `seed` feeds the random rules;
    /// `positions` are those of the sensors, in units of 500 m.
    pub fn choose<'s>(
        self,
        pulses: PulseView<'_>,
        length: usize,
        seed: u64,
        positions: &[[f32; 3]],
        scratch: &'s mut Scratch,
    ) -> &'s [u32] {
        let n = pulses.sensor.len();
        scratch.kept.clear();
        if n <= length {
            scratch.kept.extend(0..n as u32);
            return &scratch.kept;
        }
        match self {
            Self::Uniform => {
                permute(&mut scratch.order, n, seed);
                published(&scratch.order, pulses.sensor, length, &mut scratch.kept);
            }
            Self::PreferHlc => {
                permute(&mut scratch.order, n, seed);
                let hlc = |auxiliary| move |&&i: &&u32| is_auxiliary(pulses.sensor[i as usize]) == auxiliary;
                let (order, kept) = (&scratch.order, &mut scratch.kept);
                kept.extend(order.iter().filter(hlc(false)).chain(order.iter().filter(hlc(true))).take(length));
            }
            Self::HlcThenTime => {
                let all = 0..n as u32;
                let auxiliary = |i: &u32| is_auxiliary(pulses.sensor[*i as usize]);
                let first = all.clone().filter(|i| !auxiliary(i));
                scratch.kept.extend(first.chain(all.filter(auxiliary)).take(length));
            }
            Self::LightSpeed => light_speed(pulses, length, positions, scratch),
        }
        scratch.kept.sort_unstable();
        &scratch.kept
    }
}

/// The published rule for a given permutation: entries of the permutation *at* the positions of non-auxiliary pulses,
/// in order, then those at the positions of auxiliary ones. Unsorted.
pub fn published(permutation: &[u32], sensor: &[i16], length: usize, kept: &mut Vec<u32>) {
    let at = |auxiliary: bool| {
        permutation.iter().zip(sensor).filter(move |(_, s)| is_auxiliary(**s) == auxiliary).map(|(entry, _)| *entry)
    };
    kept.clear();
    kept.extend(at(false).chain(at(true)).take(length));
}

fn permute(order: &mut Vec<u32>, n: usize, seed: u64) {
    let mut rng = Pcg64::seed_from_u64(seed);
    order.clear();
    order.extend(0..n as u32);
    for i in (1..n).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
}

/// Scaled units: 18 = (3 10^4 ns / 500 m) 0.3 m/ns, as in the interval encoding of the networks.
const LIGHT: f32 = 18.0;

fn light_speed(pulses: PulseView<'_>, length: usize, positions: &[[f32; 3]], scratch: &mut Scratch) {
    let n = pulses.sensor.len();
    let place = |i: usize| positions[crate::prepare::store::sensor_of(pulses.sensor[i])];
    let brighter = |&a: &usize, &b: &usize| {
        let key = |i: usize| (!is_auxiliary(pulses.sensor[i]), pulses.charge[i]);
        let (a, b) = ((key(a), b), (key(b), a));
        // Of equals the earlier one.
        a.0.0.cmp(&b.0.0).then(a.0.1.total_cmp(&b.0.1)).then(a.1.cmp(&b.1))
    };
    let anchor = (0..n).max_by(brighter).unwrap_or_default();
    let (p, t) = (place(anchor), pulses.time[anchor]);
    scratch.distance.clear();
    scratch.distance.extend((0..n).map(|i| {
        let q = place(i);
        let r2: f32 = (0..3).map(|k| (q[k] - p[k]).powi(2)).sum();
        (r2 - (LIGHT * (pulses.time[i] - t)).powi(2)).abs()
    }));
    scratch.order.clear();
    scratch.order.extend(0..n as u32);
    let distance = &scratch.distance;
    scratch.order.sort_by(|&a, &b| distance[a as usize].total_cmp(&distance[b as usize]));
    scratch.kept.extend_from_slice(&scratch.order[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::store::packed;

    fn event(n: usize) -> (Vec<i16>, Vec<f32>, Vec<f32>, Vec<[f32; 3]>) {
        let sensor = (0..n).map(|i| packed((i % 50) as i16, i % 3 != 0)).collect();
        let time = (0..n).map(|i| i as f32 * 1e-3).collect();
        let charge = (0..n).map(|i| if i == 30 { 0.5 } else { 0.1 }).collect();
        (sensor, time, charge, (0..50).map(|i| [i as f32 * 0.018, 0.0, 0.0]).collect())
    }

    fn choose(rule: PulseRule, n: usize, length: usize, seed: u64) -> Vec<u32> {
        let (sensor, time, charge, positions) = event(n);
        let pulses = PulseView { sensor: &sensor, time: &time, charge: &charge };
        rule.choose(pulses, length, seed, &positions, &mut Scratch::default()).to_vec()
    }

    const RULES: [PulseRule; 4] =
        [PulseRule::Uniform, PulseRule::PreferHlc, PulseRule::HlcThenTime, PulseRule::LightSpeed];

    #[test]
    fn every_rule_keeps_distinct_pulses_in_order_up_to_the_length() {
        for rule in RULES {
            for n in [0, 1, 15, 16, 17, 20_000] {
                let kept = choose(rule, n, 16, 5);
                assert_eq!(kept.len(), n.min(16), "{rule:?} {n}");
                assert!(kept.is_sorted_by(|a, b| a < b) && kept.iter().all(|&i| (i as usize) < n));
            }
        }
    }

    #[test]
    fn the_published_rule_is_uniform_and_the_intended_one_is_not() {
        let share = |rule| {
            let hlc: usize = (0..200).map(|s| choose(rule, 60, 24, s).iter().filter(|&&i| i % 3 == 0).count()).sum();
            hlc as f64 / (200.0 * 24.0)
        };
        assert!((share(PulseRule::Uniform) - 1.0 / 3.0).abs() < 0.02, "{}", share(PulseRule::Uniform));
        assert!((share(PulseRule::PreferHlc) - 20.0 / 24.0).abs() < 1e-9);
        assert_eq!(choose(PulseRule::Uniform, 60, 24, 1), choose(PulseRule::Uniform, 60, 24, 1));
        assert_ne!(choose(PulseRule::Uniform, 60, 24, 1), choose(PulseRule::Uniform, 60, 24, 2));
    }

    #[test]
    fn time_and_light_speed_choose_what_they_say() {
        let kept = choose(PulseRule::HlcThenTime, 60, 24, 0);
        let mut expected: Vec<u32> = (0..60).step_by(3).chain([1, 2, 4, 5]).collect();
        expected.sort_unstable();
        assert_eq!(kept, expected);
        // Pulses of one front: sensor i at 18 mm-scaled units, time 10^-3 i, so all lie on the light cone of pulse 30.
        let kept = choose(PulseRule::LightSpeed, 60, 50, 0);
        assert_eq!(kept, (0..50).collect::<Vec<_>>());
    }
}
