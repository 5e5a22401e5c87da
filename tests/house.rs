//! The house: which module may use which other, and what the pure ones never touch. Read from the sources.
//!
//! Paths that lead through `crate::`, or through enough `super::` to leave a module, are held against one table.
//! Tests are not: they may use what they like.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each top-level module may use. `a::B` allows this one thing (and what is in it), `a` everything of `a`.
const MAY_USE: &[(&str, &[&str])] = &[
    // The vocabulary.
    // Planted faults reach into everything that decides.
    ("planted", &[]),
    ("model", &["planted"]),
    ("clock", &["model"]),
    // Where a test may kill the process; nothing at all in what is shipped.
    ("failpoint", &[]),
    // The stages. They know neither the settings nor each other's insides.
    ("schedule", &["clock", "model"]),
    ("decide", &["model", "planted"]),
    ("journal", &["failpoint", "model", "planted"]),
    (
        "act",
        &[
            "cloud::BodyKind",
            "cloud::Css",
            "cloud::Permit",
            "cloud::Reply",
            "journal::Intent",
            "journal::Journaled",
            "model",
            "planted",
        ],
    ),
    ("notify", &["clock::Clock", "model"]),
    // The one reconcile puts the stages together, by their traits.
    (
        "reconcile",
        &[
            "act",
            "clock::Clock",
            "cloud::CloudError",
            "cloud::Css",
            // Taken before the gate, for the PUT behind it.
            "cloud::Permit",
            // Why there is none.
            "cloud::transport::TransportError",
            "decide",
            "failpoint",
            "journal::Intent",
            "journal::Journal",
            "journal::JournalError",
            "model",
            "notify",
            "planted",
            // Values only: how it stands, for people.
            "status",
        ],
    ),
    // A project as the scheduler drives it.
    (
        "project",
        &["clock::Clock", "cloud::Css", "journal::Journal", "reconcile", "model", "notify", "schedule"],
    ),
    // Around them.
    ("cloud", &["clock", "failpoint", "model", "planted"]),
    ("settings", &["model"]),
    ("lifecycle", &[]),
    ("telemetry", &["settings"]),
    // What the service manager is told. It knows nothing of what it tells.
    ("supervisor", &[]),
    // What of the system is shared out.
    ("descriptors", &[]),
    // It carries words; what they do is the daemon's.
    ("connections", &["descriptors"]),
    ("control", &["connections", "model", "status"]),
    ("status", &["model"]),
    // It shows values; where they come from is the daemon's.
    ("web", &["connections", "model", "status"]),
    (
        "daemon",
        &[
            "clock",
            "cloud",
            "control",
            "descriptors",
            "journal",
            "reconcile",
            "model",
            "notify",
            "project",
            "settings",
            // How it stands and that it lives is told by the loop that does the work.
            "status",
            "supervisor",
            "schedule",
            // What of it the page is shown.
            "web::ClusterView",
            "web::Source",
        ],
    ),
    // Its JSON and its check of signatures share nothing with the client's, so that one slip is not on both sides.
    ("simulator", &["clock", "model"]),
    (
        "cli",
        &[
            "clock",
            // `doctor` reaches each project as the daemon does, and says what the errors mean.
            "cloud::CloudError",
            "cloud::Css",
            "cloud::Reach",
            "cloud::ProxyCircuit",
            "control",
            "daemon",
            "journal",
            "lifecycle",
            "model",
            "notify",
            "settings",
            "simulator",
            "status",
            "supervisor",
            "telemetry",
            "schedule",
            "web",
        ],
    ),
    ("main", &["cli"]),
];

/// What equal inputs giving equal results forbids, in the modules that promise it.
const PURE: &[&str] = &["decide", "model"];
const IMPURE: &[&str] = &[
    "async",
    "await",
    "tokio",
    "tracing",
    "reqwest",
    "rusqlite",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "rand::random",
    "rand::rng",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "print",
    "println",
    "eprint",
    "eprintln",
    "dbg",
];
/// The delay arithmetic takes an `Instant` that nothing is measured from, and there is no other way to make one.
const EXCEPT: &[(&str, &str, usize)] = &[("decide/backoff.rs", "Instant::now", 1)];

