//! Predicting Kaggle's test rows: with one network, or with the seven of a group fine-tuning in one pass.
//!
//! Predictions are normalised and in training order; [`crate::submission`] turns them into the file's columns.

pub mod config;
mod task;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::cli::{progress, signals};
use common::stage::Manifest;
use common::store::tensors::TensorFile;
use common::{Error, Result, exhausted};
use neural::Doing;
use neural::loader::{Delivery, Field, Loader, Source};
use neural::precision::{Precision, with_autocast};
use neural::weights;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::columns::{GROUPS, INPUTS, TARGETS, linear};
use crate::constants;
use crate::dataset::Extras;
use crate::finetune::{Base, GroupNetworks};
use crate::models::parts;
use crate::norm::Chain;
use crate::train::evaluate::{predict, values};
use crate::train::{Built, build, zero_list_of_file};
pub use config::PredictConfig;
pub use task::Predict;

/// Prepared test rows: `inputs` f32 `[n, 556]`, `ids` i32 `[n]`, `linear` f64 `[n, 16 or more]`.
pub struct TestRows {
    file: TensorFile,
    rows: usize,
    linear_width: usize,
}

impl TestRows {
    /// Opens and checks a file of `prepare-data`.
    ///
    /// With a `limit` only the first rows are used.
    pub fn open(path: &Path, limit: Option<u64>) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let rows = file.elements_of_shape::<f32>("inputs", &[None, Some(INPUTS)])?.len() / INPUTS;
        file.elements_of_shape::<i32>("ids", &[Some(rows)])?;
        let linear_width = match file.shape("linear")? {
            &[n, width] if n == rows && width >= linear().len() => width,
            shape => {
                let problem =
                    format!("tensor `linear` has shape {shape:?}, expected [{rows}, {} or more]", linear().len());
                return Err(Error::input(path, problem));
            }
        };
        file.f64("linear")?;
        let rows = limit.map_or(rows, |limit| rows.min(limit as usize));
        Ok(Self { file, rows, linear_width })
    }

    /// Number of rows that are used.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is nothing to predict.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The ids of these rows: the number in `test_123`.
    pub fn ids(&self) -> Result<&[i32]> {
        Ok(&self.file.i32("ids")?[..self.rows])
    }

    /// The inputs of `rows` rows from row `first` on.
    fn inputs(&self, first: usize, rows: usize) -> Result<&[f32]> {
        Ok(&self.file.f32("inputs")?[first * INPUTS..(first + rows) * INPUTS])
    }

    /// The linear table of `rows` rows from row `first` on; each begins with `ptend_q0002_12`.
    fn linear(&self, first: usize, rows: usize) -> Result<&[f64]> {
        Ok(&self.file.f64("linear")?[first * self.linear_width..(first + rows) * self.linear_width])
    }
}

/// Test rows and what networks make of them.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// `[n, 368]` predictions, normalised, training order.
    pub predicted: &'a [f32],
    /// The errors that the network expects of them, in the units of its loss, where it expects any.
    pub expected: Option<&'a [f32]>,
    /// The linear table.
    pub linear: &'a [f64],
    /// `[n, 556]` inputs, normalised, training order.
    pub inputs: &'a [f32],
}

impl Source for TestRows {
    fn rows(&self) -> u64 {
        self.rows as u64
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::vector("inputs", INPUTS)]
    }

    fn gather(&self, rows: &[u64], buffers: &mut [Vec<f32>]) -> Result<()> {
        let inputs = self.file.f32("inputs")?;
        for &row in rows {
            buffers[0].extend_from_slice(&inputs[row as usize * INPUTS..(row as usize + 1) * INPUTS]);
        }
        Ok(())
    }
}

/// Loaded networks and what to do with their columns.
pub struct Predictor {
    networks: Networks,
    /// The preprocessing that the networks were trained on.
    pub chain: Chain,
    /// Name in the blend.
    pub member: String,
    /// Columns that become 0 beside the always-zero ones, training order.
    pub zero_list: Vec<usize>,
    /// What the weights say about themselves.
    pub about: Value,
    confidence: bool,
    extras: Extras,
}

enum Networks {
    Single(Built),
    Groups(GroupNetworks),
}

/// What may be chosen about a prediction.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Where networks run.
    pub device: Device,
    /// Rows of a batch.
    pub batch: u64,
    /// Number format of the forward pass.
    pub precision: Precision,
    /// Whether the zero list is applied; `None`: as the checkpoint says.
    pub apply_zero_list: Option<bool>,
}

impl Predictor {
    /// One network: a weights file that says which network it is.
    pub fn single(path: &Path, settings: &Settings) -> Result<Self> {
        let base = Base::open(path)?;
        let built = build(&base.model, settings.device, 0)?;
        weights::load(&built.params.state(), path, &weights::Allow::default())?;
        Self::new(Networks::Single(built), &base, settings)
    }

