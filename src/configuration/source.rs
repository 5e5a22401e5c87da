//! The text of a file, to point into: lines, columns, and a line of it for people with a mark.
//!
//! Must never: show a secret. A value is shown only if its key takes no secret, and a comment
//! never; if the file is not TOML, so that nothing is certain, only lines that are plainly harmless
//! are shown.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::schema::Masking;
use crate::model::text::shown;

/// Shown instead of what may be a secret.
const MASK: &str = "***";
/// The number of bytes of a line that are shown before and after the beginning of the marked part.
const BEFORE: usize = 60;
const AFTER: usize = 100;

/// A line of a file as people may see it, and its marked part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The line, or a part of it around the mark, without secrets and comments.
    pub text: String,
    /// The marked part of this text, in bytes.
    pub span: Range<usize>,
}

impl Snippet {
    /// Returns it as the line of this number, with a mark.
    pub(super) fn drawn(&self, line: usize, level: Level<'static>, renderer: Renderer) -> String {
        let mark = AnnotationKind::Primary.span(self.span.clone());
        let snippet =
            annotate_snippets::Snippet::source(self.text.as_str()).line_start(line).annotation(mark);
        // The line was cut already.
        renderer.term_width(usize::MAX / 2).render(&[Group::with_level(level).element(snippet)])
    }
}

/// A text with its lines, and which parts of it may be shown.
pub(super) struct SourceText {
    file: PathBuf,
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
    /// Keys and single values in their order; absent if the text is not TOML.
    marks: Option<Vec<Mark>>,
    masking: Arc<Masking>,
}

struct Mark {
    span: Range<usize>,
    shown: bool,
}

/// Without the text: it may contain a secret.
impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceText").field("file", &self.file).finish_non_exhaustive()
    }
}

