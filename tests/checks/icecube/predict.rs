//! Predictions: the validation pass, the five-member ensemble from raw files to the submission, the published config.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use common::store::pickle::Checkpoint;
use icecube::dataset::{EventSource, Events, InputConfig, Lengths, published_validation};
use icecube::losses::{LossKind, Normalisation};
use icecube::models::{self, Built};
use icecube::predict::{Ensemble, Member, Rows, predict};
use icecube::published;
use icecube::sampler;
use icecube::submission::{sample_ids, write_submission};
use icecube::train::{self, Visits};
use neural::precision::Precision;
use serde_json::Value;
use tch::{Kind, Tensor};

use super::data::Prepared;
use super::networks::{case_model, load, model_config};
use crate::checks::{Case, Comparison, compare, compare_absolute, equal_lists, said};

fn visits(events: Events, length: usize, batch: u64) -> Result<Visits> {
    let order = sampler::evaluation(&events, length, batch)?;
    let input = InputConfig { length, ..InputConfig::default() };
    let source = Arc::new(EventSource::new(Arc::new(events), input, 0));
    Ok(Visits { source, order: Arc::new(order), batch })
}

/// The five validation files with one checkpoint.
pub fn validation(case: &Case) -> Result<()> {
    let inputs = case.strings("inputs")?;
    let prepared = Prepared::of(&case.path(&inputs[0]))?;
    let Built { params, network, .. } = models::build(&case_model(case)?, crate::checks::device(), 1)?;
    load(&params, &case.tensors(&inputs[1])?)?;
    let events = Events::validation(&prepared.manifest, &published_validation(), Lengths::Total)?;
    let visits = visits(events, case.usize("L")?, case.usize("BS")? as u64)?;
    let expected = case.tensors("expected.safetensors")?;
    let mut checks = Comparison::new();
    let (mut sizes, mut ids, mut vectors) = (vec![], vec![], vec![]);
    visits.each(crate::checks::device(), |batch| {
        sizes.push(batch.events());
        ids.push(batch.event_id.to_kind(Kind::Double));
        vectors.push(train::vectors(network.as_ref(), None, batch, Precision::F32)?.0);
        Ok(())
    })?;
    checks.add(equal_lists("batch_sizes", &sizes, &expected.i64s("batch_sizes")?));
    let want = expected.get("event_id_and_vector")?;
    checks.add(compare("event ids", &Tensor::cat(&ids, 0), &want.select(1, 0), 0.0));
    let tolerance = case.f64("tolerance.vectors")?;
    checks.tensors("vectors", &Tensor::cat(&vectors, 0).to_kind(Kind::Double), &want.narrow(1, 1, 3), tolerance);
    let minimised = (LossKind::Comb, Normalisation::Switched);
    let found = train::measure(network.as_ref(), &visits, minimised, Precision::F32, crate::checks::device())?;
    checks.add(equal_lists("n_events", &[found.events], &[case.usize("n_events")? as i64]));
    for (name, got) in [("loss", found.angle), ("loss_vms", found.vms), ("loss_comb", found.loss)] {
        checks.number(name, got, case.f64(&format!("averages.{name}"))?, case.f64("tolerance.averages")?);
    }
    checks.finish()
}

