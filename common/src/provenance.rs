//! What this process has read of finished stages, so that no stage can forget to say it or mix two runs.
//!
//! [`Manifest::read`] reports every manifest here. A manifest knows which stages its own stage was fed by, each with the
//! identity that it had then. Where a stage of that folder is read by the same process and is another by now, one of the
//! two is out of date, and nothing may be computed from both. The files that were verified on the way are collected for
//! the manifest of the stage that ends in this process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::stage::{Artifact, Manifest};

/// A stage that fed another one, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Name of its binary.
    pub stage: String,
    /// Its folder, absolute.
    pub folder: PathBuf,
    /// [`Manifest::identity`] of what it had written.
    pub identity: String,
}

impl Link {
    /// The link to a stage as it is now.
    pub fn to(stage: &Manifest) -> Self {
        Self { stage: stage.stage.clone(), folder: stage.folder.clone(), identity: stage.identity() }
    }

    /// Refuses a stage of this folder that is not what it was when `reader` (stage, folder) read it.
    ///
    /// # Errors
    /// [`Error::Input`] with both identities and what to run again.
    pub fn demand(&self, found: &Self, (reader, at): (&str, &Path)) -> Result<()> {
        if found.stage == self.stage && found.identity == self.identity {
            return Ok(());
        }
        let what = if found.stage == self.stage { "was run again" } else { "was replaced" };
        let problem = format!(
            "`{}` {what} since `{reader}` in `{}` read it: found `{}` {}, expected `{}` {}",
            self.stage,
            at.display(),
            found.stage,
            short(&found.identity),
            self.stage,
            short(&self.identity),
        );
        Err(Error::input(&self.folder, problem).hint(format!(
            "run `{reader}` again into `{}` with `--force`, and what follows it; or make `{}` again as it was. Other data \
             for the same networks belongs into a folder of its own (`--data FOLDER`)",
            at.display(),
            self.folder.display()
        )))
    }
}

fn short(identity: &str) -> &str {
    identity.get(..12).unwrap_or(identity)
}

#[derive(Default)]
struct Seen {
    /// Stages as they are now, by folder.
    stages: BTreeMap<PathBuf, Link>,
    /// What manifests say about the stages before theirs: the link, and whose it is (stage, folder).
    claims: Vec<(Link, String, PathBuf)>,
    /// Verified files of stages: a name, and what was found.
    files: BTreeMap<PathBuf, (String, Artifact)>,
}

static SEEN: Mutex<Option<Seen>> = Mutex::new(None);

fn seen() -> MutexGuard<'static, Option<Seen>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes a manifest that was read, and compares it with all others of this process.
///
/// # Errors
/// [`Error::Input`] where a stage is read both as it is and through one that it fed when it was another.
pub fn manifest(found: &Manifest) -> Result<()> {
    let mut seen = seen();
    let seen = seen.get_or_insert_default();
    let link = Link::to(found);
    for (claim, reader, at) in seen.claims.iter().filter(|(claim, _, _)| claim.folder == link.folder) {
        claim.demand(&link, (reader, at))?;
    }
    for claim in &found.chain {
        let reader = (found.stage.as_str(), found.folder.as_path());
        if let Some(now) = seen.stages.get(&claim.folder) {
            claim.demand(now, reader)?;
        }
        let other = seen.claims.iter().find(|(c, _, at)| c.folder == claim.folder && c != claim && *at != found.folder);
        if let Some((_, other, at)) = other {
            tracing::warn!(
                "`{}` in `{}` and `{other}` in `{}` come from different runs of `{}` in `{}`",
                found.stage,
                found.folder.display(),
                at.display(),
                claim.stage,
                claim.folder.display()
            );
        }
    }
    // A stage that was run again in this process forgets what it said before.
    seen.claims.retain(|(_, _, at)| *at != found.folder);
    seen.claims.extend(found.chain.iter().map(|c| (c.clone(), found.stage.clone(), found.folder.clone())));
    seen.stages.insert(link.folder.clone(), link);
    Ok(())
}

/// Notes a verified file of a stage.
pub fn file(name: String, artifact: Artifact) {
    let mut seen = seen();
    seen.get_or_insert_default().files.insert(artifact.path.clone(), (name, artifact));
}

/// The files noted so far, for the manifest of the stage that ends.
pub fn take_files() -> Vec<(String, Artifact)> {
    let mut seen = seen();
    let files = seen.as_mut().map(|seen| std::mem::take(&mut seen.files)).unwrap_or_default();
    files.into_values().collect()
}
