//! The HTTP proxy for connections, and its user.

use std::cmp::Ordering;
use std::error::Error;

use super::secret::{ExposeSecret as _, Secret};

/// The HTTP library's text for a 407 in answer to CONNECT. Its error has no public type.
const ASKS_FOR_LOGIN: &str = "tunnel error: proxy authorization required";

/// A proxy. The password is masked in its `Debug` output.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Its URL, without user and password: it may be shown.
    pub url: String,
    /// The user for HTTP Basic authentication, if the configuration has one.
    pub login: Option<Login>,
}

/// A user of a proxy, and the password.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

impl Proxy {
    /// Returns whether this error of the HTTP library means that the proxy answered 407 to CONNECT,
    /// and so opened no tunnel.
    pub fn asks_for_login(error: &(dyn Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.to_string() == ASKS_FOR_LOGIN {
                return true;
            }
            next = error.source();
        }
        false
    }

    /// Returns what a 407 of this proxy means.
    pub fn refusal(&self) -> String {
        let Self { url, login } = self;
        match login {
            Some(_) => format!("the proxy {url} refused the user and password that it was given (407)"),
            None => format!("the proxy {url} asks for a user and password (407)"),
        }
    }

    /// Returns what to do about it.
    pub fn advice(&self) -> &'static str {
        advice(self.login.is_some())
    }

    fn parts(&self) -> (&str, Option<(&str, &str)>) {
        let login = self.login.as_ref();
        (&self.url, login.map(|login| (login.user.as_str(), login.password.expose_secret())))
    }
}

/// Returns what to do about a 407. `given`: whether a user and password were configured.
fn advice(given: bool) -> &'static str {
    if given {
        "check proxy_user and what proxy_password refers to, then reload; the daemon tries again automatically, seldom enough not to lock \
         the user"
    } else {
        "give proxy_user and proxy_password beside proxy, then reload"
    }
}

impl PartialEq for Proxy {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Proxy {}

impl PartialOrd for Proxy {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Proxy {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(password: &str) -> Proxy {
        let login = Login { user: "robot".to_owned(), password: password.into() };
        Proxy { url: "http://proxy.example:3128".to_owned(), login: Some(login) }
    }

    #[test]
    fn a_proxy_with_another_password_is_another_proxy_and_none_is_shown() {
        let (one, other) = (proxy("hunter1"), proxy("hunter2"));
        let without = Proxy { login: None, ..one.clone() };
        assert!(one == proxy("hunter1") && one != other && one != without && without < one);
        let shown = format!("{one:?} {one:#?} {} {}", one.refusal(), one.advice());
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
