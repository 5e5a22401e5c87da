//! Which project is which. The id identifies a project; its name is a label, which may change, be
//! exchanged, or be given to another project.

use std::collections::{BTreeMap, BTreeSet};

use super::id::{ProjectId, ProjectName};

/// A project as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: ProjectName,
    /// Its id; `None`: not known yet.
    pub id: Option<ProjectId>,
}

/// A rename of what the journal keeps of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The name until now.
    pub from: ProjectName,
    /// The name from now on.
    pub to: ProjectName,
    /// The project makes room for another one that takes its name. Holds on that name then apply to
    /// both.
    pub aside: bool,
}

/// The name under which the journal keeps each project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<ProjectName, ProjectId>);

/// The renames after which each project is kept under its present name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    /// The names after them.
    pub names: Names,
    /// To be done all at once: names may be exchanged.
    pub renames: Vec<Rename>,
}

impl Names {
    /// Returns which project is kept under this name, if known.
    pub fn id_of(&self, name: &ProjectName) -> Option<&ProjectId> {
        self.0.get(name)
    }

    /// Returns the name under which this project is kept.
    pub fn name_of(&self, id: &ProjectId) -> Option<&ProjectName> {
        self.0.iter().find(|(_, owner)| *owner == id).map(|(name, _)| name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&ProjectName, &ProjectId)> {
        self.0.iter()
    }

    /// Returns the renames after which the projects with known ids are kept under these names.
    /// While the id of a project is unknown, entries under its name stay. Entries under a name
    /// without a known project become those of the first project that takes the name, unless it has
    /// entries of its own. `taken`: whether there are entries under a name.
    pub fn naming(&self, wanted: &[Named], taken: impl Fn(&ProjectName) -> bool) -> Naming {
        let known = wanted.iter().filter_map(|project| Some((project.id.as_ref()?, &project.name)));
        let names_of: BTreeMap<&ProjectId, &ProjectName> = known.collect();
        let given: BTreeSet<&ProjectName> = names_of.values().copied().collect();
        let mut naming = Naming::default();
        let mut aside: Vec<(&ProjectName, Option<&ProjectId>)> = Vec::new();
        for (name, id) in &self.0 {
            match names_of.get(id) {
                Some(new) if *new == name => {}
                Some(new) => {
                    let (from, to) = (name.clone(), (*new).clone());
                    naming.renames.push(Rename { from, to, aside: false });
                    if !self.0.contains_key(*new) && taken(new) {
                        aside.push((new, None));
                    }
                }
                None if given.contains(name) => aside.push((name, Some(id))),
                None => drop(naming.names.0.insert(name.clone(), id.clone())),
            }
        }
        for (id, name) in names_of {
            naming.names.0.insert(name.clone(), id.clone());
        }
        for (from, id) in aside {
            let is_free = |name: &ProjectName| {
                !naming.names.0.contains_key(name)
                    && !self.0.contains_key(name)
                    && !wanted.iter().any(|project| project.name == *name)
                    && !taken(name)
            };
            let of = id.map_or(from.as_str(), ProjectId::as_str);
            let mut candidates =
                (1_u32..).filter_map(|n| ProjectName::new(&format!("former-{of:.100}-{n}")).ok());
            let Some(to) = candidates.find(is_free) else { continue };
            if let Some(id) = id {
                naming.names.0.insert(to.clone(), id.clone());
            }
            naming.renames.push(Rename { from: from.clone(), to, aside: true });
        }
        naming
    }

    /// Returns the present name of what will be this project's: `None` if there is nothing.
    pub fn source_of<'a>(&'a self, project: &'a Named, naming: &Naming) -> Option<&'a ProjectName> {
        let kept = project.id.as_ref().and_then(|id| self.name_of(id));
        let moves = naming.renames.iter().any(|rename| rename.from == project.name);
        kept.or((!moves).then_some(&project.name))
    }
}

impl FromIterator<(ProjectName, ProjectId)> for Names {
    fn from_iter<I: IntoIterator<Item = (ProjectName, ProjectId)>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

impl Naming {
    /// Returns the new name of what was kept under this one.
    pub fn renamed<'a>(&'a self, name: &'a ProjectName) -> &'a ProjectName {
        self.renames.iter().find(|rename| rename.from == *name).map_or(name, |rename| &rename.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProjectName {
        ProjectName::new(text).unwrap()
    }

    fn named(projects: &[(&str, &str)]) -> Vec<Named> {
        let id = |id: &str| (!id.is_empty()).then(|| ProjectId::new(id).unwrap());
        projects.iter().map(|(text, of)| Named { name: name(text), id: id(of) }).collect()
    }

    fn names(all: &[(&str, &str)]) -> Names {
        all.iter().map(|(text, id)| (name(text), ProjectId::new(id).unwrap())).collect()
    }

    /// Returns the renames in short, and the names after them.
    fn naming(before: &[(&str, &str)], wanted: &[(&str, &str)], taken: &[&str]) -> (Vec<String>, String) {
        let naming = names(before).naming(&named(wanted), |name| taken.contains(&name.as_str()));
        let short = |rename: &Rename| format!("{}>{}", rename.from, rename.to);
        let mut renames: Vec<String> = naming.renames.iter().map(short).collect();
        renames.sort();
        let after: Vec<String> = naming.names.iter().map(|(name, id)| format!("{name}={id}")).collect();
        (renames, after.join(" "))
    }

    #[test]
    fn what_is_kept_follows_the_id_through_every_change_of_names() {
        type Case<'a> =
            (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)], &'a [&'a str], &'a [&'a str], &'a str);
        let cases: &[Case<'_>] = &[
            (&[], &[("a", "1")], &["a"], &[], "a=1"),
            (&[("a", "1")], &[("a", "1")], &["a"], &[], "a=1"),
            (&[("a", "1")], &[("b", "1")], &["a"], &["a>b"], "b=1"),
            (&[("a", "1"), ("b", "2")], &[("b", "1"), ("a", "2")], &["a", "b"], &["a>b", "b>a"], "a=2 b=1"),
            (&[("a", "1"), ("b", "2")], &[("b", "1"), ("c", "2")], &["a", "b"], &["a>b", "b>c"], "b=1 c=2"),
            // A project that is gone keeps its name until another one takes it, and gets it back.
            (&[("a", "1")], &[("b", "2")], &["a"], &[], "a=1 b=2"),
            (&[("a", "1")], &[("a", "2")], &["a"], &["a>former-1-1"], "a=2 former-1-1=1"),
            (
                &[("a", "2"), ("former-1-1", "1")],
                &[("a", "1")],
                &["a"],
                &["a>former-2-1", "former-1-1>a"],
                "a=1 former-2-1=2",
            ),
            (
                &[("a", "1")],
                &[("a", "2"), ("former-1-1", "3")],
                &["a"],
                &["a>former-1-2"],
                "a=2 former-1-1=3 former-1-2=1",
            ),
            // Entries of an unknown project are not mixed with those of a known one.
            (&[("a", "1")], &[("b", "1")], &["a", "b"], &["a>b", "b>former-b-1"], "b=1"),
            // An id that is not known yet.
            (&[("a", "1")], &[("a", "")], &["a"], &[], "a=1"),
            (&[("a", "1")], &[("a", ""), ("b", "1")], &["a"], &["a>b"], "b=1"),
            (&[("a", "1")], &[("b", "")], &["a"], &[], "a=1"),
        ];
        for (before, wanted, taken, renames, after) in cases {
            let (found, names) = naming(before, wanted, taken);
            assert_eq!(
                (found, names.as_str()),
                (renames.iter().map(|r| (*r).to_owned()).collect(), *after),
                "{wanted:?}"
            );
        }
    }

    #[test]
    fn where_a_history_stands_is_known_before_anything_is_renamed() {
        let source = |before: &[(&str, &str)], wanted: &[(&str, &str)]| {
            let (before, wanted) = (names(before), named(wanted));
            let naming = before.naming(&wanted, |_| false);
            let source = |project| before.source_of(project, &naming).map(ToString::to_string);
            wanted.iter().map(source).collect::<Vec<_>>()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(source(&[], &[("a", "1")]), [some("a")]);
        assert_eq!(source(&[("a", "1")], &[("b", "1"), ("a", "2")]), [some("a"), None]);
        assert_eq!(source(&[("a", "1")], &[("b", "1"), ("a", "")]), [some("a"), None]);
        assert_eq!(source(&[("a", "1")], &[("a", "")]), [some("a")]);
    }
}
