//! Time in the simulated world, and its form in scenarios.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// Milliseconds since the world began. Negative: before that, for tasks with a past.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SimTime(pub i64);

impl SimTime {
    /// This much later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(millis(wait)))
    }

    /// This much earlier.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// The wall-clock time of this instant in a world that began at `begin`.
    pub fn wall(self, begin: Timestamp) -> Timestamp {
        let far = if self.0 < 0 { Timestamp::MIN } else { Timestamp::MAX };
        begin.checked_add(SignedDuration::from_millis(self.0)).unwrap_or(far)
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// A point of a scenario's time: an offset from its beginning, such as `"30s"` or `"-4d"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(pub SimTime);

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span = signed(&text).map_err(D::Error::custom)?;
        let millis = i64::try_from(span.as_millis()).map_err(D::Error::custom)?;
        Ok(Self(SimTime(millis)))
    }
}

/// A length of time of a scenario, such as `"1h 30m"`; never negative.
pub(super) fn length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let span = signed(&text).map_err(D::Error::custom)?;
    Duration::try_from(span).map_err(|_| D::Error::custom(format!("{text:?} is negative")))
}

/// As [`length`], for an optional key.
pub(super) fn some_length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    length(deserializer).map(Some)
}

/// Durations as people write them, with days of 24 hours.
fn signed(text: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("{text:?} is not a duration; write it like \"500ms\", \"1h 30m\" or \"-4d\"");
    let span: Span = text.parse().map_err(|_| wrong())?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Sample {
        at: Offset,
        #[serde(deserialize_with = "length")]
        long: Duration,
    }

    #[test]
    fn offsets_may_lie_in_the_past_and_lengths_may_not_be_negative() {
        let sample: Sample = toml::from_str("at = \"-4d\"\nlong = \"1h 30m\"").unwrap();
        assert_eq!(sample.at, Offset(SimTime(-4 * 86_400_000)));
        assert_eq!(sample.long, Duration::from_mins(90));
        assert!(toml::from_str::<Sample>("at = \"0s\"\nlong = \"-1s\"").is_err());
        assert!(toml::from_str::<Sample>("at = \"soon\"\nlong = \"1s\"").is_err());
        assert!(toml::from_str::<Sample>("at = 5\nlong = \"1s\"").is_err());
    }

    #[test]
    fn the_wall_clock_follows_the_worlds_time() {
        let begin: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(SimTime(-1_000).wall(begin).to_string(), "2026-01-02T03:04:04Z");
    }
}
