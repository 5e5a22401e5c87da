//! One connection to the primary, over which one statement goes at a time.
//!
//! A statement whose answer is not a good one makes the link unusable, whatever the reason, and it is thrown away: so no
//! statement ever meets a session that an earlier one left in disorder. That holds for a future that was dropped too.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Connection, Row};

use super::error::{Kind, PostgresError, Said};
use crate::model::text::{shown, span};

/// So long a statement may take where nothing else is said.
pub const STATEMENT_LIMIT: Duration = Duration::from_secs(5);
/// So many warnings of a statement are kept.
const WARNINGS: usize = 8;
/// So much of a warning is told.
const SAID: usize = 400;

/// A parameter with its type.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A statement with its parameters, by their places `$1`, `$2`, ….
#[derive(Clone, Copy)]
pub struct Statement<'a> {
    /// The text.
    pub sql: &'a str,
    /// The parameters.
    pub parameters: &'a [Parameter<'a>],
}

/// What the server said beside its answers.
#[derive(Default)]
struct Beside {
    /// Of the present statement.
    warnings: Vec<String>,
    /// Why the connection is at its end.
    ended: Option<tokio_postgres::Error>,
}

/// An open connection to the primary. When it is dropped it is closed: at once where it is unusable.
pub struct Link {
    client: Client,
    beside: Arc<Mutex<Beside>>,
    task: JoinHandle<()>,
    place: Arc<str>,
    limit: Duration,
    /// Whether every statement so far got a good answer.
    in_order: bool,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let usable = self.is_usable();
        f.debug_struct("Link").field("place", &self.place).field("usable", &usable).finish_non_exhaustive()
    }
}

fn locked(beside: &Mutex<Beside>) -> MutexGuard<'_, Beside> {
    beside.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a notice says that the statement may not have done what its answer says.
fn is_warning(notice: &DbError) -> bool {
    notice.parsed_severity() == Some(Severity::Warning) || notice.code().code().starts_with("01")
}

