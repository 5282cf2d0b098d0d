//! `finetune-group leap`: from arguments to a finished stage.

use std::path::PathBuf;
use std::sync::Arc;

use common::config::Resolved;
use common::driver::{Ending, Help, Request, Task};
use common::durable;
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use neural::loader::{Head, Source};
use neural::stages::{self, Begun, FinetuneFlags, page};
use neural::trainer::Resume;

use super::page as own;
use super::{Base, FinetuneConfig, Merged, is_done, merge, parse_groups, score_base, tune};
use crate::columns::GROUPS;
use crate::constants::{self, constants_of, identity_of};
use crate::dataset::{Dataset, Selection};
use crate::train::{Arrays, write_npy};

/// A fine-tuning about to run.
pub struct Finetune {
    config: Resolved<FinetuneConfig>,
    /// Identity of the run for its checkpoints.
    hash: String,
    groups: Vec<usize>,
    base: Base,
    upstream: Vec<Manifest>,
    arrays: Arrays,
    begun: Begun,
}

impl Task for Finetune {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "finetune-group";
    const HELP: Help = Help {
        examples: "  \
  All seven groups of the base in `runs/022`, on the arrays that it saw:
    finetune-group configs/leap/max2020/022_gf.yaml --from runs/022 --out runs/022_gf

  Two groups now, the others later, into the same folder:
    finetune-group configs/leap/max2020/022_gf.yaml --from runs/022 --out runs/022_gf --group 0,3
    finetune-group configs/leap/max2020/022_gf.yaml --from runs/022 --out runs/022_gf

  From a published checkpoint:
    convert-weights max022.pt max022.safetensors --config configs/leap/max2020/022.yaml
    finetune-group configs/leap/max2020/022_gf.yaml --base max022.safetensors --data data",
        ..Help::NONE
    };
    const SMOKE: &'static [&'static str] =
        &["training.epochs=1", "training.batch_size=8", "training.accumulation=1", "val_batch_size=8"];
    type Flags = FinetuneFlags;
    type Config = FinetuneConfig;

    fn plan(request: &Request<FinetuneFlags>, config: Resolved<FinetuneConfig>) -> Result<Self> {
        let groups = parse_groups(&request.flags.group)?;
        let begun = Begun::finetuning(request)?;
        let mut upstream = vec![];
        let base = match (&request.flags.base, request.before()?) {
            (Some(file), _) => Base::open(file)?,
            (None, Some(before)) => {
                let trained = before.find("train-model")?;
                let base = Base::open(&trained.output("model")?)?;
                upstream.push(trained);
                base
            }
            (None, None) => {
                return Err(Error::usage("`--from` is missing: the folder of a finished `train-model` stage")
                    .hint("for example `--from runs/022`, or `--base FILE --data FOLDER` for a converted checkpoint"));
            }
        };
        let prepared = stages::data_of(request.flags.data.as_deref(), upstream.first(), Self::SYSTEM)?;
        let limit = begun.limit;
        let arrays = arrays(&prepared, &base, &config.value, limit)?;
        // Base and data belong to the identity of the run: others give another result.
        let (weights, data) = (durable::hash_file(&base.path)?.blake3, prepared.identity());
        let hash = format!("{} base {weights} data {data} limit {limit:?}", config.hash);
        upstream.push(prepared);
        Ok(Self { config, hash, groups, base, upstream, arrays, begun })
    }

    fn describe(&self) -> Vec<String> {
        let (config, base) = (&self.config.value, &self.base);
        vec![
            format!(
                "{}: groups {:?} of {} from `{}`, on {:?}",
                config.member,
                self.groups,
                base.model.name(),
                base.path.display(),
                self.begun.device
            ),
            format!(
                "{} training rows, batches of {}; {} validation rows",
                self.arrays.train.rows(),
                config.training.batch_size,
                self.arrays.valid.rows()
            ),
        ]
    }

    fn upstream<'a>(&'a self, _: Option<&'a Manifest>) -> Vec<&'a Manifest> {
        self.upstream.iter().collect()
    }

    fn inputs(&self) -> Vec<(String, PathBuf)> {
        vec![("base".into(), self.base.path.clone())]
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let (config, base, arrays) = (&self.config.value, &self.base, &self.arrays);
        let options = self.begun.options(stage, None);
        let score = score_base(base, config, arrays, &options)?;
        tracing::info!("base: R2 {:.6}", score.mean());
        let mut tuned = vec![];
        for group in 0..GROUPS {
            let wanted = self.groups.contains(&group);
            if wanted || is_done(stage.folder(), group) {
                let mut options = self.begun.options(stage, None);
                if !wanted {
                    // Done before: taken as it is.
                    options.resume = Resume::Auto;
                }
                tuned.push(tune(group, base, &score, config, &self.hash, arrays, options)?);
            }
        }
        if tuned.len() < GROUPS {
            let missing: Vec<String> =
                (0..GROUPS).filter(|g| tuned.iter().all(|t| t.group != *g)).map(|g| g.to_string()).collect();
            tracing::info!("groups {} are still to be done; the stage ends with the last of them", missing.join(", "));
            return Ok(Ending::Part);
        }
        let merged = merge(base, score, tuned, config, arrays, &options)?;
        publish(stage, config, &merged)?;
        let made = own::of(stage, config, self.config.annotated(), &merged)?;
        page::write(stage, &made)?;
        Ok(Ending::Finished)
    }
}

fn arrays(prepared: &Manifest, base: &Base, config: &FinetuneConfig, limit: Option<u64>) -> Result<Arrays> {
    let valid_file = prepared.output(&format!("{}/valid", base.chain))?;
    constants::demand(&base.about, &base.path, &valid_file)?;
    let extras = base.model.extras();
    let valid = Dataset::open_with(&[("valid".to_string(), valid_file.clone())], None, extras)?;
    let valid: Arc<dyn Source> = Arc::new(valid);
    Ok(Arrays {
        train: Arc::new(Dataset::train(prepared, base.chain, &Selection { extras, ..config.rows.selection() })?),
        order: None,
        valid: match limit {
            Some(batches) => Arc::new(Head::new(valid, batches * config.val_batch_size)),
            None => valid,
        },
        constants: constants_of(&valid_file, base.chain)?,
        normalisation: identity_of(&valid_file)?,
    })
}

/// Names the files and figures that the run leaves behind.
fn publish(stage: &mut Stage, config: &FinetuneConfig, merged: &Merged) -> Result<()> {
    stage.metric("member", config.member.clone());
    stage.metric("r2", merged.score.mean());
    stage.metric("base_r2", merged.base.mean());
    for tuned in &merged.groups {
        let name = crate::columns::GROUP_NAMES[tuned.group];
        stage.output(&format!("groups/g{}", tuned.group), &tuned.file);
        stage.metric(&format!("r2/{name}"), merged.score.group(tuned.group));
        stage.metric(&format!("base_r2/{name}"), tuned.base);
        stage.metric(&format!("from_base/{name}"), tuned.from_base);
    }
    stage.output("oof", &merged.oof);
    if config.oof_npy {
        stage.output("oof.npy", &write_npy(&merged.oof.path, &stage.folder().join("oof.npy"))?);
    }
    tracing::info!("{}: R2 {:.6}, the base had {:.6}", config.member, merged.score.mean(), merged.base.mean());
    Ok(())
}
