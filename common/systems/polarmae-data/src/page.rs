//! The page of a score of classes: confusion matrix, and F1 of every class with its points.

use report::{Axis, Chart, Figure, Heat, Page, Sense, Series, Table};
use serde_json::Value;

use crate::labels::Labels;

/// The page of one or several tables of classes, as `score.json` has them, and of how many labels they took.
pub(crate) fn page(reports: &[Value], labels: &Labels) -> Page {
    let mut page = Page::new("Classes of points", "F1, intersection over union and confusion, of all points together");
    for report in reports {
        let called =
            |what: &str| if reports.len() > 1 { format!("{}: {what}", name(report)) } else { what.to_string() };
        let mean = Figure::new(called("mean F1"), number(&report["f1_mean"])).sense(Sense::Higher);
        page.figure(mean.note(format!("majority class alone: {}", report::number(number(&report["f1_majority"])))));
        page.figure(Figure::new(called("mean IoU"), number(&report["iou_mean"])).sense(Sense::Higher));
        let accuracy = Figure::new(called("accuracy"), number(&report["accuracy"])).sense(Sense::Higher);
        page.figure(accuracy.note(format!("{} points of {} events", report["points"], report["events"])));
    }
    if labels.events().len() > 1 {
        page.section("Labels");
        let series = labels.curves.iter().map(|(learns, points)| {
            Series::line(learns, points.iter().map(|&(events, f1)| (events as f64, f1)).collect())
        });
        let (x, y) = (Axis::new("labelled events").log(), Axis::new("mean F1").range(0.0, 1.0));
        let mut chart = Chart::lines("Mean F1 over labelled events", x, y).with_all(series).note("higher is better");
        if let Some(majority) = reports.first().map(|report| number(&report["f1_majority"])).filter(|f1| f1.is_finite())
        {
            chart = chart.level(majority, "majority class alone");
        }
        page.chart(chart.wide());
    }
    page.section("Classes");
    let names: Vec<&String> =
        reports.iter().flat_map(|r| r["f1"].as_object()).take(1).flat_map(|map| map.keys()).collect();
    for (figure, title) in [("f1", "F1"), ("precision", "Precision"), ("recall", "Recall")] {
        let series = reports.iter().map(|report| {
            let points = names.iter().enumerate().map(|(i, class)| (number(&report[figure][class.as_str()]), i as f64));
            let notes = (0..names.len()).map(|i| format!("{} points of the class", support(report, i)));
            Series::bars(name(report), points.collect()).notes(notes.collect())
        });
        let axis = Axis::new(title).range(0.0, 1.0);
        let classes = Axis::new("").names(names.iter().map(|name| name.as_str())).reversed();
        page.chart(
            Chart::profile(format!("{title} by class"), axis, classes).with_all(series).note("higher is better"),
        );
    }
    for report in reports {
        let header = ["class", "points", "F1", "IoU", "precision", "recall", "IoU by event"];
        let mut table = Table::new(format!("{}: classes", name(report)), header);
        for (i, class) in names.iter().enumerate() {
            let mut row = vec![class.to_string(), support(report, i).to_string()];
            let figures = ["f1", "iou", "precision", "recall", "iou_events"];
            row.extend(figures.iter().map(|figure| format!("{:.4}", number(&report[*figure][class.as_str()]))));
            table.row(row);
        }
        page.table(table);
    }
    page.section("Confusion");
    for report in reports {
        page.chart(confusion(report, &names));
    }
    page
}

fn name(report: &Value) -> &str {
    report["name"].as_str().unwrap_or_default()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// Counts of the points of a class by what they were taken for.
fn row(report: &Value, class: usize) -> Vec<u64> {
    report["confusion"][class].as_array().into_iter().flatten().map(|n| n.as_u64().unwrap_or(0)).collect()
}

/// Points of a class.
fn support(report: &Value, class: usize) -> u64 {
    row(report, class).iter().sum()
}

/// Shares of each true class, with the counts to point at.
fn confusion(report: &Value, names: &[&String]) -> Chart {
    let (mut shares, mut notes) = (vec![], vec![]);
    for class in 0..names.len() {
        let whole = support(report, class);
        for count in row(report, class) {
            shares.push(if whole > 0 { count as f64 / whole as f64 } else { f64::NAN });
            notes.push(format!("{count} of {whole} points"));
        }
    }
    let axis = |label: &str| Axis::new(label).names(names.iter().map(|name| name.as_str()));
    let heat = Heat::new("share of the true class", shares).limits(0.0, 1.0).notes(notes);
    Chart::heat(format!("Confusion: {}", name(report)), axis("predicted class"), axis("true class").reversed(), heat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confusion::Confusion;

    #[test]
    fn a_page_shows_every_class_with_its_points() {
        let mut counted = Confusion::new(2);
        counted.add(&[0, 0, 0, 1], &[0, 0, 1, 1]);
        let mut report = counted.figures(&["shower", "<track>"]);
        report["name"] = "run".into();
        report["events"] = 1.into();
        let labels = Labels { curves: vec![("all".into(), vec![(1, 0.2), (10, 0.5)])] };
        let made = page(&[report], &labels);
        assert!(made.beside().iter().any(|(path, _)| path == "plots/mean-f1-over-labelled-events.csv"));
        let html = made.html();
        for part in ["Confusion: run", "2 of 3 points", "1 of 1 points", "&lt;track&gt;"] {
            assert!(html.contains(part), "{part}");
        }
        assert!(made.beside().iter().any(|(path, _)| path == "plots/confusion-run.svg"));
    }
}
