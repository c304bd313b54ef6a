//! The state machine as a whole: commands in, outcomes out.

mod backlog;
mod bounds;
mod create;
mod dead_letters;
mod delete;
mod durability;
mod fifo;
mod flush;
mod group_settings;
mod harness;
mod holders;
mod idempotence;
mod idle_groups;
mod model;
mod producers;
mod publish;
mod receive;
mod release;
mod settle;
mod start;
mod tails;
mod trim;
