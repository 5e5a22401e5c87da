//! Whatever stands in the files, the configuration ends: with values or with problems, soon, and without a secret.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

#[path = "../entries/configuration.rs"]
mod configuration_entry;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use configuration_entry::try_configuration;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use upgrade_remediator::configuration::{Environment, FileText, MAX_FILE_BYTES, load_texts};

/// Never shown where it stands for a secret.
const CANARY: &str = "canary-7f3a9c";

/// The files that are shipped, config.toml with every key put to use: where changes of them begin.
fn shipped() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut files: Vec<PathBuf> = ["config.toml", "minimal.toml"].map(|name| folder.join(name)).into();
    files.extend(fs::read_dir(folder.join("policies.d")).unwrap().map(|entry| entry.unwrap().path()));
    files.sort();
    let in_use = |text: String| {
        let line = |line: &str| {
            let key = line
                .strip_prefix('#')
                .filter(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()));
            format!("{}\n", key.unwrap_or(line))
        };
        text.lines().map(line).collect()
    };
    files.iter().map(|file| in_use(fs::read_to_string(file).unwrap())).collect()
}

/// One change of a text.
#[derive(Debug, Clone)]
enum Change {
    /// A part is taken out.
    Cut(Index, u8),
    /// A part stands twice.
    Double(Index, u8),
    /// Something stands where nothing stood.
    Insert(Index, &'static str),
    /// A value is another one.
    Value(Index, &'static str),
}

fn change() -> impl Strategy<Value = Change> {
    let pieces = select(vec![
        "",
        "\n",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "'",
        "\"",
        "'''",
        "#",
        "\0",
        "\r",
        "\u{202e}",
        "集群",
        "e\u{301}",
        "[policy.window]\n",
        "[[policy]]\n",
        "[[project]]\n",
        "name = 'x'\n",
        "x = 1\n",
        "\0MODE=x\0",
        "\0POLL__X=1\n\0",
    ]);
    let values = select(vec![
        "1",
        "-1",
        "2.7",
        "1e999",
        "nan",
        "true",
        "''",
        "'0s'",
        "'-5m'",
        "'none'",
        "[]",
        "{}",
        "[1, 'a', {}]",
        "1979-05-27",
        "10:00:00",
        "99999999999999999999",
        "'*'",
        "'[a'",
        "'99999d'",
        "\"\\u0000\"",
        "{ env = 'A' }",
    ]);
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Change::Cut(at, length)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Change::Double(at, length)),
        (any::<Index>(), pieces).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (any::<Index>(), values).prop_map(|(at, value)| Change::Value(at, value)),
    ]
}

