//! Writing lists of numbers, element by element.

use std::path::{Path, PathBuf};

use hdf5::types::VarLenArray;

use super::guarded;
use crate::durable::{AtomicFile, Written};
use crate::error::{Error, Result};

/// Elements that are collected before they are written.
const BLOCK: usize = 64;

/// Writes data sets of lists; the file appears under its name in [`ListWriter::finish`]. Equal content gives equal
/// bytes: no times are stored.
pub struct ListWriter {
    path: PathBuf,
    atomic: AtomicFile,
    file: hdf5::File,
    sets: Vec<Set>,
}

struct Set {
    name: String,
    set: hdf5::Dataset,
    written: usize,
    pending: Pending,
}

enum Pending {
    Floats(Vec<VarLenArray<f32>>),
    Integers(Vec<VarLenArray<i32>>),
}

impl ListWriter {
    /// Opens a file with data sets of f32 lists and of i32 lists.
    pub fn create(path: impl AsRef<Path>, floats: &[&str], integers: &[&str]) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let atomic = AtomicFile::create(&path)?;
        let failed = |problem: String| Error::failed(format!("writing `{}`: {problem}", path.display()));
        // In the oldest format that holds the content: newer ones store when the file was made.
        let oldest = || hdf5::File::with_options().with_fapl(|p| p.libver_earliest()).create(atomic.temporary_path());
        let file = guarded(oldest).map_err(failed)?;
        let mut sets = vec![];
        for name in floats {
            let set = guarded(|| file.new_dataset::<VarLenArray<f32>>().chunk(BLOCK).shape(0..).create(*name));
            let pending = Pending::Floats(vec![]);
            sets.push(Set { name: (*name).into(), set: set.map_err(failed)?, written: 0, pending });
        }
        for name in integers {
            let set = guarded(|| file.new_dataset::<VarLenArray<i32>>().chunk(BLOCK).shape(0..).create(*name));
            let pending = Pending::Integers(vec![]);
            sets.push(Set { name: (*name).into(), set: set.map_err(failed)?, written: 0, pending });
        }
        Ok(Self { path, atomic, file, sets })
    }

    /// Appends one element to a data set of floats.
    pub fn append_floats(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let set = self.set(name)?;
        if let Pending::Floats(pending) = &mut set.pending {
            pending.push(VarLenArray::from_slice(values));
        }
        self.flush_if(name, BLOCK)
    }

    /// Appends one element to a data set of integers.
    pub fn append_integers(&mut self, name: &str, values: &[i32]) -> Result<()> {
        let set = self.set(name)?;
        if let Pending::Integers(pending) = &mut set.pending {
            pending.push(VarLenArray::from_slice(values));
        }
        self.flush_if(name, BLOCK)
    }

    /// Publishes the file.
    pub fn finish(mut self) -> Result<Written> {
        for i in 0..self.sets.len() {
            let name = self.sets[i].name.clone();
            self.flush_if(&name, 1)?;
        }
        let Self { path, atomic, file, sets } = self;
        drop(sets);
        guarded(|| file.close())
            .map_err(|problem| Error::failed(format!("writing `{}`: {problem}", path.display())))?;
        atomic.commit()
    }

    fn set(&mut self, name: &str) -> Result<&mut Set> {
        let path = self.path.display();
        let missing = || Error::failed(format!("writing `{path}`: data set `{name}` was not declared"));
        self.sets.iter_mut().find(|set| set.name == name).ok_or_else(missing)
    }

    fn flush_if(&mut self, name: &str, at_least: usize) -> Result<()> {
        let path = self.path.clone();
        let set = self.set(name)?;
        let count = match &set.pending {
            Pending::Floats(pending) => pending.len(),
            Pending::Integers(pending) => pending.len(),
        };
        if count < at_least {
            return Ok(());
        }
        let range = set.written..set.written + count;
        guarded(|| {
            set.set.resize(range.end)?;
            match &set.pending {
                Pending::Floats(pending) => set.set.write_slice(pending.as_slice(), range.clone()),
                Pending::Integers(pending) => set.set.write_slice(pending.as_slice(), range.clone()),
            }
        })
        .map_err(|problem| Error::failed(format!("writing `{}`: {problem}", path.display())))?;
        set.written = range.end;
        match &mut set.pending {
            Pending::Floats(pending) => pending.clear(),
            Pending::Integers(pending) => pending.clear(),
        }
        Ok(())
    }
}
