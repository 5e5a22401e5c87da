//! The daemon's end of the control socket.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::protocol::{Answer, Asked, MAX_BYTES, Peer, Question, Request, VERSION};
use super::user::name_of;
use crate::connections::{self, Place, Places, Read};
use crate::model::text::{chain, shown};

/// Its owner and its group may speak to the daemon, nobody else.
const MODE: u32 = 0o660;
/// Conversations at once; more wait.
const AT_ONCE: usize = 16;
/// Who has not said what is wanted by then is not listened to any more.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the name of a socket ends in until it has its mode. The configuration leaves room for it.
const UNFINISHED: &str = ".new";
/// How often the socket is looked for at its path.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages tell the fields")]
pub enum BindError {
    /// Another process listens there.
    #[error("another process listens at {}", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket lies there.
    #[error("{} exists and is not a socket", .0.display())]
    NoSocket(PathBuf),
    /// The system refuses.
    #[error("cannot listen at {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The control socket. Removed when this is dropped, unless another one lies there by then.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    /// `None` until it can be made.
    bound: Option<Bound>,
    reachable: Reachable,
}

/// Whether commands can reach the daemon now.
#[derive(Debug, Clone, Default)]
pub struct Reachable(Arc<AtomicBool>);

impl Reachable {
    /// Whether the socket is listened at.
    pub fn now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A socket that is listened at.
#[derive(Debug)]
struct Bound {
    listener: UnixListener,
    path: PathBuf,
    file: (u64, u64),
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.is_in_place() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Bound {
    fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == self.file)
    }

