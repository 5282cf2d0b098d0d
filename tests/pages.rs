//! Pages of charts in a browser: every kind that a program writes, at three widths, and what the kit itself promises.

#[path = "support/browser.rs"]
mod browser;
#[path = "support/chart_page.rs"]
mod chart_page;
#[path = "support/debian.rs"]
mod debian;
#[path = "support/oof.rs"]
mod oof;
mod support;
#[path = "support/training.rs"]
mod training;

use std::f64::consts::PI;
use std::fs;
use std::path::Path;
use std::process::Command;

use browser::Browser;
use chart_page::look;
use common::durable::write;
use common::seed::rng_for;
use rand::RngExt;
use report::{Axis, Bar, Chart, Figure, Heat, Page, Sense, Series, Sky, Spread, Table};
use support::{cmd, root};

fn put(folder: &Path, name: &str, page: &Page) -> std::path::PathBuf {
    let path = folder.join(name);
    write(&path, page.html().as_bytes()).unwrap();
    path
}

/// A page with every kind of chart and names that try to leave their place.
fn every_kind() -> Page {
    let mut rng = rng_for(1, "every kind", 0);
    let wild = "<script>alert(1)</script>";
    let mut page = Page::new(wild, "a\"b'c</title>");
    page.figure(Figure::new(wild, 0.5).sense(Sense::Higher).note(wild));
    page.section(wild);
    let curve = (0..500).map(|i| (f64::from(i), 2.0 / (1.0 + f64::from(i)) + 0.01 * rng.random_range(0.0..1.0)));
    let lines =
        Chart::lines("Loss", Axis::new("step"), Axis::new("loss").log()).smoothing().mark(400.0, "best, step 400");
    page.chart(
        lines.with(Series::line("train", curve.collect())).with(Series::line(wild, vec![(100.0, 0.5), (400.0, 0.1)])),
    );
    page.chart(Chart::lines("One", Axis::new("step"), Axis::new("r2")).with(Series::line("r2", vec![(3.0, 0.75)])));
    let levels = (0..20).map(|i| (0.9 - 0.002 * f64::from(i * i), f64::from(50 * i + 1)));
    let profile = Chart::profile("Profile", Axis::new("R2"), Axis::new("pressure (hPa)").log().reversed());
    page.chart(profile.with(Series::line("blend", levels.collect()).spread(vec![Spread { low: 0.4, high: 0.95 }; 20])));
    let cloud = (0..600).map(|_| (rng.random_range(0.0..1.0), rng.random_range(0.0..1.0)));
    page.chart(
        Chart::lines("Cloud", Axis::new("x"), Axis::new("y"))
            .diagonal()
            .with(Series::points("events", cloud.collect())),
    );
    let names = ["a member with a name that is longer than most", wild, "c"];
    let weights = vec![(0.5, 0.0), (0.25, 1.0), (-0.1, 2.0)];
    let bars = Chart::profile("Weights", Axis::new("weight"), Axis::new("").names(names).reversed());
    page.chart(bars.with(Series::bars("weight", weights).spread(vec![Spread { low: -0.2, high: 0.6 }; 3])));
    let steps = [(0.0, 1.0, 0.5), (1.0, 4.0, 0.75), (4.0, 9.0, 0.9)];
    let spread = vec![Spread { low: 0.45, high: 0.95 }; 3];
    let rates = Chart::lines("Efficiency", Axis::new("pT"), Axis::new("efficiency").range(0.0, 1.0));
    page.chart(
        rates.with(Series::steps("x", &steps).spread(spread.clone())).with(Series::steps("y", &steps).spread(spread)),
    );
    let (x, y) = (Axis::new("errors of").names(names), Axis::new("").names(names).reversed());
    page.chart(Chart::heat(
        "Correlations",
        x,
        y,
        Heat::new("r", vec![1.0, 0.5, -0.5, 0.5, 1.0, 0.0, -0.5, 0.0, 1.0]).centre(0.0),
    ));
    let edges = |n: i32| (0..=n).map(|i| f64::from(i) - f64::from(n) / 2.0).collect::<Vec<_>>();
    let counts = (0..400).map(|_| rng.random_range(0.0_f64..1.0) * 100.0).collect();
    page.chart(Chart::heat(
        "Density",
        Axis::new("x"),
        Axis::new("y"),
        Heat::new("n", counts).edges(edges(20), edges(20)).log(),
    ));
    let (longitudes, latitudes) =
        ((0..=12).map(|i| 30.0 * f64::from(i)).collect(), (-3..=3).map(|i| 30.0 * f64::from(i)).collect());
    let sky = (0..72).map(|i| if i == 5 { f64::NAN } else { f64::from(i) }).collect();
    page.chart(Chart::sky("Sky", "azimuth", "altitude", Sky::new("error", longitudes, latitudes, sky)));
    let bar =
        |row: &str, from, to, state: &str| Bar { row: row.into(), from, to, state: state.into(), note: wild.into() };
    let stages =
        vec![bar("prepare", 0.0, 10.0, "ran"), bar(wild, 10.0, 75.0, "failed"), bar("old", 0.0, 0.0, "up to date")];
    page.chart(Chart::gantt("Stages", Axis::new("time").seconds(), stages));
    let mut table = Table::new(wild, ["name", "r2"]);
    table.row([wild, "0.5"]);
    table.row(["b", "0.25"]);
    page.table(table);
    page.commands([("run".to_string(), format!("train-model '{wild}'"))]);
    page
}

