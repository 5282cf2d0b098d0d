//! Memory of process trees: the anonymous memory of all processes of a group and of their children, looked at ten
//! times a second in one pass over `/proc`.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(100);

/// Watches the groups that are registered with it.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// Group -> highest sum so far, in bytes.
    peaks: Arc<Mutex<HashMap<u32, u64>>>,
    ended: Arc<AtomicBool>,
}

impl Watch {
    /// Starts the watching thread.
    pub fn start() -> Self {
        let watch = Self::default();
        let seen = watch.clone();
        thread::spawn(move || {
            while !seen.ended.load(Ordering::Relaxed) {
                seen.look();
                thread::sleep(EVERY);
            }
        });
        watch
    }

    /// Watches a group from now on.
    pub fn add(&self, group: u32) {
        if let Ok(mut peaks) = self.peaks.lock() {
            peaks.insert(group, 0);
        }
    }

    /// Ends the watching of a group and gives its peak.
    pub fn take(&self, group: u32) -> u64 {
        self.peaks.lock().ok().and_then(|mut peaks| peaks.remove(&group)).unwrap_or(0)
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn look(&self) {
        if !self.peaks.lock().is_ok_and(|peaks| !peaks.is_empty()) {
            return;
        }
        let processes = processes();
        let Ok(mut peaks) = self.peaks.lock() else { return };
        for (group, peak) in peaks.iter_mut() {
            *peak = (*peak).max(tree_bytes(*group, &processes));
        }
    }
}

/// pid -> parent and group.
fn processes() -> HashMap<u32, (u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may hold anything; the fields behind it are state, parent, group.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
        Some((pid, (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?)))
    })
    .collect()
}

fn tree_bytes(group: u32, processes: &HashMap<u32, (u32, u32)>) -> u64 {
    let belongs = |pid: u32| {
        let mut pid = pid;
        // A parent chain is short; the limit guards against pids that were given anew in between.
        for _ in 0..64 {
            match processes.get(&pid) {
                Some((_, g)) if *g == group => return true,
                Some((parent, _)) if *parent > 1 => pid = *parent,
                _ => return false,
            }
        }
        false
    };
    processes.keys().filter(|pid| belongs(**pid)).map(|pid| anonymous_bytes(*pid)).sum()
}

fn anonymous_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}
