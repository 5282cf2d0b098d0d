//! The same files, the same verdicts: `dvc` 3.67.1 beside `run-pipeline`. Installs dvc where it is not there yet.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::project::Project;
use crate::support::root;
use crate::tools::{self, Tool, checked};

const PIPELINE: &str = "\
vars:
- sizes.yaml:rows
- names: {first: one, second: two}
stages:
  prepare:
    cmd: mkdir -p all && cat in.txt > all/a.txt && printf x > 'all/é b.txt' && touch all/.h
    deps: [in.txt]
    outs: [all]
  train:
    foreach: [m1, m2]
    do:
      cmd:
      - cat all/a.txt > ${item}.txt
      - echo ${rows} ${model.lr} >> ${item}.txt
      deps: [all]
      params: [model.lr, sizes.yaml: [rows]]
      outs:
      - ${item}.txt:
          cache: false
  grid:
    matrix:
      x: ${names}
      y: [1, 2.5]
    cmd: echo ${item.x} ${item.y} ${key} > ${key}.out
    outs: [\"${key}.out\"]
  score:
    cmd: |
      cat all/a.txt m1.txt m2.txt > sum.txt
      printf '{\"rows\": %d}' ${rows} > score.json
    deps: [all/a.txt, m1.txt, m2.txt]
    params:
    - whole.yaml:
    outs: [sum.txt]
    metrics:
    - score.json:
        cache: false
  nested:
    wdir: sub
    cmd: cp ../sum.txt ./copy.txt
    deps: [../sum.txt]
    outs: [./copy.txt]
  held:
    cmd: cp in.txt held.txt
    deps: [in.txt]
    outs: [held.txt]
    frozen: true
";

/// A matrix axis has to be a list; `names` above is used in it as one.
fn project() -> Project {
    let pipeline = PIPELINE.replace("{first: one, second: two}", "[one, two]");
    let project = Project::new(&[
        ("dvc.yaml", &pipeline),
        ("params.yaml", "model: {lr: 5e-4, depth: 012}\nlist: [1, yes]\n"),
        ("sizes.yaml", "rows: 8\nother: 1\n"),
        ("whole.yaml", "a: 1\nb: {c: text}\n"),
        ("in.txt", "hello\n"),
        ("held.txt", "frozen stages never run: it has to be there\n"),
        ("sub/.keep", ""),
    ]);
    let git = Command::new("git").args(["init", "-q", "."]).current_dir(project.path()).output().unwrap();
    checked(&git, "git init");
    project
}

/// Stages that `dvc status` finds changed.
fn changed(dvc: &Tool, project: &Project) -> Vec<String> {
    let status: Value = serde_json::from_str(&dvc.run("dvc", &["status", "--json"], project.path())).unwrap();
    let mut names: Vec<String> = status.as_object().unwrap().keys().cloned().collect();
    names.sort();
    names
}

fn stale(project: &Project) -> Vec<String> {
    let mut names: Vec<String> = project.stale(&[]).into_iter().map(|(stage, _)| stage).collect();
    names.sort();
    names
}

#[test]
fn dvc_finds_nothing_to_do_after_run_pipeline() {
    let Some(dvc) = tools::dvc() else { return };
    let project = project();
    dvc.run("dvc", &["init", "-q"], project.path());
    let ran = project.ran(&["-j", "2"]);
    assert_eq!(ran.len(), 9, "{ran:?}");
    assert_eq!(changed(&dvc, &project), [""; 0]);
    let lock = project.read("dvc.lock");
    let repro = dvc.run("dvc", &["repro"], project.path());
    assert!(repro.contains("Data and pipelines are up to date") && !repro.contains("Running stage"), "{repro}");
    assert_eq!(project.read("dvc.lock"), lock);
    let metrics: Value = serde_json::from_str(&dvc.run("dvc", &["metrics", "show", "--json"], project.path())).unwrap();
    assert_eq!(metrics.pointer("//data/score.json/data/rows"), Some(&8.into()), "{metrics}");
    let dag = dvc.run("dvc", &["dag", "--mermaid"], project.path());
    assert!(dag.contains("train@m1") && dag.contains("score"), "{dag}");
    // The cache is whole: dvc brings back what was removed.
    fs::remove_dir_all(project.at("all")).unwrap();
    dvc.run("dvc", &["checkout", "-q"], project.path());
    assert_eq!(project.read("all/é b.txt"), "x");
    assert_eq!(stale(&project), [""; 0]);
}

#[test]
fn run_pipeline_finds_nothing_to_do_after_dvc() {
    let Some(dvc) = tools::dvc() else { return };
    let project = project();
    // DVC never runs a frozen stage.
    project.edit("dvc.yaml", "    frozen: true\n", "");
    dvc.run("dvc", &["init", "-q"], project.path());
    dvc.run("dvc", &["repro", "-q"], project.path());
    assert_eq!(project.stale(&[]), []);
    assert_eq!(project.ran(&[]), [""; 0]);
    // Both write the same lock, but for the layout of long lines.
    let theirs = project.read("dvc.lock");
    fs::remove_file(project.at("dvc.lock")).unwrap();
    project.run(&["-q"]);
    let tree = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    assert_eq!(tree(&project.read("dvc.lock")), tree(&theirs));
}

#[test]
fn every_change_gets_the_verdict_of_dvc() {
    let Some(dvc) = tools::dvc() else { return };
    let project = project();
    dvc.run("dvc", &["init", "-q"], project.path());
    project.run(&["-q", "-j", "2"]);
    let first = project.read("dvc.yaml");
    type Edit = (&'static str, fn(&Project), &'static [&'static str]);
    let cases: [Edit; 15] = [
        ("cached out edited", |p| p.write("sum.txt", "other\n"), &["nested", "score"]),
        ("uncached out edited", |p| p.write("m1.txt", "other\n"), &["score", "train@m1"]),
        ("file in a folder out added", |p| p.write("all/new", "1"), &["prepare", "train@m1", "train@m2"]),
        ("out deleted", |p| fs::remove_file(p.at("one-1.out")).unwrap(), &["grid@one-1"]),
        (
            "folder out deleted",
            |p| fs::remove_dir_all(p.at("all")).unwrap(),
            &["prepare", "score", "train@m1", "train@m2"],
        ),
        ("metric edited", |p| p.write("score.json", "{}"), &["score"]),
        ("one of two outs deleted", |p| fs::remove_file(p.at("score.json")).unwrap(), &["score"]),
        ("dep edited", |p| p.write("in.txt", "other\n"), &["prepare"]),
        ("param edited", |p| p.edit("params.yaml", "5e-4", "6e-4"), &["train@m1", "train@m2"]),
        ("param written in another way", |p| p.edit("params.yaml", "5e-4", "0.0005"), &[]),
        ("unused param edited", |p| p.edit("params.yaml", "012", "13"), &[]),
        ("whole file of params", |p| p.edit("whole.yaml", "text", "other"), &["score"]),
        ("command changed", |p| p.edit("dvc.yaml", "touch all/.h", "touch all/.h && true"), &["prepare"]),
        ("stage renamed", |p| p.edit("dvc.yaml", "  nested:", "  renamed:"), &["renamed"]),
        (
            "objects gone from the cache",
            |p| {
                let object = p.at(".dvc/cache/files/md5");
                fs::set_permissions(&object, fs::Permissions::from_mode(0o755)).unwrap();
                fs::remove_dir_all(object).unwrap();
            },
            &["grid@one-1", "grid@one-2.5", "grid@two-1", "grid@two-2.5", "held", "nested", "prepare", "score"],
        ),
    ];
    for (name, edit, expected) in cases {
        edit(&project);
        let (ours, theirs) = (stale(&project), changed(&dvc, &project));
        assert_eq!(ours, theirs, "{name}: run-pipeline beside dvc");
        assert_eq!(ours, expected, "{name}");
        for (file, text) in [
            ("dvc.yaml", first.as_str()),
            ("params.yaml", "model: {lr: 5e-4, depth: 012}\nlist: [1, yes]\n"),
            ("whole.yaml", "a: 1\nb: {c: text}\n"),
            ("in.txt", "hello\n"),
        ] {
            project.write(file, text);
        }
        project.run(&["-q", "-j", "2"]);
    }
    assert_eq!(changed(&dvc, &project), [""; 0]);
}

#[test]
fn a_frozen_stage_is_verified_and_never_run_as_dvc_does_it() {
    let Some(dvc) = tools::dvc() else { return };
    let pipeline = "stages:\n  held:\n    cmd: cp in.txt held.txt\n    deps: [in.txt]\n    outs: [held.txt]\n    frozen: true\n  \
                    use:\n    cmd: cp held.txt used.txt\n    deps: [held.txt]\n    outs: [used.txt]\n";
    let [ours, theirs] = [(); 2].map(|()| {
        let project = Project::new(&[("dvc.yaml", pipeline), ("in.txt", "in\n")]);
        dvc.run("dvc", &["init", "-q", "--no-scm"], project.path());
        project
    });
    let repro = || dvc.command("dvc", theirs.path()).args(["repro", "-q"]).output().unwrap();
    assert!(!repro().status.success());
    let outcome = crate::support::cmd("run-pipeline").within(ours.path()).fails(1);
    outcome.says("stage `held` is frozen, and its out `held.txt` does not exist").says("hint: bring `held.txt` back");
    assert!(!ours.at("held.txt").exists() && !theirs.at("held.txt").exists());
    type Edit = fn(&Project);
    let cases: [(&str, Edit, &[&str]); 5] = [
        ("out brought back", |p| p.write("held.txt", "mine\n"), &["held", "use"]),
        ("out edited", |p| p.write("held.txt", "edited\n"), &["held", "use"]),
        ("command changed", |p| p.edit("dvc.yaml", "cp in.txt held.txt", "cp in.txt  held.txt"), &["held"]),
        ("dep edited", |p| p.write("in.txt", "other\n"), &[]),
        ("dep deleted", |p| fs::remove_file(p.at("in.txt")).unwrap(), &[]),
    ];
    for (name, edit, expected) in cases {
        edit(&ours);
        edit(&theirs);
        assert_eq!(stale(&ours), expected, "{name}");
        assert_eq!(changed(&dvc, &theirs), expected, "{name}: dvc");
        ours.run(&["-q"]);
        checked(&repro(), "dvc repro");
        let tree = |project: &Project| serde_saphyr::from_str::<Value>(&project.read("dvc.lock")).unwrap();
        assert_eq!(tree(&ours), tree(&theirs), "{name}");
        assert_eq!(ours.read("used.txt"), theirs.read("used.txt"), "{name}");
        assert_eq!((stale(&ours), changed(&dvc, &ours)), (vec![], vec![]), "{name}: afterwards");
    }
    assert_eq!(ours.read("held.txt"), "edited\n", "never run");
    let table = ours.run(&["--force", "held"]).stderr;
    assert!(table.contains("held   verified") && ours.read("held.txt") == "edited\n", "{table}");
}

#[test]
fn one_long_line_folded_by_dvc_is_the_same_command() {
    let Some(dvc) = tools::dvc() else { return };
    let words = vec!["word"; 60].join(" ");
    let pipeline = format!("stages:\n  long:\n    cmd: 'echo {words}: \"it''s\" > out.txt'\n    outs: [out.txt]\n");
    let project = Project::new(&[("dvc.yaml", &pipeline)]);
    dvc.run("dvc", &["init", "-q", "--no-scm"], project.path());
    dvc.run("dvc", &["repro", "-q"], project.path());
    assert!(project.read("dvc.lock").lines().count() > 10, "dvc folds long lines");
    assert_eq!(project.stale(&[]), []);
}

#[test]
fn the_pipelines_of_this_repository_are_read_alike_at_all_sizes() {
    let Some(dvc) = tools::dvc() else { return };
    let leap = ["raw", "data", "adam", "max2020", "forcewithme", "joseph", "zuiye", "first", "blend"];
    let icecube = ["data", "b32", "b64", "b-4rel", "s-gnn", "b-gnn", "blend"];
    let polarmae = ["data", "pretrain", "segment-fft", "segment-peft", "labels"];
    let systems: [(&str, &[&str], &str, &[&str]); 4] = [
        ("leap", &leap, "leap-blend", &["demo", "small", "members", "published"]),
        ("icecube", &icecube, "icecube-blend", &["demo", "published"]),
        ("polarmae", &polarmae, "polarmae-labels", &["demo", "published"]),
        ("tracknet", &[], "tracknet", &["demo", "published"]),
    ];
    let all = systems
        .iter()
        .flat_map(|(system, parts, main, sizes)| sizes.iter().map(move |size| (system, parts, main, size)));
    for (system, parts, main, size) in all {
        let project = Project::new(&[]);
        let copy = |from: &str| {
            let to = project.at(from);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let text = fs::read_to_string(root().join(from)).unwrap();
            project.write(from, &text.replace(&format!("../{system}.yaml"), &format!("../{system}.{size}.yaml")));
        };
        for part in *parts {
            copy(&format!("pipelines/{system}-{part}/dvc.yaml"));
        }
        copy(&format!("pipelines/{main}/dvc.yaml"));
        copy(&format!("pipelines/{system}.{size}.yaml"));
        if (*system, *size) == ("icecube", "demo") {
            copy("pipelines/icecube.published.yaml"); // the published networks have one size
        }
        dvc.run("dvc", &["init", "-q", "--no-scm"], project.path());
        let edges = |text: &str| {
            let names: std::collections::HashMap<&str, String> = text
                .lines()
                .filter_map(|l| l.trim().strip_suffix("\"]")?.split_once("[\""))
                .map(|(node, name)| {
                    (node, name.replace("pipelines/", "").replace("/dvc.yaml", "").replace(&format!("{main}:"), ""))
                })
                .collect();
            let pairs = text.lines().filter_map(|l| l.trim().split_once("-->"));
            let mut edges: Vec<String> = pairs.map(|(a, b)| format!("{} -> {}", names[a], names[b])).collect();
            edges.sort();
            edges
        };
        let theirs = dvc.run("dvc", &["dag", "--mermaid", &format!("pipelines/{main}/dvc.yaml")], project.path());
        let ours = project.run(&[&format!("pipelines/{main}"), "--dag", "--mermaid"]).stdout;
        let theirs: Vec<String> = edges(&theirs);
        assert!(theirs.len() >= 4, "{ours}");
        assert_eq!(edges(&ours), theirs, "{system} {size}");
    }
}

/// Copies a folder with its links.
#[allow(clippy::disallowed_methods)] // fixtures are written plainly
fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), to).unwrap();
        } else if kind.is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// All four systems at their published sizes in one clone: a folder of one above an out of another would make a blend wait for
