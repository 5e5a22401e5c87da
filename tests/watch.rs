//! The watcher in virtual time: what is looked at when, and what delays what.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use upgrade_remediator::clock::Clock;
use upgrade_remediator::model::cluster::{Cluster, ClusterList};
use upgrade_remediator::model::id::ClusterId;
use upgrade_remediator::model::moment::{Moment, Mono};
use upgrade_remediator::model::project::Poll;
use upgrade_remediator::watch::{Next, Project, Watcher};

/// Follows tokio's paused time.
struct Virtual(Instant);

impl Virtual {
    #[expect(clippy::disallowed_methods, reason = "tokio's paused clock is the test's clock")]
    fn new() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for Virtual {
    fn now(&self) -> Moment {
        let since = i64::try_from(self.0.elapsed().as_millis()).unwrap();
        Moment { wall: Timestamp::UNIX_EPOCH, mono: Mono(since) }
    }

    async fn sleep(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }
}

/// A project that takes note of what is done with it, and when.
struct Script {
    clock: Arc<Virtual>,
    /// The lists, one for each discovery; the last one stays. `None`: the list cannot be had.
    lists: Mutex<Vec<Option<ClusterList>>>,
    list_takes: Duration,
    look_takes: BTreeMap<&'static str, Duration>,
    next_look: Duration,
    looks: Mutex<Vec<(String, i64)>>,
    discoveries: Mutex<Vec<i64>>,
    forgotten: Mutex<Vec<String>>,
    /// What an earlier process knew.
    remembered: Vec<&'static str>,
}

fn list(names: &[&str]) -> ClusterList {
    let cluster = |name: &&str| Cluster {
        id: ClusterId::new(name).unwrap(),
        name: (*name).to_owned(),
        engine: "opensearch".to_owned(),
        version: String::new(),
        actions: Vec::new(),
        tags: BTreeMap::new(),
    };
    ClusterList {
        clusters: names.iter().map(cluster).collect(),
        unusable: Vec::new(),
        total_size: Some(names.len() as u64),
    }
}

impl Script {
    fn new(lists: Vec<Option<ClusterList>>) -> Self {
        Self {
            clock: Virtual::new(),
            lists: Mutex::new(lists),
            list_takes: Duration::from_millis(1),
            look_takes: BTreeMap::new(),
            next_look: Duration::from_secs(10),
            looks: Mutex::default(),
            discoveries: Mutex::default(),
            forgotten: Mutex::default(),
            remembered: Vec::new(),
        }
    }

    fn seconds(&self) -> i64 {
        self.clock.now().mono.0 / 1_000
    }

    fn looks_at(&self, name: &str) -> Vec<i64> {
        let looks = self.looks.lock().unwrap();
        looks.iter().filter(|(cluster, _)| cluster == name).map(|(_, at)| *at).collect()
    }
}

impl Project for Script {
    async fn discover(&self) -> Option<ClusterList> {
        self.discoveries.lock().unwrap().push(self.seconds());
        self.clock.sleep(self.list_takes).await;
        let mut lists = self.lists.lock().unwrap();
        if lists.len() > 1 { lists.remove(0) } else { lists.first().cloned().flatten() }
    }

    async fn look(&self, cluster: &Cluster, _listed: Option<Moment>) -> Next {
        self.looks.lock().unwrap().push((cluster.name.clone(), self.seconds()));
        let takes = self.look_takes.get(cluster.name.as_str()).copied().unwrap_or_default();
        self.clock.sleep(takes).await;
        Next { look: self.next_look, discovery: false }
    }

    async fn forget(&self, cluster: &Cluster) -> bool {
        self.forgotten.lock().unwrap().push(cluster.name.clone());
        true
    }

    fn remembered(&self) -> Vec<Cluster> {
        list(&self.remembered).clusters
    }

