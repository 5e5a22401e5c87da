//! `doctor`: reaches each project step by step, as the daemon does, and prints for each step
//! whether it succeeded, or what is wrong and what to do. It reads, and never sends a retry or an
//! abort.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::progress::{Progress, Work};
use super::{CommandResult, Failure, WARNINGS_ONLY, block_on, print, print_json};
use crate::clock::SystemClock;
use crate::cloud::{CloudError, Css as _, ProxyCircuit, Reach};
use crate::configuration::{
    self, Channel, ChannelKind, ChannelSecrets, Configuration, Environment, Loaded, Project,
};
use crate::daemon::{self, Builder, HttpProject, ProjectStates, Projects};
use crate::journal::JournalError;
use crate::journal::memory::MemoryJournal;
use crate::model::command::command;
use crate::model::id::ProjectName;
use crate::model::project::MAX_CLOCK_OFFSET;
use crate::model::proxy::Proxy;
use crate::model::secret::ExposeSecret as _;
use crate::model::task::TaskKind;
use crate::model::text::{chain, counted, shown};
use crate::notify::log::LogObserver;

type DoctorProject = HttpProject;

/// The time limit of steps that only wait for the network.
const PATIENCE: Duration = Duration::from_secs(10);
/// From this difference on the clock is reported.
const CLOCK_WORD: SignedDuration = SignedDuration::from_mins(1);

/// The result of a step.
enum Result {
    /// It succeeded.
    Ok(String),
    /// A fact, with nothing to do.
    Note(String),
    /// A fault, and what to do.
    Wrong { what: String, todo: String },
    /// It was not tried, and why.
    Skipped(&'static str),
}

/// One step.
struct Step {
    /// The project; `None` if it concerns all of them.
    project: Option<String>,
    name: &'static str,
    result: Result,
}

/// Runs all steps and prints them.
pub(super) fn doctor(config: &Path, loaded: &Loaded, environment: &Environment, json: bool) -> CommandResult {
    let configuration = &loaded.configuration;
    let outside = configuration.needs_the_unit(environment);
    let clock = Arc::new(SystemClock::new());
    let work = Work::default();
    work.more(configuration.projects.len() + configuration.channels.len());
    let progress = Progress::show("projects and channels tried", work.clone(), json);
    let steps = block_on(async {
        let without_keys = configuration.credentials_need_the_unit(environment);
        let projects = if without_keys { None } else { Some(build(configuration, environment, &clock)?) };
        let mut steps = Vec::new();
        for project in &configuration.projects {
            let built = projects.iter().flat_map(Projects::all);
            let built = built.into_iter().find(|built| built.project == project.name);
            let proxy = proxy_of(configuration, project, environment);
            steps.extend(of_project(configuration, (project, proxy), built, &clock).await);
            work.did(1);
        }
        steps.push(Step { project: None, name: "journal", result: journal(configuration) });
        steps.extend(channels(configuration, environment, &clock, &work).await);
        Ok::<_, Failure>(steps)
    })?;
    drop(progress);
    let command = outside.then(|| in_the_unit(config, configuration, "doctor"));
    let wrong = steps.iter().filter(|step| matches!(step.result, Result::Wrong { .. })).count();
    let found = wrong > 0 || outside;
    if json {
        print_json(&json!({
            "steps": steps.iter().map(as_json).collect::<Vec<_>>(),
            "findings": wrong,
            "run_in_the_unit": command,
        }))?;
    } else {
        print(&as_text(&steps, wrong, command.as_deref()))?;
    }
    Ok(if found { ExitCode::from(WARNINGS_ONLY) } else { ExitCode::SUCCESS })
}

fn build(
    configuration: &Configuration,
    environment: &Environment,
    clock: &Arc<SystemClock>,
) -> std::result::Result<Projects, Failure> {
    let mut states = ProjectStates::default();
    let journal = (MemoryJournal::new(0).into(), &mut states);
    let builder =
        Builder::new(environment, journal, clock, &Arc::new(LogObserver), &CancellationToken::new());
    Projects::build(configuration, builder, states).map_err(Failure::of_build)
}

/// Returns the command that runs this with the unit's credentials. Only those are taken over:
/// another unit with the same directories would take them away from the daemon.
pub(super) fn in_the_unit(config: &Path, configuration: &Configuration, command: &str) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "upgrade-remediator".into());
    let config = fs::canonicalize(config).unwrap_or_else(|_| config.to_owned());
    format!(
        "sudo systemd-run --pipe --wait --collect --quiet $(systemctl cat upgrade-remediator | sed -n \
         's/^\\(\\(Load\\|Set\\)Credential[A-Za-z]*=\\)/--property=\\1/p') \
         --setenv=UPGRADE_REMEDIATOR__JOURNAL__URL={} {} {command} --config {}",
        configuration.journal_url,
        program.display(),
        config.display()
    )
}

