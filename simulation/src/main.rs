//! Runs the simulation: `make sim SEED=n`, `make sim-many N=n`, `make sim-sensitivity`.

#[cfg(not(tercet_sim))]
fn main() {
    eprintln!("this build holds no simulation; `make sim SEED=n` builds one that does");
    std::process::exit(2);
}

#[cfg(tercet_sim)]
fn main() -> std::process::ExitCode {
    simulated::main()
}

#[cfg(tercet_sim)]
mod simulated {
    use std::process::ExitCode;
    use std::time::Instant;

    use raft_log::planted::{Bug, plant};
    use simulation::many::many;
    use simulation::report::{Totals, replay};
    use simulation::run::run;
    use simulation::sensitivity::{Effort, SEARCHES, SEEDS_MAX, search};

    pub(super) fn main() -> ExitCode {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let number = |at: usize, default: u64| match arguments.get(at) {
            Some(text) => text.parse().map_err(|error| format!("{text}: {error}")),
            None => Ok(default),
        };
        let done = match arguments.first().map(String::as_str) {
            Some("run") => number(1, 1).map(|seed| one(seed, arguments.get(2))),
            Some("many") => number(1, 100).and_then(|count| Ok(several(count, number(2, 1)?))),
            Some("sensitivity") => number(2, SEARCHES).and_then(|searches| {
                let effort = Effort { searches, seeds_max: number(3, SEEDS_MAX)? };
                Ok(sensitivity(arguments.get(1), effort))
            }),
            _ => Err("simulation run SEED [BUG] | many COUNT [FROM] | sensitivity [BUG [SEARCHES [SEEDS]]]".to_owned()),
        };
        done.unwrap_or_else(|error| {
            eprintln!("{error}");
            ExitCode::from(2)
        })
    }

    fn named(name: &str) -> Vec<Bug> {
        // Those that only directed tests find are searched for when they are asked for.
        Bug::ALL
            .into_iter()
            .filter(|bug| bug.name().contains(name))
            .filter(|bug| !name.is_empty() || bug.is_found_by_seeds())
            .collect()
    }

    fn one(seed: u64, bug: Option<&String>) -> ExitCode {
        plant(bug.and_then(|bug| named(bug).first().copied()));
        if std::env::var_os("RUST_LOG").is_some() {
            let filter = tracing_subscriber::EnvFilter::from_default_env();
            tracing_subscriber::fmt().with_env_filter(filter).without_time().init();
        }
        println!("{}", replay(seed));
        let report = run(seed);
        println!("{report}");
        println!("{}", replay(seed));
        if report.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn sensitivity(only: Option<&String>, effort: Effort) -> ExitCode {
        let bugs = named(only.map_or("", String::as_str));
        println!("make sim-sensitivity");
        let begin = Instant::now();
        let found = search(&bugs, effort, |found| eprintln!("{}", found.line()));
        println!("| bug | caught by (searches) | seeds until found, median of {} |\n|---|---|---|", effort.searches);
        found.iter().for_each(|found| println!("{}", found.line()));
        let all = found.iter().filter(|found| found.median().is_some()).count();
        println!("{all} of {} found, {:.0} s", found.len(), begin.elapsed().as_secs_f64());
        if only.is_none() {
            let others = Bug::ALL.into_iter().filter(|bug| !bug.is_found_by_seeds()).map(Bug::name);
            println!("planted by directed tests: {}", others.collect::<Vec<_>>().join(", "));
        }
        println!("make sim-sensitivity");
        if all == found.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn several(count: u64, from: u64) -> ExitCode {
        println!("make sim-many N={count} FROM={from}");
        let begin = Instant::now();
        let mut totals = Totals::default();
        many(from, count, |seed, report| {
            if let Some(violation) = &report.violation {
                println!("{}   # {}: {}", replay(seed), violation.checker, violation.what);
            }
            totals.add(seed, &report);
            true
        });
        println!("{}", totals.table(begin.elapsed()));
        println!("make sim-many N={count} FROM={from}");
        if totals.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
