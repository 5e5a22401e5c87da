//! Chat services that take a message at a URL: Slack, Feishu, DingTalk, WeCom. What they say no to comes as HTTP 200
//! with a code, but from Slack.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use super::http::{Target, UrlFault};
use super::{Channel, SendError, Sending};
use crate::model::secret::{ExposeSecret as _, Secret};
use crate::notify::kind::Severity;
use crate::notify::message::{Message, cut};

/// Tells the time, for signatures.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Which chat service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// An incoming webhook.
    Slack,
    /// A bot of a group, also of Lark.
    Feishu,
    /// A bot of a group.
    DingTalk,
    /// A bot of a group.
    WeCom,
}

/// Posts to a chat service.
pub struct Chat {
    service: Service,
    target: Target,
    secret: Option<Secret>,
    now: Now,
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Chat {
    /// At this URL; with a secret each message is signed, where the service knows signatures.
    ///
    /// # Errors
    /// Where the URL cannot be used.
    pub fn new(service: Service, url: &Secret, secret: Option<Secret>, now: Now) -> Result<Self, UrlFault> {
        let mut target = Target::new(url, false)?;
        if let Some(secret) = &secret {
            target = target.hiding(secret);
        }
        Ok(Self { service, target, secret, now })
    }

    /// The body and what is added to the query, for a message at this time.
    pub fn request(&self, message: &Message, now: Timestamp) -> (Value, Vec<(&'static str, String)>) {
        let mut query = Vec::new();
        let body = match self.service {
            Service::Slack => slack(message),
            Service::Feishu => {
                let mut card = feishu(message);
                if let (Some(secret), Some(card)) = (&self.secret, card.as_object_mut()) {
                    let seconds = now.as_second();
                    card.insert("timestamp".to_owned(), json!(seconds.to_string()));
                    card.insert("sign".to_owned(), json!(feishu_signature(secret, seconds)));
                }
                card
            }
            Service::DingTalk => {
                if let Some(secret) = &self.secret {
                    let millis = now.as_millisecond();
                    query.push(("timestamp", millis.to_string()));
                    query.push(("sign", dingtalk_signature(secret, millis)));
                }
                // Twenty thousand bytes are taken.
                json!({ "msgtype": "text", "text": { "content": titled(message, 15_000) } })
            }
            // 2048 bytes are taken.
            Service::WeCom => json!({ "msgtype": "text", "text": { "content": titled(message, 2_000) } }),
        };
        (body, query)
    }

    /// What an answer with HTTP 200 means.
    fn judge(&self, answer: &str) -> Result<(), SendError> {
        if self.service == Service::Slack {
            return Ok(());
        }
        let parsed: Value = serde_json::from_str(answer).unwrap_or(Value::Null);
        let code = ["errcode", "code", "StatusCode"].iter().find_map(|key| parsed.get(key)?.as_i64());
        match code {
            Some(0) => Ok(()),
            None => {
                Err(SendError::passing(format!("an answer without a code: {}", self.target.told(answer))))
            }
            Some(code) => {
                let text =
                    ["errmsg", "msg", "StatusMessage"].iter().find_map(|key| parsed.get(key)?.as_str());
                let text = self.target.told(text.unwrap_or_default());
                Err(SendError {
                    refused: is_of_the_message(self.service, code),
                    ..SendError::passing(format!("refused with code {code}: {text}"))
                })
            }
        }
    }
}

/// Whether a code says that the message itself is at fault: its form, or its length.
fn is_of_the_message(service: Service, code: i64) -> bool {
    match service {
        Service::Slack => false,
        Service::Feishu => matches!(code, 9499 | 11246 | 230_001 | 230_025),
        Service::DingTalk => matches!(code, 40_035 | 400_105 | 460_101),
        Service::WeCom => matches!(code, 40_058 | 44_004 | 45_002),
    }
}

/// The key is the text with the time, and the message is empty.
pub fn feishu_signature(secret: &Secret, seconds: i64) -> String {
    sign(&format!("{seconds}\n{}", secret.expose_secret()), "")
}

/// The key is the secret, and the message is the text with the time.
pub fn dingtalk_signature(secret: &Secret, millis: i64) -> String {
    let secret = secret.expose_secret();
    sign(secret, &format!("{millis}\n{secret}"))
}

fn sign(key: &str, message: &str) -> String {
    // A key of any length is taken.
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map(|mac| mac.chain_update(message.as_bytes()));
    mac.map(|mac| STANDARD.encode(mac.finalize().into_bytes())).unwrap_or_default()
}

fn titled(message: &Message, at_most: usize) -> String {
    let title = cut(&message.title(), 300);
    let text = message.text(at_most.saturating_sub(title.len() + 2));
    format!("{title}\n\n{text}")
}

/// `&`, `<` and `>` begin entities, links and mentions.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn slack(message: &Message) -> Value {
    // A section takes 3000 characters, and an escaped one is up to five; a fence in the text would end ours.
    let text = escaped(&message.text(2_600).replace("```", "'''"));
    let text = if text.chars().count() > 2_980 { cut(&text, 2_900) } else { text };
    let mut blocks = vec![
        json!({ "type": "header", "text": { "type": "plain_text", "text": cut(&message.title(), 145), "emoji": false } }),
        json!({ "type": "section", "text": { "type": "mrkdwn", "text": format!("```{text}```") } }),
    ];
    if let [notice] = message.notices.as_slice()
        && let Some(link) = &notice.link
    {
        let link = json!({ "type": "mrkdwn", "text": format!("<{}|status page>", escaped(link)) });
        blocks.push(json!({ "type": "context", "elements": [link] }));
    }
    json!({ "text": escaped(&message.title()), "blocks": blocks })
}

fn feishu(message: &Message) -> Value {
    let colour = match message.severity() {
        Severity::Critical => "red",
        Severity::Warning => "orange",
        Severity::Info => "blue",
    };
    // Twenty thousand bytes are taken; JSON may double some of them.
    let text = message.text(9_000);
    json!({
        "msg_type": "interactive",
        "card": {
            "config": { "wide_screen_mode": true },
            "header": {
                "template": colour,
                "title": { "tag": "plain_text", "content": cut(&message.title(), 300) },
            },
            "elements": [{ "tag": "div", "text": { "tag": "plain_text", "content": text } }],
        },
    })
}

impl Channel for Chat {
    fn kind(&self) -> &'static str {
        match self.service {
            Service::Slack => "slack",
            Service::Feishu => "feishu",
            Service::DingTalk => "dingtalk",
            Service::WeCom => "wecom",
        }
    }

    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a> {
        Box::pin(async move {
            let (body, query) = self.request(message, (self.now)());
            let body = serde_json::to_vec(&body).map_err(|error| SendError::passing(error.to_string()))?;
            let answer = self.target.post("application/json; charset=utf-8", &query, &[], body).await?;
            self.judge(&answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_signatures_swap_key_and_message() {
        // Computed with Python's hmac and base64 from the services' own examples of code.
        let secret = Secret::from("this is secret");
        assert_eq!(feishu_signature(&secret, 1_599_360_473), "/eYKrXQBzTjUZJ3s6NX16VxGbTwmK7AEs8/FnvC1CSw=");
        assert_eq!(
            dingtalk_signature(&secret, 1_599_360_473_000),
            "hXZTWifRGHclNuZSKxoXc//sh51SWfVfRIhcdeKs63I="
        );
    }
}
