//! IceCube's network S (384/128/8/32) against the plain form of the same network: padded batches, a projected encoding of
//! all pairs. All run on the same weights, turn by turn, and must agree.
//!
//! ```text
//! PODIUM_BENCH_PYTHON=python cargo bench --bench icecube_networks -- --batch 16 --repeat 3
//! cargo bench --bench icecube_networks -- --part memory
//! ```
//!
//! Parts: `forward`, `step`, `memory`, `graph`. Each prints a line of JSON with the CPU seconds of both (median over the
//! repetitions) and their ratio. The plain form stands here in tensor operations of the same libtorch, and as a PyTorch
//! script (`benches/python/icecube_networks.py`) where `PODIUM_BENCH_PYTHON` names a Python with numpy and torch; it is the
//! script that ratios are taken against where there is one. One thread, f32. Lengths are log-normal with a mean of about
//! 110 pulses, cut at 192, as random batches and as the length-matched ones that training sees.

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use icecube::batch::Batch;
use icecube::losses::{self, LossKind, Normalisation};
use icecube::models::{self, DeepIce, ModelConfig, graph};
use neural::Params;
use neural::clip::clip_grad_norm;
use neural::optim::{AdamWConfig, Group, Optimizer, OptimizerConfig};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::{Map, Value, json};
use support::{cpu_seconds, median, number, only_listed};
use tch::{Device, Kind, Tensor};

fn main() -> Result<()> {
    if only_listed() {
        return Ok(());
    }
    let (size, repeat) = (number("--batch", 16)?, number("--repeat", 3)?);
    let part = std::env::args().skip_while(|a| a != "--part").nth(1).unwrap_or_default();
    tch::set_num_threads(1);
    neural::memory::for_long_runs();
    let wanted = |name: &str| part.is_empty() || part == name;
    if wanted("memory") {
        // First of all: what others have freed would serve again, and not be counted.
        memory()?;
    }
    let config = small();
    let batches = [("random", events(size, false)), ("matched", events(size, true))];
    let folder = tempfile::tempdir()?;
    let (params, _) = network(&config)?;
    let mut python = if wanted("forward") || wanted("step") {
        write_arrays(folder.path(), &config, &params, &batches)?;
        Python::start(folder.path())?
    } else {
        None
    };
    // Steps change the weights of the script.
    for (name, batch) in batches.iter().filter(|_| wanted("forward")) {
        forward(batch, name, repeat, python.as_mut())?;
    }
    for (name, batch) in batches.iter().filter(|_| wanted("step")) {
        step(batch, name, repeat, python.as_mut())?;
    }
    if let Some(python) = python {
        python.end()?;
    }
    if wanted("graph") {
        neighbours(repeat)?;
    }
    Ok(())
}

/// The PyTorch script, waiting for lines that say what to do.
struct Python {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Python {
    fn start(folder: &Path) -> Result<Option<Self>> {
        let Some(python) = std::env::var_os("PODIUM_BENCH_PYTHON") else { return Ok(None) };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python/icecube_networks.py");
        let mut command = Command::new(python);
        command.arg(script).arg(folder).env("OMP_NUM_THREADS", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("no input")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Some(Self { child, input, output }))
    }

