//! A door in front of a node's peer port, which a test can shut.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Gate {
    pub address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Gate {
    /// Forwards to `target` while open.
    pub async fn before(target: SocketAddr) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *state.borrow() {
                    tokio::spawn(forward(near, target, state.clone()));
                }
            }
        });
        Gate { address, open }
    }

    /// Ends all connections and lets no new one through.
    pub fn shut(&self) {
        self.open.send(false).unwrap();
    }

    pub fn open(&self) {
        self.open.send(true).unwrap();
    }
}

async fn forward(mut near: TcpStream, target: SocketAddr, mut state: watch::Receiver<bool>) {
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        _ = state.wait_for(|open| !open) => {}
    }
}
