//! The handshake as both ends go through it; what is said is in [`challenge`](crate::raft::wire::challenge) and
//! [`handshake`](crate::raft::wire::handshake).

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::raft::wire::WireError;
use crate::raft::wire::challenge::{
    self, CALLER, CHALLENGE_BYTES, Challenge, KNOCK_BYTES, PROOF_BYTES, WELCOME, proven, with_proof,
};
use crate::raft::wire::handshake::{HELLO_BYTES, Hello, WELCOME_BYTES, Welcome};
use crate::secret::{Key, SECRET_BYTES};

/// A caller that has not introduced itself by then is dropped.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the two ends do not know each other.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GreetError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Turned away before anything was proved.
    #[error("it speaks another version of the peer protocol")]
    Version,
    /// The other end does not hold this node's secret.
    #[error("it holds another peer secret than this node")]
    OtherSecret,
    /// The other end holds a secret, and this node has none to prove itself with.
    #[error("it holds a peer secret, and this node has none: give this one the same peer.secret_file")]
    NoSecretHere,
    /// This node was given a secret, and the other end has none.
    #[error("it has no peer secret, and this node does not talk without: give that one the same peer.secret_file")]
    NoSecretThere,
}

/// The caller's part: proves itself and introduces itself with the words for an end of this kind.
///
/// `choose` picks the key, and the words said with it, once it is known whether the callee has a secret.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    nonce: &[u8; SECRET_BYTES],
    choose: impl FnOnce(bool) -> Result<(Key, Hello), GreetError>,
) -> Result<Welcome, GreetError> {
    let knock = challenge::encode_knock(nonce);
    stream.write_all(&knock).await?;
    let mut challenge = [0; CHALLENGE_BYTES];
    stream.read_exact(&mut challenge).await?;
    let has_key = match challenge::decode_challenge(&challenge)? {
        Challenge::Asked { has_key } => has_key,
        Challenge::OtherVersion => return Err(GreetError::Version),
    };
    let (key, hello) = choose(has_key)?;
    if !challenge::is_proven(&key, &knock, &challenge) {
        return Err(GreetError::OtherSecret);
    }
    let hello = with_proof(&key, CALLER, &[&knock, &challenge], hello.encode());
    stream.write_all(&hello).await?;
    let mut bytes = [0; WELCOME_BYTES + PROOF_BYTES];
    stream.read_exact(&mut bytes).await?;
    let words = proven(&key, WELCOME, &[&knock, &challenge, &hello], &bytes).ok_or(GreetError::OtherSecret)?;
    Ok(Welcome::decode(words.first_chunk().expect("it has this size"))?)
}

/// A caller that has proved itself and waits for its welcome.
pub(crate) struct Caller {
    pub(crate) hello: Hello,
    key: Key,
    knock: [u8; KNOCK_BYTES],
    challenge: [u8; CHALLENGE_BYTES],
    words: BytesMut,
}

/// The callee's part, up to the caller's introduction. A caller that proves nothing hears nothing.
pub(crate) async fn hear<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    key: Key,
    nonce: &[u8; SECRET_BYTES],
) -> Result<Caller, GreetError> {
    let mut knock = [0; KNOCK_BYTES];
    stream.read_exact(&mut knock).await?;
    if !challenge::check_knock(&knock)? {
        stream.write_all(&challenge::encode_other_version()).await?;
        return Err(GreetError::Version);
    }
    let challenge = challenge::encode_challenge(&key, nonce, &knock);
    stream.write_all(&challenge).await?;
    let mut words = BytesMut::zeroed(HELLO_BYTES + PROOF_BYTES);
    stream.read_exact(&mut words).await?;
    let hello = proven(&key, CALLER, &[&knock, &challenge], &words).ok_or(GreetError::OtherSecret)?;
    let hello = Hello::decode(hello.first_chunk().expect("it has this size"))?;
    Ok(Caller { hello, key, knock, challenge, words })
}

