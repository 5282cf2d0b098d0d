//! IceCube's networks as TorchScript: from padded pulses in metres, nanoseconds and photo-electrons to the unit vector of a
//! direction and its concentration kappa. An ensemble is one module, with its members' weights.

mod events;

use std::path::PathBuf;
use std::rc::Rc;

use common::config;
use common::durable::hash_file;
use common::stage::Manifest;
use common::{Error, Result};
use neural::export::{Closeness, Method, Module, Pass, Port, Size, Source, tensors};
use neural::weights;
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use crate::NAME;
use crate::batch::Batch;
use crate::dataset::{InputConfig, PulseCount};
use crate::detector::Frame;
use crate::losses::as_vectors;
use crate::models::ModelConfig;
use crate::models::encoder::Feature;
use crate::predict::{About, Ensemble, Member, PredictConfig};
use crate::sensors::Sensors;
use events::Pulses;

/// The largest angle from what `predict` gives, rad.
const CLOSE: f64 = 1e-4;
/// Components of a vector beyond this are cut, as in `predict`.
const MOST: f64 = 1000.0;

/// The module of a training, of a prediction with its ensemble, or of a weights file.
///
/// # Errors
/// Where there is no such network, or its weights do not fit.
pub fn module(source: &Source) -> Result<Module<'static>> {
    if !source.members.is_empty() {
        return Err(Error::usage("blends of directions are not written as they are").hint(
            "name the networks and their weights in a config of `predict`, and give the folder of that prediction",
        ));
    }
    let found = Found::of(source)?;
    let mut all = vec![];
    for (i, (_, member)) in found.files.iter().zip(found.ensemble.members()).enumerate() {
        let prefix = if found.files.len() == 1 { "network.".to_string() } else { format!("members.{i}.") };
        all.extend(tensors(member.params(), &prefix));
    }
    let around = Around::new(&found)?;
    all.extend(around.tensors());
    let about = about(&found)?;
    let pulses = Rc::new(Pulses::behind(found.prepared.as_ref(), &found.frame)?);
    let most = found.most;
    let whole = Rc::new(Whole { found, around });

    let mut inputs = vec![
        Port::new("position", "f32 or f64", "[events, pulses, 3]", "position of the sensor of each pulse, m; padded"),
        Port::new("time", "f32 or f64", "[events, pulses]", "time of each pulse, ns"),
        Port::new("charge", "f32 or f64", "[events, pulses]", "charge of each pulse, photo-electrons, above 0"),
        Port::new("auxiliary", "i64 or bool", "[events, pulses]", "1 where no neighbour saw light too"),
        Port::new("mask", "bool", "[events, pulses]", "true where there is a pulse; what stands elsewhere is not read"),
        Port::new("count", "i64", "[events]", "pulses of the whole event, before any were left out"),
    ];
    if whole.around.tables.is_some() {
        inputs.push(Port::new("sensor", "i64", "[events, pulses]", "number of the sensor of each pulse"));
    }
    let outputs = vec![
        Port::new("direction", "f32", "[events, 3]", "unit vector of the direction, as `predict` writes x, y, z"),
        Port::new("kappa", "f32", "[events]", "concentration, as `predict` writes it without calibration"),
    ];
    let (sensors, recorded, compared) = (whole.around.tables.is_some(), Rc::clone(&whole), whole);
    let example = move |sizes: &[i64], seed: u64| pulses.draw(sizes[0], sizes[1], seed, sensors);
    let pass: Pass = Box::new(move |inputs| recorded.pass(inputs));
    let predicted: Pass = Box::new(move |inputs| compared.predicted(inputs));
    let longest = |n: i64| most.map_or(n, |most| n.min(most));
    let method = Method {
        name: "forward",
        inputs,
        outputs,
        sizes: vec![
            Size { name: "events", ..Size::batch() },
            Size::new("pulses", 0, 1, [5, 7, 11].map(longest), [23, 64, 12].map(longest)),
        ],
        example: Box::new(example),
        pass,
        predicted,
        closeness: Closeness::Angle(CLOSE),
    };
    let name = if name_is_plain(&about) { about["member"].as_str().unwrap_or(NAME).to_string() } else { NAME.into() };
    Ok(Module { name, tensors: all, methods: vec![method], about, precision: source.precision })
}

fn name_is_plain(about: &Map<String, Value>) -> bool {
    about["member"].as_str().is_some_and(|name| !name.is_empty())
}

/// The networks that are written, and how their events are read.
struct Found {
    ensemble: Ensemble,
    files: Vec<PathBuf>,
    member: String,
    input: InputConfig,
    frame: Frame,
    prepared: Option<Manifest>,
    models: Vec<ModelConfig>,
    run: Value,
    /// Pulses of an event at most, where a network has a limit.
    most: Option<i64>,
}

