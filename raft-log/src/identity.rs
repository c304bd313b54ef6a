//! Who a data folder belongs to: the file `identity`.
//!
//! Made once, when the folder is empty, with a random incarnation that never changes: a folder that was wiped and made
//! anew is told from the one that voted (hazards 2). Bootstrapping writes its claim here before the first entry exists
//! (hazards 27), and the first entry or vote is announced here before it is written, so that a folder whose log was
//! deleted is not taken for a new one.
//!
//! The body of the sealed file, little-endian:
//! ```text
//!   node u64 │ group u32 │ incarnation u128 │ used u8 │ claimed u8 │ if claimed: cluster u128, length u32, membership
//!   since version 2: has the cluster's secret u8 │ secret 32 │ has offered one u8 │ secret 32
//! ```
//! The secret of the cluster is here if no file gave it: it came with the claim. One that is offered was made here, for the
//! group that this node is about to form.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::env::Env;
use crate::exec::sync;
use crate::secret::{PeerSecret, SECRET_BYTES};
use crate::storage::sealed_file::{self, SealedFormat};
use crate::types::{ClusterId, GroupId, Incarnation, NodeId};

const FORMAT: SealedFormat = SealedFormat { magic: *b"TRCTNODE", version: 2 };
const FILE_NAME: &str = "identity";
const UNBROKEN: &str = "no holder of this lock panics";

