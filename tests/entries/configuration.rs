//! The one way in which arbitrary bytes are tried as a configuration: by the property test and by the fuzz target.

use std::path::PathBuf;

use upgrade_remediator::configuration::{Coloured, Environment, FileText, Problem, load_texts};

/// Takes bytes for config.toml, files of policies and an environment, divided by NULs, and uses everything that comes
/// of them. Panics where a promise is broken.
pub(crate) fn try_configuration(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('\0');
    let file =
        |n: usize, text: &str| FileText { file: PathBuf::from(format!("{n}.toml")), text: text.to_owned() };
    let main = file(0, parts.next().unwrap_or_default());
    let variables = parts.next().unwrap_or_default().lines().map(|line| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        (format!("UPGRADE_REMEDIATOR__{name}"), value.to_owned())
    });
    let environment = Environment::new(variables);
    let policies: Vec<_> = parts.enumerate().map(|(n, text)| file(n + 1, text)).collect();
    match load_texts(&main, &policies, &environment) {
        Ok(loaded) => {
            assert!(loaded.warnings.iter().all(|warning| !warning.is_error()));
            let values: Vec<_> = loaded.effective().iter().map(ToString::to_string).collect();
            assert!(!values.is_empty() && loaded.effective_json().is_object());
            loaded.warnings.iter().for_each(told);
        }
        Err(problems) => {
            assert!(problems.has_errors(), "no configuration, and no error");
            assert!(!problems.to_string().is_empty() && !Coloured(&problems).to_string().is_empty());
            problems.0.iter().for_each(told);
        }
    }
}

/// A problem says something, and marks a part of the line that it shows.
fn told(problem: &Problem) {
    assert!(!problem.message.is_empty());
    assert!(!problem.in_one_line().contains('\n'), "{problem}");
    assert!(problem.line.is_none_or(|line| line > 0) && problem.column.is_none_or(|column| column > 0));
    if let Some(snippet) = &problem.snippet {
        assert!(
            snippet.text.get(snippet.span.clone()).is_some() && !snippet.text.contains(['\n', '\r', '\x1b']),
            "{problem}"
        );
        assert!(snippet.text.len() < 10_000, "{problem}");
    }
}
