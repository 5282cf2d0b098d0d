//! The LEAP blend pipeline at its smallest size, in a folder of its own.
#![allow(dead_code)] // each test target uses a part of it

use std::fs;
use std::path::Path;

use common::durable;

use crate::support::root;

/// Where it writes, and its last file.
pub const FOLDER: &str = "demo/leap-small";
pub const BLEND: &str = "demo/leap-small/blend.parquet";

/// One thread, and kernels that all processors with AVX2 share.
pub const PINS: [(&str, &str); 6] = [
    ("OMP_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("MKL_CBWR", "COMPATIBLE"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    ("CUDA_VISIBLE_DEVICES", ""),
];

/// Copies pipelines and configs into `folder`, set to the smallest size, without locks and traces of runs here.
pub fn copy_into(folder: &Path) {
    for part in ["pipelines", "configs/leap"] {
        copy(&root().join(part), &folder.join(part));
    }
    // Members read each other's outs because they lie in one repository.
    fs::create_dir(folder.join(".git")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            if name != ".podium" && name != ".choice" {
                copy(&entry.path(), &to.join(&name));
            }
        } else if !entry.file_type().unwrap().is_symlink() && name != "dvc.lock" {
            let text = fs::read_to_string(entry.path()).unwrap();
            durable::write(to.join(&name), text.replace("../leap.yaml", "../leap.small.yaml").as_bytes()).unwrap();
        }
    }
}
