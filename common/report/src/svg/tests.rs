use super::scale::Scale;
use crate::{Axis, Bar, Chart, Heat, Series, Sky, Spread};

fn paths(svg: &str) -> usize {
    svg.matches("<path").count()
}

#[test]
fn every_kind_becomes_a_picture_with_its_names_and_no_number_that_is_none() {
    let points = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.5)];
    let spread = vec![Spread { low: 0.4, high: 1.1 }; 3];
    let lines = Chart::lines("<Loss>", Axis::new("step"), Axis::new("loss").log()).mark(1.0, "best").diagonal();
    let lines = lines.with(Series::line("a&b", points.clone()).spread(spread.clone()));
    let lines = lines.with(Series::points("c", points.clone()).spread(spread.clone()));
    let steps = Series::steps("e", &[(0.0, 1.0, 0.5), (1.0, 2.0, 0.7)]).spread(spread.clone());
    let bars = Chart::profile("Bars", Axis::new("w"), Axis::new("").names(["x", "y"]).reversed());
    let bars = bars.with(Series::bars("w", vec![(0.5, 0.0), (-0.1, 1.0)]).spread(spread));
    let all = [
        lines.with(steps),
        bars,
        Chart::heat(
            "Heat",
            Axis::new("x").names(["p", "q"]),
            Axis::new("y").names(["r"]),
            Heat::new("v", vec![1.0, -1.0]).centre(0.0),
        ),
        Chart::sky(
            "Sky",
            "azimuth",
            "altitude",
            Sky::new("v", vec![0.0, 180.0, 360.0], vec![-90.0, 90.0], vec![1.0, f64::NAN]),
        ),
        Chart::gantt(
            "Stages",
            Axis::new("time").seconds(),
            vec![Bar { row: "train".into(), from: 0.0, to: 75.0, state: "ran".into(), note: String::new() }],
        ),
    ];
    for chart in all {
        let svg = chart.svg();
        assert_eq!(svg, chart.svg());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        for bad in ["NaN", "inf", "<Loss>"] {
            assert!(!svg.contains(bad), "{bad} in {svg}");
        }
        assert!(paths(&svg) > 0 || svg.contains("<rect"), "{svg}");
    }
}

#[test]
fn one_point_is_seen_and_fifty_thousand_are_no_megabyte() {
    let one = Chart::lines("r2", Axis::new("step"), Axis::new("r2")).with(Series::line("r2", vec![(3.0, 0.7)])).svg();
    assert!(one.contains("a2.6 2.6"), "{one}");
    let points: Vec<(f64, f64)> = (0..50_000).map(|i| (f64::from(i), f64::from(i % 97))).collect();
    let many = Chart::lines("x", Axis::new(""), Axis::new("")).with(Series::line("y", points)).svg();
    assert!(many.len() < 60_000, "{}", many.len());
}

#[test]
fn ticks_are_round_numbers_inside_the_range() {
    let texts = |range, axis: Axis, most| -> Vec<String> {
        Scale::new(range, &axis).ticks(&axis, most).into_iter().map(|(_, text)| text).collect()
    };
    assert_eq!(texts((-0.04, 1.04), Axis::new(""), 6), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
    assert_eq!(texts((3e-7, 2e-3), Axis::new("").log(), 8), ["1e-6", "1e-5", "0.0001", "0.001"]);
    assert_eq!(
        texts((0.0, 200.0), Axis::new("").seconds(), 8),
        ["0", "30 s", "1:00", "1:30", "2:00", "2:30", "3:00"].map(|t| if t == "0" { "0 s" } else { t })
    );
}

#[test]
fn the_duration_of_the_longest_bar_stands_inside_the_picture() {
    for seconds in [0.4, 75.0, 44_000.0] {
        let bar = Bar { row: "train".into(), from: 0.0, to: seconds, state: "ran".into(), note: String::new() };
        let label = super::maps::duration(&bar);
        let svg = Chart::gantt("Stages", Axis::new("time").seconds(), vec![bar]).svg();
        let bars = svg.split_once("<g clip-path").unwrap().1;
        let shown = bars.lines().find(|line| line.contains("<text") && line.contains(&format!(">{label}<"))).unwrap();
        let number = |text: &str, name: &str| -> f64 {
            text.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
        };
        let end = number(shown, "x") + super::wide(&label);
        let clip = svg.split("<clipPath").nth(1).unwrap();
        assert!(end <= super::WIDTH && end <= number(clip, "x") + number(clip, "width"), "{svg}");
    }
}
