//! How fast a run went and what memory it held, along its steps: for people, in no file that must be the same twice.

use std::time::Duration;

/// Samples that are kept at most; beyond, neighbours are joined.
const MOST: usize = 400;

/// Some steps in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Last of these steps, since the start of the run.
    pub step: u64,
    /// Rows trained on in them.
    pub rows: u64,
    /// Time that they took, without evaluations.
    pub time: Duration,
    /// Part of it spent waiting for data.
    pub waited: Duration,
    /// Memory of the process behind the last of them, in bytes, without what only mirrors files.
    pub memory: u64,
    /// Memory of the GPU then, in bytes; 0 on the CPU.
    pub gpu_memory: u64,
}

impl Sample {
    /// Rows a second.
    pub fn rows_per_s(&self) -> f64 {
        self.rows as f64 / self.time.as_secs_f64()
    }

    /// Share of the time spent waiting for data.
    pub fn data_wait(&self) -> f64 {
        self.waited.as_secs_f64() / self.time.as_secs_f64()
    }

    fn join(&self, next: &Self) -> Self {
        Self { rows: self.rows + next.rows, time: self.time + next.time, waited: self.waited + next.waited, ..*next }
    }
}

/// Samples of the steps that this process did.
#[derive(Debug, Default)]
pub struct Pace {
    samples: Vec<Sample>,
    /// Steps of a sample are this power of two.
    power: u32,
    open: Option<Sample>,
    steps: u64,
}

impl Pace {
    /// Adds a step; memory is asked for where a sample ends.
    pub fn add(&mut self, step: u64, rows: u64, time: Duration, waited: Duration, memory: impl Fn() -> (u64, u64)) {
        let one = Sample { step, rows, time, waited, memory: 0, gpu_memory: 0 };
        let mut open = self.open.take().map_or(one, |open| open.join(&one));
        self.steps += 1;
        if self.steps < 1 << self.power {
            self.open = Some(open);
            return;
        }
        (open.memory, open.gpu_memory) = memory();
        self.steps = 0;
        self.samples.push(open);
        if self.samples.len() == MOST {
            self.samples = self.samples.chunks(2).map(|pair| pair[0].join(&pair[pair.len() - 1])).collect();
            self.power += 1;
        }
    }

    /// What was collected.
    pub fn into_samples(self) -> Vec<Sample> {
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_samples_stand_for_all_steps() {
        let mut pace = Pace::default();
        let second = Duration::from_secs(1);
        (1..=10_000).for_each(|step| pace.add(step, 8, second, second / 4, || (step << 20, 0)));
        let samples = pace.into_samples();
        assert!(samples.len() < MOST && samples.len() >= MOST / 4, "{}", samples.len());
        assert!(samples.iter().all(|s| (s.rows_per_s() - 8.0).abs() < 1e-9 && (s.data_wait() - 0.25).abs() < 1e-9));
        let last = samples[samples.len() - 1];
        assert_eq!(last.memory, last.step << 20);
        assert!(last.step > 9_900);
        assert_eq!(samples.iter().map(|s| s.rows).sum::<u64>(), 8 * last.step);
    }
}
