//! `--dag`: the stages and their edges as text, for Graphviz, and for Mermaid.

use crate::graph::Project;

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
