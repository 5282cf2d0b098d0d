//! A member of a module: its networks, and the way from raw inputs to physical targets around them.

use common::config;
use common::stage::Manifest;
use common::{Error, Result};
use neural::Doing;
use neural::stages::ZeroList;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::columns::{
    GROUPS, INPUTS, STEP_SECONDS, TARGETS, csv_to_train_inputs, group, linear, linear_source,
    submission_to_train_targets,
};
use crate::constants::constants_of;
use crate::constraints::Constraints;
use crate::layout::expand;
use crate::models::parts;
use crate::norm::{Chain, Constants};
use crate::predict::{PredictConfig, Predictor, Settings};
use crate::submission::Recipe;
use crate::train::evaluate::values;

use super::rules::{Rules, of_columns};

/// One network, or the seven of the groups.
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its networks, as `predict` runs them.
    pub predictor: Predictor,
    /// The constants that its inputs and targets are normalised with.
    pub constants: Constants,
    /// The stage that prepared its data; none: the constants are the published ones.
    pub prepared: Option<Manifest>,
    /// Its weight for each column of a submission, f64 `[368]`.
    pub weights: Tensor,
    /// What tells its training from others.
    pub run: Value,
    /// Corrections that its prediction makes.
    pub constraints: Constraints,
    around: Around,
    rules: Rules,
}

/// The way from raw rows to a network and back, as tensors of the module.
struct Around {
    /// For each input in training order its place among the raw ones.
    input_order: Tensor,
    input_mean: Tensor,
    input_std: Tensor,
    target_mean: Tensor,
    target_std: Tensor,
    /// 1 where the weight is 0, which `keep` makes 0.
    weight: Tensor,
    keep: Tensor,
    /// Places of the inputs that give the linear targets among the raw ones.
    linear: Tensor,
    /// For each column of a submission its place in training order.
    output_order: Tensor,
}

impl Around {
    fn new(constants: &Constants, zero_list: &[usize]) -> Self {
        let mut input_order = vec![0_i64; INPUTS];
        for (place, &column) in csv_to_train_inputs().iter().enumerate() {
            input_order[column] = place as i64;
        }
        let zero = |c: usize| {
            constants.weight[c] == 0.0 || zero_list.contains(&c) || crate::columns::always_zero().contains(&c)
        };
        let keep: Vec<f64> = (0..TARGETS).map(|c| if zero(c) { 0.0 } else { 1.0 }).collect();
        let weight: Vec<f64> = constants.weight.iter().map(|w| if *w == 0.0 { 1.0 } else { *w }).collect();
        let linear: Vec<i64> = linear().map(|c| input_order[linear_source(c)]).collect();
        let output_order: Vec<i64> = submission_to_train_targets().iter().map(|&c| c as i64).collect();
        Self {
            input_order: Tensor::from_slice(&input_order),
            input_mean: Tensor::from_slice(&constants.input_mean),
            input_std: Tensor::from_slice(&constants.input_std),
            target_mean: Tensor::from_slice(&constants.target_mean),
            target_std: Tensor::from_slice(&constants.target_std),
            weight: Tensor::from_slice(&weight),
            keep: Tensor::from_slice(&keep),
            linear: Tensor::from_slice(&linear),
            output_order: Tensor::from_slice(&output_order),
        }
    }

    fn tensors(&self) -> [(&'static str, &Tensor); 9] {
        [
            ("input_order", &self.input_order),
            ("input_mean", &self.input_mean),
            ("input_std", &self.input_std),
            ("target_mean", &self.target_mean),
            ("target_std", &self.target_std),
            ("weight", &self.weight),
            ("keep", &self.keep),
            ("linear", &self.linear),
            ("output_order", &self.output_order),
        ]
    }
}

impl Member {
    /// A predictor with the constants of its data.
    ///
    /// # Errors
    /// Where the corrections are about columns that are not known.
    pub fn new(
        predictor: Predictor,
        constants: Constants,
        prepared: Option<Manifest>,
        constraints: Constraints,
    ) -> Result<Self> {
        if predictor.is_told_more() {
            let problem =
                "a module has 556 raw inputs, but the network is also told where and when rows are or what was before";
            return Err(Error::usage(problem)
                .hint("train one without `features.latitude`, `time`, `previous_states` and `previous_tendencies`"));
        }
        let rules = Rules::new(constraints)?;
        let around = Around::new(&constants, &predictor.zero_list);
        let name = if predictor.member.is_empty() { "network".to_string() } else { predictor.member.clone() };
        let weights = Tensor::ones([TARGETS as i64], (Kind::Double, Device::Cpu));
        Ok(Self { name, predictor, constants, prepared, weights, run: Value::Null, constraints, around, rules })
    }

