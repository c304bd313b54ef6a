//! How a line becomes a message: its options, its key, and what it says itself if it is JSON.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use regex::bytes::Regex;
use serde::{Deserialize, de::IgnoredAny};
use tercet_client::{Message, MessageBuilder};

use crate::cli::args::Publish;

/// What all messages of a command have in common.
pub(super) struct Shape {
    /// Complete but for the body, which is replaced.
    template: Message,
    /// The same, for lines that say more than a body.
    builder: MessageBuilder,
    key_regex: Option<Regex>,
    json: bool,
}

/// A line of `--json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    body: Option<String>,
    body_base64: Option<String>,
    key: Option<String>,
    #[serde(default)]
    keys: Vec<String>,
    tag: Option<String>,
    #[serde(alias = "message_group")]
    group: Option<String>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    // What `consume` says besides, and only a broker knows.
    #[serde(default, rename = "topic")]
    _topic: IgnoredAny,
    #[serde(default, rename = "queue")]
    _queue: IgnoredAny,
    #[serde(default, rename = "offset")]
    _offset: IgnoredAny,
    #[serde(default, rename = "message_id")]
    _message_id: IgnoredAny,
    #[serde(default, rename = "attempt")]
    _attempt: IgnoredAny,
    #[serde(default, rename = "stored_at")]
    _stored_at: IgnoredAny,
    #[serde(default, rename = "dead_letter_of")]
    _dead_letter_of: IgnoredAny,
}

impl Shape {
    /// Checks what the options say before the first line is read.
    pub(super) fn new(args: &Publish) -> Result<Self, String> {
        let mut names: Vec<&str> = args.properties.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("property {:?} is given twice", twice[0]));
        }
        let mut builder = Message::builder(args.topic()).body("x");
        for key in &args.keys {
            builder = builder.key(key);
        }
        for (name, value) in &args.properties {
            builder = builder.property(name, value);
        }
        if let Some(tag) = &args.tag {
            builder = builder.tag(tag);
        }
        if let Some(group) = &args.message_group {
            builder = builder.message_group(group);
        }
        let template = builder.clone().build().map_err(|error| error.to_string())?;
        Ok(Self { template, builder, key_regex: args.key_regex.clone(), json: args.json })
    }

    /// The message of a line, or what is wrong with it.
    pub(super) fn message(&self, line: Vec<u8>) -> Result<Message, String> {
        if self.json {
            return self.message_of_json(&line);
        }
        let key = self.key_in(&line)?;
        let message = self.template.with_body(line);
        match key {
            None => message,
            Some(key) => message.and_then(|message| message.with_key(key)),
        }
        .map_err(|error| error.to_string())
    }

    fn message_of_json(&self, line: &[u8]) -> Result<Message, String> {
        let said: Said = serde_json::from_slice(line).map_err(|error| not_a_message(&error))?;
        let body = match (said.body, said.body_base64) {
            (Some(body), None) => body.into_bytes(),
            (None, Some(body)) => {
                BASE64_STANDARD.decode(body).map_err(|error| format!("body_base64 is not base64: {error}"))?
            }
            (None, None) => return Err("it has no body".to_owned()),
            (Some(_), Some(_)) => return Err("it has both body and body_base64".to_owned()),
        };
        if let Some((name, _)) = said.properties.iter().find(|(_, value)| value.is_empty()) {
            return Err(format!("property {name:?} is empty, and would not be stored"));
        }
        let mut builder = self.builder.clone();
        for key in self.key_in(&body)?.into_iter().chain(said.key).chain(said.keys) {
            builder = builder.key(key);
        }
        for (name, value) in said.properties {
            builder = builder.property(name, value);
        }
        if let Some(tag) = said.tag {
            builder = builder.tag(tag);
        }
        if let Some(group) = said.group {
            builder = builder.message_group(group);
        }
        builder.body(body).build().map_err(|error| error.to_string())
    }

    fn key_in(&self, body: &[u8]) -> Result<Option<String>, String> {
        let Some(captures) = self.key_regex.as_ref().and_then(|regex| regex.captures(body)) else { return Ok(None) };
        let Some(key) = captures.get(1).or_else(|| captures.get(0)) else { return Ok(None) };
        match std::str::from_utf8(key.as_bytes()) {
            Ok(key) => Ok(Some(key.to_owned())),
            Err(_) => Err(format!("bad key {:?}: it is not UTF-8", String::from_utf8_lossy(key.as_bytes()))),
        }
    }
}

