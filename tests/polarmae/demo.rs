//! `make demo-polarmae` at a tiny size.

use crate::raw::{SMALL, TINY};
use crate::support::{binary, root};

#[test]
fn the_demo_runs_to_its_last_line() {
    let folder = tempfile::tempdir().unwrap();
    let bins = binary("score");
    let path = format!("{}:{}", bins.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let at = "training.schedule.warmup_cosine";
    let schedule = format!("{at}.warmup=2 {at}.max_steps=4");
    let flags = format!("{} training.max_steps=2 {schedule}", TINY.join(" "));
    let output = std::process::Command::new(root().join("scripts/demo-polarmae"))
        .env("PATH", path)
        .env("BUILT", "1")
        .env("CARGO_TARGET_DIR", bins.parent().unwrap().parent().unwrap())
        .env("OUT", folder.path())
        .env("SIMULATE", SMALL.join(" "))
        .env("PRETRAIN", &flags)
        .env("SEGMENT", &flags)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let last: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    for key in ["svm_f1", "svm_f1_untrained", "seg_f1", "seg_f1_majority"] {
        assert!(last["metrics"][key].is_number(), "{key}: {last}");
    }
    for name in ["classes", "picture"] {
        assert!(std::path::Path::new(last["outputs"][name]["path"].as_str().unwrap()).is_file());
    }
}
