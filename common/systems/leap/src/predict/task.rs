//! `predict leap`: a submission of one network, or of the seven networks of the groups.

use std::path::PathBuf;
use std::sync::Arc;

use common::config::{self, Resolved};
use common::driver::{Ending, Help, Request, Task};
use common::stage::{Manifest, Stage};
use common::submission::SubmissionWriter;
use common::{Error, Result};
use neural::stages::{self, PredictFlags, ZeroList};

use super::{PredictConfig, Predictor, Settings, TestRows};
use crate::columns::{GROUPS, TARGETS, submission_to_train_targets};
use crate::constants::{self, constants_of};
use crate::constraints::Counts;
use crate::norm::Constants;
use crate::submission::{self, Recipe, Writer};

/// A prediction about to run.
pub struct Predict {
    config: PredictConfig,
    settings: Settings,
    predictor: Predictor,
    weights: Vec<PathBuf>,
    test: Arc<TestRows>,
    test_path: PathBuf,
    constants: Constants,
    /// Those that lead back to physical inputs.
    inputs: Constants,
    upstream: Vec<Manifest>,
    sample: Option<PathBuf>,
    limited: bool,
}

impl Predict {
    /// Where expected errors go, if they are wanted.
    fn errors_writer(&self, stage: &Stage) -> Result<Option<SubmissionWriter>> {
        if !self.config.expected_errors {
            return Ok(None);
        }
        let name = format!("{}_expected_errors", self.name());
        let columns: Vec<String> = crate::columns::submission().iter().map(ToString::to_string).collect();
        let ids = submission::ids(self.test.ids()?);
        SubmissionWriter::create(stage.folder(), &name, submission::ID, ids, &columns, false).map(Some)
    }

    /// Name of the submission.
    fn name(&self) -> &str {
        if self.predictor.member.is_empty() { "submission" } else { &self.predictor.member }
    }
}

