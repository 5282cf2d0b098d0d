//! Work on many items in parallel, results in order: workers take the next item, one writer receives the results
//! as if they had been made one after the other. A window bounds how far workers run ahead, and so the memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, mpsc};

use crate::Result;

/// Runs `work(i)` for `i` in `0..items` on `threads` threads and hands the results to `sink` in order.
///
/// At most `window` results (at least one a thread) exist at a time. The first error, in item order, ends the run; a
/// panic in `work` or `sink` ends it too and goes on in the caller.
pub fn ordered<T: Send>(
    items: usize,
    threads: usize,
    window: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
    mut sink: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    let threads = threads.clamp(1, items.max(1));
    if threads == 1 {
        return (0..items).try_for_each(|i| sink(i, work(i)?));
    }
    let window = window.max(threads);
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let gate = Gate { consumed: Mutex::new(0), moved: Condvar::new() };
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::channel::<(usize, Result<T>)>();
        for _ in 0..threads {
            let (send, next, stop, gate, work) = (send.clone(), &next, &stop, &gate, &work);
            scope.spawn(move || {
                // A panic in `work` must not leave the writer waiting for an item that never comes.
                let _opener = Opener { stop, gate };
                loop {
                    let item = next.fetch_add(1, Ordering::Relaxed);
                    if item >= items || !gate.wait(item, window, stop) {
                        break;
                    }
                    if send.send((item, work(item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        // Nor may a panic in `sink` leave workers waiting for the window to move.
        let _opener = Opener { stop: &stop, gate: &gate };
        let mut pending = BTreeMap::new();
        let mut wanted = 0;
        let mut result = Ok(());
        'receive: for (item, made) in receive {
            pending.insert(item, made);
            while let Some(made) = pending.remove(&wanted) {
                if let Err(error) = made.and_then(|value| sink(wanted, value)) {
                    result = Err(error);
                    break 'receive;
                }
                wanted += 1;
                gate.advance(wanted);
            }
        }
        stop.store(true, Ordering::Relaxed);
        gate.moved.notify_all();
        result
    })
}

struct Gate {
    consumed: Mutex<usize>,
    moved: Condvar,
}

impl Gate {
    /// Waits until `item` is inside the window; false when the run was stopped.
    fn wait(&self, item: usize, window: usize, stop: &AtomicBool) -> bool {
        let Ok(mut consumed) = self.consumed.lock() else { return false };
        while item >= *consumed + window {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            let Ok((guard, _)) = self.moved.wait_timeout(consumed, std::time::Duration::from_millis(50)) else {
                return false;
            };
            consumed = guard;
        }
        !stop.load(Ordering::Relaxed)
    }

    fn advance(&self, to: usize) {
        if let Ok(mut consumed) = self.consumed.lock() {
            *consumed = to;
        }
        self.moved.notify_all();
    }
}

struct Opener<'a> {
    stop: &'a AtomicBool,
    gate: &'a Gate,
}

impl Drop for Opener<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.stop.store(true, Ordering::Relaxed);
            self.gate.moved.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn results_arrive_in_order_whatever_the_threads() {
        for threads in [1, 2, 5] {
            let mut seen = Vec::new();
            ordered(
                100,
                threads,
                3,
                |i| {
                    std::thread::sleep(std::time::Duration::from_micros((100 - i as u64) * 7 % 50));
                    Ok(i * i)
                },
                |i, v| {
                    seen.push((i, v));
                    Ok(())
                },
            )
            .unwrap();
            assert_eq!(seen, (0..100).map(|i| (i, i * i)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_error_in_order_wins_and_ends_the_run() {
        let mut last = 0;
        let result = ordered(
            1000,
            3,
            8,
            |i| if i % 7 == 5 { Err(Error::failed(format!("item {i}"))) } else { Ok(i) },
            |i, _| {
                last = i;
                Ok(())
            },
        );
        assert_eq!(result.unwrap_err().to_string(), "item 5");
        assert_eq!(last, 4);
    }

    #[test]
    fn workers_never_run_further_ahead_than_the_window() {
        let started = AtomicUsize::new(0);
        ordered(
            200,
            4,
            6,
            |i| {
                started.fetch_max(i, Ordering::SeqCst);
                Ok(())
            },
            |i, ()| {
                std::thread::sleep(std::time::Duration::from_micros(200));
                assert!(started.load(Ordering::SeqCst) < i + 6 + 1);
                Ok(())
            },
        )
        .unwrap();
    }

    #[test]
    fn a_panic_of_worker_or_sink_ends_the_run() {
        let panics = |at_work: usize, at_sink: usize| {
            let run = || {
                let work = |i| if i == at_work { panic!("in work") } else { Ok(i) };
                ordered(1000, 3, 4, work, |i, _| if i == at_sink { panic!("in sink") } else { Ok(()) })
            };
            std::panic::catch_unwind(run).is_err()
        };
        assert!(panics(usize::MAX, 0) && panics(usize::MAX, 500) && panics(500, usize::MAX));
    }
}
