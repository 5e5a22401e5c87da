//! `check`: every problem of the settings, or the values in effect with their origins, secrets masked.

use std::process::ExitCode;

use serde_json::json;

use super::{Failure, Outcome, UNUSABLE_CONFIGURATION, WARNINGS_ONLY, print, print_json};
use crate::settings::{Environment, Loaded, Problem, Problems};

/// Prints the problems, or the settings.
pub(super) fn check(loaded: Result<Loaded, Failure>, environment: &Environment, json: bool) -> Outcome {
    let (loaded, problems) = match loaded {
        Ok(loaded) => {
            let mut problems = loaded.warnings.clone();
            problems.extend(loaded.settings.check_secrets(environment));
            (Some(loaded), problems)
        }
        Err(Failure::Settings(Problems(problems))) => (None, problems),
        Err(failure) => return Err(failure),
    };
    let errors = problems.iter().any(Problem::is_error);
    if json {
        let effective = loaded.as_ref().filter(|_| !errors).map(Loaded::effective_json);
        print_json(
            &json!({ "problems": problems.iter().map(as_json).collect::<Vec<_>>(), "effective": effective }),
        )?;
    } else if errors {
        print(&format!("{}\n", Problems(problems.clone())))?;
    } else if let Some(loaded) = &loaded {
        let mut lines: Vec<String> = loaded.effective().iter().map(ToString::to_string).collect();
        for warning in &problems {
            lines.push(format!("\n{}", warning.to_string().trim_end()));
        }
        lines.push(String::new());
        print(&lines.join("\n"))?;
    }
    Ok(if errors {
        ExitCode::from(UNUSABLE_CONFIGURATION)
    } else if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(WARNINGS_ONLY)
    })
}

fn as_json(problem: &Problem) -> serde_json::Value {
    json!({
        "severity": problem.severity.word(),
        "file": problem.file.as_ref().map(|file| file.to_string_lossy()),
        "line": problem.line,
        "column": problem.column,
        "key": problem.key,
        "message": problem.message,
        "hint": problem.hint,
    })
}
