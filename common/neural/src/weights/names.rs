//! Where in a file a network's tensors lie, and under which names.
//!
//! Training scripts put a network into a dictionary (`state_dict`, `net`), wrap it (`module.`, `_orig_mod.`, `model.`) and
//! keep averaged copies beside it. All of this is something in front of the network's own names, and those are known: a
//! place fits when the names behind it are the network's. One that fits is taken and reported; of several, the one that is
//! no average is, aloud; anything else is left to `--prefix`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{Error, Result};
use tch::Tensor;

use super::MODULE;
use super::strict::{Allow, matches};

/// Other names for the tensors of a network.
pub struct Dialect {
    /// Whose they are, for messages.
    pub name: &'static str,
    /// Our name of a tensor; none for what is no part of the network.
    pub ours: fn(&str) -> Option<String>,
    /// Our values of a tensor of this (our) name.
    pub value: fn(&str, Tensor) -> Tensor,
}

impl Dialect {
    /// Other names, the same values.
    pub const fn renames(name: &'static str, ours: fn(&str) -> Option<String>) -> Self {
        Self { name, ours, value: |_, tensor| tensor }
    }
}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Parts of names that wrappers put in wherever they stand, and that never are a parameter's own.
const WRAPPERS: [&str; 3] = ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];
/// Words in the name of a dictionary that holds averages of weights.
const AVERAGES: [&str; 7] = ["ema", "swa", "avg", "average", "averaged", "averaging", "shadow"];
/// The commands that can be told.
const WITH_PREFIX: &str = "`convert-weights` (or of `train-model --init`)";
/// Dictionaries that usually are the network's.
const USUAL: [&str; 3] = ["state_dict.", "model_state_dict.", "model."];

/// What was found.
pub struct Place {
    /// Numbers of the file's tensors and our names for them.
    pub chosen: Vec<(usize, String)>,
    /// The names that the file uses.
    pub dialect: Option<&'static Dialect>,
    /// What has to be said.
    pub notes: Vec<String>,
}

/// One way to read the names of a file: what stands before them, and whose names they are (0: ours).
type Way = (usize, String);

/// Finds the network with the tensors `targets` among the names of a file.
pub fn place(path: &Path, names: &[&str], targets: &[(String, Tensor)], allow: &Allow) -> Result<Place> {
    let plain: Vec<String> = names.iter().map(|name| unwrapped(name)).collect();
    let wanted: BTreeSet<&str> = targets
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !allow.missing.iter().chain(&allow.dropped).any(|pattern| matches(pattern, name)))
        .collect();
    let ours = |dialect: usize, name: &str| match dialect {
        0 => Some(name.to_string()),
        n => (allow.dialects[n - 1].ours)(name),
    };
    let mut ways: BTreeMap<Way, BTreeSet<String>> = BTreeMap::new();
    // Which of the file's tensors they are.
    let mut read: BTreeMap<Way, BTreeSet<usize>> = BTreeMap::new();
    for (number, name) in plain.iter().enumerate() {
        for at in std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1)) {
            for dialect in 0..=allow.dialects.len() {
                if let Some(own) = ours(dialect, &name[at..]).filter(|own| wanted.contains(own.as_str())) {
                    let way = (dialect, name[..at].to_string());
                    read.entry(way.clone()).or_default().insert(number);
                    ways.entry(way).or_default().insert(own);
                }
            }
        }
    }
    let ways: BTreeMap<Way, usize> = ways.into_iter().map(|(way, found)| (way, found.len())).collect();
    let (dialect, prefix) = match &allow.prefix {
        Some(prefix) => given(path, prefix, &plain, &ways)?,
        None => chosen(path, &plain, (&ways, &read), wanted.len())?,
    };
    let mut place = Place { chosen: vec![], dialect: None, notes: vec![] };
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, name) in plain.iter().enumerate() {
        match name.strip_prefix(&prefix) {
            Some(rest) => place.chosen.extend(ours(dialect, rest).map(|own| (at, own))),
            // What was asked to be dropped is found, wherever it is.
            None if allow.dropped.iter().any(|pattern| matches(pattern, name)) => place.chosen.push((at, name.clone())),
            None => *left.entry(name.split('.').next().unwrap_or_default()).or_default() += 1,
        }
    }
    if plain.iter().zip(names).any(|(plain, name)| plain != name) {
        place.notes.push("`_orig_mod.` and the like removed from names".into());
    }
    if !prefix.is_empty() {
        let rest: Vec<String> = left.iter().map(|(name, count)| format!("{count} below `{name}`")).collect();
        let rest = if rest.is_empty() { String::new() } else { format!(", left out: {}", rest.join(", ")) };
        place.notes.push(format!("the network is what stands behind `{prefix}`{rest}"));
    }
    if dialect > 0 {
        let dialect = &allow.dialects[dialect - 1];
        place.notes.push(format!("the names are those of {}", dialect.name));
        place.dialect = Some(dialect);
    }
    Ok(place)
}

