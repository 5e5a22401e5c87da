use jiff::Timestamp;

use super::*;
use crate::clocks::VirtualClock;
use crate::cloud::answer::wish;
use crate::cloud::credential::{AccessKey, AccountCircuits, LocalSource};
use crate::cloud::testing::{ScriptedTransport, answer, answer_with, credential, key};
use crate::cloud::transport::{Method, Request, Response};
use crate::model::answer::Meaning;

const NO_TASKS: &str = r#"{"totalSize":0,"detailList":[]}"#;

struct Harness {
    client: Arc<Client<ScriptedTransport, VirtualClock>>,
    script: ScriptedTransport,
    clock: VirtualClock,
    credential: Arc<Credential>,
}

impl Harness {
    fn new(answers: impl IntoIterator<Item = Result<Response, TransportError>>) -> Self {
        Self::sharing(credential(), answers)
    }

    fn sharing(
        credential: Arc<Credential>,
        answers: impl IntoIterator<Item = Result<Response, TransportError>>,
    ) -> Self {
        let (script, clock) = (ScriptedTransport::new(answers), VirtualClock::new());
        let options = Options {
            endpoint: "https://css.eu-west-101.myhuaweicloud.com".to_owned(),
            project: ProjectId::new("6204a5bd270343b5885144cf9c8c158d").unwrap().into(),
            ca_pem: None,
            proxy: None,
            request_timeout: Duration::from_secs(30),
            limits: Limits::default(),
            credential: Arc::clone(&credential),
            seed: 1,
            meter: None,
        };
        let client = Arc::new(Client::new(script.clone(), options, Arc::new(clock.clone())).unwrap());
        Self { client, script, clock, credential }
    }

    async fn read(&self) -> Result<TaskList, CloudError> {
        self.client.tasks(&cluster(), TaskKind::Upgrade).await.map(|(_, list)| list)
    }

    /// A PUT after a first read, which the script must answer.
    async fn put(&self) -> Delivery {
        self.read().await.unwrap();
        let permit = self.client.permit().await.unwrap();
        self.client.retry(&cluster(), &task(), permit).await
    }

    fn puts(&self) -> usize {
        self.script.sent().iter().filter(|request| request.method == Method::Put).count()
    }
}

fn cluster() -> ClusterId {
    ClusterId::new("c-1").unwrap()
}

fn task() -> TaskId {
    TaskId::new("t-1").unwrap()
}

fn broken() -> Result<Response, TransportError> {
    Err(TransportError::Broken("reset".into()))
}

#[expect(clippy::unnecessary_wraps, reason = "as a script takes it")]
fn cut(status: u16) -> Result<Response, TransportError> {
    Ok(Response { status, headers: Vec::new(), body: Err(TransportError::Broken("cut".into())) })
}