/// The text without comments, and without what stands in literals.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        let after_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
        match c {
            '/' if next == Some('/') => {
                while chars.get(at).is_some_and(|c| *c != '\n') {
                    at += 1;
                }
            }
            '/' if next == Some('*') => {
                let mut depth = 0;
                loop {
                    match (chars.get(at), chars.get(at + 1)) {
                        (Some('/'), Some('*')) => (depth, at) = (depth + 1, at + 2),
                        (Some('*'), Some('/')) => (depth, at) = (depth - 1, at + 2),
                        (Some(_), _) => at += 1,
                        (None, _) => break,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            'r' if !after_word || (at > 0 && chars[at - 1] == 'b') => {
                let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
                if chars.get(at + 1 + hashes) == Some(&'"') {
                    at += hashes + 2;
                    while at < chars.len()
                        && !(chars[at] == '"'
                            && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes)
                    {
                        at += 1;
                    }
                    at += hashes + 1;
                    code.push_str("\"\"");
                } else {
                    code.push(c);
                    at += 1;
                }
            }
            '"' => {
                at += 1;
                while chars.get(at).is_some_and(|c| *c != '"') {
                    at += if chars[at] == '\\' { 2 } else { 1 };
                }
                at += 1;
                code.push_str("\"\"");
            }
            // A character, not a lifetime.
            '\'' if next == Some('\\') || chars.get(at + 2) == Some(&'\'') => {
                at += if next == Some('\\') { 3 } else { 2 };
                while chars.get(at).is_some_and(|c| *c != '\'') {
                    at += 1;
                }
                at += 1;
                code.push_str("' '");
            }
            _ => {
                code.push(c);
                at += 1;
            }
        }
    }
    code
}

/// The code without its tests, and the names of the test modules that stand in files of their own.
fn without_tests(code: &str) -> (String, BTreeSet<String>) {
    let (mut rest, mut kept, mut files) = (code, String::new(), BTreeSet::new());
    while let Some(start) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..start]);
        let item = &rest[start..];
        let end = item.find([';', '{']).unwrap_or(item.len().saturating_sub(1));
        if item[end..].starts_with('{') {
            let mut depth = 0_u32;
            let close = item.char_indices().skip_while(|(n, _)| *n < end).find(|(_, c)| {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            rest = &item[close.map_or(item.len(), |(n, _)| n + 1)..];
        } else {
            if let Some(name) = item[..end].split_whitespace().last().filter(|_| item[..end].contains("mod "))
            {
                files.insert(name.to_owned());
            }
            rest = &item[end + 1..];
        }
    }
    kept.push_str(rest);
    (kept, files)
}

/// The paths that begin at `text`, groups spelled out: `a::{b, c::d}` gives `a::b` and `a::c::d`.
fn paths(text: &str) -> (Vec<String>, usize) {
    let word =
        |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum();
    let blank =
        |text: &str| text.chars().take_while(|c| c.is_whitespace()).map(char::len_utf8).sum::<usize>();
    if text.starts_with('{') {
        let (mut all, mut at) = (Vec::new(), 1);
        loop {
            at += blank(&text[at..]);
            if text[at..].starts_with('}') || at >= text.len() {
                return (all, at + 1);
            }
            let (mut inner, length) = paths(&text[at..]);
            all.append(&mut inner);
            at += length.max(1);
            // `as name` and the comma.
            at += text[at..].find([',', '}']).unwrap_or(0);
            at += usize::from(text[at..].starts_with(','));
        }
    }
    let first: usize = word(text);
    let name = &text[..first];
    if !text[first..].starts_with("::") {
        return (vec![name.to_owned()], first);
    }
    let (inner, length) = paths(&text[first + 2..]);
    let joined = inner
        .into_iter()
        .map(|path| if path.is_empty() { name.to_owned() } else { format!("{name}::{path}") });
    (joined.collect(), first + 2 + length)
}

/// The paths from the crate's root that this code names. `depth`: how deep its module lies.
fn uses(code: &str, depth: usize) -> Vec<String> {
    let mut all = Vec::new();
    for root in ["crate::", "upgrade_remediator::"] {
        for (at, _) in code.match_indices(root) {
            all.extend(paths(&code[at + root.len()..]).0);
        }
    }
    let mut at = 0;
    while let Some(found) = code[at..].find("super::") {
        let start = at + found;
        let mut end = start;
        while code[end..].starts_with("super::") {
            end += "super::".len();
        }
        if (end - start) / "super::".len() >= depth {
            all.extend(paths(&code[end..]).0);
        }
        at = end;
    }
    all
}

