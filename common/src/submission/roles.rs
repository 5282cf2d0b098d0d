//! Which column of a table is what: ids, the row labels of pandas, the part of the leaderboard, numbers, texts.

use std::path::Path;

use crate::error::{Error, Result};
use crate::store::tables::ColumnKind;

/// The columns of a table by what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// Columns that may hold the ids, by position; one of them is right.
    pub candidates: Vec<usize>,
    /// Row labels that a writer added, by position: neither ids nor numbers.
    pub labels: Vec<usize>,
    /// Kaggle's `Usage`: which part of the leaderboard a row counts for.
    pub usage: Option<usize>,
}

/// Names that counts of rows get where they become columns.
const COUNTS: [&str; 3] = ["index", "level_0", "row_nr"];

/// Looks at names and types alone. `index` names the row labels that the file itself declares.
pub fn roles(schema: &[(String, ColumnKind)], index: &[String]) -> Roles {
    let mut roles = Roles::default();
    for (c, (name, kind)) in schema.iter().enumerate() {
        if is_nameless(name) {
            roles.labels.push(c);
        } else if name.eq_ignore_ascii_case("usage") && *kind == ColumnKind::Text {
            roles.usage = Some(c);
        }
    }
    let named = |c: &usize| names_ids(&schema[*c].0) || index.contains(&schema[*c].0);
    let free: Vec<usize> = (0..schema.len()).filter(|c| !roles.labels.contains(c) && roles.usage != Some(*c)).collect();
    roles.candidates = free.iter().copied().filter(named).collect();
    if !roles.candidates.is_empty() {
        // Beside ids, these are the counts that `reset_index` and polars' `with_row_index` leave.
        let counts = |c: &usize| COUNTS.contains(&schema[*c].0.as_str()) && schema[*c].1 != ColumnKind::Text;
        roles.labels.extend(free.iter().copied().filter(|c| !roles.candidates.contains(c) && counts(c)));
        roles.labels.sort_unstable();
    }
    if roles.candidates.is_empty() {
        roles.candidates = free.iter().copied().filter(|&c| schema[c].1 == ColumnKind::Text).collect();
    }
    roles
}

/// `id`, `row_id`, `PassengerId`, `customer_ID`.
pub fn names_ids(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower == "id" || lower.ends_with("_id") || name.ends_with("Id") || (name.ends_with("ID") && name.len() > 2)
}

/// What pandas calls the row labels of a frame that has no name for them.
pub fn is_nameless(name: &str) -> bool {
    let numbered = |name: &str| name.parse::<u32>().is_ok();
    name.is_empty()
        || name.strip_prefix("Unnamed: ").is_some_and(numbered)
        || name.strip_prefix("__index_level_").and_then(|rest| rest.strip_suffix("__")).is_some_and(numbered)
}

/// The numbers of a first line that is a row and no header: all of its fields are numbers, or some have a point. Names that are
/// numbers rise (classes, wavelengths, levels of quantiles) or count from 0, as pandas names columns.
pub fn row_above(header: &[String]) -> Option<String> {
    let numbers: Vec<(&str, f64)> = header
        .iter()
        .filter_map(|name| Some((name.as_str(), name.parse().ok().filter(|v: &f64| v.is_finite())?)))
        .collect();
    let rises = numbers.windows(2).all(|pair| pair[0].1 < pair[1].1);
    let whole = numbers.iter().all(|(name, _)| name.bytes().all(|b| b.is_ascii_digit() || b == b'-'));
    let counts = rises && whole && numbers.windows(2).all(|pair| pair[1].1 - pair[0].1 == 1.0);
    let level = |(name, v): &(&str, f64)| *v > 0.0 && *v < 1.0 && name.len() <= 6;
    let names = if whole {
        numbers.len() < header.len()
            || counts && (numbers.len() > 1 || numbers[0].1 == 0.0)
            || rises && numbers.len() > 2
    } else {
        let classes = numbers.len() > 1 && numbers.windows(2).all(|pair| pair[1].1 - pair[0].1 == 1.0);
        rises && (numbers.len() > 4 || numbers.len() < header.len() && (classes || numbers.iter().all(level)))
    };
    (!names && !numbers.is_empty()).then(|| header.iter().take(4).cloned().collect::<Vec<_>>().join(","))
}

