//! Numbers as they are stored, as floats.

use super::{Float, NcType};

/// Stored numbers as floats, at the beginning of `values`.
pub(super) fn put<T: Float>(kind: NcType, bytes: &[u8], values: &mut [T]) {
    fn each<T: Float, const W: usize>(bytes: &[u8], values: &mut [T], wide: impl Fn([u8; W]) -> f64) {
        for (value, stored) in values.iter_mut().zip(bytes.as_chunks::<W>().0) {
            *value = T::rounded(wide(*stored));
        }
    }
    match kind {
        NcType::I8 => each(bytes, values, |b| f64::from(i8::from_le_bytes(b))),
        NcType::U8 => each(bytes, values, |b| f64::from(u8::from_le_bytes(b))),
        NcType::I16 => each(bytes, values, |b| f64::from(i16::from_le_bytes(b))),
        NcType::U16 => each(bytes, values, |b| f64::from(u16::from_le_bytes(b))),
        NcType::I32 => each(bytes, values, |b| f64::from(i32::from_le_bytes(b))),
        NcType::U32 => each(bytes, values, |b| f64::from(u32::from_le_bytes(b))),
        NcType::I64 => each(bytes, values, |b| i64::from_le_bytes(b) as f64),
        NcType::U64 => each(bytes, values, |b| u64::from_le_bytes(b) as f64),
        NcType::F32 => each(bytes, values, |b| f64::from(f32::from_le_bytes(b))),
        NcType::F64 => each(bytes, values, f64::from_le_bytes),
        NcType::Text | NcType::Other => {}
    }
}
