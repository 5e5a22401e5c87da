//! The text of one TOML file → a [`Layer`], with the place of every value.
//!
//! Must never: repeat a part of the file in a message (it may contain a secret), nor pass on a
//! value that JSON would silently change (numbers that it does not have, dates).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use config::{Map, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{KeyPath, is_bare};
use super::layer::{Layer, Origin};
use super::problem::{MAX_PROBLEMS, Problem};
use super::schema::Masking;
use super::source::SourceText;

/// Further errors of syntax would not help.
const MAX_SYNTAX_PROBLEMS: usize = 20;
/// The deepest key of the configuration: `policy[0].window.allow[0].days[0]` has seven steps.
const MAX_DEPTH: usize = 12;
/// The largest number of keys and list elements in a file: it bounds the cost of reading one.
const MAX_VALUES: usize = 100_000;

/// Reads a file's text. Returns `None` if it is not TOML; the problems say why.
pub(super) fn parse(file: &Path, text: &str, masking: &Arc<Masking>) -> (Option<Layer>, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let source = SourceText::new(file, text, None, masking);
        // What a parser guesses after an error would only give follow-up errors, in the same line as elsewhere.
        let mut lines = BTreeSet::new();
        let first_of_line =
            |error: &&toml::de::Error| lines.insert(error.span().map(|span| source.line(span.start)));
        let problems = errors.iter().filter(first_of_line).take(MAX_SYNTAX_PROBLEMS);
        return (None, problems.map(|error| syntax(error, text, &source)).collect());
    }
    let mut reader = Reader {
        source: Arc::new(SourceText::new(file, text, Some(table.get_ref()), masking)),
        layer: Layer { file: Some(file.to_owned()), ..Layer::default() },
        names: BTreeMap::new(),
        problems: Vec::new(),
    };
    let mut values = Map::new();
    reader.table(&KeyPath::default(), table.get_ref(), &mut values);
    if reader.layer.origins.len() >= MAX_VALUES {
        let problem = Problem::error(format!("the file has {MAX_VALUES} keys and values or more"));
        return (None, vec![problem.in_file(file)]);
    }
    reader.layer.values = values;
    (Some(reader.layer), reader.problems)
}

/// What an error of the parser says, and how to put it right.
fn syntax(error: &toml::de::Error, text: &str, source: &SourceText) -> Problem {
    // Only the message: the error's `Display` repeats the line.
    let problem = Problem::error(format!("not TOML: {}", error.message()));
    let Some(span) = error.span() else { return problem.in_file(source.file()) };
    let mut problem = problem.pointing_at(source, &span);
    if let Some(key) = source.key_before_a_colon(span.start) {
        problem.hint = Some(format!("write {key} = …, with '=' instead of ':'"));
    } else if error.message().contains("must be quoted") {
        problem.hint = Some("write text and durations in quotes: \"30s\"".to_owned());
    } else if error.message() == "duplicate key"
        && let Some(first) = first_of_two(text, &span)
    {
        let (file, line) = (source.file().display(), source.line(first));
        problem.message = format!("{}: also at {file}:{line}", problem.message);
    }
    problem
}

/// Where the key stands first that stands at `second` again. A text without it is TOML there, with another key in its
/// place, whose neighbour the first one is.
fn first_of_two(text: &str, second: &Range<usize>) -> Option<usize> {
    let mut other = String::from("another");
    while text.contains(&other) {
        other.push('-');
    }
    let key = text.get(second.clone())?;
    let changed = format!("{}{other}{}", text.get(..second.start)?, text.get(second.end..)?);
    let (table, _) = DeTable::parse_recoverable(&changed);
    let key = format!("{key} = 1");
    let key = DeTable::parse(&key).ok()?;
    let name = key.get_ref().keys().next()?.get_ref().to_string();
    let first = table_with(table.get_ref(), &other)?.get_key_value(name.as_str())?.0.span().start;
    (first < second.start).then_some(first)
}

