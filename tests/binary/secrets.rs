//! Secrets stay secret: known values are planted in every secret input, every command runs at trace level, and all that
//! came out is searched for them: plain, in hexadecimal, in base64 at any place, and as URLs write them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::AssertUnwindSafe;

use upgrade_remediator::cloud::{AccessKey, AuthToken, Credential};

use crate::leaks::{self, base64, forms};
use crate::support::proxy::LoginProxy;
use crate::support::{Bench, FAILED_ONCE, Process, RETRIES};

const ACCESS_KEY: &str = "AKCANARY0123456789AB";
const SECRET_KEY: &str = "SKcanary/+123456789abcdefghijklmnopqrst";
const SECURITY_TOKEN: &str = "STcanary/token+0123456789==";
const PASSWORD: &str = "PWcanary &%0123456789";
const PROXY_PASSWORD: &str = "PXcanary &%:/+0123456789";
const TOKEN: &str = "TKcanary0123456789token";
/// What the simulated IAM gives out: its tokens and security tokens have this in them.
const GIVEN: &str = "simulated";
const ALL: [&str; 7] = [ACCESS_KEY, SECRET_KEY, SECURITY_TOKEN, PASSWORD, PROXY_PASSWORD, TOKEN, GIVEN];

/// Which secrets stand in these bytes, and in which form.
fn leaks(bytes: &[u8]) -> Vec<String> {
    leaks::found(bytes, &ALL)
}

#[test]
fn a_planted_leak_is_found_in_every_form_and_place() {
    for secret in ALL {
        for form in forms(secret) {
            assert!(!leaks(format!("some text {form} more").as_bytes()).is_empty(), "{secret} as {form}");
        }
        for before in ["", "a", "ab", "abc", "Authorization: "] {
            let around = format!("{before}{secret}, and more");
            for last in [*b"+/", *b"-_"] {
                assert!(!leaks(base64(around.as_bytes(), last).as_bytes()).is_empty(), "{around}");
            }
        }
    }
    assert_eq!(leaks(b"nothing of it: AKCANARY, canary, 0123456789"), Vec::<String>::new());
}

#[test]
fn neither_debug_output_nor_a_panic_shows_them() {
    let key = AccessKey::new(ACCESS_KEY.into(), SECRET_KEY.into(), Some(SECURITY_TOKEN.into())).unwrap();
    let token = AuthToken::new(TOKEN.into()).unwrap();
    let credentials = [Credential::new(key, 1), Credential::new(token, 1)];
    let told = std::panic::catch_unwind(AssertUnwindSafe(|| panic!("{credentials:?} {credentials:#?}")))
        .unwrap_err();
    let told = told.downcast_ref::<String>().unwrap();
    assert!(told.contains("Credential") && leaks(told.as_bytes()).is_empty(), "{told}");
}

