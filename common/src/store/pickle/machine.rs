//! The stack machine of pickles, protocols 2 to 5: opcodes become nodes of a graph.
//!
//! Nodes refer to each other by number, so that an object that a hostile file repeats a billion times costs a number
//! each time and never a copy.

use std::collections::HashMap;

use super::rebuild;
use super::tensor::Tensor;
use crate::store::dtype::Dtype;

/// Number of a node.
pub(super) type Id = u32;

/// Most nodes of a pickle. A Lightning checkpoint of a large model has some 100,000.
const NODE_LIMIT: usize = 4_000_000;
/// Most bytes and entries that calls may make in addition to what the file spells out.
const MADE_LIMIT: usize = 64 << 20;

/// One object.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    BigInt,
    Float(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A name that stands for a class or function: `module.name`.
    Global(Box<str>),
    /// A storage of torch; `place` is filled in when the archive is searched for it.
    Storage {
        key: Box<str>,
        dtype: Dtype,
        elements: u64,
        place: u32,
    },
    Tensor(Box<Tensor>),
    Dtype(Box<rebuild::NumpyDtype>),
    Array(Box<super::array::Parts>),
    Object(Box<Object>),
}

/// An object of a class that is not run.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) class: Box<str>,
    pub(super) args: Id,
    pub(super) state: Option<Id>,
}

impl Node {
    /// Name of the class of an inert object.
    pub(super) fn class(&self) -> Option<&str> {
        if let Self::Object(object) = self { Some(&object.class) } else { None }
    }

    /// For messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::None => "None".into(),
            Self::Bool(_) => "a bool".into(),
            Self::Int(_) | Self::BigInt => "an integer".into(),
            Self::Float(_) => "a float".into(),
            Self::Text(_) => "a text".into(),
            Self::Bytes(_) => "bytes".into(),
            Self::List(_) => "a list".into(),
            Self::Tuple(_) => "a tuple".into(),
            Self::Dict(_) => "a dictionary".into(),
            Self::Global(name) => format!("the name `{name}`"),
            Self::Storage { .. } => "a storage".into(),
            Self::Tensor(_) => "a tensor".into(),
            Self::Dtype(_) => "a dtype".into(),
            Self::Array(_) => "an array".into(),
            Self::Object(object) => format!("an object of the class `{}`", object.class),
        }
    }
}

/// The machine after its run.
pub(super) struct Machine {
    pub(super) nodes: Vec<Node>,
    pub(super) root: Id,
}

/// The machine at work.
pub(super) struct State<'a> {
    bytes: &'a [u8],
    at: usize,
    pub(super) nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    made: usize,
}

impl Machine {
    /// Runs a pickle to its end. An error is the text after the path.
    pub(super) fn run(bytes: &[u8]) -> Result<Self, String> {
        let mut state =
            State { bytes, at: 0, nodes: vec![], stack: vec![], marks: vec![], memo: HashMap::new(), made: 0 };
        loop {
            let at = state.at;
            let opcode = state.take(1)?[0];
            if opcode == b'.' {
                let root = state.pop()?;
                return Ok(Self { nodes: state.nodes, root });
            }
            state.step(opcode).map_err(|problem| format!("pickle, byte {at}: {problem}"))?;
        }
    }
}

