//! What is said again to one that has too much to do.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{publish::SubmitError, state::Outcome};

/// What is given back or set aside is said to an overloaded log for so long: what comes back late holds up what is behind it.
/// Most deliveries come back by themselves after that.
pub const GIVE_BACK_FOR: Duration = Duration::from_secs(30);

/// Tries until that can go no better, or until it is given up; what came of the last try counts. One is made in any case.
pub async fn retried<T, A: Future<Output = T>>(
    given_up: impl Future<Output = ()>,
    pause: Duration,
    may_go_better: impl Fn(&T) -> bool,
    mut attempt: impl FnMut() -> A,
) -> T {
    let mut given_up = std::pin::pin!(given_up);
    loop {
        let came = attempt().await;
        if !may_go_better(&came) {
            return came;
        }
        tokio::select! {
            biased;
            () = &mut given_up => return came,
            () = sleep(pause) => {}
        }
    }
}

/// Whether a command was not taken because of the load that others make.
pub fn is_overloaded(submitted: &Result<Outcome, SubmitError>) -> bool {
    matches!(submitted, Err(SubmitError::Overloaded))
}

/// Returns at that time, or when the node stops.
pub async fn over(until: Instant, stop: &CancellationToken) {
    // Whichever it was.
    let _ = timeout_at(until, stop.cancelled()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(100);

    /// How often something is submitted that the log has room for after so many times, and what comes of it.
    async fn submitted(overloaded: u32, stop: &CancellationToken) -> (u32, Result<Outcome, SubmitError>) {
        let mut times = 0;
        let submit = || {
            times += 1;
            std::future::ready(if times > overloaded { Ok(Outcome::Renewed(0)) } else { Err(SubmitError::Overloaded) })
        };
        let result = retried(over(Instant::now() + GIVE_BACK_FOR, stop), PAUSE, is_overloaded, submit).await;
        (times, result)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_is_said_again_to_an_overloaded_log_but_not_for_ever() {
        let stop = CancellationToken::new();
        assert!(matches!(submitted(0, &stop).await, (1, Ok(_))));
        assert!(matches!(submitted(9, &stop).await, (10, Ok(_))));
        let began = Instant::now();
        assert!(matches!(submitted(u32::MAX, &stop).await, (_, Err(SubmitError::Overloaded))));
        assert_eq!(began.elapsed(), GIVE_BACK_FOR);
        stop.cancel();
        assert!(matches!(submitted(9, &stop).await, (1, Err(SubmitError::Overloaded))));
    }
}
