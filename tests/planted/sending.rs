
#[cfg(test)]
mod planted_faults {
    use super::*;
    use crate::planted::plant;

    #[test]
    fn an_answer_of_the_gateway_closes_the_task_and_no_other_answer_does() {
        for meaning in [
            Meaning::Accepted,
            Meaning::Busy,
            Meaning::GoneOrForbidden,
            Meaning::WrongAddress,
            Meaning::NotAcceptable,
            Meaning::Unauthorized,
            Meaning::ForbiddenCluster,
            Meaning::ForbiddenProject,
            Meaning::Unknown,
        ] {
            let outcome = Delivery::Sent(Answer { meaning, ..Answer::none(String::new()) });
            plant(Some("gateway-not-found-closes"));
            let last = what_came_back(AttemptId(7), Action::Retry, &outcome).pop();
            plant(None);
            let closes = last == Some(Event::Ended(Outcome::Gone));
            assert_eq!(closes, meaning == Meaning::WrongAddress, "{meaning:?}");
        }
    }
}
