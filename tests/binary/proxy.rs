//! A proxy that asks for user and password: everything goes through it, a changed password is taken at a reload, and who
//! is refused is told what to mend. No host of this configuration exists anywhere but at the proxy.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use crate::peers::{Http, Private};
use crate::support::proxy::LoginProxy;
use crate::support::{Bench, CALLS_A_HUMAN, FAILED_ONCE, Process, RETRIES, eventually, let_pass};

const USER: &str = "robot";
const PASSWORD: &str = "PXcanary &%:0123456789";
const WRONG: &str = "WRcanary &%:0123456789";
const AK_SK: &str = "type = \"ak-sk\"\naccess_key = { env = \"TEST_ACCESS_KEY\" }\nsecret_key = { env = \"TEST_SECRET_KEY\" }\n";
const USERS: &str = "[[user]]\nname = \"robot\"\npassword = \"pw\"\ndomain = \"account\"\n[[agency]]\nname = \"remediator\"\ndomain = \"other\"\n";

/// TLS before what speaks none.
async fn front(private: &Private, behind: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = private.acceptor.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut service = TcpStream::connect(behind).await?;
                let mut client = acceptor.accept(client).await?;
                tokio::io::copy_bidirectional(&mut client, &mut service).await.map(drop)
            });
        }
    });
    address
}

/// A bench whose project is behind a proxy, and two channels behind it.
struct Behind {
    bench: Bench,
    proxy: LoginProxy,
    hook: Http,
    chat: Http,
}

impl Behind {
    async fn new(policy: &str) -> Self {
        let private = Private::new();
        let bench = Bench::new(&format!("{FAILED_ONCE}{USERS}"), policy).await;
        let cloud = front(&private, bench.simulator.address()).await;
        let hook = Http::start(None, 200, "", "").await;
        let chat = Http::start(Some(&private), 200, "", "ok").await;
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let hosts = [
            ("css.proxied.invalid", cloud),
            ("iam.proxied.invalid", cloud),
            ("sts.proxied.invalid", cloud),
            ("hook.proxied.invalid", local(hook.port)),
            ("chat.proxied.invalid", local(chat.port)),
        ];
        let proxy = LoginProxy::start(&hosts, USER, PASSWORD).await;
        let ca = bench.folder.path().join("ca.pem");
        fs::write(&ca, &private.ca_pem).unwrap();
        bench.edit(&bench.simulator.url(), "https://css.proxied.invalid");
        let behind = Self { bench, proxy, hook, chat };
        behind.password(PASSWORD);
        let way = behind.way();
        let ca = format!("ca_file = \"{}\"\n", ca.display());
        let iam = "credentials = \"test\"\niam_endpoint = \"https://iam.proxied.invalid\"\n";
        behind.bench.edit("credentials = \"test\"\n", &format!("{iam}{ca}{way}"));
        behind.bench.edit(
            "[poll]",
            &format!(
                "[notify]\ndefault = [\"hook\", \"chat\"]\n\
                 [[channel]]\nname = \"hook\"\ntype = \"webhook\"\nurl = {{ env = \"TEST_HOOK\" }}\n{way}\
                 [[channel]]\nname = \"chat\"\ntype = \"slack\"\nurl = {{ env = \"TEST_CHAT\" }}\n{ca}{way}[poll]"
            ),
        );
        behind
    }

    fn way(&self) -> String {
        let (url, file) = (self.proxy.url(), self.secret());
        format!("proxy = \"{url}\"\nproxy_user = \"{USER}\"\nproxy_password = {{ file = \"{file}\" }}\n")
    }

    /// A channel that publishes to a topic.
    fn topic(&self) {
        self.bench.edit(
            "[poll]",
            "[[channel]]\nname = \"topic\"\ntype = \"smn\"\nproject = \"test\"\nendpoint = \"https://smn.proxied.invalid\"\n\
             topic_urn = \"urn:smn:eu-west-101:6204a5bd270343b5885144cf9c8c158d:upgrades\"\n[poll]",
        );
    }

    fn secret(&self) -> String {
        self.bench.folder.path().join("proxy.secret").display().to_string()
    }

