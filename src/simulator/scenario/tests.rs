use super::*;

fn problem(text: &str) -> String {
    match Scenario::parse(text, "test") {
        Err(ScenarioError::Impossible { problem, .. }) => problem,
        Err(ScenarioError::Syntax { source, .. }) => source.to_string(),
        other => panic!("{text:?} gave {other:?}"),
    }
}

#[test]
fn every_shipped_scenario_is_one() {
    assert!(names().count() >= 12);
    for name in names() {
        let scenario = named(name)
            .unwrap_or_else(|error| panic!("{name}: {error}: {:?}", std::error::Error::source(&error)));
        assert!(!scenario.cluster.is_empty(), "{name}");
        assert!(!scenario.description.is_empty(), "{name}");
        assert_eq!(Scenario::load(name).unwrap(), scenario);
    }
}

#[test]
fn every_file_in_the_folder_is_shipped() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".toml").map(str::to_owned))
        .collect();
    files.sort();
    assert_eq!(files, names().collect::<Vec<_>>());
}

#[test]
fn an_empty_scenario_is_an_empty_project_with_the_default_key() {
    let scenario = Scenario::parse("", "test").unwrap();
    assert_eq!(scenario.key[0].access_key, DEFAULT_ACCESS_KEY);
    assert_eq!(scenario.project_id, DEFAULT_PROJECT_ID);
    assert!(scenario.cluster.is_empty());
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_known_ones() {
    let found = problem("[[cluster]]\nname = \"a\"\n[[cluster.task]]\nkind = \"upgrade\"\nstrat = \"1s\"");
    assert!(found.contains("line 5") && found.contains("`strat`") && found.contains("`start`"), "{found}");
    for text in [
        "sead = 1",
        "[ways]\nodrer = \"shuffled\"",
        "[ways.list]\ntotal = \"honest\"",
        "[[fault]]\non = \"any\"\nwhat = \"cut\"\nwhen = \"now\"",
        "[[cluster]]\nname = \"a\"\nways = { paging = \"start\" }",
        "[[key]]\naccess_key = \"a\"\nsecret_key = \"b\"\nregion = \"c\"",
    ] {
        assert!(problem(text).contains("unknown field"), "{text}");
    }
}

#[test]
fn what_cannot_happen_is_refused_with_its_place() {
    let cluster = |rest: &str| format!("[[cluster]]\nname = \"a\"\n{rest}");
    let task = |rest: &str| cluster(&format!("[[cluster.task]]\nkind = \"upgrade\"\n{rest}"));
    let fault = |rest: &str| cluster(&format!("[[fault]]\non = \"any\"\n{rest}"));
    for (text, expected) in [
        ("speed = 0.0".to_owned(), "speed must be above 0"),
        ("speed = nan".to_owned(), "speed must be above 0"),
        ("node_time = \"0s\"".to_owned(), "node_time must be above 0"),
        ("project_id = \"a/b\"".to_owned(), "project id"),
        (cluster("nodes = 0"), "cluster \"a\": nodes must be"),
        (cluster("count = 0"), "cluster \"a\": count must be above 0"),
        (cluster("count = 2\nid = \"x\""), "a fleet cannot have one id"),
        (cluster("count = 99999999999"), "clusters are more than"),
        (cluster("[[cluster]]\nname = \"a\""), "two clusters have the same name"),
        (cluster("deleted_at = \"-60d\""), "deleted_at must be after created"),
        (task("completed = 4"), "task 1: completed must be 0 to 3"),
        (task("completed = 3"), "every node is completed"),
        (task("end = \"1s\""), "it runs, so it has no end"),
        (task("status = \"FAILED\"\nstart = \"-1h\"\nend = \"-2h\""), "end must not be before start"),
        (task("start = \"1s\"\nafter_reads = 1"), "start or after_reads, not both"),
        (task("fail = [{ node = 4 }]"), "fail.node must be 1 to 3, not 4"),
        (task("fail = [{ node = 0 }]"), "fail.node must be 1 to 3, not 0"),
        (task("fail = [{ node = 1, step = 1 }]"), "fail.step must be one of 0, 3, 6, 9, 12, not 1"),
        (cluster("[[cluster.by_hand]]\ndo = \"retry\""), "by_hand 1: give either at or after_reads"),
        (cluster("[[cluster.by_hand]]\ndo = \"retry\"\nat = \"1s\"\ntask = 1"), "task must be 1 to 0"),
        (fault("what = \"status\""), "fault 1: status is missing"),
        (fault("what = \"status\"\nstatus = 99"), "status must be 200 to 599"),
        (fault("what = \"cut\"\nstatus = 500"), "status belongs to"),
        (fault("what = \"delay\""), "delay is missing"),
        (fault("what = \"cut\"\nbody = \"x\""), "do nothing with this kind"),
        (fault("what = \"truncated\"\ntaken = true"), "takes effect in any case"),
        (fault("what = \"cut\"\nprobability = 1.5"), "probability must be 0 to 1"),
        (fault("what = \"cut\"\ncluster = \"b\""), "there is no cluster \"b\""),
        ("[[key]]\naccess_key = \"\"\nsecret_key = \"b\"".to_owned(), "a key is empty"),
    ] {
        let found = problem(&text);
        assert!(found.contains(expected), "{text}\ngave {found}");
    }
}

#[test]
fn a_fleet_is_numbered() {
    let script = &Scenario::parse("[[cluster]]\nname = \"a\"\ncount = 12", "test").unwrap().cluster[0];
    let names = script.names();
    assert_eq!((names.len(), names[0].as_str(), names[11].as_str()), (12, "a-01", "a-12"));
}

#[test]
fn a_termination_leaves_a_known_word_or_a_status_in_capitals() {
    let leaves = |word: &str| {
        let text = format!("[ways]\nafter_abort = {word:?}");
        Scenario::parse(&text, "test").map(|scenario| scenario.ways.after_abort)
    };
    assert_eq!(leaves("vanishes").unwrap(), AfterAbort::Vanishes);
    assert_eq!(leaves("TERMINATED").unwrap(), AfterAbort::Status("TERMINATED".to_owned()));
    assert!(leaves("vanish").is_err());
    assert!(leaves("").is_err());
}

#[test]
fn a_name_that_is_neither_shipped_nor_a_file_lists_the_shipped_ones() {
    let error = Scenario::load("no-such-scenario").unwrap_err().to_string();
    assert!(error.contains("no-such-scenario") && error.contains("second-retry"), "{error}");
}

#[test]
fn the_secret_of_a_key_is_not_shown() {
    let shown = format!("{:?}", Scenario::parse("", "test").unwrap());
    assert!(shown.contains(DEFAULT_ACCESS_KEY) && !shown.contains(DEFAULT_SECRET_KEY));
}

#[test]
fn the_example_in_the_readme_is_a_scenario() {
    let readme = include_str!("../../../config/scenarios/README.md");
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let scenario = Scenario::parse(example, "README.md").unwrap_or_else(|error| {
        panic!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string))
    });
    assert_eq!((scenario.cluster.len(), scenario.fault.len()), (1, 1));
    for name in names() {
        assert!(readme.contains(&format!("| `{name}` |")), "{name} is not in the table");
    }
}
