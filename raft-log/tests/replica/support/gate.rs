//! A door in front of a node's peer port, which a test can shut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Gate {
    pub address: SocketAddr,
    open: watch::Sender<bool>,
    cutting: Arc<Cutting>,
}

/// After how many bytes towards the node each connection is cut; 0 for never.
#[derive(Default)]
struct Cutting {
    after: AtomicU64,
    cuts: AtomicU64,
}

impl Gate {
    /// Forwards to `target` while open.
    pub async fn before(target: SocketAddr) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, state) = watch::channel(true);
        let cutting = Arc::new(Cutting::default());
        let cut = cutting.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *state.borrow() {
                    tokio::spawn(forward(near, target, state.clone(), cut.clone()));
                }
            }
        });
        Gate { address, open, cutting }
    }

    /// Ends all connections and lets no new one through.
    pub fn shut(&self) {
        self.open.send(false).unwrap();
    }

    /// Cuts each connection that begins from now on after so many bytes towards the node; 0: none.
    pub fn cut_after(&self, bytes: u64) {
        self.cutting.after.store(bytes, Ordering::SeqCst);
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> u64 {
        self.cutting.cuts.load(Ordering::SeqCst)
    }

    pub fn open(&self) {
        self.open.send(true).unwrap();
    }
}

async fn forward(near: TcpStream, target: SocketAddr, mut state: watch::Receiver<bool>, cutting: Arc<Cutting>) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let ((from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
    let after = cutting.after.load(Ordering::SeqCst);
    let limit = if after == 0 { u64::MAX } else { after };
    let there = async {
        let copied = tokio::io::copy(&mut from_near.take(limit), &mut to_far).await;
        if copied.is_ok_and(|copied| copied == limit) {
            cutting.cuts.fetch_add(1, Ordering::SeqCst);
            return;
        }
        drop(to_far);
        std::future::pending().await
    };
    let back = async { drop(tokio::io::copy(&mut from_far, &mut to_near).await) };
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = state.wait_for(|open| !open) => {}
    }
}
