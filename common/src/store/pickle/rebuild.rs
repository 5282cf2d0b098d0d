//! The calls that are understood. Everything else becomes an inert object.

use super::array::Parts;
use super::machine::{Id, Node, Object, State};
use super::tensor::Tensor;
use crate::store::dtype::Dtype;

/// Longest name of a class that an inert object keeps.
const NAME_LIMIT: usize = 512;

/// Element type of a numpy array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NumpyDtype {
    /// `i8`, `f4`, `O8`, … as numpy writes it.
    pub(super) code: Box<str>,
    pub(super) big_endian: bool,
}

/// A function or class called with arguments.
pub(super) fn call(state: &mut State<'_>, class: Id, args: Id) -> Result<Id, String> {
    let Node::Global(name) = state.node(class) else {
        return Err(format!("{} is called, expected a name", state.node(class).describe()));
    };
    let name = name.clone();
    let given = state.tuple(args)?.to_vec();
    let node = match (&*name, &given[..]) {
        ("collections.OrderedDict" | "builtins.dict" | "__builtin__.dict", [])
        | (
            "lightning_fabric.utilities.data.AttributeDict"
            | "pytorch_lightning.utilities.parsing.AttributeDict"
            | "lightning.fabric.utilities.data.AttributeDict",
            [],
        )
        | ("collections.defaultdict", [_] | []) => Node::Dict(Vec::new()),
        ("collections.OrderedDict" | "builtins.dict" | "__builtin__.dict", [pairs]) => ordered(state, *pairs)?,
        ("builtins.set" | "__builtin__.set" | "builtins.frozenset" | "__builtin__.frozenset", [items]) => {
            match state.node(*items) {
                Node::List(items) | Node::Tuple(items) => copied_list(state, items.clone())?,
                other => return Err(format!("a set of {}, expected a list", other.describe())),
            }
        }
        ("torch.Size", [items]) => Node::Tuple(state.tuple(*items)?.to_vec()),
        ("torch._utils._rebuild_tensor_v2", [storage, offset, shape, strides, ..])
        | ("torch._utils._rebuild_tensor", [storage, offset, shape, strides]) => {
            tensor(state, *storage, *offset, *shape, *strides)?
        }
        ("torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state", [data, ..]) => {
            return match state.node(*data) {
                Node::Tensor(_) => Ok(*data),
                other => Err(format!("a parameter of {}, expected a tensor", other.describe())),
            };
        }
        ("_codecs.encode", [text, encoding]) => encoded(state, *text, *encoding)?,
        ("numpy.dtype", [code, ..]) => {
            let code = state.text(*code)?;
            if code.len() > 16 {
                return Err("the name of a dtype is too long".into());
            }
            Node::Dtype(Box::new(NumpyDtype { code: code.into(), big_endian: false }))
        }
        ("numpy._core.multiarray._reconstruct" | "numpy.core.multiarray._reconstruct", [subtype, ..]) => {
            match state.node(*subtype) {
                Node::Global(name) if **name == *"numpy.ndarray" => Node::Array(Box::default()),
                other => return Err(format!("an array of the class {}, expected `numpy.ndarray`", other.describe())),
            }
        }
        ("numpy._core.multiarray.scalar" | "numpy.core.multiarray.scalar", [dtype, bytes]) => {
            scalar(state, *dtype, *bytes)?
        }
        _ => {
            if name.len() > NAME_LIMIT {
                return Err(format!("the name of a class has {} bytes", name.len()));
            }
            state.made(name.len())?;
            Node::Object(Box::new(Object { class: name, args, state: None }))
        }
    };
    state.make(node)
}

/// `__setstate__`, or what comes in its place.
pub(super) fn build(state: &mut State<'_>, target: Id, given: Id) -> Result<(), String> {
    match state.node(target) {
        Node::Array(_) => {
            let [_, shape, dtype, fortran, data] = state.tuple(given)? else {
                return Err("the state of an array has another length than 5".into());
            };
            let (shape, dtype, fortran, data) = (*shape, *dtype, *fortran, *data);
            let sizes = state.tuple(shape)?.to_vec();
            let mut shape = Vec::with_capacity(sizes.len());
            for size in sizes {
                let size = state.int(size)?;
                shape.push(usize::try_from(size).map_err(|_| format!("an array has the side {size}"))?);
            }
            let Node::Bool(fortran) = *state.node(fortran) else {
                return Err("the order of an array is no bool".into());
            };
            let Node::Dtype(dtype) = state.node(dtype) else {
                return Err(format!("the dtype of an array is {}", state.node(dtype).describe()));
            };
            let parts = Parts { dtype: Some((**dtype).clone()), shape, fortran, data: Some(data) };
            state.nodes[target as usize] = Node::Array(Box::new(parts));
        }
        Node::Dtype(_) => {
            let order = *state.tuple(given)?.get(1).ok_or("the state of a dtype is too short")?;
            let big = match state.text(order)? {
                ">" => true,
                "<" | "|" | "=" => false,
                other => return Err(format!("the byte order `{other}` is unknown")),
            };
            if let Node::Dtype(dtype) = &mut state.nodes[target as usize] {
                dtype.big_endian = big;
            }
        }
        Node::Object(_) => {
            if let Node::Object(object) = &mut state.nodes[target as usize] {
                object.state = Some(given);
            }
        }
        // State dicts carry `_metadata` (versions of modules), parameters carry hooks: neither changes a number.
        Node::Dict(_) | Node::Tensor(_) => {}
        other => return Err(format!("a state is set on {}", other.describe())),
    }
    Ok(())
}

