//! The properties of every key before a file is read: its place, what of its value may be shown,
//! and whether the environment can override it. The tables declare their keys once
//! ([`super::table`]); all of this derives from that.

use std::collections::BTreeMap;

use config::ValueKind;

/// The placeholder in a path for free names: `credentials.*.type`.
pub(super) const ANY: &str = "*";

/// What of a value a message may contain.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shown {
    /// Every value, wherever a key of this name is: it is no secret.
    Open,
    /// A text like this, wherever a key of this name is.
    Like(fn(&str) -> bool),
    /// A text like this, in this place alone: elsewhere the same name may have a secret.
    Here(fn(&str) -> bool),
    /// Nothing.
    Never,
}

/// One key.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// Without the places in lists.
    pub(super) path: Vec<&'static str>,
    pub(super) shown: Shown,
    /// A single value, and how a variable of the environment is read as one.
    pub(super) single: Option<fn(&str) -> ValueKind>,
}

impl Key {
    /// Returns the same, without an override by a variable.
    pub(super) fn in_a_list(self) -> Self {
        Self { single: None, ..self }
    }
}

/// What of which values may be shown.
#[derive(Debug, Default)]
pub(super) struct Masking {
    named: BTreeMap<&'static str, Vec<Shown>>,
    placed: Vec<Key>,
}

impl Masking {
    /// Makes that of these keys.
    pub(super) fn new(keys: Vec<Key>) -> Self {
        let mut masking = Self::default();
        for key in keys {
            match (key.path.last(), key.shown) {
                (Some(name), shown) if *name != ANY => masking.named.entry(*name).or_default().push(shown),
                _ => {}
            }
            masking.placed.push(key);
        }
        masking.placed.retain(|key| matches!(key.shown, Shown::Here(_)) || key.path.last() == Some(&ANY));
        masking
    }

    /// Returns whether no value of a key of this name can be a secret, wherever it is.
    pub(super) fn is_open(&self, name: &str) -> bool {
        self.named.get(name).is_some_and(|all| all.iter().all(|shown| matches!(shown, Shown::Open)))
    }

    /// Returns whether the value at this path, a text or another, can be no secret.
    pub(super) fn shows(&self, path: &[&str], text: Option<&str>) -> bool {
        let Some(name) = path.last() else { return false };
        let anywhere = |shown: &Shown| match shown {
            Shown::Open => true,
            Shown::Like(fits) => text.is_some_and(fits),
            Shown::Here(_) | Shown::Never => false,
        };
        let here = |key: &Key| {
            key.path.len() == path.len()
                && key.path.iter().zip(path).all(|(known, found)| *known == ANY || known == found)
                && match key.shown {
                    Shown::Here(fits) => text.is_some_and(fits),
                    ref shown => anywhere(shown),
                }
        };
        self.named.get(name).is_some_and(|all| all.iter().all(anywhere)) || self.placed.iter().any(here)
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn a_text_where_a_reference_to_a_secret_should_be_is_never_shown() {
        let keys = check::keys();
        let masking = Masking::new(keys.clone());
        let named = |name: &str| keys.iter().filter(|key| key.path.ends_with(&[name])).collect::<Vec<_>>();
        let secrets = ["access_key", "secret_key", "security_token", "token", "password", "url", "secret"];
        for name in secrets.into_iter().chain(["hmac_secret", "proxy_password"]) {
            assert!(!masking.is_open(name), "{name}");
            assert!(!named(name).is_empty(), "{name}");
            for key in named(name) {
                assert!(!masking.shows(&key.path, Some("canary")), "{key:?}");
            }
        }
    }

    #[test]
    fn an_address_is_shown_where_it_can_be_no_secret() {
        let masking = Masking::new(check::keys());
        for (path, text, shown) in [
            (&["project", "endpoint"][..], "https://css.example:8443", true),
            (&["project", "endpoint"], "css.eu-west-101.example", true),
            (&["channel", "endpoint"], "https://hooks.example/canary", false),
            (&["channel", "proxy"], "http://canary@proxy:3128", false),
            (&["channel", "endpoint"], "canary", false),
            (&["poll", "endpoint"], "https://css.example", false),
        ] {
            assert_eq!(masking.shows(path, Some(text)), shown, "{path:?} {text}");
        }
    }
}