/// Why a data folder is not this node's. A retry cannot help; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The folder is another node's.
    #[error("{file} belongs to node {found}, not to node {expected}", file = .file.display())]
    OtherNode {
        /// The identity file.
        file: PathBuf,
        /// The node that this one was started as.
        expected: NodeId,
        /// The node in the file.
        found: NodeId,
    },
    /// The folder belongs to another group.
    #[error("{file} belongs to group {found}, not to group {expected}", file = .file.display())]
    OtherGroup {
        /// The identity file.
        file: PathBuf,
        /// The group that this node was started for.
        expected: GroupId,
        /// The group in the file.
        found: GroupId,
    },
    /// The folder holds a log, but nothing says whose.
    #[error("{file} is missing, but the folder holds a log; restore it, or join under a fresh node id", file = .file.display())]
    Missing {
        /// The identity file.
        file: PathBuf,
    },
    /// The folder has taken part in a group, and its log and votes are gone: it must not vote again (hazards 2).
    #[error("{file} says that this node has voted or stored entries, but its log is gone; join under a fresh node id", file = .file.display())]
    LogLost {
        /// The identity file.
        file: PathBuf,
    },
    /// The file is damaged or of a newer format.
    #[error("{0}{remedy}", remedy = .0.remedy())]
    File(#[from] crate::storage::OpenError),
    /// The file could not be written.
    #[error("writing {file} failed: {source}", file = .file.display())]
    Write {
        /// The identity file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What a bootstrap has reserved an empty node for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) cluster: ClusterId,
    /// The encoded membership that the group starts with.
    pub(crate) membership: Bytes,
    /// The cluster's secret, unless a file gives it.
    pub(crate) secret: Option<PeerSecret>,
}

impl Claim {
    /// Whether both are for the same group, whatever is known of its secret.
    pub(crate) fn same_group(&self, other: &Claim) -> bool {
        self.cluster == other.cluster && self.membership == other.membership
    }
}

/// Why a node was not claimed.
#[derive(Debug)]
pub(crate) enum ClaimError {
    /// It is claimed for something else.
    Claimed(ClusterId),
    /// It has voted or stored entries.
    Used,
    /// The file could not be written.
    Write(std::io::Error),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    node_id: NodeId,
    group: GroupId,
    incarnation: Incarnation,
    used: bool,
    claim: Option<Claim>,
    offered: Option<PeerSecret>,
}

/// The identity of an open data folder. What never changes is plain; claim and use are guarded.
pub(crate) struct Identity {
    pub(crate) node_id: NodeId,
    pub(crate) group: GroupId,
    pub(crate) incarnation: Incarnation,
    env: Env,
    file: PathBuf,
    /// Held while they change; whoever reads them never waits for a disk.
    changing: sync::Mutex<()>,
    fields: Mutex<Fields>,
}

impl Identity {
    /// Checks the folder before anything in it is touched.
    ///
    /// # Errors
    /// When there is an identity, and it is another's or unreadable.
    pub(crate) fn check(env: &Env, dir: &Path, node_id: NodeId, group: GroupId) -> Result<(), IdentityError> {
        read(env, &dir.join(FILE_NAME), node_id, group).map(|_| ())
    }

    /// Opens the folder's identity, or makes it in a folder whose log is empty. The caller holds the folder's lock.
    pub(crate) fn open(
        env: &Env,
        dir: &Path,
        node_id: NodeId,
        group: GroupId,
        log_is_empty: bool,
    ) -> Result<Identity, IdentityError> {
        let file = dir.join(FILE_NAME);
        let damaged_copy = sealed_file::fault(env, &file, FORMAT)?;
        let fields = match read(env, &file, node_id, group)? {
            Some(fields) if fields.used && log_is_empty => return Err(IdentityError::LogLost { file }),
            Some(fields) => fields,
            None if !log_is_empty => return Err(IdentityError::Missing { file }),
            None => {
                let incarnation = Incarnation(env.rng.next_u128());
                let fields = Fields { node_id, group, incarnation, used: false, claim: None, offered: None };
                write(env, &file, &fields).map_err(|source| IdentityError::Write { file: file.clone(), source })?;
                fields
            }
        };
        if let Some(fault) = damaged_copy {
            tracing::warn!(file = %file.display(), %fault, "it is written anew");
            write(env, &file, &fields).map_err(|source| IdentityError::Write { file: file.clone(), source })?;
        }
        let incarnation = fields.incarnation;
        Ok(Identity {
            node_id,
            group,
            incarnation,
            env: env.clone(),
            file,
            changing: sync::Mutex::default(),
            fields: Mutex::new(fields),
        })
    }

    /// The cluster that this folder belongs to, once claimed.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.fields().claim.as_ref().map(|claim| claim.cluster)
    }

    pub(crate) fn claim(&self) -> Option<Claim> {
        self.fields().claim.clone()
    }

    /// The secret that this node has made for the group that it is to form.
    pub(crate) fn offered(&self) -> Option<PeerSecret> {
        self.fields().offered.clone()
    }

    /// The secret for the group that this node is to form: made once, and noted before anybody else gets it.
    pub(crate) fn offer(&self) -> std::io::Result<PeerSecret> {
        let _changing = self.changing.lock().expect(UNBROKEN);
        let fields = self.fields().clone();
        if let Some(offered) = fields.offered {
            return Ok(offered);
        }
        let secret = PeerSecret::generate(&*self.env.rng);
        let offering = Fields { offered: Some(secret.clone()), ..fields };
        write(&self.env, &self.file, &offering)?;
        *self.fields() = offering;
        Ok(secret)
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    /// Whether this folder may hold entries or votes.
    pub(crate) fn is_used(&self) -> bool {
        self.fields().used
    }

    /// Claims this empty folder, durably. Repeating the same claim is fine.
    pub(crate) fn set_claim(&self, claim: Claim) -> Result<(), ClaimError> {
        let _changing = self.changing.lock().expect(UNBROKEN);
        let fields = self.fields().clone();
        match &fields.claim {
            Some(held) if *held == claim => return Ok(()),
            Some(held) => return Err(ClaimError::Claimed(held.cluster)),
            None if fields.used => return Err(ClaimError::Used),
            None => {}
        }
        let claimed = Fields { claim: Some(claim), ..fields };
        write(&self.env, &self.file, &claimed).map_err(ClaimError::Write)?;
        *self.fields() = claimed;
        Ok(())
    }

    /// Notes, durably, that entries or votes are about to be written.
    pub(crate) fn mark_used(&self) -> std::io::Result<()> {
        let _changing = self.changing.lock().expect(UNBROKEN);
        let fields = self.fields().clone();
        if fields.used {
            return Ok(());
        }
        let used = Fields { used: true, ..fields };
        write(&self.env, &self.file, &used)?;
        *self.fields() = used;
        Ok(())
    }

    fn fields(&self) -> MutexGuard<'_, Fields> {
        self.fields.lock().expect(UNBROKEN)
    }
}

