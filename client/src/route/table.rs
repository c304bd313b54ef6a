//! The order in which endpoints are tried, as a state machine: no I/O, `now` is an argument.
//!
//! ```text
//!   learn(route) ─────► preference: leader, other replicas, endpoints given by the application
//!   failed(endpoint) ─► the endpoint is avoided for a while, longer each time
//!   succeeded(..) ────► it is back at its place
//!   pick(now) ────────► the first one that is not avoided; if all are, the one whose time is up first
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::endpoint::{ENDPOINTS_MAX, Endpoint};

/// An endpoint is avoided this long after its first failure; each further one doubles it.
const AVOID_FIRST: Duration = Duration::from_millis(100);
/// No endpoint is avoided longer than this.
const AVOID_LONGEST: Duration = Duration::from_secs(5);

/// What a failure says of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It did not answer: avoid it longer each time.
    Silent,
    /// It answered that it cannot serve now (no leader yet): ask another one, but come back soon.
    Unready,
}

/// A route as somebody told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// The leader first.
    Led(Vec<Endpoint>),
    /// By a node that knows no leader, itself first. Others may know one.
    Leaderless(Vec<Endpoint>),
}

impl Route {
    pub(crate) fn is_empty(&self) -> bool {
        let (Route::Led(order) | Route::Leaderless(order)) = self;
        order.is_empty()
    }
}

/// Invariants: `seeds` never changes; an endpoint has a record in `faults` only while it is a candidate; candidates
/// hold no endpoint twice.
#[derive(Debug)]
pub(crate) struct RouteTable {
    seeds: Vec<Endpoint>,
    learned: Vec<Endpoint>,
    faults: BTreeMap<Endpoint, Avoided>,
    /// Who served a request last, and when.
    served: Option<(Endpoint, Instant)>,
    /// The term of the leader that stands first, if it was told with one.
    term: u64,
}

#[derive(Debug)]
struct Avoided {
    failures: u32,
    /// When the last failure that counted was seen.
    at: Instant,
    until: Instant,
}

impl RouteTable {
    pub(crate) fn new(seeds: Vec<Endpoint>) -> Self {
        Self { seeds, learned: Vec::new(), faults: BTreeMap::new(), served: None, term: 0 }
    }

