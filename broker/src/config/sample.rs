//! Writes configurations: the commented sample, and the one that is in effect.

use std::fmt::Write as _;

use super::{
    error::{ConfigError, Origin},
    layers::{self, Layers},
    table::{SECTIONS, SETTINGS},
    typed::Config,
};

const HEAD: &str = "\
# Settings of tercetd, each with its default. A setting that is left out has its default; an unknown one is an error.
# `tercetd config check --config FILE` says what is wrong.
#
# An environment variable overrides the file: TERCET__LISTEN__CLIENT for `client` in [listen].
# A flag overrides both: --set listen.client=0.0.0.0:8081
";

/// The sample: every setting, commented, at its default.
#[must_use]
pub fn render_sample() -> String {
    let mut text = HEAD.to_owned();
    for (section, about) in SECTIONS {
        text.push('\n');
        comment(&mut text, about);
        writeln!(text, "[{section}]").expect("a String takes all text");
        for setting in SETTINGS.iter().filter(|setting| setting.section == *section) {
            text.push('\n');
            comment(&mut text, setting.doc);
            comment(&mut text, &setting.kind.describe());
            let value = setting.kind.toml(&setting.kind.default_value());
            writeln!(text, "{} = {value}", setting.key).expect("a String takes all text");
        }
    }
    text
}

/// What is in effect: every setting with its value and where that was given.
///
/// # Errors
/// Everything that is wrong with the configuration.
pub fn render_effective(layers: &Layers) -> Result<String, ConfigError> {
    let resolved = layers::resolve(layers)?;
    Config::from_resolved(&resolved)?;
    let mut text = String::new();
    let mut section = "";
    for (setting, value, origin) in resolved.rows() {
        if setting.section != section {
            section = setting.section;
            writeln!(text, "{}[{section}]", if text.is_empty() { "" } else { "\n" }).expect("a String takes all text");
        }
        writeln!(text, "{} = {} # {origin}", setting.key, setting.kind.toml(value)).expect("a String takes all text");
    }
    Ok(text)
}

/// The settings that the layers give, as a file that has the same effect.
///
/// # Errors
/// Everything that is wrong with the layers.
pub fn render_given(layers: &Layers) -> Result<String, ConfigError> {
    let resolved = layers::resolve(layers)?;
    let mut text = String::new();
    let mut section = "";
    for (setting, value, _) in resolved.rows().filter(|(_, _, origin)| *origin != Origin::Default) {
        if setting.section != section {
            section = setting.section;
            writeln!(text, "\n[{section}]").expect("a String takes all text");
        }
        writeln!(text, "{} = {}", setting.key, setting.kind.toml(value)).expect("a String takes all text");
    }
    Ok(text)
}

fn comment(text: &mut String, about: &str) {
    for line in about.lines() {
        writeln!(text, "# {line}").expect("a String takes all text");
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
