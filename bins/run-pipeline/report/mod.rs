//! `run-pipeline report`: one page about runs beside each other, and about what pipelines did.

mod pipelines;
mod runs;

use std::io::Read;
use std::path::Path;

use common::stage::{MANIFEST, Manifest};
use common::{Error, Result, durable};
use report::Page;

use crate::run_pipeline::args::ReportArgs;
use crate::run_pipeline::declare::file::FILE;
use crate::run_pipeline::state;
use pipelines::Pipeline;
use runs::Run;

/// What each page of this kit begins with.
const BEGINNING: &[u8] = b"<!doctype html>";

/// Reads everything that was named and writes the page.
///
/// # Errors
/// For a folder that holds neither a finished stage nor a pipeline that ran, and those of reading and writing.
pub fn run(arguments: &ReportArgs) -> Result<()> {
    refuse_others(&arguments.out, arguments.force)?;
    let (mut found, mut pipelines) = (vec![], vec![]);
    for path in &arguments.runs {
        let folder =
            if path.ends_with(FILE) || path.ends_with(MANIFEST) { path.parent().unwrap_or(path) } else { path };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if folder.join(MANIFEST).is_file() {
            found.push(Run::read(folder)?);
        } else if folder.join(state::FOLDER).is_dir() {
            let pipeline = Pipeline::read(folder)?;
            for run in pipeline.runs()? {
                if !found.iter().any(|other: &Run| other.manifest.folder == run.manifest.folder) {
                    found.push(run);
                }
            }
            pipelines.push(pipeline);
        } else {
            let problem = "holds neither a finished stage nor a pipeline that ran here";
            return Err(Error::input(path, problem).hint(format!(
                "name folders with `{MANIFEST}`, or a folder with `{FILE}` after `run-pipeline` ran it"
            )));
        }
    }
    let page = page(&found, &pipelines)?;
    durable::write(&arguments.out, page.html().as_bytes())?;
    // PAGE.html has its pictures and numbers in PAGE.plots.
    let beside = arguments.out.with_extension("plots");
    for (name, text) in page.beside() {
        let name = Path::new(&name).file_name().unwrap_or_default().to_owned();
        durable::write(beside.join(name), text.as_bytes())?;
    }
    tracing::info!("wrote `{}`: {} runs, {} pipelines", arguments.out.display(), found.len(), pipelines.len());
    Ok(())
}

fn page(found: &[Run], pipelines: &[Pipeline]) -> Result<Page> {
    let (title, subtitle) = match (found.len(), pipelines) {
        (_, [only]) => (only.name.clone(), format!("{} stages with figures", found.len())),
        (count, []) => (format!("{count} runs"), "beside each other".to_string()),
        (count, many) => (format!("{} pipelines", many.len()), format!("{count} runs")),
    };
    let mut page = Page::new(title, subtitle);
    for pipeline in pipelines {
        pipeline.show(&mut page, pipelines.len() > 1);
    }
    runs::compare(&mut page, found)?;
    Ok(page)
}

/// A file that is there and no page is not written over.
fn refuse_others(path: &Path, force: bool) -> Result<()> {
    if force || !path.exists() {
        return Ok(());
    }
    let mut beginning = vec![];
    let file = std::fs::File::open(path).map_err(|e| Error::opening(path, e))?;
    file.take(BEGINNING.len() as u64).read_to_end(&mut beginning).map_err(|e| Error::io("reading", path, e))?;
    if beginning == BEGINNING {
        return Ok(());
    }
    Err(Error::usage(format!("`{}` exists and is no page", path.display()))
        .hint("choose another file with `--out`, or add `--force` to replace it"))
}

/// The manifest of a stage as it lies there: what was run again since is no error for a reader of figures.
fn manifest(folder: &Path) -> Result<Manifest> {
    Manifest::read(&folder.display().to_string())
}