impl Caller {
    /// Answers the introduction.
    pub(crate) async fn welcome(&self, stream: &mut (impl AsyncWrite + Unpin), welcome: &Welcome) -> io::Result<()> {
        let said: [&[u8]; 3] = [&self.knock, &self.challenge, &self.words];
        stream.write_all(&with_proof(&self.key, WELCOME, &said, welcome.encode())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::sightings::Past;
    use crate::raft::wire::handshake::{Party, Purpose};
    use crate::secret::PeerSecret;
    use crate::types::{GroupId, Incarnation, NodeId};

    fn key(byte: u8) -> Key {
        Key::Shared(PeerSecret::from_bytes([byte; SECRET_BYTES]))
    }

    fn party(node: u64) -> Party {
        Party { node: NodeId(node), incarnation: Incarnation(7) }
    }

    fn hello() -> Hello {
        let (from, to, past) = (party(1), party(2), Past::default());
        Hello { purpose: Purpose::Call, cluster: None, group: GroupId(3), from, to, past }
    }

    fn welcome() -> Welcome {
        Welcome { refusal: None, cluster: None, group: GroupId(3), party: party(2), past: Past::default() }
    }

    /// Both ends of a handshake, with these keys; the callee's error or the caller's result.
    async fn meet(caller: Key, callee: Key) -> (Result<Welcome, GreetError>, Result<Hello, GreetError>) {
        let (mut near, mut far) = tokio::io::duplex(4096);
        let calling = async {
            let greeted = greet(&mut near, &[1; SECRET_BYTES], |_| Ok((caller, hello()))).await;
            drop(near);
            greeted
        };
        let answering = async {
            let heard = hear(&mut far, callee, &[2; SECRET_BYTES]).await?;
            heard.welcome(&mut far, &welcome()).await?;
            Ok(heard.hello)
        };
        tokio::join!(calling, answering)
    }

    #[tokio::test]
    async fn two_that_hold_the_secret_know_each_other() {
        for key in [key(1), Key::Open] {
            let (greeted, heard) = meet(key.clone(), key).await;
            assert_eq!((greeted.unwrap(), heard.unwrap()), (welcome(), hello()));
        }
    }

    // C1: a stranger was told cluster and incarnation, which was all that he needed.
    #[tokio::test]
    async fn a_caller_without_the_secret_learns_nothing_and_says_nothing() {
        for (caller, callee) in [(key(1), key(2)), (Key::Open, key(2)), (key(1), Key::Open)] {
            let (greeted, heard) = meet(caller, callee).await;
            assert!(matches!(greeted, Err(GreetError::OtherSecret)), "{greeted:?}");
            assert!(
                matches!(heard, Err(GreetError::Io(_))),
                "the caller leaves before it introduces itself: {heard:?}"
            );
        }
    }

    // One who goes on although the callee has not proved itself, with the right words and a wrong proof.
    #[tokio::test]
    async fn an_introduction_without_proof_is_not_answered() {
        let (mut near, mut far) = tokio::io::duplex(4096);
        let answering = tokio::spawn(async move { hear(&mut far, key(2), &[2; SECRET_BYTES]).await.map(|_| ()) });
        near.write_all(&challenge::encode_knock(&[1; SECRET_BYTES])).await.unwrap();
        near.read_exact(&mut [0; CHALLENGE_BYTES]).await.unwrap();
        let mut words = hello().encode();
        words.extend_from_slice(&[0; PROOF_BYTES]);
        near.write_all(&words).await.unwrap();
        assert!(matches!(answering.await.unwrap(), Err(GreetError::OtherSecret)));
        assert!(near.read_u8().await.is_err(), "not a byte");
    }

    // One who lets everything pass between the two but the welcome, which says who answers.
    #[tokio::test]
    async fn a_welcome_without_proof_is_not_taken() {
        let (mut near, mut far) = tokio::io::duplex(4096);
        let answering = async {
            let heard = hear(&mut far, key(1), &[2; SECRET_BYTES]).await.unwrap();
            let forging = Caller { key: key(2), ..heard };
            forging.welcome(&mut far, &welcome()).await.unwrap();
        };
        let calling = greet(&mut near, &[1; SECRET_BYTES], |_| Ok((key(1), hello())));
        let (greeted, ()) = tokio::join!(calling, answering);
        assert!(matches!(greeted, Err(GreetError::OtherSecret)), "{greeted:?}");
    }

    #[tokio::test]
    async fn a_caller_of_another_version_hears_so_and_nothing_else() {
        let (mut near, mut far) = tokio::io::duplex(4096);
        let calling = async move {
            let mut knock = challenge::encode_knock(&[1; SECRET_BYTES]);
            knock[8] ^= 1;
            near.write_all(&knock).await.unwrap();
            let mut answer = [0; CHALLENGE_BYTES];
            near.read_exact(&mut answer).await.unwrap();
            answer
        };
        let (answer, heard) = tokio::join!(calling, hear(&mut far, key(1), &[2; SECRET_BYTES]));
        assert_eq!(challenge::decode_challenge(&answer).unwrap(), Challenge::OtherVersion);
        assert!(matches!(heard, Err(GreetError::Version)));
    }
}
