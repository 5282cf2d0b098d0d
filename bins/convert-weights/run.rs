//! From one weights file to another.

use std::path::Path;

use common::cli::print_line;
use common::durable::Written;
use common::system::Systems;
use common::{Error, Result};
use neural::weights::{self, Allow, Choice};
use serde_json::{Value, json};
use tch::Tensor;

use crate::args::Args;
use crate::{icecube, leap, polarmae, tracknet};

/// The network that weights belong to.
pub struct Network {
    /// Name of its kind.
    pub name: &'static str,
    /// Its tensors, in the published order.
    pub state: Vec<(String, Tensor)>,
    /// What a new file says about itself.
    pub about: Value,
    /// How files with its tensors are read.
    pub allow: Allow,
    /// What the new file says where the names in the old one were those of other code.
    pub of_dialect: fn(&Value, Option<&str>) -> Result<Value>,
    /// What a `.ckpt` holds beside the tensors, so that the original takes it.
    pub original: fn(&Value) -> Result<Value>,
}

impl Network {
    /// A network whose files have no peculiarities.
    pub fn new(name: &'static str, state: Vec<(String, Tensor)>, about: Value) -> Self {
        let of_dialect = |about: &Value, _: Option<&str>| Ok(about.clone());
        Self { name, state, about, allow: Allow::default(), of_dialect, original: |_| Ok(json!({})) }
    }
}

/// How a system describes the network of a config, and of a file that says it itself.
type Described = (fn(&Path, &[String]) -> Result<Network>, fn(&Path) -> Result<Network>);

const SYSTEMS: Systems<Described> = Systems(&[
    ("icecube", (icecube::of_config, icecube::of_file)),
    ("leap", (leap::of_config, leap::of_file)),
    ("polarmae", (polarmae::of_config, polarmae::of_file)),
    ("tracknet", (tracknet::of_config, |file| tracknet::of_file(file, &Choice::default()))),
]);

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

/// Which network the weights belong to, and what the new file says about itself.
fn network(args: &Args) -> Result<Network> {
    let is_lightning = args.input.extension().is_some_and(|e| e == "ckpt");
    if let Some(file) = &args.config {
        if icecube::is_published(file)? {
            return icecube::of_config(file, &args.overrides);
        }
        let (of_config, _) = SYSTEMS.of_config(file)?;
        let mut network = of_config(file, &args.overrides)?;
        if is_lightning && network.about["system"] == "tracknet" {
            // The config does not say how positions are normalised, the checkpoint does.
            network.about["normalizer"] = tracknet::of_file(&args.input, &args.choice())?.about["normalizer"].take();
        }
        return Ok(network);
    }
    if args.input.extension().is_some_and(|e| e == "safetensors") {
        let about = weights::metadata(&args.input)?.unwrap_or(Value::Null);
        let named = about["system"].as_str().and_then(|name| SYSTEMS.find(name));
        return named.map_or(leap::of_file as fn(&Path) -> _, |(_, of_file)| of_file)(&args.input);
    }
    if let Ok(network) = tracknet::of_file(&args.input, &args.choice()) {
        return Ok(network);
    }
    Err(Error::usage("`--config` is missing: the file does not say which network it holds")
        .hint("name the config that the network was trained with, one of those below `configs`: `--config CONFIG`"))
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
