//! From libtorch's errors to ours.

use common::exhausted::first_words;
use common::{Error, Result, exhausted};
use tch::TchError;

/// Adds what was being done to an error of libtorch.
pub trait Doing<T> {
    /// `what` is a participle with its object: "moving `fc.weight` to the GPU". Out of memory and failures of the
    /// driver become [`Error::Device`], everything else [`Error::Failed`].
    fn doing(self, what: impl std::fmt::Display) -> Result<T>;
}

impl<T> Doing<T> for Result<T, TchError> {
    fn doing(self, what: impl std::fmt::Display) -> Result<T> {
        self.map_err(|error| {
            let text = match error {
                TchError::Torch(text) | TchError::FileFormat(text) => text,
                other => other.to_string(),
            };
            from_text(&what.to_string(), &text)
        })
    }
}

/// Sorts the text of a C++ exception into a kind of error. libtorch gives out-of-memory no class of its own on the
/// CPU, so the text decides.
pub(crate) fn from_text(what: &str, text: &str) -> Error {
    let cause = first_words(text);
    let lower = text.to_ascii_lowercase();
    if lower.contains("out of memory") || lower.contains("can't allocate memory") || lower.contains("bad_alloc") {
        out_of_memory(what, text)
    } else if lower.contains("cuda error") || lower.contains("cudnn error") || lower.contains("cublas error") {
        Error::device(format!("{what}: {cause}")).hint("check the GPU with `nvidia-smi`, or run with `--device cpu`")
    } else {
        Error::failed(format!("{what}: {cause}"))
    }
}

/// Memory ran out: the one failure that the user can do something about.
pub(crate) fn out_of_memory(what: &str, text: &str) -> Error {
    let (sentence, hint) = exhausted::explain(&format!("{what}: {}", first_words(text)));
    Error::device(sentence).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_memory_is_a_device_error_and_the_backtrace_is_cut() {
        let text = "CUDA out of memory. Tried to allocate 2.00 GiB.\nException raised from malloc at x.cpp:1\nframe #0";
        let error = from_text("allocating", text);
        assert!(matches!(error, Error::Device { .. }));
        let said = "allocating: CUDA out of memory. Tried to allocate 2.00 GiB; this process holds ";
        assert!(error.to_string().contains(said), "{error}");
        assert!(matches!(
            from_text("x", "DefaultCPUAllocator: can't allocate memory: you tried"),
            Error::Device { .. }
        ));
        assert!(matches!(from_text("x", "shape mismatch"), Error::Failed { .. }));
    }

    #[test]
    fn a_failing_tensor_call_tells_what_was_being_done() {
        let ones = tch::Tensor::ones([2], (tch::Kind::Float, tch::Device::Cpu));
        let error = ones.f_view([3]).doing("viewing `a`").unwrap_err();
        assert!(error.to_string().starts_with("viewing `a`: shape '[3]' is invalid"), "{error}");
    }
}
