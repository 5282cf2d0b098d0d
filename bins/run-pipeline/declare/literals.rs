//! Parameters in TOML and in Python, as DVC reads them: the values only, nothing is run.

use std::path::Path;
use std::sync::Arc;

use common::Result;
use toml_edit::{DocumentMut, Item, Value};

use super::tree::{Key, Kind, Mark, Node, Source};

/// A TOML file as a tree; places are that of the file.
pub fn toml(shown: &Path, text: String) -> Result<Node> {
    let document = text.parse::<DocumentMut>();
    let at = start(shown, text);
    let document = document.map_err(|e| at.error(format!("is no TOML: {}", e.message())))?;
    let mut entries = Vec::new();
    for (name, item) in document.iter() {
        entries.push((Key { name: name.into(), at: at.clone() }, toml_item(item, &at)?));
    }
    Ok(Node { at, kind: Kind::Map(entries) })
}

fn start(shown: &Path, text: String) -> Mark {
    Mark { source: Arc::new(Source { path: shown.to_path_buf(), text }), line: 1, column: 1 }
}

fn toml_item(item: &Item, at: &Mark) -> Result<Node> {
    let node = |kind| Node { at: at.clone(), kind };
    let table = |entries: &mut dyn Iterator<Item = (&str, &Item)>| -> Result<Kind> {
        let entry = |(name, item): (&str, &Item)| Ok((Key { name: name.into(), at: at.clone() }, toml_item(item, at)?));
        Ok(Kind::Map(entries.map(entry).collect::<Result<_>>()?))
    };
    Ok(node(match item {
        Item::None => Kind::Null,
        Item::Value(value) => toml_value(value, at)?,
        Item::Table(entries) => table(&mut entries.iter())?,
        Item::ArrayOfTables(tables) => {
            let tables = tables.iter().map(|entries| Ok(node(table(&mut entries.iter())?)));
            Kind::List(tables.collect::<Result<_>>()?)
        }
    }))
}

fn toml_value(value: &Value, at: &Mark) -> Result<Kind> {
    let node = |kind| Node { at: at.clone(), kind };
    Ok(match value {
        Value::String(text) => Kind::Text(text.value().clone()),
        Value::Integer(number) => Kind::Int(i128::from(*number.value())),
        Value::Float(number) => Kind::Float(*number.value()),
        Value::Boolean(value) => Kind::Bool(*value.value()),
        Value::Datetime(time) => {
            return Err(at.error(format!("`{}` is a time, which TOML parameters may not be here", time.value())));
        }
        Value::Array(items) => {
            Kind::List(items.iter().map(|item| Ok(node(toml_value(item, at)?))).collect::<Result<_>>()?)
        }
        Value::InlineTable(entries) => {
            let entry = |(name, value): (&str, &Value)| {
                Ok((Key { name: name.into(), at: at.clone() }, node(toml_value(value, at)?)))
            };
            Kind::Map(entries.iter().map(entry).collect::<Result<_>>()?)
        }
    })
}

