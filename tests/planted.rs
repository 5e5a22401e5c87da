//! Faults are planted in a copy of the sources, and must be found: so that the walk of all states (`core/exhaustive`) and the
//! simulation (`core/simulation`) are known to see what they are there for. The product holds nothing of it.
//!
//! A fault is a file `planted/NAME.fault`: what is wrong, the plan of the walk that finds it (`-`: it lies outside of what is
//! walked), and what it changes. A change names a file, a text that stands there exactly once, and what replaces it, in
//! which `FAULT` is true while the fault is switched on. So one build holds all of them, and each is hunted on its own.
//!
//! `cargo test --test planted -- --nocapture` shows by what each is found. `PLANTED=all` runs the unit tests of the faults
//! too: each breaks its own rule and no other.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "by what each fault is found")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What of the repository the copy needs.
const COPIED: &[&str] = &[
    "Cargo.lock",
    "askama.toml",
    "benches",
    "config",
    "src",
    "tests/core/exhaustive",
    "tests/core/exhaustive.rs",
    "tests/core/simulation",
    "tests/core/simulation.rs",
    "tests/crash_points/daemon.rs",
    "tests/support",
];

/// Of the copy's tests only the hunts are built.
const MAIN: &str = "//! The hunts for planted faults.
#![allow(dead_code, unused_imports)]

mod exhaustive;
mod simulation;

#[path = \"../support/clocks.rs\"]
mod clocks;
#[path = \"../support/reconciler.rs\"]
mod reconciler;
";

/// What one fault changes at one place.
struct Change {
    file: String,
    from: String,
    to: String,
}

/// A fault that can be planted.
struct Fault {
    name: String,
    /// The plan of the walk that finds it.
    walk: Option<String>,
    changes: Vec<Change>,
}

impl Fault {
    fn read(name: &str, text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{name}.fault: {what}");
        let mut parts = text.split("\n@@ ");
        let walk = parts.next().and_then(|head| head.lines().find_map(|line| line.strip_prefix("walk: ")));
        let walk = walk.ok_or_else(|| wrong("it names no plan of the walk"))?;
        let changes = parts.map(|part| {
            let (file, rest) = part.split_once('\n').ok_or_else(|| wrong("a change without a text"))?;
            let (from, to) = rest.split_once("\n==>\n").ok_or_else(|| wrong("a change without `==>`"))?;
            let to = to.trim_end();
            if !to.contains("FAULT") {
                return Err(wrong("a change that no switch turns on"));
            }
            let switch = format!("crate::planted::is(\"{name}\")");
            let (file, from) = (file.to_owned(), from.to_owned());
            Ok(Change { file, from, to: to.replace("FAULT", &switch) })
        });
        let changes = changes.collect::<Result<Vec<_>, _>>()?;
        if changes.is_empty() {
            return Err(wrong("it changes nothing"));
        }
        Ok(Self { name: name.to_owned(), walk: (walk != "-").then(|| walk.to_owned()), changes })
    }

    /// Changes these files. A text that does not stand there exactly once is an error.
    fn plant(&self, files: &mut BTreeMap<String, String>) -> Result<(), String> {
        for Change { file, from, to } in &self.changes {
            let text = files.get_mut(file).ok_or_else(|| format!("{}: there is no {file}", self.name))?;
            let times = text.matches(from.as_str()).count();
            if times != 1 {
                return Err(format!("{}: this stands {times} times in {file}, not once:\n{from}", self.name));
            }
            *text = text.replacen(from.as_str(), to, 1);
        }
        Ok(())
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn faults() -> Vec<Fault> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(root().join("tests/planted")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "fault"));
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        Fault::read(name, &fs::read_to_string(path).unwrap()).unwrap()
    };
    paths.iter().map(read).collect()
}

/// The files of this place in the repository: text by place, and those that are none.
fn read(place: &str, texts: &mut BTreeMap<String, String>) {
    let path = root().join(place);
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            read(&format!("{place}/{}", entry.unwrap().file_name().to_str().unwrap()), texts);
        }
    } else if let Ok(text) = String::from_utf8(fs::read(&path).unwrap()) {
        texts.insert(place.to_owned(), text);
    }
}

fn sources() -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for place in COPIED {
        read(place, &mut texts);
    }
    texts
}

