//! What a panic does: it ends the process, in order and with a line in the log, on whatever thread or task it happened.
//!
//! A runtime catches the panic of a task and goes on without that task. What is left then answers probes, and perhaps
//! votes, while a part of it is missing; nobody knows which. Other nodes take over from one that is gone, and an init
//! system starts it again.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::PanicHookInfo,
    sync::LazyLock,
    time::Duration,
};

use tercet_output::Lines;
use tokio::sync::watch;

/// A process that hangs on its way out is ended after this time.
const WAY_OUT_MAX: Duration = Duration::from_secs(5);

static FIRST: LazyLock<watch::Sender<Option<String>>> = LazyLock::new(|| watch::Sender::new(None));

/// From now on panics are logged, never printed by a lock that others wait for, and make [`panicked`] return.
pub(crate) fn heed_panics(lines: Lines) {
    std::panic::set_hook(Box::new(move |panic| heed(panic, &lines)));
}

/// Returns after the first panic of this process, with its words.
pub(crate) async fn panicked() -> String {
    let mut first = FIRST.subscribe();
    let words = first.wait_for(Option::is_some).await.expect("the sender lives as long as the process").clone();
    words.expect("waited for it")
}

fn heed(panic: &PanicHookInfo<'_>, lines: &Lines) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let words = format!("panic on thread {name} at {place}: {}", panic.payload_as_str().unwrap_or("no message"));
    let trace = Backtrace::capture();
    match trace.status() {
        BacktraceStatus::Captured => tracing::error!("{words}\n{trace}"),
        _ => tracing::error!("{words}; RUST_BACKTRACE=1 shows from where"),
    }
    let mut is_first = false;
    FIRST.send_if_modified(|first| {
        is_first = first.is_none();
        first.get_or_insert(words);
        is_first
    });
    if is_first {
        let lines = lines.clone();
        // Without a thread there is no last resort, and the way out is the usual one.
        drop(std::thread::Builder::new().name("way-out".to_owned()).spawn(move || {
            std::thread::sleep(WAY_OUT_MAX);
            lines.flush(Duration::from_secs(1));
            std::process::abort();
        }));
    }
}
