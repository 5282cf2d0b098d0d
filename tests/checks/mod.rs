//! What golden cases are checked with: the case itself, its tensors, comparisons with texts that help.
//!
//! Each system has one table of kinds ([`leap::KINDS`]); the checks behind it lie in files beside it.

// Checks take from this module what they need.
#![allow(dead_code, unused_imports)]

mod compare;
mod tensors;

pub mod icecube;
pub mod leap;
pub mod polarmae;
pub mod sizes;
pub mod tracknet;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use tch::Device;

pub use compare::{Comparison, compare, compare_absolute, compare_values, equal_lists};
pub use tensors::Tensors;

/// Where networks run: on the CPU, or where `PODIUM_GOLDEN_DEVICE` says (`cuda`), with ten times the tolerance then.
pub fn device() -> Device {
    static CHOSEN: OnceLock<Device> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("PODIUM_GOLDEN_DEVICE").unwrap_or_else(|_| "cpu".into());
        neural::device::choose(&name).unwrap_or_else(|e| panic!("PODIUM_GOLDEN_DEVICE={name}: {e}"))
    })
}

/// What sums in another order cost.
const GPU_TOLERANCE: f64 = 10.0;

/// The first number behind some words of a sentence: 1e-5 in `per column <= 1e-5`.
pub fn said(sentence: &str, words: &str) -> Result<f64> {
    let begin = sentence.find(words).ok_or_else(|| anyhow!("`{sentence}` does not say `{words}`"))? + words.len();
    let rest = &sentence[begin..];
    let start = rest.find(|c: char| c.is_ascii_digit()).ok_or_else(|| anyhow!("no number behind `{words}`"))?;
    let number = &rest[start..];
    let end = number.find(|c: char| !(c.is_ascii_digit() || ".e-".contains(c))).unwrap_or(number.len());
    let number = number[..end].trim_end_matches(['.', '-']);
    number.parse().with_context(|| format!("`{number}` in `{sentence}`"))
}

/// A check of one case.
pub type Check = fn(&Case) -> Result<()>;

/// Beginning of the paths of a kind of cases, and the check that they get.
pub type Kind = (&'static str, Check);

/// One golden case: a folder and its `case.yaml`.
pub struct Case {
    /// Name of the folder (the last part of its path).
    pub name: String,
    /// Where the case's files lie; all paths in `case.yaml` count from here.
    pub folder: PathBuf,
    /// Content of `case.yaml`.
    pub yaml: Value,
}

impl Case {
    /// Reads `folder/case.yaml`.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("case.yaml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading `{}`", path.display()))?;
        // Numbers that are not finite are no JSON; a case names them in places that no check reads as numbers.
        let text: String = text.lines().map(|line| line.replace(": .inf", ": \".inf\"") + "\n").collect();
        let yaml = serde_saphyr::from_str(&text).with_context(|| format!("parsing `{}`", path.display()))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, folder: folder.to_path_buf(), yaml })
    }

    /// A file of the case.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.join(relative)
    }

    /// Whether the case has this file.
    pub fn has_file(&self, relative: &str) -> bool {
        self.path(relative).is_file()
    }

    /// A text file of the case.
    pub fn text(&self, relative: &str) -> Result<String> {
        let path = self.path(relative);
        std::fs::read_to_string(&path).with_context(|| format!("reading `{}`", path.display()))
    }

    /// All tensors of a safetensors file of the case.
    pub fn tensors(&self, relative: &str) -> Result<Tensors> {
        Tensors::read(&self.path(relative))
    }

    /// The folder with the normalisation constants (`normalisation: ../norm`).
    pub fn normalisation(&self) -> Result<PathBuf> {
        Ok(self.path(self.str("normalisation")?))
    }

    /// The value under a dotted key, if it is there and not null.
    pub fn find(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.yaml, |at, part| at.get(part)).filter(|v| !v.is_null())
    }

    /// The value under a dotted key.
    pub fn value(&self, key: &str) -> Result<&Value> {
        self.find(key).ok_or_else(|| anyhow!("`case.yaml` has no `{key}`"))
    }

    /// A number.
    pub fn f64(&self, key: &str) -> Result<f64> {
        let value = self.value(key)?;
        let number = value.as_f64().ok_or_else(|| anyhow!("`{key}` is {value}, expected a number"))?;
        let looser = key.contains("tolerance") && device() != Device::Cpu;
        Ok(if looser { number * GPU_TOLERANCE } else { number })
    }

    /// A number that may be missing.
    pub fn f64_or(&self, key: &str, default: f64) -> Result<f64> {
        if self.find(key).is_some() { self.f64(key) } else { Ok(default) }
    }

    /// A number that is not negative and whole.
    pub fn usize(&self, key: &str) -> Result<usize> {
        let value = self.value(key)?;
        let whole = value.as_u64().and_then(|n| usize::try_from(n).ok());
        whole.ok_or_else(|| anyhow!("`{key}` is {value}, expected a whole number"))
    }

    /// A text.
    pub fn str(&self, key: &str) -> Result<&str> {
        let value = self.value(key)?;
        value.as_str().ok_or_else(|| anyhow!("`{key}` is {value}, expected a text"))
    }

    /// Yes or no.
    pub fn bool(&self, key: &str) -> Result<bool> {
        let value = self.value(key)?;
        value.as_bool().ok_or_else(|| anyhow!("`{key}` is {value}, expected true or false"))
    }

    /// A list of numbers.
    pub fn f64s(&self, key: &str) -> Result<Vec<f64>> {
        self.list(key, Value::as_f64)
    }

    /// A list of whole numbers.
    pub fn i64s(&self, key: &str) -> Result<Vec<i64>> {
        self.list(key, Value::as_i64)
    }

    /// A list of texts.
    pub fn strings(&self, key: &str) -> Result<Vec<String>> {
        self.list(key, |v| v.as_str().map(str::to_owned))
    }

    fn list<T>(&self, key: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>> {
        let value = self.value(key)?;
        let items = value.as_array().and_then(|list| list.iter().map(read).collect());
        items.ok_or_else(|| anyhow!("`{key}` is {value}, expected a list"))
    }
}
