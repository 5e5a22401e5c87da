//! The scheduler in virtual time: what is polled when, and what delays what.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use upgrade_remediator::clock::Clock;
use upgrade_remediator::model::cluster::{Cluster, ClusterList, Tags};
use upgrade_remediator::model::id::ClusterId;
use upgrade_remediator::model::project::{Limits, Poll, Rules, Stretch};
use upgrade_remediator::model::setup::Nodes;
use upgrade_remediator::schedule::{Lane, Next, Project, Scheduler};

use crate::clocks::VirtualClock;

/// A project that takes note of what is done with it, and when.
struct ScriptedProject {
    clock: Arc<VirtualClock>,
    /// The lists, one for each discovery; the last one stays. `None`: the list cannot be had.
    lists: Mutex<Vec<Option<ClusterList>>>,
    list_takes: Duration,
    look_takes: BTreeMap<&'static str, Duration>,
    next_poll: Duration,
    lane: Lane,
    /// The lane and the wait of single clusters.
    lanes: BTreeMap<String, (Lane, Duration)>,
    rules: Mutex<Arc<Rules>>,
    nudge: Arc<Notify>,
    /// Requests in a second.
    rate: Mutex<Option<f64>>,
    /// A time in which the service does not answer.
    outage: Option<(Duration, Duration)>,
    polls: Mutex<Vec<(String, i64)>>,
    discoveries: Mutex<Vec<i64>>,
    forgotten: Mutex<Vec<String>>,
    stretches: Mutex<Vec<(i64, Option<Stretch>)>>,
    /// Polls of clusters that no list had shown.
    /// What an earlier process knew.
    remembered: Vec<&'static str>,
}

fn cluster(name: &str) -> Cluster {
    Cluster {
        id: ClusterId::new(name).unwrap(),
        name: name.to_owned(),
        engine: "opensearch".into(),
        version: "".into(),
        actions: Vec::new(),
        tags: Tags::default(),
        nodes: Nodes::default(),
        state: 0,
    }
}

fn list_of(clusters: Vec<Cluster>) -> ClusterList {
    let total_size = Some(clusters.len() as u64);
    ClusterList { clusters: clusters.into_iter().map(Arc::new).collect(), unusable: Vec::new(), total_size }
}

fn list(names: &[&str]) -> ClusterList {
    list_of(names.iter().map(|name| cluster(name)).collect())
}

/// So many clusters, by numbers.
fn fleet(count: usize) -> ClusterList {
    list_of((0..count).map(|n| cluster(&format!("c{n:05}"))).collect())
}

impl ScriptedProject {
    fn new(lists: Vec<Option<ClusterList>>) -> Self {
        Self {
            clock: Arc::new(VirtualClock::new()),
            lists: Mutex::new(lists),
            list_takes: Duration::from_millis(1),
            look_takes: BTreeMap::new(),
            next_poll: Duration::from_secs(10),
            lane: Lane::Running,
            lanes: BTreeMap::new(),
            rules: Mutex::new(rules(poll(), 16)),
            nudge: Arc::default(),
            rate: Mutex::new(None),
            outage: None,
            polls: Mutex::default(),
            discoveries: Mutex::default(),
            forgotten: Mutex::default(),
            stretches: Mutex::default(),
            remembered: Vec::new(),
        }
    }

    fn seconds(&self) -> i64 {
        self.clock.now().mono.0 / 1_000
    }

    fn polls_of(&self, name: &str) -> Vec<i64> {
        let polls = self.polls.lock().unwrap();
        polls.iter().filter(|(cluster, _)| cluster == name).map(|(_, at)| *at).collect()
    }

    /// How many polls began in these seconds.
    fn polls_within(&self, seconds: std::ops::Range<i64>) -> usize {
        self.polls.lock().unwrap().iter().filter(|(_, at)| seconds.contains(at)).count()
    }

    /// The longest time between two polls of one cluster.
    fn longest_gap(&self) -> i64 {
        let mut last: BTreeMap<String, i64> = BTreeMap::new();
        let polls = self.polls.lock().unwrap();
        let gaps = polls.iter().map(|(name, at)| at - last.insert(name.clone(), *at).unwrap_or(*at));
        gaps.max().unwrap()
    }
}

