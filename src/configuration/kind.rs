//! Kinds of values. A kind says how a value is read, strictly (a value of another type is an error
//! and never converted), which values are allowed, how it is listed, and what of it may be shown. A
//! message names what was found and what is allowed.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use config::ValueKind;
use serde_json::{Value, json};

use super::duration;
use super::problem::nearest;
use super::reference::SecretReference;
use super::schema::{ANY, Key, Shown};
use super::section::Section;
use crate::model::policy::{Mode, OnExhausted};
use crate::model::task::TaskKind;
use crate::model::text::shown;

/// The kind of the value of a key.
pub(super) trait Kind {
    /// The type of the read value.
    type Value: Clone;

    /// Reads this value, or adds the problem.
    fn read(at: &Section<'_>) -> Option<Self::Value>;

    /// Returns the value in the form of the configuration.
    fn list(value: &Self::Value) -> Value;

    /// Returns the keys of this kind at this path: one, except for tables.
    fn keys(path: &[&'static str]) -> Vec<Key>;

    /// Returns the right form of a value that was found in another one, for a hint.
    fn form(_found: &Value) -> Option<String> {
        None
    }

    /// Returns where a secret of this value is to be found.
    fn reference(_: &Self::Value) -> Option<&SecretReference> {
        None
    }

    /// Reads the value of a key. Returns `None` if it is absent, and if it cannot be read.
    fn get(section: &Section<'_>, key: &str) -> Option<Self::Value> {
        let here = section.child(key);
        if here.value().is_null() { None } else { Self::read(&here) }
    }
}

/// A kind of single values.
pub(super) trait Scalar {
    /// The type of the read value.
    type Value: Listed;
    /// What of it a message may contain.
    const SHOWN: Shown = Shown::Open;

    /// Reads the value, or returns what was found and what is allowed.
    fn take(found: &Value) -> Result<Self::Value, String>;

    /// Returns the value of an environment variable as a file would have it.
    fn of_variable(text: &str) -> ValueKind {
        ValueKind::from(text)
    }
}

impl<S: Scalar> Kind for S {
    type Value = S::Value;

    fn read(at: &Section<'_>) -> Option<Self::Value> {
        S::take(at.value()).map_err(|message| at.refuse(message, None)).ok()
    }

    fn list(value: &Self::Value) -> Value {
        value.listed()
    }

    fn form(_found: &Value) -> Option<String> {
        Some("\"…\"".to_owned())
    }

    fn keys(path: &[&'static str]) -> Vec<Key> {
        vec![Key { path: path.to_vec(), shown: S::SHOWN, single: Some(S::of_variable), lists: Vec::new() }]
    }
}

/// A value with its form in the configuration.
pub(super) trait Listed: Clone {
    /// Returns it in the form of the configuration.
    fn listed(&self) -> Value;
}

macro_rules! listed {
    ($($value:ty: |$it:ident| $text:expr;)*) => {
        $(impl super::kind::Listed for $value {
            fn listed(&self) -> serde_json::Value {
                let $it = self;
                serde_json::json!($text)
            }
        })*
    };
}
pub(super) use listed;

listed! {
    bool: |it| it;
    u16: |it| it;
    u32: |it| it;
    f64: |it| it;
    String: |it| it;
    PathBuf: |it| it.to_string_lossy();
    Duration: |it| duration::text(*it);
    Option<Duration>: |it| it.map_or_else(|| "none".to_owned(), duration::text);
    Mode: |it| it.word();
    OnExhausted: |it| on_exhausted(*it);
    TaskKind: |it| it.word();
}

/// A list. An unreadable element is reported, and keeps its place.
pub(super) struct List<K>(PhantomData<K>);

impl<K: Kind> Kind for List<K> {
    type Value = Vec<Option<K::Value>>;

    fn read(at: &Section<'_>) -> Option<Self::Value> {
        if at.value().is_array() {
            let one = |element: Section<'_>| if element.value().is_null() { None } else { K::read(&element) };
            return Some(at.elements().map(one).collect());
        }
        let hint = match (at.value(), at.key()) {
            (Value::Object(_), Some(key)) => Some(format!("write [[{key}]], with two brackets")),
            (Value::String(_), Some(key)) => {
                K::form(at.value()).map(|form| format!("write {key} = [{form}]"))
            }
            _ => None,
        };
        at.refuse(format!("found {}; a list is needed", kind(at.value())), hint);
        None
    }

    fn list(value: &Self::Value) -> Value {
        value.iter().flatten().map(K::list).collect()
    }

    fn keys(path: &[&'static str]) -> Vec<Key> {
        K::keys(path).into_iter().map(|key| key.in_a_list_at(path.len())).collect()
    }
}

/// A table whose keys are free names.
pub(super) struct Named<K>(PhantomData<K>);

impl<K: Kind> Kind for Named<K> {
    type Value = BTreeMap<String, K::Value>;

    fn read(at: &Section<'_>) -> Option<Self::Value> {
        is_table(at, || None).then(|| {
            at.entries().filter_map(|(name, here)| Some((name.to_owned(), K::read(&here)?))).collect()
        })
    }

    fn list(value: &Self::Value) -> Value {
        value.iter().map(|(name, value)| (name.clone(), K::list(value))).collect()
    }

    fn keys(path: &[&'static str]) -> Vec<Key> {
        K::keys(&[path, &[ANY]].concat()).into_iter().map(Key::in_a_list).collect()
    }
}

/// Returns whether this is a table; otherwise adds the problem, with the right `form`.
pub(super) fn is_table(at: &Section<'_>, form: impl FnOnce() -> Option<String>) -> bool {
    let is_one = at.value().is_object();
    if !is_one {
        let hint = form().map(|form| match at.key() {
            Some(key) => format!("write {key} = {form}"),
            None => format!("write {form}"),
        });
        // Never the value: a secret may be in the place of a table.
        at.refuse(format!("found {}; a table is needed", kind(at.value())), hint);
    }
    is_one
}

/// Returns the found value, for a message.
pub(super) fn describe(found: &Value) -> String {
    match found {
        Value::String(text) => format!("\"{}\"", shown(text, 60)),
        Value::Number(number) => format!("the number {number}"),
        Value::Bool(truth) => truth.to_string(),
        other => kind(other).to_owned(),
    }
}

/// Returns the kind of the found value, without the value.
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
    type Value = Self;

    fn take(found: &Value) -> Result<Self, String> {
        found.as_bool().ok_or_else(|| needed(found, "true or false (without quotes)"))
    }

    fn of_variable(text: &str) -> ValueKind {
        text.parse::<Self>().map_or_else(|_| text.into(), ValueKind::Boolean)
    }
}

impl Scalar for u32 {
    type Value = Self;

    fn take(found: &Value) -> Result<Self, String> {
        found
            .as_u64()
            .and_then(|number| Self::try_from(number).ok())
            .ok_or_else(|| needed(found, &format!("a whole number from 0 to {}", Self::MAX)))
    }

    fn of_variable(text: &str) -> ValueKind {
        text.parse().map_or_else(|_| text.into(), ValueKind::I64)
    }
}

impl Scalar for f64 {
    type Value = Self;

    fn take(found: &Value) -> Result<Self, String> {
        found.as_f64().ok_or_else(|| needed(found, "a number"))
    }
}

impl Scalar for Duration {
    type Value = Self;

    fn take(found: &Value) -> Result<Self, String> {
        let Some(text) = found.as_str() else { return Err(needed(found, duration::EXPECTED)) };
        duration::parse(text).map_err(|error| format!("found {}; {error}", describe(found)))
    }
}

/// Text that is close to secrets, and is never shown; nor is any other value in its place.
impl Scalar for String {
    type Value = Self;
    const SHOWN: Shown = Shown::Never;

    fn take(found: &Value) -> Result<Self, String> {
        found
            .as_str()
            .map(Self::from)
            .ok_or_else(|| format!("found {}; text in quotes is needed", kind(found)))
    }
}

/// Text that is no secret.
pub(super) struct Word;

impl Scalar for Word {
    type Value = String;

    fn take(found: &Value) -> Result<String, String> {
        String::take(found)
    }
}

/// A duration above zero.
pub(super) struct Positive<T>(PhantomData<T>);

impl Scalar for Positive<Duration> {
    type Value = Duration;

    fn take(found: &Value) -> Result<Duration, String> {
        let duration = Duration::take(found)?;
        if duration.is_zero() {
            Err("found \"0s\"; a longer duration is needed".to_owned())
        } else {
            Ok(duration)
        }
    }
}

/// A number that is one or more, and finite.
pub(super) struct AtLeastOne<T>(PhantomData<T>);

impl<T> Scalar for AtLeastOne<T>
where
    T: Scalar<Value = T> + Listed + Copy + Into<f64> + std::fmt::Display,
{
    type Value = T;

    fn take(found: &Value) -> Result<T, String> {
        let number = T::take(found)?;
        let is_one = number.into().is_finite() && number.into() >= 1.0;
        if is_one { Ok(number) } else { Err(format!("found {number}; at least 1 is needed")) }
    }

    fn of_variable(text: &str) -> ValueKind {
        T::of_variable(text)
    }
}

/// A part of a whole.
pub(super) struct Ratio;

impl Scalar for Ratio {
    type Value = f64;

    fn take(found: &Value) -> Result<f64, String> {
        let ratio = f64::take(found)?;
        if (0.0..=1.0).contains(&ratio) {
            Ok(ratio)
        } else {
            Err(format!("found {ratio}; 0 to 1 is allowed"))
        }
    }
}

/// A duration above zero, or `"none"` for no end.
pub(super) struct Endless;

impl Scalar for Endless {
    type Value = Option<Duration>;

    fn take(found: &Value) -> Result<Self::Value, String> {
        if found.as_str() == Some("none") {
            return Ok(None);
        }
        match Duration::take(found) {
            Ok(Duration::ZERO) => Err("found \"0s\"; a longer duration is needed, or \"none\"".to_owned()),
            Ok(duration) => Ok(Some(duration)),
            Err(error) => Err(format!("{error} (or \"none\")")),
        }
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
    type Value = Self;

    fn take(found: &Value) -> Result<Self, String> {
        word(found, &[Self::DryRun, Self::Enforce].map(|mode| (mode.word(), mode)))
    }
}

impl Scalar for OnExhausted {
    type Value = Self;

    fn take(found: &Value) -> Result<Self, String> {
        word(found, &[Self::Abort, Self::Escalate].map(|what| (on_exhausted(what), what)))
    }
}

fn on_exhausted(what: OnExhausted) -> &'static str {
    match what {
        OnExhausted::Abort => "abort",
        OnExhausted::Escalate => "escalate",
    }
}

impl Scalar for TaskKind {
    type Value = Self;

    fn take(found: &Value) -> Result<Self, String> {
        word(found, &Self::ALL.map(|kind| (kind.word(), kind)))
    }
}

/// A reference to a secret: exactly one of the three keys, with text. No found value is repeated:
/// it may be the secret itself.
impl Kind for SecretReference {
    type Value = Self;

    fn read(at: &Section<'_>) -> Option<Self> {
        let Value::Object(table) = at.value() else {
            let message = format!(
                "found {} (not shown); the configuration never contains a secret, only a reference to it",
                kind(at.value())
            );
            let hint = "write { credential = \"NAME\" } (systemd), { file = \"/PATH\" } or { env = \"NAME\" }; \
                        and change the secret if others could read this file";
            at.refuse(message, Some(hint.to_owned()));
            return None;
        };
        Self::of(table).map_err(|message| at.refuse(message, None)).ok()
    }

    fn list(value: &Self) -> Value {
        match value {
            Self::Credential(name) => json!({ "credential": name }),
            Self::File(path) => json!({ "file": path.to_string_lossy() }),
            Self::Environment(name) => json!({ "env": name }),
        }
    }

    fn keys(path: &[&'static str]) -> Vec<Key> {
        let key =
            |name, shown| Key { path: [path, &[name]].concat(), shown, single: None, lists: Vec::new() };
        let whole = Key { path: path.to_vec(), shown: Shown::Never, single: None, lists: Vec::new() };
        vec![
            whole,
            key("credential", Shown::Like(|text| Self::credential(text).is_ok())),
            key("file", Shown::Like(|text| Self::file(text).is_ok())),
            key("env", Shown::Like(|text| Self::environment(text).is_ok())),
        ]
    }

    fn reference(value: &Self) -> Option<&SecretReference> {
        Some(value)
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
        assert_eq!(Endless::take(&json!("none")), Ok(None));
        assert_eq!(Endless::take(&json!("1d")), Ok(Some(Duration::from_hours(24))));
        assert!(error::<Endless>(&json!("never")).contains("\"none\""));
    }
}
