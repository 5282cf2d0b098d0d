//! A scene as a still picture.

use std::fmt::Write as _;

use super::axes::{self, text};
use super::camera::{Camera, Rect, corners, cross, unit};
use super::data::{Cone, Shape};
use super::{Coloring, Data, Event, GREY, Kind, Layer, Panel, RAMP, Scale, Scene, hue};
use crate::{escape, number};

const WIDTH: f64 = 960.0;
const TOP: f64 = 34.0;
const INK: &str = "#1b1f24";
const MUTED: &str = "#57606a";

/// What is drawn at a depth.
enum Mark {
    Dot { x: f64, y: f64, d: f64, hollow: bool },
    Path { points: Vec<(f64, f64)>, width: f32, fill: bool },
}

/// A layer of an event with its numbers.
type Item<'a> = (&'a Layer, &'a Data);

pub(super) fn svg(scene: &Scene, event: &Event) -> String {
    let items: Vec<Item> = scene
        .layers
        .iter()
        .filter_map(|layer| {
            let data = event.data.iter().chain(&scene.shared).find(|(id, _)| *id == layer.id);
            data.map(|(_, data)| (layer, data))
        })
        .collect();
    let (low, high) = bounds(scene, &items);
    let (rects, bottom) = layout(scene);
    let mut body = String::new();
    for (number, (panel, rect)) in scene.panels.iter().zip(&rects).enumerate() {
        let inside = match scene.views.iter().find(|view| view.id == panel.view) {
            Some(view) if view.flat.is_some() => {
                Rect { x: rect.x + 58.0, y: rect.y + 26.0, w: rect.w - 68.0, h: rect.h - 66.0 }
            }
            _ => *rect,
        };
        let camera = Camera::fit(scene, panel, inside, low, high);
        let color = scene.colors.iter().find(|color| color.id == panel.color);
        axes::draw(&mut body, scene, &camera, low, high);
        body += &marks(scene, &items, (number, panel), color, &camera);
        let name = scene.views.iter().find(|view| view.id == panel.view).map_or("", |view| view.label.as_str());
        let name = panel.label.unwrap_or(name);
        let what = color.map_or(String::new(), |color| format!(", {}", color.label));
        text(&mut body, rect.x + 8.0, rect.y + 16.0, "start", 13, INK, &format!("{name}{what}"));
    }
    let below = legends(&mut body, scene, &items, bottom + 20.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {below:.0}\" font-family=\"sans-serif\">\n\
         <title>{0}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"15\" fill=\"{INK}\">{0}</text>\n{body}</svg>\n",
        escape(&one_line(scene, event))
    )
}

fn one_line(scene: &Scene, event: &Event) -> String {
    let note = event.note.lines().next().unwrap_or("");
    let colon = if note.is_empty() { "" } else { ": " };
    if event.name.is_empty() { scene.title.clone() } else { format!("{}{colon}{note}", event.name) }
}

/// Where the panels lie: those that are not wide beside each other, and the lower end of all.
fn layout(scene: &Scene) -> (Vec<Rect>, f64) {
    let beside = scene.panels.iter().filter(|panel| !panel.wide).count().max(1) as f64;
    let w = (WIDTH - 10.0 * (beside - 1.0)) / beside;
    let (mut x, mut y) = (0.0, TOP);
    let tall = if beside > 1.0 { w } else { 560.0 };
    let mut rects = vec![];
    for panel in scene.panels.iter().filter(|panel| !panel.wide) {
        rects.push((panel, Rect { x, y, w, h: tall }));
        x += w + 10.0;
    }
    y += if rects.is_empty() { 0.0 } else { tall + 10.0 };
    for panel in scene.panels.iter().filter(|panel| panel.wide) {
        rects.push((panel, Rect { x: 0.0, y, w: WIDTH, h: 280.0 }));
        y += 290.0;
    }
    let of = |panel: &Panel| rects.iter().find(|(other, _)| std::ptr::eq(*other, panel)).map(|(_, rect)| *rect);
    (scene.panels.iter().filter_map(of).collect(), y)
}

