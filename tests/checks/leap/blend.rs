//! The search for blend weights, and their use.

use anyhow::{Context, Result, anyhow, ensure};
use common::climb::{Gram, GramObjective, GramScore, Objective, Plan, climb, sum_one};
use common::metrics::Matrix;

use common::store::tables::{Column, ColumnKind, read_csv, read_parquet};

use crate::checks::{Case, Comparison, equal_lists};
use crate::support;

/// "models and weights exact (weights 1e-12), scores 1e-10" of the cases.
const WEIGHTS: f64 = 1e-12;
const SCORES: f64 = 1e-10;
/// "1e-12 relative to the column maximum" of the blend.
const SUMS: f64 = 1e-12;

/// Trajectories, weights and scores of the climbs; Gram matrix and closed-form optimum.
pub fn hill_climb(case: &Case) -> Result<()> {
    let (inputs, expected) = (case.tensors("inputs.safetensors")?, case.tensors("expected.safetensors")?);
    let columns = *inputs.shape("y")?.last().context("`y` is a scalar")?;
    let names: Vec<String> = inputs.names().filter(|n| n.starts_with("model_")).map(str::to_owned).collect();
    let (y, models) = (inputs.f32s("y")?, names.iter().map(|n| inputs.f32s(n)).collect::<Result<Vec<_>>>()?);
    let matrices = models.iter().map(|p| Matrix::f32(p, columns)).collect::<common::Result<Vec<_>>>()?;
    let gram = Gram::of(&Matrix::f32(&y, columns)?, &matrices)?;
    let mut all = Comparison::new();

    let runs = case.value("runs")?.as_object().ok_or_else(|| anyhow!("`runs` is no map"))?;
    for run in runs.keys() {
        let key = |name: &str| format!("runs.{run}.{name}");
        let of = columns_of(case.str(&key("columns"))?, columns)?;
        let mut objective = GramObjective::new(&gram, GramScore::R2, &of, &[], None)?;
        let plan = Plan::published(case.bool(&key("negative"))?, case.f64(&key("step"))?);
        let found = climb(&mut objective, &plan)?;

        let steps = case.value(&format!("trajectories.{run}"))?.as_array().cloned().unwrap_or_default();
        let taken: Vec<&str> = found.moves.iter().map(|m| names[m.model].as_str()).collect();
        let models: Vec<&str> = steps.iter().filter_map(|s| s["model"].as_str()).collect();
        all.add(equal_lists(&format!("{run}: models"), &taken, &models));
        let number = |name: &str| steps.iter().filter_map(|s| s[name].as_f64()).collect::<Vec<_>>();
        let weights: Vec<f64> = found.moves.iter().map(|m| m.weight).collect();
        all.values(&format!("{run}: steps"), &weights, &number("weight"), WEIGHTS);
        let scores: Vec<f64> = found.moves.iter().map(|m| m.score).collect();
        all.values(&format!("{run}: scores of steps"), &scores, &number("score"), SCORES);
        all.values(&format!("{run}.weights"), &found.weights, &expected.f64s(&format!("{run}.weights"))?, WEIGHTS);
        all.values(&format!("{run}.scores"), &scores, &expected.f64s(&format!("{run}.scores"))?, SCORES);
    }

    let mean = gram.weighted((0..columns).map(|c| (c, 1.0 / (columns as f64 * gram.truth.m2[c]))));
    all.values("gram_all", &mean.values, &expected.f64s("gram_all")?, SCORES);
    let optimum = sum_one(&mean, 0.0).map_err(|e| anyhow!("model {} depends on others", e.0))?;
    all.values("optimal_sum1.weights", &optimum, &expected.f64s("optimal_sum1.weights")?, SCORES);
    let objective = GramObjective::new(&gram, GramScore::R2, &(0..columns).collect::<Vec<_>>(), &[], None)?;
    all.values("optimal_sum1.score", &[objective.score(&optimum)?], &expected.f64s("optimal_sum1.score")?, SCORES);
    all.finish()
}

