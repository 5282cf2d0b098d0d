//! numpy arrays and pandas data frames inside of pickles, as far as published files hold them.

use super::machine::{Id, Node};
use super::rebuild::NumpyDtype;
use super::{Kind, Value};
use crate::error::Result;

/// What the pickle says about a numpy array; filled by its state.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) dtype: Option<NumpyDtype>,
    pub(super) shape: Vec<usize>,
    pub(super) fortran: bool,
    /// Bytes, or a list of objects.
    pub(super) data: Option<Id>,
}

/// A numpy array in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements.
    pub column: Column,
}

/// Elements of one type.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Integers and bools.
    Ints(Vec<i64>),
    /// Floats.
    Floats(Vec<f64>),
    /// Texts; a missing one is empty.
    Texts(Vec<String>),
}

impl Column {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Ints(v) => v.len(),
            Self::Floats(v) => v.len(),
            Self::Texts(v) => v.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn row(&self, begin: usize, end: usize) -> Self {
        match self {
            Self::Ints(v) => Self::Ints(v[begin..end].to_vec()),
            Self::Floats(v) => Self::Floats(v[begin..end].to_vec()),
            Self::Texts(v) => Self::Texts(v[begin..end].to_vec()),
        }
    }

    fn transposed(&self, shape: &[usize]) -> Self {
        fn turned<T: Clone>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
            (0..rows * columns).map(|i| values[(i % columns) * rows + i / columns].clone()).collect()
        }
        let [rows, columns] = *shape else { return self.clone() };
        match self {
            Self::Ints(v) => Self::Ints(turned(v, rows, columns)),
            Self::Floats(v) => Self::Floats(turned(v, rows, columns)),
            Self::Texts(v) => Self::Texts(turned(v, rows, columns)),
        }
    }
}

impl<'a> Value<'a> {
    /// A numpy array of numbers or texts.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for anything else, or where shape, dtype and data do not fit each other.
    pub fn array(self) -> Result<Array> {
        let Node::Array(parts) = self.node() else { return Err(self.not("a numpy array")) };
        let (Some(dtype), Some(data)) = (&parts.dtype, parts.data) else {
            return Err(self.bad("a numpy array has no content".into()));
        };
        let elements = parts.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let misfit = || self.bad(format!("an array of shape {:?} does not fit its data", parts.shape));
        let elements = elements.ok_or_else(misfit)?;
        let data = self.with(data);
        let column = match data.kind() {
            Kind::Bytes(bytes) => {
                let width = width(dtype).ok_or_else(|| self.bad(format!("an array of the dtype `{}`", dtype.code)))?;
                if elements.checked_mul(width) != Some(bytes.len()) {
                    return Err(misfit());
                }
                numbers(dtype, bytes.chunks_exact(width)).ok_or_else(misfit)?
            }
            Kind::List if dtype.code.starts_with('O') => {
                let mut texts = Vec::new();
                for item in data.items() {
                    texts.push(if item.kind() == Kind::None { String::new() } else { item.text()?.to_owned() });
                }
                Column::Texts(texts)
            }
            _ => return Err(misfit()),
        };
        if column.len() != elements || (parts.fortran && parts.shape.len() > 2) {
            return Err(misfit());
        }
        let column = if parts.fortran { column.transposed(&parts.shape) } else { column };
        Ok(Array { shape: parts.shape.clone(), column })
    }

    /// A pandas data frame with text labels: its columns in order.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for anything else, and for frames with columns that are neither numbers nor texts.
    pub fn data_frame(self) -> Result<Vec<(String, Column)>> {
        let not = || self.not("a pandas data frame");
        let (class, _, state) = self.object().ok_or_else(not)?;
        if class != "pandas.core.frame.DataFrame" {
            return Err(not());
        }
        let manager = state.and_then(|state| state.get("_mgr")).ok_or_else(not)?;
        let (class, args, _) = manager.object().ok_or_else(not)?;
        let (Some(blocks), Some(axes)) = (args.items().next(), args.items().nth(1)) else { return Err(not()) };
        let Some(labels) = axes.items().next().filter(|_| class.ends_with(".BlockManager")) else { return Err(not()) };
        let labels = labels.index_labels()?;
        let mut columns: Vec<Option<Column>> = vec![None; labels.len()];
        for block in blocks.items() {
            let (class, args, _) = block.object().ok_or_else(not)?;
            let parts: Vec<_> = args.items().collect();
            let ([values, placement, _], true) = (&parts[..], class.ends_with("._unpickle_block")) else {
                return Err(not());
            };
            let array = values.array()?;
            let [rows, length] = array.shape[..] else { return Err(not()) };
            let places = placement.places(columns.len())?;
            if places.len() != rows {
                return Err(self.bad(format!("a block of {rows} columns has {} places", places.len())));
            }
            for (row, place) in places.into_iter().enumerate() {
                let Some(slot @ None) = columns.get_mut(place) else {
                    return Err(self.bad(format!("the column {place} of a data frame is misplaced")));
                };
                *slot = Some(array.column.row(row * length, (row + 1) * length));
            }
        }
        let mut frame = Vec::with_capacity(labels.len());
        for (label, column) in labels.into_iter().zip(columns) {
            let column = column.ok_or_else(|| self.bad(format!("the column `{label}` has no values")))?;
            frame.push((label, column));
        }
        if frame.windows(2).any(|pair| pair[0].1.len() != pair[1].1.len()) {
            return Err(self.bad("the columns of a data frame differ in length".into()));
        }
        Ok(frame)
    }

