//! The words of the field: no text that users read has a term that the glossary replaced.
//!
//! Of the sources the texts are string literals with a blank in them, in code, in `#[error(…)]` and in the help of the command
//! line; literals of tests, of other attributes and of SQL are none. Of pages, documents and configuration files the whole text
//! is read, without code in backticks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, Expr, Item, Lit, Meta};

use crate::source::{files_of_src, sources, without_tests};

/// A replaced term: words in a row in lower case, `a|b` for either, `!a|b` for any other word or none; and what to say.
const TERMS: &[(&str, &str)] = &[
    ("execution|executions", "run N of a task"),
    ("attempt|attempts", "request"),
    ("readings", "polls"),
    ("a|an|the|another|each|every|last|fresh|first|second|one|this|that|no|later reading", "poll"),
    ("a|the|another|each|every|last|full|first|second|one|this|next look", "poll"),
    ("settled|settling|settles", "confirmed"),
    ("budget|budgets", "retry limit"),
    ("use|uses|used|using up", "exhausted"),
    ("hold|holds|held|holding back", "block, blocked"),
    ("guard|guards", "precondition"),
    ("story|stories", "lifecycle, or scenario"),
    ("the service !manager|unit", "the CSS API, or the API"),
    ("tell|tells|told|telling", "notify, print, say or show"),
    ("hears|hear of", "is notified of"),
    ("human|human's|humans", "operator"),
    ("rests|resting", "is paused"),
    ("blind", "unreachable"),
    ("by others", "external"),
    ("not whole", "incomplete"),
    ("settings", "configuration"),
    ("give|gives|gave|given it back", "reset, return the task to the daemon"),
    ("terminate|terminates|terminated", "abort"),
    ("touches|touched", "change, changed"),
    ("left alone", "the daemon does not act on it"),
    ("call|calls|called an operator", "escalate"),
];

/// In texts of the program the method of HTTP is a detail; the documents of safety name it.
const TERMS_OF_THE_PROGRAM: &[(&str, &str)] = &[("PUT|PUTs", "request")];

/// Documents and configuration files that users read, beside the texts in `src`.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.toml",
    "systemd",
    "packaging",
    "packaging/debian",
    "docs/README.md",
    "docs/decisions.md",
    "docs/guides.md",
    "docs/iam-policy.md",
    "docs/json.md",
    "docs/metrics.md",
    "docs/never.md",
    "docs/notifications.md",
    "docs/performance.md",
    "docs/runbook.md",
    "docs/safety.md",
    "docs/terraform.md",
    "config/config.toml",
    "config/minimal.toml",
    "config/policies.d",
    "config/scenarios",
    "config/monitoring",
    "src/web/pages",
];

/// Where a term is right: the file, a part of the text, and why. One that is not needed fails.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("README.md", "Retry or Terminate (the console's", "the console's word, named once"),
    ("docs/README.md", "an abort is Terminate", "the same, in the glossary"),
    ("config/scenarios/README.md", "execution = 1,", "a key of a scenario"),
    ("config/scenarios/second-retry.toml", "execution = 1,", "the same"),
    ("docs/json.md", "\"executions\":", "a key"),
    ("docs/json.md", "\"story\":", "a key of the demo's report"),
];

/// A text and where it stands.
struct Passage {
    place: String,
    line: usize,
    text: String,
}

/// The words of a text as it is compared: letters, digits and what joins them; in lower case, but for names such as `PUT`.
fn words(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '\'' | '.' | '-' | '#');
    let lower = |word: &str| {
        let is_name = word.chars().take(2).filter(|c| c.is_uppercase()).count() == 2;
        if is_name { word.to_owned() } else { word.to_lowercase() }
    };
    let all = text.split(|c| !is_part(c)).map(|word| lower(word.trim_matches(['.', '\'', '-'])));
    all.filter(|word| !word.is_empty()).collect()
}

/// Whether the words begin with this term.
fn begins_with(words: &[String], term: &str) -> bool {
    term.split(' ').enumerate().all(|(place, wanted)| {
        let word = words.get(place).map_or("", String::as_str);
        match wanted.strip_prefix('!') {
            Some(others) => !others.split('|').any(|other| other == word),
            // "the service's" is "the service", too.
            None => wanted.split('|').any(|one| one == word || Some(one) == word.strip_suffix("'s")),
        }
    })
}

/// The replaced terms in a text, each with what to say instead.
fn found(text: &str, terms: &'static [(&str, &str)]) -> Vec<(&'static str, &'static str)> {
    let words = words(text);
    let stands = |term: &str| (0..words.len()).any(|at| begins_with(&words[at..], term));
    terms.iter().copied().filter(|(term, _)| stands(term)).collect()
}

