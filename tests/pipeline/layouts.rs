//! Repositories as people keep them: folders of DVC without DVC at hand, several pipelines, links, other formats.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use common::ExitCode;

use crate::project::Project;
use crate::support::{binary, cmd};

/// A pipeline of one stage that copies.
const COPY: &str = "stages:\n  a:\n    cmd: cat in > out\n    deps: [in]\n    outs: [out]\n";

fn repository(files: &[(&str, &str)]) -> Project {
    let project = Project::new(files);
    for folder in [".git", ".dvc"] {
        fs::create_dir_all(project.at(folder)).unwrap();
    }
    project
}

#[test]
fn what_dvcignore_names_and_what_podium_keeps_do_not_belong_to_a_dep() {
    let pipeline = "stages:\n  a:\n    cmd: mkdir -p src/cache && date +%N > src/cache/x && cat src/a > out\n    deps: [src]\n    \
                    outs: [out]\n";
    let project =
        repository(&[("dvc.yaml", pipeline), ("src/a", "1"), (".dvcignore", "cache/\n"), ("src/.podium/x", "1")]);
    project.run(&["-q"]);
    project.write("src/.podium/x", "2");
    assert_eq!(project.stale(&[]), []);
    project.write("src/a", "2");
    assert_eq!(project.stale(&[]).len(), 1);
}

#[test]
fn patterns_inside_of_a_dep_are_refused_as_dvc_refuses_them() {
    let pipeline = "stages:\n  a:\n    cmd: cat src/a > out\n    deps: [src]\n    outs: [out]\n";
    let files = [("dvc.yaml", pipeline), ("src/a", "1"), ("src/sub/.dvcignore", "b\n"), ("src/sub/b", "1")];
    let project = repository(&files);
    let refused = cmd("run-pipeline").within(project.path()).fails(3);
    refused.says("src/sub/.dvcignore").says("which dvc refuses").says("hint: ");
    assert!(!project.at("out").exists());
}

#[test]
fn a_stage_of_another_folder_counts_and_that_of_a_repository_inside_does_not() {
    let below = "stages:\n  p:\n    cmd: cat ../in > x\n    deps: [../in]\n    outs: [x]\n";
    let top = "stages:\n  t:\n    cmd: cat deep/prep/x > out\n    deps: [deep/prep/x]\n    outs: [out]\n";
    let project = repository(&[("dvc.yaml", top), ("deep/prep/dvc.yaml", below), ("deep/in", "1")]);
    assert_eq!(project.ran(&[]), ["prep:p", "t"]);
    project.write("deep/in", "2");
    project.run(&["-q"]);
    assert_eq!(project.read("out"), "2");
    fs::create_dir(project.at("deep/.dvc")).unwrap();
    project.write("deep/in", "3");
    assert_eq!(project.stale(&[]), [], "the other repository is left alone");
}

#[test]
fn a_source_archive_has_the_stages_of_a_clone() {
    let member = "stages:\n  m:\n    wdir: ../..\n    cmd: echo 1 > m\n    outs: [m]\n";
    let blend = "stages:\n  b:\n    wdir: ../..\n    cmd: cat m > b\n    deps: [m]\n    outs: [b]\n";
    let project = Project::new(&[("pipelines/member/dvc.yaml", member), ("pipelines/blend/dvc.yaml", blend)]);
    let archive = project.run(&["pipelines/blend", "--dag"]).stdout;
    fs::create_dir(project.at(".git")).unwrap();
    assert_eq!(archive, project.run(&["pipelines/blend", "--dag"]).stdout);
    assert!(archive.contains("member:m"), "{archive}");
}

#[test]
fn a_persistent_out_that_is_a_link_into_a_cache_leaves_the_cache_as_it_is() {
    let pipeline = "stages:\n  a:\n    cmd: cat in >> log\n    deps: [in]\n    outs: [log: {persist: true}]\n";
    let project = repository(&[("dvc.yaml", pipeline), ("in", "2\n"), ("object", "1\n")]);
    symlink(project.at("object"), project.at("log")).unwrap();
    project.run(&["-q"]);
    assert_eq!((project.read("object"), project.read("log")), ("1\n".into(), "1\n2\n".into()));
}

