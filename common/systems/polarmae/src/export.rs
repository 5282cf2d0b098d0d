//! PoLAr-MAE's networks as TorchScript: from a point cloud that is grouped outside (groups of points, centres, masks) to tokens,
//! and, where the network knows classes, to their probabilities for every point.
//!
//! Where groups can be searched inside ([`points`]), a further method begins with raw points.
//!
//! Events of a batch do not see one another: norms over a batch are taken event by event, as `predict` does.

mod points;

use std::path::Path;
use std::rc::Rc;

use common::durable::hash_file;
use common::seed::rng_for;
use common::{Error, Result};
use neural::export::{Closeness, Column, Method, Module, Pass, Port, Size, Source, tensors};
use neural::init::Init;
use neural::weights;
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

use crate::batch::{Batch, Draw};
use crate::grouping::{CHANNELS, GroupingConfig, Groups};
use crate::models::encoder::Encoder;
use crate::models::floats;
use crate::models::recorded::{Padded, classify, encode};
use crate::models::segmentation::PointBatch;
use crate::models::tokens::Grouped;
use crate::predict::{Learned, described};
use crate::train::{ModelConfig, Network, build};
use crate::transforms::Transform;
use points::Points;

/// The largest difference from `predict`: of a token in units of its length, of a class in units of its largest value.
const CLOSE: f64 = 1e-5;

/// The module of a training or of a weights file.
///
/// # Errors
/// Where there is no such network, or its weights do not fit.
pub fn module(source: &Source) -> Result<Module<'static>> {
    if !source.members.is_empty() {
        return Err(Error::usage("classes of points are not blended: PoLAr-MAE's networks are written one by one"));
    }
    let trained = source.stage.as_ref().map(|stage| stage.find("train-model")).transpose()?;
    let file = match (&trained, source.files.as_slice()) {
        (Some(trained), _) => trained.output("model")?,
        (None, [one]) => one.clone(),
        (None, files) => return Err(Error::usage(format!("{} weights files, expected one", files.len()))),
    };
    let known = described(&file)?;
    let built = build(&known.model, Device::Cpu, 0)?;
    weights::load(&built.params.state(), &file, &crate::import::allow())?;
    let all = tensors(&built.params, "");
    let grouping = match &known.model {
        ModelConfig::Mae(task) => task.network.encoder.tokenizer.clone(),
        ModelConfig::Segmentation(task) => task.network.encoder.tokenizer.clone(),
    };
    let learned = Learned::of(&file)?;
    let raw = Points::new(&grouping, &known.transforms, learned.data.as_ref().map(|data| data.energy));
    let mut about = about(&file, trained.as_ref(), &known.transforms, &grouping)?;
    if let Err(why) = &raw {
        about.insert("no_from_points".into(), json!(format!("{why} are not searched inside")));
    }
    let network = Rc::new(built.network);
    let mut methods = vec![];
    if let ModelConfig::Segmentation(task) = &known.model {
        let names = learned.class_names(task.network.num_classes);
        methods.push(classes(&network, &grouping, task.network.ghost_neighbors, &names));
        if let Ok(raw) = &raw {
            let before = Before { points: raw, transforms: &known.transforms, grouping: &grouping };
            methods.push(classes_of_points(&network, &before, task.network.ghost_neighbors, &names));
        }
    } else if let Ok(raw) = &raw {
        let before = Before { points: raw, transforms: &known.transforms, grouping: &grouping };
        methods.push(tokens_of_points(&network, &before));
    }
    let name = if methods.iter().any(|method| method.name == "forward") { "tokens" } else { "forward" };
    methods.push(of_tokens(name, &network, &grouping));
    let name = if known.member.is_empty() { crate::NAME.to_string() } else { known.member };
    Ok(Module { name, tensors: all, methods, about, precision: source.precision })
}

fn about(
    file: &Path,
    trained: Option<&common::stage::Manifest>,
    transforms: &[Transform],
    grouping: &GroupingConfig,
) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    all.insert("system".into(), json!(crate::NAME));
    all.insert("weights_blake3".into(), json!(hash_file(file)?.blake3));
    if let Some(trained) = trained {
        let run = json!({ "config": trained.config_hash, "seed": trained.seed, "identity": trained.identity() });
        all.insert("run".into(), run);
    }
    let says = weights::metadata(file)?.unwrap_or(Value::Null);
    all.insert("before".into(), json!({ "data": says["data"], "transforms": transforms, "grouping": grouping }));
    all.insert(
        "licence".into(),
        json!({ "code": "MIT OR Apache-2.0", "weights": "those who trained them decide; PILArNet-M is Apache-2.0" }),
    );
    Ok(all)
}

