//! Asking the daemon, from a command. Blocks.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{Answer, Asked, MAX_ANSWER_BYTES, Request, VERSION};

/// The daemon answers at once, or as soon as a commit that is under way has ended.
const PATIENCE: Duration = Duration::from_secs(30);
/// What reads the service, or sends a PUT to it, takes as long as the service does.
const PATIENCE_WITH_THE_SERVICE: Duration = Duration::from_mins(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages tell the fields")]
pub enum AskError {
    /// Nobody listens.
    #[error("no daemon answers at {}", path.display())]
    NotRunning {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The socket's mode says no.
    #[error("you may not use the control socket of the daemon at {}: only its owner and its group may", path.display())]
    Forbidden {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The conversation broke off, so whether the request was carried out is unknown.
    #[error("the daemon at {} did not respond; whether it carried out the command is unknown", path.display())]
    Broken {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Asks, and waits for the answer.
///
/// # Errors
/// Where nobody answers.
pub fn ask(path: &Path, request: &Request) -> Result<Answer, AskError> {
    let mut stream = UnixStream::connect(path).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => AskError::Forbidden { path, source },
            _ => AskError::NotRunning { path, source },
        }
    })?;
    converse(&mut stream, request).map_err(|source| AskError::Broken { path: path.to_owned(), source })
}

fn converse(stream: &mut UnixStream, request: &Request) -> io::Result<Answer> {
    let patience = match request {
        Request::Explain { .. } | Request::RetryNow(_) | Request::Abort(_) | Request::Reset(_) => {
            PATIENCE_WITH_THE_SERVICE
        }
        Request::Hold { .. }
        | Request::Release { .. }
        | Request::Holds
        | Request::Status
        | Request::History { .. } => PATIENCE,
    };
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&Asked { version: VERSION, request })?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream).take(MAX_ANSWER_BYTES).read_until(b'\n', &mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
    }
    Ok(serde_json::from_slice(&answer)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn an_answer_may_be_longer_than_any_request() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let answer = Answer::Refused { why: "x".repeat(3 << 20) };
        let line = format!("{}\n", serde_json::to_string(&answer).unwrap());
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            BufReader::new(&stream).read_until(b'\n', &mut Vec::new()).unwrap();
            // Whoever hears too little closes the connection.
            let _ = stream.write_all(line.as_bytes());
        });
        assert_eq!(ask(&path, &Request::Holds).unwrap(), answer);
        daemon.join().unwrap();
    }
}
