//! Learning-rate schedules and the steps at which a run is evaluated.
//!
//! The rules are those of `torch.optim.lr_scheduler` (`ReduceLROnPlateau`, `CosineAnnealingWarmRestarts`) as the
//! published runs used them, quirks included; each is named where it stands.

use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How learning rates change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleConfig {
    /// The base rates all the time.
    Constant,
    /// Lower the rates when the score has stopped falling. Fed after every evaluation.
    Plateau(PlateauConfig),
    /// Cosine from the base rate to `eta_min`, again and again. Set after every step.
    CosineRestarts(CosineConfig),
    /// Up and down once over the whole run, and beta1 of the optimizer the other way: fastai's `fit_one_cycle`.
    OneCycle(OneCycleConfig),
    /// Linear from a start rate to the base rate, then one half cosine down to `eta_min`. Set for every step.
    WarmupCosine(WarmupCosineConfig),
    /// A factor on the rates after every so many epochs: `StepLR` of the library.
    Epochs(EpochsConfig),
}

/// A factor on the rates after every so many epochs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EpochsConfig {
    /// Epochs between two changes, >= 1.
    pub every: u32,
    /// Factor on the rates, in (0, 1).
    pub factor: f64,
}

/// The plateau rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlateauConfig {
    /// Factor on the rates, in (0, 1).
    pub factor: f64,
    /// Evaluations without improvement that are tolerated.
    pub patience: u32,
    /// Rates do not fall below this, >= 0.
    pub min_lr: f64,
    /// Relative improvement that counts, in [0, 1).
    pub threshold: f64,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        Self { factor: 0.1, patience: 2, min_lr: 1e-5, threshold: 1e-4 }
    }
}

/// Cosine annealing with warm restarts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CosineConfig {
    /// Length of the first cycle in epochs, >= 1.
    pub t_0: u32,
    /// Factor on the length from one cycle to the next, >= 1.
    #[serde(default = "one")]
    pub t_mult: u32,
    /// Rate at the end of a cycle, >= 0, the same for all groups.
    #[serde(default)]
    pub eta_min: f64,
}

/// Linear warm-up, then half a cosine, counted in optimizer steps.
///
/// Step i (from 0) uses `start + i (base - start) / (warmup - 1)` below `warmup`, and from there on
/// `eta_min + (base - eta_min) / 2 (1 + cos(pi (i - warmup) / (max_steps - warmup)))`, which rises again past
/// `max_steps`. Source: `LinearWarmupCosineAnnealingLR` of `lightning-bolts`, whose recursion it equals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmupCosineConfig {
    /// Steps of the warm-up, not 1: it would have no slope.
    pub warmup: u64,
    /// Step at which `eta_min` is reached, above `warmup`.
    pub max_steps: u64,
    /// Rate of step 0, >= 0.
    #[serde(default)]
    pub start: f64,
    /// Lowest rate, >= 0.
    #[serde(default)]
    pub eta_min: f64,
}

impl WarmupCosineConfig {
    /// The rate of optimizer step `step` (from 0) for a base rate.
    fn rate(&self, step: u64, base: f64) -> f64 {
        if step < self.warmup {
            return self.start + step as f64 * (base - self.start) / (self.warmup - 1).max(1) as f64;
        }
        let phase = (step - self.warmup) as f64 / (self.max_steps - self.warmup) as f64;
        self.eta_min + (base - self.eta_min) / 2.0 * (1.0 + (std::f64::consts::PI * phase).cos())
    }
}

/// One cycle over all epochs, a step at a time: the rate rises from `lr / div` to `lr`, then falls to `lr / div_final`,
/// both along a cosine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OneCycleConfig {
    /// Share of the run that rises, 0 < `pct_start` < 1.
    pub pct_start: f64,
    /// Base rate divided by the first rate, >= 1.
    pub div: f64,
    /// Base rate divided by the last rate, >= 1.
    pub div_final: f64,
    /// Beta1 of Adam at the beginning, at the highest rate and at the end, each in [0, 1).
    pub moms: [f64; 3],
}

