//! Interpolations in the original's configs: `${a.b}`, `${.sibling}`, `${eval:'1 / ${a.b}'}`.

use common::{Error, Result};
use serde_json::{Number, Value};

/// Interpolations within one another at most: one that leads to itself ends here.
const DEPTH: usize = 20;

/// A config with all interpolations resolved.
pub(super) fn resolve(config: &Value) -> Result<Value> {
    walk(config, config, &mut vec![])
}

fn walk(root: &Value, at: &Value, path: &mut Vec<String>) -> Result<Value> {
    Ok(match at {
        Value::Object(map) => {
            let inner = map.iter().map(|(key, value)| {
                path.push(key.clone());
                let value = walk(root, value, path);
                path.pop();
                Ok((key.clone(), value?))
            });
            Value::Object(inner.collect::<Result<_>>()?)
        }
        Value::Array(list) => {
            let inner = list.iter().enumerate().map(|(i, value)| {
                path.push(i.to_string());
                let value = walk(root, value, path);
                path.pop();
                value
            });
            Value::Array(inner.collect::<Result<_>>()?)
        }
        Value::String(text) if text.contains("${") => expand(root, text, path, 0)?,
        other => other.clone(),
    })
}

/// Replaces what stands in `${}`; a text that is nothing else keeps the type of what it stands for.
fn expand(root: &Value, text: &str, path: &[String], depth: usize) -> Result<Value> {
    let bad = |problem: &str| Error::usage(format!("`{}` is `{text}`: {problem}", path.join(".")));
    if depth > DEPTH {
        return Err(bad("it leads to itself"));
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find("${") {
        let end = closing(&rest[begin..]).ok_or_else(|| bad("a `}` is missing"))? + begin;
        let inner = &rest[begin + 2..end];
        let value = match inner.strip_prefix("eval:") {
            Some(formula) => {
                let formula = formula.trim().trim_matches(['\'', '"']);
                let plain = text_of(&expand(root, formula, path, depth + 1)?);
                let number = Formula::value(&plain).ok_or_else(|| bad(&format!("`{plain}` is no formula")))?;
                Number::from_f64(number).map(Value::Number).ok_or_else(|| bad("its value is not finite"))?
            }
            None => {
                let (found, place) = lookup(root, inner, path).ok_or_else(|| bad("there is no such key"))?;
                match found {
                    Value::String(text) if text.contains("${") => expand(root, text, &place, depth + 1)?,
                    other => other.clone(),
                }
            }
        };
        if begin == 0 && end + 1 == rest.len() && out.is_empty() {
            return Ok(value);
        }
        out += &rest[..begin];
        out += &text_of(&value);
        rest = &rest[end + 1..];
    }
    Ok(Value::String(out + rest))
}

/// Where the `}` is that belongs to the `${` at the beginning.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// `a.b[0]` from the root; with a dot before it from the mapping that the text stands in, each further dot one above.
fn lookup<'a>(root: &'a Value, key: &str, path: &[String]) -> Option<(&'a Value, Vec<String>)> {
    let name = key.trim_start_matches('.');
    let dots = key.len() - name.len();
    let mut place: Vec<String> = if dots == 0 { vec![] } else { path.get(..path.len().checked_sub(dots)?)?.to_vec() };
    let name = name.replace('[', ".").replace(']', "");
    place.extend(name.split('.').filter(|part| !part.is_empty()).map(String::from));
    let found = place.iter().try_fold(root, |at, part| match at {
        Value::Array(list) => list.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    })?;
    Some((found, place))
}

/// `+ - * / **`, brackets, numbers: with the precedence of Python.
struct Formula<'a> {
    rest: &'a str,
}

impl Formula<'_> {
    fn value(text: &str) -> Option<f64> {
        let mut formula = Formula { rest: text };
        let value = formula.sum(0)?;
        formula.rest.trim().is_empty().then_some(value)
    }

    fn take(&mut self, sign: &str) -> bool {
        self.rest = self.rest.trim_start();
        let longer = sign == "*" && self.rest.starts_with("**");
        match self.rest.strip_prefix(sign) {
            Some(rest) if !longer => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn sum(&mut self, depth: usize) -> Option<f64> {
        let mut value = self.product(depth)?;
        loop {
            if self.take("+") {
                value += self.product(depth)?;
            } else if self.take("-") {
                value -= self.product(depth)?;
            } else {
                return Some(value);
            }
        }
    }

    fn product(&mut self, depth: usize) -> Option<f64> {
        let mut value = self.signed(depth)?;
        loop {
            if self.take("*") {
                value *= self.signed(depth)?;
            } else if self.take("/") {
                value /= self.signed(depth)?;
            } else {
                return Some(value);
            }
        }
    }

    fn signed(&mut self, depth: usize) -> Option<f64> {
        if depth > DEPTH {
            return None;
        }
        if self.take("-") {
            return self.signed(depth + 1).map(|v| -v);
        }
        let base = self.atom(depth)?;
        if self.take("**") { Some(base.powf(self.signed(depth + 1)?)) } else { Some(base) }
    }

    fn atom(&mut self, depth: usize) -> Option<f64> {
        if self.take("(") {
            let value = self.sum(depth + 1)?;
            return self.take(")").then_some(value);
        }
        let text = self.rest;
        let exponent = |at: usize| at > 0 && matches!(text.as_bytes()[at - 1], b'e' | b'E');
        let end = text
            .char_indices()
            .find(|&(at, c)| {
                !(c.is_ascii_digit() || c == '.' || matches!(c, 'e' | 'E') || (matches!(c, '-' | '+') && exponent(at)))
            })
            .map_or(text.len(), |(at, _)| at);
        self.rest = &text[end..];
        text[..end].parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn formulas_follow_the_rules_of_python() {
        for (text, value) in [
            ("1/ (384 * (3**0.5))", 1.0 / (384.0 * 3f64.sqrt())),
            ("2 + 3 * 4 - -1", 15.0),
            ("-2 ** 2", -4.0),
            ("2 ** 3 ** 2", 512.0),
            ("1e-2 * 5", 0.05),
            ("(1 + 2) / 4", 0.75),
        ] {
            assert_eq!(Formula::value(text), Some(value), "{text}");
        }
        for text in ["", "1 +", "(1", "a", "1 2", &"(".repeat(100)] {
            assert_eq!(Formula::value(text), None, "{text}");
        }
    }

    #[test]
    fn interpolations_keep_types_and_know_their_place() {
        let config = json!({
            "model": {
                "size": 5, "scale": "${eval:'1 / ${.list[1]}'}", "list": [1, 4],
                "inner": { "radius": "${eval:'${model.size} * ${model.scale}'}", "same": "${..list}", "name": "r${..size}" },
            },
        });
        let resolved = resolve(&config).unwrap();
        assert_eq!(resolved["model"]["inner"], json!({ "radius": 1.25, "same": [1, 4], "name": "r5" }));
        for (text, told) in [
            ("${no.key}", "no such key"),
            ("${a", "`}` is missing"),
            ("${eval:'x'}", "no formula"),
            ("${a}", "leads to itself"),
        ] {
            let error = resolve(&json!({ "a": text })).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
