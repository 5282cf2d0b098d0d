//! Files as trees in which every node knows its place.
//!
//! The types of plain scalars are those that DVC's reader gives them (YAML 1.2 with Python's number forms): `yes` is
//! text, `012` is 12, `0o17` is 15, `5e-4` is a float. serde's data model drops the place of a mapping's key, so the
//! parser's events are walked here directly.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{Error, Result};
use granit_parser::{Event, Parser, ScalarStyle};

use super::tree::{Key, Kind, Mark, Node, Source};
use super::{literals, text};

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// Most nodes of one file, aliases counted at every use.
const MAX_NODES: usize = 500_000;
/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// Reads a YAML, JSON, TOML or Python file, by its ending; an empty one is null. `shown` is its path in messages.
pub fn file(path: &Path, shown: &Path) -> Result<Node> {
    let size = fs::metadata(path).map_err(|e| Error::opening(shown, e))?.len();
    if size > MAX_BYTES {
        return Err(Error::input(shown, format!("has {size} bytes, a pipeline file has at most {MAX_BYTES}")));
    }
    let text = fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidData => Error::input(shown, "is not UTF-8 text"),
        _ => Error::opening(shown, e),
    })?;
    match path.extension().and_then(|e| e.to_str()) {
        Some("toml") => literals::toml(shown, text),
        Some("py") => literals::python(shown, text),
        _ => parse(shown, text),
    }
}

/// Parses the text of one file.
pub fn parse(shown: &Path, text: String) -> Result<Node> {
    let source = Arc::new(Source { path: shown.to_path_buf(), text });
    let mut walk = Walk { source: Arc::clone(&source), stack: Vec::new(), anchors: HashMap::new(), nodes: 0 };
    let options = granit_parser::options! { emit_comments: false };
    let mut root = None;
    let mut documents = 0;
    for next in Parser::new_from_str_with_options(&source.text, options) {
        let (event, span) = next.map_err(|e| walk.mark(e.marker()).error(e.info()))?;
        let at = walk.mark(&span.start);
        if matches!(event, Event::DocumentStart(..)) {
            documents += 1;
            if documents > 1 {
                return Err(at.error("a second document begins here, expected one"));
            }
        }
        if let Some(done) = walk.take(&event, at)? {
            root = Some(done);
        }
    }
    let top = Mark { source, line: 1, column: 1 };
    Ok(root.unwrap_or(Node { at: top, kind: Kind::Null }))
}

/// A collection that is still open.
struct Open {
    at: Mark,
    anchor: usize,
    kind: Kind,
    key: Option<Key>,
    /// `<<` entries: taken over at the end, so that keys written out win wherever they stand.
    merges: Vec<(Key, Node)>,
}

struct Walk {
    source: Arc<Source>,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Walk {
    fn mark(&self, marker: &granit_parser::Marker) -> Mark {
        Mark { source: Arc::clone(&self.source), line: marker.line().max(1), column: marker.col() + 1 }
    }

    /// Takes one event; gives the root when it is complete.
    fn take(&mut self, event: &Event, at: Mark) -> Result<Option<Node>> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || self.stack.len() > MAX_DEPTH {
            return Err(at.error(format!("more than {MAX_NODES} values, or nested deeper than {MAX_DEPTH}")));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = match tag {
                    None => None,
                    Some(tag) => Some(tag.core_suffix().ok_or_else(|| at.error(format!("unknown tag `{tag}`")))?),
                };
                let kind = match (tag, style) {
                    (Some("str"), _) => Kind::Text(text.to_string()),
                    (None, ScalarStyle::Plain) => resolve(text),
                    (None, _) => Kind::Text(text.to_string()),
                    (Some(_), _) => resolve(text),
                };
                self.put(Node { at, kind }, *anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.stack.push(Open {
                    at,
                    anchor: *anchor,
                    kind: Kind::List(Vec::new()),
                    key: None,
                    merges: Vec::new(),
                });
                Ok(None)
            }
            Event::MappingStart(_, anchor, _) => {
                self.stack.push(Open {
                    at,
                    anchor: *anchor,
                    kind: Kind::Map(Vec::new()),
                    key: None,
                    merges: Vec::new(),
                });
                Ok(None)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(mut open) => {
                    if let Kind::Map(entries) = &mut open.kind {
                        for (key, node) in open.merges {
                            merge(entries, &key, node)?;
                        }
                    }
                    self.put(Node { at: open.at, kind: open.kind }, open.anchor)
                }
                None => Ok(None),
            },
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(id) else {
                    return Err(at.error("an alias inside of its own value"));
                };
                // Counted before it is copied: this is what a bomb blows up.
                self.nodes += node.count();
                if self.nodes > MAX_NODES {
                    return Err(at.error(format!("more than {MAX_NODES} values")));
                }
                let node = node.clone();
                self.put(node, 0)
            }
            _ => Ok(None),
        }
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<Option<Node>> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.stack.last_mut() else { return Ok(Some(node)) };
        match &mut open.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => match open.key.take() {
                None => {
                    if matches!(node.kind, Kind::List(_) | Kind::Map(_)) {
                        return Err(node.at.error("a key is a plain value"));
                    }
                    open.key = Some(Key { name: text::python(&node), at: node.at });
                }
                Some(key) if key.name == "<<" => open.merges.push((key, node)),
                Some(key) => match entries.iter().find(|(known, _)| known.name == key.name) {
                    Some((known, _)) => {
                        let line = known.at.line;
                        return Err(key
                            .at
                            .error(format!("key `{}` stands here twice, first in line {line}", key.name)));
                    }
                    None => entries.push((key, node)),
                },
            },
            _ => {}
        }
        Ok(None)
    }
}

