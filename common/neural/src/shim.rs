//! The C++ shim `torch-ext`: what libtorch can do and `tch` does not expose.
//!
//! All `unsafe` of this crate that touches libtorch is here. Every C++ function catches its exceptions and returns a
//! code; the text is kept per thread. Tensors are passed as pointers to `at::Tensor`, which is what a `tch::Tensor`
//! holds.

mod again;
mod export;
mod graph;
mod group;
mod linear;
mod pool;

use std::ffi::{CStr, c_char, c_int, c_void};

use common::{Error, Result};
use tch::{Device, Tensor};

use crate::errors;
pub(crate) use again::checkpoint;
pub(crate) use export::Recorder;
pub use export::{constant, recording, script};
pub use graph::{Graph, set_grads};
pub use group::Reduce;
pub(crate) use group::{
    group_add_nccl, group_all_reduce, group_barrier, group_beat, group_broadcast, group_open, group_sum, reducer_free,
    reducer_new, reducer_prepare,
};
pub(crate) use linear::linear;

/// `at::Tensor` behind a pointer.
type CTensor = c_void;
type Tensors = *const *const CTensor;

unsafe extern "C" {
    fn podium_last_error() -> *const c_char;
    fn podium_adam_step(
        decoupled: c_int,
        n: usize,
        params: Tensors,
        grads: Tensors,
        exp_avgs: Tensors,
        exp_avg_sqs: Tensors,
        steps: Tensors,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> c_int;
    fn podium_sgd_step(
        n: usize,
        params: Tensors,
        grads: Tensors,
        buffers: Tensors,
        lr: f64,
        momentum: f64,
        dampening: f64,
        weight_decay: f64,
        nesterov: c_int,
        first: c_int,
    ) -> c_int;
    fn podium_total_norm(n: usize, tensors: Tensors, norm: *mut f64) -> c_int;
    fn podium_scale(n: usize, tensors: Tensors, factor: f64) -> c_int;
    fn podium_clear_grads(n: usize, tensors: Tensors) -> c_int;
    fn podium_unscale(n: usize, tensors: Tensors, found_inf: *const CTensor, inverse_scale: *const CTensor) -> c_int;
    fn podium_manual_seed(device: c_int, seed: u64) -> c_int;
    fn podium_rng_state(device: c_int, state: *mut *mut CTensor) -> c_int;
    fn podium_set_rng_state(device: c_int, state: *const CTensor) -> c_int;
    fn podium_random_int64(value: *mut i64) -> c_int;
    fn podium_randperm(n: i64, seed: u64, permutation: *mut *mut CTensor) -> c_int;
    fn podium_set_deterministic(on: c_int) -> c_int;
    fn podium_deterministic() -> c_int;
    fn podium_set_tf32(on: c_int) -> c_int;
    fn podium_set_autocast(device: c_int, on: c_int, dtype: c_int, was_on: *mut c_int, was_dtype: *mut c_int) -> c_int;
    fn podium_autocast(device: c_int, on: *mut c_int, dtype: *mut c_int) -> c_int;
    fn podium_clear_autocast_cache() -> c_int;
    fn podium_selective_scan(
        x: *const CTensor,
        dt: *const CTensor,
        a_log: *const CTensor,
        b: *const CTensor,
        c: *const CTensor,
        d: *const CTensor,
        z: *const CTensor,
        allow_fused: c_int,
        out: *mut *mut CTensor,
    ) -> c_int;
    fn podium_causal_conv_silu(
        x: *const CTensor,
        weight: *const CTensor,
        bias: *const CTensor,
        fused: *mut c_int,
        out: *mut *mut CTensor,
    ) -> c_int;
    fn podium_cuda_set_device(device: c_int) -> c_int;
    fn podium_cuda_memory_stats(device: c_int, stats: *mut CudaMemory) -> c_int;
    fn podium_cuda_reset_peak(device: c_int) -> c_int;
    fn podium_cuda_empty_cache() -> c_int;
    fn podium_place(tensor: *const CTensor, device: c_int, out: *mut *mut CTensor) -> c_int;
    fn podium_upload(
        n: usize,
        tensors: Tensors,
        device: c_int,
        copies: *mut *mut CTensor,
        done: *mut *mut c_void,
    ) -> c_int;
    fn podium_upload_wait(done: *mut c_void, n: usize, copies: Tensors) -> c_int;
    fn podium_upload_free(done: *mut c_void);
}

/// Turns a code of the shim into a result.
fn check(code: c_int, what: &str) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the text is a NUL-terminated string of this thread that lives until the next failing call.
    let text = unsafe { CStr::from_ptr(podium_last_error()) }.to_string_lossy().into_owned();
    Err(match code {
        2 => errors::out_of_memory(what, &text),
        _ => errors::from_text(what, &text),
    })
}

