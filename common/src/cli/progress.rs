//! Progress on standard error: a bar on a terminal, one line every 30 s elsewhere, nothing with `--no-progress`.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::flags::Verbosity;

/// Time between two lines when standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Bar,
    Lines,
    Off,
}

static MODE: OnceLock<Mode> = OnceLock::new();
static BARS: OnceLock<MultiProgress> = OnceLock::new();
/// Lines that wait until it is known which program says them; none where nothing waits.
static HELD: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// Lets lines wait, until [`release`] or for good where another program takes over.
pub(super) fn hold() {
    if let Ok(mut held) = HELD.lock() {
        *held = Some(Vec::new());
    }
}

/// Prints what has waited.
pub(super) fn release() {
    let lines = HELD.lock().ok().and_then(|mut held| held.take());
    lines.into_iter().flatten().for_each(|line| print_above(&line));
}

pub(super) fn configure(flags: &Verbosity) {
    let mode = match (flags.quiet || flags.no_progress, std::io::stderr().is_terminal()) {
        (true, _) => Mode::Off,
        (false, true) => Mode::Bar,
        (false, false) => Mode::Lines,
    };
    let _ = MODE.set(mode);
}

/// Prints to standard error without tearing a bar that is being drawn.
pub(super) fn print_above(text: &str) {
    if let Ok(mut held) = HELD.lock()
        && let Some(lines) = held.as_mut()
    {
        lines.push(text.to_string());
        return;
    }
    let print = || {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    };
    match BARS.get() {
        Some(bars) => bars.suspend(print),
        None => print(),
    }
}

/// Progress of one piece of work with a known (or, with 0, unknown) number of steps.
pub struct Bar {
    label: String,
    bar: Option<ProgressBar>,
    lines: Option<Mutex<Lines>>,
}

struct Lines {
    done: u64,
    total: u64,
    started: Instant,
    last: Instant,
    message: String,
}

impl Bar {
    /// Starts a bar; `total` counts steps, files or rows.
    pub fn new(label: impl Into<String>, total: u64) -> Self {
        let label = label.into();
        let mode = MODE.get().copied().filter(|_| crate::world::leads());
        match mode.unwrap_or(Mode::Off) {
            Mode::Bar => {
                let bars = BARS.get_or_init(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8)));
                let style = ProgressStyle::with_template(template(columns(), total > 0));
                let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = bars.add(ProgressBar::new(total)).with_style(style).with_prefix(label.clone());
                Self { label, bar: Some(bar), lines: None }
            }
            Mode::Lines => {
                let now = Instant::now();
                let lines = Lines { done: 0, total, started: now, last: now, message: String::new() };
                Self { label, bar: None, lines: Some(Mutex::new(lines)) }
            }
            Mode::Off => Self { label, bar: None, lines: None },
        }
    }

    /// A line without a count: its text is all that there is to see (`run-pipeline`: one for each running stage).
    pub fn text(label: impl Into<String>) -> Self {
        let bar = Self::new(label, 0);
        if let Some(bar) = &bar.bar {
            let narrow = columns() < NARROW;
            let style =
                ProgressStyle::with_template(if narrow { "{prefix:12!} {wide_msg}" } else { "{prefix}  {wide_msg}" });
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
        bar
    }

    /// Shows the text of a [`Bar::text`]: at once on a terminal, every 30 s elsewhere.
    pub fn show(&self, text: impl Into<String>) {
        let text = text.into();
        if let Some(Ok(mut lines)) = self.lines.as_ref().map(Mutex::lock)
            && lines.last.elapsed() >= LINE_EVERY
        {
            lines.last = Instant::now();
            print_above(&format!("{}: {text}", self.label));
        }
        self.message(text);
    }

    /// `steps` more are done.
    pub fn tick(&self, steps: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(steps);
        }
        let Some(Ok(mut lines)) = self.lines.as_ref().map(Mutex::lock) else { return };
        lines.done += steps;
        if lines.last.elapsed() >= LINE_EVERY {
            lines.last = Instant::now();
            let seconds = lines.started.elapsed().as_secs_f64();
            let rate = lines.done as f64 / seconds.max(1e-9);
            let eta = if lines.total > lines.done { (lines.total - lines.done) as f64 / rate.max(1e-9) } else { 0.0 };
            print_above(&format!(
                "{}: {}/{}  {rate:.1}/s  eta {}  {}",
                self.label,
                lines.done,
                lines.total,
                clock(eta),
                lines.message
            ));
        }
    }

    /// Starts counting at `steps`: the first steps were done by an earlier run.
    pub fn start_at(&self, steps: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(steps);
            bar.reset_eta();
        }
        if let Some(Ok(mut lines)) = self.lines.as_ref().map(Mutex::lock) {
            lines.done = steps;
        }
    }

    /// Text behind the bar: loss, learning rate, memory.
    pub fn message(&self, text: impl Into<String>) {
        let text = text.into();
        if let Some(bar) = &self.bar {
            bar.set_message(text.clone());
        }
        if let Some(Ok(mut lines)) = self.lines.as_ref().map(Mutex::lock) {
            lines.message = text;
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Terminals below this width get a short line without a bar: one that wraps is drawn over and over.
const NARROW: usize = 80;

/// What a line shows in a terminal of so many columns. The message takes what is left and is cut there.
fn template(columns: usize, counted: bool) -> &'static str {
    match (columns, counted) {
        (0..NARROW, true) => "{prefix:10!} {pos}/{len} {wide_msg}",
        (0..NARROW, false) => "{prefix:10!} {spinner} {pos} {wide_msg}",
        (NARROW..110, true) => "{prefix:20!} {bar:12} {pos}/{len} eta {eta} {wide_msg}",
        (_, true) => "{prefix} {bar:28} {pos}/{len} {per_sec} eta {eta} {wide_msg}",
        (_, false) => "{prefix:30!} {spinner} {pos} {per_sec} {wide_msg}",
    }
}

/// Columns of the terminal at standard error.
fn columns() -> usize {
    // SAFETY: an all-zero winsize is valid; the call writes to it alone.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) == 0).then_some(size)
    };
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(80)
}

/// Seconds as `h:mm:ss`.
pub fn clock(seconds: f64) -> String {
    let s = seconds.round() as u64;
    format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}