    /// The same under the name that it has in a blend, with its weights there.
    #[must_use]
    pub fn in_blend(mut self, name: &str, weights: Tensor) -> Self {
        self.name = name.to_string();
        self.weights = weights;
        self
    }

    /// The networks of a stage: a training, a group fine-tuning, or a prediction with either.
    pub fn of_stage(stage: &Manifest, settings: &Settings) -> Result<Self> {
        let mut settings = *settings;
        let mut constraints = Constraints::default();
        if stage.stage == "predict" && stage.outputs.contains_key("config") {
            let path = stage.output("config")?;
            let config = config::load::<PredictConfig>(Some(path.as_path()), &[])?.value;
            settings.apply_zero_list = match config.zero_list {
                ZeroList::Apply => Some(true),
                ZeroList::Ignore => Some(false),
                ZeroList::Auto => None,
            };
            constraints = config.constraints;
        }
        let trained = match stage.find_if_any("finetune-group")? {
            Some(tuned) => tuned,
            None => stage.find("train-model")?,
        };
        let predictor = Predictor::of_stage(&trained, &settings)?;
        let prepared = trained.find("prepare-data")?;
        let constants = constants_behind(&prepared, predictor.chain)?;
        let run = json!({
            "stage": trained.stage, "config": trained.config_hash, "seed": trained.seed, "identity": trained.identity(),
        });
        Ok(Self { run, ..Self::new(predictor, constants, Some(prepared), constraints)? })
    }

    /// All tensors of the module, their names behind `prefix`.
    pub fn tensors(&self, prefix: String) -> Vec<(String, Tensor, bool)> {
        let built = self.predictor.built();
        let mut all = vec![];
        for (g, network) in built.iter().enumerate() {
            let group = if built.len() == 1 { String::new() } else { format!("groups.{g}.") };
            all.extend(neural::export::tensors(&network.params, &format!("{prefix}network.{group}")));
        }
        let around = self.around.tensors();
        all.extend(around.map(|(name, t)| (format!("{prefix}units.{name}"), t.shallow_clone(), true)));
        let rules = self.rules.tensors().into_iter();
        all.extend(rules.map(|(name, t)| (format!("{prefix}constraints.{name}"), t.shallow_clone(), true)));
        if !prefix.is_empty() {
            all.push((format!("{prefix}weights"), self.weights.shallow_clone(), true));
        }
        all
    }

    /// Raw rows `[B, 556]` normalised as the network reads them, f32 in training order.
    fn normal(&self, rows: &Tensor) -> Tensor {
        let a = &self.around;
        let ordered = rows.to_kind(Kind::Double).index_select(1, &a.input_order);
        ((ordered - &a.input_mean) / &a.input_std).to_kind(Kind::Float)
    }

    /// Raw rows `[B, 556]` to physical targets f64 `[B, 368]`, in operations of the library.
    pub fn pass(&self, rows: &Tensor) -> Result<Tensor> {
        let a = &self.around;
        let normal = self.normal(rows);
        let x = expand(&normal);
        let built = self.predictor.built();
        let predicted = match built.as_slice() {
            [one] => parts(&one.network.forward(&x, false)).0.to_kind(Kind::Float),
            all => {
                let part = |g: usize| {
                    let columns = group(g);
                    let whole = all[g].network.forward(&x, false);
                    whole.narrow(1, columns.start as i64, columns.len() as i64).to_kind(Kind::Float)
                };
                Tensor::f_cat(&(0..GROUPS).map(part).collect::<Vec<_>>(), 1).doing("joining the groups")?
            }
        };
        let physical = (predicted.to_kind(Kind::Double) * &a.target_std + &a.target_mean) / &a.weight * &a.keep;
        let (first, last) = (linear().start as i64, linear().end as i64);
        let straight = rows.to_kind(Kind::Double).index_select(1, &a.linear) / -STEP_SECONDS;
        let behind = physical.narrow(1, last, TARGETS as i64 - last);
        let all = Tensor::cat(&[physical.narrow(1, 0, first), straight, behind], 1);
        let columns = all.index_select(1, &a.output_order);
        // From the rounded inputs, as `predict` has them.
        Ok(self.rules.apply(columns, || normal.to_kind(Kind::Double) * &a.input_std + &a.input_mean))
    }