impl<'a> State<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|&e| e <= self.bytes.len());
        let end = end.ok_or_else(|| format!("truncated: the pickle goes on behind its {} bytes", self.bytes.len()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self, width: usize) -> Result<usize, String> {
        let mut value = [0; 8];
        value[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(value)).map_err(|_| "a length overflows".into())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(4096).position(|&b| b == b'\n').ok_or("a name has no end")?;
        let line = std::str::from_utf8(self.take(length)?).map_err(|_| "a name is no UTF-8")?;
        self.take(1)?;
        Ok(line)
    }

    /// Adds a node without pushing it.
    pub(super) fn make(&mut self, node: Node) -> Result<Id, String> {
        if self.nodes.len() >= NODE_LIMIT {
            return Err(format!("more than {NODE_LIMIT} objects"));
        }
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as Id)
    }

    fn push(&mut self, node: Node) -> Result<(), String> {
        let id = self.make(node)?;
        self.stack.push(id);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("the stack is empty".into());
        }
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn top(&self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..].last().copied().ok_or_else(|| "the stack is empty".into())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("there is no mark")?;
        Ok(self.stack.split_off(mark))
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// Counts what a call makes out of nothing.
    pub(super) fn made(&mut self, size: usize) -> Result<(), String> {
        self.made = self.made.saturating_add(size);
        if self.made > MADE_LIMIT {
            return Err(format!("calls make more than {MADE_LIMIT} bytes"));
        }
        Ok(())
    }

    pub(super) fn text(&self, id: Id) -> Result<&str, String> {
        match self.node(id) {
            Node::Text(text) => Ok(text),
            other => Err(format!("expected a text, found {}", other.describe())),
        }
    }

    pub(super) fn int(&self, id: Id) -> Result<i64, String> {
        match self.node(id) {
            Node::Int(value) => Ok(*value),
            other => Err(format!("expected an integer, found {}", other.describe())),
        }
    }

    pub(super) fn tuple(&self, id: Id) -> Result<&[Id], String> {
        match self.node(id) {
            Node::Tuple(items) => Ok(items),
            other => Err(format!("expected a tuple, found {}", other.describe())),
        }
    }

    fn utf8(&mut self, length: usize) -> Result<(), String> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| "a text is no UTF-8")?;
        self.push(Node::Text(text.into()))
    }

    fn blob(&mut self, length: usize) -> Result<(), String> {
        let bytes = self.take(length)?.into();
        self.push(Node::Bytes(bytes))
    }

    /// A little-endian two's complement of any length.
    fn long(&mut self, length: usize) -> Result<(), String> {
        let bytes = self.take(length)?;
        if length > 8 {
            return self.push(Node::BigInt);
        }
        let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut value = [fill; 8];
        value[..length].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(value)))
    }

    fn tuple_of(&mut self, count: usize) -> Result<(), String> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Node::Tuple(items))
    }

    fn remember(&mut self, index: u32) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), String> {
        let id = *self.memo.get(&index).ok_or_else(|| format!("nothing was stored under {index}"))?;
        self.stack.push(id);
        if self.stack.len() > NODE_LIMIT {
            return Err(format!("more than {NODE_LIMIT} objects"));
        }
        Ok(())
    }

    fn append(&mut self, items: &[Id]) -> Result<(), String> {
        let target = self.top()?;
        match &mut self.nodes[target as usize] {
            Node::List(list) => list.extend_from_slice(items),
            // The items of an inert object stay as inert as it is.
            Node::Object(_) => {}
            other => return Err(format!("items are added to {}, expected a list", other.describe())),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), String> {
        let target = self.top()?;
        if !items.len().is_multiple_of(2) {
            return Err("a key has no value".into());
        }
        match &mut self.nodes[target as usize] {
            Node::Dict(entries) => entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            Node::Object(_) => {}
            other => return Err(format!("entries are set on {}, expected a dictionary", other.describe())),
        }
        Ok(())
    }

    fn step(&mut self, opcode: u8) -> Result<(), String> {
        match opcode {
            0x80 => match self.take(1)?[0] {
                2..=5 => {}
                other => return Err(format!("protocol {other}, expected 2 to 5")),
            },
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                // POP on a mark removes the mark.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Bool(true))?,
            0x89 => self.push(Node::Bool(false))?,
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push(Node::Int(value.into()))?;
            }
            b'K' | b'M' => {
                let value = self.number(if opcode == b'K' { 1 } else { 2 })?;
                self.push(Node::Int(value as i64))?;
            }
            0x8a | 0x8b => {
                let length = self.number(if opcode == 0x8a { 1 } else { 4 })?;
                self.long(length)?;
            }
            b'G' => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(self.take(8)?);
                self.push(Node::Float(f64::from_be_bytes(bytes)))?;
            }
            // Texts of Python 2 (`U`, `T`) are ASCII in practice.
            b'X' | b'T' | 0x8c | b'U' | 0x8d => {
                let length = self.number(length_width(opcode))?;
                self.utf8(length)?;
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                let length = self.number(length_width(opcode))?;
                self.blob(length)?;
            }
            b']' | 0x8f => self.push(Node::List(Vec::new()))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b')' => self.push(Node::Tuple(Vec::new()))?,
            0x85..=0x87 => self.tuple_of(usize::from(opcode - 0x84))?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Node::Tuple(items))?;
            }
            b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Node::List(items))?;
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Node::Dict(Vec::new()))?;
                self.set(&items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set(&items)?;
            }
            b'q' | b'r' => {
                let index = self.number(if opcode == b'q' { 1 } else { 4 })?;
                self.remember(index as u32)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' | b'j' => {
                let index = self.number(if opcode == b'h' { 1 } else { 4 })?;
                self.recall(index as u32)?;
            }
            b'c' => {
                let name = format!("{}.{}", self.line()?, self.line()?);
                self.push(Node::Global(name.into()))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                // A long name could be repeated at the price of a few bytes.
                let name = format!("{}.{}", self.text(module)?, self.text(name)?);
                self.made(name.len())?;
                self.push(Node::Global(name.into()))?;
            }
            b'R' | 0x81 => {
                let (args, class) = (self.pop()?, self.pop()?);
                let made = rebuild::call(self, class, args)?;
                self.stack.push(made);
            }
            0x92 => {
                let (_, args, class) = (self.pop()?, self.pop()?, self.pop()?);
                let made = rebuild::call(self, class, args)?;
                self.stack.push(made);
            }
            b'b' => {
                let state = self.pop()?;
                let target = self.top()?;
                rebuild::build(self, target, state)?;
            }
            b'Q' => {
                let key = self.pop()?;
                let storage = rebuild::storage(self, key)?;
                self.push(storage)?;
            }
            other => return Err(format!("the opcode {other:#04x} is not supported")),
        }
        Ok(())
    }
}

/// Bytes of the length field of texts and bytes.
fn length_width(opcode: u8) -> usize {
    match opcode {
        0x8c | b'U' | b'C' => 1,
        0x8d | 0x8e | 0x96 => 8,
        _ => 4,
    }
}
