//! Files as other programs leave them: prefixes, dictionaries, averages, other names, half precision.

use common::store::pickle::write_lightning;
use serde_json::json;

use super::*;
use tch::Device;

fn model() -> Vec<(String, Tensor)> {
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    [("fc.0.weight", zeros(&[3, 2])), ("fc.0.bias", zeros(&[3])), ("norm.count", zeros(&[]).to_kind(Kind::Int64))]
        .into_iter()
        .map(|(name, tensor)| (name.to_string(), tensor))
        .collect()
}

/// The model's tensors, all of this value, under other names.
fn under(prefix: &str, value: f64) -> Vec<(String, Tensor)> {
    model().into_iter().map(|(name, t)| (format!("{prefix}{name}"), t.full_like(value))).collect()
}

fn joined(mut a: Vec<(String, Tensor)>, b: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    a.extend(b);
    a
}

fn sum(tensors: &[(String, Tensor)]) -> f64 {
    tensors.iter().map(|(_, t)| t.sum(Kind::Double).double_value(&[])).sum()
}

struct File {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
}

fn file(tensors: &[(String, Tensor)]) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pt");
    export(&path, tensors).unwrap();
    File { _folder: folder, path }
}

fn loaded(tensors: &[(String, Tensor)], allow: &Allow) -> Result<f64> {
    let targets = model();
    load(&targets, file(tensors).path, allow)?;
    Ok(sum(&targets))
}

#[test]
fn what_training_scripts_put_before_names_is_found_and_said() {
    for prefix in ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net.", "a.b.c."] {
        assert_eq!(loaded(&under(prefix, 1.0), &Allow::default()).unwrap(), 10.0, "{prefix}");
    }
    let mut swa = under("module.", 1.0);
    swa.push(("n_averaged".into(), Tensor::from(3_i64)));
    assert_eq!(loaded(&swa, &Allow::default()).unwrap(), 10.0);
    let found = read_for(&model(), file(&swa).path, &Allow::default()).unwrap();
    assert_eq!(found.notes, ["the network is what stands behind `module.`, left out: 1 below `n_averaged`"]);
    // What is named to be dropped is found there, too.
    let allow = Allow { dropped: vec!["n_averaged".into()], ..Allow::default() };
    assert_eq!(loaded(&swa, &allow).unwrap(), 10.0);
}

#[test]
fn wrappers_of_parts_of_a_network_are_removed_from_within_names() {
    let part: Vec<_> = under("", 1.0).into_iter().map(|(name, t)| (name.replace("fc.", "fc._orig_mod."), t)).collect();
    assert_eq!(loaded(&part, &Allow::default()).unwrap(), 10.0);
}

#[test]
fn of_a_network_and_its_average_the_network_is_taken_unless_asked() {
    for average in ["state_dict_ema.", "ema.", "model_ema.module.", "averaged_model."] {
        let both = joined(under("state_dict.", 1.0), under(average, 2.0));
        assert_eq!(loaded(&both, &Allow::default()).unwrap(), 10.0, "{average}");
        let asked = Allow { prefix: Some(average.trim_end_matches('.').into()), ..Allow::default() };
        assert_eq!(loaded(&both, &asked).unwrap(), 20.0, "{average}");
        assert_eq!(loaded(&under(average, 2.0), &Allow::default()).unwrap(), 20.0, "{average}");
    }
}

#[test]
fn two_networks_are_a_question_that_the_prefix_answers() {
    let both = joined(under("student.", 1.0), under("teacher.", 2.0));
    let error = loaded(&both, &Allow::default()).unwrap_err();
    assert!(error.to_string().contains("holds 2 such networks"), "{error}");
    assert_eq!(
        error.hint_text().unwrap(),
        "say which one: `--prefix 'student.'` or `--prefix 'teacher.'` of `convert-weights` (or of `train-model --init`)"
    );
    let prefixed = |prefix: &str| Allow { prefix: Some(prefix.into()), ..Allow::default() };
    assert_eq!(loaded(&both, &prefixed("teacher.")).unwrap(), 20.0);
    let error = loaded(&both, &prefixed("techer.")).unwrap_err();
    assert!(error.to_string().contains("no tensor whose name begins with `techer.`"), "{error}");
    assert!(error.hint_text().unwrap().contains("`teacher.`"));
}

#[test]
fn what_lacks_or_exceeds_is_refused_behind_a_prefix_as_without_one() {
    let mut less = under("model.", 1.0);
    drop(less.remove(1));
    let error = loaded(&less, &Allow::default()).unwrap_err().to_string();
    assert!(error.contains("1 missing: `fc.0.bias`"), "{error}");
    let mut more = under("model.", 1.0);
    more.push(("model.head.weight".into(), Tensor::from(1_f32)));
    let error = loaded(&more, &Allow::default()).unwrap_err().to_string();
    assert!(error.contains("1 unexpected: `head.weight`"), "{error}");
}