fn pointers(tensors: &[&Tensor]) -> Vec<*const CTensor> {
    tensors.iter().map(|t| t.as_ptr().cast()).collect()
}

fn same_length(what: &str, n: usize, others: &[usize]) -> Result<()> {
    if others.iter().all(|&m| m == n) {
        return Ok(());
    }
    Err(Error::failed(format!("{what}: lists of different length: {n} and {others:?}")))
}

fn index(device: Device) -> Result<c_int> {
    match device {
        Device::Cpu => Ok(-1),
        Device::Cuda(i) => c_int::try_from(i).map_err(|_| Error::usage(format!("no GPU with the number {i}"))),
        other => Err(Error::usage(format!("the device `{other:?}` is not supported, expected `cpu` or `cuda[:N]`"))),
    }
}

/// The numbers of an Adam or `AdamW` step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adam {
    pub decoupled: bool,
    pub lr: f64,
    pub betas: (f64, f64),
    pub weight_decay: f64,
    pub eps: f64,
}

/// The state tensors of an Adam step, parallel to the parameters.
pub(crate) struct AdamState<'a> {
    pub exp_avgs: &'a [&'a Tensor],
    pub exp_avg_sqs: &'a [&'a Tensor],
    pub steps: &'a [&'a Tensor],
}

/// One fused step over all tensors; the step counters are counted up by one first. Shapes, strides, dtypes and
/// devices are compared before anything is written.
pub(crate) fn adam_step(params: &[&Tensor], grads: &[&Tensor], state: &AdamState, adam: &Adam) -> Result<()> {
    let n = params.len();
    same_length("adam step", n, &[grads.len(), state.exp_avgs.len(), state.exp_avg_sqs.len(), state.steps.len()])?;
    // SAFETY: five arrays of n live tensors; the shim reads the pointers during the call only.
    let code = unsafe {
        podium_adam_step(
            c_int::from(adam.decoupled),
            n,
            pointers(params).as_ptr(),
            pointers(grads).as_ptr(),
            pointers(state.exp_avgs).as_ptr(),
            pointers(state.exp_avg_sqs).as_ptr(),
            pointers(state.steps).as_ptr(),
            adam.lr,
            adam.betas.0,
            adam.betas.1,
            adam.weight_decay,
            adam.eps,
        )
    };
    check(code, "optimizer step")
}

/// The numbers of an SGD step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sgd {
    pub lr: f64,
    pub momentum: f64,
    pub dampening: f64,
    pub weight_decay: f64,
    pub nesterov: bool,
    /// The buffers are fresh: they are set to the gradient, not updated.
    pub first: bool,
}

/// One fused step of SGD. `buffers` is empty where momentum is zero.
pub(crate) fn sgd_step(params: &[&Tensor], grads: &[&Tensor], buffers: &[&Tensor], sgd: &Sgd) -> Result<()> {
    let n = params.len();
    same_length("sgd step", n, &[grads.len()])?;
    if !buffers.is_empty() {
        same_length("sgd step", n, &[buffers.len()])?;
    }
    let buffers = pointers(buffers);
    // SAFETY: arrays of n live tensors, or null for the buffers; read during the call only.
    let code = unsafe {
        podium_sgd_step(
            n,
            pointers(params).as_ptr(),
            pointers(grads).as_ptr(),
            if buffers.is_empty() { std::ptr::null() } else { buffers.as_ptr() },
            sgd.lr,
            sgd.momentum,
            sgd.dampening,
            sgd.weight_decay,
            c_int::from(sgd.nesterov),
            c_int::from(sgd.first),
        )
    };
    check(code, "optimizer step")
}

