//! DVC's lock (`dvc.lock`, schema 2.0): what every stage ran with and what came out of it.

use std::path::{Path, PathBuf};

use common::{Result, durable};

use super::guard::Guard;
use super::hash::Content;
use super::md5::Md5;
use super::seen::Stamp;
use crate::run_pipeline::declare::emit;
use crate::run_pipeline::declare::read;
use crate::run_pipeline::declare::tree::{self, Key, Kind, Mark, Node};

/// Name of the lock beside the `dvc.yaml`.
pub const FILE: &str = "dvc.lock";
/// A lock of stages that never ran.
pub const EMPTY: &str = "schema: '2.0'\nstages: {}\n";

/// The lock of one pipeline. Entries of stages that the pipeline no longer has are kept, as DVC keeps them.
#[derive(Debug, Clone)]
pub struct Lock {
    /// As the pipeline names it; it may be a link to where the lock lies.
    file: PathBuf,
    shown: PathBuf,
    root: Node,
    /// The state of the file that `root` was read from or written to.
    stamp: Option<Stamp>,
}

impl Lock {
    /// Reads a lock; a missing one is empty.
    pub fn read_file(file: &Path, shown: &Path) -> Result<Self> {
        let file = file.to_path_buf();
        let stamp = stamp(&file);
        if !file.exists() {
            return Ok(Self::empty(&file, shown));
        }
        let mut root = read::file(&file, shown)?;
        let at = root.at.clone();
        if root.get("schema").and_then(Node::as_text) != Some("2.0") {
            return Err(at.error("this is no lock of schema '2.0'").hint("remove the file; all stages run again"));
        }
        match root.get("stages").map(|s| &s.kind) {
            Some(Kind::Map(_)) => {}
            None | Some(Kind::Null) => {
                if let Kind::Map(entries) = &mut root.kind {
                    entries.retain(|(key, _)| key.name != "stages");
                    let empty = Node { at: at.clone(), kind: Kind::Map(Vec::new()) };
                    entries.push((Key { name: "stages".into(), at }, empty));
                }
            }
            Some(_) => return Err(at.error("`stages` is no map").hint("remove the file; all stages run again")),
        }
        Ok(Self { file, shown: shown.to_path_buf(), root, stamp })
    }

    /// The lock of a pipeline that never ran.
    pub fn empty(file: &Path, shown: &Path) -> Self {
        let source = std::sync::Arc::new(tree::Source { path: shown.to_path_buf(), text: String::new() });
        let at = Mark { source, line: 1, column: 1 };
        let text = |t: &str| Node { at: at.clone(), kind: Kind::Text(t.into()) };
        let key = |name: &str| Key { name: name.into(), at: at.clone() };
        let stages = Node { at: at.clone(), kind: Kind::Map(Vec::new()) };
        let root = Kind::Map(vec![(key("schema"), text("2.0")), (key("stages"), stages)]);
        Self { file: file.to_path_buf(), shown: shown.to_path_buf(), root: Node { at, kind: root }, stamp: None }
    }

    /// What is known of a stage.
    pub fn stage(&self, name: &str) -> Option<Locked<'_>> {
        self.root.get("stages")?.get(name).map(|node| Locked { node })
    }

    /// Puts the entry of a stage that finished in place of its old one.
    pub fn set(&mut self, name: &str, entry: Node) {
        let Kind::Map(top) = &mut self.root.kind else { return };
        let Some((_, stages)) = top.iter_mut().find(|(key, _)| key.name == "stages") else { return };
        let Kind::Map(stages) = &mut stages.kind else { return };
        match stages.iter_mut().find(|(key, _)| key.name == name) {
            Some((_, old)) => *old = entry,
            None => stages.push((Key { name: name.into(), at: entry.at.clone() }, entry)),
        }
    }

    /// Puts the entry of a stage that finished into the lock on the disk, beside whatever other programs wrote there since it
    /// was read. `dvc` is the `.dvc` folder of a DVC repository: its lock is held meanwhile. The old lock or the new one is
    /// there at any time.
    pub fn record(&mut self, name: &str, entry: Node, dvc: Option<&Path>) -> Result<()> {
        let _guard = dvc.map(Guard::take).transpose()?;
        if stamp(&self.file) != self.stamp {
            *self = Self::read_file(&self.file, &self.shown)?;
        }
        self.set(name, entry);
        let target = self.file.canonicalize().or_else(|_| match std::fs::read_link(&self.file) {
            Ok(link) => Ok::<_, std::io::Error>(self.file.parent().unwrap_or(Path::new(".")).join(link)),
            Err(_) => Ok(self.file.clone()),
        });
        durable::write(target.unwrap_or_else(|_| self.file.clone()), emit::document(&self.root).as_bytes())?;
        self.stamp = stamp(&self.file);
        Ok(())
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    std::fs::metadata(file).ok().map(|metadata| Stamp::of(&metadata))
}

