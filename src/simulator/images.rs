//! The images that a cluster can be upgraded to (`GET …/target/{upgrade_type}/images`).

use serde_json::{Value, json};

/// The image of the sample answers, here the one for any upgrade within a version.
pub(super) const SAME_VERSION_IMAGE: &str = "439b5d30-5968-45df-b088-d030a858522d";
/// The image for any upgrade to another version.
pub(super) const OTHER_VERSION_IMAGE: &str = "bcdb711c-a7f0-4007-b8ee-9f13c05f8326";

/// Version paths by the user guide, the furthest target of each.
const PATHS: [(&str, &str); 6] = [
    ("6.2.3", "6.8.23"),
    ("6.5.4", "6.8.23"),
    ("6.8.23", "7.10.2"),
    ("7.1.1", "7.10.2"),
    ("7.6.2", "7.10.2"),
    ("7.9.3", "7.10.2"),
];

/// Returns where a cluster of this version goes with this `upgrade_type`: the image's id and its
/// version.
pub(super) fn target(upgrade_type: &str, version: &str) -> Option<(&'static str, String)> {
    match upgrade_type {
        "same" => Some((SAME_VERSION_IMAGE, version.to_owned())),
        "cross" => {
            let (_, to) = PATHS.iter().find(|(from, _)| *from == version)?;
            Some((OTHER_VERSION_IMAGE, (*to).to_owned()))
        }
        _ => None,
    }
}

/// `imageInfo`, in tasks and in the list of images.
pub(super) fn image_info(id: &str, engine: &str, version: &str) -> Value {
    json!({
        "id": id,
        "displayName": format!("{version}_22.5.1_1230"),
        "imageDesc": format!(
            "The latest image of version {version} will be officially released on December 30, 2022. \
             the stability of the cluster has been optimized. It is recommended that you upgrade to this version."
        ),
        "datastoreType": engine,
        "datastoreVersion": version,
        "priority": 16,
    })
}
