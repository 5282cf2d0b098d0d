//! `train-model leap`: one network on the arrays of one chain, and its out-of-fold predictions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::config::Resolved;
use common::driver::{Ending, Help, Request, Task};
use common::stage::{Manifest, Stage};
use common::{Error, Result, durable};
use neural::loader::{Head, Source};
use neural::stages::{self, Begun, Told, TrainFlags};

use super::rows::Mixture;
use super::{Arrays, TrainConfig, Trained, train, write_npy};
use crate::constants::{constants_of, identity_of};
use crate::dataset::{Dataset, Extras, Selection};
use crate::models::features::Features;
use crate::norm::Constants;

/// A training about to run.
pub struct Train {
    config: Resolved<TrainConfig>,
    /// Identity of the run for its checkpoints: other data or a limit make another run.
    hash: String,
    prepared: Manifest,
    /// Those of `rows.sources`.
    further: Vec<Manifest>,
    /// Weights to begin with.
    initial: Option<PathBuf>,
    arrays: Arrays,
    begun: Begun,
}

impl Task for Train {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "train-model";
    const HELP: Help = Help {
        flags: &[("--init", "the config says which tensors may differ (`initial.drop`)")],
        examples: "  \
  The published recipe, on the arrays in `data`:
    train-model configs/leap/adam/exp195.yaml --from data --out runs/exp195

  The same with another batch size and a schedule of fewer epochs:
    train-model configs/leap/adam/exp195.yaml --from data --out runs/small \\
      training.batch_size=256 training.epochs=3

  A second stage that begins with the first one's weights:
    train-model configs/leap/forcewithme/lstmmamba_stage2.yaml --from data \\
      --init runs/lstmmamba_stage1 --out runs/lstmmamba

  In a pipe, and a look at what would be done:
    prepare-data leap configs/leap/demo/prepare.yaml --raw raw --out data |
      train-model configs/leap/demo/exp195.yaml --from - --out runs/demo
    train-model configs/leap/demo/exp195.yaml --from data --dry-run",
        ..Help::NONE
    };
    const READS: &'static [&'static str] = &["--init", "--prefix", "--drop"];
    const SMOKE: &'static [&'static str] =
        &["training.epochs=1", "training.batch_size=8", "training.accumulation=1", "val_batch_size=8"];
    type Flags = TrainFlags;
    type Config = TrainConfig;

    fn overrides(request: &Request<TrainFlags>) -> Result<Vec<String>> {
        Ok(request.flags.part_below("initial"))
    }

    fn plan(request: &Request<TrainFlags>, config: Resolved<TrainConfig>) -> Result<Self> {
        let prepared = stages::prepared(request, Self::SYSTEM)?;
        let begun = Begun::training(request)?;
        let further =
            config.value.rows.sources.iter().map(|source| further(&source.data)).collect::<Result<Vec<_>>>()?;
        let arrays = arrays(&prepared, &further, &config.value, begun.limit)?;
        let initial = initial(request.flags.init.as_deref(), &config.value)?;
        let mut hash = stages::identity(&config.hash, &prepared, initial.as_deref(), begun.limit)?;
        further.iter().for_each(|source| hash += &format!(" and {}", source.identity()));
        for (key, path) in representations(&config.value) {
            hash += &format!(" {key} {}", durable::hash_file(&path)?.blake3);
        }
        Ok(Self { config, hash, prepared, further, initial, arrays, begun })
    }

    fn describe(&self) -> Vec<String> {
        let config = &self.config.value;
        let training = &config.training;
        let steps = self.arrays.train.rows() / training.batch_size;
        let (model, chain) = (config.model.name(), config.chain());
        vec![
            format!("{}: {model} of chain {chain} on {:?}", config.member, self.begun.device),
            format!(
                "{} training rows, {} steps of {} an epoch, {} epochs; {} validation rows",
                self.arrays.train.rows(),
                self.begun.limit.map_or(steps, |limit| steps.min(limit)),
                training.batch_size,
                training.epochs,
                self.arrays.valid.rows()
            ),
        ]
    }

    fn upstream<'a>(&'a self, _: Option<&'a Manifest>) -> Vec<&'a Manifest> {
        std::iter::once(&self.prepared).chain(&self.further).collect()
    }

    fn inputs(&self) -> Vec<(String, PathBuf)> {
        let initial = self.initial.iter().map(|initial| ("init".to_string(), initial.clone()));
        initial.chain(representations(&self.config.value)).collect()
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let config = &self.config.value;
        stages::hparams(stage, &self.config.text)?;
        let options = self.begun.options(stage, self.initial.as_deref());
        let trained = train(config, &self.hash, &self.arrays, options)?;
        publish(stage, config, self.config.annotated(), &trained)?;
        Ok(Ending::Finished)
    }
}

