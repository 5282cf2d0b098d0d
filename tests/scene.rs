//! The WebGL kit in a browser: what is drawn, what lies under the pointer, keys, toggles, files, and no WebGL at all.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests write pages of their own and say what they skip"
)]

#[path = "support/browser.rs"]
mod browser;
#[path = "support/debian.rs"]
mod debian;
#[path = "support/event_page.rs"]
mod event_page;

use std::path::{Path, PathBuf};

use browser::Browser;
use event_page::{SCENE, frames, look, quiet, tip};
use report::Page;
use report::scene::{
    Coloring, Cone, Data, Event, FAINT, Filter, GREY, Helix, Kind, Layer, Panel, Scene, Unit, View, hue,
};

/// Everything that the kit can draw, with hits far from each other.
fn scene() -> Scene {
    let mut scene = Scene::new("<b>Events</b>", ["x", "y", "z"], "mm");
    scene.units.push(Unit { name: "cm".into(), factor: [0.1; 3], zero: [0.0; 3] });
    scene.frame = Some(([-100.0; 3], [100.0; 3], "detector"));
    scene.views = vec![View::space(), View::flat("xy", "x, y", 0, 1), View::flat("zr", "z, r", 2, 3)];
    scene.panels = vec![Panel::new("3d", "class"), Panel::new("xy", "energy"), Panel::new("zr", "class").wide()];
    let hits = Layer::new("hits", "hits", Kind::Points).one("hit").field("energy", "energy", "MeV").size(8.0);
    scene.layers = vec![
        Layer::new("layers", "layers", Kind::Lines).color(FAINT).backdrop(0.5),
        Layer::new("tracks", "tracks", Kind::Helices).one("track").field("pt", "pT", "GeV/c"),
        hits.class("class", "class", &["</script>".into(), "b".into()]),
        Layer::new("cones", "regions", Kind::Cones).color(hue(2)),
        Layer::new("boxes", "boxes", Kind::Boxes).color(GREY),
    ];
    let names = vec![("</script>".to_string(), hue(0)), ("b".to_string(), hue(1))];
    scene.colors = vec![Coloring::names("class", "class", names), Coloring::ramp("energy", "energy", "MeV", true)];
    scene.filters = vec![Filter::range("energy", "energy", "MeV", true), Filter::flag("class", "b alone")];
    let line = [[0.0, 0.0, -90.0], [0.0, 0.0, 90.0]];
    scene.shared = vec![("layers", Data::lines([line.as_slice()]))];
    let helix = Helix { center: [0.0, 40.0], radius: 40.0, phi: -1.57, turn: 2.0, z: 0.0, rise: 50.0 };
    let cone = Cone { apex: [0.0; 3], axis: [1.0, 0.0, 1.0], angle: 0.4, length: 60.0 };
    for number in 0..2 {
        let places = [[-80.0, -70.5, 60.0], [70.0, 60.0, 50.0], [10.0, -60.0, 20.0 + number as f32]];
        let hits = Data::points(&places).whole("class", [0, 1, 1]).floats("energy", &[0.1, 1.5, 10.0]);
        let event = Event::new(format!("event {number} <i>")).with("hits", hits).with("cones", Data::cones(&[cone]));
        let event = event.with("tracks", Data::helices(&[helix]).floats("pt", &[0.4]));
        scene.events.push(event.with("boxes", Data::boxes(&[[[-20.0; 3], [-10.0; 3]]])).note("three hits"));
    }
    scene.instead = "See event.svg.".into();
    scene
}

fn written(folder: &Path, scene: &Scene) -> PathBuf {
    let mut page = Page::new("A scene", "of a test");
    page.raw(scene.raw());
    let path = folder.join("scene.html");
    std::fs::write(&path, page.html()).unwrap();
    path
}

