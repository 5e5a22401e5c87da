//! The hosts of a region, if only the region is given.

use super::problem::nearest;

/// A beginning of a region's name that is shorter could be that of many.
const MIN_BEGINNING: usize = 6;

/// Whether a region is of the EU's cloud, whose accounts no other IAM knows.
fn is_in_the_eu(region: &str) -> bool {
    region.starts_with("eu-west-1")
}

/// The domain of a region's hosts.
fn domain(region: &str) -> &'static str {
    if is_in_the_eu(region) { "myhuaweicloud.eu" } else { "myhuaweicloud.com" }
}

/// Returns the CSS API's host if only the region is given. The exceptions and the pattern are those
/// of the official SDK's region table, which names this one host of the EU in the other domain
/// ([`doubts`]); private clouds need `endpoint`.
pub(super) fn endpoint(region: &str) -> String {
    let host = match region {
        "cn-north-1" | "cn-east-2" => "es",
        _ => "css",
    };
    format!("https://{host}.{region}.myhuaweicloud.com")
}

/// The regions whose IAM has a host of its own, by the official SDK's table, beside those of the EU; all others share one.
const OWN_IAM: [&str; 27] = [
    "ae-ad-1",
    "af-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "cn-east-2",
    "cn-east-3",
    "cn-east-4",
    "cn-east-5",
    "cn-north-1",
    "cn-north-12",
    "cn-north-2",
    "cn-north-4",
    "cn-north-9",
    "cn-south-1",
    "cn-south-2",
    "cn-southwest-2",
    "eu-west-0",
    "la-north-2",
    "la-south-2",
    "me-east-1",
    "my-kualalumpur-1",
    "na-mexico-1",
    "ru-moscow-1",
    "sa-brazil-1",
    "tr-west-1",
];

/// The other regions of the service, by the official SDK's table; and the one whose sources differ.
const OTHERS: [&str; 6] =
    ["af-north-1", "ap-southeast-5", "cn-north-11", "cn-south-4", "cn-southwest-3", "eu-west-101"];

/// All regions that a table names.
fn all() -> impl Iterator<Item = &'static str> {
    OWN_IAM.into_iter().chain(OTHERS)
}

/// Returns whether a table names this region.
pub(super) fn is_known(region: &str) -> bool {
    all().any(|known| known == region)
}

/// Returns the region that was probably meant by one that no table names.
pub(super) fn meant(region: &str) -> Option<&'static str> {
    // "eu-west-1" is as near to others, and was cut off.
    let longer = all().find(|known| region.len() >= MIN_BEGINNING && known.starts_with(region));
    longer.or_else(|| nearest(region, all()))
}

/// IAM's host where the region alone is given.
pub(super) fn iam_endpoint(region: &str) -> String {
    let domain = domain(region);
    if OWN_IAM.contains(&region) || is_in_the_eu(region) {
        format!("https://iam.{region}.{domain}")
    } else {
        "https://iam.myhuaweicloud.com".to_owned()
    }
}

/// Returns the host that exchanges an agency's URN for keys: beside the given IAM, otherwise the
/// region's.
pub(super) fn sts_endpoint(region: &str, given_iam: Option<&str>) -> String {
    match given_iam {
        Some(iam) => iam.replacen("://iam.", "://sts.", 1),
        None => format!("https://sts.{region}.{}", domain(region)),
    }
}

/// Returns SMN's host if only the region is given, by the official SDK's table.
pub fn smn_endpoint(region: &str) -> String {
    format!("https://smn.{region}.{}", domain(region))
}