#[test]
fn a_lock_of_dvc_2_is_understood_and_a_hash_that_is_none_is_no_panic() {
    let project = repository(&[("dvc.yaml", COPY), ("in", "1\r\n"), ("out", "1\r\n")]);
    // MD5 of "1\n", which is how DVC 2 took text.
    let md5 = "b026324c6904b2a9cb4b88d6d61c81d1";
    project.write(&format!(".dvc/cache/{}/{}", &md5[..2], &md5[2..]), "1\r\n");
    let lock = format!(
        "schema: '2.0'\nstages:\n  a:\n    cmd: cat in > out\n    deps:\n    - {{path: in, md5: {md5}}}\n    outs:\n    - \
         {{path: out, md5: {md5}}}\n"
    );
    project.write("dvc.lock", &lock);
    assert_eq!(project.stale(&[]), []);
    project.write("dvc.lock", &lock.replace(md5, "é"));
    assert_eq!(project.stale(&[]).len(), 1);
}

#[test]
fn cached_outs_go_into_gitignore_and_others_do_not() {
    let pipeline =
        "stages:\n  a:\n    cmd: echo 1 > big; echo 1 > small\n    outs:\n    - big\n    - small: {cache: false}\n";
    let project = repository(&[("dvc.yaml", pipeline)]);
    project.run(&["-q"]);
    assert_eq!(project.read(".gitignore"), "/big\n");
}

#[test]
fn an_input_that_dvc_tracks_is_refused_with_the_command_that_gets_it() {
    let project = repository(&[("dvc.yaml", COPY), ("in.dvc", "outs: []\n")]);
    for args in [["-n"], ["-q"]] {
        let code = ExitCode::Input as i32;
        cmd("run-pipeline").args(args).within(project.path()).fails(code).says("dvc pull in.dvc");
    }
}

#[test]
fn toml_and_python_give_variables_and_parameters() {
    let pipeline = "vars: [c.toml, c.py]\nstages:\n  a:\n    cmd: echo ${train.lr} ${EPOCHS} > out\n    params:\n    - c.toml: \
                    [train.lr]\n    - c.py: [EPOCHS]\n    outs: [out]\n";
    let project = Project::new(&[("dvc.yaml", pipeline), ("c.toml", "[train]\nlr = 0.1\n"), ("c.py", "EPOCHS = 3\n")]);
    project.run(&["-q"]);
    assert_eq!(project.read("out"), "0.1 3\n");
    project.write("c.py", "EPOCHS = 3\nOTHER = 4\n");
    assert_eq!(project.stale(&[]), []);
    project.write("c.py", "EPOCHS = 4\n");
    assert_eq!(project.stale(&[]).len(), 1);
}

#[test]
fn metrics_at_the_top_and_in_yaml_are_part_of_the_result() {
    let pipeline = "metrics: [live.json]\nstages:\n  a:\n    cmd: |\n      echo '{\"auc\":0.875}' > live.json; echo 'f1: 0.5' > m.yaml\n    \
                    metrics: [m.yaml: {cache: false}]\n";
    let project = Project::new(&[("dvc.yaml", pipeline)]);
    let result: serde_json::Value = serde_json::from_str(&project.run(&["-q", "--result"]).stdout).unwrap();
    assert_eq!((result["metrics"]["auc"].as_f64(), result["metrics"]["f1"].as_f64()), (Some(0.875), Some(0.5)));
}

#[test]
fn a_closed_terminal_ends_the_stage_as_an_interruption_does() {
    let pipeline = "stages:\n  a:\n    cmd: trap 'echo 1 > saved; exit 1' INT; touch started; for i in $(seq 100); do sleep 0.1; \
                    done\n    outs: [out]\n";
    let project = Project::new(&[("dvc.yaml", pipeline)]);
    let mut runner = Command::new(binary("run-pipeline")).arg("-q").current_dir(project.path()).spawn().unwrap();
    crate::parallel::wait_for("the stage", || project.at("started").exists());
    // SAFETY: kill has no memory effects; the process is our own child.
    unsafe { libc::kill(runner.id() as i32, libc::SIGHUP) };
    assert_eq!(runner.wait().unwrap().code(), Some(ExitCode::Interrupted as i32));
    assert_eq!(project.read("saved"), "1\n");
}

