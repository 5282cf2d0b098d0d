//! Damaged and hostile files for every reader of `common::store`: each ends in a value or in an error of the input kind
//! that names the file, never in a panic, a signal, a long wait or a large allocation.
//!
//! A flipped bit inside of numbers cannot be seen by most formats (manifests carry hashes for that), so reading such a
//! file may succeed; what is tested is that nothing breaks.

#![allow(clippy::print_stderr)] // what was skipped and how long things took

#[path = "corpus/indices.rs"]
mod indices;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use common::error::{Error, Result};
use common::seed::rng_for;
use common::store::hdf5::{ListFile, ListWriter};
use common::store::netcdf::{NcFile, NcKind, NcValues, NcWriter};
use common::store::npy::{self, NpyArray, NpzFile};
use common::store::pickle::{self, Checkpoint, NamedTensor};
use common::store::tables::{self, Column, ColumnKind, Table};
use common::store::tensors::{self, Dtype, TensorFile, TensorView};
use rand::RngExt;

/// Longest time that one file may take. The machine of a test may be busy with others.
const PATIENCE: Duration = Duration::from_secs(2);
/// Prefixes of a longer file.
const PREFIXES: usize = 200;
/// Random changes of a file.
const CHANGES: u64 = 1000;

/// A reader that looks at everything in a file.
type Reader = fn(&Path) -> Result<()>;

fn read_tensors(path: &Path) -> Result<()> {
    let file = TensorFile::open(path)?;
    for name in file.names() {
        file.view(name)?;
        if file.dtype(name)? == Dtype::F32 {
            file.f32(name)?;
        }
    }
    Ok(())
}

fn read_netcdf(path: &Path) -> Result<()> {
    let file = NcFile::open(path)?;
    for variable in file.variables() {
        // A variable of a type that was changed to text is refused, which is as good as read.
        if let Err(error) = file.read_f64(&variable.name) {
            assert!(matches!(error, Error::Input { .. }), "{error}");
        }
    }
    Ok(())
}

fn read_lists(path: &Path) -> Result<()> {
    let file = ListFile::open(path)?;
    let (points, clusters) = (file.lists("point")?, file.lists("cluster")?);
    points.floats(0..points.len(), |_, _| Ok(()))?;
    clusters.integers(0..clusters.len(), |_, _| Ok(()))
}

fn read_checkpoint(path: &Path) -> Result<()> {
    let checkpoint = Checkpoint::open(path)?;
    checkpoint.unknown();
    checkpoint.value().tensors()?;
    checkpoint.tensors().map(|_| ())
}

fn read_pickle(path: &Path) -> Result<()> {
    let checkpoint = Checkpoint::open(path)?;
    for (_, value) in checkpoint.value().entries() {
        value.array()?;
    }
    Ok(())
}

fn read_npy(path: &Path) -> Result<()> {
    let array = NpyArray::open(path)?;
    array.to_f64();
    array.elements::<f64>().map(|_| ())
}

fn read_npz(path: &Path) -> Result<()> {
    let archive = NpzFile::open(path)?;
    for name in archive.names() {
        archive.read(name)?.to_f64();
    }
    Ok(())
}

fn read_parquet(path: &Path) -> Result<()> {
    tables::read_parquet(path, None).map(|_| ())
}

fn read_csv(path: &Path) -> Result<()> {
    let schema = [("id", ColumnKind::Text), ("x", ColumnKind::F64), ("n", ColumnKind::I64)];
    tables::read_csv(path, &schema).map(|_| ())
}

