//! Ctrl-C, SIGTERM and SIGHUP (a closed terminal, a dropped session): the first asks the run to save and stop, the second ends the process at once.
//!
//! No thread that computes ever takes a signal: all of them keep the signals blocked, and one thread waits for them.
//! The kernel would put the frame of a handler right below the stack pointer, and oneDNN's generated AVX-512 matrix
//! product (libtorch 2.11) keeps values there, beyond the 128 bytes that are safe: one signal at the wrong moment
//! damaged the heap, and under a timer signal every 0.15 ms each run of a small LSTM did within seconds.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::error::ExitCode;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Blocks the signals and starts the thread that takes them; called once by [`super::main`], before any other thread
/// exists, because threads inherit what is blocked. So do processes: who starts one that may be interrupted calls
/// [`unblock`] in it.
pub(super) fn install() {
    let signals = set();
    // SAFETY: `signals` is initialised; only the mask of this thread changes.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut()) };
    let waits = thread::Builder::new().name("signals".into()).stack_size(64 << 10).spawn(move || wait(&signals));
    if waits.is_err() {
        // Without the thread nobody would take them: back to what the system does by default.
        unblock();
    }
}

/// Lets a process that was started take the signals again; for its moment between fork and exec.
pub fn unblock() {
    let signals = set();
    // SAFETY: `signals` is initialised; only the mask of this thread changes. Both calls are async-signal-safe.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const signals, ptr::null_mut()) };
}

fn set() -> libc::sigset_t {
    let mut signals = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set before anything reads it.
    unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGINT);
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGTERM);
        // An ignored SIGHUP (`nohup`) never arrives, blocked or not.
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGHUP);
        signals.assume_init()
    }
}

fn wait(signals: &libc::sigset_t) {
    loop {
        let mut taken = 0;
        // SAFETY: both point to initialised memory that lives through the call.
        if unsafe { libc::sigwait(signals, &raw mut taken) } == 0 && ASKED.swap(true, Ordering::SeqCst) {
            // SAFETY: ends the process without running anything that a computing thread may still use.
            unsafe { libc::_exit(ExitCode::Interrupted as i32) };
        }
    }
}

/// True once the user has asked the run to stop. Long work looks here between steps.
pub fn interrupted() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// `Err(Interrupted)` once the user has asked to stop, for work that has nothing to save.
pub fn check(saved: &str) -> crate::Result<()> {
    if interrupted() { Err(crate::Error::Interrupted { saved: saved.into() }) } else { Ok(()) }
}
