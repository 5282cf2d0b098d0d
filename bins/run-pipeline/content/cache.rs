//! DVC's cache of outputs: `.dvc/cache/files/md5/<2>/<30>`, read-only objects named by their hash.
//!
//! It is only kept where a `.dvc` folder lies at or above the pipeline. Outs with `cache: false` need none. Objects of DVC 2
//! lie in `.dvc/cache/<2>/<30>`: they are read, never written.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use common::{Error, Result, durable};

use super::hash::{self, Content};
use super::md5::Md5;
use super::seen::Seen;

/// The cache of a DVC repository.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache that serves a folder; none outside of a DVC repository.
    pub fn find(folder: &Path) -> Option<Self> {
        let dvc = folder.ancestors().map(|f| f.join(".dvc")).find(|f| f.is_dir())?;
        let folder = configured(&dvc, "cache", "dir")
            .map_or_else(|| dvc.join("cache"), |(beside, dir)| beside.join(expanded(&dir)));
        Some(Self { folder })
    }

    /// Where an object lies; none for a text that is no hash.
    fn object(&self, md5: &Md5) -> Option<PathBuf> {
        let hash = md5.text.strip_suffix(".dir").unwrap_or(&md5.text);
        if hash.len() != 32 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let (first, rest) = md5.text.split_at(2);
        let folder = if md5.legacy { self.folder.clone() } else { self.folder.join("files/md5") };
        Some(folder.join(first).join(rest))
    }

    /// True when the object and, for a folder, every file of it is there.
    pub fn holds(&self, md5: &Md5) -> bool {
        let Some(object) = self.object(md5) else { return false };
        if !md5.text.ends_with(".dir") {
            return object.is_file();
        }
        let Ok(text) = fs::read_to_string(&object) else { return false };
        let Ok(entries) = serde_json::from_str::<Vec<serde_json::Value>>(&text) else { return false };
        let mut checked = HashSet::new();
        entries.iter().all(|entry| match entry.get("md5").and_then(|m| m.as_str()) {
            Some(text) if !checked.insert(text) => true,
            Some(text) => {
                let md5 = Md5 { text: text.into(), legacy: md5.legacy };
                self.object(&md5).is_some_and(|object| object.is_file())
            }
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
        let Some(object) = self.object(&Md5::of(&content.md5)) else { return Ok(()) };
        if !object.is_file() {
            durable::write(&object, hash::listing(&entries).as_bytes())?;
            protect(&object)?;
        }
        Ok(())
    }

    fn keep_file(&self, path: &Path, md5: &str) -> Result<()> {
        let Some(object) = self.object(&Md5::of(md5)) else { return Ok(()) };
        if object.is_file() {
            return Ok(());
        }
        let mut from = File::open(path).map_err(|e| Error::opening(path, e))?;
        durable::write_with(&object, |out| io::copy(&mut from, out).map(|_| ()))?;
        protect(&object)
    }
}

/// Makes files of a cache that is linked into the workspace files of their own, which a stage may write into.
pub fn unprotect(path: &Path) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(|e| Error::io("listing", path, e))? {
            unprotect(&entry.map_err(|e| Error::io("listing", path, e))?.path())?;
        }
        return Ok(());
    }
    let Ok(real) = fs::metadata(path) else { return Ok(()) }; // a link to nothing
    if !real.is_file() {
        return Ok(());
    }
    let mode = real.permissions().mode() | 0o200;
    let linked = metadata.is_symlink() || real.nlink() > 1;
    if linked {
        let mut from = File::open(path).map_err(|e| Error::opening(path, e))?;
        durable::write_with(path, |out| io::copy(&mut from, out).map(|_| ()))?;
    }
    if linked || mode != real.permissions().mode() {
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|e| Error::io("unprotecting", path, e))?;
    }
    Ok(())
}

fn protect(object: &Path) -> Result<()> {
    fs::set_permissions(object, Permissions::from_mode(0o444)).map_err(|e| Error::io("protecting", object, e))
}

