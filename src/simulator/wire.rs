//! A TCP connection that can be cut while an answer is on its way: before its first byte, or in its body.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Accepts connections that can be cut.
pub(super) struct Wires(pub(super) TcpListener);

impl Listener for Wires {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        // Without it small answers may wait for the client's acknowledgement; it is not necessary.
        let _ = stream.set_nodelay(true);
        (Wire { stream, cutter: Cutter::default() }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// One connection.
pub(super) struct Wire {
    stream: TcpStream,
    cutter: Cutter,
}

/// Sets how much of the next answer is sent over a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Cutter(Arc<Mutex<Allowance>>);

/// How much may still be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Allowance {
    /// Everything.
    #[default]
    Everything,
    /// The rest of the head, of whose end this number of bytes has passed, and then this number of
    /// bytes of the body.
    Head { passed: usize, body: usize },
    /// This number of bytes of the body; with none left, the connection is at its end.
    Body(usize),
}

impl Cutter {
    /// No byte of the answer.
    pub(super) fn cut(&self) {
        self.set(Allowance::Body(0));
    }

    /// The head of the answer, and this number of bytes of its body.
    pub(super) fn cut_after(&self, body_bytes: usize) {
        self.set(Allowance::Head { passed: 0, body: body_bytes });
    }

    fn set(&self, allowance: Allowance) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = allowance;
    }

    fn get(&self) -> Allowance {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected<IncomingStream<'_, Wires>> for Cutter {
    fn connect_info(stream: IncomingStream<'_, Wires>) -> Self {
        stream.io().cutter.clone()
    }
}

impl Allowance {
    /// Returns how many of these bytes may pass, and what may pass after them.
    fn take(self, bytes: &[u8]) -> (usize, Self) {
        let mut now = self;
        for (count, byte) in bytes.iter().enumerate() {
            now = match now {
                Self::Everything => return (bytes.len(), self),
                Self::Body(0) => return (count, now),
                Self::Body(left) => Self::Body(left - 1),
                Self::Head { passed, body } => {
                    let next = if END_OF_HEAD.get(passed) == Some(byte) {
                        passed + 1
                    } else {
                        usize::from(END_OF_HEAD.first() == Some(byte))
                    };
                    if next == END_OF_HEAD.len() {
                        Self::Body(body)
                    } else {
                        Self::Head { passed: next, body }
                    }
                }
            };
        }
        (bytes.len(), now)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let allowance = self.cutter.get();
        let (allowed, _) = allowance.take(bytes);
        let Some(bytes) = bytes.get(..allowed).filter(|bytes| !bytes.is_empty()) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        let (_, left) = allowance.take(bytes.get(..written).unwrap_or(bytes));
        self.cutter.set(left);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_and_a_part_of_the_body_pass() {
        let answer = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody";
        let allowance = Allowance::Head { passed: 0, body: 2 };
        assert_eq!(allowance.take(answer), (answer.len() - 2, Allowance::Body(0)));

        let mut allowance = allowance;
        for byte in &answer[..answer.len() - 2] {
            let (passed, left) = allowance.take(&[*byte]);
            assert_eq!(passed, 1);
            allowance = left;
        }
        assert_eq!(allowance.take(b"d"), (0, Allowance::Body(0)));
    }

    #[test]
    fn an_uncut_connection_passes_everything() {
        assert_eq!(Allowance::Everything.take(b"abc"), (3, Allowance::Everything));
    }
}
