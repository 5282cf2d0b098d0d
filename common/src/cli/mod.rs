//! What all binaries share on the command line: flags of the same name and meaning, logging, progress, signals,
//! exit codes, and generated completions and man pages.
//!
//! A binary's `main` is `common::cli::main(run)`. Everything that can end a process early passes through here: an
//! error becomes one sentence and a hint, a panic of libtorch becomes an error of the right kind, and any other
//! panic says that it is a bug.

pub mod elsewhere;
mod flags;
mod generate;
pub mod logging;
pub mod progress;
pub mod signals;
mod usage;

use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;

use clap::Parser;

pub use flags::{
    ConfigArgs, DeviceFlag, FromFlag, HELP_STYLES, OptionalConfigArgs, RunFlags, Verbosity, default_threads, positive,
};

use crate::error::{Error, ExitCode, Result};
use crate::{exhausted, world};

/// Arguments of a binary: a clap parser that holds the shared [`Verbosity`] flags.
pub trait Arguments: Parser {
    /// The shared flags for messages.
    fn verbosity(&self) -> &Verbosity;

    /// The JSON Schema of every config that this binary reads, by system, for `--generate schema`.
    fn schemas() -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// Parses the arguments, runs, prints the error if there is one, and gives the exit code.
pub fn main<A: Arguments>(run: fn(A) -> anyhow::Result<()>) -> std::process::ExitCode {
    if let Some(code) = generate::requested::<A>() {
        return code.into();
    }
    // Help is laid out for 79 columns everywhere, so that it reads the same in a log, a page and any terminal.
    let color = usage::color();
    let command = A::command().term_width(79).color(color.into());
    let parsed = command.try_get_matches().and_then(|m| A::from_arg_matches(&m));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return usage::answer(&error, color, A::command().get_name()).into(),
    };
    logging::start(arguments.verbosity());
    progress::configure(arguments.verbosity());
    signals::install();
    let seen = record_panics();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(arguments)));
    progress::release();
    let code = match outcome {
        Ok(Ok(())) => ExitCode::Done,
        Ok(Err(error)) => report(&error),
        Err(_) => report_panic(&seen.lock().map(|s| s.clone()).unwrap_or_default()),
    };
    code.into()
}

/// Writes one line to standard output. A reader that closed its end early is no error.
pub fn print_line(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("writing to", "standard output", e)),
        _ => Ok(()),
    }
}

/// Writes a line to standard error, above the progress bars.
pub fn say(line: &str) {
    progress::print_above(line);
}

/// Prints `error: …` and `hint: …` to standard error; the exit code is that of the first error in the chain that has
/// one.
fn report(error: &anyhow::Error) -> ExitCode {
    let known = error.chain().find_map(|e| e.downcast_ref::<Error>());
    if matches!(known, Some(Error::ShareDone)) {
        return ExitCode::Done;
    }
    let text = error.chain().map(ToString::to_string).collect::<Vec<_>>();
    // Contexts repeat what their cause says when an error is wrapped twice: print each sentence once.
    let mut sentences: Vec<String> = Vec::new();
    for sentence in text {
        if !sentences.iter().any(|s| s.contains(&sentence)) {
            sentences.push(sentence);
        }
    }
    let code = match known {
        Some(error) => error.exit_code(),
        None => kind_of_foreign(&sentences.join(": ")),
    };
    tell(&sentences.join(": "), known.and_then(Error::hint_text).as_deref());
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0") {
        progress::print_above(&format!("\n{}", error.backtrace()));
    }
    code
}

fn tell(error: &str, hint: Option<&str>) {
    let who = if world::leads() { String::new() } else { format!("rank {}: ", world::rank()) };
    let mut message = format!("{} {who}{error}", logging::paint("error:", "1;31"));
    if let Some(hint) = hint {
        message += &format!("\n\n{} {hint}", logging::paint("hint:", "1;36"));
    }
    progress::print_above(&message);
}

/// Ends the process with an error at once, from whatever thread, while others may still compute: nothing is cleaned up.
pub fn end(error: &Error) -> ! {
    progress::release();
    let code = error.exit_code();
    tell(&error.to_string(), error.hint_text().as_deref());
    let _ = io::stderr().flush();
    // SAFETY: ends the process without running what other threads may still use.
    unsafe { libc::_exit(code as i32) }
}

/// Errors of libraries that know nothing of our kinds: memory and device failures are told by their text.
fn kind_of_foreign(text: &str) -> ExitCode {
    const DEVICE: [&str; 5] =
        ["out of memory", "CUDA error", "not enough memory", "can't allocate memory", "cuDNN error"];
    if DEVICE.iter().any(|d| text.contains(d)) { ExitCode::Device } else { ExitCode::Failed }
}

type Seen = std::sync::Arc<Mutex<String>>;

/// Keeps the text and place of the latest panic and prints nothing: the caller decides what it means.
fn record_panics() -> Seen {
    let seen = Seen::default();
    let record = std::sync::Arc::clone(&seen);
    panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown panic".into());
        let place = info.location().map(|l| format!(" (at {}:{})", l.file(), l.line())).unwrap_or_default();
        let trace = std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0");
        let trace = if trace { format!("\n{}", std::backtrace::Backtrace::force_capture()) } else { String::new() };
        if let Ok(mut record) = record.lock() {
            *record = format!("{text}{place}{trace}");
        }
    }));
    seen
}

/// The message of a device or process without memory. `text` is what the library said.
fn print_exhausted(text: &str) {
    let (sentence, hint) = exhausted::explain(exhausted::first_words(text));
    let (error, hint_head) = (logging::paint("error:", "1;31"), logging::paint("hint:", "1;36"));
    progress::print_above(&format!("{error} {sentence}\n\n{hint_head} {hint}"));
}

fn report_panic(text: &str) -> ExitCode {
    if kind_of_foreign(text) == ExitCode::Device {
        print_exhausted(text);
        return ExitCode::Device;
    }
    if text.contains("could not create a primitive") {
        let problem = "this processor cannot compute the network in the number format that was asked for";
        tell(&format!("{problem} ({text})"), Some("compute in f32, or on a processor with AVX-512: bf16 needs it"));
        return ExitCode::Device;
    }
    progress::print_above(&format!(
        "{} {text}\n\nthis is a bug in Podium {}; report it with the command line and the config at {}/issues\n{} set \
         RUST_BACKTRACE=1 to add a backtrace",
        logging::paint("bug:", "1;31"),
        crate::VERSION,
        env!("CARGO_PKG_REPOSITORY"),
        logging::paint("hint:", "1;36"),
    ));
    ExitCode::Bug
}
