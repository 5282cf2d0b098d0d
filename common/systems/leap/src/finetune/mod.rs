//! Group fine-tuning: seven networks from one base, each trained on one group of targets for another epoch.
//!
//! The groups help each other early in training and disturb each other late. All weights are trained; of each network
//! only the columns of its group are used. Published gain: 0.0005 to 0.0015 of R2.

mod config;
pub mod groups;
mod page;
mod task;

use std::path::{Path, PathBuf};

use common::durable::{self, Written};
use common::seed::seed_for;
use common::{Error, Result};
use neural::trainer::{self, Outcome};
use neural::weights;
use serde_json::{Value, json};

use crate::columns::GROUPS;
use crate::models::ModelConfig;
use crate::norm::Chain;
use crate::score::Score;
use crate::train::evaluate::predict;
use crate::train::{self, Arrays, LeapTask, Objective, Options, build};
pub use config::{BadGroups, FinetuneConfig};
pub use groups::GroupNetworks;
pub use task::Finetune;

/// Folder of the seven networks inside the run folder.
pub const FOLDER: &str = "groups";

/// The checkpoint to start from.
pub struct Base {
    /// Its weights.
    pub path: PathBuf,
    /// The network.
    pub model: ModelConfig,
    /// The preprocessing that it was trained on.
    pub chain: Chain,
    /// What its checkpoint says about itself.
    pub about: Value,
}

impl Base {
    /// A checkpoint of `train-model`: a weights file that says which network it is.
    pub fn open(path: &Path) -> Result<Self> {
        let missing = || {
            Error::input(path, "does not say which network it is")
                .hint("import it with `convert-weights`, which writes the model's config into the file")
        };
        let about = weights::metadata(path)?.ok_or_else(missing)?;
        let field = |name: &str| about.get(name).cloned().ok_or_else(missing);
        let bad = |e: serde_json::Error| Error::input(path, format!("describes no network of this version: {e}"));
        let model = serde_json::from_value(field("model")?).map_err(bad)?;
        let chain = serde_json::from_value(field("chain")?).map_err(bad)?;
        Ok(Self { path: path.to_path_buf(), model, chain, about })
    }
}

/// What one group's fine-tuning gave.
#[derive(Debug, Clone)]
pub struct Tuned {
    /// Group, 0..7.
    pub group: usize,
    /// Mean R2 of its columns before.
    pub base: f64,
    /// Best mean R2 after; `None` for a skipped group.
    pub best: Option<f64>,
    /// Whether its submission columns come from the base.
    pub from_base: bool,
    /// How training went.
    pub outcome: Option<Outcome>,
    /// Weights that its submission columns come from.
    pub file: Written,
}

/// What all groups together gave.
pub struct Merged {
    /// The base's score.
    pub base: Score,
    /// The groups, in order.
    pub groups: Vec<Tuned>,
    /// Out-of-fold predictions, each column from its group's network.
    pub oof: Written,
    /// R2 of those.
    pub score: Score,
}

/// Scores the base on the validation rows.
pub fn score_base(base: &Base, config: &FinetuneConfig, arrays: &Arrays, options: &Options) -> Result<Score> {
    let built = build(&base.model, options.device, config.seed)?;
    weights::load(&built.params.state(), &base.path, &weights::Allow::default())?;
    let evaluator = train::evaluator(arrays, options.device, config.val_batch_size, config.training.precision);
    let network = built.network.as_ref();
    // Upstream reports a dummy loss of -1 here; nobody reads it, so none is computed.
    let zero = tch::Tensor::from(0.0);
    Ok(evaluator.score(|rows| Ok(predict(network, rows)), |_, _| zero.shallow_clone())?.score)
}