/// L2 norm over all elements of all tensors, computed in f32 as the norm of the norms. Waits for the GPU.
pub fn total_norm(tensors: &[&Tensor]) -> Result<f64> {
    let mut norm = 0.0;
    // SAFETY: an array of live tensors and a place for one f64.
    let code = unsafe { podium_total_norm(tensors.len(), pointers(tensors).as_ptr(), &raw mut norm) };
    check(code, "norm of the gradients").map(|()| norm)
}

/// Multiplies all tensors in place.
pub fn scale(tensors: &[&Tensor], factor: f64) -> Result<()> {
    // SAFETY: an array of live tensors.
    check(unsafe { podium_scale(tensors.len(), pointers(tensors).as_ptr(), factor) }, "scaling the gradients")
}

/// Takes the gradients of all tensors away.
pub(crate) fn clear_grads(tensors: &[&Tensor]) -> Result<()> {
    // SAFETY: an array of live tensors.
    check(unsafe { podium_clear_grads(tensors.len(), pointers(tensors).as_ptr()) }, "clearing the gradients")
}

/// Multiplies all tensors by `inverse_scale` (one f32) and sets `found_inf` (one f32) to 1 where one is not finite.
pub(crate) fn unscale(tensors: &[&Tensor], found_inf: &Tensor, inverse_scale: &Tensor) -> Result<()> {
    // SAFETY: an array of live tensors and two live tensors.
    let code = unsafe {
        podium_unscale(
            tensors.len(),
            pointers(tensors).as_ptr(),
            found_inf.as_ptr().cast(),
            inverse_scale.as_ptr().cast(),
        )
    };
    check(code, "unscaling the gradients")
}

/// Seeds the library's own generator of a device (dropout draws from it).
pub fn manual_seed(device: Device, seed: u64) -> Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { podium_manual_seed(index(device)?, seed) }, "seeding the generator")
}

/// State of the library's generator of a device: a byte tensor on the CPU, for checkpoints.
pub fn rng_state(device: Device) -> Result<Tensor> {
    let mut state = std::ptr::null_mut();
    // SAFETY: the shim writes a pointer to a new tensor, which from_ptr takes over.
    unsafe {
        check(podium_rng_state(index(device)?, &raw mut state), "reading the generator's state")?;
        Ok(Tensor::from_ptr(state.cast()))
    }
}

/// Puts back what [`rng_state`] gave.
pub fn set_rng_state(device: Device, state: &Tensor) -> Result<()> {
    // SAFETY: a live tensor; its size is checked by the generator.
    check(unsafe { podium_set_rng_state(index(device)?, state.as_ptr().cast()) }, "restoring the generator's state")
}

/// The next 63-bit number of the library's CPU generator, as torch's data loader draws it.
pub fn random_int64() -> Result<i64> {
    let mut value = 0;
    // SAFETY: a place for one i64.
    check(unsafe { podium_random_int64(&raw mut value) }, "drawing a number").map(|()| value)
}

/// A permutation of 0..n from a fresh Mersenne generator, as torch's random sampler makes it.
pub fn randperm(n: i64, seed: u64) -> Result<Tensor> {
    let mut permutation = std::ptr::null_mut();
    // SAFETY: the shim writes a pointer to a new tensor, which from_ptr takes over.
    unsafe {
        check(podium_randperm(n, seed, &raw mut permutation), "drawing a permutation")?;
        Ok(Tensor::from_ptr(permutation.cast()))
    }
}

/// Operations without a deterministic form then fail instead of giving other bits in every run.
pub fn set_deterministic(on: bool) -> Result<()> {
    // SAFETY: a plain number.
    check(unsafe { podium_set_deterministic(c_int::from(on)) }, "switching deterministic algorithms")
}

