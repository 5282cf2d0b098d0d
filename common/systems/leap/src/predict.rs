//! Predicting Kaggle's test rows: with one network, or with the seven of a group fine-tuning in one pass.
//!
//! A network gives normalised values; a submission holds them in their own units, f64, in the order of the sample
//! file: always-zero columns are 0, the linear ones are taken from the test table to the last bit, the rest is
//! `(predicted * std + mean) / weight`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::cli::{progress, signals};
use common::stage::Manifest;
use common::store::tensors::TensorFile;
use common::{Error, Result};
use neural::Doing;
use neural::loader::{Delivery, Field, Loader, Source};
use neural::precision::{Precision, with_autocast};
use neural::weights;
use tch::{Device, Kind, Tensor};

use crate::columns::{GROUPS, INPUTS, TARGETS, always_zero, linear, submission_to_train_targets};
use crate::finetune::{Base, GroupNetworks};
use crate::norm::{Chain, Constants};
use crate::train::evaluate::{predict, values};
use crate::train::{Built, build, zero_list};

/// Prepared test rows: `inputs` f32 `[n, 556]`, `ids` i32 `[n]`, `linear` f64 `[n, 16 or more]`.
pub struct TestRows {
    file: TensorFile,
    rows: usize,
    linear_width: usize,
}

impl TestRows {
    /// Opens and checks a file of `prepare-data`.
    pub fn open(path: &Path) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let rows = file.elements_of_shape::<f32>("inputs", &[None, Some(INPUTS)])?.len() / INPUTS;
        file.elements_of_shape::<i32>("ids", &[Some(rows)])?;
        let linear_width = match file.shape("linear")? {
            &[n, width] if n == rows && width >= linear().len() => width,
            shape => {
                let problem = format!("tensor `linear` has shape {shape:?}, expected [{rows}, {} or more]", linear().len());
                return Err(Error::input(path, problem));
            }
        };
        file.f64("linear")?;
        Ok(Self { file, rows, linear_width })
    }

    /// The ids of all rows: the number in `test_123`.
    pub fn ids(&self) -> Result<&[i32]> {
        self.file.i32("ids")
    }

    /// The linear targets of a row, from `ptend_q0002_12` on.
    fn linear_of(&self, row: usize) -> Result<&[f64]> {
        Ok(&self.file.f64("linear")?[row * self.linear_width..(row + 1) * self.linear_width])
    }
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
            if other.model != base.model || other.chain != base.chain {
                return Err(Error::input(file, format!("is another network than that of `{}`", first.display())));
            }
        }
        Self::new(Networks::Groups(GroupNetworks::load(&base.model, files, settings.device)?), &base, settings)
    }

    /// The networks of a `train-model` or `finetune-group` stage.
    pub fn of_stage(manifest: &Manifest, settings: &Settings) -> Result<Self> {
        if manifest.outputs.contains_key("groups/g0") {
            let files = (0..GROUPS).map(|g| manifest.output(&format!("groups/g{g}"))).collect::<Result<Vec<_>>>()?;
            return Self::groups(&files, settings);
        }
        Self::single(&manifest.output("model")?, settings)
    }

    fn new(networks: Networks, base: &Base, settings: &Settings) -> Result<Self> {
        let apply = settings.apply_zero_list.or(base.about["apply_zero_list"].as_bool()).unwrap_or(true);
        let zero_list = if apply { zero_list(&base.about) } else { vec![] };
        let member = base.about["member"].as_str().unwrap_or_default().to_string();
        Ok(Self { networks, chain: base.chain, member, zero_list })
    }

    /// `[B, 556]` -> `[B, 368]`, normalised, training order.
    pub fn predict(&self, rows: &Tensor) -> Result<Tensor> {
        match &self.networks {
            Networks::Single(built) => Ok(predict(built.network.as_ref(), rows)),
            Networks::Groups(groups) => groups.predict(rows),
        }
    }

    /// Predicts the first `rows` test rows in order and hands blocks of `[n, 368]` values in submission order and own
    /// units to `take`, with the row that each begins at.
    pub fn run(
        &self,
        test: &Arc<TestRows>,
        constants: &Constants,
        settings: &Settings,
        mut take: impl FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        let columns = self.columns(constants);
        let source: Arc<dyn Source> = Arc::clone(test) as Arc<dyn Source>;
        let mut loader = Loader::sequential(source, settings.batch, Delivery::to(settings.device))?;
        let bar = progress::Bar::new("predict", test.rows());
        let mut row = 0;
        let mut block = vec![];
        while let Some(batch) = loader.next_batch()? {
            signals::check("nothing; predicting starts anew")?;
            let predicted =
                tch::no_grad(|| with_autocast(settings.precision, settings.device, || self.predict(&batch.tensors[0])))?;
            let predicted = values(&predicted.f_to_kind(Kind::Float).doing("predicting")?)?;
            block.clear();
            for (i, predicted) in predicted.chunks_exact(TARGETS).enumerate() {
                let linear = test.linear_of(row + i)?;
                block.extend(columns.iter().map(|column| column.value(predicted, linear)));
            }
            if let Some(bad) = block.iter().position(|v| !v.is_finite()) {
                return Err(Error::failed(format!(
                    "the prediction of row {} in column `{}` is {}",
                    row + bad / TARGETS,
                    crate::columns::submission()[bad % TARGETS],
                    block[bad]
                ))
                .hint("the checkpoint or the test rows hold values that are no finite numbers"));
            }
            take(row, &block)?;
            row += predicted.len() / TARGETS;
            bar.tick((predicted.len() / TARGETS) as u64);
        }
        bar.finish();
        Ok(())
    }

    /// What each submission column is made of.
    fn columns(&self, constants: &Constants) -> Vec<Column> {
        let of = |&column: &usize| {
            if linear().contains(&column) {
                Column::Linear(column - linear().start)
            } else if always_zero().contains(&column) || self.zero_list.contains(&column) || constants.weight[column] == 0.0 {
                Column::Zero
            } else {
                let [mean, std, weight] = [&constants.target_mean, &constants.target_std, &constants.weight].map(|v| v[column]);
                Column::Predicted { column, mean, std, weight }
            }
        };
        submission_to_train_targets().iter().map(of).collect()
    }
}

enum Column {
    Zero,
    /// Position among the linear targets.
    Linear(usize),
    Predicted { column: usize, mean: f64, std: f64, weight: f64 },
}

impl Column {
    fn value(&self, predicted: &[f32], exact: &[f64]) -> f64 {
        match *self {
            Self::Zero => 0.0,
            Self::Linear(place) => exact[place],
            Self::Predicted { column, mean, std, weight } => (f64::from(predicted[column]) * std + mean) / weight,
        }
    }
}
