//! Golden parity: one test of every folder with a `case.yaml` below `$PODIUM_GOLDEN/<system>/` (default: the folder
//! `../shared/golden` beside the workspace) and below `tests/golden/<system>/`, whose tests start with `clone::`.
//!
//! Which check runs follows from the longest known beginning of the case's path ([`checks::leap::KINDS`]); all values
//! come from the case. A case that no kind fits fails, unless `tests/golden/pending.txt` lists it.

//!
//! `<system>::sizes::*` are networks of other sizes than the cases have ([`checks::sizes`]).
//!
//! Where there is no GPU, the cases of each system also run on the stand-in for one (`gpu::<system>`).

mod checks;
#[path = "support/stand_in.rs"]
mod stand_in;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use checks::{Case, Kind};
use libtest_mimic::{Arguments, Failed, Trial};

/// The systems whose crates exist, each with its table of kinds.
const SYSTEMS: &[(&str, &[Kind])] = &[
    ("icecube", checks::icecube::KINDS),
    ("leap", checks::leap::KINDS),
    ("polarmae", checks::polarmae::KINDS),
    ("tracknet", checks::tracknet::KINDS),
];

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    // One thread a test: the runner starts tests side by side, and sums then do not depend on the machine.
    tch::set_num_threads(1);
    // Chosen before the first tensor: libtorch asks once whether there is a GPU.
    checks::device();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pending = Pending::read(&workspace.join("tests/golden/pending.txt"));
    let golden = std::env::var_os("PODIUM_GOLDEN").map_or_else(|| workspace.join("../shared/golden"), PathBuf::from);

    let mut trials = Vec::new();
    if golden.is_dir() {
        collect(&golden, "", &pending, &mut trials);
    } else {
        say(&format!("no golden folder `{}`: only the copies in `tests/golden` run", golden.display()));
        trials.push(Trial::test("missing_golden_folder", || Ok(())).with_ignored_flag(true));
    }
    collect(&workspace.join("tests/golden"), "clone::", &pending, &mut trials);
    let here = workspace.join("tests/golden");
    trials.push(Trial::test("clone::kinds_without_a_case_are_listed", move || kinds_are_listed(&here)));
    for (name, check) in checks::sizes::ALL {
        // `icecube::sizes::directions`: with the cases of its system, on the stand-in for a GPU too.
        let name = name.replacen("::", "::sizes::", 1);
        let check = *check;
        trials.push(Trial::test(name, move || check().map_err(|e| Failed::from(format!("{e:#}")))));
    }
    if std::env::var_os("PODIUM_GOLDEN_DEVICE").is_none() {
        let gpu = |(system, _): &(&str, _)| {
            let system = (*system).to_owned();
            Trial::test(format!("gpu::{system}"), move || on_gpu(&system))
        };
        trials.extend(SYSTEMS.iter().map(gpu));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Makes the tests of all systems below `root`.
fn collect(root: &Path, prefix: &str, pending: &Pending, trials: &mut Vec<Trial>) {
    for folder in folders(root) {
        let system = file_name(&folder);
        let Some((_, kinds)) = SYSTEMS.iter().find(|(name, _)| *name == system) else {
            say(&format!("`{}`: no system `{system}` yet, its cases are left out", folder.display()));
            continue;
        };
        let mut cases = Vec::new();
        find_cases(&folder, "", &mut cases);
        for path in cases {
            let name = format!("{system}::{path}");
            // The longest beginning wins: `fdzm-small-` before `fdzm-`.
            let kind = kinds.iter().filter(|(start, _)| path.starts_with(start)).max_by_key(|(start, _)| start.len());
            let folder = folder.join(&path);
            let (listed, check) = (pending.lists(&name), kind.map(|(_, check)| *check));
            let trial = Trial::test(format!("{prefix}{name}"), move || run(&folder, check));
            trials.push(trial.with_ignored_flag(listed));
        }
    }
}

/// The README says which kinds a clone alone does not test.
fn kinds_are_listed(here: &Path) -> Result<(), Failed> {
    let readme = std::fs::read_to_string(here.join("README.md"))?;
    for (system, kinds) in SYSTEMS {
        let mut cases = Vec::new();
        find_cases(&here.join(system), "", &mut cases);
        let longest = |case: &str| {
            kinds
                .iter()
                .map(|(start, _)| *start)
                .filter(|start| case.starts_with(start))
                .max_by_key(|start| start.len())
        };
        let line = readme.split("\n- ").find_map(|part| part.strip_prefix(&format!("{system}: "))).unwrap_or_default();
        for (kind, _) in *kinds {
            let (tested, listed) =
                (cases.iter().any(|case| longest(case) == Some(kind)), line.contains(&format!("`{kind}`")));
            if tested == listed {
                let what = if tested { "has a case and is listed as having none" } else { "has no case" };
                return Err(format!("{system}: the kind `{kind}` {what} in `{}`", here.display()).into());
            }
        }
    }
    Ok(())
}

fn run(folder: &Path, check: Option<checks::Check>) -> Result<(), Failed> {
    let Some(check) = check else {
        return Err("no kind fits this case: add one to the table in `tests/checks`, or list the case in `tests/golden/pending.txt`".into());
    };
    let outcome = Case::open(folder).and_then(|case| check(&case));
    outcome.map_err(|e| Failed::from(format!("{}: {e:#}", folder.display())))
}

/// All cases of a system again, in a process that has the stand-in's GPUs: operations that mix devices, that read a GPU's
/// memory, or that have no deterministic form there fail, and what a GPU computes in a way of its own has to agree.
fn on_gpu(system: &str) -> Result<(), Failed> {
    let mut cases = Command::new(std::env::current_exe()?);
    cases.args([&format!("{system}::"), "--test-threads=2"]).env("PODIUM_GOLDEN_DEVICE", "cuda");
    let out = cases.env("LD_PRELOAD", stand_in::library()).output()?;
    let (text, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if out.status.success() && !text.contains(" 0 passed") {
        return Ok(());
    }
    Err(format!("{}\n{text}{errors}", out.status).into())
}

/// Paths below `folder`, `/`-separated and sorted, of all folders that hold a `case.yaml`.
fn find_cases(folder: &Path, path: &str, found: &mut Vec<String>) {
    if folder.join("case.yaml").is_file() {
        found.push(path.to_owned());
        return;
    }
    for inner in folders(folder) {
        let name = file_name(&inner);
        let path = if path.is_empty() { name } else { format!("{path}/{name}") };
        find_cases(&inner, &path, found);
    }
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|e| e.path()).filter(|p| p.is_dir()).collect();
    found.sort();
    found
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Cases whose network or stage is not built yet: one name a line as the tests print it, `*` at the end for all names
/// that start so, `#` for a comment.
struct Pending(Vec<String>);

impl Pending {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        Self(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    fn lists(&self, name: &str) -> bool {
        self.0.iter().any(|line| line.strip_suffix('*').map_or(line == name, |start| name.starts_with(start)))
    }
}

/// Standard output belongs to the list of tests.
#[allow(clippy::print_stderr, reason = "a test runner talks to people")]
fn say(text: &str) {
    eprintln!("golden: {text}");
}