/// The place in the line; that the parser has seen a single line says nothing.
fn not_a_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    format!("not a message: {what}, at column {}", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Args, Command};

    fn shape(options: &[&str]) -> Result<Shape, String> {
        let line = ["tercet", "publish", "t"].into_iter().chain(options.iter().copied());
        match Args::read(line).unwrap().command {
            Command::Publish(publish) => Shape::new(&publish),
            other => panic!("{other:?}"),
        }
    }

    fn of_json(options: &[&str], line: &str) -> Result<Message, String> {
        shape(&[options, &["--json"]].concat()).unwrap().message(line.as_bytes().to_vec())
    }

    /// What a message has, by way of a builder that says the same.
    fn built(more: impl FnOnce(MessageBuilder) -> MessageBuilder) -> Message {
        more(Message::builder("t").body("x")).build().unwrap()
    }

    #[test]
    fn a_key_is_the_first_capture_group_or_else_the_match() {
        let message = |regex: &str| shape(&["--key-regex", regex]).unwrap().message(b"order-7,red".to_vec()).unwrap();
        assert_eq!(message("^([^,]+),").keys(), ["order-7"]);
        assert_eq!(message("order-[0-9]").keys(), ["order-7"]);
        assert!(message("none").keys().is_empty());
    }

    #[test]
    fn a_key_that_is_none_refuses_its_line() {
        let shape = shape(&["--key-regex", "(?-u)^([^,]*),"]).unwrap();
        for (line, text) in
            [(&b"order 7,x"[..], "bad key \"order 7\""), (b",x", "bad key \"\""), (b"\xff,x", "it is not UTF-8")]
        {
            let error = shape.message(line.to_vec()).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
        assert!(shape.message(b"order-8,x".to_vec()).is_ok(), "the next one is fine");
    }

    #[test]
    fn the_options_are_in_every_message() {
        let options = [
            "--key",
            "a",
            "--key",
            "b",
            "--tag",
            "c",
            "--message-group",
            "g",
            "--property",
            "d=e",
            "--property",
            "f==",
        ];
        let message = shape(&options).unwrap().message(b"x".to_vec()).unwrap();
        let said = |builder: MessageBuilder| {
            builder.key("a").key("b").tag("c").message_group("g").property("d", "e").property("f", "=")
        };
        assert_eq!(message, built(said));
    }

    #[test]
    fn options_that_make_no_message_are_refused_before_anything_is_read() {
        for (options, text) in [
            (&["--key", "a b"][..], "bad key \"a b\""),
            (&["--tag", "a|b"], "bad tag"),
            (&["--message-group", " "], "bad message group"),
            (&["--property", "a=b", "--property", "a=c"], "property \"a\" is given twice"),
        ] {
            let error = shape(options).map(drop).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_json_line_says_what_its_message_has_beside_or_instead_of_the_options() {
        let options = ["--key", "a", "--tag", "b", "--message-group", "g", "--property", "p=1", "--property", "q=2"];
        let line =
            r#"{"body": "x", "key": "k", "keys": ["l"], "tag": "t", "group": "h", "properties": {"q": "3", "r": "4"}}"#;
        let said = |builder: MessageBuilder| {
            let builder = builder.key("a").key("k").key("l").tag("t").message_group("h");
            builder.property("p", "1").property("q", "3").property("r", "4")
        };
        assert_eq!(of_json(&options, line).unwrap(), built(said));
        assert_eq!(of_json(&["--tag", "b"], r#"{"body":"x"}"#).unwrap(), built(|builder| builder.tag("b")));
        assert_eq!(of_json(&[], r#"{"body_base64":"/wA="}"#).unwrap().body().as_ref(), b"\xff\0");
    }

    #[test]
    fn what_consume_prints_can_be_published_again() {
        let line = r#"{"topic":"u","queue":3,"offset":9,"message_id":"01","attempt":2,"stored_at":"1970-01-01T00:00:00.001Z",
            "dead_letter_of":"v","keys":["k"],"message_group":"g","body":"x"}"#;
        assert_eq!(of_json(&[], line).unwrap(), built(|builder| builder.key("k").message_group("g")));
    }

    #[test]
    fn a_json_line_that_is_none_is_told_with_its_place() {
        for (line, text) in [
            ("hello", "not a message: expected value, at column 1"),
            ("[1]", "not a message: "),
            (r#"{"body":"x","propertys":{}}"#, "unknown field `propertys`"),
            (r#"{"body":7}"#, "invalid type: integer `7`, expected a string, at column 9"),
            (r#"{"tag":"x"}"#, "it has no body"),
            (r#"{"body":""}"#, "the body is empty"),
            (r#"{"body":"x","body_base64":"eA=="}"#, "both body and body_base64"),
            (r#"{"body_base64":"%"}"#, "body_base64 is not base64"),
            (r#"{"body":"x","key":"a b"}"#, "bad key \"a b\""),
            (r#"{"body":"x","properties":{"a":""}}"#, "property \"a\" is empty"),
            (r#"{"body":"x"} {"body":"y"}"#, "trailing characters"),
        ] {
            let error = of_json(&[], line).unwrap_err();
            assert!(error.contains(text), "{line}: {error}");
        }
    }
}