/// Raw folder to `submission.csv`, with the checkpoints in both formats.
pub fn end_to_end(case: &Case) -> Result<()> {
    let prepared = Prepared::of(&case.path("data"))?;
    let mut checks = Comparison::new();
    let counts: Value = serde_json::from_str(&case.text("expected_nevents.json")?)?;
    let found: Value = serde_json::from_str(&std::fs::read_to_string(prepared.manifest.output("nevents")?)?)?;
    checks.add(if found == counts { Ok(()) } else { Err(anyhow!("event counts {found}, expected {counts}")) });

    let expected = case.tensors("expected_vectors.safetensors")?;
    let (length, batch) = (case.usize("predict.L")?, case.usize("predict.BS")? as u64);
    let listed = case.value("predict.models")?.as_array().context("no models")?;
    let vectors = said(case.str("tolerance.vectors")?, "")?;
    let angles_near = said(case.str("tolerance.angles")?, "")?;
    for ending in ["pth", "safetensors"] {
        let members = listed
            .iter()
            .map(|m| {
                let text = |key: &str| m[key].as_str().with_context(|| format!("no `{key}`"));
                let class = text("model")?;
                let graph = if class == "DeepIceModel" { None } else { case.find("predict.dynedge") };
                let model = model_config(class, &m["config"], graph)?;
                let file = case.path(&format!("ice-cube-final-models/{}.{ending}", text("file")?));
                if ending == "pth" {
                    ensure!(!Checkpoint::open(&file)?.tensors()?.is_empty(), "an empty checkpoint");
                }
                let weight = m["weight"].as_f64().context("no weight")?;
                Ok(Member::load(text("file")?, weight, &model, &file, crate::checks::device())?)
            })
            .collect::<Result<Vec<_>>>()?;
        let mut ensemble = Ensemble::new(members, Precision::F32)?;
        checks.add(compare(
            "weights_normalised",
            &Tensor::from_slice(&ensemble.shares()),
            &expected.get("weights_normalised")?,
            1e-7,
        ));
        let visits = visits(Events::test(&prepared.manifest)?, length, batch)?;
        let mut sizes = vec![];
        let mut order = Rows::default();
        let mut ids = vec![];
        visits.each(crate::checks::device(), |batch| {
            sizes.push(batch.events());
            ids.extend(Vec::<i64>::try_from(&batch.event_id).unwrap_or_default());
            order.add(batch, &Tensor::zeros([batch.events(), 3], (Kind::Float, crate::checks::device())))
        })?;
        checks.add(equal_lists("batch_sizes", &sizes, &expected.i64s("batch_sizes")?));
        checks.add(equal_lists("order of prediction", &ids, &expected.i64s("event_id")?));
        let predicted = predict(&mut ensemble, &visits, crate::checks::device(), &case.folder)?;
        // Tables are sorted by id: so must be what is expected.
        let place = |id: &i64| predicted.blend.ids.binary_search(id).map_err(|_| anyhow!("event {id} is missing"));
        let rows = expected.i64s("event_id")?.iter().map(place).collect::<Result<Vec<_>>>()?;
        let pick = |vectors: &[[f32; 3]]| {
            Tensor::from_slice(&rows.iter().flat_map(|&r| vectors[r]).collect::<Vec<f32>>()).view([-1, 3])
        };
        checks.tensors("ensemble", &pick(&predicted.blend.vectors), &expected.get("ensemble")?, vectors);
        for (i, (name, table)) in predicted.members.iter().enumerate() {
            let want = expected.get("per_model")?.select(1, i as i64);
            checks.tensors(&format!("{name}.{ending}"), &pick(&table.vectors), &want, vectors);
        }
        let angles = predicted.blend.angles();
        let angles: Vec<f32> = rows.iter().flat_map(|&r| angles[r]).collect();
        checks.add(compare_absolute(
            "angles",
            &Tensor::from_slice(&angles).view([-1, 2]),
            &expected.get("angles")?,
            angles_near,
        ));

        let ids = sample_ids(&case.path("data/sample_submission.parquet"))?;
        let folder = tempfile::tempdir()?;
        let (written, joined) = write_submission(
            (&predicted.blend.ids, &predicted.blend.vectors),
            &ids,
            &folder.path().join("submission.csv"),
        )?;
        let known: std::collections::HashSet<i64> = ids.iter().copied().collect();
        let predicted_ids: std::collections::HashSet<i64> = predicted.blend.ids.iter().copied().collect();
        let lacking = [known.difference(&predicted_ids).count(), predicted_ids.difference(&known).count()];
        checks.add(equal_lists("missing and surplus", &[joined.missing, joined.surplus], &lacking));
        let (got, want) = (std::fs::read_to_string(&written.path)?, case.text("expected_submission.csv")?);
        same_submission(&mut checks, &got, &want, angles_near);
    }
    checks.finish()
}

/// Header, ids and order exactly, angles within what the case allows, zeros as `0.0`.
fn same_submission(checks: &mut Comparison, got: &str, want: &str, allowed: f64) {
    let first = |text: &str| text.lines().map(|l| l.split(',').next().unwrap_or("").to_string()).collect::<Vec<_>>();
    checks.add(equal_lists("event ids of the submission", &first(got), &first(want)));
    checks.add(equal_lists("header", &[got.lines().next().unwrap_or("")], &[want.lines().next().unwrap_or("")]));
    for (row, (got, want)) in got.lines().zip(want.lines()).enumerate().skip(1) {
        for (got, want) in got.split(',').zip(want.split(',')).skip(1) {
            let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
            let near = (number(got) - number(want)).abs() <= allowed;
            let zero = (want == "0.0") == (got == "0.0");
            checks.add(if near && zero { Ok(()) } else { Err(anyhow!("row {row}: `{got}`, expected `{want}`")) });
        }
    }
}

/// Pairs of keys and values on a published config.
pub fn config_overrides(case: &Case) -> Result<()> {
    let config: Value = serde_json::from_str(&case.text("config.json")?)?;
    let cases: Value = serde_json::from_str(&case.text("expected.json")?)?;
    let mut checks = Comparison::new();
    for (i, one) in cases.as_array().context("no list")?.iter().enumerate() {
        let arguments: Vec<String> = serde_json::from_value(one["arguments"].clone())?;
        let got = published::override_pairs(&config, &arguments)?;
        let want = &one["result"];
        checks.add(if same(&got, want) { Ok(()) } else { Err(anyhow!("{i}: {got}, expected {want}")) });
        // What the published scripts accept is a config of ours, but for keys that they never look at.
        let mut known = got.clone();
        known.as_object_mut().context("no object")?.retain(|key, _| published::is_known(key));
        if known != got {
            ensure!(published::translate(&got).is_err(), "{i}: an unknown key is taken");
        }
        let parsed: train::TrainConfig = serde_json::from_value(published::translate(&known)?)?;
        checks.add(equal_lists("batch", &[parsed.training.batch_size], &[got["BS"].as_u64().unwrap_or(0)]));
    }
    checks.finish()
}

/// Equal, numbers by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}