/// The files of constants that the config names.
fn representations(config: &TrainConfig) -> Vec<(String, PathBuf)> {
    let files = config.representations.iter().flat_map(|files| files.named());
    files.map(|(key, path)| (format!("representations/{key}"), path.to_path_buf())).collect()
}

/// A folder of `rows.sources`.
fn further(folder: &Path) -> Result<Manifest> {
    let manifest = Manifest::read(&folder.to_string_lossy())?;
    if manifest.stage != "prepare-data" || manifest.system != crate::NAME {
        let problem =
            format!("is a stage `{}` of `{}`, expected `prepare-data` of `leap`", manifest.stage, manifest.system);
        return Err(Error::input(folder, problem).hint("`rows.sources` names folders of prepared arrays"));
    }
    Ok(manifest)
}

/// The file that `--init` means.
fn initial(init: Option<&Path>, config: &TrainConfig) -> Result<Option<PathBuf>> {
    match init {
        Some(path) => stages::weights_of(path).map(Some),
        None if config.initial.is_some() => {
            Err(Error::usage("`--init` is missing: the config begins with the weights of another run")
                .hint("name the folder of that run: `--init runs/lstmmamba_stage1`; or draw them: `initial=null`"))
        }
        None => Ok(None),
    }
}

fn arrays(prepared: &Manifest, further: &[Manifest], config: &TrainConfig, limit: Option<u64>) -> Result<Arrays> {
    let chain = config.chain();
    let valid_file = prepared.output(&format!("{chain}/valid"))?;
    let extras = config.model.extras();
    let valid = Dataset::open_with(&[("valid".to_string(), valid_file.clone())], None, extras)?;
    let valid: Arc<dyn Source> = Arc::new(valid);
    let extras = Extras { target_places: config.model.places(), ..extras };
    let train = Dataset::train(prepared, chain, &Selection { extras, ..config.rows.selection() })?;
    let identity = identity_of(&valid_file)?;
    let mut sources = Vec::new();
    for (source, manifest) in config.rows.sources.iter().zip(further) {
        let selection = Selection { months: source.months.clone(), extras, ..Selection::default() };
        let rows = Dataset::train(manifest, chain, &selection)?;
        for path in rows.paths() {
            if identity_of(path)? != identity {
                let problem = format!("was normalised with other constants than `{}`", valid_file.display());
                return Err(Error::input(path, problem).hint("prepare all sources with the same `normalisation`"));
            }
        }
        sources.push((rows, source.share));
    }
    let train: Arc<dyn Source> = match sources.is_empty() {
        true => Arc::new(train),
        false => Arc::new(Mixture::new(train, sources)),
    };
    Ok(Arrays {
        train,
        order: None,
        valid: match limit {
            Some(batches) => Arc::new(Head::new(valid, batches * config.val_batch_size)),
            None => valid,
        },
        constants: constants(prepared, &valid_file, config)?,
        normalisation: identity,
    })
}

/// The constants of the arrays. Those of the inputs matter only where further channels are made of them.
fn constants(prepared: &Manifest, valid: &Path, config: &TrainConfig) -> Result<Constants> {
    let constants = constants_of(valid, config.chain())?;
    if config.model.features().is_none_or(Features::is_none) {
        return Ok(constants);
    }
    super::inputs_of(prepared, &constants, &format!("model.{}.features", config.model.name()))
}

/// Names the files and figures that the run leaves behind.
fn publish(stage: &mut Stage, config: &TrainConfig, annotated: &str, trained: &Trained) -> Result<()> {
    let subtitle = format!(
        "{} of chain {}, seed {}: R2 {:.6} on the validation rows",
        config.model.name(),
        config.chain(),
        config.seed,
        trained.score.mean()
    );
    stages::publish(stage, &trained.model, &config.member)?;
    stage.output("oof", &trained.oof);
    if config.oof_npy {
        stage.output("oof.npy", &write_npy(&trained.oof.path, &stage.folder().join("oof.npy"))?);
    }
    stage.metric("r2", trained.score.mean());
    for (name, r2) in crate::columns::GROUP_NAMES.iter().zip(trained.score.groups()) {
        stage.metric(&format!("r2/{name}"), r2);
    }
    if let Some(correlation) = trained.confidence {
        stage.metric("confidence", correlation);
    }
    if let Some(kept) = &trained.outcome.state.kept {
        stage.metric("best_epoch", kept.epoch + 1);
        stage.metric("best_step", kept.global_step);
        stage.metric("best_score", kept.shown());
    }
    let told = Told { member: &config.member, subtitle: &subtitle, annotated, rows: "rows_per_s" };
    stages::ending(stage, &trained.outcome, &told)?;
    tracing::info!(
        "{}: R2 {:.6} on {} validation rows",
        config.member,
        trained.score.mean(),
        rows_of(&trained.oof.path)?
    );
    Ok(())
}

fn rows_of(oof: &Path) -> Result<usize> {
    Ok(common::store::tensors::TensorFile::open(oof)?.shape("predictions")?[0])
}