/// The table, of this one and all within it, that has this key.
fn table_with<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<&'t DeTable<'i>> {
    if table.contains_key(key) {
        return Some(table);
    }
    table.values().find_map(|value| within(value, key))
}

fn within<'t, 'i>(value: &'t Spanned<DeValue<'i>>, key: &str) -> Option<&'t DeTable<'i>> {
    match value.get_ref() {
        DeValue::Table(table) => table_with(table, key),
        DeValue::Array(list) => list.iter().find_map(|element| within(element, key)),
        _ => None,
    }
}

struct Reader {
    source: Arc<SourceText>,
    layer: Layer,
    /// Returns the elements of lists that have a name.
    names: BTreeMap<KeyPath, String>,
    problems: Vec<Problem>,
}

impl Reader {
    fn table(&mut self, path: &KeyPath, table: &DeTable<'_>, into: &mut Map<String, Value>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let path_here = path.key(name);
            // `config` would read a quoted key at the top with a dot as a path.
            if path.segments().is_empty() && !is_bare(name) {
                self.drop(path_here, &key.span(), "unknown key");
                continue;
            }
            if let Some(value) = self.value(&path_here, key.span(), value) {
                into.insert(name.to_owned(), value);
            }
        }
    }

    fn value(&mut self, path: &KeyPath, key: Range<usize>, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        if self.layer.origins.len() >= MAX_VALUES {
            return None;
        }
        let span = value.span();
        let origin = Origin::File { source: Arc::clone(&self.source), key, value: span.clone() };
        let text = origin.to_string();
        self.layer.origins.insert(path.clone(), origin);
        let kind = match value.get_ref() {
            DeValue::String(text) => ValueKind::String(text.as_ref().to_owned()),
            DeValue::Boolean(truth) => ValueKind::Boolean(*truth),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => ValueKind::I64(number),
                Err(_) => return self.drop(path.clone(), &span, "the number is too large"),
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => ValueKind::Float(number),
                // JSON has no such numbers: they would become 'absent', and the default would
                // apply.
                _ => {
                    let message = "found a number that is not finite; no key takes one";
                    return self.drop(path.clone(), &span, message);
                }
            },
            DeValue::Datetime(_) => {
                let message = "found a date or time without quotes; text in quotes is needed";
                return self.drop(path.clone(), &span, message);
            }
            DeValue::Array(_) | DeValue::Table(_) if path.segments().len() >= MAX_DEPTH => {
                return self.drop(
                    path.clone(),
                    &span,
                    "the key is nested deeper than any key of the configuration",
                );
            }
            DeValue::Array(list) => {
                let mut values = Vec::new();
                for (index, element) in list.iter().enumerate() {
                    let name = element.get_ref().get("name").and_then(|name| name.get_ref().as_str());
                    self.names.extend(name.map(|name| (path.index(index), name.to_owned())));
                    // An unreadable element keeps its place, so that the others keep theirs.
                    let value = self.value(&path.index(index), element.span(), element);
                    values.push(value.unwrap_or_else(|| Value::new(Some(&text), ValueKind::Nil)));
                }
                ValueKind::Array(values)
            }
            DeValue::Table(table) => {
                let mut values = Map::new();
                self.table(path, table, &mut values);
                ValueKind::Table(values)
            }
        };
        Some(Value::new(Some(&text), kind))
    }

    /// As [`KeyPath::label`], while there is no layer yet to look it up in.
    fn label(&self, path: &KeyPath) -> String {
        let (mut here, mut shown) = (KeyPath::default(), KeyPath::default());
        for segment in path.segments() {
            here = here.with(segment.clone());
            shown = match self.names.get(&here) {
                Some(name) => shown.key(name),
                None => shown.with(segment.clone()),
            };
        }
        shown.to_string()
    }

    fn drop(&mut self, path: KeyPath, at: &Range<usize>, message: &str) -> Option<Value> {
        if self.problems.len() < MAX_PROBLEMS {
            let problem = Problem::error(message).at_key(self.label(&path));
            self.problems.push(problem.pointing_at(&self.source, at));
        }
        self.layer.dropped.insert(path);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        parse(Path::new("x.toml"), text, &Arc::default()).1.iter().map(ToString::to_string).collect()
    }

    /// `LINE:COLUMN` of a key and of its value.
    fn place(layer: &Layer, path: &KeyPath) -> [String; 2] {
        let Origin::File { source, key, value } = &layer.origins[path] else { panic!("{path}") };
        [key, value].map(|span| format!("{}:{}", source.line(span.start), source.column(span.start)))
    }

    #[test]
    fn every_value_bears_its_place() {
        let (layer, problems) =
            parse(Path::new("x.toml"), "mode = 'a'\n[poll]\n  x = [1,\n 2]\n", &Arc::default());
        assert_eq!(problems, []);
        let layer = layer.unwrap();
        let top = KeyPath::default();
        assert_eq!(place(&layer, &top.key("mode")), ["1:1", "1:8"]);
        assert_eq!(layer.values.get("mode").and_then(Value::origin), Some("x.toml:1"));
        let list = top.key("poll").key("x");
        assert_eq!(place(&layer, &top.key("poll")), ["2:2", "2:1"]);
        assert_eq!(place(&layer, &list), ["3:3", "3:7"]);
        assert_eq!(place(&layer, &list.index(1)), ["4:2", "4:2"]);
    }

    #[test]
    fn columns_count_characters() {
        let (layer, _) = parse(Path::new("x.toml"), "[t]\n'é' = [1,\n 'ü', 2]\n", &Arc::default());
        let layer = layer.unwrap();
        let list = KeyPath::default().key("t").key("é");
        assert_eq!(place(&layer, &list), ["2:1", "2:7"]);
        assert_eq!(place(&layer, &list.index(2)), ["3:7", "3:7"]);
    }

    #[test]
    fn what_the_bridge_would_change_is_refused_here() {
        for (text, part) in [
            ("a = nan", "not finite"),
            ("a = -inf", "not finite"),
            ("a = 1e999", "not finite"),
            ("a = 99999999999999999999", "too large"),
            ("a = 2026-12-20T00:00:00", "without quotes"),
            ("[t]\na = 10:00:00", "without quotes"),
            ("a = [1, nan]", "not finite"),
            ("'journal.url' = 1", "unknown key"),
            ("'' = 1", "unknown key"),
        ] {
            let found = problems(text);
            assert!(found.len() == 1 && found[0].contains(part), "{text}: {found:?}");
        }
    }

    #[test]
    fn several_syntax_errors_are_told_at_once_and_without_a_value() {
        let found = problems("a = canary-7f3a\nb = 1\n[c\nd = \"canary-7f3a\n");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|problem| !problem.contains("canary")), "{found:?}");
        assert!(found.iter().any(|problem| problem.starts_with("error: x.toml:1:5")), "{found:?}");
    }

    #[test]
    fn a_table_of_any_depth_is_an_error_and_no_overflow() {
        let dotted = format!("{}a = 1", "a.".repeat(100_000));
        assert!(!problems(&dotted).is_empty());
        let nested = format!("a = {}", "[".repeat(100_000));
        assert!(!problems(&nested).is_empty());
        let tables = format!("a = {}", "{a=".repeat(100_000));
        assert!(!problems(&tables).is_empty());
        let deep = format!("a = {}1{}", "[".repeat(40), "]".repeat(40));
        let found = problems(&deep);
        assert!(found.len() == 1 && found[0].contains("deeper than any key"), "{found:?}");
    }

    #[test]
    fn a_file_of_too_many_values_is_refused_as_a_whole() {
        let list = |length: usize| format!("a = [{}]", "1,".repeat(length));
        assert!(parse(Path::new("x.toml"), &list(MAX_VALUES / 2), &Arc::default()).0.is_some());
        let (layer, problems) = parse(Path::new("x.toml"), &list(MAX_VALUES), &Arc::default());
        assert!(layer.is_none() && problems.len() == 1, "{problems:?}");
    }
}
