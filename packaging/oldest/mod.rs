//! Links what is handed out as on an older system: glibc 2.28 and the C++ library of g++ 8 (RHEL 8, Debian 10).
//!
//! A program asks for each name in the version that the library gives it at link time. glibc still has the older versions
//! and never links with them. So stand-ins are made of the system's own libraries, without code: the same names, each in
//! the newest version that 2.28 knew. What came later under new names stands in `later.c` and `later.cpp`.
//! What is newer and not there keeps its version: the program then needs that, and the wheel's tag says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T> = std::result::Result<T, String>;

/// The newest version of each interface that may be asked for.
const NEWEST: [(&str, [u32; 3]); 3] = [("GLIBC", [2, 28, 0]), ("GLIBCXX", [3, 4, 25]), ("CXXABI", [1, 3, 11])];

/// What Rust's library asks for weakly: where a system lacks it, it does without, but not when it is asked for by version.
const WEAK: [&str; 5] = [
    "gettid",
    "pidfd_getpid",
    "pidfd_spawnp",
    "posix_spawn_file_actions_addchdir",
    "posix_spawn_file_actions_addchdir_np",
];

/// What was a library of its own until it became part of libc in 2.34 (`libpthread` partly before): by the names' beginnings.
const ONCE_APART: [(&str, &[&str]); 3] = [
    ("pthread", &["pthread_", "__pthread_", "sem_"]),
    ("dl", &["dladdr", "dlclose", "dlerror", "dlinfo", "dlmopen", "dlopen", "dlsym", "dlvsym"]),
    ("rt", &["aio_", "lio_", "mq_", "shm_", "timer_"]),
];

/// The libraries that stand-ins are made of, as the linker names them, and the names of the files that programs load.
const LIBRARIES: [(&str, &str); 6] = [
    ("c", "libc.so.6"),
    ("pthread", "libpthread.so.0"),
    ("dl", "libdl.so.2"),
    ("rt", "librt.so.1"),
    ("m", "libm.so.6"),
    ("stdc++", "libstdc++.so.6"),
];

/// Makes the stand-ins below `folder`; gives the linker's arguments for a program without C++, and those for one with it.
pub fn link(folder: &Path) -> Result<(Vec<String>, Vec<String>)> {
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let compiler = cc::Build::new().get_compiler();
    let c = object(cc::Build::new(), "packaging/oldest/later.c")?;
    let cpp = object(cc::Build::new().cpp(true).std("c++17").clone(), "packaging/oldest/later.cpp")?;
    let own: BTreeSet<String> = defined(&c)?.union(&defined(&cpp)?).cloned().collect();

    let mut homes: BTreeMap<&str, Vec<Symbol>> = BTreeMap::new();
    for (library, file) in LIBRARIES {
        for symbol in chosen(exported(&found(&compiler, file)?)?) {
            if !own.contains(&symbol.name) && !WEAK.contains(&symbol.name.as_str()) {
                homes.entry(symbol.home(library)).or_default().push(symbol);
            }
        }
    }
    for (library, file) in LIBRARIES {
        stand_in(&compiler, folder, library, file, homes.get(library).map_or(&[], Vec::as_slice))?;
    }
    // `libc.so` is a text that names the parts; the static one is what every program brings itself.
    let [shared, own_part, loader] =
        [folder.join("libc.so.6"), found(&compiler, "libc_nonshared.a")?, found(&compiler, "ld-linux-x86-64.so.2")?];
    let parts = [shared, own_part, loader].map(|part| part.display().to_string());
    write(&folder.join("libc.so"), &format!("GROUP ( {} {} AS_NEEDED ( {} ) )\n", parts[0], parts[1], parts[2]))?;

    let plain = vec![format!("-L{}", folder.display()), c.display().to_string(), "-Wl,--wrap=__libc_start_main".into()];
    let with_cpp = plain.iter().cloned().chain([cpp.display().to_string()]).collect();
    Ok((plain, with_cpp))
}

/// A name that a library gives away.
struct Symbol {
    name: String,
    /// `GLIBC_2.2.5`; none where the library has no versions.
    version: String,
    /// Whether the library links programs with a newer version of it.
    moved: bool,
    kind: Kind,
    /// Bytes, of data.
    size: u64,
    address: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Function,
    Data,
    ThreadLocal,
}

