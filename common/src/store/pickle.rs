//! Published checkpoints of PyTorch (`.pth`, `.pt`, `.ckpt`) and plain pickles, read without running anything.
//!
//! A pickle is a program that builds objects by calling functions by name. [`Checkpoint`] runs that program on a
//! machine that knows no functions: a fixed list of names (tensors, parameters, ordered dictionaries, numpy arrays)
//! becomes data, every other name becomes an inert object that remembers its class and arguments and refuses to be
//! anything else. Sizes, depths, counts, strides and checksums are checked before memory is asked for.
//!
//! torch stores tensors uncompressed and aligned in a zip archive, so their bytes are slices of the mapped file.

mod array;
mod machine;
mod rebuild;
mod tensor;
mod writer;

use std::path::{Path, PathBuf};

pub use array::{Array, Column};
pub use tensor::NamedTensor;
pub use writer::{write_lightning, write_state_dict};

use super::map::Mapped;
use super::zip::Zip;
use crate::error::{Error, Result};
use machine::{Id, Node};

/// Longest pickle that is read. The tensors are not part of it.
const PICKLE_LIMIT: usize = 256 << 20;
/// Deepest nesting that a search for tensors follows.
const DEPTH_LIMIT: usize = 64;
/// First bytes of what torch wrote before version 1.6: the pickle of a magic number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// A checkpoint or pickle, parsed.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    /// The file that the tensors are slices of; a pickle from memory has none.
    mapped: Option<Mapped>,
    nodes: Vec<Node>,
    root: Id,
    /// Where the storages lie in the file.
    storages: Vec<tensor::Storage>,
}

/// One object of a checkpoint.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    checkpoint: &'a Checkpoint,
    id: Id,
}

/// What a [`Value`] is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub enum Kind<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    List,
    Tuple,
    Dict,
    Tensor,
    Array,
    /// An integer beyond 64 bits, or part of the machinery (a storage, a dtype, the name of a class).
    Opaque,
    /// An object of an unknown class, which stays inert: `module.class`.
    Object(&'a str),
}

impl Checkpoint {
    /// Opens a torch archive or a plain pickle.
    ///
    /// # Errors
    /// [`Error::Input`] where the file is missing, truncated, damaged, or asks for something that is never done.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let mapped = Mapped::open(&path)?;
        let bad = |problem: String| {
            Error::input(&path, problem)
                .hint("the file is damaged or no PyTorch checkpoint; download or export it again")
        };
        let bytes = mapped.bytes();
        if bytes.starts_with(LEGACY) {
            let problem = "is in the format of PyTorch before 1.6, expected a zip archive";
            return Err(Error::input(&path, problem).hint("load and save it once with a newer PyTorch"));
        }
        // Its header's length and the brace that it begins with.
        let header = bytes.first_chunk().map_or(u64::MAX, |length| u64::from_le_bytes(*length));
        if header < bytes.len() as u64 && bytes.get(8) == Some(&b'{') {
            return Err(
                Error::input(&path, "is a safetensors file, whatever its name says").hint("name it `.safetensors`")
            );
        }
        let (nodes, root, storages) = if bytes.starts_with(b"PK\x03\x04") {
            let zip = Zip::parse(bytes).map_err(bad)?;
            let pickle = zip.names().find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
            let pickle = pickle.ok_or_else(|| bad("the zip archive has no `data.pkl`".into()))?;
            let folder = &pickle[..pickle.len() - "data.pkl".len()];
            let order = format!("{folder}byteorder");
            if zip.contains(&order) && &*zip.read(&order, 16).map_err(bad)? != b"little" {
                return Err(bad("was written on a big-endian machine, expected little-endian".into()));
            }
            let text = zip.read(pickle, PICKLE_LIMIT).map_err(bad)?;
            let mut machine = machine::Machine::run(limited(&text).map_err(bad)?).map_err(bad)?;
            let storages = tensor::locate(&mut machine.nodes, bytes, &zip, folder).map_err(bad)?;
            (machine.nodes, machine.root, storages)
        } else {
            let machine = machine::Machine::run(limited(bytes).map_err(bad)?).map_err(bad)?;
            if machine.nodes.iter().any(|node| matches!(node, Node::Storage { .. })) {
                return Err(bad("refers to tensors, but a plain pickle has none".into()));
            }
            (machine.nodes, machine.root, Vec::new())
        };
        Ok(Self { path, mapped: Some(mapped), nodes, root, storages })
    }

    /// Parses a pickle that lies inside of another file, `path`; it has no tensors.
    pub(super) fn of_pickle(path: &Path, pickle: &[u8]) -> Result<Self> {
        let bad = |problem: String| Error::input(path, problem);
        let machine = machine::Machine::run(limited(pickle).map_err(bad)?).map_err(bad)?;
        if machine.nodes.iter().any(|node| matches!(node, Node::Storage { .. })) {
            return Err(bad("refers to tensors, but a plain pickle has none".into()));
        }
        let machine::Machine { nodes, root } = machine;
        Ok(Self { path: path.to_path_buf(), mapped: None, nodes, root, storages: Vec::new() })
    }

    fn bytes(&self) -> &[u8] {
        self.mapped.as_ref().map_or(&[], Mapped::bytes)
    }

    /// The path as given to [`Checkpoint::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole object.
    pub fn value(&self) -> Value<'_> {
        Value { checkpoint: self, id: self.root }
    }

    /// The tensors of the model: those of the entry `state_dict` (Lightning), `model_state_dict` or `model` where the
    /// file has one, of the whole file otherwise; in file order, nested names joined by dots.
    ///
    /// # Errors
    /// [`Error::Input`] where there are none, a name appears twice, or a tensor lies outside of its storage.
    pub fn tensors(&self) -> Result<Vec<NamedTensor<'_>>> {
        let root = self.value();
        let holder = ["state_dict", "model_state_dict", "model"].into_iter().find_map(|key| {
            let value = root.get(key)?;
            (value.kind() == Kind::Dict).then_some(value)
        });
        let tensors = holder.unwrap_or(root).tensors()?;
        if tensors.is_empty() {
            let found = match root.kind() {
                Kind::Object(class) => format!("an object of the class `{class}`, which is not run"),
                other => format!("{other:?}"),
            };
            return Err(Error::input(&self.path, format!("holds no tensors but {found}, expected a state dict"))
                .hint("export `model.state_dict()` instead of the model"));
        }
        Ok(tensors)
    }

    /// Names of all classes and functions that the file asks for and that are not run.
    pub fn unknown(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.nodes.iter().filter_map(Node::class).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind().fmt(f)
    }
}

