//! The raw tree: which mli/mlo pairs a month holds.
//!
//! `RAW/train/YYYY-MM/E3SM-MMF.{mli,mlo}.YYYY-MM-DD-SSSSS.nc`, one pair a 20-minute step (spec section 2.1). The
//! folder given may be the one that holds `train`, or `train` itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Error, Result};

use super::month::Month;

/// State before and after one physics step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// State before the step.
    pub mli: PathBuf,
    /// State after the step.
    pub mlo: PathBuf,
}

/// The pairs of the months that are present.
#[derive(Debug, Clone)]
pub struct RawTree {
    /// Folder that holds the month folders.
    pub folder: PathBuf,
    /// Ascending by month; pairs ascending by file name, which is ascending in time.
    pub months: BTreeMap<Month, Vec<Pair>>,
    /// Files without a partner that were left out (only with `skip_unpaired`).
    pub unpaired: Vec<PathBuf>,
}

impl RawTree {
    /// Looks at the folders of `wanted`; months without a folder are not an error, a tree without any is.
    pub fn scan(root: &Path, wanted: &[Month], skip_unpaired: bool) -> Result<Self> {
        let folder = if root.join("train").is_dir() { root.join("train") } else { root.to_path_buf() };
        if !folder.is_dir() {
            return Err(Error::input(root, "no such folder").hint(TREE));
        }
        let mut tree = Self { folder, months: BTreeMap::new(), unpaired: Vec::new() };
        for &month in wanted {
            let path = tree.folder.join(month.to_string());
            if path.is_dir() {
                let pairs = tree.scan_month(&path, month, skip_unpaired)?;
                if !pairs.is_empty() {
                    tree.months.insert(month, pairs);
                }
            }
        }
        if tree.months.is_empty() && !wanted.is_empty() {
            let span = match wanted {
                [one] => one.to_string(),
                [first, .., last] => format!("{first} to {last}"),
                [] => String::new(),
            };
            return Err(
                Error::input(&tree.folder, format!("no mli/mlo files of the months asked for ({span})")).hint(TREE)
            );
        }
        Ok(tree)
    }

    fn scan_month(&mut self, path: &Path, month: Month, skip_unpaired: bool) -> Result<Vec<Pair>> {
        // Step (`YYYY-MM-DD-SSSSS`) -> which of the two files exist.
        let mut steps: BTreeMap<String, [Option<PathBuf>; 2]> = BTreeMap::new();
        let entries = std::fs::read_dir(path).map_err(|e| Error::io("listing", path, e))?;
        for entry in entries {
            let file = entry.map_err(|e| Error::io("listing", path, e))?.path();
            let Some((kind, step)) = file.file_name().and_then(|n| n.to_str()).and_then(name_parts) else { continue };
            let step = step.to_string();
            if !step.starts_with(&month.to_string()) {
                return Err(Error::input(&file, format!("is a step of another month, expected one of {month}")));
            }
            steps.entry(step).or_default()[kind] = Some(file);
        }
        let mut pairs = Vec::with_capacity(steps.len());
        for (step, files) in steps {
            match files {
                [Some(mli), Some(mlo)] => pairs.push(Pair { mli, mlo }),
                [one, other] => {
                    let (kind, found) = if one.is_some() { ("mlo", one) } else { ("mli", other) };
                    let Some(found) = found else { continue };
                    if !skip_unpaired {
                        return Err(Error::input(
                            &found,
                            format!("has no partner: `E3SM-MMF.{kind}.{step}.nc` is missing beside it"),
                        )
                        .hint("fetch the missing file, or leave the step out with `unpaired=skip`"));
                    }
                    self.unpaired.push(found);
                }
            }
        }
        Ok(pairs)
    }

    /// All pairs in time order.
    pub fn pairs(&self) -> impl Iterator<Item = (Month, &Pair)> {
        self.months.iter().flat_map(|(&month, pairs)| pairs.iter().map(move |p| (month, p)))
    }
}

/// `E3SM-MMF.mli.0001-02-01-00000.nc` -> (0, `0001-02-01-00000`); anything else is not ours.
fn name_parts(name: &str) -> Option<(usize, &str)> {
    let rest = name.strip_prefix("E3SM-MMF.")?.strip_suffix(".nc")?;
    let (kind, step) = rest.split_once('.')?;
    match kind {
        "mli" => Some((0, step)),
        "mlo" => Some((1, step)),
        _ => None,
    }
}

const TREE: &str = "expected `train/YYYY-MM/E3SM-MMF.{mli,mlo}.YYYY-MM-DD-SSSSS.nc` below the raw folder; \
    the data set is on huggingface.co/datasets/LEAP/ClimSim_low-res, docs/data.md says how to fetch it";

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            common::durable::write(root.path().join("train").join(file), b"").unwrap();
        }
        root
    }

    #[test]
    fn pairs_come_in_time_order_and_absent_months_are_left_out() {
        let root = tree(&[
            "0001-03/E3SM-MMF.mli.0001-03-01-01200.nc",
            "0001-03/E3SM-MMF.mlo.0001-03-01-01200.nc",
            "0001-03/E3SM-MMF.mlo.0001-03-01-00000.nc",
            "0001-03/E3SM-MMF.mli.0001-03-01-00000.nc",
            "0001-03/notes.txt",
        ]);
        let wanted = [Month { year: 1, month: 2 }, Month { year: 1, month: 3 }];
        let tree = RawTree::scan(root.path(), &wanted, false).unwrap();
        let names: Vec<_> =
            tree.pairs().map(|(m, p)| format!("{m} {}", p.mli.file_name().unwrap().to_string_lossy())).collect();
        assert_eq!(names, ["0001-03 E3SM-MMF.mli.0001-03-01-00000.nc", "0001-03 E3SM-MMF.mli.0001-03-01-01200.nc"]);
    }

    #[test]
    fn a_missing_partner_is_named_and_can_be_skipped() {
        let root = tree(&["0001-03/E3SM-MMF.mli.0001-03-01-01200.nc"]);
        let wanted = [Month { year: 1, month: 3 }];
        let error = RawTree::scan(root.path(), &wanted, false).unwrap_err().to_string();
        assert!(error.contains("E3SM-MMF.mlo.0001-03-01-01200.nc"), "{error}");
        // With nothing else in the month nothing is left to prepare.
        assert!(RawTree::scan(root.path(), &wanted, true).unwrap_err().to_string().contains("no mli/mlo files"));
    }
}
