//! TrackNET's networks as TorchScript. The published one goes from the hits of a track in mm to the two regions in mm where the
//! next hit and the one after it are looked for; `step` takes one hit at a time, with the hidden state handed in and out.
//! The tracker's network goes from the numbers that are known of a track after each hit to the residual of the next one.

use std::path::Path;
use std::rc::Rc;

use common::durable::hash_file;
use common::seed::rng_for;
use common::{Error, Result};
use neural::export::{Closeness, Method, Module, Pass, Port, Size, Source, tensors};
use rand::RngExt;
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use crate::checkpoint;
use crate::models::step_ahead::Outputs;
use crate::normalizer::Normalizer;
use crate::predict::Finder;
use crate::tracker::state::FEATURES;
use crate::tracker::train as tracker;

/// The largest difference from `predict`, in units of the largest coordinate.
const CLOSE: f64 = 1e-5;
/// Layers of the published network's GRU.
const LAYERS: i64 = 2;

/// The module of a training or of a weights file.
///
/// # Errors
/// Where there is no such network, or its weights do not fit.
pub fn module(source: &Source) -> Result<Module<'static>> {
    if !source.members.is_empty() {
        return Err(Error::usage("tracks are not blended: TrackNET's networks are written one by one"));
    }
    let trained = source.stage.as_ref().map(|stage| stage.find("train-model")).transpose()?;
    let file = match (&trained, source.files.as_slice()) {
        (Some(trained), _) => trained.output("model")?,
        (None, [one]) => one.clone(),
        (None, files) => return Err(Error::usage(format!("{} weights files, expected one", files.len()))),
    };
    let mut about = Map::new();
    about.insert("system".into(), json!(crate::NAME));
    about.insert("weights_blake3".into(), json!(hash_file(&file)?.blake3));
    if let Some(trained) = &trained {
        let run = json!({ "config": trained.config_hash, "seed": trained.seed, "identity": trained.identity() });
        about.insert("run".into(), run);
    }
    about.insert(
        "licence".into(),
        json!({
            "code": "MIT OR Apache-2.0",
            "weights": "those who trained them decide; TrackML's data state no licence and ask to cite their authors",
        }),
    );
    match Finder::open(&file)? {
        Finder::StepAhead(loaded) => step_ahead(*loaded, &file, about, source),
        Finder::Tracker(loaded) => Ok(of_tracker(*loaded, about, source)),
    }
}

/// The published network between positions in mm.
struct Published {
    loaded: checkpoint::Loaded,
    lowest: Tensor,
    range: Tensor,
}

impl Published {
    fn regions(&self, outputs: &Outputs) -> Vec<Tensor> {
        let centre = |t: &Tensor| t.narrow(-1, 0, 3) * &self.range + &self.lowest;
        let axes = |t: &Tensor| t * &self.range;
        vec![centre(&outputs.coords_1), axes(&outputs.radius_1), centre(&outputs.coords_2), axes(&outputs.radius_2)]
    }

    fn normal(&self, hits: &Tensor) -> Tensor {
        (hits.to_kind(Kind::Float) - &self.lowest) / &self.range
    }

    fn forward(&self, hits: &Tensor, lengths: &Tensor) -> Vec<Tensor> {
        self.regions(&self.loaded.network.forward(&self.normal(hits), lengths))
    }

    fn step(&self, hits: &Tensor, state: &Tensor) -> Vec<Tensor> {
        let next = self.loaded.network.step(&self.normal(hits), state);
        let mut all = self.regions(&self.loaded.network.heads(&next.select(0, LAYERS - 1)));
        all.push(next);
        all
    }

    /// Positions as the programs normalise them, on the host.
    fn on_host(&self, hits: &Tensor) -> Result<Tensor> {
        let read = Vec::<f32>::try_from(hits.contiguous().flatten(0, -1));
        let flat = read.map_err(|e| Error::failed(format!("reading hits: {e}")))?;
        let normal: Vec<f32> =
            flat.chunks_exact(3).flat_map(|h| self.loaded.normalizer.normalize([h[0], h[1], h[2]])).collect();
        Ok(Tensor::from_slice(&normal).view(hits.size().as_slice()))
    }
}

