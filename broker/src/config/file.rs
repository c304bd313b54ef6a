//! Reads the TOML file into single values, each with the line that it stands on.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{
    error::{ConfigError, Origin, Problem},
    setting::{Kind, Setting, Value},
    table,
};

/// A value that the file gives.
pub(crate) struct Given {
    pub(crate) setting: &'static Setting,
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// Turns byte positions into line numbers.
struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Lines<'_> {
    fn origin(&self, position: usize) -> Origin {
        let line = self.text[..position.min(self.text.len())].matches('\n').count() + 1;
        Origin::File(self.path.to_owned(), line)
    }
}

/// All values of the file.
///
/// # Errors
/// What is no TOML, is in no section, is unknown, or has the wrong type or a value out of bounds: all of it.
pub(crate) fn read(path: &Path, text: &str) -> Result<Vec<Given>, ConfigError> {
    let lines = Lines { path, text };
    let root = DeTable::parse(text).map_err(|error| {
        let origin = error.span().map(|span| lines.origin(span.start));
        ConfigError::one(origin, format!("not valid TOML: {}", error.message()))
    })?;
    let mut given = Vec::new();
    let mut problems = Vec::new();
    for (section, content) in root.get_ref() {
        let origin = lines.origin(section.span().start);
        match content.get_ref() {
            DeValue::Table(keys) if table::SECTIONS.iter().any(|(known, _)| *known == section.get_ref()) => {
                read_section(&lines, section.get_ref(), keys, &mut given, &mut problems);
            }
            DeValue::Table(_) => problems.push(unknown(origin, "section", &format!("[{}]", section.get_ref()))),
            _ => problems.push(unknown(origin, "key", &format!("`{}` outside of any section", section.get_ref()))),
        }
    }
    if problems.is_empty() { Ok(given) } else { Err(ConfigError { problems }) }
}

fn unknown(origin: Origin, what: &str, name: &str) -> Problem {
    Problem { origin: Some(origin), text: format!("unknown {what} {name}") }
}

fn read_section(
    lines: &Lines<'_>,
    section: &str,
    keys: &DeTable<'_>,
    given: &mut Vec<Given>,
    problems: &mut Vec<Problem>,
) {
    for (key, content) in keys {
        let origin = lines.origin(key.span().start);
        let Some(setting) = table::find(section, key.get_ref()) else {
            problems.push(unknown(origin, "key", &format!("`{section}.{}`", key.get_ref())));
            continue;
        };
        match value_of(setting, content.get_ref()) {
            Ok(value) => given.push(Given { setting, value, origin }),
            Err(text) => {
                problems.push(Problem { origin: Some(origin), text: format!("{}: {text}", setting.name()) });
            }
        }
    }
}

fn value_of(setting: &Setting, content: &DeValue<'_>) -> Result<Value, String> {
    match (setting.kind, content) {
        (Kind::Integer { .. } | Kind::Bytes { .. }, DeValue::Integer(number)) => setting.kind.parse(number.as_str()),
        (Kind::Switch { .. }, DeValue::Boolean(on)) => Ok(Value::Switch(*on)),
        (Kind::Bytes { .. } | Kind::Millis { .. } | Kind::Choice { .. } | Kind::Text { .. }, DeValue::String(text)) => {
            setting.kind.parse(text)
        }
        (Kind::List, DeValue::Array(items)) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map(Value::List).ok_or_else(|| "must be a list of quoted texts".to_owned())
        }
        (Kind::Text { .. }, other) => Err(format!("is a TOML {}; wanted: a quoted text", other.type_str())),
        (kind, other) => Err(format!("is a TOML {}; wanted: {}", other.type_str(), kind.describe())),
    }
}
