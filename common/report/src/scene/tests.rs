use super::*;

fn scene() -> Scene {
    let mut scene = Scene::new("Event </script>", ["x", "y", "z"], "mm");
    scene.views = vec![View::space(), View::flat("zr", "z, r", 2, 3)];
    scene.panels = vec![Panel::new("3d", "class"), Panel::new("zr", "energy").wide()];
    scene.layers = vec![
        Layer::new("layers", "layers", Kind::Lines).color(FAINT).backdrop(0.5),
        Layer::new("tracks", "tracks", Kind::Helices).field("pt", "pT", "GeV"),
        Layer::new("hits", "hits", Kind::Points).one("hit").class("class", "class", &["a".into(), "b".into()]),
        Layer::new("cones", "regions", Kind::Cones).color(GREY),
        Layer::new("boxes", "boxes", Kind::Boxes).color(INK),
    ];
    let names = vec![("a".to_string(), hue(0)), ("b".to_string(), hue(1))];
    scene.colors = vec![Coloring::names("class", "class", names), Coloring::ramp("energy", "energy", "MeV", true)];
    scene.filters = vec![Filter::range("energy", "energy", "MeV", true), Filter::flag("class", "b alone")];
    scene.shared = vec![("layers", Data::lines([[[0.0, 0.0, -9.0], [0.0, 0.0, 9.0]].as_slice()]))];
    let hits = Data::points(&[[1.0, 2.0, 3.0], [4.0, 300.0, 6.0], [7.0, 8.0, 9.0]]);
    let hits = hits.whole("class", [0, 1, 1]).floats("energy", &[0.1, 1.0, 10.0]);
    let helix = Helix { center: [0.0, 1.0], radius: 1.0, phi: 0.0, turn: 1.5, z: 0.0, rise: 4.0 };
    let cone = Cone { apex: [0.0; 3], axis: [0.0, 0.0, 2.0], angle: 0.5, length: 10.0 };
    let event = Event::new("event <7>").note("3 hits").with("hits", hits).with("cones", Data::cones(&[cone]));
    let event = event.with("tracks", Data::helices(&[helix]).floats("pt", &[0.4]));
    scene.events = vec![event.with("boxes", Data::boxes(&[[[0.0; 3], [1.0; 3]]]))];
    scene
}

#[test]
fn numbers_lie_in_the_narrowest_type_that_holds_them() {
    let json = scene().json();
    let hits = &json["events"][0]["data"]["hits"];
    // 300 takes two bytes; little-endian.
    assert_eq!((hits["xyz"]["t"].as_str(), hits["n"].as_u64()), (Some("u16"), Some(3)));
    assert!(hits["xyz"]["d"].as_str().unwrap().starts_with("AQACAAMA"), "{hits}");
    assert_eq!((&hits["class"]["t"], &hits["class"]["d"]), (&"u8".into(), &"AAEB".into()));
    assert_eq!(hits["energy"]["t"], "f32");
    let kind = |values: &[i64]| {
        Data::points(&vec![[0.5; 3]; values.len()]).whole("v", values.to_vec()).json()["v"]["t"].clone()
    };
    assert_eq!([kind(&[255]), kind(&[-1, 255]), kind(&[-1, 70_000]), kind(&[65_535])], ["u8", "i16", "i32", "u16"]);
    assert_eq!(json["events"][0]["data"]["tracks"]["helix"]["t"], "f32");
}

#[test]
fn a_still_shows_every_thing_in_every_panel_and_escapes_names() {
    let svg = scene().svg(0);
    assert_eq!(svg, scene().svg(0));
    assert!(svg.contains("event &lt;7&gt;: 3 hits") && !svg.contains("<7>"), "{svg}");
    // Three hits in two panels; a track, a line, a rim, four spokes and twelve edges in each.
    assert_eq!(svg.matches("h0").count(), 6);
    assert_eq!(svg.matches("<polyline").count(), 2 * (1 + 1 + 5 + 12));
    for part in ["z (mm)", "r (mm)", "energy (MeV)", "a 1", "b 2", "logarithmic", "regions"] {
        assert!(svg.contains(part), "{part}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn an_event_without_anything_is_a_picture_too() {
    let mut scene = scene();
    scene.events = vec![Event::new("empty")];
    scene.shared.clear();
    let svg = scene.svg(0);
    assert!(svg.contains("empty") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn the_page_holds_the_scene_once_and_nothing_of_its_data_ends_a_script() {
    let mut page = crate::Page::new("a", "b");
    page.raw(scene().raw());
    page.raw(scene().raw());
    let html = page.html();
    assert_eq!(html.matches("Podium.module(\"scene\"").count(), 1);
    assert_eq!(html.matches("globalThis.PodiumScene = Scene").count(), 1);
    assert_eq!(html.matches("<script").count(), html.matches("</script>").count());
    assert!(html.contains("Event &lt;/script&gt;"));
    for part in ["src=", "http:", "https:", "@import", "url(", "fetch("] {
        let found = html
            .replace("http://www.w3.org/2000/svg", "")
            .replace("https://github.com/leeoniya/uPlot", "")
            .replace("url(#", "")
            .contains(part);
        assert!(!found, "{part}");
    }
    assert!(scene().events[0].bytes() > 100);
}

#[test]
fn the_kit_stays_small() {
    assert!(include_str!("../../assets/scene.js").len() <= 40_000);
}
