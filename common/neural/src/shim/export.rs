//! Recording of forward passes as TorchScript: see `torch-ext/export.cpp`.

use std::ffi::{CString, c_char, c_int, c_void};

use common::{Error, Result};
use tch::Tensor;

use super::{CTensor, Tensors, check, pointers};

type Names = *const *const c_char;

unsafe extern "C" {
    fn podium_export_new(
        name: *const c_char,
        n: usize,
        names: Names,
        tensors: Tensors,
        buffers: *const u8,
        out: *mut *mut c_void,
    ) -> c_int;
    fn podium_export_free(export: *mut c_void);
    fn podium_export_begin(export: *mut c_void, n: usize, inputs: Tensors, names: Names) -> c_int;
    fn podium_export_end(export: *mut c_void, n: usize, outputs: Tensors) -> c_int;
    fn podium_export_abandon();
    fn podium_export_method(
        export: *mut c_void,
        name: *const c_char,
        symbols: usize,
        inputs: *const i64,
        dims: *const i64,
        recordings: usize,
        sizes: *const i64,
    ) -> c_int;
    fn podium_export_text(export: *mut c_void, file: *const c_char, text: *const c_char) -> c_int;
    fn podium_export_bytes(export: *mut c_void, bytes: *mut *const u8, n: *mut usize) -> c_int;
    fn podium_export_constant(tensor: *const CTensor, out: *mut *mut CTensor) -> c_int;
    fn podium_recording() -> c_int;
    fn podium_script(
        source: *const c_char,
        name: *const c_char,
        n: usize,
        inputs: Tensors,
        out: *mut *mut CTensor,
    ) -> c_int;
}

/// Whether this thread records a pass: layers then use plain operations of the library alone.
pub fn recording() -> bool {
    // SAFETY: reads a variable of this thread.
    unsafe { podium_recording() != 0 }
}

/// A tensor that a pass makes of numbers, as a constant of the recording; while nothing is recorded, the tensor itself.
///
/// `Tensor::from_slice` fills new memory behind the recorder's back, so that its zeros would be recorded. A pass that forgets
/// this gives other numbers than `predict`, and is refused.
pub fn constant(tensor: &Tensor) -> Tensor {
    if !recording() {
        return tensor.shallow_clone();
    }
    let mut out = std::ptr::null_mut();
    // SAFETY: a live tensor; the shim writes a pointer to a new one, which from_ptr takes over.
    unsafe {
        let code = podium_export_constant(tensor.as_ptr().cast(), &raw mut out);
        check(code, "a constant").unwrap_or_else(|e| panic!("{e}"));
        Tensor::from_ptr(out.cast())
    }
}

/// What the function `name` of a text in TorchScript's language gives. In a recorded pass it stays a function with loops.
///
/// # Errors
/// Where the text is none of that language, or its function fails.
pub fn script(source: &str, name: &str, inputs: &[&Tensor]) -> Result<Tensor> {
    let (source, name) = (text(source)?, text(name)?);
    let mut out = std::ptr::null_mut();
    // SAFETY: two texts and an array of live tensors; the shim writes a pointer to a new one, which from_ptr takes over.
    unsafe {
        let given = pointers(inputs);
        let code = podium_script(source.as_ptr(), name.as_ptr(), given.len(), given.as_ptr(), &raw mut out);
        check(code, "a function in TorchScript")?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

fn text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::failed(format!("`{}` holds a zero byte", text.escape_debug())))
}

/// Pointers to texts, which must outlive them.
fn texts(names: &[String]) -> Result<Vec<CString>> {
    names.iter().map(|name| text(name)).collect()
}

fn places(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).collect()
}

/// A module that is made of recorded passes.
pub(crate) struct Recorder(*mut c_void);

impl Recorder {
    /// A module of these tensors under their dotted names; true: one that is not trained.
    pub fn new(name: &str, tensors: &[(String, Tensor, bool)]) -> Result<Self> {
        let name = text(name)?;
        let names = texts(&tensors.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>())?;
        let all: Vec<&Tensor> = tensors.iter().map(|(_, tensor, _)| tensor).collect();
        let buffers: Vec<u8> = tensors.iter().map(|(.., buffer)| u8::from(*buffer)).collect();
        let mut out = std::ptr::null_mut();
        // SAFETY: texts, live tensors and flags, as many of each; the shim writes a pointer that `drop` frees.
        let code = unsafe {
            let (names, all) = (places(&names), pointers(&all));
            podium_export_new(name.as_ptr(), all.len(), names.as_ptr(), all.as_ptr(), buffers.as_ptr(), &raw mut out)
        };
        check(code, "making a TorchScript module")?;
        Ok(Self(out))
    }

    /// Records what `pass` computes from the inputs.
    pub fn record(
        &mut self,
        inputs: &[Tensor],
        names: &[String],
        pass: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<()> {
        let names = texts(names)?;
        let given: Vec<&Tensor> = inputs.iter().collect();
        // SAFETY: live tensors and as many texts.
        let code = unsafe {
            let (names, given) = (places(&names), pointers(&given));
            podium_export_begin(self.0, given.len(), given.as_ptr(), names.as_ptr())
        };
        check(code, "recording a pass")?;
        let abandon = Abandon;
        let outputs = pass(inputs)?;
        let all: Vec<&Tensor> = outputs.iter().collect();
        // SAFETY: live tensors. The recording ends here, with or without success.
        let code = unsafe { podium_export_end(self.0, all.len(), pointers(&all).as_ptr()) };
        std::mem::forget(abandon);
        check(code, "recording a pass")
    }

    /// Makes a method of the recordings since the last one; `free` names input and dimension of each free size, `sizes`
    /// what they were in each recording.
    pub fn method(&mut self, name: &str, free: &[(i64, i64)], sizes: &[Vec<i64>]) -> Result<()> {
        let what = text(name)?;
        let (inputs, dims): (Vec<i64>, Vec<i64>) = free.iter().copied().unzip();
        let flat = sizes.concat();
        // SAFETY: arrays of the lengths that are said.
        let code = unsafe {
            let (inputs, dims) = (inputs.as_ptr(), dims.as_ptr());
            podium_export_method(self.0, what.as_ptr(), free.len(), inputs, dims, sizes.len(), flat.as_ptr())
        };
        check(code, &format!("making the method `{name}`"))
    }

    /// Adds a text as a file of the archive, and as an attribute of that name without its ending.
    pub fn text(&mut self, file: &str, content: &str) -> Result<()> {
        let (file, content) = (text(file)?, text(content)?);
        // SAFETY: two texts.
        check(unsafe { podium_export_text(self.0, file.as_ptr(), content.as_ptr()) }, "describing a TorchScript module")
    }

    /// The bytes of the file.
    pub fn bytes(&mut self) -> Result<Vec<u8>> {
        let (mut start, mut n) = (std::ptr::null(), 0);
        // SAFETY: the shim writes place and length of bytes that live until the next call; they are copied at once.
        unsafe {
            let code = podium_export_bytes(self.0, &raw mut start, &raw mut n);
            check(code, "writing a TorchScript module")?;
            Ok(std::slice::from_raw_parts(start, n).to_vec())
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // SAFETY: the pointer of `new`, freed once.
        unsafe { podium_export_free(self.0) }
    }
}

/// Ends a recording that failed, also by a panic.
struct Abandon;

impl Drop for Abandon {
    fn drop(&mut self) {
        // SAFETY: sets a variable of this thread.
        unsafe { podium_export_abandon() }
    }
}
