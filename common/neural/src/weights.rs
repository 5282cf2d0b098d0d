//! Reading, checking and writing weights.
//!
//! `tch`'s own loading casts to the file's dtype, broadcasts, and ignores what it does not know. Here nothing is cast,
//! broadcast or skipped: every difference is reported by name, and unless the caller allowed it by name, nothing is
//! changed at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::durable::Written;
use common::store::pickle::{Checkpoint, NamedTensor, write_state_dict};
use common::store::tensors::{Dtype, TensorFile, TensorView};
use common::{Error, Result};
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::errors::Doing;

/// Prefix that data-parallel training puts before every name.
const MODULE: &str = "module.";

/// All tensors of a weights file (safetensors, or what `torch.save` wrote), on the CPU, in the order of the file. A
/// `module.` before every name is stripped. Nothing in the file is ever run.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    let path = path.as_ref();
    let tensors = match path.extension().and_then(|e| e.to_str()) {
        Some("safetensors") => read_safetensors(path)?,
        Some("pt" | "pth" | "ckpt" | "bin") => read_pickle(path)?,
        _ => {
            return Err(Error::input(path, "not a weights file, expected `.safetensors`, `.pt`, `.pth` or `.ckpt`"));
        }
    };
    Ok(strip_module(tensors))
}

/// The metadata of a safetensors file written by [`save`]: what the checkpoint was trained as.
pub fn metadata(path: impl AsRef<Path>) -> Result<Option<Value>> {
    Ok(TensorFile::open(path)?.metadata().cloned())
}

fn read_safetensors(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let file = TensorFile::open(path)?;
    let mut tensors = Vec::new();
    for name in file.names() {
        let tensor = from_bytes(file.bytes(name)?, file.shape(name)?, kind_of(file.dtype(name)?))
            .doing(format!("`{}`: reading `{name}`", path.display()))?;
        tensors.push((name.to_string(), tensor));
    }
    Ok(tensors)
}

fn read_pickle(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let checkpoint = Checkpoint::open(path)?;
    let mut tensors = Vec::new();
    for NamedTensor { name, dtype, shape, bytes } in checkpoint.tensors()? {
        let tensor =
            from_bytes(&bytes, &shape, kind_of(dtype)).doing(format!("`{}`: reading `{name}`", path.display()))?;
        tensors.push((name.into_owned(), tensor));
    }
    Ok(tensors)
}

/// Copies little-endian, row-major bytes; their number has been checked by the reader.
fn from_bytes(bytes: &[u8], shape: &[usize], kind: Kind) -> Result<Tensor, tch::TchError> {
    let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    Tensor::f_from_data_size(bytes, &shape, kind)
}

fn strip_module(tensors: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    if !tensors.iter().all(|(name, _)| name.starts_with(MODULE)) {
        return tensors;
    }
    tensors.into_iter().map(|(name, tensor)| (name[MODULE.len()..].to_string(), tensor)).collect()
}

/// Differences that the caller accepts. Each entry is a name, or the beginning of names when it ends with `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    /// Tensors of the model that the file need not have; they keep their values.
    pub missing: Vec<String>,
    /// Tensors of the file that the model need not have.
    pub unexpected: Vec<String>,
    /// Tensors of the file that are left out before comparing, although the model may have them. Each entry must
    /// match something, so that a typing mistake does not pass.
    pub dropped: Vec<String>,
}

/// What a strict load did. All lists are sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Names that were loaded.
    pub loaded: Vec<String>,
    /// Allowed: names of the model that the source did not have.
    pub missing: Vec<String>,
    /// Allowed: names of the source that the model does not have.
    pub unexpected: Vec<String>,
    /// Allowed: names of the source that were left out on purpose.
    pub dropped: Vec<String>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tensors loaded", self.loaded.len())?;
        for (names, what) in [(&self.missing, "kept"), (&self.unexpected, "ignored"), (&self.dropped, "dropped")] {
            if !names.is_empty() {
                write!(f, ", {} {what}: {}", names.len(), listed(names))?;
            }
        }
        Ok(())
    }
}

