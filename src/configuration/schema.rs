//! The properties of every key before a file is read: its place, what of its value may be shown,
//! and whether the environment can override it. The tables declare their keys once
//! ([`super::table`]); all of this derives from that.

use std::collections::BTreeMap;

use config::ValueKind;

/// The placeholder in a path for free names: `credentials.*.type`.
pub(super) const ANY: &str = "*";

/// A key that is known in more places than this is of so general a name that they say nothing.
const MAX_PLACES: usize = 3;

/// What of a value may stand in a message.
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
    /// The lengths of those parts of the path that lead to an element of a list of tables.
    pub(super) lists: Vec<usize>,
}

impl Key {
    /// Returns the same, without an override by a variable.
    pub(super) fn in_a_list(self) -> Self {
        Self { single: None, ..self }
    }

    /// The same, in a list at a part of its path of this length.
    pub(super) fn in_a_list_at(mut self, length: usize) -> Self {
        if length < self.path.len() {
            self.lists.push(length);
        }
        self.in_a_list()
    }

    /// The table at the part of its path of this length, as a file writes its head.
    fn head(&self, length: usize) -> String {
        match self.path.get(..length).unwrap_or_default() {
            [list] if self.lists.contains(&length) => format!("[[{list}]]"),
            [around @ .., list] if self.lists.contains(&length) => {
                format!("an entry of {list} in {}", self.head(around.len()))
            }
            path => format!("[{}]", path.join(".").replace(ANY, "NAME")),
        }
    }
}

/// Where the key `name`, which is not known in the table at `path`, is known instead: in a few words, and whether there
/// is one such place only. `is_table`: a table stands there, or a list.
pub(super) fn elsewhere(keys: &[Key], path: &[&str], name: &str, is_table: bool) -> Option<(String, bool)> {
    let (mut values, mut tables) = (Vec::new(), Vec::new());
    for key in keys {
        let Some(at) = key.path.iter().position(|step| *step == name) else { continue };
        let parent = key.path.get(..at).unwrap_or_default();
        let is_here = parent.len() == path.len()
            && parent.iter().zip(path).all(|(known, found)| *known == ANY || known == found);
        // The keys of a reference to a secret belong to it alone.
        if is_here || keys.iter().any(|key| key.path == parent) {
            continue;
        }
        let is_list = key.lists.contains(&(at + 1));
        let (places, place) = if at + 1 < key.path.len() && (at == 0 || !is_list) {
            (&mut tables, key.head(at + 1))
        } else if at == 0 {
            (&mut values, "at the top of config.toml, before the first [section]".to_owned())
        } else {
            (&mut values, format!("in {}", key.head(at)))
        };
        let place = (key.path.first().copied(), place);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let as_table = values.is_empty() || (is_table && !tables.is_empty());
    let (what, mut places) = if as_table { ("write it as", tables) } else { ("it belongs", values) };
    // A table of the same part of the configuration is more likely meant.
    let is_near = |place: &(Option<&str>, String)| place.0 == path.first().copied();
    if places.iter().any(is_near) {
        places.retain(is_near);
    }
    let places: Vec<String> = places.into_iter().map(|(_, place)| place).collect();
    let is_clear = (1..=MAX_PLACES).contains(&places.len());
    is_clear.then(|| (format!("{what} {}", places.join(", or ")), places.len() == 1))
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

    /// Whether a key of this name is known somewhere.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// Whether no value of a key of this name can be a secret, wherever it stands.
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