/// The copy with every fault in it.
fn planted(faults: &[Fault]) -> BTreeMap<String, String> {
    let mut files = sources();
    for fault in faults {
        fault.plant(&mut files).unwrap();
    }
    // No daemon is built: it would take the place of the real one.
    files.remove("src/main.rs");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (before, rest) = manifest.split_once("[[bin]]\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let before = before.replace("default-run = \"upgrade-remediator\"\n", "");
    // Under the same name it would take the place of the product's own library in the target directory.
    let named = ("name = \"upgrade-remediator\"\n", "name = \"upgrade-remediator-planted\"\n");
    let before = before.replacen(named.0, named.1, 1);
    let after = format!("{after}\n[lib]\nname = \"upgrade_remediator\"\n");
    let lock = files.get_mut("Cargo.lock").unwrap();
    *lock = lock.replacen(named.0, named.1, 1);
    files.insert("Cargo.toml".to_owned(), format!("{before}{after}\n[workspace]\n"));
    // The hunts need none of the commands, which are slow to build.
    let library = files.get_mut("src/lib.rs").unwrap();
    for module in ["cli", "lifecycle", "telemetry"] {
        let line = format!("pub mod {module};\n");
        assert!(library.contains(&line), "lib.rs has no {module}");
        *library = library.replace(&line, "");
    }
    let mut add = |file: &str, text: &str| files.entry(file.to_owned()).or_default().push_str(text);
    let mut list = String::new();
    for fault in faults {
        writeln!(list, "    ({:?}, {:?}),", fault.name, fault.walk).unwrap();
    }
    let list = format!(
        "\n/// All faults, and which plan of the walk finds each.\npub const FAULTS: &[(&str, Option<&str>)] = &[\n{list}];\n"
    );
    add("src/planted.rs", include_str!("planted/switch.rs"));
    add("src/planted.rs", &list);
    add("src/lib.rs", "\n/// Faults.\npub mod planted;\n");
    add("src/decide/tests.rs", "\nmod planted_faults;\n");
    add("src/decide/tests/planted_faults.rs", include_str!("planted/decide.rs"));
    add("src/reconcile/sending.rs", include_str!("planted/sending.rs"));
    add("tests/core/main.rs", MAIN);
    add("tests/core/exhaustive.rs", include_str!("planted/exhaustive.rs"));
    add("tests/core/simulation.rs", include_str!("planted/simulation.rs"));
    files
}

/// Writes the copy. A file that is there already keeps its time, so that only what changed is compiled anew.
fn write(copy: &Path, files: &BTreeMap<String, String>) {
    for place in ["src", "tests"] {
        remove_others(copy, place, files);
    }
    for (place, text) in files {
        let path = copy.join(place);
        if fs::read_to_string(&path).is_ok_and(|there| there == *text) {
            continue;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Removes what an earlier copy had and this one has not.
fn remove_others(copy: &Path, place: &str, files: &BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(copy.join(place)) else { return };
    for entry in entries.map(Result::unwrap) {
        let place = format!("{place}/{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            remove_others(copy, &place, files);
        } else if !files.contains_key(&place) {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

#[test]
fn every_fault_fits_the_sources() {
    let faults = faults();
    assert!(faults.len() >= 12, "{}", faults.len());
    for fault in &faults {
        let mut files = sources();
        fault.plant(&mut files).unwrap();
        for Change { file, .. } in &fault.changes {
            assert!(syn::parse_file(&files[file]).is_ok(), "{}: {file} is no Rust any more", fault.name);
        }
    }
}

#[test]
fn a_fault_that_does_not_fit_says_so() {
    let text = "What.\nwalk: -\n\n@@ src/a.rs\nlet a = 1;\n==>\nlet a = if FAULT { 2 } else { 1 };\n";
    let fault = Fault::read("a", text).unwrap();
    let planted = |source: &str| {
        let mut files = BTreeMap::from([("src/a.rs".to_owned(), source.to_owned())]);
        fault.plant(&mut files).map(|()| files["src/a.rs"].clone())
    };
    let expected = "let a = if crate::planted::is(\"a\") { 2 } else { 1 };";
    assert_eq!(planted("let a = 1;").as_deref(), Ok(expected));
    for source in ["", "let a = 2;", "let a = 1; let a = 1;"] {
        assert!(planted(source).is_err(), "{source}");
    }
    assert!(fault.plant(&mut BTreeMap::new()).is_err(), "no such file");
    for broken in
        ["", "What.\nwalk: -\n", "What.\nwalk: -\n\n@@ a\nb\n", "What.\nwalk: -\n\n@@ a\nb\n==>\nc\n"]
    {
        assert!(Fault::read("a", broken).is_err(), "{broken}");
    }
}

/// One build for all of them.
#[test]
fn every_planted_fault_is_found() {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let copy = target.join("planted");
    write(&copy, &planted(&faults()));
    hunt(&copy, target.parent().unwrap(), &["--test", "core", "planted"]);
    if std::env::var("PLANTED").is_ok_and(|asked| asked == "all") {
        hunt(&copy, target.parent().unwrap(), &["--lib", "planted_faults"]);
    }
}

fn hunt(copy: &Path, target: &Path, what: &[&str]) {
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo told this test of its package is not true of the copy.
    for (name, _) in std::env::vars_os() {
        let told =
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "OUT_DIR"];
        if name.to_str().is_some_and(|name| told.iter().any(|begin| name.starts_with(begin))) {
            cargo.env_remove(name);
        }
    }
    let done = cargo
        .args(["test", "--locked", "--quiet", "--manifest-path"])
        .arg(copy.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .args(what)
        .args(["--", "--nocapture"])
        .current_dir(copy)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    err.lines().filter(|line| line.contains(" is found by ")).for_each(|line| eprintln!("{line}"));
    assert!(done.status.success(), "{out}\n{err}");
    assert!(!out.contains(" 0 passed"), "no hunt has run: {out}");
}
