//! Puts the layers over each other: defaults, file, environment, flags.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    error::{ConfigError, Origin, Problem},
    file,
    setting::{Setting, Value},
    table,
    typed::Config,
};

const PREFIX: &str = "TERCET__";

/// What is given beside the defaults.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The TOML file, if any. One that is named must exist.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not start with `TERCET__` are ignored.
    pub environment: Vec<(String, String)>,
    /// Flags: as written, the setting's `section.key`, and the value.
    pub flags: Vec<(String, String, String)>,
}

/// All settings with their values and where each was given, in the table's order.
pub(crate) struct Resolved(Vec<(&'static Setting, Value, Origin)>);

impl Resolved {
    fn defaults() -> Resolved {
        Resolved(table::SETTINGS.iter().map(|s| (s, s.kind.default_value(), Origin::Default)).collect())
    }

    fn set(&mut self, setting: &'static Setting, value: Value, origin: Origin) {
        let row = self.0.iter_mut().find(|(known, ..)| known.is(setting));
        let row = row.expect("the row was made from the same table");
        (row.1, row.2) = (value, origin);
    }

    fn set_text(&mut self, setting: &'static Setting, text: &str, origin: Origin) -> Result<(), Problem> {
        match setting.kind.parse(text) {
            Ok(value) => self.set(setting, value, origin),
            Err(text) => return Err(Problem { origin: Some(origin), text: format!("{}: {text}", setting.name()) }),
        }
        Ok(())
    }

    /// The value of a setting and where it was given.
    pub(crate) fn get(&self, section: &str, key: &str) -> (&Value, &Origin) {
        let row = self.0.iter().find(|(setting, ..)| setting.section == section && setting.key == key);
        let (_, value, origin) = row.expect("asked only for settings of the table");
        (value, origin)
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &(&'static Setting, Value, Origin)> {
        self.0.iter()
    }
}

/// Reads, checks and types the configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(layers: &Layers) -> Result<Config, ConfigError> {
    Config::from_resolved(&resolve(layers)?)
}

/// Puts the layers over each other, without the checks that concern several settings.
pub(crate) fn resolve(layers: &Layers) -> Result<Resolved, ConfigError> {
    let mut resolved = Resolved::defaults();
    let mut problems = Vec::new();
    if let Some(path) = &layers.file {
        match read_file(path) {
            Ok(given) => given.into_iter().for_each(|given| resolved.set(given.setting, given.value, given.origin)),
            Err(error) => problems.extend(error.problems),
        }
    }
    let mut variables: Vec<_> = layers.environment.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    for (name, text) in variables {
        let origin = Origin::Environment(name.clone());
        let outcome = match table::SETTINGS.iter().find(|setting| setting.variable() == *name) {
            Some(setting) => resolved.set_text(setting, text, origin),
            None => Err(Problem { origin: Some(origin), text: "names no setting".to_owned() }),
        };
        problems.extend(outcome.err());
    }
    for (flag, name, text) in &layers.flags {
        let origin = Origin::Flag(flag.clone());
        let setting = name.split_once('.').and_then(|(section, key)| table::find(section, key));
        let outcome = match setting {
            Some(setting) => resolved.set_text(setting, text, origin),
            None => Err(Problem { origin: Some(origin), text: format!("there is no setting `{name}`") }),
        };
        problems.extend(outcome.err());
    }
    if problems.is_empty() { Ok(resolved) } else { Err(ConfigError { problems }) }
}

fn read_file(path: &Path) -> Result<Vec<file::Given>, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|error| ConfigError::one(None, format!("cannot read {}: {error}", path.display())))?;
    file::read(path, &text)
}