/// Points the mouse at a place of the first panel.
fn point(browser: &mut Browser, place: [f32; 3]) -> (f64, f64) {
    let at = browser.js(&format!(
        "(() => {{ const s = {SCENE}, o = [0, 0, 0]; s.project(s.panels[0], {}, {}, {}, o); \
         const r = s.grid.getBoundingClientRect(); return [o[0] + r.left, o[1] + r.top] }})()",
        place[0], place[1], place[2]
    ));
    let (x, y) = (at[0].as_f64().unwrap(), at[1].as_f64().unwrap());
    browser.mouse("mouseMoved", x - 2.0, y);
    browser.mouse("mouseMoved", x, y);
    frames(browser);
    (x, y)
}

#[test]
fn every_kind_of_thing_is_drawn_and_told_and_can_be_reached_by_mouse_and_keys() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = written(folder.path(), &scene());
    let seen = look(&mut browser, &page, "hits");
    // Three panels of a line, a helix, three hits, a cone and a box.
    assert_eq!((seen.drawn, seen.points, seen.events), (3 * 7, 3 * 3, 2));

    browser.open(&page, 1280, 1000);
    let (x, y) = point(&mut browser, [70.0, 60.0, 50.0]);
    assert_eq!(tip(&mut browser), "hit 1\nx 70, y 60, z 50 mm\nenergy: 1.5 MeV\nclass: b");
    let said = |browser: &mut Browser| browser.js("document.querySelector('.scene-said').textContent");
    for kind in ["mousePressed", "mouseReleased"] {
        browser.mouse(kind, x, y);
    }
    assert_eq!(said(&mut browser), "hit 1; x 70, y 60, z 50 mm; energy: 1.5 MeV; class: b");
    // The panel has the focus now: the next hit, the one after the last, the other event.
    browser.key("]");
    assert!(said(&mut browser).as_str().unwrap().starts_with("hit 2; x 10, y -60, z 20 mm"));
    browser.key("]");
    assert!(said(&mut browser).as_str().unwrap().starts_with("hit 0; x -80, y -70.5, z 60 mm; energy: 0.1"));
    let yaw = browser.js(&format!("{SCENE}.camera.yaw")).as_f64().unwrap();
    browser.key("ArrowRight");
    assert!(browser.js(&format!("{SCENE}.camera.yaw")).as_f64().unwrap() > yaw);
    let far = browser.js(&format!("{SCENE}.camera.far")).as_f64().unwrap();
    browser.key("+");
    assert!(browser.js(&format!("{SCENE}.camera.far")).as_f64().unwrap() < far);
    browser.key("0");
    browser.key(".");
    assert_eq!(browser.js("document.querySelector('.scene').dataset.event"), "1");
    assert_eq!(browser.js(&format!("{SCENE}.select.value")), "1");
    // Centimetres. Nothing is told while the view moves.
    browser.js("new Promise(r => setTimeout(r, 600))");
    browser.js(&format!("{SCENE}.unit = 1; {SCENE}.request()"));
    // A busy machine draws the last frames of the move later.
    for _ in 0..20 {
        point(&mut browser, [70.0, 60.0, 50.0]);
        if !tip(&mut browser).is_empty() {
            break;
        }
        browser.js("new Promise(r => setTimeout(r, 250))");
    }
    assert!(tip(&mut browser).contains("x 7, y 6, z 5 cm"), "{}", tip(&mut browser));
    // What is switched off is neither drawn nor found.
    browser.js("[...document.querySelectorAll('.scene-bar label')].find(l => l.textContent === 'b alone').querySelector('input').click()");
    point(&mut browser, [-80.0, -70.5, 60.0]);
    assert!(!tip(&mut browser).starts_with("hit"), "{}", tip(&mut browser));
    quiet(&mut browser);
}

