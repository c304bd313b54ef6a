//! The broker's side of discovery: says to every nameserver, independently of the others, that this node lives.

use std::{sync::Arc, time::Duration};

use tercet_proto::nameserver::v1::{RegisterRequest, name_server_client::NameServerClient};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::{Channel, Endpoint};

use super::{routes::Registration, wire};
use crate::config::{Discovery, HostPort};

/// A nameserver that does not answer in this time is tried again at the next heartbeat.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// A connection is asked this often whether it lives, so that one that was lost without a word is made anew.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Changes are announced at most this often.
const CHANGE_PAUSE: Duration = Duration::from_millis(100);

/// What the broker says of itself now; nothing before it belongs to a cluster.
pub type Announcement = Arc<dyn Fn() -> Option<Registration> + Send + Sync>;

/// Heartbeats to all nameservers until it is told to leave.
#[derive(Debug)]
pub struct Registrar {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Registrar {
    /// Starts one task per nameserver. A tick of `changed` (a new role, say) is announced before the interval is over.
    #[must_use]
    pub fn start(discovery: &Discovery, announcement: Announcement, changed: watch::Receiver<()>) -> Registrar {
        let registrar = Registrar { stop: CancellationToken::new(), tasks: TaskTracker::new() };
        for nameserver in &discovery.nameservers {
            let line = Line {
                nameserver: nameserver.clone(),
                client: connect(nameserver),
                interval: discovery.heartbeat_interval,
                announcement: Arc::clone(&announcement),
                changed: changed.clone(),
                reachable: None,
            };
            registrar.tasks.spawn(line.run(registrar.stop.clone()));
        }
        registrar.tasks.close();
        registrar
    }

    /// Tells every nameserver that this node goes, and ends. Waits no longer than for one answer.
    pub async fn leave(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// The channel connects when it is used, and again after it broke.
fn connect(nameserver: &HostPort) -> NameServerClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{nameserver}")).expect("a checked host and port make a URI");
    let endpoint = endpoint
        .connect_timeout(ANSWER_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(ANSWER_MAX)
        .keep_alive_while_idle(true);
    NameServerClient::new(endpoint.connect_lazy())
}

/// The way to one nameserver.
struct Line {
    nameserver: HostPort,
    client: NameServerClient<Channel>,
    interval: Duration,
    announcement: Announcement,
    changed: watch::Receiver<()>,
    /// What the last attempt showed, so that only changes are logged.
    reachable: Option<bool>,
}

impl Line {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            self.say(false).await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(self.interval) => {}
                Ok(()) = self.changed.changed() => sleep(CHANGE_PAUSE.min(self.interval)).await,
            }
        }
        self.say(true).await;
    }

    async fn say(&mut self, leaving: bool) {
        let Some(registration) = (self.announcement)() else { return };
        let request = wire::register_request(&registration, leaving);
        let outcome = self.send(request).await;
        let reachable = outcome.is_ok();
        if leaving {
            tracing::debug!(nameserver = %self.nameserver, ?outcome, "said that this node goes");
            return;
        }
        if self.reachable.replace(reachable) == Some(reachable) {
            return;
        }
        match outcome {
            Ok(()) => tracing::info!(nameserver = %self.nameserver, "registered"),
            Err(error) => tracing::warn!(nameserver = %self.nameserver, error, "cannot register; will go on trying"),
        }
    }

    async fn send(&mut self, request: RegisterRequest) -> Result<(), String> {
        match timeout(ANSWER_MAX, self.client.register(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err(format!("no answer within {} s", ANSWER_MAX.as_secs())),
        }
    }
}