/// The constants of a Python file: `NAME = literal` at the top, those of a class below its name, and `self.NAME = literal` in
/// `__init__`. What is no literal is passed over, as DVC does it.
pub fn python(shown: &Path, text: String) -> Result<Node> {
    let at = start(shown, text.clone());
    let mut top = Node { at: at.clone(), kind: Kind::Map(Vec::new()) };
    // Indentation, the classes around it, and whether it is the body of `__init__` (or of another function).
    let mut blocks: Vec<(usize, Block)> = Vec::new();
    for (line, statement) in statements(&text) {
        let mark = Mark { source: Arc::clone(&at.source), line, column: 1 };
        let indent = statement.len() - statement.trim_start().len();
        while blocks.last().is_some_and(|(outer, _)| indent <= *outer) {
            blocks.pop();
        }
        let statement = statement.trim();
        if let Some(rest) = statement.strip_prefix("class ") {
            let name = rest.split(['(', ':']).next().unwrap_or_default().trim().to_owned();
            blocks.push((indent, Block::Class(name)));
            continue;
        }
        if let Some(rest) = statement.strip_prefix("def ") {
            let is_init = rest.trim_start().starts_with("__init__");
            blocks.push((indent, if is_init { Block::Init } else { Block::Other }));
            continue;
        }
        if statement.ends_with(':') {
            blocks.push((indent, Block::Other));
            continue;
        }
        if blocks.iter().any(|(_, block)| matches!(block, Block::Other)) {
            continue;
        }
        let Some((target, value)) = assignment(statement) else { continue };
        let in_init = blocks.iter().any(|(_, block)| matches!(block, Block::Init));
        let name = match (in_init, target.strip_prefix("self.")) {
            (true, Some(name)) => name,
            (false, None) => target,
            _ => continue,
        };
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let Some(value) = Literal::parse(value, &mark).filter(|_| is_name) else { continue };
        let classes = blocks.iter().filter_map(|(_, block)| match block {
            Block::Class(name) => Some(name.as_str()),
            _ => None,
        });
        let path: Vec<&str> = classes.chain([name]).collect();
        put(&mut top, &path, value, &mark);
    }
    Ok(top)
}

enum Block {
    Class(String),
    Init,
    /// A function, a loop, a condition: what is set in there has no fixed value.
    Other,
}

/// Logical lines without comments: brackets and triple quotes go on over the end of a line.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut current = String::new();
    let (mut start, mut line, mut depth) = (1, 1, 0_i32);
    let mut quote: Option<String> = None;
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let triple: String = chars[at..].iter().take(3).collect();
        if let Some(open) = &quote {
            if c == '\\' && at + 1 < chars.len() {
                current.extend([c, chars[at + 1]]);
                line += usize::from(chars[at + 1] == '\n');
                at += 2;
                continue;
            }
            if (open.len() == 3 && triple == *open) || (open.len() == 1 && open.starts_with(c)) {
                current += open;
                at += open.len();
                quote = None;
                continue;
            }
            line += usize::from(c == '\n');
            current.push(c);
            at += 1;
            continue;
        }
        match c {
            '"' | '\'' => {
                let open = if triple == "\"\"\"" || triple == "'''" { triple } else { c.to_string() };
                current += &open;
                at += open.len();
                quote = Some(open);
                continue;
            }
            '#' => {
                while at < chars.len() && chars[at] != '\n' {
                    at += 1;
                }
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '\\' if chars.get(at + 1) == Some(&'\n') => {
                line += 1;
                at += 2;
                continue;
            }
            _ => {}
        }
        line += usize::from(c == '\n');
        if (c == '\n' || c == ';') && depth <= 0 {
            if !current.trim().is_empty() {
                found.push((start, std::mem::take(&mut current)));
            }
            current.clear();
            start = line;
        } else {
            current.push(if c == '\n' { ' ' } else { c });
        }
        at += 1;
    }
    if !current.trim().is_empty() {
        found.push((start, current));
    }
    found
}

/// `NAME = value` and `NAME: type = value`.
fn assignment(statement: &str) -> Option<(&str, &str)> {
    let at = statement.find('=')?;
    let (target, value) = (statement[..at].trim(), statement[at + 1..].trim());
    let target = target.split(':').next()?.trim();
    (!value.starts_with('=') && !target.contains([' ', '(', '[', '!', '<', '>', '+', '-', '*', '/', ',']))
        .then_some((target, value))
}

fn put(node: &mut Node, path: &[&str], value: Node, at: &Mark) {
    let Kind::Map(entries) = &mut node.kind else { return };
    let Some((first, rest)) = path.split_first() else { return };
    if !entries.iter().any(|(key, _)| key.name == *first) {
        let empty = Node { at: at.clone(), kind: Kind::Map(Vec::new()) };
        entries.push((Key { name: (*first).into(), at: at.clone() }, empty));
    }
    let Some((_, inner)) = entries.iter_mut().find(|(key, _)| key.name == *first) else { return };
    if rest.is_empty() {
        *inner = value;
    } else {
        put(inner, rest, value, at);
    }
}

