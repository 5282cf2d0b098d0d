//! Items computed ahead on worker threads and handed out in order.
//!
//! Workers claim the next index as long as it is less than `ahead` beyond what the consumer has taken: the queue is
//! bounded, and a slow item delays delivery but never reorders it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{Error, Result};
use tch::Tensor;

use crate::shim::Upload;

/// A batch where it is needed, or on its way there.
pub(super) enum Item {
    Here(Vec<Tensor>),
    Coming(Upload),
}

type Read = dyn Fn(u64) -> Result<Item> + Send + Sync;

/// Reads an ascending range of indices ahead of its consumer.
pub(super) struct Prefetch {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    waited: Duration,
}

struct Shared {
    read: Box<Read>,
    end: u64,
    ahead: u64,
    state: Mutex<State>,
    ready: Condvar,
    room: Condvar,
}

struct State {
    /// Next index that no worker has taken.
    claim: u64,
    /// Next index to hand out.
    deliver: u64,
    done: BTreeMap<u64, Result<Item>>,
    stop: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A worker never panics with the lock held; a poisoned lock still guards consistent data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let index = {
                let mut state = self.lock();
                loop {
                    if state.stop || state.claim >= self.end {
                        return;
                    }
                    if state.claim < state.deliver + self.ahead {
                        break;
                    }
                    state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                state.claim += 1;
                state.claim - 1
            };
            let read = std::panic::AssertUnwindSafe(|| (self.read)(index));
            let item = std::panic::catch_unwind(read)
                .unwrap_or_else(|_| Err(Error::failed(format!("reading batch {index}: a worker thread panicked"))));
            self.lock().done.insert(index, item);
            self.ready.notify_all();
        }
    }
}

impl Prefetch {
    pub fn start(
        read: impl Fn(u64) -> Result<Item> + Send + Sync + 'static,
        range: Range<u64>,
        workers: usize,
        ahead: usize,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            read: Box::new(read),
            end: range.end,
            ahead: ahead.max(1) as u64,
            state: Mutex::new(State { claim: range.start, deliver: range.start, done: BTreeMap::new(), stop: false }),
            ready: Condvar::new(),
            room: Condvar::new(),
        });
        let workers = (0..workers)
            .map(|index| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new().name(format!("loader-{index}")).spawn(move || shared.work()).map_err(|e| {
                    Error::failed(format!("starting a loader thread: {e}"))
                        .hint("try fewer workers: `loader.workers=0`")
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { shared, workers, waited: Duration::ZERO })
    }

    /// The next index and its item, `None` after the last.
    pub fn next(&mut self) -> Result<Option<(u64, Item)>> {
        let start = Instant::now();
        let next = self.take();
        self.waited += start.elapsed();
        next.map(|(index, item)| Ok((index, item?))).transpose()
    }

    fn take(&self) -> Option<(u64, Result<Item>)> {
        let mut state = self.shared.lock();
        let index = state.deliver;
        if index >= self.shared.end {
            return None;
        }
        if self.workers.is_empty() {
            state.deliver += 1;
            drop(state);
            return Some((index, (self.shared.read)(index)));
        }
        loop {
            if let Some(item) = state.done.remove(&index) {
                state.deliver += 1;
                self.shared.room.notify_all();
                return Some((index, item));
            }
            state = self.shared.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.room.notify_all();
        for worker in self.workers.drain(..) {
            // A worker's panic was turned into an item already.
            let _ = worker.join();
        }
    }
}
