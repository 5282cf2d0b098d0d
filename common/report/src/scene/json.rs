//! What the script of a scene reads.

use serde_json::{Map, Value, json};

use super::{Coloring, Data, GREY, Kind, Layer, RAMP, Scale, Scene, hue};
use crate::color::LIGHT;

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Points => "points",
            Self::Lines => "lines",
            Self::Helices => "helices",
            Self::Boxes => "boxes",
            Self::Cones => "cones",
        }
    }
}

impl Scene {
    pub(super) fn json(&self) -> Value {
        let axis = |name: &&str| json!({ "name": name, "unit": self.units[0].name });
        let units = self.units.iter().map(|u| json!({ "name": u.name, "factor": u.factor, "zero": u.zero }));
        let views = self.views.iter().map(|v| json!({ "id": v.id, "label": v.label, "flat": v.flat }));
        let panels =
            self.panels.iter().map(|p| json!({ "view": p.view, "color": p.color, "wide": p.wide, "label": p.label }));
        let filters = self
            .filters
            .iter()
            .map(|f| json!({ "column": f.column, "label": f.label, "unit": f.unit, "log": f.log, "flag": f.flag }));
        let events = self.events.iter().map(|e| json!({ "name": e.name, "note": e.note, "data": layers(&e.data) }));
        json!({
            "title": self.title,
            "file": self.file,
            "axes": self.axes.iter().map(axis).collect::<Vec<_>>(),
            "units": units.collect::<Vec<_>>(),
            "up": self.up,
            "box": self.frame.map(|(low, high, _)| [low, high]),
            "box_name": self.frame.map(|(_, _, name)| name),
            "yaw": self.eye.0,
            "pitch": self.eye.1,
            "views": views.collect::<Vec<_>>(),
            "panels": panels.collect::<Vec<_>>(),
            "layers": self.layers.iter().map(layer).collect::<Vec<_>>(),
            "colors": self.colors.iter().map(coloring).collect::<Vec<_>>(),
            "filters": filters.collect::<Vec<_>>(),
            "shared": layers(&self.shared),
            "events": events.collect::<Vec<_>>(),
            "start": self.start,
            "instead": self.instead,
            "ramp": RAMP,
        })
    }
}

fn layers(data: &[(&'static str, Data)]) -> Value {
    Value::Object(data.iter().map(|(id, data)| ((*id).to_string(), data.json())).collect())
}

fn layer(layer: &Layer) -> Value {
    let fields = layer.fields.iter().map(|f| {
        let mut field = Map::new();
        field.insert("column".into(), f.column.into());
        field.insert("label".into(), f.label.clone().into());
        field.insert("unit".into(), f.unit.into());
        if !f.names.is_empty() {
            field.insert("names".into(), f.names.clone().into());
        }
        Value::Object(field)
    });
    let mut value = json!({
        "id": layer.id,
        "label": layer.label,
        "one": layer.one,
        "kind": layer.kind.name(),
        "size": layer.size,
        "color": layer.color,
        "opacity": layer.opacity,
        "shown": layer.shown,
        "pick": layer.plain,
        "bounds": layer.plain,
        "hollow": layer.hollow,
        "size_by": layer.size_by,
        "fields": fields.collect::<Vec<_>>(),
    });
    if !layer.names.is_empty() {
        value["names"] = layer.names.clone().into();
    }
    if !layer.panels.is_empty() {
        value["panels"] = layer.panels.clone().into();
    }
    value
}

fn coloring(color: &Coloring) -> Value {
    let mut value = json!({
        "id": color.id, "label": color.label, "unit": color.unit, "column": color.column, "note": color.note,
    });
    match &color.scale {
        Scale::Names(names) => {
            value["kind"] = "names".into();
            value["names"] = names.iter().map(|(name, _)| name.as_str()).collect();
            value["colors"] = names.iter().map(|(_, pair)| json!(pair)).collect();
        }
        Scale::Ramp { log } => {
            value["kind"] = "ramp".into();
            value["log"] = (*log).into();
        }
        Scale::Ids => {
            value["kind"] = "ids".into();
            value["colors"] = (0..LIGHT.len()).map(|k| json!(hue(k))).collect();
        }
        Scale::Rgb(columns) => {
            value["kind"] = "rgb".into();
            value["columns"] = json!(columns);
            value["colors"] = json!([GREY]);
        }
    }
    value
}