/// The one column that holds the ids in all of some tables, each given as its path and candidates: the candidate that
/// all of them share. None where no table has any.
///
/// # Errors
/// [`Error::Input`] naming the candidates and the flag that decides.
pub fn common_id(tables: &[(&Path, Vec<String>)]) -> Result<Option<String>> {
    let with: Vec<&(&Path, Vec<String>)> = tables.iter().filter(|(_, names)| !names.is_empty()).collect();
    let Some((path, names)) = with.first() else { return Ok(None) };
    let shared: Vec<&String> = names.iter().filter(|name| with.iter().all(|(_, other)| other.contains(name))).collect();
    if let [only] = shared.as_slice() {
        return Ok(Some((*only).clone()));
    }
    let (path, names) = match shared.as_slice() {
        [] => {
            // The first table that shares none with one before it.
            let apart = |a: &[String], b: &[String]| a.iter().all(|name| !b.contains(name));
            let pair = with.iter().enumerate().find_map(|(k, own)| {
                with[..k].iter().find(|other| apart(&own.1, &other.1)).map(|other| (*other, *own))
            });
            let (other, own) = pair.unwrap_or((with[0], with[with.len() - 1]));
            let problem = format!(
                "the ids are in the column `{}`, in `{}` in `{}`",
                own.1.join("` or `"),
                other.0.display(),
                other.1.join("` or `")
            );
            return Err(Error::input(own.0, problem).hint(
                "give both columns one name; where all tables have another column of ids, name it: `--id COLUMN`",
            ));
        }
        _ => (path, names),
    };
    let problem = format!("the ids may be in the columns `{}`", names.join("`, `"));
    Err(Error::input(path, problem).hint(format!("say which: `--id {}`", shared[0])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[(&str, ColumnKind)]) -> Vec<(String, ColumnKind)> {
        columns.iter().map(|(name, kind)| ((*name).to_string(), *kind)).collect()
    }

    #[test]
    fn ids_labels_and_usage_are_told_by_name_and_type() {
        use ColumnKind::{F64, I64, Text};
        let found = roles(&table(&[("", I64), ("id", I64), ("y", F64), ("Usage", Text)]), &[]);
        assert_eq!(found, Roles { candidates: vec![1], labels: vec![0], usage: Some(3) });
        let found = roles(&table(&[("image", Text), ("y", F64), ("Unnamed: 0", I64)]), &[]);
        assert_eq!((found.candidates, found.labels), (vec![0], vec![2]));
        let found = roles(&table(&[("y", F64), ("when", I64), ("__index_level_0__", I64)]), &["when".into()]);
        assert_eq!((found.candidates, found.labels), (vec![1], vec![2]));
        let found = roles(&table(&[("index", I64), ("id", I64), ("y", F64)]), &[]);
        assert_eq!((found.candidates, found.labels), (vec![1], vec![0]));
        assert!(roles(&table(&[("index", I64), ("y", F64)]), &[]).labels.is_empty());
        // Words that merely end in these letters.
        assert!(roles(&table(&[("valid", F64), ("bid", F64), ("humid", I64)]), &[]).candidates.is_empty());
        assert_eq!(roles(&table(&[("PassengerId", I64), ("customer_ID", I64)]), &[]).candidates, [0, 1]);
    }

    #[test]
    fn a_row_in_place_of_a_header_is_told_from_names_that_are_numbers() {
        let found = |line: &str| row_above(&line.split(',').map(str::to_owned).collect::<Vec<_>>()).is_some();
        for row in
            ["1000,1.764", "7,1", "0.25", "3", "a17,0.31873", "17,-2e-5,0.5", "0.2,0.8", "5,5", "a17,1.5", "1,0,1,1"]
        {
            assert!(found(row), "{row}");
        }
        for header in [
            "id,y",
            "0",
            "0,1",
            "0,1,2",
            "1,2,3",
            "3,5,8",
            "id,0,1",
            "id,0.0,1.0,2.0",
            "id,7",
            "id,0.1,0.5,0.975",
            "-1,0,1",
            "id,0.5",
        ] {
            assert!(!found(header), "{header}");
        }
        assert!(!found("sample,1102.5,1104.5,1106.5,1108.5,1110.5"));
    }

    #[test]
    fn the_candidate_that_all_tables_share_is_taken() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let tables =
            |a: &[&str], b: &[&str]| common_id(&[(Path::new("a.csv"), names(a)), (Path::new("b.csv"), names(b))]);
        assert_eq!(tables(&["id", "user_id"], &["id"]).unwrap().as_deref(), Some("id"));
        assert_eq!(tables(&[], &[]).unwrap(), None);
        let error = tables(&["id", "user_id"], &["id", "user_id"]).unwrap_err();
        assert_eq!(error.to_string(), "`a.csv`: the ids may be in the columns `id`, `user_id`");
        assert_eq!(error.hint_text().as_deref(), Some("say which: `--id id`"));
        let odd = [("t.csv", &["id"]), ("a.csv", &["row_id"]), ("b.csv", &["id"])];
        let odd: Vec<_> = odd.iter().map(|(path, own)| (Path::new(*path), names(*own))).collect();
        let error = common_id(&odd).unwrap_err();
        assert_eq!(error.to_string(), "`a.csv`: the ids are in the column `row_id`, in `t.csv` in `id`");
    }
}