impl Default for OneCycleConfig {
    fn default() -> Self {
        Self { pct_start: 0.25, div: 25.0, div_final: 1e5, moms: [0.95, 0.85, 0.95] }
    }
}

impl OneCycleConfig {
    /// The value at a share `p` of the run, between `a` at the start, `b` at the top and `c` at the end. The position
    /// inside a phase is rounded to f32, as published.
    fn at(&self, p: f64, [a, b, c]: [f64; 3]) -> f64 {
        let (p, start) = (p as f32, self.pct_start as f32);
        let (from, to, q) = if p < start { (a, b, p / start) } else { (b, c, (p - start) / (1.0 - start)) };
        from + (1.0 + (std::f64::consts::PI * (1.0 - f64::from(q))).cos()) * (to - from) / 2.0
    }
}

fn one() -> u32 {
    1
}

impl ScheduleConfig {
    /// What is wrong with the numbers: pairs of key (below the schedule's own) and problem.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut ask = |key, value: f64, good: bool, expected| {
            if !good {
                found.push((key, format!("is {value}, expected {expected}")));
            }
        };
        match self {
            Self::Constant => {}
            Self::Plateau(p) => {
                ask("factor", p.factor, p.factor > 0.0 && p.factor < 1.0, "0 < factor < 1");
                ask("min_lr", p.min_lr, p.min_lr >= 0.0 && p.min_lr.is_finite(), ">= 0");
                ask("threshold", p.threshold, (0.0..1.0).contains(&p.threshold), "0 <= threshold < 1");
            }
            Self::CosineRestarts(c) => {
                ask("t_0", f64::from(c.t_0), c.t_0 >= 1, ">= 1");
                ask("t_mult", f64::from(c.t_mult), c.t_mult >= 1, ">= 1");
                ask("eta_min", c.eta_min, c.eta_min >= 0.0 && c.eta_min.is_finite(), ">= 0");
            }
            Self::Epochs(c) => {
                ask("every", f64::from(c.every), c.every >= 1, ">= 1");
                ask("factor", c.factor, c.factor > 0.0 && c.factor < 1.0, "0 < factor < 1");
            }
            Self::WarmupCosine(c) => {
                ask("warmup", c.warmup as f64, c.warmup != 1, "0, or 2 or more steps");
                ask("max_steps", c.max_steps as f64, c.max_steps > c.warmup, "more steps than `warmup`");
                ask("start", c.start, c.start >= 0.0 && c.start.is_finite(), ">= 0");
                ask("eta_min", c.eta_min, c.eta_min >= 0.0 && c.eta_min.is_finite(), ">= 0");
            }
            Self::OneCycle(c) => {
                ask("pct_start", c.pct_start, c.pct_start > 0.0 && c.pct_start < 1.0, "0 < pct_start < 1");
                ask("div", c.div, c.div >= 1.0 && c.div.is_finite(), ">= 1");
                ask("div_final", c.div_final, c.div_final >= 1.0 && c.div_final.is_finite(), ">= 1");
                for beta in c.moms {
                    ask("moms", beta, (0.0..1.0).contains(&beta), "0 <= beta < 1");
                }
            }
        }
        found
    }
}

/// A schedule at work; serialise it to continue later, bit for bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    config: ScheduleConfig,
    #[serde(with = "crate::exact::list")]
    base: Vec<f64>,
    #[serde(with = "crate::exact::list")]
    rates: Vec<f64>,
    /// Best score so far; none before the first evaluation.
    #[serde(with = "crate::exact::option")]
    best: Option<f64>,
    /// Evaluations since the last improvement.
    bad: u32,
    /// Optimizer steps done.
    #[serde(default)]
    done: u64,
    /// Epochs of the run, which a single cycle spans.
    #[serde(default)]
    epochs: u64,
    /// Share of the run that is done, for a single cycle.
    #[serde(default, with = "crate::exact")]
    turned: f64,
}