/// A stage's entry.
#[derive(Debug, Clone, Copy)]
pub struct Locked<'a> {
    node: &'a Node,
}

impl<'a> Locked<'a> {
    /// The entry in a node of its own.
    pub fn of(node: &'a Node) -> Self {
        Self { node }
    }

    /// A copy of the entry, to look at without holding the lock's file.
    pub fn node(self) -> Node {
        self.node.clone()
    }

    pub fn cmd(&self) -> Option<&'a Node> {
        self.node.get("cmd")
    }

    /// Hash of a dep, by its path as written in the pipeline.
    pub fn dep(&self, path: &str) -> Option<Md5> {
        self.md5("deps", path)
    }

    /// Hash of an out.
    pub fn out(&self, path: &str) -> Option<Md5> {
        self.md5("outs", path)
    }

    /// Values of the parameters of a file.
    pub fn params(&self, file: &str) -> Option<&'a Node> {
        self.node.get("params")?.get(file)
    }

    fn md5(&self, list: &str, path: &str) -> Option<Md5> {
        let items = self.node.get(list)?.as_list()?;
        let item = items.iter().find(|i| i.get("path").and_then(Node::as_text) == Some(path))?;
        let text = item.get("md5").map(crate::run_pipeline::declare::text::python)?;
        Some(Md5 { text, legacy: item.get("hash").is_none() })
    }
}

/// The parts of a new entry.
pub struct Entry<'a> {
    pub cmd: &'a Node,
    pub deps: Vec<(&'a str, &'a Content)>,
    /// File, then dotted key and value.
    pub params: Vec<(&'a str, Vec<(String, Node)>)>,
    pub outs: Vec<(&'a str, &'a Content)>,
}

