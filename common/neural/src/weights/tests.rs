//! Strict loading, and files that keep every bit.

use super::write::contents;
use super::*;
use tch::Device;

fn zeros(shape: &[i64]) -> Tensor {
    Tensor::zeros(shape, (Kind::Float, Device::Cpu))
}

fn named(list: &[(&str, Tensor)]) -> Vec<(String, Tensor)> {
    list.iter().map(|(name, tensor)| ((*name).to_string(), tensor.shallow_clone())).collect()
}

fn ones_like(targets: &[(String, Tensor)]) -> Vec<(String, Tensor)> {
    targets.iter().map(|(name, tensor)| (name.clone(), tensor.ones_like())).collect()
}

fn model() -> Vec<(String, Tensor)> {
    named(&[("fc.0.weight", zeros(&[3, 2])), ("fc.0.bias", zeros(&[3])), ("gain", zeros(&[1]))])
}

fn total(tensors: &[(String, Tensor)]) -> f64 {
    tensors.iter().map(|(_, t)| t.sum(Kind::Double).double_value(&[])).sum()
}

#[test]
fn an_equal_set_loads_whole_in_any_order() {
    let targets = model();
    targets.iter().for_each(|(_, t)| drop(t.set_requires_grad(true)));
    let mut source = ones_like(&targets);
    source.reverse();
    let report = load_strict(&targets, &source, &Allow::default()).unwrap();
    assert_eq!(report.loaded, ["fc.0.bias", "fc.0.weight", "gain"]);
    assert_eq!(total(&targets), 10.0);
    assert!(targets.iter().all(|(_, t)| t.requires_grad() && t.is_leaf()));
    assert_eq!(report.to_string(), "3 tensors loaded");
}

#[test]
fn all_four_kinds_of_differences_are_named_at_once_and_nothing_is_changed() {
    let targets = named(&[
        ("enc.norm.weight", zeros(&[4])),
        ("fits", zeros(&[2])),
        ("scalar", zeros(&[5])),
        ("half", zeros(&[2])),
    ]);
    let source = named(&[
        ("enc.norn.weight", zeros(&[4]).ones_like()),
        ("fits", zeros(&[2]).ones_like()),
        ("scalar", zeros(&[1]).ones_like()),
        ("half", zeros(&[2]).ones_like().to_kind(Kind::Half)),
        ("zzz", zeros(&[1])),
    ]);
    let error = load_strict(&targets, &source, &Allow::default()).unwrap_err().to_string();
    for expected in [
        "(1 of 4 tensors do)",
        "1 missing: `enc.norm.weight` (the file has `enc.norn.weight`)",
        "2 unexpected: `enc.norn.weight`, `zzz`",
        "1 of another shape: `scalar` [1], expected [5]",
        "1 of another type: `half` Half, expected Float",
    ] {
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(total(&targets), 0.0);
}

#[test]
fn a_scalar_is_neither_a_vector_of_one_nor_broadcast() {
    for (target, source) in [(vec![1], vec![]), (vec![], vec![1]), (vec![3], vec![]), (vec![2, 1], vec![2])] {
        let targets = named(&[("x", zeros(&target))]);
        let error = load_strict(&targets, &named(&[("x", zeros(&source))]), &Allow::default()).unwrap_err();
        assert!(error.to_string().contains("of another shape"), "{target:?} {source:?}: {error}");
    }
}

#[test]
fn only_named_exceptions_pass() {
    let targets = model();
    let mut source = ones_like(&targets);
    source.retain(|(name, _)| name != "gain");
    source.push(("enc_norm.weight".into(), zeros(&[7])));
    source[0].1 = zeros(&[14, 2]);
    let allow = Allow {
        missing: vec!["gain".into()],
        unexpected: vec!["enc_norm.*".into()],
        dropped: vec!["fc.0.weight".into()],
        ..Allow::default()
    };
    let report = load_strict(&targets, &source, &allow).unwrap();
    assert_eq!(report.loaded, ["fc.0.bias"]);
    assert_eq!(report.missing, ["fc.0.weight", "gain"]);
    assert_eq!(report.unexpected, ["enc_norm.weight"]);
    assert_eq!(report.dropped, ["fc.0.weight"]);
    assert_eq!(total(&targets), 3.0);

    let typo = Allow { dropped: vec!["fc.0.weigth".into()], ..allow };
    let error = load_strict(&targets, &source, &typo).unwrap_err();
    assert!(error.to_string().contains("no tensor `fc.0.weigth` to drop"), "{error}");
    assert_eq!(error.hint_text().unwrap(), "did you mean `fc.0.weight`?");
}

#[test]
fn long_lists_are_shortened() {
    let targets: Vec<_> = (0..20).map(|i| (format!("layer{i:02}"), zeros(&[1]))).collect();
    let error = load_strict(&targets, &[], &Allow::default()).unwrap_err().to_string();
    assert!(error.contains("20 missing: `layer00`") && error.ends_with("`layer05` and 14 more"), "{error}");
}

#[test]
fn a_name_given_twice_is_refused() {
    let source = named(&[("a", zeros(&[1])), ("a", zeros(&[1]))]);
    assert!(load_strict(&named(&[("a", zeros(&[1]))]), &source, &Allow::default()).is_err());
    let folder = tempfile::tempdir().unwrap();
    assert!(save(folder.path().join("x.safetensors"), &source, None).is_err());
}

#[test]
fn the_prefix_of_data_parallel_training_is_stripped_only_when_all_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let names = |list: &[&str]| {
        let tensors: Vec<_> = list.iter().map(|n| ((*n).to_string(), zeros(&[1]))).collect();
        save(&path, &tensors, None).unwrap();
        read(&path).unwrap().into_iter().map(|(n, _)| n).collect::<Vec<_>>()
    };
    assert_eq!(names(&["module.a", "module.b"]), ["a", "b"]);
    assert_eq!(names(&["module.a", "b"]), ["b", "module.a"]);
}

