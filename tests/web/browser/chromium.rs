//! Chromium of Debian's package, driven by `drive.mjs` with playwright-core and axe-core from npm.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::tools::{self, tell};

const DRIVER: &str = include_str!("drive.mjs");
const PACKAGE: &str = include_str!("package.json");
const LOCK: &str = include_str!("package-lock.json");

/// The driver with its packages, and the browser.
static INSTALLED: LazyLock<(PathBuf, PathBuf)> = LazyLock::new(|| {
    tools::need("chromium", "chromium");
    tools::need("node", "nodejs");
    tools::need("npm", "npm");
    let driver = tools::made_once("browser", (DRIVER, PACKAGE, LOCK), |making| {
        fs::create_dir_all(making).unwrap();
        for (name, text) in [("drive.mjs", DRIVER), ("package.json", PACKAGE), ("package-lock.json", LOCK)] {
            fs::write(making.join(name), text).unwrap();
        }
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--engine-strict"];
        let told = tell(Command::new("npm").args(install).current_dir(making));
        if let Err(told) = told {
            panic!(
                "this test needs Node.js 20 or later, and npm must reach a registry the first time: {told}"
            );
        }
    });
    let chromium = tell(Command::new("sh").args(["-c", "command -v chromium"])).unwrap();
    (driver.join("drive.mjs"), PathBuf::from(chromium.trim()))
});

/// How a page is opened.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) width: u32,
    pub(crate) dark: bool,
    pub(crate) script: bool,
}

/// A screen on a desk.
pub(crate) const DESK: Window = Window { width: 1280, dark: false, script: true };
/// A phone at night.
pub(crate) const PHONE: Window = Window { width: 390, dark: true, script: true };

/// What a page asked for, complained of in its console, and opened.
#[derive(Debug, Deserialize)]
pub(crate) struct Seen {
    pub(crate) requests: Vec<String>,
    pub(crate) complaints: Vec<String>,
    pub(crate) dialogs: Vec<String>,
}

/// Where an element is seen, in pixels of the window.
#[derive(Debug, Deserialize)]
pub(crate) struct Seat {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// The size of its letters.
    pub(crate) letters: f64,
}

/// What axe says of a page.
#[derive(Debug, Deserialize)]
pub(crate) struct Accessibility {
    /// Rules that polled something and found nothing.
    pub(crate) passed: usize,
    pub(crate) violations: Vec<Value>,
    /// What it could not tell.
    pub(crate) incomplete: Vec<Value>,
}

/// A browser with one page. It ends with this.
pub(crate) struct Browser {
    process: Child,
    calls: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let (driver, chromium) = &*INSTALLED;
        let mut command = Command::new("node");
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command.arg(driver).env("CHROMIUM", chromium);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { calls: process.stdin.take(), process, answers }
    }

    fn call(&mut self, call: &Value) -> Value {
        writeln!(self.calls.as_mut().unwrap(), "{call}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the browser ended at {call}; its own words stand above");
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer.get("error").is_none(), "{call}: {}", answer["error"].as_str().unwrap_or_default());
        answer["ok"].take()
    }

    pub(crate) fn open(&mut self, url: &str, window: Window) {
        let Window { width, dark, script } = window;
        self.call(&json!(["open", url, { "width": width, "dark": dark, "script": script }]));
    }

    /// The same, with timers that go by a clock of the test.
    pub(crate) fn open_with_clock(&mut self, url: &str) {
        self.call(&json!(["open", url, { "clock": true }]));
    }

    /// Moves the clock of the page.
    pub(crate) fn forward(&mut self, time: Duration) {
        self.call(&json!(["forward", u64::try_from(time.as_millis()).unwrap()]));
    }

    /// Waits until an element holds this text.
    pub(crate) fn shows(&mut self, selector: &str, text: &str) {
        self.call(&json!(["shows", selector, text]));
    }

    /// Waits until there is no such element.
    pub(crate) fn hides(&mut self, selector: &str) {
        self.call(&json!(["hides", selector]));
    }

    /// The texts of these elements, as they are seen.
    pub(crate) fn texts(&mut self, selector: &str) -> Vec<String> {
        serde_json::from_value(self.call(&json!(["text", selector]))).unwrap()
    }

    pub(crate) fn focus(&mut self, selector: &str) {
        self.call(&json!(["focus", selector]));
    }

    /// The id of what has the keyboard.
    pub(crate) fn focused(&mut self) -> String {
        self.call(&json!(["focused"])).as_str().unwrap().to_owned()
    }

    pub(crate) fn types(&mut self, text: &str) {
        self.call(&json!(["type", text]));
    }

    /// What stands in a field.
    pub(crate) fn value(&mut self, selector: &str) -> String {
        self.call(&json!(["value", selector])).as_str().unwrap().to_owned()
    }

    pub(crate) fn url(&mut self) -> String {
        self.call(&json!(["url"])).as_str().unwrap().to_owned()
    }

    /// Where the first such element is seen.
    pub(crate) fn seat(&mut self, selector: &str) -> Seat {
        serde_json::from_value(self.call(&json!(["box", selector]))).unwrap()
    }

    pub(crate) fn press(&mut self, key: &str) {
        self.call(&json!(["press", key]));
    }

    /// Marks the page: one that is read anew does not bear the mark.
    pub(crate) fn mark(&mut self) {
        self.call(&json!(["mark"]));
    }

    pub(crate) fn is_marked(&mut self) -> bool {
        self.call(&json!(["marked"])).as_bool().unwrap()
    }

    pub(crate) fn seen(&mut self) -> Seen {
        serde_json::from_value(self.call(&json!(["seen"]))).unwrap()
    }

    /// How many pixels the page is wider than its window, and what sticks out.
    pub(crate) fn overflow(&mut self) -> (i64, Vec<String>) {
        let found = self.call(&json!(["overflow"]));
        (found["by"].as_i64().unwrap(), serde_json::from_value(found["elements"].clone()).unwrap())
    }

    pub(crate) fn accessibility(&mut self) -> Accessibility {
        serde_json::from_value(self.call(&json!(["axe"]))).unwrap()
    }

    /// Kept under `target/tmp/screenshots`, for people.
    pub(crate) fn screenshot(&mut self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        self.call(&json!(["screenshot", folder.join(format!("{name}.png"))]));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver puts its browser away when it is called no more.
        self.calls = None;
        let _ = self.process.wait();
    }
}
