//! What every verb of `tercet` says when it cannot do what it was asked to, and its exit code: in words and as JSON.

use std::{fs, path::Path, process::Stdio, time::Duration};

use jepsen_tests::{binaries, cluster::Cluster, setup};
use tokio::{process::Command, time::timeout};

use crate::shared;

const LIMIT: Duration = Duration::from_secs(60);

/// Of each verb what goes wrong at a healthy group. `orders` is there, nothing else is.
const LINES: [&str; 24] = [
    "topic create orders --queues 5",
    "topic create a/b --queues 1",
    "topic create later --queues 1 --type delay",
    "topic describe missing",
    "topic route missing",
    "topic delete missing",
    "group create a/b",
    "group update missing --max-attempts 5",
    "group describe missing",
    "group progress missing",
    "group delete missing",
    "publish missing hello",
    "publish orders hello --message-group g",
    "publish orders hello --property __SHARDINGKEY=x",
    "publish orders --file missing.txt",
    "consume missing --group g --until-idle 1s",
    "consume orders --group a/b",
    "cluster promote 99",
    "cluster remove 99",
    "cluster replace 99 100 127.0.0.1:1 --wait 1s",
    "cluster move 99 --client 127.0.0.1:1",
    "cluster transfer-leader 99",
    "context use missing",
    "topic list --tls-ca missing.pem",
];

/// The command, its exit code, and what it says on standard error.
async fn told(endpoint: &str, folder: &Path, line: &str, format: &str) -> String {
    let mut command = Command::new(binaries::tercet().unwrap());
    command.args(line.split(' ')).args(["-o", format]).current_dir(folder).env("XDG_CONFIG_HOME", folder);
    command.env("TERCET_ENDPOINT", endpoint).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await.expect("it ends").unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let said = said.replace(folder.to_str().unwrap(), "FOLDER");
    format!("$ tercet {line} -o {format}\nexit {}\n{said}\n", output.status.code().unwrap())
}

/// `TERCET_WRITE_ERRORS=1` writes them anew; the difference is the review.
#[tokio::test(flavor = "multi_thread")]
async fn errors_and_exit_codes_are_what_was_agreed_on() {
    let _turn = shared::turn().await;
    let cluster = Cluster::start().await.unwrap();
    setup::create_topic(&cluster, "orders", 2).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut now = String::new();
    for line in LINES {
        for format in ["table", "json"] {
            now.push_str(&told(cluster.endpoint(), folder.path(), line, format).await);
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/processes/errors.txt");
    if std::env::var_os("TERCET_WRITE_ERRORS").is_some() {
        fs::write(&file, &now).unwrap();
    }
    let agreed = fs::read_to_string(&file).unwrap();
    let differs = now.lines().zip(agreed.lines()).find(|(now, agreed)| now != agreed);
    assert!(now == agreed, "errors have changed: {differs:?}; TERCET_WRITE_ERRORS=1 writes them anew");
}
