//! A problem of the configuration, with all that is needed to correct it without a manual.
//!
//! A problem never repeats a value that may be a secret: the code that makes it ensures that.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::PathBuf;

use annotate_snippets::{Level, Renderer};
use anstyle::{AnsiColor, Style};

use super::source::{Snippet, SourceText};
pub(super) use crate::model::text::nearest;

/// Further problems in one file would not help.
pub(super) const MAX_PROBLEMS: usize = 100;

/// Whether the configuration can be used in spite of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot be used.
    Error,
    /// It can be used; an operator should check it.
    Warning,
}

impl Severity {
    /// The word shown to people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A problem, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file; `None` if it is in no file (an environment variable, a secret).
    pub file: Option<PathBuf>,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// The path of the key, elements of lists by their name: `policy.logs.retry.max_retries`.
    pub key: Option<String>,
    /// The found value, and what is allowed.
    pub message: String,
    /// How to correct it.
    pub hint: Option<String>,
    /// Error or warning.
    pub severity: Severity,
    /// The line, if it can be shown.
    pub snippet: Option<Snippet>,
}

impl Problem {
    /// Makes an error that is in no file.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            file: None,
            line: None,
            column: None,
            key: None,
            message: message.into(),
            hint: None,
            severity: Severity::Error,
            snippet: None,
        }
    }

    /// The same, at this place of a file, with the line.
    #[must_use]
    pub(super) fn pointing_at(mut self, source: &SourceText, span: &Range<usize>) -> Self {
        self.file = Some(source.file().to_owned());
        self.line = Some(source.line(span.start));
        self.column = Some(source.column(span.start));
        self.snippet = source.snippet(span.clone());
        self
    }

    /// The same, in this file.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// The same, at this key.
    #[must_use]
    pub fn at_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same, with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, as a warning.
    #[must_use]
    pub fn as_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Returns whether the configuration cannot be used because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Problem {
    /// Returns it in one line, for a log: without the line of the file.
    pub fn in_one_line(&self) -> String {
        let mut text = self.heading();
        let _ = write!(text, ": {}", self.message);
        if let Some(hint) = &self.hint {
            let _ = write!(text, "; {hint}");
        }
        text
    }

    /// Returns `FILE:LINE:COLUMN: KEY`, as far as it is known.
    fn heading(&self) -> String {
        let mut parts = Vec::new();
        if let Some(file) = &self.file {
            let mut place = file.display().to_string();
            for number in [self.line, self.line.and(self.column)].into_iter().flatten() {
                let _ = write!(place, ":{number}");
            }
            parts.push(place);
        }
        parts.extend(self.key.clone());
        parts.join(": ")
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, colours: &Colours) -> fmt::Result {
        let (severity, level) = match self.severity {
            Severity::Error => (colours.error, Level::ERROR),
            Severity::Warning => (colours.warning, Level::WARNING),
        };
        write!(f, "{severity}{}{severity:#}: ", self.severity.word())?;
        let heading = self.heading();
        if heading.is_empty() {
            f.write_str(&self.message)?;
        } else {
            let style = colours.heading;
            write!(f, "{style}{heading}{style:#}\n  {}", self.message)?;
        }
        if let (Some(line), Some(snippet)) = (self.line, &self.snippet) {
            for line in snippet.drawn(line, level, colours.renderer.clone()).lines() {
                write!(f, "\n {line}")?;
            }
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  {}help{:#}: {hint}", colours.help, colours.help),
            None => Ok(()),
        }
    }
}

/// Returns one block: `error: FILE:LINE:COLUMN: KEY`, the message, the line with a mark, the hint.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &Colours::NONE)
    }
}

struct Colours {
    error: Style,
    warning: Style,
    heading: Style,
    help: Style,
    renderer: Renderer,
}

impl Colours {
    const NONE: Self = Self {
        error: Style::new(),
        warning: Style::new(),
        heading: Style::new(),
        help: Style::new(),
        renderer: Renderer::plain(),
    };
    const ON: Self = Self {
        error: AnsiColor::Red.on_default().bold(),
        warning: AnsiColor::Yellow.on_default().bold(),
        heading: Style::new().bold(),
        help: AnsiColor::Cyan.on_default(),
        renderer: Renderer::styled(),
    };
}

/// Problems with colours; the printer removes them if the output is no terminal.
#[derive(Debug)]
pub struct Coloured<'a>(pub &'a Problems);

