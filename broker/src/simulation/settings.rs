//! What a seed decides before anything runs.

use super::dice::Dice;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) replicas: usize,
    pub(super) steps: u64,
    /// Bytes of log that retention leaves.
    pub(super) log_bytes_max: u64,
    /// Faults, in a thousand steps.
    pub(super) faults: u64,
    /// Whether the operator deletes and changes things.
    pub(super) deletes: bool,
    /// Whether a group gives the order up now and then.
    pub(super) reorders: bool,
    /// Whether ticks and sweeps do very little.
    pub(super) small_ticks: bool,
    /// Whether the leader's disk is too full for what retention leaves.
    pub(super) disk_is_full: bool,
    /// How much of the time one replica gets nothing.
    pub(super) lags: bool,
    /// Messages against deliveries: how often a producer has its turn, in a hundred.
    pub(super) publishing: u64,
}

impl Settings {
    pub(super) fn of(dice: &mut Dice) -> Settings {
        let deletes = dice.percent(40);
        Settings {
            replicas: dice.of(&[3, 3, 3, 5]),
            steps: dice.between(2000, 8000),
            log_bytes_max: dice.of(&[2 << 10, 6 << 10, 16 << 10]),
            faults: dice.of(&[0, 3, 8, 15]),
            deletes,
            small_ticks: !deletes && dice.percent(60),
            disk_is_full: dice.percent(35),
            lags: dice.percent(50),
            publishing: dice.of(&[15, 30, 45]),
            reorders: dice.percent(30),
        }
    }
}