/// Whether [`set_deterministic`] is on.
pub fn deterministic() -> bool {
    // SAFETY: no arguments.
    unsafe { podium_deterministic() != 0 }
}

/// TensorFloat-32 in matrix products, convolutions and recurrent layers on the GPU (10 bits of mantissa).
pub fn set_tf32(on: bool) -> Result<()> {
    // SAFETY: a plain number.
    check(unsafe { podium_set_tf32(c_int::from(on)) }, "switching TF32")
}

/// Autocast of one device type in this thread: on or off, and the type it casts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Autocast {
    pub on: bool,
    /// f16 instead of bf16.
    pub half: bool,
}

/// Sets autocast for the type of `device` and gives back what was set before.
pub(crate) fn set_autocast(device: Device, to: Autocast) -> Result<Autocast> {
    let (mut on, mut half) = (0, 0);
    // SAFETY: plain numbers and places for two of them.
    let code = unsafe {
        podium_set_autocast(index(device)?, c_int::from(to.on), c_int::from(to.half), &raw mut on, &raw mut half)
    };
    check(code, "switching autocast").map(|()| Autocast { on: on != 0, half: half != 0 })
}

/// What autocast does on the type of `device` now.
pub(crate) fn autocast(device: Device) -> Result<Autocast> {
    let (mut on, mut half) = (0, 0);
    // SAFETY: a number and places for two.
    let code = unsafe { podium_autocast(index(device)?, &raw mut on, &raw mut half) };
    check(code, "reading autocast").map(|()| Autocast { on: on != 0, half: half != 0 })
}

/// Drops the casts of weights that autocast keeps.
pub(crate) fn clear_autocast_cache() -> Result<()> {
    // SAFETY: no arguments.
    check(unsafe { podium_clear_autocast_cache() }, "clearing the autocast cache")
}

/// What a selective scan works on: `x`, `dt` (before softplus) and `z` `[B, L, I]`, `a_log` `[I, N]`, `b` and `c`
/// `[B, L, N]`, `d` `[I]`.
pub(crate) struct Scan<'a> {
    pub x: &'a Tensor,
    pub dt: &'a Tensor,
    pub a_log: &'a Tensor,
    pub b: &'a Tensor,
    pub c: &'a Tensor,
    pub d: &'a Tensor,
    pub z: &'a Tensor,
}

