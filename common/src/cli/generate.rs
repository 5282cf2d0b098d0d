//! Shell completions, man pages and JSON Schemas from the very definitions that parse arguments and configs:
//! `train-model --generate complete-bash`, `--generate man`, `--generate schema SYSTEM`.

use std::io::Write;

use clap_complete::Shell;

use super::Arguments;
use crate::error::ExitCode;

/// What `--generate` can write.
const KINDS: &str = "complete-bash, complete-fish, complete-zsh, man, schema [SYSTEM]";

/// Handles `--generate KIND` when it is the first argument.
pub(super) fn requested<A: Arguments>() -> Option<ExitCode> {
    // Arguments need not be UTF-8; those of interest here are.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != "--generate" {
        return None;
    }
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let kind = arguments.next().unwrap_or_default();
    let mut command = A::command();
    let name = command.get_name().to_string();
    let mut text = Vec::new();
    match kind.as_str() {
        "complete-bash" => clap_complete::generate(Shell::Bash, &mut command, name, &mut text),
        "complete-fish" => clap_complete::generate(Shell::Fish, &mut command, name, &mut text),
        "complete-zsh" => clap_complete::generate(Shell::Zsh, &mut command, name, &mut text),
        "man" => {
            if clap_mangen::Man::new(command).render(&mut text).is_err() {
                return Some(ExitCode::Io);
            }
        }
        "schema" => {
            let (wanted, schemas) = (arguments.next(), A::schemas());
            let chosen = schemas.iter().find(|(system, _)| wanted.as_deref().is_none_or(|w| w == *system));
            let Some((_, schema)) = chosen else {
                let known: Vec<&str> = schemas.iter().map(|(system, _)| *system).collect();
                let _ = writeln!(std::io::stderr(), "error: no such config schema; known: {}", known.join(", "));
                return Some(ExitCode::Usage);
            };
            text = schema.clone().into_bytes();
        }
        other => {
            let _ = writeln!(std::io::stderr(), "error: `--generate {other}` is unknown; one of {KINDS}");
            return Some(ExitCode::Usage);
        }
    }
    let mut out = std::io::stdout().lock();
    match out.write_all(&text).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            let _ = writeln!(std::io::stderr(), "error: writing to standard output: {e}");
            Some(ExitCode::Io)
        }
        _ => Some(ExitCode::Done),
    }
}