    /// CPU seconds, and the sum of the predicted vectors.
    fn run(&mut self, what: &str, batch: &str) -> Result<(f64, f64)> {
        writeln!(self.input, "{what} {batch}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let (seconds, sum) = line.trim().split_once(' ').with_context(|| format!("the script answers `{line}`"))?;
        Ok((seconds.parse()?, sum.parse()?))
    }

    fn end(mut self) -> Result<()> {
        drop(self.input);
        self.child.wait()?;
        Ok(())
    }
}

/// Weights and batches as raw arrays.
fn write_arrays(folder: &Path, config: &DeepIce, params: &Params, batches: &[(&str, Batch)]) -> Result<()> {
    let mut all: Vec<(String, Tensor)> =
        params.named().into_iter().map(|(name, t)| (format!("w.{name}"), t.detach())).collect();
    for (name, b) in batches {
        for (field, tensor) in [
            ("pos", &b.pos),
            ("time", &b.time),
            ("charge", &b.charge),
            ("auxiliary", &b.auxiliary),
            ("mask", &b.mask),
            ("pulses", &b.pulses),
            ("target", b.truth()?),
        ] {
            all.push((format!("{name}.{field}"), tensor.shallow_clone()));
        }
    }
    let mut arrays = Map::new();
    for (name, tensor) in all {
        let kind = match tensor.kind() {
            Kind::Float => "float32",
            Kind::Int64 => "int64",
            _ => "bool",
        };
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.contiguous().f_copy_data_u8(&mut bytes, tensor.numel())?;
        common::durable::write(folder.join(&name), &bytes)?;
        arrays.insert(name, json!({ "shape": tensor.size(), "type": kind }));
    }
    let described = json!({ "sizes": serde_json::to_value(config)?, "arrays": arrays });
    common::durable::write(folder.join("shapes.json"), described.to_string().as_bytes())?;
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the result of a bench")]
fn say(line: &serde_json::Value) {
    println!("{line}");
}

/// CPU seconds of two things, done in turn.
fn compare(repeat: usize, mut ours: impl FnMut(), mut plain: impl FnMut()) -> (f64, f64) {
    ours();
    plain();
    let (mut a, mut b) = (vec![], vec![]);
    for _ in 0..repeat {
        let begun = cpu_seconds();
        ours();
        let middle = cpu_seconds();
        plain();
        a.push(middle - begun);
        b.push(cpu_seconds() - middle);
    }
    (median(a), median(b))
}

/// Pulses of events, as many pulses as real events have.
fn lengths(count: usize, rng: &mut Pcg64) -> Vec<i64> {
    let normal = |rng: &mut Pcg64| (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    (0..count).map(|_| ((85.0 * (0.72 * normal(rng)).exp()) as i64).clamp(8, 192)).collect()
}

fn events(size: usize, matched: bool) -> Batch {
    let mut rng = Pcg64::seed_from_u64(7);
    let mut all = lengths(size * 64, &mut rng);
    if matched {
        // A bucket in the middle of the distribution, as the sampler makes them.
        all.retain(|n| (96..112).contains(n));
    }
    all.truncate(size);
    batch_of(&all)
}

/// A batch of events of these lengths, with pulses in the detector's volume.
fn batch_of(lengths: &[i64]) -> Batch {
    tch::manual_seed(3);
    let (b, l) = (lengths.len() as i64, lengths.iter().copied().max().unwrap_or(1));
    let options = (Kind::Float, Device::Cpu);
    let whole = (Kind::Int64, Device::Cpu);
    let mask = Tensor::arange(l, whole).unsqueeze(0).lt_tensor(&Tensor::from_slice(lengths).unsqueeze(1));
    let valid = mask.to_kind(Kind::Float);
    let random = |shape: &[i64]| Tensor::rand(shape, options);
    Batch {
        pos: (random(&[b, l, 3]) * 2.0 - 1.0) * valid.unsqueeze(2),
        time: random(&[b, l]) * 0.3 * &valid,
        charge: random(&[b, l]) * 0.3 * &valid,
        auxiliary: random(&[b, l]).gt(0.5).to_kind(Kind::Int64) * mask.to_kind(Kind::Int64),
        qe: Tensor::zeros([b, l], whole),
        ice_properties: random(&[b, l, 2]) * valid.unsqueeze(2),
        sensor_id: Tensor::zeros([b, l], whole),
        pulses: Tensor::from_slice(lengths),
        event_id: Tensor::arange(b, whole),
        target: Some(random(&[b, 2]) * 3.0),
        mask,
    }
}

fn network(config: &DeepIce) -> Result<(Params, Box<dyn models::Network>)> {
    let built = models::build(&ModelConfig::DeepIce(config.clone()), Device::Cpu, 1)?;
    Ok((built.params, built.network))
}

fn small() -> DeepIce {
    DeepIce { depth: 8, ..DeepIce::default() }
}

fn forward(batch: &Batch, name: &str, repeat: usize, mut python: Option<&mut Python>) -> Result<()> {
    let config = small();
    let (params, network) = network(&config)?;
    let ours = tch::no_grad(|| network.forward(batch, false))?;
    let other = tch::no_grad(|| plain(&params, &config, batch));
    agree(&ours, &other)?;
    let mut seconds = Seconds::default();
    for turn in 0..=repeat {
        let begun = cpu_seconds();
        drop(tch::no_grad(|| network.forward(batch, false))?);
        let middle = cpu_seconds();
        drop(tch::no_grad(|| plain(&params, &config, batch)));
        let end = cpu_seconds();
        let script = python.as_mut().map(|python| python.run("forward", name)).transpose()?;
        if let Some((_, sum)) = script {
            let (here, size) = (ours.sum(Kind::Double).double_value(&[]), ours.abs().max().double_value(&[]));
            ensure!((here - sum).abs() < 1e-3 * size, "the script predicts {sum}, not {here}");
        }
        seconds.add(turn, [middle - begun, end - middle], script.map(|s| s.0));
    }
    seconds.report("forward", batch, name);
    Ok(())
}

fn step(batch: &Batch, name: &str, repeat: usize, mut python: Option<&mut Python>) -> Result<()> {
    let config = small();
    let (params, network) = network(&config)?;
    let group = || Group { name: "all".into(), lr: 1e-6, params: params.named() };
    let mut optimizer = Optimizer::new(&OptimizerConfig::AdamW(AdamWConfig::default()), vec![group()])?;
    let mut other = Optimizer::new(&OptimizerConfig::AdamW(AdamWConfig::default()), vec![group()])?;
    let target = batch.truth()?;
    let finish = |optimizer: &mut Optimizer, predicted: &Tensor| -> Result<()> {
        losses::mean(LossKind::Vms, Normalisation::Switched, predicted, target).backward();
        clip_grad_norm(&params.trainable(), 3.0)?;
        optimizer.step()?;
        Ok(optimizer.zero_grad()?)
    };
    let mut seconds = Seconds::default();
    for turn in 0..=repeat {
        let begun = cpu_seconds();
        finish(&mut optimizer, &network.forward(batch, true)?)?;
        let middle = cpu_seconds();
        finish(&mut other, &plain(&params, &config, batch))?;
        let end = cpu_seconds();
        let script = python.as_mut().map(|python| python.run("step", name)).transpose()?;
        seconds.add(turn, [middle - begun, end - middle], script.map(|s| s.0));
    }
    seconds.report("step", batch, name);
    Ok(())
}

/// CPU seconds by turn, without the first.
#[derive(Default)]
struct Seconds {
    ours: Vec<f64>,
    plain: Vec<f64>,
    script: Vec<f64>,
}

impl Seconds {
    fn add(&mut self, turn: usize, [ours, plain]: [f64; 2], script: Option<f64>) {
        if turn > 0 {
            self.ours.push(ours);
            self.plain.push(plain);
            self.script.extend(script);
        }
    }

    fn report(self, part: &str, batch: &Batch, name: &str) {
        let pulses = batch.pulses.to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        let script = if self.script.is_empty() { Value::Null } else { json!(median(self.script)) };
        let (ours, plain) = (median(self.ours), median(self.plain));
        say(&json!({
            "bench": "icecube_networks", "part": part, "batch": batch.events(), "lengths": name,
            "mean_pulses": pulses, "longest": batch.length(), "cpu_s": ours, "plain_cpu_s": plain, "pytorch_cpu_s": script,
            "events_per_cpu_s": batch.events() as f64 / ours, "ratio": script.as_f64().unwrap_or(plain) / ours,
        }));
    }
}

fn agree(ours: &Tensor, plain: &Tensor) -> Result<()> {
    let off = (ours - plain).abs().max().double_value(&[]) / plain.abs().max().double_value(&[]);
    ensure!(off < 5e-5, "the two forms differ by {off:e}");
    Ok(())
}

/// Largest memory of a forward pass in inference, beyond what stands before it. A quarter of the 32 events of the
/// published batch: the plain form of all would need about 12 GB.
fn memory() -> Result<()> {
    let config =
        DeepIce { dim: 128, dim_base: 32, depth: 1, head_size: 64, depth_rel: 4, n_rel: 4, ..DeepIce::default() };
    let (params, network) = network(&config)?;
    let batch = batch_of(&[512; 8]);
    let ours = peak(|| drop(tch::no_grad(|| network.forward(&batch, false))))?;
    let plain = peak(|| drop(tch::no_grad(|| plain(&params, &config, &batch))))?;
    say(&json!({
        "bench": "icecube_networks", "part": "memory", "batch": 8, "length": 512, "head_size": 64,
        "mib": ours >> 20, "plain_mib": plain >> 20, "share": ours as f64 / plain as f64,
    }));
    Ok(())
}

fn peak(mut work: impl FnMut()) -> Result<u64> {
    let read = |name: &str| -> Result<u64> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find(|l| l.starts_with(name)).unwrap_or("0");
        Ok(line.split_whitespace().nth(1).unwrap_or("0").parse::<u64>()? * 1024)
    };
    // Resets the mark of the largest resident set.
    #[allow(clippy::disallowed_methods, reason = "a file of the kernel")]
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = read("VmRSS")?;
    work();
    Ok(read("VmHWM")?.saturating_sub(before))
}

/// The neighbours of all pulses, against distances of all pairs and the nine smallest.
fn neighbours(repeat: usize) -> Result<()> {
    let mut rng = Pcg64::seed_from_u64(5);
    let lengths = lengths(256, &mut rng);
    let nodes: i64 = lengths.iter().sum();
    let xyz = Tensor::rand([nodes, 3], (Kind::Float, Device::Cpu));
    let columns: Vec<Vec<f32>> =
        (0..3).map(|c| Vec::try_from(xyz.select(1, c).contiguous())).collect::<Result<_, _>>()?;
    let columns: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
    let (ours, plain) = compare(
        repeat,
        || drop(graph::nearest(&columns, &lengths, false)),
        || {
            let mut first = 0;
            for &n in &lengths {
                let event = xyz.narrow(0, first, n);
                let distances = Tensor::cdist(&event, &event, 2.0, 2);
                drop(distances.topk(9.min(n), 1, false, true));
                first += n;
            }
        },
    );
    say(&json!({
        "bench": "icecube_networks", "part": "graph", "events": lengths.len(), "nodes": nodes, "cpu_s": ours,
        "plain_cpu_s": plain, "ratio": plain / ours,
    }));
    Ok(())
}

/// The plain form: what the published code computes, on padded batches.
fn plain(params: &Params, config: &DeepIce, batch: &Batch) -> Tensor {
    let w = |name: &str| params.get(name).unwrap_or_else(|| panic!("no parameter `{name}`"));
    let linear =
        |x: &Tensor, name: &str| x.linear(&w(&format!("{name}.weight")), params.get(&format!("{name}.bias")).as_ref());
    let norm = |x: &Tensor, name: &str| {
        let (weight, bias) = (w(&format!("{name}.weight")), w(&format!("{name}.bias")));
        x.layer_norm(weight.size(), Some(&weight), Some(&bias), 1e-5, true)
    };
    let sinusoid = |x: &Tensor, dim: i64| {
        let half = dim / 2;
        let step = (10_000_f64.ln() / half as f64) as f32;
        let frequencies = (Tensor::arange(half, (Kind::Float, Device::Cpu)) * -f64::from(step)).exp();
        let argument = x.unsqueeze(-1) * frequencies;
        Tensor::cat(&[argument.sin(), argument.cos()], -1)
    };
    let mlp = |x: &Tensor, name: &str| linear(&linear(x, &format!("{name}.fc1")).gelu("none"), &format!("{name}.fc2"));
    let (b, l, d, h) = (batch.events(), batch.length(), config.dim, config.head_size);
    let base = config.dim_base;
    let pulses =
        sinusoid(&batch.pulses.to_kind(Kind::Float).log10(), base / 2).unsqueeze(1).expand([b, l, base / 2], false);
    let x = Tensor::cat(
        &[
            sinusoid(&(&batch.pos * 4096.0), base).flatten(2, 3),
            sinusoid(&(&batch.charge * 1024.0), base),
            sinusoid(&(&batch.time * 4096.0), base),
            Tensor::embedding(&w("extractor.aux_emb.weight"), &batch.auxiliary, -1, false, false),
            pulses,
        ],
        -1,
    );
    let x = norm(&linear(&x, "extractor.proj.0"), "extractor.proj.1").gelu("none");
    let mut x = linear(&x, "extractor.proj.3");

    let squared = (batch.pos.unsqueeze(2) - batch.pos.unsqueeze(1)).square().sum_dim_intlist(
        [-1_i64].as_slice(),
        false,
        Kind::Float,
    );
    let time = (batch.time.unsqueeze(2) - batch.time.unsqueeze(1)) * 18.0;
    let interval = squared - time.square();
    let interval = (interval.sign() * interval.abs().sqrt()).clamp(-4.0, 4.0);
    let rel = linear(&sinusoid(&(interval * 1024.0), h), "rel_pos.proj"); // [b, l, l, h]

    let hidden =
        |valid: &Tensor| valid.logical_not().to_kind(Kind::Float).masked_fill(&valid.logical_not(), f64::NEG_INFINITY);
    // Pairs of a valid and a padded pulse see nothing; padded ones see each other.
    let mixed = batch.mask.unsqueeze(2).logical_xor(&batch.mask.unsqueeze(1));
    let pair_mask = hidden(&mixed.logical_not()).unsqueeze(1);
    let split = |t: &Tensor| t.view([b, l, d / h, h]).transpose(1, 2);
    let biased = if config.n_rel == 0 { config.depth_rel } else { config.n_rel };
    for i in 0..config.depth_rel {
        let name = |part: &str| format!("sandwich.{i}.{part}");
        let y = norm(&x, &name("norm1"));
        let q = split(&linear(&y, &name("attn.proj_q"))) * (h as f64).powf(-0.5);
        let (k, v) = (split(&linear(&y, &name("attn.proj_k"))), split(&linear(&y, &name("attn.proj_v"))));
        let mut logits = q.matmul(&k.transpose(2, 3));
        if i < biased {
            logits += Tensor::einsum("bhic,bijc->bhij", &[&q, &rel], None::<i64>);
        }
        let weights = (logits + &pair_mask).softmax(-1, Kind::Float);
        let mut out = weights.matmul(&v).transpose(1, 2);
        if i < biased {
            out += Tensor::einsum("bhij,bijc->bihc", &[&weights, &rel], None::<i64>);
        }
        x = &x + linear(&out.reshape([b, l, d]), &name("attn.proj"));
        x = &x + mlp(&norm(&x, &name("norm2")), &name("mlp"));
    }

    let token = w("cls_token.weight").unsqueeze(0).expand([b, 1, d], false);
    x = Tensor::cat(&[token, x], 1);
    let valid = Tensor::cat(&[Tensor::ones([b, 1], (Kind::Bool, Device::Cpu)), batch.mask.shallow_clone()], 1);
    let mask = hidden(&valid).view([b, 1, 1, l + 1]);
    for i in 0..config.depth {
        let name = |part: &str| format!("blocks.{i}.{part}");
        let y = norm(&x, &name("norm1"));
        let qkv = y.linear(&w(&name("attn.in_proj_weight")), Some(&w(&name("attn.in_proj_bias"))));
        let qkv = qkv.view([b, l + 1, 3, d / h, h]).permute([2, 0, 3, 1, 4]);
        let out = Tensor::scaled_dot_product_attention(
            &qkv.get(0),
            &qkv.get(1),
            &qkv.get(2),
            Some(&mask),
            0.0,
            false,
            None,
            false,
        );
        let out = linear(&out.transpose(1, 2).reshape([b, l + 1, d]), &name("attn.out_proj"));
        x = &x + w(&name("gamma_1")) * out;
        x = &x + w(&name("gamma_2")) * mlp(&norm(&x, &name("norm2")), &name("mlp"));
    }
    linear(&x.select(1, 0), "proj_out")
}
