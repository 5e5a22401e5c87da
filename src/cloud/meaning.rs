//! The meaning of an answer to a PUT: the one table. The meaning of an answer to a read is
//! `CloudError::from_answer`: there it decides which notification follows and when the read is
//! repeated, and never whether something was done; a new code has to be added to both. The status
//! decides first, then the code. The codes are those in the references of Huawei Cloud CSS and of
//! its API Gateway (support.huaweicloud.com, 'Error Codes').

use super::BodyKind;
use crate::model::answer::Meaning;

/// Codes of the CSS API that mean: another operation runs, or another state. With a 2xx only
/// CSS.0011 does.
const BUSY: [&str; 6] = ["CSS.0036", "CSS.0077", "CSS.0078", "CSS.5090", "CSS.5140", "CSS.0004"];
/// Codes that mean with 400: gone.
const GONE: [&str; 2] = ["CSS.0047", "CSS.0082"];
/// Codes that concern the whole project or account, whatever the 4xx (CSS.0021, account frozen, comes with 400).
const FORBIDDEN_PROJECT: [&str; 7] =
    ["APIGW.0302", "APIGW.0306", "APIGW.0310", "APIGW.0802", "CSS.0010", "CSS.0021", "CSS.5045"];

/// Returns the meaning of an answer with this status, this error code and this kind of body.
pub fn meaning(status: u16, code: Option<&str>, body: BodyKind) -> Meaning {
    // Older editions of the gateway write APIG instead of APIGW.
    let code = code.map(|code| code.replacen("APIG.", "APIGW.", 1));
    let code = code.as_deref().unwrap_or_default();
    let of_css = code.starts_with("CSS.");
    match status {
        401 => Meaning::Unauthorized,
        429 => Meaning::Busy,
        403 if code == "CSS.0015" => Meaning::GoneOrForbidden,
        400..=499 if FORBIDDEN_PROJECT.contains(&code) => Meaning::ForbiddenProject,
        403 => Meaning::ForbiddenCluster,
        200 => match body {
            BodyKind::Empty | BodyKind::Json if code.is_empty() => Meaning::Accepted,
            BodyKind::Empty | BodyKind::Json | BodyKind::Error | BodyKind::Other => in_a_success(code),
        },
        201..=299 => in_a_success(code),
        404 if of_css => Meaning::GoneOrForbidden,
        300..=399 | 404 | 405 => Meaning::WrongAddress,
        409 => Meaning::Busy,
        400..=499 if GONE.contains(&code) => Meaning::GoneOrForbidden,
        400..=499 if BUSY.contains(&code) => Meaning::Busy,
        400..=499 if body == BodyKind::Other => Meaning::WrongAddress,
        400..=499 => Meaning::NotAcceptable,
        // 1xx, 5xx and unknown statuses.
        _ => Meaning::Unknown,
    }
}

