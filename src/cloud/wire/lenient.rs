//! Field types that accept what the API may send instead of what it documents: null, a number for a
//! text, a text for a number, one object for a list. The original kind stays visible, for the
//! fields where it matters.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use jiff::civil::DateTime;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// One field of any type.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Loose<'a> {
    /// The field is not there.
    #[default]
    Absent,
    /// `null`.
    Null,
    /// A text.
    Text(Cow<'a, str>),
    /// A number, as text.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
    /// A list, which is not kept.
    List,
    /// An object, which is not kept.
    Object,
}

impl Loose<'_> {
    /// Returns the found kind, in a word.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Null => "null",
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::Bool(_) => "a truth value",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }

    /// Returns a text, also if it was sent as a number or a truth value; otherwise `None`.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Number(number) => Some(Cow::Borrowed(number)),
            Self::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Self::Absent | Self::Null | Self::List | Self::Object => None,
        }
    }

    /// A text that is not empty.
    pub(super) fn filled(&self) -> Option<Cow<'_, str>> {
        self.text().filter(|text| !text.trim().is_empty())
    }

    /// Returns the text, or an empty one.
    pub(super) fn text_or_empty(&self) -> String {
        self.text().map(Cow::into_owned).unwrap_or_default()
    }

    /// Returns a whole number that is not negative, also if it was sent as text.
    pub(super) fn whole_number(&self) -> Option<u64> {
        match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Number(number) => number.parse().ok(),
            Self::Absent | Self::Null | Self::Bool(_) | Self::List | Self::Object => None,
        }
    }

    /// A time without a zone: `CCYY-MM-DDThh:mm:ss`, a fraction and a `Z` at its end being tolerated. Nothing
    /// shorter, and no other offset: it would mean another time.
    pub(super) fn time(&self) -> Option<DateTime> {
        let Self::Text(text) = self else { return None };
        let text = text.trim();
        let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
        let (whole, fraction) = text.split_at_checked(19)?;
        if fraction.is_empty() {
            return whole.parse().ok();
        }
        let is_fraction = fraction
            .strip_prefix('.')
            .is_some_and(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()));
        // Fractions finer than a nanosecond would not be parsed, and are not used.
        let fraction = fraction.get(..fraction.len().min(10))?;
        is_fraction.then(|| format!("{whole}{fraction}").parse().ok()).flatten()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LooseVisitor;

        impl<'de> Visitor<'de> for LooseVisitor {
            type Value = Loose<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Loose::Null)
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Loose::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Loose::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Loose::Bool(value))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Loose::Number(number.to_string()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Loose::Number(number.to_string()))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Loose::Number(format!("{number:?}")))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Loose::List)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Loose::Object)
            }
        }

        deserializer.deserialize_any(LooseVisitor)
    }
}

/// An object, or nothing if the value is of another kind.
#[derive(Debug, Clone)]
pub(super) struct Object<T>(pub(super) Option<T>);

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(object)).map(|value| Object(Some(value)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Object(None))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Object(None))
            }
            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Object(None))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Object(None))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Object(None))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Object(None))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Object(None))
            }
        }

        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

/// A list, kept as it was received and read only on demand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct List<'a>(Option<&'a RawValue>);

