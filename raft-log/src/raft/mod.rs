//! Ties openraft to the log, the state machine and the network.

pub(crate) mod log_store;
pub(crate) mod responder;
pub(crate) mod state_adapter;
pub(crate) mod state_worker;
pub(crate) mod type_config;
