//! What the standard library does not offer: processes that end with their parent, the resources of an ended process,
//! signals to a group, and the sync of a file system.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::cli::signals;
use common::{Error, Result};

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Exit code; none after a signal.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Largest resident memory of the process and of those it waited for, in bytes.
    pub peak_bytes: u64,
}

/// Starts a process in a group of its own that the kernel kills when this thread ends.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let parent = std::process::id();
    command.process_group(0);
    // SAFETY: between fork and exec only prctl, getppid and the signal mask are called, all async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have gone before the call above took effect.
            if libc::getppid() as u32 != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            signals::unblock();
            Ok(())
        });
    }
    command.spawn()
}

/// Waits for a process. `child` must not be waited for in another way.
pub fn wait(child: &Child) -> io::Result<Ended> {
    let mut status = 0;
    loop {
        // SAFETY: an all-zero rusage is valid; the pointers are to live locals and the call only writes to them.
        let (waited, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            (libc::wait4(child.id() as libc::pid_t, &raw mut status, 0, &raw mut usage), usage)
        };
        if waited >= 0 {
            let exited = libc::WIFEXITED(status);
            return Ok(Ended {
                code: exited.then(|| libc::WEXITSTATUS(status)),
                signal: (!exited).then(|| libc::WTERMSIG(status)),
                peak_bytes: usage.ru_maxrss.max(0) as u64 * 1024,
            });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Sends a signal to all processes of a group. A group that is gone is no error.
pub fn signal_group(group: u32, signal: i32) {
    // SAFETY: kill has no memory effects; `group` is the id of a child's group, never 0 or 1.
    unsafe {
        libc::kill(-(group as libc::pid_t), signal);
    }
}

/// Writes everything that waits in memory for the file system of `folder` to its disk.
pub fn sync_file_system(folder: &Path) -> Result<()> {
    let file = File::open(folder).map_err(|e| Error::opening(folder, e))?;
    // SAFETY: the descriptor is open for the whole call.
    if unsafe { libc::syncfs(file.as_raw_fd()) } == 0 {
        Ok(())
    } else {
        Err(Error::io("syncing", folder, io::Error::last_os_error()))
    }
}

/// Kills every process that has `variable=value` in its environment, and waits until they are gone.
pub fn end_processes_of(variable: &str, value: &str) -> Result<()> {
    let wanted = format!("{variable}={value}");
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let found = processes_with(&wanted);
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Error::failed(format!("process {} of an earlier run does not end", found[0]))
                .hint(format!("end it with `kill -9 {}`, then start again", found[0])));
        }
        for pid in &found {
            tracing::debug!("ending process {pid}, left behind by an earlier run");
            // SAFETY: kill has no memory effects. The pid was read a moment ago from its own /proc entry.
            unsafe {
                libc::kill(*pid, libc::SIGKILL);
            }
        }
        sleep(Duration::from_millis(10));
    }
}

fn processes_with(wanted: &str) -> Vec<libc::pid_t> {
    let own = std::process::id() as libc::pid_t;
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<libc::pid_t>().ok());
    let has = |pid: &libc::pid_t| {
        *pid != own
            && fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.split(|b| *b == 0).any(|entry| entry == wanted.as_bytes()))
    };
    pids.filter(has).collect()
}