    /// Ends once the socket does not lie at its path any more.
    async fn is_lost(&self) {
        while self.is_in_place() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Listens at this path, in a directory that is there. A socket that a killed daemon left is replaced.
async fn bind(path: &Path) -> Result<Bound, BindError> {
    let fault = |source| BindError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => return Err(BindError::NoSocket(path.to_owned())),
        // By a connection that nobody waits for: whoever listens there may hang.
        Ok(_) => match UnixStream::connect(path).await.map_err(|error| (error.kind(), error)) {
            Ok(_) | Err((io::ErrorKind::WouldBlock, _)) => return Err(BindError::InUse(path.to_owned())),
            Err((io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound, _)) => {}
            // Of somebody else, or of another kind: it is not ours to remove.
            Err((_, error)) => return Err(fault(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fault(error)),
    }
    // Under another name until it has its mode: at no moment may anybody else speak to it.
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let _ = fs::remove_file(&unfinished);
    let listener = UnixListener::bind(&unfinished).map_err(fault)?;
    let finish = || {
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(MODE))?;
        fs::rename(&unfinished, path)?;
        let there = fs::symlink_metadata(path)?;
        Ok((there.dev(), there.ino()))
    };
    let file = finish().map_err(|source| {
        let _ = fs::remove_file(&unfinished);
        fault(source)
    })?;
    Ok(Bound { listener, path: path.to_owned(), file })
}

impl Server {
    /// The socket at this path, which is made once it can be.
    pub fn new(path: PathBuf) -> Self {
        Self { path, bound: None, reachable: Reachable::default() }
    }

    /// Makes the socket, in a directory that is there. One that a killed daemon left is replaced.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(&mut self) -> Result<(), BindError> {
        self.bound = Some(bind(&self.path).await?);
        self.reachable.0.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether commands can reach the daemon, from here on.
    pub fn reachable(&self) -> Reachable {
        self.reachable.clone()
    }

    /// Hands on what is asked, until `stop`. A socket that could not be made, that was removed, or in whose place
    /// something else lies, is made as soon as it can be.
    pub async fn run(mut self, questions: mpsc::Sender<Question>, stop: CancellationToken) {
        let places = Places::new(AT_ONCE);
        let path = self.path.display().to_string();
        // That it could not be made at the start was told there.
        let mut is_told = true;
        loop {
            let Some(bound) = &self.bound else {
                if stop.run_until_cancelled(self.bind_anew(is_told)).await.is_none() {
                    break;
                }
                let when = if is_told { "now" } else { "again" };
                info!(socket = path, "commands reach this daemon {when} at {path}");
                continue;
            };
            let taken = tokio::select! {
                taken = connections::next(&bound.listener, &places, "the control socket", &stop) => taken,
                () = bound.is_lost() => {
                    warn!(socket = path, "the control socket {path} was removed: the daemon creates it again");
                    self.bound = None;
                    self.reachable.0.store(false, Ordering::Relaxed);
                    is_told = false;
                    continue;
                }
            };
            let Some((place, stream)) = taken else { break };
            let questions = questions.clone();
            // Left to end when the daemon stops: whoever asks is told so.
            tokio::spawn(async move {
                if let Err(error) = converse(stream, questions, place).await {
                    debug!(error = %error, "a connection to the control socket broke");
                }
            });
        }
    }

    /// Makes the socket, as often as it takes. Tells once why it cannot be made.
    async fn bind_anew(&mut self, mut told: bool) {
        while let Err(error) = self.bind().await {
            if !std::mem::replace(&mut told, true) {
                let (error, path) = (chain(&error), self.path.display());
                error!(
                    socket = %path,
                    error,
                    "no command can reach this daemon, because its control socket cannot be created: {error}; the daemon tries again"
                );
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// One request, one answer.
async fn converse(stream: UnixStream, questions: mpsc::Sender<Question>, place: Place) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let place = Arc::new(place);
    let mut stream = Read::new(stream, Arc::clone(&place));
    let mut line = Vec::new();
    {
        let mut from = BufReader::new(&mut stream).take(MAX_BYTES);
        let read = tokio::time::timeout(PATIENCE, from.read_until(b'\n', &mut line));
        tokio::select! {
            biased;
            read = read => drop(read??),
            () = place.given_up() => {
                return Err(io::Error::other("the client sent no request, and was disconnected to make room for another one"));
            }
        }
    }
    place.asked();
    let answer = match understand(&line) {
        Ok(request) => {
            let peer = Peer { uid, name: name_of(uid).await };
            let (answer, answered) = oneshot::channel();
            let question = Question { request, peer, answer };
            let stopping = || Answer::Refused { why: "the daemon is stopping".to_owned() };
            match questions.send(question).await {
                Ok(()) => answered.await.unwrap_or_else(|_| stopping()),
                Err(_) => stopping(),
            }
        }
        Err(why) => Answer::Refused { why },
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    let written = async {
        stream.write_all(&line).await?;
        stream.flush().await?;
        stream.shutdown().await
    };
    tokio::select! {
        biased;
        written = written => written,
        () = place.given_up() => Err(io::Error::other("the client did not read its response, and was disconnected to make room for another one")),
    }
}

/// What a line asks for, or what is wrong with it.
pub fn understand(line: &[u8]) -> Result<Request, String> {
    let asked: Asked<serde_json::Value> = serde_json::from_slice(line)
        .map_err(|error| format!("the request cannot be read: {}", shown(&chain(&error), 200)))?;
    if asked.version != VERSION {
        return Err(format!(
            "the command uses version {} of the control protocol, and this daemon version {VERSION}: use the command \
             of the daemon's own version",
            asked.version
        ));
    }
    serde_json::from_value(asked.request)
        .map_err(|error| format!("the request is not understood: {}", shown(&chain(&error), 200)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_not_understood_is_told_why() {
        let told = |line: &str| understand(line.as_bytes()).unwrap_err();
        assert!(told("").starts_with("the request cannot be read"));
        assert!(told("{\"version\":2,\"request\":{}}").contains("version 2"));
        assert!(told("{\"version\":1,\"request\":{\"verb\":\"explode\"}}").contains("explode"));
        assert!(told("{\"version\":1,\"request\":{\"verb\":\"release\"}}").contains("scope"));
        let extra = "{\"version\":1,\"request\":{\"verb\":\"release\",\"scope\":\"all\",\"force\":true}}";
        assert!(told(extra).contains("force"));
    }

    #[tokio::test]
    async fn a_socket_that_a_killed_daemon_left_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let first = bind(&path).await.unwrap();
        assert!(matches!(bind(&path).await, Err(BindError::InUse(_))));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        // As a killed process leaves it: closed, and still there.
        let (left, file) = (path.with_extension("left"), first.file);
        fs::hard_link(&path, &left).unwrap();
        drop(first);
        fs::rename(&left, &path).unwrap();
        let second = bind(&path).await.unwrap();
        assert_ne!(second.file, file);
        drop(second);
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        assert!(matches!(bind(&path).await, Err(BindError::NoSocket(_))));
        assert!(path.exists());
    }
}