/// Reads a literal from its text.
struct Literal<'a> {
    rest: &'a str,
    at: &'a Mark,
}

impl<'a> Literal<'a> {
    /// The value of a text that is a literal as a whole.
    fn parse(text: &'a str, at: &'a Mark) -> Option<Node> {
        let mut literal = Self { rest: text.trim(), at };
        let value = literal.value()?;
        // `1, 2` without brackets is a tuple.
        if literal.take(',') {
            let mut items = vec![value];
            while !literal.rest.is_empty() {
                items.push(literal.value()?);
                if !literal.take(',') {
                    break;
                }
            }
            return literal.rest.is_empty().then(|| Node { at: at.clone(), kind: Kind::List(items) });
        }
        literal.rest.is_empty().then_some(value)
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.rest.strip_prefix(c);
        self.rest = found.unwrap_or(self.rest).trim_start();
        found.is_some()
    }

    fn value(&mut self) -> Option<Node> {
        let first = self.rest.chars().next()?;
        let kind = match first {
            '[' => Kind::List(self.items('[', ']')?),
            '(' => {
                let inside = self.rest;
                let items = self.items('(', ')')?;
                let text = &inside[..inside.len() - self.rest.len()];
                // One value in brackets is that value, unless a comma makes it a tuple.
                let comma = text.trim_end().trim_end_matches(')').trim_end().ends_with(',');
                match <[Node; 1]>::try_from(items) {
                    Ok([only]) if !comma => return Some(only),
                    Ok([only]) => Kind::List(vec![only]),
                    Err(items) => Kind::List(items),
                }
            }
            '{' => self.map()?,
            _ if first == '"' || first == '\'' || self.is_prefixed_text() => Kind::Text(self.text()?),
            _ => self.word()?,
        };
        self.rest = self.rest.trim_start();
        Some(Node { at: self.at.clone(), kind })
    }

    fn items(&mut self, open: char, close: char) -> Option<Vec<Node>> {
        self.take(open);
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.value()?);
            if !self.take(',') {
                return self.take(close).then_some(items);
            }
        }
        Some(items)
    }

    fn map(&mut self) -> Option<Kind> {
        self.take('{');
        let mut entries = Vec::new();
        while !self.take('}') {
            let key = self.value()?;
            if !self.take(':') {
                return None; // a set, which has no order
            }
            let key = Key { name: super::text::python(&key), at: self.at.clone() };
            entries.push((key, self.value()?));
            if !self.take(',') {
                return self.take('}').then_some(Kind::Map(entries));
            }
        }
        Some(Kind::Map(entries))
    }

    fn is_prefixed_text(&self) -> bool {
        let quoted = self.rest.trim_start_matches(['r', 'R', 'u', 'U']);
        self.rest.len() - quoted.len() == 1 && quoted.starts_with(['"', '\''])
    }

    /// One or more texts beside each other.
    fn text(&mut self) -> Option<String> {
        let mut whole = String::new();
        while self.rest.starts_with(['"', '\'']) || self.is_prefixed_text() {
            let raw = self.rest.starts_with(['r', 'R']);
            let quoted = self.rest.trim_start_matches(['r', 'R', 'u', 'U']);
            let one = &quoted[..1];
            let triple = one.repeat(3);
            let quote = if quoted.starts_with(&triple) { triple.as_str() } else { one };
            let body = &quoted[quote.len()..];
            let mut end = None;
            let mut skip = false;
            for (at, c) in body.char_indices() {
                if skip {
                    skip = false;
                } else if c == '\\' {
                    skip = true;
                } else if body[at..].starts_with(quote) {
                    end = Some(at);
                    break;
                }
            }
            let end = end?;
            whole += &if raw { body[..end].to_owned() } else { unescaped(&body[..end])? };
            self.rest = body[end + quote.len()..].trim_start();
        }
        Some(whole)
    }

    fn word(&mut self) -> Option<Kind> {
        let end = self.rest.find([',', ']', ')', '}', ':']).unwrap_or(self.rest.len());
        let word = self.rest[..end].trim();
        self.rest = &self.rest[end..];
        Some(match word {
            "None" => Kind::Null,
            "True" => Kind::Bool(true),
            "False" => Kind::Bool(false),
            _ if word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => number(word)?,
            _ => return None,
        })
    }
}