/// A sound file of every format, and its reader.
fn samples(folder: &Path) -> Vec<(&'static str, Vec<u8>, Reader)> {
    let mut samples: Vec<(&'static str, Vec<u8>, Reader)> = Vec::new();
    let content = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let numbers: Vec<f32> = (0..300).map(|i| i as f32 / 7.0).collect();
    let wide: Vec<f64> = (0..300).map(|i| f64::from(i) / 7.0).collect();

    let views = [TensorView::of("inputs", &[30, 10], &numbers), TensorView::of("ids", &[2], &[1i64, 2])];
    let metadata = serde_json::json!({"columns": ["a", "b"], "system": "leap"});
    tensors::write(folder.join("a"), &views, Some(&metadata)).unwrap();
    samples.push(("safetensors", content("a"), read_tensors));

    for (name, kind) in [("netcdf classic", NcKind::Cdf5), ("netcdf hdf5", NcKind::Hdf5)] {
        let mut writer = NcWriter::new(kind);
        writer.deflate(4).dimension("lev", 3).unwrap().dimension("ncol", 100).unwrap();
        writer.variable("state_t", &["lev", "ncol"], NcValues::F64(&wide)).unwrap();
        writer.variable("state_ps", &["ncol"], NcValues::F32(&numbers[..100])).unwrap();
        writer.write(folder.join("b")).unwrap();
        samples.push((name, content("b"), read_netcdf));
    }

    let mut writer = ListWriter::create(folder.join("l"), &["point"], &["cluster"]).unwrap();
    for length in [3, 0, 200, 1] {
        writer.append_floats("point", &numbers[..length]).unwrap();
        writer.append_integers("cluster", &[length as i32, 1, 2]).unwrap();
    }
    writer.finish().unwrap();
    samples.push(("hdf5 lists", content("l"), read_lists));

    let bytes: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensor = |name: &'static str, shape: &[usize], bytes: &[u8]| NamedTensor {
        name: name.into(),
        dtype: Dtype::F32,
        shape: shape.to_vec(),
        bytes: bytes.to_vec().into(),
    };
    let state = [tensor("fc.weight", &[30, 10], &bytes), tensor("fc.bias", &[3], &bytes[..12])];
    pickle::write_state_dict(folder.join("c"), &state).unwrap();
    samples.push(("checkpoint", content("c"), read_checkpoint));

    // {"v": array([1, 2], dtype='<i8')}
    let mut plain =
        b"\x80\x02}X\x01\0\0\0vcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R".to_vec();
    plain.extend(b"(K\x01K\x02\x85cnumpy\ndtype\nX\x02\0\0\0i8\x89\x88\x87R(K\x03X\x01\0\0\0<NNNJ\xff\xff\xff\xff");
    plain.extend(b"J\xff\xff\xff\xffK\0tb\x89C\x10\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0tbs.");
    samples.push(("pickle", plain, read_pickle));

    npy::write_npy(folder.join("d"), &[30, 10], &wide).unwrap();
    samples.push(("npy", content("d"), read_npy));
    // An archive of torch has the same form as one of numpy; its entries are no arrays, so one more is assembled.
    samples.push(("npz", archive("x.npy", &content("d")), read_npz));

    let mut table = Table::new();
    table.push("id", Column::Text((0..100).map(|i| format!("row_{i}")).collect())).unwrap();
    table.push("x", Column::F64(wide[..100].to_vec())).unwrap();
    table.push("n", Column::I64((0..100).collect())).unwrap();
    tables::write_parquet(folder.join("e"), &table).unwrap();
    samples.push(("parquet", content("e"), read_parquet));
    tables::write_csv(folder.join("f"), &table).unwrap();
    samples.push(("csv", content("f"), read_csv));
    samples
}

/// A zip archive of one stored entry.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    common.extend(crc32fast::hash(content).to_le_bytes());
    common.extend((content.len() as u32).to_le_bytes());
    common.extend((content.len() as u32).to_le_bytes());
    common.extend((name.len() as u16).to_le_bytes());
    let local = [b"PK\x03\x04", &common[..], &[0, 0], name.as_bytes(), content].concat();
    let directory = [b"PK\x01\x02\x14\0", &common[..], &[0; 16], name.as_bytes()].concat();
    let mut end = b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec();
    end.extend((directory.len() as u32).to_le_bytes());
    end.extend((local.len() as u32).to_le_bytes());
    end.extend([0, 0]);
    [local, directory, end].concat()
}

