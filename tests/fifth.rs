//! A fifth system in an afternoon: `docs/adding-a-system.md` says how. This does what the page says in a copy of the
//! repository, builds that, and runs the system from raw data to a score.

#![allow(clippy::disallowed_methods, reason = "a copy of the repository is no result of a stage")]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::root;

/// What the page says.
#[derive(Default)]
struct Page {
    /// New files.
    files: Vec<(PathBuf, String)>,
    /// Lines of existing files: each begins with ` `, `+` or `-`.
    changes: Vec<(PathBuf, Vec<String>)>,
    /// What is run in the end.
    commands: String,
}

impl Page {
    fn read() -> Self {
        let text = fs::read_to_string(root().join("docs/adding-a-system.md")).unwrap();
        let (mut page, mut named) = (Self::default(), None);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(language) = line.strip_prefix("```") {
                let block: Vec<String> = lines.by_ref().take_while(|l| *l != "```").map(str::to_string).collect();
                match (named.take(), language) {
                    (Some(path), "diff") => page.changes.push((path, block)),
                    (Some(path), _) => page.files.push((path, block.join("\n") + "\n")),
                    (None, "sh") => page.commands += &(block.join("\n") + "\n"),
                    (None, other) => panic!("a block of `{other}` without the name of its file"),
                }
            } else if !line.is_empty() {
                let path = line.strip_prefix('`').and_then(|l| l.strip_suffix('`'));
                named = path.filter(|path| !path.contains(['`', ' '])).map(PathBuf::from);
            }
        }
        assert!(page.files.len() > 8 && page.commands.contains("train-model"), "{} files", page.files.len());
        page
    }

    /// Makes the changes and the new files in a copy of the repository.
    fn make(&self, copy: &Path) {
        for (path, lines) in &self.changes {
            let text = fs::read_to_string(copy.join(path)).unwrap();
            let side = |other: char| -> String {
                let kept = lines.iter().filter(|line| !line.starts_with(other));
                kept.map(|line| format!("{}\n", line.get(1..).unwrap_or_default())).collect()
            };
            let (old, new) = (side('+'), side('-'));
            assert_eq!(text.matches(&old).count(), 1, "`{}` does not have these lines once:\n{old}", path.display());
            fs::write(copy.join(path), text.replace(&old, &new)).unwrap();
        }
        for (path, text) in &self.files {
            let path = copy.join(path);
            assert!(!path.exists(), "`{}` is no new file", path.display());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
}

/// Copies a file or folder with its times, by which Cargo knows what is built already; `linked` says what becomes a link.
fn copy(from: &Path, to: &Path, linked: &dyn Fn(&Path) -> bool) {
    if linked(from) {
        return symlink(from, to).unwrap();
    }
    let about = fs::metadata(from).unwrap();
    if about.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().flatten() {
            copy(&entry.path(), &to.join(entry.file_name()), linked);
        }
    } else {
        fs::copy(from, to).unwrap();
    }
    File::open(to).unwrap().set_modified(about.modified().unwrap()).unwrap();
}

/// The files of the repository, those not yet committed among them; its large golden values left out. None where this is no
/// clone.
fn repository() -> Option<Vec<PathBuf>> {
    let listed = Command::new("git").args(["ls-files", "-z", "-co", "--exclude-standard"]).current_dir(root()).output();
    let listed = listed.ok().filter(|listed| listed.status.success())?;
    let names = String::from_utf8(listed.stdout).unwrap();
    let names: BTreeSet<&str> = names.split('\0').filter(|name| !name.is_empty()).collect();
    let wanted = |path: &&PathBuf| !path.starts_with("tests/golden") && root().join(path).is_file();
    Some(names.into_iter().map(PathBuf::from).collect::<Vec<_>>().iter().filter(wanted).cloned().collect())
}

fn copy_of_repository(files: &[PathBuf], to: &Path) {
    let mut folders = BTreeSet::new();
    for path in files {
        folders.extend(path.ancestors().skip(1).map(Path::to_path_buf));
        fs::create_dir_all(to.join(path).parent().unwrap()).unwrap();
        copy(&root().join(path), &to.join(path), &|_| false);
    }
    for folder in folders {
        let modified = fs::metadata(root().join(&folder)).unwrap().modified().unwrap();
        File::open(to.join(&folder)).unwrap().set_modified(modified).unwrap();
    }
}

