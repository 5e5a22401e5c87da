//! The documents in two languages: `README.zh-CN.md` and each `docs/zh-CN/*.md` have the structure, the
//! code and the links of their English original, block by block. Only prose is translated.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};

/// English documents by their path in the repository, with the path of the translation.
type Translations = BTreeMap<String, String>;

/// A heading, paragraph, list item, table cell or code block.
struct Block {
    line: usize,
    kind: String,
    /// Code spans, links and bold passages, each with its line.
    marks: BTreeMap<String, usize>,
    /// The text of a code block.
    code: String,
}

/// A path that is relative to the folder of this document, as a path in the repository.
fn resolved(document: &str, target: &str) -> String {
    let (path, fragment) = target.find('#').map_or((target, ""), |at| target.split_at(at));
    if path.contains(':') {
        return target.to_owned();
    }
    let mut whole = PathBuf::new();
    if path.is_empty() {
        whole.push(document);
    } else {
        for part in Path::new(document).parent().unwrap().join(path).components() {
            match part {
                Component::ParentDir => drop(whole.pop()),
                part => whole.push(part),
            }
        }
    }
    format!("{}{fragment}", whole.display())
}

/// What the translation of this document has to link to where the document links to this target.
fn translated(translations: &Translations, document: &str, target: &str) -> String {
    let (path, fragment) = target.find('#').map_or((target, ""), |at| target.split_at(at));
    let is_own = translations.get(document).is_some_and(|own| own == path);
    let path = if is_own { document } else { translations.get(path).map_or(path, String::as_str) };
    format!("{path}{fragment}")
}

/// The blocks of a document in Markdown. `link` says what a link is called, from its target in the repository.
fn blocks(document: &str, text: &str, link: impl Fn(&str) -> String) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut bold = 0;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        let line = text[..range.start].matches('\n').count() + 1;
        let mark = match event {
            Event::Code(code) => format!("`{code}`"),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                format!("a link to {}", link(&resolved(document, &dest_url)))
            }
            Event::Start(Tag::Strong) => {
                bold += 1;
                format!("bold passage {bold} of the block")
            }
            Event::Start(Tag::Emphasis) | Event::End(_) => continue,
            Event::Text(code) => {
                if let Some(block) = blocks.last_mut().filter(|block| block.kind.starts_with("code block")) {
                    block.code.push_str(&code);
                }
                continue;
            }
            Event::Start(tag) => {
                let kind = match tag {
                    Tag::Heading { level, .. } => format!("heading of level {}", level as usize),
                    Tag::CodeBlock(CodeBlockKind::Fenced(language)) => format!("code block ({language})"),
                    other => format!("{other:?}").to_lowercase(),
                };
                bold = 0;
                blocks.push(Block { line, kind, marks: BTreeMap::new(), code: String::new() });
                continue;
            }
            _ => continue,
        };
        if let Some(block) = blocks.last_mut() {
            block.marks.entry(mark).or_insert(line);
        }
    }
    blocks
}

/// Where the translation is another than the original.
fn differences(translations: &Translations, document: &str, english: &str, chinese: &str) -> Vec<String> {
    let translation = &translations[document];
    let expected = blocks(document, english, |target| translated(translations, document, target));
    let found = blocks(translation, chinese, str::to_owned);
    let mut differences = Vec::new();
    for (expected, found) in expected.iter().zip(&found) {
        let (there, here) =
            (format!("{document}:{}", expected.line), format!("{translation}:{}", found.line));
        if expected.kind != found.kind {
            differences.push(format!("{here}: {} where {there} has {}", found.kind, expected.kind));
            return differences;
        }
        for mark in expected.marks.keys().filter(|mark| !found.marks.contains_key(*mark)) {
            differences.push(format!("{here}: lacks {mark}, which {there} has"));
        }
        for (mark, line) in found.marks.iter().filter(|(mark, _)| !expected.marks.contains_key(*mark)) {
            differences.push(format!("{translation}:{line}: has {mark}, which {there} lacks"));
        }
        if expected.code != found.code {
            let lines = expected.code.lines().zip(found.code.lines());
            let at = lines.take_while(|(expected, found)| expected == found).count();
            let line = |block: &Block| {
                block.code.lines().nth(at).map_or("its end".to_owned(), |line| format!("{line:?}"))
            };
            differences.push(format!(
                "{translation}:{}: {} where {document}:{} has {}",
                found.line + 1 + at,
                line(found),
                expected.line + 1 + at,
                line(expected),
            ));
        }
    }
    if let Some(more) = expected.get(found.len()) {
        differences.push(format!("{translation}: ends before {document}:{}, {}", more.line, more.kind));
    }
    if let Some(more) = found.get(expected.len()) {
        differences.push(format!("{translation}:{}: {} after the end of {document}", more.line, more.kind));
    }
    differences
}