/// Returns the proxy of a project, or why it cannot be used, if its password cannot be read.
fn proxy_of(
    configuration: &Configuration,
    project: &Project,
    environment: &Environment,
) -> std::result::Result<Option<Proxy>, Result> {
    let one = Configuration { projects: vec![project.clone()], ..configuration.clone() };
    match one.resolve_proxies(environment) {
        Ok(mut proxies) => Ok(proxies.remove(&project.name)),
        Err(_) if one.credentials_need_the_unit(environment) => {
            Err(Result::Skipped("only the unit has the password of the proxy: see the end"))
        }
        Err(problems) => {
            let told: Vec<String> = problems.0.iter().map(configuration::Problem::in_one_line).collect();
            let todo = "check the secret that proxy_password refers to".to_owned();
            Err(Result::Wrong { what: told.join("; "), todo })
        }
    }
}

async fn of_project(
    configuration: &Configuration,
    (project, proxy): (&Project, std::result::Result<Option<Proxy>, Result>),
    built: Option<&Arc<DoctorProject>>,
    clock: &Arc<SystemClock>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut add = |name: &'static str, result: Result| {
        let well = !matches!(result, Result::Wrong { .. } | Result::Skipped(_));
        steps.push(Step { project: Some(project.name.to_string()), name, result });
        well
    };
    let through = project.proxy.as_ref().map_or(&project.endpoint, |proxy| &proxy.url);
    let (mut name, addresses) = resolved(through, project.proxy.is_some()).await;
    if let (Result::Wrong { todo, .. }, None) = (&mut name, &project.proxy)
        && let Some((_, doubt)) = project.doubts().into_iter().find(|(key, _)| *key == "endpoint")
    {
        *todo = format!("{todo}; {doubt}");
    }
    let well = add("name", name);
    let tcp = if well { connected(&addresses).await } else { Result::Skipped("the name must resolve first") };
    let well = add("tcp", tcp);
    let (tls, offset) = if well {
        match proxy {
            Ok(proxy) => {
                let through = proxy.map(|proxy| ProxyCircuit::new(proxy, Arc::clone(clock)));
                let of = (project.endpoint.as_str(), project.ca_file.as_ref());
                reached(configuration, of, through.as_ref(), clock).await
            }
            Err(result) => (result, None),
        }
    } else {
        (Result::Skipped("a connection is needed first"), None)
    };
    let well = add("tls", tls);
    add("clock", if well { of_clock(offset) } else { Result::Skipped("a response is needed first") });
    let Some(built) = built.filter(|_| well) else {
        let why =
            if well { "the unit's credentials are needed: see the end" } else { "it must be reached first" };
        for name in ["sign-in", "list", "detail"] {
            add(name, Result::Skipped(why));
        }
        add("retry", rights());
        return steps;
    };
    let css = built.css();
    let listed = css.clusters().await;
    let error = listed.as_ref().err();
    let kind =
        &configuration.credentials.get(&project.credentials).map_or("", |credentials| credentials.word());
    let signed_in = match error {
        Some(error) if of_sign_in(error) => wrong(error),
        Some(error) if error.is_passing() || matches!(error, CloudError::WrongAddress(_)) => {
            Result::Note("not known: the list failed in another way".to_owned())
        }
        _ => Result::Ok(format!("with the credentials \"{}\" (type \"{kind}\")", project.credentials)),
    };
    let well = add("sign-in", signed_in);
    let list = match &listed {
        _ if !well => Result::Skipped("signing in is needed first"),
        Ok(list) if list.is_complete() => {
            Result::Ok(counted(list.clusters.len() as u64, "cluster", "clusters"))
        }
        Ok(list) => Result::Wrong {
            what: format!("the list shows {} clusters and says there are more", list.clusters.len()),
            todo: "try again later; the daemon does not watch clusters that the list does not show"
                .to_owned(),
        },
        Err(error) => wrong(error),
    };
    add("list", list);
    let first = listed.iter().flat_map(|list| &list.clusters).find(|cluster| cluster.may_have_tasks());
    let detail = match first {
        None => Result::Skipped("there is no cluster to poll"),
        Some(cluster) => {
            let read = async {
                let (_, upgrades) = css.tasks(&cluster.id, TaskKind::Upgrade).await?;
                let (_, switchovers) = css.tasks(&cluster.id, TaskKind::AzSwitchover).await?;
                Ok((upgrades, switchovers))
            };
            match read.await {
                Ok((upgrades, switchovers)) => Result::Ok(format!(
                    "{}: {} and {}",
                    shown(&cluster.name, 40),
                    counted(upgrades.tasks.len() as u64, "upgrade", "upgrades"),
                    counted(switchovers.tasks.len() as u64, "AZ switchover", "AZ switchovers")
                )),
                Err(error) => wrong(&error),
            }
        }
    };
    add("detail", detail);
    add("retry", rights());
    steps
}

