//! `--since`: a time as people write it.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, ToSpan as _};

use crate::model::text::{shown, utc};

/// Returns the time that a text names: a time, a date, `today`, `yesterday`, or a duration before
/// `now`. Without a zone it is UTC, like all printed times.
///
/// # Errors
/// If it is none of these, or lies in the future.
pub(super) fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let time = point(text.trim(), now).ok_or_else(|| {
        format!(
            "--since {:?} is not understood: a date (2026-01-02), a time (2026-01-02T03:04:05Z), a duration (2h, 3d), \
             today or yesterday is needed; without a zone a time is UTC",
            shown(text, 80)
        )
    })?;
    if time > now {
        let text = shown(text, 80);
        return Err(format!(
            "--since {text:?} is {}, which is in the future: it is {} now",
            utc(time),
            utc(now)
        ));
    }
    Ok(time)
}

fn point(text: &str, now: Timestamp) -> Option<Timestamp> {
    let midnight = || now.to_zoned(TimeZone::UTC).start_of_day().ok();
    match text {
        "today" => return Some(midnight()?.timestamp()),
        "yesterday" => return Some(midnight()?.checked_sub(1.day()).ok()?.timestamp()),
        _ => {}
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    // As `history` itself prints it.
    if let Ok(time) = text.strip_suffix(" UTC").unwrap_or(text).parse::<DateTime>() {
        return Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    let span: Span = text.strip_suffix("ago").unwrap_or(text).trim_end().parse().ok()?;
    let ago = SignedDuration::try_from(span)
        .or_else(|_| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .ok()?;
    now.checked_sub(ago).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-02T10:30:00Z".parse().unwrap()
    }

    #[test]
    fn a_time_may_be_a_date_a_day_a_duration_or_a_time_of_any_zone() {
        for (text, expected) in [
            ("2026-02-28", "2026-02-28T00:00:00Z"),
            ("2026-03-01 06:07", "2026-03-01T06:07:00Z"),
            ("2026-03-01T06:07:08", "2026-03-01T06:07:08Z"),
            ("2026-03-01 06:07:08 UTC", "2026-03-01T06:07:08Z"),
            ("2026-03-01T06:07:08Z", "2026-03-01T06:07:08Z"),
            ("2026-03-01T06:07:08+08:00", "2026-02-28T22:07:08Z"),
            ("today", "2026-03-02T00:00:00Z"),
            ("yesterday", "2026-03-01T00:00:00Z"),
            ("2d", "2026-02-28T10:30:00Z"),
            ("2h", "2026-03-02T08:30:00Z"),
            ("1h 30m", "2026-03-02T09:00:00Z"),
            ("2d ago", "2026-02-28T10:30:00Z"),
            ("2 days ago", "2026-02-28T10:30:00Z"),
            ("1w", "2026-02-23T10:30:00Z"),
        ] {
            assert_eq!(since(text, now()).map(|time| time.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_time_in_the_future_or_none_at_all_is_an_error_that_says_what_is_allowed() {
        for text in ["2026-03-03", "2099-01-01T00:00:00Z", "-2h"] {
            let told = since(text, now()).unwrap_err();
            assert!(told.contains("in the future: it is 2026-03-02 10:30:00 UTC now"), "{text}: {told}");
        }
        for text in ["", "soon", "tomorrow", "2026-13-01", "ago"] {
            let told = since(text, now()).unwrap_err();
            assert!(told.contains("is not understood") && told.contains("yesterday"), "{text}: {told}");
        }
    }
}