/// A source file: its place in `src`, and its code without comments, literals and tests.
struct Source {
    place: String,
    code: String,
}

impl Source {
    /// The path of its module: `a/b.rs` and `a/b/mod.rs` are `a::b`.
    fn module(&self) -> Vec<&str> {
        let mut parts: Vec<&str> = self.place.trim_end_matches(".rs").split('/').collect();
        if parts.last() == Some(&"mod") {
            parts.pop();
        }
        parts
    }

    fn violations(&self) -> Vec<String> {
        let module = self.module();
        let top = module[0];
        let mut found = Vec::new();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == top) else {
            return if top == "lib" { found } else { vec![format!("{}: not in the table", self.place)] };
        };
        for used in uses(&self.code, module.len()) {
            let of_its_own = used == top || used.starts_with(&format!("{top}::"));
            let covered = allowed.iter().any(|path| used == *path || used.starts_with(&format!("{path}::")));
            if !of_its_own && !covered {
                found.push(format!("{}: {top} must not use {used}", self.place));
            }
        }
        if PURE.contains(&top) {
            for word in IMPURE {
                let times = occurrences(&self.code, word);
                let expected = EXCEPT
                    .iter()
                    .find(|(place, except, _)| *place == self.place && except == word)
                    .map_or(0, |(.., times)| *times);
                if times != expected {
                    found.push(format!("{}: {word} stands there {times} times", self.place));
                }
            }
        }
        found
    }
}

/// How often this word (or path) stands in the code as a whole one.
fn occurrences(code: &str, word: &str) -> usize {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let whole =
        |at: usize| !part(code[..at].chars().next_back()) && !part(code[at + word.len()..].chars().next());
    code.match_indices(word).filter(|(at, _)| whole(*at)).count()
}

/// The sources of this folder as they are without their tests.
fn sources(files: &BTreeMap<String, String>) -> Vec<Source> {
    let mut tests = Vec::new();
    let mut all = Vec::new();
    for (place, text) in files {
        let (code, names) = without_tests(&code_of(text));
        let source = Source { place: place.clone(), code };
        let folder = source.module().join("/");
        tests.extend(names.into_iter().map(|name| format!("{folder}/{name}")));
        all.push(source);
    }
    all.retain(|source| {
        let place = source.place.trim_end_matches(".rs");
        !tests.iter().any(|test| place == test || place.starts_with(&format!("{test}/")))
    });
    all
}

