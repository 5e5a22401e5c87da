//! The log: text for people or JSON for machines, always on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::settings::LogFormat;

/// Sends what is logged from now on to stderr, once for the process.
///
/// # Errors
/// Where the filter is not one. (A second call changes nothing.)
pub fn start(filter: &str, format: LogFormat) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    // A line that cannot be written is lost: complaining about it to the same stderr would panic.
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    // Whoever set one before (a test, a second command) keeps it.
    let _ = match format {
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Auto | LogFormat::Text => {
            subscriber.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
        }
    };
    Ok(())
}
