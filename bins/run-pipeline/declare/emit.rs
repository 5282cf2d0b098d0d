//! Trees as YAML in block style, laid out as DVC lays out its lock. What is written reads back to the same values
//! with a YAML 1.1 and a YAML 1.2 reader.

use super::read::resolve;
use super::text;
use super::tree::{Kind, Node};

/// The whole document. The root is a map.
pub fn document(root: &Node) -> String {
    let mut out = String::new();
    put(&mut out, root, 0, Place::Top);
    out
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Top,
    AfterKey,
    AfterDash,
}

fn put(out: &mut String, node: &Node, indent: usize, place: Place) {
    match &node.kind {
        Kind::Map(entries) if !entries.is_empty() => {
            if place == Place::AfterKey {
                out.push('\n');
            }
            for (number, (key, value)) in entries.iter().enumerate() {
                // The first key of a map in a list stands behind the dash.
                if number > 0 || place != Place::AfterDash {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str(&scalar(&key.name));
                out.push(':');
                // Lists inside of a map are not indented further than their key.
                let deeper = if matches!(value.kind, Kind::List(_)) { indent } else { indent + 2 };
                put(out, value, deeper, Place::AfterKey);
            }
        }
        Kind::List(items) if !items.is_empty() => {
            if place == Place::AfterKey {
                out.push('\n');
            }
            for (number, item) in items.iter().enumerate() {
                if number > 0 || place != Place::AfterDash {
                    out.push_str(&" ".repeat(indent));
                }
                out.push('-');
                if matches!(&item.kind, Kind::Map(entries) if !entries.is_empty())
                    || matches!(&item.kind, Kind::List(items) if !items.is_empty())
                {
                    out.push(' ');
                }
                put(out, item, indent + 2, Place::AfterDash);
            }
        }
        _ => {
            if place != Place::Top {
                out.push(' ');
            }
            out.push_str(&plain(node));
            out.push('\n');
        }
    }
}

fn plain(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "null".into(),
        Kind::Bool(value) => value.to_string(),
        Kind::Int(value) => value.to_string(),
        Kind::Float(value) if value.is_nan() => ".nan".into(),
        Kind::Float(value) if value.is_infinite() => if *value > 0.0 { ".inf" } else { "-.inf" }.into(),
        Kind::Float(value) => {
            // A YAML 1.1 reader takes an exponent for a number only behind a decimal point.
            let text = text::float(*value);
            match text.split_once('e') {
                Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0e{exponent}"),
                _ => text,
            }
        }
        Kind::Text(text) => scalar(text),
        Kind::List(_) => "[]".into(),
        Kind::Map(_) => "{}".into(),
    }
}

/// A text: bare where every reader takes it for text, else quoted.
pub fn scalar(text: &str) -> String {
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')) {
        return text::json_string(text);
    }
    if is_plain(text) { text.into() } else { format!("'{}'", text.replace('\'', "''")) }
}

fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let old_words = ["y", "n", "yes", "no", "on", "off", "=", "<<"];
    matches!(resolve(text), Kind::Text(_))
        && !old_words.contains(&text.to_lowercase().as_str())
        && !"-?:,[]{}#&*!|>'\"%@` ".contains(first)
        && !looks_like_a_number(text, first)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
}

/// Dates, sexagesimal numbers and all else that older readers make a number of begin with a digit, a sign or a point.
fn looks_like_a_number(text: &str, first: char) -> bool {
    let date = text.len() > 4 && text.as_bytes()[4] == b'-' && text.bytes().take(4).all(|b| b.is_ascii_digit());
    let words = |c: char| c.is_alphabetic() && !"eExXoObB_".contains(c);
    (first.is_ascii_digit() || "+.".contains(first)) && (date || !text.contains(words))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::read::parse;
    use super::*;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let text = "schema: '2.0'\nstages:\n  a@1:\n    cmd:\n    - 'echo a: b'\n    - \"x\\ny\\n\"\n    deps:\n    \
                    - path: a b\n      size: 3\n    params:\n      p.yaml:\n        lr: 1.0e-05\n        l:\n        \
                    - 1\n        - [2, {k: v}]\n        e: []\n        n: null\n        t: '1e5'\n        d: '2001-01-01'\n";
        let tree = parse(Path::new("x"), text.into()).unwrap();
        let written = document(&tree);
        let again = parse(Path::new("x"), written.clone()).unwrap();
        assert!(tree.same(&again), "{written}");
        assert_eq!(document(&again), written);
        assert!(written.starts_with("schema: '2.0'\nstages:\n  a@1:\n    cmd:\n    - 'echo a: b'\n"), "{written}");
        assert!(written.contains("    deps:\n    - path: a b\n      size: 3\n"), "{written}");
        assert!(written.contains("        - 1\n        - - 2\n          - k: v\n"), "{written}");
    }

    #[test]
    fn texts_that_look_like_something_else_are_quoted() {
        for text in [
            "",
            "12",
            "1e5",
            "yes",
            "No",
            "2001-01-01",
            "- a",
            "a: b",
            "a #b",
            "a:",
            " a",
            "*a",
            "12:30",
            "null",
            "1_000",
            "a\tb",
        ] {
            let written = scalar(text);
            assert!(written.starts_with(['\'', '"']), "{text} was written as {written}");
            let again = parse(Path::new("x"), format!("k: {written}\n")).unwrap();
            assert_eq!(again.get("k").unwrap().as_text(), Some(text));
        }
        for text in ["echo hi > x", "a-b", "data/x.csv", "01f3a9.dir", "python x.py --lr 0.1", "a:b"] {
            assert_eq!(scalar(text), text);
        }
    }
}
