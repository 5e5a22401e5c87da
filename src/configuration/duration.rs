//! Durations in the form of the configuration: `"500ms"`, `"30s"`, `"1h 30m"`, `"3d"`. A day is 24
//! hours.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Writes a duration so that [`parse`] returns it exactly.
pub(super) use crate::model::text::exact_span as text;

/// What a duration looks like, for messages.
pub(super) const EXPECTED: &str =
    "a duration in quotes, such as \"500ms\", \"30s\", \"1h 30m\" or \"3d\" (units: ms, s, m, h, d, w)";

/// A hundred years: more is a mistake, and would not fit into every sum of times.
pub(super) const LONGEST: Duration = Duration::from_hours(36_500 * 24);

/// Why a text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DurationError {
    #[error("{EXPECTED} is needed")]
    Form,
    #[error("a duration cannot be negative")]
    Negative,
    #[error("months and years have no fixed length; use days (\"30d\", \"365d\")")]
    Calendar,
    #[error("nothing below a millisecond is allowed")]
    TooFine,
    #[error("at most 36500d (a hundred years) are allowed")]
    TooLong,
}

/// Reads a duration.
pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.trim_start().starts_with('-') || text.trim_end().ends_with(" ago") {
        return Err(DurationError::Negative);
    }
    // Only one form is accepted: jiff's others (ISO 8601, `1:30:00`, commas as points, signs) are
    // refused.
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ' '));
    if !plain || !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(DurationError::Form);
    }
    let span: Span = text.parse().map_err(|_| DurationError::Form)?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(DurationError::Calendar);
    }
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| DurationError::TooLong)?;
    let duration = Duration::try_from(signed).map_err(|_| DurationError::Negative)?;
    if duration.subsec_nanos() % 1_000_000 != 0 {
        return Err(DurationError::TooFine);
    }
    if duration > LONGEST {
        return Err(DurationError::TooLong);
    }
    Ok(duration)
}

/// Returns a duration in quotes, for a message.
pub(super) fn quoted(duration: Duration) -> String {
    format!("\"{}\"", text(duration))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("1.5s", 1_500),
            ("5m", 300_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("3d", 259_200_000),
            ("1d 12h", 129_600_000),
            ("0s", 0),
            ("36500d", 36_500 * 86_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_fixed_positive_duration_is_refused() {
        for (text, error) in [
            ("", DurationError::Form),
            (" ", DurationError::Form),
            ("5", DurationError::Form),
            ("m", DurationError::Form),
            ("PT5M", DurationError::Form),
            ("1:30:00", DurationError::Form),
            ("1,5h", DurationError::Form),
            ("+5m", DurationError::Form),
            ("5 bananas", DurationError::Form),
            ("-5m", DurationError::Negative),
            ("5m ago", DurationError::Negative),
            ("1mo", DurationError::Calendar),
            ("2y", DurationError::Calendar),
            ("1.5ms", DurationError::TooFine),
            ("1us", DurationError::TooFine),
            ("36501d", DurationError::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0..=LONGEST.as_secs() * 1_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&text(duration)), Ok(duration));
        }

        #[test]
        fn arbitrary_text_is_an_error_and_no_panic(text in "[0-9a-z. -]{0,24}|.*") {
            let _ = parse(&text);
        }
    }
}
