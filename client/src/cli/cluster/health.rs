//! `tercet cluster health`: whether all is well, for monitoring.

use serde::Serialize;
use tercet_client::{Client, ClusterStatus, Node, NodeRole};

use crate::cli::{
    args::Format,
    exit::{Done, Exit},
    output,
};

/// A node that lacks more of the leader's entries is not caught up.
const LAG_MAX: u64 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// A majority serves, and something is to be seen to.
    Degraded,
    /// Nobody serves, or nobody says so.
    Unavailable,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Health {
    status: Verdict,
    leader: Option<u64>,
    nodes: usize,
    problems: Vec<Problem>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Problem {
    /// Absent if it is the whole group's.
    node: Option<u64>,
    problem: String,
}

pub(super) async fn run(client: Client, format: Format) -> Done {
    let health = match client.admin().cluster_status().await {
        Ok(status) => judge(&status),
        Err(error) => {
            let problems = vec![Problem { node: None, problem: error.to_string() }];
            Health { status: Verdict::Unavailable, leader: None, nodes: 0, problems }
        }
    };
    output::say(format, &words(&health), &health)?;
    Ok(match health.status {
        Verdict::Ok => Exit::DONE,
        Verdict::Degraded => Exit::FAILED,
        Verdict::Unavailable => Exit::UNAVAILABLE,
    })
}

fn judge(status: &ClusterStatus) -> Health {
    let mut problems: Vec<Problem> = status.nodes.iter().flat_map(problems_of).collect();
    let voters = status.nodes.iter().filter(|node| node.voter);
    let (up, all) = (voters.clone().filter(|node| is_up(node)).count(), voters.count());
    let leads = |node: &&Node| Some(node.id) == status.leader && node.role == Some(NodeRole::Leader);
    let outage = match status.nodes.iter().find(leads) {
        None => Some("there is no leader".to_owned()),
        Some(_) if up * 2 <= all => Some(format!("{up} of {all} nodes that vote answer, which is no majority")),
        Some(leader) if !leader.healthy => Some(format!("node {} leads, and does not serve", leader.id)),
        Some(_) => None,
    };
    let verdict = match (&outage, problems.is_empty()) {
        (Some(_), _) => Verdict::Unavailable,
        (None, false) => Verdict::Degraded,
        (None, true) => Verdict::Ok,
    };
    problems.splice(..0, outage.map(|problem| Problem { node: None, problem }));
    Health { status: verdict, leader: status.leader, nodes: status.nodes.len(), problems }
}

/// Whether it could be asked.
fn is_up(node: &Node) -> bool {
    node.role.is_some()
}

fn problems_of(node: &Node) -> Vec<Problem> {
    let own = (!node.healthy).then(|| node.problem.clone().unwrap_or_default());
    let behind = (is_up(node) && node.lag > LAG_MAX).then(|| format!("lacks {} entries that the leader has", node.lag));
    let all = own.into_iter().chain(behind).chain(node.warnings.iter().cloned());
    all.map(|problem| Problem { node: Some(node.id), problem }).collect()
}

fn words(health: &Health) -> String {
    let leader = health.leader.map_or_else(|| "nobody leads".to_owned(), |node| format!("node {node} leads"));
    let nodes = match health.nodes {
        1 => "1 node".to_owned(),
        nodes => format!("{nodes} nodes"),
    };
    let mut words = match health.status {
        Verdict::Ok => format!("ok: {nodes}, {leader}"),
        Verdict::Degraded => format!("degraded: {nodes}, {leader}"),
        Verdict::Unavailable => "unavailable".to_owned(),
    };
    for Problem { node, problem } in &health.problems {
        match node {
            Some(node) => words.push_str(&format!("\nnode {node}: {problem}")),
            None => words.push_str(&format!("\n{problem}")),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    type Changed = fn(&mut Vec<Node>);

    fn node(id: u64, role: Option<NodeRole>) -> Node {
        let mut node = Node::default();
        (node.id, node.role, node.voter, node.healthy) = (id, role, true, role.is_some());
        node.problem = role.is_none().then(|| "did not answer".to_owned());
        node
    }

    fn group(leader: Option<u64>, change: impl Fn(&mut Vec<Node>)) -> Health {
        let mut nodes =
            vec![node(1, Some(NodeRole::Leader)), node(2, Some(NodeRole::Follower)), node(3, Some(NodeRole::Follower))];
        change(&mut nodes);
        let mut status = ClusterStatus::default();
        (status.leader, status.nodes) = (leader, nodes);
        judge(&status)
    }

    #[test]
    fn a_group_without_a_problem_is_well() {
        let health = group(Some(1), |_| {});
        assert_eq!((health.status, words(&health).as_str()), (Verdict::Ok, "ok: 3 nodes, node 1 leads"));
    }

    #[test]
    fn a_problem_of_a_node_while_a_majority_serves_is_told_with_the_node() {
        let down = |nodes: &mut Vec<Node>| nodes[2] = node(3, None);
        let behind = |nodes: &mut Vec<Node>| nodes[2].lag = LAG_MAX + 1;
        let full = |nodes: &mut Vec<Node>| nodes[2].warnings = vec!["its disk is nearly full".to_owned()];
        let damaged = |nodes: &mut Vec<Node>| {
            (nodes[2].healthy, nodes[2].problem) = (false, Some("damaged".to_owned()));
        };
        let cases: [(Changed, &str); 4] = [
            (down, "did not answer"),
            (behind, "lacks 10001 entries that the leader has"),
            (full, "its disk is nearly full"),
            (damaged, "damaged"),
        ];
        for (change, problem) in cases {
            let health = group(Some(1), change);
            assert_eq!(health.status, Verdict::Degraded);
            assert_eq!(words(&health), format!("degraded: 3 nodes, node 1 leads\nnode 3: {problem}"));
        }
        assert_eq!(group(Some(1), |nodes| nodes[2].lag = LAG_MAX).status, Verdict::Ok);
    }

    #[test]
    fn without_a_leader_or_a_majority_the_group_is_unavailable() {
        let cut = |nodes: &mut Vec<Node>| {
            for follower in &mut nodes[1..] {
                *follower = node(follower.id, None);
            }
        };
        let dead_leader = |nodes: &mut Vec<Node>| nodes[0] = node(1, None);
        let unready = |nodes: &mut Vec<Node>| nodes[0].healthy = false;
        for (health, problem) in [
            (group(None, |_| {}), "there is no leader"),
            (group(Some(1), dead_leader), "there is no leader"),
            (group(Some(1), cut), "1 of 3 nodes that vote answer, which is no majority"),
            (group(Some(1), unready), "node 1 leads, and does not serve"),
            (group(None, Vec::clear), "there is no leader"),
        ] {
            assert_eq!((health.status, health.problems[0].problem.as_str()), (Verdict::Unavailable, problem));
        }
    }

    #[test]
    fn a_learner_counts_for_no_majority() {
        let health = group(Some(1), |nodes| {
            nodes[1] = node(2, None);
            nodes[2] = node(3, Some(NodeRole::Learner));
            nodes[2].voter = false;
        });
        assert_eq!(health.problems[0].problem, "1 of 2 nodes that vote answer, which is no majority");
    }
}
