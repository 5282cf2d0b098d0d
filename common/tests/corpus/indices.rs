//! Hostile indices of chunks in HDF5 files: each ends in a value or in an error, soon and in little memory. Sums that guard a block are
//! taken anew after a change, so that what is behind them is reached.

use std::path::Path;

use common::seed::rng_for;
use hdf5::types::VarLenArray;
use rand::RngExt;

use super::{CHANGES, Reader, peak_mib, read_lists, survives};

/// Everything in a file of numbers.
fn read_numbers(path: &Path) -> common::Result<()> {
    let file = common::store::netcdf::NcFile::open(path)?;
    file.variables().iter().try_for_each(|variable| file.read_f64(&variable.name).map(|_| ()))
}

/// Bob Jenkins' `lookup3`, byte by byte: the sum behind the blocks of HDF5.
fn lookup3(bytes: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32);
    let mut s = [start; 3];
    if bytes.is_empty() {
        return s[2];
    }
    let blocks: Vec<&[u8]> = bytes.chunks(12).collect();
    for (i, block) in blocks.iter().enumerate() {
        for (at, byte) in block.iter().enumerate() {
            s[at / 4] = s[at / 4].wrapping_add(u32::from(*byte) << (8 * (at % 4)));
        }
        let [mut a, mut b, mut c] = s;
        if i + 1 < blocks.len() {
            for (turn, third) in [4, 6, 8, 16, 19, 4].into_iter().enumerate() {
                let (x, y, z) = match turn % 3 {
                    0 => (&mut a, &mut c, &b),
                    1 => (&mut b, &mut a, &c),
                    _ => (&mut c, &mut b, &a),
                };
                *x = x.wrapping_sub(*y) ^ y.rotate_left(third);
                *y = y.wrapping_add(*z);
            }
        } else {
            for (turn, bits) in [14, 11, 25, 16, 4, 14, 24].into_iter().enumerate() {
                let (x, y) = match turn % 3 {
                    0 => (&mut c, b),
                    1 => (&mut a, c),
                    _ => (&mut b, a),
                };
                *x = (*x ^ y).wrapping_sub(y.rotate_left(bits));
            }
        }
        s = [a, b, c];
    }
    s[2]
}

/// Where blocks with a sum begin and end (the sum is behind the end).
fn summed(content: &[u8]) -> Vec<(usize, usize)> {
    let signatures: [&[u8]; 12] =
        [b"OHDR", b"OCHK", b"FRHP", b"FHIB", b"BTHD", b"BTIN", b"BTLF", b"FAHD", b"FADB", b"EAHD", b"EAIB", b"EADB"];
    let begins = (0..content.len().saturating_sub(8)).filter(|&at| signatures.contains(&&content[at..at + 4]));
    let ends = |begin: usize| {
        let most = content.len().min(begin + 40_000) - 4;
        let holds = |end: &usize| lookup3(&content[begin..*end]).to_le_bytes() == content[*end..*end + 4];
        (begin + 4..most).find(holds).map(|end| (begin, end))
    };
    begins.filter_map(ends).collect()
}

/// Creates a file of HDF5's oldest or latest formats.
fn created(path: &Path, latest: bool) -> hdf5::File {
    let mut builder = hdf5::FileBuilder::new();
    let builder = builder.with_fapl(|list| match latest {
        true => list.libver_latest(),
        false => list.libver_earliest(),
    });
    builder.create(path).unwrap()
}

/// 200 chunks of numbers; `most` says how far the two dimensions may grow, if not without end.
fn numbers(path: &Path, latest: bool, most: [Option<usize>; 2]) {
    let file = created(path, latest);
    let values: Vec<f64> = (0..1200).map(|i| f64::from(i) / 7.0).collect();
    let space = [200, 6].into_iter().zip(most).map(|(now, most)| hdf5::Extent::new(now, most));
    let builder = file.new_dataset::<f64>().chunk([1, 6]).shuffle().deflate(1);
    let set = builder.shape(hdf5::SimpleExtents::from_vec(space.collect())).create("x").unwrap();
    set.write_raw(&values).unwrap();
}

