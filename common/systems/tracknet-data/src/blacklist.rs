//! Particles and hits that are left out of training: `event000001000-blacklist_{hits,particles}.csv`, plain or packed as
//! the events themselves.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use common::{Error, Result};

use crate::csv::{Kind, Table};
use crate::{event, files};

/// The lists of one event.
#[derive(Debug, Clone, Default)]
pub struct Blacklist {
    hits: HashSet<i32>,
    particles: HashSet<i64>,
}

const PARTS: [&str; 2] = ["blacklist_hits", "blacklist_particles"];

impl Blacklist {
    /// The lists of an event in `folder`; a list that is not there is empty.
    ///
    /// # Errors
    /// [`Error::Input`] for a list that is there twice or cannot be read.
    pub fn read(folder: &Path, event: &str) -> Result<Self> {
        let mut list = Self::default();
        let prefix = folder.join(event);
        if let Some(path) = event::part_if_there(&prefix, PARTS[0])? {
            list.hits = Table::read(&path, &[("hit_id", Kind::I32)])?.i32(0)?.into_iter().collect();
        }
        if let Some(path) = event::part_if_there(&prefix, PARTS[1])? {
            list.particles = Table::read(&path, &[("particle_id", Kind::I64)])?.i64(0)?.into_iter().collect();
        }
        Ok(list)
    }

    /// The files of an event's lists that are there.
    ///
    /// # Errors
    /// [`Error::Input`] for a list that is there twice.
    pub fn files(folder: &Path, event: &str) -> Result<Vec<PathBuf>> {
        let prefix = folder.join(event);
        PARTS.iter().filter_map(|part| event::part_if_there(&prefix, part).transpose()).collect()
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty() && self.particles.is_empty()
    }

    /// Whether any hit is listed.
    pub fn has_hits(&self) -> bool {
        !self.hits.is_empty()
    }

    /// Whether a hit is listed.
    pub fn has_hit(&self, id: i32) -> bool {
        self.hits.contains(&id)
    }

    /// Whether a particle is listed.
    pub fn has_particle(&self, id: i64) -> bool {
        self.particles.contains(&id)
    }
}

/// The folder, or the folder inside of a zip archive, that holds the lists of `events`. Events without any list are
/// warned of: they are prepared whole.
///
/// # Errors
/// [`Error::Input`] where there is no such folder or archive.
pub fn folder(given: &Path, events: &[PathBuf]) -> Result<PathBuf> {
    if !given.exists() {
        return Err(Error::input(given, "no such folder").hint("`blacklist_dir=null` prepares without blacklists"));
    }
    let names = files::names(given)?;
    let mut listed: HashSet<String> = HashSet::new();
    let mut inner = None;
    for prefix in PARTS.iter().flat_map(|part| files::prefixes(&names, part)) {
        listed.extend(prefix.file_name().map(|name| name.to_string_lossy().into_owned()));
        inner = inner.or(prefix.parent().map(Path::to_path_buf));
    }
    let name = |event: &PathBuf| event.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let without: Vec<String> = events.iter().map(name).filter(|name| !listed.contains(name)).collect();
    if let Some(first) = without.first() {
        tracing::warn!(
            "`{}` has no blacklist of {} of the {} events, `{first}` first: nothing of them is left out",
            given.display(),
            without.len(),
            events.len()
        );
    }
    Ok(inner.unwrap_or_else(|| given.to_path_buf()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_plain_and_gzipped() {
        use std::io::Write as _;
        let at = tempfile::tempdir().unwrap();
        common::durable::write(at.path().join("event000000001-blacklist_hits.csv"), b"hit_id\n3\n").unwrap();
        common::durable::write_with(at.path().join("event000000001-blacklist_particles.csv.gz"), |out| {
            let mut packer = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
            packer.write_all(b"particle_id\n4503599644147712\n")?;
            packer.finish().map(|_| ())
        })
        .unwrap();
        let found = folder(at.path(), &[PathBuf::from("x/event000000001")]).unwrap();
        let list = Blacklist::read(&found, "event000000001").unwrap();
        assert!(list.has_hit(3) && list.has_particle(4_503_599_644_147_712) && !list.has_hit(4));
        let missing = folder(&at.path().join("none"), &[]).unwrap_err().to_string();
        assert!(missing.contains("no such folder"), "{missing}");
    }
}