    fn password(&self, password: &str) {
        fs::write(self.secret(), password).unwrap();
        fs::set_permissions(self.secret(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn start(&self, arguments: &[&str]) -> Process {
        let mut command = self.bench.command(arguments);
        command.env("TEST_PASSWORD", "pw");
        command.env("TEST_HOOK", "http://hook.proxied.invalid/alerts");
        command.env("TEST_CHAT", "https://chat.proxied.invalid/hook");
        Process::start(command)
    }

    /// The findings of `doctor`, with each step.
    async fn doctor(&self) -> (i32, Vec<(String, String, String)>) {
        let mut doctor = self.start(&["doctor", "--json"]);
        let code = doctor.code().await.unwrap();
        let (out, err) = (doctor.stdout(), doctor.stderr());
        assert!(!format!("{out}{err}").contains("canary"), "{out}{err}");
        let found: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
        let steps = found["steps"].as_array().unwrap().iter().map(|step| {
            let told = format!("{} {}", text(step, "text"), text(step, "what_to_do"));
            (text(step, "step"), text(step, "result"), told)
        });
        (code, steps.collect())
    }

    fn refused(&self, host: &str) -> usize {
        self.proxy.refused().iter().filter(|line| line.contains(host)).count()
    }

    fn passed(&self, host: &str) -> usize {
        self.proxy.passed().iter().filter(|line| line.contains(host)).count()
    }
}

fn results(steps: &[(String, String, String)]) -> Vec<(&str, &str)> {
    steps.iter().map(|(name, result, _)| (name.as_str(), result.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_the_sign_in_and_the_channels_go_through_it() {
    let user = "type = \"password\"\nuser = \"robot\"\npassword = { env = \"TEST_PASSWORD\" }\ndomain = \"account\"\n";
    let agency = format!(
        "type = \"agency\"\nsource = \"base\"\nagency_urn = \"iam::d78cbac186b744899480f25bd022f468:agency:remediator\"\n\
         [credentials.base]\n{AK_SK}"
    );
    for (credentials, signs_in_at) in
        [(user, "iam.proxied.invalid:443"), (&agency, "sts.proxied.invalid:443")]
    {
        let behind = Behind::new(RETRIES).await;
        behind.bench.edit(AK_SK, credentials);
        let daemon = behind.start(&["run"]);
        assert_eq!(behind.bench.ended(&["logs"]).await["logs"], "resolved", "{}", daemon.stderr());
        behind.bench.judge();
        eventually("a message at each channel", || {
            (!behind.hook.got().is_empty() && !behind.chat.got().is_empty()).then_some(())
        })
        .await;
        for of in ["css.proxied.invalid:443", signs_in_at, "chat.proxied.invalid:443"] {
            assert!(behind.passed(&format!("CONNECT {of} ")) > 0, "{of}: {:?}", behind.proxy.passed());
        }
        assert!(behind.passed("POST http://hook.proxied.invalid/alerts ") > 0, "{:?}", behind.proxy.passed());
        assert_eq!(behind.proxy.refused(), Vec::<String>::new());
        assert!(!daemon.stderr().contains("canary"), "{}", daemon.stderr());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_password_is_told_with_what_to_mend_and_a_reload_takes_the_new_one() {
    let behind = Behind::new(CALLS_A_HUMAN).await;
    behind.password(WRONG);
    let daemon = behind.start(&["run"]);
    let told = "refused the user and password that it was given (407)";
    daemon.says(told).await;
    daemon.says("check proxy_user and what proxy_password refers to, then reload").await;
    // A discovery a second would lock the user.
    let_pass(Duration::from_secs(3)).await;
    assert_eq!(behind.refused("css."), 1, "{:?}", behind.proxy.refused());
    let (code, steps) = behind.doctor().await;
    assert_eq!(
        (code, results(&steps)[..4].to_vec()),
        (3, [("name", "ok"), ("tcp", "ok"), ("tls", "wrong"), ("clock", "not tried")].to_vec()),
        "{steps:#?}"
    );
    assert!(steps[2].2.contains(told) && steps[2].2.contains("check proxy_user"), "{steps:#?}");
    assert_eq!(behind.bench.requests().len(), 0, "nothing came through");
    behind.topic();
    for channel in ["hook", "chat", "topic"] {
        let mut test = behind.start(&["notify-test", channel]);
        assert_ne!(test.code().await, Some(0), "{channel}");
        let out = test.stdout() + &test.stderr();
        assert!(out.contains(told) && out.contains("check proxy_user"), "{channel}: {out}");
        assert!(!out.contains("canary"), "{channel}: {out}");
    }

    behind.password(PASSWORD);
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded").await;
    assert_eq!(behind.bench.ended(&["logs"]).await["logs"], "retries-exhausted", "{}", daemon.stderr());
    eventually("a message at each channel", || {
        (!behind.hook.got().is_empty() && !behind.chat.got().is_empty()).then_some(())
    })
    .await;
    assert!(!daemon.stderr().contains("canary"), "{}", daemon.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_goes_through_it_and_says_where_user_and_password_are_missing() {
    let behind = Behind::new(RETRIES).await;
    // A topic is reached as its project is: where only the proxy knows its host, that is no finding.
    behind.topic();
    let (code, steps) = behind.doctor().await;
    let well = [
        ("name", "ok"),
        ("tcp", "ok"),
        ("tls", "ok"),
        ("clock", "ok"),
        ("sign-in", "ok"),
        ("list", "ok"),
        ("detail", "ok"),
    ];
    assert_eq!((code, results(&steps)[..7].to_vec()), (0, well.to_vec()), "{steps:#?}");
    assert!(steps[0].2.contains("the proxy 127.0.0.1 is an address"), "{steps:#?}");
    assert_eq!(behind.proxy.refused(), Vec::<String>::new());
    assert_eq!(behind.chat.got(), ["GET / HTTP/1.1"], "no message, and nothing of the URL but its host");
    assert_eq!(behind.hook.got(), Vec::<String>::new());

    let way = behind.way();
    behind.bench.edit(&way, &format!("proxy = \"{}\"\n", behind.proxy.url()));
    let (code, steps) = behind.doctor().await;
    assert_eq!((code, &results(&steps)[2]), (3, &("tls", "wrong")), "{steps:#?}");
    assert!(steps[2].2.contains("asks for a user and password (407)"), "{steps:#?}");
    assert!(steps[2].2.contains("give proxy_user and proxy_password"), "{steps:#?}");
    // Whether it lets a channel through is asked for with HTTPS, where the URL itself stays here.
    let chat = steps.iter().find(|(_, _, told)| told.starts_with("chat (slack)")).unwrap();
    assert_eq!(chat.1, "wrong", "{steps:#?}");
    assert!(chat.2.contains("asks for a user and password (407)"), "{chat:?}");
    assert!(chat.2.contains("give proxy_user and proxy_password"), "{chat:?}");
    assert!(!chat.2.contains("/hook"), "{chat:?}");

    behind.bench.edit(&behind.proxy.url(), "http://proxy.invalid:3128");
    let (_, steps) = behind.doctor().await;
    assert_eq!(results(&steps)[0], ("name", "wrong"), "{steps:#?}");
    assert!(steps[0].2.contains("the proxy proxy.invalid does not resolve"), "{steps:#?}");
}