#[test]
fn a_wdir_may_be_made_by_a_stage_and_a_dep_may_be_written_twice() {
    let pipeline = "stages:\n  m:\n    cmd: mkdir -p sub && echo 1 > sub/x\n    outs: [sub]\n  w:\n    wdir: sub\n    cmd: cat x > \
                    ../out\n    deps: [x, ./x, x]\n    outs: [../out]\n";
    let project = Project::new(&[("dvc.yaml", pipeline)]);
    assert_eq!(project.ran(&[]), ["m", "w"]);
}

#[test]
fn status_says_by_its_exit_code_whether_anything_would_run() {
    let project = Project::new(&[("dvc.yaml", COPY), ("in", "1")]);
    assert_eq!(cmd("run-pipeline").arg("--status").within(project.path()).run().code, Some(1));
    assert_eq!(project.ran(&["-j", "0"]), ["a"]);
    project.run(&["--status"]);
    assert_eq!(project.ran(&[".", "-f"]), ["a"]);
    assert_eq!(project.ran(&["-f", "."]), ["a"]);
    cmd("run-pipeline").arg("a").within(project.path()).fails(2).says("--until a");
}

/// A pipeline in two sizes.
fn sized() -> Project {
    let pipeline = "vars: ['../s.yaml:config,out,text']\nstages:\n  a:\n    wdir: ../..\n    cmd: cat ${config} > ${out}\n    deps: \
                    ['${config}']\n    outs: ['${out}': {cache: false}]\n  b:\n    wdir: ../..\n    cmd: echo ${text} > \
                    other\n    outs: [other: {cache: false}]\n";
    let project = Project::new(&[
        ("pipelines/s-one/dvc.yaml", pipeline),
        ("pipelines/s.demo.yaml", "config: small.txt\nout: demo/out\ntext: 1\n"),
        ("pipelines/s.published.yaml", "config: large.txt\nout: runs/out\ntext: 1\n"),
        ("small.txt", "small"),
        ("large.txt", "large"),
        ("my.txt", "mine"),
        ("demo/.keep", ""),
        ("runs/.keep", ""),
    ]);
    symlink(".choice/s/vars.yaml", project.at("pipelines/s.yaml")).unwrap();
    symlink("../.choice/s/s-one.lock", project.at("pipelines/s-one/dvc.lock")).unwrap();
    project
}

#[test]
fn each_size_has_its_lock_and_outs_and_stays_in_force_until_another_is_chosen() {
    let project = sized();
    assert_eq!(project.ran(&["pipelines/s-one"]), ["a", "b"]);
    assert_eq!(project.read("demo/out"), "small");
    project.run(&["pipelines/s-one", "-q", "--size", "published"]);
    assert_eq!(project.read("runs/out"), "large");
    assert!(project.read("pipelines/s.yaml").contains("large.txt"), "dvc reads the same");
    assert!(project.read("pipelines/s-one/dvc.lock").contains("runs/out"));
    assert!(project.run(&["pipelines/s-one", "--status"]).stdout.starts_with("size published"));
    assert_eq!(project.ran(&["pipelines/s-one", "--size", "demo"]), [""; 0], "the demo's lock is as it was");
    let error = cmd("run-pipeline").args(["pipelines/s-one", "--size", "huge"]).within(project.path()).fails(2);
    error.says("its sizes are demo, published");
}

