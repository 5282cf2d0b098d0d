//! `${a.b[0]}` as text: where expressions stand, and what they name.

/// True where a text holds `${…}` that is not escaped.
pub fn has_expression(text: &str) -> bool {
    !expressions(text).is_empty()
}

/// Byte ranges of the expressions with their braces.
pub fn expressions(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find("${").map(|at| from + at) {
        if text[..start].ends_with('\\') {
            from = start + 2;
            continue;
        }
        // As in DVC an expression ends on its own line.
        let Some(end) = text[start..].find('}').map(|at| start + at + 1).filter(|e| !text[start..*e].contains('\n'))
        else {
            from = start + 2;
            continue;
        };
        found.push((start, end));
        from = end;
    }
    found
}

/// `a.b[0]` -> a, b, 0; none for what is malformed.
pub fn parts(inner: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = inner;
    loop {
        let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
        let word = rest[..end].trim();
        if word.is_empty() {
            return None;
        }
        parts.push(word.to_string());
        rest = &rest[end..];
        while let Some(inside) = rest.strip_prefix('[') {
            let (index, after) = inside.split_once(']')?;
            if index.trim().is_empty() || index.contains(['.', '[']) {
                return None;
            }
            parts.push(index.trim().to_string());
            rest = after;
        }
        if rest.trim().is_empty() {
            return Some(parts);
        }
        rest = rest.strip_prefix('.')?;
    }
}
