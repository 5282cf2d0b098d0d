//! What is printed before a run begins: help, version, and mistakes in the arguments, in the words and with the exit codes
//! of every other message.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};

use clap::error::ErrorKind;

use super::flags::ColorChoice;
use crate::error::ExitCode;

impl From<ColorChoice> for clap::ColorChoice {
    fn from(choice: ColorChoice) -> Self {
        match choice {
            ColorChoice::Auto => Self::Auto,
            ColorChoice::Always => Self::Always,
            ColorChoice::Never => Self::Never,
        }
    }
}

/// What `--color` asks for, read before the arguments are parsed: help and mistakes obey it, too.
pub(super) fn color() -> ColorChoice {
    let arguments: Vec<_> = std::env::args_os().skip(1).take_while(|argument| argument != "--").collect();
    let named = |value: &OsStr| match value.to_str() {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    };
    let mut choice = ColorChoice::Auto;
    for (number, argument) in arguments.iter().enumerate() {
        if argument == "--color" {
            choice = arguments.get(number + 1).map_or(choice, |value| named(value));
        } else if let Some(value) = argument.to_str().and_then(|text| text.strip_prefix("--color=")) {
            choice = named(OsStr::new(value));
        }
    }
    choice
}

/// Prints help and version to standard output, a mistake to standard error, and gives the exit code.
pub(super) fn answer(error: &clap::Error, color: ColorChoice, name: &str) -> ExitCode {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colored = |terminal: bool| match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal && !plain,
    };
    let rendered = error.render();
    if !error.use_stderr() {
        let mut out = io::stdout().lock();
        let text = if colored(out.is_terminal()) { rendered.ansi().to_string() } else { rendered.to_string() };
        return match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                let _ = writeln!(io::stderr(), "error: writing to standard output: {e}");
                ExitCode::Io
            }
            _ => ExitCode::Done,
        };
    }
    let text = mistake(&rendered.to_string(), error.kind(), name);
    let mut out = io::stderr().lock();
    let text = if colored(out.is_terminal()) { painted(&text) } else { text };
    // There is nowhere left to say that standard error is closed.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    ExitCode::Usage
}

/// clap's text in our form: the sentence, the usage, and `hint:` with what to do.
fn mistake(text: &str, kind: ErrorKind, name: &str) -> String {
    let mut sentence = Vec::new();
    let mut hints = Vec::new();
    for line in text.lines() {
        if let Some(tip) = line.trim_start().strip_prefix("tip: ") {
            hints.push(tip.to_owned());
        } else if !line.starts_with("For more information") {
            sentence.push(plain_words(line));
        }
    }
    let mut text = sentence.join("\n").trim().to_owned();
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return text + "\n";
    }
    if hints.is_empty() {
        hints.push(format!("`{name} --help` shows all arguments"));
    }
    format!("{text}\n\nhint: {}\n", hints.join("; "))
}

/// A number that cannot be read, in words that do not come from the program's own types.
fn plain_words(line: &str) -> String {
    let Some((head, cause)) = line.rsplit_once(": ") else { return line.to_owned() };
    let cause = match cause {
        "invalid digit found in string" | "cannot parse integer from empty string" => "expected a whole number",
        "number too large to fit in target type" => "the number is too large",
        "number too small to fit in target type" => "the number is too small",
        "invalid float literal" | "cannot parse float from empty string" => "expected a number",
        "provided string was not `true` or `false`" => "expected true or false",
        _ => return line.to_owned(),
    };
    format!("{head}: {cause}")
}

fn painted(text: &str) -> String {
    let paint = |text: String, word: &str, style: &str| text.replacen(word, &format!("\x1b[{style}m{word}\x1b[0m"), 1);
    let text = paint(text.to_owned(), "error:", "1;31");
    paint(text, "hint:", "1;36")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_ends_with_a_hint_and_names_no_type_of_the_program() {
        let text = "error: unexpected argument '--tain' found\n\n  tip: a similar argument exists: '--train'\n\n\
                    Usage: x [OPTIONS]\n\nFor more information, try '--help'.\n";
        assert_eq!(
            mistake(text, ErrorKind::UnknownArgument, "x"),
            "error: unexpected argument '--tain' found\n\nUsage: x [OPTIONS]\n\nhint: a similar argument exists: '--train'\n"
        );
        let text = "error: invalid value 'a' for '--limit <N>': invalid digit found in string\n\nFor more information, try '--help'.\n";
        assert_eq!(
            mistake(text, ErrorKind::ValueValidation, "x"),
            "error: invalid value 'a' for '--limit <N>': expected a whole number\n\nhint: `x --help` shows all arguments\n"
        );
    }
}
