//! The name of the user who gives an order.

use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::sync::Semaphore;

use crate::model::text::shown;

/// The system's database may ask a server on the network. No order waits longer for a name.
const PATIENCE: Duration = Duration::from_secs(1);

/// One lookup at a time: a lookup cannot be stopped, and those that hang must not take all threads.
static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

/// The name of this user, where the system's database has one and answers in time.
pub(super) async fn name_of(uid: u32) -> Option<String> {
    let found = async {
        let permit = ONE_AT_A_TIME.acquire().await.ok()?;
        let lookup = move || {
            let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
            drop(permit);
            user
        };
        tokio::task::spawn_blocking(lookup).await.ok()?
    };
    let user = tokio::time::timeout(PATIENCE, found).await.ok()??;
    Some(shown(&user.name, 80)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_user_is_told_by_name_and_one_that_the_database_lacks_has_none() {
        assert_eq!(name_of(0).await.as_deref(), Some("root"));
        assert_eq!(name_of(4_000_000_123).await, None);
    }
}
