//! The text of one TOML file → a [`Layer`], every value with its place.
//!
//! Must never: repeat a line of the file in a message (a secret may stand in it), nor pass on a value that the
//! strict bridge would silently change (numbers that JSON cannot bear, dates).

use std::path::Path;
use std::sync::Arc;

use config::{Map, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{KeyPath, is_bare};
use super::layer::{Layer, Origin, Position};
use super::problem::Problem;

/// More errors of syntax than this help nobody.
const MAX_SYNTAX_PROBLEMS: usize = 20;

/// Reads a file's text. `None` where it is no TOML; the problems say why.
pub(super) fn parse(file: &Path, text: &str) -> (Option<Layer>, Vec<Problem>) {
    let lines = Lines::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What a parser guesses after an error would only give follow-up errors.
        let problems = errors.iter().take(MAX_SYNTAX_PROBLEMS).map(|error| {
            // Only the message: the error's `Display` repeats the line.
            let mut problem = Problem::error(format!("not TOML: {}", error.message())).in_file(file);
            if let Some(span) = error.span() {
                let at = lines.position(span.start);
                (problem.line, problem.column) = (Some(at.line), Some(at.column));
            }
            problem
        });
        return (None, problems.collect());
    }
    let mut reader = Reader {
        file: file.into(),
        lines,
        layer: Layer { file: Some(file.to_owned()), ..Layer::default() },
        problems: Vec::new(),
    };
    let mut values = Map::new();
    reader.table(&KeyPath::default(), table.get_ref(), &mut values);
    reader.layer.values = values;
    (Some(reader.layer), reader.problems)
}

struct Reader<'a> {
    file: Arc<Path>,
    lines: Lines<'a>,
    layer: Layer,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, path: &KeyPath, table: &DeTable<'_>, into: &mut Map<String, Value>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let path_here = path.key(name);
            // `config` would take a quoted key at the top that has a dot for a path.
            if path.segments().is_empty() && !is_bare(name) {
                let at = self.lines.position(key.span().start);
                self.drop(path_here, at, "unknown key".to_owned());
                continue;
            }
            if let Some(value) = self.value(&path_here, key.span().start, value) {
                into.insert(name.to_owned(), value);
            }
        }
    }

    fn value(&mut self, path: &KeyPath, key: usize, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let at = self.lines.position(value.span().start);
        let origin = Origin::File { file: self.file.clone(), key: self.lines.position(key), value: at };
        let text = origin.to_string();
        self.layer.origins.insert(path.clone(), origin);
        let kind = match value.get_ref() {
            DeValue::String(text) => ValueKind::String(text.as_ref().to_owned()),
            DeValue::Boolean(truth) => ValueKind::Boolean(*truth),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => ValueKind::I64(number),
                Err(_) => return self.drop(path.clone(), at, "the number is too large".to_owned()),
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => ValueKind::Float(number),
                // JSON has no such numbers: they would turn into 'absent', and the default would hold.
                _ => {
                    return self.drop(
                        path.clone(),
                        at,
                        "found a number that is not finite; no key takes one".to_owned(),
                    );
                }
            },
            DeValue::Datetime(_) => {
                return self.drop(
                    path.clone(),
                    at,
                    "found a date or time without quotes; no key takes one".to_owned(),
                );
            }
            DeValue::Array(list) => {
                let mut values = Vec::new();
                for (index, element) in list.iter().enumerate() {
                    let here = path.index(index);
                    // What cannot be read keeps its place, so that the others keep theirs.
                    let value = self.value(&here, element.span().start, element);
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

    fn drop(&mut self, path: KeyPath, at: Position, message: String) -> Option<Value> {
        let mut problem = Problem::error(message).in_file(self.file.as_ref()).at_key(path.to_string());
        (problem.line, problem.column) = (Some(at.line), Some(at.column));
        self.problems.push(problem);
        self.layer.dropped.insert(path);
        None
    }
}

/// Where each line begins, to turn an offset into a line and a column.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
    ascii: bool,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(n, _)| n + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect(), ascii: text.is_ascii() }
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let column = if self.ascii {
            offset - start
        } else {
            self.text.get(start..offset).map_or(offset - start, |before| before.chars().count())
        };
        Position { line, column: column + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        parse(Path::new("x.toml"), text).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_value_bears_its_place() {
        let (layer, problems) = parse(Path::new("x.toml"), "mode = 'a'\n[poll]\n  x = [1,\n 2]\n");
        assert_eq!(problems, []);
        let layer = layer.unwrap();
        let short = |path: &KeyPath| layer.origins.get(path).map(ToString::to_string);
        let top = KeyPath::default();
        assert_eq!(short(&top.key("mode")).as_deref(), Some("x.toml:1:8"));
        assert_eq!(layer.values.get("mode").and_then(Value::origin), Some("x.toml:1:8"));
        let list = top.key("poll").key("x");
        assert_eq!(short(&top.key("poll")).as_deref(), Some("x.toml:2:1"));
        assert_eq!(short(&list).as_deref(), Some("x.toml:3:7"));
        assert_eq!(short(&list.index(1)).as_deref(), Some("x.toml:4:2"));
    }

    #[test]
    fn columns_count_characters() {
        let (layer, _) = parse(Path::new("x.toml"), "[t]\n'é' = [1,\n 'ü', 2]\n");
        let layer = layer.unwrap();
        let list = KeyPath::default().key("t").key("é");
        assert_eq!(layer.origins[&list].to_string(), "x.toml:2:7");
        assert_eq!(layer.origins[&list.index(2)].to_string(), "x.toml:3:7");
        match &layer.origins[&list] {
            Origin::File { key, .. } => assert_eq!(*key, Position { line: 2, column: 1 }),
            other => panic!("{other:?}"),
        }
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
    fn several_syntax_errors_are_told_at_once_and_without_the_line() {
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
    }
}
