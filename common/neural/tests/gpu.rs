//! What the shim does on a GPU. These tests need one, and the full libtorch (`make setup CUDA=1`); elsewhere they say why
//! they checked nothing, and one of them runs all others on the stand-in for a GPU. `scripts/gpu` runs them with everything
//! else that needs a GPU.

use std::path::Path;
use std::process::Command;

use common::seed::rng_for;
use neural::Params;
use neural::init::Init;
use neural::layers::{Mamba, MambaConfig};
use neural::loader::{Delivery, Field, InMemory, Loader};
use neural::optim::{AdamConfig, AdamWConfig, Group, Optimizer, OptimizerConfig, SgdConfig};
use neural::precision::{Precision, with_autocast};
use neural::{Doing, clip, device, shim};
use tch::{Device, Kind, Tensor};

/// The GPU; none where there is none.
#[allow(clippy::print_stderr, reason = "a test that checks nothing says so")]
fn gpu() -> Option<Device> {
    match device::choose("cuda") {
        Ok(device) => Some(device),
        Err(error) => {
            eprintln!("skipped: no GPU: {error}");
            None
        }
    }
}

fn params(device: Device) -> Vec<(String, Tensor)> {
    let mut rng = rng_for(1, "gpu", 0);
    let shapes: [&[i64]; 4] = [&[64, 33], &[7], &[2, 3, 5], &[1]];
    let tensor = |(i, shape): (usize, &&[i64])| {
        let values = Tensor::from_slice(&Init::Uniform(1.0).draw(shape, &mut rng).unwrap()).view(*shape);
        (format!("p{i}"), values.to_device(device).set_requires_grad(true))
    };
    shapes.iter().enumerate().map(tensor).collect()
}

fn train(config: &OptimizerConfig, device: Device) -> Vec<(String, Tensor)> {
    let params = params(device);
    let group = params.iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect();
    let mut optimizer = Optimizer::new(config, vec![Group { name: "all".into(), lr: 0.01, params: group }]).unwrap();
    for step in 0..5 {
        optimizer.zero_grad().unwrap();
        for (_, param) in &params {
            (param * param * f64::from(step - 2)).sum(Kind::Float).backward();
        }
        clip::clip_grad_norm(&params, 3.0).unwrap();
        optimizer.step().unwrap();
    }
    params
}

#[test]
fn steps_on_the_gpu_agree_with_those_on_the_cpu() {
    let Some(gpu) = gpu() else { return };
    for config in [
        OptimizerConfig::Adam(AdamConfig { weight_decay: 0.1, ..AdamConfig::default() }),
        OptimizerConfig::AdamW(AdamWConfig::default()),
        OptimizerConfig::Sgd(SgdConfig { momentum: 0.9, ..SgdConfig::default() }),
    ] {
        for ((name, a), (_, b)) in train(&config, Device::Cpu).iter().zip(train(&config, gpu)) {
            let difference = (a - b.to_device(Device::Cpu)).abs().max().double_value(&[]);
            assert!(difference < 1e-5, "{config:?} {name}: {difference}");
        }
    }
}

#[test]
fn the_generator_of_the_gpu_continues_from_a_saved_state() {
    let Some(gpu) = gpu() else { return };
    shim::manual_seed(gpu, 7).unwrap();
    let state = shim::rng_state(gpu).unwrap();
    let first = Tensor::rand([100], (Kind::Float, gpu));
    shim::set_rng_state(gpu, &state).unwrap();
    assert!(first.equal(&Tensor::rand([100], (Kind::Float, gpu))));
}

#[test]
fn autocast_on_the_gpu_has_the_format_that_was_asked_for() {
    let Some(gpu) = gpu() else { return };
    let ones = Tensor::ones([8, 8], (Kind::Float, gpu));
    for (precision, kind) in [(Precision::Bf16, Kind::BFloat16), (Precision::F16, Kind::Half)] {
        let found = with_autocast(precision, ones.device(), || Ok(ones.matmul(&ones).kind())).unwrap();
        assert_eq!(found, kind);
        assert_eq!(ones.matmul(&ones).kind(), Kind::Float);
    }
}

#[test]
fn memory_is_counted_and_running_out_of_it_is_a_device_error() {
    let Some(gpu) = gpu() else { return };
    let kept = Tensor::zeros([1 << 20], (Kind::Float, gpu));
    let before = shim::cuda_memory(gpu).unwrap();
    assert!(before.allocated >= 4 << 20 && before.allocated_peak >= before.allocated);
    let error = Tensor::f_zeros([1 << 44], (Kind::Float, gpu)).doing("allocating").unwrap_err();
    assert!(matches!(error, common::Error::Device { .. }), "{error}");
    assert!(shim::cuda_memory(gpu).unwrap().out_of_memory >= 1);
    drop(kept);
    shim::reset_cuda_peak(gpu).unwrap();
    shim::empty_cuda_cache().unwrap();
}

