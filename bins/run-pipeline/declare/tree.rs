//! Values in which every node knows its place in a file.

use std::path::PathBuf;
use std::sync::Arc;

use common::Error;

/// A file that was read.
#[derive(Debug)]
pub struct Source {
    /// Path as shown to the user.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

/// A place in a file; line and column count from 1.
#[derive(Debug, Clone)]
pub struct Mark {
    pub source: Arc<Source>,
    pub line: usize,
    pub column: usize,
}

impl Mark {
    /// A mistake at this place, shown with its line and a caret.
    pub fn error(&self, sentence: impl AsRef<str>) -> Error {
        self.error_among(sentence, "", &[])
    }

    /// A mistake about the name `name` where only `allowed` ones are known.
    pub fn error_among(&self, sentence: impl AsRef<str>, name: &str, allowed: &[String]) -> Error {
        let place = (self.line, self.column);
        common::config::point_at(&self.source.path, &self.source.text, place, sentence.as_ref(), name, allowed)
    }

    /// The same file, the place where `part` stands at or after this mark; this mark where it cannot be found.
    pub fn of(&self, part: &str) -> Self {
        for (number, line) in self.source.text.lines().enumerate().skip(self.line - 1).take(200) {
            let from = if number + 1 == self.line {
                line.char_indices().nth(self.column - 1).map_or(line.len(), |(at, _)| at)
            } else {
                0
            };
            if let Some(at) = line[from..].find(part) {
                let column = line[..from + at].chars().count() + 1;
                return Self { source: Arc::clone(&self.source), line: number + 1, column };
            }
        }
        self.clone()
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.source.path.display(), self.line, self.column)
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    pub at: Mark,
    pub kind: Kind,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub enum Kind {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map: its text form and its place.
#[derive(Debug, Clone)]
pub struct Key {
    pub name: String,
    pub at: Mark,
}

impl Node {
    /// The value of a key; none in anything but a map.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_map()?.iter().find(|(key, _)| key.name == name).map(|(_, value)| value)
    }

    pub fn as_map(&self) -> Option<&[(Key, Self)]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Self]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What a message calls this value.
    pub fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "true or false",
            Kind::Int(_) | Kind::Float(_) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    /// Equality of values as Python has it: 1, 1.0 and true are equal, maps have no order.
    pub fn same(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Null, Kind::Null) => true,
            (Kind::Text(a), Kind::Text(b)) => a == b,
            (Kind::List(a), Kind::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Kind::Map(a), Kind::Map(b)) => {
                a.len() == b.len() && a.iter().all(|(key, value)| other.get(&key.name).is_some_and(|o| o.same(value)))
            }
            (Kind::Float(a), Kind::Float(b)) => a == b,
            (Kind::Float(f), _) => other.as_int().is_some_and(|i| *f == i as f64),
            (_, Kind::Float(f)) => self.as_int().is_some_and(|i| *f == i as f64),
            _ => matches!((self.as_int(), other.as_int()), (Some(a), Some(b)) if a == b),
        }
    }

    fn as_int(&self) -> Option<i128> {
        match self.kind {
            Kind::Int(i) => Some(i),
            Kind::Bool(b) => Some(i128::from(b)),
            _ => None,
        }
    }

    /// How many values it holds, itself among them.
    pub fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::List(items) => items.iter().map(Self::count).sum(),
            Kind::Map(entries) => entries.iter().map(|(_, value)| 1 + value.count()).sum(),
            _ => 0,
        }
    }
}
