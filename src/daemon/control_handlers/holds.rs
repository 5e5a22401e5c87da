//! Holds: placing and releasing them, and journaling the ends of those that were placed while the
//! clock may have been wrong.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLockWriteGuard};
use std::time::Duration;

use jiff::SignedDuration;
use tracing::{info, warn};

use crate::clock::Clock as _;
use crate::control::{Answer, Peer};
use crate::daemon::run::Daemon;
use crate::journal::JournalError;
use crate::model::hold::{Holds, NewHold, Scope, StoredHold};
use crate::model::id::ProjectName;
use crate::model::moment::Moment;
use crate::model::policy::Mode;
use crate::model::text::{chain, did_you_mean, nearest, shown};

/// A longer hold lasts until it is released.
const LONGEST: Duration = Duration::from_hours(24 * 3650);

impl Daemon {
    /// Places a hold. When this returns, no further intent can be committed for what it covers.
    pub(super) async fn hold(
        &mut self,
        scope: &str,
        lasts: Option<Duration>,
        reason: &str,
        peer: Peer,
    ) -> Result<Answer, String> {
        let (scope, cluster_name) = self.find(scope)?;
        let written = self.written(&scope, cluster_name.as_deref());
        let reason = super::reason(reason, "a hold")?;
        let now = self.clock().now();
        let until = match lasts {
            Some(Duration::ZERO) => return Err("a hold needs a duration longer than zero".to_owned()),
            Some(lasts) if lasts > LONGEST => None,
            Some(lasts) => {
                SignedDuration::try_from(lasts).ok().and_then(|lasts| now.wall.checked_add(lasts).ok())
            }
            None => None,
        };
        // With a clock that may be wrong no end is journaled: after a restart the hold would end at
        // another time.
        let unjournaled = until.filter(|_| !self.is_clock_proven());
        let journaled = until.filter(|_| unjournaled.is_none());
        let by = peer.to_string();
        let new = NewHold { at: now.wall, scope, cluster_name, until: journaled, reason, by };
        // Every commit lock, until the hold is in force: an intent is committed before it or never.
        let mut gates = Vec::new();
        for running in self.running.values() {
            gates.push(running.project.pause().await);
        }
        let hold = self.builder.journal().place_hold(new).await.map_err(|error| {
            format!("the hold could not be written to the journal and is not in force: {}", chain(&error))
        })?;
        let hold = if let (Some(until), Some(lasts)) = (unjournaled, lasts) {
            self.holds_mut().place_without_journaled_end(hold.clone(), now.after(lasts), now);
            StoredHold { until: Some(until), ..hold }
        } else {
            self.holds_mut().place(hold.clone(), now);
            hold
        };
        drop(gates);
        warn!(hold = hold.number, scope = %hold.scope, by = hold.by, "{}: {hold}", hold.effect());
        Ok(Answer::Held { hold, dry_run: self.configuration().mode == Mode::DryRun, written })
    }

    /// Returns whether answers have shown that our clock is right, as far as any project compares
    /// it.
    fn is_clock_proven(&self) -> bool {
        self.running.values().all(|running| running.project.is_clock_proven())
    }

    /// Journals the ends of holds that were placed while our clock was not known to be right: when
    /// it is, or when they are over.
    pub(in crate::daemon) async fn journal_ends_of_holds(&self) {
        let open = self.holds().without_journaled_end();
        if open.is_empty() {
            return;
        }
        let (now, is_proven) = (self.clock().now(), self.is_clock_proven());
        for (hold, until) in open {
            let number = hold.number;
            let journaled = if until.mono <= now.mono {
                self.journal_release(&hold, "its end", now).await.map(|()| hold)
            } else if is_proven {
                self.journal_end(&hold, until, now).await
            } else {
                continue;
            };
            match journaled {
                Ok(stored) => self.holds_mut().end_was_journaled(number, stored),
                Err(error) => {
                    let error = chain(&error);
                    warn!(
                        hold = number,
                        error, "the end of hold #{number} cannot be written to the journal: {error}"
                    );
                }
            }
        }
    }

    /// Journals another hold with this end, and then the release of the one without: there is a
    /// hold at every instant.
    async fn journal_end(
        &self,
        hold: &StoredHold,
        until: Moment,
        now: Moment,
    ) -> Result<StoredHold, JournalError> {
        let StoredHold { scope, cluster_name, reason, by, .. } = hold.clone();
        let until = now.after(until.since(now)).wall;
        let new = NewHold { at: now.wall, scope, cluster_name, until: Some(until), reason, by };
        let stored = self.builder.journal().place_hold(new).await?;
        self.journal_release(hold, "the corrected clock", now).await?;
        info!(hold = stored.number, "the clock is correct again: hold #{} is now {stored}", hold.number);
        Ok(stored)
    }

    async fn journal_release(&self, hold: &StoredHold, by: &str, now: Moment) -> Result<(), JournalError> {
        self.builder.journal().release_holds(now.wall, vec![hold.number], by.to_owned()).await
    }

