//! openraft's core with this crate's log, state machine and network.

use crate::raft::state_adapter::StateAdapter;
use crate::raft::type_config::TypeConfig;

pub(crate) type RaftCore = openraft::Raft<TypeConfig, StateAdapter>;