/// A build folder that begins with what this one holds. Cargo names what it builds after places in the workspace, so
/// what the copy has in common with it is up to date there. Nothing is written through a link: Cargo and rustc put files in
/// place by renaming, and what they write in place is copied.
fn build_folder(built: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    copy(&built.join(".fingerprint"), &to.join(".fingerprint"), &|_| false);
    copy(&built.join("deps"), &to.join("deps"), &|path| path.is_file() && path.extension().is_none_or(|e| e != "d"));
    let own = |path: &Path| {
        // Scripts of our own crates may run again; they write into a folder of their own.
        let of = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        ["neural-", "podium-"].iter().any(|name| of.starts_with(name))
    };
    copy(&built.join("build"), &to.join("build"), &|path| path.ends_with("out") && !own(path));
}

/// `cargo`, as this test was built.
fn cargo(folder: &Path, target: &Path, built: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_BIN_") || text.starts_with("NEXTEST") {
            cargo.env_remove(&name);
        }
    }
    cargo.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH").env("CARGO_TARGET_DIR", target);
    cargo.current_dir(folder).args(["build", "--offline", "--workspace"]);
    match built.file_name().unwrap().to_str().unwrap() {
        "debug" => {}
        "release" => _ = cargo.arg("--release"),
        profile => _ = cargo.args(["--profile", profile]),
    }
    // Settings that stand in folders above the repository hold for it, and for its copy, which lies elsewhere.
    let home = std::env::var_os("HOME").map(PathBuf::from);
    for above in root().ancestors().skip(1) {
        let settings = above.join(".cargo/config.toml");
        if settings.is_file() && !folder.starts_with(above) && home.as_deref() != Some(above) {
            cargo.arg("--config").arg(settings);
        }
    }
    cargo
}

/// Columns of a csv file of numbers, by a reader of its own.
fn columns(path: &Path, names: &[&str]) -> Vec<Vec<f64>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let place = |name: &&str| header.iter().position(|column| column == name).unwrap();
    let places: Vec<usize> = names.iter().map(place).collect();
    let rows: Vec<Vec<f64>> = lines.map(|line| line.split(',').map(|v| v.parse().unwrap()).collect()).collect();
    places.iter().map(|&place| rows.iter().map(|row| row[place]).collect()).collect()
}

/// The plane of least squares through rows of (1, inputs): the normal equations, by elimination with pivots.
fn least_squares(inputs: &[Vec<f64>], target: &[f64]) -> Vec<f64> {
    let ones = vec![1.0; target.len()];
    let all: Vec<&Vec<f64>> = std::iter::once(&ones).chain(inputs).collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let n = all.len();
    let mut rows: Vec<Vec<f64>> =
        all.iter().map(|a| all.iter().map(|b| product(a, b)).chain([product(a, target)]).collect()).collect();
    for at in 0..n {
        let pivot = (at..n).max_by(|&a, &b| rows[a][at].abs().total_cmp(&rows[b][at].abs())).unwrap();
        rows.swap(at, pivot);
        let upper = rows[at].clone();
        for lower in rows.iter_mut().skip(at + 1) {
            let factor = lower[at] / upper[at];
            lower.iter_mut().zip(&upper).for_each(|(value, above)| *value -= factor * above);
        }
    }
    let mut found = vec![0.0; n];
    for at in (0..n).rev() {
        let known: f64 = (at + 1..n).map(|k| rows[at][k] * found[k]).sum();
        found[at] = (rows[at][n] - known) / rows[at][at];
    }
    found
}

