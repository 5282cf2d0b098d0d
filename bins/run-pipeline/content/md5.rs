//! A hash as `dvc.lock` and the names of DVC's cache have it.

/// The text of a hash; `….dir` for a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Md5 {
    pub text: String,
    /// Taken by DVC 2, which left the carriage returns of text files out.
    pub legacy: bool,
}

impl Md5 {
    /// A hash of DVC 3.
    pub fn of(text: &str) -> Self {
        Self { text: text.into(), legacy: false }
    }
}