/// Returns the meaning of a 2xx with an error code, or of one that is not understood. Only CSS.0011
/// is documented there: not done.
fn in_a_success(code: &str) -> Meaning {
    if code == "CSS.0011" { Meaning::Busy } else { Meaning::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every status and code that the references of CSS and of API Gateway list, with its meaning.
    const ROWS: &[(u16, &str, Meaning)] = &[
        (202, "CSS.0011", Meaning::Busy),
        (400, "CSS.0001", Meaning::NotAcceptable),
        (400, "CSS.0021", Meaning::ForbiddenProject),
        (400, "CSS.0036", Meaning::Busy),
        (400, "CSS.0047", Meaning::GoneOrForbidden),
        (400, "CSS.0051", Meaning::NotAcceptable),
        (400, "CSS.0052", Meaning::NotAcceptable),
        (400, "CSS.0053", Meaning::NotAcceptable),
        (400, "CSS.0054", Meaning::NotAcceptable),
        (400, "CSS.0055", Meaning::NotAcceptable),
        (400, "CSS.0060", Meaning::NotAcceptable),
        (400, "CSS.0061", Meaning::NotAcceptable),
        (400, "CSS.0062", Meaning::NotAcceptable),
        (400, "CSS.0063", Meaning::NotAcceptable),
        (400, "CSS.0064", Meaning::NotAcceptable),
        (400, "CSS.0065", Meaning::NotAcceptable),
        (400, "CSS.0068", Meaning::NotAcceptable),
        (400, "CSS.0069", Meaning::NotAcceptable),
        (400, "CSS.0074", Meaning::NotAcceptable),
        (400, "CSS.0077", Meaning::Busy),
        (400, "CSS.0078", Meaning::Busy),
        (400, "CSS.0080", Meaning::NotAcceptable),
        (400, "CSS.0081", Meaning::NotAcceptable),
        (400, "CSS.5130", Meaning::NotAcceptable),
        (400, "CSS.0082", Meaning::GoneOrForbidden),
        (400, "CSS.0083", Meaning::NotAcceptable),
        (400, "CSS.5090", Meaning::Busy),
        (400, "CSS.5140", Meaning::Busy),
        (400, "CSS.5301", Meaning::NotAcceptable),
        (400, "CSS.6000", Meaning::NotAcceptable),
        (400, "CSS.6015", Meaning::NotAcceptable),
        (403, "CSS.0010", Meaning::ForbiddenProject),
        (403, "CSS.0015", Meaning::GoneOrForbidden),
        (403, "CSS.5045", Meaning::ForbiddenProject),
        (404, "CSS.0002", Meaning::GoneOrForbidden),
        (404, "CSS.0007", Meaning::GoneOrForbidden),
        (404, "CSS.0016", Meaning::GoneOrForbidden),
        (404, "CSS.0022", Meaning::GoneOrForbidden),
        (404, "CSS.0028", Meaning::GoneOrForbidden),
        (404, "CSS.1103", Meaning::GoneOrForbidden),
        (404, "CSS.3027", Meaning::GoneOrForbidden),
        (409, "CSS.0012", Meaning::Busy),
        (409, "CSS.0029", Meaning::Busy),
        (409, "CSS.0031", Meaning::Busy),
        (409, "CSS.3004", Meaning::Busy),
        (413, "CSS.0030", Meaning::NotAcceptable),
        (415, "CSS.0004", Meaning::Busy),
        (415, "CSS.5108", Meaning::NotAcceptable),
        (419, "CSS.0023", Meaning::NotAcceptable),
        (422, "CSS.0040", Meaning::NotAcceptable),
        (500, "CSS.0005", Meaning::Unknown),
        (500, "CSS.1004", Meaning::Unknown),
        (500, "CSS.9999", Meaning::Unknown),
        (404, "APIGW.0101", Meaning::WrongAddress),
        (404, "APIGW.0103", Meaning::WrongAddress),
        (400, "APIGW.0201", Meaning::NotAcceptable),
        (413, "APIGW.0201", Meaning::NotAcceptable),
        (414, "APIGW.0201", Meaning::NotAcceptable),
        (494, "APIGW.0201", Meaning::NotAcceptable),
        (502, "APIGW.0201", Meaning::Unknown),
        (504, "APIGW.0201", Meaning::Unknown),
        (401, "APIGW.0301", Meaning::Unauthorized),
        (403, "APIGW.0302", Meaning::ForbiddenProject),
        (401, "APIGW.0303", Meaning::Unauthorized),
        (401, "APIGW.0305", Meaning::Unauthorized),
        (403, "APIGW.0306", Meaning::ForbiddenProject),
        (401, "APIGW.0307", Meaning::Unauthorized),
        (429, "APIGW.0308", Meaning::Busy),
        (403, "APIGW.0310", Meaning::ForbiddenProject),
        (403, "APIGW.0401", Meaning::ForbiddenCluster),
        (403, "APIGW.0402", Meaning::ForbiddenCluster),
        (403, "APIGW.0404", Meaning::ForbiddenCluster),
        (405, "APIGW.0501", Meaning::WrongAddress),
        (405, "APIGW.0502", Meaning::WrongAddress),
        (500, "APIGW.0601", Meaning::Unknown),
        (500, "APIGW.0605", Meaning::Unknown),
        (500, "APIGW.0606", Meaning::Unknown),
        (500, "APIGW.0608", Meaning::Unknown),
        (500, "APIGW.0609", Meaning::Unknown),
        (500, "APIGW.0611", Meaning::Unknown),
        (500, "APIGW.0612", Meaning::Unknown),
        (500, "APIGW.0705", Meaning::Unknown),
        (400, "APIGW.0602", Meaning::NotAcceptable),
        (400, "APIGW.0607", Meaning::NotAcceptable),
        (502, "APIGW.0610", Meaning::Unknown),
        (503, "APIGW.0613", Meaning::Unknown),
        (403, "APIGW.0801", Meaning::ForbiddenCluster),
        (403, "APIGW.0802", Meaning::ForbiddenProject),
    ];

    /// The codes of those references, apart from the rows: a code without a row is a failure.
    const DOCUMENTED: &str = "0001 0002 0004 0005 0007 0010 0011 0012 0015 0016 0021 0022 0023 0028 0029 0030 0031 0036 \
         0040 0047 0051 0052 0053 0054 0055 0060 0061 0062 0063 0064 0065 0068 0069 0074 0077 0078 0080 0081 0082 0083 \
         1004 1103 3004 3027 5045 5090 5108 5130 5140 5301 6000 6015 9999";
    const DOCUMENTED_OF_THE_GATEWAY: &str = "0101 0103 0201 0301 0302 0303 0305 0306 0307 0308 0310 0401 0402 0404 0501 0502 \
         0601 0602 0605 0606 0607 0608 0609 0610 0611 0612 0613 0705 0801 0802";
    const DOCUMENTED_STATUSES: [u16; 17] =
        [202, 400, 401, 403, 404, 405, 409, 413, 414, 415, 419, 422, 429, 494, 500, 502, 504];

    #[test]
    fn every_documented_status_and_code_has_a_row() {
        for (prefix, codes) in [("CSS", DOCUMENTED), ("APIGW", DOCUMENTED_OF_THE_GATEWAY)] {
            for code in codes.split_whitespace() {
                let code = format!("{prefix}.{code}");
                assert!(ROWS.iter().any(|(_, row, _)| *row == code), "{code} has no row");
            }
        }
        for code in BUSY.iter().chain(&GONE).chain(&FORBIDDEN_PROJECT) {
            assert!(ROWS.iter().any(|(_, row, _)| row == code), "{code} has no row");
        }
        for status in DOCUMENTED_STATUSES {
            assert!(ROWS.iter().any(|(row, ..)| *row == status), "{status} has no row");
        }
    }

    #[test]
    fn every_row_has_its_meaning() {
        for (status, code, expected) in ROWS {
            assert_eq!(meaning(*status, Some(code), BodyKind::Error), *expected, "{status} {code}");
            let older = code.replacen("APIGW.", "APIG.", 1);
            assert_eq!(meaning(*status, Some(&older), BodyKind::Error), *expected, "{status} {older}");
        }
    }

    /// Only an acceptance closes a task, and only a code of the CSS API starts the check whether it
    /// is gone.
    #[test]
    fn no_answer_of_the_gateway_accepts_a_put_or_says_that_the_task_may_be_gone() {
        let of = |prefix: &str, codes: &str| -> Vec<String> {
            codes.split_whitespace().map(|code| format!("{prefix}.{code}")).collect()
        };
        let of_css = of("CSS", DOCUMENTED);
        let others = [of("APIGW", DOCUMENTED_OF_THE_GATEWAY), of("APIG", DOCUMENTED_OF_THE_GATEWAY)].concat();
        let others = others.iter().map(String::as_str).chain(["", "401", "APIGW.9999", "CSS", "XCSS.0015"]);
        let others: Vec<Option<&str>> = others.map(Some).chain([None]).collect();
        for status in 0..1000 {
            for body in [BodyKind::Empty, BodyKind::Json, BodyKind::Error, BodyKind::Other] {
                for code in &others {
                    let found = meaning(status, *code, body);
                    assert_ne!(found, Meaning::GoneOrForbidden, "{status} {code:?} {body:?}");
                    let says_nothing = code.unwrap_or_default().is_empty();
                    let accepts =
                        status == 200 && says_nothing && matches!(body, BodyKind::Empty | BodyKind::Json);
                    assert_eq!(found == Meaning::Accepted, accepts, "{status} {code:?} {body:?}");
                }
                for code in &of_css {
                    let found = meaning(status, Some(code), body);
                    assert_ne!(found, Meaning::Accepted, "{status} {code} {body:?}");
                    let is_gone = match status {
                        403 => code == "CSS.0015",
                        // Otherwise forbidden for the whole project.
                        404 => !["CSS.0010", "CSS.0021", "CSS.5045"].contains(&code.as_str()),
                        _ if [401, 405, 409, 429].contains(&status) => false,
                        _ => status / 100 == 4 && ["CSS.0047", "CSS.0082"].contains(&code.as_str()),
                    };
                    assert_eq!(found == Meaning::GoneOrForbidden, is_gone, "{status} {code} {body:?}");
                }
            }
        }
    }

    #[test]
    fn answers_without_a_code_go_by_status_and_body() {
        use BodyKind::{Empty, Error, Json, Other};
        for (status, body, expected) in [
            (200, Empty, Meaning::Accepted),
            (200, Json, Meaning::Accepted),
            (200, Other, Meaning::Unknown),
            (200, Error, Meaning::Unknown),
            (201, Empty, Meaning::Unknown),
            (202, Empty, Meaning::Unknown),
            (204, Empty, Meaning::Unknown),
            (100, Empty, Meaning::Unknown),
            (301, Empty, Meaning::WrongAddress),
            (302, Other, Meaning::WrongAddress),
            (304, Empty, Meaning::WrongAddress),
            (400, Other, Meaning::WrongAddress),
            (400, Empty, Meaning::NotAcceptable),
            (400, Json, Meaning::NotAcceptable),
            (401, Other, Meaning::Unauthorized),
            (403, Other, Meaning::ForbiddenCluster), // by the status, whatever the body
            (403, Empty, Meaning::ForbiddenCluster),
            (404, Empty, Meaning::WrongAddress),
            (404, Other, Meaning::WrongAddress),
            (405, Empty, Meaning::WrongAddress),
            (407, Empty, Meaning::NotAcceptable),
            (408, Empty, Meaning::NotAcceptable),
            (409, Empty, Meaning::Busy),
            (418, Other, Meaning::WrongAddress),
            (425, Empty, Meaning::NotAcceptable),
            (429, Other, Meaning::Busy),
            (500, Other, Meaning::Unknown),
            (503, Empty, Meaning::Unknown),
            (599, Empty, Meaning::Unknown),
            (600, Empty, Meaning::Unknown),
        ] {
            assert_eq!(meaning(status, None, body), expected, "{status} {body:?}");
        }
    }

    #[test]
    fn an_error_code_in_a_200_is_never_an_acceptance() {
        assert_eq!(meaning(200, Some("CSS.0011"), BodyKind::Error), Meaning::Busy);
        assert_eq!(meaning(200, Some("CSS.0001"), BodyKind::Error), Meaning::Unknown);
        assert_eq!(meaning(200, Some("CSS.0078"), BodyKind::Error), Meaning::Unknown);
        // In whatever body it was found.
        for body in [BodyKind::Empty, BodyKind::Json, BodyKind::Error, BodyKind::Other] {
            assert_eq!(meaning(200, Some("CSS.0011"), body), Meaning::Busy, "{body:?}");
            assert_eq!(meaning(200, Some("CSS.0001"), body), Meaning::Unknown, "{body:?}");
        }
    }
}
