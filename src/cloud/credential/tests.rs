use std::collections::VecDeque;

use super::*;
use crate::clocks::VirtualClock;
use crate::cloud::testing::{credential, key};
use crate::cloud::transport::TransportError;

fn refusal() -> Refusal {
    Refusal { status: 401, code: None, message: String::new(), request_id: None, retry_after: None }
}

async fn refuse(credential: &Credential, clock: &VirtualClock) {
    credential.enter(clock).await.unwrap().answered(clock.now(), Some(&refusal()));
}

/// How long it is still paused; `None` if it is not.
fn rest(credential: &Credential, clock: &VirtualClock) -> Option<Duration> {
    match credential.proven(clock.now()) {
        Err(CloudError::CredentialResting { until, .. }) => Some(until.since(clock.now())),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_unproven_credential_goes_out_alone_and_the_others_wait_for_its_answer() {
    let (clock, credential) = (VirtualClock::new(), credential());
    let first = credential.enter(&clock).await.unwrap();
    let second = tokio::time::timeout(Duration::from_mins(1), credential.enter(&clock)).await;
    assert!(second.is_err(), "it went out beside the first");
    assert!(matches!(credential.proven(clock.now()), Err(CloudError::CredentialUnproven)));
    first.answered(clock.now(), None);
    let _one = credential.enter(&clock).await.unwrap();
    let _other = credential.enter(&clock).await.unwrap();
    assert!(credential.proven(clock.now()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn how_it_stands_is_told_in_words() {
    let (clock, credential) = (VirtualClock::new(), credential());
    assert_eq!(credential.in_words(clock.now()), "not yet known to be accepted");
    credential.enter(&clock).await.unwrap().answered(clock.now(), None);
    assert_eq!(credential.in_words(clock.now()), "good");
    refuse(&credential, &clock).await;
    let told = credential.in_words(clock.now());
    assert!(told.starts_with("refused; paused until 2026-01-02 03:"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn no_answer_proves_nothing_and_the_next_one_goes_alone() {
    let (clock, credential) = (VirtualClock::new(), credential());
    drop(credential.enter(&clock).await.unwrap());
    let _second = credential.enter(&clock).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_mins(1), credential.enter(&clock)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn those_who_waited_for_a_refused_one_fail_without_being_sent() {
    let (clock, credential) = (VirtualClock::new(), credential());
    let first = credential.enter(&clock).await.unwrap();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (credential, clock) = (Arc::clone(&credential), clock.clone());
            tokio::spawn(async move { credential.enter(&clock).await.is_ok() })
        })
        .collect();
    tokio::task::yield_now().await;
    first.answered(clock.now(), Some(&refusal()));
    for waiting in waiting {
        assert!(!waiting.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn rests_begin_at_five_minutes_double_and_end_at_six_hours() {
    let (clock, credential) = (VirtualClock::new(), credential());
    for minutes in [5, 10, 20, 40, 80, 160, 320, 360, 360] {
        refuse(&credential, &clock).await;
        let rest = rest(&credential, &clock).unwrap();
        let least = Duration::from_mins(minutes);
        assert!(rest >= least && rest <= LONGEST_PAUSE.min(least.mul_f64(1.2)), "{minutes}: {rest:?}");
        clock.sleep(rest.saturating_sub(Duration::from_millis(1))).await;
        assert!(matches!(credential.enter(&clock).await, Err(CloudError::CredentialResting { .. })));
        clock.sleep(Duration::from_millis(1)).await;
    }
    credential.enter(&clock).await.unwrap().answered(clock.now(), None);
    refuse(&credential, &clock).await;
    assert!(rest(&credential, &clock).unwrap() <= Duration::from_mins(6), "a proof ends the row");
}

#[tokio::test(start_paused = true)]
async fn after_a_rest_it_is_unproven_again() {
    let (clock, credential) = (VirtualClock::new(), credential());
    refuse(&credential, &clock).await;
    clock.sleep(rest(&credential, &clock).unwrap()).await;
    assert!(matches!(credential.proven(clock.now()), Err(CloudError::CredentialUnproven)));
    let _alone = credential.enter(&clock).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_mins(1), credential.enter(&clock)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn waking_lets_one_request_out() {
    let (clock, credential) = (VirtualClock::new(), credential());
    refuse(&credential, &clock).await;
    credential.wake();
    let _alone = credential.enter(&clock).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_mins(1), credential.enter(&clock)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn answers_to_what_was_sent_before_a_rest_change_nothing() {
    let (clock, credential) = (VirtualClock::new(), credential());
    credential.enter(&clock).await.unwrap().answered(clock.now(), None);
    let mut sent = Vec::new();
    for _ in 0..4 {
        sent.push(credential.enter(&clock).await.unwrap());
    }
    refuse(&credential, &clock).await;
    let rest_before = rest(&credential, &clock);
    for (n, pass) in sent.into_iter().enumerate() {
        pass.answered(clock.now(), (n % 2 == 0).then(refusal).as_ref());
    }
    assert_eq!(rest(&credential, &clock), rest_before, "neither longer nor over");
}

/// A source by script: it returns these one after the other, then the last one always; each takes a
/// second.
#[derive(Debug)]
struct Scripted {
    clock: VirtualClock,
    gives: Arc<Mutex<VecDeque<Given>>>,
    asked: Arc<Mutex<u32>>,
    is_local: bool,
}

#[derive(Debug, Clone, Copy)]
enum Given {
    /// The key of this number, valid for this number of minutes; without an end if there are none.
    Key(u32, u64),
    /// No answer.
    Nothing,
    /// A plain no.
    Forbidden,
}

fn numbered(n: u32) -> Key {
    AccessKey::new(format!("AK{n:03}").into(), format!("SK{n:03}").into(), None).unwrap().into()
}

impl Source for Scripted {
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(async {
            self.clock.sleep(Duration::from_secs(1)).await;
            *self.asked.lock().unwrap() += 1;
            let mut gives = self.gives.lock().unwrap();
            let given = if gives.len() > 1 { gives.pop_front().unwrap() } else { gives[0] };
            match given {
                Given::Key(n, minutes) => {
                    let life = Life::of(Duration::from_mins(minutes), self.clock.now());
                    Ok(Fresh { key: numbered(n), life: (minutes > 0).then_some(life) })
                }
                Given::Nothing => Err(CloudError::Transport(TransportError::Broken("reset".into()))),
                Given::Forbidden => Err(CloudError::Forbidden(refusal())),
            }
        })
    }

    fn is_local(&self) -> bool {
        self.is_local
    }
}

struct Harness {
    clock: VirtualClock,
    credential: Arc<Credential>,
    gives: Arc<Mutex<VecDeque<Given>>>,
    asked: Arc<Mutex<u32>>,
}

impl Harness {
    fn new(gives: impl IntoIterator<Item = Given>) -> Self {
        Self::with(None, false, gives)
    }

    fn with(first: Option<Key>, is_local: bool, gives: impl IntoIterator<Item = Given>) -> Self {
        let clock = VirtualClock::new();
        let (gives, asked) = (Arc::new(Mutex::new(gives.into_iter().collect())), Arc::default());
        let source =
            Scripted { clock: clock.clone(), gives: Arc::clone(&gives), asked: Arc::clone(&asked), is_local };
        let credential = Credential::from_source(first, Box::new(source), &AccountCircuits::default(), 1);
        Self { clock, credential, gives, asked }
    }

    fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }

    /// Sends, and gets this answer; gives the number of the key.
    async fn send(&self, refused: bool) -> Result<u32, CloudError> {
        let pass = self.credential.enter(&self.clock).await?;
        let n = number(&pass);
        pass.answered(self.clock.now(), refused.then(refusal).as_ref());
        Ok(n)
    }

    async fn wait(&self, minutes: u64) {
        self.clock.sleep(Duration::from_mins(minutes)).await;
    }
}

fn number(pass: &Pass<'_>) -> u32 {
    let sent = pass.key().print();
    (0..1000).find(|n| numbered(*n).print() == sent).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_key_is_asked_for_once_for_all_who_wait_and_goes_out_alone() {
    let harness = Harness::new([Given::Key(1, 60)]);
    assert!(matches!(harness.credential.proven(harness.clock.now()), Err(CloudError::CredentialUnproven)));
    let sent = Arc::new(Mutex::new(0));
    let all: Vec<_> = (0..50)
        .map(|_| {
            let (credential, clock, sent) =
                (Arc::clone(&harness.credential), harness.clock.clone(), Arc::clone(&sent));
            tokio::spawn(async move {
                let pass = credential.enter(&clock).await.unwrap();
                *sent.lock().unwrap() += 1;
                let first = *sent.lock().unwrap() == 1;
                clock.sleep(Duration::from_secs(1)).await;
                assert!(!first || *sent.lock().unwrap() == 1, "the first one did not go alone");
                pass.answered(clock.now(), None);
            })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
    assert_eq!((harness.asked(), *sent.lock().unwrap()), (1, 50));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_renewed_before_its_end_and_the_old_one_serves_until_the_new_one_is_proven() {
    let harness = Harness::new([Given::Key(1, 60), Given::Key(2, 60)]);
    assert_eq!(harness.send(false).await.unwrap(), 1);
    harness.wait(47).await;
    assert_eq!((harness.send(false).await.unwrap(), harness.asked()), (1, 1));
    harness.wait(2).await;
    // One request renews and is sent alone with the new one, while the others, PUTs among them, use
    // the old one.
    let probe = harness.credential.enter(&harness.clock).await.unwrap();
    assert_eq!((number(&probe), harness.asked()), (2, 2));
    let beside = harness.credential.enter(&harness.clock).await.unwrap();
    assert_eq!(number(&beside), 1);
    assert_eq!(number(&harness.credential.proven(harness.clock.now()).unwrap()), 1);
    probe.answered(harness.clock.now(), None);
    assert_eq!(number(&harness.credential.proven(harness.clock.now()).unwrap()), 2);
    assert_eq!((harness.send(false).await.unwrap(), harness.asked()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn one_renews_early_and_nobody_waits_for_it() {
    let harness = Harness::new([Given::Key(1, 60), Given::Key(2, 60)]);
    harness.send(false).await.unwrap();
    harness.wait(50).await;
    let renewing = tokio::spawn({
        let (credential, clock) = (Arc::clone(&harness.credential), harness.clock.clone());
        async move { number(&credential.enter(&clock).await.unwrap()) }
    });
    tokio::task::yield_now().await;
    let began = harness.clock.now();
    for _ in 0..20 {
        assert_eq!(harness.send(false).await.unwrap(), 1);
    }
    assert!(harness.clock.now().since(began).is_zero());
    assert_eq!((renewing.await.unwrap(), harness.asked()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_is_not_kept_and_the_old_key_serves_to_its_end() {
    let harness = Harness::new([Given::Key(1, 60), Given::Nothing]);
    harness.send(false).await.unwrap();
    harness.wait(50).await;
    for _ in 0..9 {
        assert_eq!(harness.send(false).await.unwrap(), 1);
        harness.wait(1).await;
    }
    assert!(harness.asked() > 5, "it is tried again: {}", harness.asked());
    harness.wait(2).await;
    let error = harness.send(false).await.unwrap_err();
    assert!(matches!(error, CloudError::SignIn(_)) && error.is_passing(), "{error}");
    assert!(matches!(harness.credential.proven(harness.clock.now()), Err(CloudError::CredentialUnproven)));
    *harness.gives.lock().unwrap() = [Given::Key(2, 60)].into();
    assert_eq!(harness.send(false).await.unwrap(), 2, "at once");
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_renewal_that_fails_fail_with_it() {
    let harness = Harness::new([Given::Nothing]);
    let all: Vec<_> = (0..50)
        .map(|_| {
            let (credential, clock) = (Arc::clone(&harness.credential), harness.clock.clone());
            tokio::spawn(async move { credential.enter(&clock).await.unwrap_err().code() })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), "sign-in");
    }
    assert_eq!(harness.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_says_no_is_not_asked_for_every_reading() {
    let harness = Harness::new([Given::Forbidden]);
    for _ in 0..100 {
        assert_eq!(harness.send(false).await.unwrap_err().code(), "sign-in");
    }
    assert_eq!(harness.asked(), 1);
    harness.wait(1).await;
    harness.send(false).await.unwrap_err();
    assert_eq!(harness.asked(), 2);
    harness.credential.wake();
    harness.send(false).await.unwrap_err();
    assert_eq!(harness.asked(), 3, "a reload asks at once");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_good_and_is_refused_is_renewed_once_and_the_next_refusal_rests() {
    let harness = Harness::new([Given::Key(1, 60), Given::Key(2, 60), Given::Key(3, 60)]);
    harness.send(false).await.unwrap();
    assert_eq!(harness.send(true).await.unwrap(), 1);
    assert_eq!(harness.send(true).await.unwrap(), 2, "renewed at once");
    let resting = harness.send(false).await.unwrap_err();
    assert!(matches!(resting, CloudError::CredentialResting { .. }), "{resting}");
    assert_eq!(harness.asked(), 2);
    harness.wait(7).await;
    assert_eq!(
        (harness.send(false).await.unwrap(), harness.asked()),
        (3, 3),
        "after the rest with another one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changed_is_read_at_the_first_refusal_and_one_that_did_not_rests() {
    let harness = Harness::with(Some(numbered(1)), true, [Given::Key(2, 0)]);
    assert_eq!(harness.send(true).await.unwrap(), 1);
    assert_eq!(harness.send(false).await.unwrap(), 2);
    assert_eq!(harness.asked(), 1);

    let harness = Harness::with(Some(numbered(1)), true, [Given::Key(1, 0)]);
    harness.send(false).await.unwrap();
    assert_eq!(harness.send(true).await.unwrap(), 1);
    for _ in 0..10 {
        assert!(matches!(harness.send(false).await, Err(CloudError::CredentialResting { .. })));
    }
    assert_eq!(harness.asked(), 1, "the file is read once for a refusal");
    harness.wait(7).await;
    assert_eq!(harness.send(false).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reload_reads_the_file_again() {
    let harness = Harness::with(Some(numbered(1)), true, [Given::Key(2, 0)]);
    assert_eq!(harness.send(false).await.unwrap(), 1);
    harness.credential.wake();
    assert!(matches!(harness.credential.proven(harness.clock.now()), Err(CloudError::CredentialUnproven)));
    assert_eq!(harness.send(false).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reload_while_nobody_gives_out_keys_goes_on_with_the_old_one() {
    let harness = Harness::new([Given::Key(1, 60), Given::Nothing]);
    harness.send(false).await.unwrap();
    harness.credential.wake();
    assert_eq!((harness.send(false).await.unwrap(), harness.asked()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_is_refused_leaves_the_old_key_in_place() {
    let harness = Harness::new([Given::Key(1, 60), Given::Key(2, 60)]);
    harness.send(false).await.unwrap();
    harness.wait(50).await;
    assert_eq!(harness.send(true).await.unwrap(), 2);
    assert_eq!(harness.send(false).await.unwrap(), 1);
    assert_eq!(harness.asked(), 2, "not asked again at once");
}

/// Gives keys without any time left.
#[derive(Debug)]
struct Spent(VirtualClock);
impl Source for Spent {
    fn fetch(&self) -> Fetching<'_> {
        let life = Some(Life::of(Duration::ZERO, self.0.now()));
        Box::pin(std::future::ready(Ok(Fresh { key: numbered(1), life })))
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_ended_already_is_an_error_and_not_asked_for_for_ever() {
    let clock = VirtualClock::new();
    let credential =
        Credential::from_source(None, Box::new(Spent(clock.clone())), &AccountCircuits::default(), 1);
    let error = credential.enter(&clock).await.unwrap_err();
    assert!(
        matches!(&error, CloudError::SignIn(cause) if matches!(**cause, CloudError::SpentKey)),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn two_credentials_of_one_access_key_share_one_gate() {
    let (clock, gates) = (VirtualClock::new(), AccountCircuits::default());
    let source = || LocalSource::new(Box::new(|| Ok(key().into())));
    let make = |secret: &str| {
        let key = AccessKey::new("AKEXAMPLE".into(), secret.into(), None).unwrap();
        Credential::from_source(Some(key.into()), source(), &gates, 1)
    };
    let (one, other, wrong) = (make("secret"), make("secret"), make("other"));
    one.enter(&clock).await.unwrap().answered(clock.now(), None);
    assert!(other.proven(clock.now()).is_ok(), "the same key under another name");
    assert!(
        matches!(wrong.proven(clock.now()), Err(CloudError::CredentialUnproven)),
        "another secret is not proven"
    );
    wrong.enter(&clock).await.unwrap().answered(clock.now(), Some(&refusal()));
    for credential in [&one, &other] {
        let resting = credential.proven(clock.now());
        assert!(matches!(resting, Err(CloudError::CredentialResting { .. })), "the access key rests for all");
    }
}

/// A source on this machine whose files hold what a test has written.
#[derive(Clone)]
struct Files(Arc<Mutex<Key>>);

impl Files {
    fn new(key: Key) -> Self {
        Self(Arc::new(Mutex::new(key)))
    }

    fn write(&self, key: Key) {
        *self.0.lock().unwrap() = key;
    }

    fn credential(&self, gates: &AccountCircuits) -> Arc<Credential> {
        let (first, files) = (self.0.lock().unwrap().clone(), self.clone());
        let read = LocalSource::new(Box::new(move || Ok(files.0.lock().unwrap().clone())));
        Credential::from_source(Some(first), read, gates, 1)
    }
}

fn secret(n: u32) -> Key {
    AccessKey::new("AKSAME".into(), format!("SK{n:03}").into(), None).unwrap().into()
}

/// Sends with permission; the API accepts the keys that `good` names. Returns what was sent.
async fn sends(credential: &Credential, clock: &VirtualClock, good: &Key) -> (bool, usize) {
    let sent = Mutex::new(0);
    let answered = credential.sending(clock, || async {
        let pass = credential.enter(clock).await?;
        *sent.lock().unwrap() += 1;
        let refused = (pass.key().print() != good.print()).then(refusal);
        pass.answered(clock.now(), refused.as_ref());
        refused.map_or(Ok(()), |refusal| Err(CloudError::Unauthorized(refusal)))
    });
    let done = answered.await.is_ok();
    (done, *sent.lock().unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_goes_out_again_at_once_with_what_the_files_hold_by_now() {
    for (old, new) in [(numbered(1), numbered(2)), (secret(1), secret(2))] {
        let (clock, files) = (VirtualClock::new(), Files::new(old.clone()));
        let credential = files.credential(&AccountCircuits::default());
        assert_eq!(sends(&credential, &clock, &old).await, (true, 1));
        files.write(new.clone());
        assert_eq!(sends(&credential, &clock, &old).await, (true, 1), "a good key is not read again");
        assert_eq!(sends(&credential, &clock, &new).await, (true, 2));
        assert!(credential.proven(clock.now()).is_ok());
        assert_eq!(sends(&credential, &clock, &new).await, (true, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_files_still_hold_rests_and_one_that_comes_late_is_used_within_a_minute() {
    for (old, new) in [(numbered(1), numbered(2)), (secret(1), secret(2))] {
        let (clock, files) = (VirtualClock::new(), Files::new(old.clone()));
        let credential = files.credential(&AccountCircuits::default());
        assert_eq!(sends(&credential, &clock, &new).await, (false, 1));
        for _ in 0..10 {
            clock.sleep(Duration::from_secs(5)).await;
            assert_eq!(sends(&credential, &clock, &new).await, (false, 0), "it rests");
        }
        files.write(new.clone());
        clock.sleep(Duration::from_secs(31)).await;
        assert_eq!(sends(&credential, &clock, &new).await, (true, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn files_that_never_hold_the_right_secret_do_not_lock_the_access_key() {
    let (clock, files) = (VirtualClock::new(), Files::new(secret(0)));
    let credential = files.credential(&AccountCircuits::default());
    let mut refused = 0;
    for n in 1..60 {
        refused += sends(&credential, &clock, &numbered(9)).await.1;
        files.write(secret(n));
        clock.sleep(Duration::from_secs(5)).await;
    }
    assert!((2..=4).contains(&refused), "{refused} within five minutes");
}

#[tokio::test(start_paused = true)]
async fn those_whose_key_was_refused_together_go_out_again_with_the_new_one() {
    let (clock, files) = (VirtualClock::new(), Files::new(numbered(1)));
    let credential = files.credential(&AccountCircuits::default());
    sends(&credential, &clock, &numbered(1)).await;
    files.write(numbered(2));
    let all: Vec<_> = (0..20)
        .map(|_| {
            let (credential, clock) = (Arc::clone(&credential), clock.clone());
            tokio::spawn(async move {
                let sent = credential.sending(&clock, || async {
                    let pass = credential.enter(&clock).await?;
                    let refused = (number(&pass) == 1).then(refusal);
                    clock.sleep(Duration::from_secs(1)).await;
                    pass.answered(clock.now(), refused.as_ref());
                    refused.map_or(Ok(()), |refusal| Err(CloudError::Unauthorized(refusal)))
                });
                sent.await.is_ok()
            })
        })
        .collect();
    for one in all {
        assert!(one.await.unwrap());
    }
}

/// What outlives a process, and the circuits of consecutive ones.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<String>>);

impl Disk {
    fn gates(&self) -> AccountCircuits {
        let disk = self.clone();
        let before = serde_json::from_str(&self.text()).unwrap_or_default();
        AccountCircuits::remembering("of-a-journal", before, move |kept| {
            *disk.0.lock().unwrap() = serde_json::to_string(&kept).unwrap();
        })
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn six_starts_with_a_wrong_key_are_one_refused_signature() {
    let (clock, disk, files) = (VirtualClock::new(), Disk::default(), Files::new(secret(1)));
    let mut refused = 0;
    for _ in 0..6 {
        let credential = files.credential(&disk.gates());
        refused += sends(&credential, &clock, &secret(2)).await.1;
        let told = credential.in_words(clock.now());
        assert!(told.starts_with("refused; paused until 2026-01-02 03:"), "{told}");
        clock.sleep(Duration::from_secs(40)).await;
    }
    assert_eq!(refused, 1);
    let kept = disk.text();
    assert!(!kept.contains("AKSAME") && !kept.contains("SK001"), "{kept}");
    // The pause continues where it was, and the next one is longer.
    clock.sleep(Duration::from_mins(3)).await;
    let credential = files.credential(&disk.gates());
    assert_eq!(sends(&credential, &clock, &secret(2)).await.1, 1);
    assert!(rest(&credential, &clock).unwrap() >= Duration::from_mins(10));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_changed_before_the_start_and_a_reload_are_not_held_up() {
    let (clock, disk, files) = (VirtualClock::new(), Disk::default(), Files::new(secret(1)));
    sends(&files.credential(&disk.gates()), &clock, &secret(2)).await;
    let woken = files.credential(&disk.gates());
    woken.wake();
    assert_eq!(sends(&woken, &clock, &secret(2)).await, (false, 1), "a reload proves at once");
    for changed in [secret(2), numbered(2)] {
        files.write(changed.clone());
        let credential = files.credential(&disk.gates());
        assert_eq!(sends(&credential, &clock, &changed).await, (true, 1));
    }
    assert_eq!(disk.text(), "[]", "a proof forgets the refusal");
    let again = files.credential(&disk.gates());
    assert_eq!(sends(&again, &clock, &numbered(2)).await, (true, 1));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_makes_no_rest_longer_than_it_was() {
    let (clock, disk, files) = (VirtualClock::new(), Disk::default(), Files::new(secret(1)));
    clock.sleep(Duration::from_hours(9)).await;
    sends(&files.credential(&disk.gates()), &clock, &secret(2)).await;
    let earlier = VirtualClock::new();
    let credential = files.credential(&disk.gates());
    assert_eq!(sends(&credential, &earlier, &secret(2)).await.1, 0);
    let left = rest(&credential, &earlier).unwrap();
    assert!(left <= Duration::from_mins(6) && left >= Duration::from_mins(4), "{left:?}");
}