fn encoder(network: &Network) -> &Encoder {
    match network {
        Network::Mae(network) => &network.encoder,
        Network::Segmentation(network) => &network.encoder,
    }
}

fn group_ports() -> Vec<Port> {
    vec![
        Port::new(
            "groups",
            "f32",
            "[events, groups, slots, 4]",
            "points of each group: coordinates from its centre in radii, energy; padded",
        ),
        Port::new("centers", "f32", "[events, groups, 3 or 4]", "centre of each group, normalised coordinates"),
        Port::new("mask", "bool", "[events, groups, slots]", "slots that hold a point; a group without one is none"),
    ]
}

fn sizes() -> Vec<Size> {
    vec![Size { name: "events", ..Size::batch() }, Size::new("groups", 0, 1, [4, 6, 9], [6, 3, 12])]
}

/// Groups of events that fill their places, drawn.
fn groups(grouping: &GroupingConfig, events: i64, groups: i64, seed: u64) -> Result<Vec<Tensor>> {
    let (slots, width) = (grouping.slots as i64, if grouping.mean_centers { CHANNELS as i64 } else { 3 });
    let drawn = |shape: &[i64], name: &str| -> Result<Tensor> {
        let values = Init::Normal(0.5).draw(shape, &mut rng_for(seed, name, 0))?;
        Ok(Tensor::from_slice(&values).view(shape))
    };
    let share = |shape: &[i64], name: &str| -> Result<Tensor> { Ok(drawn(shape, name)?.abs().clamp_max(1.0)) };
    let features = drawn(&[events, groups, slots, CHANNELS as i64], "export groups")?;
    let centers = drawn(&[events, groups, width], "export centers")?;
    // At least one point in a group and one group in an event.
    let below = |most: i64, counts: Tensor| {
        Tensor::arange(most, (Kind::Int64, Device::Cpu)).lt_tensor(&counts.to_kind(Kind::Int64).unsqueeze(-1))
    };
    let points = below(slots, share(&[events, groups], "export points")? * (slots - 1) as f64 + 1.0);
    let there = below(groups, share(&[events], "export counts")? * (groups - 1) as f64 + 1.0);
    Ok(vec![features, centers, points.logical_and(&there.unsqueeze(-1))])
}

fn padded(inputs: &[Tensor]) -> Padded<'_> {
    Padded { features: &inputs[0], centers: &inputs[1], mask: &inputs[2] }
}

/// The groups of one event as the programs hold them.
fn groups_of(inputs: &[Tensor], event: i64) -> Result<Groups> {
    let (features, centers, mask) = (inputs[0].get(event), inputs[1].get(event), inputs[2].get(event));
    let counts = mask.sum_dim_intlist([1_i64].as_slice(), false, Kind::Int64);
    let there = counts.gt(0);
    let width = centers.size()[1];
    let counts: Vec<i64> =
        Vec::try_from(counts.masked_select(&there)).map_err(|e| Error::failed(format!("reading groups: {e}")))?;
    Ok(Groups {
        centers: floats(&centers.masked_select(&there.unsqueeze(1)).view([-1, width]))?,
        center_width: width as usize,
        counts: counts.iter().map(|&n| n as u32).collect(),
        features: floats(&features.masked_select(&mask.unsqueeze(2)).view([-1, CHANNELS as i64]))?,
        ..Groups::default()
    })
}

/// Rows `[R, C]` of an event at the first places of zeros `[places, C]`.
fn placed(rows: &Tensor, places: i64) -> Tensor {
    let missing = places - rows.size()[0];
    Tensor::cat(&[rows.shallow_clone(), rows.new_zeros([missing, rows.size()[1]], (rows.kind(), rows.device()))], 0)
}