/// The commands, and what each of them, and the daemon beside them, left behind.
async fn all_that_came_out(bench: &Bench) -> Vec<(String, Vec<u8>)> {
    let command = |arguments: &[&str]| {
        let mut command = bench.command(arguments);
        command.envs([
            ("TEST_ACCESS_KEY", ACCESS_KEY),
            ("TEST_SECRET_KEY", SECRET_KEY),
            ("TEST_TOKEN", SECURITY_TOKEN),
            ("TEST_PASSWORD", PASSWORD),
            ("TEST_PROXY_PASSWORD", PROXY_PASSWORD),
            ("TEST_HOOK", "http://hook.invalid/alerts"),
            ("UPGRADE_REMEDIATOR__LOG__FILTER", "trace"),
        ]);
        command
    };
    let mut daemon = Process::start(command(&["run"]));
    let mut all = Vec::new();
    bench.ended(&["logs"]).await;
    let of_daemon = |name: &str| fs::read(format!("/proc/{}/{name}", daemon.pid())).unwrap();
    all.push(("argv".to_owned(), of_daemon("cmdline")));
    for arguments in [
        ["check"].as_slice(),
        &["check", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["plan"],
        &["plan", "--json"],
        &["status"],
        &["status", "--json"],
        &["hold", "all", "--reason", "a test"],
        &["holds"],
        &["release", "all"],
        &["history"],
        &["history", "--json"],
    ] {
        let mut process = Process::start(command(arguments));
        process.code().await;
        all.push((arguments.join(" "), (process.stdout() + &process.stderr()).into()));
    }
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded").await;
    bench.looks_on(4).await;
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    let log = daemon.stdout() + &daemon.stderr();
    assert!(log.contains("TRACE"), "the log is not as loud as it was asked to be");
    all.push(("the daemon".to_owned(), log.into()));
    for entry in fs::read_dir(bench.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let is_secret = path.extension().is_some_and(|extension| extension == "secret");
        if path.is_file() && !is_secret {
            all.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    assert!(all.iter().any(|(what, _)| what.ends_with("journal.db")), "the journal is searched too");
    all
}

const AK_SK: &str = "type = \"ak-sk\"\naccess_key = { env = \"TEST_ACCESS_KEY\" }\nsecret_key = { env = \"TEST_SECRET_KEY\" }\n";

/// Puts a proxy that takes this password before the service and its IAM, and a channel behind it.
async fn behind_a_proxy(bench: &Bench, takes: &str) -> LoginProxy {
    let service = bench.simulator.address();
    let hosts = [("127.0.0.1", service), ("hook.invalid", service)];
    let proxy = LoginProxy::start(&hosts, "robot", takes).await;
    let url = proxy.url();
    let way = format!(
        "proxy = \"{url}\"\nproxy_user = \"robot\"\nproxy_password = {{ env = \"TEST_PROXY_PASSWORD\" }}\n"
    );
    let iam = format!("credentials = \"test\"\niam_endpoint = \"{}\"\n{way}", bench.simulator.url());
    bench.edit("credentials = \"test\"\n", &iam);
    let hook = "[[channel]]\nname = \"hook\"\ntype = \"webhook\"\nurl = { env = \"TEST_HOOK\" }\n";
    bench.edit("[poll]", &format!("[notify]\ndefault = [\"hook\"]\n{hook}{way}[poll]"));
    proxy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_comes_out_has_a_secret_in_it() {
    let scenario = format!(
        "{FAILED_ONCE}[[key]]\naccess_key = \"{ACCESS_KEY}\"\nsecret_key = \"{SECRET_KEY}\"\nsecurity_token = \
         \"{SECURITY_TOKEN}\"\n[[user]]\nname = \"robot\"\npassword = \"{PASSWORD}\"\ndomain = \"account\"\n[[agency]]\nname \
         = \"remediator\"\ndomain = \"other\"\n"
    );
    let temporary = format!("{AK_SK}security_token = {{ env = \"TEST_TOKEN\" }}\n");
    let user = "type = \"password\"\nuser = \"robot\"\npassword = { env = \"TEST_PASSWORD\" }\ndomain = \"account\"\n";
    let agency = |base: &str| {
        format!(
            "type = \"agency\"\nsource = \"base\"\nagency_name = \"remediator\"\ndomain_name = \"other\"\n[credentials.base]\n{base}"
        )
    };
    for credentials in [temporary.clone(), user.to_owned(), agency(user), agency(&temporary)] {
        let bench = Bench::new(&scenario, RETRIES).await;
        bench.edit(AK_SK, &credentials);
        let proxy = behind_a_proxy(&bench, PROXY_PASSWORD).await;
        for (what, bytes) in all_that_came_out(&bench).await {
            assert_eq!(leaks(&bytes), Vec::<String>::new(), "{what}: {}", String::from_utf8_lossy(&bytes));
        }
        assert!(!proxy.passed().is_empty() && proxy.refused().is_empty(), "it all went through the proxy");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_not_told_either() {
    let user = |user: &str| {
        format!(
            "type = \"password\"\nuser = \"{user}\"\npassword = {{ env = \"TEST_PASSWORD\" }}\ndomain = \"account\"\n"
        )
    };
    let file = "type = \"token\"\ntoken = { file = \"FILE\" }\n";
    for credentials in [AK_SK.to_owned(), user("robot"), file.to_owned()] {
        let bench = Bench::new(FAILED_ONCE, RETRIES).await;
        let path = bench.folder.path().join("token.secret");
        fs::write(&path, TOKEN).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        bench.edit(AK_SK, &credentials.replace("FILE", path.to_str().unwrap()));
        let iam = format!("credentials = \"test\"\niam_endpoint = \"{}\"\n", bench.simulator.url());
        bench.edit("credentials = \"test\"\n", &iam);
        for arguments in [["doctor"].as_slice(), &["doctor", "--json"], &["plan"], &["run", "--once"]] {
            let mut command = bench.command(arguments);
            command.envs([
                ("TEST_ACCESS_KEY", ACCESS_KEY),
                ("TEST_SECRET_KEY", SECRET_KEY),
                ("TEST_PASSWORD", PASSWORD),
                ("TEST_PROXY_PASSWORD", PROXY_PASSWORD),
                ("TEST_HOOK", "http://hook.invalid/alerts"),
                ("UPGRADE_REMEDIATOR__LOG__FILTER", "trace"),
            ]);
            let mut process = Process::start(command);
            assert_ne!(process.code().await, Some(0), "it was refused");
            let told = process.stdout() + &process.stderr();
            assert_eq!(leaks(told.as_bytes()), Vec::<String>::new(), "{arguments:?}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_proxy_refuses_is_not_told_either() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let proxy = behind_a_proxy(&bench, "another").await;
    for arguments in [
        ["doctor"].as_slice(),
        &["doctor", "--json"],
        &["plan"],
        &["notify-test", "hook"],
        &["run", "--once"],
    ] {
        let mut command = bench.command(arguments);
        command.envs([
            ("TEST_PROXY_PASSWORD", PROXY_PASSWORD),
            ("TEST_HOOK", "http://hook.invalid/alerts"),
            ("UPGRADE_REMEDIATOR__LOG__FILTER", "trace"),
        ]);
        let mut process = Process::start(command);
        assert_ne!(process.code().await, Some(0), "it was refused");
        let told = process.stdout() + &process.stderr();
        assert!(
            told.contains("refused the user and password that it was given (407)"),
            "{arguments:?}: {told}"
        );
        assert_eq!(leaks(told.as_bytes()), Vec::<String>::new(), "{arguments:?}: {told}");
    }
    assert!(proxy.passed().is_empty());
}
