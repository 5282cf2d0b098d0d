//! The numbers of a layer, and its shapes.

use serde_json::{Map, Value, json};

use crate::raw::{bytes, floats};

/// The numbers of one layer of one event: places and columns, one number of each column a thing.
#[derive(Debug, Clone)]
pub struct Data {
    /// Number of things.
    count: usize,
    pub(super) shape: Shape,
    columns: Vec<(&'static str, Column)>,
}

/// Where the things are.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    Points(Vec<[f32; 3]>),
    /// Places of all lines, and where each begins; one more for the end.
    Lines(Vec<[f32; 3]>, Vec<u32>),
    Helices(Vec<Helix>),
    Boxes(Vec<[[f32; 3]; 2]>),
    Cones(Vec<Cone>),
}

/// Numbers of a column.
#[derive(Debug, Clone)]
enum Column {
    Floats(Vec<f32>),
    Whole(Vec<i64>),
}

/// A piece of a helix around the third axis: from `(cx + r cos phi, cy + r sin phi, z)`, while the angle turns by `turn`
/// and the third coordinate grows by `rise`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Helix {
    /// Its axis.
    pub center: [f32; 2],
    /// Its radius.
    pub radius: f32,
    /// Angle of its beginning, radians.
    pub phi: f32,
    /// By how much the angle grows, radians.
    pub turn: f32,
    /// Third coordinate of its beginning.
    pub z: f32,
    /// By how much that grows.
    pub rise: f32,
}

impl Helix {
    /// The place at a share of the way, 0 to 1.
    pub fn at(&self, share: f64) -> [f64; 3] {
        let (radius, angle) = (f64::from(self.radius), f64::from(self.phi) + share * f64::from(self.turn));
        [
            f64::from(self.center[0]) + radius * angle.cos(),
            f64::from(self.center[1]) + radius * angle.sin(),
            f64::from(self.z) + share * f64::from(self.rise),
        ]
    }

    /// Lines that it is drawn with.
    pub(super) fn steps(&self) -> usize {
        ((self.turn.abs() / 0.06).ceil() as usize).clamp(8, 96)
    }
}

/// A cone: its rim is what lies at `angle` from its axis, at a distance from its apex.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cone {
    /// Where it begins.
    pub apex: [f32; 3],
    /// Its direction, of any length.
    pub axis: [f32; 3],
    /// Half its opening, radians, 0 to pi.
    pub angle: f32,
    /// From the apex to the rim.
    pub length: f32,
}

impl Data {
    fn of(count: usize, shape: Shape) -> Self {
        Self { count, shape, columns: vec![] }
    }

    /// Points.
    pub fn points(places: &[[f32; 3]]) -> Self {
        Self::of(places.len(), Shape::Points(places.to_vec()))
    }

