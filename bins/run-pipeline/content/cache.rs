//! DVC's cache of outputs: `.dvc/cache/files/md5/<2>/<30>`, read-only objects named by their hash.
//!
//! It is only kept where a `.dvc` folder lies at or above the pipeline. Outs with `cache: false` need none.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{Error, Result, durable};

use super::hash::{self, Content};
use super::seen::Seen;

/// The cache of a DVC repository.
#[derive(Debug, Clone)]
pub struct Cache {
    objects: PathBuf,
}

impl Cache {
    /// The cache that serves a folder; none outside of a DVC repository.
    pub fn find(folder: &Path) -> Option<Self> {
        let dvc = folder.ancestors().map(|f| f.join(".dvc")).find(|f| f.is_dir())?;
        let configured = ["config.local", "config"].iter().find_map(|name| cache_dir(&dvc.join(name)));
        let cache = configured.map_or_else(|| dvc.join("cache"), |dir| dvc.join(dir));
        Some(Self { objects: cache.join("files/md5") })
    }

    fn object(&self, md5: &str) -> PathBuf {
        // What stands in a lock need not be a hash, nor ASCII.
        let (first, rest) = md5.split_at_checked(2).unwrap_or((md5, ""));
        self.objects.join(first).join(rest)
    }

    /// True when the object and, for a folder, every file of it is there.
    pub fn holds(&self, md5: &str) -> bool {
        let object = self.object(md5);
        if !md5.ends_with(".dir") {
            return object.is_file();
        }
        let Ok(text) = fs::read_to_string(&object) else { return false };
        let Ok(entries) = serde_json::from_str::<Vec<serde_json::Value>>(&text) else { return false };
        let mut checked = HashSet::new();
        entries.iter().all(|entry| match entry.get("md5").and_then(|m| m.as_str()) {
            Some(md5) => !checked.insert(md5) || self.object(md5).is_file(),
            None => false,
        })
    }

    /// Puts a file or folder with this content into the cache.
    pub fn keep(&self, path: &Path, content: &Content, seen: &Seen) -> Result<()> {
        if content.files.is_none() {
            return self.keep_file(path, &content.md5);
        }
        let entries = hash::folder(path, seen)?;
        for entry in &entries {
            self.keep_file(&path.join(&entry.path), &entry.md5)?;
        }
        let object = self.object(&content.md5);
        if !object.is_file() {
            durable::write(&object, hash::listing(&entries).as_bytes())?;
            protect(&object)?;
        }
        Ok(())
    }

    fn keep_file(&self, path: &Path, md5: &str) -> Result<()> {
        let object = self.object(md5);
        if object.is_file() {
            return Ok(());
        }
        let mut from = File::open(path).map_err(|e| Error::opening(path, e))?;
        durable::write_with(&object, |out| io::copy(&mut from, out).map(|_| ()))?;
        protect(&object)
    }
}

fn protect(object: &Path) -> Result<()> {
    fs::set_permissions(object, Permissions::from_mode(0o444)).map_err(|e| Error::io("protecting", object, e))
}

/// `dir` in the section `[cache]` of DVC's config.
fn cache_dir(config: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(config).ok()?;
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[cache]";
        } else if let Some(("dir", value)) = line.split_once('=').map(|(k, v)| (k.trim(), v.trim())).filter(|_| inside)
        {
            return Some(PathBuf::from(value));
        }
    }
    None
}
