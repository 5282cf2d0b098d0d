//! On which line of a YAML text each key stands, for block style: nested maps and lists, quoted keys, texts over several
//! lines. A key inside of a value in flow style (`{a: 1}`) has the line of that value.

use std::collections::BTreeMap;

/// Lines (1-based) of dotted keys; items of lists are numbers.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<String, usize>);

/// A map or list that is open at some line.
struct Level {
    /// Column of its keys or dashes.
    indent: usize,
    /// Dotted key of the map or list itself.
    base: String,
    /// Number of the next item, where it is a list.
    item: Option<usize>,
}

impl Lines {
    /// Walks a text.
    pub(super) fn of(text: &str) -> Self {
        let mut found = BTreeMap::new();
        let mut levels: Vec<Level> = Vec::new();
        // Key whose value may begin on a later line, and the column behind which a text over several lines goes on.
        let mut open = String::new();
        let mut text_behind: Option<usize> = None;
        for (number, line) in text.lines().enumerate() {
            let mut rest = line.trim_start();
            let mut column = line.len() - rest.len();
            if rest.is_empty() || rest.starts_with('#') || rest.starts_with("---") {
                continue;
            }
            if text_behind.is_some_and(|least| column > least) {
                continue;
            }
            text_behind = None;
            loop {
                let dash = rest == "-" || rest.starts_with("- ");
                levels.truncate(levels.iter().rposition(|l| l.indent <= column).map_or(0, |at| at + 1));
                // A list may stand in the column of the key that holds it, and ends where that column has a key again.
                if !dash && levels.last().is_some_and(|l| l.indent == column && l.item.is_some()) {
                    levels.pop();
                }
                let same = |l: &Level| l.indent == column && l.item.is_some() == dash;
                if !levels.last().is_some_and(same) {
                    levels.push(Level { indent: column, base: open.clone(), item: dash.then_some(0) });
                }
                let Some(level) = levels.last_mut() else { break };
                let join = |name: &str| match level.base.as_str() {
                    "" => name.to_string(),
                    base => format!("{base}.{name}"),
                };
                if let Some(item) = level.item.filter(|_| dash) {
                    open = join(&item.to_string());
                    level.item = Some(item + 1);
                    found.entry(open.clone()).or_insert(number + 1);
                    let behind = rest[1..].trim_start();
                    column += rest.len() - behind.len();
                    rest = behind;
                    if rest.is_empty() || rest.starts_with('#') || !has_key(rest) {
                        text_behind = begins_text(rest).then_some(level.indent);
                        break;
                    }
                    continue;
                }
                let Some((name, value)) = key_of(rest) else { break };
                open = join(name);
                found.entry(open.clone()).or_insert(number + 1);
                text_behind = begins_text(value.trim_start()).then_some(column);
                break;
            }
        }
        Self(found)
    }

    /// The line of a key itself.
    pub(super) fn line(&self, key: &str) -> Option<usize> {
        self.0.get(key).copied()
    }

    /// The line of a key, or of the value in flow style that it lies in; none where the text has neither.
    pub(super) fn get(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.0.get(key) {
                return Some(*line);
            }
            key = key.rsplit_once('.')?.0;
        }
    }
}

/// Whether a value is a text over several lines.
fn begins_text(value: &str) -> bool {
    value.starts_with('|') || value.starts_with('>')
}

fn has_key(text: &str) -> bool {
    !text.starts_with(['{', '[']) && key_of(text).is_some()
}

/// Splits `KEY: VALUE`.
fn key_of(text: &str) -> Option<(&str, &str)> {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let end = text[1..].find(quote)? + 1;
        let value = text[end + 1..].trim_start().strip_prefix(':')?;
        return Some((&text[1..end], value));
    }
    let at = text.char_indices().find(|&(i, c)| c == ':' && matches!(text.as_bytes().get(i + 1), None | Some(b' ')))?.0;
    Some((text[..at].trim_end(), &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn each_key_has_the_line_on_which_it_stands() {
        let text = "# head\nmodel:\n  part:\n    dim: 3\n  dim: 4\nlist:\n- a: 1\n  b: 2\n-\n  a: 3\nnote: |\n  dim: 9\n  x: 1\n\
                    \"quoted\": 1\nflow: {a: 1, b: [2]}\nmore:\n  - x\n  - y:\n      z: 1\nlast: 2\n";
        let lines = Lines::of(text);
        for (key, line) in [
            ("model", 2),
            ("model.part.dim", 4),
            ("model.dim", 5),
            ("list.0.a", 7),
            ("list.0.b", 8),
            ("list.1.a", 10),
            ("note", 11),
            ("quoted", 14),
            ("flow.b", 15),
            ("more.0", 17),
            ("more.1.y.z", 19),
            ("last", 20),
        ] {
            assert_eq!(lines.get(key), Some(line), "{key}");
        }
        assert_eq!(lines.get("x"), None);
    }
}