impl Project for ScriptedProject {
    async fn discover(&self) -> Option<ClusterList> {
        self.discoveries.lock().unwrap().push(self.seconds());
        self.clock.sleep(self.list_takes).await;
        let mut lists = self.lists.lock().unwrap();
        if lists.len() > 1 { lists.remove(0) } else { lists.first().cloned().flatten() }
    }

    async fn reconcile(&self, cluster: &Cluster) -> Next {
        self.polls.lock().unwrap().push((cluster.name.clone(), self.seconds()));
        let takes = self.look_takes.get(cluster.name.as_str()).copied().unwrap_or_default();
        self.clock.sleep(takes).await;
        let now = Duration::from_millis(u64::try_from(self.clock.now().mono.0).unwrap());
        if self.outage.is_some_and(|(from, until)| (from..until).contains(&now)) {
            self.clock.sleep(Duration::from_secs(30)).await;
        }
        let (lane, after) = self.lanes.get(&cluster.name).copied().unwrap_or((self.lane, self.next_poll));
        Next { after, lane, discovery: false }
    }

    async fn forget(&self, cluster: &Cluster) -> bool {
        self.forgotten.lock().unwrap().push(cluster.name.clone());
        true
    }

    fn remembered(&self) -> Vec<Cluster> {
        self.remembered.iter().map(|name| cluster(name)).collect()
    }

    fn changed(&self, _came: usize, _went: &[ClusterId], _watched: usize) {}

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock().unwrap())
    }

    fn requests_per_second(&self) -> Option<f64> {
        *self.rate.lock().unwrap()
    }

    fn stretched(&self, stretch: Option<Stretch>) {
        self.stretches.lock().unwrap().push((self.seconds(), stretch));
    }
}

/// What the configuration says, with so many reconciles at once.
fn rules(poll: Poll, at_once: u32) -> Arc<Rules> {
    let limits = Limits { max_requests_in_flight: at_once, ..Limits::default() };
    Arc::new(Rules { poll, limits, ..Rules::default() })
}

fn watcher_of(
    script: Arc<ScriptedProject>,
    clock: Arc<VirtualClock>,
    at_once: u32,
) -> Scheduler<ScriptedProject, VirtualClock> {
    *script.rules.lock().unwrap() = rules(poll(), at_once);
    let nudge = Arc::clone(&script.nudge);
    Scheduler::new(script, clock).nudged_by(nudge)
}

fn poll() -> Poll {
    Poll {
        discovery_interval: Duration::from_mins(1),
        active_interval: Duration::from_secs(4),
        ..Poll::default()
    }
}

/// Watches for so many seconds.
async fn watch(script: ScriptedProject, at_once: u32, seconds: u64) -> Arc<ScriptedProject> {
    let script = Arc::new(script);
    let stop = CancellationToken::new();
    let scheduler = watcher_of(Arc::clone(&script), Arc::clone(&script.clock), at_once);
    let running = tokio::spawn(scheduler.run(stop.clone()));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    script
}

