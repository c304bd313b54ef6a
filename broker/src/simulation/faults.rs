//! What goes wrong: replicas that crash or lose their state, leaders that are replaced, clients that end, time that jumps.

use super::run::Run;

/// One of them, by chance. A majority stays up.
pub(super) fn strike(run: &mut Run) {
    let node = run.dice.below(run.settings.replicas);
    let ahead = run.dice.of(&[0, 0, 500, 5000]);
    match run.dice.below(12) {
        0..4 => crash(run, node),
        4..6 => {
            run.group.figures.add("elections", 1);
            run.group.depose();
            run.group.elect(&mut run.dice, ahead);
        }
        6 => {
            let at = run.dice.below(run.consumers.len());
            run.consumers[at].lives = false;
        }
        7 => run.consumers.iter_mut().filter(|consumer| !consumer.lives).for_each(super::clients::Consumer::restart),
        8 if run.group.nodes[node].is_up() => {
            // A state is emptied where it was ahead of its log; nobody leads with one.
            if run.group.leader.as_ref().is_none_or(|leader| leader.node != node) {
                run.group.figures.add("lost states", 1);
                run.group.nodes[node].lose_state();
            }
        }
        9 | 10 => {
            // A deadline passed: the leader's loops propose again what may still come.
            if let Some(leader) = &mut run.group.leader {
                leader.give_up_waiting();
            }
        }
        _ => run.group.now += run.dice.of(&[60_000, 600_000]),
    }
}

/// A replica ends; one that is down starts.
fn crash(run: &mut Run, node: usize) {
    let down = run.group.nodes.iter().filter(|node| !node.is_up()).count();
    if !run.group.nodes[node].is_up() {
        run.group.nodes[node].start();
    } else if down < (run.settings.replicas - 1) / 2 || run.dice.percent(30) {
        run.group.figures.add("crashes", 1);
        if run.group.leader.as_ref().is_some_and(|leader| leader.node == node) {
            run.group.depose();
        }
        run.group.nodes[node].crash();
        if run.dice.percent(60) || down >= (run.settings.replicas - 1) / 2 {
            run.group.nodes[node].start();
        }
    }
}
