//! Client settings: what a client declares of itself on Telemetry, and what the server answers. Pure.
//!
//! Official clients hang, die or misbehave on a wrong answer: it carries a status and the settings, a back-off always,
//! and a body size that is not zero.

use prost_types::Duration;
use tercet_proto::rocketmq::v2::{
    ClientType, CustomizedBackoff, ExponentialBackoff, Metric, RetryPolicy, Settings, TelemetryCommand,
    retry_policy::Strategy, settings::PubSub, telemetry_command::Command,
};

use super::{names, refusal::ok};
use crate::{
    limits::{BODY_BYTES_MAX, RECEIVE_MESSAGES_MAX, SETTINGS_TOPICS_MAX},
    model::GroupName,
};

/// Longest long poll, and the one that consumers are told.
pub const POLL_MAX: std::time::Duration = std::time::Duration::from_secs(20);
/// Waits before the redeliveries of a message, in seconds: the delay levels that users know.
pub const BACKOFF_SECONDS: [i64; 18] =
    [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200];
/// Sends that a producer tries in all.
const SEND_ATTEMPTS_MAX: i32 = 3;

/// What kind of client it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Publishes.
    Producer,
    /// Consumes in this group.
    Consumer {
        /// Its group.
        group: GroupName,
        /// Whether the server renews its deliveries.
        push: bool,
    },
}

/// What the answer to a consumer depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPolicy {
    /// Deliveries of a message, the first one counted.
    pub attempts_max: u16,
    /// Whether the group keeps the order.
    pub fifo: bool,
}

/// Why settings end the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// The settings are wrong.
    Invalid(String),
    /// A kind of client that is not served.
    Unserved(String),
}

/// What the settings declare.
pub fn parse(settings: &Settings) -> Result<Subject, SettingsError> {
    let invalid = |refusal: super::refusal::Refusal| SettingsError::Invalid(refusal.message);
    let too_many = || Err(SettingsError::Invalid(format!("more than {SETTINGS_TOPICS_MAX} topics")));
    match settings.client_type() {
        ClientType::PullConsumer => {
            return Err(SettingsError::Unserved(String::from("pull consumers are not supported")));
        }
        ClientType::LitePushConsumer | ClientType::LiteSimpleConsumer => {
            return Err(SettingsError::Unserved(String::from("lite consumers are not supported")));
        }
        _ => {}
    }
    match &settings.pub_sub {
        Some(PubSub::Publishing(publishing)) => {
            if publishing.topics.len() > SETTINGS_TOPICS_MAX {
                return too_many();
            }
            for topic in &publishing.topics {
                names::topic(Some(topic)).map_err(invalid)?;
            }
            Ok(Subject::Producer)
        }
        Some(PubSub::Subscription(subscription)) => {
            if subscription.subscriptions.len() > SETTINGS_TOPICS_MAX {
                return too_many();
            }
            for entry in &subscription.subscriptions {
                names::topic(entry.topic.as_ref()).map_err(invalid)?;
            }
            let group = names::group(subscription.group.as_ref()).map_err(invalid)?;
            Ok(Subject::Consumer { group, push: settings.client_type() == ClientType::PushConsumer })
        }
        None => Err(SettingsError::Invalid(String::from("settings need publishing or subscription"))),
    }
}

/// The topics that a consumer subscribes to.
pub fn topics(settings: &Settings) -> Vec<String> {
    let Some(PubSub::Subscription(subscription)) = &settings.pub_sub else { return Vec::new() };
    let names = subscription.subscriptions.iter().filter_map(|entry| entry.topic.as_ref());
    names.map(|topic| topic.name.clone()).collect()
}

/// The answer: the client's settings with the server's values. `policy` counts for consumers.
pub fn answer(mut settings: Settings, policy: GroupPolicy) -> TelemetryCommand {
    settings.metric = Some(Metric::default());
    match &mut settings.pub_sub {
        Some(PubSub::Publishing(publishing)) => {
            settings.backoff_policy = Some(send_backoff());
            publishing.max_body_size = BODY_BYTES_MAX as i32;
            publishing.validate_message_type = true;
        }
        Some(PubSub::Subscription(subscription)) => {
            settings.backoff_policy = Some(redelivery_backoff(policy.attempts_max));
            subscription.fifo = Some(policy.fifo);
            subscription.receive_batch_size = Some(RECEIVE_MESSAGES_MAX as i32);
            subscription.long_polling_timeout = Some(seconds(POLL_MAX.as_secs() as i64));
            subscription.lite_subscription_quota = Some(2000);
            subscription.max_lite_topic_size = Some(64);
        }
        None => unreachable!("parse refused settings without either"),
    }
    TelemetryCommand { status: Some(ok()), command: Some(Command::Settings(settings)) }
}

