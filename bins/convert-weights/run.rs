//! From one weights file to another.

use std::borrow::Cow;
use std::path::Path;

use common::cli::print_line;
use common::durable::Written;
use common::store::pickle::{NamedTensor, write_lightning, write_state_dict};
use common::store::tensors::{TensorFile, TensorView, write};
use common::system::names;
use common::{Error, Result, config};
use neural::stages::{Import, Network};
use neural::weights::{self, Allow};
use serde_json::{Value, json};

use crate::convert_weights::args::Args;

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
    let names = check(&args, &network)?;
    if args.dry_run {
        tracing::info!("would write {} tensors to `{}`", names.len(), args.output.display());
        return Ok(());
    }
    let written = convert(&args, form, &names, &network)?;
    let line =
        json!({ "path": written.path, "bytes": written.bytes, "blake3": written.blake3, "tensors": names.len() });
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
    if let Some(file) = &args.config {
        return (of_config(&systems, file)?.of_config)(file, &args.overrides, &args.input);
    }
    if let Some(import) = systems.iter().find(|import| (import.says)(&args.input)) {
        return (import.of_file)(&args.input);
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

/// Compares names and shapes with the network's, by loading into one; gives the names in the network's order.
fn check(args: &Args, network: &Network) -> Result<Vec<String>> {
    let allow = Allow { dropped: args.drop.clone(), ..Allow::default() };
    let report = weights::load_prefixed(&network.state, &args.input, network.prefix, &allow)?;
    tracing::info!("`{}`: {}: {report}", args.input.display(), network.name);
    Ok(network.state.iter().map(|(name, _)| name.clone()).collect())
}

/// Writes the tensors of the input as they are: no value passes through arithmetic.
fn convert(args: &Args, form: Form, names: &[String], network: &Network) -> Result<Written> {
    let about = &network.about;
    if args.input.extension().is_some_and(|e| e == "safetensors") {
        let file = TensorFile::open(&args.input)?;
        let views = names
            .iter()
            .map(|name| file.view(stored(name, network.prefix, |n| file.contains(n)).as_ref()))
            .collect::<Result<Vec<_>>>()?;
        return write_views(&args.output, form, names, views, about);
    }
    let checkpoint = common::store::pickle::Checkpoint::open(&args.input)?;
    let tensors = checkpoint.tensors()?;
    let find = |name: &String| {
        let name = stored(name, network.prefix, |n| tensors.iter().any(|t| t.name == n));
        let tensor = tensors.iter().find(|t| t.name == name.as_ref());
        let tensor = tensor.ok_or_else(|| Error::input(&args.input, format!("holds no tensor `{name}`")))?;
        Ok(TensorView { name: &tensor.name, dtype: tensor.dtype, shape: &tensor.shape, bytes: &tensor.bytes })
    };
    let views = names.iter().map(find).collect::<Result<Vec<_>>>()?;
    write_views(&args.output, form, names, views, about)
}

/// The name under which a file has a tensor: data-parallel training puts `module.` before it, the original `prefix`.
fn stored<'a>(name: &'a str, prefix: &str, has: impl Fn(&str) -> bool) -> Cow<'a, str> {
    if has(name) {
        return Cow::Borrowed(name);
    }
    let published = format!("{prefix}{name}");
    Cow::Owned(if has(&published) { published } else { format!("module.{name}") })
}

fn write_views(output: &Path, form: Form, names: &[String], views: Vec<TensorView>, about: &Value) -> Result<Written> {
    if form == Form::Safetensors {
        let views: Vec<TensorView> = names.iter().zip(views).map(|(name, view)| TensorView { name, ..view }).collect();
        return write(output, &views, Some(about));
    }
    let tensors: Vec<NamedTensor> = names
        .iter()
        .zip(&views)
        .map(|(name, view)| NamedTensor {
            name: name.clone().into(),
            dtype: view.dtype,
            shape: view.shape.to_vec(),
            bytes: Cow::Borrowed(view.bytes),
        })
        .collect();
    if form == Form::Lightning { write_lightning(output, &tensors) } else { write_state_dict(output, &tensors) }
}
