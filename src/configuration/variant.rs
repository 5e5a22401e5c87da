//! Tables that differ by their `type`: each type is a [`Table`](super::table::Table) of its own.

use serde_json::Value;

use super::reference::SecretReference;
use super::section::Section;

/// Tables of several types that [`variants!`] declares.
pub(super) trait Variants: Sized {
    /// The words of `type`.
    const WORDS: &'static [&'static str];

    /// The keys of this type.
    fn keys_of(word: &str) -> &'static [&'static str];

    /// Reads a table of this type. `needed` says why a missing key is required.
    fn read(word: &str, at: &Section<'_>, needed: &str) -> Option<Self>;

    /// Returns the values, without `type`.
    fn list(&self) -> Vec<(&'static str, Value)>;

    /// The references to secrets, with their keys.
    fn references(&self) -> Vec<(&'static str, &SecretReference)>;
}

/// How problems of a type are reported.
pub(super) struct Wording {
    /// There is no `type`.
    pub(super) missing: &'static str,
    /// It is an unknown word.
    pub(super) unknown: &'static str,
    /// `credentials of type`
    pub(super) of: &'static str,
    pub(super) need: &'static str,
    pub(super) have: &'static str,
}

impl Wording {
    /// Reads the table of the type that was `written`. `more` returns the keys that a table of a
    /// type may have beside its own. If the type is unknown, its keys are checked all the same.
    pub(super) fn read<V: Variants>(
        &self,
        section: &Section<'_>,
        written: Option<&str>,
        more: impl Fn(&str) -> Vec<&'static str>,
    ) -> Option<V> {
        let known = |word: &str| [&["type"], V::keys_of(word), more(word).as_slice()].concat();
        let all: Vec<&str> = V::WORDS.iter().flat_map(|word| known(word)).collect();
        let Some(kind) = written.filter(|kind| V::WORDS.contains(kind)) else {
            self.refuse::<V>(section, written);
            section.only(&all, |_| None);
            for word in V::WORDS {
                V::read(word, section, "");
            }
            return None;
        };
        let of = format!("{} \"{kind}\"", self.of);
        section.only(&known(kind), |key| {
            all.contains(&key).then(|| (format!("{of} {} no such key", self.have), None))
        });
        V::read(kind, section, &format!("{of} {} it", self.need))
    }

    /// The word is not repeated: it may be among secrets.
    fn refuse<V: Variants>(&self, section: &Section<'_>, written: Option<&str>) {
        let allowed = V::WORDS.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let Some(written) = written else {
            return section.missing("type", self.missing.replace("{allowed}", &allowed));
        };
        let message = format!("{}; allowed: {allowed}", self.unknown);
        match section.nearest(written, V::WORDS.iter().copied()) {
            Some(near) => section.error_with_hint("type", message, format!("did you mean \"{near}\"?")),
            None => section.error("type", message),
        }
    }
}

/// Declares [`Variants`] as an enum of tables.
macro_rules! variants {
    (
        $(#[$meta:meta])* $vis:vis enum $name:ident {
            $($(#[$vmeta:meta])* $word:literal => $variant:ident,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        $vis enum $name {
            $($(#[$vmeta])* $variant($variant),)*
        }

        impl $name {
            /// The word under `type`.
            pub fn word(&self) -> &'static str {
                match self { $(Self::$variant(_) => $word,)* }
            }
        }

        impl $crate::configuration::table::Keyed for $name {
            fn keys(path: &[&'static str]) -> Vec<$crate::configuration::schema::Key> {
                [$(<$variant as $crate::configuration::table::Keyed>::keys(path),)*].concat()
            }
        }

        impl $crate::configuration::variant::Variants for $name {
            const WORDS: &'static [&'static str] = &[$($word,)*];

            fn keys_of(word: &str) -> &'static [&'static str] {
                match word { $($word => <$variant as $crate::configuration::table::Table>::KEYS,)* _ => &[] }
            }

            fn read(word: &str, at: &$crate::configuration::section::Section<'_>, needed: &str) -> Option<Self> {
                match word {
                    $($word => <$variant as $crate::configuration::table::Table>::read(at, needed).map(Self::$variant),)*
                    _ => None,
                }
            }

            fn list(&self) -> Vec<(&'static str, serde_json::Value)> {
                match self { $(Self::$variant(one) => $crate::configuration::table::Table::list(one),)* }
            }

            fn references(&self) -> Vec<(&'static str, &$crate::configuration::reference::SecretReference)> {
                match self { $(Self::$variant(one) => $crate::configuration::table::Table::references(one),)* }
            }
        }
    };
}
pub(super) use variants;
