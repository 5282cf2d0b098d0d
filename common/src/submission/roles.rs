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
fn names_ids(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower == "id" || lower.ends_with("_id") || name.ends_with("Id") || (name.ends_with("ID") && name.len() > 2)
}

/// What pandas calls the row labels of a frame that has no name for them.
fn is_nameless(name: &str) -> bool {
    let numbered = |name: &str| name.parse::<u32>().is_ok();
    name.is_empty()
        || name.strip_prefix("Unnamed: ").is_some_and(numbered)
        || name.strip_prefix("__index_level_").and_then(|rest| rest.strip_suffix("__")).is_some_and(numbered)
}

/// The one column that holds the ids in all of some tables, each given as its path and candidates: the candidate that
/// all of them share. None where no table has any.
///
/// # Errors
/// [`Error::Input`] naming the candidates and the flag that decides.
pub fn common_id(tables: &[(&Path, Vec<String>)]) -> Result<Option<String>> {
    let mut with: Vec<&(&Path, Vec<String>)> = tables.iter().filter(|(_, names)| !names.is_empty()).collect();
    let Some((path, names)) = with.first() else { return Ok(None) };
    let shared: Vec<&String> = names.iter().filter(|name| with.iter().all(|(_, other)| other.contains(name))).collect();
    if let [only] = shared.as_slice() {
        return Ok(Some((*only).clone()));
    }
    let (path, names) = match shared.as_slice() {
        [] => {
            // The table whose candidates the others do not have.
            with.sort_by_key(|(_, names)| names.len());
            let (other, own) = (with[0], with[with.len() - 1]);
            let problem = format!(
                "the ids are in the column `{}`, in `{}` in `{}`",
                own.1.join("` or `"),
                other.0.display(),
                other.1.join("` or `")
            );
            return Err(Error::input(own.0, problem).hint("give both columns one name, or name it with `--id COLUMN`"));
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
    fn the_candidate_that_all_tables_share_is_taken() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let tables =
            |a: &[&str], b: &[&str]| common_id(&[(Path::new("a.csv"), names(a)), (Path::new("b.csv"), names(b))]);
        assert_eq!(tables(&["id", "user_id"], &["id"]).unwrap().as_deref(), Some("id"));
        assert_eq!(tables(&[], &[]).unwrap(), None);
        let error = tables(&["id", "user_id"], &["id", "user_id"]).unwrap_err();
        assert_eq!(error.to_string(), "`a.csv`: the ids may be in the columns `id`, `user_id`");
        assert_eq!(error.hint_text().as_deref(), Some("say which: `--id id`"));
        assert!(tables(&["row_id"], &["id"]).unwrap_err().to_string().contains("`row_id`"));
    }
}