    fn changed(&self, _came: usize, _went: &[ClusterId], _watched: usize) {}
}

fn poll() -> Poll {
    Poll {
        discovery_interval: Duration::from_mins(1),
        active_interval: Duration::from_secs(4),
        ..Poll::default()
    }
}

/// Watches for so many seconds.
async fn watch(script: Script, at_once: u32, seconds: u64) -> Arc<Script> {
    let script = Arc::new(script);
    let stop = CancellationToken::new();
    let watcher = Watcher::new(Arc::clone(&script), Arc::clone(&script.clock), poll(), at_once);
    let running = tokio::spawn(watcher.run(stop.clone()));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    script
}

#[tokio::test(start_paused = true)]
async fn clusters_are_looked_at_when_their_look_said_and_first_looks_are_spread() {
    let script = watch(Script::new(vec![Some(list(&["a", "b", "c", "d"]))]), 8, 25).await;
    assert_eq!(script.looks_at("a"), [0, 10, 20]);
    assert_eq!(script.looks_at("b"), [1, 11, 21]);
    assert_eq!(script.looks_at("c"), [2, 12, 22]);
    assert_eq!(script.looks_at("d"), [3, 13, 23]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_cluster_delays_no_other_and_is_looked_at_once_at_a_time() {
    let mut script = Script::new(vec![Some(list(&["a", "b"]))]);
    script.look_takes.insert("a", Duration::from_secs(35));
    let script = watch(script, 2, 60).await;
    assert_eq!(
        script.looks_at("a"),
        [0, 45],
        "35 s of looking, 10 s of waiting; missed times are not made up for"
    );
    assert_eq!(script.looks_at("b"), [2, 12, 22, 32, 42, 52]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_list_delays_no_look() {
    let mut script = Script::new(vec![Some(list(&["a"]))]);
    script.list_takes = Duration::from_secs(30);
    let script = watch(script, 1, 119).await;
    assert_eq!(*script.discoveries.lock().unwrap(), [0, 90]);
    assert_eq!(script.looks_at("a"), [30, 40, 50, 60, 70, 80, 90, 100, 110]);
}

#[tokio::test(start_paused = true)]
async fn no_more_looks_than_allowed_at_once() {
    let mut script = Script::new(vec![Some(list(&["a", "b", "c"]))]);
    for name in ["a", "b", "c"] {
        script.look_takes.insert(name, Duration::from_secs(5));
    }
    let script = watch(script, 1, 14).await;
    assert_eq!(
        *script.looks.lock().unwrap(),
        [("a".to_owned(), 0), ("b".to_owned(), 5), ("c".to_owned(), 10)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_cluster_is_let_go_after_two_complete_lists_without_it() {
    let both = || Some(list(&["a", "b"]));
    let only_a = || Some(list(&["a"]));
    let incomplete = || Some(ClusterList { total_size: Some(2), ..list(&["a"]) });
    let script = watch(Script::new(vec![both(), only_a(), both(), only_a(), only_a()]), 8, 300).await;
    assert_eq!(*script.forgotten.lock().unwrap(), ["b"]);
    assert!(script.looks_at("b").iter().all(|at| *at < 160), "{:?}", script.looks_at("b"));
    let script =
        watch(Script::new(vec![both(), incomplete(), incomplete(), None, incomplete()]), 8, 300).await;
    assert_eq!(*script.forgotten.lock().unwrap(), Vec::<String>::new(), "only a complete list says so");
    assert!(script.looks_at("b").len() > 20);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_went_while_nobody_watched_is_let_go_too() {
    let remembers = |lists| Script { remembered: vec!["a", "gone"], ..Script::new(lists) };
    let script = watch(remembers(vec![Some(list(&["a"]))]), 8, 100).await;
    assert_eq!(*script.forgotten.lock().unwrap(), ["gone"], "by two complete lists, and once");
    assert!(script.looks_at("gone").is_empty());
    assert_eq!(script.discoveries.lock().unwrap()[1], 10, "the second list comes soon");
    let incomplete = Some(ClusterList { total_size: Some(2), ..list(&["a"]) });
    let script = watch(remembers(vec![incomplete]), 8, 300).await;
    assert!(script.forgotten.lock().unwrap().is_empty());
    let both = Some(list(&["a", "gone"]));
    let script = watch(remembers(vec![Some(list(&["a"])), both]), 8, 100).await;
    assert!(script.forgotten.lock().unwrap().is_empty(), "it was there after all");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_had_is_asked_for_again_soon_while_nothing_is_watched() {
    let script = watch(Script::new(vec![None, None, Some(list(&["a"]))]), 8, 30).await;
    assert_eq!(*script.discoveries.lock().unwrap(), [0, 4, 8]);
    assert_eq!(script.looks_at("a"), [8, 18, 28]);
}

#[tokio::test(start_paused = true)]
async fn once_looks_at_everything_once() {
    let script = Arc::new(Script::new(vec![Some(list(&["a", "b", "c"]))]));
    let watcher = Watcher::new(Arc::clone(&script), Arc::clone(&script.clock), poll(), 2);
    assert!(watcher.run_once(CancellationToken::new()).await.unwrap());
    assert_eq!(script.looks.lock().unwrap().len(), 3);
    let blind = Arc::new(Script::new(vec![None]));
    let watcher = Watcher::new(Arc::clone(&blind), Arc::clone(&blind.clock), poll(), 2);
    assert!(!watcher.run_once(CancellationToken::new()).await.unwrap());
}