/// Tracks that leave the origin and bend, in mm: `[B, L, 3]`.
fn tracks(tracks: i64, hits: i64, normalizer: &Normalizer, seed: u64) -> Tensor {
    let mut rng = rng_for(seed, "export tracks", 0);
    let [low, high] = [normalizer.min_xyz, normalizer.max_xyz];
    let reach = (high[0] - low[0]) / 2.0;
    let mut all = vec![];
    for _ in 0..tracks {
        let (phi, bend, slope): (f32, f32, f32) =
            (rng.random_range(-3.0..3.0), rng.random_range(-0.8..0.8), rng.random_range(-2.0..2.0));
        for hit in 0..hits {
            let way = (hit + 1) as f32 / (hits + 1) as f32;
            let (r, angle) = (way * reach, phi + bend * way);
            let z = (r * slope).clamp(low[2], high[2]);
            all.extend([r * angle.cos(), r * angle.sin(), z]);
        }
    }
    Tensor::from_slice(&all).view([tracks, hits, 3])
}

fn regions(shape: &'static str) -> Vec<Port> {
    let port = |name: &str, about: &str| Port::new(name, "f32", shape, about);
    vec![
        port("centre_1", "where the next hit is looked for, mm"),
        port("axes_1", "half axes of that ellipsoid along x, y, z, mm"),
        port("centre_2", "where the hit after it is looked for, mm"),
        port("axes_2", "half axes of that ellipsoid, mm"),
    ]
}

fn step_ahead(
    loaded: checkpoint::Loaded,
    file: &Path,
    mut about: Map<String, Value>,
    source: &Source,
) -> Result<Module<'static>> {
    if loaded.config.input_features != 3 {
        let problem = format!("reads {} numbers a hit, expected 3", loaded.config.input_features);
        return Err(Error::input(file, problem).hint("only networks that read positions can be written"));
    }
    let (normalizer, hidden) = (loaded.normalizer, loaded.config.hidden_features);
    about.insert("normalisation".into(), json!({ "box_mm": normalizer, "formula": "(x - min) / (max - min), f32" }));
    about.insert("state".into(), json!({ "shape": [LAYERS, "tracks", hidden], "start": 0.0 }));
    let (lowest, range) = (Tensor::from_slice(&normalizer.min_xyz), Tensor::from_slice(&normalizer.range()));
    let mut all = tensors(&loaded.params, "");
    all.push(("hits_normalizer.lowest".into(), lowest.shallow_clone(), true));
    all.push(("hits_normalizer.range".into(), range.shallow_clone(), true));
    let network = Rc::new(Published { loaded, lowest, range });

    let (recorded, compared) = (Rc::clone(&network), Rc::clone(&network));
    let pass: Pass = Box::new(move |inputs| Ok(recorded.forward(&inputs[0], &inputs[1])));
    let predicted: Pass = Box::new(move |inputs| {
        let outputs = compared.loaded.network.forward(&compared.on_host(&inputs[0])?, &inputs[1]);
        Ok(compared.regions(&outputs))
    });
    let example = move |sizes: &[i64], seed: u64| {
        let mut rng = rng_for(seed, "export lengths", 0);
        let lengths: Vec<i64> = (0..sizes[0]).map(|_| rng.random_range(1..=sizes[1])).collect();
        Ok(vec![tracks(sizes[0], sizes[1], &normalizer, seed), Tensor::from_slice(&lengths)])
    };
    let forward = Method {
        name: "forward",
        inputs: vec![
            Port::new("hits", "f32", "[tracks, hits, 3]", "positions along each track from the inside out, mm; padded"),
            Port::new("lengths", "i64", "[tracks]", "hits of each track; what stands behind them is not read"),
        ],
        outputs: regions("[tracks, hits, 3]"),
        sizes: vec![Size { name: "tracks", ..Size::batch() }, Size::new("hits", 0, 1, [4, 6, 9], [1, 5, 12])],
        example: Box::new(example),
        pass,
        predicted,
        closeness: Closeness::Relative(CLOSE),
    };

    let (recorded, compared) = (Rc::clone(&network), network);
    let pass: Pass = Box::new(move |inputs| Ok(recorded.step(&inputs[0], &inputs[1])));
    let predicted: Pass = Box::new(move |inputs| {
        let next = compared.loaded.network.step(&compared.on_host(&inputs[0])?, &inputs[1]);
        let mut all = compared.regions(&compared.loaded.network.heads(&next.get(LAYERS - 1)));
        all.push(next);
        Ok(all)
    });
    let example = move |sizes: &[i64], seed: u64| {
        let mut rng = rng_for(seed, "export state", 0);
        let state: Vec<f32> = (0..LAYERS * sizes[0] * hidden).map(|_| rng.random_range(-1.0..1.0)).collect();
        let hits = tracks(sizes[0], 1, &normalizer, seed).squeeze_dim(1);
        Ok(vec![hits, Tensor::from_slice(&state).view([LAYERS, sizes[0], hidden])])
    };
    let step = Method {
        name: "step",
        inputs: vec![
            Port::new("hits", "f32", "[tracks, 3]", "the next hit of each track, mm"),
            Port::new("state", "f32", "[2, tracks, hidden]", "what `step` gave before; zeros to begin with"),
        ],
        outputs: [regions("[tracks, 3]"), vec![Port::new("state", "f32", "[2, tracks, hidden]", "for the next step")]]
            .concat(),
        sizes: vec![Size { name: "tracks", ..Size::batch() }],
        example: Box::new(example),
        pass,
        predicted,
        closeness: Closeness::Relative(CLOSE),
    };
    let methods = vec![forward, step];
    Ok(Module { name: "StepAheadTrackNET".into(), tensors: all, methods, about, precision: source.precision })
}