fn send_backoff() -> RetryPolicy {
    RetryPolicy {
        max_attempts: SEND_ATTEMPTS_MAX,
        strategy: Some(Strategy::ExponentialBackoff(ExponentialBackoff {
            initial: Some(Duration { seconds: 0, nanos: 10_000_000 }),
            max: Some(seconds(1)),
            multiplier: 2.0,
        })),
    }
}

fn redelivery_backoff(attempts_max: u16) -> RetryPolicy {
    RetryPolicy {
        max_attempts: i32::from(attempts_max),
        strategy: Some(Strategy::CustomizedBackoff(CustomizedBackoff { next: BACKOFF_SECONDS.map(seconds).to_vec() })),
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

#[cfg(test)]
mod tests {
    use tercet_proto::rocketmq::v2::{Publishing, Resource, Subscription, SubscriptionEntry};

    use super::*;

    const POLICY: GroupPolicy = GroupPolicy { attempts_max: 17, fifo: true };

    fn resource(name: &str) -> Resource {
        Resource { resource_namespace: String::new(), name: name.to_owned() }
    }

    fn producer(topics: &[&str]) -> Settings {
        Settings {
            client_type: Some(ClientType::Producer as i32),
            request_timeout: Some(seconds(7)),
            pub_sub: Some(PubSub::Publishing(Publishing {
                topics: topics.iter().map(|name| resource(name)).collect(),
                max_body_size: 1,
                validate_message_type: false,
            })),
            ..Default::default()
        }
    }

    fn consumer(kind: ClientType, group: &str, topics: &[&str]) -> Settings {
        let subscriptions = topics.iter().map(|t| SubscriptionEntry { topic: Some(resource(t)), expression: None });
        Settings {
            client_type: Some(kind as i32),
            pub_sub: Some(PubSub::Subscription(Subscription {
                group: Some(resource(group)),
                subscriptions: subscriptions.collect(),
                fifo: Some(false),
                ..Default::default()
            })),
            ..Default::default()
        }
    }

    #[test]
    fn what_clients_declare_is_understood() {
        let group = || GroupName::parse("g").expect("legal");
        let cases = [
            (producer(&["t"]), Subject::Producer),
            (producer(&[]), Subject::Producer),
            (consumer(ClientType::PushConsumer, "g", &["t"]), Subject::Consumer { group: group(), push: true }),
            (consumer(ClientType::SimpleConsumer, "g", &[]), Subject::Consumer { group: group(), push: false }),
        ];
        for (settings, expected) in cases {
            assert_eq!(parse(&settings).expect("legal"), expected);
        }
    }

    #[test]
    fn wrong_settings_end_the_stream() {
        for settings in [
            Settings::default(),
            producer(&["a b"]),
            consumer(ClientType::PushConsumer, "", &["t"]),
            consumer(ClientType::PushConsumer, "g", &["a/b"]),
        ] {
            assert!(matches!(parse(&settings), Err(SettingsError::Invalid(_))), "{settings:?}");
        }
        let pull = consumer(ClientType::PullConsumer, "g", &["t"]);
        assert!(matches!(parse(&pull), Err(SettingsError::Unserved(_))));
    }

    #[test]
    fn a_producer_is_told_exponential_backoff_and_a_body_size() {
        let answer = answer(producer(&["t"]), POLICY);
        assert_eq!(answer.status.expect("status").code, 20000);
        let Some(Command::Settings(settings)) = answer.command else { panic!("no settings") };
        assert_eq!(settings.request_timeout, Some(seconds(7)), "echoed");
        assert!(settings.metric.is_some_and(|metric| !metric.on));
        let backoff = settings.backoff_policy.expect("back-off");
        assert_eq!(backoff.max_attempts, 3);
        assert!(matches!(backoff.strategy, Some(Strategy::ExponentialBackoff(_))));
        let Some(PubSub::Publishing(publishing)) = settings.pub_sub else { panic!("kind changed") };
        assert_eq!((publishing.max_body_size, publishing.validate_message_type), (4_194_304, true));
        assert_eq!(publishing.topics.len(), 1);
    }

    #[test]
    fn a_consumer_is_told_the_groups_rules_and_not_its_own() {
        let answer = answer(consumer(ClientType::PushConsumer, "g", &["t"]), POLICY);
        assert_eq!(answer.status.expect("status").code, 20000);
        let Some(Command::Settings(settings)) = answer.command else { panic!("no settings") };
        let backoff = settings.backoff_policy.expect("back-off");
        assert_eq!(backoff.max_attempts, 17);
        let Some(Strategy::CustomizedBackoff(custom)) = backoff.strategy else { panic!("kind of back-off") };
        assert_eq!(custom.next.len(), 18);
        let Some(PubSub::Subscription(subscription)) = settings.pub_sub else { panic!("kind changed") };
        assert_eq!(subscription.fifo, Some(true));
        assert_eq!(subscription.receive_batch_size, Some(32));
        assert_eq!(subscription.long_polling_timeout, Some(seconds(20)));
        assert_eq!(subscription.subscriptions.len(), 1);
    }
}
