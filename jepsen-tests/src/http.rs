//! The HTTP port of a process on this machine: readiness and metrics, as a probe or a scraper sees them.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::failure::{Doing, Failure};

/// A process on this machine that takes longer to answer is as good as dead.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Asks for `path` at `address` (host:port): the status code and the body.
///
/// # Errors
/// If there is no answer in time, or it is no HTTP.
pub async fn get(address: &str, path: &str) -> Result<(u16, String), Failure> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map(|_| answer)
    };
    let what = || format!("http://{address}{path}");
    let answer = timeout(ANSWER_LIMIT, exchange).await.doing(what)?.doing(what)?;
    parse(&answer).ok_or_else(|| Failure(format!("{}: this is no answer: {answer}", what())))
}

/// The value of a metric without labels of its own at the node whose HTTP port is at `address`.
///
/// # Errors
/// If the node does not answer, or has no such metric.
pub async fn metric(address: &str, name: &str) -> Result<f64, Failure> {
    let (_, text) = get(address, "/metrics").await?;
    value_of(&text, name).ok_or_else(|| Failure(format!("{address} has no metric {name}")))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some((code, body.to_owned()))
}

fn value_of(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_code_and_a_body() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nno leader\n";
        assert_eq!(parse(answer), Some((503, "no leader\n".to_owned())));
        assert_eq!(parse("SSH-2.0-x\r\n"), None);
    }

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# HELP a_b c\na_b_total{node_id=\"1\"} 7\na_b{node_id=\"1\"} 3\n# EOF\n";
        assert_eq!(value_of(text, "a_b"), Some(3.0));
        assert_eq!(value_of(text, "a_b_total"), Some(7.0));
        assert_eq!(value_of(text, "a"), None);
    }
}
