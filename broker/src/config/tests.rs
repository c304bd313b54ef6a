//! The configuration as a whole: layers, messages, the sample.

use std::{path::PathBuf, time::Duration};

use super::{
    super::{Config, Durability, load},
    *,
};

fn file(text: &str) -> (tempfile::TempDir, Layers) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tercet.toml");
    std::fs::write(&path, text).unwrap();
    (dir, Layers { file: Some(path), ..Layers::default() })
}

fn errors(text: &str) -> String {
    let (dir, layers) = file(text);
    let error = load(&layers).expect_err("the file is wrong").to_string();
    error.replace(&format!("{}/", dir.path().display()), "")
}

fn sample_path() -> PathBuf {
    PathBuf::from("../deploy/tercet.sample.toml")
}

#[test]
fn the_sample_in_deploy_is_complete_and_current() {
    if std::env::var_os("TERCET_WRITE_SAMPLE").is_some() {
        std::fs::write(sample_path(), render_sample()).unwrap();
    }
    let found = std::fs::read_to_string(sample_path()).unwrap();
    assert!(found == render_sample(), "deploy/tercet.sample.toml: write it anew with TERCET_WRITE_SAMPLE=1");
}

#[test]
fn the_sample_is_accepted_and_equals_the_defaults() {
    let from_sample = load(&Layers { file: Some(sample_path()), ..Layers::default() }).unwrap();
    assert_eq!(from_sample, load(&Layers::default()).unwrap());
}

#[test]
fn each_layer_overrides_the_one_before() {
    let (_dir, mut layers) = file("[node]\nid = 2\ngroup = 7\ndata_dir = \"/srv/tercet\"\n");
    layers.environment = vec![
        ("TERCET__NODE__ID".into(), "3".into()),
        ("TERCET__NODE__GROUP".into(), "8".into()),
        ("PATH".into(), "/bin".into()),
    ];
    layers.flags = vec![("--node-id 4".into(), "node.id".into(), "4".into())];
    let config = load(&layers).unwrap();
    assert_eq!((config.node.id.0, config.node.group.0), (4, 8));
    assert_eq!(config.node.data_dir, PathBuf::from("/srv/tercet"));
    let effective = render_effective(&layers).unwrap();
    assert!(effective.contains("id = 4 # flag --node-id 4\n"), "{effective}");
    assert!(effective.contains("group = 8 # environment variable TERCET__NODE__GROUP\n"), "{effective}");
    assert!(effective.contains("tercet.toml, line 4\n"), "{effective}");
}

#[test]
fn every_kind_is_read_from_the_file() {
    let (_dir, layers) = file(
        "[storage]\ndurability = \"async\"\nsegment_bytes_max = 67108864\ncache_bytes_max = \"64MiB\"\n\
         [consume]\nauto_create_group = false\n\
         [discovery]\nnameservers = [\"ns1:9876\", \"ns2:9876\"]\nheartbeat_interval = \"1s\"\n\
         [cluster]\nvoters = [\"1=a:10911\", \"2=b:10911\"]\n",
    );
    let config: Config = load(&layers).unwrap();
    assert_eq!(config.storage.durability, Durability::Async);
    assert_eq!((config.storage.segment_bytes_max, config.storage.cache_bytes_max), (64 << 20, 64 << 20));
    assert!(!config.consume.auto_create_group);
    assert_eq!(config.discovery.nameservers.len(), 2);
    assert_eq!(config.discovery.heartbeat_interval, Duration::from_secs(1));
    assert_eq!(config.voters[1].peer.to_string(), "b:10911");
}

#[test]
fn an_unknown_key_is_an_error_that_names_line_and_key() {
    assert_eq!(errors("[node]\nid = 2\nidd = 3\n"), "tercet.toml, line 3: unknown key `node.idd`");
    assert_eq!(errors("\n[nodes]\nid = 2\n"), "tercet.toml, line 2: unknown section [nodes]");
    assert_eq!(errors("id = 2\n"), "tercet.toml, line 1: unknown key `id` outside of any section");
    let layers = Layers { environment: vec![("TERCET__NODE__IDD".into(), "1".into())], ..Layers::default() };
    assert_eq!(load(&layers).unwrap_err().to_string(), "environment variable TERCET__NODE__IDD: names no setting");
    let flags = vec![("--set nod.id=1".into(), "nod.id".into(), "1".into())];
    let error = load(&Layers { flags, ..Layers::default() }).unwrap_err().to_string();
    assert_eq!(error, "flag --set nod.id=1: there is no setting `nod.id`");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let text =
        errors("[node]\nid = 0\ngroup = \"x\"\n[limits]\nreceive_bytes_max = \"1KiB\"\n[election]\ntimeout_min = 5\n");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    for (line, name) in [("line 2", "node.id: is 0, must be at least 1"), ("line 3", "node.group: is a TOML string")] {
        assert!(lines.iter().any(|found| found.contains(line) && found.contains(name)), "{text}");
    }
    assert!(text.contains("limits.receive_bytes_max: is 1KiB, must be at least 64KiB"), "{text}");
    assert!(text.contains("line 7: election.timeout_min: is a TOML integer; wanted: Span of time"), "{text}");
}

#[test]
fn broken_toml_names_the_line() {
    let text = errors("[node]\nid = \n");
    assert!(text.starts_with("tercet.toml, line 2: not valid TOML"), "{text}");
}

#[test]
fn a_missing_file_is_named() {
    let layers = Layers { file: Some("/nowhere/tercet.toml".into()), ..Layers::default() };
    assert!(load(&layers).unwrap_err().to_string().contains("cannot read /nowhere/tercet.toml"));
}

#[test]
fn listening_everywhere_needs_an_address_to_advertise() {
    let text = errors("[listen]\nclient = \"0.0.0.0:8081\"\n");
    assert!(text.contains("advertise.client: must be set, because listen.client = \"0.0.0.0:8081\""), "{text}");
    let (_dir, layers) = file("[listen]\nclient = \"0.0.0.0:8081\"\n[advertise]\nclient = \"broker1:8081\"\n");
    assert_eq!(load(&layers).unwrap().advertise.client.to_string(), "broker1:8081");
}

#[test]
fn contradictions_between_settings_are_refused() {
    for (text, told) in [
        ("[election]\ntimeout_min = \"299ms\"\n", "three times election.heartbeat_interval"),
        ("[election]\ntimeout_max = \"300ms\"\n", "greater than election.timeout_min"),
        ("[listen]\nhttp = \"127.0.0.1:8081\"\n", "must differ"),
        ("[nameserver]\nhttp = \"127.0.0.1:9876\"\n", "must differ"),
        ("[cluster]\nvoters = [\"1=a:1\", \"1=b:1\"]\n", "each node id and each address once"),
        ("[cluster]\nvoters = [\"1\"]\n", "`1` is not id=host:port"),
        ("[tls]\ncert_file = \"a.pem\"\n", "tls.key_file: must be set"),
        ("[tls]\nclient_ca_file = \"a.pem\"\n", "tls.cert_file: must be set, because client_ca_file is"),
        ("[listen]\npeer = \"localhost\"\n", "listen.peer: `localhost` is not an IP address and port"),
    ] {
        assert!(errors(text).contains(told), "{text} gave {}", errors(text));
    }
}