thread_local! {
    static SLOWEST: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Reads `bytes` as a file. No panic, no error of another kind than input, no long wait.
fn survives(folder: &Path, what: &str, bytes: &[u8], reader: Reader) -> Result<()> {
    let path = folder.join("damaged");
    // A new file each time: HDF5 knows files by their number, and the netCDF library leaves damaged ones open.
    let _ = std::fs::remove_file(&path);
    // Without the syncs of a durable write: these files are many.
    #[allow(clippy::disallowed_methods)]
    std::fs::write(&path, bytes).unwrap();
    let begun = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| reader(&path)));
    let took = begun.elapsed();
    SLOWEST.set(SLOWEST.get().max(took));
    assert!(took < PATIENCE, "{what}: took {took:?}");
    let Ok(outcome) = outcome else {
        panic!("{what}: panicked on {} bytes {:02x?}", bytes.len(), &bytes[..bytes.len().min(400)])
    };
    if let Err(error) = &outcome {
        assert!(matches!(error, Error::Input { .. }), "{what}: {error}");
        assert!(error.to_string().contains("damaged`"), "{what}: the file is not named: {error}");
    }
    outcome
}

/// Runs a check over all samples, each in turn.
fn over_samples(check: impl Fn(&Path, &str, &[u8], Reader)) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, reader) in samples(folder.path()) {
        survives(folder.path(), name, &bytes, reader).unwrap_or_else(|e| panic!("{name} is unsound: {e}"));
        let begun = Instant::now();
        check(folder.path(), name, &bytes, reader);
        eprintln!("{name}: {:?}, slowest {:?}", begun.elapsed(), SLOWEST.replace(Duration::ZERO));
    }
}

#[test]
fn no_prefix_of_a_file_breaks_a_reader() {
    over_samples(|folder, name, bytes, reader| {
        let step = if bytes.len() < 4096 { 1 } else { bytes.len().div_ceil(PREFIXES) };
        for end in (0..bytes.len()).step_by(step) {
            let outcome = survives(folder, &format!("{name} cut at {end}"), &bytes[..end], reader);
            // A csv file may end after any line; all others know their length.
            assert!(name == "csv" || outcome.is_err(), "{name} cut at {end} of {} was accepted", bytes.len());
        }
    });
}

#[test]
fn no_change_of_a_few_bytes_breaks_a_reader() {
    over_samples(|folder, name, bytes, reader| {
        for change in 0..CHANGES {
            let mut rng = rng_for(7, name, change);
            let mut damaged = bytes.to_vec();
            for _ in 0..rng.random_range(1..=3) {
                // Half of the changes go where the structure is: the beginning or the end of the file.
                let at = match rng.random_range(0..4) {
                    0 => rng.random_range(0..damaged.len().min(512)),
                    1 => damaged.len() - rng.random_range(1..=damaged.len().min(512)),
                    _ => rng.random_range(0..damaged.len()),
                };
                damaged[at] = match rng.random_range(0..3) {
                    0 => damaged[at] ^ 1 << rng.random_range(0..8),
                    1 => [0, 0xff, 0x7f, 0x80][rng.random_range(0..4)],
                    _ => rng.random(),
                };
            }
            let _ = survives(folder, &format!("{name}, change {change}"), &damaged, reader);
        }
    });
}

/// Inputs that once broke a reader: files `FORMAT.NAME` (spaces as `_`) below `tests/regressions`.
#[test]
fn no_input_that_once_broke_a_reader_breaks_it_again() {
    let regressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    over_samples(|folder, name, _, reader| {
        for entry in std::fs::read_dir(&regressions).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            if file.split('.').next() == Some(&name.replace(' ', "_")) {
                let _ = survives(folder, &file, &std::fs::read(entry.path()).unwrap(), reader);
            }
        }
    });
}

