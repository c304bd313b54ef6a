//! What the command line asks for.

use std::collections::BTreeMap;
use std::str::FromStr;

/// `--name value` pairs.
pub(crate) struct Arguments(BTreeMap<String, String>);

impl Arguments {
    /// Of the words behind the mode.
    pub(crate) fn of(words: &[String]) -> Arguments {
        let pairs = words.chunks(2).map(|pair| match pair {
            [name, value] => (name.trim_start_matches("--").to_owned(), value.clone()),
            other => panic!("{other:?} has no value"),
        });
        Arguments(pairs.collect())
    }

    pub(crate) fn get<T: FromStr>(&self, name: &str, default: T) -> T {
        match self.0.get(name) {
            None => default,
            Some(text) => text.parse().unwrap_or_else(|_| panic!("--{name} {text} is not understood")),
        }
    }
}