fn of_tokens(name: &'static str, network: &Rc<Network>, grouping: &GroupingConfig) -> Method<'static> {
    let (recorded, compared, grouping) = (Rc::clone(network), Rc::clone(network), grouping.clone());
    let pass: Pass = Box::new(move |inputs| {
        let padded = padded(inputs);
        let last = encode(encoder(&recorded), &padded, &[])?.last.to_kind(Kind::Float);
        Ok(vec![last * padded.groups().unsqueeze(2).to_kind(Kind::Float)])
    });
    let predicted: Pass = Box::new(move |inputs| {
        let one = |event: i64| {
            let grouped = Grouped::new(&[groups_of(inputs, event)?], Device::Cpu)?;
            let tokens = encoder(&compared).forward(&grouped, false)?.to_kind(Kind::Float);
            Ok(placed(&tokens, inputs[0].size()[1]))
        };
        Ok(vec![Tensor::stack(&(0..inputs[0].size()[0]).map(one).collect::<Result<Vec<_>>>()?, 0)])
    });
    Method {
        name,
        inputs: group_ports(),
        outputs: vec![Port::new(
            "tokens",
            "f32",
            "[events, groups, width]",
            "embedding of each group; zero where there is none",
        )],
        sizes: sizes(),
        example: Box::new(move |sizes, seed| groups(&grouping, sizes[0], sizes[1], seed)),
        pass,
        predicted,
        closeness: Closeness::Length(CLOSE),
    }
}

fn classes(network: &Rc<Network>, grouping: &GroupingConfig, ghosts: bool, names: &[String]) -> Method<'static> {
    let (recorded, compared, grouping) = (Rc::clone(network), Rc::clone(network), grouping.clone());
    let none = || Error::failed("the network is no segmentation");
    let pass: Pass = Box::new(move |inputs| {
        let Network::Segmentation(network) = &*recorded else { return Err(none()) };
        let (points, there) = (&inputs[3], inputs[4].unsqueeze(2).to_kind(Kind::Float));
        Ok(vec![classify(network, &padded(inputs), points)?.softmax(-1, Kind::Float) * there])
    });
    let predicted: Pass = Box::new(move |inputs| {
        let Network::Segmentation(network) = &*compared else { return Err(none()) };
        let one = |event: i64| {
            let groups = [groups_of(inputs, event)?];
            let there = inputs[4].get(event).unsqueeze(1);
            let rows = floats(&inputs[3].get(event).masked_select(&there))?;
            let points = PointBatch::new(&[rows.as_slice()], &groups, ghosts, Device::Cpu);
            let logits = network.forward(&Grouped::new(&groups, Device::Cpu)?, &points, false, false)?;
            Ok(placed(&logits.softmax(-1, Kind::Float), inputs[3].size()[1]))
        };
        Ok(vec![Tensor::stack(&(0..inputs[0].size()[0]).map(one).collect::<Result<Vec<_>>>()?, 0)])
    });
    let example = move |sizes: &[i64], seed: u64| {
        let mut all = groups(&grouping, sizes[0], sizes[1], seed)?;
        let shape = [sizes[0], sizes[2], CHANNELS as i64];
        let values = Init::Normal(0.5).draw(&shape, &mut rng_for(seed, "export cloud", 0))?;
        all.push(Tensor::from_slice(&values).view(shape));
        let counts = Init::Normal(0.5).draw(&[sizes[0]], &mut rng_for(seed, "export sizes", 0))?;
        let counts = Tensor::from_slice(&counts).abs().clamp_max(1.0) * (sizes[2] - 1) as f64 + 1.0;
        let places = Tensor::arange(sizes[2], (Kind::Int64, Device::Cpu));
        all.push(places.lt_tensor(&counts.to_kind(Kind::Int64).unsqueeze(-1)));
        Ok(all)
    };
    let mut inputs = group_ports();
    inputs.push(Port::new(
        "points",
        "f32",
        "[events, points, 4]",
        "points of each event: normalised coordinates, energy",
    ));
    inputs.push(Port::new("point_mask", "bool", "[events, points]", "true where there is a point"));
    Method {
        name: "forward",
        inputs,
        outputs: vec![probabilities(names)],
        sizes: [sizes(), vec![Size::new("points", 3, 1, [7, 9, 12], [11, 40, 25])]].concat(),
        example: Box::new(example),
        pass,
        predicted,
        closeness: Closeness::Relative(CLOSE),
    }
}

/// What is done to raw points before a network sees them.
struct Before<'a> {
    points: &'a Points,
    transforms: &'a [Transform],
    grouping: &'a GroupingConfig,
}

