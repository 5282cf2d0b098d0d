//! Threads for the shim's own kernels: those of the process's pool, which `--threads` sizes. They wait there between two
//! kernels; starting threads of their own for each cost more than a small kernel takes.

use std::ffi::{c_int, c_void};
use std::sync::Once;

/// One worker's share of a kernel.
type Work = unsafe extern "C" fn(context: *mut c_void, worker: c_int);

unsafe extern "C" {
    fn podium_set_pool(pool: extern "C" fn(c_int, Work, *mut c_void));
}

static GIVEN: Once = Once::new();

/// Lets kernels use the pool.
pub(super) fn give() {
    // SAFETY: stores a function that lives as long as the process.
    GIVEN.call_once(|| unsafe { podium_set_pool(run) });
}

/// What a kernel's workers share.
#[derive(Clone, Copy)]
struct Context(*mut c_void);

// SAFETY: the kernel made it for its workers, which run at once and end before it does.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    fn serve(self, work: Work, worker: c_int) {
        // SAFETY: the kernel waits for all workers, so that what it shares is alive.
        unsafe { work(self.0, worker) };
    }
}

extern "C" fn run(workers: c_int, work: Work, context: *mut c_void) {
    let context = Context(context);
    rayon::scope(|scope| {
        for worker in 1..workers {
            scope.spawn(move |_| context.serve(work, worker));
        }
        context.serve(work, 0);
    });
}