fn unwrapped(name: &str) -> String {
    if !WRAPPERS.iter().any(|wrapper| name.contains(wrapper)) {
        return name.to_string();
    }
    name.split('.').filter(|part| !WRAPPERS.contains(part)).collect::<Vec<_>>().join(".")
}

/// The way that `--prefix` says.
fn given(path: &Path, prefix: &str, names: &[String], ways: &BTreeMap<Way, usize>) -> Result<Way> {
    // `a` stands for `a.`, and wrappers are gone from names.
    let whole = unwrapped(prefix);
    let whole = if whole.is_empty() || whole.ends_with('.') { whole } else { format!("{whole}.") };
    if !names.iter().any(|name| name.starts_with(&whole)) {
        let firsts: BTreeSet<&str> = names.iter().filter_map(|name| Some(&name[..=name.find('.')?])).collect();
        let firsts: Vec<String> = firsts.iter().take(6).map(|first| format!("`{first}`")).collect();
        return Err(Error::input(path, format!("holds no tensor whose name begins with `{prefix}`"))
            .hint(format!("names of this file begin with {}", firsts.join(", "))));
    }
    let best = ways.iter().filter(|((_, before), _)| *before == whole).max_by_key(|((d, _), n)| (**n, usize::MAX - d));
    Ok(best.map_or((0, whole), |(way, _)| way.clone()))
}

/// The way that the names leave no doubt about. `read` are the tensors of each way.
fn chosen(
    path: &Path,
    names: &[String],
    (ways, read): (&BTreeMap<Way, usize>, &BTreeMap<Way, BTreeSet<usize>>),
    wanted: usize,
) -> Result<Way> {
    let best = ways.values().copied().max().unwrap_or(0);
    if best * 2 <= wanted {
        return Ok((0, usual(names)));
    }
    // Our own names win over other readings of the same tensors.
    let mut fits: Vec<&Way> = Vec::new();
    for (way, _) in ways.iter().filter(|(_, n)| **n == best) {
        if !fits.iter().any(|known| known.1 == way.1 || read[*known] == read[way]) {
            fits.push(way);
        }
    }
    fits.sort_by(|a, b| a.1.cmp(&b.1));
    let (averages, plain): (Vec<&Way>, Vec<&Way>) = fits.iter().partition(|way| is_average(&way.1));
    let way = match (plain.as_slice(), averages.as_slice()) {
        ([one], _) | ([], [one]) => (*one).clone(),
        _ => {
            let places: Vec<String> = fits.iter().map(|(_, prefix)| format!("`--prefix '{prefix}'`")).collect();
            return Err(Error::input(path, format!("holds {} such networks", fits.len()))
                .hint(format!("say which one: {} of {WITH_PREFIX}", places.join(" or "))));
        }
    };
    let others: BTreeSet<&str> = ways
        .iter()
        .filter(|((_, prefix), n)| *prefix != way.1 && is_average(prefix) && **n * 2 > wanted)
        .map(|((_, prefix), _)| prefix.as_str())
        .collect();
    if !others.is_empty() {
        let others: Vec<&str> = others.into_iter().collect();
        let taken = if way.1.is_empty() { "those that are no average" } else { way.1.as_str() };
        tracing::warn!(
            "`{}` holds averaged weights too (`{}`): taken is `{taken}`; `--prefix '{}'` of {WITH_PREFIX} takes the average",
            path.display(),
            others.join("`, `"),
            others[0]
        );
    }
    Ok(way)
}

fn is_average(prefix: &str) -> bool {
    prefix.split(['.', '_']).any(|word| AVERAGES.contains(&word.to_ascii_lowercase().as_str()))
}

/// What stands before the names of a network that is none of the expected: the usual dictionary, and `module.`.
fn usual(names: &[String]) -> String {
    let holder = USUAL.into_iter().find(|holder| names.iter().any(|name| name.starts_with(holder))).unwrap_or("");
    let held = || names.iter().filter_map(|name| name.strip_prefix(holder));
    let inner = held().next().is_some() && held().all(|name| name.starts_with(MODULE));
    format!("{holder}{}", if inner { MODULE } else { "" })
}