/// Returns doubts about the hosts that follow from the region alone: the key, and the doubt.
pub(super) fn doubts(region: &str, given: &str, sts: &str) -> Vec<(&'static str, String)> {
    let domain = domain(region);
    if !is_in_the_eu(region) {
        return Vec::new();
    }
    let mut doubts = Vec::new();
    if given == endpoint(region) {
        let other = format!("https://css.{region}.{domain}");
        doubts.push((
            "endpoint",
            format!("sources differ on this host: where it does not answer, give {other}"),
        ));
    }
    if sts == sts_endpoint(region, None) {
        let doubt = format!(
            "{sts}, where an agency's URN is turned into keys, is a guess: no source names that host"
        );
        doubts.push(("iam_endpoint", doubt));
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_odd_hosts_are_known() {
        assert_eq!(endpoint("eu-west-101"), "https://css.eu-west-101.myhuaweicloud.com");
        assert_eq!(iam_endpoint("eu-west-101"), "https://iam.eu-west-101.myhuaweicloud.eu");
        assert_eq!(sts_endpoint("eu-west-101", None), "https://sts.eu-west-101.myhuaweicloud.eu");
        assert_eq!(smn_endpoint("eu-west-101"), "https://smn.eu-west-101.myhuaweicloud.eu");
        assert_eq!(smn_endpoint("eu-west-0"), "https://smn.eu-west-0.myhuaweicloud.com");
        assert_eq!(endpoint("cn-north-1"), "https://es.cn-north-1.myhuaweicloud.com");
        assert_eq!(endpoint("cn-east-2"), "https://es.cn-east-2.myhuaweicloud.com");
        assert_eq!(endpoint("cn-north-11"), "https://css.cn-north-11.myhuaweicloud.com");
    }

    #[test]
    fn a_region_that_no_table_names_is_known_as_such() {
        for (region, meant) in [
            ("eu-west-1", Some("eu-west-101")),
            ("eu-west-102", Some("eu-west-101")),
            ("cn-nort-4", Some("cn-north-4")),
            ("mars", None),
        ] {
            assert!(!is_known(region), "{region}");
            assert_eq!(super::meant(region), meant, "{region}");
        }
        for region in OWN_IAM.into_iter().chain(OTHERS) {
            assert!(is_known(region), "{region}");
        }
    }

    #[test]
    fn every_region_has_its_hosts() {
        for (region, css, iam) in [
            ("cn-north-1", "es.cn-north-1", "iam.cn-north-1"),
            ("cn-north-2", "css.cn-north-2", "iam.cn-north-2"),
            ("cn-north-4", "css.cn-north-4", "iam.cn-north-4"),
            ("cn-north-9", "css.cn-north-9", "iam.cn-north-9"),
            ("cn-north-11", "css.cn-north-11", "iam"),
            ("cn-north-12", "css.cn-north-12", "iam.cn-north-12"),
            ("cn-east-2", "es.cn-east-2", "iam.cn-east-2"),
            ("cn-east-3", "css.cn-east-3", "iam.cn-east-3"),
            ("cn-east-4", "css.cn-east-4", "iam.cn-east-4"),
            ("cn-east-5", "css.cn-east-5", "iam.cn-east-5"),
            ("cn-south-1", "css.cn-south-1", "iam.cn-south-1"),
            ("cn-south-2", "css.cn-south-2", "iam.cn-south-2"),
            ("cn-south-4", "css.cn-south-4", "iam"),
            ("cn-southwest-2", "css.cn-southwest-2", "iam.cn-southwest-2"),
            ("cn-southwest-3", "css.cn-southwest-3", "iam"),
            ("ap-southeast-1", "css.ap-southeast-1", "iam.ap-southeast-1"),
            ("ap-southeast-2", "css.ap-southeast-2", "iam.ap-southeast-2"),
            ("ap-southeast-3", "css.ap-southeast-3", "iam.ap-southeast-3"),
            ("ap-southeast-4", "css.ap-southeast-4", "iam.ap-southeast-4"),
            ("ap-southeast-5", "css.ap-southeast-5", "iam"),
            ("af-south-1", "css.af-south-1", "iam.af-south-1"),
            ("af-north-1", "css.af-north-1", "iam"),
            ("ae-ad-1", "css.ae-ad-1", "iam.ae-ad-1"),
            ("me-east-1", "css.me-east-1", "iam.me-east-1"),
            ("tr-west-1", "css.tr-west-1", "iam.tr-west-1"),
            ("my-kualalumpur-1", "css.my-kualalumpur-1", "iam.my-kualalumpur-1"),
            ("la-north-2", "css.la-north-2", "iam.la-north-2"),
            ("la-south-2", "css.la-south-2", "iam.la-south-2"),
            ("na-mexico-1", "css.na-mexico-1", "iam.na-mexico-1"),
            ("sa-brazil-1", "css.sa-brazil-1", "iam.sa-brazil-1"),
            ("ru-moscow-1", "css.ru-moscow-1", "iam.ru-moscow-1"),
        ] {
            assert_eq!(endpoint(region), format!("https://{css}.myhuaweicloud.com"));
            assert_eq!(iam_endpoint(region), format!("https://{iam}.myhuaweicloud.com"));
            assert_eq!(sts_endpoint(region, None), format!("https://sts.{region}.myhuaweicloud.com"));
            assert!(is_known(region), "{region}");
        }
        let given = |iam| sts_endpoint("eu-de", Some(iam));
        assert_eq!(given("https://iam.eu-de.otc.t-systems.com"), "https://sts.eu-de.otc.t-systems.com");
        assert_eq!(given("http://127.0.0.1:8080"), "http://127.0.0.1:8080");
    }
}
