//! The rooms of all systems have the same names; the table in CONTRIBUTING shows who has which. `make docs` writes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::root;

/// The rooms in the order of the table: half, name, and what it holds.
const ROOMS: [(&str, &str, &str); 15] = [
    ("data", "raw", "the published files, as they are found"),
    ("data", "prepare", "raw files to what networks read"),
    ("data", "simulate", "raw files with something to learn in them"),
    ("data", "submission", "what is handed in, checked"),
    ("data", "score", "how good it is, and against what"),
    ("data", "picture", "what people look at"),
    ("data", "published", "the original's own configs, translated"),
    ("networks", "dataset", "prepared data as the trainer reads them"),
    ("networks", "batch", "what a network is given"),
    ("networks", "models", "a file a model"),
    ("networks", "losses", "what is minimised"),
    ("networks", "train", "`train-model`"),
    ("networks", "predict", "`predict`"),
    ("networks", "import", "`convert-weights`: the original's checkpoints"),
    ("networks", "export", "`convert-weights`: modules for other programs"),
];

/// Names of the systems: those with a crate that ends in `-data`.
pub fn systems() -> Vec<String> {
    let folders = fs::read_dir(root().join("common/systems")).unwrap().flatten();
    let names: BTreeSet<String> =
        folders.filter_map(|entry| entry.file_name().to_str()?.strip_suffix("-data").map(str::to_string)).collect();
    assert!(names.len() >= 4, "{names:?}");
    names.into_iter().collect()
}

fn has(system: &str, half: &str, room: &str) -> bool {
    let ending = if half == "data" { "-data" } else { "" };
    let place = root().join(format!("common/systems/{system}{ending}/src/{room}"));
    place.with_extension("rs").is_file() || place.join("mod.rs").is_file()
}

fn table() -> String {
    let systems = systems();
    let mut table = format!("| room | holds | {} |\n|---|---|{}\n", systems.join(" | "), "---|".repeat(systems.len()));
    for (half, room, holds) in ROOMS {
        let cells: Vec<&str> = systems.iter().map(|system| if has(system, half, room) { "x" } else { "" }).collect();
        table += &format!("| `{half}/{room}` | {holds} | {} |\n", cells.join(" | "));
    }
    table
}

#[test]
#[allow(clippy::disallowed_methods, reason = "`make docs` writes plain files")]
fn the_table_of_rooms_is_what_the_folders_have() {
    let file = root().join("CONTRIBUTING.md");
    let text = fs::read_to_string(&file).unwrap();
    let begin = text.find("| room |").expect("a table of rooms");
    let end = begin + text[begin..].find("\n\n").expect("a line behind the table") + 1;
    let table = table();
    if std::env::var_os("PODIUM_UPDATE").is_some_and(|v| v == "1") {
        fs::write(&file, format!("{}{table}{}", &text[..begin], &text[end..])).unwrap();
    } else {
        assert_eq!(text[begin..end], table, "run `make docs`: the table in CONTRIBUTING.md says otherwise");
    }
}

#[test]
fn what_a_system_declares_has_its_room() {
    for system in systems() {
        let read = |path: &str| fs::read_to_string(root().join("common/systems").join(path)).unwrap_or_default();
        let named =
            |text: &str, room: &str| text.lines().any(|l| l.trim_start().starts_with(&format!("{room}: Some(")));
        let sources =
            |name: &str, file: &str| read(&format!("{name}/src/lib.rs")) + &read(&format!("{name}/src/{file}.rs"));
        let data = sources(&format!("{system}-data"), "system");
        let networks = sources(&system, "networks");
        assert!(data.contains("System {") && networks.contains("Networks {"), "{system}");
        for (half, room) in [("data", "simulate"), ("data", "prepare"), ("data", "score")] {
            assert!(!named(&data, room) || has(&system, half, room), "`{system}` has no room `{half}/{room}`");
        }
        for (half, room) in [("networks", "train"), ("networks", "predict"), ("networks", "import")] {
            assert!(!named(&networks, room) || has(&system, half, room), "`{system}` has no room `{half}/{room}`");
        }
    }
}

/// A folder of sources exists where the table's rooms are looked for.
#[test]
fn every_system_has_both_halves() {
    for system in systems() {
        for name in [format!("{system}-data"), system.clone()] {
            assert!(root().join("common/systems").join(Path::new(&name)).join("src/lib.rs").is_file(), "{name}");
        }
    }
}
