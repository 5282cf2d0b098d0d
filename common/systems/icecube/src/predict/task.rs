//! `predict icecube`: an ensemble of networks on test events, to tables of directions and a submission.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::directions::Truth;
use crate::directions::calibration::Calibration;
use common::config::{self, Resolved};
use common::driver::{Ending, Help, Request, Task};
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use neural::loader::Order;
use neural::stages::{self, PredictFlags};
use tch::Device;

use super::config::Set;
use super::{About, Ensemble, Member, MemberConfig, PredictConfig, Table, predict};
use crate::NAME;
use crate::dataset::{EventSource, Events, Lengths};
use crate::import;
use crate::picture::{Known, Pictures, True};
use crate::sampler;
use crate::submission::{Sample, write_submission};
use crate::targets::Extra;
use crate::train::{Visits, demand_frame};

/// Events of a picture at most.
const MOST_DRAWN: usize = 200;

/// A prediction about to run.
pub struct Predict {
    config: PredictConfig,
    ensemble: Ensemble,
    weights: Vec<PathBuf>,
    visits: Visits,
    events: Arc<Events>,
    sample: Option<Sample>,
    calibration: Option<(PathBuf, Calibration)>,
    upstream: Vec<Manifest>,
    prepared: PathBuf,
    device: Device,
    limited: bool,
}