fn of_tracker(loaded: tracker::Loaded, mut about: Map<String, Value>, source: &Source) -> Module<'static> {
    about.insert("conditions".into(), json!(loaded.conditions));
    let all = tensors(&loaded.params, "");
    let network = Rc::new(loaded.network);
    let hidden = network.start(1).size()[1];
    about.insert("state".into(), json!({ "shape": ["tracks", hidden], "start": 0.0 }));
    let pass = |network: &Rc<crate::tracker::network::TrackerNet>| -> Pass<'static> {
        let network = Rc::clone(network);
        Box::new(move |inputs| Ok(vec![network.forward(&inputs[0])]))
    };
    let step = |network: &Rc<crate::tracker::network::TrackerNet>| -> Pass<'static> {
        let network = Rc::clone(network);
        Box::new(move |inputs| {
            let next = network.step(&inputs[0], &inputs[1]);
            Ok(vec![network.head(&next), next])
        })
    };
    let drawn = |shape: &[i64], seed: u64, name: &str| {
        let mut rng = rng_for(seed, name, 0);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-2.0..2.0)).collect();
        Tensor::from_slice(&values).view(shape)
    };
    let tracks = || Size { name: "tracks", ..Size::batch() };
    let residual = "residual of the next hit in expected widths: means of u and v, logarithms of their widths";
    let forward = Method {
        name: "forward",
        inputs: vec![Port::new("features", "f32", "[tracks, hits, 14]", "what is known of a track after each hit")],
        outputs: vec![Port::new("residual", "f32", "[tracks, hits, 4]", residual)],
        sizes: vec![tracks(), Size::new("hits", 0, 1, [4, 6, 9], [1, 5, 12])],
        example: Box::new(move |sizes, seed| Ok(vec![drawn(&[sizes[0], sizes[1], FEATURES as i64], seed, "features")])),
        pass: pass(&network),
        predicted: pass(&network),
        closeness: Closeness::Relative(CLOSE),
    };
    let one = Method {
        name: "step",
        inputs: vec![
            Port::new("features", "f32", "[tracks, 14]", "what is known of each track after its last hit"),
            Port::new("state", "f32", "[tracks, hidden]", "what `step` gave before; zeros to begin with"),
        ],
        outputs: vec![
            Port::new("residual", "f32", "[tracks, 4]", residual),
            Port::new("state", "f32", "[tracks, hidden]", "for the next step"),
        ],
        sizes: vec![tracks()],
        example: Box::new(move |sizes, seed| {
            Ok(vec![
                drawn(&[sizes[0], FEATURES as i64], seed, "features"),
                drawn(&[sizes[0], hidden], seed, "state") / 2.0,
            ])
        }),
        pass: step(&network),
        predicted: step(&network),
        closeness: Closeness::Relative(CLOSE),
    };
    let methods = vec![forward, one];
    Module { name: "TrackerNet".into(), tensors: all, methods, about, precision: source.precision }
}
