//! Schedules that a seed would hit by rare luck, driven step by step.
#![cfg(tercet_sim)]

mod bridge;
mod group;
mod read_point;
