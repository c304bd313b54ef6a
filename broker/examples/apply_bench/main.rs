//! What `apply` costs, without a log beneath it: `make bench-apply`, or with one of the names below as an argument.
//!
//! ```text
//! rates       how many messages are published, received and acknowledged per second
//! producers   the memory of many producers
//! longest     the longest single call of `apply` while very much comes due at the same moment
//! start       how long a state with a million queues takes to open
//! scrape      what a scrape of the backlogs of ten thousand groups takes
//! ```

mod bench;
mod longest;
mod rates;
mod scrape;
mod start;

use std::path::Path;

fn main() {
    let parts: [(&str, fn()); 5] = [
        ("rates", rates::run),
        ("producers", rates::producers),
        ("longest", longest::run),
        ("start", start::run),
        ("scrape", scrape::run),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let [open, folder] = &wanted[..]
        && open == start::OPEN
    {
        return start::open(Path::new(folder));
    }
    if let Some(unknown) = wanted.iter().find(|name| parts.iter().all(|(part, _)| part != name)) {
        eprintln!("{unknown:?} is not measured; known: {}", parts.map(|(part, _)| part).join(", "));
        std::process::exit(2);
    }
    for (_, run) in parts.iter().filter(|(part, _)| wanted.is_empty() || wanted.iter().any(|name| name == part)) {
        run();
    }
}
