//! The page of a fine-tuning: what each group gained over the base, and the curves of its run.

use common::Result;
use common::curves::Curves;
use common::scalars::JSONL;
use common::stage::Stage;
use neural::stages::page;
use report::{Axis, Chart, Figure, Page, Sense, Series, Table};

use super::config::FinetuneConfig;
use super::{Merged, run_folder};
use crate::columns::GROUP_NAMES;

/// The page of a finished fine-tuning in the folder of `stage`.
///
/// # Errors
/// Those of reading the logs of the groups.
pub fn of(stage: &Stage, config: &FinetuneConfig, annotated: &str, merged: &Merged) -> Result<Page> {
    let (now, before) = (merged.score.mean(), merged.base.mean());
    let mut page = Page::new(&config.member, format!("fine-tuning of each group of targets, seed {}", config.seed));
    let r2 = Figure::new("R2", now).sense(Sense::Higher);
    page.figure(r2.note(format!("{:+.6} against the base", now - before)));
    page.figure(Figure::new("R2 of the base", before).sense(Sense::Higher));
    let kept = merged.groups.iter().filter(|tuned| tuned.from_base).count();
    page.figure(Figure::text("groups", merged.groups.len().to_string()).note(format!("{kept} of them keep the base")));
    page.section("Groups");
    let names = merged.groups.iter().map(|tuned| GROUP_NAMES[tuned.group]);
    let bars = |name: &str, value: &dyn Fn(usize) -> f64| {
        let points = merged.groups.iter().enumerate().map(|(i, tuned)| (value(tuned.group), i as f64)).collect();
        Series::bars(name, points)
    };
    let chart = Chart::profile("R2 by group", Axis::new("R2"), Axis::new("").names(names).reversed());
    let tuned = bars("fine-tuned", &|group| merged.score.group(group));
    page.chart(chart.with(bars("base", &|group| merged.base.group(group))).with(tuned));
    let mut table = Table::new("Groups", ["group", "base", "fine-tuned", "gain", "taken"]);
    for tuned in &merged.groups {
        let (base, now) = (tuned.base, merged.score.group(tuned.group));
        let taken = if tuned.from_base { "base" } else { "fine-tuned" };
        let best = tuned.best.map_or("-".into(), |best| format!("{best:.6}"));
        table.row([
            GROUP_NAMES[tuned.group].into(),
            format!("{base:.6}"),
            best,
            format!("{:+.6}", now - base),
            taken.into(),
        ]);
    }
    page.table(table);
    page.section("Curves");
    let mut scores = Chart::lines("R2 of each group along its run", Axis::new("step"), Axis::new("R2"));
    let mut losses = Chart::lines("Training loss of each group", Axis::new("step"), Axis::new("loss")).smoothing();
    for tuned in merged.groups.iter().filter(|tuned| tuned.outcome.is_some()) {
        let curves = Curves::read(&run_folder(stage.folder(), tuned.group).join(JSONL))?;
        let name = GROUP_NAMES[tuned.group];
        scores = scores.with(Series::line(name, curves.points("valid/r2").to_vec()));
        losses = losses.with(Series::line(name, curves.points("train/loss").to_vec()));
    }
    page.chart(scores);
    page.chart(losses);
    page::about(&mut page, stage, annotated)?;
    Ok(page)
}