impl Task for Predict {
    const SYSTEM: &'static str = NAME;
    const STAGE: &'static str = "predict";
    const HELP: Help = Help {
        limit: "the first N test events",
        flags: &[
            ("--weights", "the folder in which the config's weights lie, or one file"),
            (
                "--set",
                "`test` (the default), or `train`: all training and validation files, which a filter by kappa asks for",
            ),
            ("--batch-size", "32 events unless the config says otherwise"),
            ("--picture", "the events from this one on, in the order of their ids; left out: no picture"),
        ],
        examples: "  \
  The five published IceCube networks, and one that was trained:
    predict configs/icecube/ensemble.yaml --weights ice-cube-final-models \\
      --data data --sample raw/sample_submission.parquet --out submission
    predict --from runs/b64 --out submissions/b64",
        ..Help::NONE
    };
    const READS: &'static [&'static str] = &["--sample", "--set", "--picture", "--batch-size", "--precision"];
    const SMOKE_LIMIT: u64 = 8;
    type Flags = PredictFlags;
    type Config = PredictConfig;

    fn config(request: &Request<PredictFlags>) -> Result<Resolved<PredictConfig>> {
        let overrides = request.all_overrides::<Self>()?;
        match (request.config, request.before()?) {
            (Some(file), _) => config::load(Some(file), &overrides),
            (None, Some(stage)) => of_stage(&stage.find("train-model")?, &overrides),
            (None, None) if !request.flags.weights.is_empty() => of_weights(&request.flags.weights, &overrides),
            (None, None) => {
                let example =
                    "for example `--from runs/b64`, or `configs/icecube/ensemble.yaml --weights FOLDER --data FOLDER`";
                Err(Error::usage("a config or `--from` is missing: which networks predict").hint(example))
            }
        }
    }

    fn plan(request: &Request<PredictFlags>, config: Resolved<PredictConfig>) -> Result<Self> {
        let config = config.value;
        let device = stages::compute(request)?;
        let before = request.before()?;
        let prepared = stages::data_of(request.flags.data.as_deref(), before, Self::SYSTEM)?;
        let events = match config.set {
            Set::Train => Events::training(&prepared, &[], Lengths::Total)?,
            Set::Test => Events::test(&prepared)?,
        };
        let (mut members, mut weights) = (vec![], vec![]);
        for member in &config.members {
            let path = place(&request.flags.weights, &member.weights, config.members.len())?;
            demand_frame(&path, &events.sensors().frame)?;
            let model = match &member.model {
                Some(model) => model.clone(),
                None => About::read(&path)?.model,
            };
            import::warn_of_other_input(&path, &config.input);
            members.push(Member::load(&member.name, member.weight, &model, &path, device)?);
            weights.push(path);
        }
        let mut ensemble = Ensemble::new(members, config.precision)?;
        ensemble.frame = events.sensors().frame.clone();
        let order = sampler::evaluation(&events, config.input.length, config.batch_size)?;
        let order = match request.limit {
            Some(most) if most < order.len() => Order::given(vec![order.epoch(0)?.rows(0, most)])?,
            _ => order,
        };
        if let Some(first) = config.picture.filter(|first| *first >= order.len()) {
            let problem = format!(
                "`picture` is {first}, there are {} events: 0 to {}",
                order.len(),
                order.len().saturating_sub(1)
            );
            return Err(Error::usage(problem).hint("name one of them: `--picture N`"));
        }
        let events = Arc::new(events);
        let source = Arc::new(EventSource::new(Arc::clone(&events), config.input.clone(), config.seed));
        let visits = Visits { source, order: Arc::new(order), batch: config.batch_size };
        let sample = match (&request.flags.sample, config.set) {
            (Some(file), _) => Some(Sample::read(file)?),
            (None, Set::Test) => Sample::of_stage(&prepared)?,
            (None, Set::Train) => None,
        };
        let calibration = match &config.calibration {
            Some(path) => Some((Calibration::file(path)?, Calibration::read(path, &config.member)?)),
            None => None,
        };
        for member in config.members.iter().filter(|member| member.weight == 0.0) {
            tracing::warn!("`{}` has weight 0: it is computed, and adds nothing to the ensemble", member.name);
        }
        let folder = prepared.folder.clone();
        let upstream = before.cloned().into_iter().chain([prepared]).collect();
        let limited = request.limit.is_some();
        Ok(Self {
            config,
            ensemble,
            weights,
            visits,
            events,
            sample,
            calibration,
            upstream,
            prepared: folder,
            device,
            limited,
        })
    }

    fn describe(&self) -> Vec<String> {
        let (config, events) = (&self.config, self.visits.order.len());
        vec![format!("{}: {} network(s), {events} events", config.member, config.members.len())]
    }

    fn upstream<'a>(&'a self, _: Option<&'a Manifest>) -> Vec<&'a Manifest> {
        self.upstream.iter().collect()
    }

    fn inputs(&self) -> Vec<(String, PathBuf)> {
        let names = self.config.members.iter().map(|member| format!("weights/{}", member.name));
        let named = self.sample.iter().filter(|sample| !sample.stored);
        let sample = named.map(|sample| ("sample".to_string(), sample.path.clone()));
        let calibration = self.calibration.iter().map(|(path, _)| ("calibration".to_string(), path.clone()));
        names.zip(self.weights.iter().cloned()).chain(sample).chain(calibration).collect()
    }

    fn run(mut self, stage: &mut Stage) -> Result<Ending> {
        let mut predicted = predict(&mut self.ensemble, &self.visits, self.device, &self.prepared)?;
        if let Some((_, calibration)) = self.calibration {
            predicted.blend.calibration = calibration;
        }
        let folder = stage.folder().to_path_buf();
        stage.output("predictions", &predicted.blend.write(&folder.join("predictions.parquet"))?);
        if self.config.tables && !predicted.members.is_empty() {
            common::durable::create_folder(folder.join("members"))?;
            for (name, table) in &predicted.members {
                let written = table.write(&folder.join(format!("members/{name}.parquet")))?;
                stage.output(&format!("members/{name}"), &written);
            }
        }
        if let Some(first) = self.config.picture {
            self.draw(&predicted.blend, first, stage)?;
        }
        let ids = match self.sample.take() {
            Some(sample) => sample.rows(&predicted.blend.ids, self.limited)?,
            None => predicted.blend.ids.clone(),
        };
        let (submission, joined) =
            write_submission((&predicted.blend.ids, &predicted.blend.vectors), &ids, &folder.join("submission.csv"))?;
        stage.output("submission", &submission);
        if joined.missing > 0 {
            tracing::warn!("{} events of the sample have no prediction: they get 0.0, 0.0", joined.missing);
        }
        if joined.surplus > 0 && !self.limited {
            tracing::warn!("{} predicted events are not in the sample and left out of the submission", joined.surplus);
        }
        stage.metric("member", self.config.member.clone());
        stage.metric("events", predicted.blend.ids.len());
        stage.metric("rows", ids.len());
        stage.metric("missing", joined.missing);
        let names: Vec<String> = self.ensemble.names().map(String::from).collect();
        for (name, bad) in names.iter().zip(&self.ensemble.not_finite) {
            stage.metric(&format!("not_finite/{name}"), *bad);
        }
        Ok(Ending::Finished)
    }
}

