//! Changes an answer by a fault.

use super::cluster::Cluster;
use super::exchange::{Delivery, Response};
use super::log::Operation;
use super::scenario::{Fault, What};
use super::time::SimTime;

/// Returns whether this fault could hit such a request.
pub(super) fn matches(fault: &Fault, now: SimTime, operation: Operation, cluster: Option<&Cluster>) -> bool {
    let of_cluster =
        |name: &String| cluster.is_some_and(|cluster| cluster.name == *name || cluster.group == *name);
    fault.on.covers(operation)
        && fault.cluster.as_ref().is_none_or(of_cluster)
        && fault.from.is_none_or(|from| now >= from.0)
        && fault.until.is_none_or(|until| now < until.0)
}

/// Returns what the client gets. `real` is the right answer, if the request took effect.
pub(super) fn delivery(fault: &Fault, real: Option<&Response>, request_id: &str) -> Delivery {
    let error =
        |status, code, message| Delivery::Respond(written(fault, status, Some((code, message)), request_id));
    match fault.what {
        What::Busy => error(
            202,
            "CSS.0011",
            "CSS.0011 : Another operation is being performed on the instance or the instance is faulty.",
        ),
        What::Status => Delivery::Respond(written(fault, fault.status.unwrap_or(500), None, request_id)),
        What::BadRequest => error(400, "CSS.0036", "CSS.0036 : Internal error."),
        What::Forbidden => error(403, "CSS.0015", "No resources are found or the access is denied."),
        What::GatewayNotFound => {
            error(404, "APIGW.0101", "The API does not exist or has not been published in the environment")
        }
        What::Throttled => error(
            429,
            "APIGW.0308",
            "The throttling threshold has been reached: policy user over ratelimit,limit:10,time:1 minute",
        ),
        What::ServerError => error(500, "CSS.0005", "CSS.0005 : Internal server error."),
        What::OkWithErrCode => error(200, "CSS.0036", "CSS.0036 : Internal error."),
        What::Cut if real.is_some() => Delivery::CutAfter,
        What::Cut => Delivery::CutBefore,
        What::Delay => real.map_or(Delivery::CutBefore, |real| Delivery::Respond(real.clone())),
        What::Nonsense => {
            Delivery::Respond(Response::of(200, "application/json", "{\"clusters\": [{\"id\": oops"))
        }
        What::Html => Delivery::Respond(Response::of(
            200,
            "text/html",
            "<!DOCTYPE html><html><head><title>Log in</title></head><body>Please log in.</body></html>",
        )),
        What::Empty => Delivery::Respond(Response::taken()),
        What::Truncated => {
            let mut response = real.cloned().unwrap_or_else(Response::taken);
            if response.body.is_empty() {
                // An empty body cannot be cut short.
                response = Response::of(response.status, "application/json", "{}");
            }
            Delivery::Truncate { body_bytes: response.body.len() / 2, response }
        }
    }
}

/// Returns the answer with the texts of the fault; `usual` is the code and message if it has none.
fn written(fault: &Fault, status: u16, usual: Option<(&str, &str)>, request_id: &str) -> Response {
    let code = fault.code.as_deref().or(usual.map(|(code, _)| code));
    let message = fault.message.as_deref().or(usual.map(|(_, message)| message)).unwrap_or_default();
    let response = match (&fault.body, code) {
        (Some(body), _) => Response::of(status, content_type(body), body.as_str()),
        (None, Some(code)) => Response::error(status, code, message, request_id),
        (None, None) => Response { status, ..Response::taken() },
    };
    match fault.retry_after {
        Some(wait) => response.with_header("Retry-After", wait.as_secs().to_string()),
        None => response,
    }
}

fn content_type(body: &str) -> &'static str {
    match body.trim_start().chars().next() {
        Some('<') => "text/html",
        Some('{' | '[') => "application/json",
        _ => "text/plain",
    }
}