/// The frame, or the box around what is there where there is no frame or little in it.
fn bounds(scene: &Scene, items: &[Item]) -> ([f64; 3], [f64; 3]) {
    let own = own_bounds(items);
    let long = |(low, high): &([f64; 3], [f64; 3])| (0..3).map(|k| (high[k] - low[k]).powi(2)).sum::<f64>().sqrt();
    match scene.frame.map(|(low, high, _)| (low.map(f64::from), high.map(f64::from))) {
        Some(frame) if long(&own) >= 0.5 * long(&frame) => frame,
        _ => own,
    }
}

fn own_bounds(items: &[Item]) -> ([f64; 3], [f64; 3]) {
    let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
    for (_, data) in items.iter().filter(|(layer, _)| layer.plain) {
        for place in places(data) {
            for k in 0..3 {
                (low[k], high[k]) = (low[k].min(place[k]), high[k].max(place[k]));
            }
        }
    }
    for k in 0..3 {
        match high[k] - low[k] {
            span if span > 1e-9 => {}
            span if span.is_finite() => (low[k], high[k]) = (low[k] - 0.5, high[k] + 0.5),
            _ => (low[k], high[k]) = (0.0, 1.0),
        }
    }
    (low, high)
}

fn wide(place: &[f32; 3]) -> [f64; 3] {
    place.map(f64::from)
}

fn places(data: &Data) -> Vec<[f64; 3]> {
    match &data.shape {
        Shape::Points(places) => places.iter().map(wide).collect(),
        _ => lines(data).into_iter().flat_map(|(_, line, _)| line).collect(),
    }
}

/// The lines that shapes are drawn with: whose, through which places, whether filled.
fn lines(data: &Data) -> Vec<(usize, Vec<[f64; 3]>, bool)> {
    match &data.shape {
        Shape::Points(_) => vec![],
        Shape::Lines(places, starts) => {
            let line = |(i, ends): (usize, &[u32])| {
                (i, places[ends[0] as usize..ends[1] as usize].iter().map(wide).collect(), false)
            };
            starts.windows(2).enumerate().map(line).collect()
        }
        Shape::Helices(helices) => {
            let line = |(i, helix): (usize, &super::Helix)| {
                let steps = helix.steps();
                (i, (0..=steps).map(|k| helix.at(k as f64 / steps as f64)).collect(), false)
            };
            helices.iter().enumerate().map(line).collect()
        }
        Shape::Boxes(boxes) => {
            let edges = |(i, [low, high]): (usize, &[[f32; 3]; 2])| {
                let all: Vec<_> = corners(wide(low), wide(high)).collect();
                let pairs =
                    (0..8).flat_map(|n: usize| (0..3).filter(move |a| n >> a & 1 == 0).map(move |a| (n, n | 1 << a)));
                pairs.map(|(a, b)| (i, vec![all[a], all[b]], false)).collect::<Vec<_>>()
            };
            boxes.iter().enumerate().flat_map(edges).collect()
        }
        Shape::Cones(cones) => cones.iter().enumerate().flat_map(|(i, cone)| cone_lines(i, cone)).collect(),
    }
}

fn cone_lines(number: usize, cone: &Cone) -> Vec<(usize, Vec<[f64; 3]>, bool)> {
    let (apex, axis) = (wide(&cone.apex), unit(wide(&cone.axis)));
    let side = unit(cross(axis, if axis[2].abs() < 0.9 { [0.0, 0.0, 1.0] } else { [1.0, 0.0, 0.0] }));
    let other = cross(axis, side);
    let (sin, cos) = f64::from(cone.angle).sin_cos();
    let long = f64::from(cone.length);
    let rim: Vec<[f64; 3]> = (0..=64)
        .map(|k| {
            let (s, c) = (f64::from(k) * std::f64::consts::PI / 32.0).sin_cos();
            std::array::from_fn(|a| apex[a] + long * (cos * axis[a] + sin * (c * side[a] + s * other[a])))
        })
        .collect();
    let spokes = (0..64).step_by(16).map(|k| (number, vec![apex, rim[k]], false));
    let spokes: Vec<_> = spokes.collect();
    [vec![(number, rim, true)], spokes].concat()
}

