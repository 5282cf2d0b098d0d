//! The machine: GPUs, processor, memory, threads, limits, disk, as the kernel and the driver show them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::libtorch::Libtorch;
use super::{Check, Status};

const GIB: f64 = (1_u64 << 30) as f64;
/// Less available memory than this stops the small runs of the tutorial.
const LEAST_MEMORY: f64 = 2.0 * GIB;
/// Variables that decide how many threads libtorch uses.
const THREADS: [&str; 6] = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "OMP_PROC_BIND",
    "GOMP_CPU_AFFINITY",
];

/// The compiler that built this binary: rustc writes it into the section `.comment`.
pub fn compiler() -> String {
    let bytes = std::env::current_exe().and_then(fs::read).unwrap_or_default();
    let mark = b"rustc version ";
    // The text follows in a section of its own; a mention in the code has no digit behind it.
    let found = bytes.windows(mark.len() + 1).position(|w| w.starts_with(mark) && w[mark.len()].is_ascii_digit());
    let text = found.map(|at| &bytes[at..]).and_then(|rest| rest.split(|&b| b == 0).next());
    match text.and_then(|t| std::str::from_utf8(t).ok()) {
        Some(text) => text.replacen("rustc version", "rustc", 1),
        None => format!("rustc {} or newer", env!("CARGO_PKG_RUST_VERSION")),
    }
}

/// GPUs, and whether the installed libtorch can use them.
pub fn devices(library: Option<&Libtorch>) -> Check {
    let gpus = gpus();
    let name = "CUDA devices";
    if gpus.is_empty() {
        return Check::ok("machine", name, "none, runs use the CPU");
    }
    let check = Check::ok("machine", name, gpus.join("; "));
    match library {
        Some(library) if !library.has_cuda() => {
            check.but(Status::Warn, "libtorch has its CPU part only; `make setup CUDA=1` fetches the rest")
        }
        _ => check,
    }
}

fn gpus() -> Vec<String> {
    let query = ["--query-gpu=index,name,memory.total,driver_version", "--format=csv,noheader"];
    if let Ok(output) = Command::new("nvidia-smi").args(query).output()
        && output.status.success()
    {
        let text = String::from_utf8_lossy(&output.stdout);
        let rows = text.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(", ").map(str::trim).collect();
            let [index, name, memory, driver] = fields[..] else { return None };
            Some(format!("cuda:{index} {name}, {memory}, driver {driver}"))
        });
        return rows.collect();
    }
    // Without the tool the driver still lists its devices.
    let Ok(folders) = fs::read_dir("/proc/driver/nvidia/gpus") else { return Vec::new() };
    let texts = folders.flatten().filter_map(|f| fs::read_to_string(f.path().join("information")).ok());
    let mut models: Vec<String> =
        texts.filter_map(|t| Some(t.lines().find_map(|l| l.strip_prefix("Model:"))?.trim().to_owned())).collect();
    models.sort();
    models
}

/// Everything else about the machine; `out` is the folder whose disk is looked at.
pub fn checks(out: &Path) -> Vec<Check> {
    vec![system(), processor(), threads(), memory(), open_files(), disk(out)]
}

fn system() -> Check {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux").trim_matches('"');
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Check::ok("machine", "system", format!("{name}, kernel {}", kernel.trim()))
}

fn processor() -> Check {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |key: &str| {
        let line = text.lines().find(|l| l.split(':').next().is_some_and(|k| k.trim() == key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = field("model name").unwrap_or_else(|| "unknown processor".into());
    let flags = field("flags").unwrap_or_default();
    let known: Vec<&str> = ["avx2", "fma", "avx512f", "avx512_bf16", "amx_tile"]
        .into_iter()
        .filter(|f| flags.split(' ').any(|g| g == *f))
        .collect();
    let check = Check::ok("machine", "processor", format!("{model} ({})", known.join(" ")));
    if known.contains(&"avx2") {
        check
    } else {
        check.but(Status::Warn, "without AVX2 libtorch is several times slower")
    }
}

fn threads() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let set: BTreeMap<&str, String> =
        THREADS.iter().filter_map(|&name| Some((name, std::env::var(name).ok()?))).collect();
    let shown: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let shown = if shown.is_empty() { "no variable set".to_owned() } else { shown.join(" ") };
    let check = Check::ok("machine", "threads", format!("{cores} cores usable, {shown}"));
    let asked = set.get("OMP_NUM_THREADS").and_then(|v| v.parse::<usize>().ok()).unwrap_or(0);
    if asked > cores {
        check.but(Status::Warn, format!("more threads than cores are slower: `export OMP_NUM_THREADS={cores}`"))
    } else {
        check
    }
}

fn memory() -> Check {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |key: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(key)).unwrap_or("0");
        line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
    };
    let (mut total, mut free) = (bytes("MemTotal:"), bytes("MemAvailable:"));
    // A container may use less than the machine has.
    let number = |file: &str| fs::read_to_string(file).ok().and_then(|t| t.trim().parse::<f64>().ok());
    if let Some(limit) = number("/sys/fs/cgroup/memory.max") {
        total = total.min(limit);
        free = free.min(limit - number("/sys/fs/cgroup/memory.current").unwrap_or(0.0));
    }
    let check = Check::ok("machine", "memory", format!("{:.1} GiB, {:.1} GiB available", total / GIB, free / GIB));
    if free < LEAST_MEMORY {
        check.but(Status::Warn, "small runs need about 2 GiB: end other programs, or use smaller batches")
    } else {
        check
    }
}

fn open_files() -> Check {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("Max open files")).unwrap_or_default();
    let soft = line.split_whitespace().next().unwrap_or("unknown");
    let check = Check::ok("machine", "open files", soft);
    if soft.parse::<u64>().is_ok_and(|n| n < 1024) {
        check.but(Status::Warn, "data sets have many files: `ulimit -n 4096`")
    } else {
        check
    }
}

fn disk(out: &Path) -> Check {
    // The folder may not exist yet: its nearest parent lies on the same disk.
    let absolute = std::path::absolute(out).unwrap_or_else(|_| out.to_path_buf());
    let folder = absolute.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let Some(free) = free_on_disk(folder) else { return Check::ok("machine", "disk", "unknown") };
    let free = free as f64;
    let check = Check::ok("machine", "disk", format!("{:.1} GiB free in {}", free / GIB, folder.display()));
    if free < 5.0 * GIB {
        check.but(Status::Warn, "the demo needs about 5 GiB; name another disk with `--out`")
    } else {
        check
    }
}

/// Bytes that are free on the disk of a folder; none where `df` does not say.
pub fn free_on_disk(folder: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(folder).output().ok()?;
    free_bytes(&String::from_utf8_lossy(&output.stdout))
}

/// Free bytes in the answer of `df -Pk`: the fourth column of its last line.
fn free_bytes(listing: &str) -> Option<u64> {
    let kib: u64 = listing.lines().nth(1)?.split_whitespace().rev().nth(2)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_read_from_df() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a b 100 60 40 60% /mnt\n";
        assert_eq!(free_bytes(text), Some(40 * 1024));
        assert_eq!(free_bytes(""), None);
    }

    #[test]
    fn the_compiler_of_this_program_is_known() {
        assert!(compiler().starts_with("rustc 1."), "{}", compiler());
    }
}
