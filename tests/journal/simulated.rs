//! Failures of a journal that are simulated: they do what they say.

use upgrade_remediator::journal::memory::Failure;
use upgrade_remediator::journal::{Journal, MemoryJournal};
use upgrade_remediator::model::id::AttemptId;
use upgrade_remediator::model::outbox::OutboxWrite;

use crate::conformance::at;
use crate::conformance::entries::intent;

#[tokio::test]
async fn a_simulated_failure_keeps_what_it_was_asked_to_keep() {
    let memory = MemoryJournal::new(1);
    let journal = Journal::from(memory.clone());
    memory.fail_next(Failure::BeforeKeeping);
    memory.fail_next(Failure::AfterKeeping);
    assert!(journal.begin(at(0), intent()).await.is_err());
    assert!(memory.entries().is_empty());
    assert!(journal.begin(at(0), intent()).await.is_err());
    assert_eq!(memory.entries().len(), 1);
    memory.set_full(true);
    assert!(journal.begin(at(0), intent()).await.is_err());
    memory.set_full(false);
    assert_eq!(journal.begin(at(0), intent()).await.unwrap().attempt(), AttemptId(2));
}

#[tokio::test]
async fn a_simulated_failure_keeps_nothing_of_the_outbox() {
    let memory = MemoryJournal::new(1);
    memory.fail_next(Failure::BeforeKeeping);
    let journal = Journal::from(memory.clone());
    journal.write(vec![OutboxWrite::Join { channel: "ops".to_owned() }]).await.unwrap_err();
    assert!(journal.kept().await.unwrap().channels.is_empty());
}