/// `hill-climb blend` with the published table, as csv and as pickled frame: surplus files are left out, a missing
/// one is an error, the sum agrees column by column.
pub fn published_weights(case: &Case) -> Result<()> {
    // `.. taken from the base file NAME`; `expected_NAME.parquet`.
    let note = case.str("note")?;
    let base = note.split("base file ").nth(1).context("the note names no base file")?;
    let base = base.split_whitespace().next().unwrap_or_default().trim_end_matches([',', ';']);
    let name = std::fs::read_dir(&case.folder)?
        .flatten()
        .find_map(|entry| {
            let file = entry.file_name().to_string_lossy().into_owned();
            Some(file.strip_prefix("expected_")?.strip_suffix(".parquet")?.to_string())
        })
        .context("no `expected_NAME.parquet`")?;
    let models = case.text("weights.csv")?.lines().skip(1).filter(|line| !line.trim().is_empty()).count();
    let expected = read_parquet(case.path(&format!("expected_{name}.parquet")), None)?;
    let folder = tempfile::tempdir()?;
    let mut all = Comparison::new();
    for (table, keep_equal) in [("weights.csv", false), ("weights.pt", false), ("weights.csv", true)] {
        let out = folder.path().join(format!("{table}_{keep_equal}"));
        let mut command = support::cmd("hill-climb").arg("blend").arg("--weights").arg(case.path(table));
        command = command.arg(case.path("subs")).args(["--base", base, "--name", &name, "--out"]).arg(&out);
        if keep_equal {
            command = command.arg("--keep-equal");
        }
        let outcome = command.run();
        ensure!(outcome.code == Some(0), "`hill-climb blend` failed:\n{}", outcome.stderr);
        for name in [format!("{name}.parquet"), format!("{name}.csv")] {
            let schema = expected.schema();
            let schema: Vec<(&str, ColumnKind)> = schema.iter().map(|(n, kind)| (n.as_str(), *kind)).collect();
            let path = out.join(&name);
            let got = if name.ends_with("csv") { read_csv(&path, &schema)? } else { read_parquet(&path, None)? };
            all.add(equal_lists(&format!("{table}, {name}: columns"), got.names(), expected.names()));
            for (column, (values, want)) in expected.names().iter().zip(got.columns().iter().zip(expected.columns())) {
                let label = format!("{table}, {name}, `{column}`");
                match (values, want) {
                    (Column::F64(values), Column::F64(want)) => all.values(&label, values, want, SUMS),
                    (Column::Text(ids), Column::Text(want)) => all.add(equal_lists(&label, ids, want)),
                    (values, want) => all.add(Err(anyhow!("{label} is {}, expected {}", values.kind(), want.kind()))),
                }
            }
        }
    }

    let subs = folder.path().join("subs");
    std::fs::create_dir(&subs)?;
    for entry in
        std::fs::read_dir(case.path("subs"))?.flatten().filter(|e| !e.file_name().to_string_lossy().starts_with(base))
    {
        common::durable::write(subs.join(entry.file_name()), &std::fs::read(entry.path())?)?;
    }
    let weights = case.path("weights.csv");
    let out = folder.path().join("missing");
    let outcome =
        support::cmd("hill-climb").arg("blend").arg("--weights").arg(weights).arg(subs).arg("--out").arg(&out).run();
    ensure!(outcome.code == Some(3), "a missing submission ended with {:?}:\n{}", outcome.code, outcome.stderr);
    let told = format!("no submission for 1 of {models} models: `{base}`");
    ensure!(outcome.stderr.contains(&told), "{}", outcome.stderr);
    all.finish()
}

/// `all`, or `g2` for the columns of group 2.
fn columns_of(name: &str, columns: usize) -> Result<Vec<usize>> {
    if name == "all" {
        return Ok((0..columns).collect());
    }
    let group: Option<usize> = name.strip_prefix('g').and_then(|g| g.parse().ok());
    let group = group.filter(|g| *g < leap::columns::GROUPS).ok_or_else(|| anyhow!("unknown columns `{name}`"))?;
    let range = leap::columns::group(group);
    ensure!(range.end <= columns, "group {group} ends at column {}, there are {columns}", range.end);
    Ok(range.collect())
}
