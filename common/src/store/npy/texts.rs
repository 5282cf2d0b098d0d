//! Lists of texts: numpy's `<U8` (UTF-32, padded with zeros) and `|S8` (bytes).

use std::path::Path;

use super::{described, header_text};
use crate::error::{Error, Result};
use crate::store::map::Mapped;

/// The texts of a `.npy` file; none where it holds something else.
///
/// # Errors
/// [`Error::Input`] where the file is damaged or the array has several columns.
pub fn npy_texts(path: impl AsRef<Path>) -> Result<Option<Vec<String>>> {
    let mapped = Mapped::open(&path)?;
    of(mapped.bytes()).map_err(|problem| Error::input(&path, problem))
}

/// The texts of an array with its header.
pub(super) fn of(bytes: &[u8]) -> Result<Option<Vec<String>>, String> {
    let (text, begin) = header_text(bytes)?;
    let Ok((descr, _, shape)) = described(text) else { return Ok(None) };
    let (wide, size) = match descr.trim_start_matches(['<', '>', '|', '=']).split_at_checked(1) {
        Some(("U", count)) => (true, count),
        Some(("S", count)) => (false, count),
        _ => return Ok(None),
    };
    let size: usize = size.parse().map_err(|_| format!("has the dtype `{descr}`, which is not understood"))?;
    let rows = match *shape {
        [rows] | [rows, 1] => rows,
        _ => return Err(format!("the texts have shape {shape:?}, expected [rows]")),
    };
    let width = size * if wide { 4 } else { 1 };
    let needed = width.checked_mul(rows).ok_or_else(|| format!("has the impossible shape {shape:?}"))?;
    let data = bytes.get(begin..begin + needed).ok_or_else(|| {
        format!("truncated: shape {shape:?} needs {needed} bytes of data, found {}", bytes.len() - begin)
    })?;
    if width == 0 {
        return Ok(Some(vec![String::new(); rows]));
    }
    let big = descr.starts_with('>');
    let one = |(row, cell): (usize, &[u8])| -> Result<String, String> {
        let bad = || format!("row {row}: the text is no Unicode");
        if !wide {
            let end = cell.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1);
            return String::from_utf8(cell[..end].to_vec()).map_err(|_| bad());
        }
        let code = |b: &[u8; 4]| if big { u32::from_be_bytes(*b) } else { u32::from_le_bytes(*b) };
        let codes: Vec<u32> = cell.as_chunks::<4>().0.iter().map(code).collect();
        let end = codes.iter().rposition(|&c| c != 0).map_or(0, |at| at + 1);
        codes[..end].iter().map(|&c| char::from_u32(c).ok_or_else(bad)).collect()
    };
    data.chunks_exact(width).enumerate().map(one).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn texts_of_both_kinds_lose_their_padding() {
        let wide = |codes: &[u32], bytes: fn(u32) -> [u8; 4]| codes.iter().flat_map(|c| bytes(*c)).collect::<Vec<u8>>();
        let codes = [0x61, 0x1f989, 0x62, 0];
        let expected = Some(vec!["a\u{1f989}".to_string(), "b".to_string()]);
        assert_eq!(of(&array("<U2", "(2,)", &wide(&codes, u32::to_le_bytes))).unwrap(), expected);
        assert_eq!(of(&array(">U2", "(2, 1)", &wide(&codes, u32::to_be_bytes))).unwrap(), expected);
        assert_eq!(of(&array("|S3", "(2,)", b"ab\0c\0\0")).unwrap(), Some(vec!["ab".into(), "c".into()]));
        assert_eq!(of(&array("<f8", "(1,)", &[0; 8])).unwrap(), None);
        assert!(of(&array("<U2", "(2, 2)", &[0; 32])).unwrap_err().contains("expected [rows]"));
        assert!(of(&array("<U2", "(9,)", &[0; 8])).unwrap_err().contains("truncated"));
    }
}
