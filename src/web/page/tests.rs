use std::fmt::Write as _;

use super::*;
use crate::model::hold::{NewHold, Scope, StoredHold};
use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::outlook::Outlook;
use crate::model::reason::Reason;
use crate::model::record::PhaseWord;
use crate::model::task::TaskKind;
use crate::status::{BreakerState, InForce};

fn at() -> Timestamp {
    "2026-11-30T10:00:00Z".parse().unwrap()
}

fn task(number: usize, phase: PhaseWord) -> TaskReport {
    let outlook = Outlook::new(None, &Reason::StalePoll, &[], None);
    TaskReport {
        cluster: ClusterId::new(&format!("id-{number}")).unwrap(),
        cluster_name: format!("Logs-{number}"),
        task: TaskId::new(&format!("t-{number}")).unwrap(),
        kind: TaskKind::Upgrade,
        outlook: Outlook { phase: Some(phase), ..outlook },
        runs_too_long_since: None,
    }
}

fn project(name: &str, tasks: Vec<TaskReport>) -> ProjectReport {
    ProjectReport {
        name: ProjectName::new(name).unwrap(),
        clusters: tasks.len(),
        leaving: false,
        breaker: BreakerState::Closed,
        unknown_outcomes: 0,
        actions_last_hour: (0, 120),
        live: None,
        tasks,
        ended: Vec::new(),
    }
}

fn report(projects: Vec<ProjectReport>) -> Report {
    Report {
        version: "1".to_owned(),
        at: at(),
        started: at(),
        mode: Mode::Enforce,
        configuration: InForce {
            file: "config.toml".to_owned(),
            since: at(),
            hash: String::new(),
            warnings: Vec::new(),
            refused: None,
        },
        conditions: Vec::new(),
        projects,
        holds: Vec::new(),
        policies: Vec::new(),
        channels: Vec::new(),
    }
}

fn failed(count: usize) -> Report {
    report(vec![project("prod", (0..count).map(|n| task(n, PhaseWord::Failed)).collect())])
}

/// The page for a query.
fn page(report: &Report, query: &[(&str, &str)]) -> String {
    let parameters: Vec<(String, String)> =
        query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Index::new(report, &Search::new(&parameters)).render().unwrap()
}

/// The numbers at the top, a line each.
fn sums(page: &str) -> String {
    let mut sums = String::new();
    for part in page.split("<span class=\"number\">").skip(1) {
        let _ = writeln!(sums, "{}", part.split("</li>").next().unwrap().replace("</span>", ""));
    }
    sums
}

fn links(page: &str) -> usize {
    page.matches("href=\"/clusters/").count()
}

#[test]
fn from_twenty_tasks_on_there_is_a_table_of_the_same_rows() {
    let (cards, table) = (page(&failed(19), &[]), page(&failed(20), &[]));
    assert!(cards.contains("<ul class=\"tasks\">") && !cards.contains("<table"), "{cards}");
    assert!(table.contains("<table class=\"rows\">") && !table.contains("<ul class=\"tasks\">"), "{table}");
    assert_eq!([links(&cards), links(&table)], [19, 20]);
    // The number of matches decides, not the number of all tasks.
    assert!(page(&failed(40), &[("q", "logs-3")]).contains("<ul class=\"tasks\">"));
    for words in ["Logs-7", "upgrade in prod", "<span class=\"state\">failed</span> <code>stale-poll</code>"]
    {
        assert!(cards.contains(words) && table.contains(words), "{words}: {table}");
    }
}

