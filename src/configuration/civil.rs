//! The times in a window, in the form of the configuration: days of the week, times of day, dates.

use jiff::civil;
use serde_json::Value;

use super::kind::{Scalar, describe, listed};
use super::problem::nearest;
use crate::model::window::{DAYS, minute_of_day};

/// A day or a range of days, from Monday: `"mon"`, `"mon-fri"`, `"fri-mon"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days(pub(super) [bool; 7]);

/// A minute of the day: `"22:00"`, up to `"24:00"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeOfDay(pub(super) u16);

/// A date and a time without a zone: `"2026-12-20T00:00"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DateTime(pub(super) civil::DateTime);

listed! {
    Days: |it| it.0;
    TimeOfDay: |it| it.0;
    DateTime: |it| it.0.to_string();
}

impl Scalar for Days {
    type Value = Self;

    fn take(found: &Value) -> Result<Self, String> {
        let day = |name: &str| DAYS.iter().position(|known| *known == name);
        let written = found.as_str().unwrap_or_default();
        let (first, last) = written.split_once('-').unwrap_or((written, written));
        if let (Some(first), Some(last)) = (day(first), day(last)) {
            // Across the end of the week too.
            let length = (last + 7 - first) % 7;
            return Ok(Self(std::array::from_fn(|day| (day + 7 - first) % 7 <= length)));
        }
        // Whole words (`monday`) and other cases are recognized by their beginnings.
        let meant = |name: &str| {
            let start: String = name.trim().to_lowercase().chars().take(3).collect();
            nearest(&start, DAYS)
        };
        let near = match (meant(first), meant(last), written.contains('-')) {
            (Some(first), Some(last), true) => format!("; did you mean \"{first}-{last}\"?"),
            (Some(first), _, false) => format!("; did you mean \"{first}\"?"),
            _ => String::new(),
        };
        let allowed = DAYS.map(|day| format!("\"{day}\"")).join(", ");
        Err(format!(
            "found {}; allowed: {allowed}, or a range of them such as \"mon-fri\"{near}",
            describe(found)
        ))
    }
}

impl Scalar for TimeOfDay {
    type Value = Self;

    fn take(found: &Value) -> Result<Self, String> {
        found.as_str().and_then(minute_of_day).map(Self).ok_or_else(|| {
            format!(
                "found {}; a time of day in quotes is needed, from \"00:00\" to \"24:00\", such as \"22:00\"",
                describe(found)
            )
        })
    }
}

impl Scalar for DateTime {
    type Value = Self;

    fn take(found: &Value) -> Result<Self, String> {
        let read = |text: &str| {
            // Only one form is accepted: jiff's others (zones, blanks, seconds and parts of them)
            // are refused.
            let plain = text.len() == "2026-12-20T00:00".len()
                && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'T' | b':'));
            plain.then(|| text.parse().ok()).flatten()
        };
        found.as_str().and_then(read).map(Self).ok_or_else(|| {
            format!(
                "found {}; a date and time in quotes is needed, such as \"2026-12-20T00:00\", without a zone: it is \
                 in that of the window",
                describe(found)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn days(text: &str) -> String {
        let Days(days) = Days::take(&json!(text)).unwrap();
        DAYS.iter().zip(days).filter(|(_, on)| *on).map(|(day, _)| *day).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn days_are_words_and_ranges_of_them() {
        assert_eq!(days("mon"), "mon");
        assert_eq!(days("mon-fri"), "mon tue wed thu fri");
        assert_eq!(days("fri-mon"), "mon fri sat sun");
        assert_eq!(days("sun-sat"), DAYS.join(" "));
        assert_eq!(days("wed-wed"), "wed");
    }

    #[test]
    fn other_words_for_days_are_told_with_the_nearest() {
        for (found, near) in [
            (json!("monday"), "did you mean \"mon\"?"),
            (json!("Mon"), "did you mean \"mon\"?"),
            (json!("Monday-Friday"), "did you mean \"mon-fri\"?"),
            (json!("mon - fri"), "did you mean \"mon-fri\"?"),
            (json!("thr"), "did you mean \"thu\"?"),
            (json!("mon-"), "or a range of them such as \"mon-fri\""),
            (json!("weekend"), "or a range"),
            (json!(""), "or a range"),
            (json!(1), "found the number 1; allowed: \"mon\", \"tue\""),
        ] {
            let error = Days::take(&found).unwrap_err();
            assert!(error.contains(near), "{found}: {error}");
        }
    }

    #[test]
    fn a_date_is_written_in_one_way() {
        assert_eq!(
            DateTime::take(&json!("2026-12-20T22:30")),
            Ok(DateTime(civil::date(2026, 12, 20).at(22, 30, 0, 0)))
        );
        for text in [
            "2026-12-20",
            "2026-12-20 00:00",
            "2026-12-20T00:00:00",
            "2026-12-20T00:00Z",
            "2026-02-30T00:00",
            "2026-12-20T24:00",
            "20.12.2026",
            "",
        ] {
            assert!(DateTime::take(&json!(text)).is_err(), "{text}");
        }
    }
}