/// The string literals in these tokens that users can read.
fn literals(tokens: TokenStream, add: &mut impl FnMut(usize, String)) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '#' => {
                if matches!(tokens.peek(), Some(TokenTree::Punct(mark)) if mark.as_char() == '!') {
                    tokens.next();
                }
                if let Some(TokenTree::Group(group)) = tokens.peek()
                    && group.delimiter() == Delimiter::Bracket
                {
                    let inner = group.stream();
                    let is_error = matches!(inner.clone().into_iter().next(), Some(TokenTree::Ident(word)) if word == "error");
                    if is_error {
                        literals(inner, add);
                    }
                    tokens.next();
                }
            }
            TokenTree::Group(group) => literals(group.stream(), add),
            TokenTree::Literal(literal) => {
                let line = literal.span().start().line;
                if let Ok(Lit::Str(text)) = syn::parse_str::<Lit>(&literal.to_string()) {
                    add(line, without_values(&text.value()));
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// A format string with `{}` for each value: its name is no text.
fn without_values(text: &str) -> String {
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |so_far, part| {
        format!("{so_far}{{}}{}", part.split_once('}').map_or(part, |(_, rest)| rest))
    })
}

/// Whether clap makes help of the docs of this item.
fn is_of_the_command_line(attributes: &[Attribute]) -> bool {
    let derives = attributes.iter().filter(|attribute| attribute.path().is_ident("derive"));
    let is_claps = |word: &str| matches!(word, "Parser" | "Subcommand" | "Args" | "ValueEnum");
    derives
        .flat_map(|derive| {
            derive
                .to_token_stream()
                .to_string()
                .split([' ', ',', '(', ')'])
                .map(ToOwned::to_owned)
                .collect::<Vec<_>>()
        })
        .any(|word| is_claps(&word))
}

/// The lines of these docs.
fn docs(attributes: &[Attribute], add: &mut impl FnMut(usize, String)) {
    for attribute in attributes {
        if let Meta::NameValue(doc) = &attribute.meta
            && doc.path.is_ident("doc")
            && let Expr::Lit(text) = &doc.value
            && let Lit::Str(text) = &text.lit
        {
            add(text.span().start().line, text.value());
        }
    }
}

/// The help that clap makes of this item's docs.
fn help(item: &Item, add: &mut impl FnMut(usize, String)) {
    match item {
        Item::Struct(item) if is_of_the_command_line(&item.attrs) => {
            item.fields.iter().for_each(|field| docs(&field.attrs, add));
        }
        Item::Enum(item) if is_of_the_command_line(&item.attrs) => {
            for variant in &item.variants {
                docs(&variant.attrs, add);
                variant.fields.iter().for_each(|field| docs(&field.attrs, add));
            }
        }
        _ => {}
    }
}

/// The texts of one source file.
fn texts_of(place: &str, text: &str) -> Vec<Passage> {
    let file = without_tests(text).unwrap();
    let mut all = Vec::new();
    let mut add = |line: usize, text: String| {
        let is_sql =
            ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "CREATE ", "PRAGMA ", "WITH ", "BEGIN", "ALTER "]
                .iter()
                .any(|word| text.trim_start().starts_with(word));
        if text.trim().contains(' ') && !is_sql {
            all.push(Passage { place: format!("src/{place}"), line, text });
        }
    };
    for item in &file.items {
        help(item, &mut add);
    }
    literals(file.to_token_stream(), &mut add);
    all
}

/// The lines of a document without the code in them.
fn lines_of(place: &str, text: &str) -> Vec<Passage> {
    let without_code = |line: &str| {
        let mut parts = line.split('`').step_by(2).collect::<Vec<_>>().join(" x ");
        while let Some((before, rest)) = parts.split_once("](") {
            let after = rest.split_once(')').map_or("", |(_, after)| after);
            parts = format!("{before} {after}");
        }
        parts
    };
    let lines = text.lines().enumerate();
    lines
        .map(|(at, line)| Passage { place: place.to_owned(), line: at + 1, text: without_code(line) })
        .collect()
}

/// The files of a place, which may be a folder.
fn files(place: &str) -> Vec<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
    if !path.is_dir() {
        return vec![path];
    }
    let mut files: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    files
}

/// Every text that users read, with the terms that it must not have.
fn everything() -> Vec<(Passage, Vec<(&'static str, &'static str)>)> {
    let files_of_src = files_of_src();
    let product = sources(&files_of_src).unwrap();
    let program = product.iter().flat_map(|source| texts_of(&source.place, &files_of_src[&source.place]));
    let mut all: Vec<_> = program
        .map(|text| {
            let terms = [found(&text.text, TERMS), found(&text.text, TERMS_OF_THE_PROGRAM)].concat();
            (text, terms)
        })
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in DOCUMENTS.iter().flat_map(|place| files(place)) {
        let place = file.strip_prefix(root).unwrap().to_str().unwrap();
        for text in lines_of(place, &fs::read_to_string(&file).unwrap()) {
            let terms = found(&text.text, TERMS);
            all.push((text, terms));
        }
    }
    all
}