#[test]
fn half_precision_is_widened_to_the_same_numbers_and_integers_stay() {
    for kind in [Kind::Half, Kind::BFloat16, Kind::Double] {
        let narrow: Vec<_> = under("", 0.5)
            .into_iter()
            .map(|(name, t)| if t.is_floating_point() { (name, t.to_kind(kind)) } else { (name, t) })
            .collect();
        let targets = model();
        load(&targets, file(&narrow).path, &Allow::default()).unwrap();
        assert_eq!(sum(&targets), 4.5, "{kind:?}");
        assert_eq!(targets[0].1.kind(), Kind::Float);
    }
}

#[test]
fn weights_that_are_not_finite_are_refused_by_name() {
    for wild in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let all = under("", 1.0);
        let _ = all[1].1.get(2).fill_(wild);
        let targets = model();
        let file = file(&all);
        let error = load(&targets, &file.path, &Allow::default()).unwrap_err();
        assert!(matches!(&error, Error::Input { path, .. } if *path == file.path), "{error}");
        assert!(error.to_string().contains("hold NaN or infinity: `fc.0.bias`"), "{error}");
        assert_eq!(sum(&targets), 0.0);
    }
}

#[test]
fn other_names_and_other_orders_are_translated() {
    fn ours(name: &str) -> Option<String> {
        name.strip_prefix("body.linear.")
            .map(|rest| format!("fc.0.{rest}"))
            .or((name == "count").then(|| "norm.count".into()))
    }
    static DIALECTS: [Dialect; 1] =
        [Dialect { name: "the others", ours, value: |name, t| if name == "fc.0.bias" { t.flip([0]) } else { t } }];
    let allow = Allow { dialects: &DIALECTS, ..Allow::default() };
    let theirs = vec![
        ("x.body.linear.weight".to_string(), Tensor::ones([3, 2], (Kind::Float, Device::Cpu))),
        ("x.body.linear.bias".to_string(), Tensor::from_slice(&[1.0_f32, 2.0, 3.0])),
        ("x.count".to_string(), Tensor::from(4_i64)),
        ("x.other".to_string(), Tensor::from(4_i64)),
    ];
    let targets = model();
    let file = file(&theirs);
    load(&targets, &file.path, &allow).unwrap();
    assert_eq!(Vec::<f32>::try_from(&targets[1].1).unwrap(), [3.0, 2.0, 1.0]);
    assert_eq!(read_for(&targets, &file.path, &allow).unwrap().dialect, Some("the others"));
    assert!(load(&targets, &file.path, &Allow::default()).is_err());
}

#[test]
fn a_part_of_a_network_is_no_choice_between_two() {
    // Names that are read in two ways, as ours behind a prefix and as the others'.
    fn ours(name: &str) -> Option<String> {
        name.strip_prefix("backbone.").map(str::to_owned)
    }
    static DIALECTS: [Dialect; 1] = [Dialect::renames("the others", ours)];
    let mut part = under("backbone.", 1.0);
    part.retain(|(name, _)| !name.ends_with("count"));
    let allow = Allow { dialects: &DIALECTS, ..Allow::default() };
    let error = loaded(&part, &allow).unwrap_err().to_string();
    assert!(error.contains("1 missing: `norm.count`") && !error.contains("such networks"), "{error}");
}

#[test]
fn a_lightning_checkpoint_holds_its_hyper_parameters_and_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.ckpt");
    let more = json!({ "hyper_parameters": { "a": [1, 2.5, null, true], "b": { "c": "text", "d": -7 }, "e": [] } });
    export_lightning(&path, &under("", 1.0), &more).unwrap();
    let targets = model();
    load(&targets, &path, &Allow::default()).unwrap();
    assert_eq!(sum(&targets), 10.0);
    let checkpoint = common::store::pickle::Checkpoint::open(&path).unwrap();
    let parameters = checkpoint.value().expect("hyper_parameters").unwrap();
    let list: Vec<_> = parameters.expect("a").unwrap().items().collect();
    assert_eq!((list[0].int().unwrap(), list[1].float().unwrap()), (1, 2.5));
    assert_eq!(parameters.expect("b").unwrap().expect("d").unwrap().int().unwrap(), -7);
    let same = write_lightning(folder.path().join("y.ckpt"), &checkpoint.tensors().unwrap(), &more).unwrap();
    assert_eq!(same.blake3, common::durable::hash_file(&path).unwrap().blake3);
}
