//! The raw tree: which mli/mlo pairs a month holds.
//!
//! `RAW/train/YYYY-MM/E3SM-MMF.{mli,mlo}.YYYY-MM-DD-SSSSS.nc`, one pair a 20-minute step (spec section 2.1). The
//! folder given may be the one that holds `train`, or `train` itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Error, Result};

use super::month::Month;
use crate::columns::STEP_SECONDS;

/// State before and after one physics step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// State before the step.
    pub mli: PathBuf,
    /// State after the step.
    pub mlo: PathBuf,
}

/// When a step begins, in the calendar without leap days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Month.
    pub month: Month,
    /// Day of the month, from 1.
    pub day: u32,
    /// Second of the day.
    pub second: u32,
}

impl Moment {
    /// Of `0001-02-01-00000`.
    pub fn of_step(step: &str) -> Option<Self> {
        let month = Month::parse(step.get(..7)?)?;
        Some(Self { month, day: step.get(8..10)?.parse().ok()?, second: step.get(11..16)?.parse().ok()? })
    }

    /// Days since the first of January.
    pub fn day_of_year(&self) -> u32 {
        let before: u32 = (1..self.month.month).map(|month| Month { month, ..self.month }.days()).sum();
        before + self.day - 1
    }

    /// 20 minutes earlier; nothing is before the first year.
    fn before(&self) -> Option<Self> {
        let step = STEP_SECONDS as u32;
        if self.second >= step {
            return Some(Self { second: self.second - step, ..*self });
        }
        let second = SECONDS_A_DAY + self.second - step;
        if self.day > 1 {
            return Some(Self { day: self.day - 1, second, ..*self });
        }
        let month = Month::from_index(self.month.index() - 1);
        (month.year > 0).then_some(Self { month, day: month.days(), second })
    }
}

impl Pair {
    /// When the step begins.
    ///
    /// # Errors
    /// [`Error::Input`] for a file whose name does not say.
    pub fn moment(&self) -> Result<Moment> {
        let step = self.mli.file_name().and_then(|name| name.to_str()?.strip_prefix("E3SM-MMF.mli."));
        step.and_then(Moment::of_step).ok_or_else(|| Error::input(&self.mli, "its name says no time of a step"))
    }

    /// The files of the step before, whether they exist or not.
    pub fn before(&self) -> Option<Self> {
        let Moment { month, day, second } = self.moment().ok()?.before()?;
        let months = self.mli.parent()?.parent()?;
        let file = |kind: &str| {
            months.join(month.to_string()).join(format!("E3SM-MMF.{kind}.{month}-{day:02}-{second:05}.nc"))
        };
        Some(Self { mli: file("mli"), mlo: file("mlo") })
    }
}

/// The pairs of the months that are present.
#[derive(Debug, Clone)]
pub struct RawTree {
    /// Folder that holds the month folders.
    pub folder: PathBuf,
    /// Ascending by month; pairs ascending by file name, which is ascending in time.
    pub months: BTreeMap<Month, Vec<Pair>>,
    /// Files that were left out, and why.
    pub left_out: Vec<(PathBuf, String)>,
}

/// What is left out instead of being an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct Skips {
    /// Files without a partner.
    pub unpaired: bool,
    /// Steps of dates that the calendar lacks, or beyond the end of a day.
    pub impossible: bool,
}