impl Task for Predict {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "predict";
    const HELP: Help = Help {
        limit: "the first N test rows",
        flags: &[
            ("--weights", "one network, or those of the groups 0 to 6 in order"),
            ("--batch-size", "4096 rows unless the config says otherwise"),
            ("--zero-list", "ADAM's published files do not apply the list"),
        ],
        examples: "  \
  A submission of one network, with the test rows it was prepared with:
    predict --from runs/exp195 --sample raw/kaggle-data/sample_submission.csv \\
      --out submissions/exp195

  The seven networks of a fine-tuning, behind a pipe:
    finetune-group configs/leap/demo/max022_gf.yaml --from runs/max022 --out runs/max022_gf |
      predict --from - --out submissions/max022_gf

  A published checkpoint:
    convert-weights adam_195.pt adam_195.safetensors --config configs/leap/adam/exp195.yaml
    predict --weights adam_195.safetensors --data data --out submissions/adam_195",
        ..Help::NONE
    };
    const READS: &'static [&'static str] = &["--sample", "--batch-size", "--precision", "--zero-list", "--csv"];
    const SMOKE: &'static [&'static str] = &["batch_size=8"];
    const SMOKE_LIMIT: u64 = 8;
    type Flags = PredictFlags;
    type Config = PredictConfig;

    fn config(request: &Request<PredictFlags>) -> Result<Resolved<PredictConfig>> {
        if let Some(file) = request.config.filter(|file| matches!(config::peek(file, "training"), Ok(Some(_)))) {
            let problem =
                format!("`{}`: predicting with LEAP networks takes no config of `train-model`", file.display());
            return Err(Error::usage(problem).hint("leave it out: weights say which network they are"));
        }
        config::load(request.config, &request.all_overrides::<Self>()?)
    }

    fn plan(request: &Request<PredictFlags>, config: Resolved<PredictConfig>) -> Result<Self> {
        let config = config.value;
        let settings = Settings {
            device: stages::compute(request)?,
            batch: config.batch_size,
            precision: config.precision,
            apply_zero_list: match config.zero_list {
                ZeroList::Auto => None,
                ZeroList::Apply => Some(true),
                ZeroList::Ignore => Some(false),
            },
        };
        let mut upstream = vec![];
        let (predictor, weights) = match (request.flags.weights.as_slice(), request.before()?) {
            ([one], _) => (Predictor::single(one, &settings)?, vec![one.clone()]),
            ([], Some(manifest)) => {
                // The nearest stage that holds networks.
                let trained = match manifest.find_if_any("finetune-group")? {
                    Some(tuned) => tuned,
                    None => manifest.find("train-model")?,
                };
                let predictor = Predictor::of_stage(&trained, &settings)?;
                let weights = Predictor::files_of(&trained)?;
                upstream.push(trained);
                (predictor, weights)
            }
            ([], None) => {
                return Err(Error::usage(
                    "`--from` is missing: the folder of a finished `train-model` or `finetune-group` stage",
                )
                .hint("for example `--from runs/exp195`, or `--weights FILE --data FOLDER` for converted weights"));
            }
            (files, _) if files.len() != GROUPS => {
                return Err(Error::usage(format!("`--weights` gives {} files, expected 1 or {GROUPS}", files.len())));
            }
            (files, _) => (Predictor::groups(files, &settings)?, files.to_vec()),
        };
        let prepared = stages::data_of(request.flags.data.as_deref(), upstream.first(), Self::SYSTEM)?;
        let chain = predictor.chain;
        let test_path = prepared.output(&format!("{chain}/test"))?;
        predictor.demand_plain(&test_path)?;
        let test = Arc::new(TestRows::open(&test_path, request.limit)?);
        constants::demand(&predictor.about, &weights[0], &test_path)?;
        // Where there are validation rows, theirs: test rows of earlier versions do not hold them.
        let valid = format!("{chain}/valid");
        let constants = match prepared.outputs.contains_key(&valid) {
            true => constants_of(&prepared.output(&valid)?, chain)?,
            false => constants_of(&test_path, chain)?,
        };
        if config.expected_errors && !predictor.expects_errors() {
            return Err(Error::usage("`expected_errors` is set, but the network has no output for them").hint(
                "train one with `model.NAME.confidence=true loss.confidence=1`, or leave `expected_errors` out",
            ));
        }
        let inputs = match config.constraints.microphysics {
            true => crate::train::inputs_of(&prepared, &constants, "constraints.microphysics")?,
            false => constants.clone(),
        };
        upstream.push(prepared);
        let (sample, limited) = (request.flags.sample.clone(), request.limit.is_some());
        Ok(Self { config, settings, predictor, weights, test, test_path, constants, inputs, upstream, sample, limited })
    }

    fn describe(&self) -> Vec<String> {
        vec![format!("{}: {} test rows of chain {}", self.name(), self.test.len(), self.predictor.chain)]
    }

    fn seed(&self) -> Option<u64> {
        // Without a training before it: 0, not the seed of the data.
        self.upstream.first().filter(|first| first.stage != "prepare-data").map(|trained| trained.seed)
    }

    fn upstream<'a>(&'a self, _: Option<&'a Manifest>) -> Vec<&'a Manifest> {
        self.upstream.iter().collect()
    }

    fn inputs(&self) -> Vec<(String, PathBuf)> {
        let weights = self.weights.iter().enumerate().map(|(i, path)| (format!("weights/{i}"), path.clone()));
        weights.chain(self.sample.iter().map(|sample| ("sample".to_string(), sample.clone()))).collect()
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let ids = submission::ids(self.test.ids()?);
        if let Some(sample) = &self.sample {
            match self.limited {
                false => submission::check_sample(sample, stage.folder(), &ids, &self.test_path)?,
                true => tracing::warn!("only some rows are predicted: the sample file is not compared"),
            }
        }
        let name = self.name();
        let recipe = Recipe::new(&self.constants, &self.predictor.zero_list);
        let mut writer = Writer::create(stage.folder(), name, recipe, ids, self.config.csv)?;
        let mut errors = self.errors_writer(stage)?;
        let (rules, mut counts) = (self.config.constraints, Counts::default());
        self.predictor.run(&self.test, &self.settings, |block| {
            if let (Some(writer), Some(expected)) = (&mut errors, block.expected) {
                let column = |&c: &usize| expected.iter().skip(c).step_by(TARGETS).map(|&e| f64::from(e)).collect();
                writer.append(submission_to_train_targets().iter().map(column).collect())?;
            }
            writer.append_changed(block.predicted, block.linear, |columns| {
                counts.add(&rules.apply(columns, block.inputs, &self.inputs));
            })
        })?;
        let written = writer.finish()?;
        if let Some(errors) = errors {
            stage.output("expected_errors", &errors.finish()?.parquet);
        }
        if !rules.is_none() {
            for (name, count) in counts.named() {
                stage.metric(name, count);
            }
            tracing::info!("corrected: {}", counts.named().map(|(name, n)| format!("{name} {n}")).join(", "));
        }
        let competition = (!self.limited).then_some(submission::COMPETITION);
        tracing::info!("{}", written.summary(competition, name));
        stage.output("submission", &written.parquet);
        if let Some(csv) = &written.csv {
            stage.output("submission.csv", csv);
        }
        stage.metric("member", name);
        stage.metric("rows", self.test.len());
        stage.metric("zero_list", self.predictor.zero_list.len());
        Ok(Ending::Finished)
    }
}