impl Predict {
    /// Draws the events from `first` on, by id, as many as a page holds.
    fn draw(&self, table: &Table, first: u64, stage: &mut Stage) -> Result<()> {
        let wanted = &table.ids[usize::try_from(first).unwrap_or(usize::MAX).min(table.ids.len())..];
        let wanted = &wanted[..wanted.len().min(MOST_DRAWN)];
        let mut places: HashMap<i64, u64> = HashMap::new();
        for place in 0..self.events.len() {
            let id = self.events.event(place)?.id;
            if wanted.binary_search(&id).is_ok() {
                places.insert(id, place);
            }
        }
        let truths = self.truth(wanted, stage)?;
        let mut pictures = Pictures::new(self.events.sensors(), table.calibration);
        let mut drawn = 0;
        for (row, id) in wanted.iter().enumerate() {
            let Some(&place) = places.get(id).filter(|_| pictures.takes()) else { break };
            let event = self.events.event(place)?;
            let truth = event.direction.map(|direction| stored(direction, event.extra));
            let truth = truth.or_else(|| truths.get(id).cloned());
            pictures.add(event.pulses, &Known { id: *id, vector: table.vectors[first as usize + row], truth });
            drawn += 1;
        }
        let all = table.ids.len();
        let what = format!("{}: events {first} to {} of {all} by id", self.config.member, first + drawn - 1);
        let (page, still) = pictures.write(stage.folder(), &what)?;
        stage.output("picture", &page);
        stage.output("picture.svg", &still);
        Ok(())
    }

    /// The truth of events whose store does not know it: of simulated ones, where their table still lies there.
    fn truth(&self, wanted: &[i64], stage: &mut Stage) -> Result<HashMap<i64, True>> {
        let mut known = HashMap::new();
        if self.events.directed() {
            return Ok(known);
        }
        let prepared = self.upstream.iter().find(|manifest| manifest.folder == self.prepared);
        let simulated = match prepared.map(|manifest| manifest.find_if_any("simulate-data")) {
            Some(Ok(Some(simulated))) => simulated,
            Some(Err(error)) => {
                tracing::warn!("no true directions are drawn: {error}");
                return Ok(known);
            }
            _ => return Ok(known),
        };
        let truth = Truth::of_stage(&simulated)?;
        truth.each(|event| {
            if wanted.binary_search(&event.id).is_ok() {
                let kind = event.kind.map(str::to_owned);
                known.insert(event.id, True { direction: event.direction, kind, energy: event.energy });
            }
            Ok(())
        })?;
        for file in truth.files() {
            stage.input("truth", &file)?;
        }
        Ok(known)
    }
}

/// The truth as the store of prepared events knows it.
fn stored(direction: [f64; 2], extra: Option<Extra>) -> True {
    let kind = match extra.map(|extra| extra[4]) {
        Some(1.0) => Some("track".to_owned()),
        Some(0.0) => Some("cascade".to_owned()),
        _ => None,
    };
    True { direction, kind, energy: extra.map_or(f64::NAN, |extra| f64::from(extra[0])) }
}

/// The config of a single network that a stage trained: events are read as its validation read them.
fn of_stage(trained: &Manifest, overrides: &[String]) -> Result<Resolved<PredictConfig>> {
    let file = trained.output("model")?;
    let about = About::read(&file)?;
    let member = MemberConfig { name: about.member.clone(), weights: file, weight: 1.0, model: None };
    let text = serde_json::json!({
        "system": NAME, "member": about.member, "input": about.input, "members": [member],
    });
    config::load_text(&trained.folder, &format!("{text:#}\n"), overrides)
}

/// The config of weights files that say themselves which networks they hold.
fn of_weights(given: &[PathBuf], overrides: &[String]) -> Result<Resolved<PredictConfig>> {
    let files = given.iter().map(|path| stages::weights_of(path)).collect::<Result<Vec<_>>>()?;
    let text = PredictConfig::of_weights(&files)?;
    config::load_text(&files[0], &format!("{text:#}\n"), overrides)
}

/// Where the weights of a member lie: below the folder of `--weights`, or that file itself, or as the config says.
fn place(given: &[PathBuf], named: &Path, members: usize) -> Result<PathBuf> {
    let path = match given {
        [] => named.to_path_buf(),
        // The config was made of these files.
        files if files.iter().any(|file| file == named) => named.to_path_buf(),
        [folder] if folder.is_dir() && !folder.join(common::stage::MANIFEST).is_file() => folder.join(named),
        [file] if members == 1 => file.clone(),
        [file] => {
            return Err(Error::usage(format!(
                "`--weights {}` is one file, the config has {members} members",
                file.display()
            ))
            .hint("name the folder in which the weights of all members lie"));
        }
        files => {
            return Err(Error::usage(format!(
                "`--weights` gives {} files, expected the folder of the members",
                files.len()
            )));
        }
    };
    let file = stages::weights_of(&path)?;
    if !file.is_file() {
        return Err(Error::usage(format!("there is no weights file `{}`", file.display()))
            .hint("name the folder that holds the weights of all members with `--weights FOLDER`"));
    }
    Ok(file)
}
