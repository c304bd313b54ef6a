//! Topic and group names of requests, parsed at the door with the codes that clients know.
//!
//! Namespaces (`resource_namespace`, `x-mq-namespace`) do not separate topics, as in the reference: only `name` counts.

use tercet_proto::rocketmq::v2::{Code, Resource};

use super::refusal::Refusal;
use crate::model::{GroupName, TopicName};

/// The topic of a request; absent is blank. 40002 unless the name is legal and no system topic.
pub fn topic(resource: Option<&Resource>) -> Result<TopicName, Refusal> {
    let name = resource.map_or("", |resource| resource.name.as_str());
    let refuse = |why: String| Err(Refusal::new(Code::IllegalTopic, format!("topic {}: {why}", shown(name))));
    match TopicName::parse(name) {
        Err(error) => refuse(error.to_string()),
        Ok(_) if is_system_topic(name) => refuse(String::from("it is a system topic")),
        Ok(topic) => Ok(topic),
    }
}

/// The group of a request; absent is blank. 40003 unless the name is legal.
pub fn group(resource: Option<&Resource>) -> Result<GroupName, Refusal> {
    let name = resource.map_or("", |resource| resource.name.as_str());
    GroupName::parse(name)
        .map_err(|error| Refusal::new(Code::IllegalConsumerGroup, format!("consumer group {}: {error}", shown(name))))
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

    fn resource(name: &str) -> Resource {
        Resource { resource_namespace: String::from("ignored"), name: name.to_owned() }
    }

    #[test]
    fn topics_follow_the_rules_of_the_reference() {
        for good in ["a", "%DLQ%g", "A|b_c-9", &"x".repeat(127)] {
            assert_eq!(topic(Some(&resource(good))).expect(good).as_str(), good);
        }
        for bad in ["", " ", "a b", "ä", "a.b", &"x".repeat(128), "TBW102", "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRACE"] {
            assert_eq!(topic(Some(&resource(bad))).expect_err(bad).code, Code::IllegalTopic, "{bad:?}");
        }
        assert_eq!(topic(None).expect_err("absent").code, Code::IllegalTopic);
    }

    #[test]
    fn groups_follow_the_rules_of_the_reference() {
        for good in ["g", &"x".repeat(120)] {
            assert!(group(Some(&resource(good))).is_ok(), "{good}");
        }
        for bad in ["", "\t", "a\nb", "a/b", &"x".repeat(121)] {
            assert_eq!(group(Some(&resource(bad))).expect_err(bad).code, Code::IllegalConsumerGroup, "{bad:?}");
        }
    }

    #[test]
    fn error_texts_stay_short_and_printable() {
        let refusal = topic(Some(&resource(&"\u{7}".repeat(100_000)))).expect_err("control characters");
        assert!(refusal.message.len() < 600 && !refusal.message.contains('\u{7}'));
    }
}
