//! The daemon's end of the control socket.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::protocol::{Answer, Asked, MAX_BYTES, Peer, Question, Request, VERSION};
use crate::connections::{self, Place, Places};
use crate::model::text::{chain, shown};

/// Its owner and its group may speak to the daemon, nobody else.
const MODE: u32 = 0o660;
/// Conversations at once; more wait.
const AT_ONCE: usize = 16;
/// Who has not said what is wanted, or not read the answer, by then is not listened to any more.
const PATIENCE: Duration = Duration::from_secs(3);

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
    #[error("{} is there, and is no socket", .0.display())]
    NoSocket(PathBuf),
    /// The system refuses.
    #[error("cannot listen at {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A socket that is listened at. Removed when this is dropped, unless another one lies there by then.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Drop for Server {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|there| there.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Server {
    /// Listens at this path, in a directory that is there. A socket that a killed daemon left is replaced.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let fault = |source| BindError::Io { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => return Err(BindError::NoSocket(path.to_owned())),
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(BindError::InUse(path.to_owned()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fault(error)),
        }
        // Under another name until it has its mode: at no moment may anybody else speak to it.
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        let _ = fs::remove_file(&unfinished);
        let listener = UnixListener::bind(&unfinished).map_err(fault)?;
        let finish = || {
            fs::set_permissions(&unfinished, fs::Permissions::from_mode(MODE))?;
            fs::rename(&unfinished, path)?;
            Ok(fs::symlink_metadata(path)?.ino())
        };
        let inode = finish().map_err(|source| {
            let _ = fs::remove_file(&unfinished);
            fault(source)
        })?;
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    /// Hands on what is asked, until `stop`. A socket that was removed, or in whose place something else lies, is made
    /// anew.
    pub async fn run(mut self, questions: mpsc::Sender<Question>, stop: CancellationToken) {
        let places = Places::new(AT_ONCE);
        loop {
            let taken = tokio::select! {
                taken = connections::next(&self.listener, &places, "the control socket", &stop) => taken,
                () = self.is_lost() => {
                    if stop.run_until_cancelled(self.bind_anew()).await.is_none() {
                        break;
                    }
                    continue;
                }
            };
            let Some((place, stream)) = taken else { break };
            let questions = questions.clone();
            // Left to end when the daemon stops: whoever asks is told so.
            tokio::spawn(async move {
                if let Err(error) = converse(stream, questions, &place).await {
                    debug!(error = %error, "a conversation on the control socket broke off");
                }
            });
        }
    }
}

impl Server {
    fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|there| there.ino() == self.inode)
    }

    /// Ends once the socket does not lie at its path any more.
    async fn is_lost(&self) {
        while self.is_in_place() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Makes the socket anew, as often as it takes.
    async fn bind_anew(&mut self) {
        let path = self.path.display().to_string();
        warn!(socket = path, "the control socket {path} is gone: it is made anew");
        *self = Self::bind_some_time(&self.path).await;
        info!(socket = path, "commands reach this daemon again at {path}");
    }

    /// Listens at this path as soon as that is possible. Tells once why it is not.
    pub async fn bind_some_time(path: &Path) -> Self {
        let mut told = false;
        loop {
            match Self::bind(path) {
                Ok(server) => return server,
                Err(error) if !told => {
                    told = true;
                    let error = chain(&error);
                    error!(
                        socket = %path.display(), error,
                        "no command can reach this daemon, as its control socket cannot be made: {error}; it is tried again"
                    );
                }
                Err(_) => {}
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// One request, one answer.
async fn converse(
    mut stream: UnixStream,
    questions: mpsc::Sender<Question>,
    place: &Place,
) -> io::Result<()> {
    let peer = Peer { uid: stream.peer_cred()?.uid() };
    let (from, mut to) = stream.split();
    let mut line = Vec::new();
    let mut from = BufReader::new(from).take(MAX_BYTES);
    tokio::select! {
        biased;
        read = tokio::time::timeout(PATIENCE, from.read_until(b'\n', &mut line)) => drop(read??),
        () = place.given_up() => return Err(io::Error::other("it asked nothing, and made room for another one")),
    }
    place.asked();
    let answer = match understand(&line) {
        Ok(request) => {
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
    tokio::time::timeout(PATIENCE, to.write_all(&line)).await??;
    to.shutdown().await
}

/// What a line asks for, or what is wrong with it.
pub fn understand(line: &[u8]) -> Result<Request, String> {
    let asked: Asked<serde_json::Value> = serde_json::from_slice(line)
        .map_err(|error| format!("the request cannot be read: {}", shown(&chain(&error), 200)))?;
    if asked.version != VERSION {
        return Err(format!(
            "the request speaks version {} of the control protocol, and this daemon version {VERSION}: use the command \
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
        let first = Server::bind(&path).unwrap();
        assert!(matches!(Server::bind(&path), Err(BindError::InUse(_))));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        // As a killed process leaves it: closed, and still there.
        let (left, inode) = (path.with_extension("left"), first.inode);
        fs::hard_link(&path, &left).unwrap();
        drop(first);
        fs::rename(&left, &path).unwrap();
        let second = Server::bind(&path).unwrap();
        assert_ne!(second.inode, inode);
        drop(second);
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        assert!(matches!(Server::bind(&path), Err(BindError::NoSocket(_))));
        assert!(path.exists());
    }
}
