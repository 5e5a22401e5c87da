//! Combines pages. The first page has no index and asks for the largest number of elements, which
//! is enough for nearly every project. Beyond it the server of each region reads the index by one
//! of two names, or by none: so elements are distinguished by their ids, a page without new
//! elements is the last one, and the API's count decides whether the list is complete.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;

use super::error::CloudError;
use super::request::PAGE_SIZE;
use super::wire::Page;

/// The largest number of pages, also of a server that returns ten elements at a time: a server that
/// always returns new elements must not keep the client busy for ever.
const MAX_PAGES: usize = 1_000;

/// The content of all pages.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pages<T> {
    /// The elements, in the order of the answers, each id once.
    pub(super) items: Vec<T>,
    /// Elements that cannot be used, as shown texts.
    pub(super) unusable: Vec<String>,
    /// Elements with the id of another one that differed from it. The first one was kept.
    pub(super) conflicts: u64,
    /// The highest count of all pages.
    pub(super) total_size: Option<u64>,
}

/// Reads page after page. A later page that the API refuses ends the list, which is then
/// incomplete; every other error is an error of the whole list.
pub(super) async fn collect<I, T, F, Fut>(mut fetch: F) -> Result<Pages<T>, CloudError>
where
    I: Eq + Hash,
    T: PartialEq,
    F: FnMut(Option<u64>) -> Fut,
    Fut: Future<Output = Result<Page<I, T>, CloudError>>,
{
    let mut pages = Pages { items: Vec::new(), unusable: Vec::new(), conflicts: 0, total_size: None };
    let mut known: HashMap<I, usize> = HashMap::new();
    let mut received = 0_u64;
    for number in 0..MAX_PAGES {
        let start = (number > 0).then_some(received + 1);
        let page = match fetch(start).await {
            Ok(page) => page,
            Err(CloudError::Refused(_)) if number > 0 => break,
            Err(error) => return Err(error),
        };
        let length = (page.items.len() + page.unusable.len()) as u64;
        received += length;
        pages.total_size = pages.total_size.max(page.total_size);
        let before = pages.items.len();
        for (id, item) in page.items {
            if let Some(same) = known.get(&id).and_then(|at| pages.items.get(*at)) {
                pages.conflicts += u64::from(*same != item);
            } else {
                known.insert(id, pages.items.len());
                pages.items.push(item);
            }
        }
        let brought_something = pages.items.len() > before;
        // Unusable elements have no id: those of a repeated page must not be counted again, or an
        // incomplete list would look complete.
        if number == 0 || brought_something {
            let new: Vec<String> = page
                .unusable
                .into_iter()
                .filter(|text| number == 0 || !pages.unusable.contains(text))
                .collect();
            pages.unusable.extend(new);
        }
        let have = (pages.items.len() + pages.unusable.len()) as u64;
        let there_is_more = pages.total_size.map_or(length >= PAGE_SIZE, |total| have < total);
        if !brought_something || !there_is_more {
            break;
        }
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::cloud::error::Refusal;

    type NumberPage = Page<u64, (u64, u8)>;

    fn page(ids: impl IntoIterator<Item = u64>, total: Option<u64>) -> NumberPage {
        Page {
            items: ids.into_iter().map(|id| (id, (id, 0))).collect(),
            unusable: Vec::new(),
            total_size: total,
        }
    }

    /// Runs against a server, and returns what came with the indexes that were asked for.
    async fn run(
        server: impl Fn(Option<u64>) -> Result<NumberPage, CloudError>,
    ) -> (Result<Pages<(u64, u8)>, CloudError>, Vec<Option<u64>>) {
        let asked = RefCell::new(Vec::new());
        let pages = collect(|start| {
            asked.borrow_mut().push(start);
            let page = server(start);
            async move { page }
        })
        .await;
        (pages, asked.into_inner())
    }

    fn refusal(status: u16) -> Refusal {
        Refusal { status, code: None, message: String::new(), request_id: None, retry_after: None }
    }

    #[tokio::test]
    async fn one_page_is_enough_for_nearly_everybody() {
        let (pages, asked) = run(|_| Ok(page(1..=3, Some(3)))).await;
        assert_eq!(pages.unwrap().items.len(), 3);
        assert_eq!(asked, [None]);
    }

    #[tokio::test]
    async fn further_pages_begin_at_the_next_index_counted_from_one() {
        let (pages, asked) = run(|start| {
            let start = start.unwrap_or(1);
            Ok(page(start..=(start + 999).min(2_500), Some(2_500)))
        })
        .await;
        assert_eq!(pages.unwrap().items.len(), 2_500);
        assert_eq!(asked, [None, Some(1_001), Some(2_001)]);
    }

    #[tokio::test]
    async fn a_server_that_gives_short_pages_is_asked_on() {
        let (pages, asked) = run(|start| {
            let start = start.unwrap_or(1);
            Ok(page(start..=(start + 9).min(25), Some(25)))
        })
        .await;
        assert_eq!(pages.unwrap().items.len(), 25);
        assert_eq!(asked, [None, Some(11), Some(21)]);
    }

    #[tokio::test]
    async fn a_server_that_ignores_the_index_ends_the_list_and_it_stays_short() {
        let (pages, asked) = run(|_| Ok(page(1..=1_000, Some(1_500)))).await;
        let pages = pages.unwrap();
        assert_eq!((pages.items.len(), pages.total_size), (1_000, Some(1_500)));
        assert_eq!(asked.len(), 2);
    }

    #[tokio::test]
    async fn unusable_elements_of_a_repeated_page_are_counted_once() {
        let (pages, _) = run(|_| {
            let mut page = page(1..=500, Some(1_500));
            page.unusable = (0..500).map(|_| "not an object: 7".to_owned()).collect();
            Ok(page)
        })
        .await;
        let pages = pages.unwrap();
        assert_eq!(pages.items.len() + pages.unusable.len(), 1_000, "1,500 would look complete");
    }

    #[tokio::test]
    async fn overlapping_pages_are_merged() {
        let (pages, _) =
            run(|start| Ok(start.map_or(page(1..=10, Some(15)), |_| page(8..=15, Some(15))))).await;
        assert_eq!(pages.unwrap().items.len(), 15);
    }

    #[tokio::test]
    async fn the_highest_total_counts() {
        let (pages, _) =
            run(|start| Ok(start.map_or(page(1..=10, Some(15)), |_| page(11..=14, Some(14))))).await;
        assert_eq!(pages.unwrap().total_size, Some(15));
    }

    #[tokio::test]
    async fn without_a_total_a_full_page_is_followed_by_another() {
        let (pages, asked) = run(|start| Ok(page(start.map_or(1..=1_000, |n| n..=1_004), None))).await;
        assert_eq!(pages.unwrap().items.len(), 1_004);
        assert_eq!(asked, [None, Some(1_001)]);
    }

    #[tokio::test]
    async fn a_server_that_always_has_more_is_left_in_the_end() {
        let (pages, asked) = run(|start| Ok(page([start.unwrap_or(1)], Some(u64::MAX)))).await;
        assert_eq!(asked.len(), MAX_PAGES);
        assert_eq!(pages.unwrap().items.len(), MAX_PAGES);
    }

    #[tokio::test]
    async fn one_id_with_two_contents_is_a_conflict_and_twice_the_same_is_none() {
        let (pages, _) = run(|_| {
            Ok(Page {
                items: vec![(1, (1, 0)), (1, (1, 0)), (2, (2, 0)), (2, (2, 9))],
                unusable: Vec::new(),
                total_size: Some(2),
            })
        })
        .await;
        let pages = pages.unwrap();
        assert_eq!((pages.items, pages.conflicts), (vec![(1, 0), (2, 0)], 1));
    }

    #[tokio::test]
    async fn a_later_page_that_is_refused_leaves_the_list_short_and_other_errors_are_the_whole_lists() {
        let (pages, _) = run(|start| match start {
            None => Ok(page(1..=1_000, Some(1_500))),
            Some(_) => Err(CloudError::Refused(refusal(400))),
        })
        .await;
        assert_eq!(pages.unwrap().items.len(), 1_000);
        for first in [true, false] {
            let (pages, _) = run(|start| {
                if start.is_some() || first {
                    let error = if first { CloudError::Refused } else { CloudError::Server };
                    return Err(error(refusal(400)));
                }
                Ok(page(1..=1_000, Some(1_500)))
            })
            .await;
            assert!(pages.is_err());
        }
    }
}