impl Link {
    /// Takes a connection that was just established. `limit`: for each statement.
    pub(super) fn new<S, T>(
        client: Client,
        mut connection: Connection<S, T>,
        place: Arc<str>,
        limit: Duration,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let beside: Arc<Mutex<Beside>> = Arc::default();
        let kept = Arc::clone(&beside);
        // A notice comes before the end of the answer that it belongs to, and is kept before that end is passed on.
        let task = tokio::spawn(async move {
            loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notice(notice))) if is_warning(&notice) => {
                        let warnings = &mut locked(&kept).warnings;
                        if warnings.len() < WARNINGS {
                            let (severity, code) = (notice.severity(), notice.code().code());
                            let text = format!("{severity}: {} ({code})", notice.message());
                            warnings.push(shown(&text, SAID));
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        locked(&kept).ended = Some(error);
                        break;
                    }
                    None => break,
                }
            }
        });
        Self { client, beside, task, place, limit, in_order: true }
    }

    /// Whether another statement can be sent over it.
    pub fn is_usable(&self) -> bool {
        self.in_order && !self.client.is_closed()
    }

    /// Who signed in at which server, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Sends the first statement, which only reads. What the server warned of while it signed this program in comes with its
    /// answer, and says nothing of it.
    pub(super) async fn first(&mut self, sql: &str) -> Result<Vec<Row>, PostgresError> {
        self.begin()?;
        let answer = timeout(self.limit, self.client.query_typed(sql, &[])).await;
        locked(&self.beside).warnings.clear();
        self.end(self.limit, answer)
    }

    /// Sends one statement in one round trip, as a transaction of its own, and returns its rows once it is committed. The
    /// types of its columns must be PostgreSQL's own: others would be looked up.
    ///
    /// # Errors
    /// Says by its kind what is known of the statement. A warning makes it unsure, although the server answered.
    pub async fn query(
        &mut self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, PostgresError> {
        self.query_within(self.limit, sql, parameters).await
    }

    /// The same for a statement that may take longer, or less long.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn query_within(
        &mut self,
        limit: Duration,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, PostgresError> {
        self.begin()?;
        // Reads to the very end: the commit comes after the rows.
        let answer = timeout(limit, self.client.query_typed(sql, parameters)).await;
        self.end(limit, answer)
    }

    /// Sends statements without parameters as one message. Without `BEGIN` and `COMMIT` in it all of them are one transaction.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn batch(&mut self, sql: &str) -> Result<(), PostgresError> {
        self.begin()?;
        let answer = timeout(self.limit, self.client.batch_execute(sql)).await;
        self.end(self.limit, answer)
    }

    /// Sends `BEGIN`, these statements and `COMMIT` at once, without waiting for any answer between them, and returns the rows
    /// of each once all of them are committed.
    ///
    /// # Errors
    /// As [`Self::query`], for all of them together: if one fails, none is kept.
    pub async fn transaction(
        &mut self,
        statements: &[Statement<'_>],
    ) -> Result<Vec<Vec<Row>>, PostgresError> {
        self.begin()?;
        let answer = timeout(self.limit, together(&self.client, statements)).await;
        self.end(self.limit, answer)
    }

    /// Marks the link as not in order until the answer is there: a future that is dropped on its way leaves it so.
    fn begin(&mut self) -> Result<(), PostgresError> {
        let usable = self.is_usable();
        self.in_order = false;
        let mut beside = locked(&self.beside);
        beside.warnings.clear();
        if usable {
            return Ok(());
        }
        let what =
            format!("the statement was not sent, because the connection to {} is at its end", self.place);
        let fault = PostgresError::new(Kind::NotKept, what).todo("the daemon connects again");
        Err(match beside.ended.take() {
            Some(ended) => fault.because(ended),
            None => fault,
        })
    }

    fn end<T>(
        &mut self,
        limit: Duration,
        answer: Result<Result<T, tokio_postgres::Error>, Elapsed>,
    ) -> Result<T, PostgresError> {
        let mut beside = locked(&self.beside);
        let unsure = || {
            let what = format!("whether {} kept the statement is unknown", self.place);
            PostgresError::new(Kind::Unsure, what).todo("the daemon asks the database before it goes on")
        };
        match answer {
            Ok(Ok(rows)) if beside.warnings.is_empty() => {
                self.in_order = true;
                Ok(rows)
            }
            Ok(Ok(_)) => Err(unsure().because(Said::new(beside.warnings.join("; ")))),
            Ok(Err(error)) => Err(PostgresError::statement(&self.place, error, beside.ended.take())),
            Err(_) => Err(unsure().because(Said::new(format!("no answer within {}", span(limit))))),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // One in order says goodbye when its client is gone.
        if !self.in_order {
            self.task.abort();
        }
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, tokio_postgres::Error>> + Send + 'a>>;

/// All of these statements between `BEGIN` and `COMMIT`. Each is sent when its future is first polled, so they leave in their
/// order. The first error is the answer: after it the server answers `COMMIT` well, and keeps nothing.
async fn together(
    client: &Client,
    statements: &[Statement<'_>],
) -> Result<Vec<Vec<Row>>, tokio_postgres::Error> {
    let plain =
        |sql| -> Answer<'_> { Box::pin(async move { client.batch_execute(sql).await.map(|()| Vec::new()) }) };
    let mut open: Vec<Option<Answer<'_>>> = vec![Some(plain("BEGIN"))];
    for Statement { sql, parameters } in statements {
        open.push(Some(Box::pin(client.query_typed(sql, parameters))));
    }
    open.push(Some(plain("COMMIT")));
    let mut rows = Vec::new();
    rows.resize_with(open.len(), Vec::new);
    poll_fn(|context| {
        let mut waits = false;
        for (open, rows) in open.iter_mut().zip(&mut rows) {
            let Some(answer) = open else { continue };
            match answer.as_mut().poll(context) {
                Poll::Ready(Ok(got)) => {
                    *rows = got;
                    *open = None;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => waits = true,
            }
        }
        if waits { Poll::Pending } else { Poll::Ready(Ok(())) }
    })
    .await?;
    rows.pop();
    rows.remove(0);
    Ok(rows)
}