/// Returns whether the error came before the API received the request.
fn of_sign_in(error: &CloudError) -> bool {
    matches!(
        error,
        CloudError::SignIn(_)
            | CloudError::Unauthorized(_)
            | CloudError::CredentialResting { .. }
            | CloudError::CredentialUnproven
            | CloudError::Secrets { .. }
            | CloudError::NoProject { .. }
    )
}

fn wrong(error: &CloudError) -> Result {
    Result::Wrong { what: chain(error), todo: error.trouble().1.into_owned() }
}

/// The steps that cannot be tried.
fn rights() -> Result {
    Result::Note(
        "not tried: a retry or an abort needs css:cluster:retryAction, with ecs:cloudServerFlavors:get and \
         evs:types:get; a poll needs css:cluster:list and css:cluster:listUpgradeCluster"
            .to_owned(),
    )
}

async fn resolved(url: &str, is_proxy: bool) -> (Result, Vec<SocketAddr>) {
    let host_and_port = Url::parse(url).ok().and_then(|url| {
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some((host, url.port_or_known_default()?))
    });
    let Some((host, port)) = host_and_port else {
        let todo = "check it in the configuration".to_owned();
        return (Result::Wrong { what: "it has no host".to_owned(), todo }, Vec::new());
    };
    let of = if is_proxy { "the proxy " } else { "" };
    let todo = || {
        let key = if is_proxy { "proxy" } else { "endpoint (by default it comes from the region)" };
        format!("check its {key} and this machine's name service")
    };
    let looked_up = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), port))).await;
    match looked_up.map(|found| found.map(Iterator::collect::<Vec<_>>)) {
        Ok(Ok(addresses)) if !addresses.is_empty() => {
            let told: Vec<String> =
                addresses.iter().take(4).map(|address| address.ip().to_string()).collect();
            let what = match host.parse::<IpAddr>() {
                Ok(_) => format!("{of}{host} is an address"),
                Err(_) => format!("{of}{host} is {}", told.join(", ")),
            };
            (Result::Ok(what), addresses)
        }
        Ok(Ok(_)) => (Result::Wrong { what: format!("{of}{host} has no address"), todo: todo() }, Vec::new()),
        Ok(Err(error)) => {
            let what = format!("{of}{host} does not resolve: {error}");
            (Result::Wrong { what, todo: todo() }, Vec::new())
        }
        Err(_) => {
            let what = format!("{of}{host} does not resolve within {}s", PATIENCE.as_secs());
            (Result::Wrong { what, todo: todo() }, Vec::new())
        }
    }
}

async fn connected(addresses: &[SocketAddr]) -> Result {
    let mut failures = Vec::new();
    for address in addresses {
        match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Result::Ok(format!("{address} answers")),
            Ok(Err(error)) => failures.push(format!("{address}: {error}")),
            Err(_) => failures.push(format!("{address}: no response within {}s", PATIENCE.as_secs())),
        }
    }
    let todo = "check the network, its firewall and, where there is one, the proxy key".to_owned();
    Result::Wrong { what: failures.join("; "), todo }
}