impl SourceText {
    /// Makes it from a text, and its parsed form, if it has one.
    pub(super) fn new(file: &Path, text: &str, table: Option<&DeTable<'_>>, masking: &Arc<Masking>) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(n, _)| n + 1);
        let marks = table.map(|table| {
            let mut marks = Marks { masking, keys: Vec::new(), found: Vec::new() };
            marks.table(table);
            marks.found.sort_by_key(|mark| (mark.span.start, mark.span.end));
            marks.found
        });
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            starts: std::iter::once(0).chain(after_breaks).collect(),
            marks,
            masking: Arc::clone(masking),
        }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The line at an offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).max(1)
    }

    /// The column at an offset, from 1, in characters.
    pub(super) fn column(&self, offset: usize) -> usize {
        let start = self.line_span(offset).start;
        self.text.get(start..offset).map_or(offset - start, |before| before.chars().count()) + 1
    }

    /// From the beginning of a line to its break.
    fn line_span(&self, offset: usize) -> Range<usize> {
        let line = self.line(offset);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let end = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        let text = self.text.get(start..end).unwrap_or_default();
        start..start + text.trim_end_matches('\r').len()
    }

    /// The line with this span, or with the beginning of it.
    pub(super) fn snippet(&self, span: Range<usize>) -> Option<Snippet> {
        let line = self.line_span(span.start);
        let span = span.start..span.end.min(line.end).max(span.start);
        let mut masked = Masked { text: String::new(), span: span.clone(), marked: None };
        let Some(marks) = &self.marks else {
            masked.doubtful(self.text.get(line.clone())?, line.start, &self.masking)?;
            return Some(masked.finished());
        };
        let from = self.boundary(line.start.max(span.start.saturating_sub(BEFORE)));
        let to = self.boundary(line.end.min(span.start + AFTER));
        if from > line.start {
            masked.push(from..from, "…");
        }
        let mut at = from;
        // Marks do not overlap: only the last one before can reach in.
        let first = marks.partition_point(|mark| mark.span.end <= from);
        for mark in marks.iter().skip(first).take_while(|mark| mark.span.start < to) {
            if !masked.plain(self.text.get(at..mark.span.start.max(at))?, at) {
                return Some(masked.finished());
            }
            at = mark.span.start.max(at);
            let end = mark.span.end.min(to).max(at);
            if mark.shown {
                masked.verbatim(self.text.get(at..end)?, at);
            } else {
                masked.push(at..mark.span.end, MASK);
            }
            at = end;
        }
        if masked.plain(self.text.get(at..to.max(at))?, at) && to < line.end {
            masked.push(to..line.end, "…");
        }
        Some(masked.finished())
    }

    /// The key of the configuration that stands before a colon in the line at this offset, as in YAML.
    pub(super) fn key_before_a_colon(&self, offset: usize) -> Option<&str> {
        let line = self.text.get(self.line_span(offset))?;
        let (key, _) = line.split_once(':')?;
        let key = key.trim();
        self.masking.is_known(key).then_some(key)
    }

    /// The same offset, or the next one before it that is not within a character.
    fn boundary(&self, mut offset: usize) -> usize {
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// A line while it is masked.
struct Masked {
    text: String,
    /// The marked part, in the file.
    span: Range<usize>,
    /// The same, in the text.
    marked: Option<Range<usize>>,
}

impl Masked {
    /// Puts this in the place of that part of the file. If the mark begins or ends in it, all of it
    /// is marked.
    fn push(&mut self, part: Range<usize>, shown: &str) {
        let start = self.text.len();
        self.text.push_str(shown);
        if part.start < self.span.end.max(self.span.start + 1) && part.end > self.span.start {
            self.marked.get_or_insert(start..start).end = self.text.len();
        }
    }

    fn verbatim(&mut self, text: &str, offset: usize) {
        for (n, c) in text.char_indices() {
            // A tab becomes a blank, and control characters are shown.
            let safe = if c == '\t' { " ".to_owned() } else { shown(c.encode_utf8(&mut [0; 4]), 1) };
            self.push(offset + n..offset + n + c.len_utf8(), &safe);
        }
    }

    /// Copies the text between keys and values, up to a comment. Returns whether there was none.
    fn plain(&mut self, text: &str, offset: usize) -> bool {
        let comment = text.find('#');
        let kept = text.get(..comment.unwrap_or(text.len())).unwrap_or_default();
        self.verbatim(if comment.is_some() { kept.trim_end() } else { kept }, offset);
        comment.is_none()
    }

    /// Returns a line of a file that is not TOML. `None` if no part of it is known to be harmless.
    fn doubtful(&mut self, line: &str, offset: usize, masking: &Masking) -> Option<()> {
        let plain = |text: &str, more: &str| {
            text.chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ') || more.contains(c))
        };
        if line.len() > BEFORE + AFTER {
            return None;
        }
        if line.trim_start().starts_with('[') && plain(line, "[]") {
            self.verbatim(line, offset);
            return Some(());
        }
        let (key, value) = match line.split_once(':') {
            // As in YAML; before a colon anything may stand, so only what is known as a key is shown.
            Some((key, value)) if masking.is_known(key.trim()) => (key, value),
            _ => line.split_once('=')?,
        };
        if !plain(key, "\t") {
            return None;
        }
        let name = key.rsplit('.').next().unwrap_or(key).trim();
        let at_value = offset + key.len() + 1;
        self.verbatim(line.get(..=key.len())?, offset);
        let alone = !value.contains(['=', '{', '#']) && !value.contains("\"\"\"") && !value.contains("'''");
        if alone && masking.is_open(name) {
            self.verbatim(value, at_value);
        } else {
            self.text.push(' ');
            self.push(at_value..offset + line.len() + 1, MASK);
        }
        Some(())
    }

    fn finished(self) -> Snippet {
        let end = self.text.len();
        Snippet { text: self.text, span: self.marked.unwrap_or(end..end) }
    }
}

/// Finds the keys and the single values of a table.
struct Marks<'a> {
    masking: &'a Masking,
    keys: Vec<&'a str>,
    found: Vec<Mark>,
}

