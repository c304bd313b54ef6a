//! Every row of the send rules that needs no state, as a table.

use prost_types::Timestamp;
use tercet_proto::rocketmq::v2::Resource;

use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn message() -> Message {
    Message {
        topic: Some(Resource { resource_namespace: String::new(), name: String::from("t") }),
        user_properties: HashMap::new(),
        system_properties: Some(SystemProperties { message_id: String::from("id"), ..Default::default() }),
        body: Bytes::from_static(b"body"),
    }
}

fn system(change: impl FnOnce(&mut SystemProperties)) -> Message {
    let mut message = message();
    change(message.system_properties.as_mut().expect("set above"));
    message
}

fn with_properties(pairs: &[(&str, &str)]) -> Message {
    let mut message = message();
    message.user_properties = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    message
}

fn at(millis: i64) -> Option<Timestamp> {
    let absolute = i64::try_from(NOW.0).expect("fits") + millis;
    Some(Timestamp { seconds: absolute.div_euclid(1000), nanos: (absolute.rem_euclid(1000) * 1_000_000) as i32 })
}

fn run(messages: Vec<Message>) -> Result<Draft, Refusal> {
    check(SendMessageRequest { messages }, NOW)
}

fn many(n: usize) -> Message {
    let mut message = message();
    message.user_properties = (0..n).map(|i| (format!("p{i}"), String::from("v"))).collect();
    message
}

fn in_topic(name: &str) -> Message {
    let mut message = message();
    message.topic = Some(Resource { resource_namespace: String::new(), name: name.to_owned() });
    message
}

fn body_of(len: usize) -> Message {
    Message { body: Bytes::from(vec![7; len]), ..message() }
}

#[test]
fn what_is_wrong_is_refused_with_the_code_of_the_reference() {
    let day = 24 * 3600 * 1000;
    let cases: Vec<(&str, Vec<Message>, Code)> = vec![
        ("no messages", vec![], Code::MessageCorrupted),
        ("two topics", vec![message(), in_topic("u")], Code::MessageCorrupted),
        ("blank topic", vec![in_topic(" ")], Code::IllegalTopic),
        ("absent topic", vec![Message { topic: None, ..message() }], Code::IllegalTopic),
        ("no system properties", vec![Message { system_properties: None, ..message() }], Code::IllegalMessageId),
        ("no id", vec![system(|s| s.message_id.clear())], Code::IllegalMessageId),
        ("id beyond reason", vec![system(|s| s.message_id = "x".repeat(2000))], Code::IllegalMessageId),
        ("empty body", vec![body_of(0)], Code::MessageBodyEmpty),
        ("body too large", vec![body_of((4 << 20) + 1)], Code::MessageBodyTooLarge),
        ("tag with |", vec![system(|s| s.tag = Some("a|b".into()))], Code::IllegalMessageTag),
        ("blank tag", vec![system(|s| s.tag = Some(" ".into()))], Code::IllegalMessageTag),
        ("tag with control", vec![system(|s| s.tag = Some("a\u{1}".into()))], Code::IllegalMessageTag),
        ("blank key", vec![system(|s| s.keys = vec!["k".into(), " ".into()])], Code::IllegalMessageKey),
        ("empty key", vec![system(|s| s.keys = vec![String::new()])], Code::IllegalMessageKey),
        ("key with control", vec![system(|s| s.keys = vec!["a\tb".into()])], Code::IllegalMessageKey),
        ("blank group", vec![system(|s| s.message_group = Some("  ".into()))], Code::IllegalMessageGroup),
        ("long group", vec![system(|s| s.message_group = Some("x".repeat(64)))], Code::IllegalMessageGroup),
        ("group with control", vec![system(|s| s.message_group = Some("a\n".into()))], Code::IllegalMessageGroup),
        ("129 properties", vec![many(129)], Code::MessagePropertiesTooLarge),
        ("16 KiB of properties", vec![with_properties(&[("k", &"v".repeat(16384))])], Code::MessagePropertiesTooLarge),
        ("property with control", vec![with_properties(&[("k", "a\u{0}")])], Code::IllegalMessagePropertyKey),
        ("name with control", vec![with_properties(&[("k\r", "a")])], Code::IllegalMessagePropertyKey),
        ("reserved name", vec![with_properties(&[("KEYS", "a")])], Code::IllegalMessagePropertyKey),
        ("delivery far ahead", vec![system(|s| s.delivery_timestamp = at(366 * day))], Code::IllegalDeliveryTime),
        ("negative priority", vec![system(|s| s.priority = Some(-1))], Code::BadRequest),
        (
            "batch of delayed",
            vec![system(|s| s.delivery_timestamp = at(5000)), system(|s| s.delivery_timestamp = at(5000))],
            Code::MessageCorrupted,
        ),
        (
            "batch of half messages",
            vec![
                system(|s| s.message_type = MessageType::Transaction as i32),
                system(|s| s.message_type = MessageType::Transaction as i32),
            ],
            Code::MessageCorrupted,
        ),
        (
            "mixed batch",
            vec![message(), system(|s| s.message_group = Some("g".into()))],
            Code::MessagePropertyConflictWithType,
        ),
        ("long born host", vec![system(|s| s.born_host = "h".repeat(2000))], Code::BadRequest),
        ("too many messages", vec![message(); BATCH_MESSAGES_MAX + 1], Code::PayloadTooLarge),
    ];
    for (name, messages, code) in cases {
        let refusal = run(messages).expect_err(name);
        assert_eq!(refusal.code, code, "{name}: {}", refusal.message);
        assert!(!refusal.unknown && !refusal.message.is_empty(), "{name}");
    }
}