/// Reads a weights file and copies it into `targets` (see [`load_strict`]). Differences are an input error.
pub fn load(targets: &[(String, Tensor)], path: impl AsRef<Path>, allow: &Allow) -> Result<Report> {
    load_prefixed(targets, path, "", allow)
}

/// As [`load`], where `prefix` may stand before all names of the file.
pub fn load_prefixed(
    targets: &[(String, Tensor)],
    path: impl AsRef<Path>,
    prefix: &str,
    allow: &Allow,
) -> Result<Report> {
    let mut source = read(&path)?;
    if source.iter().all(|(name, _)| name.starts_with(prefix)) {
        source.iter_mut().for_each(|(name, _)| drop(name.drain(..prefix.len())));
    }
    load_strict(targets, &source, allow).map_err(|error| match error {
        Error::Failed { message, hint } => Error::Input { path: path.as_ref().to_path_buf(), problem: message, hint },
        other => other,
    })
}

/// Copies `source` into `targets` by name. Missing, unexpected, mis-shaped and mis-typed tensors are all named in one
/// error, and then no target has been touched. `[1]` and `[N]` are different shapes; f16 and f32 are different types.
pub fn load_strict(targets: &[(String, Tensor)], source: &[(String, Tensor)], allow: &Allow) -> Result<Report> {
    let targets = by_name(targets, "the model")?;
    let mut source = by_name(source, "the weights")?;
    let mut report = Report::default();

    for pattern in &allow.dropped {
        let found: Vec<&str> = source.keys().copied().filter(|name| matches(pattern, name)).collect();
        if found.is_empty() {
            return Err(Error::failed(format!("no tensor `{pattern}` to drop")).hint(
                near(pattern, source.keys().copied()).map_or_else(
                    || "the names are those of the checkpoint, without `module.`".to_string(),
                    |name| format!("did you mean `{name}`?"),
                ),
            ));
        }
        for name in found {
            source.remove(name);
            report.dropped.push(name.to_string());
        }
    }

    let dropped: BTreeSet<String> = report.dropped.iter().cloned().collect();
    let (mut missing, mut shapes, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for (&name, target) in &targets {
        match source.get(name) {
            None if dropped.contains(name) || allowed(&allow.missing, name) => report.missing.push(name.to_string()),
            None => missing.push(name),
            Some(found) if found.size() != target.size() => {
                shapes.push(format!("`{name}` {:?}, expected {:?}", found.size(), target.size()));
            }
            Some(found) if found.kind() != target.kind() => {
                kinds.push(format!("`{name}` {:?}, expected {:?}", found.kind(), target.kind()));
            }
            Some(_) => report.loaded.push(name.to_string()),
        }
    }
    let unknown: Vec<&str> = source.keys().copied().filter(|name| !targets.contains_key(name)).collect();
    let (ignored, unexpected): (Vec<&str>, Vec<&str>) =
        unknown.iter().copied().partition(|name| allowed(&allow.unexpected, name));
    report.unexpected = ignored.into_iter().map(str::to_string).collect();

    let mut problems = Vec::new();
    let mut add = |count: usize, what: &str, list: String| {
        if count > 0 {
            problems.push(format!("{count} {what}: {list}"));
        }
    };
    let suggested: Vec<String> = missing
        .iter()
        .map(|name| match near(name, unexpected.iter().copied()) {
            Some(other) => format!("`{name}` (the file has `{other}`)"),
            None => format!("`{name}`"),
        })
        .collect();
    add(missing.len(), "missing", shortened(&suggested));
    add(unexpected.len(), "unexpected", listed(&unexpected));
    add(shapes.len(), "of another shape", shortened(&shapes));
    add(kinds.len(), "of another type", shortened(&kinds));
    if !problems.is_empty() {
        return Err(Error::failed(format!(
            "the weights do not fit the model ({} of {} tensors do): {}",
            report.loaded.len(),
            targets.len(),
            problems.join("; ")
        ))
        .hint("use the config that the weights were trained with; nothing was loaded"));
    }

    for name in &report.loaded {
        let (target, found) = (targets[name.as_str()], source[name.as_str()]);
        tch::no_grad(|| target.shallow_clone().f_copy_(found)).doing(format!("loading `{name}`"))?;
    }
    Ok(report)
}

fn by_name<'a>(tensors: &'a [(String, Tensor)], whose: &str) -> Result<BTreeMap<&'a str, &'a Tensor>> {
    let mut map = BTreeMap::new();
    for (name, tensor) in tensors {
        if map.insert(name.as_str(), tensor).is_some() {
            return Err(Error::failed(format!("{whose} have the tensor `{name}` twice")));
        }
    }
    Ok(map)
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

fn allowed(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// The candidate that `name` was probably meant to be.
fn near<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates.map(|c| (strsim::normalized_damerau_levenshtein(name, c), c));
    scored.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1))).filter(|(s, _)| *s > 0.6).map(|(_, c)| c)
}

