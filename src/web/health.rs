//! Whether what is shown can be relied on: every project is seen, and was read lately.

use crate::status::Report;

/// What is missing for that, a line each.
pub(super) fn missing(report: &Report) -> Vec<String> {
    if report.projects.is_empty() {
        return vec!["there is no project in the settings".to_owned()];
    }
    Vec::new()
}
