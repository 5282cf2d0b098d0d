//! What the machine has, and what running stages hold of it.

use std::fs;

use crate::run_pipeline::declare::needs::Needs;

/// What can be given away. Stages that need more than there is at all run alone.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Names of the GPUs for `CUDA_VISIBLE_DEVICES`; one nameless place on a machine without.
    gpus: Vec<Option<String>>,
    gpu_taken: Vec<bool>,
    /// Whether there is no GPU at all: what asks for one computes on the CPU.
    on_cpu: bool,
    mem_mb: u64,
    mem_taken_mb: u64,
    cores: u64,
    cores_taken: u64,
    slots: usize,
    running: usize,
}

/// What one running stage holds.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// Value for `CUDA_VISIBLE_DEVICES`, where the stage is to see a part of the GPUs only.
    pub visible_gpus: Option<String>,
    /// Cores of the machine that it counts as using.
    pub cores: u64,
    gpus: Vec<usize>,
    mem_mb: u64,
}

impl Resources {
    /// `slots` stages at once; GPUs and memory as found unless given.
    pub fn new(slots: usize, gpus: Option<u64>, mem_mb: Option<u64>) -> Self {
        Self::of(slots, gpus, mem_mb, std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref())
    }

    fn of(slots: usize, gpus: Option<u64>, mem_mb: Option<u64>, visible: Option<&str>) -> Self {
        let gpus: Vec<Option<String>> = match (gpus, visible) {
            // Hidden GPUs stay hidden: as many stages that would use one compute side by side on the CPU.
            (Some(count), Some("" | "-1")) => (0..count).map(|_| None).collect(),
            (Some(count), _) => (0..count).map(|n| Some(n.to_string())).collect(),
            (None, Some("-1")) => Vec::new(),
            (None, Some(names)) => names.split(',').filter(|n| !n.is_empty()).map(|n| Some(n.trim().into())).collect(),
            (None, None) => (0..gpus_found()).map(|n| Some(n.to_string())).collect(),
        };
        // One place for stages that compute on all cores: only one of them at a time.
        let on_cpu = gpus.is_empty();
        let gpus = if on_cpu { vec![None] } else { gpus };
        let gpu_taken = vec![false; gpus.len()];
        Self {
            gpus,
            gpu_taken,
            on_cpu,
            mem_mb: mem_mb.unwrap_or_else(memory_mb),
            mem_taken_mb: 0,
            cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            cores_taken: 0,
            slots: slots.max(1),
            running: 0,
        }
    }

    /// True where there is no GPU to give.
    pub fn is_on_cpu(&self) -> bool {
        self.on_cpu
    }

    /// True when a stage with these needs can never run beside others, because it asks for more than there is.
    pub fn is_beyond(&self, needs: &Needs) -> bool {
        self.gpus_for(needs) > self.gpus.len() as u64 || needs.mem_mb > self.mem_mb
    }

    /// Places among the GPUs that a stage takes. Without a GPU its threads count instead, where it states them.
    fn gpus_for(&self, needs: &Needs) -> u64 {
        if self.on_cpu && needs.threads > 0 { 0 } else { needs.gpu }
    }

    /// Takes what a stage needs; none when it has to wait.
    pub fn take(&mut self, needs: &Needs) -> Option<Held> {
        if self.running >= self.slots {
            return None;
        }
        // More threads than cores are slow, not wrong: such a stage takes all cores.
        let cores = needs.threads.min(self.cores);
        let free: Vec<usize> = (0..self.gpus.len()).filter(|&g| !self.gpu_taken[g]).collect();
        let held = if self.is_beyond(needs) {
            if self.running > 0 {
                return None;
            }
            Held { visible_gpus: None, gpus: free, mem_mb: self.mem_mb, cores: self.cores }
        } else {
            let wanted = self.gpus_for(needs) as usize;
            if free.len() < wanted
                || self.mem_taken_mb + needs.mem_mb > self.mem_mb
                || self.cores_taken + cores > self.cores
            {
                return None;
            }
            let gpus = free[..wanted].to_vec();
            let some = wanted > 0 && wanted < self.gpus.len();
            let names: Vec<&str> = gpus.iter().filter_map(|&g| self.gpus[g].as_deref()).collect();
            let some = some && !names.is_empty();
            Held { visible_gpus: some.then(|| names.join(",")), gpus, mem_mb: needs.mem_mb, cores }
        };
        for &gpu in &held.gpus {
            self.gpu_taken[gpu] = true;
        }
        self.mem_taken_mb += held.mem_mb;
        self.cores_taken += held.cores;
        self.running += 1;
        Some(held)
    }