#[tokio::test(start_paused = true)]
async fn clusters_are_looked_at_when_their_look_said_and_first_looks_are_spread() {
    let script = watch(ScriptedProject::new(vec![Some(list(&["a", "b", "c", "d"]))]), 8, 25).await;
    assert_eq!(script.polls_of("a"), [0, 10, 20]);
    assert_eq!(script.polls_of("b"), [1, 11, 21]);
    assert_eq!(script.polls_of("c"), [2, 12, 22]);
    assert_eq!(script.polls_of("d"), [3, 13, 23]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_cluster_delays_no_other_and_is_looked_at_once_at_a_time() {
    let mut script = ScriptedProject::new(vec![Some(list(&["a", "b"]))]);
    script.look_takes.insert("a", Duration::from_secs(35));
    let script = watch(script, 2, 60).await;
    assert_eq!(
        script.polls_of("a"),
        [0, 45],
        "35 s of polling, 10 s of waiting; missed times are not made up for"
    );
    assert_eq!(script.polls_of("b"), [2, 12, 22, 32, 42, 52]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_list_delays_no_look() {
    let mut script = ScriptedProject::new(vec![Some(list(&["a"]))]);
    script.list_takes = Duration::from_secs(30);
    let script = watch(script, 1, 119).await;
    assert_eq!(*script.discoveries.lock().unwrap(), [0, 90]);
    assert_eq!(script.polls_of("a"), [30, 40, 50, 60, 70, 80, 90, 100, 110]);
}

#[tokio::test(start_paused = true)]
async fn no_more_looks_than_allowed_at_once() {
    let mut script = ScriptedProject::new(vec![Some(list(&["a", "b", "c"]))]);
    for name in ["a", "b", "c"] {
        script.look_takes.insert(name, Duration::from_secs(5));
    }
    let script = watch(script, 1, 14).await;
    assert_eq!(
        *script.polls.lock().unwrap(),
        [("a".to_owned(), 0), ("b".to_owned(), 5), ("c".to_owned(), 10)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_cluster_is_let_go_after_two_complete_lists_without_it() {
    let both = || Some(list(&["a", "b"]));
    let only_a = || Some(list(&["a"]));
    let incomplete = || Some(ClusterList { total_size: Some(2), ..list(&["a"]) });
    let script =
        watch(ScriptedProject::new(vec![both(), only_a(), both(), only_a(), only_a()]), 8, 300).await;
    assert_eq!(*script.forgotten.lock().unwrap(), ["b"]);
    assert!(script.polls_of("b").iter().all(|at| *at < 160), "{:?}", script.polls_of("b"));
    let script =
        watch(ScriptedProject::new(vec![both(), incomplete(), incomplete(), None, incomplete()]), 8, 300)
            .await;
    assert_eq!(*script.forgotten.lock().unwrap(), Vec::<String>::new(), "only a complete list says so");
    assert!(script.polls_of("b").len() > 20);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_went_while_nobody_watched_is_let_go_too() {
    let remembers = |lists| ScriptedProject { remembered: vec!["a", "gone"], ..ScriptedProject::new(lists) };
    let script = watch(remembers(vec![Some(list(&["a"]))]), 8, 100).await;
    assert_eq!(*script.forgotten.lock().unwrap(), ["gone"], "by two complete lists, and once");
    assert_eq!(script.polls_of("gone").len(), 1, "it is read until then, as any cluster that a list showed");
    assert_eq!(script.discoveries.lock().unwrap()[1], 10, "the second list comes soon");
    let incomplete = Some(ClusterList { total_size: Some(2), ..list(&["a"]) });
    let script = watch(remembers(vec![incomplete]), 8, 300).await;
    assert!(script.forgotten.lock().unwrap().is_empty());
    let both = Some(list(&["a", "gone"]));
    let script = watch(remembers(vec![Some(list(&["a"])), both]), 8, 100).await;
    assert!(script.forgotten.lock().unwrap().is_empty(), "it was there after all");
}

#[tokio::test(start_paused = true)]
async fn what_only_the_journal_knows_is_read_before_a_list_shows_it() {
    let remembers = |lists| ScriptedProject { remembered: vec!["a", "b"], ..ScriptedProject::new(lists) };
    let script = watch(remembers(vec![None]), 8, 25).await;
    assert_eq!((script.polls_of("a"), script.polls_of("b").len()), (vec![0, 10, 20], 3));
    let script = watch(remembers(vec![None, Some(list(&["a", "b"]))]), 8, 25).await;
    assert!(script.polls_of("a").contains(&4), "and read at once: {:?}", script.polls_of("a"));
    // A run of one poll of everything waits for the list, which says what may be acted on.
    let once = Arc::new(remembers(vec![Some(list(&["a", "b"]))]));
    let scheduler = watcher_of(Arc::clone(&once), Arc::clone(&once.clock), 2);
    assert!(scheduler.run_once(CancellationToken::new()).await.unwrap());
    assert_eq!(once.polls.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_had_is_asked_for_again_soon_while_nothing_is_watched() {
    let script = watch(ScriptedProject::new(vec![None, None, Some(list(&["a"]))]), 8, 30).await;
    assert_eq!(*script.discoveries.lock().unwrap(), [0, 4, 8]);
    assert_eq!(script.polls_of("a"), [8, 18, 28]);
}

#[tokio::test(start_paused = true)]
async fn once_looks_at_everything_once() {
    let script = Arc::new(ScriptedProject::new(vec![Some(list(&["a", "b", "c"]))]));
    let scheduler = watcher_of(Arc::clone(&script), Arc::clone(&script.clock), 2);
    assert!(scheduler.run_once(CancellationToken::new()).await.unwrap());
    assert_eq!(script.polls.lock().unwrap().len(), 3);
    let blind = Arc::new(ScriptedProject::new(vec![None]));
    let scheduler = watcher_of(Arc::clone(&blind), Arc::clone(&blind.clock), 2);
    assert!(!scheduler.run_once(CancellationToken::new()).await.unwrap());
}

/// A project where nothing runs.
fn quiet(lists: Vec<Option<ClusterList>>) -> ScriptedProject {
    ScriptedProject { lane: Lane::Idle, next_poll: poll().idle_interval, ..ScriptedProject::new(lists) }
}

#[tokio::test(start_paused = true)]
async fn idle_clusters_spread_over_the_whole_interval_and_none_waits_longer_than_that() {
    let script = watch(quiet(vec![Some(fleet(600))]), 64, 3_000).await;
    assert_eq!(script.polls_within(0..4), 600, "the first readings, over the active interval");
    // Then 600 clusters at 10 minutes are one in a second.
    for minute in 0..49 {
        let from = 4 + 60 * minute;
        let polls = script.polls_within(from..from + 60);
        assert!((58..=62).contains(&polls), "{polls} in minute {minute}");
    }
    assert!(script.longest_gap() <= 601, "{}", script.longest_gap());
}

#[tokio::test(start_paused = true)]
async fn what_the_list_shows_to_be_busy_is_read_often_and_only_while_it_does() {
    let busy = Cluster { actions: vec!["UPGRADING".to_owned()], ..cluster("b") };
    let shown = Some(list_of(vec![cluster("a"), busy]));
    let script = watch(quiet(vec![shown, Some(list(&["a", "b"]))]), 8, 180).await;
    let (a, b) = (script.polls_of("a").len(), script.polls_of("b").len());
    assert_eq!(a, 1, "nothing runs there");
    assert!((15..=18).contains(&b), "every 4 s for a minute, then once for the change: {b}");
    assert!(script.polls_of("b").iter().all(|at| *at <= 68), "{:?}", script.polls_of("b"));
}

#[tokio::test(start_paused = true)]
async fn a_change_in_the_list_brings_the_next_look_forward() {
    let changed = Cluster { state: 7, ..cluster("b") };
    let lists = vec![Some(list(&["a", "b"])), Some(list_of(vec![cluster("a"), changed]))];
    let script = watch(quiet(lists), 8, 200).await;
    assert_eq!(script.polls_of("a"), [0]);
    assert_eq!(script.polls_of("b"), [2, 60]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_found_although_no_list_ever_shows_anything() {
    let script = watch(quiet(vec![Some(fleet(50))]), 8, 1_300).await;
    let polls = script.polls_of("c00049");
    assert!(polls.len() >= 3 && script.longest_gap() <= 601, "{polls:?}");
}

#[tokio::test(start_paused = true)]
async fn when_all_are_late_what_settles_comes_first_then_what_runs_then_the_list_then_the_rest() {
    let mut script = quiet(vec![Some(list(&["a", "b", "c", "idle"]))]);
    script.look_takes.insert("c", Duration::from_secs(100));
    script.lanes.insert("a".to_owned(), (Lane::Running, Duration::from_secs(4)));
    script.lanes.insert("b".to_owned(), (Lane::Urgent, Duration::from_secs(5)));
    // One reconcile at once, and from second 2 on the one at c takes it for 100 s.
    let script = watch(script, 1, 105).await;
    let polls = script.polls.lock().unwrap().clone();
    let after: Vec<&str> = polls.iter().filter(|(_, at)| *at >= 102).map(|(name, _)| name.as_str()).collect();
    assert_eq!(after[..3], ["b", "a", "idle"], "b was due after a, and both before the idle one: {polls:?}");
    assert_eq!(script.discoveries.lock().unwrap()[..2], [0, 60], "which takes no place of a reconcile");
}

#[tokio::test(start_paused = true)]
async fn slow_looks_at_idle_clusters_leave_places_for_what_runs() {
    let mut script = quiet(vec![Some(fleet(100))]);
    script.lanes.insert("c00000".to_owned(), (Lane::Running, Duration::from_secs(4)));
    script.look_takes = (1..100).map(|n| (&*format!("c{n:05}").leak(), Duration::from_mins(10))).collect();
    let script = watch(script, 16, 60).await;
    assert_eq!(script.polls_of("c00000"), (0..15).map(|n| 4 * n).collect::<Vec<_>>());
    assert_eq!(script.polls.lock().unwrap().len(), 15 + 14, "14 of 16 places for the others");
}

#[tokio::test(start_paused = true)]
async fn with_too_few_requests_idle_clusters_stretch_and_running_ones_do_not() {
    let mut script = quiet(vec![Some(fleet(1_000))]);
    // Room for half of what 1,000 clusters at 10 minutes need.
    *script.rate.get_mut().unwrap() = Some(2.0);
    for n in 0..2 {
        script.lanes.insert(format!("c{n:05}"), (Lane::Running, Duration::from_secs(4)));
    }
    let script = Arc::new(script);
    let stop = CancellationToken::new();
    let scheduler = watcher_of(Arc::clone(&script), Arc::clone(&script.clock), 8);
    let running = tokio::spawn(scheduler.run(stop.clone()));
    tokio::time::sleep(Duration::from_secs(20_000)).await;
    *script.rate.lock().unwrap() = Some(20.0);
    tokio::time::sleep(Duration::from_secs(20_000)).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    for second in [5_000, 15_000, 30_000] {
        let polls = script.polls_of("c00001");
        let gap =
            polls.iter().find(|at| **at >= second).unwrap() - polls.iter().rfind(|at| **at < second).unwrap();
        assert!(gap <= 5, "a running cluster waited for {gap} s");
    }
    // Nine tenths of 2/s less what the two running ones and the list take; a reconcile is two requests.
    let idle = script.polls_within(10_000..20_000) - 2 * 2_500;
    assert!((3_500..4_200).contains(&idle), "{idle}");
    let idle = script.polls_within(30_000..40_000) - 2 * 2_500;
    assert!((15_800..17_600).contains(&idle), "and all of them again once there is room: {idle}");
    let stretches = script.stretches.lock().unwrap();
    let (at, stretch) = stretches.first().unwrap();
    assert!(
        *at <= 1 && stretch.is_some_and(|stretch| stretch.actual > Duration::from_secs(1_100)),
        "{stretch:?}"
    );
    let (at, last) = stretches.last().unwrap();
    assert!(last.is_none() && (20_000..20_010).contains(at), "{at} {last:?}");
    assert!(stretches.len() < 8, "told when it changes, not at every reconcile: {stretches:?}");
}

#[tokio::test(start_paused = true)]
async fn first_looks_at_a_large_fleet_take_no_more_than_half_of_the_rate() {
    let mut script = quiet(vec![Some(fleet(1_000))]);
    *script.rate.get_mut().unwrap() = Some(20.0);
    let script = watch(script, 16, 300).await;
    let polls = script.polls_within(0..100);
    assert!((495..=505).contains(&polls), "5 polls a second are 10 requests: {polls}");
    assert_eq!(
        script.polls.lock().unwrap().iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(),
        1_000
    );
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_nothing_is_made_up_for() {
    let mut script = quiet(vec![Some(fleet(2_000))]);
    for n in 0..20 {
        script.lanes.insert(format!("c{n:05}"), (Lane::Running, Duration::from_secs(4)));
    }
    // For an hour every reconcile ends in a time-out.
    let (from, until) = (Duration::from_secs(2_000), Duration::from_secs(5_600));
    script.outage = Some((from, until));
    let script = watch(script, 16, 8_000).await;
    let normal = script.polls_within(1_000..1_060);
    // The last time-outs end 30 s after it.
    let first = script.polls_within(5_600..5_660).max(script.polls_within(5_630..5_690));
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let ratio = first as f64 / normal as f64;
    assert!(ratio <= 1.1, "{first} polls in the first minute, {normal} in a normal one");
    assert!(script.polls_within(7_000..7_060) * 10 >= normal * 9, "and all of it goes on");
}

#[tokio::test(start_paused = true)]
async fn a_slow_project_changes_nothing_for_another() {
    let clock = Arc::new(VirtualClock::new());
    let project = |look_takes: Duration, rate| {
        let mut script = quiet(vec![Some(fleet(60))]);
        script.clock = Arc::clone(&clock);
        script.look_takes = (0..60).map(|n| (&*format!("c{n:05}").leak(), look_takes)).collect();
        *script.rate.get_mut().unwrap() = Some(rate);
        Arc::new(script)
    };
    let alone = watch(quiet(vec![Some(fleet(60))]), 8, 2_000).await;
    let (well, slow) = (project(Duration::ZERO, 20.0), project(Duration::from_secs(30), 0.1));
    let stop = CancellationToken::new();
    let schedulers = [&slow, &well].map(|script| {
        let scheduler = watcher_of(Arc::clone(script), Arc::clone(&clock), 8);
        tokio::spawn(scheduler.run(stop.clone()))
    });
    tokio::time::sleep(Duration::from_secs(2_000)).await;
    stop.cancel();
    for scheduler in schedulers {
        scheduler.await.unwrap().unwrap();
    }
    let count = |script: &ScriptedProject| script.polls.lock().unwrap().len();
    assert!(count(&slow) * 2 < count(&well), "{} {}", count(&slow), count(&well));
    assert!(count(&well).abs_diff(count(&alone)) <= 2, "{} {}", count(&well), count(&alone));
    assert!(well.stretches.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_configuration_is_followed_from_the_next_poll_on() {
    let script = Arc::new(ScriptedProject {
        next_poll: poll().idle_interval,
        ..ScriptedProject::new(vec![Some(list(&["a"]))])
    });
    let stop = CancellationToken::new();
    let running =
        tokio::spawn(watcher_of(Arc::clone(&script), Arc::clone(&script.clock), 2).run(stop.clone()));
    script.clock.sleep(Duration::from_secs(90)).await;
    assert_eq!(script.discoveries.lock().unwrap().len(), 2);
    *script.rules.lock().unwrap() = rules(Poll { discovery_interval: Duration::from_secs(10), ..poll() }, 2);
    script.nudge.notify_one();
    script.clock.sleep(Duration::from_mins(1)).await;
    assert!(script.discoveries.lock().unwrap().len() >= 7, "{:?}", script.discoveries);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shorter_idle_interval_holds_for_the_waits_that_have_begun() {
    let script = Arc::new(quiet(vec![Some(fleet(60))]));
    let stop = CancellationToken::new();
    let running =
        tokio::spawn(watcher_of(Arc::clone(&script), Arc::clone(&script.clock), 16).run(stop.clone()));
    script.clock.sleep(Duration::from_secs(90)).await;
    let before = script.polls.lock().unwrap().len();
    *script.rules.lock().unwrap() = rules(Poll { idle_interval: Duration::from_secs(30), ..poll() }, 16);
    script.nudge.notify_one();
    script.clock.sleep(Duration::from_secs(32)).await;
    let after = script.polls.lock().unwrap().len();
    assert!(after - before >= 58, "{} of 60 clusters were read within the new interval", after - before);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_nudge_has_unfinished_stories_looked_at_at_once_and_nothing_else() {
    let script = Arc::new(ScriptedProject {
        next_poll: Duration::from_mins(10),
        remembered: vec!["a"],
        ..ScriptedProject::new(vec![Some(list(&["a", "b"]))])
    });
    let stop = CancellationToken::new();
    let running =
        tokio::spawn(watcher_of(Arc::clone(&script), Arc::clone(&script.clock), 2).run(stop.clone()));
    script.clock.sleep(Duration::from_mins(2)).await;
    let before = (script.polls_of("a").len(), script.polls_of("b").len());
    script.nudge.notify_one();
    script.clock.sleep(Duration::from_secs(5)).await;
    assert_eq!((script.polls_of("a").len(), script.polls_of("b").len()), (before.0 + 1, before.1));
    stop.cancel();
    running.await.unwrap().unwrap();
}