#[test]
fn the_chart_library_is_the_one_that_its_readme_says() {
    let folder = root().join("common/report/assets/uplot");
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    for name in ["uPlot.iife.min.js", "uPlot.min.css", "LICENSE"] {
        let output = Command::new("sha256sum").arg(folder.join(name)).output().unwrap();
        let sum = String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_string();
        assert!(readme.contains(&format!("| `{name}` | `{sum}` |")), "{name} has {sum}");
    }
}

#[test]
fn every_kind_of_chart_draws_tells_and_keeps_its_numbers() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = put(folder.path(), "page.html", &every_kind());
    assert_eq!(look(&mut browser, &page), 10);
    assert!(fs::metadata(&page).unwrap().len() < 400_000);
    // Names are text: nothing of theirs ran, and they stand there as they are.
    assert_eq!(browser.js("document.title"), "<script>alert(1)</script>");
    assert_eq!(browser.js("document.querySelector('h2').textContent"), "<script>alert(1)</script>");
    assert!(
        browser.js("document.querySelectorAll('.legend button')[1].textContent").as_str().unwrap().contains("<script>")
    );

    // The one point of a curve is where it should be.
    let one = "(() => { const f = [...document.querySelectorAll('figure[data-chart]')][1], v = f.podium.view();
        const own = Object.assign(document.createElement('canvas'), { width: innerWidth, height: innerHeight }).getContext('2d', { willReadFrequently: true });
        own.drawImage(f.querySelector('canvas'), 0, 0);
        const c = own.getImageData(Math.round(v.X(3)), Math.round(v.Y(0.75)), 1, 1).data;
        return '#' + [...c].slice(0, 3).map((x) => x.toString(16).padStart(2, '0')).join('') === Podium.hue(f.podium.chart.series[0].slot); })()";
    assert_eq!(browser.js(one), true);

    // The mouse over a datum shows its value; keys move on and zoom; a click in the legend hides a curve.
    let first = "document.querySelectorAll('figure[data-chart]')[0]";
    browser.js(&format!("{first}.scrollIntoView({{ block: 'start', behavior: 'instant' }})"));
    let place = browser.js(&format!(
        "(() => {{ const f = {first}.podium, v = f.view(), b = f.over().getBoundingClientRect(); return [b.left + (v.X(400) - v.left) / v.ratio, b.top + (v.Y(0.1) - v.top) / v.ratio]; }})()"
    ));
    let at = |i: usize| place[i].as_f64().unwrap();
    browser.mouse("mouseMoved", at(0) - 3.0, at(1));
    browser.mouse("mouseMoved", at(0), at(1));
    let said = browser.js("document.getElementById('tip').innerText");
    // A step is narrower than a pixel here; the other curve has no nearer point than its own.
    let lines: Vec<&str> = said.as_str().unwrap().lines().collect();
    assert!(lines[0].starts_with("step 39") || lines[0].starts_with("step 40"), "{said}");
    assert!(lines.contains(&"0.1"), "{said}");
    let range = |browser: &mut Browser| browser.js(&format!("{first}.podium.view().range.x.map((v) => Math.round(v))"));
    let before = range(&mut browser);
    browser.js(&format!("{first}.querySelector('.plot').focus()"));
    browser.key("ArrowRight");
    assert!(browser.js("document.getElementById('tip').innerText").as_str().unwrap().starts_with("step 0"));
    browser.key("+");
    assert_ne!(range(&mut browser), before);
    browser.key("0");
    assert_eq!(range(&mut browser), before);
    // Two fingers that part about a place keep it where it is: half of the range is left, and the place in it.
    let parted = browser.js(&format!(
        "(() => {{ const f = {first}.podium, plot = {first}.querySelector('.plot'), b = f.over().getBoundingClientRect(), v = f.view().range.x;
            const at = (share) => b.left + share * b.width, y = b.top + b.height / 2;
            const finger = (kind, pointerId, x) => plot.dispatchEvent(new PointerEvent(kind, {{ pointerId, pointerType: 'touch', clientX: x, clientY: y, bubbles: true }}));
            finger('pointerdown', 1, at(0.2)); finger('pointerdown', 2, at(0.3));
            finger('pointermove', 1, at(0.15)); finger('pointermove', 2, at(0.35));
            finger('pointerup', 1, at(0.15)); finger('pointerup', 2, at(0.35));
            const n = f.view().range.x, middle = v[0] + 0.25 * (v[1] - v[0]);
            return [(n[1] - n[0]) / (v[1] - v[0]), (middle - n[0]) / (n[1] - n[0])]; }})()"
    ));
    assert!((parted[0].as_f64().unwrap() - 0.5).abs() < 1e-6, "{parted}");
    assert!((parted[1].as_f64().unwrap() - 0.25).abs() < 1e-6, "{parted}");
    browser.key("0");
    assert_eq!(range(&mut browser), before);
    browser.js(&format!("{first}.querySelectorAll('.legend button')[0].click()"));
    let pressed = browser.js(&format!("{first}.querySelectorAll('.legend button')[0].getAttribute('aria-pressed')"));
    assert_eq!(pressed, "false");
    assert_eq!(browser.js(&format!("{first}.podium.painter.legend.filter((s) => s.on).length")), 1);
    // Smoothing says so, and the theme changes what is drawn.
    browser.js("document.querySelectorAll('figure[data-chart]')[0].querySelectorAll('.legend button')[0].click()");
    browser.js(&format!("(() => {{ const s = {first}.querySelector('input[type=range]'); s.value = 4; s.dispatchEvent(new Event('input')); }})()"));
    assert!(browser.js(&format!("{first}.podium.svg()")).as_str().unwrap().contains("exponential mean of weight 0.9"));
    browser.js("Podium.setTheme('dark')");
    assert_eq!(browser.js("getComputedStyle(document.body).backgroundColor"), "rgb(20, 24, 29)");
    chart_page::quiet(&mut browser, &page);
}

