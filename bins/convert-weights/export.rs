//! A trained network as a file for programs without Podium.

use std::path::{Path, PathBuf};

use climb::space::Blending;
use climb::weights::{Weights, stem};
use common::cli::print_line;
use common::stage::{MANIFEST, Manifest};
use common::system::names;
use common::{Error, Result, config};
use neural::export::{Member, Source};
use neural::stages::Import;
use serde_json::json;

use crate::convert_weights::args::Args;

/// Writes IN, a folder of a finished stage or a weights file of ours, as TorchScript.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.output.extension().is_none_or(|e| e != "pt" && e != "pth") {
        let problem = format!("`{}`: expected a name that ends with `.pt`", args.output.display());
        return Err(Error::usage(problem).into());
    }
    for (flag, given) in [("--config", args.config.is_some()), ("--prefix", args.prefix.is_some())] {
        if given {
            return Err(Error::usage(format!("`{flag}` does not go with `--to torchscript`"))
                .hint("convert the weights to `.safetensors` first, then that file")
                .into());
        }
    }
    let systems = networks::import();
    let (import, source) = found(&systems, args)?;
    let module = (import.export)(&source)?;
    let Some(exported) = module.write(&args.output, args.dry_run)? else {
        tracing::info!("would write {} tensors to `{}`", module.tensors.len(), args.output.display());
        return Ok(());
    };
    let written = &exported.written;
    let line = json!({
        "path": written.path, "bytes": written.bytes, "blake3": written.blake3, "tensors": exported.tensors,
        "difference": exported.differences,
    });
    print_line(&line.to_string())?;
    Ok(())
}

/// The system of IN, and what it is to write.
fn found<'a>(systems: &'a [&'static Import], args: &Args) -> Result<(&'a Import, Source)> {
    let precision = args.precision.unwrap_or_default();
    let folder = args.input.is_dir() || args.input.ends_with(MANIFEST);
    if !folder {
        let file = args.input.clone();
        let own = file.extension().is_some_and(|e| e == "safetensors");
        if !file.exists() || !own {
            let hint = "give the folder of a finished training, or weights that `convert-weights` wrote";
            return Err(match file.exists() {
                true => Error::usage(format!("`{}` is no weights file of Podium", file.display())).hint(hint),
                false => Error::input(&file, "no such file or folder").hint(hint),
            });
        }
        let import = systems.iter().copied().find(|import| (import.says)(&file));
        let import = import.ok_or_else(|| {
            Error::input(&file, "does not say which network it holds")
                .hint("import it with `convert-weights IN OUT.safetensors --config CONFIG` first")
        })?;
        return Ok((import, Source { files: vec![file], stage: None, members: vec![], precision }));
    }
    let stage = Manifest::read(&args.input.to_string_lossy())?;
    if stage.stage == "hill-climb" && stage.inputs.contains_key("weights") {
        let members = members(&stage)?;
        let system = members.first().map(|member| member.stage.system.clone()).unwrap_or_default();
        return Ok((of_system(systems, &system)?, Source { files: vec![], stage: None, members, precision }));
    }
    let import = of_system(systems, &stage.system)?;
    Ok((import, Source { files: vec![], stage: Some(stage), members: vec![], precision }))
}

fn of_system<'a>(systems: &'a [&'static Import], name: &str) -> Result<&'a Import> {
    systems.iter().copied().find(|import| import.system == name).ok_or_else(|| {
        let known = names(systems.iter().map(|import| import.system), "`", "`");
        Error::usage(format!("no networks are known of the system `{name}`, only of {known}"))
    })
}

/// The networks of a blend, found through the submissions that it was made of.
fn members(blend: &Manifest) -> Result<Vec<Member>> {
    let inputs = blend.all_inputs()?;
    let table = &inputs["weights"].path;
    blend.demand_unchanged(&inputs, table)?;
    let mut weights = Weights::read(table)?;
    let config = blend.output("config")?;
    if let Some(space) = config::peek(&config, "space")? {
        weights.blending = Blending::named(&space).ok_or_else(|| {
            Error::input(&config, format!("`space` is `{space}`, expected one of {}", Blending::words()))
        })?;
    }
    if config::peek(&config, "keep_equal")?.as_deref() == Some("true") {
        return Err(Error::input(
            &config,
            "kept columns that are the same in all submissions, which hangs on their rows",
        )
        .hint("blend without `--keep-equal`"));
    }
    if weights.blending != Blending::VALUE {
        return Err(Error::input(table, "does not blend values, expected weights of plain sums")
            .hint("search weights without `--space`"));
    }
    let member = |(place, name): (usize, &String)| {
        let submission = inputs.get(&format!("submissions/{name}")).map(|artifact| artifact.path.clone());
        let submission = submission.unwrap_or_else(|| PathBuf::from(name));
        blend.demand_unchanged(&inputs, &submission)?;
        let mut own = vec![(None, weights.global()[place])];
        own.extend(weights.targets().map(|target| (Some(target.to_string()), weights.of(target)[place])));
        Ok(Member { name: stem(name).to_string(), stage: stage_of(&submission)?, weights: own })
    };
    weights.models.iter().enumerate().map(member).collect()
}

/// The stage that wrote a submission.
fn stage_of(submission: &Path) -> Result<Manifest> {
    let folder = submission.parent().unwrap_or(Path::new("."));
    if !folder.join(MANIFEST).exists() {
        return Err(Error::input(submission, "lies in no folder of `predict`: its network is not known")
            .hint("blend submissions where `predict` wrote them"));
    }
    let stage = Manifest::read(&folder.to_string_lossy())?;
    stage.demand_written(submission)?;
    Ok(stage)
}
