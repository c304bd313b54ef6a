//! `tercet publish`, `consume` and `bench` as processes, against scripted nodes.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod fake;

use std::{
    collections::HashMap,
    fs::File,
    io::{Write as _, pipe},
    path::Path,
    process::Stdio,
    time::Duration,
};

use fake::{Call, Group, Step};
use prost::Message as _;
use serde_json::{Value, json};
use tercet_proto::client::v1::{
    Batch, Change, Delivered, EndReason, Run, Settle, Settled, StoredProperties, consume_answer::Content,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts `tercet` with these arguments, separated by blanks.
fn start(group: &Group, arguments: &str) -> Child {
    start_with(group, arguments, Stdio::piped())
}

fn start_with(group: &Group, arguments: &str, stdout: Stdio) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    command.args(["--endpoint", &group.addresses()]).args(arguments.split(' ')).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap()
}

/// Types lines, and leaves open what they are typed into.
async fn type_in(child: &mut Child, lines: &str) {
    child.stdin.as_mut().unwrap().write_all(lines.as_bytes()).await.unwrap();
}

async fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().await.unwrap().success());
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Waits for the end without closing what lines are typed into.
async fn end(mut child: Child) -> Ended {
    let _open = child.stdin.take();
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_on_the_command_line_is_published_with_all_that_it_was_given() {
    let group = Group::start(1, []).await;
    let options = "--key k --key l --tag a --message-group g --property p=v --property q=w -o json";
    let ended = end(start(&group, &format!("publish t hello {options}"))).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let sent = group.publishes().remove(0).messages.remove(0);
    let system = sent.system_properties.unwrap();
    assert_eq!(
        (sent.body.as_ref(), system.keys, system.tag.as_deref()),
        (&b"hello"[..], vec!["k".into(), "l".into()], Some("a"))
    );
    assert_eq!(system.message_group.as_deref(), Some("g"));
    assert_eq!(sent.user_properties, HashMap::from([("p".into(), "v".into()), ("q".into(), "w".into())]));
    let stored = &json_lines(&ended.stdout)[0];
    assert_eq!(stored, &json!({ "line": 1, "message_id": system.message_id, "queue": 3, "offset": 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_line_that_makes_no_message_is_named_and_the_others_are_stored() {
    let group = Group::start(1, []).await;
    let mut child = start(&group, "publish --topic t --json -o json");
    type_in(&mut child, "{\"body\":\"one\"}\nbad\n\n{\"body\":\"two\",\"key\":\"a b\"}\n{\"body\":\"three\"}\n").await;
    drop(child.stdin.take());
    let ended = end(child).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("line 2: not stored: not a message: expected value, at column 1\n"), "{ended:?}");
    assert!(ended.stderr.contains("line 4: not stored: bad key \"a b\""), "{ended:?}");
    let summary = &json_lines(&ended.stdout)[0];
    assert_eq!((&summary["stored"], &summary["refused_lines"]), (&json!(2), &json!([2, 4])));
    assert_eq!(summary["skipped_empty_lines"], 1);
    let bodies: Vec<Vec<u8>> = group.lock().kept.iter().map(|kept| kept.body.clone()).collect();
    assert_eq!(bodies, [b"one".to_vec(), b"three".to_vec()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_publishing_with_the_outcomes_of_what_was_sent() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let group = Group::start(1, [Step::AtGate]).await;
        let mut child = start(&group, "publish t");
        type_in(&mut child, "one\ntwo\nthree\n").await;
        group.until("a publish", |shared| !shared.publishes.is_empty()).await;
        signal(&child, name).await;
        let mut notices = BufReader::new(child.stderr.take().unwrap()).lines();
        assert_eq!(notices.next_line().await.unwrap().unwrap(), "ending; once more to end at once");
        group.gate.add_permits(1);
        let ended = end(child).await;
        let stored = group.lock().kept.len();
        assert_eq!(ended.code, Some(code));
        assert!(ended.stdout.starts_with(&format!("{stored} stored, 0 refused, 0 unknown")), "{ended:?}");
        assert!(ended.stdout.ends_with(&format!("\nended before line {}\n", stored + 1)), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_waits_for_nothing() {
    let group = Group::start(1, [Step::AtGate]).await;
    let mut child = start(&group, "publish t");
    type_in(&mut child, "one\n").await;
    group.until("a publish", |shared| !shared.publishes.is_empty()).await;
    signal(&child, "INT").await;
    let mut notices = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(notices.next_line().await.unwrap().is_some());
    signal(&child, "INT").await;
    let ended = end(child).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(130), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_an_object_for_programs_and_has_a_hint() {
    let group = Group::start(1, [Step::Code(40_402)]).await;
    let ended = end(start(&group, "bench publish t --duration 1s -o json")).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let error = &json_lines(&ended.stderr)[0];
    assert!(error["error"].as_str().unwrap().contains("TOPIC_NOT_FOUND"), "{error}");
    assert_eq!(error["can_retry"], false);
    assert!(error["hint"].as_str().unwrap().contains("tercet topic create"), "{error}");
}

fn run(offset: u64, count: u32) -> Run {
    Run { nonce: 1001, deadline_unix_ms: 5000, queue: 0, offset, count }
}

fn given_back(offset: u64, count: u32) -> Change {
    Change { run: Some(run(offset, count)), invisible_ms: 0, uncounted: true }
}

/// What a consumer says of messages until it says goodbye; all of it succeeds.
#[derive(Debug, Default, PartialEq)]
struct Settlements {
    done: Vec<Run>,
    changes: Vec<Change>,
}

async fn settle_all(mut call: Call) -> Settlements {
    let mut all = Settlements::default();
    while let Some(settle) = call.settle_or_goodbye().await {
        let number = settle.number;
        let changed = settle.changes.iter().filter_map(|change| change.run.map(|run| run.count)).sum::<u32>();
        let deadlines_unix_ms = vec![9000; changed as usize];
        call.say(Content::Settled(Settled { number, deadlines_unix_ms, over: vec![] }));
        all.done.extend(settle.done);
        all.changes.extend(settle.changes);
    }
    call.end(EndReason::Finished, "");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumed_line_says_all_that_is_known_of_its_message() {
    let group = Group::start(1, []).await;
    let child = start(&group, "consume t --group g --filter a||b --max 2");
    let mut call = group.call().await;
    assert_eq!(call.open().await.filter, "a||b");
    let properties = StoredProperties {
        message_id: "id".into(),
        keys: vec!["k".into()],
        properties: HashMap::from([("name".into(), "value".into())]),
        message_group: "mg".into(),
        ..StoredProperties::default()
    };
    let full = Delivered {
        queue: 2,
        offset: 7,
        attempt: 3,
        stored_unix_ms: 1500,
        tag: "a".into(),
        properties: properties.encode_to_vec().into(),
        body: "text".into(),
        origin_topic: "first".into(),
    };
    let bare = Delivered { body: b"\xff"[..].into(), attempt: 1, ..Delivered::default() };
    let messages = vec![full, bare];
    call.say(Content::Batch(Batch { number: 1, nonce: 1, deadline_unix_ms: 5000, bytes: 100, messages }));
    let (ended, _) = tokio::join!(end(child), settle_all(call));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), "2 messages, all acknowledged\n"));
    let expected = [
        json!({
            "topic": "t", "queue": 2, "offset": 7, "message_id": "id", "attempt": 3, "tag": "a", "keys": ["k"],
            "stored_at": "1970-01-01T00:00:01.500Z", "message_group": "mg", "properties": { "name": "value" },
            "dead_letter_of": "first", "body": "text",
        }),
        json!({ "topic": "t", "queue": 0, "offset": 0, "message_id": "", "attempt": 1, "body_base64": "/w==" }),
    ];
    assert_eq!(json_lines(&ended.stdout), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_the_last_message_that_was_wanted_is_given_back() {
    let group = Group::start(1, []).await;
    let child = start(&group, "consume t --group g --max 1 -o table");
    let mut call = group.call().await;
    call.open().await;
    call.push(1, 0..3);
    let (ended, settled) = tokio::join!(end(child), settle_all(call));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "queue 0, offset 0  body\n"));
    assert_eq!(settled, Settlements { done: vec![run(0, 1)], changes: vec![given_back(1, 2)] });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_consuming_with_everything_acknowledged_that_was_written() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let group = Group::start(1, []).await;
        let mut child = start(&group, "consume t --group g -o json");
        let mut call = group.call().await;
        call.open().await;
        call.push(1, 0..2);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next_line().await.unwrap().unwrap().contains("\"offset\":0"));
        assert!(lines.next_line().await.unwrap().unwrap().contains("\"offset\":1"));
        signal(&child, name).await;
        let (ended, settled) = tokio::join!(end(child), settle_all(call));
        assert_eq!(ended.code, Some(code));
        let told = ended.stderr.lines().last().unwrap();
        assert_eq!(serde_json::from_str::<Value>(told).unwrap(), json!({ "written": 2, "not_acknowledged": 0 }));
        assert_eq!(settled, Settlements { done: vec![run(0, 2)], changes: vec![] });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_that_stands_still_did_not_take_is_given_back_at_the_end() {
    let group = Group::start(1, []).await;
    let (_reader, stuck) = pipe().unwrap();
    stuck.try_clone().unwrap().write_all(&vec![b'x'; 64 << 10]).unwrap();
    let child = start_with(&group, "consume t --group g", stuck.into());
    let mut call = group.call().await;
    call.open().await;
    call.push(1, 0..3);
    call.credit_taken().await;
    signal(&child, "INT").await;
    let (ended, settled) = tokio::join!(end(child), settle_all(call));
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert_eq!(settled, Settlements { done: vec![], changes: vec![given_back(0, 3)] });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_enough_ends_consuming_quietly_and_gets_the_rest_the_next_time() {
    let group = Group::start(1, []).await;
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let child = start_with(&group, "consume t --group g", writer.into());
    let mut call = group.call().await;
    call.open().await;
    call.push(1, 0..3);
    let (ended, settled) = tokio::join!(end(child), settle_all(call));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(settled, Settlements { done: vec![], changes: vec![given_back(0, 3)] });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_an_error_and_nothing_is_acknowledged() {
    let group = Group::start(1, []).await;
    let full = File::options().write(true).open("/dev/full").unwrap();
    let child = start_with(&group, "consume t --group g", full.into());
    let mut call = group.call().await;
    call.open().await;
    call.push(1, 0..3);
    let (ended, settled) = tokio::join!(end(child), settle_all(call));
    assert!(ended.code == Some(1) && ended.stderr.contains("error: cannot write: No space left"), "{ended:?}");
    assert_eq!(settled, Settlements { done: vec![], changes: vec![given_back(0, 3)] });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_failed_is_told_by_the_exit_code() {
    let group = Group::start(1, []).await;
    let child = start(&group, "consume t --group g --max 2");
    let mut call = group.call().await;
    call.open().await;
    call.push(1, 0..2);
    let node = async move {
        let (settle, _): (Settle, _) = call.settle().await;
        call.settled(&settle, &[1]);
        settle_all(call).await
    };
    let (ended, _) = tokio::join!(end(child), node);
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(1), 2));
    assert!(ended.stderr.contains("warning: 2 messages may come again"), "{ended:?}");
    assert!(
        ended.stderr.ends_with("2 messages, of which up to 2 are not acknowledged and may come again\n"),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_only_looks_gives_everything_back() {
    let group = Group::start(1, []).await;
    let child = start(&group, "consume t --group g --peek --max 3 -o table");
    let mut call = group.call().await;
    call.open().await;
    call.push(1, 0..4);
    let (ended, settled) = tokio::join!(end(child), settle_all(call));
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(0), 3));
    assert_eq!(ended.stderr, "3 messages, all given back\n");
    assert_eq!(settled, Settlements { done: vec![], changes: vec![given_back(0, 3), given_back(3, 1)] });
}

/// `tercet` with its contexts in this folder, without a node that it could ask.
async fn with_contexts(folder: &Path, line: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    command.env("XDG_CONFIG_HOME", folder).env_remove("TERCET_ENDPOINT").args(line.split(' ')).kill_on_drop(true);
    command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    end(command.spawn().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_is_a_connection_by_its_name() {
    let (folder, mut group) = (tempfile::tempdir().unwrap(), Group::start(1, []).await);
    let tercet = async |line: &str| with_contexts(folder.path(), line).await;
    let added = tercet(&format!("context add here --endpoint {}", group.address(0))).await;
    assert_eq!(
        (added.code, added.stdout.as_str()),
        (Some(0), "context here added, and used from now on\n"),
        "{added:?}"
    );
    std::fs::write(folder.path().join("key"), "access_key = \"a\"\nsecret = \"s\"").unwrap();
    let added = tercet("context add there --endpoint 127.0.0.1:1 --key-file key -o json").await;
    assert_eq!(json_lines(&added.stdout), [json!({ "name": "there", "current": false })]);
    let stored = tercet("publish t hello").await;
    assert_eq!(stored.code, Some(0), "{stored:?}");
    group.kill(0);
    let elsewhere = tercet("publish t hello --context there --timeout 50ms -o json").await;
    assert_eq!(elsewhere.code, Some(1));
    assert!(elsewhere.stderr.contains("127.0.0.1:1"), "{elsewhere:?}");
    assert_eq!(tercet("context use there").await.stdout, "context there is used from now on\n");
    let listed = json_lines(&tercet("context list -o json").await.stdout);
    let key = std::path::absolute(folder.path().join("key")).unwrap();
    let there = json!({ "name": "there", "current": true, "endpoint": "127.0.0.1:1", "key_file": key });
    assert_eq!(
        (&listed[0][0]["name"], &listed[0][0]["current"], &listed[0][1]),
        (&json!("here"), &json!(false), &there)
    );
    assert_eq!(tercet("context remove there").await.code, Some(0));
    let unknown = tercet("topic list --context there").await;
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.stderr.contains("no context \"there\"") && unknown.stderr.contains("there are: here"),
        "{unknown:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_with_something_bad_is_not_added_and_a_bad_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let tercet = async |line: &str| with_contexts(folder.path(), line).await;
    for (line, words) in [
        ("context add a/b", "bad name \"a/b\""),
        ("context add a --tls-ca nowhere.pem", "nowhere.pem"),
        ("context add a --key-file nowhere", "nowhere"),
        ("context use a", "there is none"),
    ] {
        let ended = tercet(line).await;
        assert!(ended.code == Some(1) && ended.stderr.contains(words), "{line}: {ended:?}");
    }
    std::fs::create_dir_all(folder.path().join("tercet")).unwrap();
    std::fs::write(folder.path().join("tercet/contexts.toml"), "current = 7").unwrap();
    let ended = tercet("topic list").await;
    assert!(ended.code == Some(1) && ended.stderr.contains("contexts.toml"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn completion_and_manual_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let tercet = async |line: &str| with_contexts(folder.path(), line).await;
    for shell in ["bash", "zsh", "fish"] {
        let script = tercet(&format!("completion {shell}")).await;
        assert!(script.code == Some(0) && script.stdout.contains("transfer-leader"), "{shell}");
    }
    assert_eq!(tercet("man pages").await.code, Some(0));
    let page = std::fs::read_to_string(folder.path().join("pages/tercet-cluster-transfer-leader.1")).unwrap();
    assert!(page.contains("Hand leadership"), "{page}");
}
