//! The one way in which arbitrary bytes are tried as a request to the daemon: by the property test and by the fuzz target.

use serde_json::json;
use upgrade_remediator::control;
use upgrade_remediator::control::protocol::VERSION;

/// Panics where a promise is broken.
pub(crate) fn try_request(bytes: &[u8]) {
    match control::understand(bytes) {
        Ok(request) => {
            // Written again it asks for the same: nothing that was given is left out unseen.
            let line = json!({ "version": VERSION, "request": request }).to_string();
            assert_eq!(control::understand(line.as_bytes()), Ok(request));
        }
        Err(why) => {
            assert!(!why.is_empty() && why.chars().count() < 1_000, "{why}");
            assert!(!why.chars().any(char::is_control), "{why:?}");
        }
    }
}
