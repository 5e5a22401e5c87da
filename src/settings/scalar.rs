//! Single values, taken strictly: a value of another type is an error and never converted. The message says what was
//! found and what is allowed.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::Value;

use super::duration;
use super::problem::nearest;
use crate::model::policy::{Mode, OnExhausted};
use crate::model::task::TaskKind;
use crate::model::text::shown;

/// A value that says itself how it is taken from the text.
pub(super) trait Scalar: Sized {
    /// Takes the value, or says what was found and what is allowed.
    fn take(found: &Value) -> Result<Self, String>;
}

/// Makes a [`Scalar`] of it for serde.
#[derive(Debug, Clone)]
pub(super) struct Strict<T>(pub(super) T);

impl<'de, T: Scalar> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = Value::deserialize(deserializer)?;
        T::take(&found).map(Strict).map_err(D::Error::custom)
    }
}

/// What was found, for a message.
pub(super) fn describe(found: &Value) -> String {
    match found {
        Value::String(text) => format!("\"{}\"", shown(text, 60)),
        Value::Number(number) => format!("the number {number}"),
        Value::Bool(truth) => truth.to_string(),
        other => kind(other).to_owned(),
    }
}

/// The kind of what was found, without its value.
pub(super) fn kind(found: &Value) -> &'static str {
    match found {
        Value::String(_) => "text",
        Value::Number(_) => "a number",
        Value::Bool(_) => "true or false",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
        Value::Null => "nothing",
    }
}

fn needed(found: &Value, expected: &str) -> String {
    format!("found {}; {expected} is needed", describe(found))
}

impl Scalar for bool {
    fn take(found: &Value) -> Result<Self, String> {
        found.as_bool().ok_or_else(|| needed(found, "true or false (without quotes)"))
    }
}

impl Scalar for u32 {
    fn take(found: &Value) -> Result<Self, String> {
        found
            .as_u64()
            .and_then(|number| Self::try_from(number).ok())
            .ok_or_else(|| needed(found, &format!("a whole number from 0 to {}", Self::MAX)))
    }
}

impl Scalar for f64 {
    fn take(found: &Value) -> Result<Self, String> {
        found.as_f64().ok_or_else(|| needed(found, "a number"))
    }
}

/// Text, without repeating what was found instead: some texts stand close to secrets.
impl Scalar for String {
    fn take(found: &Value) -> Result<Self, String> {
        match found.as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(format!("found {}; text in quotes is needed", kind(found))),
        }
    }
}

impl Scalar for Duration {
    fn take(found: &Value) -> Result<Self, String> {
        let Some(text) = found.as_str() else { return Err(needed(found, duration::EXPECTED)) };
        duration::parse(text).map_err(|error| format!("found {}; {error}", describe(found)))
    }
}

/// A duration, or `"none"` for no end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endless(pub(super) Option<Duration>);

impl Scalar for Endless {
    fn take(found: &Value) -> Result<Self, String> {
        if found.as_str() == Some("none") {
            return Ok(Self(None));
        }
        Duration::take(found)
            .map(|duration| Self(Some(duration)))
            .map_err(|error| format!("{error} (or \"none\")"))
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(found: &Value, words: &[(&str, T)]) -> Result<T, String> {
    let written = found.as_str().unwrap_or_default();
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == written) {
        return Ok(*value);
    }
    let allowed: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let near = match nearest(written, words.iter().map(|(word, _)| *word)) {
        Some(near) => format!("; did you mean \"{near}\"?"),
        None => String::new(),
    };
    Err(format!("found {}; allowed: {}{near}", describe(found), allowed.join(", ")))
}

impl Scalar for Mode {
    fn take(found: &Value) -> Result<Self, String> {
        word(found, &[Self::DryRun, Self::Enforce].map(|mode| (mode.word(), mode)))
    }
}

impl Scalar for OnExhausted {
    fn take(found: &Value) -> Result<Self, String> {
        word(found, &[("abort", Self::Abort), ("escalate", Self::Escalate)])
    }
}

impl Scalar for TaskKind {
    fn take(found: &Value) -> Result<Self, String> {
        word(found, &Self::ALL.map(|kind| (kind.word(), kind)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error<T: Scalar>(found: &Value) -> String {
        T::take(found).err().unwrap_or_else(|| panic!("{found} was taken"))
    }

    #[test]
    fn nothing_is_converted() {
        for found in [json!("yes"), json!("true"), json!(1), json!(0.0)] {
            assert!(error::<bool>(&found).contains("true or false"), "{found}");
        }
        for found in [json!(2.7), json!(-1), json!("3"), json!(true), json!(1e3), json!(4_294_967_296_u64)] {
            assert!(error::<u32>(&found).contains("whole number from 0 to 4294967295"), "{found}");
        }
        for found in [json!("2.0"), json!(true), json!(null)] {
            assert!(error::<f64>(&found).contains("a number is needed"), "{found}");
        }
        for found in [json!(5), json!("5"), json!(true), json!(["5m"])] {
            assert!(error::<Duration>(&found).contains("in quotes"), "{found}");
        }
        assert!(error::<String>(&json!(5)).contains("text in quotes"));
    }

    #[test]
    fn a_whole_number_is_a_number() {
        assert_eq!(f64::take(&json!(2)), Ok(2.0));
    }

    #[test]
    fn a_wrong_word_names_the_allowed_and_the_nearest() {
        let error = error::<Mode>(&json!("enforced"));
        assert_eq!(error, "found \"enforced\"; allowed: \"dry-run\", \"enforce\"; did you mean \"enforce\"?");
        assert!(!self::error::<Mode>(&json!(true)).contains("did you mean"));
    }

    #[test]
    fn no_end_is_a_word() {
        assert_eq!(Endless::take(&json!("none")).unwrap().0, None);
        assert_eq!(Endless::take(&json!("1d")).unwrap().0, Some(Duration::from_hours(24)));
        assert!(error::<Endless>(&json!("never")).contains("\"none\""));
    }
}
