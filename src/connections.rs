//! The next connection to a socket of ours: few at once, and a system without room for one is waited for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Out of descriptors, most likely: the next connection waits until there are some.
const UNTIL_THERE_IS_ROOM: Duration = Duration::from_secs(1);

/// What is listened at.
pub trait Listen: Sync {
    /// A connection.
    type Stream: Send;
    /// Takes one.
    fn take(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn take(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn take(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

/// The next connection, with one of the places, once there is one of each. `to`: to what, for the log. `None` at `stop`.
pub async fn next<L: Listen>(
    listener: &L,
    places: &Arc<Semaphore>,
    to: &str,
    stop: &CancellationToken,
) -> Option<(OwnedSemaphorePermit, L::Stream)> {
    let next = async {
        // It is never closed.
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.take().await {
                Ok(stream) => return Some((place, stream)),
                Err(error) => {
                    warn!(error = %error, "a connection to {to} could not be taken");
                    tokio::time::sleep(UNTIL_THERE_IS_ROOM).await;
                }
            }
        }
    };
    stop.run_until_cancelled(next).await.flatten()
}