impl<'a> Value<'a> {
    fn with(self, id: Id) -> Self {
        Value { checkpoint: self.checkpoint, id }
    }

    fn node(self) -> &'a Node {
        self.checkpoint.node(self.id)
    }

    /// What it is.
    pub fn kind(self) -> Kind<'a> {
        match self.node() {
            Node::None => Kind::None,
            Node::Bool(value) => Kind::Bool(*value),
            Node::Int(value) => Kind::Int(*value),
            Node::Float(value) => Kind::Float(*value),
            Node::Text(value) => Kind::Text(value),
            Node::Bytes(value) => Kind::Bytes(value),
            Node::List(_) => Kind::List,
            Node::Tuple(_) => Kind::Tuple,
            Node::Dict(_) => Kind::Dict,
            Node::Tensor(_) => Kind::Tensor,
            Node::Array(_) => Kind::Array,
            Node::Object(object) => Kind::Object(&object.class),
            Node::Global(_) | Node::Storage { .. } | Node::Dtype(_) | Node::BigInt => Kind::Opaque,
        }
    }

    /// An entry of a dictionary by its text key.
    pub fn get(self, key: &str) -> Option<Self> {
        let Node::Dict(entries) = self.node() else { return None };
        // A key that was set twice has its last value.
        let found =
            entries.iter().rev().find(|(k, _)| matches!(self.checkpoint.node(*k), Node::Text(t) if **t == *key));
        found.map(|(_, value)| self.with(*value))
    }

    /// The entry of a dictionary, which must be there.
    pub fn expect(self, key: &str) -> Result<Self> {
        self.get(key).ok_or_else(|| {
            let known = self.entries().filter_map(|(k, _)| k.text().ok());
            self.bad(format!("has no entry `{key}`")).did_you_mean(key, known)
        })
    }

    /// Keys and values of a dictionary in file order; nothing for anything else.
    pub fn entries(self) -> impl Iterator<Item = (Self, Self)> {
        let entries: &[(Id, Id)] = if let Node::Dict(entries) = self.node() { entries } else { &[] };
        entries.iter().map(move |(key, value)| (self.with(*key), self.with(*value)))
    }

    /// Items of a list, a tuple or a numpy array of objects; nothing for anything else.
    pub fn items(self) -> impl Iterator<Item = Self> {
        let node = match self.node() {
            Node::Array(parts) => parts.data.map(|data| self.checkpoint.node(data)),
            node => Some(node),
        };
        let items: &[Id] = if let Some(Node::List(items) | Node::Tuple(items)) = node { items } else { &[] };
        items.iter().map(move |id| self.with(*id))
    }

    /// What an object of an unknown class was to be filled with: its attributes, as a rule in a dictionary.
    pub fn attributes(self) -> Option<Self> {
        let Node::Object(object) = self.node() else { return None };
        object.state.map(|state| self.with(state))
    }

    /// A text.
    pub fn text(self) -> Result<&'a str> {
        if let Node::Text(text) = self.node() { Ok(text) } else { Err(self.not("a text")) }
    }

    /// An integer.
    pub fn int(self) -> Result<i64> {
        if let Node::Int(value) = self.node() { Ok(*value) } else { Err(self.not("an integer")) }
    }

    /// A float, or an integer as a float.
    pub fn float(self) -> Result<f64> {
        match self.node() {
            Node::Float(value) => Ok(*value),
            Node::Int(value) => Ok(*value as f64),
            _ => Err(self.not("a number")),
        }
    }

    fn not(self, expected: &str) -> Error {
        match self.node() {
            Node::Object(object) => self
                .bad(format!("an object of the class `{}` stands where {expected} is expected", object.class))
                .hint("unknown classes are never run; export plain tensors and numbers"),
            _ => self.bad(format!("{:?} stands where {expected} is expected", self.kind())),
        }
    }

    fn bad(self, problem: String) -> Error {
        Error::input(&self.checkpoint.path, problem)
    }
}

fn limited(pickle: &[u8]) -> Result<&[u8], String> {
    if pickle.len() > PICKLE_LIMIT {
        return Err(format!("the pickle has {} bytes, expected at most {PICKLE_LIMIT}", pickle.len()));
    }
    Ok(pickle)
}

#[cfg(test)]
mod tests;
