//! CUDA graphs.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use common::Result;
use tch::{Device, Tensor};

use super::{Tensors, check, gpu, pointers};

unsafe extern "C" {
    fn podium_graph_new(device: c_int, graph: *mut *mut c_void) -> c_int;
    fn podium_graph_begin(graph: *mut c_void) -> c_int;
    fn podium_graph_end(graph: *mut c_void) -> c_int;
    fn podium_graph_launch(graph: *mut c_void) -> c_int;
    fn podium_graph_free(graph: *mut c_void);
    fn podium_set_grads(n: usize, params: Tensors, grads: Tensors) -> c_int;
}

/// Work of a GPU, recorded.
pub struct Graph {
    raw: *mut c_void,
}

impl Graph {
    /// Records what `work` computes on `device` in this thread, without doing it. Whatever tensors it uses and makes have to
    /// stay where they are as long as the graph is launched; it must read nothing back from the GPU.
    pub fn record<T>(device: Device, work: impl FnOnce() -> Result<T>) -> Result<(Self, T)> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the pointer is written on success.
        check(unsafe { podium_graph_new(gpu(device)?, &raw mut raw) }, "preparing to record a step")?;
        let graph = Self { raw };
        // SAFETY: `raw` came from `podium_graph_new`.
        check(unsafe { podium_graph_begin(raw) }, "recording a step")?;
        // What was begun is ended, whatever happens in between.
        let done = catch_unwind(AssertUnwindSafe(work));
        // SAFETY: as above.
        let ended = check(unsafe { podium_graph_end(raw) }, "recording a step");
        let made = done.unwrap_or_else(|panic| resume_unwind(panic))?;
        ended.map(|()| (graph, made))
    }

    /// Does what was recorded, after what this thread has asked of the GPU so far.
    pub fn launch(&self) -> Result<()> {
        // SAFETY: `raw` came from `podium_graph_new`, and holds a finished recording.
        check(unsafe { podium_graph_launch(self.raw) }, "launching a recorded step")
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: not used again.
        unsafe { podium_graph_free(self.raw) };
    }
}

/// Gives parameters these gradients.
pub fn set_grads(params: &[&Tensor], grads: &[&Tensor]) -> Result<()> {
    assert_eq!(params.len(), grads.len(), "a gradient for each parameter");
    // SAFETY: two arrays of n live tensors.
    let code = unsafe { podium_set_grads(params.len(), pointers(params).as_ptr(), pointers(grads).as_ptr()) };
    check(code, "setting gradients")
}
