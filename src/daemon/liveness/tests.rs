use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clocks::VirtualClock;
use crate::model::cluster::{Cluster, ClusterList, Tags};
use crate::model::id::ClusterId;
use crate::model::project::{Rules, Stretch};
use crate::model::setup::Nodes;
use crate::schedule::liveness;
use crate::schedule::{Lane, Next, Project, Scheduler};

/// One round: everybody was asked, and this ends once all have answered.
type Round = Pin<Box<dyn Future<Output = Result<(), JournalError>> + Send>>;

/// A project whose one cluster is gone from the second list on, and takes this long to be let go of.
struct Going {
    lists: Mutex<usize>,
    takes: Duration,
    /// Clusters that go at once.
    clusters: usize,
    gone: Notify,
}

impl Project for Going {
    async fn discover(&self) -> Option<ClusterList> {
        let mut lists = self.lists.lock().unwrap();
        *lists += 1;
        let shown = if *lists == 1 { self.clusters } else { 0 };
        let cluster = |n: usize| {
            Arc::new(Cluster {
                id: ClusterId::new(&format!("c{n}")).unwrap(),
                name: "c".to_owned(),
                engine: "opensearch".into(),
                version: "".into(),
                actions: Vec::new(),
                tags: Tags::default(),
                nodes: Nodes::default(),
                state: 0,
            })
        };
        Some(ClusterList {
            clusters: (0..shown).map(cluster).collect(),
            unusable: Vec::new(),
            total_size: Some(shown as u64),
        })
    }

    async fn reconcile(&self, _: &Cluster) -> Next {
        Next { after: Duration::from_mins(10), lane: Lane::Idle, discovery: false }
    }

    async fn forget(&self, _: &Cluster) -> bool {
        tokio::time::sleep(self.takes).await;
        true
    }

    fn remembered(&self) -> Vec<Cluster> {
        Vec::new()
    }

    fn changed(&self, _: usize, went: &[ClusterId], _: usize) {
        if !went.is_empty() {
            self.gone.notify_one();
        }
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::default()
    }

    fn requests_per_second(&self) -> Option<f64> {
        None
    }

    fn stretched(&self, _: Option<Stretch>) {}
}

/// Starts a scheduler and returns its liveness probe.
fn watch(project: &Arc<Going>, clock: &Arc<VirtualClock>) -> LivenessProbe {
    let (liveness, responder) = liveness::channel();
    let scheduler = Scheduler::new(Arc::clone(project), Arc::clone(clock)).with_liveness(responder);
    tokio::spawn(scheduler.run(CancellationToken::new()));
    liveness
}

fn going(clusters: usize, takes: Duration) -> Arc<Going> {
    Arc::new(Going { lists: Mutex::default(), takes, clusters, gone: Notify::new() })
}

fn clock() -> Arc<VirtualClock> {
    Arc::new(VirtualClock::new())
}

/// The signs of life within this time, in seconds from its beginning.
async fn signs(clock: &VirtualClock, within: Duration, ask: impl Fn() -> Round) -> Vec<i64> {
    let began = clock.now();
    let mut liveness = Liveness::new(Some(Duration::from_secs(40)), began.mono);
    let mut signs = Vec::new();
    let feel = async {
        loop {
            liveness.round(clock, &ask).await.unwrap();
            signs.push(i64::try_from(clock.now().since(began).as_secs()).unwrap());
        }
    };
    let _: Result<(), _> = tokio::time::timeout(within, feel).await;
    signs
}

#[tokio::test(start_paused = true)]
async fn while_the_loop_of_a_watcher_turns_there_is_a_sign_of_life_every_few_seconds() {
    let clock = clock();
    let liveness = watch(&going(3, Duration::from_millis(1)), &clock);
    let ask = || -> Round {
        let liveness = liveness.clone();
        Box::pin(async move {
            liveness.answered().await;
            Ok(())
        })
    };
    assert_eq!(signs(&clock, Duration::from_secs(22), ask).await, [0, 5, 10, 15, 20]);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_is_stuck_gives_no_sign_of_life_though_another_one_does() {
    let clock = clock();
    let stuck = watch(&going(1, Duration::MAX), &clock);
    let healthy = watch(&going(1, Duration::ZERO), &clock);
    // Until its cluster is missing from two lists, and cannot be let go of.
    tokio::time::sleep(Duration::from_mins(6)).await;
    let feel = |probes: Vec<LivenessProbe>| -> Round {
        Box::pin(async move {
            for liveness in probes {
                liveness.answered().await;
            }
            Ok(())
        })
    };
    let long = Duration::from_mins(10);
    assert_eq!(signs(&clock, long, || feel(vec![healthy.clone(), stuck.clone()])).await, [0; 0]);
    assert!(signs(&clock, long, || feel(vec![healthy.clone()])).await.len() > 100);
}

#[tokio::test(start_paused = true)]
async fn a_loop_with_much_to_do_that_goes_on_gives_signs_of_life_meanwhile() {
    let clock = clock();
    let project = going(1_000, Duration::from_secs(1));
    let liveness = watch(&project, &clock);
    let ask = || -> Round {
        let liveness = liveness.clone();
        Box::pin(async move {
            liveness.answered().await;
            Ok(())
        })
    };
    let signs = signs(&clock, Duration::from_mins(20), ask).await;
    let gap = signs.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(signs.len() > 200 && gap <= 6, "{gap}");
    project.gone.notified().await;
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_answers_late_delays_the_sign_and_what_was_asked_is_not_asked_again() {
    let clock = clock();
    let asked = Mutex::new(0);
    let ask = || -> Round {
        *asked.lock().unwrap() += 1;
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(12)).await;
            Ok(())
        })
    };
    let mut liveness = Liveness::new(None, clock.now().mono);
    for _ in 0..11 {
        // As in the daemon's loop, where something else comes first each second.
        let round = liveness.round(&*clock, ask);
        assert!(tokio::time::timeout(Duration::from_secs(1), round).await.is_err());
    }
    assert!(tokio::time::timeout(Duration::from_secs(2), liveness.round(&*clock, ask)).await.is_ok());
    assert_eq!(*asked.lock().unwrap(), 1);
}
