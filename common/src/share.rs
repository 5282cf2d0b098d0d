//! Files that come with an installed Podium: its configs are found by the names that they have in the repository.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};

/// Folders of the repository that are shipped.
pub const FOLDERS: [&str; 2] = ["configs", "pipelines"];

/// `share/podium` of the installation that this program belongs to; none in a checkout.
pub fn folder() -> Option<PathBuf> {
    // `canonicalize`: the ten names are links.
    let program = std::env::current_exe().and_then(|path| path.canonicalize()).ok()?;
    let folder = program.parent()?.parent()?.join("share/podium");
    folder.is_dir().then_some(folder)
}

/// The file itself; where there is none, the shipped one of that name (`configs/..`, `pipelines/..`).
pub fn find(path: PathBuf) -> PathBuf {
    find_in(folder, path)
}

fn find_in(share: impl FnOnce() -> Option<PathBuf>, path: PathBuf) -> PathBuf {
    if !is_shipped_name(&path) || path.exists() {
        return path;
    }
    share().map(|share| share.join(&path)).filter(|shipped| shipped.exists()).unwrap_or(path)
}

/// Whether a path could name a shipped file: it begins with one of their folders and never leaves it.
fn is_shipped_name(path: &Path) -> bool {
    let mut parts = path.components().skip_while(|part| *part == Component::CurDir);
    let first = parts.next();
    let shipped = FOLDERS.iter().any(|folder| first == Some(Component::Normal(folder.as_ref())));
    shipped && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// The value of an argument that names a config: see [`find`].
pub fn config_argument() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(|text: OsString| find(PathBuf::from(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_at_hand_wins_and_names_do_not_leave_the_folder() {
        let share = tempfile::tempdir().unwrap();
        let shipped = share.path().join("configs/run.yaml");
        std::fs::create_dir(share.path().join("configs")).unwrap();
        crate::durable::write(&shipped, b"a: 1\n").unwrap();
        crate::durable::write(share.path().join("secret.yaml"), b"a: 1\n").unwrap();
        let find = |name: &str| find_in(|| Some(share.path().to_path_buf()), PathBuf::from(name));
        assert_eq!(find("configs/run.yaml"), shipped);
        assert_eq!(find("./configs/run.yaml"), share.path().join("./configs/run.yaml"));
        for kept in ["configs/none.yaml", "run.yaml", "configs/../secret.yaml", "/configs/run.yaml"] {
            assert_eq!(find(kept), Path::new(kept));
        }
        assert_eq!(find_in(|| panic!("not asked"), shipped.clone()), shipped);
    }
}
