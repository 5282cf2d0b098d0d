//! `make setup`: what it promises about downloads, checksums and the unpacked folder, tried with tiny wheels that a
//! server on the loopback interface hands out; and that binaries without tensors start where libtorch is missing.

#![allow(clippy::disallowed_methods)] // fixtures are written plainly

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use support::root;

/// One request as the server saw it.
#[derive(Debug, Clone, PartialEq)]
struct Request {
    path: String,
    range: Option<String>,
}

/// A package index that knows ranges, remembers what it was asked and can break off an answer once.
struct Index {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    pages: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    cut_after: Arc<Mutex<Option<usize>>>,
}

impl Index {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let index = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            requests: Arc::default(),
            pages: Arc::default(),
            cut_after: Arc::default(),
        };
        let (requests, pages, cut) = (index.requests.clone(), index.pages.clone(), index.cut_after.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &requests, &pages, &cut);
            }
        });
        index
    }

    /// Publishes a wheel: the file, and its line on the package's page with the right hash.
    fn publish(&self, package: &str, wheel: &Path) -> String {
        let (file, bytes) = (wheel.file_name().unwrap().to_str().unwrap(), fs::read(wheel).unwrap());
        let hash = sha256(wheel);
        let mut pages = self.pages.lock().unwrap();
        let page = pages.entry(format!("/simple/{package}/")).or_default();
        page.extend(format!("<a href=\"/files/{file}#sha256={hash}\">{file}</a><br/>\n").bytes());
        pages.insert(format!("/files/{file}"), bytes);
        hash
    }

    /// Requests for files since the last call.
    fn downloads(&self) -> Vec<Request> {
        let all = std::mem::take(&mut *self.requests.lock().unwrap());
        all.into_iter().filter(|r| r.path.starts_with("/files/")).collect()
    }
}

fn answer(
    mut stream: TcpStream,
    requests: &Mutex<Vec<Request>>,
    pages: &Mutex<BTreeMap<String, Vec<u8>>>,
    cut: &Mutex<Option<usize>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split_whitespace().nth(1).unwrap_or("/").to_owned();
    let mut range = None;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("range:") {
            range = Some(value.trim().to_owned());
        }
    }
    requests.lock().unwrap().push(Request { path: path.clone(), range: range.clone() });
    let Some(body) = pages.lock().unwrap().get(&path).cloned() else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let from = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let (status, extra, part) = match from {
        Some(from) if from >= body.len() => ("416 Range Not Satisfiable", String::new(), &[][..]),
        Some(from) => {
            let extra = format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
            ("206 Partial Content", extra, &body[from..])
        }
        None => ("200 OK", String::new(), &body[..]),
    };
    let kind = if path.ends_with('/') { "text/html" } else { "application/octet-stream" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{extra}Connection: close\r\n\r\n",
        part.len()
    );
    stream.write_all(head.as_bytes())?;
    let keep = if path.starts_with("/files/") { cut.lock().unwrap().take() } else { None };
    stream.write_all(&part[..keep.unwrap_or(part.len()).min(part.len())])?;
    stream.flush()
}

