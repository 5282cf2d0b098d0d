//! From one weights file to another.

use std::path::Path;

use common::cli::print_line;
use common::durable::Written;
use common::system::names;
use common::{Error, Result, config};
use neural::stages::{Import, Network, Weights};
use neural::weights;
use serde_json::{Value, json};

use crate::convert_weights::args::Args;
use crate::convert_weights::export;

/// What OUT becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Safetensors,
    StateDict,
    Lightning,
}

/// Converts a weights file.
pub fn run(args: Args) -> anyhow::Result<()> {
    let form = form_of(&args.output)?;
    if args.output.exists() && !args.force {
        return Err(Error::usage(format!("`{}` exists", args.output.display()))
            .hint("add `--force` to replace it")
            .into());
    }
    if let (None, Some(file)) = (args.to, &args.config) {
        of_config(&networks::import(), file)?;
    }
    common::cli::elsewhere::hand_over()?;
    if args.to.is_some() {
        return export::run(&args);
    }
    let network = network(&args)?;
    let dialect = load(&args, &network)?;
    let about = (network.of_dialect)(&network.about, dialect)?;
    let tensors = network.state.len();
    if args.dry_run {
        tracing::info!("would write {tensors} tensors to `{}`", args.output.display());
        return Ok(());
    }
    let written = write(&args, form, &network, &about)?;
    let line = json!({ "path": written.path, "bytes": written.bytes, "blake3": written.blake3, "tensors": tensors });
    print_line(&line.to_string())?;
    Ok(())
}

fn form_of(output: &Path) -> Result<Form> {
    match output.extension().and_then(|e| e.to_str()) {
        Some("safetensors") => Ok(Form::Safetensors),
        Some("pt" | "pth") => Ok(Form::StateDict),
        Some("ckpt") => Ok(Form::Lightning),
        _ => {
            let endings = "`.safetensors`, `.pt` or `.ckpt`";
            Err(Error::usage(format!("`{}`: expected a name that ends with {endings}", output.display())))
        }
    }
}

/// Which network the weights belong to, and what the new file says about itself: as the config says, or the file.
fn network(args: &Args) -> Result<Network> {
    let systems = networks::import();
    let choice = args.choice();
    let weights = Weights { file: &args.input, choice: &choice };
    if let Some(file) = &args.config {
        return (of_config(&systems, file)?.of_config)(file, &args.overrides, weights);
    }
    if let Some(import) = systems.iter().find(|import| (import.says)(&args.input)) {
        return (import.of_file)(weights);
    }
    let hint = "for example `--config configs/SYSTEM/MEMBER/RUN.yaml`";
    Err(match args.input.extension().is_some_and(|e| e == "safetensors") {
        true => {
            Error::input(&args.input, "does not say which network it holds").hint(format!("add `--config`, {hint}"))
        }
        false => Error::usage("`--config` is missing: the file does not say which network it holds").hint(hint),
    })
}

/// The system that a config names under `system`, or that recognises it as one of its published program.
fn of_config(systems: &[&'static Import], file: &Path) -> Result<&'static Import> {
    let named = config::peek(file, "system")?;
    for import in systems {
        let is_its = match &named {
            Some(name) => name == import.system,
            None => (import.recognises)(file)?,
        };
        if is_its {
            return Ok(import);
        }
    }
    let found = named.map_or("no `system`".to_string(), |name| format!("system `{name}`"));
    let known = names(systems.iter().map(|import| import.system), "`system: ", "`");
    Err(Error::usage(format!("`{}` has {found}, expected {known}", file.display())))
}

/// Loads the weights into the network, strictly; gives the names of the file, where they are not ours.
fn load(args: &Args, network: &Network) -> Result<Option<&'static str>> {
    let allow = args.choice().on(network.allow.clone());
    let found = weights::read_for(&network.state, &args.input, &allow)?;
    let report = weights::load_strict(&network.state, &found.tensors, &allow);
    let report = report.map_err(|error| weights::in_file(&args.input, error))?;
    tracing::info!("`{}`: {}: {report}", args.input.display(), network.name);
    Ok(found.dialect)
}

fn write(args: &Args, form: Form, network: &Network, about: &Value) -> Result<Written> {
    match form {
        Form::Safetensors => weights::save(&args.output, &network.state, Some(about)),
        Form::StateDict => weights::export(&args.output, &network.state),
        Form::Lightning => weights::export_lightning(&args.output, &network.state, &(network.original)(about)?),
    }
}