    /// The seven networks of a group fine-tuning, `files[g]` for group g.
    pub fn groups(files: &[PathBuf], settings: &Settings) -> Result<Self> {
        let Some(first) = files.first() else { return Err(Error::usage("no group networks are given")) };
        let base = Base::open(first)?;
        for file in files {
            let other = Base::open(file)?;
            let normalisation = constants::said(&other.about) != constants::said(&base.about);
            if other.model != base.model || other.chain != base.chain || normalisation {
                return Err(Error::input(file, format!("is another network than that of `{}`", first.display())));
            }
        }
        Self::new(Networks::Groups(GroupNetworks::load(&base.model, files, settings.device)?), &base, settings)
    }

    /// The networks of a `train-model` or `finetune-group` stage.
    pub fn of_stage(manifest: &Manifest, settings: &Settings) -> Result<Self> {
        match Self::files_of(manifest)?.as_slice() {
            [one] => Self::single(one, settings),
            files => Self::groups(files, settings),
        }
    }

    /// The weights of such a stage: one file, or seven.
    pub fn files_of(manifest: &Manifest) -> Result<Vec<PathBuf>> {
        if manifest.outputs.contains_key("groups/g0") {
            return (0..GROUPS).map(|g| manifest.output(&format!("groups/g{g}"))).collect();
        }
        Ok(vec![manifest.output("model")?])
    }

    fn new(networks: Networks, base: &Base, settings: &Settings) -> Result<Self> {
        let apply = settings.apply_zero_list.or(base.about["apply_zero_list"].as_bool()).unwrap_or(true);
        let zero_list = if apply { zero_list_of_file(&base.about, &base.path)? } else { vec![] };
        let member = base.about["member"].as_str().unwrap_or_default().to_string();
        // The networks of groups are joined from their predictions alone.
        let confidence = matches!(networks, Networks::Single(_)) && base.model.confidence();
        Ok(Self {
            networks,
            chain: base.chain,
            member,
            zero_list,
            about: base.about.clone(),
            confidence,
            extras: base.model.extras(),
        })
    }

    /// Whether the network expects errors of itself.
    pub fn expects_errors(&self) -> bool {
        self.confidence
    }

    /// Whether the network is told more of a row than its 556 inputs.
    pub fn is_told_more(&self) -> bool {
        self.extras.of_inputs()
    }

    /// Refuses rows that are no more than 556 inputs for a network that is told more; `rows` names them.
    ///
    /// # Errors
    /// [`Error::Input`] under the name of the rows.
    pub fn demand_plain(&self, rows: &Path) -> Result<()> {
        if !self.is_told_more() {
            return Ok(());
        }
        let problem =
            "has rows of the competition, but the network is also told where and when rows are or what was before";
        Err(Error::input(rows, problem).hint(
            "score it on validation rows, which its training predicted (`score --truth DATA RUN`), or train without \
             `features.latitude`, `time`, `previous_states` and `previous_tendencies`",
        ))
    }

    /// The networks: one, or those of the groups in order.
    pub(crate) fn built(&self) -> Vec<&Built> {
        match &self.networks {
            Networks::Single(built) => vec![built],
            Networks::Groups(groups) => groups.built().iter().collect(),
        }
    }

    /// `[B, 556]` -> `[B, 368]`, normalised, training order, and the expected errors behind them where there are any.
    pub fn predict(&self, rows: &Tensor) -> Result<Tensor> {
        match &self.networks {
            Networks::Single(built) => Ok(predict(built.network.as_ref(), rows)),
            Networks::Groups(groups) => groups.predict(rows),
        }
    }

    /// Predicts the test rows in order and hands blocks to `take`.
    pub fn run(
        &self,
        test: &Arc<TestRows>,
        settings: &Settings,
        mut take: impl FnMut(Block<'_>) -> Result<()>,
    ) -> Result<()> {
        let source: Arc<dyn Source> = Arc::clone(test) as Arc<dyn Source>;
        let half = (settings.batch / 2).max(1);
        exhausted::working_on(
            format!("predicting batches of {} rows, {:?}", settings.batch, settings.precision),
            vec![format!("--batch-size {half}"), "--precision bf16".into(), "--device cpu".into()],
        );
        let mut loader = Loader::sequential(source, settings.batch, Delivery::to(settings.device))?;
        let bar = progress::Bar::new("predict", test.rows());
        let mut done = 0;
        while let Some(batch) = loader.next_batch()? {
            signals::check("nothing is written; the same command predicts anew")?;
            let predicted = tch::no_grad(|| {
                with_autocast(settings.precision, settings.device, || self.predict(&batch.tensors[0]))
            })?;
            let (predicted, expected) = parts(&predicted.f_to_kind(Kind::Float).doing("predicting")?);
            let (predicted, expected) = (values(&predicted)?, expected.as_ref().map(values).transpose()?);
            let rows = predicted.len() / TARGETS;
            take(Block {
                predicted: &predicted,
                expected: expected.as_deref(),
                linear: test.linear(done, rows)?,
                inputs: test.inputs(done, rows)?,
            })?;
            done += rows;
            bar.tick(rows as u64);
        }
        bar.finish();
        Ok(())
    }
}
