//! LEAP's networks as TorchScript: from the 556 raw inputs of a column of air to its 368 targets, both in physical units and in
//! the order of Kaggle's files. Both normalisations, the zero list, the linear columns and the targets that are never
//! predicted are inside; seven networks of a group fine-tuning, or all members of a blend, are one module.

mod columns;
mod member;
mod rules;

use std::rc::Rc;

use common::durable::hash_file;
use common::stage::Manifest;
use common::store::tensors::TensorFile;
use common::{Error, Result};
use neural::export::{Closeness, Method, Module, Pass, Port, Size, Source};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

use crate::columns::{INPUTS, csv_to_train_inputs};
use crate::constraints::Constraints;
use crate::norm::Constants;
use crate::predict::{Predictor, Settings};
use member::Member;

/// The largest difference from `predict`, in units of a column's largest value.
const CLOSE: f64 = 1e-5;

/// The module of a training, a group fine-tuning, a prediction or a blend.
///
/// # Errors
/// Where there is no such network, or its weights do not fit.
pub fn module(source: &Source) -> Result<Module<'static>> {
    let members = Rc::new(members(source)?);
    let rows = Rc::new(Rows::behind(&members)?);
    let tensors = members.iter().enumerate().flat_map(|(i, member)| member.tensors(prefix(&members, i))).collect();
    let about = about(source, &members)?;
    let name = match members.as_slice() {
        [one] => one.name.clone(),
        _ => "blend".into(),
    };
    let mut methods = vec![targets(&members, &rows)];
    if let [one] = members.as_slice()
        && one.predictor.expects_errors()
    {
        methods.push(errors(&members, &rows));
    }
    Ok(Module { name, tensors, methods, about, precision: source.precision })
}

fn raw_rows() -> Vec<Port> {
    let about = "raw inputs, as in `test.csv`";
    vec![Port::new("rows", "f32 or f64", "[batch, 556]", about).with_columns(columns::inputs())]
}

/// The method `forward`.
fn targets(members: &Rc<Vec<Member>>, rows: &Rc<Rows>) -> Method<'static> {
    let (recorded, predicted, rows) = (Rc::clone(members), Rc::clone(members), Rc::clone(rows));
    let pass: Pass =
        Box::new(move |inputs| Ok(vec![sum(&recorded, |member| member.pass(&inputs[0]))?.type_as(&inputs[0])]));
    let predicted: Pass =
        Box::new(move |inputs| Ok(vec![sum(&predicted, |member| member.predicted(&inputs[0]))?.type_as(&inputs[0])]));
    Method {
        name: "forward",
        inputs: raw_rows(),
        outputs: vec![
            Port::new("targets", "that of rows", "[batch, 368]", "targets, as in `sample_submission.csv`")
                .with_columns(columns::targets()),
        ],
        sizes: vec![Size::batch()],
        example: Box::new(move |sizes, seed| rows.draw(sizes[0], seed)),
        pass,
        predicted,
        closeness: Closeness::Relative(CLOSE),
    }
}

/// The method `expected_errors` of a network with a second output.
fn errors(members: &Rc<Vec<Member>>, rows: &Rc<Rows>) -> Method<'static> {
    let (recorded, predicted, rows) = (Rc::clone(members), Rc::clone(members), Rc::clone(rows));
    let pass: Pass = Box::new(move |inputs| Ok(vec![recorded[0].errors(&inputs[0])?.type_as(&inputs[0])]));
    let predicted: Pass =
        Box::new(move |inputs| Ok(vec![predicted[0].predicted_errors(&inputs[0])?.type_as(&inputs[0])]));
    Method {
        name: "expected_errors",
        inputs: raw_rows(),
        outputs: vec![
            Port::new(
                "errors",
                "that of rows",
                "[batch, 368]",
                "errors that the network expects of its normalised targets, in the units of its loss",
            )
            .with_columns(columns::unitless_targets()),
        ],
        sizes: vec![Size::batch()],
        example: Box::new(move |sizes, seed| rows.draw(sizes[0], seed)),
        pass,
        predicted,
        closeness: Closeness::Relative(CLOSE),
    }
}

/// What stands in front of a member's tensors: nothing where it is the only one.
fn prefix(members: &[Member], i: usize) -> String {
    if members.len() == 1 { String::new() } else { format!("members.{i}.") }
}

/// The weighted sum over the members, `[B, 368]` f64 in the order of a submission.
fn sum(members: &[Member], of: impl Fn(&Member) -> Result<Tensor>) -> Result<Tensor> {
    if let [one] = members {
        return of(one);
    }
    let mut total = Tensor::zeros([1], (Kind::Double, Device::Cpu));
    for member in members {
        // Not in place: the sum has more rows than its beginning.
        total = &total + of(member)? * &member.weights;
    }
    Ok(total)
}