/// Who a folder says it belongs to, for tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) node: NodeId,
    pub(crate) group: GroupId,
    pub(crate) incarnation: Incarnation,
    pub(crate) cluster: Option<ClusterId>,
}

/// The owner of `dir`, if it has an identity; whoever that is.
pub(crate) fn owner(env: &Env, dir: &Path) -> Result<Option<Owner>, crate::storage::OpenError> {
    Ok(read_any(env, &dir.join(FILE_NAME))?.map(|fields| Owner {
        node: fields.node_id,
        group: fields.group,
        incarnation: fields.incarnation,
        cluster: fields.claim.map(|claim| claim.cluster),
    }))
}

/// Where the identity of `dir` lies.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

/// What is wrong with one of the copies of `dir`'s identity, if anything is.
pub(crate) fn fault(env: &Env, dir: &Path) -> Result<Option<String>, crate::storage::OpenError> {
    sealed_file::fault(env, &dir.join(FILE_NAME), FORMAT)
}

fn read_any(env: &Env, file: &Path) -> Result<Option<Fields>, crate::storage::OpenError> {
    let Some((version, body)) = sealed_file::read(env, file, FORMAT)? else {
        return Ok(None);
    };
    let damaged = |error: Box<dyn std::error::Error>| crate::storage::OpenError::Damaged {
        file: file.to_owned(),
        reason: error.to_string(),
    };
    decode(version, &body).map(Some).map_err(damaged)
}

fn read(env: &Env, file: &Path, node_id: NodeId, group: GroupId) -> Result<Option<Fields>, IdentityError> {
    let Some(fields) = read_any(env, file)? else {
        return Ok(None);
    };
    let file = file.to_owned();
    if fields.node_id != node_id {
        return Err(IdentityError::OtherNode { file, expected: node_id, found: fields.node_id });
    }
    if fields.group != group {
        return Err(IdentityError::OtherGroup { file, expected: group, found: fields.group });
    }
    Ok(Some(fields))
}

fn write(env: &Env, file: &Path, fields: &Fields) -> std::io::Result<()> {
    sealed_file::write(env, file, FORMAT, &encode(fields))
}

fn encode(fields: &Fields) -> BytesMut {
    let mut out = BytesMut::with_capacity(64);
    out.put_u64_le(fields.node_id.0);
    out.put_u32_le(fields.group.0);
    out.put_u128_le(fields.incarnation.0);
    out.put_u8(u8::from(fields.used));
    out.put_u8(u8::from(fields.claim.is_some()));
    if let Some(claim) = &fields.claim {
        out.put_u128_le(claim.cluster.0);
        out.put_u32_le(u32::try_from(claim.membership.len()).expect("a membership is far below 4 GiB"));
        out.put_slice(&claim.membership);
    }
    put_secret(&mut out, fields.claim.as_ref().and_then(|claim| claim.secret.as_ref()));
    put_secret(&mut out, fields.offered.as_ref());
    out
}

fn put_secret(out: &mut BytesMut, secret: Option<&PeerSecret>) {
    out.put_u8(u8::from(secret.is_some()));
    out.put_slice(secret.map_or(&[0; SECRET_BYTES][..], PeerSecret::bytes));
}

fn take_secret(input: &mut &[u8]) -> Result<Option<PeerSecret>, bytes::TryGetError> {
    let is_there = input.try_get_u8()? != 0;
    let mut bytes = [0; SECRET_BYTES];
    input.try_copy_to_slice(&mut bytes)?;
    Ok(is_there.then(|| PeerSecret::from_bytes(bytes)))
}

