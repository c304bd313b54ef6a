//! Measures three replicas in one process: throughput, the gap that a killed leader leaves, the cost of a backlog read;
//! and how long one log takes to open.
//!
//! ```text
//! cargo run -p raft-log --example bench -- write --conc 1024 --size 1024 --secs 5 --durability sync
//! cargo run -p raft-log --example bench -- write --rate 5000 --secs 15
//! cargo run -p raft-log --example bench -- failover --rounds 20 --busy 4
//! cargo run -p raft-log --example bench -- backlog --backlog-mb 2048 --segment-mb 128 --reader-mb-per-s 200 --rate 2000
//! CEILING=program cargo run -p raft-log --example bench -- compare --rounds 5 --secs 4
//! cargo run -p raft-log --example bench -- reopen --gib 10 --dir FOLDER
//! cargo run -p raft-log --example bench -- catchup --gib 5 --conc 256
//! ```

mod arguments;
mod backlog;
mod catchup;
mod compare;
mod failover;
mod group;
mod load;
mod machine;
mod memory;
mod reopen;
mod write;

use arguments::Arguments;

fn main() {
    let mut words = std::env::args().skip(1);
    let mode = words.next().unwrap_or_else(|| "write".to_owned());
    let arguments = Arguments::of(&words.collect::<Vec<_>>());
    let clients = arguments.get("client-threads", 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(clients).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    match mode.as_str() {
        "write" => runtime.block_on(write::run(&arguments)),
        "catchup" if !runtime.block_on(catchup::run(&arguments)) => std::process::exit(1),
        "catchup" => {}
        "failover" => runtime.block_on(failover::run(&arguments)),
        "backlog" => runtime.block_on(backlog::run(&arguments)),
        "compare" => compare::run(&arguments),
        "reopen" => reopen::run(&arguments),
        "reopen-writer" => reopen::write(&arguments),
        other => panic!("{other}: write, compare, failover, backlog, reopen or catchup"),
    }
}
