//! The table of weights: `model,weight`, as the published one.

use std::path::Path;

use common::durable::{self, Written};
use common::{Error, Result};

/// Writes a table with 17 significant digits, which name every double exactly.
pub fn write_csv(path: &Path, table: &[(String, f64)]) -> Result<Written> {
    let mut text = String::from("model,weight\n");
    for (model, weight) in table {
        text += &format!("{},{}\n", field(model), g17(*weight));
    }
    durable::write(path, text.as_bytes())
}

/// A csv field, quoted where needed.
pub fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

/// C's `%.17g`, the form of the published table.
pub fn g17(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let scientific = format!("{value:.16e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_string();
    if !(-4..17).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(digits), exponent.abs());
    }
    let decimals = usize::try_from(16 - exponent).unwrap_or(0);
    let fixed = format!("{value:.decimals$}");
    if decimals > 0 { trim(&fixed) } else { fixed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seventeen_digits_look_like_the_published_table() {
        for text in ["0.16655637448129526", "0.052500000000000019", "-0.047131875000000004", "0.5", "1", "0"] {
            assert_eq!(g17(text.parse().unwrap()), text);
        }
        assert_eq!(g17(1e-5), "1.0000000000000001e-05");
        assert_eq!(g17(-2.5e20), "-2.5e+20");
        assert_eq!(g17(123.0), "123");
    }

    #[test]
    fn names_with_commas_are_quoted() {
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
