//! Tables of the configuration, each declared once: its keys with their kinds. Reading, the known
//! keys, the listing of values, what of them may be shown and the places of secrets derive from the
//! declaration.

use std::marker::PhantomData;

use serde_json::Value;

use super::kind::{Kind, is_table};
use super::reference::SecretReference;
use super::schema::Key;
use super::section::{Section, Unknown};

/// Known keys.
pub(super) trait Keyed {
    /// Returns the keys, at this path.
    fn keys(path: &[&'static str]) -> Vec<Key>;
}

/// A table that [`table!`] declares.
pub(super) trait Table: Keyed + Clone {
    /// Its keys, in the order in which they are listed.
    const KEYS: &'static [&'static str];

    /// Reads it. Returns `None` if a required key is missing or cannot be read. `needed` says why
    /// it is required; if that is unknown, a missing key is not reported.
    fn read(at: &Section<'_>, needed: &str) -> Option<Self>;

    /// Returns its values.
    fn list(&self) -> Vec<(&'static str, Value)>;

    /// Returns the references to secrets, with their keys.
    fn references(&self) -> Vec<(&'static str, &SecretReference)>;
}

/// The help for a table in another form.
pub(super) trait Help {
    /// Returns the table in its right form, with what the value in its place provides.
    fn form(_found: &Value, keys: &[&str]) -> String {
        let keys: Vec<_> = keys.iter().map(|key| format!("{key} = …")).collect();
        format!("{{ {} }}", keys.join(", "))
    }

    /// Returns what is wrong with an unknown key, if more is known of it.
    fn unknown(_key: &str) -> Option<Unknown> {
        None
    }
}

/// Makes the help that derives from the keys.
pub(super) struct Plain;

impl Help for Plain {}

/// A table as a kind of value.
pub(super) struct Of<T, H = Plain>(PhantomData<(T, H)>);

impl<T: Table, H: Help> Kind for Of<T, H> {
    type Value = T;

    fn read(at: &Section<'_>) -> Option<T> {
        if !is_table(at, || Self::form(at.value())) {
            return None;
        }
        at.only(T::KEYS, H::unknown);
        T::read(at, "")
    }

    fn form(found: &Value) -> Option<String> {
        Some(H::form(found, T::KEYS))
    }

    fn list(value: &T) -> Value {
        value.list().into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn keys(path: &[&'static str]) -> Vec<Key> {
        T::keys(path)
    }
}

/// A table that is read when it is checked: here, only that it is one.
pub(super) struct Later<T>(PhantomData<T>);

impl<T: Keyed> Kind for Later<T> {
    type Value = ();

    fn read(at: &Section<'_>) -> Option<()> {
        is_table(at, || None).then_some(())
    }

    fn list((): &()) -> Value {
        Value::Null
    }

    fn keys(path: &[&'static str]) -> Vec<Key> {
        T::keys(path)
    }
}

/// Declares a [`Table`]. Where it is public, each kind is followed by the type of its values. The fields bear the names of the keys, or are given them (`matches = "match": …`); those that
/// it `may` have are options. `of TARGET`: every key has a field of the same name there, and its default.
macro_rules! table {
    (
        $(#[$meta:meta])* $vis:vis struct $name:ident {
            needs { $($(#[$nmeta:meta])* $need:ident $(= $nkey:literal)?: $nkind:ty $(as $ntype:ty)?,)* }
            may { $($(#[$mmeta:meta])* $may:ident $(= $mkey:literal)?: $mkind:ty $(as $mtype:ty)?,)* }
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $($(#[$nmeta])* $vis $need: $crate::configuration::table::table!(@value $nkind $(, $ntype)?),)*
            $($(#[$mmeta])* $vis $may: Option<$crate::configuration::table::table!(@value $mkind $(, $mtype)?)>,)*
        }

        impl $crate::configuration::table::Keyed for $name {
            fn keys(path: &[&'static str]) -> Vec<$crate::configuration::schema::Key> {
                let _ = path;
                let tables: &[Vec<$crate::configuration::schema::Key>] = &[
                    $(<$nkind as $crate::configuration::kind::Kind>::keys(&[path, &[$crate::configuration::table::table!(@key $need $($nkey)?)]].concat()),)*
                    $(<$mkind as $crate::configuration::kind::Kind>::keys(&[path, &[$crate::configuration::table::table!(@key $may $($mkey)?)]].concat()),)*
                ];
                tables.concat()
            }
        }

        impl $crate::configuration::table::Table for $name {
            const KEYS: &'static [&'static str] = &[
                $($crate::configuration::table::table!(@key $need $($nkey)?),)*
                $($crate::configuration::table::table!(@key $may $($mkey)?),)*
            ];

            fn read(at: &$crate::configuration::section::Section<'_>, needed: &str) -> Option<Self> {
                // A table may have no keys, or need none.
                let _ = (at, needed);
                $(let $need = <$nkind as $crate::configuration::kind::Kind>::get(at, $crate::configuration::table::table!(@key $need $($nkey)?));)*
                $(let $may = <$mkind as $crate::configuration::kind::Kind>::get(at, $crate::configuration::table::table!(@key $may $($mkey)?));)*
                $(if $need.is_none() && !needed.is_empty() {
                    let key = $crate::configuration::table::table!(@key $need $($nkey)?);
                    at.missing(key, format!("missing; {needed}"));
                })*
                Some(Self { $($need: $need?,)* $($may,)* })
            }

            fn list(&self) -> Vec<(&'static str, serde_json::Value)> {
                let needed: &[(&'static str, serde_json::Value)] = &[
                    $(($crate::configuration::table::table!(@key $need $($nkey)?), <$nkind as $crate::configuration::kind::Kind>::list(&self.$need)),)*
                ];
                let more: &[Option<(&'static str, serde_json::Value)>] = &[
                    $(self.$may.as_ref().map(|value| {
                        ($crate::configuration::table::table!(@key $may $($mkey)?), <$mkind as $crate::configuration::kind::Kind>::list(value))
                    }),)*
                ];
                needed.iter().chain(more.iter().flatten()).cloned().collect()
            }

            fn references(&self) -> Vec<(&'static str, &$crate::configuration::reference::SecretReference)> {
                let all: &[Option<(&'static str, &$crate::configuration::reference::SecretReference)>] = &[
                    $(<$nkind as $crate::configuration::kind::Kind>::reference(&self.$need)
                        .map(|of| ($crate::configuration::table::table!(@key $need $($nkey)?), of)),)*
                    $(self.$may.as_ref().and_then(<$mkind as $crate::configuration::kind::Kind>::reference)
                        .map(|of| ($crate::configuration::table::table!(@key $may $($mkey)?), of)),)*
                ];
                all.iter().flatten().copied().collect()
            }
        }
    };
    (
        $(#[$meta:meta])* $vis:vis struct $name:ident of $target:path {
            $($(#[$kmeta:meta])* $key:ident: $kind:ty,)*
        }
    ) => {
        $crate::configuration::table::table! { $(#[$meta])* $vis struct $name { $($(#[$kmeta])* $key: $kind,)* } }

        impl $name {
            /// With the defaults of what is absent.
            pub(super) fn or(self, default: $target) -> $target {
                $target { $($key: self.$key.unwrap_or(default.$key),)* }
            }

            /// With every key.
            pub(super) fn with_all_of(target: &$target) -> Self {
                Self { $($key: Some(target.$key.clone()),)* }
            }
        }
    };
    (
        $(#[$meta:meta])* $vis:vis struct $name:ident {
            $($(#[$kmeta:meta])* $key:ident $(= $text:literal)?: $kind:ty,)*
        }
    ) => {
        $crate::configuration::table::table! {
            $(#[$meta])* #[derive(Default)] $vis struct $name { needs {} may { $($(#[$kmeta])* $key $(= $text)?: $kind,)* } }
        }
    };
    (@value $kind:ty) => { <$kind as $crate::configuration::kind::Kind>::Value };
    (@value $kind:ty, $value:ty) => { $value };
    (@key $key:ident) => { stringify!($key) };
    (@key $key:ident $text:literal) => { $text };
}
pub(super) use table;
