//! What is laid out when somebody asks why.

use super::*;
use crate::decide::explain;
use crate::model::window::{Span, Window};

impl Scene {
    fn steps(&mut self, tasks: &[Task]) -> Vec<(Option<String>, String)> {
        let decision = self.read(tasks);
        let steps = explain::schedule(&self.known(), self.terms.as_ref().unwrap(), &decision);
        let at = |step: &crate::model::explanation::Step| step.at.map(|at| at.strftime("%T").to_string());
        steps.iter().map(|step| (at(step), step.what.clone())).collect()
    }
}

#[test]
fn what_is_to_come_is_told_to_its_end() {
    let mut scene = Scene::new();
    let steps = scene.steps(&[failed(1)]);
    let step = |at: Option<&str>, what: &str| (at.map(str::to_owned), what.to_owned());
    let end = "the abort, 15m after the retries are used up, if no node is completed; else a human is called";
    let limit = "a human is called before a retry that would make it wait more than 7d in all";
    assert_eq!(
        steps,
        [
            step(Some("12:02:00"), "retry 1 of 2"),
            step(None, "retry 2 of 2, 4m after the next failure"),
            step(None, end),
            step(None, limit),
        ]
    );
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    let (at, what) = scene.steps(&[failed(1)]).remove(0);
    assert_eq!((at.as_deref(), what.as_str()), (Some("12:15:00"), end));
    let mut given_up = Scene::new();
    given_up.terms.as_mut().unwrap().retry.max_retries = 0;
    given_up.terms.as_mut().unwrap().on_exhausted = OnExhausted::Escalate;
    assert_eq!(given_up.steps(&[failed(1)]), [], "nothing comes by itself");
}

#[test]
fn what_is_due_in_a_closed_window_comes_when_it_opens() {
    let mut scene = Scene::new();
    let span = Span { days: [true; 7], from: 22 * 60, to: 6 * 60 };
    scene.terms.as_mut().unwrap().window = Window::new("UTC", Some(&[span]), &[]);
    let (at, what) = scene.steps(&[failed(1)]).remove(0);
    assert_eq!(
        (at.as_deref(), what.as_str()),
        (Some("22:00:00"), "retry 1 of 2, some time after the window opens")
    );
}

#[test]
fn the_first_policy_that_covers_it_governs() {
    let matching = [("a", Some("no")), ("b", None), ("c", None)];
    let matching = matching.map(|(name, miss)| (name.to_owned(), miss.map(str::to_owned)));
    let governs: Vec<_> = explain::policies(matching.to_vec()).iter().map(|it| it.governs).collect();
    assert_eq!(governs, [false, true, false]);
}
