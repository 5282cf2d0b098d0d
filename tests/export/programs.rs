//! The examples of `docs/export.md`, run: the C++ program against libtorch, the Python one where `PODIUM_BENCH_PYTHON` names a
//! Python with torch.

#![allow(clippy::print_stderr)] // a skipped test says why

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::stage::Manifest;
use common::store::npy::{NpyArray, write_npy, write_npy_bools};
use neural::export::Closeness;
use tch::{CModule, Kind, Tensor};

use crate::convert;
use crate::directions::of_icecube;
use crate::networks::{of_leap, of_polarmae, of_tracknet};
use crate::support::root;
use crate::training::{train, workshop};

/// Compares modules with what `predict` gave, in a Python that knows nothing else: CASES holds a folder a case with the module's
/// name, its method, and arrays that go in and come out.
const COMPARE: &str = r"
import json, pathlib, sys
import numpy, torch

torch.set_num_threads(1)

def held(block):
    # What would keep a module on the device that it was written on: a device's name, or a tensor that nobody moves.
    for node in block.nodes():
        if node.kind() == 'prim::Constant' and node.outputsAt(0).type().kind() == 'DeviceObjType':
            yield node
        if node.kind() == 'prim::Constant' and node.outputsAt(0).type().kind() == 'TensorType' and node.hasAttribute('value'):
            if node.t('value').dim() > 0 and any(use.user.kind() != 'aten::to' for use in node.outputsAt(0).uses()):
                yield node
        for inner in node.blocks():
            yield from held(inner)

worst = 0
for case in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    about = json.loads((case / 'case.json').read_text())
    module = torch.jit.load(about['module'])
    assert not list(held(getattr(module, about['method']).inlined_graph)), case
    read = lambda name, n: [torch.from_numpy(numpy.load(case / f'{name}{i}.npy')) for i in range(n)]
    def run(inputs):
        found = getattr(module, about['method'])(*inputs)
        return [found] if isinstance(found, torch.Tensor) else list(found)
    # As `predict` runs: with gradients the library takes other kernels, which round at other places.
    with torch.no_grad():
        found = run(read('in', about['inputs']))
    inputs = [x.requires_grad_() if x.is_floating_point() else x for x in read('in', about['inputs'])]
    sum(y.double().sum() for y in run(inputs)).backward()
    gradients = [x.grad for x in inputs if x.requires_grad and x.grad is not None]
    assert gradients and all(g.isfinite().all() for g in gradients), case
    for place, (a, b) in enumerate(zip(found, read('out', about['outputs']), strict=True)):
        assert a.shape == b.shape, (case, a.shape, b.shape)
        a, b = a.detach().double(), b.double()
        if about['angle'] and place == 0:
            off = torch.atan2(torch.linalg.cross(a, b).norm(dim=1), (a * b).sum(1)).max().item()
            assert off < 1e-4, (case, off)
        else:
            # Column by column; of one row alone a number near zero says nothing.
            a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
            scale = b.abs().amax(0) if len(b) > 6 else b.abs().max()
            off = ((a - b).abs() / scale.clamp(min=1e-300)).max().item()
            assert off < (1e-3 if about['angle'] else 1e-5), (case, off)
        worst = max(worst, off)
print('cases', len(list(pathlib.Path(sys.argv[1]).iterdir())), 'torch', torch.__version__, 'largest', worst)
";

/// The code of the document behind a mark.
fn example(language: &str) -> String {
    let text = std::fs::read_to_string(root().join("docs/export.md")).unwrap();
    let (_, behind) = text.split_once(&format!("<!-- export: {language} -->\n```{language}\n")).unwrap();
    behind.split_once("\n```").unwrap().0.to_string() + "\n"
}

/// A module of a trained network, and 7 raw rows with what it makes of them.
fn module(folder: &Path) -> (PathBuf, Vec<f32>, Vec<f32>) {
    train(&folder.join("run")).args(["training.epochs=1"]).succeeds();
    convert(folder, &folder.join("run"), "model.pt").succeeds();
    let simulated = Manifest::read(&workshop().join("raw").to_string_lossy()).unwrap();
    let test = std::fs::read_to_string(simulated.output("test.csv").unwrap()).unwrap();
    let rows: Vec<f32> =
        test.lines().skip(1).take(7).flat_map(|line| line.split(',').skip(1).map(|v| v.parse().unwrap())).collect();
    let loaded = CModule::load(folder.join("model.pt")).unwrap();
    let given = Tensor::from_slice(&rows).view([7, 556]);
    let found = tch::no_grad(|| loaded.forward_ts(&[given]).unwrap());
    assert_eq!((found.size(), found.kind()), (vec![7, 368], Kind::Float), "f32 in, f32 out");
    (folder.join("model.pt"), rows, Vec::try_from(found.flatten(0, -1)).unwrap())
}

fn done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn close(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len());
    for column in 0..368 {
        let of = |values: &[f32]| values.iter().skip(column).step_by(368).copied().collect::<Vec<f32>>();
        let (found, wanted) = (of(found), of(wanted));
        let scale = wanted.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
        assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() <= 1e-5 * scale), "column {column}");
    }
}

