//! The page about blending: its commands run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::data::{block, json, numbers_of, put, python};
use crate::support::{binary, root};

#[test]
fn the_commands_of_the_page_on_blending_run() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    // Not a link: a Python of a virtual environment looks beside its own path for its packages.
    let starter = format!("#!/bin/sh\nexec {} \"$@\"\n", python.to_string_lossy());
    put(&programs, "python3", &starter);
    fs::set_permissions(programs.join("python3"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(root().join("docs"), folder.path().join("docs")).unwrap();
    put(folder.path(), "my_metric.py", &block("python", "mean_pinball_loss"));
    let page = fs::read_to_string(root().join("docs/blending.md")).unwrap();
    let tested = page.split("<!-- test -->\n```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let mut blocks: Vec<String> = tested.collect();
    assert_eq!(blocks.len(), 4, "one makes the competitions, three blend them");
    blocks.push(block("sh", "--metric-command"));
    let mut search = programs.into_os_string();
    search.push(":");
    search.push(binary("hill-climb").parent().unwrap());
    search.push(":");
    search.push(std::env::var_os("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", &format!("set -euo pipefail\n{}", blocks.join("\n"))])
        .current_dir(folder.path())
        .env("PATH", search)
        .env("NO_COLOR", "1")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    for (name, columns) in [("churn", 1), ("prices", 1), ("animals", 3)] {
        let rows = numbers_of(folder.path(), &format!("{name}/final/submission.csv"));
        assert!(rows.len() == 400 && rows.iter().all(|row| row.len() == columns), "{name}: {}", rows.len());
        let found = json(folder.path(), &format!("{name}/weights"));
        assert_eq!(found["out_of_fold"]["folds"].as_array().unwrap().len(), 5);
    }
}
