//! YAML text to typed values, with mistakes shown where they stand.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::{Options, budget, options};

use crate::error::{Error, Result};

/// A mistake in a YAML text, before it is tied to a file or an override.
pub(super) struct Mistake {
    /// 1-based; 0 when the parser could not tell.
    pub line: usize,
    pub column: usize,
    /// Dotted key path, empty at the top or in a syntax error.
    pub path: String,
    pub what: What,
}

/// What is wrong.
pub(super) enum What {
    /// A key that there is not, and those that there are.
    Key(String, Vec<String>),
    /// A choice that there is not, and those that there are.
    Choice(String, Vec<String>),
    /// Anything else, in words.
    Other(String),
}

impl What {
    fn of(error: &serde_saphyr::Error) -> Self {
        use serde_saphyr::Error as Saphyr;
        let names = |list: &[&'static str]| list.iter().map(ToString::to_string).collect();
        match error {
            Saphyr::SerdeUnknownField { field, expected, .. } => Self::Key(field.clone(), names(expected)),
            Saphyr::SerdeUnknownVariant { variant, expected, .. } => Self::Choice(variant.clone(), names(expected)),
            Saphyr::InvalidScalar { ty, .. } => Self::Other(format!("expected {}", plain_kind(ty))),
            Saphyr::SerdeInvalidType { unexpected, expected, .. } => {
                Self::Other(format!("invalid type: {unexpected}, expected {}", plain_kind(expected)))
            }
            Saphyr::SerdeInvalidValue { unexpected, expected, .. } => {
                Self::Other(format!("invalid value: {unexpected}, expected {}", plain_kind(expected)))
            }
            other => {
                // The place is said in front of the sentence.
                let text = other.to_string();
                Self::Other(text.rsplit_once(" at line ").map_or(text.as_str(), |(head, _)| head).to_string())
            }
        }
    }

    /// The name that is unknown, and those that would be known.
    pub(super) fn names(&self) -> (&str, &[String]) {
        match self {
            Self::Key(name, allowed) | Self::Choice(name, allowed) => (name, allowed),
            Self::Other(_) => ("", &[]),
        }
    }
}

fn limits() -> Options {
    options! {
        strict_booleans: true,
        with_snippet: false,
        budget: budget! { max_depth: 32, max_nodes: 20_000, max_anchors: 0, max_aliases: 0 },
    }
}

/// Typed parse; the mistake carries its place and key path.
pub(super) fn typed<T: DeserializeOwned>(text: &str) -> Result<T, Mistake> {
    let mut path = String::new();
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, limits(), |d| {
        serde_path_to_error::deserialize(d).map_err(|e| {
            path = e.path().to_string();
            e.into_inner()
        })
    });
    parsed.map_err(|e| {
        let place = e.location();
        let what = What::of(e.without_snippet());
        let path = path.trim_matches(|c| c == '?' || c == '.').to_string();
        let line = place.as_ref().map_or(0, |p| p.line() as usize);
        let column = place.as_ref().map_or(0, |p| p.column() as usize);
        Mistake { line, column, path, what }
    })
}

/// Typed parse of a file's text.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    typed(text).map_err(|mistake| show(path, text, &mistake))
}

/// Untyped parse, to learn which keys the file holds.
pub(super) fn parse_any(path: &Path, text: &str) -> Result<Value> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Any(Value);
    if text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    typed::<Any>(text).map(|any| any.0).map_err(|mistake| show(path, text, &mistake))
}

/// The mistake as a user sees it: place, what is wrong, the line with a caret, what is allowed.
fn show(path: &Path, source: &str, mistake: &Mistake) -> Error {
    let (name, allowed) = mistake.what.names();
    point_at(path, source, (mistake.line, mistake.column), &explain(mistake), name, allowed)
}

/// A mistake at `(line, column)` (1-based) of a text: `FILE:LINE:COLUMN: sentence`, the line with a caret, and, where
/// names are `allowed`, the list of them and the one nearest to `name`.
pub fn point_at(
    path: &Path,
    source: &str,
    (at_line, column): (usize, usize),
    sentence: &str,
    name: &str,
    allowed: &[String],
) -> Error {
    let mut text = format!("{}:{at_line}:{column}: {sentence}", path.display());
    let mut near: &[String] = &[];
    if let Some(line) = at_line.checked_sub(1).and_then(|n| source.lines().nth(n)) {
        let gutter = at_line.to_string().len().max(3);
        if let Some(before) = at_line.checked_sub(2).and_then(|n| source.lines().nth(n)) {
            text += &format!("\n{:>gutter$} | {before}", at_line - 1);
        }
        text += &format!("\n{at_line:>gutter$} | {line}");
        let before = column.saturating_sub(1).min(line.chars().count());
        let wide = line.chars().skip(before).take_while(|c| !c.is_whitespace() && *c != ':').count().max(1);
        text += &format!("\n{:gutter$} | {}{}", "", " ".repeat(before), "^".repeat(wide));
        if !allowed.is_empty() {
            text += &format!(" expected one of: {}", allowed.join(", "));
            near = allowed;
        }
    }
    Error::usage(text).did_you_mean(name, near.iter().map(String::as_str))
}

/// One sentence in our words.
pub(super) fn explain(mistake: &Mistake) -> String {
    let within = |path: &str| if path.is_empty() { "at the top".to_string() } else { format!("in `{path}`") };
    match &mistake.what {
        What::Key(name, _) => {
            let parent = mistake.path.rsplit_once('.').map_or("", |(parent, _)| parent);
            let parent = if mistake.path.ends_with(name.as_str()) { parent } else { &mistake.path };
            format!("unknown key `{name}` {}", within(parent))
        }
        What::Choice(name, _) => format!("unknown choice `{name}` {}", within(&mistake.path)),
        What::Other(text) if mistake.path.is_empty() => text.clone(),
        What::Other(text) => format!("`{}`: {text}", mistake.path),
    }
}

/// A kind of value, without the names of the program's own types.
fn plain_kind(name: &str) -> &str {
    match name {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "bool" | "boolean" => "true or false",
        "char" => "one character",
        other => other,
    }
}