/// Fine-tunes one group, or copies the base for a skipped one, and writes `groups/gN.safetensors`.
///
/// `arrays.order`, where given, is this group's.
pub fn tune<'a>(
    group: usize,
    base: &Base,
    base_score: &Score,
    config: &'a FinetuneConfig,
    hash: &str,
    arrays: &Arrays,
    options: Options<'a>,
) -> Result<Tuned> {
    let folder = options.folder.clone();
    let before = base_score.group(group);
    let target = folder.join(FOLDER).join(format!("g{group}.safetensors"));
    if config.skip.contains(&group) {
        let file = write_group(&target, &base.path, base, config, group, true, before)?;
        return Ok(Tuned { group, base: before, best: None, from_base: true, outcome: None, file });
    }
    let seed = seed_for(config.seed, "group", group as u64);
    let built = build(&base.model, options.device, seed)?;
    weights::load(&built.params.state(), &base.path, &weights::Allow::default())?;
    let evaluator = train::evaluator(arrays, options.device, config.val_batch_size, config.training.precision);
    let mut about = base.about.clone();
    about["member"] = json!(config.member);
    about["group"] = json!(group);
    let mut task = LeapTask::new(built.network, Objective::Group(group), evaluator, about);
    let options = Options { folder: run_folder(&folder, group), ..options };
    durable::create_folder(&options.folder)?;
    let label = format!("{} group {group}", config.member);
    let outcome = train::fit(&mut task, &built.params, &config.training, hash, seed, arrays, options, &label)?;

    let best = outcome.state.kept.as_ref().map_or(f64::NAN, |kept| -kept.score);
    let bad = config.bad_groups.is_bad(best, before);
    tracing::info!("{label}: R2 {before:.6} -> {best:.6}{}", if bad { ", not better: the base is kept" } else { "" });
    let source = if bad { base.path.clone() } else { outcome.weights() };
    let file = write_group(&target, &source, base, config, group, bad, if bad { before } else { best })?;
    Ok(Tuned { group, base: before, best: Some(best), from_base: bad, outcome: Some(outcome), file })
}

/// Where the checkpoints of one group's run lie.
pub fn run_folder(folder: &Path, group: usize) -> PathBuf {
    folder.join("runs").join(format!("g{group}"))
}

/// Predicts the validation rows with all seven networks in one pass, and writes the merged out-of-fold file.
pub fn merge(
    base: &Base,
    base_score: Score,
    groups: Vec<Tuned>,
    config: &FinetuneConfig,
    arrays: &Arrays,
    options: &Options,
) -> Result<Merged> {
    let files = groups.iter().map(|tuned| oof_weights(tuned, config, &options.folder)).collect::<Vec<_>>();
    let networks = GroupNetworks::load(&base.model, &files, options.device)?;
    let evaluator = train::evaluator(arrays, options.device, config.val_batch_size, config.training.precision);
    let mut metadata = base.about.clone();
    metadata["member"] = json!(config.member);
    // No zero list is kept in this stage, as published: only the always-zero columns are overwritten.
    metadata["zero_list"] = json!([]);
    let path = options.folder.join(train::OOF);
    let (oof, found) = evaluator.write_oof(&path, &arrays.constants, &metadata, &[], |rows| networks.predict(rows))?;
    Ok(Merged { base: base_score, groups, oof, score: found.score })
}

/// The weights of a group's out-of-fold columns. They are those of its submission columns, but for the published
/// inconsistency that [`BadGroups::Parity`] reproduces.
fn oof_weights(tuned: &Tuned, config: &FinetuneConfig, folder: &Path) -> PathBuf {
    match &tuned.outcome {
        Some(outcome) if config.bad_groups == BadGroups::Parity => outcome.weights(),
        _ => folder.join(FOLDER).join(format!("g{}.safetensors", tuned.group)),
    }
}

/// Copies weights under the group's name, saying what they are.
fn write_group(
    target: &Path,
    source: &Path,
    base: &Base,
    config: &FinetuneConfig,
    group: usize,
    from_base: bool,
    r2: f64,
) -> Result<Written> {
    let mut about = base.about.clone();
    about["member"] = json!(config.member);
    about["group"] = json!(group);
    about["from_base"] = json!(from_base);
    about["zero_list"] = json!([]);
    about["score"] = json!(r2);
    weights::save(target, &weights::read(source)?, Some(&about))
}

/// The groups that a command line asks for: `all`, `3`, `0,4`.
pub fn parse_groups(text: &str) -> Result<Vec<usize>> {
    if text == "all" {
        return Ok((0..GROUPS).collect());
    }
    let bad = || Error::usage(format!("`--group {text}`: expected `all` or numbers from 0 to {}", GROUPS - 1));
    let groups = text.split(',').map(|part| part.trim().parse().ok().filter(|&g: &usize| g < GROUPS).ok_or_else(bad));
    let mut groups = groups.collect::<Result<Vec<_>>>()?;
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// Whether the run of a group in `folder` has ended.
pub fn is_done(folder: &Path, group: usize) -> bool {
    let last = run_folder(folder, group).join(trainer::CHECKPOINTS).join(trainer::LAST);
    trainer::State::read(&last).is_ok_and(|state| state.finished.is_some())
}
