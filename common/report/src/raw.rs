//! Blocks that a script of their own draws: scenes in three dimensions, views of events.

use serde_json::Value;

/// A block whose inside is drawn by a module of script; the crate's documentation says what the module is handed.
#[derive(Debug, Clone)]
pub struct Raw {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) module: &'static str,
    pub(crate) scripts: Vec<&'static str>,
    pub(crate) style: &'static str,
    pub(crate) data: Value,
    pub(crate) aspect: (u32, u32),
}

impl Raw {
    /// A block drawn by the module `module`, which `script` registers.
    pub fn new(title: impl Into<String>, module: &'static str, script: &'static str, data: Value) -> Self {
        let (title, note) = (title.into(), String::new());
        Self { title, note, module, scripts: vec![script], style: "", data, aspect: (16, 10) }
    }

    /// A script that must be there before the module's own, such as a drawing kit that several modules share.
    #[must_use]
    pub fn after(mut self, script: &'static str) -> Self {
        self.scripts.insert(self.scripts.len() - 1, script);
        self
    }

    /// Rules of style, put into the page once.
    #[must_use]
    pub fn style(mut self, style: &'static str) -> Self {
        self.style = style;
        self
    }

    /// A line below the title.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Width to height of the stage; 16 to 10 unless said. `(0, 0)`: as high as what the module puts into it.
    #[must_use]
    pub fn aspect(mut self, width: u32, height: u32) -> Self {
        self.aspect = (width, height);
        self
    }
}

/// 32-bit floats as base64 of their little-endian bytes: a third of the size of digits. `kit.floats` reads them.
pub fn floats(values: &[f32]) -> String {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    bytes(&raw)
}

/// Bytes as base64 (RFC 4648, padded). `kit.bytes` reads them.
pub fn bytes(values: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(values.len().div_ceil(3) * 4);
    for three in values.chunks(3) {
        let word = three.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_base64_with_padding() {
        // The vectors of RFC 4648, section 10.
        let vectors = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (length, expected) in vectors.iter().enumerate() {
            assert_eq!(bytes(&b"foobar"[..length]), *expected);
        }
        assert_eq!(floats(&[1.0]), "AACAPw==");
    }
}
