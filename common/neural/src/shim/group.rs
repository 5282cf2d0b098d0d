//! Groups of processes (c10d), and averaging gradients over them.

use std::ffi::{CString, c_char, c_int, c_void};
use std::time::Duration;

use common::world::World;
use common::{Error, Result};
use tch::Tensor;

use super::{CTensor, Tensors, check, pointers};

/// How values of the ranks become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduce {
    /// Their sum.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

unsafe extern "C" {
    fn podium_group_open(
        host: *const c_char,
        port: u16,
        rank: c_int,
        size: c_int,
        serves: c_int,
        kept: c_int,
        prefix: *const c_char,
        interface: *const c_char,
        meet_ms: i64,
        work_ms: i64,
        group: *mut *mut c_void,
    ) -> c_int;
    fn podium_group_all_reduce(group: *mut c_void, tensor: *const CTensor, op: c_int) -> c_int;
    fn podium_group_broadcast(group: *mut c_void, tensor: *const CTensor, root: c_int) -> c_int;
    fn podium_group_sum(group: *mut c_void, tensor: *const CTensor, out: *mut *mut CTensor) -> c_int;
    fn podium_group_barrier(group: *mut c_void) -> c_int;
    fn podium_group_add_nccl(group: *mut c_void, work_ms: i64) -> c_int;
    fn podium_group_beat(group: *mut c_void, leaves: c_int, leaving: *mut c_int) -> c_int;
    fn podium_reducer_new(
        group: *mut c_void,
        n: usize,
        params: Tensors,
        first_bytes: i64,
        bucket_bytes: i64,
        reducer: *mut *mut c_void,
    ) -> c_int;
    fn podium_reducer_free(reducer: *mut c_void);
    fn podium_reducer_prepare(reducer: *mut c_void, loss: *const CTensor) -> c_int;
}

/// A C string of a text without NUL.
fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::usage(format!("`{}` holds a NUL byte", text.escape_debug())))
}

/// Meets the other processes of `world`. The group lives as long as the process.
pub(crate) fn group_open(world: &World, meet: Duration, work: Duration) -> Result<*mut c_void> {
    let host = c_string(&world.address)?;
    let prefix = c_string(&world.prefix)?;
    let interface = c_string(&std::env::var("GLOO_SOCKET_IFNAME").unwrap_or_default())?;
    let serves = world.rank == 0 && !world.store_is_kept;
    let mut group = std::ptr::null_mut();
    // SAFETY: the texts live through the call; `group` is written on success only.
    let code = unsafe {
        podium_group_open(
            host.as_ptr(),
            world.port,
            world.rank as c_int,
            world.size as c_int,
            c_int::from(serves),
            c_int::from(world.store_is_kept),
            prefix.as_ptr(),
            interface.as_ptr(),
            meet.as_millis() as i64,
            work.as_millis() as i64,
            &raw mut group,
        )
    };
    check(code, "meeting the other processes")?;
    Ok(group)
}

/// Reduces a CPU tensor over the group, in place.
pub(crate) fn group_all_reduce(group: *mut c_void, tensor: &Tensor, how: Reduce) -> Result<()> {
    let op = match how {
        Reduce::Sum => 0,
        Reduce::Min => 1,
        Reduce::Max => 2,
    };
    // SAFETY: `group` came from `group_open`; the tensor lives through the call.
    check(unsafe { podium_group_all_reduce(group, tensor.as_ptr().cast(), op) }, "reducing over the ranks")
}

/// Gives a CPU tensor the values that rank `root` holds, in place.
pub(crate) fn group_broadcast(group: *mut c_void, tensor: &Tensor, root: c_int) -> Result<()> {
    // SAFETY: as in `group_all_reduce`.
    check(unsafe { podium_group_broadcast(group, tensor.as_ptr().cast(), root) }, "hearing from rank 0")
}

/// The sum of a tensor over the ranks as a new tensor; its gradient is the sum of the gradients of the ranks.
pub(crate) fn group_sum(group: *mut c_void, tensor: &Tensor) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    // SAFETY: as in `group_all_reduce`; the shim writes a pointer to a new tensor, which from_ptr takes over. The group
    // lives as long as the process, also when backward runs.
    unsafe {
        check(podium_group_sum(group, tensor.as_ptr().cast(), &raw mut out), "summing over the ranks")?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

/// Waits for all ranks.
pub(crate) fn group_barrier(group: *mut c_void) -> Result<()> {
    // SAFETY: as in `group_all_reduce`.
    check(unsafe { podium_group_barrier(group) }, "waiting for the other ranks")
}

/// Lets tensors on GPUs travel over NCCL.
pub(crate) fn group_add_nccl(group: *mut c_void, work: Duration) -> Result<()> {
    // SAFETY: `group` came from `group_open`.
    check(unsafe { podium_group_add_nccl(group, work.as_millis() as i64) }, "starting NCCL")
}

/// A sign of life to and from all ranks; how many of them leave. Called from one thread only.
pub(crate) fn group_beat(group: *mut c_void, leaves: bool) -> Result<c_int> {
    let mut leaving = 0;
    // SAFETY: `group` came from `group_open`; the number is written on success.
    check(unsafe { podium_group_beat(group, c_int::from(leaves), &raw mut leaving) }, "hearing from the ranks")?;
    Ok(leaving)
}

/// A reducer over `params`; `bytes` are the sizes of its first bucket and of all others.
pub(crate) fn reducer_new(group: *mut c_void, params: &[&Tensor], bytes: (i64, i64)) -> Result<*mut c_void> {
    let mut reducer = std::ptr::null_mut();
    let list = pointers(params);
    // SAFETY: the array holds live tensors; the reducer keeps references of its own.
    let code = unsafe { podium_reducer_new(group, list.len(), list.as_ptr(), bytes.0, bytes.1, &raw mut reducer) };
    check(code, "watching the gradients")?;
    Ok(reducer)
}

/// Ends a reducer.
pub(crate) fn reducer_free(reducer: *mut c_void) {
    // SAFETY: came from `reducer_new` and is not used again.
    unsafe { podium_reducer_free(reducer) };
}

/// Lets the next backward pass from `loss` average the gradients.
pub(crate) fn reducer_prepare(reducer: *mut c_void, loss: &Tensor) -> Result<()> {
    // SAFETY: `reducer` came from `reducer_new`; the tensor lives through the call.
    check(unsafe { podium_reducer_prepare(reducer, loss.as_ptr().cast()) }, "preparing to average gradients")
}