fn sha256(path: &Path) -> String {
    let script = "import hashlib,sys; print(hashlib.sha256(open(sys.argv[1],'rb').read()).hexdigest())";
    let output = Command::new("python3").args(["-c", script]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A wheel with the given members (name, text, executable), written by Python's own zip module.
fn wheel(folder: &Path, file: &str, members: &[(&str, &str, bool)]) -> PathBuf {
    let path = folder.join(file);
    let script = "import json,sys,zipfile\n\
                  z = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED)\n\
                  for name, text, run in json.loads(sys.argv[2]):\n\
                  \x20   i = zipfile.ZipInfo(name); i.external_attr = (0o755 if run else 0o644) << 16\n\
                  \x20   z.writestr(i, text)\n\
                  z.close()";
    let json = serde_json::to_string(members).unwrap();
    assert!(Command::new("python3").args(["-c", script]).arg(&path).arg(json).status().unwrap().success());
    path
}

/// A folder with an index of two tiny wheels and the lock file that names them.
struct World {
    folder: tempfile::TempDir,
    index: Index,
}

const TORCH: &str = "torch-2.11.0-cp312-cp312-manylinux_2_28_x86_64.whl";
const CMAKE: &str = "cmake-4.4.4-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl";

impl World {
    fn new() -> Self {
        let (folder, index) = (tempfile::tempdir().unwrap(), Index::start());
        let world = Self { folder, index };
        let metadata = "Name: torch\n\
            Requires-Dist: sympy>=1.13.3\n\
            Requires-Dist: cuda-toolkit[cudart,nvrtc]==13.0.2; platform_system == \"Linux\"\n\
            Requires-Dist: nvidia-cudnn-cu13==9.19.0.56; platform_system == \"Linux\"\n\
            Requires-Dist: nvidia-windows-only==1.0; platform_system == \"Windows\"\n";
        let noise: String =
            (0..40_000_u32).map(|i| char::from(b'a' + (i.wrapping_mul(2_654_435_761) >> 24) as u8 % 26)).collect();
        let torch = [
            ("torch/lib/libc10.so", "c10", true),
            ("torch/lib/libtorch.so", "torch", true),
            ("torch/lib/libtorch_cpu.so", noise.as_str(), true),
            ("torch/lib/libtorch_cuda.so", "cuda", true),
            ("torch/lib/libtorch_python.so", "python", true),
            ("torch/include/ATen/ATen.h", "#pragma once", false),
            ("torch/__init__.py", "raise SystemExit", false),
            ("torch-2.11.0.dist-info/METADATA", metadata, false),
        ];
        let cmake = [
            ("cmake/data/bin/cmake", "#!/bin/sh", true),
            ("cmake/data/bin/ctest", "#!/bin/sh", true),
            ("cmake/data/share/cmake-4.4/Modules/A.cmake", "set(A 1)", false),
            ("cmake/__init__.py", "", false),
        ];
        let torch = wheel(world.path(), TORCH, &torch);
        let cmake = wheel(world.path(), CMAKE, &cmake);
        let (torch, cmake) = (world.index.publish("torch", &torch), world.index.publish("cmake", &cmake));
        world.lock(&format!("torch 2.11.0 {TORCH} {torch}\ncmake 4.4.4 {CMAKE} {cmake}  # comment\n"));
        world
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn lock(&self, text: &str) {
        fs::write(self.path().join("wheels.lock"), text).unwrap();
    }

    fn cache(&self) -> PathBuf {
        self.path().join("cache/podium/wheels")
    }

    fn environment(&self, command: &mut Command) {
        for (name, _) in std::env::vars()
            .filter(|(name, _)| name.to_ascii_lowercase().ends_with("_proxy") || name.starts_with("PIP_"))
        {
            command.env_remove(name);
        }
        command
            .env("PIP_CONFIG_FILE", "/dev/null")
            .env("PIP_INDEX_URL", format!("{}/simple", self.index.url))
            .env("PIP_RETRIES", "0")
            .env("PODIUM_RETRY_SECONDS", "0")
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .env_remove("PODIUM_LIBTORCH");
    }

    fn fetch(&self, into: &str, more: &[&str]) -> Output {
        let mut command = Command::new("python3");
        command.arg(root().join("scripts/fetch.py"));
        command.arg("--lock").arg(self.path().join("wheels.lock")).arg("--into").arg(self.path().join(into)).args(more);
        self.environment(&mut command);
        command.output().unwrap()
    }

    fn succeeds(&self, into: &str, more: &[&str]) -> String {
        let output = self.fetch(into, more);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(output.stdout.is_empty(), "nothing belongs on stdout");
        text
    }

    fn fails(&self, into: &str, more: &[&str]) -> String {
        let output = self.fetch(into, more);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Everything below a folder, as paths relative to it.
    fn tree(&self, folder: &str) -> Vec<String> {
        fn walk(base: &Path, folder: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(base, &path, found);
                } else {
                    found.push(path.strip_prefix(base).unwrap().display().to_string());
                }
            }
        }
        let (base, mut found) = (self.path().join(folder), Vec::new());
        walk(&base, &base, &mut found);
        found.sort();
        found
    }
}

const CPU_TREE: [&str; 7] = [
    "cmake/data/bin/cmake",
    "cmake/data/share/cmake-4.4/Modules/A.cmake",
    "torch/include/ATen/ATen.h",
    "torch/lib/libc10.so",
    "torch/lib/libtorch.so",
    "torch/lib/libtorch_cpu.so",
    "versions.json",
];

#[test]
fn a_fresh_machine_gets_only_what_a_build_needs() {
    let world = World::new();
    world.succeeds("lib", &[]);
    assert_eq!(world.tree("lib"), CPU_TREE);
    let mode = |file: &str| fs::metadata(world.path().join("lib").join(file)).unwrap().permissions().mode() & 0o111;
    assert_eq!((mode("cmake/data/bin/cmake"), mode("torch/include/ATen/ATen.h")), (0o111, 0));
    let stamp: serde_json::Value =
        serde_json::from_slice(&fs::read(world.path().join("lib/versions.json")).unwrap()).unwrap();
    assert_eq!(stamp["wheels"]["torch"]["version"], "2.11.0");
}

#[test]
fn a_second_run_and_a_second_clone_fetch_nothing() {
    let world = World::new();
    world.succeeds("lib", &[]);
    assert_eq!(world.index.downloads().len(), 2);
    let said = world.succeeds("lib", &[]);
    assert!(said.contains("nothing to fetch"), "{said}");
    world.succeeds("lib", &["--check"]);
    world.succeeds("another", &[]);
    assert_eq!(world.tree("another"), CPU_TREE);
    assert_eq!(world.index.downloads(), []);
}

#[test]
fn a_broken_download_continues_where_it_stopped() {
    let world = World::new();
    *world.index.cut_after.lock().unwrap() = Some(5000);
    let said = world.succeeds("lib", &[]);
    assert!(said.contains("continuing at"), "{said}");
    let torch: Vec<Request> = world.index.downloads().into_iter().filter(|r| r.path.ends_with(TORCH)).collect();
    assert_eq!(torch.iter().map(|r| r.range.as_deref()).collect::<Vec<_>>(), [None, Some("bytes=5000-")]);
    assert_eq!(world.tree("lib"), CPU_TREE);
}

#[test]
fn what_an_earlier_run_left_behind_is_continued() {
    let world = World::new();
    let whole = fs::read(world.path().join(TORCH)).unwrap();
    fs::create_dir_all(world.cache()).unwrap();
    fs::write(world.cache().join(format!("{TORCH}.part")), &whole[..1234]).unwrap();
    // A part that is complete already: the server has nothing left to send.
    fs::copy(world.path().join(CMAKE), world.cache().join(format!("{CMAKE}.part"))).unwrap();
    world.succeeds("lib", &[]);
    let ranges: Vec<Option<String>> = world.index.downloads().into_iter().map(|r| r.range).collect();
    assert_eq!(ranges[0].as_deref(), Some("bytes=1234-"));
    assert_eq!(world.tree("lib"), CPU_TREE);
    assert_eq!(fs::read(world.cache().join(TORCH)).unwrap(), whole);
}

#[test]
fn a_part_of_other_content_is_refused_and_the_next_run_heals() {
    let world = World::new();
    fs::create_dir_all(world.cache()).unwrap();
    fs::write(world.cache().join(format!("{TORCH}.part")), b"something else").unwrap();
    let said = world.fails("lib", &[]);
    assert!(said.contains("checksum") && said.contains("hint: "), "{said}");
    world.succeeds("lib", &[]);
    assert_eq!(world.tree("lib"), CPU_TREE);
}

#[test]
fn a_wrong_checksum_is_refused_and_nothing_is_left() {
    let world = World::new();
    world.lock(&format!("torch 2.11.0 {TORCH} {}\n", "0".repeat(64)));
    let said = world.fails("lib", &[]);
    assert!(said.contains(TORCH) && said.contains("expected 0000") && said.contains("was deleted"), "{said}");
    assert!(!world.path().join("lib").exists());
    assert!(!world.cache().join(TORCH).exists() && !world.cache().join(format!("{TORCH}.part")).exists());
}

#[test]
fn a_changed_file_in_the_cache_is_fetched_again() {
    let world = World::new();
    world.succeeds("lib", &[]);
    fs::write(world.cache().join(CMAKE), b"rotten").unwrap();
    world.index.downloads();
    let said = world.succeeds("another", &[]);
    assert!(said.contains("has changed since it was fetched"), "{said}");
    assert_eq!(world.index.downloads().len(), 1);
    assert_eq!(world.tree("another"), CPU_TREE);
}

#[test]
fn a_damaged_folder_is_unpacked_again_and_leftovers_go() {
    let world = World::new();
    world.succeeds("lib", &[]);
    fs::remove_file(world.path().join("lib/torch/lib/libc10.so")).unwrap();
    assert!(world.fails("lib", &["--check"]).contains("make setup"));
    // What a killed run leaves: its pid cannot exist, pids end far below.
    fs::create_dir(world.path().join("lib.tmp-999999999")).unwrap();
    world.succeeds("lib", &[]);
    assert_eq!(world.tree("lib"), CPU_TREE);
    assert!(!world.path().join("lib.tmp-999999999").exists());
}

#[test]
fn cuda_takes_every_package_that_torch_asks_for_on_linux() {
    let world = World::new();
    let library = |name: &'static str| [(name, "so", true), ("nvidia/__init__.py", "", false)];
    let toolkit = "Name: cuda-toolkit\n\
        Requires-Dist: nvidia-cuda-runtime==13.0.96.*; (sys_platform == \"linux\") and extra == \"cudart\"\n\
        Requires-Dist: nvidia-cuda-nvrtc==13.0.88.*; (sys_platform == \"linux\") and extra == \"nvrtc\"\n\
        Requires-Dist: nvidia-cufft==12.0.0.61.*; (sys_platform == \"linux\") and extra == \"cufft\"\n";
    let tag = "py3-none-manylinux_2_27_x86_64.whl";
    for (package, file, members) in [
        (
            "cuda-toolkit",
            "cuda_toolkit-13.0.2-py2.py3-none-any.whl".to_owned(),
            vec![("cuda_toolkit-13.0.2.dist-info/METADATA", toolkit, false)],
        ),
        ("nvidia-cuda-runtime", format!("nvidia_cuda_runtime-13.0.96-{tag}"), vec![]),
        (
            "nvidia-cuda-nvrtc",
            format!("nvidia_cuda_nvrtc-13.0.88-{tag}"),
            library("nvidia/cu13/lib/libnvrtc.so.13").to_vec(),
        ),
        (
            "nvidia-cudnn-cu13",
            format!("nvidia_cudnn_cu13-9.19.0.56-{tag}"),
            library("nvidia/cudnn/lib/libcudnn.so.9").to_vec(),
        ),
    ] {
        let mut members = members;
        if package != "cuda-toolkit" {
            let info: &'static str =
                Box::leak(format!("{}.dist-info/METADATA", package.replace('-', "_")).into_boxed_str());
            members.push((info, "Name: x\n", false));
        }
        if package == "nvidia-cuda-runtime" {
            members.push(("nvidia/cu13/lib/libcudart.so.13", "so", true));
        }
        world.index.publish(package, &wheel(world.path(), &file, &members));
    }
    world.succeeds("lib", &[]);
    world.succeeds("lib", &["--cuda"]);
    let tree = world.tree("lib");
    for file in [
        "torch/lib/libtorch_cuda.so",
        "nvidia/cu13/lib/libcudart.so.13",
        "nvidia/cu13/lib/libnvrtc.so.13",
        "nvidia/cudnn/lib/libcudnn.so.9",
    ] {
        assert!(tree.iter().any(|f| f == file), "{file} is missing in {tree:?}");
    }
    assert!(!tree.iter().any(|f| f.contains("python")), "{tree:?}");
    // The full folder serves a CPU build too.
    world.index.downloads();
    assert!(world.succeeds("lib", &[]).contains("nothing to fetch"));
}

#[test]
fn an_index_without_the_file_is_said_clearly() {
    let world = World::new();
    world.lock(&format!("nowhere 1.0 nowhere-1.0-py3-none-any.whl {}\n", "0".repeat(64)));
    let said = world.fails("lib", &[]);
    assert!(said.contains("cannot fetch nowhere-1.0-py3-none-any.whl") && said.contains("hint: "), "{said}");
}

#[test]
fn a_shared_folder_is_linked_into_the_clone() {
    let world = World::new();
    let clone = world.path().join("clone");
    fs::create_dir_all(clone.join("scripts")).unwrap();
    for script in ["setup", "fetch.py"] {
        fs::copy(root().join("scripts").join(script), clone.join("scripts").join(script)).unwrap();
    }
    let shared = world.path().join("shared");
    for _ in 0..2 {
        let mut command = Command::new(clone.join("scripts/setup"));
        world.environment(&mut command);
        command.arg("--lock").arg(world.path().join("wheels.lock")).env("PODIUM_LIBTORCH", &shared);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(fs::read_link(clone.join(".libtorch")).unwrap(), shared);
    assert_eq!(world.tree("shared"), CPU_TREE);
}

/// Binaries that use no tensor, as far as they exist.
const WITHOUT_TENSORS: [&str; 3] = ["hill-climb", "hit-density", "run-pipeline"];

#[test]
fn binaries_without_tensors_start_with_libtorch_hidden() {
    let lib = fs::canonicalize(root().join(".libtorch/torch/lib"))
        .or_else(|_| fs::canonicalize(std::env::var("LIBTORCH").unwrap_or_default() + "/lib"))
        .expect("libtorch is set up when tests run");
    let binaries: Vec<PathBuf> =
        WITHOUT_TENSORS.iter().map(|name| support::binary(name)).filter(|path| path.is_file()).collect();
    assert!(!binaries.is_empty(), "run-pipeline exists");
    for binary in binaries {
        // The loader says every library that it looks for.
        let output = Command::new(&binary).arg("--version").env("LD_DEBUG", "libs").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("libc.so"), "{said}");
        let loads = |name: &str| said.contains(&format!("find library={name}"));
        assert!(!loads("libtorch") && !loads("libc10"), "{} loads libtorch", binary.display());
        // Where mounting is allowed, hide the folder itself.
        let script = "mount -t tmpfs none \"$1\" 2>/dev/null || exit 99; [ ! -e \"$1/libc10.so\" ] || exit 98; exec \"$2\" --help";
        let hidden = Command::new("unshare").args(["-rm", "sh", "-c", script, "sh"]).arg(&lib).arg(&binary).output();
        if let Ok(hidden) = hidden
            && !String::from_utf8_lossy(&hidden.stderr).contains("unshare:")
            && hidden.status.code() != Some(99)
        {
            assert!(hidden.status.success(), "{}: {}", binary.display(), String::from_utf8_lossy(&hidden.stderr));
            let mut text = String::new();
            hidden.stdout.as_slice().read_to_string(&mut text).unwrap();
            assert!(text.contains("Usage"), "{text}");
        }
    }
}

#[test]
fn measuring_on_a_gpu_says_where_there_is_none_and_joins_its_figures() {
    if !["/dev/nvidiactl", "/dev/dxg"].iter().any(|device| Path::new(device).exists()) {
        let output = Command::new("scripts/gpu").current_dir(root()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{text}");
        assert!(text.contains("there is no GPU here"), "{text}");
    }
    // Made-up figures with one side missing, a failed measurement, sides of different precision.
    let output =
        Command::new("python3").args(["scripts/measure/figures.py", "check"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_password_stays_with_the_server_that_it_is_for() {
    let script = r#"
import sys, urllib.request
sys.path.insert(0, sys.argv[1])
import fetch
def followed(to):
    request = urllib.request.Request("http://index/simple/x/", headers={"Authorization": "Basic eA=="})
    return fetch.Redirects().redirect_request(request, None, 302, "", {}, to).headers.get("Authorization")
assert followed("http://index/other/"), "the same server"
for other in ("http://storage/x", "http://index:81/x", "https://index/x"):
    assert followed(other) is None, other
config = fetch.PipConfig()
assert config.pair("http://index/files/a.whl") == ["me", "s:cret"], "files beside the index"
assert config.pair("http://storage/a.whl") is None
"#;
    let mut command = Command::new("python3");
    command.arg("-B").arg("-c").arg(script).arg(root().join("scripts"));
    command.env("PIP_INDEX_URL", "http://me:s%3Acret@index/simple").env("PIP_CONFIG_FILE", "/dev/null");
    let output = command.env("NETRC", "/dev/null").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