#[test]
fn what_is_legal_passes_with_its_kind() {
    let cases: Vec<(&str, Message, DraftKind)> = vec![
        ("plain", message(), DraftKind::Normal),
        ("4 MiB", body_of(4 << 20), DraftKind::Normal),
        ("empty tag", system(|s| s.tag = Some(String::new())), DraftKind::Normal),
        ("empty group", system(|s| s.message_group = Some(String::new())), DraftKind::Normal),
        ("group of 63 bytes", system(|s| s.message_group = Some("x".repeat(63))), DraftKind::Fifo),
        ("message_type lies", system(|s| s.message_type = MessageType::Fifo as i32), DraftKind::Normal),
        ("half", system(|s| s.message_type = MessageType::Transaction as i32), DraftKind::Transaction),
        ("past delivery", system(|s| s.delivery_timestamp = at(-5)), DraftKind::Delay),
        ("tomorrow", system(|s| s.delivery_timestamp = at(24 * 3600 * 1000)), DraftKind::Delay),
        ("priority", system(|s| s.priority = Some(0)), DraftKind::Priority),
        ("lite", system(|s| s.lite_topic = Some("l".into())), DraftKind::Lite),
        ("128 properties", many(128), DraftKind::Normal),
        ("odd id", system(|s| s.message_id = "ä ö".into()), DraftKind::Normal),
    ];
    for (name, message, kind) in cases {
        let draft = run(vec![message]).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        assert_eq!(draft.kind, kind, "{name}");
        assert_eq!(draft.messages.len(), 1, "{name}");
    }
}

#[test]
fn values_are_normalised_as_the_reference_does() {
    let mut message = system(|s| {
        s.keys = vec!["a b".into(), "c".into()];
        s.body_encoding = 77;
        s.delivery_timestamp = at(-1);
    });
    message.user_properties = [("empty", ""), ("full", "x")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let draft = run(vec![message]).expect("legal").messages.remove(0);
    assert_eq!(draft.keys, ["a", "b", "c"]);
    assert!(!draft.gzip);
    assert_eq!(draft.properties.len(), 1);
    assert_eq!(draft.deliver_at, Some(UnixMillis(NOW.0 - 1)));
    let zipped = run(vec![system(|s| s.body_encoding = Encoding::Gzip as i32)]).expect("legal").messages.remove(0);
    assert!(zipped.gzip);
}

#[test]
fn bodies_are_not_copied() {
    let body = Bytes::from(vec![1; 1000]);
    let draft = run(vec![Message { body: body.clone(), ..message() }]).expect("legal");
    assert_eq!(draft.messages[0].body.as_ptr(), body.as_ptr());
}

#[test]
fn reserved_names_are_sorted_for_the_search() {
    assert!(RESERVED_PROPERTIES.is_sorted());
}

#[test]
fn times_before_1970_and_absurd_ones_do_not_overflow() {
    assert_eq!(unix_millis(&Timestamp { seconds: -5, nanos: 0 }), UnixMillis(0));
    assert_eq!(unix_millis(&Timestamp { seconds: i64::MAX, nanos: 999_999_999 }), UnixMillis(i64::MAX as u64));
}