#[test]
fn ten_runs_of_fifty_thousand_points_open_within_two_seconds() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut rng = rng_for(1, "runs", 0);
    let runs = (0..10).map(|run| {
        let points = (0..50_000).map(|i| (f64::from(i), f64::from(run) + rng.random_range(0.0..1.0)));
        Series::line(format!("run {run}"), points.collect())
    });
    let mut page = Page::new("Runs", "");
    page.chart(Chart::lines("Loss", Axis::new("step"), Axis::new("loss")).with_all(runs.collect::<Vec<_>>()));
    let path = put(folder.path(), "runs.html", &page);
    let mut times = vec![];
    // The machine may be busy with other tests: the best of some tries.
    for _ in 0..5 {
        browser.open(&path, 1280, 900);
        let took = browser.js("performance.getEntriesByType('navigation')[0].loadEventEnd");
        times.push(took.as_f64().unwrap());
        if times.last().is_some_and(|time| *time < 2000.0) {
            break;
        }
    }
    assert!(times.iter().any(|time| *time < 2000.0), "{times:?} ms");
    let held = browser.js("Podium.data.charts[0].series.map((s) => Podium.array(s.y).length)");
    assert_eq!(held, serde_json::json!(vec![50_000; 10]));
}

#[test]
fn a_training_a_comparison_and_a_blend_open_with_all_their_curves() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, rate: &str| {
        let out = folder.path().join(name);
        let command = cmd("train-model").args(["train.yaml", "--from", "data", "--threads", "1", "--device=cpu", "-q"]);
        command
            .arg(format!("training.learning_rate={rate}"))
            .arg("--out")
            .arg(&out)
            .within(training::workshop())
            .succeeds();
        out
    };
    let (a, b) = (run("a", "3.0e-3"), run("b", "1.0e-3"));
    let charts = look(&mut browser, &a.join("report.html"));
    assert!(charts >= 7, "{charts} charts");
    // Every figure of the log is a curve of the page with all its points.
    let log = common::curves::Curves::read(&a.join("metrics.jsonl")).unwrap();
    for (name, points) in log.iter() {
        let found = browser.js(&format!(
            "Podium.data.charts.flatMap((c) => c.series || []).filter((s) => s.name === {}).map((s) => Podium.array(s.y).filter((v) => v !== null).length)",
            serde_json::json!(name)
        ));
        assert!(found.as_array().unwrap().contains(&points.len().into()), "{name}: {found}, expected {}", points.len());
    }
    for part in ["best, step", "higher is better", "--resume auto", "predict --from", "Throughput", "Memory"] {
        assert!(fs::read_to_string(a.join("report.html")).unwrap().contains(part), "{part}");
    }

    let page = folder.path().join("both.html");
    cmd("run-pipeline").arg("report").args([&a, &b]).arg("--out").arg(&page).succeeds();
    assert!(look(&mut browser, &page) >= 5);
    let html = fs::read_to_string(&page).unwrap();
    assert!(
        html.contains("<td>training.learning_rate</td><td class=\"n\">0.003</td><td class=\"n\">0.001</td>"),
        "{html}"
    );
    assert_eq!(browser.js("Podium.data.charts[0].series.map((s) => s.name)"), serde_json::json!(["a", "b"]));

    let truth = oof::truth(folder.path());
    for (name, noise) in [("m1", 0.5), ("m2", 0.7), ("<m3>", 0.9)] {
        oof::model(folder.path(), name, &truth, noise);
    }
    let models = ["m1.safetensors", "m2.safetensors", "<m3>.safetensors"];
    for (out, more) in [("blend", &["--folds", "3"][..]), ("bags", &["--bags", "5"][..])] {
        let command = cmd("hill-climb").args(["search", "-t", "valid.safetensors", "-o", out]).args(models).args(more);
        command.within(folder.path()).succeeds();
        assert!(look(&mut browser, &folder.path().join(out).join("report.html")) >= 4);
        assert!(folder.path().join(out).join("plots/weights.svg").is_file());
    }
    let command = cmd("score").args(["-t", "valid.safetensors", "m1.safetensors", "m2.safetensors", "-o", "scored"]);
    command.within(folder.path()).succeeds();
    assert!(look(&mut browser, &folder.path().join("scored/report.html")) >= 5);
    assert!(fs::read_to_string(folder.path().join("scored/plots/rmse-of-t.csv")).unwrap().contains("t_1"));
}

