//! What `tercetd` says and answers when it is used wrongly.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its own functions too")]

use std::process::{Command, Output};

fn tercetd(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercetd"));
    command.args(args).env("TERCET__NODE__GROUP", "3").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_good_configuration_is_called_good_and_can_be_shown() {
    let checked = tercetd(&["config", "check"]);
    assert_eq!((checked.status.code(), text(&checked.stdout).trim()), (Some(0), "the configuration is good"));
    let shown = text(&tercetd(&["config", "check", "--print", "--set", "node.id=9"]).stdout);
    assert!(shown.contains("id = 9 # flag --set node.id=9\n"), "{shown}");
    assert!(shown.contains("group = 3 # environment variable TERCET__NODE__GROUP\n"), "{shown}");
}

#[test]
fn a_wrong_configuration_ends_every_command_with_code_2_and_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tercet.toml");
    std::fs::write(&path, "[node]\nid = 1\n\n[storage]\ndurabilty = \"sync\"\n").unwrap();
    let path = path.to_str().unwrap();
    for command in [&["broker"][..], &["nameserver"], &["config", "check"]] {
        let output = tercetd(&[command, &["--config", path]].concat());
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let told = text(&output.stderr);
        assert!(told.contains("tercet.toml, line 5: unknown key `storage.durabilty`"), "{told}");
    }
}

#[test]
fn a_wrong_log_level_is_refused_by_name() {
    let output = tercetd(&["nameserver", "--set", "logging.level=a=b=c"]);
    let told = text(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains("logging.level"), "{told}");
}

#[test]
fn a_bootstrap_without_voters_or_without_a_node_says_so() {
    let none = tercetd(&["bootstrap"]);
    assert!(none.status.code() == Some(1) && text(&none.stderr).contains("no voters are given"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let alone = tercetd(&["bootstrap", "--voters", "1=127.0.0.1:1", "--endpoint", &port.to_string()]);
    let told = text(&alone.stderr);
    assert!(alone.status.code() == Some(1) && told.contains(&format!("cannot connect to {port}")), "{told}");
}
