//! Linear maps by the faster of the two libraries that libtorch brings along: see `torch-ext/linear.cpp`.

use std::ffi::c_int;

use common::Result;
use tch::Tensor;

use super::{CTensor, check};

unsafe extern "C" {
    fn podium_linear(
        x: *const CTensor,
        w: *const CTensor,
        b: *const CTensor,
        other: *const CTensor,
        gelu: c_int,
        out: *mut *mut CTensor,
    ) -> c_int;
}

/// `x W' + b`, `[.., outputs]`, and `other` on top; or its GELU.
pub(crate) fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    other: Option<&Tensor>,
    gelu: bool,
) -> Result<Tensor> {
    let pointer = |t: Option<&Tensor>| t.map_or(std::ptr::null(), |t| t.as_ptr().cast());
    let mut out = std::ptr::null_mut();
    // SAFETY: live tensors, or null where the shim allows it; it writes a pointer to a new one, which from_ptr takes.
    unsafe {
        let (x, weight) = (x.as_ptr().cast(), weight.as_ptr().cast());
        check(podium_linear(x, weight, pointer(bias), pointer(other), c_int::from(gelu), &raw mut out), "linear map")?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}