/// Sends a request to an endpoint, with these certificates trusted beside the system's.
async fn reached(
    configuration: &Configuration,
    (endpoint, ca_file): (&str, Option<&PathBuf>),
    through: Option<&Arc<ProxyCircuit>>,
    clock: &Arc<SystemClock>,
) -> (Result, Option<SignedDuration>) {
    let todo =
        || "check its endpoint, and which server answers there; the certificate is always checked".to_owned();
    let ca_pem = match ca_file.map(fs::read).transpose() {
        Ok(ca_pem) => ca_pem,
        Err(error) => {
            return (
                Result::Wrong {
                    what: format!("its ca_file cannot be read: {error}"),
                    todo: "check the path of ca_file, and that the daemon's user may read it".to_owned(),
                },
                None,
            );
        }
    };
    let timeout = configuration.poll.request_timeout;
    let reach = Reach::new(endpoint, ca_pem.as_deref(), through, timeout);
    let reach = match reach {
        Ok(reach) => reach,
        Err(error) => return (Result::Wrong { what: chain(&error), todo: todo() }, None),
    };
    match reach.ask(&**clock).await {
        Ok(offset) if endpoint.starts_with("https:") => {
            (Result::Ok("the certificate is valid, and the server speaks HTTP".to_owned()), offset)
        }
        Ok(offset) => (Result::Note("not encrypted: a loopback address".to_owned()), offset),
        Err(error @ CloudError::Proxy(_)) => (wrong(&error), None),
        Err(error) => {
            let todo = error.tls_advice(Some(ca_file.is_some())).unwrap_or_else(todo);
            (Result::Wrong { what: chain(&error), todo }, None)
        }
    }
}

fn of_clock(offset: Option<SignedDuration>) -> Result {
    let Some(offset) = offset else {
        return Result::Note(
            "the response has no Date header; a wrong clock would cause a refused signature".to_owned(),
        );
    };
    let (off, way) = (offset.abs().as_secs(), if offset.is_negative() { "behind" } else { "ahead" });
    let what = format!("this machine's clock is off by {off}s: {way} of the CSS API's");
    if offset.unsigned_abs() > MAX_CLOCK_OFFSET {
        let todo = "set this machine's clock (NTP): beyond 5 minutes no retry and no abort is sent, and beyond 15 \
                    signatures are refused";
        return Result::Wrong { what, todo: todo.to_owned() };
    }
    if offset.abs() > CLOCK_WORD { Result::Note(what) } else { Result::Ok(format!("off by {off}s at most")) }
}

/// Checks each channel: whether it can be built, and whether its host listens; through a proxy,
/// whether the host answers. No message is sent: `notify-test` does that.
async fn channels(
    configuration: &Configuration,
    environment: &Environment,
    clock: &Arc<SystemClock>,
    work: &Work,
) -> Vec<Step> {
    let step = |result| Step { project: None, name: "channels", result };
    if configuration.channels.is_empty() {
        let note = "no channels are configured: notifications are in the log only".to_owned();
        return vec![step(Result::Note(note))];
    }
    let mut steps = Vec::new();
    for channel in &configuration.channels {
        steps.push(step(of_channel(configuration, channel, environment, clock).await));
        work.did(1);
    }
    steps
}

