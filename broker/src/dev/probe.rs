//! Asks the processes over HTTP whether they live and whether they are ready.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::plan::Plan;

/// A process that does not answer in this time is not ready.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The answers are a line long.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// Whether every process answers at all.
pub(super) async fn all_alive(plan: &Plan) -> bool {
    for process in plan.processes() {
        if !matches!(get(&process.http, "/healthz").await, Ok((200, _))) {
            return false;
        }
    }
    true
}

/// Whether every process does its work; if not, who does not, and why.
pub(super) async fn all_ready(plan: &Plan) -> Result<(), String> {
    let mut missing = Vec::new();
    for process in plan.processes() {
        match get(&process.http, "/readyz").await {
            Ok((200, _)) => {}
            Ok((_, why)) => missing.push(format!("{}: {}", process.name(), why.trim())),
            Err(error) => missing.push(format!("{}: {error}", process.name())),
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
}

/// Status code and body.
async fn get(address: &str, path: &str) -> io::Result<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
        parse(&answer).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    };
    timeout(ANSWER_MAX, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some((code, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_answer_has_a_code_and_a_body() {
        assert_eq!(
            parse("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nno leader\n"),
            Some((503, "no leader\n".into()))
        );
        assert_eq!(parse("HTTP/1.1"), None);
    }
}
