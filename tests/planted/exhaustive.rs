
/// Of the planted faults, those that lie in what is walked are found, each by the plan that is named with it.
#[test]
fn planted_faults_of_the_core_are_found() {
    use upgrade_remediator::planted::{FAULTS, plant};

    let mut missed = Vec::new();
    for (fault, by) in FAULTS.iter().filter_map(|(fault, by)| Some((*fault, (*by)?))) {
        let plan = short().into_iter().find(|plan| plan.name == by).unwrap();
        plant(Some(fault));
        let walked = walk(&plan, 1);
        plant(None);
        match walked.wrong.first() {
            Some((wrong, story)) => eprintln!(
                "{fault} is found by '{by}' after {} states, {} lines: {wrong}",
                walked.states,
                story.lines().count()
            ),
            None => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
