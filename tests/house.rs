//! The house: which module may use which other, what the pure ones never touch, and which words users never read. Read from
//! the sources.
//!
//! Every path that leaves a module is held against one table, and no modules beside each other may form a circle.
//! Tests are not: they may use what they like.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "house/circles.rs"]
mod circles;
#[path = "house/languages.rs"]
mod languages;
#[path = "house/source.rs"]
mod source;
#[path = "house/words.rs"]
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use circles::{Circle, circles};
use source::{Source, files_of_src, sources};

/// What each top-level module may use. `a::B` allows this one thing (and what is in it), `a` everything of `a`.
const MAY_USE: &[(&str, &[&str])] = &[
    // The vocabulary.
    ("model", &[]),
    ("clock", &["model"]),
    // Where a test may kill the process; nothing at all in what is shipped.
    ("failpoint", &[]),
    // The stages. They know neither the configuration nor each other's insides.
    ("schedule", &["clock", "model"]),
    ("decide", &["model"]),
    // The clock for the waits between two connections to a database.
    ("journal", &["clock::Clock", "failpoint", "model"]),
    ("notify", &["clock::Clock", "journal::Journal", "journal::JournalError", "model"]),
    // The one reconcile puts the stages together, by their traits.
    (
        "reconcile",
        &[
            "clock::Clock",
            "cloud::CloudError",
            "cloud::Css",
            // What became of a PUT, with the meaning of its answer.
            "cloud::Delivery",
            // Taken before the gate, for the PUT behind it.
            "cloud::Permit",
            "cloud::SendingSpan",
            // Why there is none.
            "cloud::transport::TransportError",
            "decide",
            "failpoint",
            "journal::Intent",
            "journal::Journal",
            "journal::JournalError",
            // The proof that a PUT was journaled.
            "journal::Journaled",
            "model",
            "notify",
            // What drives it.
            "schedule::Lane",
            "schedule::Next",
            "schedule::Project",
            // Values only: how it stands, for people.
            "status",
        ],
    ),
    // Around them.
    ("cloud", &["clock", "failpoint", "model"]),
    ("configuration", &["journal::JournalLocation", "journal::JournalUrl", "journal::postgres", "model"]),
    ("lifecycle", &[]),
    ("telemetry", &["configuration"]),
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
            "configuration",
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
            "configuration",
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

/// Circles that are still to be dissolved, by their folder. A new one is never right.
const CIRCLES: &[(&str, &[&str])] = &[];

/// Who formats a time by hand: forms that others prescribe. For people and in JSON, `model::text` prints it.
const FORMATS_TIME: &[&str] = &[
    "cloud/sign.rs",
    // As the configuration writes a day and a time without a zone.
    "configuration/window.rs",
    "journal/stored.rs",
    "model/text.rs",
    // In the window's own zone.
    "model/window.rs",
    // The service's own forms.
    "simulator/iam.rs",
    "simulator/render.rs",
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

/// What this file uses and may not.
fn violations_of(source: &Source) -> Vec<String> {
    let module = source.module();
    let Some(top) = module.first() else { return Vec::new() };
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| name == top) else {
        return vec![format!("{}: not in the table", source.place)];
    };
    let mut found = BTreeMap::new();
    for (used, line) in source.uses().filter(|(used, _)| used.first().is_some_and(|first| first != top)) {
        let used = used.join("::");
        if !allowed.iter().any(|path| covers(path, &used)) {
            let text = format!("{}:{line}: {top} must not use {used}", source.place);
            found.entry(used).or_insert(text);
        }
    }
    let mut found: Vec<String> = found.into_values().collect();
    if PURE.contains(&top.as_str()) {
        for word in IMPURE {
            let times = source.occurrences(word);
            let expected = EXCEPT
                .iter()
                .find(|(place, except, _)| *place == source.place && except == word)
                .map_or(0, |(.., times)| *times);
            if times != expected {
                found.push(format!("{}: {word} stands there {times} times", source.place));
            }
        }
    }
    found
}

/// Whether what is allowed is this path, or has it in it.
fn covers(allowed: &str, used: &str) -> bool {
    used.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn every_module_uses_only_what_it_may() {
    let files = files_of_src();
    let sources = sources(&files).unwrap();
    assert!(sources.len() > 50 && sources.len() < files.len(), "{} of {}", sources.len(), files.len());
    let violations: Vec<String> = sources.iter().flat_map(violations_of).collect();
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn the_table_names_no_module_and_no_use_that_is_not_there() {
    let sources = sources(&files_of_src()).unwrap();
    for (module, allowed) in MAY_USE {
        let of_it =
            || sources.iter().filter(|source| source.module().first().is_some_and(|top| top == module));
        assert!(of_it().next().is_some(), "there is no {module}");
        let used: Vec<String> = of_it().flat_map(Source::uses).map(|(used, _)| used.join("::")).collect();
        for path in *allowed {
            let needed = used.iter().any(|used| covers(path, used));
            assert!(needed, "{module} does not use {path}: the table can be tighter");
        }
    }
}

/// The violations in a made-up file.
fn violations(place: &str, text: &str) -> Vec<String> {
    let files = BTreeMap::from([(place.to_owned(), text.to_owned())]);
    sources(&files).unwrap().iter().flat_map(violations_of).collect()
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
        ("reconcile.rs", "use crate::journal::SqliteJournal;"),
        ("reconcile.rs", "use crate::journal::{Intent, Journaled, sqlite::SqliteJournal};"),
        ("reconcile.rs", "use crate::configuration::Configuration;"),
        ("reconcile.rs", "use super::configuration::Configuration;"),
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
        ("model/x.rs", "macro_rules! m { () => { $crate::act::execute() }; }"),
        ("model/x.rs", "fn f() { assert!(crate::act::is_due()); }"),
        ("model/x.rs", "mod inner { use super::super::super::act; }"),
        ("model/x.rs", "fn f(x: <crate::act::A as B>::C) {}"),
        ("model/x.rs", "enum A { #[cfg(test)] B(crate::clock::A), C(crate::act::A) }"),
        ("model/x.rs", "#[cfg(not(test))] use crate::act;"),
        ("model/x.rs", "use std::{io, sync::Arc};"),
        ("model/x.rs", "fn f() { let x = async { 1 }; }"),
        ("model/x.rs", "use crate::act as model;"),
        // `use` alone is allowed, what is reached by it is not.
        (
            "web/x.rs",
            "use crate::{web::y, status as s}; fn f() { super::super::daemon::f(); s::f(); y::f(); }",
        ),
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
        ("reconcile.rs", "use crate::journal::{Intent, Journaled};"),
        ("simulator/a/b.rs", "use super::super::steps::STEPS;"),
        ("main.rs", "fn main() { upgrade_remediator::cli::run(); }"),
        ("lib.rs", "pub mod cloud;"),
        ("model/x.rs", "mod inner { use super::super::id; use super::y; }"),
        ("model/x.rs", "struct A { #[cfg(test)] b: crate::act::A, c: u8 }"),
        ("model/x.rs", "fn f() -> A { #[cfg(test)] use crate::act; A { #[cfg(test)] b: act::f(), c: 1 } }"),
        ("model/x.rs", "impl A { #[cfg(test)] async fn f() { crate::act::f() } }"),
        ("model/x.rs", "fn f(x: A) { match x { #[cfg(test)] A::B => crate::act::f(), A::C => {} } }"),
        ("model/x.rs", "use ::act::crate_of_others; fn f() { ::act::f(); act::f(); }"),
    ] {
        assert_eq!(violations(place, text), Vec::<String>::new(), "{place}: {text}");
    }
    for hidden in ["fn f() { #[cfg(test)] { g() } }", "fn f() { if cfg!(test) { g() } }"] {
        assert!(Source::parse("model/x.rs", hidden).is_err(), "{hidden}: a test hides there");
    }
    assert!(Source::parse("model/x.rs", "fn f( {}").is_err(), "no Rust");
    let files = BTreeMap::from([
        ("decide/mod.rs".to_owned(), "#[cfg(test)]\nmod tests;".to_owned()),
        ("decide/tests.rs".to_owned(), "use crate::clock::Clock;".to_owned()),
        ("decide/tests/more.rs".to_owned(), "use crate::clock::Clock;".to_owned()),
    ]);
    assert!(sources(&files).unwrap().iter().flat_map(violations_of).next().is_none());
}

#[test]
fn times_are_printed_in_one_place() {
    let sources = sources(&files_of_src()).unwrap();
    let printers = sources.iter().filter(|source| source.occurrences("strftime") > 0);
    let printers: Vec<&str> = printers.map(|source| source.place.as_str()).collect();
    assert_eq!(printers, FORMATS_TIME);
}

#[test]
fn no_modules_beside_each_other_form_a_circle() {
    let found = circles(&sources(&files_of_src()).unwrap());
    let known = |circle: &&Circle| {
        let known = CIRCLES.iter().find(|(folder, _)| *folder == circle.folder);
        known.is_some_and(|(_, known)| circle.members.iter().all(|member| known.contains(&member.as_str())))
    };
    let new: Vec<String> = found.iter().filter(|circle| !known(circle)).map(ToString::to_string).collect();
    assert!(new.is_empty(), "\n{}", new.join("\n"));
    for (folder, members) in CIRCLES {
        let of_it = || found.iter().filter(|circle| circle.folder == *folder);
        for member in *members {
            let is_in_one = of_it().any(|circle| circle.members.contains(*member));
            assert!(is_in_one, "{folder}::{member} is in no circle any more: take it off the list");
        }
    }
}

/// The circles in made-up files: of each the folder and the members.
fn circles_in(files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter().map(|(place, text)| ((*place).to_owned(), (*text).to_owned())).collect();
    let short = |circle: &Circle| {
        let members: Vec<&str> = circle.members.iter().map(String::as_str).collect();
        format!("{}: {}", circle.folder, members.join(" "))
    };
    circles(&sources(&files).unwrap()).iter().map(short).collect()
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    for (a, b) in [
        ("use super::b::B;", "use crate::m::a::A;"),
        ("fn f() { super::b::f() }", "fn f(x: crate::m::a::A) {}"),
        ("use super::b;", "use super::{c::C, a::{A as X, D}};"),
        ("use crate::m; fn f() { m::b::f() }", "fn f() { assert!(super::a::f()) }"),
        ("use super::b::*;", "impl super::a::A for B {}"),
        // What the parent passes on comes from somewhere.
        ("use super::OfB;", "use crate::m::OfA;"),
        ("use super::OfB;", "use crate::passed_on::OfA;"),
    ] {
        let parent = ("m/mod.rs", "mod a; mod b; mod c; pub use a::OfA; pub use self::b::OfB;");
        let other = ("passed_on.rs", "pub use crate::m::OfA;");
        let files = [parent, ("m/a.rs", a), ("m/b.rs", b), ("m/c.rs", ""), other];
        let found = circles_in(&files);
        assert!(found.contains(&"m: a b".to_owned()), "{a} {b}: {found:?}");
    }
    let b = [("b/mod.rs", "mod x;"), ("b/x.rs", "use super::super::c;")];
    let three = [("a.rs", "use crate::b::B;"), b[0], b[1], ("c.rs", "use crate::a::A;")];
    assert_eq!(circles_in(&three), [": a b c"]);
}

#[test]
fn what_is_no_circle_is_not_taken_for_one() {
    for (a, b) in [
        ("use super::b::B;", ""),
        ("use super::b::B;", "#[cfg(test)] mod tests { use crate::m::a::A; }"),
        ("use super::b::B;", "#[cfg(test)] use super::a::A;"),
        ("use super::b::B;", "// super::a::A\nconst A: &str = \"super::a::A\";"),
        ("use super::b::B;", "use super::Own; fn f(a: a::A) {}"),
        // A parent and its children are one.
        ("use super::Own;", "use super::{Own, c::C};"),
    ] {
        let parent = ("m/mod.rs", "mod a; mod b; mod c; pub use a::OfA; use b::OfB; struct Own;");
        let files = [parent, ("m/a.rs", a), ("m/b.rs", b), ("m/c.rs", "")];
        assert_eq!(circles_in(&files), Vec::<String>::new(), "{a} {b}");
    }
}

/// The `.rs` files below these folders: their places, and their texts.
fn rust_files(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    files
}

#[test]
fn the_pages_that_the_code_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for (place, text) in rust_files(&["src", "tests", "benches"]) {
        let words = text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '/' | '-' | '_')));
        for page in words
            .filter_map(|word| word.trim_end_matches('.').strip_suffix(".md"))
            .filter(|page| !page.is_empty())
        {
            let page = format!("{}.md", page.trim_start_matches("../"));
            // What is installed lies elsewhere.
            let is_there = page.starts_with("/usr/") || root.join(&page).exists();
            assert!(is_there, "{} names {page}, which is not in the repository", place.display());
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
}

/// The tests that docs/decisions.md names in the last column of its table are there.
#[test]
fn the_tests_that_decisions_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources: String = rust_files(&["src", "tests"]).into_iter().map(|(_, text)| text).collect();
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
