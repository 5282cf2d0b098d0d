//! Values as text, the way DVC (that is, Python) writes them into commands.

use std::fmt::Write as _;

use super::tree::{Kind, Node};

/// A plain value as it stands in an interpolated string: `true`, `None`, `1e-05`. Lists and maps have no such form;
/// callers refuse them before.
pub fn python(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "None".into(),
        Kind::Bool(value) => value.to_string(),
        Kind::Int(value) => value.to_string(),
        Kind::Float(value) => float(*value),
        Kind::Text(text) => text.clone(),
        Kind::List(_) | Kind::Map(_) => String::new(),
    }
}

/// Python's `repr` of a float: the shortest digits that read back, an exponent below 1e-4 and from 1e16 on.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = value.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// A map as command-line flags: `--k v`, true -> `--k`, false -> nothing, a list -> `--k a b`, nested maps dotted.
///
/// # Errors
/// The sentence for the user when a list holds lists or maps.
pub fn flags(map: &Node) -> Result<String, String> {
    let mut flat = Vec::new();
    flatten("", map, &mut flat);
    let mut text = String::new();
    for (key, value) in flat {
        match &value.kind {
            Kind::Bool(true) => text += &format!("--{key} "),
            Kind::Bool(false) | Kind::Map(_) => {}
            Kind::List(items) => {
                for (number, item) in items.iter().enumerate() {
                    let item = match &item.kind {
                        Kind::List(_) | Kind::Map(_) => {
                            return Err(format!("`{key}` holds a list of lists or maps, which cannot become flags"));
                        }
                        // Inside of a list Python's own text of the value is taken.
                        Kind::Bool(value) => if *value { "True" } else { "False" }.into(),
                        Kind::Text(text) => quote(text),
                        _ => python(item),
                    };
                    text += &if number == 0 { format!("--{key} {item} ") } else { format!("{item} ") };
                }
            }
            Kind::Text(value) => text += &format!("--{key} {} ", quote(value)),
            _ => text += &format!("--{key} {} ", python(value)),
        }
    }
    Ok(text.trim_end().to_string())
}

fn flatten<'a>(prefix: &str, node: &'a Node, into: &mut Vec<(String, &'a Node)>) {
    for (key, value) in node.as_map().unwrap_or_default() {
        let name = if prefix.is_empty() { key.name.clone() } else { format!("{prefix}.{}", key.name) };
        match &value.kind {
            Kind::Map(entries) if !entries.is_empty() => flatten(&name, value, into),
            _ => into.push((name, value)),
        }
    }
}

/// A word for the shell, quoted only where it has to be (Python's `shlex.quote`).
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

/// A JSON string as Python's `json.dumps` writes it: everything beyond ASCII escaped.
pub fn json_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            '\u{8}' => out += "\\b",
            '\u{c}' => out += "\\f",
            ' '..='~' => out.push(c),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::read::parse;
    use super::*;

    #[test]
    fn floats_are_written_as_python_prints_them() {
        for (value, text) in [
            (1e-5, "1e-05"),
            (1e-4, "0.0001"),
            (1.0, "1.0"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (123456.789, "123456.789"),
            (-2.5e-7, "-2.5e-07"),
            (1e100, "1e+100"),
            (0.1, "0.1"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn maps_become_flags() {
        let text = "{a: 1, b: true, c: false, d: [x, 'y z', 2.0, true], e: {f: it's, g: null}, h: []}";
        let node = parse(Path::new("x"), text.into()).unwrap();
        assert_eq!(flags(&node).unwrap(), "--a 1 --b --d x 'y z' 2.0 True --e.f 'it'\"'\"'s' --e.g None");
        let node = parse(Path::new("x"), "{a: [[1]]}".into()).unwrap();
        assert!(flags(&node).is_err());
    }

    #[test]
    fn json_strings_escape_what_is_not_ascii() {
        assert_eq!(json_string("a\"é\u{1f600}\u{7f}"), "\"a\\\"\\u00e9\\ud83d\\ude00\\u007f\"");
    }
}
