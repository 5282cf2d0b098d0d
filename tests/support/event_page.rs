//! What every page of events must do, looked at in a browser.
#![allow(dead_code, reason = "each system looks at other parts of its pages")]

use std::path::Path;

use serde_json::Value;

use crate::browser::Browser;

/// The scene of the page, in its scripts.
pub const SCENE: &str = "document.querySelector('.scene').scene";

/// What a page shows.
#[derive(Debug)]
pub struct Seen {
    /// Points and lines of all panels.
    pub drawn: u64,
    /// Points of all panels.
    pub points: u64,
    /// Events that can be chosen.
    pub events: u64,
}

/// Opens a page at three widths: it says nothing, asks for nothing, fits, draws something of each event, and tells of a point
/// under the pointer what the data say.
pub fn look(browser: &mut Browser, page: &Path, layer: &str) -> Seen {
    for width in [320, 2560, 1280] {
        browser.open(page, width, 900);
        quiet(browser);
        fits(browser, width);
    }
    assert!(browser.shot().len() > 10_000, "{} looks empty", page.display());
    let number = |browser: &mut Browser, text: &str| browser.js(text).as_u64().unwrap_or(0);
    let events = number(browser, &format!("{SCENE}.spec.events.length"));
    let drawn = number(browser, "+document.querySelector('.scene').dataset.drawn");
    let points = number(browser, "+document.querySelector('.scene').dataset.points");
    told(browser, layer);
    for event in 0..events.min(3) {
        browser.js(&format!("{SCENE}.show({event})"));
        frames(browser);
        assert!(number(browser, "+document.querySelector('.scene').dataset.drawn") > 0, "event {event} is not drawn");
    }
    let svg = browser.js(&format!("{SCENE}.svg()"));
    assert!(svg.as_str().unwrap().starts_with("<svg") && !svg.as_str().unwrap().contains("NaN"));
    let csv = browser.js(&format!("{SCENE}.csv()"));
    assert!(csv.as_str().unwrap().lines().count() > 1);
    quiet(browser);
    Seen { drawn, points, events }
}

/// Nothing on the console, nothing asked for.
pub fn quiet(browser: &mut Browser) {
    browser.js("1");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.requests(), Vec::<String>::new());
}

/// Waits until what was asked for is drawn.
pub fn frames(browser: &mut Browser) {
    browser.js("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(r, 30))))");
}

/// Nothing is wider than the window, and the parts of the block lie one below another.
fn fits(browser: &mut Browser, width: u32) {
    let wide = browser.js("document.documentElement.scrollWidth").as_u64().unwrap();
    assert!(wide <= u64::from(width), "{wide} pixels in a window of {width}");
    let overlaps = browser.js(
        "(() => { const all = [...document.querySelector('.scene').children].map(e => e.getBoundingClientRect()).filter(r => r.height); \
         return all.filter((r, i) => i && r.top < all[i - 1].bottom - 1).length })()",
    );
    assert_eq!(overlaps, 0, "parts of the page overlap at {width}");
}

/// Points at a point that is in front of all others, and reads what is said of it. The pointer goes in whole pixels, as a browser
/// tells them.
fn told(browser: &mut Browser, layer: &str) {
    let found = browser.js(&format!(
        "(() => {{ const s = {SCENE}, p = s.panels[0], d = s.own['{layer}'].data, o = [0, 0, 0], g = s.grid.getBoundingClientRect(); \
         for (let i = 0; i < d.n; i++) {{ s.project(p, d.xyz[3 * i], d.xyz[3 * i + 1], d.xyz[3 * i + 2], o); \
           const x = Math.round(o[0] + g.left), y = Math.round(o[1] + g.top), f = s.pick(p, x - g.left, y - g.top); \
           if (f && f.item === s.own['{layer}'] && f.index === i) return {{ i, x, y, xyz: [0, 1, 2].map(a => d.xyz[3 * i + a]) }}; }} \
         return null }})()"
    ));
    assert!(found.is_object(), "no point of `{layer}` lies in front");
    let at = |key: &str| found[key].as_f64().unwrap();
    browser.js(&format!("scrollTo({{ top: {}, behavior: 'instant' }})", (at("y") - 300.0).max(0.0).round()));
    let scrolled = browser.js("scrollY").as_f64().unwrap();
    browser.mouse("mouseMoved", at("x") - 3.0, at("y") - scrolled);
    browser.mouse("mouseMoved", at("x"), at("y") - scrolled);
    frames(browser);
    let said = tip(browser);
    let ends = format!(" {}", found["i"]);
    assert!(said.lines().any(|line| line.ends_with(&ends)), "point {}: {said}", found["i"]);
    for (axis, value) in ["x", "y", "z"].iter().zip(found["xyz"].as_array().unwrap()) {
        let value = browser.js(&format!("Podium.number({value})"));
        assert!(said.contains(&format!("{axis} {}", value.as_str().unwrap())), "{axis} {value}: {said}");
    }
}

/// What the hover says.
pub fn tip(browser: &mut Browser) -> String {
    let said =
        browser.js("[...document.querySelectorAll('#tip:not([hidden]) div')].map(e => e.textContent).join('\\n')");
    match said {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
