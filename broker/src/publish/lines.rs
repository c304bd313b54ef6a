//! What waits to enter the log: a line for each class of commands, and entries in which each class has its share.
//!
//! ```text
//! settle      ●●●●            3 of 16 parts of an entry
//! time        ●               1
//! administer  ●               1              ┌──────┬─┬─┬─┬────────────────┬────┐
//! keep        ●●              1        ───►  │settle│t│a│k│    publish     │del.│  one entry
//! publish     ●●●●●●●●●●●●●   8              └──────┴─┴─┴─┴────────────────┴────┘
//! deliver     ●●              2
//! ```
//! A class that waits gets its part of each entry, and at least one command (of the two classes with large commands, one may fill
//! an entry, and the other has the next); what others do not need goes to whoever waits.
//! So none stops another, however much of it comes: no strict priority. Within an entry the commands of a class stand
//! together, which also lets publishes of many clients share the index blocks that `apply` writes; receives come last, and pick what
//! the entry itself publishes.

use std::collections::VecDeque;

use crate::{limits::ENTRY_BYTES_MAX, state::Class};

/// Parts into which an entry is shared.
const PARTS: usize = 16;
/// Room for the header of an entry, generously.
const HEADER_BYTES_MAX: usize = 64;

/// The parts of an entry that belong to a class if it waits.
const fn parts(class: Class) -> usize {
    match class {
        Class::Settle => 3,
        Class::Time | Class::Administer | Class::Keep => 1,
        Class::Deliver => 2,
        Class::Publish => 8,
    }
}

/// The lines. Invariant: what is taken of a class is what waited there longest, in its order.
#[derive(Debug)]
pub(super) struct Lines<T> {
    lines: [VecDeque<(usize, T)>; Class::COUNT],
}

/// What shares an entry, class by class.
#[derive(Debug)]
pub(super) struct Taken<T> {
    /// Bytes of all commands.
    pub(super) bytes: usize,
    /// The commands of each class, in order.
    pub(super) commands: [Vec<T>; Class::COUNT],
}

impl<T> Default for Lines<T> {
    fn default() -> Lines<T> {
        Lines { lines: std::array::from_fn(|_| VecDeque::new()) }
    }
}

impl<T> Lines<T> {
    /// Puts a command of `bytes` at the end of the line of its class.
    pub(super) fn push(&mut self, class: Class, bytes: usize, command: T) {
        self.lines[class as usize].push_back((bytes, command));
    }

    /// Whether commands of a class wait.
    pub(super) fn waits(&self, class: Class) -> bool {
        !self.lines[class as usize].is_empty()
    }

    /// How many commands wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum()
    }

    /// Empties the line of a class.
    pub(super) fn drain(&mut self, class: Class) -> impl Iterator<Item = T> + '_ {
        self.lines[class as usize].drain(..).map(|(_, command)| command)
    }

    /// What makes the next entry of about `target` bytes: one command of each class that waits, its part for each of them, and
    /// then whatever fits; of publishes no more than `publish_room`. Nothing if none waits.
    pub(super) fn take(&mut self, target: usize, publish_room: usize) -> Option<Taken<T>> {
        let of_class = [0; Class::COUNT];
        let mut entry = Filling { lines: self, publish_room, of_class, taken: Taken::default() };
        for class in Class::ALL {
            entry.take_while(class, |of_class, _, _| of_class == 0);
        }
        for class in Class::ALL {
            let part = target / PARTS * parts(class);
            entry.take_while(class, |of_class, _, next| of_class + next <= part);
        }
        for class in Class::ALL {
            entry.take_while(class, |_, all, next| all + next <= target);
        }
        let taken = entry.taken;
        (taken.bytes > 0).then_some(taken)
    }
}

impl<T> Default for Taken<T> {
    fn default() -> Taken<T> {
        Taken { bytes: 0, commands: std::array::from_fn(|_| Vec::new()) }
    }
}

/// An entry being filled.
struct Filling<'a, T> {
    lines: &'a mut Lines<T>,
    publish_room: usize,
    of_class: [usize; Class::COUNT],
    taken: Taken<T>,
}

impl<T> Filling<'_, T> {
    /// Takes from a line while `fits` says so of the bytes taken of this class, of all, and of the next command.
    fn take_while(&mut self, class: Class, fits: impl Fn(usize, usize, usize) -> bool) {
        let room = if class == Class::Publish { self.publish_room } else { usize::MAX };
        let (line, of_class) = (&mut self.lines.lines[class as usize], &mut self.of_class[class as usize]);
        while let Some((next, command)) = line.pop_front_if(|(next, _)| {
            fits(*of_class, self.taken.bytes, *next)
                && *of_class + *next <= room
                && self.taken.bytes + *next + HEADER_BYTES_MAX <= ENTRY_BYTES_MAX
        }) {
            *of_class += next;
            self.taken.bytes += next;
            self.taken.commands[class as usize].push(command);
        }
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