    /// Ends all holds with exactly this scope.
    pub(super) async fn release(&mut self, scope: &str, peer: Peer) -> Result<Answer, String> {
        let scope = match self.find(scope) {
            Ok((scope, _)) => scope,
            // A hold outlives the cluster and the project that it names.
            Err(why) => self.scope_of_a_hold(scope).ok_or(why)?,
        };
        let in_force = self.holds_in_force();
        let (released, still): (Vec<_>, Vec<_>) = in_force.into_iter().partition(|hold| hold.scope == scope);
        if released.is_empty() {
            let others: Vec<String> = still.iter().map(|hold| format!("\n  {hold}")).collect();
            let others = if others.is_empty() { "none".to_owned() } else { others.concat() };
            return Err(format!("there is no hold on {scope}; holds in force: {others}"));
        }
        let now = self.clock().now();
        let numbers: Vec<u64> = released.iter().map(|hold| hold.number).collect();
        let by = peer.to_string();
        self.builder.journal().release_holds(now.wall, numbers.clone(), by.clone()).await.map_err(
            |error| {
                format!(
                    "the release could not be written to the journal, so the hold stays in force: {}",
                    chain(&error)
                )
            },
        )?;
        self.holds_mut().release(&numbers, now, &by);
        for hold in &released {
            info!(hold = hold.number, scope = %hold.scope, by, "released: {hold}");
        }
        self.nudge_all();
        let still = still.into_iter().filter(|hold| self.overlap(&hold.scope, &scope)).collect();
        Ok(Answer::Released { released, still })
    }

    /// Returns whether both scopes have something in common, as far as is known.
    fn overlap(&self, one: &Scope, other: &Scope) -> bool {
        match (one, other) {
            (Scope::All, _) | (_, Scope::All) => true,
            (Scope::Project(one), Scope::Project(other)) => one == other,
            (Scope::Cluster(one), Scope::Cluster(other)) => one == other,
            (Scope::Project(project), Scope::Cluster(cluster))
            | (Scope::Cluster(cluster), Scope::Project(project)) => {
                let running = self.running.get(project);
                running.is_some_and(|running| running.project.knows(cluster))
            }
        }
    }

    pub(super) fn holds_in_force(&self) -> Vec<StoredHold> {
        let now = self.clock().now();
        self.holds().in_force(now).cloned().collect()
    }

    fn holds_mut(&self) -> RwLockWriteGuard<'_, Holds> {
        self.builder.holds.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the scope of a hold in force that is written so, by its name or its id.
    fn scope_of_a_hold(&self, text: &str) -> Option<Scope> {
        let named = text.strip_prefix("cluster:").unwrap_or(text);
        let is_it = |hold: &StoredHold| match &hold.scope {
            Scope::Cluster(id) => id.as_str() == named || hold.cluster_name.as_deref() == Some(named),
            scope => scope.to_string() == text,
        };
        let scopes: BTreeSet<String> = self
            .holds_in_force()
            .iter()
            .filter(|hold| is_it(hold))
            .map(|hold| hold.scope.to_string())
            .collect();
        let mut scopes = scopes.into_iter();
        // Several clusters of one name: it is unknown which one is meant.
        scopes.next().filter(|_| scopes.next().is_none()).and_then(|scope| Scope::try_from(scope).ok())
    }

    /// Returns what `all`, `project:NAME`, `cluster:NAME-OR-ID` or a cluster's name or id alone
    /// means here; of a cluster its name too.
    fn find(&self, text: &str) -> Result<(Scope, Option<String>), String> {
        let whole = |scope| (scope, None);
        match text.split_once(':') {
            None if text == "all" => Ok(whole(Scope::All)),
            Some(("project", name)) => {
                let known = || self.running.keys().map(ProjectName::as_str);
                match ProjectName::new(name) {
                    Ok(name) if self.running.contains_key(&name) => Ok(whole(Scope::Project(name))),
                    _ => Err(format!(
                        "there is no project {:?}{}; projects: {}",
                        shown(name, 80),
                        did_you_mean(nearest(name, known())),
                        known().collect::<Vec<_>>().join(", ")
                    )),
                }
            }
            Some(("cluster", name)) => self.find_scope(name),
            None => self.find_scope(text).map_err(|why| match self.other_scope(text) {
                Some(Scope::All) => format!("{why}; for every cluster: all"),
                Some(scope) => format!("{why}; for the project of that name: {scope}"),
                None => why,
            }),
            _ => Err(format!(
                "the scope \"{}\" is not understood; a cluster's name or id, project:NAME or all is allowed",
                shown(text, 80)
            )),
        }
    }

    fn find_scope(&self, cluster: &str) -> Result<(Scope, Option<String>), String> {
        let (id, name, _) = self.find_cluster(cluster)?;
        Ok((Scope::Cluster(id), Some(name)))
    }

    /// Returns the scope other than a cluster that this word may have meant.
    fn other_scope(&self, text: &str) -> Option<Scope> {
        let project = self.running.keys().find(|name| name.as_str() == text);
        let all = || text.eq_ignore_ascii_case("all").then_some(Scope::All);
        project.map(|name| Scope::Project(name.clone())).or_else(all)
    }
}