#[test]
fn scores_of_directions_and_of_tracks_open_with_all_their_charts() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut rng = rng_for(1, "directions", 0);
    let (mut truth, mut found) =
        (String::from("event_id,azimuth,zenith\n"), String::from("event_id,azimuth,zenith,kappa\n"));
    for event in 0..400 {
        let (azimuth, zenith) = (rng.random_range(0.0..2.0 * PI), rng.random_range(0.2..PI - 0.2));
        let off = rng.random_range(-0.1..0.1);
        truth += &format!("{event},{azimuth},{zenith}\n");
        found += &format!("{event},{azimuth},{},{}\n", zenith + off, rng.random_range(20.0..900.0));
    }
    write(folder.path().join("truth.csv"), truth.as_bytes()).unwrap();
    write(folder.path().join("found.csv"), found.as_bytes()).unwrap();
    let command = cmd("score").args(["-t", "truth.csv", "found.csv", "-o", "score"]);
    command.within(folder.path()).succeeds();
    assert!(look(&mut browser, &folder.path().join("score/report.html")) >= 6);
    for name in ["coverage", "pull", "resolution-against-zenith", "errors-over-the-sky-found"] {
        assert!(folder.path().join(format!("score/plots/{name}.svg")).is_file(), "{name}");
    }
    // A cell of the sky tells its own median.
    let sky = "(() => { const f = [...document.querySelectorAll('figure[data-chart]')].map((f) => f.podium).find((f) => f.chart.kind === 'sky');
        return f.cellAt(...f.project(190, 5)) === 4 * 18 + 9; })()";
    assert_eq!(browser.js(sky), true);

    let event = root().join("tests/golden/tracknet/score_event");
    let submissions = ["submission-drop30.csv", "submission-halves.csv"].map(|name| event.join(name));
    let command = cmd("score").arg("-t").arg(event.join("event000007000-truth.csv")).args(&submissions);
    command.arg("-o").arg(folder.path().join("tracks")).succeeds();
    assert!(look(&mut browser, &folder.path().join("tracks/report.html")) >= 15);
}

