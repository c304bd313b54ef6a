//! Tests of real `tercetd` processes, in one program, so that they take turns. `make test` compiles the processes first.

#[cfg(test)]
mod all_killed;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod leader_kills;
#[cfg(test)]
mod members;
#[cfg(test)]
mod nonsense;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod repair;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod walk;