    /// Gives back what an ended stage held.
    pub fn give_back(&mut self, held: &Held) {
        for &gpu in &held.gpus {
            self.gpu_taken[gpu] = false;
        }
        self.mem_taken_mb -= held.mem_mb;
        self.cores_taken -= held.cores;
        self.running -= 1;
    }
}

/// Memory of the machine in MB, or of the control group where that is less.
/// Memory of the machine, or of what the process may have of it, in MB.
pub fn memory_mb() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|l| l.strip_prefix("MemTotal:")).and_then(|l| l.split_whitespace().next());
    let total_kib: u64 = total.and_then(|kib| kib.parse().ok()).unwrap_or(u64::MAX / 2048);
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = limits.iter().filter_map(|f| fs::read_to_string(f).ok()?.trim().parse::<u64>().ok()).min();
    (total_kib * 1024).min(limit.unwrap_or(u64::MAX)) / 1_000_000
}

fn gpus_found() -> usize {
    let Ok(entries) = fs::read_dir("/dev") else { return 0 };
    let is_gpu = |name: &str| name.strip_prefix("nvidia").is_some_and(|n| !n.is_empty() && n.parse::<u32>().is_ok());
    entries.flatten().filter(|e| e.file_name().to_str().is_some_and(is_gpu)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_never_oversubscribed() {
        let mut machine = Resources::of(4, Some(2), Some(1000), None);
        let gpu = Needs { gpu: 1, ..Needs::default() };
        let first = machine.take(&gpu).unwrap();
        let second = machine.take(&gpu).unwrap();
        assert_eq!((first.visible_gpus.as_deref(), second.visible_gpus.as_deref()), (Some("0"), Some("1")));
        assert!(machine.take(&gpu).is_none());
        let big = Needs { mem_mb: 700, ..Needs::default() };
        let held = machine.take(&big).unwrap();
        assert!(machine.take(&big).is_none());
        machine.give_back(&held);
        assert!(machine.take(&big).is_some());
        assert!(machine.take(&Needs::default()).is_some());
        assert!(machine.take(&Needs::default()).is_none(), "four stages run already");
    }

    #[test]
    fn a_stage_that_needs_more_than_there_is_runs_alone() {
        let mut machine = Resources::of(2, Some(1), Some(1000), None);
        let huge = Needs { mem_mb: 5000, ..Needs::default() };
        let small = machine.take(&Needs::default()).unwrap();
        assert!(machine.take(&huge).is_none());
        machine.give_back(&small);
        let alone = machine.take(&huge).unwrap();
        assert!(machine.take(&Needs { mem_mb: 1, ..Needs::default() }).is_none());
        machine.give_back(&alone);
    }

    #[test]
    fn stated_threads_are_given_away_once_and_never_wait_in_vain() {
        let mut machine = Resources { cores: 2, ..Resources::of(4, Some(1), Some(1000), None) };
        let threads = |threads| Needs { threads, ..Needs::default() };
        let one = machine.take(&threads(1)).unwrap();
        assert!(machine.take(&threads(2)).is_none());
        assert!(machine.take(&threads(0)).is_some(), "a stage that does not say is not held back");
        machine.give_back(&one);
        let all = machine.take(&threads(8)).unwrap();
        assert!(machine.take(&threads(1)).is_none());
        machine.give_back(&all);
        assert!(machine.take(&threads(1)).is_some());
    }

    #[test]
    fn without_a_gpu_stages_that_ask_for_one_share_the_cores_that_they_state() {
        let mut machine = Resources { cores: 2, ..Resources::of(4, None, Some(1000), Some("-1")) };
        let gpu = |threads| Needs { gpu: 1, threads, ..Needs::default() };
        let held = [machine.take(&gpu(1)).unwrap(), machine.take(&gpu(1)).unwrap()];
        assert!(machine.take(&gpu(1)).is_none(), "two cores are taken");
        held.iter().for_each(|held| machine.give_back(held));
        // One that states no threads takes all cores.
        let _all = machine.take(&gpu(0)).unwrap();
        assert!(machine.take(&gpu(0)).is_none());
        assert!(!machine.is_beyond(&Needs { gpu: 4, threads: 1, ..Needs::default() }));
    }

    #[test]
    fn hidden_gpus_stay_hidden() {
        let mut machine = Resources::of(4, Some(2), Some(1000), Some(""));
        let gpu = Needs { gpu: 1, ..Needs::default() };
        assert!((0..2).all(|_| machine.take(&gpu).is_some_and(|held| held.visible_gpus.is_none())));
        assert!(machine.take(&gpu).is_none());
    }
}