/// the other's weeks of training, or put one's arrays into the other's.
#[test]
fn no_system_of_this_repository_waits_for_another() {
    let project = Project::new(&[]);
    copy_tree(&root().join("pipelines"), &project.at("pipelines"));
    for size in ["demo", "published", "months"] {
        for system in ["leap", "icecube", "polarmae", "tracknet"] {
            let has_it = project.at(&format!("pipelines/{system}.{size}.yaml")).is_file();
            let size = if has_it { size } else { "published" };
            let text = project.read(&format!("pipelines/{system}.{size}.yaml"));
            fs::remove_file(project.at(&format!("pipelines/{system}.yaml"))).unwrap();
            project.write(&format!("pipelines/{system}.yaml"), &text);
        }
        let mut pipelines = 0;
        for entry in fs::read_dir(project.at("pipelines")).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let Some((system, _)) = name.split_once('-').or((name == "tracknet").then_some(("tracknet", ""))) else {
                continue;
            };
            if !entry.path().join("dvc.yaml").is_file() {
                continue;
            }
            let outcome = project.run(&[&format!("pipelines/{name}"), "--dag", "--mermaid"]);
            let lines = outcome.stdout.lines().filter_map(|line| line.trim().strip_suffix("\"]")?.split_once("[\""));
            for (_, title) in lines {
                let (of, _) = title.split_once(':').unwrap_or((&name, ""));
                let of = of.trim_start_matches("pipelines/");
                assert!(of.starts_with(system), "{name} at size {size} takes along `{title}`");
            }
            pipelines += 1;
        }
        assert!(pipelines >= 20, "{pipelines} pipelines");
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // fixtures are written plainly
fn a_fresh_clone_works_for_dvc_before_anything_ran() {
    let Some(dvc) = tools::dvc() else { return };
    // What git tracks: choices and locks of this checkout may be others by now.
    let listed = Command::new("git").args(["ls-files", "-z", "pipelines"]).current_dir(root()).output();
    let Some(listed) = listed.ok().filter(|listed| listed.status.success()) else { return };
    let project = Project::new(&[]);
    for file in String::from_utf8(listed.stdout).unwrap().split_terminator('\0') {
        let to = project.at(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let show = Command::new("git").args(["ls-files", "-s", "--", file]).current_dir(root()).output();
        let show = String::from_utf8(show.unwrap().stdout).unwrap();
        let (mode, rest) = show.split_once(' ').unwrap();
        let object = rest.split(' ').next().unwrap();
        let blob = Command::new("git").args(["cat-file", "blob", object]).current_dir(root()).output();
        let blob = blob.unwrap().stdout;
        if mode == "120000" {
            std::os::unix::fs::symlink(String::from_utf8(blob).unwrap(), to).unwrap();
        } else {
            fs::write(to, blob).unwrap();
        }
    }
    copy_tree(&root().join("configs"), &project.at("configs"));
    dvc.run("dvc", &["init", "-q", "--no-scm"], project.path());
    let status = dvc.run("dvc", &["status"], project.path());
    assert!(status.contains("leap-blend") && status.contains("tracknet"), "{status}");
    assert!(dvc.run("dvc", &["dag"], project.path()).contains("polarmae-pretrain"));
}

/// Where the file system has no locks: both take the lock by names, and neither leaves one that stops the other.
#[test]
fn a_lock_by_names_lets_dvc_in_at_once() {
    let Some(dvc) = tools::dvc() else { return };
    let project = Project::new(&[("dvc.yaml", "stages:\n  a:\n    cmd: echo 1 > out\n    outs: [out]\n")]);
    let git = Command::new("git").args(["init", "-q", "."]).current_dir(project.path()).output().unwrap();
    checked(&git, "git init");
    dvc.run("dvc", &["init", "-q"], project.path());
    dvc.run("dvc", &["config", "core.hardlink_lock", "true"], project.path());
    project.run(&["-q"]);
    assert_eq!(changed(&dvc, &project), [""; 0]);
    dvc.run("dvc", &["repro", "-q", "--force"], project.path());
    assert_eq!(project.ran(&["--force"]), ["a"]);
    assert_eq!(changed(&dvc, &project), [""; 0]);
}

/// Names of outs that mean something in a pattern stand in `.gitignore` as dvc writes them.
#[test]
fn gitignore_is_the_one_that_dvc_writes() {
    let Some(dvc) = tools::dvc() else { return };
    let names = ["a#b", "#c", "!d", "e*f", "g[1]", "h i"];
    let touch = names.map(|name| format!("'{name}'")).join(" ");
    let outs = names.map(|name| format!("    - {name:?}\n")).concat();
    let pipeline = format!("stages:\n  a:\n    cmd: touch {touch}\n    outs:\n{outs}");
    let written = [true, false].map(|ours| {
        let project = Project::new(&[("dvc.yaml", &pipeline)]);
        let git = Command::new("git").args(["init", "-q", "."]).current_dir(project.path()).output().unwrap();
        checked(&git, "git init");
        dvc.run("dvc", &["init", "-q"], project.path());
        if ours {
            drop(project.run(&["-q"]))
        } else {
            drop(dvc.run("dvc", &["repro", "-q"], project.path()))
        }
        project.read(".gitignore")
    });
    assert_eq!(written[0].replace(".podium\n", "").replace("/.podium/\n", ""), written[1]);
}
