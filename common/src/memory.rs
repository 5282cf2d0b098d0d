//! How much memory this process holds: anonymous resident memory, because mapped files cost nothing that the
//! kernel cannot take back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Anonymous resident memory of this process in bytes (`RssAnon`), 0 where the kernel does not say.
pub fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Memory that this machine could still give (`MemAvailable`), in bytes; none where the kernel does not say.
pub fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?.split_whitespace().next()?;
    kib.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The highest anonymous memory seen since [`Peak::start`]. The kernel keeps no such figure, so a thread looks
/// twenty times a second.
pub struct Peak {
    bytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Peak {
    /// Starts looking.
    pub fn start() -> Self {
        let bytes = Arc::new(AtomicU64::new(anonymous_bytes()));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, ended) = (Arc::clone(&bytes), Arc::clone(&stop));
        thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                seen.fetch_max(anonymous_bytes(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(50));
            }
        });
        Self { bytes, stop }
    }

    /// The highest value so far, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.fetch_max(anonymous_bytes(), Ordering::Relaxed);
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_stays_when_the_memory_is_gone() {
        let peak = Peak::start();
        let before = peak.bytes();
        let block = vec![1_u8; 64 << 20];
        assert!(block.iter().step_by(4096).all(|&b| b == 1));
        let during = peak.bytes();
        drop(block);
        assert!(during >= before + (60 << 20), "{before} {during}");
        assert!(peak.bytes() >= during);
    }
}
