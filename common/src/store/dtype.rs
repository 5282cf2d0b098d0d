//! The element types of stored tensors.

use std::fmt;

use super::map::Plain;

/// Element type of a tensor. The names are those of safetensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// IEEE half.
    F16,
    /// Brain float: the upper half of an F32.
    BF16,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Unsigned byte.
    U8,
    /// One byte an element, 0 or 1.
    Bool,
}

impl Dtype {
    /// All element types.
    pub const ALL: [Self; 9] =
        [Self::F32, Self::F64, Self::F16, Self::BF16, Self::I64, Self::I32, Self::I16, Self::U8, Self::Bool];

    /// Bytes an element.
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::U8 | Self::Bool => 1,
        }
    }

    /// Name in a safetensors header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    /// The type with this safetensors name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// Bytes of a tensor of this type; `None` where the product overflows.
    pub fn bytes_for(self, shape: &[usize]) -> Option<usize> {
        // Overflow counts even beside a zero dimension: no reader should have to multiply such a shape again.
        let elements = shape.iter().filter(|&&d| d != 0).try_fold(1usize, |n, &d| n.checked_mul(d))?;
        let bytes = elements.checked_mul(self.size()).filter(|&n| isize::try_from(n).is_ok())?;
        Some(if shape.contains(&0) { 0 } else { bytes })
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Rust numbers that are stored as one [`Dtype`].
pub trait Element: Plain {
    /// The stored type.
    const DTYPE: Dtype;
}

macro_rules! element {
    ($($kind:ty => $dtype:ident),*) => {$(impl Element for $kind { const DTYPE: Dtype = Dtype::$dtype; })*};
}
element!(f32 => F32, f64 => F64, i64 => I64, i32 => I32, i16 => I16, u8 => U8);
