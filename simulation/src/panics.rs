//! A panic anywhere in a simulated node is a broken invariant; tasks would swallow it.

use std::cell::RefCell;
use std::sync::Once;

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
            FIRST.with_borrow_mut(|first| {
                first.get_or_insert_with(|| info.to_string());
            });
        }));
    });
}

/// The first panic on this thread since the last call.
#[must_use]
pub fn take() -> Option<String> {
    FIRST.take()
}