fn members(source: &Source) -> Result<Vec<Member>> {
    let settings = Settings { device: Device::Cpu, batch: 1, precision: source.precision, apply_zero_list: None };
    if !source.members.is_empty() {
        let member = |of: &neural::export::Member| {
            let weights = columns::weights(&of.weights);
            Ok(Member::of_stage(&of.stage, &settings)?.in_blend(&of.name, weights))
        };
        return source.members.iter().map(member).collect();
    }
    if let Some(stage) = &source.stage {
        return Ok(vec![Member::of_stage(stage, &settings)?]);
    }
    let predictor = match source.files.as_slice() {
        [one] => Predictor::single(one, &settings)?,
        files => Predictor::groups(files, &settings)?,
    };
    let constants = Constants::published(predictor.chain)?.clone();
    Ok(vec![Member::new(predictor, constants, None, Constraints::default())?])
}

fn about(source: &Source, members: &[Member]) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    all.insert("system".into(), json!(crate::NAME));
    let member = |member: &Member| {
        json!({
            "name": member.name,
            "networks": member.predictor.built().len(),
            "normalisation": {
                "chain": member.predictor.chain,
                "constants": if member.prepared.is_some() { "of the run" } else { "published" },
                "inputs": "(x - input_mean) / input_std, rounded to f32, in training order",
                "targets": "(y * target_std + target_mean) / weight; 0 where the weight is 0 or the zero list names the column",
                "linear": "ptend_q0002_12 to ptend_q0002_27 are -state_q0002 / 1200",
            },
            "zero_list": member.predictor.zero_list,
            "constraints": member.constraints,
            "run": member.run,
        })
    };
    all.insert("members".into(), members.iter().map(member).collect());
    let files: Vec<Value> =
        source.files.iter().map(|file| Ok(json!(hash_file(file)?.blake3))).collect::<Result<_>>()?;
    if !files.is_empty() {
        all.insert("weights_blake3".into(), json!(files));
    }
    all.insert(
        "licence".into(),
        json!({
            "code": "MIT OR Apache-2.0",
            "weights": "those who trained them decide; ClimSim is CC BY 4.0, Kaggle's files are under the competition's rules",
        }),
    );
    Ok(all)
}

/// Raw rows in the order of `test.csv`: prepared ones taken back to physical units, or drawn around the means.
struct Rows {
    /// Prepared rows, normalised.
    prepared: Option<TensorFile>,
    constants: Constants,
}

impl Rows {
    fn behind(members: &[Member]) -> Result<Self> {
        let Some(first) = members.first() else { return Err(Error::usage("the blend has no member")) };
        let chain = first.predictor.chain;
        let file = |manifest: &Manifest| {
            let name = ["test", "valid"].into_iter().map(|set| format!("{chain}/{set}"));
            let Some(name) = name.into_iter().find(|name| manifest.outputs.contains_key(name)) else { return Ok(None) };
            TensorFile::open(manifest.output(&name)?).map(Some)
        };
        let prepared = first.prepared.as_ref().map_or(Ok(None), file)?;
        Ok(Self { prepared, constants: first.constants.clone() })
    }

    /// f32 `[rows, 556]`; another seed gives other rows.
    fn draw(&self, rows: i64, seed: u64) -> Result<Vec<Tensor>> {
        let rows = rows as usize;
        let normal = match &self.prepared {
            Some(file) => {
                let all = file.f32("inputs")?;
                let found = (all.len() / INPUTS).max(1);
                let first = seed as usize * 97 % found;
                let row = |i: usize| &all[(first + i) % found * INPUTS..][..INPUTS];
                (0..rows).flat_map(|i| row(i).iter().copied()).collect()
            }
            None => {
                let mut rng = common::seed::rng_for(seed, "export rows", 0);
                neural::init::Init::Normal(1.0).draw(&[rows as i64, INPUTS as i64], &mut rng)?
            }
        };
        let mut raw = vec![0.0; rows * INPUTS];
        for (normal, raw) in normal.chunks_exact(INPUTS).zip(raw.chunks_exact_mut(INPUTS)) {
            for (place, &column) in csv_to_train_inputs().iter().enumerate() {
                raw[place] =
                    f64::from(normal[column]) * self.constants.input_std[column] + self.constants.input_mean[column];
            }
        }
        // In f32: of f64 rows the cast to f64 would be the rows themselves, and results of f32 rows would not come back as f32.
        Ok(vec![Tensor::from_slice(&raw).view([rows as i64, INPUTS as i64]).to_kind(Kind::Float)])
    }
}
