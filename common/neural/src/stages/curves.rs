//! The charts of a training run.

use std::collections::BTreeMap;

use common::curves::Curves;
use report::{Axis, Chart, Series};

/// Name, last, lowest and highest value of every figure.
pub fn summary(curves: &Curves) -> Vec<Vec<String>> {
    let row = |(name, points): (&str, &[(f64, f64)])| {
        let values = || points.iter().map(|p| p.1);
        let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let last = points.last().map_or(f64::NAN, |p| p.1);
        let shown = [last, low, high].map(report::number);
        std::iter::once(name.to_string()).chain(shown).chain([points.len().to_string()]).collect()
    };
    curves.iter().map(row).collect()
}

/// Losses first, then every metric of the validation, of the training and of the original's names, then rates and
/// gradients. `best` is the step whose weights were kept.
pub fn charts(curves: &Curves, best: Option<u64>) -> Vec<Chart> {
    let line = |name: &str, color: &str| Series::line(name, curves.points(name).to_vec()).colored(color);
    let marked = |chart: Chart| match best {
        Some(step) => chart.mark(step as f64, format!("best, step {step}")),
        None => chart,
    };
    let over_steps = |title: &str, y: &str| Chart::lines(title, Axis::new("step"), Axis::new(y)).smoothing();
    let losses = over_steps("Loss", "loss")
        .with(line("train/batch_loss", "batch").hidden())
        .with(line("train/loss", "train"))
        .with(line("valid/loss", "valid"));
    let mut charts = vec![marked(losses.note("train/loss: mean since the beginning of the epoch"))];
    let own = ["train/loss", "train/batch_loss", "train/gradient_norm", "valid/loss", "lr"];
    // The part of a figure behind the first slash names it; deeper parts are its groups and share a chart.
    let mut families: BTreeMap<(u8, String), Vec<&str>> = BTreeMap::new();
    for name in curves.iter().map(|(name, _)| name).filter(|name| !own.contains(name) && !name.starts_with("lr/")) {
        let mut parts = name.split('/');
        let (place, family) = match (parts.next(), parts.next()) {
            (Some("valid"), Some(family)) => (0, format!("Validation: {family}")),
            (Some("train"), Some(family)) => (1, format!("Training: {family}")),
            (first, _) => (2, format!("As the original logs it: {}", first.unwrap_or(name))),
        };
        families.entry((place, family)).or_default().push(name);
    }
    for ((_, family), names) in families {
        let y = family.split(": ").nth(1).unwrap_or(&family).to_string();
        let alone = names.len() == 1;
        let series = names.into_iter().map(|name| {
            let whole = name.split('/').next().filter(|_| alone).unwrap_or(name);
            line(name, whole)
        });
        charts.push(marked(over_steps(&family, &y).with_all(series)));
    }
    let rates = curves.iter().map(|(name, _)| name).filter(|name| *name == "lr" || name.starts_with("lr/"));
    let rates = rates.map(|name| line(name, name));
    charts.push(Chart::lines("Learning rate", Axis::new("step"), Axis::new("learning rate")).with_all(rates));
    let norm = line("train/gradient_norm", "gradient norm");
    charts.push(over_steps("Gradient norm", "norm before clipping").with(norm));
    charts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_becomes_curves_and_charts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let log = "{\"epoch\":1,\"step\":5,\"train/loss\":0.5,\"lr\":1e-3}\n{\"epoch\":1,\"step\":9,\"train/loss\":0.25,\
                   \"valid/r2\":0.75,\"valid/r2/ptend_t\":0.5,\"val_loss\":0.1}\n";
        common::durable::write(&path, log.as_bytes()).unwrap();
        let curves = Curves::read(&path).unwrap();
        assert_eq!(curves.points("train/loss"), [(5.0, 0.5), (9.0, 0.25)]);
        assert_eq!(summary(&curves)[1], ["train/loss", "0.25", "0.25", "0.5", "2"]);
        let mut page = report::Page::new("exp195", "");
        charts(&curves, Some(9)).into_iter().for_each(|chart| page.chart(chart));
        let html = page.html();
        let parts = ["valid/r2/ptend_t", "Validation: r2", "Learning rate", "best, step 9", "logs it: val_loss"];
        for part in parts {
            assert!(html.contains(part), "{part}");
        }
        assert!(!html.contains("Gradient norm"));
    }
}
