//! Gradient checkpointing: see `torch-ext/again.cpp`.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::Result;
use tch::Tensor;

use super::{CTensor, check};

type Run = unsafe extern "C" fn(*mut c_void, *mut CTensor) -> *mut CTensor;
type Drop = unsafe extern "C" fn(*mut c_void);

unsafe extern "C" {
    fn podium_checkpoint(x: *const CTensor, run: Run, drop: Drop, data: *mut c_void, out: *mut *mut CTensor) -> c_int;
}

/// `work(x)`, without its intermediate values being kept for the backward pass, which calls `work` again. It is called on
/// the thread that computes gradients while the caller of the backward pass waits for it. Gradients of what `work` holds are
/// added to its leaves.
pub(crate) fn checkpoint<F: Fn(&Tensor) -> Tensor + 'static>(x: &Tensor, work: F) -> Result<Tensor> {
    let data = Box::into_raw(Box::new(work)).cast();
    let mut out = std::ptr::null_mut();
    // SAFETY: a live tensor, and a box that `drop_work` of the same type ends once, which the shim calls; it writes a
    // pointer to a new tensor, which from_ptr takes over.
    unsafe {
        check(podium_checkpoint(x.as_ptr().cast(), run_work::<F>, drop_work::<F>, data, &raw mut out), "a checkpoint")?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

/// A panic must not cross C++: it becomes null, and its message has been printed.
unsafe extern "C" fn run_work<F: Fn(&Tensor) -> Tensor>(data: *mut c_void, x: *mut CTensor) -> *mut CTensor {
    // SAFETY: the box of `checkpoint`, which lives as long as the shim's object, and a new tensor that is ours now.
    let (work, x) = unsafe { (&*data.cast::<F>(), Tensor::from_ptr(x.cast())) };
    match catch_unwind(AssertUnwindSafe(|| work(&x))) {
        Ok(mut result) => {
            let pointer = result.as_mut_ptr().cast();
            // The shim deletes it.
            std::mem::forget(result);
            pointer
        }
        Err(_) => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn drop_work<F>(data: *mut c_void) {
    // SAFETY: the box of `checkpoint`, ended once.
    drop(unsafe { Box::from_raw(data.cast::<F>()) });
}
