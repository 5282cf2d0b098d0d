//! Out of memory: what was being done, what it held, and what needs less.
//!
//! Work that can outgrow the machine says so beforehand ([`working_on`]). When libtorch or our own code then finds no
//! memory, the message names that work and its remedies, and the process ends with exit code 5.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::ExitCode;
use crate::memory;

/// The work at hand: what it is with its sizes, and what would need less.
#[derive(Clone)]
struct Work {
    what: String,
    remedies: Vec<String>,
}

static WORK: Mutex<Option<Work>> = Mutex::new(None);

/// Says what the process works on: `training exp195, batches of 1024 rows`, and the overrides or flags that make it
/// need less memory, the mildest first.
pub fn working_on(what: impl Into<String>, remedies: Vec<String>) {
    if let Ok(mut work) = WORK.lock() {
        *work = Some(Work { what: what.into(), remedies });
    }
}

/// Forgets the work: what follows is something else.
pub fn finished() {
    if let Ok(mut work) = WORK.lock() {
        *work = None;
    }
}

/// The message of a process without memory: a sentence and its remedies. `cause` is what could not be had.
pub fn explain(cause: &str) -> (String, String) {
    // A lock that is held (the process may have stopped anywhere) costs the detail, not the message.
    let work = WORK.try_lock().ok().and_then(|work| work.clone());
    let doing = work.as_ref().map(|w| format!(" while {}", w.what)).unwrap_or_default();
    let held = gib(memory::anonymous_bytes());
    let machine = memory::available_bytes().map(|free| format!(", {} are free", gib(free))).unwrap_or_default();
    let sentence = format!("out of memory{doing}: {cause}; this process holds {held}{machine}");
    let remedies = work.map(|w| w.remedies).filter(|r| !r.is_empty()).unwrap_or_else(|| {
        vec!["a smaller batch".into(), "fewer threads: `--threads 1`".into(), "a machine with more memory".into()]
    });
    (sentence, format!("any of these needs less:\n  {}", remedies.join("\n  ")))
}

/// What libtorch says, without what it wraps around: its own source line before, a C++ backtrace behind. A panic carries
/// the same text in quotes, with its line ends escaped.
pub fn first_words(text: &str) -> &str {
    let text = text.split_once("Torch(\"").map_or(text, |(_, quoted)| quoted);
    let ends = ["\nException raised from", "\\nException raised from", "\\nframe #"];
    let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    let text = text[..end].trim();
    let text = text.lines().next().unwrap_or(text);
    // `[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: ...`
    let text = text.split_once("DefaultCPUAllocator: ").map_or(text, |(_, said)| said);
    text.trim_end_matches('.')
}

fn gib(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss)]
    let gib = bytes as f64 / f64::from(1 << 30);
    format!("{gib:.1} GiB")
}

/// The system's allocator. Where it has nothing left the process ends with exit code 5 and the message of [`explain`],
/// instead of the abort (134) of the standard library. Programs choose it, each in its `main.rs`; a library leaves the choice
/// to them.
pub struct Allocator;

static ENDING: AtomicBool = AtomicBool::new(false);

// SAFETY: hands every request on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        some(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        some(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        some(unsafe { System.realloc(block, layout, size) }, size)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[inline]
fn some(block: *mut u8, size: usize) -> *mut u8 {
    if block.is_null() { end(size) } else { block }
}

/// Ends the process. What a stage wrote so far is in the state that a kill leaves: complete files or none.
#[cold]
#[inline(never)]
fn end(size: usize) -> ! {
    // The request that failed is mostly a large one, so that there is memory for a message. Where even that fails,
    // this runs a second time and says less.
    let first = !ENDING.swap(true, Ordering::SeqCst);
    let text = if first {
        let (sentence, hint) = explain(&format!("{size} bytes in one piece could not be had"));
        format!("error: {sentence}\n\nhint: {hint}\n")
    } else {
        String::new()
    };
    let text = if first { text.as_bytes() } else { b"error: out of memory\n" };
    // SAFETY: writes a buffer that is alive; `_exit` ends the process without running anything that might allocate.
    unsafe {
        libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        libc::_exit(ExitCode::Device as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_library_says_is_kept() {
        let quoted = "called `Result::unwrap()` on an `Err` value: Torch(\"[enforce fail at x.cpp:1] err == 0. \
                      DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.\\nframe #0: f\")";
        assert_eq!(first_words(quoted), "can't allocate memory: you tried to allocate 8 bytes");
        assert_eq!(first_words("CUDA out of memory.\nException raised from malloc"), "CUDA out of memory");
    }

    #[test]
    fn the_message_names_the_work_its_memory_and_its_remedies() {
        working_on("training exp195, batches of 1024 rows", vec!["training.batch_size=512".into()]);
        let (sentence, hint) = explain("8 bytes could not be had");
        assert!(
            sentence.starts_with("out of memory while training exp195, batches of 1024 rows: 8 bytes"),
            "{sentence}"
        );
        assert!(sentence.contains("this process holds 0.") && sentence.ends_with("GiB are free"), "{sentence}");
        assert_eq!(hint, "any of these needs less:\n  training.batch_size=512");
        finished();
        let (sentence, hint) = explain("again");
        assert!(sentence.starts_with("out of memory: again") && hint.contains("--threads 1"), "{sentence} {hint}");
    }
}
