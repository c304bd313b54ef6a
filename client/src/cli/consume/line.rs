//! A message as it is written: as a JSON line for programs, or as a line for people.

use std::{collections::BTreeMap, fmt::Write as _, time::UNIX_EPOCH};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use tercet_client::ReceivedMessage;

use crate::cli::{args::Format, output::time_text};

#[derive(Debug, Serialize)]
struct Line<'a> {
    topic: &'a str,
    queue: u32,
    offset: u64,
    message_id: &'a str,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_at: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    keys: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_group: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    properties: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_of: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Appends the line of a message.
pub(super) fn write(message: &ReceivedMessage, format: Format, text: &mut Vec<u8>) {
    let line = line(message);
    match format {
        Format::Json => serde_json::to_writer(&mut *text, &line).expect("numbers and text are always JSON"),
        Format::Table => text.extend_from_slice(words(&line).as_bytes()),
    }
    text.push(b'\n');
}

fn line(message: &ReceivedMessage) -> Line<'_> {
    let body = std::str::from_utf8(message.body()).ok();
    Line {
        topic: message.topic(),
        queue: message.queue(),
        offset: message.offset(),
        message_id: message.message_id(),
        attempt: message.attempt(),
        stored_at: (message.stored_at() > UNIX_EPOCH).then(|| time_text(message.stored_at())),
        keys: message.keys(),
        tag: message.tag(),
        message_group: message.message_group(),
        properties: message.properties(),
        dead_letter_of: message.origin_topic(),
        body,
        body_base64: body.is_none().then(|| BASE64_STANDARD.encode(message.body())),
    }
}

/// `2026-11-21T08:00:00.000Z  queue 0, offset 7  attempt 2  key=k tag=t  body`
fn words(line: &Line<'_>) -> String {
    let mut words = line.stored_at.as_ref().map_or_else(String::new, |time| format!("{time}  "));
    let _ = write!(words, "queue {}, offset {}", line.queue, line.offset);
    if line.attempt > 1 {
        let _ = write!(words, "  attempt {}", line.attempt);
    }
    let keys = line.keys.iter().map(|key| ("key", key.as_str()));
    let tag = line.tag.map(|tag| ("tag", tag));
    let group = line.message_group.map(|group| ("group", group));
    let origin = line.dead_letter_of.map(|topic| ("dead letter of", topic));
    let properties = line.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut before = "  ";
    for (name, value) in keys.chain(tag).chain(group).chain(origin).chain(properties) {
        let _ = write!(words, "{before}{}={}", plain(name), plain(value));
        before = " ";
    }
    words.push_str("  ");
    match (line.body, &line.body_base64) {
        (Some(body), _) => words.push_str(&plain(body)),
        (None, base64) => {
            let _ = write!(words, "(base64) {}", base64.as_deref().unwrap_or_default());
        }
    }
    words
}

/// What a terminal would take for a command, or for the end of the line, stands as an escape.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() && letter != '\t' {
            plain.extend(letter.escape_default());
        } else {
            plain.push(letter);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(properties: &BTreeMap<String, String>) -> Line<'_> {
        Line {
            topic: "t",
            queue: 3,
            offset: 9,
            message_id: "01",
            attempt: 1,
            stored_at: None,
            keys: &[],
            tag: None,
            message_group: None,
            properties,
            dead_letter_of: None,
            body: None,
            body_base64: Some("//8=".to_owned()),
        }
    }

    #[test]
    fn a_line_for_people_has_all_and_no_control_characters() {
        let keys = ["k".to_owned(), "l".to_owned()];
        let properties = BTreeMap::from([("name".to_owned(), "value".to_owned())]);
        let full = Line {
            attempt: 2,
            stored_at: Some(time_text(UNIX_EPOCH + std::time::Duration::from_millis(1500))),
            keys: &keys,
            tag: Some("tag"),
            message_group: Some("g"),
            dead_letter_of: Some("u"),
            body: Some("one\n\u{1b}[2Jtwo"),
            body_base64: None,
            ..bare(&properties)
        };
        assert_eq!(
            words(&full),
            "1970-01-01T00:00:01.500Z  queue 3, offset 9  attempt 2  \
             key=k key=l tag=tag group=g dead letter of=u name=value  one\\n\\u{1b}[2Jtwo"
        );
    }

    #[test]
    fn what_is_not_there_is_not_written() {
        let properties = BTreeMap::new();
        let bare = bare(&properties);
        assert_eq!(words(&bare), "queue 3, offset 9  (base64) //8=");
        assert_eq!(
            serde_json::to_string(&bare).unwrap(),
            r#"{"topic":"t","queue":3,"offset":9,"message_id":"01","attempt":1,"body_base64":"//8="}"#
        );
    }
}
