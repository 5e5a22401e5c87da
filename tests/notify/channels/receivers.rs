//! Those who are told: Alertmanager, an SMTP server, and a server of HTTP that keeps what reaches it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::eventually;
use crate::tools::{self, tell};

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn body_text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

#[derive(Default)]
struct Kept {
    got: Vec<Got>,
    answer: Option<(u16, String)>,
}

/// A server that keeps everything.
pub(crate) struct Http {
    pub(crate) url: String,
    kept: Arc<Mutex<Kept>>,
    server: tokio::task::JoinHandle<()>,
}

impl Http {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = Arc::new(Mutex::new(Kept::default()));
        let router = axum::Router::new().fallback(keep).with_state(Arc::clone(&kept));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, kept, server }
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.kept.lock().unwrap().got.clone()
    }

    /// From now on it answers so.
    pub(crate) fn answer(&self, status: u16, body: &str) {
        self.kept.lock().unwrap().answer = Some((status, body.to_owned()));
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn keep(
    State(kept): State<Arc<Mutex<Kept>>>,
    uri: Uri,
    headers: HeaderMap,
    request: Request,
) -> (StatusCode, String) {
    let body: Bytes = axum::body::to_bytes(request.into_body(), 10_000_000).await.unwrap();
    let mut kept = kept.lock().unwrap();
    kept.got.push(Got { path: uri.path().to_owned(), headers, body: body.to_vec() });
    let (status, text) = kept.answer.clone().unwrap_or((200, "ok".to_owned()));
    (StatusCode::from_u16(status).unwrap(), text)
}

/// A port that nobody uses just now.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// The program of Debian's package, which has its templates at a fixed place.
const ALERTMANAGER: &str = "/usr/bin/prometheus-alertmanager";

/// Alertmanager, with nobody to tell.
pub(crate) struct Alertmanager {
    pub(crate) url: String,
    process: Child,
    _folder: TempDir,
}

impl Alertmanager {
    pub(crate) async fn start() -> Self {
        tools::need(ALERTMANAGER, "prometheus-alertmanager");
        let folder = TempDir::new().unwrap();
        let configuration = folder.path().join("alertmanager.yml");
        fs::write(&configuration, "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n").unwrap();
        let url = format!("http://127.0.0.1:{}", free_port());
        let process = Command::new(ALERTMANAGER)
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={}", url.trim_start_matches("http://")))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self { url, process, _folder: folder };
        eventually("Alertmanager", || started.get("/-/ready").map(drop)).await;
        started
    }

    /// What it shows, active and not yet forgotten.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        let shown = self.get("/api/v2/alerts?active=true").unwrap_or_default();
        serde_json::from_str::<Vec<Value>>(&shown).unwrap_or_default()
    }

    /// The body of an answer with status 200.
    fn get(&self, path: &str) -> Option<String> {
        use std::io::{Read as _, Write as _};
        let address = self.url.trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.0 200").then(|| body.to_owned())
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const REQUIREMENTS: &str = include_str!("requirements.txt");
const SERVER: &str = include_str!("smtp.py");

/// The virtual environment with the SMTP server.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let ready = tools::made_once("smtp", REQUIREMENTS, |making| {
        let needs = "this test needs python3 with its venv module (Debian: python3-venv), and pip must reach a package \
                     index the first time";
        let made = tell(Command::new("python3").args(["-m", "venv"]).arg(making)).and_then(|_| {
            let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
            tell(Command::new(making.join("bin/python")).args(pip).args(REQUIREMENTS.split_whitespace()))
        });
        if let Err(told) = made {
            panic!("{needs}: {told}");
        }
    });
    ready.join("bin/python")
});

/// An SMTP server that keeps every email.
pub(crate) struct Smtp {
    pub(crate) port: u16,
    process: Child,
    mails: Arc<Mutex<Vec<Value>>>,
}

impl Smtp {
    pub(crate) async fn start() -> Self {
        let port = free_port();
        let mut process = Command::new(&*PYTHON)
            .args(["-u", "-c", SERVER, &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mails: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (kept, lines) = (Arc::clone(&mails), BufReader::new(process.stdout.take().unwrap()).lines());
        // Ends with the process.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        let started = Self { port, process, mails };
        eventually("the SMTP server", || std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop))
            .await;
        started
    }

    pub(crate) fn mails(&self) -> Vec<Value> {
        self.mails.lock().unwrap().clone()
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