fn number(word: &str) -> Option<Kind> {
    let unsigned = word.trim_start_matches(['+', '-']).trim();
    let digits = unsigned.replace('_', "");
    let negative = word.starts_with('-');
    let radix = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        _ => 10,
    };
    let whole = if radix == 10 { digits.as_str() } else { &digits[2..] };
    if let Ok(value) = i128::from_str_radix(whole, radix) {
        return Some(Kind::Int(if negative { -value } else { value }));
    }
    let plain = digits.chars().all(|c| c.is_ascii_digit() || ".eE+-".contains(c));
    let value: f64 = digits.parse().ok().filter(|_| plain)?;
    Some(Kind::Float(if negative { -value } else { value }))
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next()? {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            '\n' => {}
            c @ ('\\' | '\'' | '"') => out.push(c),
            c @ ('x' | 'u') => {
                let digits: String = chars.by_ref().take(if c == 'x' { 2 } else { 4 }).collect();
                out.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
            }
            c => out.extend(['\\', c]),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::{emit, read};
    use super::*;

    fn shown(node: &Node) -> String {
        emit::document(node)
    }

    #[test]
    fn toml_tables_lists_and_numbers_become_what_yaml_would_give() {
        let text = "lr = 5e-4\nn = 0x10\n[a.b]\non = true\nl = [1, 2.0, \"x\"]\n[[t]]\nk = {v = 1}\n";
        let expected = "lr: 5e-4\nn: 16\na: {b: {on: true, l: [1, 2.0, x]}}\nt: [{k: {v: 1}}]\n";
        let expected = read::parse(Path::new("x"), expected.into()).unwrap();
        let found = toml(Path::new("x.toml"), text.into()).unwrap();
        assert!(found.same(&expected), "{}", shown(&found));
        assert!(toml(Path::new("x.toml"), "a = \n".into()).unwrap_err().to_string().contains("x.toml:1:1: is no TOML"));
    }

    #[test]
    fn constants_of_a_python_file_are_read_and_nothing_is_run() {
        let text = "import os  # a comment\n'''text = 1'''\nLR: float = 1e-3\nN = -1_000\nNAME = 'it' \"'s\"\nOFF, ON = 0, 1\n\
                    SHAPE = (1, 2,\n         3)\nONE = (4)\nD = {'a': [1, None], 2: True}\nCALL = os.getpid()\nX = 3 + 4\n\
                    class Train:\n    epochs = 5\n    class Inner:\n        deep = 'x'\n    def __init__(self):\n        \
                    self.seed = 7\n        local = 8\n    def other(self):\n        self.no = 9\nif True:\n    NO = 1\n";
        let expected = "LR: 1e-3\nN: -1000\nNAME: it's\nSHAPE: [1, 2, 3]\nONE: 4\nD: {a: [1, null], '2': true}\n\
                        Train: {epochs: 5, Inner: {deep: x}, seed: 7}\n";
        let expected = read::parse(Path::new("x"), expected.into()).unwrap();
        let found = python(Path::new("x.py"), text.into()).unwrap();
        assert!(found.same(&expected), "{}", shown(&found));
    }
}