/// A wheel holds no links: `podium configs` gives files alone.
#[test]
fn a_copy_without_links_has_all_sizes_and_gets_the_links_with_its_first_run() {
    for first in [&["--size", "published"][..], &[]] {
        let project = sized();
        for link in ["pipelines/s.yaml", "pipelines/s-one/dvc.lock"] {
            fs::remove_file(project.at(link)).unwrap();
        }
        project.write("pipelines/s-two/dvc.yaml", "vars: ['../s.yaml:text']\nstages: {}\n");
        // DVC reads the pipelines of other systems, too.
        project.write("pipelines/t-one/dvc.yaml", "vars: ['../t.yaml:text']\nstages: {}\n");
        project.write("pipelines/t.demo.yaml", "text: 2\n");
        assert!(project.run(&["pipelines/s-one", "--dag"]).stdout.contains('a'));
        assert!(fs::symlink_metadata(project.at("pipelines/s.yaml")).is_err(), "looking makes nothing");
        project.run(&[&["pipelines/s-one", "-q"], first].concat());
        for (link, target) in [
            ("s.yaml", ".choice/s/vars.yaml"),
            ("s-one/dvc.lock", "../.choice/s/s-one.lock"),
            ("s-two/dvc.lock", "../.choice/s/s-two.lock"),
            ("t.yaml", ".choice/t/vars.yaml"),
            ("t-one/dvc.lock", "../.choice/t/t-one.lock"),
            (".choice/t", "t@demo"),
        ] {
            assert_eq!(fs::read_link(project.at("pipelines").join(link)).unwrap().to_str(), Some(target));
        }
        assert_eq!(project.read("pipelines/t.yaml"), "text: 2\n");
        let out = if first.is_empty() { "demo/out" } else { "runs/out" };
        assert!(project.read("pipelines/s-one/dvc.lock").contains(out));
        assert_eq!(project.ran(&["pipelines/s-one"]), [""; 0]);
        let other = if first.is_empty() { "published" } else { "demo" };
        assert_eq!(project.ran(&["pipelines/s-one", "--size", other]), ["a", "b"]);
        assert!(!project.read("pipelines/s-one/dvc.lock").contains(out), "each size has a lock of its own");
    }
}

#[test]
fn git_shows_no_change_whatever_was_chosen_and_run() {
    let project = sized();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@y"]).args(arguments).current_dir(project.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    // As a clone has it: the usual choice with an empty lock.
    fs::create_dir_all(project.at("pipelines/.choice/s@demo")).unwrap();
    symlink("s@demo", project.at("pipelines/.choice/s")).unwrap();
    symlink("../../s.demo.yaml", project.at("pipelines/.choice/s@demo/vars.yaml")).unwrap();
    project.write("pipelines/.choice/s@demo/s-one.lock", "schema: '2.0'\nstages: {}\n");
    project.write("pipelines/.choice/.gitignore", "*\n!.gitignore\n");
    project.write(".gitignore", "/demo\n/runs\n/other\n");
    git(&["init", "-q"]);
    git(&["add", "-f", "pipelines", ".gitignore"]);
    git(&["add", "-A"]);
    git(&["commit", "-qm", "x"]);
    for size in ["demo", "published", "demo"] {
        project.run(&["pipelines/s-one", "-q", "--size", size]);
        assert_eq!(git(&["status", "--porcelain"]), "", "{size}");
        assert!(project.read("pipelines/s.yaml").contains(if size == "demo" { "small.txt" } else { "large.txt" }));
    }
    project.run(&["pipelines/s-one", "-q", "--set", "config=my.txt"]);
    git(&["add", "-A"]);
    assert_eq!(git(&["status", "--porcelain"]), "");
    assert!(project.read("pipelines/s-one/dvc.lock").contains("my.txt"));
}

#[test]
fn a_value_that_differs_gives_outs_of_its_own_and_leaves_the_rest() {
    let project = sized();
    project.run(&["pipelines/s-one", "-q"]);
    assert_eq!(project.ran(&["pipelines/s-one", "--set", "config=my.txt"]), ["a"]);
    assert_eq!(project.read("demo/out"), "small");
    let status = project.run(&["pipelines/s-one", "--status"]).stdout;
    assert!(status.starts_with("size demo with config=my.txt"), "{status}");
    let lock = project.read("pipelines/s-one/dvc.lock");
    assert!(lock.contains("demo/out.demo+") && lock.contains("my.txt"), "{lock}");
}