    /// Raw rows `[B, 556]` to the errors that the network expects of itself, f32 `[B, 368]` in the order of a submission.
    pub fn errors(&self, rows: &Tensor) -> Result<Tensor> {
        let built = self.predictor.built();
        let expected = built.first().and_then(|one| parts(&one.network.forward(&expand(&self.normal(rows)), false)).1);
        let expected = expected.ok_or_else(|| Error::failed("the network expects no errors of itself"))?;
        Ok(expected.to_kind(Kind::Float).index_select(1, &self.around.output_order))
    }

    /// The same as `prepare-data` and `predict` compute them.
    pub fn predicted_errors(&self, rows: &Tensor) -> Result<Tensor> {
        let prepared = self.prepared_rows(rows)?;
        let expected = parts(&self.predictor.predict(&prepared.tensor())?).1;
        let expected = expected.ok_or_else(|| Error::failed("the network expects no errors of itself"))?;
        let expected = values(&expected.to_kind(Kind::Float))?;
        let column = |&c: &usize| expected.iter().skip(c).step_by(TARGETS).map(|&e| f64::from(e)).collect();
        Ok(of_columns(&submission_to_train_targets().iter().map(column).collect::<Vec<_>>()).to_kind(Kind::Float))
    }

    /// Raw rows as `prepare-data` writes them.
    fn prepared_rows(&self, rows: &Tensor) -> Result<Prepared> {
        let flat = rows.to_kind(Kind::Double).contiguous().flatten(0, -1);
        let raw = Vec::<f64>::try_from(flat).map_err(|e| Error::failed(format!("reading raw rows: {e}")))?;
        let mut ordered = vec![0.0; raw.len()];
        for (raw, ordered) in raw.chunks_exact(INPUTS).zip(ordered.chunks_exact_mut(INPUTS)) {
            for (place, &column) in csv_to_train_inputs().iter().enumerate() {
                ordered[column] = raw[place];
            }
        }
        let mut inputs = vec![0.0; raw.len()];
        self.constants.inputs(&ordered, &mut inputs);
        let straight = |row: &[f64]| linear().map(|c| -row[linear_source(c)] / STEP_SECONDS).collect::<Vec<_>>();
        Ok(Prepared { inputs, linear: ordered.chunks_exact(INPUTS).flat_map(straight).collect() })
    }

    /// What [`Member::pass`] is to give, as `prepare-data` and `predict` compute it.
    pub fn predicted(&self, rows: &Tensor) -> Result<Tensor> {
        let prepared = self.prepared_rows(rows)?;
        let (predicted, _) = parts(&self.predictor.predict(&prepared.tensor())?);
        let recipe = Recipe::new(&self.constants, &self.predictor.zero_list);
        let mut columns = recipe.columns(&values(&predicted.to_kind(Kind::Float))?, &prepared.linear)?;
        self.constraints.apply(&mut columns, &prepared.inputs, &self.constants);
        Ok(of_columns(&columns))
    }
}

/// Rows as `prepare-data` writes them.
struct Prepared {
    /// `[n, 556]`, normalised, training order.
    inputs: Vec<f32>,
    /// The linear table.
    linear: Vec<f64>,
}

impl Prepared {
    fn tensor(&self) -> Tensor {
        Tensor::from_slice(&self.inputs).view([-1, INPUTS as i64])
    }
}

/// The constants that a stage prepared its arrays with.
fn constants_behind(prepared: &Manifest, chain: Chain) -> Result<Constants> {
    let names =
        [format!("norm/mean_{chain}.json"), format!("norm/std_{chain}.json"), "norm/old_sample_weight.csv".into()];
    let inputs = prepared.all_inputs()?;
    let mut constants = if names.iter().all(|name| prepared.outputs.contains_key(name)) {
        let [mean, std, weight] = [0, 1, 2].map(|i| prepared.output(&names[i]));
        Constants::read(chain, &mean?, &std?, &weight?)?
    } else if names.iter().all(|name| inputs.contains_key(name)) {
        for name in &names {
            prepared.demand_unchanged(&inputs, &inputs[name].path)?;
        }
        let [mean, std, weight] = [0, 1, 2].map(|i| inputs[&names[i]].path.as_path());
        Constants::read(chain, mean, std, weight)?
    } else {
        Constants::published(chain)?.clone()
    };
    let valid = format!("{chain}/valid");
    if prepared.outputs.contains_key(&valid) {
        let of_targets = constants_of(&prepared.output(&valid)?, chain)?;
        (constants.target_mean, constants.target_std) = (of_targets.target_mean, of_targets.target_std);
    }
    Ok(constants)
}
