//! Circles of imports: modules beside each other, each of which leads back to itself.
//!
//! A module and those in its folder are one to those outside, so that a parent may use its children and they it. Who
//! names something that a parent passes on (`pub use b::X`) uses the one that it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::source::Source;

/// A circle: the folder, and the modules in it that reach each other.
pub(crate) struct Circle {
    pub(crate) folder: String,
    pub(crate) members: BTreeSet<String>,
    /// For each import in it one place that makes it.
    pub(crate) places: Vec<String>,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = if self.folder.is_empty() { "the crate" } else { &self.folder };
        let members: Vec<&str> = self.members.iter().map(String::as_str).collect();
        write!(f, "in {folder} these use each other in a circle: {}", members.join(", "))?;
        self.places.iter().try_for_each(|place| write!(f, "\n    {place}"))
    }
}

/// Which child of a folder uses which other, and one place that shows it.
type Uses = BTreeMap<(String, String), String>;

/// Every circle.
pub(crate) fn circles(sources: &[Source]) -> Vec<Circle> {
    let modules: BTreeMap<Vec<String>, &Source> =
        sources.iter().map(|source| (source.module(), source)).collect();
    let mut folders: BTreeMap<String, Uses> = BTreeMap::new();
    for source in sources {
        let from = source.module();
        for (path, line) in source.uses() {
            let Some(to) = owner(&path, &modules, 0) else { continue };
            let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
            if let (Some(user), Some(used)) = (from.get(common), to.get(common)) {
                let place = format!("{}:{line} uses {}", source.place, path.join("::"));
                let uses = folders.entry(from[..common].join("::")).or_default();
                uses.entry((user.clone(), used.clone())).or_insert(place);
            }
        }
    }
    folders.iter().flat_map(|(folder, uses)| circles_of(folder, uses)).collect()
}

/// The module in which this path ends: through whatever a module passes on.
fn owner(path: &[String], modules: &BTreeMap<Vec<String>, &Source>, passed: usize) -> Option<Vec<String>> {
    // Nothing is passed on so often but in a circle.
    if passed > 20 {
        return None;
    }
    let mut module = Vec::new();
    for (at, part) in path.iter().enumerate() {
        let child = [&module[..], std::slice::from_ref(part)].concat();
        if modules.contains_key(&child) {
            module = child;
            continue;
        }
        let passed_on = modules.get(&module).and_then(|source| {
            let mut whole = source.absolute(std::slice::from_ref(part), &module)?;
            whole.extend_from_slice(&path[at + 1..]);
            (whole[..] != path[..]).then_some(whole)
        });
        return match passed_on {
            Some(whole) => owner(&whole, modules, passed + 1),
            None => Some(module),
        };
    }
    Some(module)
}

/// The modules of one folder that reach each other.
fn circles_of(folder: &str, uses: &Uses) -> Vec<Circle> {
    let reached = |from: &String| {
        let (mut reached, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(user) = left.pop() {
            let next = uses.keys().filter(|(by, used)| by == user && !reached.contains(used));
            let next: Vec<&String> = next.map(|(_, used)| used).collect();
            reached.extend(next.iter().copied());
            left.extend(next);
        }
        reached
    };
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        uses.keys().map(|(user, _)| (user, reached(user))).collect();
    let mut found: BTreeMap<BTreeSet<String>, Vec<String>> = BTreeMap::new();
    for (user, all) in &reach {
        let members: BTreeSet<String> = all
            .iter()
            .filter(|other| reach.get(**other).is_some_and(|back| back.contains(user)))
            .map(|member| (*member).clone())
            .collect();
        if members.len() > 1 {
            let inside = uses.iter().filter(|((by, used), _)| members.contains(by) && members.contains(used));
            let places = inside.map(|((by, used), place)| format!("{by} → {used}: {place}")).collect();
            found.insert(members, places);
        }
    }
    found.into_iter().map(|(members, places)| Circle { folder: folder.to_owned(), members, places }).collect()
}
