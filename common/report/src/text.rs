//! Text and numbers on their way into a page.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Text for HTML, inside elements and quoted attributes. Characters that are invisible and turn the direction of what
/// follows are shown by their code.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\n' | '\t' => out.push(c),
            '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(out, "[U+{:04X}]", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

/// A JSON value as the inside of a `<script>`: nothing in it can end the element or open a comment.
pub(crate) fn script(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// Numbers as JSON, as short as they can be: those that are single precision with its digits; what is not finite as null.
pub(crate) fn numbers(values: &[f64]) -> Value {
    let one = |v: &f64| -> Value {
        let single = *v as f32;
        if !v.is_finite() {
            Value::Null
        } else if v.fract() == 0.0 && v.abs() < 9e15 {
            (*v as i64).into()
        } else if f64::from(single) == *v && single.is_normal() {
            // The shortest digits that name this single, read again as double.
            single.to_string().parse::<f64>().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
        } else {
            Number::from_f64(*v).map_or(Value::Null, Value::Number)
        }
    };
    values.iter().map(one).collect()
}

/// A number for people: five significant digits, plain where that is short, `-` where there is none.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    if value == 0.0 {
        return "0".into();
    }
    if value.fract() == 0.0 && value.abs() < 1e7 {
        return format!("{value}");
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..7.0).contains(&magnitude) {
        let text = format!("{value:.4e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'));
    }
    let digits = (4.0 - magnitude).clamp(0.0, 8.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

/// A title as the name of a file: small letters and digits with single hyphens.
pub(crate) fn slug(title: &str) -> String {
    let mut name = String::new();
    for c in title.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() { "chart".into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escape("<b a='\"&'>\u{202e}x\u{1}"), "&lt;b a=&#39;&quot;&amp;&#39;&gt;[U+202E]x[U+0001]");
        let text = script(&json!({ "a": "</script><!-- &" }));
        assert!(!text.contains('<') && !text.contains('>'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["a"], "</script><!-- &");
    }

    #[test]
    fn numbers_are_short_and_what_they_were() {
        let values = [1.0, f64::from(0.1_f32), 0.1, 1e300, f64::NAN, -0.5, 1e-40];
        let text = numbers(&values).to_string();
        assert_eq!(text, "[1,0.1,0.1,1e+300,null,-0.5,1e-40]");
        assert_eq!(numbers(&[1.0 / 3.0]).to_string(), "[0.3333333333333333]");
    }

    #[test]
    fn numbers_for_people() {
        let shown = [0.883_421_7, 1234.5678, 5e-7, -2.0, 0.000_123_4, f64::NAN, 12_345_678.5].map(number);
        assert_eq!(shown, ["0.88342", "1234.6", "5e-7", "-2", "0.0001234", "-", "1.2346e7"]);
        assert_eq!(slug("R2 of ptend_t (K/s)"), "r2-of-ptend-t-k-s");
    }
}
