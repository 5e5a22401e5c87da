
/// Every planted fault is found, and the seed that finds it is green without it.
#[test]
fn every_planted_fault_is_found() {
    use upgrade_remediator::planted::{FAULTS, plant};

    /// A planted fault is found within so many.
    const SEEDS_FOR_A_FAULT: u64 = 3_000;

    let left = Mutex::new(FAULTS.iter().map(|(fault, _)| *fault).collect::<Vec<_>>());
    let missed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let fault = left.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(fault) = fault else { break };
            let found = (0..SEEDS_FOR_A_FAULT).find_map(|seed| {
                let plan = plan(seed);
                plant(Some(fault));
                let played = play(&plan, None);
                plant(None);
                let mut wrong = judge::judge(&plan, &played);
                wrong.extend(played.unfinished.iter().map(|open| format!("it never came to an end: {open}")));
                (!wrong.is_empty()).then_some((seed, wrong))
            });
            let Some((seed, wrong)) = found else {
                missed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(format!("{fault} was not found"));
                continue;
            };
            let (clean, _) = try_seed(seed, false);
            let wrong = wrong.first().map_or("", String::as_str);
            eprintln!("{fault} is found by seed {seed}: {wrong}");
            if !clean.is_empty() {
                let text = format!("{fault}: seed {seed} is red without it too");
                missed.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
    let missed = missed.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(missed.is_empty(), "{missed:#?}");
}
