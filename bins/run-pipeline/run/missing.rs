//! Inputs that are not there and that no stage makes.

use std::path::{Path, PathBuf};

use common::Error;

use crate::run_pipeline::declare::text::quote;
use crate::run_pipeline::declare::tree::Mark;
use crate::run_pipeline::graph::Unit;

/// An input that a stage cannot do without.
pub struct Missing {
    pub sentence: String,
    pub hint: String,
    at: Mark,
}

impl Missing {
    /// The refusal, with the place where the pipeline names the input.
    pub fn error(&self) -> Error {
        Error::input(self.at.to_string(), self.sentence.clone()).hint(self.hint.clone())
    }
}

/// The first one of a stage.
pub fn of(unit: &Unit, units: &[Unit]) -> Option<Missing> {
    let outs = || unit.upstream.iter().flat_map(|&up| &units[up].stage.outs);
    let made = |file: &Path| outs().any(|out| file.starts_with(&out.file) || out.file.starts_with(file));
    let stage = &unit.stage;
    if !stage.wdir.is_dir() && !outs().any(|out| out.file.starts_with(&stage.wdir) || stage.wdir.starts_with(&out.file))
    {
        let sentence = format!("`wdir` of stage `{}`: `{}` is no folder", unit.title, stage.wdir.display());
        let hint = "make the folder, or mend the path".to_owned();
        return Some(Missing { sentence, hint, at: stage.at.clone() });
    }
    let deps = stage.deps.iter().map(|d| (&d.file, &d.path, &d.at));
    let params = stage.params.iter().map(|p| (&p.file, &p.path, &p.at));
    let (file, path, at) = deps.chain(params).find(|(file, ..)| !file.exists() && !made(file))?;
    let sentence = format!("stage `{}` reads `{path}`, which does not exist", unit.title);
    let hint = match tracked(file) {
        Some(dvc) => format!("`{}` tracks it: `dvc pull {}`", dvc.display(), quote(&dvc.to_string_lossy())),
        None => "no stage writes it; check the path, or get the file".to_owned(),
    };
    Some(Missing { sentence, hint, at: at.clone() })
}

/// The `.dvc` file by which DVC tracks a file, or a folder that it lies in.
fn tracked(file: &Path) -> Option<PathBuf> {
    let beside = |path: &Path| {
        let mut name = path.file_name()?.to_os_string();
        name.push(".dvc");
        Some(path.with_file_name(name)).filter(|dvc| dvc.is_file())
    };
    let found = file.ancestors().find_map(beside)?;
    let here = std::env::current_dir().unwrap_or_default();
    Some(found.strip_prefix(&here).map_or_else(|_| found.clone(), Path::to_path_buf))
}