impl<'a> Marks<'a> {
    fn table(&mut self, table: &'a DeTable<'_>) {
        for (key, value) in table {
            self.found.push(Mark { span: key.span(), shown: true });
            self.keys.push(key.get_ref().as_ref());
            self.value(value);
            self.keys.pop();
        }
    }

    fn value(&mut self, value: &'a Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(list) => {
                for element in list {
                    self.value(element);
                }
            }
            single => {
                let shown = self.masking.shows(&self.keys, single.as_str());
                self.found.push(Mark { span: value.span(), shown });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    fn masking() -> Arc<Masking> {
        Arc::new(Masking::new(check::keys()))
    }

    /// Returns the shown form of the line that has this word, with a mark under it.
    fn drawn(text: &str, word: &str) -> String {
        let table = DeTable::parse(text).unwrap();
        drawn_from(&SourceText::new(Path::new("x.toml"), text, Some(table.get_ref()), &masking()), word)
            .unwrap()
    }

    /// Returns the same of a text that is not TOML.
    fn doubtful(text: &str, word: &str) -> Option<String> {
        drawn_from(&SourceText::new(Path::new("x.toml"), text, None, &masking()), word)
    }

    fn drawn_from(source: &SourceText, word: &str) -> Option<String> {
        let start = source.text.find(word).unwrap();
        let snippet = source.snippet(start..start + word.len())?;
        let drawn = snippet.drawn(1, Level::ERROR, Renderer::plain());
        let marks = drawn.lines().last().and_then(|line| line.strip_prefix("  | ")).unwrap();
        Some(format!("{}\n{marks}", snippet.text))
    }

    #[test]
    fn what_is_meant_is_marked() {
        assert_eq!(drawn("[poll]\n  idle_interval = 5 \n", "5"), "  idle_interval = 5 \n                  ^");
        assert_eq!(drawn("[poll]\nidle = '5m'\n", "idle"), "idle = ***\n^^^^");
        assert_eq!(drawn("[[policy]]\r\nname = 'x'\r\n", "[[policy]]"), "[[policy]]\n^^^^^^^^^^");
        assert_eq!(drawn("mode = 'on'", "'on'"), "mode = 'on'\n       ^^^^");
    }

    #[test]
    fn of_several_lines_the_first_is_shown() {
        let text = "[policy]\nnotify = [\n  'a',\n  'b',\n]\n";
        assert_eq!(drawn(text, "[\n  'a',\n  'b',\n]"), "notify = [\n         ^");
        assert_eq!(drawn(text, "'b'"), "  'b',\n  ^^^");
    }

    #[test]
    fn what_may_be_a_secret_is_hidden_and_still_marked() {
        let text = "[credentials.main]\naccess_key = 'canary'\nsecret_key = { value = 'canary', n = 5 }\n";
        assert_eq!(drawn(text, "'canary'"), "access_key = ***\n             ^^^");
        assert_eq!(
            drawn(text, "{ value = 'canary', n = 5 }").lines().next().unwrap(),
            "secret_key = { value = ***, n = *** }"
        );
        let at_value = drawn(text, "{ value = 'canary', n = 5 }");
        assert!(at_value.ends_with(&format!("\n{:13}{}", "", "^".repeat(24))), "{at_value}");
        for (text, shown) in [
            ("secretkey = 'canary'", "secretkey = ***"),
            ("journal.url = 'postgres://u:canary@h/d'", "journal.url = ***"),
            ("journal.url = 'sqlite:/x'", "journal.url = 'sqlite:/x'"),
            ("channel = [{ url = 'https://h/canary' }]", "channel = [{ url = *** }]"),
            (
                "project = [{ endpoint = 'https://u:canary@h', name = 'a' }]",
                "project = [{ endpoint = ***, name = 'a' }]",
            ),
            ("project = [{ endpoint = 'https://h' }]", "project = [{ endpoint = 'https://h' }]"),
            ("a.b = { env = 'NAME' }", "a.b = { env = 'NAME' }"),
            ("a.b = { env = 'canary!' }", "a.b = { env = *** }"),
            ("credentials.a.type = 'aksk'", "credentials.a.type = 'aksk'"),
            ("credentials.a.type = 'CANARY'", "credentials.a.type = ***"),
            ("mode = 'on' # was: canary", "mode = 'on'"),
            ("policy = [{ match.tags = { team = 'a' } }]", "policy = [{ match.tags = { team = 'a' } }]"),
            ("a.tags = { team = 'canary' }", "a.tags = { team = *** }"),
        ] {
            let drawn = drawn(text, text.split(['.', ' ']).next().unwrap());
            assert_eq!(drawn.lines().next().unwrap(), shown);
        }
    }

    #[test]
    fn a_secret_over_several_lines_is_hidden_in_each() {
        let text = "[credentials.main]\ntoken = '''\ncanary\nname = 'canary'\n''' # canary\nx = 1\n";
        for word in ["token", "canary\nname", "name = ", "''' #"] {
            let drawn = drawn(text, word);
            assert!(!drawn.contains("canary") && drawn.contains("***"), "{drawn}");
        }
    }

    #[test]
    fn of_a_long_line_the_part_around_is_shown() {
        let text = format!("name = ['{}', 5, '{}']", "é".repeat(500), "ü".repeat(500));
        let drawn = drawn(&text, "5");
        assert!(drawn.starts_with("…é") && drawn.contains("', 5, 'ü") && drawn.contains("ü…\n"), "{drawn}");
        let (line, marks) = drawn.split_once('\n').unwrap();
        assert!(line.chars().count() < 200);
        assert_eq!(line.chars().position(|c| c == '5'), Some(marks.len() - 1));
        // Cut within what is hidden, before and after.
        let text = format!("x = ['{0}', 5, '{0}']", "canary".repeat(500));
        assert_eq!(self::drawn(&text, "5").lines().next().unwrap(), "…***, ***, ***…");
    }

    #[test]
    fn wide_and_invisible_characters_leave_the_mark_in_its_place() {
        assert_eq!(drawn("name = ['集群', 5]", "5"), "name = ['集群', 5]\n                ^");
        assert_eq!(drawn("name = ['e\u{301}', 5]", "5"), "name = ['e\u{301}', 5]\n             ^");
        assert_eq!(drawn("name = ['\u{202e}', 5]", "5"), "name = ['\\u{202e}', 5]\n                    ^");
        assert_eq!(drawn("\tname\t= 5", "5"), " name = 5\n        ^");
    }

    #[test]
    fn of_what_is_no_toml_only_what_is_plainly_harmless_is_shown() {
        let shown = |text: &str, word: &str| doubtful(text, word).unwrap();
        assert_eq!(shown("idle_interval = 5m\n", "5m"), "idle_interval = 5m\n                ^^");
        assert_eq!(shown("[poll\nx = 1", "[poll"), "[poll\n^^^^^");
        assert_eq!(shown("secret_key = \"canary\nx = 1", "\"canary"), "secret_key = ***\n             ^^^");
        assert_eq!(shown("secret_key = canary\nx = 1", "secret_key"), "secret_key = ***\n^^^^^^^^^^");
        assert_eq!(shown("mode = = canary\n", "= canary"), "mode = ***\n       ^^^");
        assert_eq!(shown("mode = on # canary\n", "on"), "mode = ***\n       ^^^");
        for text in ["canary", "'canary' = 5", "{ canary", "\"[canary\""] {
            assert_eq!(doubtful(text, "canary"), None, "{text}");
        }
    }

    #[test]
    fn an_end_of_a_file_can_be_meant() {
        let source = SourceText::new(Path::new("x.toml"), "name = ", None, &masking());
        assert_eq!(source.snippet(7..7), Some(Snippet { text: "name = ".to_owned(), span: 7..7 }));
        let source = SourceText::new(Path::new("x.toml"), "", None, &masking());
        assert_eq!((source.line(0), source.column(0), source.snippet(0..0)), (1, 1, None));
    }
}