impl Found {
    fn of(source: &Source) -> Result<Self> {
        let (config, stage) = match (&source.stage, source.files.as_slice()) {
            (Some(stage), _) if stage.stage == "predict" => {
                let path = stage.output("config")?;
                let mut config = config::load::<PredictConfig>(Some(path.as_path()), &[])?.value;
                let inputs = stage.all_inputs()?;
                for member in &mut config.members {
                    if let Some(found) = inputs.get(&format!("weights/{}", member.name)) {
                        member.weights.clone_from(&found.path);
                        stage.demand_unchanged(&inputs, &found.path)?;
                    }
                }
                (config, Some(stage.clone()))
            }
            (Some(stage), _) => {
                let trained = stage.find("train-model")?;
                (of_files(&[trained.output("model")?])?, Some(trained))
            }
            (None, files) => (of_files(files)?, None),
        };
        let mut files = vec![];
        let (mut members, mut models, mut frame) = (vec![], vec![], None);
        for member in &config.members {
            let model = match &member.model {
                Some(model) => model.clone(),
                None => About::read(&member.weights)?.model,
            };
            members.push(Member::load(&member.name, member.weight, &model, &member.weights, tch::Device::Cpu)?);
            models.push(model);
            frame = frame.or(frame_of(&member.weights)?);
            files.push(member.weights.clone());
        }
        let prepared = stage.as_ref().map(|stage| stage.find_if_any("prepare-data")).transpose()?.flatten();
        let run = stage.as_ref().map_or(Value::Null, |stage| {
            json!({ "stage": stage.stage, "config": stage.config_hash, "seed": stage.seed, "identity": stage.identity() })
        });
        let most = models.iter().filter_map(ModelConfig::limit).min();
        Ok(Self {
            ensemble: Ensemble::new(members, neural::precision::Precision::F32)?,
            files,
            member: config.member,
            input: config.input,
            frame: frame.unwrap_or_default(),
            prepared,
            models,
            run,
            most,
        })
    }
}

fn of_files(files: &[PathBuf]) -> Result<PredictConfig> {
    let Some(first) = files.first() else { return Err(Error::usage("no weights file is named")) };
    let text = PredictConfig::of_weights(files)?;
    Ok(config::load_text::<PredictConfig>(first, &format!("{text:#}\n"), &[])?.value)
}

fn frame_of(file: &std::path::Path) -> Result<Option<Frame>> {
    if file.extension().is_none_or(|e| e != "safetensors") {
        return Ok(None);
    }
    let Some(frame) = weights::metadata(file)?.and_then(|about| about.get("frame").cloned()) else { return Ok(None) };
    let bad = |e: serde_json::Error| Error::input(file, format!("describes no detector of this version: {e}"));
    serde_json::from_value(frame).map(Some).map_err(bad)
}

/// Whether a network reads more of a sensor than its position.
fn reads_sensors(model: &ModelConfig) -> bool {
    match model {
        ModelConfig::DeepIce(_) => false,
        ModelConfig::V22(_) | ModelConfig::V23(_) => true,
        ModelConfig::Encoder(c) => {
            let of_sensors = [Feature::Qe, Feature::Scattering, Feature::Absorption, Feature::Globals];
            c.sensor_embedding > 0 || c.graph.is_some() || c.features.iter().any(|f| of_sensors.contains(f))
        }
    }
}

/// What surrounds the networks, as tensors of the module.
struct Around {
    centre: Tensor,
    /// Efficiency i64 `[S]` and ice properties `[S, 2]` of each sensor, where they are read.
    tables: Option<(Tensor, Tensor)>,
}

impl Around {
    fn new(found: &Found) -> Result<Self> {
        let tables = if found.models.iter().any(reads_sensors) {
            let prepared = found.prepared.as_ref().ok_or_else(|| {
                Error::usage("this network reads what is known of each sensor, which only prepared data say")
                    .hint("give the folder of its training or of a prediction instead of its weights file")
            })?;
            let sensors = Sensors::open(&prepared.output("sensors")?)?;
            let efficiency: Vec<i64> = sensors.efficiency.iter().map(|&e| i64::from(e)).collect();
            let ice = sensors.ice(found.input.ice).concat();
            Some((Tensor::from_slice(&efficiency), Tensor::from_slice(&ice).view([-1, 2])))
        } else {
            None
        };
        Ok(Self { centre: Tensor::from_slice(&found.frame.centre_m), tables })
    }

    fn tensors(&self) -> Vec<(String, Tensor, bool)> {
        let mut all = vec![("detector.centre_m".to_string(), self.centre.shallow_clone(), true)];
        if let Some((efficiency, ice)) = &self.tables {
            all.push(("detector.efficiency".into(), efficiency.shallow_clone(), true));
            all.push(("detector.ice".into(), ice.shallow_clone(), true));
        }
        all
    }
}

/// Networks and what surrounds them.
struct Whole {
    found: Found,
    around: Around,
}