impl Schedule {
    /// A schedule at its start. `base` holds the rate of every parameter group.
    pub fn new(config: &ScheduleConfig, base: &[f64]) -> Result<Self> {
        if let Some((key, problem)) = config.problems().first() {
            return Err(Error::usage(format!("schedule: `{key}` {problem}")));
        }
        let rates = match config {
            ScheduleConfig::WarmupCosine(warmup) => base.iter().map(|&base| warmup.rate(0, base)).collect(),
            _ => base.to_vec(),
        };
        Ok(Self {
            config: config.clone(),
            base: base.to_vec(),
            rates,
            best: None,
            bad: 0,
            done: 0,
            epochs: 1,
            turned: 0.0,
        }
        .over(1))
    }

    /// The same over a run of so many epochs. Only a single cycle depends on it.
    #[must_use]
    pub fn over(mut self, epochs: u64) -> Self {
        self.epochs = epochs;
        if matches!(self.config, ScheduleConfig::OneCycle(_)) {
            self.turn(0.0);
        }
        self
    }

    /// Beta1 of the next step, where the schedule moves it.
    pub fn beta1(&self) -> Option<f64> {
        let ScheduleConfig::OneCycle(cycle) = &self.config else { return None };
        Some(cycle.at(self.turned, cycle.moms))
    }

    /// Sets the rates of a single cycle at a share of the run.
    fn turn(&mut self, p: f64) {
        let ScheduleConfig::OneCycle(cycle) = &self.config else { return };
        self.turned = p;
        for (rate, base) in self.rates.iter_mut().zip(&self.base) {
            *rate = cycle.at(p, [base / cycle.div, *base, base / cycle.div_final]);
        }
    }

    /// The rates of the next optimizer step, one a group.
    pub fn rates(&self) -> &[f64] {
        &self.rates
    }

    /// The best score that the plateau rule has stored.
    pub fn best(&self) -> Option<f64> {
        self.best
    }

    /// Evaluations without improvement that the plateau rule has counted.
    pub fn bad_evaluations(&self) -> u32 {
        self.bad
    }

    /// Call it after the optimizer step `step` (from 0) of epoch `epoch` (from 0).
    ///
    /// As published: the rate is set for the step just done, so steps 0 and 1 of a run both use the base rate, and the
    /// first step of a cycle still uses the end of the cycle before.
    pub fn after_step(&mut self, epoch: u64, step: u64, steps_per_epoch: u64) {
        self.done += 1;
        if let ScheduleConfig::WarmupCosine(warmup) = &self.config {
            self.rates = self.base.iter().map(|&base| warmup.rate(self.done, base)).collect();
        }
        if let ScheduleConfig::Epochs(epochs) = &self.config {
            // The step behind the last one of an epoch belongs to the next.
            let next = epoch + u64::from(step + 1 >= steps_per_epoch);
            let changes = i32::try_from(next / u64::from(epochs.every)).unwrap_or(i32::MAX);
            self.rates = self.base.iter().map(|&base| base * epochs.factor.powi(changes)).collect();
        }
        if let ScheduleConfig::OneCycle(_) = &self.config {
            self.turn((epoch as f64 + (step + 1) as f64 / steps_per_epoch.max(1) as f64) / self.epochs.max(1) as f64);
        }
        if let ScheduleConfig::CosineRestarts(cosine) = &self.config {
            let t = epoch as f64 + step as f64 / steps_per_epoch.max(1) as f64;
            let phase = cosine.phase(t);
            for (rate, base) in self.rates.iter_mut().zip(&self.base) {
                *rate = cosine.eta_min + (base - cosine.eta_min) * (1.0 + (std::f64::consts::PI * phase).cos()) / 2.0;
            }
        }
    }