/// Output and all gradients of a Mamba block, those of the input first.
fn mamba(device: Device, (batch, levels, dim, states): (i64, i64, i64, i64)) -> Vec<(String, Tensor)> {
    let params = Params::new(device, 3);
    let block = Mamba::new(&params.root(), MambaConfig::new(dim, states)).unwrap();
    let values = Init::Normal(1.0).draw(&[batch, levels, dim], &mut rng_for(2, "gpu", 1)).unwrap();
    let u = Tensor::from_slice(&values).view([batch, levels, dim]).to_device(device).set_requires_grad(true);
    let out = block.forward(&u);
    out.square().sum(Kind::Float).backward();
    let gradients = params.named().into_iter().map(|(name, p)| (name, p.grad()));
    let all = [("out".to_string(), out.detach()), ("u".to_string(), u.grad())].into_iter().chain(gradients);
    all.map(|(name, t)| (name, t.to_device(Device::Cpu))).collect()
}

#[test]
fn mamba_blocks_on_the_gpu_agree_with_those_on_the_cpu() {
    let Some(gpu) = gpu() else { return };
    // The published sizes, channels that leave lanes of a warp without work, one level, fewer levels than taps, as many as a
    // kernel takes, and one more.
    let sizes = [(7, 60, 40, 16), (2, 60, 33, 64), (3, 1, 8, 5), (2, 2, 17, 1), (1, 96, 24, 3), (2, 97, 24, 3)];
    for size in sizes {
        for ((name, cpu), (_, gpu)) in mamba(Device::Cpu, size).iter().zip(mamba(gpu, size)) {
            // All gradients of A are zero where there is one level.
            let scale = cpu.abs().max().double_value(&[]).max(1e-30);
            let difference = (cpu - &gpu).abs().max().double_value(&[]) / scale;
            assert!(difference < 1e-4, "{size:?} {name}: {difference}");
        }
    }
}

#[test]
fn a_step_on_the_gpu_gives_the_same_bits_every_time() {
    let Some(gpu) = gpu() else { return };
    let bits = || {
        let trained = train(&OptimizerConfig::AdamW(AdamWConfig::default()), gpu);
        trained.into_iter().map(|(_, t)| Vec::<f32>::try_from(t.detach().flatten(0, -1)).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(bits(), bits());
}

#[test]
fn batches_arrive_on_the_gpu_as_they_were_read() {
    let Some(gpu) = gpu() else { return };
    let values: Vec<f32> = (0..4000).map(|v| v as f32).collect();
    let source = std::sync::Arc::new(InMemory::new(vec![(Field::vector("x", 4), values.clone())]).unwrap());
    let mut loader = Loader::sequential(source, 7, Delivery::to(gpu)).unwrap();
    let mut seen = vec![];
    while let Some(batch) = loader.next_batch().unwrap() {
        assert_eq!(batch.tensors[0].device(), gpu);
        seen.extend(Vec::<f32>::try_from(batch.tensors[0].flatten(0, -1)).unwrap());
    }
    assert_eq!(seen, values);
}

#[test]
fn a_recorded_step_gives_the_bits_of_a_plain_one() {
    let Some(gpu) = gpu() else { return };
    let network = |x: &Tensor, w: &Tensor| (x.matmul(w).gelu("none").square()).mean(Kind::Float);
    let weight = || Tensor::ones([5, 3], (Kind::Float, gpu)).set_requires_grad(true);
    let batch = |i: i64| Tensor::arange(20, (Kind::Float, gpu)).view([4, 5]) * 0.1 + i;
    let (plain, recorded) = (weight(), weight());
    // What the libraries set up at their first use is not recorded.
    network(&batch(0), &weight()).backward();
    let place = batch(0);
    let (graph, loss) = shim::Graph::record(gpu, || {
        let loss = network(&place, &recorded);
        loss.f_backward().doing("computing gradients")?;
        Ok(loss.detach())
    })
    .unwrap();
    let grad = recorded.grad();
    for i in 1..4 {
        let mut expected = plain.grad();
        if expected.defined() {
            let _ = expected.zero_();
        }
        let expected_loss = network(&batch(i), &plain);
        expected_loss.backward();
        place.shallow_clone().copy_(&batch(i));
        graph.launch().unwrap();
        shim::set_grads(&[&recorded], &[&grad]).unwrap();
        assert_eq!(loss.double_value(&[]), expected_loss.double_value(&[]));
        assert!(recorded.grad().equal(&plain.grad()), "step {i}");
    }
}

#[test]
fn all_of_this_holds_on_the_stand_in_for_a_gpu() {
    const INSIDE: &str = "PODIUM_ON_STAND_IN";
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/stand-in");
    let compiled = Command::new(script).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let library = String::from_utf8(compiled.stdout).unwrap();
    let mut all = Command::new(std::env::current_exe().unwrap());
    // One after the other: memory is counted for the whole device.
    all.args(["--nocapture", "--test-threads=1"]).env(INSIDE, "1").env("LD_PRELOAD", library.trim_end());
    let out = all.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && !text.contains("nothing was checked"), "{text}");
}