fn text(document: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document));
    text.map_err(|error| format!("{document}: {error}")).unwrap()
}

fn translations() -> Translations {
    let mut translations = Translations::from([("README.md".to_owned(), "README.zh-CN.md".to_owned())]);
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/zh-CN")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        translations.insert(format!("docs/{name}"), format!("docs/zh-CN/{name}"));
    }
    translations
}

#[test]
fn each_translation_has_the_structure_the_code_and_the_links_of_its_original() {
    let translations = translations();
    assert!(translations.len() >= 3, "{translations:?}");
    let differences: Vec<String> = translations
        .iter()
        .flat_map(|(english, chinese)| differences(&translations, english, &text(english), &text(chinese)))
        .collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[test]
fn each_document_in_two_languages_links_to_the_other_at_its_top() {
    for (english, chinese) in translations() {
        for (document, other) in [(&english, &chinese), (&chinese, &english)] {
            let text = text(document);
            let top = blocks(document, &text, str::to_owned);
            let link = format!("a link to {other}");
            let is_there = top.iter().take(3).any(|block| block.marks.contains_key(&link));
            assert!(is_there, "{document}:3: has no link to {other} below its title");
        }
        let says_which_counts = text(&chinese).contains("以英文版为准");
        assert!(says_which_counts, "{chinese}:3: does not say that the English text is authoritative");
    }
}

#[test]
fn a_translation_that_is_another_than_its_original_is_found() {
    let pair = |english: &str, chinese: &str| (english.to_owned(), chinese.to_owned());
    let translations = Translations::from([pair("en", "zh"), pair("docs/a", "docs/zh/a")]);
    for (english, chinese, message) in [
        ("# A", "## 甲", "zh:1: heading of level 2 where en:1 has heading of level 1"),
        ("# A\n\nb", "# 甲\n\n- 乙", "zh:3: list(none) where en:3 has paragraph"),
        ("# A\n\nb", "# 甲", "zh: ends before en:3, paragraph"),
        ("# A", "# 甲\n\n乙", "zh:3: paragraph after the end of en"),
        ("a\n`b`", "甲", "zh:1: lacks `b`, which en:1 has"),
        ("a", "甲\n`b`", "zh:2: has `b`, which en:1 lacks"),
        // Such a mark ends nothing between a wide comma and a letter.
        ("**a,** b", "**甲\u{ff0c}**乙", "zh:1: lacks bold passage 1 of the block, which en:1 has"),
        ("```sh\nb\nc\n```", "```sh\nb\nd\n```", "zh:3: \"d\" where en:3 has \"c\""),
        ("```sh\nb\n```", "```sh\nb\n\n```", "zh:3: \"\" where en:3 has its end"),
        ("```sh\nb\n```", "```toml\nb\n```", "zh:1: code block (toml) where en:1 has code block (sh)"),
        ("| a |\n|--|\n| `b` |", "| 甲 |\n|--|\n| 乙 |", "zh:3: lacks `b`, which en:3 has"),
        ("[a](b)", "[甲](c)", "zh:1: lacks a link to b, which en:1 has"),
        ("[a](docs/a)", "[甲](docs/a)", "zh:1: lacks a link to docs/zh/a, which en:1 has"),
    ] {
        let found = differences(&translations, "en", english, chinese);
        assert_eq!(found.first().map(String::as_str), Some(message), "{english:?} {chinese:?}: {found:?}");
    }
    for (document, english, chinese) in [
        ("en", "# A\n\nb `c`\n*d*", "# 甲\n\n`c` 乙"),
        ("en", "[a](docs/a#c) [d](zh)", "[甲](docs/zh/a#c) [丁](en)"),
        (
            "docs/a",
            "[a](zh/a) [b](../en) [c](c) [d](#d) [e](https://e.example/)",
            "[甲](../a) [乙](../../zh) [丙](../c) [丁](#d) [戊](https://e.example/)",
        ),
    ] {
        assert_eq!(differences(&translations, document, english, chinese), Vec::<String>::new());
    }
}