fn urls(requests: &[Request]) -> Vec<String> {
    let base = "https://css.eu-west-101.myhuaweicloud.com/v1.0/6204a5bd270343b5885144cf9c8c158d/clusters";
    requests.iter().map(|request| request.url().strip_prefix(base).unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_call_has_its_url() {
    let failed = r#"{"totalSize":1,"detailList":[{"id":"t-1","status":"FAILED","completedNodes":""}]}"#;
    let harness = Harness::new([
        answer(200, r#"{"totalSize":0,"clusters":[]}"#),
        answer(200, r#"{"id":"c-1"}"#),
        answer(200, failed),
    ]);
    harness.client.clusters().await.unwrap();
    harness.client.cluster(&cluster()).await.unwrap();
    let tasks = harness.read().await.unwrap();
    harness.client.tasks(&cluster(), TaskKind::AzSwitchover).await.unwrap();
    let (one, other) = (harness.client.permit().await.unwrap(), harness.client.permit().await.unwrap());
    harness.client.retry(&cluster(), &task(), one).await;
    harness.client.abort(&cluster(), &tasks.tasks[0].abortable().unwrap(), other).await;
    let sent = harness.script.sent();
    assert_eq!(
        urls(&sent),
        [
            "?limit=1000",
            "/c-1",
            "/c-1/upgrade/detail?limit=1000",
            "/c-1/upgrade/detail?action_mode=AZ_MIGRATION&limit=1000",
            "/c-1/upgrade/t-1/retry",
            "/c-1/upgrade/t-1/retry?retry_mode=abort",
        ]
    );
    let methods: Vec<Method> = sent.iter().map(|request| request.method).collect();
    let (get, put) = (Method::Get, Method::Put);
    assert_eq!(methods, [get, get, get, get, put, put]);
    for request in &sent {
        assert_eq!(request.header("host"), Some("css.eu-west-101.myhuaweicloud.com"));
        let authorization = request.header("authorization").unwrap();
        assert!(authorization.contains("SignedHeaders=content-type;host;x-project-id;x-sdk-date, "));
    }
}

#[tokio::test(start_paused = true)]
async fn further_pages_name_the_index_by_both_names() {
    let harness = Harness::new([
        answer(200, r#"{"totalSize":3,"clusters":[{"id":"a"},{"id":"b"}]}"#),
        answer(200, r#"{"totalSize":3,"clusters":[{"id":"c"}]}"#),
    ]);
    let list = harness.client.clusters().await.unwrap();
    assert!(list.is_complete() && list.clusters.len() == 3);
    assert_eq!(urls(&harness.script.sent()), ["?limit=1000", "?limit=1000&offset=3&start=3"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_stays_short_is_not_complete() {
    let page = r#"{"totalSize":2,"detailList":[{"id":"a"}],"clusters":[{"id":"a"}]}"#;
    let harness = Harness::new((0..4).map(|_| answer(200, page)));
    assert!(!harness.read().await.unwrap().is_complete());
    assert!(!harness.client.clusters().await.unwrap().is_complete());
    assert_eq!(harness.script.sent().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn two_different_tasks_of_one_id_make_the_list_incomplete() {
    let twice =
        |other: &str| format!(r#"{{"totalSize":1,"detailList":[{{"id":"a","status":"FAILED"}},{other}]}}"#);
    let harness = Harness::new([
        answer(200, &twice(r#"{"id":"a","status":"RUNNING"}"#)),
        answer(200, &twice(r#"{"id":"a","status":"FAILED"}"#)),
    ]);
    assert!(!harness.read().await.unwrap().is_complete());
    let merged = harness.read().await.unwrap();
    assert!(merged.is_complete() && merged.tasks.len() == 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_of_the_service_is_an_error_by_meaning() {
    for (status, body, code) in [
        (202, r#"{"errCode":"CSS.0011","externalMessage":"busy"}"#, "busy"),
        (200, r#"{"totalSize":0,"detailList":[],"errCode":"CSS.0047"}"#, "gone"),
        (200, "<html>sign in</html>", "wrong-address"),
        (200, "[]", "unreadable"),
        (200, "", "unreadable"),
        (200, r#"{"totalSize":1,"detailList":[{"id""#, "unreadable"),
        (204, "", "unreadable"),
        (302, "", "wrong-address"),
        (403, r#"{"errCode":"CSS.0015","externalMessage":"m"}"#, "gone"),
        (404, r#"{"error_code":"APIGW.0101","error_msg":"m"}"#, "wrong-address"),
    ] {
        let harness = Harness::new([answer(status, body)]);
        let error = harness.read().await.unwrap_err();
        assert_eq!(error.code(), code, "{status} {body}: {error}");
        assert_eq!(harness.script.sent().len(), 1, "{status} {body} was read again");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_keeps_code_message_request_id_and_wish() {
    let mut response =
        answer_with(429, ("X-Request-Id", "r-1"), r#"{"error_code":"APIGW.0308","error_msg":"slow"}"#)
            .unwrap();
    response.headers.push(("Retry-After".to_owned(), "120".to_owned()));
    let error = Harness::new([Ok(response)]).read().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_mins(2)));
    assert_eq!(
        error.to_string(),
        "the API throttled the request: 429 APIGW.0308 (slow), retry after 2m, request id r-1"
    );
    let error = Harness::new([answer_with(404, ("x-iam-trace-id", "t-1"), "")]).read().await.unwrap_err();
    assert_eq!(error.refusal().unwrap().request_id.as_deref(), Some("t-1"));
}

#[test]
fn a_wish_to_wait_is_in_seconds_or_a_date_and_bounded() {
    let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    for (text, seconds) in [
        ("120", Some(120)),
        (" 7 ", Some(7)),
        ("0", Some(0)),
        ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60)),
        ("Fri, 02 Jan 2026 03:00:00 GMT", Some(0)),
        ("18446744073709551615", Some(86_400)),
        ("99999999999999999999999", None),
        ("-5", None),
        ("soon", None),
        ("", None),
    ] {
        assert_eq!(wish(text, now), seconds.map(Duration::from_secs), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reading_is_repeated_with_a_new_signature_and_a_put_never() {
    let harness = Harness::new([answer(503, ""), broken(), answer(200, NO_TASKS)]);
    harness.read().await.unwrap();
    let sent = harness.script.sent();
    assert_eq!(sent.len(), 3);
    assert_ne!(sent[0].header("authorization"), sent[1].header("authorization"));
    for bad in
        [answer(503, ""), broken(), answer(429, ""), cut(200), Err(TransportError::Connect("x".into()))]
    {
        let harness = Harness::new([answer(200, NO_TASKS), bad]);
        harness.put().await;
        harness.clock.sleep(Duration::from_mins(10)).await;
        assert_eq!(harness.puts(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_clocks_offset_is_known_even_from_a_refusal() {
    let harness = Harness::new([answer_with(401, ("Date", "Fri, 02 Jan 2026 02:44:05 GMT"), "")]);
    assert_eq!(harness.client.clock_offset(), None);
    harness.read().await.unwrap_err();
    let offset = harness.client.clock_offset().unwrap();
    assert_eq!(offset.as_secs(), 20 * 60 + 1, "the script takes a second");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_is_sent_once_however_many_readings_wait() {
    let refused = || answer(401, r#"{"error_code":"APIGW.0301","error_msg":"verify aksk signature fail"}"#);
    let shared = credential();
    let rigs = [0, 1].map(|_| Harness::sharing(Arc::clone(&shared), (0..9).map(|_| refused())));
    let mut readings = Vec::new();
    for harness in &rigs {
        for _ in 0..500 {
            let client = Arc::clone(&harness.client);
            readings.push(tokio::spawn(async move { client.tasks(&cluster(), TaskKind::Upgrade).await }));
        }
    }
    let mut codes = std::collections::BTreeMap::new();
    for reading in readings {
        *codes.entry(reading.await.unwrap().unwrap_err().code()).or_insert(0) += 1;
    }
    assert_eq!(codes, std::collections::BTreeMap::from([("unauthorized", 1), ("credential-resting", 999)]));
    let sent = || rigs.iter().map(|harness| harness.script.sent().len()).sum::<usize>();
    assert_eq!(sent(), 1);
    rigs[0].clock.sleep(Duration::from_mins(6)).await;
    rigs[1].read().await.unwrap_err();
    rigs[0].read().await.unwrap_err();
    assert_eq!(sent(), 2);
    shared.wake();
    rigs[0].read().await.unwrap_err();
    assert_eq!(sent(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_reading_whose_key_is_refused_goes_out_again_with_the_one_that_the_files_hold_by_now() {
    let new = || AccessKey::new("AKROTATED".into(), "SKROTATED".into(), None).unwrap();
    let files = LocalSource::new(Box::new(move || Ok(new().into())));
    let rotated = || Credential::from_source(Some(key().into()), files, &AccountCircuits::default(), 1);
    let harness =
        Harness::sharing(rotated(), [answer(200, NO_TASKS), answer(401, ""), answer(200, NO_TASKS)]);
    harness.read().await.unwrap();
    harness.read().await.unwrap();
    let signed = |request: &Request| request.header("authorization").unwrap().contains("AKROTATED");
    assert_eq!(harness.script.sent().iter().map(signed).collect::<Vec<_>>(), [false, false, true]);
    assert!(harness.client.permit().await.is_ok(), "and nothing rests");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_counts_even_where_its_body_is_cut_or_too_long() {
    let too_long =
        Response { status: 401, headers: Vec::new(), body: Err(TransportError::TooLong { limit: 1 }) };
    for refused in [cut(401), Ok(too_long)] {
        let harness = Harness::new([refused]);
        assert_eq!(harness.read().await.unwrap_err().code(), "unauthorized");
        assert_eq!(harness.read().await.unwrap_err().code(), "credential-resting");
        assert_eq!(harness.script.sent().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn any_answer_but_a_refusal_proves_the_credential_and_no_answer_proves_nothing() {
    let harness = Harness::new([broken(), broken(), broken(), answer(500, ""), answer(404, "")]);
    assert_eq!(harness.read().await.unwrap_err().code(), "transport");
    assert_eq!(harness.client.permit().await.unwrap_err().code(), "credential-unproven");
    assert_eq!(harness.read().await.unwrap_err().code(), "wrong-address");
    drop(harness.client.permit().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_repeats_the_key_is_masked() {
    let harness = Harness::new([answer_with(
        401,
        ("X-Request-Id", "AKEXAMPLE0000000TEST"),
        r#"{"error_code":"APIGW.0301","error_msg":"Get secretKey failed,ak:AKEXAMPLE0000000TEST,err:ak not exist"}"#,
    )]);
    let error = format!("{:?}", harness.read().await.unwrap_err());
    assert!(!error.contains("AKEXAMPLE") && error.contains("ak not exist"), "{error}");
    let harness = Harness::new([answer(200, r#"{"totalSize":"AKEXAMPLE0000000TEST"}"#)]);
    let error = format!("{:?}", harness.read().await.unwrap_err());
    assert!(!error.contains("AKEXAMPLE"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_put_needs_a_proven_credential_when_it_leaves() {
    let harness = Harness::new([answer(200, NO_TASKS), answer(401, "")]);
    harness.read().await.unwrap();
    let permit = harness.client.permit().await.unwrap();
    harness.read().await.unwrap_err();
    let reply = harness.client.retry(&cluster(), &task(), permit).await;
    let Delivery::NotSent(why) = reply else { panic!("{reply:?}") };
    assert_eq!(why, harness.client.permit().await.unwrap_err().to_string());
    assert_eq!(harness.puts(), 0);
    assert_eq!(harness.client.permit().await.unwrap_err().code(), "credential-resting");
    harness.credential.wake();
    assert_eq!(harness.client.permit().await.unwrap_err().code(), "credential-unproven");
}

/// A process that was paused between the commit of the intent and the PUT sends nothing.
#[tokio::test(start_paused = true)]
async fn a_put_that_comes_too_late_is_not_sent() {
    for (wait, is_sent) in [(Duration::from_secs(5), true), (Duration::from_millis(5_001), false)] {
        let harness = Harness::new([answer(200, NO_TASKS), answer(200, "")]);
        harness.read().await.unwrap();
        let permit = harness.client.permit().await.unwrap();
        let span = SendingSpan::new(harness.clock.now(), Duration::from_mins(5));
        tokio::time::advance(wait).await;
        let delivery = harness.client.retry(&cluster(), &task(), permit.within(span)).await;
        assert_eq!(harness.puts(), usize::from(is_sent));
        match delivery {
            Delivery::Sent(_) => assert!(is_sent),
            Delivery::NotSent(why) => {
                assert!(!is_sent && why.contains("since its intent was journaled"), "{why}");
            }
        }
    }
}

#[test]
fn a_put_begins_within_a_quarter_of_the_time_after_which_it_counts_as_not_accepted() {
    let now = VirtualClock::new().now();
    for (settle_timeout, begins_within) in [(300_000, 5_000), (20_000, 5_000), (2_000, 500)] {
        let span = SendingSpan::new(now, Duration::from_millis(settle_timeout));
        assert_eq!(span.begins_by.since(now.mono), Duration::from_millis(begins_within));
        assert_eq!(span.over_by.since(now.mono), Duration::from_millis(settle_timeout));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_put_begins_a_rest() {
    let harness = Harness::new([answer(200, NO_TASKS), answer(401, "")]);
    assert_eq!(answered(harness.put().await).status, Some(401));
    assert_eq!(harness.read().await.unwrap_err().code(), "credential-resting");
}

fn answered(delivery: Delivery) -> Answer {
    match delivery {
        Delivery::Sent(answer) => answer,
        Delivery::NotSent(why) => panic!("it was not sent: {why}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_puts_answer_has_its_meaning() {
    for (status, body, code, meaning) in [
        (200, "", None, Meaning::Accepted),
        (200, "{}", None, Meaning::Accepted),
        (200, r#"{"errCode":"CSS.0078","externalMessage":"m"}"#, Some("CSS.0078"), Meaning::Unknown),
        (202, r#"{"errCode":"CSS.0011","externalMessage":"m"}"#, Some("CSS.0011"), Meaning::Busy),
        (200, "<html>", None, Meaning::Unknown),
        (200, r#"{"errCode":"CSS."#, None, Meaning::Unknown),
        (400, "<html>", None, Meaning::WrongAddress),
        (400, "{}", None, Meaning::NotAcceptable),
        (
            403,
            r#"{"error_code":"APIGW.0302","error_msg":"m"}"#,
            Some("APIGW.0302"),
            Meaning::ForbiddenProject,
        ),
        (401, r#"{"error":{"code":401,"message":"m"}}"#, Some("401"), Meaning::Unauthorized),
        (500, "<html>", None, Meaning::Unknown),
        (302, "", None, Meaning::WrongAddress),
    ] {
        let harness = Harness::new([answer(200, NO_TASKS), answer(status, body)]);
        let found = answered(harness.put().await);
        assert_eq!(
            (found.status, found.code.as_deref(), found.meaning),
            (Some(status), code, meaning),
            "{body}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_without_a_whole_answer_is_lost_unless_it_certainly_never_left() {
    let kinds = |delivery: &Delivery| match delivery {
        Delivery::Sent(Answer { status: None, meaning: Meaning::Unknown, .. }) => "lost",
        Delivery::Sent(_) => "answer",
        Delivery::NotSent(_) => "not sent",
    };
    for (answered, expected) in [
        (broken(), "lost"),
        (Err(TransportError::Timeout("slow".into())), "lost"),
        (Err(TransportError::Connect("refused".into())), "not sent"),
        (Err(TransportError::Invalid("header".into())), "not sent"),
        (cut(200), "lost"),
        (cut(404), "lost"),
        (cut(401), "answer"),
        (cut(403), "answer"),
        (cut(429), "answer"),
        (cut(503), "answer"),
        (
            Ok(Response {
                status: 404,
                headers: Vec::new(),
                body: Err(TransportError::TooLong { limit: 9 }),
            }),
            "answer",
        ),
    ] {
        let shown = format!("{answered:?}");
        let harness = Harness::new([answer(200, NO_TASKS), answered]);
        assert_eq!(kinds(&harness.put().await), expected, "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unused_permit_gives_its_place_back() {
    let harness = Harness::new([answer(200, NO_TASKS)]);
    harness.read().await.unwrap();
    let in_flight = Limits::default().max_requests_in_flight;
    let mut permits = Vec::new();
    for _ in 0..in_flight {
        permits.push(harness.client.permit().await.unwrap());
    }
    let waiting = tokio::time::timeout(Duration::from_mins(1), harness.client.permit());
    assert!(waiting.await.is_err());
    permits.pop();
    drop(harness.client.permit().await.unwrap());
}

#[test]
fn an_endpoint_must_be_https_or_loopback_and_end_after_the_port() {
    for good in [
        "https://css.eu-west-101.myhuaweicloud.com",
        "https://CSS.example.com:8443/",
        "http://127.0.0.1:9000",
        "http://[::1]:9000",
        "http://localhost",
    ] {
        assert!(Endpoint::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "css.example.com",
        "http://css.example.com",
        "http://127.0.0.1.example.com",
        "http://0.0.0.0:1",
        "ftp://127.0.0.1",
        "https://example.com/path",
        "https://example.com?x=1",
        "https://example.com#x",
        "https://user:hunter2@example.com",
        "file:///etc/passwd",
    ] {
        let error = Endpoint::parse(bad).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_halves_the_rate_and_holds_everything_back_for_as_long_as_it_asks() {
    let throttled = answer_with(429, ("retry-after", "2"), r#"{"error_code":"APIGW.0308","error_msg":"m"}"#);
    let harness = Harness::new([throttled]);
    let (before, began) = (harness.client.requests_per_second().unwrap(), harness.clock.now());
    harness.read().await.unwrap();
    assert_eq!(harness.script.sent().len(), 2, "the reading is repeated");
    assert!(
        harness.clock.now().since(began) >= Duration::from_secs(4),
        "1 s for each answer, 2 s of waiting"
    );
    let after = harness.client.requests_per_second().unwrap();
    assert!((0.5..0.52).contains(&(after / before)), "{after} of {before}");
}

/// Reads of a cluster and of its tasks with this body as answer: the results.
async fn both(body: &str) -> [Result<(), CloudError>; 2] {
    let harness = Harness::new([answer(200, body), answer(200, body)]);
    let cluster_read = harness.client.cluster(&cluster()).await.map(drop);
    [cluster_read, harness.read().await.map(drop)]
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_cut_at_any_byte_is_no_answer() {
    let tasks = r#"{"totalSize":1,"detailList":[{"id":"t-1","startTime":"2026-01-01T00:00:00","status":"FAILED","completedNodes":"","totalNodes":"a,b"}]}"#;
    let detail = r#"{"id":"c-1","name":"logs","status":"200","actions":[],"datastore":{"type":"elasticsearch","version":"7.10.2"}}"#;
    assert!(both(tasks).await[1].is_ok() && both(detail).await[0].is_ok());
    for whole in [tasks, detail] {
        for end in 0..whole.len() {
            for read in both(&whole[..end]).await {
                assert_eq!(read.unwrap_err().code(), "unreadable", "{}", &whole[..end]);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_types_deep_nesting_and_doubled_keys_are_no_failed_task() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let task = |rest: &str| format!(r#"{{"totalSize":1,"detailList":[{{"id":"t-1",{rest}}}]}}"#);
    for body in [
        deep.clone(),
        format!(r#"{{"totalSize":1,"detailList":{deep}}}"#),
        task(&format!(r#""status":{deep}"#)),
        r#"{"totalSize":1,"detailList":"FAILED"}"#.to_owned(),
        r#"{"totalSize":1,"detailList":[7,null,"x"]}"#.to_owned(),
        task(r#""status":["FAILED"]"#),
        task(r#""status":{"a":"FAILED"}"#),
        task(r#""status":"RUNNING","status":"FAILED""#),
        task(r#""status":"FAILED","status":"RUNNING""#),
        r#"{"totalSize":1,"detailList":[],"detailList":[{"id":"t-1","status":"FAILED"}]}"#.to_owned(),
        r#"{"totalSize":0,"totalSize":1,"detailList":[{"id":"t-1","status":"FAILED"}]}"#.to_owned(),
    ] {
        let harness = Harness::new([answer(200, &body)]);
        let failed = match harness.read().await {
            Err(error) => {
                assert_eq!(error.code(), "unreadable", "{}", shown(&body, 200));
                continue;
            }
            Ok(list) => {
                let failed =
                    list.tasks.iter().any(|task| task.status == crate::model::task::TaskStatus::Failed);
                list.is_complete() && failed
            }
        };
        assert!(!failed, "taken for a failed task: {}", shown(&body, 200));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_another_cluster_is_no_answer() {
    let harness = Harness::new([answer(200, r#"{"id":"c-2","name":"other","status":"200"}"#)]);
    assert_eq!(harness.client.cluster(&cluster()).await.unwrap_err().code(), "unreadable");
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_body_and_one_that_is_encoded_say_so_and_what_to_do() {
    let encoded = |status| {
        let body = Err(TransportError::Encoded { coding: "gzip".to_owned() });
        Ok(Response { status, headers: Vec::new(), body })
    };
    for (answered, code, told) in [
        (answer(200, ""), "unreadable", "the response cannot be read: an empty body"),
        (answer(204, ""), "unreadable", "the response cannot be read: 204"),
        (encoded(200), "wrong-address", "answered: 200 (the response has a Content-Encoding (gzip)"),
        (encoded(400), "wrong-address", "answered: 400 (the response has a Content-Encoding (gzip)"),
        (encoded(403), "forbidden", "as forbidden: 403 (the response has a Content-Encoding (gzip)"),
    ] {
        let error = Harness::new([answered]).read().await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
    let harness = Harness::new([answer(200, NO_TASKS), encoded(200)]);
    let Answer { status, message, meaning, .. } = answered(harness.put().await);
    assert_eq!((status, meaning), (Some(200), Meaning::Unknown), "what settles by reading");
    assert!(message.contains("Content-Encoding (gzip)"), "{message}");
}