fn listed(names: &[impl AsRef<str>]) -> String {
    shortened(&names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>())
}

/// The first few items; a message is read by a person.
fn shortened(items: &[String]) -> String {
    const SHOWN: usize = 6;
    let more = items.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    items[..items.len() - more].join(", ") + &rest
}

/// Writes tensors of any device as safetensors. Equal tensors and metadata give equal bytes, in whatever order.
pub fn save(path: impl AsRef<Path>, tensors: &[(String, Tensor)], metadata: Option<&Value>) -> Result<Written> {
    let contents = contents(&path, tensors)?;
    let views: Vec<TensorView> = contents
        .iter()
        .map(|c| TensorView { name: c.name, dtype: c.dtype, shape: &c.shape, bytes: &c.bytes })
        .collect();
    common::store::tensors::write(path, &views, metadata)
}

/// Writes tensors as a state dict that `torch.load` reads, in the given order. Equal content gives equal bytes.
pub fn export(path: impl AsRef<Path>, tensors: &[(String, Tensor)]) -> Result<Written> {
    let named: Vec<NamedTensor> = contents(&path, tensors)?
        .into_iter()
        .map(|c| NamedTensor {
            name: Cow::Borrowed(c.name),
            dtype: c.dtype,
            shape: c.shape,
            bytes: Cow::Owned(c.bytes),
        })
        .collect();
    write_state_dict(path, &named)
}

/// A tensor's content on the CPU.
struct Content<'a> {
    name: &'a str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn contents<'a>(path: impl AsRef<Path>, tensors: &'a [(String, Tensor)]) -> Result<Vec<Content<'a>>> {
    by_name(tensors, "the weights")?;
    let content = |(name, tensor): &'a (String, Tensor)| {
        let dtype = dtype_of(tensor.kind()).ok_or_else(|| {
            Error::failed(format!("writing `{}`: `{name}` is {:?}", path.as_ref().display(), tensor.kind()))
        })?;
        let mut bytes = vec![0; tensor.numel() * dtype.size()];
        tensor
            .f_to_device(tch::Device::Cpu)
            .and_then(|t| t.f_contiguous())
            .and_then(|t| t.f_copy_data_u8(&mut bytes, tensor.numel()))
            .doing(format!("writing `{}`: copying `{name}`", path.as_ref().display()))?;
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        Ok(Content { name, dtype, shape, bytes })
    };
    tensors.iter().map(content).collect()
}

fn kind_of(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::U8 => Kind::Uint8,
        Dtype::I16 => Kind::Int16,
        Dtype::Bool => Kind::Bool,
    }
}

fn dtype_of(kind: Kind) -> Option<Dtype> {
    Dtype::ALL.into_iter().find(|&dtype| kind_of(dtype) == kind)
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