/// 200 lists of each kind, each in a chunk of its own.
fn lists(path: &Path, latest: bool) {
    let file = created(path, latest);
    let of = |i: usize| (0..i % 5).map(|v| v as f32).collect::<Vec<_>>();
    let points: Vec<VarLenArray<f32>> = (0..200).map(|i| VarLenArray::from_slice(&of(i))).collect();
    let clusters: Vec<VarLenArray<i32>> = (0..200).map(|i| VarLenArray::from_slice(&[i, 1, 2])).collect();
    let shape = || hdf5::Extents::resizable(200.into());
    let point = file.new_dataset::<VarLenArray<f32>>().chunk(1).shape(shape()).create("point").unwrap();
    point.write(&points).unwrap();
    let cluster = file.new_dataset::<VarLenArray<i32>>().chunk(1).shape(shape()).create("cluster").unwrap();
    cluster.write(&clusters).unwrap();
}

/// As netCDF writes them, and without its library read.
fn netcdf_numbers(path: &Path) {
    let mut file = netcdf::create_with(path, netcdf::Options::NETCDF4).unwrap();
    file.add_dimension("row", 200).unwrap();
    file.add_dimension("column", 6).unwrap();
    let mut variable = file.add_variable::<f64>("x", &["row", "column"]).unwrap();
    variable.set_chunking(&[1, 6]).unwrap();
    variable.set_compression(1, true).unwrap();
    let values: Vec<f64> = (0..1200).map(|i| f64::from(i) / 7.0).collect();
    variable.put_values(&values, ..).unwrap();
    file.close().unwrap();
}

type Writer = fn(&Path);

/// Kinds of files, what writes one and what reads it.
const KINDS: [(&str, Writer, Reader); 8] = [
    ("numbers", |path| numbers(path, false, [Some(200), Some(6)]), read_numbers),
    ("netcdf", netcdf_numbers, read_numbers),
    ("lists", |path| lists(path, false), read_lists),
    ("fixed array", |path| numbers(path, true, [Some(200), Some(6)]), read_numbers),
    ("fixed array in pages", |path| numbers(path, true, [Some(2000), Some(9)]), read_numbers),
    ("extensible array", |path| numbers(path, true, [None, Some(6)]), read_numbers),
    ("tree of version 2", |path| numbers(path, true, [None, None]), read_numbers),
    ("lists in an extensible array", |path| lists(path, true), read_lists),
];

#[test]
fn hostile_indices_of_chunks_end_soon_and_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, writer, reader) in KINDS {
        let path = folder.path().join("sound");
        let _ = std::fs::remove_file(&path);
        writer(&path);
        let sound = std::fs::read(&path).unwrap();
        survives(folder.path(), kind, &sound, reader).unwrap_or_else(|e| panic!("{kind}: {e}"));
        let sums = summed(&sound);
        let nodes =
            (0..sound.len() - 8).filter(|&at| &sound[at..at + 4] == b"TREE").map(|at| (at, sound.len().min(at + 4000)));
        let blocks: Vec<(usize, usize)> = sums.iter().copied().chain(nodes).collect();
        assert!(!blocks.is_empty(), "{kind}: no index was found");
        let mut read = 0;
        for change in 0..CHANGES {
            let mut rng = rng_for(13, kind, change);
            let mut hostile = sound.clone();
            for _ in 0..rng.random_range(1..=3) {
                let (begin, end) = blocks[rng.random_range(0..blocks.len())];
                let width = [1, 2, 4, 8][rng.random_range(0..4)];
                let at = rng.random_range(begin + 4..end.max(begin + 13) - 8);
                let number = match rng.random_range(0..4) {
                    // Into a block, which may be the one that is read: a circle.
                    0 | 1 => blocks[rng.random_range(0..blocks.len())].0 as u64,
                    2 => [0, 1, 2, 0xff, 0x7fff_ffff, 1 << 40, u64::MAX, sound.len() as u64][rng.random_range(0..8)],
                    _ => rng.random(),
                };
                hostile[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
            }
            for &(begin, end) in &sums {
                let sum = lookup3(&hostile[begin..end]);
                hostile[end..end + 4].copy_from_slice(&sum.to_le_bytes());
            }
            read += u64::from(survives(folder.path(), &format!("{kind}, change {change}"), &hostile, reader).is_ok());
        }
        eprintln!(
            "{kind}: {} blocks, {read} of {CHANGES} changed files were read, peak {} MiB",
            blocks.len(),
            peak_mib()
        );
        assert!(read < CHANGES, "{kind}: no change had any effect");
    }
    assert!(peak_mib() < 512, "peak memory {} MiB", peak_mib());
}