/// The readers that are our own, for `PODIUM_FUZZ_SECONDS` each: ten minutes in `make fuzz`, a minute in the long sweeps,
/// a second without either. An input that breaks one is left in `tests/regressions` and becomes a case of the test above.
#[test]
fn r18_no_evolved_input_breaks_a_reader() {
    let long = std::env::var_os("PODIUM_LONG").is_some();
    let asked = std::env::var("PODIUM_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let seconds = asked.unwrap_or(if long { 60 } else { 1 });
    over_samples(|folder, name, bytes, reader| {
        if !["netcdf hdf5", "hdf5 lists", "parquet"].contains(&name) {
            evolve(folder, name, bytes, reader, Duration::from_secs(seconds));
        }
    });
}

/// Changes inputs again and again. One that leads to an answer not seen before (what a message says, without its
/// numbers and names) has reached new code: it is kept and changed further.
fn evolve(folder: &Path, name: &str, bytes: &[u8], reader: Reader, time: Duration) {
    let regressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    let mut answers = std::collections::BTreeSet::new();
    let mut kept = vec![bytes.to_vec()];
    let (begun, mut round) = (Instant::now(), 0);
    while begun.elapsed() < time {
        let mut rng = rng_for(11, name, round);
        round += 1;
        let mut input = kept[rng.random_range(0..kept.len())].clone();
        for _ in 0..rng.random_range(1..=4) {
            mutate(&mut input, &kept[rng.random_range(0..kept.len())], &mut rng);
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| survives(folder, name, &input, reader)));
        let Ok(outcome) = outcome else {
            let file = format!("{}.{}", name.replace(' ', "_"), &blake3::hash(&input).to_hex()[..12]);
            std::fs::create_dir_all(&regressions).unwrap();
            common::durable::write(regressions.join(&file), &input).unwrap();
            panic!("{name}: the input of round {round} breaks the reader; it is kept as `{file}`");
        };
        let said = outcome.err().map_or("read".into(), |e| e.to_string());
        // Names stand in backticks.
        let plain: String =
            said.split('`').step_by(2).collect::<String>().chars().filter(|c| !c.is_numeric()).collect();
        if answers.insert(plain) && input.len() < 1 << 16 {
            kept.push(input);
        }
    }
    eprintln!("{name}: {round} inputs, {} different answers", answers.len());
    assert!(answers.len() > 1, "{name}: no change had any effect");
}

/// One random change; `other` is another input to take a piece from.
fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut impl RngExt) {
    let at = rng.random_range(0..=input.len());
    let end = (at + rng.random_range(1..=16usize)).min(input.len());
    match rng.random_range(0..7) {
        0 => drop(input.drain(at..end)),
        1 => {
            let piece = input[at..end].to_vec();
            drop(input.splice(at..at, piece));
        }
        2 if !other.is_empty() => {
            let from = rng.random_range(0..other.len());
            let piece = other[from..(from + rng.random_range(1..=64usize)).min(other.len())].to_vec();
            drop(input.splice(at..end, piece));
        }
        3 => input.truncate(at),
        4 => {
            // Numbers at the edges of their types, in both byte orders.
            let number: u64 = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, u64::MAX][rng.random_range(0..8)];
            let piece = if rng.random() { number.to_le_bytes() } else { number.to_be_bytes() };
            let wide = [1, 2, 4, 8][rng.random_range(0..4)];
            let piece = if rng.random() { &piece[..wide] } else { &piece[8 - wide..] };
            let end = (at + wide).min(input.len());
            drop(input.splice(at..end, piece.iter().copied()));
        }
        _ if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
        _ => input.push(rng.random()),
    }
}