fn r2(truth: &[f64], predicted: &[f64]) -> f64 {
    let mean = truth.iter().sum::<f64>() / truth.len() as f64;
    let sum = |of: &dyn Fn(usize) -> f64| (0..truth.len()).map(|row| of(row).powi(2)).sum::<f64>();
    1.0 - sum(&|row| truth[row] - predicted[row]) / sum(&|row| truth[row] - mean)
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that is skipped says why; how long a build takes is of interest")]
fn the_system_of_the_page_is_added_by_four_changes_and_runs_from_raw_data_to_a_score() {
    let Some(files) = repository() else {
        return eprintln!("skipped: this is no clone, and the page adds a system to a copy of one");
    };
    let page = Page::read();
    // The same file system as the build folder: nothing is copied twice.
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (copy, target) = (place.path().join("podium"), place.path().join("target"));
    copy_of_repository(&files, &copy);
    page.make(&copy);

    let built = support::binary("x").parent().unwrap().to_path_buf();
    build_folder(&built, &target.join(built.file_name().unwrap()));
    let mut build = cargo(&copy, &target, &built);
    for name in ["simulate-data", "prepare-data", "train-model", "predict", "podium-torch", "score"] {
        build.args(["--bin", name]);
    }
    let begun = std::time::Instant::now();
    let outcome = build.output().unwrap();
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{said}");
    assert!(!said.contains("warning:"), "{said}");
    let compiled: Vec<&str> = said.lines().filter(|line| line.trim_start().starts_with("Compiling")).collect();
    eprintln!("{} crates built in {:.0} s:\n{}", compiled.len(), begun.elapsed().as_secs_f64(), compiled.join("\n"));

    // What was touched, the build's own lock file apart.
    let same = |path: &&PathBuf| fs::read(root().join(path)).unwrap() == fs::read(copy.join(path)).unwrap();
    let mut touched: Vec<_> = files.iter().filter(|path| !same(path)).collect();
    touched.retain(|path| *path != Path::new("Cargo.lock"));
    let named: BTreeSet<_> = page.changes.iter().map(|(path, _)| path).collect();
    assert_eq!(touched.iter().copied().collect::<BTreeSet<_>>(), named);
    assert!(touched.len() <= 4, "{touched:?}");

    let bins = target.join(built.file_name().unwrap());
    let run = |script: &str| {
        let path = format!("{}:{}", bins.display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.args(["-e", "-o", "pipefail", "-c", script]).current_dir(&copy).env("PATH", path).env("NO_COLOR", "1");
        bash.output().unwrap()
    };
    let outcome = run(&page.commands);
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{said}");
    let text = String::from_utf8(outcome.stdout).unwrap();
    let figures: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let score = figures["scores"][0]["mean_r2"].as_f64().unwrap_or_else(|| panic!("no mean in {figures}"));

    // The same figure from the files, and the network beside the best plane that there is.
    let inputs = ["mass_kg", "temperature_k", "age_years"];
    let train = columns(&copy.join("run/sim/raw/train.csv"), &[&inputs[..], &["length_mm"]].concat());
    let plane = least_squares(&train[..3], &train[3]);
    let test = columns(&copy.join("run/sim/raw/test.csv"), &inputs);
    let solution = columns(&copy.join("run/sim/truth/solution.csv"), &["id", "length_mm"]);
    let submitted = columns(&copy.join("run/submission/submission.csv"), &["id", "length_mm"]);
    assert_eq!(solution[0], submitted[0]);
    assert!((r2(&solution[1], &submitted[1]) - score).abs() < 1e-9, "{score}");
    let best: Vec<f64> =
        (0..test[0].len()).map(|row| plane[0] + (0..3).map(|at| plane[at + 1] * test[at][row]).sum::<f64>()).collect();
    let best = r2(&solution[1], &best);
    assert!(best > 0.999 && score > best - 1e-3, "{score}, least squares {best}");

    // What a real user meets next: rows that were prepared otherwise, a flag that the system does not read.
    let outcome =
        run("prepare-data springs configs/springs/prepare.yaml --raw run/sim/raw valid_every=3 --out run/other
         predict --weights run/linear/checkpoints/best/model.safetensors --data run/other --out run/wrong");
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(outcome.status.code(), Some(3), "{said}");
    assert!(said.contains("was normalised with") && !copy.join("run/wrong").exists(), "{said}");
    let outcome = run("predict --from run/linear --set train --out run/wrong");
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.code() == Some(2) && said.contains("`--set` is not read by `springs`"), "{said}");

    let sources = page.files.iter().map(|(path, _)| path).filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let changed = page.changes.iter().map(|(path, _)| path).filter(|path| path.extension().is_some_and(|e| e == "rs"));
    match Command::new("rustfmt")
        .args(["--check", "--edition", "2024"])
        .args(sources.chain(changed))
        .current_dir(&copy)
        .output()
    {
        Ok(outcome) => assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stdout)),
        Err(_) => eprintln!("skipped: there is no rustfmt, so the page's layout was not looked at"),
    }
}
