//! Log events: short lines on standard error for people, complete JSON lines in the run folder's `run.jsonl`.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::flags::{ColorChoice, Verbosity};
use super::progress;
use crate::error::{Error, Result};
use crate::world;

static COLOR: OnceLock<bool> = OnceLock::new();
static FILE: Mutex<Option<File>> = Mutex::new(None);

/// Wraps `text` in an ANSI style when standard error shows colours.
pub fn paint(text: &str, style: &str) -> String {
    if COLOR.get().copied().unwrap_or(false) { format!("\x1b[{style}m{text}\x1b[0m") } else { text.into() }
}

pub(super) fn start(flags: &Verbosity) {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let color = match flags.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => !plain && std::io::stderr().is_terminal(),
    };
    let _ = COLOR.set(color);
    let level = match (flags.quiet, flags.verbose) {
        (true, _) => LevelFilter::WARN,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    // Libraries speak only when they warn; the file always gets what `-v` would show.
    let ours = |level: LevelFilter| {
        filter_fn(move |event| {
            let most = if is_ours(event) { level } else { LevelFilter::WARN };
            *event.level() <= most
        })
    };
    let file = FileLayer.with_filter(ours(LevelFilter::DEBUG));
    let _ = tracing_subscriber::registry().with(StderrLayer.with_filter(ours(level))).with(file).try_init();
}

/// Whether an event is of this workspace: its sources are compiled under paths relative to the root, those of libraries under
/// absolute ones.
fn is_ours(event: &Metadata<'_>) -> bool {
    event.file().is_some_and(|file| !Path::new(file).is_absolute())
}

/// From now on events also go to this file, one JSON object a line; an earlier log is continued.
pub fn to_file(path: &Path) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path).map_err(|e| Error::io("opening", path, e))?;
    if let Ok(mut current) = FILE.lock() {
        *current = Some(file);
    }
    Ok(())
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(String, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.rest.push((field.name().into(), format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.rest.push((field.name().into(), value.into()));
    }
}

struct StderrLayer;

impl<S: Subscriber> Layer<S> for StderrLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Of several processes that train together one speaks; the others only warn.
        if !world::leads() && *event.metadata().level() > Level::WARN {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = match *event.metadata().level() {
            Level::ERROR => format!("{} ", paint("error:", "1;31")),
            Level::WARN => format!("{} ", paint("warning:", "1;33")),
            Level::INFO => String::new(),
            Level::DEBUG | Level::TRACE => format!("{} ", paint("debug:", "2")),
        };
        line += &fields.message;
        for (name, value) in fields.rest {
            let _ = write!(line, "  {name} {value}");
        }
        progress::print_above(&line);
    }
}

struct FileLayer;

impl<S: Subscriber> Layer<S> for FileLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Ok(mut file) = FILE.lock() else { return };
        let Some(file) = file.as_mut() else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        let mut object = serde_json::Map::new();
        object.insert("time_s".into(), ((now * 1e3).round() / 1e3).into());
        object.insert("level".into(), event.metadata().level().as_str().to_lowercase().into());
        object.insert("target".into(), event.metadata().target().into());
        object.insert("message".into(), fields.message.into());
        for (name, value) in fields.rest {
            object.insert(name, value.into());
        }
        // A full disk must not end the run from inside a log line: the next durable write says it properly.
        let _ = writeln!(file, "{}", serde_json::Value::Object(object));
    }
}
