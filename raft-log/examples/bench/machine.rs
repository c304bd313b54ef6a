//! A state machine that does nothing but follow the log and let go of it when told.

use std::path::Path;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft_log::types::LogIndex;
use raft_log::{
    AppliedPoint, ApplyEntry, ApplyError, ApplyKind, FinishCheckpoint, FinishFlush, FlushNeed, StateMachine,
};

/// What the command of retention begins with.
const TRIM: &[u8] = b"trim to ";

#[derive(Default)]
pub(crate) struct Nothing {
    applied: Option<AppliedPoint>,
    needed_from: LogIndex,
}

impl StateMachine for Nothing {
    fn applied(&self) -> Option<AppliedPoint> {
        self.applied.clone()
    }

    fn apply(&mut self, entries: Vec<ApplyEntry>) -> Result<Vec<Bytes>, ApplyError> {
        let count = entries.len();
        for entry in entries {
            let mut membership = self.applied.take().and_then(|point| point.membership);
            match entry.kind {
                ApplyKind::Membership(members) => membership = Some((entry.id, members.encode())),
                ApplyKind::Command(payload) => {
                    if let Some(mut to) = payload.strip_prefix(TRIM) {
                        self.needed_from = self.needed_from.max(LogIndex(to.get_u64_le()));
                    }
                }
                ApplyKind::Blank => {}
            }
            self.applied = Some(AppliedPoint { id: entry.id, membership });
        }
        Ok(vec![Bytes::new(); count])
    }

    fn flush_need(&self) -> FlushNeed {
        FlushNeed::None
    }

    fn begin_flush(&mut self) -> Result<FinishFlush, ApplyError> {
        Ok(Box::new(|| Ok(())))
    }

    fn reset(&mut self) -> Result<(), ApplyError> {
        *self = Nothing::default();
        Ok(())
    }

    fn needed_from(&self) -> LogIndex {
        self.needed_from
    }

    fn trim_command(&self, to: LogIndex) -> Option<Bytes> {
        let mut command = BytesMut::from(TRIM);
        command.put_u64_le(to.0);
        Some(command.freeze())
    }

    fn begin_checkpoint(&mut self) -> Result<FinishCheckpoint, ApplyError> {
        let mut file = BytesMut::new();
        file.put_u64_le(self.needed_from.0);
        self.applied.as_ref().expect("something was applied").encode_into(&mut file);
        Ok(Box::new(move |dir| {
            std::fs::write(dir.join("nothing"), &file).map_err(|error| ApplyError::new(error.to_string()))
        }))
    }

    fn restore(&mut self, dir: &Path) -> Result<(), ApplyError> {
        let file = std::fs::read(dir.join("nothing")).map_err(|error| ApplyError::new(error.to_string()))?;
        let mut input = &file[..];
        self.needed_from = LogIndex(input.get_u64_le());
        self.applied = AppliedPoint::decode_from(&mut input);
        Ok(())
    }
}
