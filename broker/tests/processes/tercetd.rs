//! A `tercetd` that runs.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Generous: only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Tercetd {
    pub(crate) child: Child,
    pub(crate) http: SocketAddr,
    /// Where gRPC is.
    pub(crate) grpc: SocketAddr,
    _dir: tempfile::TempDir,
}

/// What is to run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    Nameserver,
    Broker,
}

pub(crate) const VERBS: [Verb; 2] = [Verb::Nameserver, Verb::Broker];

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Tercetd {
    /// Starts it with more arguments, with this standard error, and waits until it answers.
    pub(crate) fn start(verb: Verb, more: &[&str], stderr: impl Into<Stdio>) -> Tercetd {
        let mut tercetd = Tercetd::spawn(verb, more, stderr, "");
        tercetd.wait_until_alive();
        tercetd
    }

    /// The same by a shell that says this first, without waiting.
    pub(crate) fn spawn(verb: Verb, more: &[&str], stderr: impl Into<Stdio>, first: &str) -> Tercetd {
        let (dir, grpc, http, peer) = (tempfile::tempdir().unwrap(), free(), free(), free());
        let data = dir.path().join("data");
        let mut settings = match verb {
            Verb::Nameserver => vec![format!("nameserver.listen={grpc}"), format!("nameserver.http={http}")],
            Verb::Broker => vec![
                format!("listen.client={grpc}"),
                format!("listen.http={http}"),
                format!("listen.peer={peer}"),
                format!("node.data_dir={}", data.display()),
                "storage.segment_bytes_max=16MiB".to_owned(),
            ],
        };
        settings.extend(more.iter().map(ToString::to_string));
        let verb = match verb {
            Verb::Nameserver => "nameserver",
            Verb::Broker => "broker",
        };
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{first} exec \"$0\" \"$@\"")).arg(env!("CARGO_BIN_EXE_tercetd")).arg(verb);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Tercetd { child, http, grpc, _dir: dir }
    }

    pub(crate) fn wait_until_alive(&mut self) {
        let began = Instant::now();
        while !self.get("/healthz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            assert!(began.elapsed() < PATIENCE, "it never came up");
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A whole answer of the HTTP port.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.http).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        (!answer.is_empty()).then_some(answer)
    }

    /// The value of a metric whose line contains all of this.
    pub(crate) fn metric(&self, parts: &[&str]) -> f64 {
        let text = self.get("/metrics").unwrap();
        let line = text.lines().find(|line| parts.iter().all(|part| line.contains(part)) && !line.starts_with('#'));
        line.unwrap_or_else(|| panic!("no {parts:?} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to stop; its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.ended().code()
    }
}

impl Drop for Tercetd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