#[test]
fn hostile_files_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |what: &str, bytes: &[u8], reader: Reader, expected: &str| {
        let error = survives(folder.path(), what, bytes, reader).unwrap_err().to_string();
        assert!(error.contains(expected), "{what}: {error}");
        assert!(error.len() < 2000, "{what}: the message has {} bytes", error.len());
    };
    let tensors = |header: &str, data: &[u8]| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
    let one = r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    let overlap = tensors(&format!(r#"{{{one},"b":{{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}}}"#), &[0; 12]);
    refused("tensor overlap", &overlap, read_tensors, "tensor `b` overlaps");
    let huge = tensors(r#"{"a":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#, &[0; 8]);
    refused("tensor of 2^64 elements", &huge, read_tensors, "impossible shape");
    refused("deep header", &tensors(&"{\"a\":".repeat(100_000), &[]), read_tensors, "reading the header");
    let many = format!("{{{}}}", (0..200_000).map(|i| format!("\"{i}\":{{}}")).collect::<Vec<_>>().join(","));
    refused("many tensors", &tensors(&many, &[]), read_tensors, "missing field");

    let npy = |header: &str| {
        [&b"\x93NUMPY\x01\0"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), &[0; 64]].concat()
    };
    let shape = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000000), }\n");
    refused("npy of 8 exabytes", &shape, read_npy, "needs 8000000000000000000 bytes of data, found 64");
    let objects = npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n");
    refused("npy with a pickle", &objects, read_npy, "has the dtype `|O`");

    refused(
        "pickle with os.system",
        b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.",
        read_checkpoint,
        "the class `os.system`",
    );
    refused("SETITEM on a list", b"\x80\x02]K\0K\x01s.", read_checkpoint, "entries are set on a list");
    let marks = [&b"\x80\x02"[..], &b"(".repeat(3_000_000)].concat();
    refused("pickle of marks", &marks, read_checkpoint, "truncated");
    let deep = [&b"\x80\x02"[..], &b"]".repeat(1_000_000), &b"a".repeat(999_999), b"."].concat();
    refused("deep pickle", &deep, read_checkpoint, "nested too deeply");
    let recalled = [&b"\x80\x02]q\0"[..], &b"h\0".repeat(5_000_000)].concat();
    refused("pickle of references", &recalled, read_checkpoint, "more than 4000000 objects");

    let mut bomb = archive("a.npy", &[0; 1000]);
    // The size in the directory, and the method: 1000 bytes that claim to inflate to 200 MiB, then to 4 GiB.
    let directory = bomb.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    bomb[directory + 10] = 8;
    bomb[directory + 24..directory + 28].copy_from_slice(&(200u32 << 20).to_le_bytes());
    refused("zip bomb", &bomb, read_npz, "claims to inflate from 1000 to 209715200 bytes");
    bomb[directory + 24..directory + 28].copy_from_slice(&0xfff0_0000u32.to_le_bytes());
    refused("large zip bomb", &bomb, read_npz, "claims to inflate to 4293918720 bytes, expected at most");
    let mut entries = archive("a.npy", b"");
    let end = entries.len() - 14;
    entries[end..end + 4].copy_from_slice(&[0xfe, 0xff, 0xfe, 0xff]);
    refused("zip of 65534 entries", &entries, read_npz, "claims 65534 entries");

    let wide = (0..1_000_000).map(|i| format!("c{i}")).collect::<Vec<_>>().join(",");
    refused("csv of a million columns", wide.as_bytes(), read_csv, "has no column `id`");
    let quoted = format!("id,x,n\n\"{}", "a".repeat(20_000_000));
    refused("csv with an open quote", quoted.as_bytes(), read_csv, "line 2: a quoted field has no end");
    let long = format!("id,x,n\na,{},1\n", "9".repeat(10_000_000) + "x");
    refused("csv with a number of 10 MB", long.as_bytes(), read_csv, "line 2: column `x` is `99999");

    // CDF-5: a dimension of 2^62, and a variable over it.
    let mut cdf = b"CDF\x05".to_vec();
    cdf.extend(0u64.to_be_bytes());
    cdf.extend([0, 0, 0, 0x0a]);
    cdf.extend(1u64.to_be_bytes());
    cdf.extend(1u64.to_be_bytes());
    cdf.extend(b"n\0\0\0");
    cdf.extend((1u64 << 62).to_be_bytes());
    cdf.extend([0; 12]);
    cdf.extend([0, 0, 0, 0x0b]);
    cdf.extend(1u64.to_be_bytes());
    cdf.extend(1u64.to_be_bytes());
    cdf.extend(b"v\0\0\0");
    for number in [1u64, 0] {
        cdf.extend(number.to_be_bytes());
    }
    cdf.extend([0; 12]);
    cdf.extend([0, 0, 0, 6]);
    cdf.extend([0; 16]);
    refused("netcdf of 2^62 columns", &cdf, read_netcdf, "the size of variable `v` overflows");
    refused("parquet of nothing", b"PAR1PAR1", read_parquet, "reading parquet");

    // The files themselves, up to 20 MB, count as well.
    eprintln!("peak memory {} MiB", peak_mib());
    assert!(peak_mib() < 512, "peak memory {} MiB", peak_mib());
}

/// The most memory that this process had so far.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    peak.unwrap() >> 10
}