    /// Call it after an evaluation; lower scores are better.
    ///
    /// As published: an improvement is `score < best * (1 - threshold)`. Scores may be negative (minus R2), so that bound
    /// lies *above* the best: a score up to 0.01 % worse counts as an improvement, and then replaces the best.
    pub fn after_evaluation(&mut self, score: f64) {
        let ScheduleConfig::Plateau(plateau) = &self.config else { return };
        if score < self.best.unwrap_or(f64::INFINITY) * (1.0 - plateau.threshold) {
            self.best = Some(score);
            self.bad = 0;
        } else {
            self.bad += 1;
        }
        if self.bad > plateau.patience {
            self.bad = 0;
            for rate in &mut self.rates {
                let lower = (*rate * plateau.factor).max(plateau.min_lr);
                if *rate - lower > SMALLEST_CHANGE {
                    *rate = lower;
                }
            }
        }
    }
}

/// The plateau rule ignores smaller changes of a rate.
const SMALLEST_CHANGE: f64 = 1e-8;

impl CosineConfig {
    /// Where `t` (in epochs) stands in its cycle, in [0, 1). Cycles are walked in whole epochs, so no logarithm can
    /// round to the wrong side of a restart.
    fn phase(&self, t: f64) -> f64 {
        let (first, factor) = (f64::from(self.t_0), f64::from(self.t_mult));
        if self.t_mult == 1 {
            return t % first / first;
        }
        let (mut start, mut length) = (0.0, first);
        while start + length <= t {
            start += length;
            length *= factor;
        }
        (t - start) / length
    }
}