#[test]
fn no_text_that_users_read_has_a_replaced_term() {
    let all = everything();
    assert!(all.len() > 3_000, "only {} texts were found", all.len());
    let is_allowed = |text: &Passage| {
        let is_it = |(place, part, _): &&(&str, &str, &str)| text.place == *place && text.text.contains(part);
        ALLOWED.iter().any(|one| is_it(&one))
    };
    let mut wrong = Vec::new();
    for (text, terms) in all.iter().filter(|(text, _)| !is_allowed(text)) {
        for (term, instead) in terms {
            wrong.push(format!(
                "{}:{}: {term:?}: say {instead}: {}",
                text.place,
                text.line,
                text.text.trim()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} terms\n{}", wrong.len(), wrong.join("\n"));
}

/// The beginning of a command of ours in a text: the program, and a word or a value behind it.
fn is_a_command(text: &str) -> bool {
    let mut behind = text.split("upgrade-remediator ").skip(1);
    behind.any(|rest| rest.starts_with(|c: char| c == '{' || c.is_ascii_lowercase()))
}

/// Texts in which the program is not the beginning of a command that is advice of a process with a configuration.
const NO_ADVICE: &[(&str, &str)] = &[
    // Its version.
    ("src/cli/status.rs", "running since"),
    // What names its file itself.
    ("src/cli/simulator.rs", "--config FILE"),
];

#[test]
fn every_command_that_is_advice_is_made_where_the_configuration_is_named() {
    let mut wrong = Vec::new();
    let mut needed = BTreeSet::new();
    for (text, _) in everything().iter().filter(|(text, _)| text.place.starts_with("src/")) {
        let excepted = |(place, part): &(&str, &str)| text.place == *place && text.text.contains(part);
        match NO_ADVICE.iter().position(excepted) {
            _ if !is_a_command(&text.text) => {}
            Some(place) => drop(needed.insert(place)),
            None => wrong.push(format!("{}:{}: {}", text.place, text.line, text.text.trim())),
        }
    }
    assert!(wrong.is_empty(), "use model::command in\n{}", wrong.join("\n"));
    assert_eq!(needed.len(), NO_ADVICE.len(), "an exception that nothing needs");
    assert!(
        is_a_command("to end it: upgrade-remediator release all") && is_a_command("upgrade-remediator {}")
    );
    assert!(!is_a_command("systemctl stop upgrade-remediator") && !is_a_command("{} release all"));
}

#[test]
fn no_exception_is_left_that_nothing_needs() {
    let all = everything();
    let has_terms =
        |is_it: &dyn Fn(&Passage) -> bool| all.iter().any(|(text, terms)| !terms.is_empty() && is_it(text));
    for (place, part, _) in ALLOWED {
        let is_it = |text: &Passage| text.place == *place && text.text.contains(part);
        assert!(has_terms(&is_it), "{place}: {part:?} needs no exception any more");
    }
}

#[test]
fn terms_are_found_in_texts_and_in_nothing_else() {
    for (text, count) in [
        ("fn f() { info!(\"settled by two readings\"); }", 2),
        ("fn f() -> String { format!(\"PUT {attempt} was sent\") }", 1),
        ("#[derive(thiserror::Error)] enum E { #[error(\"the service's answer\")] A }", 1),
        ("#[derive(Debug, Args)] struct O { /// Past the budget.\n a: u8 }", 1),
        ("#[derive(Debug, Subcommand)] enum C { /// One look.\n A, /// Ends the look \n B(u8) }", 2),
        ("reasons! { /// The budget.\n A = (\"a\", B) { text: (\"retries are used up\"), } }", 1),
        ("/// The budget is used up.\nfn f() {}", 0),
        ("#[expect(x, reason = \"the budget is told\")] fn f() {}", 0),
        ("const KEY: &str = \"settled\"; // a reading", 0),
        ("fn f() { sql(\"SELECT told FROM story\") }", 0),
        ("#[cfg(test)] mod tests { const A: &str = \"the service is told\"; }", 0),
        ("fn f() { info!(\"reading the configuration; put it back; the service manager; {told}\"); }", 0),
    ] {
        let texts = texts_of("x.rs", text);
        let terms =
            |text: &Passage| found(&text.text, TERMS).len() + found(&text.text, TERMS_OF_THE_PROGRAM).len();
        assert_eq!(texts.iter().map(terms).sum::<usize>(), count, "{text}");
    }
    for (line, count) in [
        ("`PUT` and `settled` are words", 0),
        ("[used](README.md#readings)", 0),
        ("is settled, by a human", 2),
    ] {
        let terms: usize =
            lines_of("README.md", line).iter().map(|text| found(&text.text, TERMS).len()).sum();
        assert_eq!(terms, count, "{line}");
    }
}