/// A persistent id: `('storage', type, key, location, elements)`.
pub(super) fn storage(state: &mut State<'_>, id: Id) -> Result<Node, String> {
    let [kind, class, key, _, elements] = state.tuple(id)? else {
        return Err("a persistent id has another length than 5".into());
    };
    if state.text(*kind)? != "storage" {
        return Err("a persistent id is no storage".into());
    }
    let Node::Global(class) = state.node(*class) else {
        return Err("the type of a storage is no name".into());
    };
    let dtype = match &**class {
        "torch.FloatStorage" => Dtype::F32,
        "torch.DoubleStorage" => Dtype::F64,
        "torch.HalfStorage" => Dtype::F16,
        "torch.BFloat16Storage" => Dtype::BF16,
        "torch.LongStorage" => Dtype::I64,
        "torch.IntStorage" => Dtype::I32,
        "torch.ByteStorage" | "torch.storage.UntypedStorage" => Dtype::U8,
        "torch.ShortStorage" => Dtype::I16,
        "torch.BoolStorage" => Dtype::Bool,
        other => return Err(format!("storages of the type `{other}` are not supported")),
    };
    let elements = state.int(*elements)?;
    let elements = u64::try_from(elements).map_err(|_| format!("a storage has {elements} elements"))?;
    let key: Box<str> = state.text(*key)?.into();
    if key.len() > NAME_LIMIT {
        return Err("the key of a storage is too long".into());
    }
    state.made(key.len())?;
    Ok(Node::Storage { key, dtype, elements, place: 0 })
}

fn tensor(state: &State<'_>, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<Node, String> {
    let Node::Storage { elements, .. } = state.node(storage) else {
        return Err(format!("a tensor over {}, expected a storage", state.node(storage).describe()));
    };
    let sizes = |id: Id| -> Result<Vec<usize>, String> {
        let items = state.tuple(id)?;
        if items.len() > 64 {
            return Err(format!("a tensor has {} dimensions", items.len()));
        }
        let size = |&id: &Id| {
            let value = state.int(id)?;
            usize::try_from(value).map_err(|_| format!("a tensor has the size or stride {value}"))
        };
        items.iter().map(size).collect()
    };
    let tensor = Tensor { storage, offset: 0, shape: sizes(shape)?, strides: sizes(strides)? };
    let offset = state.int(offset)?;
    let offset = usize::try_from(offset).map_err(|_| format!("a tensor has the offset {offset}"))?;
    let tensor = Tensor { offset, ..tensor };
    tensor.check(*elements)?;
    Ok(Node::Tensor(Box::new(tensor)))
}

/// `OrderedDict([[key, value], …])`.
fn ordered(state: &mut State<'_>, pairs: Id) -> Result<Node, String> {
    let entries = match state.node(pairs) {
        Node::Dict(entries) => entries.clone(),
        Node::List(items) => {
            let mut entries = Vec::with_capacity(items.len());
            for &item in items {
                match state.node(item) {
                    Node::List(pair) if pair.len() == 2 => entries.push((pair[0], pair[1])),
                    Node::Tuple(pair) if pair.len() == 2 => entries.push((pair[0], pair[1])),
                    other => return Err(format!("{} stands where a pair is expected", other.describe())),
                }
            }
            entries
        }
        other => return Err(format!("a dictionary is made of {}", other.describe())),
    };
    state.made(entries.len().saturating_mul(8))?;
    Ok(Node::Dict(entries))
}

fn copied_list(state: &mut State<'_>, items: Vec<Id>) -> Result<Node, String> {
    state.made(items.len().saturating_mul(4))?;
    Ok(Node::List(items))
}

/// `_codecs.encode(text, 'latin1')`: how protocol 2 writes bytes.
fn encoded(state: &mut State<'_>, text: Id, encoding: Id) -> Result<Node, String> {
    if state.text(encoding)? != "latin1" {
        return Err(format!("the encoding `{}` is not supported", state.text(encoding)?));
    }
    let bytes: Option<Box<[u8]>> = state.text(text)?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    let bytes = bytes.ok_or("a text is no latin-1")?;
    state.made(bytes.len())?;
    Ok(Node::Bytes(bytes))
}

fn scalar(state: &State<'_>, dtype: Id, bytes: Id) -> Result<Node, String> {
    let (Node::Dtype(dtype), Node::Bytes(bytes)) = (state.node(dtype), state.node(bytes)) else {
        return Err("a numpy scalar needs a dtype and bytes".into());
    };
    super::array::number(dtype, bytes).ok_or_else(|| format!("a numpy scalar of the dtype `{}`", dtype.code))
}
