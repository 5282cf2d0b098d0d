//! `run-pipeline doctor`: one page that says whether runs will work here, and what to paste into a bug report.
//!
//! Nothing is linked to find out: libtorch is asked for with the dynamic loader's own listing, GPUs with what the
//! driver shows, so the report works exactly where something is missing.

mod libtorch;
pub mod machine;
mod versions;

use std::fmt::Write;

use anyhow::Result;
use common::Error;
use serde::Serialize;

use crate::run_pipeline::args::DoctorArgs;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be, or for information.
    Ok,
    /// Runs work, but slower or with less than they could have.
    Warn,
    /// Runs will fail.
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Heading that the line stands under.
    pub group: &'static str,
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub status: Status,
    /// What was found.
    pub value: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Check {
    /// A line without a complaint.
    pub fn ok(group: &'static str, name: &'static str, value: impl Into<String>) -> Self {
        Self { group, name, status: Status::Ok, value: value.into(), hint: None }
    }

    /// The same line with a complaint and what to do about it.
    pub fn but(self, status: Status, hint: impl Into<String>) -> Self {
        Self { status, hint: Some(hint.into()), ..self }
    }
}

/// Looks at everything, prints the report and fails when something that runs need is missing.
pub fn run(arguments: &DoctorArgs) -> Result<()> {
    let mut checks = vec![
        Check::ok("software", "podium", common::VERSION),
        Check::ok("software", "built with", machine::compiler()),
        Check::ok("software", "HDF5", versions::hdf5()),
        Check::ok("software", "netCDF", versions::netcdf()),
    ];
    let library = libtorch::find();
    checks.extend(libtorch::checks(library.as_ref()));
    checks.push(machine::devices(library.as_ref()));
    checks.extend(machine::checks(&arguments.out));
    common::cli::print_line(&if arguments.json { json(&checks)? } else { text(&checks) })?;
    let missing: Vec<&str> = checks.iter().filter(|c| c.status == Status::Fail).map(|c| c.name).collect();
    match missing.as_slice() {
        [] => Ok(()),
        names => Err(Error::failed(format!("runs will fail here: {}", names.join(", ")))
            .hint("each line marked `fail` says what to do")
            .into()),
    }
}

fn json(checks: &[Check]) -> Result<String> {
    let ok = checks.iter().all(|c| c.status != Status::Fail);
    Ok(serde_json::to_string(&serde_json::json!({ "ok": ok, "checks": checks }))?)
}

/// The report for people: a heading a group, one line a check, the hint below it.
fn text(checks: &[Check]) -> String {
    let width = checks.iter().map(|c| c.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    let mut group = "";
    for check in checks {
        if check.group != group {
            let gap = if group.is_empty() { "" } else { "\n" };
            group = check.group;
            let _ = writeln!(out, "{gap}{group}");
        }
        let status = match check.status {
            Status::Ok => "ok  ",
            Status::Warn => "warn",
            Status::Fail => "fail",
        };
        let _ = writeln!(out, "  {status}  {:width$}  {}", check.name, check.value);
        if let Some(hint) = &check.hint {
            let _ = writeln!(out, "        {:width$}  hint: {hint}", "");
        }
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_status_and_remedy() {
        let checks = [
            Check::ok("software", "podium", "1.2.3"),
            Check::ok("machine", "memory", "2 GB").but(Status::Warn, "close something"),
        ];
        let expected =
            "software\n  ok    podium  1.2.3\n\nmachine\n  warn  memory  2 GB\n                hint: close something";
        assert_eq!(text(&checks), expected);
        let value: serde_json::Value = serde_json::from_str(&json(&checks).unwrap()).unwrap();
        assert_eq!((value["ok"].as_bool(), value["checks"][1]["status"].as_str()), (Some(true), Some("warn")));
    }
}
