//! Learning rates, evaluation steps and row orders of the published LEAP runs.

use anyhow::{Context, Result, ensure};
use neural::replay::{self, NumpyRandom};
use neural::schedule::{CosineConfig, PlateauConfig, Schedule, ScheduleConfig, evaluation_steps};

use crate::checks::{Case, Comparison, equal_lists, said};

/// `schedules`: plateau rule, cosine of Joseph's runs, evaluation steps, orders of torch's sampler and loader.
pub fn schedules(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let mut all = Comparison::new();

    let runs = expected.names().filter_map(|name| name.strip_suffix(".lr_logged_before"));
    for run in runs.map(String::from).collect::<Vec<_>>() {
        let (before, after, ..) = plateau(&expected.f64s(&format!("{run}.scores"))?)?;
        all.values(&format!("{run}.lr_after"), &after, &expected.f64s(&format!("{run}.lr_after"))?, 1e-12);
        all.values(&format!("{run}.lr_before"), &before, &expected.f64s(&format!("{run}.lr_logged_before"))?, 1e-12);
    }
    let (_, after, best, bad) = plateau(&expected.f64s("plateau_quirk.scores")?)?;
    all.values("plateau_quirk.lr_after", &after, &expected.f64s("plateau_quirk.lr_after")?, 1e-12);
    all.values("plateau_quirk.best", &best, &expected.f64s("plateau_quirk.best")?, 0.0);
    all.add(equal_lists("plateau_quirk.bad", &bad, &expected.i64s("plateau_quirk.bad")?));

    let jo = |t_0, t_mult, eta_min| CosineConfig { t_0, t_mult, eta_min };
    for (run, cosine, base) in [
        ("cosine_907", jo(4, 1, 1e-6), vec![5e-4, 6e-4, 7e-4, 8e-4]),
        ("cosine_912", jo(3, 2, 1e-6), vec![6e-4, 4e-4, 8e-4]),
        ("cosine_912sep", jo(1, 1, 2e-7), vec![1.2e-4, 8e-5, 1.6e-4]),
    ] {
        let name = format!("{run}.lr_used");
        let rows = expected.shape(&name)?[0];
        // `[16 epochs x 7 steps, 4 groups]`: steps of an epoch; one number: those of the only one.
        let shape = case.value("expected")?[&name].as_str().unwrap_or_default();
        let steps = said(shape, " x").map_or(rows, |steps| steps as usize);
        all.values(&name, &rates_used(&cosine, &base, rows, steps)?, &expected.f64s(&name)?, 1e-12);
    }

    let examples = case.value("evaluation_steps")?.as_object().context("`evaluation_steps` is no map")?;
    for (key, steps) in examples {
        let (per_epoch, evaluations) = key.split_once(',').context("expected `STEPS,EVALUATIONS`")?;
        let found = evaluation_steps(per_epoch.trim().parse()?, evaluations.trim().parse()?);
        // As published, steps of 0 are in the list and never fire; ours has only those that do.
        let firing: Vec<u64> =
            steps.as_array().into_iter().flatten().filter_map(|s| s.as_u64()).filter(|s| *s > 0).collect();
        all.add(equal_lists(key, &found.iter().map(|&s| s as u64).collect::<Vec<_>>(), &firing));
    }

    let seed = said(case.value("expected")?["random_sampler.*"].as_str().unwrap_or("with 47"), "with")? as u64;
    for name in expected.names().filter(|name| name.starts_with("random_sampler.")) {
        let want = expected.i64s(name)?;
        let rows = said(name, "_n")? as usize;
        replay::manual_seed(seed)?;
        let got = if name.contains("loader_") { replay::loader_order(rows)? } else { replay::sampler_order(rows)? };
        let whole = if name.contains("_bs") { want.len().min(rows) } else { rows };
        all.add(equal_lists(name, &got[..whole], &want));
    }
    all.finish()
}

/// `fdzm-lr-curves`: the rate used by every step of every recipe.
pub fn lr_curves(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let steps = case.usize("steps_per_epoch")?;
    let tolerance = case.f64("tolerance.all")?;
    let recipes = case.value("recipes")?.as_object().context("`recipes` is no map")?;
    let mut all = Comparison::new();
    for name in recipes.keys() {
        let key = |part: &str| format!("recipes.{name}.{part}");
        let cosine = CosineConfig {
            t_0: u32::try_from(case.usize(&key("T_0"))?)?,
            t_mult: u32::try_from(case.usize(&key("T_mult"))?)?,
            eta_min: case.f64(&key("eta_min"))?,
        };
        let rows = case.usize(&key("epochs"))? * steps;
        let used = rates_used(&cosine, &case.f64s(&key("base"))?, rows, steps)?;
        all.values(name, &used, &expected.f64s(name)?, tolerance);
    }
    all.finish()
}

