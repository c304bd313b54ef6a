//! Schedules that a seed would hit by rare luck, driven step by step.
#![cfg(tercet_sim)]

mod bootstrap;
mod bridge;
mod group;
mod half_open;
mod names;
mod read_point;
mod resets;
mod slow;