#[test]
fn a_pipeline_shows_its_stages_over_time() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let stages = "stages:\n  first:\n    cmd: sleep 0.2; echo 1 > a\n    outs: [a]\n  second:\n    cmd: sleep 0.1; cat a > b\n    deps: [a]\n    outs: [b]\n";
    write(folder.path().join("dvc.yaml"), stages.as_bytes()).unwrap();
    cmd("run-pipeline").arg(".").within(folder.path()).succeeds();
    write(folder.path().join("dvc.yaml"), stages.replace("sleep 0.1", "sleep 0.15").as_bytes()).unwrap();
    cmd("run-pipeline").arg(".").within(folder.path()).succeeds();
    cmd("run-pipeline").args(["report", ".", "--out", "page.html"]).within(folder.path()).succeeds();
    let page = folder.path().join("page.html");
    assert!(look(&mut browser, &page) >= 2);
    let bars = browser.js("Podium.data.charts[0].bars.map((b) => [b.state, b.to - b.from])");
    assert_eq!((&bars[0][0], &bars[1][0]), (&"up to date".into(), &"ran".into()));
    assert!(bars[1][1].as_f64().unwrap() >= 0.15, "{bars}");

    // A folder that is neither, and a file that is no page.
    fs::create_dir(folder.path().join("empty")).unwrap();
    let refused = cmd("run-pipeline").args(["report", "empty", "--out", "x.html"]).within(folder.path());
    refused.fails(3).says("holds neither a finished stage nor a pipeline that ran here");
    let refused = cmd("run-pipeline").args(["report", ".", "--out", "dvc.yaml"]).within(folder.path());
    refused.fails(2).says("exists and is no page");
}