impl<'a> List<'a> {
    /// Returns the found kind, in a word.
    pub(super) fn kind(self) -> &'static str {
        match self.0.map(|raw| raw.get().as_bytes()) {
            None => Loose::Absent.kind(),
            Some([b'[', ..]) => Loose::List.kind(),
            Some([b'{', ..]) => Loose::Object.kind(),
            Some(_) => self.other().kind(),
        }
    }

    /// What is neither a list nor an object.
    fn other(self) -> Loose<'a> {
        self.0.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    /// Returns whether the field is absent, or null.
    pub(super) fn is_absent(self) -> bool {
        self.0.is_none_or(|raw| raw.get() == "null")
    }

    /// Returns the elements of a list, and nothing of any other kind.
    pub(super) fn listed(self) -> Option<Vec<&'a RawValue>> {
        let text = self.0?.get();
        if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
    }

    /// Returns the elements; one object stands for a list of one and an empty text for an empty
    /// list; `None` if it cannot be read as a list.
    pub(super) fn elements(self) -> Option<Vec<&'a RawValue>> {
        let Some(raw) = self.0 else { return Some(Vec::new()) };
        match raw.get().as_bytes() {
            [b'[', ..] => self.listed(),
            [b'{', ..] => Some(vec![raw]),
            b"null" | b"\"\"" => Some(Vec::new()),
            _ => None,
        }
    }

    /// Names: a text with commas between them, or a list of texts; `None` for every other kind.
    pub(super) fn names(self) -> Option<Vec<String>> {
        let name = |raw: &RawValue| {
            let name = serde_json::from_str::<Loose<'_>>(raw.get()).ok()?;
            name.filled().map(|name| name.trim().to_owned())
        };
        match self.0.map(|raw| raw.get().as_bytes()) {
            None | Some(b"null" | b"[]" | b"\"\"") => Some(Vec::new()),
            Some([b'[', ..]) => self.listed()?.into_iter().map(name).collect(),
            Some([b'{', ..]) => None,
            Some(_) => self.other().text().map(|text| split_names(&text)),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'de RawValue>::deserialize(deserializer).map(|raw| Self(Some(raw)))
    }
}

/// Returns the names in a text with commas between them.
pub(super) fn split_names(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loose(json: &str) -> Loose<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn texts_and_numbers_stand_for_each_other() {
        assert_eq!(loose("7").text_or_empty(), "7");
        assert_eq!(loose("true").text_or_empty(), "true");
        assert_eq!(loose("\"a\\nb\"").text_or_empty(), "a\nb");
        for nothing in ["null", "[1,[2]]", "{\"a\":{}}"] {
            assert_eq!(loose(nothing).text(), None, "{nothing}");
        }
        for (json, number) in [
            ("7", Some(7)),
            ("\"7\"", Some(7)),
            ("\" 7 \"", Some(7)),
            ("-7", None),
            ("\"-7\"", None),
            ("7.0", None),
            ("\"x\"", None),
            ("\"\"", None),
            ("null", None),
            ("18446744073709551616", None),
        ] {
            assert_eq!(loose(json).whole_number(), number, "{json}");
        }
    }

    #[test]
    fn times_are_read_as_the_api_writes_them_and_nothing_else_is_guessed() {
        for (text, time) in [
            ("2023-01-05T02:23:39", Some("2023-01-05T02:23:39")),
            ("2023-01-05T02:23:39Z", Some("2023-01-05T02:23:39")),
            ("2023-01-05T02:23:39.5", Some("2023-01-05T02:23:39.5")),
            ("2023-01-05T02:23:39.123456789012Z", Some("2023-01-05T02:23:39.123456789")),
            ("2023-01-05 02:23:39", Some("2023-01-05T02:23:39")),
            ("2023-01-05T02:23:39+08:00", None),
            ("2023-01-05T02:23:39.", None),
            ("2023-01-05", None),
            ("2023-13-05T02:23:39", None),
            ("", None),
            ("ééééééééééééééééééé", None),
            ("1672885419000", None),
        ] {
            let expected: Option<DateTime> = time.map(|time| time.parse().unwrap());
            assert_eq!(Loose::Text(text.into()).time(), expected, "{text}");
        }
        assert_eq!(loose("1672885419000").time(), None);
    }

    #[test]
    fn names_come_with_commas_or_in_a_list() {
        for (json, names) in [
            ("\"a,b\"", Some(vec!["a", "b"])),
            ("\" a , ,b,\"", Some(vec!["a", "b"])),
            ("[\"a\", \"b \", 3]", Some(vec!["a", "b", "3"])),
            ("\"\"", Some(vec![])),
            ("[]", Some(vec![])),
            ("null", Some(vec![])),
            ("[\"a\", null]", None),
            ("[{\"name\":\"a\"}]", None),
            ("{\"a\":1}", None),
        ] {
            let list: List<'_> = serde_json::from_str(json).unwrap();
            let names = names.map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(list.names(), names, "{json}");
        }
    }
}
