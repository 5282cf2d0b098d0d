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
    pub text: String,
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
        let bare = e.without_snippet().to_string();
        let text = bare.rsplit_once(" at line ").map_or(bare.as_str(), |(head, _)| head).to_string();
        let path = path.trim_matches(|c| c == '?' || c == '.').to_string();
        let line = place.as_ref().map_or(0, |p| p.line() as usize);
        let column = place.as_ref().map_or(0, |p| p.column() as usize);
        Mistake { line, column, path, text }
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
    let (sentence, allowed) = explain(mistake);
    point_at(path, source, (mistake.line, mistake.column), &sentence, unknown_name(&mistake.text), &allowed)
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

/// One sentence in our words, and the names that are allowed where a name was unknown.
pub(super) fn explain(mistake: &Mistake) -> (String, Vec<String>) {
    let within = |path: &str| if path.is_empty() { "at the top".to_string() } else { format!("in `{path}`") };
    let allowed = allowed_names(&mistake.text);
    let name = unknown_name(&mistake.text);
    if mistake.text.contains("unknown field") {
        let parent = mistake.path.rsplit_once('.').map_or("", |(parent, _)| parent);
        let parent = if mistake.path.ends_with(name) { parent } else { &mistake.path };
        return (format!("unknown key `{name}` {}", within(parent)), allowed);
    }
    if mistake.text.contains("unknown variant") {
        return (format!("unknown choice `{name}` {}", within(&mistake.path)), allowed);
    }
    let place = if mistake.path.is_empty() { String::new() } else { format!("`{}`: ", mistake.path) };
    (format!("{place}{}", plain_words(&mistake.text)), Vec::new())
}

/// The parser's words for a value of the wrong type, without the names of the program's own types.
fn plain_words(text: &str) -> String {
    let kind = |name: &str| match name {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => Some("a whole number, 0 or more"),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => Some("a whole number"),
        "f32" | "f64" => Some("a number"),
        "bool" | "boolean" => Some("true or false"),
        "char" => Some("one character"),
        _ => None,
    };
    let mut words = text.to_owned();
    for (mark, joint) in [("invalid ", "expected "), ("expected ", "expected ")] {
        let Some(at) = words.find(mark) else { continue };
        let rest = &words[at + mark.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        if let Some(kind) = kind(&rest[..end]) {
            words = format!("{}{joint}{kind}{}", &words[..at], &rest[end..]);
        }
    }
    words
}

/// The first name in backticks: serde puts the unknown one there.
pub(super) fn unknown_name(text: &str) -> &str {
    text.split('`').nth(1).unwrap_or_default()
}

fn allowed_names(text: &str) -> Vec<String> {
    let Some((_, list)) = text.split_once("expected") else { return Vec::new() };
    let list = list.trim_start_matches(" one of").trim();
    list.split([',', '`']).map(str::trim).filter(|n| !n.is_empty() && !n.contains(' ')).map(String::from).collect()
}