    /// All endpoints in order of preference.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = &Endpoint> {
        let rest = self.seeds.iter().filter(|seed| !self.learned.contains(seed));
        self.learned.iter().chain(rest)
    }

    /// The endpoint for the next attempt; `None` only if no endpoint is known at all.
    pub(crate) fn pick(&self, now: Instant) -> Option<Endpoint> {
        // The first of equals: the order of preference decides among those that are not avoided.
        self.candidates().min_by_key(|endpoint| self.avoided_until(endpoint, now)).cloned()
    }

    /// All endpoints in the order in which they would be picked.
    pub(crate) fn in_turn(&self, now: Instant) -> Vec<Endpoint> {
        let mut all: Vec<Endpoint> = self.candidates().cloned().collect();
        // Stable: the order of preference decides among those that are not avoided.
        all.sort_by_key(|endpoint| self.avoided_until(endpoint, now));
        all
    }

    /// When an endpoint may be asked: now, if it is not avoided.
    fn avoided_until(&self, endpoint: &Endpoint, now: Instant) -> Instant {
        self.faults.get(endpoint).map_or(now, |fault| fault.until.max(now))
    }

    /// A new order, the leader first. An empty one says that nobody knows better: the last route is kept; so does one that
    /// knows no leader. Nodes that one of them told of by itself stay: a route may name fewer.
    pub(crate) fn learn(&mut self, route: Route) {
        let mut order = match route {
            Route::Leaderless(_) if !self.learned.is_empty() => return,
            Route::Led(order) | Route::Leaderless(order) => order,
        };
        if self.term > 0 && !order.is_empty() {
            order.extend_from_slice(&self.learned);
        }
        self.replace(order);
    }

    /// These and the seeds are all nodes from now on.
    fn replace(&mut self, route: Vec<Endpoint>) {
        let mut learned: Vec<Endpoint> = Vec::with_capacity(route.len().min(ENDPOINTS_MAX));
        for endpoint in route.into_iter().take(ENDPOINTS_MAX) {
            if !learned.contains(&endpoint) {
                learned.push(endpoint);
            }
        }
        if learned.is_empty() {
            return;
        }
        self.learned = learned;
        let Self { seeds, learned, faults, .. } = self;
        faults.retain(|endpoint, _| seeds.contains(endpoint) || learned.contains(endpoint));
    }

    /// A node says who led in this term, if it knows that, and who the others are. What it says of an earlier term than is known is
    /// old.
    pub(crate) fn learn_term(&mut self, term: u64, leader: Option<Endpoint>, nodes: Vec<Endpoint>) {
        if term < self.term {
            return;
        }
        match leader {
            Some(leader) => {
                self.term = term;
                self.replace(std::iter::once(leader).chain(nodes).collect());
            }
            // Who led before may lead again; the nodes are known all the same.
            None => {
                let known: Vec<Endpoint> = self.learned.iter().filter(|known| nodes.contains(known)).cloned().collect();
                self.replace(known.into_iter().chain(nodes).collect());
            }
        }
    }

    /// A node to hear of the leader from: one that does not lead, and not the one that was heard last if there is another; the
    /// only one that is known, if so, which may name others. `fraction` spreads clients over them.
    pub(crate) fn watch_post(&self, last: Option<&Endpoint>, fraction: f64) -> Option<Endpoint> {
        let mut candidates = self.candidates();
        let first = candidates.next()?;
        let others: Vec<&Endpoint> = candidates.collect();
        if others.is_empty() {
            return Some(first.clone());
        }
        let fresh: Vec<&Endpoint> = others.iter().filter(|other| Some(**other) != last).copied().collect();
        let from = if fresh.is_empty() { others } else { fresh };
        from.get((fraction * from.len() as f64) as usize).copied().cloned()
    }

    /// A request that was begun at `begun` failed at the endpoint: others come first for a while. What was under way when the last
    /// failure was seen is part of that one, however many requests it was.
    pub(crate) fn failed(&mut self, endpoint: &Endpoint, fault: Fault, begun: Instant, now: Instant) {
        if !self.candidates().any(|candidate| candidate == endpoint) {
            return;
        }
        let avoided = self.faults.entry(endpoint.clone()).or_insert(Avoided { failures: 0, at: begun, until: now });
        let wait = match fault {
            Fault::Unready => AVOID_FIRST,
            Fault::Silent if avoided.failures > 0 && begun < avoided.at => return,
            Fault::Silent => {
                avoided.failures = avoided.failures.saturating_add(1);
                avoided.at = now;
                AVOID_FIRST.saturating_mul(1 << (avoided.failures - 1).min(10)).min(AVOID_LONGEST)
            }
        };
        avoided.until = avoided.until.max(now + wait);
    }

    /// The endpoint served a request.
    pub(crate) fn succeeded(&mut self, endpoint: &Endpoint, now: Instant) {
        self.faults.remove(endpoint);
        match &mut self.served {
            Some((last, at)) if last == endpoint => *at = now,
            served => *served = Some((endpoint.clone(), now)),
        }
    }

    /// When this endpoint last served a request, if no other has since.
    pub(crate) fn last_served(&self, endpoint: &Endpoint) -> Option<Instant> {
        self.served.as_ref().filter(|(last, _)| last == endpoint).map(|(_, at)| *at)
    }

    /// Whether `endpoint` is where requests go while nothing fails.
    pub(crate) fn is_preferred(&self, endpoint: &Endpoint) -> bool {
        self.candidates().next() == Some(endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(text: &str) -> Vec<Endpoint> {
        Endpoint::parse_list(text).unwrap()
    }

    fn picks(table: &RouteTable, now: Instant) -> String {
        table.pick(now).unwrap().to_string()
    }

    #[test]
    fn the_leader_of_the_route_comes_first_and_the_seeds_last() {
        let mut table = RouteTable::new(endpoints("a:1,b:1"));
        table.learn(Route::Led(endpoints("c:1,b:1,d:1")));
        let order: Vec<_> = table.candidates().map(Endpoint::as_str).collect();
        assert_eq!(order, ["c:1", "b:1", "d:1", "a:1"]);
    }

    #[test]
    fn a_failed_endpoint_is_passed_over_at_once_and_comes_back() {
        let now = Instant::now();
        let mut table = RouteTable::new(endpoints("a:1,b:1"));
        assert_eq!(picks(&table, now), "a:1");
        table.failed(&"a:1".parse().unwrap(), Fault::Silent, now, now);
        assert_eq!(picks(&table, now), "b:1");
        assert_eq!(picks(&table, now + AVOID_FIRST), "a:1");
    }

    #[test]
    fn repeated_silence_is_avoided_longer_up_to_a_bound_and_success_forgets_it() {
        let now = Instant::now();
        let mut table = RouteTable::new(endpoints("a:1,b:1"));
        let a = "a:1".parse().unwrap();
        for _ in 0..40 {
            table.failed(&a, Fault::Silent, now, now);
        }
        assert_eq!(picks(&table, now + AVOID_LONGEST - Duration::from_millis(1)), "b:1");
        assert_eq!(picks(&table, now + AVOID_LONGEST), "a:1");
        table.succeeded(&a, now);
        assert_eq!(picks(&table, now), "a:1");
    }

    #[test]
    fn of_two_leaders_the_one_of_the_later_term_is_right() {
        let mut table = RouteTable::new(endpoints("a:1"));
        let nodes = || endpoints("a:1,b:1,c:1");
        let leader = |text: &str| Some(text.parse::<Endpoint>().unwrap());
        table.learn_term(5, leader("b:1"), nodes());
        let order: Vec<_> = table.candidates().map(Endpoint::as_str).collect();
        assert_eq!(order, ["b:1", "a:1", "c:1"]);
        table.learn_term(4, leader("a:1"), nodes());
        table.learn_term(6, None, nodes());
        assert!(table.is_preferred(&"b:1".parse().unwrap()), "an old one, and one that knows none, change nothing");
        table.learn_term(6, leader("c:1"), nodes());
        assert!(table.is_preferred(&"c:1".parse().unwrap()));
        // Asked for a route, a node names the leader only where nodes have DNS names.
        table.learn(Route::Led(endpoints("b:1")));
        let order: Vec<_> = table.candidates().map(Endpoint::as_str).collect();
        assert_eq!(order, ["b:1", "c:1", "a:1"]);
        table.learn_term(7, leader("b:1"), endpoints("b:1,d:1"));
        let order: Vec<_> = table.candidates().map(Endpoint::as_str).collect();
        assert_eq!(order, ["b:1", "d:1", "a:1"], "c has left, and a is what the application gave");
    }

    #[test]
    fn the_leader_is_heard_of_from_others_and_from_another_one_each_time() {
        let mut table = RouteTable::new(endpoints("a:1"));
        assert_eq!(table.watch_post(None, 0.0), Some("a:1".parse().unwrap()), "it may name others");
        table.learn(Route::Led(endpoints("a:1,b:1,c:1")));
        let post = |last: Option<&str>, fraction| {
            let last = last.map(|last| last.parse::<Endpoint>().unwrap());
            table.watch_post(last.as_ref(), fraction).unwrap().to_string()
        };
        assert_eq!((post(None, 0.0).as_str(), post(None, 0.99).as_str()), ("b:1", "c:1"));
        assert_eq!((post(Some("b:1"), 0.0).as_str(), post(Some("c:1"), 0.99).as_str()), ("c:1", "b:1"));
        table.learn(Route::Led(endpoints("a:1,b:1")));
        assert_eq!(table.watch_post(Some(&"b:1".parse().unwrap()), 0.5), Some("b:1".parse().unwrap()));
    }

    #[test]
    fn requests_that_fail_together_are_one_failure() {
        let begun = Instant::now();
        let now = begun + Duration::from_secs(3);
        let mut table = RouteTable::new(endpoints("a:1,b:1"));
        let a = "a:1".parse().unwrap();
        for _ in 0..100 {
            table.failed(&a, Fault::Silent, begun, now);
        }
        assert_eq!(picks(&table, now), "b:1");
        assert_eq!(picks(&table, now + AVOID_FIRST), "a:1");
        let later = now + AVOID_FIRST;
        table.failed(&a, Fault::Silent, later, later);
        assert_eq!(picks(&table, later + AVOID_FIRST), "b:1", "one that was begun after it counts");
    }

    #[test]
    fn endpoints_are_asked_in_the_order_of_picks() {
        let now = Instant::now();
        let mut table = RouteTable::new(endpoints("a:1,b:1,c:1"));
        table.failed(&"a:1".parse().unwrap(), Fault::Unready, now, now);
        let order: Vec<_> = table.in_turn(now).iter().map(Endpoint::to_string).collect();
        assert_eq!(order, ["b:1", "c:1", "a:1"]);
    }

    #[test]
    fn who_served_last_is_known() {
        let now = Instant::now();
        let mut table = RouteTable::new(endpoints("a:1,b:1"));
        let [a, b] = ["a:1", "b:1"].map(|endpoint| endpoint.parse::<Endpoint>().unwrap());
        assert_eq!(table.last_served(&a), None);
        table.succeeded(&a, now);
        table.succeeded(&a, now + AVOID_FIRST);
        assert_eq!((table.last_served(&a), table.last_served(&b)), (Some(now + AVOID_FIRST), None));
        table.succeeded(&b, now);
        assert_eq!((table.last_served(&a), table.last_served(&b)), (None, Some(now)));
    }

    #[test]
    fn a_node_without_a_leader_is_asked_again_soon_however_often_it_said_so() {
        let now = Instant::now();
        let mut table = RouteTable::new(endpoints("a:1,b:1"));
        for _ in 0..40 {
            table.failed(&"a:1".parse().unwrap(), Fault::Unready, now, now);
        }
        assert_eq!(picks(&table, now), "b:1");
        assert_eq!(picks(&table, now + AVOID_FIRST), "a:1");
    }

    #[test]
    fn when_all_failed_the_one_that_failed_first_is_tried_so_that_attempts_rotate() {
        let now = Instant::now();
        let mut table = RouteTable::new(endpoints("a:1,b:1,c:1"));
        let mut order = Vec::new();
        for step in 0..6 {
            let now = now + Duration::from_millis(step);
            let endpoint = table.pick(now).unwrap();
            table.failed(&endpoint, Fault::Unready, now, now);
            order.push(endpoint.to_string());
        }
        assert_eq!(order, ["a:1", "b:1", "c:1", "a:1", "b:1", "c:1"]);
    }

    #[test]
    fn an_empty_answer_keeps_the_last_route() {
        let mut table = RouteTable::new(endpoints("a:1"));
        table.learn(Route::Led(endpoints("l:1,f:1")));
        table.learn(Route::Led(Vec::new()));
        assert_eq!(picks(&table, Instant::now()), "l:1");
        assert!(table.is_preferred(&"l:1".parse().unwrap()));
    }

    /// One follower that was cut off must not make its clients leave a leader that serves.
    #[test]
    fn a_node_that_knows_no_leader_is_believed_only_while_nobody_knows_one() {
        let mut table = RouteTable::new(endpoints("a:1"));
        table.learn(Route::Leaderless(endpoints("f:1,l:1")));
        assert_eq!(picks(&table, Instant::now()), "f:1");
        table.learn(Route::Led(endpoints("l:1,f:1")));
        table.learn(Route::Leaderless(endpoints("f:1,l:1")));
        assert!(table.is_preferred(&"l:1".parse().unwrap()));
    }

    #[test]
    fn a_new_route_drops_nodes_that_left_and_their_faults() {
        let now = Instant::now();
        let mut table = RouteTable::new(endpoints("a:1"));
        table.learn(Route::Led(endpoints("l:1,f:1")));
        table.failed(&"l:1".parse().unwrap(), Fault::Silent, now, now);
        table.learn(Route::Led(endpoints("f:1")));
        assert!(table.faults.is_empty());
        table.failed(&"l:1".parse().unwrap(), Fault::Silent, now, now);
        assert!(table.faults.is_empty(), "a stranger's failure is not recorded");
    }
}