impl Change {
    fn apply(&self, text: &mut String) {
        let chars: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let part = |at: &Index, length: u8| {
            let first = at.index(chars.len());
            let last = (first + usize::from(length)).min(chars.len() - 1);
            chars[first]..chars[last]
        };
        match self {
            Self::Cut(at, length) => text.replace_range(part(at, *length), ""),
            Self::Double(at, length) => {
                let part = part(at, *length);
                let copy = text[part.clone()].to_owned();
                text.insert_str(part.end, &copy);
            }
            Self::Insert(at, piece) => text.insert_str(chars[at.index(chars.len())], piece),
            Self::Value(at, value) => {
                let values: Vec<usize> = text.match_indices("= ").map(|(at, _)| at + 2).collect();
                if !values.is_empty() {
                    let start = values[at.index(values.len())];
                    let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
                    text.replace_range(start..end, value);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_a_configuration_or_problems(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        try_configuration(&bytes);
    }

    #[test]
    fn what_becomes_of_a_good_configuration_by_some_changes_is_a_configuration_or_problems(
        file in select(shipped()),
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        let mut text = file;
        for change in &changes {
            change.apply(&mut text);
        }
        try_configuration(text.as_bytes());
    }

    #[test]
    fn a_secret_in_any_value_is_never_shown(
        file in select(shipped()),
        at in any::<Index>(),
        form in select(vec!["'{}'", "\"{}\"", "{}", "\"{}", "'''{}", "{ value = '{}' }", "['{}']", "= {}", "{ {} }", "'x' # {}"]),
        breaks in select(vec!["", "x = = 1\n", "[[[\n", "mode = 5\n"]),
        with_key in select(vec!["secret_key", "password", "token", "url", "hmac_secret", "secretkey", "Secret", "x", "endpoint"]),
    ) {
        // A secret stands somewhere as a value of its own key; what else stands on that line and below is wrong.
        let lines: Vec<&str> = file.lines().collect();
        let here = at.index(lines.len() + 1);
        let secret = format!("{with_key} = {}", form.replace("{}", &if with_key == "endpoint" { format!("https://u:{CANARY}@h") } else { CANARY.to_owned() }));
        let text = [&lines[..here], &[secret.as_str()], &lines[here..]].concat().join("\n") + "\n" + breaks;
        let main = FileText { file: "c.toml".into(), text: text.clone() };
        let shown = match load_texts(&main, &[], &Environment::default()) {
            Ok(loaded) => format!("{:?}{:?}", loaded.warnings, loaded.effective()),
            Err(problems) => format!("{problems}{problems:?}"),
        };
        prop_assert!(!shown.contains(CANARY), "{}\nfor\n{}", shown, text);
    }
}

/// Texts as long as one may be, made to take long.
fn long_texts() -> Vec<(&'static str, String)> {
    let limit = usize::try_from(MAX_FILE_BYTES).unwrap();
    let filled = |head: &str, line: &dyn Fn(usize) -> String| {
        let mut text = head.to_owned();
        for n in 0.. {
            let line = line(n);
            if text.len() + line.len() + 8 > limit {
                return text;
            }
            text.push_str(&line);
        }
        text
    };
    vec![
        ("unknown keys", filled("", &|n| format!("k{n} = 1\n"))),
        ("one key of many parts", filled("", &|_| "a.".to_owned()) + "a = 1"),
        ("brackets", "[".repeat(limit)),
        ("quotes", "'".repeat(limit)),
        ("one long line of wide characters", filled("x = [", &|_| "'é',5,".to_owned()) + "]"),
        ("policies without a name", filled("", &|_| "[[policy]]\n".to_owned())),
        ("policies of one name", filled("", &|_| "[[policy]]\nname='a'\n".to_owned())),
        (
            "policies that differ",
            filled("", &|n| format!("[[policy]]\nname='{n}'\nmatch.cluster=['{n}*']\n")),
        ),
        (
            "policies of one task",
            filled("", &|n| format!("[[policy]]\nname='{n}'\nmatch.task=['upgrade']\n")),
        ),
        (
            "one policy of many patterns",
            filled("[[policy]]\nname='a'\nmatch.cluster=[", &|n| format!("'{n}*',")) + "]",
        ),
        ("projects", filled("", &|n| format!("[[project]]\nname='{n}'\ncredentials='{n}x'\n"))),
        ("credentials", filled("", &|n| format!("[credentials.c{n}]\ntype='ak-sk'\n"))),
        (
            "channels that are not there",
            filled("", &|n| {
                format!(
                    "[[channel]]\nname='channel{n}'\ntype='wecom'\n[[policy]]\nname='{n}'\nnotify=['chanel{n}']\n"
                )
            }),
        ),
        (
            "spans",
            filled("[[policy]]\nname='a'\n[policy.window]\ntimezone='UTC'\nallow=[", &|_| {
                "{days=['mon']},".to_owned()
            }) + "]",
        ),
        ("zones", filled("", &|n| format!("[[policy]]\nname='{n}'\nwindow.timezone='Europe/Berln{n}'\n"))),
        ("errors of syntax", filled("", &|_| "a = = =\n".to_owned())),
        ("strings without an end", filled("", &|_| "a = \"x\n".to_owned())),
        ("escapes", filled("mode = \"", &|_| "\\u00e9".to_owned()) + "\""),
    ]
}

/// The bound is far above what any of them takes (at most seconds) and far below what a quadratic one would.
#[test]
#[expect(clippy::disallowed_methods, reason = "this measures how long it really takes")]
fn no_text_takes_long() {
    for (name, text) in long_texts() {
        let start = SystemTime::now();
        try_configuration(text.as_bytes());
        let took = start.elapsed().unwrap_or_default();
        assert!(took < Duration::from_mins(2), "{name} took {took:?}");
    }
}

#[test]
fn many_files_with_many_problems_are_told_within_bounds() {
    let mut text = String::new();
    for n in 0..200 {
        let _ = write!(text, "[[policy]]\nname = '{n}'\nmode = {n}\n");
    }
    let policies: Vec<_> =
        (0..20).map(|n| FileText { file: format!("{n}.toml").into(), text: text.clone() }).collect();
    let main = FileText { file: "c.toml".into(), text: "mode = 'dry-run'\n".to_owned() };
    let problems = load_texts(&main, &policies, &Environment::default()).unwrap_err();
    // A hundred errors and a hundred warnings of each file, and that there are more.
    assert!(problems.0.len() > 1_000 && problems.0.len() < 5_000, "{}", problems.0.len());
}
