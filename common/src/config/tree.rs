//! A config as a tree of JSON values: looking up dotted keys, and writing it as YAML.

use std::fmt::Write;

use serde_json::Value;

/// The value at a dotted key; list items are numbers.
pub(super) fn at<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(tree, |node, part| match node {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    })
}

/// Block-style YAML. `comment` may give a remark for the value at a dotted key.
pub(super) fn emit(tree: &Value, comment: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    emit_into(&mut out, tree, "", 0, &comment);
    if out.is_empty() { "{}\n".into() } else { out }
}

fn emit_into(out: &mut String, node: &Value, key: &str, depth: usize, comment: &impl Fn(&str) -> Option<String>) {
    let Value::Object(map) = node else { return };
    for (name, value) in map {
        let path = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        let _ = write!(out, "{}{}:", "  ".repeat(depth), scalar_text(name));
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                emit_into(out, value, &path, depth + 1, comment);
            }
            other => {
                let _ = write!(out, " {}", flow(other));
                if let Some(remark) = comment(&path) {
                    let _ = write!(out, "  # {remark}");
                }
                out.push('\n');
            }
        }
    }
}

/// A value on one line; nested lists and maps in flow style.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar_text(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entry = |(k, v): (&String, &Value)| format!("{}: {}", scalar_text(k), flow(v));
            format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Plain where no YAML reader could take it for anything but this text, double-quoted elsewhere.
fn scalar_text(text: &str) -> String {
    let plain = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./+@".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    if plain { text.into() } else { Value::String(text.into()).to_string() }
}