impl Entry<'_> {
    /// As a node of the lock: only the parts that are not empty, sorted by path.
    pub fn node(mut self) -> Node {
        let at = &self.cmd.at;
        let node = |kind| Node { at: at.clone(), kind };
        let key = |name: &str| Key { name: name.into(), at: at.clone() };
        let mut entries = vec![(key("cmd"), self.cmd.clone())];
        let list = |items: &mut Vec<(&str, &Content)>| {
            items.sort_by_key(|(path, _)| *path);
            let item = |(path, content): &(&str, &Content)| {
                let mut item = vec![
                    (key("path"), node(Kind::Text((*path).into()))),
                    (key("hash"), node(Kind::Text("md5".into()))),
                    (key("md5"), node(Kind::Text(content.md5.clone()))),
                    (key("size"), node(Kind::Int(i128::from(content.size)))),
                ];
                if let Some(files) = content.files {
                    item.push((key("nfiles"), node(Kind::Int(i128::from(files)))));
                }
                if content.executable {
                    item.push((key("isexec"), node(Kind::Bool(true))));
                }
                node(Kind::Map(item))
            };
            node(Kind::List(items.iter().map(item).collect()))
        };
        if !self.deps.is_empty() {
            entries.push((key("deps"), list(&mut self.deps)));
        }
        if !self.params.is_empty() {
            // The default file stands first, then by name.
            self.params.sort_by_key(|(file, _)| (*file != crate::run_pipeline::declare::entries::PARAMS, *file));
            let file = |(file, mut values): (&str, Vec<(String, Node)>)| {
                values.sort_by(|a, b| a.0.cmp(&b.0));
                let values = values.into_iter().map(|(name, value)| (key(&name), value)).collect();
                (key(file), node(Kind::Map(values)))
            };
            let params = std::mem::take(&mut self.params).into_iter().map(file).collect();
            entries.push((key("params"), node(Kind::Map(params))));
        }
        if !self.outs.is_empty() {
            entries.push((key("outs"), list(&mut self.outs)));
        }
        node(Kind::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_entry_keeps_the_others_and_is_laid_out_as_dvc_does() {
        let folder = tempfile::tempdir().unwrap();
        let old = "schema: '2.0'\nstages:\n  gone:\n    cmd: echo a long command that\n      goes on\n    outs:\n    \
                   - path: x\n      hash: md5\n      md5: 00\n      size: 1\n";
        durable::write(folder.path().join(FILE), old.as_bytes()).unwrap();
        let mut lock = Lock::read_file(&folder.path().join(FILE), Path::new("dvc.lock")).unwrap();
        assert_eq!(lock.stage("gone").unwrap().cmd().unwrap().as_text(), Some("echo a long command that goes on"));
        let cmd = read::parse(Path::new("y"), "cat in > out".into()).unwrap();
        let value = read::parse(Path::new("y"), "5e-4".into()).unwrap();
        let file = Content { md5: "764efa883dda1e11db47671c4a3bbd9e".into(), size: 3, files: None, executable: true };
        let dir =
            Content { md5: "2c4bb6e195ebf978fa63234e50c7c6eb.dir".into(), size: 2, files: Some(1), executable: false };
        let entry = Entry {
            cmd: &cmd,
            deps: vec![("z", &file), ("d", &dir)],
            params: vec![("params.yaml", vec![("lr".into(), value)])],
            outs: vec![("out", &file)],
        };
        lock.record("new", entry.node(), None).unwrap();
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        let expected = "  new:\n    cmd: cat in > out\n    deps:\n    - path: d\n      hash: md5\n      md5: \
                        2c4bb6e195ebf978fa63234e50c7c6eb.dir\n      size: 2\n      nfiles: 1\n    - path: z\n      hash: \
                        md5\n      md5: 764efa883dda1e11db47671c4a3bbd9e\n      size: 3\n      isexec: true\n    \
                        params:\n      params.yaml:\n        lr: 0.0005\n    outs:\n    - path: out\n";
        assert!(text.contains(expected), "{text}");
        let again = Lock::read_file(&folder.path().join(FILE), Path::new("dvc.lock")).unwrap();
        assert_eq!(again.stage("new").unwrap().dep("d"), Some(Md5::of("2c4bb6e195ebf978fa63234e50c7c6eb.dir")));
        assert!(again.stage("gone").is_some());
    }

    #[test]
    fn what_another_program_wrote_meanwhile_stays_in_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let mut ours = Lock::read_file(&folder.path().join(FILE), Path::new("dvc.lock")).unwrap();
        durable::write(&file, b"schema: '2.0'\nstages:\n  theirs:\n    cmd: x\n").unwrap();
        let cmd = read::parse(Path::new("y"), "y".into()).unwrap();
        let entry = Entry { cmd: &cmd, deps: vec![], params: vec![], outs: vec![] };
        ours.record("ours", entry.node(), Some(&folder.path().join(".dvc"))).unwrap();
        let lock = Lock::read_file(&folder.path().join(FILE), Path::new("dvc.lock")).unwrap();
        assert!(lock.stage("ours").is_some() && lock.stage("theirs").is_some());
    }

    #[test]
    fn a_lock_of_another_kind_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        durable::write(folder.path().join(FILE), b"<<<<<<< HEAD\nschema: '2.0'\n").unwrap();
        let error = Lock::read_file(&folder.path().join(FILE), Path::new("p/dvc.lock")).unwrap_err().to_string();
        assert!(error.contains("p/dvc.lock:"), "{error}");
    }
}
