//! Modules of small passes.

use tch::{Device, Tensor};

use super::*;
use crate::Params;
use crate::errors::Doing;
use crate::layers::{BiLstm, Mamba, MambaConfig, linear};

fn drawn(shape: &[i64], seed: u64) -> Tensor {
    let mut rng = common::seed::rng_for(seed, "export test", 0);
    Tensor::from_slice(&crate::init::Init::Normal(1.0).draw(shape, &mut rng).unwrap()).view(shape)
}

fn sizes() -> Vec<Size> {
    vec![Size::batch(), Size::new("levels", 0, 1, [4, 6, 9], [5, 1, 12])]
}

fn method<'a>(pass: Pass<'a>, predicted: Pass<'a>) -> Method<'a> {
    Method {
        name: "forward",
        inputs: vec![Port::new("x", "f32", "[batch, levels, 4]", "anything")],
        outputs: vec![Port::new("y", "f32", "[batch, levels, 4]", "anything")],
        sizes: sizes(),
        example: Box::new(|sizes, seed| Ok(vec![drawn(&[sizes[0], sizes[1], 4], seed)])),
        pass,
        predicted,
        closeness: Closeness::Relative(1e-5),
    }
}

fn module<'a>(params: &Params, method: Method<'a>) -> Module<'a> {
    let (tensors, methods) = (tensors(params, ""), vec![method]);
    Module { name: "Small".into(), tensors, methods, about: Map::new(), precision: Precision::F32 }
}

/// What writing it gives, in a folder of its own.
fn write(module: &Module) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.pt");
    let written = module.write(&path, false);
    assert_eq!(path.exists(), written.is_ok());
    written.map(|_| std::fs::read(&path).unwrap())
}

#[test]
fn recurrent_layers_scans_and_reshapes_take_any_size_and_give_the_same_bytes_twice() {
    let params = Params::new(Device::Cpu, 3);
    let lstm = BiLstm::new(&params.root().sub("lstm"), 4, 2, 2).unwrap();
    let mamba = Mamba::new(&params.root().sub("mamba"), MambaConfig::new(4, 3)).unwrap();
    let pass = |inputs: &[Tensor]| {
        let x = &inputs[0];
        let (b, l) = (x.size()[0], x.size()[1]);
        let y = mamba.forward(&lstm.forward(x, false));
        let scale = constant(&Tensor::from_slice(&[1.5_f32, -2.25, 3.0, 400.0]));
        let w = params.get("mamba.out_proj.weight").unwrap().narrow(1, 0, 4);
        let z = linear(&(y * scale).reshape([b * l, 4]), &w, None).view([b, l, 4]);
        Ok(vec![z + Tensor::arange(l, (Kind::Float, Device::Cpu)).view([1, l, 1])])
    };
    let all = module(&params, method(Box::new(pass), Box::new(pass)));
    let bytes = write(&all).unwrap();
    assert!(bytes == write(&all).unwrap());
    let loaded = check::open(&bytes).unwrap();
    let names: Vec<String> = loaded.named_parameters().unwrap().into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"lstm.weight_hh_l1_reverse".to_string()), "{names:?}");
}

#[test]
fn other_numbers_than_those_of_predict_are_refused() {
    let params = Params::new(Device::Cpu, 3);
    let pass = |inputs: &[Tensor]| Ok(vec![&inputs[0] * 2.0]);
    let other = |inputs: &[Tensor]| Ok(vec![&inputs[0] * 2.0001]);
    let error = write(&module(&params, method(Box::new(pass), Box::new(other)))).unwrap_err().to_string();
    assert!(error.contains("differs from what `predict` gives by 5.0e-5"), "{error}");
}

#[test]
fn what_hangs_on_values_or_has_no_gradients_is_refused() {
    let params = Params::new(Device::Cpu, 3);
    let refused = |pass: Pass, why: &str| {
        let error = write(&module(&params, method(pass, Box::new(|x| Ok(vec![x[0].shallow_clone()]))))).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    };
    let first = |x: &Tensor| Tensor::from_slice(&[x.double_value(&[0, 0, 0]) as f32]);
    let baked = move |x: &[Tensor]| Ok(vec![&x[0] + constant(&first(&x[0]))]);
    refused(Box::new(baked), "depends on sizes or values");
    refused(Box::new(|x| Ok(vec![&x[0] * x[0].double_value(&[0, 0, 0])])), "depends on sizes or values");
    let odd = |x: &[Tensor]| Ok(vec![&x[0] * (x[0].size()[0] * x[0].size()[0])]);
    refused(Box::new(odd), "does not follow the sizes");
    let course = |x: &[Tensor]| Ok(vec![if x[0].size()[0] > 2 { x[0].exp() } else { x[0].sin() }]);
    refused(Box::new(course), "another course");
    refused(Box::new(|x| Ok(vec![x[0].zeros_like() + &x[0].detach()])), "no gradients");
    let unknown = drawn(&[4], 1).set_requires_grad(true);
    refused(Box::new(move |x| Ok(vec![x[0].f_add(&unknown).doing("adding")?])), "requires grad");
    // Recorded as the zeros that it was before it was filled.
    let filled = |x: &[Tensor]| Ok(vec![&x[0] * Tensor::from_slice(&[3.0_f32])]);
    refused(Box::new(filled), "differs from what `predict` gives");
    assert!(!recording());
}
