//! The walk of README.md, word by word, and every example of the Rust client, against a real group.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use jepsen_tests::{binaries, cluster::Cluster};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

use crate::shared;

const LIMIT: Duration = Duration::from_secs(120);
/// Where README says that the development cluster is.
const ENDPOINT: &str = "127.0.0.1:8081";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The code blocks of README that begin with this.
fn blocks(fence: &str) -> Vec<String> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut blocks = Vec::new();
    let mut rest = readme.as_str();
    while let Some((_, from)) = rest.split_once(&format!("\n```{fence}\n")) {
        let (block, after) = from.split_once("\n```").unwrap();
        blocks.push(block.to_owned());
        rest = after;
    }
    blocks
}

/// A folder like the one in which a user walks: the development cluster lies beside.
struct Walker {
    folder: tempfile::TempDir,
    endpoint: String,
}

impl Walker {
    fn beside(cluster: &Cluster) -> Walker {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(cluster.folder(), folder.path().join("tercet-dev")).unwrap();
        Walker { folder, endpoint: cluster.endpoint().to_owned() }
    }

    fn command(&self, program: impl Into<OsString>) -> Command {
        let bin = binaries::tercet().unwrap().parent().unwrap().to_owned();
        let others = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&others))).unwrap();
        let mut command = Command::new(program.into());
        command.current_dir(self.folder.path()).env("PATH", path).env("XDG_CONFIG_HOME", self.folder.path());
        command.env("TERCET_ENDPOINT", &self.endpoint).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn run(&self, mut command: Command) -> String {
        let output: Output = timeout(LIMIT, command.output()).await.expect("it ends").unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{}\n{out}{err}", output.status);
        out
    }
}

fn example(name: &str) -> PathBuf {
    binaries::tercet().unwrap().with_file_name("examples").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_readme_walks_through_works_word_by_word_and_every_example_runs() {
    let _turn = shared::turn().await;
    let cluster = Cluster::start().await.unwrap();
    let walker = Walker::beside(&cluster);
    let mut written = String::new();
    let walk = blocks("sh walk");
    assert!(!walk.is_empty(), "README has a walk");
    for block in walk {
        let mut bash = walker.command("bash");
        // The context says where the group is.
        bash.env_remove("TERCET_ENDPOINT").args(["-euo", "pipefail", "-c", &block.replace(ENDPOINT, &walker.endpoint)]);
        written.push_str(&walker.run(bash).await);
    }
    for told in ["topic orders made", "\"body\":\"hello\"", "leader"] {
        assert!(written.contains(told), "{told} is not in:\n{written}");
    }

    let program = fs::read_to_string(root().join("client/examples/secure.rs")).unwrap();
    let (_, program) = program.split_once("\n\n").unwrap();
    assert_eq!(blocks("rust walk"), [program.trim_end()], "README shows the example");
    let mut secure = walker.command(example("secure")).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(secure.stdout.take().unwrap()).lines();
    let line = timeout(LIMIT, lines.next_line()).await.expect("a message in time").unwrap();
    assert_eq!(line.as_deref(), Some("for the program"));
    let pid = rustix::process::Pid::from_raw(secure.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(timeout(LIMIT, secure.wait()).await.expect("it ends").unwrap().success());

    let mut examples: Vec<String> = fs::read_dir(root().join("client/examples"))
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "secure")
        .collect();
    examples.sort();
    assert!(examples.len() >= 6, "{examples:?}");
    for name in examples {
        let out = walker.run(walker.command(example(&name))).await;
        assert!(!out.is_empty(), "{name} says what it did");
    }
}
