//! A panic anywhere in a simulated node is a broken invariant; tasks would swallow it.

use std::cell::RefCell;
use std::sync::Once;

/// Assertions that fail without anything being wrong, by a part of what they say. openraft's checks run here, those of its
/// releases do not.
const HARMLESS: [&str; 1] = [
    // The replication of a leader that was deposed, and whose log was cut meanwhile, finds an end before its beginning. It
    // would go on with a heartbeat under a vote that nobody takes any more; the task ends instead.
    "read_log_entries received reversed range",
];

thread_local! {
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes panics of this process's threads instead of printing them.
pub fn catch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            if std::env::var_os("SIM_BACKTRACE").is_some() {
                eprintln!("{info}\n{}", std::backtrace::Backtrace::force_capture());
            }
            let what = info.to_string();
            if !HARMLESS.iter().any(|harmless| what.contains(harmless)) {
                FIRST.with_borrow_mut(|first| {
                    first.get_or_insert(what);
                });
            }
        }));
    });
}

/// The first panic on this thread since the last call.
#[must_use]
pub fn take() -> Option<String> {
    FIRST.take()
}