impl Before<'_> {
    fn ports(&self) -> Vec<Port> {
        let about = match self.points.in_mev() {
            true => "points of each event: place in voxels, energy in MeV",
            false => "points of each event: place in voxels, energy on the network's scale",
        };
        vec![
            Port::new("points", "f32 or f64", "[events, points, 4]", about),
            Port::new("point_mask", "bool", "[events, points]", "true where there is a point"),
        ]
    }

    /// Points a few radii from one another.
    fn example(&self) -> neural::export::Example<'static> {
        let (points, radius) = (self.points.clone(), self.grouping.radius.unwrap_or(1.0));
        Box::new(move |sizes, seed| {
            let shape = [sizes[0], sizes[1], CHANNELS as i64];
            let values = Init::Normal(2.0 * radius).draw(&shape, &mut rng_for(seed, "export raw points", 0))?;
            let counts = Init::Normal(0.5).draw(&[sizes[0]], &mut rng_for(seed, "export sizes", 0))?;
            let counts = Tensor::from_slice(&counts).abs().clamp_max(1.0) * (sizes[1] - 1) as f64 + 1.0;
            let places = Tensor::arange(sizes[1], (Kind::Int64, Device::Cpu));
            let there = places.lt_tensor(&counts.to_kind(Kind::Int64).unsqueeze(-1));
            Ok(vec![points.raw(&Tensor::from_slice(&values).view(shape)), there])
        })
    }

    /// One event as `predict` makes it a batch.
    fn batches(&self) -> impl Fn(&[Tensor], i64) -> Result<Batch> + use<> {
        let (points, transforms, grouping) = (self.points.clone(), self.transforms.to_vec(), self.grouping.clone());
        move |inputs, event| {
            let there = inputs[1].get(event).unsqueeze(1);
            let rows = points.scaled(&floats(&inputs[0].get(event).masked_select(&there).to_kind(Kind::Float))?);
            let draw = Draw { seed: 0, step: 0, events: &[0] };
            Batch::new(vec![rows], &transforms, &grouping, draw, Device::Cpu)
        }
    }

    fn method(
        &self,
        outputs: Vec<Port>,
        closeness: Closeness,
        pass: Pass<'static>,
        predicted: Pass<'static>,
    ) -> Method<'static> {
        Method {
            name: "from_points",
            inputs: self.ports(),
            outputs,
            sizes: vec![Size { name: "events", ..Size::batch() }, Size::new("points", 0, 1, [7, 9, 12], [11, 40, 25])],
            example: self.example(),
            pass,
            predicted,
            closeness,
        }
    }
}

fn tokens_of_points(network: &Rc<Network>, before: &Before) -> Method<'static> {
    let (recorded, compared, points) = (Rc::clone(network), Rc::clone(network), before.points.clone());
    let (batch, room) = (before.batches(), points.room);
    let pass: Pass = Box::new(move |inputs| {
        let found = points.group(&inputs[0], &inputs[1])?;
        let padded = found.padded();
        let last = encode(encoder(&recorded), &padded, &[])?.last.to_kind(Kind::Float);
        let there = padded.groups().unsqueeze(2).to_kind(Kind::Float);
        Ok(vec![last * &there, &found.centers * there])
    });
    let predicted: Pass = Box::new(move |inputs| {
        let (mut tokens, mut centers) = (vec![], vec![]);
        for event in 0..inputs[0].size()[0] {
            let batch = batch(inputs, event)?;
            let own = encoder(&compared).forward(&batch.grouped, false)?.to_kind(Kind::Float);
            let width = batch.groups[0].center_width as i64;
            tokens.push(placed(&own, room));
            centers.push(placed(&Tensor::from_slice(&batch.groups[0].centers).view([-1, width]), room));
        }
        Ok(vec![Tensor::stack(&tokens, 0), Tensor::stack(&centers, 0)])
    });
    let outputs = vec![
        Port::new("tokens", "f32", "[events, room, width]", "embedding of each group; zero where there is none"),
        Port::new(
            "centers",
            "f32",
            "[events, room, 3 or 4]",
            "centre of each group, normalised coordinates; zero there",
        ),
    ];
    before.method(outputs, Closeness::Length(CLOSE), pass, predicted)
}

fn classes_of_points(network: &Rc<Network>, before: &Before, ghosts: bool, names: &[String]) -> Method<'static> {
    let (recorded, compared, points) = (Rc::clone(network), Rc::clone(network), before.points.clone());
    let batch = before.batches();
    let none = || Error::failed("the network is no segmentation");
    let pass: Pass = Box::new(move |inputs| {
        let Network::Segmentation(network) = &*recorded else { return Err(none()) };
        let found = points.group(&inputs[0], &inputs[1])?;
        let there = inputs[1].unsqueeze(2).to_kind(Kind::Float);
        Ok(vec![classify(network, &found.padded(), &found.points)?.softmax(-1, Kind::Float) * there])
    });
    let predicted: Pass = Box::new(move |inputs| {
        let Network::Segmentation(network) = &*compared else { return Err(none()) };
        let one = |event: i64| {
            let batch = batch(inputs, event)?;
            let points = batch.point_batch(ghosts, Device::Cpu);
            let logits = network.forward(&batch.grouped, &points, false, false)?;
            Ok(placed(&logits.softmax(-1, Kind::Float), inputs[0].size()[1]))
        };
        Ok(vec![Tensor::stack(&(0..inputs[0].size()[0]).map(one).collect::<Result<Vec<_>>>()?, 0)])
    });
    before.method(vec![probabilities(names)], Closeness::Relative(CLOSE), pass, predicted)
}

/// What a segmentation gives for each point.
fn probabilities(names: &[String]) -> Port {
    let columns = names.iter().map(|name| Column::new(name, "1")).collect();
    let about = "of each class; zero where there is no point";
    Port::new("probabilities", "f32", "[events, points, classes]", about).with_columns(columns)
}
