//! The JSON of the API, read into the model. Lenient where the API may vary: null, absent and
//! unknown fields, a number for a text and a text for a number, unknown words (which are kept).
//! Strict where it matters: an id must be one, an answer must have the shape of its kind, and 'no
//! completed node' has exactly one form.
//!
//! Elements are read one by one, so that an unusable one does not affect the others: it is counted
//! instead.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::model::cluster::Cluster;
use crate::model::id::{ClusterId, TaskId};
use crate::model::task::{Task, TaskKind};
use crate::model::text::shown;
use lenient::{List, Loose, Object};

mod cluster;
mod lenient;
pub(super) mod shape;
mod task;

/// How much of an element that cannot be used is shown.
pub(super) const SHOWN_ELEMENT: usize = 200;
/// How much of it is kept until secrets in it are masked: so much more that none is cut in what is
/// shown.
const KEPT_ELEMENT: usize = 20_000;

/// Why a body with status 200 is not the requested one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WireError {
    /// It contains an error in spite of its status.
    ErrorCode,
    /// It differs from the API's description: what was found.
    Shape(String),
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Page<I, T> {
    /// Its elements, each with its id.
    pub(super) items: Vec<(I, T)>,
    /// Elements that cannot be used, as shown texts.
    pub(super) unusable: Vec<String>,
    /// The number of elements on all pages, by this page.
    pub(super) total_size: Option<u64>,
}

/// The fields around the elements, in lists of both kinds. `C` and `T` are the lists themselves.
#[derive(Deserialize)]
struct Outer<'a, C, T> {
    #[serde(borrow, default, rename = "totalSize")]
    total_size: Loose<'a>,
    #[serde(default)]
    clusters: C,
    #[serde(default, rename = "detailList")]
    tasks: T,
    #[serde(borrow, default, rename = "errCode")]
    css_code: Loose<'a>,
    #[serde(borrow, default, rename = "error_code")]
    gateway_code: Loose<'a>,
    #[serde(borrow, default, rename = "errorCode")]
    other_code: Loose<'a>,
    #[serde(borrow, default)]
    error: Loose<'a>,
    #[serde(borrow, default)]
    code: Loose<'a>,
}

impl<C, T> Outer<'_, C, T> {
    /// Returns whether there is any sign of an error; [`shape::read`] then decides. This check
    /// spares the common answer a second parse.
    fn may_hold_an_error(&self) -> bool {
        [&self.css_code, &self.gateway_code, &self.other_code, &self.error, &self.code]
            .iter()
            .any(|hint| !matches!(hint, Loose::Absent | Loose::Null))
    }
}

/// The list that was not requested.
type Ignored = Option<IgnoredAny>;

/// Elements that are read together with the fields around them: one pass, for answers in which
/// every one is an object and can be used. For all others it fails, and they are read one by one.
type Together<E> = Vec<Object<E>>;

/// Reads a page of the list of clusters.
pub(super) fn clusters(body: &[u8]) -> Result<Page<ClusterId, Arc<Cluster>>, WireError> {
    let with_id = |cluster: Cluster| (cluster.id.clone(), Arc::new(cluster));
    let together = || {
        let outer: Outer<'_, Option<Together<cluster::Element<'_>>>, Ignored> = quick(body)?;
        let total_size = Some(outer.total_size.whole_number()?);
        let mut shared = cluster::Shared::default();
        let read = |element: Object<cluster::Element<'_>>| {
            cluster::model(&element.0?, &mut shared).ok().map(with_id)
        };
        let items = outer.clusters?.into_iter().map(read).collect::<Option<Vec<_>>>()?;
        Some(Page { items, unusable: Vec::new(), total_size })
    };
    if let Some(page) = together() {
        return Ok(page);
    }
    let outer = outer(body)?;
    let mut shared = cluster::Shared::default();
    page(&outer.total_size, outer.clusters, "clusters", |raw| {
        cluster::read(raw.get(), &mut shared).map(with_id)
    })
}

