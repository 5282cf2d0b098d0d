//! Files of a crate use one another in one direction: no two files, and no longer chain of them, in a circle. A folder's
//! `mod.rs` and the files below it are one thing here: that a child uses what its parent declares is no circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::support::root;

/// Circles that stand. This list may only shrink.
const STANDING: [&str; 16] = [
    "bins: hill-climb/problem hill-climb/solve",
    "bins: run-pipeline/declare/entries run-pipeline/declare/promise",
    // An error of opening a file says what stands in its place.
    "common/src: error store/foreign",
    "common/src: oof/set/members oof/set/truth",
    "common/src: provenance stage",
    // Values that hold values.
    "common/src: store/pickle/array store/pickle/machine store/pickle/rebuild store/pickle/tensor",
    "common/src: store/tables/arrays store/tables/parquet",
    "common/neural/src: weights/names weights/strict",
    "common/systems/icecube-data/src: prepare/scan prepare/source",
    "common/systems/icecube-data/src: score/report score/targets",
    "common/systems/icecube/src: import predict",
    "common/systems/polarmae/src: train/ahead train/setup",
    "common/systems/tracknet-data/src: classes cuts figures",
    "common/systems/tracknet-data/src: judge judgement",
    "common/systems/tracknet-data/src: raw/acts raw/event raw/files",
    // Conditions are estimated from bends, whose size follows from the field.
    "common/systems/tracknet-data/src: tracker/bends tracker/conditions",
];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The modules of a crate by their path (`store/tables`), with their text: no tests, no comments.
fn modules(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            modules(&path, &format!("{prefix}{name}/"), found);
        } else if let Some(stem) = name.strip_suffix(".rs").filter(|stem| *stem != "lib" && *stem != "main") {
            let module =
                if stem == "mod" { prefix.trim_end_matches('/').to_string() } else { format!("{prefix}{stem}") };
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
            found.insert(module, code.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// The paths that a text names, `use` groups taken apart: `crate::a::{b, c::d}` is two.
fn paths(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                expand("", &text[at..], &mut all);
            }
        }
    }
    all
}

/// Takes one path from the beginning of `text`; gives how long it is.
fn expand(before: &str, text: &str, all: &mut Vec<String>) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let path = format!("{before}{}", &text[..end]);
    if !(path.ends_with("::") && text[end..].starts_with('{')) {
        all.push(path.trim_end_matches(':').to_string());
        return end;
    }
    let mut at = end + 1;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '}' => return at + 1,
            c if is_part(c) => at += expand(&path, &text[at..], all),
            c => at += c.len_utf8(),
        }
    }
    at
}

/// The module that a path leads to from `from`.
fn target(from: &str, path: &str, modules: &BTreeMap<String, String>) -> Option<String> {
    let mut place: Vec<&str> = if path.starts_with("crate") { vec![] } else { from.split('/').collect() };
    let mut found = None;
    let names: Vec<String> = path.split("::").map(str::to_string).collect();
    for name in &names {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => _ = place.pop(),
            name => {
                let at = |name: &str| [place.join("/"), name.to_string()].join("/").trim_start_matches('/').to_string();
                // Folders of programs have names with hyphens.
                let known = [at(name), at(&name.replace('_', "-"))].into_iter().find(|path| modules.contains_key(path));
                let Some(known) = known else { break };
                let length = known.rsplit('/').next().map_or(0, str::len);
                found = Some(known.clone());
                place.push(modules.get_key_value(&known).map(|(key, _)| &key[key.len() - length..])?);
            }
        }
    }
    found.or_else(|| Some(place.join("/")).filter(|path| modules.contains_key(path)))
}

fn graph(modules: &BTreeMap<String, String>) -> Graph {
    let mut graph = Graph::new();
    for (module, text) in modules {
        let family = |other: &String| {
            other == module || other.starts_with(&format!("{module}/")) || module.starts_with(&format!("{other}/"))
        };
        let used = paths(text).iter().filter_map(|path| target(module, path, modules)).collect::<BTreeSet<_>>();
        graph.insert(module.clone(), used.into_iter().filter(|other| !family(other)).collect());
    }
    graph
}

/// Modules that can be reached from `from`.
fn reached(graph: &Graph, from: &str) -> BTreeSet<String> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_string()]);
    while let Some(next) = open.pop() {
        for used in graph.get(&next).into_iter().flatten() {
            if seen.insert(used.clone()) {
                open.push(used.clone());
            }
        }
    }
    seen
}

/// The modules that lie in circles, together with those of the same circle.
fn circles(graph: &Graph) -> BTreeSet<Vec<String>> {
    let reached: BTreeMap<&String, BTreeSet<String>> = graph.keys().map(|m| (m, self::reached(graph, m))).collect();
    let circle = |module: &String| -> Vec<String> {
        reached[module].iter().filter(|other| reached.get(other).is_some_and(|r| r.contains(module))).cloned().collect()
    };
    graph.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
}

#[test]
fn files_use_one_another_in_one_direction() {
    let mut crates =
        vec!["bins".to_string(), "common/src".into(), "common/climb/src".into(), "common/neural/src".into()];
    let systems = fs::read_dir(root().join("common/systems")).unwrap().flatten();
    crates.extend(systems.map(|entry| format!("common/systems/{}/src", entry.file_name().to_string_lossy())));
    let mut found = BTreeSet::new();
    for folder in crates {
        let mut all = BTreeMap::new();
        modules(&root().join(&folder), "", &mut all);
        found.extend(circles(&graph(&all)).iter().map(|circle| format!("{folder}: {}", circle.join(" "))));
    }
    let standing: BTreeSet<String> = STANDING.iter().map(ToString::to_string).collect();
    let new: Vec<_> = found.difference(&standing).collect();
    let gone: Vec<_> = standing.difference(&found).collect();
    assert!(new.is_empty(), "files that use one another in a circle: {new:#?}");
    assert!(gone.is_empty(), "circles that are open now, take them off the list: {gone:#?}");
}

#[test]
fn a_circle_is_seen_through_groups_and_parents() {
    let texts = [
        ("a", "use crate::{b::{C, D}, e};"),
        ("b", "fn f() { super::g::h::run() }"),
        ("e", ""),
        ("g", "mod h;"),
        ("g/h", "use crate::a;\nuse super::thing;"),
    ];
    let modules = texts.map(|(name, text)| (name.to_string(), text.to_string())).into_iter().collect();
    let found = circles(&graph(&modules));
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [["a", "b", "g/h"].map(String::from).to_vec()]);
}