impl fmt::Display for Coloured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, &Colours::ON)
    }
}

/// All problems, in the order of files and lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Sorts them: each file from its top, those in no file last.
    pub(super) fn in_order(mut problems: Vec<Problem>, files: &[PathBuf]) -> Self {
        let place = |problem: &Problem| {
            let file = problem
                .file
                .as_ref()
                .map_or(usize::MAX, |file| files.iter().position(|f| f == file).unwrap_or(usize::MAX - 1));
            (file, problem.line.unwrap_or(0), problem.column.unwrap_or(0))
        };
        problems.sort_by(|a, b| match place(a).cmp(&place(b)) {
            Ordering::Equal => a.severity.cmp(&b.severity),
            unequal => unequal,
        });
        Self(problems)
    }

    /// Returns whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(Problem::is_error)
    }
}

impl Problems {
    fn write(&self, f: &mut fmt::Formatter<'_>, colours: &Colours) -> fmt::Result {
        for problem in &self.0 {
            problem.write(f, colours)?;
            f.write_str("\n\n")?;
        }
        let errors = self.0.iter().filter(|problem| problem.is_error()).count();
        let warnings = self.0.len() - errors;
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        write!(f, "{errors} error{}, {warnings} warning{}", plural(errors), plural(warnings))
    }
}

/// Returns one block for each problem, and their number.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &Colours::NONE)
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::super::schema::{Key, Masking, Shown};
    use super::*;

    #[test]
    fn a_problem_reads_as_a_block_with_its_place() {
        let mut problem = Problem::error("found 5; a duration is needed")
            .in_file("/etc/x.toml")
            .at_key("poll.idle_interval")
            .with_hint("write \"5s\"");
        (problem.line, problem.column) = (Some(3), Some(17));
        assert_eq!(
            problem.to_string(),
            "error: /etc/x.toml:3:17: poll.idle_interval\n  found 5; a duration is needed\n  help: write \"5s\""
        );
        assert_eq!(Problem::error("no file").as_warning().to_string(), "warning: no file");
        assert_eq!(
            problem.in_one_line(),
            "/etc/x.toml:3:17: poll.idle_interval: found 5; a duration is needed; write \"5s\""
        );
    }

    #[test]
    fn the_line_stands_under_the_message_with_its_mark() {
        let text = "\n\n\n\n\n\n\n\n\nmode = 'on'\n";
        let table = toml::de::DeTable::parse(text).unwrap();
        let mode = Key { path: vec!["mode"], shown: Shown::Open, single: None, lists: Vec::new() };
        let masking = Masking::new(vec![mode]).into();
        let source = SourceText::new(std::path::Path::new("x.toml"), text, Some(table.get_ref()), &masking);
        let problem = Problem::error("not so").at_key("mode").with_hint("so").pointing_at(&source, &(16..20));
        assert_eq!(
            problem.to_string(),
            "error: x.toml:10:8: mode\n  not so\n    |\n 10 | mode = 'on'\n    |        ^^^^\n  help: so"
        );
        let problems = Problems(vec![problem]);
        let coloured = Coloured(&problems).to_string();
        assert_ne!(coloured, problems.to_string());
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), problems.to_string());
    }

    #[test]
    fn problems_stand_in_the_order_of_files_and_lines() {
        let at = |file: &str, line| {
            let mut problem = Problem::error("x").in_file(file);
            problem.line = Some(line);
            problem
        };
        let files = [PathBuf::from("main"), PathBuf::from("b"), PathBuf::from("a")];
        let problems = Problems::in_order(
            vec![Problem::error("env"), at("a", 1), at("b", 9), at("b", 2), at("main", 5)],
            &files,
        );
        let order: Vec<_> = problems.0.iter().map(|p| (p.file.clone(), p.line)).collect();
        assert_eq!(
            order,
            [
                (Some("main".into()), Some(5)),
                (Some("b".into()), Some(2)),
                (Some("b".into()), Some(9)),
                (Some("a".into()), Some(1)),
                (None, None)
            ]
        );
        assert!(problems.to_string().ends_with("5 errors, 0 warnings"));
    }

    #[test]
    fn the_nearest_word_is_named_only_where_it_is_near() {
        let known = ["idle_interval", "active_interval", "mode"];
        assert_eq!(nearest("idle_intervall", known), Some("idle_interval"));
        assert_eq!(nearest("Mode", known), Some("mode"));
        assert_eq!(nearest("colour", known), None);
    }
}