    /// Class, arguments and state of an inert object.
    fn object(self) -> Option<(&'a str, Self, Option<Self>)> {
        let Node::Object(object) = self.node() else { return None };
        Some((&object.class, self.with(object.args), object.state.map(|state| self.with(state))))
    }

    /// Labels of `pandas.core.indexes.base._new_Index(Index, {'data': array, 'name': …})`.
    fn index_labels(self) -> Result<Vec<String>> {
        let labels = self.object().and_then(|(_, args, _)| args.items().nth(1)).and_then(|state| state.get("data"));
        match labels.ok_or_else(|| self.not("a pandas index of names"))?.array()?.column {
            Column::Texts(labels) => Ok(labels),
            _ => Err(self.bad("the columns of a data frame have no names".into())),
        }
    }

    /// Places of the columns of a block: `slice(start, stop, step)` or an array of numbers.
    fn places(self, columns: usize) -> Result<Vec<usize>> {
        let bad = || self.bad("the places of a block are damaged".into());
        let places: Vec<i64> = if let Some((class, args, _)) = self.object() {
            let bounds: Vec<_> = args.items().map(Value::int).collect::<Result<_>>()?;
            let ([start, stop, step], true) = (&bounds[..], class.ends_with(".slice")) else { return Err(bad()) };
            if *step <= 0 || *start < 0 || *stop > columns as i64 {
                return Err(bad());
            }
            (*start..*stop).step_by(*step as usize).collect()
        } else {
            let Column::Ints(places) = self.array()?.column else { return Err(bad()) };
            places
        };
        places.into_iter().map(|place| usize::try_from(place).map_err(|_| bad())).collect()
    }
}

/// Bytes an element of a dtype of numbers.
fn width(dtype: &NumpyDtype) -> Option<usize> {
    match &*dtype.code {
        "f8" | "i8" | "u8" => Some(8),
        "f4" | "i4" | "u4" => Some(4),
        "i2" | "u2" => Some(2),
        "i1" | "u1" | "b1" => Some(1),
        _ => None,
    }
}

/// One number as a node.
pub(super) fn number(dtype: &NumpyDtype, bytes: &[u8]) -> Option<Node> {
    if width(dtype)? != bytes.len() {
        return None;
    }
    match numbers(dtype, std::iter::once(bytes))? {
        Column::Ints(values) => values.first().map(|&v| Node::Int(v)),
        Column::Floats(values) => values.first().map(|&v| Node::Float(v)),
        Column::Texts(_) => None,
    }
}

fn numbers<'b>(dtype: &NumpyDtype, elements: impl Iterator<Item = &'b [u8]>) -> Option<Column> {
    let kind = dtype.code.chars().next()?;
    // Every element as eight little-endian bytes with its sign extended.
    let words = elements.map(|element| {
        let mut bytes = [0; 8];
        bytes[..element.len()].copy_from_slice(element);
        if dtype.big_endian {
            bytes[..element.len()].reverse();
        }
        let unused = 64 - 8 * element.len() as u32;
        let word = u64::from_le_bytes(bytes);
        (word, ((word << unused) as i64) >> unused)
    });
    match (kind, &*dtype.code) {
        ('i', _) => Some(Column::Ints(words.map(|(_, signed)| signed).collect())),
        ('u' | 'b', _) => words.map(|(word, _)| i64::try_from(word).ok()).collect::<Option<_>>().map(Column::Ints),
        (_, "f8") => Some(Column::Floats(words.map(|(word, _)| f64::from_bits(word)).collect())),
        (_, "f4") => Some(Column::Floats(words.map(|(word, _)| f64::from(f32::from_bits(word as u32))).collect())),
        _ => None,
    }
}