fn decode(version: u32, mut body: &[u8]) -> Result<Fields, Box<dyn std::error::Error>> {
    let input = &mut body;
    let node_id = NodeId(input.try_get_u64_le()?);
    let group = GroupId(input.try_get_u32_le()?);
    let incarnation = Incarnation(input.try_get_u128_le()?);
    let used = input.try_get_u8()? != 0;
    let mut claim = match input.try_get_u8()? {
        0 => None,
        _ => {
            let cluster = ClusterId(input.try_get_u128_le()?);
            let length = usize::try_from(input.try_get_u32_le()?)?;
            let (membership, rest) = input.split_at_checked(length).ok_or("the claimed membership is cut")?;
            *input = rest;
            Some(Claim { cluster, membership: Bytes::copy_from_slice(membership), secret: None })
        }
    };
    let mut offered = None;
    if version >= 2 {
        let secret = take_secret(input)?;
        if let Some(claim) = &mut claim {
            claim.secret = secret;
        }
        offered = take_secret(input)?;
    }
    if !input.is_empty() {
        return Err(format!("{} bytes too many", input.len()).into());
    }
    Ok(Fields { node_id, group, incarnation, used, claim, offered })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);
    const GROUP: GroupId = GroupId(7);

    fn open(dir: &Path, log_is_empty: bool) -> Result<Identity, IdentityError> {
        Identity::open(&Env::real(), dir, NODE, GROUP, log_is_empty)
    }

    fn claim(cluster: u128) -> Claim {
        let secret = cluster.is_multiple_of(2).then(|| PeerSecret::from_bytes([3; SECRET_BYTES]));
        Claim { cluster: ClusterId(cluster), membership: Bytes::from_static(b"members"), secret }
    }

    #[test]
    fn an_identity_keeps_its_incarnation_and_claim() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), true).unwrap();
        first.set_claim(claim(5)).unwrap();
        first.mark_used().unwrap();
        let again = open(dir.path(), false).unwrap();
        assert_eq!(again.incarnation, first.incarnation);
        assert_eq!(again.claim(), Some(claim(5)));
        assert!(again.is_used());
    }

    #[test]
    fn the_clusters_secret_and_an_offered_one_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), true).unwrap();
        let offered = first.offer().unwrap();
        assert_eq!(first.offer().unwrap(), offered, "it is made once");
        first.set_claim(claim(4)).unwrap();
        let again = open(dir.path(), true).unwrap();
        assert_eq!((again.claim(), again.offered()), (Some(claim(4)), Some(offered)));
    }

    #[test]
    fn an_identity_of_the_first_version_opens() {
        // hazards 30: written by the first program, never again
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), include_bytes!("../tests/fixtures/v1/identity")).unwrap();
        let identity = open(dir.path(), false).unwrap();
        assert_eq!((identity.claim(), identity.is_used()), (Some(claim(5)), true));
        assert_eq!(identity.incarnation, Incarnation(0x1234_5678_9abc_def0));
    }

    #[test]
    fn two_folders_have_two_incarnations() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_ne!(open(one.path(), true).unwrap().incarnation, open(two.path(), true).unwrap().incarnation);
    }

    #[test]
    fn a_folder_of_another_node_or_group_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), true).unwrap();
        let other = Identity::open(&Env::real(), dir.path(), NodeId(2), GROUP, true);
        assert!(matches!(other, Err(IdentityError::OtherNode { found: NODE, .. })));
        let other = Identity::open(&Env::real(), dir.path(), NODE, GroupId(8), true);
        assert!(matches!(other, Err(IdentityError::OtherGroup { found: GROUP, .. })));
    }

    // Hazards 2: what has voted never comes back with an empty log, nor does a log without a name.
    #[test]
    fn a_lost_log_and_a_lost_identity_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), true).unwrap().mark_used().unwrap();
        assert!(matches!(open(dir.path(), true), Err(IdentityError::LogLost { .. })));
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(open(dir.path(), false), Err(IdentityError::Missing { .. })));
    }

    // Hazards 27: a claim may be repeated, never replaced, and a used folder is not claimed.
    #[test]
    fn a_claim_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let identity = open(dir.path(), true).unwrap();
        identity.set_claim(claim(5)).unwrap();
        identity.set_claim(claim(5)).unwrap();
        assert!(matches!(identity.set_claim(claim(6)), Err(ClaimError::Claimed(ClusterId(5)))));
        let dir = tempfile::tempdir().unwrap();
        let identity = open(dir.path(), true).unwrap();
        identity.mark_used().unwrap();
        assert!(matches!(identity.set_claim(claim(5)), Err(ClaimError::Used)));
    }
}