#[test]
fn dragging_turns_the_wheel_comes_nearer_and_dark_pages_have_their_own_colours() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = written(folder.path(), &scene());
    browser.open(&page, 1280, 1000);
    let (x, y) = point(&mut browser, [0.0; 3]);
    let camera = |browser: &mut Browser| {
        let now = browser.js(&format!("[{SCENE}.camera.yaw, {SCENE}.camera.pitch, {SCENE}.camera.far]"));
        [0, 1, 2].map(|k| now[k].as_f64().unwrap())
    };
    let before = camera(&mut browser);
    browser.mouse("mousePressed", x, y);
    for step in 1..=4 {
        let held = serde_json::json!({ "type": "mouseMoved", "x": x + 10.0 * f64::from(step), "y": y, "button": "left", "buttons": 1 });
        browser.call("Input.dispatchMouseEvent", &held);
    }
    browser.mouse("mouseReleased", x + 40.0, y);
    let turned = camera(&mut browser);
    assert!((before[0] - turned[0] - 0.32).abs() < 0.05 && before[1] == turned[1], "{before:?} {turned:?}");
    let wheel = serde_json::json!({ "type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": -200 });
    browser.call("Input.dispatchMouseEvent", &wheel);
    assert!(camera(&mut browser)[2] < 0.8 * before[2]);
    let color = |browser: &mut Browser| {
        browser.js(&format!("[...{SCENE}.paint({SCENE}.own.hits, {SCENE}.panels[0].color)].slice(0, 3)"))
    };
    let light = color(&mut browser);
    browser.js("Podium.setTheme('dark')");
    frames(&mut browser);
    assert_ne!(light, color(&mut browser));
    quiet(&mut browser);
}

#[test]
fn a_hundred_and_twenty_thousand_points_are_drawn_and_found() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut scene = scene();
    // A spiral, and the last one apart from it.
    let place = |i: usize| {
        let t = i as f32 / 120_000.0;
        let (sin, cos) = (400.0 * t).sin_cos();
        [95.0 * t.sqrt() * cos, 95.0 * t.sqrt() * sin, 180.0 * t - 90.0]
    };
    let places: Vec<[f32; 3]> = (0..119_999).map(place).chain([[-97.0, 91.0, 95.0]]).collect();
    let hits = Data::points(&places).whole("class", (0..120_000_i64).map(|i| i % 2));
    scene.events = vec![Event::new("many").with("hits", hits)];
    scene.panels.truncate(1);
    scene.layers[2].size = 2.0;
    let page = written(folder.path(), &scene);
    let begun = std::time::Instant::now();
    browser.open(&page, 1280, 1000);
    eprintln!("120,000 points: {:.2} s until they are drawn", begun.elapsed().as_secs_f64());
    assert_eq!(browser.js("document.querySelector('.scene').dataset.points"), "120000");
    let last = places[119_999];
    point(&mut browser, last);
    assert!(tip(&mut browser).starts_with("hit 119999\n"), "{}", tip(&mut browser));
    // While it turns, fewer may be drawn; at rest all are.
    let rate = browser.js(&format!(
        "(async () => {{ const s = {SCENE}, f = s.frames, t = performance.now(); \
         while (performance.now() - t < 2000) {{ s.turn(0.02, 0); await new Promise(r => requestAnimationFrame(r)); }} \
         return (s.frames - f) / 2 }})()"
    ));
    eprintln!("120,000 points: {rate} frames a second while they turn");
    browser.js("new Promise(r => setTimeout(r, 1500))");
    assert_eq!(browser.js("document.querySelector('.scene').dataset.points"), "120000");
    quiet(&mut browser);
}

#[test]
fn without_webgl_the_page_says_what_to_look_at_instead() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = written(folder.path(), &scene());
    let without = "HTMLCanvasElement.prototype.getContext = () => null";
    browser.call("Page.addScriptToEvaluateOnNewDocument", &serde_json::json!({ "source": without }));
    browser.open(&page, 1280, 1000);
    let said = browser.js("document.querySelector('.scene [role=alert]').textContent");
    assert!(said.as_str().unwrap().contains("needs WebGL 2") && said.as_str().unwrap().contains("See event.svg."));
    quiet(&mut browser);
}