#[test]
fn the_program_in_cpp_gives_the_numbers_of_predict() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let (model, rows, wanted) = module(f);
    let code = example("cpp");
    assert!(code.lines().count() <= 45, "the document says 40 lines");
    common::durable::write(f.join("run.cpp"), code.as_bytes()).unwrap();
    let libtorch = option_env!("LIBTORCH").map_or_else(|| root().join(".libtorch/torch"), PathBuf::from);
    let include = libtorch.join("include");
    let mut compile = Command::new("g++");
    compile.args(["-std=c++17", "-O0", "-w", "run.cpp", "-o", "emulator", "-ltorch_cpu", "-lc10"]);
    compile.arg("-I").arg(&include).arg("-I").arg(include.join("torch/csrc/api/include"));
    compile.arg("-L").arg(libtorch.join("lib")).arg(format!("-Wl,-rpath,{}", libtorch.join("lib").display()));
    done(&compile.arg("-Wl,--allow-shlib-undefined").current_dir(f).output().unwrap());
    let bytes: Vec<u8> = rows.iter().flat_map(|v| v.to_le_bytes()).collect();
    common::durable::write(f.join("rows.f32"), &bytes).unwrap();
    let run = |model: &Path| {
        Command::new(f.join("emulator"))
            .arg(model)
            .args(["rows.f32", "556", "out.f32"])
            .current_dir(f)
            .output()
            .unwrap()
    };
    let output = run(&model);
    done(&output);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("podium torchscript 1") && said.contains("7 rows, 368 columns"), "{said}");
    let found = std::fs::read(f.join("out.f32")).unwrap();
    let found: Vec<f32> = found.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    close(&found, &wanted);
    assert!(!run(&f.join("nothing.pt")).status.success());
}

#[test]
fn the_program_in_python_gives_the_numbers_of_predict() {
    let Some(python) = std::env::var_os("PODIUM_BENCH_PYTHON") else {
        eprintln!("skipped: PODIUM_BENCH_PYTHON names no Python with torch");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let (model, rows, wanted) = module(f);
    common::durable::write(f.join("run.py"), example("python").as_bytes()).unwrap();
    write_npy(f.join("rows.npy"), &[7, 556], &rows).unwrap();
    let run = Command::new(python).arg("run.py").arg(&model).args(["rows.npy", "out.npy"]).current_dir(f).output();
    let output = run.unwrap();
    done(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("largest gradient"));
    let found: Vec<f32> = NpyArray::open(f.join("out.npy")).unwrap().to_f64().iter().map(|v| *v as f32).collect();
    close(&found, &wanted);
}

fn array(path: &Path, tensor: &Tensor) {
    let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
    let flat = tensor.contiguous().flatten(0, -1);
    match tensor.kind() {
        Kind::Bool => write_npy_bools(path, &shape, &Vec::<bool>::try_from(flat).unwrap()),
        Kind::Int64 => write_npy(path, &shape, &Vec::<i64>::try_from(flat).unwrap()),
        Kind::Double => write_npy(path, &shape, &Vec::<f64>::try_from(flat).unwrap()),
        _ => write_npy(path, &shape, &Vec::<f32>::try_from(flat).unwrap()),
    }
    .unwrap();
}

#[test]
fn python_gives_the_numbers_of_predict_for_every_network_in_batches_of_1_7_and_64() {
    let Some(python) = std::env::var_os("PODIUM_BENCH_PYTHON") else {
        eprintln!("skipped: PODIUM_BENCH_PYTHON names no Python with torch");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    std::fs::create_dir(f.join("cases")).unwrap();
    let makers = [of_leap, of_polarmae, of_tracknet, of_icecube];
    for (name, module) in makers.iter().flat_map(|make| make(f)) {
        let path = f.join(format!("{name}.pt"));
        module.write(&path, false).unwrap();
        for method in &module.methods {
            for i in 0..3 {
                let sizes: Vec<i64> = method.sizes.iter().map(|size| size.compared[i]).collect();
                let inputs = (method.example)(&sizes, 77).unwrap();
                let outputs = tch::no_grad(|| (method.predicted)(&inputs)).unwrap();
                let case = f.join(format!("cases/{name}-{}-{}", method.name, sizes[0]));
                std::fs::create_dir(&case).unwrap();
                inputs.iter().enumerate().for_each(|(i, t)| array(&case.join(format!("in{i}.npy")), t));
                outputs.iter().enumerate().for_each(|(i, t)| array(&case.join(format!("out{i}.npy")), t));
                let about = serde_json::json!({
                    "module": path, "method": method.name, "inputs": inputs.len(), "outputs": outputs.len(),
                    "angle": matches!(method.closeness, Closeness::Angle(_)),
                });
                common::durable::write(case.join("case.json"), about.to_string().as_bytes()).unwrap();
            }
        }
    }
    common::durable::write(f.join("compare.py"), COMPARE.as_bytes()).unwrap();
    let output = Command::new(python).arg("compare.py").arg("cases").current_dir(f).output().unwrap();
    done(&output);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{said}");
    assert!(said.contains("cases"), "{said}");
}
