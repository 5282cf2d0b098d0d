//! One house, four systems: flags that a system does not read are refused, and no file outside of a system's crates knows
//! its name.

mod support;

use support::cmd;

/// A folder with a config for each system that says no more than which system it is.
fn configs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for system in ["icecube", "leap", "polarmae", "tracknet"] {
        let file = folder.path().join(format!("{system}.yaml"));
        common::durable::write(file, format!("system: {system}\n").as_bytes()).unwrap();
    }
    folder
}

#[test]
fn flags_that_a_system_does_not_read_are_refused_with_the_systems_that_do() {
    let folder = configs();
    let predict: [(&str, &[&[&str]]); 4] = [
        ("icecube", &[&["--picture", "1"], &["--zero-list", "apply"], &["--csv"]]),
        ("leap", &[&["--picture", "1"], &["--set", "test"]]),
        ("polarmae", &[&["--sample", "s.csv"], &["--zero-list", "auto"], &["--csv"]]),
        (
            "tracknet",
            &[
                &["--sample", "s.csv"],
                &["--set", "valid"],
                &["--picture", "1"],
                &["--precision", "f32"],
                &["--zero-list", "auto"],
                &["--csv"],
            ],
        ),
    ];
    let train: [(&str, &[&[&str]]); 2] = [("polarmae", &[&["--init", "w.pt"]]), ("tracknet", &[&["--init", "w.pt"]])];
    let all = [("predict", predict.as_slice()), ("train-model", train.as_slice())];
    for (binary, systems) in all {
        for (system, flags) in systems {
            for flag in *flags {
                let run = cmd(binary).arg(format!("{system}.yaml")).args(*flag).within(folder.path());
                let refused = run.fails(2).says(&format!("`{}` is not read by `{system}`", flag[0]));
                assert!(refused.stderr.contains("it is for `"), "{}", refused.stderr);
            }
        }
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().count() == 4, "a refused command wrote something");
}

#[test]
fn values_that_do_not_exist_are_refused_with_those_that_do() {
    let folder = configs();
    let run = |args: &[&str]| cmd("predict").args(args).within(folder.path()).fails(2);
    for system in ["icecube", "leap", "polarmae", "tracknet"] {
        run(&[&format!("{system}.yaml"), "--set", "tain"]).says("train, valid, test");
        run(&[&format!("{system}.yaml"), "--precision", "f8"]).says("f32, bf16, f16");
    }
    // A set that the system does not have, also as an override.
    let members = "system: icecube\nmembers: [{name: a, weights: a.pth}]\n";
    common::durable::write(folder.path().join("members.yaml"), members.as_bytes()).unwrap();
    run(&["members.yaml", "--set", "valid"]).says("set=valid").says("expected one of: test, train");
    run(&["members.yaml", "set=tain"]).says("set=tain").says("expected one of: test, train");
}

/// The rooms that systems share, as CONTRIBUTING's table has them: the crate's ending, the room, and who has it.
fn rooms() -> Vec<(String, Vec<bool>)> {
    let text = std::fs::read_to_string(support::root().join("CONTRIBUTING.md")).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("| room |")).skip(2);
    let rows: Vec<_> = table
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            (cells[0].trim_matches('`').to_string(), cells[2..].iter().map(|cell| *cell == "x").collect())
        })
        .collect();
    assert_eq!(rows.len(), 15, "{rows:?}");
    rows
}

#[test]
fn the_table_of_rooms_is_what_the_folders_have() {
    let mut wrong = Vec::new();
    for (room, has) in rooms() {
        for (system, has) in ["icecube", "leap", "polarmae", "tracknet"].into_iter().zip(has) {
            let (half, name) = room.split_once('/').unwrap();
            let ending = if half == "data" { "-data" } else { "" };
            let place = support::root().join(format!("common/systems/{system}{ending}/src/{name}"));
            let found = place.with_extension("rs").is_file() || place.join("mod.rs").is_file();
            if found != has {
                wrong.push(format!("{system}: {room} is {}", if found { "there" } else { "not there" }));
            }
        }
    }
    assert!(wrong.is_empty(), "the table in CONTRIBUTING.md says otherwise:\n{}", wrong.join("\n"));
}

/// Files that know a system by name: the registries alone.
#[test]
fn no_file_outside_of_the_systems_crates_knows_a_system_by_name() {
    const NAMES: [&str; 7] = ["icecube", "leap", "polarmae", "tracknet", "trackml", "climsim", "pilarnet"];
    let root = support::root();
    let mut open: Vec<std::path::PathBuf> =
        ["bins", "common/src", "common/neural/src", "common/climb/src"].map(|folder| root.join(folder)).to_vec();
    let (mut seen, mut found) = (0, Vec::new());
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                seen += 1;
                let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
                for (number, line) in text.lines().enumerate() {
                    if let Some(name) = NAMES.iter().find(|name| line.contains(**name)) {
                        found.push(format!("{}:{}: {name}", path.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(seen > 100, "{seen} files");
    assert!(found.is_empty(), "a system's name stands outside of its crates:\n{}", found.join("\n"));
}
