//! Channels that post over HTTP: what an answer means, whom they trust, and through what they go.

use std::sync::Arc;
use std::time::Duration;

use upgrade_remediator::model::proxy::{Login, Proxy};
use upgrade_remediator::model::secret::Secret;
use upgrade_remediator::notify::channel::alertmanager::Alertmanager;
use upgrade_remediator::notify::channel::chat::{Chat, Service};
use upgrade_remediator::notify::channel::webhook::Webhook;
use upgrade_remediator::notify::channel::{Channel, Network, SendError, Taken};

use crate::peers::{Http, Private, message, times};

fn chat(service: Service, url: &str, network: &Network) -> Chat {
    let now = Arc::new(|| "2026-06-01T12:00:00Z".parse().unwrap());
    Chat::new(service, &Secret::from(url), None, now, network).unwrap()
}

async fn told(service: Service, status: u16, headers: &str, body: &str) -> Result<Taken, SendError> {
    let server = Http::start(None, status, headers, body).await;
    let url = format!("http://127.0.0.1:{}/hook", server.port);
    chat(service, &url, &Network::default()).send(&message()).await
}

#[tokio::test]
async fn a_limit_of_rate_and_a_fault_of_the_service_are_not_of_the_message() {
    for (service, status, body) in [
        (Service::Feishu, 400, r#"{"code":9499,"msg":"too many request"}"#),
        (Service::Feishu, 200, r#"{"code":9499,"msg":"too many request"}"#),
        (
            Service::Feishu,
            400,
            r#"{"code":11232,"msg":"frequency limited psm[lark.oapi.app_platform_runtime]"}"#,
        ),
        (Service::Feishu, 400, r#"{"code":99991400,"msg":"request trigger frequency limit"}"#),
        (Service::Feishu, 400, r#"{"code":230020,"msg":"This operation triggers the frequency limit."}"#),
        (Service::Feishu, 400, r#"{"code":2200,"msg":"internal error"}"#),
        (
            Service::Feishu,
            400,
            r#"{"code":19021,"msg":"sign match fail or timestamp is not within one hour"}"#,
        ),
        (Service::Feishu, 200, r#"{"code":19024,"msg":"Key Words Not Found"}"#),
        (
            Service::DingTalk,
            200,
            r#"{"errcode":130101,"errmsg":"send too fast, exceed 20 times per minute"}"#,
        ),
        (Service::DingTalk, 400, r#"{"errcode":410100,"errmsg":"send too fast"}"#),
        (Service::DingTalk, 400, r#"{"errcode":90018,"errmsg":"qps limited"}"#),
        (Service::DingTalk, 400, r#"{"errcode":-1,"errmsg":"system busy"}"#),
        (Service::DingTalk, 400, r#"{"errcode":400101,"errmsg":"token is not exist"}"#),
        (Service::WeCom, 400, r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#),
        (Service::WeCom, 400, r#"{"errcode":45033,"errmsg":"api concurrent out of limit"}"#),
        (Service::WeCom, 200, r#"{"errcode":-1,"errmsg":"system busy"}"#),
        (Service::WeCom, 400, r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#),
        (Service::Slack, 429, "rate_limited"),
        (Service::Slack, 400, "rate_limited"),
        (Service::Slack, 500, "rollup_error"),
        (Service::Slack, 400, "user_not_found"),
        (Service::Slack, 403, "invalid_token"),
    ] {
        let error = told(service, status, "", body).await.unwrap_err();
        assert!(!error.refused, "{service:?} {status} {body}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_message_is_known_by_its_code() {
    for (service, status, body) in [
        (Service::Feishu, 400, r#"{"code":9499,"msg":"Bad Request","data":{}}"#),
        (Service::Feishu, 200, r#"{"code":9499,"msg":"Bad Request","data":{}}"#),
        (Service::Feishu, 200, r#"{"code":19002,"msg":"params error, msg_type need"}"#),
        (
            Service::Feishu,
            200,
            r#"{"code":230025,"msg":"The length of the message content reaches its limit."}"#,
        ),
        (Service::DingTalk, 200, r#"{"errcode":460101,"errmsg":"message too long"}"#),
        (Service::DingTalk, 200, r#"{"errcode":430104,"errmsg":"unsuitable content"}"#),
        (Service::WeCom, 200, r#"{"errcode":40058,"errmsg":"markdown.content exceed max length 4096"}"#),
        (Service::WeCom, 200, r#"{"errcode":45002,"errmsg":"content size out of limit"}"#),
        // The status speaks where the code is not known, or none is there.
        (Service::Feishu, 400, r#"{"code":4711,"msg":"who knows"}"#),
        (Service::WeCom, 413, "<html>too large</html>"),
        (Service::Slack, 400, "invalid_payload"),
        (Service::Slack, 400, "no_text"),
    ] {
        let error = told(service, status, "", body).await.unwrap_err();
        assert!(error.refused, "{service:?} {status} {body}: {error:?}");
    }
}

#[tokio::test]
async fn a_refusal_says_what_came_and_how_long_to_wait() {
    let body = r#"{"code":9499,"msg":"too many request"}"#;
    let error = told(Service::Feishu, 400, "Retry-After: 7\r\n", body).await.unwrap_err();
    assert_eq!(error.detail, "HTTP 400: refused with code 9499: too many request");
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    let dates = "Date: Mon, 01 Jun 2026 12:00:00 GMT\r\nRetry-After: Mon, 01 Jun 2026 12:00:40 GMT\r\n";
    let error = told(Service::Slack, 429, dates, "rate_limited").await.unwrap_err();
    assert_eq!(
        (error.detail.as_str(), error.retry_after),
        ("HTTP 429: rate_limited", Some(Duration::from_secs(40)))
    );
}

/// Channels of each kind that posts, to the same place.
fn all(url: &str, network: &Network) -> Vec<Box<dyn Channel>> {
    let secret = Secret::from(url);
    let mut all: Vec<Box<dyn Channel>> = vec![
        Box::new(Webhook::new(&secret, None, network).unwrap()),
        Box::new(Alertmanager::new(&secret, network).unwrap()),
    ];
    for service in [Service::Slack, Service::Feishu, Service::DingTalk, Service::WeCom] {
        all.push(Box::new(chat(service, url, network)));
    }
    all
}

/// What each of the services takes for a yes.
const TAKEN: &str = r#"{"code":0,"errcode":0}"#;

#[tokio::test]
async fn a_server_of_a_private_ca_is_trusted_with_ca_file_only() {
    let private = Private::new();
    let server = Http::start(Some(&private), 200, "", TAKEN).await;
    let url = format!("https://127.0.0.1:{}/hook", server.port);
    let network = Network { ca_pem: Some(private.ca_pem.clone()), proxy: None };
    for channel in all(&url, &network) {
        assert_eq!(channel.send(&message()).await, Ok(Taken::default()), "{}", channel.kind());
    }
    let other = Network { ca_pem: Some(Private::new().ca_pem), proxy: None };
    for channel in all(&url, &Network::default()).into_iter().chain(all(&url, &other)) {
        let error = channel.send(&message()).await.unwrap_err();
        assert_eq!(times("invalid peer certificate", &error.detail), 1, "{}: {error}", channel.kind());
    }
}

/// A proxy at which nobody signs in.
fn proxy_at(port: u16) -> Proxy {
    Proxy { url: format!("http://127.0.0.1:{port}"), login: None }
}

#[tokio::test]
async fn requests_go_through_the_proxy_that_the_channel_names() {
    let proxy = Http::start(None, 200, "", TAKEN).await;
    let network = Network { ca_pem: None, proxy: Some(proxy_at(proxy.port)) };
    let secret = Secret::from("http://alerts.example.invalid/hook");
    let webhook = Webhook::new(&secret, None, &network).unwrap();
    assert_eq!(webhook.send(&message()).await, Ok(Taken::default()));
    let encrypted = chat(Service::Slack, "https://chat.example.invalid/hook", &network);
    assert!(encrypted.send(&message()).await.is_err());
    assert_eq!(
        proxy.got(),
        ["POST http://alerts.example.invalid/hook HTTP/1.1", "CONNECT chat.example.invalid:443 HTTP/1.1"]
    );
}

#[tokio::test]
async fn a_proxy_that_wants_a_user_is_told_with_what_to_give_and_a_refused_one_is_not_tried_on_and_on() {
    let login = Login { user: "robot".to_owned(), password: "canary-hunter2".into() };
    for (login, told, wait) in [
        (None, "asks for a user and password (407): give proxy_user and proxy_password", None),
        (
            Some(login),
            "refused the user and password that it was given (407): check",
            Some(Duration::from_hours(1)),
        ),
    ] {
        let proxy =
            Http::start(None, 407, "Proxy-Authenticate: Basic realm=\"x\"\r\n", "canary-hunter2").await;
        let network = Network { ca_pem: None, proxy: Some(Proxy { login, ..proxy_at(proxy.port) }) };
        let plain =
            Webhook::new(&Secret::from("http://alerts.example.invalid/hook"), None, &network).unwrap();
        let encrypted = chat(Service::Slack, "https://chat.example.invalid/hook", &network);
        for channel in [&plain as &dyn Channel, &encrypted] {
            let error = channel.send(&message()).await.unwrap_err();
            assert!(error.detail.contains(told) && !error.detail.contains("hunter2"), "{error:?}");
            assert_eq!((error.refused, error.retry_after), (false, wait), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_dead_receiver_is_told_of_once() {
    let nobody = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    for channel in all(&format!("http://{nobody}/hook"), &Network::default()) {
        let error = channel.send(&message()).await.unwrap_err();
        assert_eq!(times("refused", &error.detail), 1, "{}: {error}", channel.kind());
    }
}