/// Reads a page of the tasks of one kind.
pub(super) fn tasks(body: &[u8], kind: TaskKind) -> Result<Page<TaskId, Task>, WireError> {
    let with_id = |task: Task| (task.id.clone(), task);
    let together = || {
        let outer: Outer<'_, Ignored, Option<Together<task::Element<'_>>>> = quick(body)?;
        let total_size = Some(outer.total_size.whole_number()?);
        let read = |element: Object<task::Element<'_>>| task::model(&element.0?, kind).map(with_id);
        let items = outer.tasks?.into_iter().map(read).collect::<Option<Vec<_>>>()?;
        Some(Page { items, unusable: Vec::new(), total_size })
    };
    if let Some(page) = together() {
        return Ok(page);
    }
    let outer = outer(body)?;
    page(&outer.total_size, outer.tasks, "detailList", |raw| task::read(raw.get(), kind).map(with_id))
}

/// Returns a whole answer without any sign of an error, or nothing.
fn quick<'a, C: Deserialize<'a> + Default, T: Deserialize<'a> + Default>(
    body: &'a [u8],
) -> Option<Outer<'a, C, T>> {
    if body.first() != Some(&b'{') {
        return None;
    }
    let outer: Outer<'a, C, T> = serde_json::from_str(utf_8(body).ok()?).ok()?;
    (!outer.may_hold_an_error()).then_some(outer)
}

/// Reads one cluster, which must be the requested one.
pub(super) fn cluster(body: &[u8], id: &ClusterId) -> Result<Cluster, WireError> {
    outer(body)?;
    let text = utf_8(body)?;
    let found = cluster::read(text.trim(), &mut cluster::Shared::default()).map_err(WireError::Shape)?;
    if found.id != *id {
        return Err(WireError::Shape(format!("another cluster ({}) than {id}", found.id)));
    }
    Ok(found)
}

/// Returns all of it as text. In bytes the parser does not check what it skips, which can make a
/// difference.
fn utf_8(body: &[u8]) -> Result<&str, WireError> {
    std::str::from_utf8(body).map_err(|_| WireError::Shape("text that is not UTF-8".to_owned()))
}

fn outer(body: &[u8]) -> Result<Outer<'_, List<'_>, List<'_>>, WireError> {
    // A list would otherwise be read as the fields of the object in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        let message = shape::read(body, true).message;
        return Err(WireError::Shape(if message.is_empty() { "an empty body".to_owned() } else { message }));
    }
    // The parser's text may quote the body; the place is enough.
    let outer: Outer<'_, List<'_>, List<'_>> = serde_json::from_str(utf_8(body)?).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        WireError::Shape(format!(
            "JSON that is cut off or contradicts itself, at line {line} column {column}"
        ))
    })?;
    if outer.may_hold_an_error() && shape::read(body, true).code.is_some() {
        return Err(WireError::ErrorCode);
    }
    Ok(outer)
}

