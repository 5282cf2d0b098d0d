//! What benches measure with.
#![allow(dead_code)] // every bench takes what it needs

use std::time::Instant;

/// Median of the values; NaN of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// User and system time of this process, in seconds.
pub fn cpu_seconds() -> f64 {
    used(libc::RUSAGE_SELF)
}

/// The same of the programs that this process started and that have ended.
pub fn children_seconds() -> f64 {
    used(libc::RUSAGE_CHILDREN)
}

fn used(whose: libc::c_int) -> f64 {
    // SAFETY: `getrusage` fills the structure that it is given.
    let usage = unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(whose, &raw mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// CPU time of this process and wall time that `work` takes, in seconds.
pub fn timed(work: impl FnOnce()) -> (f64, f64) {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    work();
    (cpu_seconds() - cpu, start.elapsed().as_secs_f64())
}

/// The number behind a flag of the command line.
///
/// # Errors
/// When it is none.
pub fn number(flag: &str, default: usize) -> anyhow::Result<usize> {
    let mut arguments = std::env::args().skip_while(|a| a != flag).skip(1);
    arguments.next().map_or(Ok(default), |text| Ok(text.parse()?))
}

/// Whether the command line asks for the names of benches (`--list`, as test runners do) and not for a measurement.
pub fn only_listed() -> bool {
    std::env::args().any(|a| a == "--list")
}