impl RawTree {
    /// Looks at the folders of `wanted`; months without a folder are not an error, a tree without any is.
    pub fn scan(root: &Path, wanted: &[Month], skips: Skips) -> Result<Self> {
        let folder = if root.join("train").is_dir() { root.join("train") } else { root.to_path_buf() };
        if !folder.is_dir() {
            return Err(Error::input(root, "no such folder").hint(TREE));
        }
        let mut tree = Self { folder, months: BTreeMap::new(), left_out: Vec::new() };
        for &month in wanted {
            let path = tree.folder.join(month.to_string());
            if path.is_dir() {
                let pairs = tree.scan_month(&path, month, skips)?;
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

    fn scan_month(&mut self, path: &Path, month: Month, skips: Skips) -> Result<Vec<Pair>> {
        // Step (`YYYY-MM-DD-SSSSS`) -> which of the two files exist.
        let mut steps: BTreeMap<String, [Option<PathBuf>; 2]> = BTreeMap::new();
        let entries = std::fs::read_dir(path).map_err(|e| Error::io("listing", path, e))?;
        for entry in entries {
            let file = entry.map_err(|e| Error::io("listing", path, e))?.path();
            let Some(name) = file.file_name().and_then(|n| n.to_str()) else { continue };
            let (kind, step) = match Name::of(name, month) {
                Name::Step(kind, step) => (kind, step.to_string()),
                Name::Foreign => continue,
                Name::Copy => {
                    let reason = "its name is not that of a time step: a second copy, or a part of a download";
                    self.left_out.push((file, reason.into()));
                    continue;
                }
                Name::Elsewhere => {
                    return Err(Error::input(&file, format!("is a step of another month, expected one of {month}")));
                }
                Name::Impossible(problem) if skips.impossible => {
                    self.left_out.push((file, problem));
                    continue;
                }
                Name::Impossible(problem) => {
                    return Err(Error::input(&file, problem)
                        .hint("remove the file, or leave such steps out with `impossible_steps=skip`"));
                }
            };
            steps.entry(step).or_default()[kind] = Some(file);
        }
        let mut pairs = Vec::with_capacity(steps.len());
        for (step, files) in steps {
            match files {
                [Some(mli), Some(mlo)] => pairs.push(Pair { mli, mlo }),
                [one, other] => {
                    let (kind, found) = if one.is_some() { ("mlo", one) } else { ("mli", other) };
                    let Some(found) = found else { continue };
                    if !skips.unpaired {
                        return Err(Error::input(
                            &found,
                            format!("has no partner: `E3SM-MMF.{kind}.{step}.nc` is missing beside it"),
                        )
                        .hint("fetch the missing file, or leave the step out with `unpaired=skip`"));
                    }
                    self.left_out.push((found, "its partner is missing".into()));
                }
            }
        }
        self.left_out.sort_unstable();
        Ok(pairs)
    }

    /// All pairs in time order.
    pub fn pairs(&self) -> impl Iterator<Item = (Month, &Pair)> {
        self.months.iter().flat_map(|(&month, pairs)| pairs.iter().map(move |p| (month, p)))
    }
}

/// What the name of a file in the folder of a month says.
#[derive(Debug, PartialEq, Eq)]
enum Name<'a> {
    /// 0 for mli, 1 for mlo, and `0001-02-01-00000`.
    Step(usize, &'a str),
    /// A step that cannot be: why.
    Impossible(String),
    /// A step of another month.
    Elsewhere,
    /// Made from a step by a browser, an editor or a download that goes on.
    Copy,
    /// Something else.
    Foreign,
}

impl<'a> Name<'a> {
    fn of(name: &'a str, month: Month) -> Self {
        let Some((kind, rest)) = name.strip_prefix("E3SM-MMF.").and_then(|rest| rest.split_once('.')) else {
            return Self::Foreign;
        };
        let kind = match kind {
            "mli" => 0,
            "mlo" => 1,
            _ => return Self::Foreign,
        };
        // The published form and no other: whatever a program appends to a name makes it a copy.
        let Some(step) = rest.strip_suffix(".nc") else { return Self::Copy };
        let widths: Vec<usize> = step.split('-').map(str::len).collect();
        let digits = step.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        if widths != [4, 2, 2, 5] || !digits {
            return Self::Copy;
        }
        if !step.starts_with(&month.to_string()) {
            return Self::Elsewhere;
        }
        let number = |from: usize, to: usize| step[from..to].parse::<u32>().unwrap_or_default();
        let (day, second) = (number(8, 10), number(11, 16));
        if !(1..=month.days()).contains(&day) {
            let days = month.days();
            return Self::Impossible(format!("is of day {day}, but {month} has {days} days (there are no leap days)"));
        }
        if second >= SECONDS_A_DAY {
            return Self::Impossible(format!("is of second {second}, but a day has {SECONDS_A_DAY}"));
        }
        Self::Step(kind, step)
    }
}

const SECONDS_A_DAY: u32 = 86_400;

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
        let tree = RawTree::scan(root.path(), &wanted, Skips::default()).unwrap();
        let names: Vec<_> =
            tree.pairs().map(|(m, p)| format!("{m} {}", p.mli.file_name().unwrap().to_string_lossy())).collect();
        assert_eq!(names, ["0001-03 E3SM-MMF.mli.0001-03-01-00000.nc", "0001-03 E3SM-MMF.mli.0001-03-01-01200.nc"]);
    }

    #[test]
    fn a_missing_partner_is_named_and_can_be_skipped() {
        let root = tree(&["0001-03/E3SM-MMF.mli.0001-03-01-01200.nc"]);
        let wanted = [Month { year: 1, month: 3 }];
        let error = RawTree::scan(root.path(), &wanted, Skips::default()).unwrap_err().to_string();
        assert!(error.contains("E3SM-MMF.mlo.0001-03-01-01200.nc"), "{error}");
        // With nothing else in the month nothing is left to prepare.
        assert!(
            RawTree::scan(root.path(), &wanted, Skips { unpaired: true, ..Skips::default() })
                .unwrap_err()
                .to_string()
                .contains("no mli/mlo files")
        );
    }

    #[test]
    fn only_files_of_the_published_names_are_steps() {
        let month = Month { year: 1, month: 2 };
        assert_eq!(Name::of("E3SM-MMF.mli.0001-02-28-85200.nc", month), Name::Step(0, "0001-02-28-85200"));
        for copy in [
            " (1).nc",
            "-checkpoint.nc",
            " copy.nc",
            " - Copy.nc",
            "_1.nc",
            ".nc.part",
            ".nc.crdownload",
            ".nc.gz",
            ".nc~",
        ] {
            assert_eq!(Name::of(&format!("E3SM-MMF.mlo.0001-02-01-00000{copy}"), month), Name::Copy, "{copy}");
        }
        for foreign in [
            "notes.txt",
            ".E3SM-MMF.mli.0001-02-01-00000.nc",
            "._E3SM-MMF.mli.0001-02-01-00000.nc",
            "E3SM-MMF.mlx.1.nc",
        ] {
            assert_eq!(Name::of(foreign, month), Name::Foreign, "{foreign}");
        }
        assert_eq!(Name::of("E3SM-MMF.mli.0001-03-01-00000.nc", month), Name::Elsewhere);
        for (step, problem) in
            [("0001-02-29-00000", "28 days"), ("0001-02-00-00000", "day 0"), ("0001-02-01-86400", "86400")]
        {
            match Name::of(&format!("E3SM-MMF.mli.{step}.nc"), month) {
                Name::Impossible(found) => assert!(found.contains(problem), "{found}"),
                other => panic!("{step}: {other:?}"),
            }
        }
    }

    #[test]
    fn copies_are_left_out_and_named_and_impossible_steps_are_refused_or_left_out() {
        let root = tree(&[
            "0001-02/E3SM-MMF.mli.0001-02-01-00000.nc",
            "0001-02/E3SM-MMF.mlo.0001-02-01-00000.nc",
            "0001-02/E3SM-MMF.mlo.0001-02-01-00000 (1).nc",
            "0001-02/E3SM-MMF.mli.0001-02-29-00000.nc",
        ]);
        let wanted = [Month { year: 1, month: 2 }];
        let error = RawTree::scan(root.path(), &wanted, Skips::default()).unwrap_err();
        assert!(error.to_string().contains("0001-02-29-00000.nc"), "{error}");
        assert!(error.hint_text().unwrap().contains("impossible_steps=skip"));
        let tree = RawTree::scan(root.path(), &wanted, Skips { impossible: true, ..Skips::default() }).unwrap();
        assert_eq!(tree.pairs().count(), 1);
        let left: Vec<_> = tree.left_out.iter().map(|(p, _)| p.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(left, ["E3SM-MMF.mli.0001-02-29-00000.nc", "E3SM-MMF.mlo.0001-02-01-00000 (1).nc"]);
    }
}
