//! Chat services that accept a message at a URL: Slack, Feishu, DingTalk, WeCom. A refusal has a
//! code, mostly with HTTP 200; Slack has a status and a word.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use super::http::{Answered, Network, Target, UrlFault};
use super::{Channel, SendError, Sending, Taken};
use crate::model::level::Level;
use crate::model::secret::{ExposeSecret as _, Secret};
use crate::notify::message::{Message, cut};

/// Returns the time, for signatures.
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
    /// Posts to this URL, over this network; with a secret each message is signed, if the chat
    /// service supports signatures.
    ///
    /// # Errors
    /// If the URL cannot be used.
    pub fn new(
        service: Service,
        url: &Secret,
        secret: Option<Secret>,
        now: Now,
        network: &Network,
    ) -> Result<Self, UrlFault> {
        let mut target = Target::new(url, false, network)?;
        if let Some(secret) = &secret {
            target = target.hiding(secret);
        }
        Ok(Self { service, target, secret, now })
    }

    /// Returns the body and the additions to the query, for a message at this time.
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
                // The limit is twenty thousand bytes.
                json!({ "msgtype": "text", "text": { "content": titled(message, 15_000) } })
            }
            // The limit is 2048 bytes.
            Service::WeCom => json!({ "msgtype": "text", "text": { "content": titled(message, 2_000) } }),
        };
        (body, query)
    }

    /// Returns what an answer means. A code is more precise than the status.
    fn judge(&self, answered: Answered) -> Result<Taken, SendError> {
        let well = answered.status.is_success();
        if self.service == Service::Slack {
            if well {
                return Ok(Taken::default());
            }
            let of_the_message = answered.is_of_the_message() && !is_of_the_hook(answered.text());
            let detail = self.target.detail(&answered);
            return Err(answered.refusal(of_the_message, detail));
        }
        let parsed: Value = serde_json::from_str(answered.text()).unwrap_or(Value::Null);
        let code = ["errcode", "code", "StatusCode"].iter().find_map(|key| parsed.get(key)?.as_i64());
        match code {
            Some(0) if well => Ok(Taken::default()),
            None if well => {
                let shown = self.target.redacted(answered.text());
                Err(answered.refusal(false, format!("a response without a code: {shown}")))
            }
            None | Some(0) => Err(self.target.refused(answered)),
            Some(code) => {
                let text =
                    ["errmsg", "msg", "StatusMessage"].iter().find_map(|key| parsed.get(key)?.as_str());
                let text = text.unwrap_or_default();
                let known = is_of_the_message(self.service, code, text);
                // An unknown code may be temporary, unless the status says otherwise.
                let of_the_message = known.unwrap_or_else(|| answered.is_of_the_message());
                let status =
                    if well { String::new() } else { format!("HTTP {}: ", answered.status.as_u16()) };
                let shown = format!("{status}refused with code {code}: {}", self.target.redacted(text));
                Err(answered.refusal(of_the_message, shown))
            }
        }
    }
}

/// Returns whether a code refuses the message itself (its form, its length, its words), or is
/// temporary or corrected elsewhere (a rate limit, the chat service itself, the bot and its
/// signature). `None`: it is unknown.
fn is_of_the_message(service: Service, code: i64, text: &str) -> Option<bool> {
    let (of_the_message, of_others): (&[i64], &[i64]) = match service {
        Service::Slack => (&[], &[]),
        // One code with two meanings: "Bad Request", and "too many request".
        Service::Feishu if code == 9499 => return Some(!text.to_ascii_lowercase().contains("too many")),
        Service::Feishu => (
            // The parameters, the card, the words, the length.
            &[11_246, 19_002, 230_001, 230_022, 230_025, 230_028, 230_099],
            // An error of the chat service, rate limits, an error while sending; the address, the
            // signature, the machine's address, the keyword; the rate limits of a group and of an
            // app.
            &[2_200, 11_232, 11_233, 11_247, 19_001, 19_021, 19_022, 19_024, 230_020, 99_991_400],
        ),
        Service::DingTalk => (
            // The parameters, the kind of message, links or words that are not allowed, the length.
            &[40_035, 400_105, 430_101, 430_102, 430_103, 430_104, 460_101],
            // The chat service is busy; rate limits of the machine, of the call, of the hook; the
            // group, the address, the bot; keyword, signature or address; rate limits of the bot.
            &[-1, 88, 90_002, 90_018, 90_030, 400_013, 400_101, 400_102, 400_106, 310_000, 130_101, 410_100],
        ),
        Service::WeCom => (
            // The parameters, no text, the length.
            &[40_008, 40_058, 44_004, 45_002],
            // The chat service is busy; limits of rate and of concurrent calls; tokens; the
            // address, and a bot that is stopped or in no group.
            &[-1, 45_009, 45_033, 40_014, 42_001, 93_000, 93_004, 93_008],
        ),
    };
    if of_the_message.contains(&code) { Some(true) } else { of_others.contains(&code).then_some(false) }
}

/// Returns whether a word of Slack concerns the hook, its channel or its team, or a rate limit,
/// whatever its status.
fn is_of_the_hook(word: &str) -> bool {
    matches!(
        word.trim(),
        "action_prohibited"
            | "channel_is_archived"
            | "channel_not_found"
            | "invalid_token"
            | "no_active_hooks"
            | "no_service"
            | "no_service_id"
            | "no_team"
            | "posting_to_general_channel_denied"
            | "rate_limited"
            | "ratelimited"
            | "rollup_error"
            | "team_disabled"
            | "user_not_found"
    )
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
    // HMAC accepts a key of any length.
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
    // The limit of a section is 3000 characters, and an escaped one is up to five; a fence in the
    // text would end ours.
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
        Level::Critical => "red",
        Level::Warning => "orange",
        Level::Info | Level::Debug => "blue",
    };
    // The limit is twenty thousand bytes; JSON may double some of them.
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
            self.judge(self.target.exchange("application/json; charset=utf-8", &query, &[], body).await?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_signatures_swap_key_and_message() {
        // Computed with Python's hmac and base64 from the code examples of the chat services.
        let secret = Secret::from("this is secret");
        assert_eq!(feishu_signature(&secret, 1_599_360_473), "/eYKrXQBzTjUZJ3s6NX16VxGbTwmK7AEs8/FnvC1CSw=");
        assert_eq!(
            dingtalk_signature(&secret, 1_599_360_473_000),
            "hXZTWifRGHclNuZSKxoXc//sh51SWfVfRIhcdeKs63I="
        );
    }
}
