//! `--dag`: the stages and their edges as text, for Graphviz, and for Mermaid.

use common::{Error, Result};

use crate::run_pipeline::graph::{Project, Unit};

/// One line a stage, indented by its depth, with the stages that it waits for.
pub fn text(project: &Project) -> String {
    let mut depths: Vec<usize> = Vec::new();
    let mut lines = Vec::new();
    for unit in &project.units {
        let depth = unit.upstream.iter().map(|&up| depths[up] + 1).max().unwrap_or(0);
        depths.push(depth);
        let from: Vec<&str> = unit.upstream.iter().map(|&up| project.units[up].title.as_str()).collect();
        let from = if from.is_empty() { String::new() } else { format!("  <- {}", from.join(", ")) };
        lines.push(format!("{}{}{from}", "  ".repeat(depth), unit.title));
    }
    lines.join("\n")
}

/// Every stage with what it waits for, reads and writes, as JSON.
pub fn json(project: &Project) -> Result<String> {
    let stage = |unit: &Unit| {
        let upstream: Vec<&str> = unit.upstream.iter().map(|&up| project.units[up].title.as_str()).collect();
        let deps: Vec<&str> = unit.stage.deps.iter().map(|dep| dep.path.as_str()).collect();
        let outs: Vec<&str> = unit.stage.outs.iter().map(|out| out.path.as_str()).collect();
        let pipeline = project.homes[unit.home].shown.display().to_string();
        serde_json::json!({ "stage": unit.title, "pipeline": pipeline, "waits_for": upstream, "deps": deps, "outs": outs })
    };
    let stages: Vec<_> = project.units.iter().map(stage).collect();
    serde_json::to_string_pretty(&stages).map_err(|e| Error::failed(format!("stages: {e}")))
}

/// A Graphviz digraph.
pub fn dot(project: &Project) -> String {
    let quote = |title: &str| format!("\"{}\"", title.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = String::from("strict digraph {\n");
    for unit in &project.units {
        text += &format!("  {};\n", quote(&unit.title));
    }
    for unit in &project.units {
        for &up in &unit.upstream {
            text += &format!("  {} -> {};\n", quote(&project.units[up].title), quote(&unit.title));
        }
    }
    text + "}"
}

/// A Mermaid flowchart.
pub fn mermaid(project: &Project) -> String {
    let mut text = String::from("flowchart TD\n");
    for (index, unit) in project.units.iter().enumerate() {
        text += &format!("\tnode{}[\"{}\"]\n", index + 1, unit.title.replace('"', "#quot;"));
    }
    for (index, unit) in project.units.iter().enumerate() {
        for up in &unit.upstream {
            text += &format!("\tnode{}-->node{}\n", up + 1, index + 1);
        }
    }
    text.trim_end().to_string()
}
