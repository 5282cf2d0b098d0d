//! `${a.b[0]}` in texts. A text that is one expression keeps the type of the value; `\${` stands for `${`.

use common::Result;

use super::context::Context;
use super::expression::{expressions, parts};
use super::text;
use super::tree::{Key, Kind, Node};

/// Where a text stands decides what may be put into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// A command: a map becomes flags.
    Command,
    /// The data of `foreach` and `matrix`: everything.
    Data,
    /// Everything else: plain values.
    Plain,
}

/// Resolves every text of a tree, keys included.
pub fn resolve(node: &Node, context: &Context, slot: Slot) -> Result<Node> {
    let kind = match &node.kind {
        Kind::Text(_) => return resolve_text(node, context, slot),
        Kind::List(items) => Kind::List(items.iter().map(|item| resolve(item, context, slot)).collect::<Result<_>>()?),
        Kind::Map(entries) => {
            let mut resolved = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let name = Node { at: key.at.clone(), kind: Kind::Text(key.name.clone()) };
                let name = text::python(&resolve_text(&name, context, slot)?);
                resolved.push((Key { name, at: key.at.clone() }, resolve(value, context, slot)?));
            }
            Kind::Map(resolved)
        }
        other => other.clone(),
    };
    Ok(Node { at: node.at.clone(), kind })
}

fn resolve_text(node: &Node, context: &Context, slot: Slot) -> Result<Node> {
    let Some(text) = node.as_text() else { return Ok(node.clone()) };
    let found = expressions(text);
    let mut out = String::new();
    let mut done = 0;
    for (start, end) in &found {
        let value = look_up(node, &text[*start..*end], context)?;
        let whole = found.len() == 1 && *start == 0 && *end == text.len();
        check(node, &text[*start..*end], value, slot)?;
        if whole {
            // The value keeps its type; mistakes in it are shown where the expression stands.
            return Ok(Node { at: node.at.clone(), kind: value.kind.clone() });
        }
        out += &text[done..*start];
        out += &match &value.kind {
            Kind::Map(_) if slot == Slot::Command => text::flags(value).map_err(|e| node.at.error(e))?,
            _ => text::python(value),
        };
        done = *end;
    }
    out += &text[done..];
    Ok(Node { at: node.at.clone(), kind: Kind::Text(out.replace("\\${", "${")) })
}

fn check(node: &Node, expression: &str, value: &Node, slot: Slot) -> Result<()> {
    let fits = match value.kind {
        Kind::List(_) => slot == Slot::Data,
        Kind::Map(_) => slot != Slot::Plain,
        _ => true,
    };
    if fits {
        return Ok(());
    }
    let found = value.describe();
    Err(node.at.of(expression).error(format!("`{expression}` is {found}, expected a plain value")))
}

fn look_up<'a>(node: &Node, expression: &str, context: &'a Context) -> Result<&'a Node> {
    let place = || node.at.of(expression);
    let inner = &expression[2..expression.len() - 1];
    let path = parts(inner).ok_or_else(|| {
        place().error(format!("`{expression}` is no expression; write `${{name}}`, `${{a.b}}` or `${{a[0]}}`"))
    })?;
    context.select(&path).map_err(|missing| {
        place().error_among(format!("`{expression}`: {}", missing.sentence), &missing.part, &missing.known)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::read::parse;
    use super::*;
    use crate::run_pipeline::choice::Choices;

    fn context(text: &str) -> Context {
        let mut context = Context::new(Choices::default().shared());
        let vars = parse(Path::new("vars.yaml"), format!("- {text}\n")).unwrap();
        context.load_vars(&vars, Path::new("."), Path::new(".")).unwrap();
        context
    }

    fn resolved(text: &str, slot: Slot) -> Result<Node> {
        let vars = context("{a: {b: [10, 2.5e-6]}, on: true, none: null, s: text, m: {k: 1}, neg: [1, 2]}");
        let node = Node { at: parse(Path::new("x.yaml"), text.into()).unwrap().at, kind: Kind::Text(text.into()) };
        resolve(&node, &vars, slot)
    }

    #[test]
    fn an_expression_alone_keeps_its_type_and_a_mixed_one_is_text() {
        assert!(matches!(resolved("${a.b[0]}", Slot::Plain).unwrap().kind, Kind::Int(10)));
        assert!(matches!(resolved("${ on }", Slot::Plain).unwrap().kind, Kind::Bool(true)));
        let text = |t: &str| resolved(t, Slot::Command).unwrap().as_text().unwrap().to_string();
        assert_eq!(text("x ${a.b[1]} ${on} ${none}${s} \\${s}"), "x 2.5e-06 true Nonetext ${s}");
        assert_eq!(text("run ${m} ${neg[-1]}"), "run --k 1 2");
        assert_eq!(text("$HOME ${unclosed"), "$HOME ${unclosed");
    }

    #[test]
    fn bad_expressions_are_shown_with_their_place_and_the_nearest_name() {
        let message = |t: &str, slot| resolved(t, slot).unwrap_err();
        let error = message("x ${a.c}", Slot::Plain);
        assert!(error.to_string().starts_with("x.yaml:1:3: `${a.c}`: `a` has no `c`"), "{error}");
        let error = message("${non}", Slot::Plain);
        assert!(error.hint_text().unwrap().contains("did you mean `none`"), "{error}");
        assert!(message("${}", Slot::Plain).to_string().contains("is no expression"));
        assert!(message("${a..b}", Slot::Plain).to_string().contains("is no expression"));
        assert!(message("${a.b[7]}", Slot::Plain).to_string().contains("list of 2"));
        assert!(message("${s.x}", Slot::Plain).to_string().contains("`s` is text"));
        assert!(message("x ${m}", Slot::Plain).to_string().contains("is a map, expected a plain value"));
        assert!(message("x ${a.b}", Slot::Command).to_string().contains("is a list"));
    }

    #[test]
    fn a_variable_is_never_redefined() {
        let mut vars = context("{a: {b: 1}}");
        let more = parse(Path::new("y.yaml"), "- {a: {c: 2}}\n- {a: {b: 3}}\n".into()).unwrap();
        let error = vars.load_vars(&more, Path::new("."), Path::new(".")).unwrap_err().to_string();
        assert!(error.starts_with("y.yaml:2:8: `a.b` is defined already, at vars.yaml:1:8"), "{error}");
    }
}