/// The steps (from 1) of an epoch after which a run is evaluated: multiples of `floor(steps_per_epoch / evaluations)`,
/// the last one replaced by the end of the epoch. With more evaluations than steps only the end is left.
pub fn evaluation_steps(steps_per_epoch: usize, evaluations: usize) -> Vec<usize> {
    let every = steps_per_epoch / evaluations.max(1);
    let mut steps: Vec<usize> = (1..evaluations).map(|k| k * every).filter(|&step| step > 0).collect();
    steps.push(steps_per_epoch);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plateau(patience: u32) -> Schedule {
        let config = ScheduleConfig::Plateau(PlateauConfig { patience, ..PlateauConfig::default() });
        Schedule::new(&config, &[1e-3]).unwrap()
    }

    #[test]
    fn with_negative_scores_a_slightly_worse_score_counts_as_better() {
        let mut schedule = plateau(0);
        schedule.after_evaluation(-0.78);
        schedule.after_evaluation(-0.779_93);
        assert_eq!((schedule.best(), schedule.bad_evaluations()), (Some(-0.779_93), 0));
        schedule.after_evaluation(-0.779_8);
        assert_eq!(schedule.rates(), [1e-4]);
        schedule.after_evaluation(f64::NAN);
        assert_eq!(schedule.best(), Some(-0.779_93));
        for _ in 0..5 {
            schedule.after_evaluation(0.0);
        }
        assert_eq!(schedule.rates(), [1e-5]);
    }

    #[test]
    fn a_first_score_that_is_not_a_number_is_no_best() {
        let mut schedule = plateau(1);
        schedule.after_evaluation(f64::NAN);
        assert_eq!((schedule.best(), schedule.bad_evaluations()), (None, 1));
        schedule.after_evaluation(-0.1);
        assert_eq!((schedule.best(), schedule.bad_evaluations()), (Some(-0.1), 0));
    }

    #[test]
    fn cosine_lags_one_step_and_restarts() {
        let config = ScheduleConfig::CosineRestarts(CosineConfig { t_0: 1, t_mult: 2, eta_min: 0.0 });
        let mut schedule = Schedule::new(&config, &[1.0, 2.0]).unwrap();
        let mut used = Vec::new();
        for epoch in 0..4 {
            for step in 0..2 {
                used.push(schedule.rates()[0]);
                assert_eq!(schedule.rates()[1], 2.0 * schedule.rates()[0]);
                schedule.after_step(epoch, step, 2);
            }
        }
        // t = 0, 0, 1/2 | 1 (restart, cycle of two epochs), 3/2, 2, 5/2 | 3 (restart)
        let expected =
            [0.0, 0.0, 0.5, 0.0, 0.25, 0.5, 0.75, 0.0].map(|p: f64| (1.0 + (std::f64::consts::PI * p).cos()) / 2.0);
        assert_eq!(used, expected);
    }

    #[test]
    fn rates_fall_by_a_factor_after_every_so_many_epochs() {
        let config = ScheduleConfig::Epochs(EpochsConfig { every: 2, factor: 0.1 });
        let mut schedule = Schedule::new(&config, &[1e-3]).unwrap();
        let mut rates = vec![];
        for step in 0..12 {
            rates.push(schedule.rates()[0]);
            schedule.after_step(step / 2, step % 2, 2);
        }
        // Two steps an epoch, as `StepLR(step_size=2, gamma=0.1)` gives them.
        for (step, rate) in rates.into_iter().enumerate() {
            let expected = 1e-3 * 0.1_f64.powi((step / 4) as i32);
            assert!((rate / expected - 1.0).abs() < 1e-12, "step {step}: {rate}");
        }
        let bad = ScheduleConfig::Epochs(EpochsConfig { every: 0, factor: 1.0 });
        assert_eq!(bad.problems().iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["every", "factor"]);
    }

    #[test]
    fn warm_up_reaches_the_base_rate_and_the_cosine_the_lowest() {
        let config = WarmupCosineConfig { warmup: 5, max_steps: 25, start: 0.1, eta_min: 0.2 };
        let mut schedule = Schedule::new(&ScheduleConfig::WarmupCosine(config), &[1.1, 2.1]).unwrap();
        let mut used = vec![];
        for step in 0..26 {
            used.push(schedule.rates()[0]);
            schedule.after_step(0, step, 100);
        }
        assert_eq!((used[0], used[4], used[5]), (0.1, 1.1, 1.1));
        assert!((used[2] - 0.6).abs() < 1e-12 && (used[15] - 0.65).abs() < 1e-12 && (used[25] - 0.2).abs() < 1e-12);
    }

    #[test]
    fn a_saved_schedule_continues_bit_for_bit() {
        let cosine = ScheduleConfig::CosineRestarts(CosineConfig { t_0: 3, t_mult: 2, eta_min: 1e-6 });
        for config in [cosine, ScheduleConfig::Plateau(PlateauConfig::default()), ScheduleConfig::Constant] {
            let mut straight = Schedule::new(&config, &[1.0 / 3.0, 7e-4]).unwrap();
            let mut resumed = straight.clone();
            for step in 0..40 {
                straight.after_step(step / 7, step % 7, 7);
                straight.after_evaluation(-1.0 / (step % 5 + 1) as f64);
                resumed = serde_json::from_str(&serde_json::to_string(&resumed).unwrap()).unwrap();
                resumed.after_step(step / 7, step % 7, 7);
                resumed.after_evaluation(-1.0 / (step % 5 + 1) as f64);
                assert_eq!(straight, resumed);
            }
        }
    }

    #[test]
    fn evaluations_end_with_the_epoch() {
        assert_eq!(evaluation_steps(7, 4), [1, 2, 3, 7]);
        assert_eq!(evaluation_steps(3, 4), [3]);
        assert_eq!(evaluation_steps(10, 5), [2, 4, 6, 8, 10]);
        assert_eq!(evaluation_steps(5, 1), [5]);
        assert_eq!(evaluation_steps(5, 0), [5]);
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let cosine = |t_0, t_mult, eta_min| ScheduleConfig::CosineRestarts(CosineConfig { t_0, t_mult, eta_min });
        let plateau = |factor| ScheduleConfig::Plateau(PlateauConfig { factor, ..PlateauConfig::default() });
        for (config, key) in [
            (cosine(0, 1, 0.0), "t_0"),
            (cosine(1, 0, 0.0), "t_mult"),
            (cosine(1, 1, f64::INFINITY), "eta_min"),
            (plateau(1.0), "factor"),
        ] {
            let error = Schedule::new(&config, &[1e-3]).unwrap_err();
            assert!(matches!(&error, Error::Usage { message, .. } if message.contains(key)), "{error}");
        }
    }
}