/// `fdzm-eval-steps`: a table of steps per epoch, evaluations, and the steps after which they run.
pub fn eval_steps(case: &Case) -> Result<()> {
    let table = case.text("table.csv")?;
    let mut all = Comparison::new();
    for line in table.lines().skip(1).filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(',').collect();
        let [per_epoch, evaluations, steps] = fields[..] else { anyhow::bail!("`{line}`: expected three fields") };
        let expected: Vec<usize> = steps.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let firing: Vec<usize> = expected.into_iter().filter(|&step| step > 0).collect();
        all.add(equal_lists(line, &evaluation_steps(per_epoch.parse()?, evaluations.parse()?), &firing));
    }
    all.finish()
}

/// `fdzm-sampler`: row orders of the shuffled loader, and of the shuffle inside every file.
pub fn sampler(case: &Case) -> Result<()> {
    let expected = case.tensors("expected.safetensors")?;
    let (rows, batch) = (case.usize("rows")?, case.usize("batch")?);
    let whole = rows / batch * batch;
    let mut all = Comparison::new();

    replay::manual_seed(case.usize("torch_seed")? as u64)?;
    let mut orders = Vec::new();
    for _ in 0..case.usize("epochs")? {
        orders.extend_from_slice(&replay::loader_order(rows)?[..whole]);
    }
    all.add(equal_lists("order", &orders, &expected.i64s("order")?));

    replay::manual_seed(case.usize("torch_seed")? as u64)?;
    let mut seeds = Vec::new();
    for _ in 0..case.usize("epochs")? {
        neural::shim::random_int64()?;
        seeds.push(neural::shim::random_int64()?);
    }
    all.add(equal_lists("sampler_seeds", &seeds, &expected.i64s("sampler_seeds")?));

    let mut random = NumpyRandom::new(u32::try_from(case.usize("numpy_seed")?)?);
    // `.. for sizes 7, 5, 9 in sequence, ..`
    let sentence = case.str("file_shuffle")?;
    let sizes = sentence.split("sizes").nth(1).and_then(|rest| rest.split("in sequence").next()).unwrap_or_default();
    let sizes = sizes.split(',').map(|size| size.trim().parse::<i64>()).collect::<Result<Vec<_>, _>>()?;
    ensure!(!sizes.is_empty(), "`{sentence}` names no sizes");
    for (file, size) in sizes.into_iter().enumerate().map(|(i, size)| (format!("file{i}"), size)) {
        let mut order: Vec<i64> = (0..size).collect();
        random.shuffle(&mut order);
        let expected = expected.i64s(&file)?;
        all.add(equal_lists(&file, &order[..expected.len()], &expected));
    }
    all.finish()
}

/// (before, after, best, bad) of the plateau rule of ADAM's runs, score by score.
#[allow(clippy::type_complexity, reason = "four parallel lists")]
fn plateau(scores: &[f64]) -> Result<(Vec<f64>, Vec<f64>, Vec<f64>, Vec<i64>)> {
    let mut schedule = Schedule::new(&ScheduleConfig::Plateau(PlateauConfig::default()), &[1e-3])?;
    let (mut before, mut after, mut best, mut bad) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for &score in scores {
        before.push(schedule.rates()[0]);
        schedule.after_evaluation(score);
        after.push(schedule.rates()[0]);
        best.push(schedule.best().context("no best after a score")?);
        bad.push(i64::from(schedule.bad_evaluations()));
    }
    Ok((before, after, best, bad))
}

/// The rate of every step and group, row by row.
fn rates_used(cosine: &CosineConfig, base: &[f64], rows: usize, steps_per_epoch: usize) -> Result<Vec<f64>> {
    ensure!(rows.is_multiple_of(steps_per_epoch), "{rows} steps in epochs of {steps_per_epoch}");
    let mut schedule = Schedule::new(&ScheduleConfig::CosineRestarts(cosine.clone()), base)?;
    let mut used = Vec::new();
    for k in 0..rows {
        used.extend_from_slice(schedule.rates());
        let (epoch, step) = (k / steps_per_epoch, k % steps_per_epoch);
        schedule.after_step(epoch as u64, step as u64, steps_per_epoch as u64);
    }
    Ok(used)
}