/// DVC's configs of the user and of the machine, the nearer one first.
fn user_configs() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let own = variable("DVC_GLOBAL_CONFIG_DIR").or_else(|| {
        let base = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")))?;
        Some(base.join("dvc"))
    });
    let shared = variable("DVC_SYSTEM_CONFIG_DIR").map(|folder| vec![folder]).unwrap_or_else(|| {
        let folders = std::env::var("XDG_CONFIG_DIRS").ok().filter(|f| !f.is_empty());
        let folders = folders.unwrap_or_else(|| "/etc/xdg".into());
        // Of several folders DVC takes the first.
        folders.split(':').take(1).map(|folder| Path::new(folder).join("dvc")).collect()
    });
    own.into_iter().chain(shared).map(|folder| folder.join("config")).collect()
}

/// A key of a section as the nearest of DVC's configs has it, and that config's folder. `dvc` is the `.dvc` folder.
pub fn configured(dvc: &Path, section: &str, key: &str) -> Option<(PathBuf, String)> {
    let own = [dvc.join("config.local"), dvc.join("config")];
    own.into_iter().chain(user_configs()).find_map(|file| Some((file.parent()?.into(), setting(&file, section, key)?)))
}

/// True where that key says so, in the words that DVC takes for it.
pub fn is_on(dvc: &Path, section: &str, key: &str) -> bool {
    configured(dvc, section, key)
        .is_some_and(|(_, value)| ["true", "yes", "on", "y", "1"].iter().any(|word| value.eq_ignore_ascii_case(word)))
}

/// A key of a section of one of DVC's configs, unquoted.
fn setting(config: &Path, section: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(config).ok()?;
    let mut inside = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(head) = line.strip_prefix('[') {
            let head = head.split(']').next().unwrap_or_default();
            inside = head.trim().trim_matches(['"', '\'']).eq_ignore_ascii_case(section);
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside)
            && name.trim().trim_matches(['"', '\'']).eq_ignore_ascii_case(key)
        {
            found = Some(unquoted(value.trim()));
        }
    }
    found
}

/// `"a # b" # why` is `a # b`.
fn unquoted(value: &str) -> String {
    if let Some(quote) = value.chars().next().filter(|c| "\"'".contains(*c))
        && let Some(end) = value[1..].find(quote)
    {
        return value[1..=end].into();
    }
    value.split('#').next().unwrap_or_default().trim_end().into()
}

/// `~` and `~/x` below the home folder.
fn expanded(path: &str) -> PathBuf {
    match (path.strip_prefix('~'), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            Path::new(&home).join(rest.trim_start_matches('/'))
        }
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_with_and_without_quotes_and_the_last_one_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        let text = "[core]\ndir = no\n['remote \"x\"']\ndir = no\n[ cache ] # here\n dir = \"/a # b\" # why\nTYPE = copy # x\n";
        durable::write(&file, text.as_bytes()).unwrap();
        assert_eq!(setting(&file, "cache", "dir").as_deref(), Some("/a # b"));
        assert_eq!(setting(&file, "cache", "type").as_deref(), Some("copy"));
        assert_eq!(setting(&file, "cache", "none"), None);
    }

    #[test]
    fn a_text_that_is_no_hash_names_no_object() {
        let cache = Cache { folder: PathBuf::from("/nowhere") };
        for text in ["", "é", "éééé", "0", "../../../../etc/passwd"] {
            assert_eq!(cache.object(&Md5::of(text)), None, "{text}");
        }
    }

    #[test]
    fn a_linked_file_becomes_one_of_its_own_and_the_other_name_keeps_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (object, out) = (folder.path().join("object"), folder.path().join("out"));
        for symbolic in [true, false] {
            durable::write(&object, b"1\n").unwrap();
            protect(&object).unwrap();
            let _ = fs::remove_file(&out);
            if symbolic { std::os::unix::fs::symlink(&object, &out) } else { fs::hard_link(&object, &out) }.unwrap();
            unprotect(&out).unwrap();
            assert!(fs::symlink_metadata(&out).unwrap().is_file());
            assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o200, 0o200);
            durable::write(&out, b"2\n").unwrap();
            assert_eq!(fs::read(&object).unwrap(), b"1\n");
            fs::remove_file(&object).unwrap();
        }
    }
}