/// Where the entries for chunks of two dimensions are in trees of version 1, behind the heads of their nodes: size and filters of a
/// chunk, its place in three numbers, its address. Behind the last of a node stands where the next one would be.
fn entries(content: &[u8], level: u8, and_behind: bool) -> Vec<usize> {
    let nodes = (0..content.len() - 24).filter(|&at| content[at..at + 6] == [b'T', b'R', b'E', b'E', 1, level]);
    let entries = |at: usize| {
        let count = u16::from_le_bytes([content[at + 6], content[at + 7]]);
        (0..usize::from(count) + usize::from(and_behind)).map(move |i| at + 24 + i * 40)
    };
    nodes.flat_map(entries).collect()
}

#[test]
fn a_tree_of_chunks_in_a_circle_and_chunks_that_lie_upon_each_other_are_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound");
    numbers(&path, false, [Some(200), Some(6)]);
    let sound = std::fs::read(&path).unwrap();
    let found = entries(&sound, 0, false);
    assert_eq!(found.len(), 200);

    // Chunks of 32 MiB, and all of them are one that inflates to that: 6 GB out of a file of some kilobytes.
    let mut upon = sound.clone();
    let numbers: Vec<u8> = [1u32, 6, 8].iter().flat_map(|n| n.to_le_bytes()).collect();
    let layout = sound.windows(12).position(|bytes| bytes == numbers).unwrap();
    upon[layout + 4..layout + 8].copy_from_slice(&(4u32 << 20).to_le_bytes());
    for key in [0, 1].into_iter().flat_map(|level| entries(&sound, level, true)) {
        // Where the last chunk of a node ends, counted in chunks that are wider now.
        if upon[key + 16] == 6 {
            upon[key + 8] += 1;
            upon[key + 16] = 0;
        }
    }
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, &vec![0; 32 << 20]).unwrap();
    let packed = packed.finish().unwrap();
    for &at in &found {
        upon[at..at + 4].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        upon[at + 32..at + 40].copy_from_slice(&(sound.len() as u64).to_le_bytes());
    }
    upon.extend(packed);
    // Where the file ends, in its first block.
    let end = upon.len() as u64;
    upon[40..48].copy_from_slice(&end.to_le_bytes());
    let error = survives(folder.path(), "upon each other", &upon, read_numbers).unwrap_err().to_string();
    assert!(error.contains("lie upon each other"), "{error}");

    // One chunk twice, and another one never.
    let mut twice = sound.clone();
    twice.copy_within(found[3] + 8..found[3] + 24, found[4] + 8);
    let error = survives(folder.path(), "twice", &twice, read_numbers).unwrap_err().to_string();
    assert!(error.contains("its index"), "{error}");

    // Each leaf leads to the root again.
    let root = (0..sound.len() - 24).find(|&at| &sound[at..at + 6] == b"TREE\x01\x01").unwrap() as u64;
    let mut circle = sound.clone();
    for &at in &found {
        circle[at + 32..at + 40].copy_from_slice(&root.to_le_bytes());
    }
    for at in (0..sound.len() - 24).filter(|&at| &sound[at..at + 6] == b"TREE\x01\x00") {
        circle[at + 5] = 1;
    }
    survives(folder.path(), "circle", &circle, read_numbers).unwrap_err();
}