    /// Lines through places.
    pub fn lines<'a>(lines: impl IntoIterator<Item = &'a [[f32; 3]]>) -> Self {
        let (mut places, mut starts) = (vec![], vec![0]);
        for line in lines {
            places.extend_from_slice(line);
            starts.push(places.len() as u32);
        }
        Self::of(starts.len() - 1, Shape::Lines(places, starts))
    }

    /// Helices.
    pub fn helices(helices: &[Helix]) -> Self {
        Self::of(helices.len(), Shape::Helices(helices.to_vec()))
    }

    /// Boxes, by their lowest and highest corner.
    pub fn boxes(boxes: &[[[f32; 3]; 2]]) -> Self {
        Self::of(boxes.len(), Shape::Boxes(boxes.to_vec()))
    }

    /// Cones.
    pub fn cones(cones: &[Cone]) -> Self {
        Self::of(cones.len(), Shape::Cones(cones.to_vec()))
    }

    /// A column of numbers, one a thing.
    ///
    /// # Panics
    /// Where there are more or fewer numbers than things.
    #[must_use]
    pub fn floats(mut self, column: &'static str, values: &[f32]) -> Self {
        assert_eq!(values.len(), self.count, "`{column}` has another number of values than the layer has things");
        self.columns.push((column, Column::Floats(values.to_vec())));
        self
    }

    /// A column of whole numbers that 32 bits hold, one a thing.
    ///
    /// # Panics
    /// Where there are more or fewer numbers than things.
    #[must_use]
    pub fn whole(mut self, column: &'static str, values: impl IntoIterator<Item = impl Into<i64>>) -> Self {
        let values: Vec<i64> = values.into_iter().map(Into::into).collect();
        assert_eq!(values.len(), self.count, "`{column}` has another number of values than the layer has things");
        self.columns.push((column, Column::Whole(values)));
        self
    }

    /// Number of things.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether there is a column of that name.
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|(name, _)| *name == column)
    }

    /// A number of a column.
    pub(super) fn value(&self, column: &str, row: usize) -> Option<f64> {
        match &self.columns.iter().find(|(name, _)| *name == column)?.1 {
            Column::Floats(values) => values.get(row).map(|v| f64::from(*v)),
            Column::Whole(values) => values.get(row).map(|v| *v as f64),
        }
    }

    /// The numbers of a column.
    pub(super) fn values(&self, column: &str) -> impl Iterator<Item = f64> {
        (0..self.count).map_while(move |row| self.value(column, row))
    }

    /// About how many bytes the numbers take in a page.
    pub(super) fn bytes(&self) -> usize {
        let text = |value: &Value| value["d"].as_str().map_or(0, str::len) + 40;
        match self.json() {
            Value::Object(map) => map.values().map(text).sum(),
            _ => 0,
        }
    }

    /// What the script reads.
    pub(super) fn json(&self) -> Value {
        let mut map = Map::new();
        map.insert("n".into(), self.count.into());
        let mut put = |name: &str, value: Value| map.insert(name.into(), value);
        match &self.shape {
            Shape::Points(places) => {
                put("xyz", packed(places.as_flattened()));
            }
            Shape::Lines(places, starts) => {
                put("xyz", singles(places.as_flattened()));
                put(
                    "starts",
                    json!({ "t": "u32", "d": bytes(&starts.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()) }),
                );
            }
            Shape::Helices(helices) => {
                let all = helices.iter().flat_map(|h| [h.center[0], h.center[1], h.radius, h.phi, h.turn, h.z, h.rise]);
                put("helix", singles(&all.collect::<Vec<_>>()));
            }
            Shape::Boxes(boxes) => {
                for (name, corner) in [("low", 0), ("high", 1)] {
                    put(name, singles(&boxes.iter().flat_map(|b| b[corner]).collect::<Vec<_>>()));
                }
            }
            Shape::Cones(cones) => {
                put("apex", singles(&cones.iter().flat_map(|c| c.apex).collect::<Vec<_>>()));
                put("axis", singles(&cones.iter().flat_map(|c| c.axis).collect::<Vec<_>>()));
                put("angle", singles(&cones.iter().map(|c| c.angle).collect::<Vec<_>>()));
                put("long", singles(&cones.iter().map(|c| c.length).collect::<Vec<_>>()));
            }
        }
        for (name, column) in &self.columns {
            let value = match column {
                Column::Floats(values) => singles(values),
                Column::Whole(values) => narrowest(values),
            };
            map.insert((*name).into(), value);
        }
        Value::Object(map)
    }
}

fn singles(values: &[f32]) -> Value {
    json!({ "t": "f32", "d": floats(values) })
}

/// Places: whole ones as narrow as they are, others in single precision.
fn packed(values: &[f32]) -> Value {
    let whole: Option<Vec<i64>> =
        values.iter().map(|v| (v.fract() == 0.0 && v.abs() < 65_536.0).then_some(*v as i64)).collect();
    whole.map_or_else(|| singles(values), |whole| narrowest(&whole))
}

/// Whole numbers in the narrowest type that holds them; beyond 32 bits they are cut.
fn narrowest(values: &[i64]) -> Value {
    let (low, high) = values.iter().fold((0, 0), |(low, high), v| (low.min(*v), high.max(*v)));
    let (kind, width) = match (low, high) {
        (0, ..=255) => ("u8", 1),
        (0, ..=65_535) => ("u16", 2),
        (-32_768.., ..=32_767) => ("i16", 2),
        _ => ("i32", 4),
    };
    let cut = |v: &i64| (*v).clamp(i64::from(i32::MIN), i64::from(i32::MAX)).to_le_bytes();
    let raw: Vec<u8> = values.iter().flat_map(|v| cut(v).into_iter().take(width)).collect();
    json!({ "t": kind, "d": bytes(&raw) })
}