fn page<I, T>(
    total_size: &Loose<'_>,
    list: List<'_>,
    name: &str,
    mut read: impl FnMut(&RawValue) -> Result<(I, T), String>,
) -> Result<Page<I, T>, WireError> {
    let total = match total_size {
        Loose::Absent | Loose::Null => None,
        // An unreadable number must not count as an absent one, which hides nothing.
        given => Some(given.whole_number().ok_or_else(|| {
            let given = shown(&given.text().unwrap_or(given.kind().into()), 40);
            WireError::Shape(format!("a totalSize that is no number: {given}"))
        })?),
    };
    let elements = match list.listed() {
        Some(elements) => elements,
        None if !list.is_absent() => {
            return Err(WireError::Shape(format!("{name} that is {}", list.kind())));
        }
        None if total.is_none() => {
            return Err(WireError::Shape(format!("JSON with neither {name} nor totalSize")));
        }
        None => Vec::new(),
    };
    let mut page =
        Page { items: Vec::with_capacity(elements.len()), unusable: Vec::new(), total_size: total };
    for raw in elements {
        match read(raw) {
            Ok(item) => page.items.push(item),
            Err(why) => page.unusable.push(format!("{why}: {}", shown(raw.get(), KEPT_ELEMENT))),
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task_page(body: &str) -> Result<Page<TaskId, Task>, WireError> {
        tasks(body.as_bytes(), TaskKind::Upgrade)
    }

    #[test]
    fn what_is_no_utf_8_is_no_answer_wherever_it_stands() {
        for (before, after) in [
            (r#"{"totalSize":1,"clusters":[{"id":"c-1","unknown":""#, r#""}]}"#),
            (r#" {"totalSize":1,"clusters":[{"id":"c-1","name":""#, r#""}]}"#),
            (r#"{"totalSize":1,"unknown":""#, r#"","clusters":[{"id":"c-1"}]}"#),
        ] {
            let whole = |inside: &[u8]| clusters(&[before.as_bytes(), inside, after.as_bytes()].concat());
            assert!(whole(b"x").is_ok(), "{before}");
            assert!(matches!(whole(b"\xff"), Err(WireError::Shape(_))), "{before}");
        }
    }

    #[test]
    fn what_is_not_a_list_of_tasks_is_an_error_and_never_an_empty_list() {
        for body in [
            "",
            "null",
            "[]",
            "[5,[]]",
            "\"\"",
            "{}",
            "<html></html>",
            "{\"totalSize\":null,\"detailList\":null}",
            "{\"clusters\":[]}",
            "{\"totalSize\":1,\"detailList\":[{\"id\":\"a\"}",
            "{\"totalSize\":0,\"detailList\":[]} trailing",
            "{\"totalSize\":0,\"detailList\":[],\"detailList\":[]}",
            "{\"totalSize\":\"many\",\"detailList\":[]}",
            "{\"totalSize\":-1,\"detailList\":[]}",
            "{\"totalSize\":{},\"detailList\":[]}",
            "{\"totalSize\":1,\"detailList\":{\"id\":\"a\"}}",
            "{\"totalSize\":1,\"detailList\":\"a\"}",
        ] {
            assert!(matches!(task_page(body), Err(WireError::Shape(_))), "{body}: {:?}", task_page(body));
        }
    }

    #[test]
    fn a_cluster_without_tasks_has_an_empty_list() {
        for body in
            ["{\"totalSize\":0}", "{\"totalSize\":\"0\",\"detailList\":null}", " {\"detailList\":[]}\n"]
        {
            let page = task_page(body).unwrap();
            assert!(page.items.is_empty() && page.unusable.is_empty(), "{body}");
        }
        let missing = task_page("{\"totalSize\":3}").unwrap();
        assert_eq!(missing.total_size, Some(3));
    }

    #[test]
    fn an_error_code_in_a_success_is_an_error() {
        for body in [
            r#"{"errCode":"CSS.0011","externalMessage":"busy"}"#,
            r#"{"totalSize":0,"detailList":[],"errCode":"CSS.0011"}"#,
            r#"{"totalSize":0,"detailList":[],"error_code":"APIGW.0308"}"#,
            r#"{"totalSize":0,"detailList":[],"error":{"code":401,"message":"m"}}"#,
            r#"{"totalSize":0,"detailList":[],"code":"CSS.0001","message":"m"}"#,
        ] {
            assert_eq!(task_page(body).unwrap_err(), WireError::ErrorCode, "{body}");
        }
        assert!(task_page(r#"{"totalSize":0,"errCode":null,"code":0,"error":""}"#).is_ok());
    }

    #[test]
    fn an_element_that_cannot_be_used_is_counted_and_does_not_hide_the_others() {
        let body = r#"{"totalSize":9,"detailList":[{"id":"good"},{"id":"a/../b"},{"id":""},{"id":7},{"id":null},
            {},"text",["positional"],{"id":"x","id":"y"}]}"#;
        let page = task_page(body).unwrap();
        assert_eq!(page.items.len(), 1);
        assert_eq!(page.unusable.len(), 8, "{:?}", page.unusable);
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_exhaust_the_stack() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        let unknown = format!(r#"{{"detailList":[{{"id":"a","status":"FAILED","unknown":{deep}}}]}}"#);
        assert_eq!(task_page(&unknown).unwrap().unusable.len(), 1);
        for field in ["status", "completedNodes", "currentNodeDetail", "totalNodes"] {
            let known = format!(r#"{{"detailList":[{{"id":"a","{field}":{deep}}}]}}"#);
            assert!(task_page(&known).is_ok());
        }
    }

    #[test]
    fn the_detail_of_a_cluster_must_be_of_the_one_asked_for() {
        let id = ClusterId::new("c-1").unwrap();
        assert_eq!(cluster(br#"{"id":"c-1","name":"logs"}"#, &id).unwrap().name, "logs");
        for body in [r#"{"id":"c-2"}"#, r#"{"name":"c-1"}"#, "[\"c-1\"]", "", r#"{"errCode":"CSS.0015"}"#] {
            assert!(cluster(body.as_bytes(), &id).is_err(), "{body}");
        }
    }
}