#[test]
fn files_keep_every_bit_type_and_shape_and_do_not_depend_on_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.safetensors");
    let base = Tensor::from_slice(&[1.5_f32, -0.0, f32::NAN, f32::INFINITY, 1e-40, 3.0]);
    let mut tensors = named(&[
        ("f32", base.view([2, 3])),
        ("transposed", base.view([2, 3]).tr()),
        ("f64", base.to_kind(Kind::Double)),
        ("f16", base.to_kind(Kind::Half)),
        ("bf16", base.to_kind(Kind::BFloat16)),
        ("i64", Tensor::from_slice(&[i64::MIN, 7])),
        ("i32", Tensor::from_slice(&[-1_i32])),
        ("u8", Tensor::from_slice(&[255_u8, 0])),
        ("bool", Tensor::from_slice(&[true, false])),
        ("empty", zeros(&[0, 4])),
        ("scalar", Tensor::from(2.5_f32)),
    ]);
    let metadata = serde_json::json!({"model": "exp195"});
    let first = save(&path, &tensors, Some(&metadata)).unwrap();
    let found = read(&path).unwrap();
    for (name, tensor) in &tensors {
        let (_, read) = found.iter().find(|(n, _)| n == name).unwrap();
        assert_eq!((read.size(), read.kind()), (tensor.size(), tensor.kind()), "{name}");
        let bytes = |t: &Tensor| contents("x", &[(name.clone(), t.shallow_clone())]).unwrap().remove(0).bytes;
        assert_eq!(bytes(read), bytes(tensor), "{name}");
    }
    assert_eq!(super::metadata(&path).unwrap(), Some(metadata.clone()));
    tensors.reverse();
    assert_eq!(save(&path, &tensors, Some(&metadata)).unwrap(), first);
    assert_eq!(save(&path, &found, Some(&metadata)).unwrap(), first);
}

#[test]
fn an_exported_state_dict_keeps_order_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pt");
    let source = ones_like(&model());
    let first = export(&path, &source).unwrap();
    let found = read(&path).unwrap();
    assert_eq!(found.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["fc.0.weight", "fc.0.bias", "gain"]);
    let targets = model();
    assert_eq!(load(&targets, &path, &Allow::default()).unwrap().loaded.len(), 3);
    assert_eq!(total(&targets), 10.0);
    assert_eq!(export(&path, &found).unwrap(), first);
}

#[test]
fn a_file_that_does_not_fit_is_an_input_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    save(&path, &named(&[("other", zeros(&[1]))]), None).unwrap();
    let error = load(&model(), &path, &Allow::default()).unwrap_err();
    assert!(matches!(&error, Error::Input { path: p, .. } if p == &path), "{error}");
    assert!(matches!(read(folder.path().join("none.safetensors")), Err(Error::Input { .. })));
    let error = read(folder.path().join("w.txt")).unwrap_err().to_string();
    assert!(error.contains("expected `.safetensors`, `.pt`, `.pth` or `.ckpt`"), "{error}");
}
