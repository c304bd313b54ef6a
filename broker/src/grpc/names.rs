//! Topic and group names, parsed at the door. What is inside a [`TopicName`] or [`GroupName`] obeys the rules that
//! clients know; nothing deeper checks again.
//!
//! Namespaces (`resource_namespace`, `x-mq-namespace`) do not separate topics, as in the reference: only `name` counts.

use std::fmt;

use tercet_proto::rocketmq::v2::{Code, Resource};

use super::refusal::Refusal;
use crate::limits::{GROUP_CHARS_MAX, TOPIC_CHARS_MAX};

/// A legal topic name that a client may use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(String);

/// A legal consumer group name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(String);

impl TopicName {
    /// The topic of a request; absent is blank.
    pub fn of(resource: Option<&Resource>) -> Result<TopicName, Refusal> {
        TopicName::parse(resource.map_or("", |resource| resource.name.as_str()))
    }

    /// 40002 unless the name is legal and no system topic.
    pub fn parse(name: &str) -> Result<TopicName, Refusal> {
        let refuse = |why: &str| Err(Refusal::new(Code::IllegalTopic, format!("topic {}: {why}", shown(name))));
        match flaw(name, TOPIC_CHARS_MAX) {
            Some(why) => refuse(&why),
            None if is_system_topic(name) => refuse("is a system topic"),
            None => Ok(TopicName(name.to_owned())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl GroupName {
    /// The group of a request; absent is blank.
    pub fn of(resource: Option<&Resource>) -> Result<GroupName, Refusal> {
        GroupName::parse(resource.map_or("", |resource| resource.name.as_str()))
    }

    /// 40003 unless the name is legal.
    pub fn parse(name: &str) -> Result<GroupName, Refusal> {
        match flaw(name, GROUP_CHARS_MAX) {
            Some(why) => {
                Err(Refusal::new(Code::IllegalConsumerGroup, format!("consumer group {}: {why}", shown(name))))
            }
            None => Ok(GroupName(name.to_owned())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a name, if anything.
fn flaw(name: &str, chars_max: usize) -> Option<String> {
    if name.trim().is_empty() {
        return Some(String::from("a name is needed"));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'%' | b'|' | b'_' | b'-')) {
        return Some(String::from("only letters, digits and % | _ - are allowed"));
    }
    (name.len() > chars_max).then(|| format!("longer than {chars_max} characters"))
}

/// Names that the reference keeps for itself; clients never send to them.
fn is_system_topic(name: &str) -> bool {
    matches!(name, "TBW102" | "SCHEDULE_TOPIC_XXXX") || name.starts_with("RMQ_SYS_") || name.starts_with("rmq_sys_")
}

/// A name as error texts show it: quoted, shortened, without control characters.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(64).collect();
    let dots = if short.len() < name.len() { "…" } else { "" };
    format!("{short:?}{dots}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_follow_the_rules_of_the_reference() {
        for good in ["a", "%DLQ%g", "A|b_c-9", &"x".repeat(127)] {
            assert_eq!(TopicName::parse(good).expect(good).as_str(), good);
        }
        for bad in ["", " ", "a b", "ä", "a.b", &"x".repeat(128), "TBW102", "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRACE"] {
            assert_eq!(TopicName::parse(bad).expect_err(bad).code, Code::IllegalTopic, "{bad:?}");
        }
        assert_eq!(TopicName::of(None).expect_err("absent").code, Code::IllegalTopic);
    }

    #[test]
    fn groups_follow_the_rules_of_the_reference() {
        for good in ["g", &"x".repeat(120)] {
            assert!(GroupName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "\t", "a\nb", "a/b", &"x".repeat(121)] {
            assert_eq!(GroupName::parse(bad).expect_err(bad).code, Code::IllegalConsumerGroup, "{bad:?}");
        }
    }

    #[test]
    fn error_texts_stay_short_and_printable() {
        let refusal = TopicName::parse(&"\u{7}".repeat(100_000)).expect_err("control characters");
        assert!(refusal.message.len() < 600 && !refusal.message.contains('\u{7}'));
    }
}