/// `y * silu(z)` `[B, L, I]`, y being the scan; differentiable once. Without `allow_fused` tensor operations do the
/// work on the CPU too, as they do on a GPU.
pub(crate) fn selective_scan(scan: &Scan, allow_fused: bool) -> Result<Tensor> {
    pool::give();
    let mut out = std::ptr::null_mut();
    // SAFETY: seven live tensors; the shim writes a pointer to a new one, which from_ptr takes over.
    unsafe {
        let code = podium_selective_scan(
            scan.x.as_ptr().cast(),
            scan.dt.as_ptr().cast(),
            scan.a_log.as_ptr().cast(),
            scan.b.as_ptr().cast(),
            scan.c.as_ptr().cast(),
            scan.d.as_ptr().cast(),
            scan.z.as_ptr().cast(),
            c_int::from(allow_fused),
            &raw mut out,
        );
        check(code, "selective scan")?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

/// silu of a causal depthwise convolution: `x` `[B, L, I]`, `weight` `[I, 1, K]`, `bias` `[I]`. None where no kernel does
/// it in one pass: those for f32 do, on the CPU and on a GPU.
pub(crate) fn causal_conv_silu(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Option<Tensor>> {
    pool::give();
    let (mut fused, mut out) = (0, std::ptr::null_mut());
    // SAFETY: three live tensors; the shim writes a pointer to a new one, which from_ptr takes over.
    unsafe {
        let (x, weight, bias) = (x.as_ptr().cast(), weight.as_ptr().cast(), bias.as_ptr().cast());
        check(podium_causal_conv_silu(x, weight, bias, &raw mut fused, &raw mut out), "causal convolution")?;
        Ok((fused != 0).then(|| Tensor::from_ptr(out.cast())))
    }
}

/// A copy of a tensor of the CPU on a GPU, through pinned memory: this thread does not wait for what the GPU does before.
pub(crate) fn place(tensor: &Tensor, device: Device) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    // SAFETY: a live tensor; the shim writes a pointer to a new one, which from_ptr takes over.
    unsafe {
        check(podium_place(tensor.as_ptr().cast(), gpu(device)?, &raw mut out), "copying to the GPU")?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

/// Memory of one GPU as the caching allocator sees it, in bytes and counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[repr(C)]
pub struct CudaMemory {
    /// Bytes in live tensors.
    pub allocated: i64,
    /// Largest `allocated` since the start or the last reset.
    pub allocated_peak: i64,
    /// Bytes taken from the driver.
    pub reserved: i64,
    /// Largest `reserved` since the start or the last reset.
    pub reserved_peak: i64,
    /// Allocations that succeeded only after the cache was emptied.
    pub retries: i64,
    /// Allocations that failed.
    pub out_of_memory: i64,
}

fn gpu(device: Device) -> Result<c_int> {
    match device {
        Device::Cuda(_) => index(device),
        other => Err(Error::usage(format!("the device `{other:?}` has no GPU memory, expected `cuda[:N]`"))),
    }
}

/// Memory statistics of a GPU that is in use.
pub fn cuda_memory(device: Device) -> Result<CudaMemory> {
    let mut stats = CudaMemory::default();
    // SAFETY: a place for the six numbers, laid out as in the shim.
    check(unsafe { podium_cuda_memory_stats(gpu(device)?, &raw mut stats) }, "reading the GPU's memory").map(|()| stats)
}

/// Starts the peaks of [`cuda_memory`] anew.
pub fn reset_cuda_peak(device: Device) -> Result<()> {
    // SAFETY: a plain number.
    check(unsafe { podium_cuda_reset_peak(gpu(device)?) }, "resetting the GPU's memory peak")
}

/// Gives cached memory back to the driver, for example between training and a large evaluation.
pub fn empty_cuda_cache() -> Result<()> {
    // SAFETY: no arguments.
    check(unsafe { podium_cuda_empty_cache() }, "emptying the GPU's cache")
}

/// Makes a GPU the one of this thread: libraries that are not told a device take that, and would otherwise hold memory of
/// the first one.
pub(crate) fn set_cuda_device(device: Device) -> Result<()> {
    // SAFETY: sets a number of the driver.
    check(unsafe { podium_cuda_set_device(gpu(device)?) }, "choosing the GPU")
}

/// Copies that are on their way to a GPU.
pub(crate) struct Upload {
    copies: Vec<Tensor>,
    done: *mut c_void,
}

// SAFETY: an event of the driver may be waited for and dropped in any thread.
unsafe impl Send for Upload {}

impl Upload {
    /// Starts copying tensors, through pinned memory, beside what the GPU computes.
    pub fn start(tensors: &[Tensor], device: Device) -> Result<Self> {
        let list: Vec<&Tensor> = tensors.iter().collect();
        let mut copies = vec![std::ptr::null_mut(); list.len()];
        let mut done = std::ptr::null_mut();
        // SAFETY: n live tensors and as many places for pointers to new ones, which from_ptr takes over.
        unsafe {
            let code =
                podium_upload(list.len(), pointers(&list).as_ptr(), gpu(device)?, copies.as_mut_ptr(), &raw mut done);
            check(code, "copying a batch to the GPU")?;
            Ok(Self { copies: copies.into_iter().map(|copy| Tensor::from_ptr(copy.cast())).collect(), done })
        }
    }

    /// The copies; what this thread computes next waits for them, this thread does not.
    pub fn wait(mut self) -> Result<Vec<Tensor>> {
        let copies = std::mem::take(&mut self.copies);
        let list: Vec<&Tensor> = copies.iter().collect();
        // SAFETY: `done` came from `podium_upload`; live tensors.
        let code = unsafe { podium_upload_wait(self.done, list.len(), pointers(&list).as_ptr()) };
        check(code, "waiting for a batch on the GPU").map(|()| copies)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // SAFETY: `done` came from `podium_upload` and is not used again.
        unsafe { podium_upload_free(self.done) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_slice(values)
    }

    #[test]
    fn a_gradient_of_another_shape_is_refused_before_anything_is_written() {
        let param = Tensor::ones([7, 3], (Kind::Float, Device::Cpu));
        let like = || Tensor::zeros([7, 3], (Kind::Float, Device::Cpu));
        let (avg, sq, step) = (like(), like(), tensor(&[0.0]));
        let adam = Adam { decoupled: true, lr: 0.1, betas: (0.9, 0.999), weight_decay: 0.1, eps: 1e-8 };
        let bad = [
            (Tensor::ones([2], (Kind::Float, Device::Cpu)), "has shape [2], its parameter [7, 3]"),
            (Tensor::ones([7, 3], (Kind::Double, Device::Cpu)), "is Double on cpu, its parameter Float on cpu"),
        ];
        for (grad, expected) in bad {
            let state = AdamState { exp_avgs: &[&avg], exp_avg_sqs: &[&sq], steps: &[&step] };
            let error = adam_step(&[&param], &[&grad], &state, &adam).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(param.min().double_value(&[]), 1.0);
            assert_eq!(step.double_value(&[0]), 0.0);
        }
    }

    #[test]
    fn a_gradient_in_another_layout_gives_the_same_step() {
        let step = |grad: &Tensor| {
            let param = Tensor::ones([4, 3], (Kind::Float, Device::Cpu));
            let (avg, sq, count) = (param.zeros_like(), param.zeros_like(), tensor(&[0.0]));
            let state = AdamState { exp_avgs: &[&avg], exp_avg_sqs: &[&sq], steps: &[&count] };
            let adam = Adam { decoupled: false, lr: 0.1, betas: (0.9, 0.999), weight_decay: 0.1, eps: 1e-8 };
            adam_step(&[&param], &[grad], &state, &adam).unwrap();
            param
        };
        let grad = Tensor::arange(12, (Kind::Float, Device::Cpu)).view([4, 3]) - 5.0;
        let transposed = grad.tr().contiguous().tr();
        assert_ne!(transposed.stride(), grad.stride());
        assert!(step(&grad).equal(&step(&transposed)));
    }

    #[test]
    fn the_norm_is_that_of_all_elements() {
        let norm = total_norm(&[&tensor(&[3.0]), &tensor(&[0.0, 4.0]), &tensor(&[12.0])]).unwrap();
        assert_eq!(norm, 13.0);
        assert_eq!(total_norm(&[]).unwrap(), 0.0);
    }

    #[test]
    fn the_generator_continues_from_a_saved_state() {
        manual_seed(Device::Cpu, 7).unwrap();
        let state = rng_state(Device::Cpu).unwrap();
        let first = Tensor::rand([8], (Kind::Float, Device::Cpu));
        set_rng_state(Device::Cpu, &state).unwrap();
        assert!(first.equal(&Tensor::rand([8], (Kind::Float, Device::Cpu))));
        assert!(set_rng_state(Device::Cpu, &Tensor::zeros([3], (Kind::Uint8, Device::Cpu))).is_err());
    }

    #[test]
    fn permutations_depend_on_the_seed_only() {
        let order = |seed| Vec::<i64>::try_from(randperm(50, seed).unwrap()).unwrap();
        assert_eq!(order(3), order(3));
        assert_ne!(order(3), order(4));
        let mut sorted = order(3);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn the_deterministic_switch_makes_fickle_operations_fail() {
        set_deterministic(true).unwrap();
        assert!(deterministic());
        let put = || tensor(&[0.0, 1.0]).f_put_(&Tensor::from_slice(&[0_i64]), &tensor(&[5.0]), false);
        assert!(put().is_err());
        set_deterministic(false).unwrap();
        assert!(put().is_ok());
    }

    #[test]
    fn memory_of_the_cpu_is_not_memory_of_a_gpu() {
        assert!(matches!(cuda_memory(Device::Cpu), Err(Error::Usage { .. })));
    }
}