impl Whole {
    /// The batch that networks read, in operations of the library.
    fn batch(&self, inputs: &[Tensor]) -> Batch {
        let frame = &self.found.frame;
        let [position, time, charge, auxiliary, mask, count] = [0, 1, 2, 3, 4, 5].map(|i| inputs[i].shallow_clone());
        let absent = mask.logical_not();
        let pos = (position.to_kind(Kind::Double) - &self.around.centre).to_kind(Kind::Float) / frame.scale_m;
        let mut time = time.to_kind(Kind::Double);
        if frame.time.from_first {
            time = &time - time.masked_fill(&absent, f64::INFINITY).amin([1_i64].as_slice(), true);
        }
        let time = ((time - frame.time.shift_ns) / frame.time.scale_ns).to_kind(Kind::Float);
        let charge = charge.to_kind(Kind::Double).masked_fill(&absent, 1.0).log10() / 3.0;
        let whole = |t: &Tensor| t.to_kind(Kind::Int64).masked_fill(&absent, 0);
        let (b, l) = (mask.size()[0], mask.size()[1]);
        let (qe, ice_properties, sensor_id) = match &self.around.tables {
            Some((efficiency, ice)) => {
                let sensor = whole(&inputs[6]);
                let flat = sensor.flatten(0, 1);
                let qe = whole(&efficiency.index_select(0, &flat).view([b, l]));
                let ice = ice.index_select(0, &flat).view([b, l, 2]);
                (qe, ice.masked_fill(&absent.unsqueeze(-1), 0.0), sensor)
            }
            None => {
                let zeros = whole(&auxiliary).zeros_like();
                let nothing = pos.narrow(2, 0, 2).zeros_like();
                (zeros.shallow_clone(), nothing, zeros)
            }
        };
        let kept = mask.sum_dim_intlist([1_i64].as_slice(), false, Kind::Int64);
        let pulses = if self.found.input.pulse_count == PulseCount::Kept { kept } else { count.to_kind(Kind::Int64) };
        Batch {
            pos: pos.masked_fill(&absent.unsqueeze(-1), 0.0),
            time: time.masked_fill(&absent, 0.0),
            charge: charge.to_kind(Kind::Float),
            auxiliary: whole(&auxiliary),
            qe,
            ice_properties,
            mask,
            sensor_id,
            event_id: pulses.shallow_clone(),
            pulses,
            target: None,
            extra: None,
        }
    }

    fn pass(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let batch = self.batch(inputs);
        let mut sum: Option<Tensor> = None;
        for (member, share) in self.found.ensemble.members().iter().zip(self.found.ensemble.shares()) {
            let vectors = as_vectors(&member.network().forward(&batch, false)?.to_kind(Kind::Float));
            let vectors = vectors.nan_to_num(0.0, None, None).clamp(-MOST, MOST) * f64::from(share);
            sum = Some(sum.map_or_else(|| vectors.shallow_clone(), |sum| sum + &vectors));
        }
        sum.map(|vectors| directions(&vectors)).ok_or_else(|| Error::failed("an ensemble without members"))
    }

    /// What `predict` makes of the same pulses: a batch that is scaled on the host, and cut to its longest event.
    fn predicted(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let batch = events::scaled(inputs, &self.found.frame, &self.found.input, self.around.tables.as_ref())?;
        let batch = Batch::from_tensors(&batch)?;
        Ok(directions(&self.found.ensemble.sum(&batch)?))
    }
}

/// Unit vectors in the usual convention and lengths of vectors inside `[B, 3]`.
fn directions(vectors: &Tensor) -> Vec<Tensor> {
    let length = vectors.square().sum_dim_intlist([1_i64].as_slice(), true, Kind::Float).sqrt();
    let unit = vectors / length.clamp_min(1e-30);
    let turned = Tensor::stack(&[unit.select(1, 1), unit.select(1, 0), unit.select(1, 2)], 1);
    vec![turned, length.squeeze_dim(1)]
}

fn about(found: &Found) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    all.insert("system".into(), json!(NAME));
    all.insert("member".into(), json!(found.member));
    let shares = found.ensemble.shares();
    let member = |((file, name), share): ((&PathBuf, &str), f32)| {
        Ok(json!({ "name": name, "share": share, "weights_blake3": hash_file(file)?.blake3 }))
    };
    let members = found.files.iter().zip(found.ensemble.names()).zip(shares).map(member).collect::<Result<Value>>()?;
    all.insert("members".into(), members);
    all.insert("run".into(), found.run.clone());
    all.insert("detector".into(), json!(found.frame));
    all.insert(
        "normalisation".into(),
        json!({
            "position": "(m - centre_m) / scale_m", "time": "(ns - shift_ns) / scale_ns",
            "charge": "log10(photo-electrons) / 3", "input": found.input,
            "longer_events": "are to be cut to `input.length` pulses before, by `input.rule`",
        }),
    );
    all.insert(
        "licence".into(),
        json!({
            "code": "MIT OR Apache-2.0",
            "weights": "those who trained them decide; the competition's data are under its rules",
        }),
    );
    Ok(all)
}