/// The lowest and highest number of a column.
fn ends(items: &[Item], column: &str, log: bool) -> (f64, f64) {
    let all = items.iter().flat_map(|(_, data)| data.values(column)).filter(|v| v.is_finite() && (!log || *v > 0.0));
    let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn ramp(share: f64) -> String {
    let table: Vec<[f64; 3]> = RAMP
        .iter()
        .map(|color| {
            std::array::from_fn(|k| f64::from(u8::from_str_radix(&color[1 + 2 * k..3 + 2 * k], 16).unwrap_or(0)))
        })
        .collect();
    let at = share.clamp(0.0, 1.0) * (table.len() - 1) as f64;
    let low = (at as usize).min(table.len() - 2);
    let part = at - low as f64;
    hex(std::array::from_fn(|k| (table[low][k] + part * (table[low + 1][k] - table[low][k])).round() as u8))
}

/// The colour of each thing of a layer.
fn paints(items: &[Item], (layer, data): Item, color: Option<&Coloring>) -> Vec<String> {
    let plain = layer.color.unwrap_or(GREY)[0].to_string();
    let Some(color) = color.filter(|color| data.value(color.column, 0).is_some()) else {
        return vec![plain; data.len()];
    };
    let value = |column: &str, row: usize| data.value(column, row).unwrap_or(0.0);
    let log = matches!(color.scale, Scale::Ramp { log: true });
    let (low, high) = ends(items, color.column, log);
    (0..data.len())
        .map(|row| {
            let v = value(color.column, row);
            match &color.scale {
                Scale::Names(names) => names
                    .get((v.max(0.0) as usize).min(names.len().saturating_sub(1)))
                    .map_or(plain.clone(), |(_, c)| c[0].into()),
                Scale::Ramp { log: true } => ramp((v.max(low) / low).ln() / (high / low).ln().max(1e-9)),
                Scale::Ramp { .. } => ramp((v - low) / (high - low).max(1e-9)),
                Scale::Ids if v < 0.0 => GREY[0].into(),
                Scale::Ids => hue(v as usize)[0].into(),
                Scale::Rgb(columns) => hex(columns.map(|column| value(column, row) as u8)),
            }
        })
        .collect()
}

/// What a panel shows, the farthest first.
fn marks(
    scene: &Scene,
    items: &[Item],
    (number, _): (usize, &Panel),
    color: Option<&Coloring>,
    camera: &Camera,
) -> String {
    let mut all: Vec<(f64, String, f32, Mark)> = vec![];
    for &(layer, data) in items.iter().filter(|(layer, _)| layer.shown) {
        if !layer.panels.is_empty() && !layer.panels.contains(&number) {
            continue;
        }
        let paints = paints(items, (layer, data), color);
        if let Shape::Points(places) = &data.shape {
            let sizes = sizes(layer, data);
            for (row, place) in places.iter().enumerate() {
                let Some((x, y, depth)) = camera.project(wide(place)) else { continue };
                let mark = Mark::Dot { x, y, d: f64::from(layer.size) * sizes[row], hollow: layer.hollow };
                all.push((depth, paints[row].clone(), layer.opacity, mark));
            }
            continue;
        }
        for (row, line, fill) in lines(data) {
            let seen: Vec<(f64, f64, f64)> = line.iter().filter_map(|place| camera.project(*place)).collect();
            let depth = seen.iter().map(|p| p.2).sum::<f64>() / seen.len().max(1) as f64;
            let points = seen.iter().map(|p| (p.0, p.1)).collect();
            let fill = fill && layer.kind == Kind::Cones;
            all.push((depth, paints[row].clone(), layer.opacity, Mark::Path { points, width: layer.size, fill }));
        }
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let rect = camera.rect();
    let id = format!("{}p{number}", scene.file);
    let mut out = format!(
        "<clipPath id=\"{id}\"><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/></clipPath>\n\
         <g clip-path=\"url(#{id})\" fill=\"none\" stroke-linecap=\"round\" stroke-linejoin=\"round\">\n",
        rect.x, rect.y, rect.w, rect.h
    );
    let mut dots: Option<(String, String, String)> = None;
    let flush = |out: &mut String, dots: &mut Option<(String, String, String)>| {
        if let Some((color, width, path)) = dots.take() {
            let _ = writeln!(out, "<path stroke=\"{color}\" stroke-width=\"{width}\" d=\"{path}\"/>");
        }
    };
    for (_, color, opacity, mark) in all {
        match mark {
            // Dots of one colour and size that follow each other share a path: a dot is a line of no length.
            Mark::Dot { x, y, d, hollow: false } => {
                let width = format!("{d:.1}");
                if !dots.as_ref().is_some_and(|(c, w, _)| *c == color && *w == width) {
                    flush(&mut out, &mut dots);
                    dots = Some((color, width, String::new()));
                }
                if let Some((_, _, path)) = &mut dots {
                    let _ = write!(path, "M{x:.1} {y:.1}h0");
                }
            }
            Mark::Dot { x, y, d, .. } => {
                flush(&mut out, &mut dots);
                let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{:.1}\" stroke=\"{color}\"/>", d / 2.0);
            }
            Mark::Path { points, width, fill } => {
                flush(&mut out, &mut dots);
                let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                let fill = if fill { format!(" fill=\"{color}\" fill-opacity=\"0.12\"") } else { String::new() };
                let _ = writeln!(
                    out,
                    "<polyline stroke=\"{color}\" stroke-width=\"{width:.1}\" opacity=\"{opacity:.2}\"{fill} points=\"{}\"/>",
                    path.join(" ")
                );
            }
        }
    }
    flush(&mut out, &mut dots);
    out + "</g>\n"
}

/// Shares of a layer's size: by the root of its column, the largest hundredth alike.
fn sizes(layer: &Layer, data: &Data) -> Vec<f64> {
    let Some(column) = layer.size_by else { return vec![1.0; data.len()] };
    let values: Vec<f64> = data.values(column).collect();
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let most = sorted.get(sorted.len() * 99 / 100).copied().filter(|most| *most > 0.0).unwrap_or(1.0);
    values.iter().map(|v| 0.7 + 2.3 * (v / most).clamp(0.0, 1.6).sqrt()).collect()
}

/// The legends below the panels; gives the lower end of the picture.
fn legends(out: &mut String, scene: &Scene, items: &[Item], mut y: f64) -> f64 {
    let mut told: Vec<&str> = vec![];
    let dot = |out: &mut String, x: f64, y: f64, color: &str, name: &str| {
        let _ = writeln!(out, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\" fill=\"{color}\"/>", x + 5.0, y - 4.0);
        text(out, x + 14.0, y, "start", 12, MUTED, name);
        x + 30.0 + 7.0 * name.chars().count() as f64
    };
    for color in scene.panels.iter().filter_map(|panel| scene.colors.iter().find(|color| color.id == panel.color)) {
        if told.contains(&color.id) {
            continue;
        }
        told.push(color.id);
        let title =
            if color.unit.is_empty() { color.label.clone() } else { format!("{} ({})", color.label, color.unit) };
        text(out, 8.0, y, "start", 12, INK, &title);
        let mut x = 24.0 + 7.0 * title.chars().count() as f64;
        match &color.scale {
            Scale::Names(names) => {
                let first = items.iter().find(|(_, data)| data.value(color.column, 0).is_some());
                for (k, (name, pair)) in names.iter().enumerate() {
                    let last = names.len() - 1;
                    let count = first.map_or(0, |(_, data)| {
                        data.values(color.column).filter(|v| (v.max(0.0) as usize).min(last) == k).count()
                    });
                    if count > 0 {
                        if x > WIDTH - 150.0 {
                            (x, y) = (24.0, y + 20.0);
                        }
                        x = dot(out, x, y, pair[0], &format!("{name} {count}"));
                    }
                }
            }
            Scale::Ramp { log } => {
                let (low, high) = ends(items, color.column, *log);
                text(out, x, y, "start", 12, MUTED, &number(low));
                x += 16.0 + 7.0 * number(low).len() as f64;
                for k in 0..60 {
                    let color = ramp(f64::from(k) / 59.0);
                    let _ = writeln!(
                        out,
                        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"2.3\" height=\"11\" fill=\"{color}\"/>",
                        x + 2.0 * f64::from(k),
                        y - 10.0
                    );
                }
                let scale = if *log { ", logarithmic" } else { "" };
                text(out, x + 128.0, y, "start", 12, MUTED, &format!("{}{scale}", number(high)));
            }
            Scale::Ids | Scale::Rgb(_) => text(out, x, y, "start", 12, MUTED, &color.note),
        }
        y += 22.0;
    }
    let mut x = 8.0;
    for (layer, _) in items.iter().filter(|(layer, data)| layer.shown && layer.color.is_some() && !data.is_empty()) {
        x = dot(out, x, y, layer.color.unwrap_or(GREY)[0], &layer.label);
    }
    if x > 8.0 { y + 16.0 } else { y - 6.0 }
}