impl Symbol {
    /// The library that had it in 2.28.
    fn home(&self, library: &'static str) -> &'static str {
        let starts = |beginnings: &[&str]| beginnings.iter().any(|beginning| self.name.starts_with(beginning));
        let apart = ONCE_APART.iter().find(|(_, beginnings)| starts(beginnings));
        apart.filter(|_| library == "c" && self.moved).map_or(library, |(apart, _)| apart)
    }
}

/// `GLIBC_2.3.4` as `("GLIBC", [2, 3, 4])`.
fn parsed(version: &str) -> Option<(&str, [u32; 3])> {
    let (interface, numbers) = version.split_once('_')?;
    let mut parsed = [0; 3];
    for (place, number) in numbers.split('.').enumerate() {
        *parsed.get_mut(place)? = number.parse().ok()?;
    }
    Some((interface, parsed))
}

fn is_later(version: &str) -> bool {
    parsed(version)
        .is_some_and(|(interface, numbers)| NEWEST.iter().any(|(of, newest)| *of == interface && numbers > *newest))
}

/// One version of each name: the newest that the older system has, or the one that programs are linked with today.
fn chosen(symbols: Vec<(Symbol, bool)>) -> Vec<Symbol> {
    let mut names: BTreeMap<String, Vec<(Symbol, bool)>> = BTreeMap::new();
    symbols.into_iter().for_each(|symbol| names.entry(symbol.0.name.clone()).or_default().push(symbol));
    names
        .into_values()
        .filter_map(|versions| {
            let default = versions.iter().position(|(_, default)| *default);
            let moved = default.is_some_and(|at| is_later(&versions[at].0.version));
            let older = (0..versions.len())
                .filter(|at| !is_later(&versions[*at].0.version) && parsed(&versions[*at].0.version).is_some())
                .max_by_key(|at| parsed(&versions[*at].0.version).map(|(_, numbers)| numbers));
            // A name without a default is one that no program is linked with any more.
            let at = if moved { older.or(default) } else { default }?;
            let symbol = versions.into_iter().nth(at)?.0;
            Some(Symbol { moved, ..symbol })
        })
        .collect()
}

/// What `readelf` says that a library gives away, and whether it is what programs are linked with.
fn exported(library: &Path) -> Result<Vec<(Symbol, bool)>> {
    let listing = said(Command::new("readelf").args(["--dyn-syms", "--wide"]).arg(library))?;
    let symbols = listing.lines().filter_map(|line| {
        // Number, address, size, kind, binding, visibility, section, name
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, address, size, kind, _, _, section, name, ..] = fields[..] else { return None };
        let kind = match kind {
            "FUNC" | "IFUNC" => Kind::Function,
            "OBJECT" => Kind::Data,
            "TLS" => Kind::ThreadLocal,
            _ => return None,
        };
        let (name, version) = name.split_once('@').unwrap_or((name, ""));
        let default = version.starts_with('@') || version.is_empty();
        let version = version.trim_start_matches('@').to_string();
        if ["UND", "ABS"].contains(&section) || version.ends_with("_PRIVATE") {
            return None;
        }
        let size = size.strip_prefix("0x").map_or_else(|| size.parse(), |hex| u64::from_str_radix(hex, 16)).ok()?;
        let address = u64::from_str_radix(address, 16).ok()?;
        Some((Symbol { name: name.to_string(), version, moved: false, kind, size, address }, default))
    });
    Ok(symbols.collect())
}

/// Compiles the stand-in of a library and the name that the linker looks for.
fn stand_in(compiler: &cc::Tool, folder: &Path, library: &str, file: &str, symbols: &[Symbol]) -> Result<()> {
    let mut nodes: BTreeMap<&str, String> = BTreeMap::new();
    let mut text = String::from(".section .note.GNU-stack,\"\",@progbits\n");
    // Names of one place stay together: a program that holds a copy of `environ` holds that of `__environ`.
    let mut places: BTreeMap<(u8, u64), Vec<&Symbol>> = BTreeMap::new();
    for symbol in symbols {
        let _ = write!(nodes.entry(&symbol.version).or_default(), " {};", symbol.name);
        places.entry((symbol.kind as u8, symbol.address)).or_default().push(symbol);
    }
    for symbols in places.values() {
        let (section, kind) = match symbols[0].kind {
            Kind::Function => (".text", "function"),
            Kind::Data => (".data", "object"),
            Kind::ThreadLocal => (".section .tbss,\"awT\",@nobits", "tls_object"),
        };
        let room = symbols.iter().map(|symbol| symbol.size).max().unwrap_or(0);
        let _ = writeln!(text, "{section}\n.balign 32");
        for Symbol { name, size, .. } in symbols {
            let size = if symbols[0].kind == Kind::Function { 0 } else { *size };
            let _ = writeln!(text, ".globl {name}\n.type {name},@{kind}\n.size {name},{size}\n{name}:");
        }
        let _ = writeln!(text, ".zero {}", if symbols[0].kind == Kind::Function { 1 } else { room });
    }
    let map = nodes.iter().map(|(version, names)| format!("{version} {{ global:{names} }};\n")).collect::<String>();
    let [source, script] = [folder.join(format!("{library}.s")), folder.join(format!("{library}.map"))];
    write(&source, &text)?;
    write(&script, &map)?;
    let mut command = compiler.to_command();
    command.args(["-shared", "-nostdlib", "-o"]).arg(folder.join(file)).arg(&source).arg(format!("-Wl,-soname,{file}"));
    if !nodes.is_empty() {
        command.arg(format!("-Wl,--version-script={}", script.display()));
    }
    said(&mut command)?;
    if library != "c" {
        write(&folder.join(format!("lib{library}.so")), &format!("INPUT ( {} )\n", folder.join(file).display()))?;
    }
    Ok(())
}

fn object(mut build: cc::Build, source: &str) -> Result<PathBuf> {
    println!("cargo:rerun-if-changed={source}");
    let objects = build.pic(true).warnings(false).opt_level(2).file(source).try_compile_intermediates();
    objects.map_err(|e| e.to_string())?.into_iter().next().ok_or_else(|| format!("`{source}` gave no object"))
}

/// The names that an object defines.
fn defined(object: &Path) -> Result<BTreeSet<String>> {
    let listing = said(Command::new("readelf").args(["--syms", "--wide"]).arg(object))?;
    let names = listing.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, kind, binding, _, section, name, ..] = fields[..] else { return None };
        let given = ["FUNC", "OBJECT"].contains(&kind) && ["GLOBAL", "WEAK"].contains(&binding) && section != "UND";
        given.then(|| name.to_string())
    });
    Ok(names.collect())
}

/// Where the compiler finds a library.
fn found(compiler: &cc::Tool, file: &str) -> Result<PathBuf> {
    let path = said(compiler.to_command().arg(format!("-print-file-name={file}")))?;
    let path = PathBuf::from(path.trim());
    if path.is_absolute() { Ok(path) } else { Err(format!("the compiler knows no `{file}`")) }
}

/// What a command printed, or why it failed.
pub fn said(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|e| e.to_string());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default()))
}

#[allow(clippy::disallowed_methods, reason = "files of the build, made again with every change of their source")]
/// Writes a file of the build.
pub fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}