fn files_of_src() -> BTreeMap<String, String> {
    fn read(folder: &Path, root: &Path, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                read(&path, root, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let place = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                files.insert(place, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    read(&root, &root, &mut files);
    files
}

#[test]
fn every_module_uses_only_what_it_may() {
    let files = files_of_src();
    let sources = sources(&files);
    assert!(sources.len() > 50 && sources.len() < files.len(), "{} of {}", sources.len(), files.len());
    let violations: Vec<String> = sources.iter().flat_map(Source::violations).collect();
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn the_table_names_no_module_and_no_use_that_is_not_there() {
    let sources = sources(&files_of_src());
    for (module, allowed) in MAY_USE {
        let used: Vec<String> = sources
            .iter()
            .filter(|source| source.module()[0] == *module)
            .flat_map(|source| uses(&source.code, source.module().len()))
            .collect();
        assert!(sources.iter().any(|source| source.module()[0] == *module), "there is no {module}");
        for path in *allowed {
            let needed = used.iter().any(|used| used == path || used.starts_with(&format!("{path}::")));
            assert!(needed, "{module} does not use {path}: the table can be tighter");
        }
    }
}

/// The violations in a made-up file.
fn violations(place: &str, text: &str) -> Vec<String> {
    let files = BTreeMap::from([(place.to_owned(), text.to_owned())]);
    sources(&files).iter().flat_map(Source::violations).collect()
}

#[test]
fn a_use_that_is_not_allowed_is_found_however_it_is_written() {
    for (place, text) in [
        ("decide/x.rs", "use crate::cloud::Css;"),
        ("decide/x.rs", "use crate::{model::{id::TaskId, task}, clock::{Clock as Time}};"),
        ("decide/x.rs", "pub use crate::cloud;"),
        ("decide/x.rs", "fn f() { let now = crate::clock::SystemClock::new(); }"),
        ("decide/x.rs", "use super::super::clock::Clock;"),
        ("decide/mod.rs", "use super::clock::Clock;"),
        ("decide/a/b.rs", "use super::super::super::{model::id, act};"),
        ("model/x.rs", "use crate::clock::Clock;"),
        ("simulator/x.rs", "use crate::cloud::wire::task;"),
        ("act/mod.rs", "use crate::journal::SqliteJournal;"),
        ("act/mod.rs", "use crate::journal::{Intent, Journaled, sqlite::SqliteJournal};"),
        ("reconcile.rs", "use crate::settings::Settings;"),
        ("reconcile.rs", "use super::settings::Settings;"),
        ("main.rs", "use upgrade_remediator::daemon;"),
        ("new.rs", ""),
        ("decide/x.rs", "async fn f() {}"),
        ("decide/x.rs", "use std::time::SystemTime;"),
        ("decide/x.rs", "fn f() { Instant::now(); }"),
        ("decide/backoff.rs", "fn f() { Instant::now(); Instant::now(); }"),
        ("model/x.rs", "fn f() { tracing::info!(\"x\"); }"),
        ("model/x.rs", "fn f() -> char { '\"' } use crate::act; const A: &str = \"\";"),
        ("model/x.rs", "#[cfg(test)]\nmod tests { fn f() { if true {} } }\nuse crate::act;"),
        ("model/x.rs", "const A: &str = r#\"\"\"#; use crate::act;"),
        ("model/x.rs", "/* /* */ */ use crate::act;"),
    ] {
        assert_eq!(violations(place, text).len(), 1, "{place}: {text}: {:?}", violations(place, text));
    }
}

#[test]
fn what_is_allowed_and_what_is_no_code_is_not_taken_for_a_violation() {
    for (place, text) in [
        (
            "decide/x.rs",
            "use crate::model::{id::TaskId, moment::Moment}; use crate::decide::Facts; use super::Facts;",
        ),
        ("decide/x.rs", "// use crate::cloud::Css;\n//! [`crate::clock`]\n/* crate::clock */"),
        (
            "decide/x.rs",
            "const A: &str = \"use crate::clock; async tokio\"; const B: &str = r\"crate::act\";",
        ),
        ("decide/x.rs", "#[cfg(test)]\nmod tests { use crate::clock::Clock; async fn f() {} }"),
        ("decide/x.rs", "fn f<'a>(x: &'a str) -> &'a str { x } fn asynchronous() {}"),
        ("act/mod.rs", "use crate::journal::{Intent, Journaled};"),
        ("simulator/a/b.rs", "use super::super::task::STEPS;"),
        ("main.rs", "fn main() { upgrade_remediator::cli::run(); }"),
        ("lib.rs", "pub mod cloud;"),
    ] {
        assert_eq!(violations(place, text), Vec::<String>::new(), "{place}: {text}");
    }
    let files = BTreeMap::from([
        ("decide/mod.rs".to_owned(), "#[cfg(test)]\nmod tests;".to_owned()),
        ("decide/tests.rs".to_owned(), "use crate::clock::Clock;".to_owned()),
        ("decide/tests/more.rs".to_owned(), "use crate::clock::Clock;".to_owned()),
    ]);
    assert!(sources(&files).iter().flat_map(Source::violations).next().is_none());
}

/// The tests that docs/decisions.md names in the last column of its table are there.
#[test]
fn the_tests_that_decisions_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let page = fs::read_to_string(root.join("docs/decisions.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut named = 0;
    for row in rows {
        let tests = row.trim_end_matches(['|', ' ']).rsplit(" | ").next().unwrap();
        for name in tests.split('`').skip(1).step_by(2) {
            let is_there = match name.strip_suffix(".rs") {
                Some(_) => root.join("tests").join(name).exists(),
                None => sources.contains(&format!("fn {name}(")),
            };
            assert!(is_there, "docs/decisions.md names the test {name}, which is not there");
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
}