async fn of_channel(
    configuration: &Configuration,
    channel: &Channel,
    environment: &Environment,
    clock: &Arc<SystemClock>,
) -> Result {
    let (name, kind) = (&channel.name, channel.way.word());
    if configuration.channel_needs_the_unit(name, environment) {
        return Result::Skipped("only the unit has the channel's secrets: see the end");
    }
    let test = command(format_args!("notify-test {name}"));
    let todo = || format!("check its keys and their secrets; then: {test}");
    let wrong = |what: String| Result::Wrong { what: format!("{name} ({kind}): {what}"), todo: todo() };
    let one = Configuration { channels: vec![channel.clone()], ..configuration.clone() };
    let secrets = match one.resolve_channels(environment) {
        Ok(mut all) => all.remove(name).unwrap_or_default(),
        Err(problems) => {
            let told: Vec<String> = problems.0.iter().map(configuration::Problem::in_one_line).collect();
            return wrong(told.join("; "));
        }
    };
    if let Err(fault) = daemon::channel_of(configuration, name, environment, clock) {
        return wrong(chain(&fault));
    }
    let of_project = |name: &ProjectName| configuration.projects.iter().find(|known| known.name == *name);
    let proxy = match &channel.way {
        ChannelKind::Smn(smn) => of_project(&smn.project).and_then(|project| project.proxy.as_ref()),
        _ => channel.proxy.as_ref(),
    };
    // A URL is a secret, except its host.
    let place = match (&channel.way, proxy) {
        (_, Some(proxy)) => proxy.url.clone(),
        (ChannelKind::Email(email), None) => {
            let port = email.port.unwrap_or(if email.user.is_some() { 587 } else { 25 });
            format!("smtp://{}:{port}", email.host)
        }
        (ChannelKind::Smn(smn), None) => {
            let region = of_project(&smn.project).map(|project| project.region.clone()).unwrap_or_default();
            smn.endpoint.clone().unwrap_or_else(|| configuration::smn_endpoint(&region))
        }
        _ => secrets.get("url").map(|url| url.expose_secret().to_owned()).unwrap_or_default(),
    };
    let (found, addresses) = resolved(&place, proxy.is_some()).await;
    if let Result::Wrong { what, .. } = found {
        return wrong(what);
    }
    let connected = connected(&addresses).await;
    // A listening proxy may still refuse this channel.
    if let (Some(proxy), Some(origin), Result::Ok(_)) = (&channel.proxy, origin(&secrets), &connected) {
        let through = ProxyCircuit::new(proxy.with(|key| secrets.get(key).cloned()), Arc::clone(clock));
        let of = (origin.as_str(), channel.ca_file.as_ref());
        if let (Result::Wrong { what, todo }, _) = reached(configuration, of, Some(&through), clock).await {
            return Result::Wrong { what: format!("{name} ({kind}): {what}"), todo };
        }
    }
    match connected {
        Result::Wrong { what, .. } => wrong(what),
        connected => Result::Ok(format!("{name} ({kind}): {}; to try it: {test}", connected.text())),
    }
}

/// Returns scheme and host of a channel's URL, which are no secret. Only with HTTPS: without it a
/// proxy opens no tunnel.
fn origin(secrets: &ChannelSecrets) -> Option<String> {
    let url = Url::parse(secrets.get("url")?.expose_secret()).ok()?;
    (url.scheme() == "https").then(|| url.origin().ascii_serialization())
}

fn journal(configuration: &Configuration) -> Result {
    let place = configuration.journal.place();
    match configuration.journal.reader() {
        Ok(_) => Result::Ok(place),
        Err(JournalError::Missing { .. } | JournalError::NoJournal { .. }) => {
            Result::Note(format!("{place}: there is no journal yet; the first start creates it"))
        }
        Err(error) => Result::Wrong {
            what: chain(&error),
            todo:
                "check journal.url, its directory and who may write there; without a journal no request is sent"
                    .to_owned(),
        },
    }
}

impl Result {
    fn word(&self) -> &'static str {
        match self {
            Self::Ok(_) => "ok",
            Self::Note(_) => "note",
            Self::Wrong { .. } => "wrong",
            Self::Skipped(_) => "not tried",
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Ok(text) | Self::Note(text) | Self::Wrong { what: text, .. } => text,
            Self::Skipped(why) => why,
        }
    }
}

fn as_text(steps: &[Step], wrong: usize, command: Option<&str>) -> String {
    let mut text = String::new();
    let mut of = None;
    for Step { project, name, result } in steps {
        if of != Some(project) {
            let head = project.as_ref().map_or("everything".to_owned(), |name| format!("project {name}"));
            let _ = writeln!(text, "{head}");
            of = Some(project);
        }
        let _ = writeln!(text, "  {:9}  {name:8}  {}", result.word(), result.text());
        if let Result::Wrong { todo, .. } = result {
            let _ = writeln!(text, "             {todo}");
        }
    }
    let _ = writeln!(text, "{}", counted(wrong as u64, "finding", "findings"));
    if let Some(command) = command {
        let _ = writeln!(
            text,
            "systemd gives the secrets to the unit only. To run doctor with the unit's credentials:\n  {command}"
        );
    }
    text
}

fn as_json(Step { project, name, result }: &Step) -> Value {
    let todo = match result {
        Result::Wrong { todo, .. } => Some(todo),
        _ => None,
    };
    json!({ "project": project, "step": name, "result": result.word(), "text": result.text(), "what_to_do": todo })
}