/// `<<: *anchor`: keys that are not there yet are taken over.
fn merge(entries: &mut Vec<(Key, Node)>, key: &Key, node: Node) -> Result<()> {
    let maps = match node.kind {
        Kind::Map(_) => vec![node],
        Kind::List(items) => items,
        _ => return Err(key.at.error("`<<` takes a map, or a list of maps")),
    };
    for map in maps {
        let Kind::Map(others) = map.kind else { return Err(key.at.error("`<<` takes a map, or a list of maps")) };
        for (other, value) in others {
            if !entries.iter().any(|(known, _)| known.name == other.name) {
                entries.push((other, value));
            }
        }
    }
    Ok(())
}

/// The value of a plain scalar.
pub fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        _ => {}
    }
    integer(text).map(Kind::Int).or_else(|| float(text).map(Kind::Float)).unwrap_or_else(|| Kind::Text(text.into()))
}

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'b', ..] => (2, &digits[2..]),
        [b'0', b'o', ..] => (8, &digits[2..]),
        [b'0', b'x', ..] => (16, &digits[2..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    let value = i128::from_str_radix(&digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        ".nan" | ".NaN" | ".NAN" => return (unsigned == text).then_some(f64::NAN),
        _ => {}
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let starts = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part) && (starts(whole) || (whole.is_empty() && starts(part))),
        None => exponent.is_some() && starts(mantissa) && digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['-', '+']).unwrap_or(e);
        !e.is_empty() && e.bytes().all(|b| b.is_ascii_digit())
    });
    if !(mantissa_fits && exponent_fits) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        parse(Path::new("x.yaml"), text.into()).unwrap()
    }

    #[test]
    fn plain_scalars_have_the_types_that_dvc_gives_them() {
        let kind = |text: &str| format!("{:?}", resolve(text));
        for (text, expected) in [
            ("yes", "Text(\"yes\")"),
            ("012", "Int(12)"),
            ("0o17", "Int(15)"),
            ("0x1F", "Int(31)"),
            ("1_000", "Int(1000)"),
            ("-5", "Int(-5)"),
            ("5e-4", "Float(0.0005)"),
            ("1.", "Float(1.0)"),
            (".5", "Float(0.5)"),
            ("-.inf", "Float(-inf)"),
            ("1.2.3", "Text(\"1.2.3\")"),
            ("e5", "Text(\"e5\")"),
            ("-", "Text(\"-\")"),
            ("TRUE", "Bool(true)"),
            ("~", "Null"),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
        assert_eq!(format!("{:?}", tree("\"12\"").kind), "Text(\"12\")");
        assert_eq!(format!("{:?}", tree("!!str 12").kind), "Text(\"12\")");
    }

    #[test]
    fn every_node_knows_its_place() {
        let root = tree("a:\n  - x\n  - b: [1, 22]\n");
        let (key, list) = &root.as_map().unwrap()[0];
        assert_eq!((key.at.line, key.at.column), (1, 1));
        let inner = list.as_list().unwrap()[1].get("b").unwrap().as_list().unwrap();
        assert_eq!((inner[1].at.line, inner[1].at.column), (3, 12));
    }

    #[test]
    fn anchors_and_merge_keys_are_followed_and_bombs_refused() {
        let root = tree("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n");
        let b = root.get("b").unwrap();
        assert!(matches!(b.get("x").unwrap().kind, Kind::Int(1)));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string();
        for i in 1..9 {
            bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", "));
        }
        assert!(parse(Path::new("x"), bomb).is_err());
        assert!(parse(Path::new("x"), "[".repeat(5000)).is_err());
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_with_its_place() {
        let error = parse(Path::new("x.yaml"), "a: 1\nb: 2\na: 3\n".into()).unwrap_err().to_string();
        assert!(error.starts_with("x.yaml:3:1: key `a` stands here twice, first in line 1"), "{error}");
    }
}