#[test]
fn a_search_by_name_id_project_and_phase_shows_what_matches_all_of_them() {
    let tasks = |phase| vec![task(1, phase), task(2, PhaseWord::Escalated)];
    let both =
        report(vec![project("prod", tasks(PhaseWord::Failed)), project("test", tasks(PhaseWord::Running))]);
    for (query, shown) in [
        (&[][..], 4),
        (&[("q", "LOGS-1")], 2),
        (&[("q", "id-2")], 2),
        (&[("project", "prod")], 2),
        (&[("phase", "escalated")], 2),
        (&[("q", "logs-1"), ("project", "test"), ("phase", "running")], 1),
        (&[("q", "logs-1"), ("phase", "escalated")], 0),
        (&[("other", "x")], 4),
    ] {
        let page = page(&both, query);
        assert_eq!(links(&page), shown, "{query:?}");
        assert_eq!(page.contains("class=\"found"), !matches!(query, [] | [("other", _)]), "{query:?}");
        // The sums are of everything.
        assert!(page.contains("<span class=\"number\">2</span> need attention"), "{query:?}: {page}");
    }
    let page = page(&both, &[("q", "logs-1"), ("project", "test"), ("phase", "running")]);
    for words in [
        "1 of 4 tasks matches: name or id contains “logs-1”, project “test”, phase “running”.",
        "value=\"logs-1\"",
        "<option value=\"test\" selected>",
        "<option value=\"running\" selected>",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn what_does_not_exist_is_said_to_be_unknown_and_hides_nothing_else() {
    let page = page(&failed(3), &[("project", "nowhere"), ("phase", "sleeping")]);
    for words in [
        "No task matches: project “nowhere”, phase “sleeping”.",
        "No project is named “nowhere”.",
        "No phase is named “sleeping”; the phases are running, failed, outcome-unknown, escalated, ended.",
        "<a href=\"/\">Show all tasks</a>",
        "<option value=\"nowhere\" selected>",
        "Policies in force",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("No task is running or failed"), "{page}");
}

#[test]
fn a_query_is_text_and_is_cut_off() {
    let markup = "\"><script>alert(1)</script>\u{202e}";
    let page = page(&failed(1), &[("q", markup), ("project", markup), ("phase", &"x".repeat(100_000))]);
    assert!(!page.contains("<script>alert") && !page.contains('\u{202e}'), "{page}");
    assert!(page.len() < 20_000, "{}", page.len());
}

#[test]
fn a_page_of_ten_thousand_tasks_holds_and_conditions_is_as_long_as_one_of_a_few_hundred() {
    let mut large = failed(10_000);
    let hold = |number| {
        let (reason, by) = ("an audit".to_owned(), "uid 0".to_owned());
        let scope = Scope::All;
        StoredHold::new(number, NewHold { at: at(), scope, cluster_name: None, until: None, reason, by })
    };
    large.holds = (1..=10_000).map(hold).collect();
    let condition = |n| ConditionReport {
        code: "unclear".to_owned(),
        level: Level::Warning,
        project: None,
        cluster: Some(ClusterId::new(&format!("id-{n}")).unwrap()),
        since: at(),
        text: "its order is unclear".to_owned(),
        next_step: None,
    };
    large.conditions = (0..10_000).map(condition).collect();
    let page = page(&large, &[]);
    assert_eq!(links(&page), MOST_TASKS);
    assert!(page.len() < 150_000, "{}", page.len());
    assert_eq!(page.matches("… and 9900 more").count(), 3, "{page}");
    // The last one is found all the same.
    assert_eq!(links(&self::page(&large, &[("q", "logs-9999")])), 1);
}

#[test]
fn what_the_reason_says_is_not_said_again_by_the_block() {
    let mut held = failed(1);
    let (scope, until) = (Scope::All, None);
    let reason = Reason::OnHold { hold: 7, scope, by: "uid 0".to_owned(), why: "an audit".to_owned(), until };
    held.projects[0].tasks[0].outlook =
        Outlook::new(None, &reason, &[reason.clone(), Reason::NoPolicy], None);
    let page = page(&held, &[]);
    assert_eq!(page.matches("hold #7 by uid 0").count(), 1, "{page}");
    for words in [
        "Blocked by <code>on-hold</code>; to end it: <code class=\"command\">upgrade-remediator release all</code>",
        "Blocked by <code>no-policy</code>: no policy ",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn one_of_a_thing_is_not_called_many() {
    let mut one = failed(1);
    one.projects[0].tasks[0].outlook.phase = Some(PhaseWord::Escalated);
    let page = page(&one, &[]);
    let sums = sums(&page);
    assert!(sums.contains("1 cluster watched") && sums.contains("1 needs attention"), "{sums}");
    assert!(page.contains("<p>1 cluster</p>"), "{page}");
}

/// A failed task with this reason, and what blocks its request.
fn of_reason(number: usize, reason: &Reason, blocks: &[Reason], needs_attention: bool) -> TaskReport {
    let outlook = Outlook::new(None, reason, blocks, None);
    let outlook = Outlook { phase: Some(PhaseWord::Failed), needs_attention, ..outlook };
    TaskReport { outlook, ..task(number, PhaseWord::Failed) }
}

fn on_hold(until: Option<Timestamp>) -> Reason {
    Reason::OnHold { hold: 7, scope: Scope::All, by: "uid 0".to_owned(), why: "an audit".to_owned(), until }
}

#[test]
fn the_numbers_at_the_top_are_those_of_the_groups_below() {
    let too_old = Reason::TooOld { ended: None, limit: Duration::from_hours(24), in_future: false };
    let dry_run = Reason::DryRun { action: Action::Retry };
    let mut tasks: Vec<TaskReport> = (0..26).map(|n| of_reason(n, &too_old, &[], true)).collect();
    tasks.push(of_reason(26, &Reason::StalePoll, &[dry_run], false));
    tasks.push(of_reason(27, &Reason::StalePoll, &[on_hold(Some(at()))], false));
    tasks.push(of_reason(28, &Reason::NoPolicy, &[Reason::NoPolicy], true));
    let page = page(&report(vec![project("prod", tasks)]), &[]);
    let sums = sums(&page);
    for sum in
        ["26 old failures", "1 would be retried (dry-run)", "1 on hold", "1 needs attention", "0 handled by"]
    {
        assert!(sums.contains(sum), "{sum}: {sums}");
    }
    // A fresh one does not stand below the old ones.
    let place = |words: &str| page.find(words).unwrap_or_else(|| panic!("{words}: {page}"));
    let order =
        ["Needs attention", ">On hold<", ">Would be retried (dry-run)<", ">Old failures, "].map(place);
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn a_row_of_the_table_says_what_an_operator_can_do() {
    let page = page(
        &report(vec![project("prod", (0..20).map(|n| of_reason(n, &Reason::NoPolicy, &[], true)).collect())]),
        &[],
    );
    assert_eq!(page.matches("a policy has to cover the task").count(), 20, "{page}");
}

#[test]
fn an_open_circuit_breaker_is_no_fault_of_the_project() {
    let mut open = failed(1);
    open.projects[0].breaker = BreakerState::Open;
    let condition = |code: &str| ConditionReport {
        code: code.to_owned(),
        level: Level::Critical,
        project: Some(ProjectName::new("prod").unwrap()),
        cluster: None,
        since: at(),
        text: "it lasts".to_owned(),
        next_step: None,
    };
    open.conditions = vec![condition("breaker-open")];
    let told = sums(&page(&open, &[]));
    assert!(told.contains("0 projects stopped by a fault"), "{told}");
    assert!(told.contains("1 circuit breaker not closed"), "{told}");
    open.conditions.push(condition("unreachable"));
    assert!(sums(&page(&open, &[])).contains("1 project stopped by a fault"));
}

#[test]
fn a_row_that_names_its_block_does_not_say_again_that_it_is_blocked() {
    for count in [1, 20] {
        let mut blocked = failed(count);
        for task in &mut blocked.projects[0].tasks {
            let outlook = Outlook::new(None, &Reason::StalePoll, &[Reason::NoPolicy], None);
            task.outlook = Outlook { phase: Some(PhaseWord::Failed), ..outlook };
        }
        let page = page(&blocked, &[]);
        assert_eq!(page.matches("Blocked by <code>no-policy</code>").count(), count, "{page}");
        assert!(!page.contains("nothing while the request is blocked"), "{page}");
    }
}

#[test]
fn each_command_of_the_next_step_is_whole() {
    let mut shown = failed(1);
    let steps = "`hold` stops the abort, `retry-now` sends one more retry, `reset` and `abort`; `systemctl x`, `limits.a`";
    shown.projects[0].tasks[0].outlook.next_step = Some(steps.to_owned());
    let page = page(&shown, &[]);
    for words in [
        "<code class=\"command\">upgrade-remediator hold cluster:id-0 --reason &#34;…&#34;</code> stops the abort",
        "<code class=\"command\">upgrade-remediator retry-now id-0 --reason &#34;…&#34;</code> sends",
        "<code class=\"command\">upgrade-remediator reset id-0 --reason &#34;…&#34;</code> and",
        "<code class=\"command\">upgrade-remediator abort id-0 --reason &#34;…&#34;</code>;",
        "<code class=\"command\">systemctl x</code>",
        "<code>limits.a</code>",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn numbers_beside_a_limit_say_which_is_which() {
    let page = page(&failed(1), &[]);
    assert!(page.contains("<dd>0 sent, 120 allowed</dd>"), "{page}");
}
