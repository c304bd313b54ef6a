//! One setting: its name, its kind with default and bounds, and how its value is read from text.

use std::time::Duration;

use super::size::{format_size, parse_size};

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The TOML section.
    pub section: &'static str,
    /// The key inside the section.
    pub key: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// What it means, in sentences; lines are broken where the sample breaks them.
    pub doc: &'static str,
}

impl Setting {
    /// `section.key`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// Whether both are the same row.
    #[must_use]
    pub fn is(&self, other: &Setting) -> bool {
        (self.section, self.key) == (other.section, other.key)
    }

    /// The environment variable that overrides it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("TERCET__{}__{}", self.section, self.key).to_uppercase()
    }
}

/// What values a setting takes, and which one it has when nobody gives any.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number.
    Integer {
        /// Without a value.
        default: u64,
        /// Smallest legal value.
        min: u64,
        /// Greatest legal value.
        max: u64,
    },
    /// A number of bytes, written `4MiB`.
    Bytes {
        /// Without a value.
        default: u64,
        /// Smallest legal value.
        min: u64,
        /// Greatest legal value.
        max: u64,
    },
    /// A span of time, written `5s` or `250ms`; whole milliseconds.
    Millis {
        /// Without a value.
        default: u64,
        /// Smallest legal value.
        min: u64,
        /// Greatest legal value.
        max: u64,
    },
    /// `true` or `false`.
    Switch {
        /// Without a value.
        default: bool,
    },
    /// One of a few words.
    Choice {
        /// Without a value.
        default: &'static str,
        /// The legal words.
        of: &'static [&'static str],
    },
    /// Any text; its form is checked where it gets its type.
    Text {
        /// Without a value.
        default: &'static str,
    },
    /// A list of texts; empty without a value.
    List,
}

/// A value that fits its kind's type and bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of an `Integer` or `Bytes`.
    Number(u64),
    /// Of a `Millis`.
    Span(Duration),
    /// Of a `Switch`.
    Switch(bool),
    /// Of a `Choice` or `Text`.
    Text(String),
    /// Of a `List`.
    List(Vec<String>),
}

impl Kind {
    /// The value that holds when nobody gives any.
    #[must_use]
    pub fn default_value(&self) -> Value {
        match *self {
            Kind::Integer { default, .. } | Kind::Bytes { default, .. } => Value::Number(default),
            Kind::Millis { default, .. } => Value::Span(Duration::from_millis(default)),
            Kind::Switch { default } => Value::Switch(default),
            Kind::Choice { default, .. } | Kind::Text { default } => Value::Text(default.to_owned()),
            Kind::List => Value::List(Vec::new()),
        }
    }

    /// Reads a value as it stands in the environment, in a flag, or in a quoted TOML string.
    ///
    /// # Errors
    /// What is wrong, without the setting's name.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        match *self {
            Kind::Integer { min, max, .. } => {
                let number = text.parse().map_err(|_| format!("`{text}` is not a whole number"))?;
                bounded(number, min, max, |n| n.to_string()).map(Value::Number)
            }
            Kind::Bytes { min, max, .. } => bounded(parse_size(text)?, min, max, format_size).map(Value::Number),
            Kind::Millis { min, max, .. } => {
                let span = humantime::parse_duration(text)
                    .map_err(|_| format!("`{text}` is not a span of time such as 250ms, 5s or 1h"))?;
                let millis = u64::try_from(span.as_millis()).map_err(|_| format!("`{text}` is too long"))?;
                if Duration::from_millis(millis) != span {
                    return Err(format!("`{text}` is not a whole number of milliseconds"));
                }
                bounded(millis, min, max, format_millis).map(|millis| Value::Span(Duration::from_millis(millis)))
            }
            Kind::Switch { .. } => match text {
                "true" => Ok(Value::Switch(true)),
                "false" => Ok(Value::Switch(false)),
                _ => Err(format!("`{text}` is neither true nor false")),
            },
            Kind::Choice { of, .. } if of.contains(&text) => Ok(Value::Text(text.to_owned())),
            Kind::Choice { of, .. } => Err(format!("`{text}` is none of {}", of.join(", "))),
            Kind::Text { .. } => Ok(Value::Text(text.to_owned())),
            Kind::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(Value::List(items.map(str::to_owned).collect()))
            }
        }
    }

    /// Unit, bounds and choices in words, for the sample; empty for a text, which says all by its meaning.
    #[must_use]
    pub fn describe(&self) -> String {
        match *self {
            Kind::Integer { min, max: u64::MAX, .. } => format!("Whole number, at least {min}."),
            Kind::Integer { min, max, .. } => format!("Whole number, {min} to {max}."),
            Kind::Bytes { min, max: u64::MAX, .. } => format!("Size, at least {}.", format_size(min)),
            Kind::Bytes { min, max, .. } => format!("Size, {} to {}.", format_size(min), format_size(max)),
            Kind::Millis { min, max: u64::MAX, .. } => format!("Span of time, at least {}.", format_millis(min)),
            Kind::Millis { min, max, .. } => {
                format!("Span of time, {} to {}.", format_millis(min), format_millis(max))
            }
            Kind::Switch { .. } => "true or false.".to_owned(),
            Kind::Choice { of, .. } => format!("One of {}.", of.join(", ")),
            Kind::Text { .. } => String::new(),
            Kind::List => "List of texts (separated by commas in the environment and in flags).".to_owned(),
        }
    }

    /// A value of this kind as TOML.
    #[must_use]
    pub fn toml(&self, value: &Value) -> String {
        match (self, value) {
            (Kind::Bytes { .. }, Value::Number(bytes)) => quoted(&format_size(*bytes)),
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Span(span)) => {
                quoted(&format_millis(u64::try_from(span.as_millis()).expect("read from 64 bits of milliseconds")))
            }
            (_, Value::Switch(on)) => on.to_string(),
            (_, Value::Text(text)) => quoted(text),
            (_, Value::List(items)) => {
                format!("[{}]", items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn bounded(number: u64, min: u64, max: u64, show: impl Fn(u64) -> String) -> Result<u64, String> {
    if number < min {
        return Err(format!("is {}, must be at least {}", show(number), show(min)));
    }
    if number > max {
        return Err(format!("is {}, must be at most {}", show(number), show(max)));
    }
    Ok(number)
}

/// A span as one number with the greatest unit that divides it.
fn format_millis(millis: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    match UNITS.iter().find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", millis / factor),
        None => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Kind = Kind::Millis { default: 5000, min: 100, max: 60_000 };

    #[test]
    fn spans_are_read_and_bounded() {
        assert_eq!(SPAN.parse("1s 500ms"), Ok(Value::Span(Duration::from_millis(1500))));
        assert_eq!(SPAN.parse("2m").unwrap_err(), "is 2m, must be at most 1m");
        assert_eq!(SPAN.parse("99ms").unwrap_err(), "is 99ms, must be at least 100ms");
        assert!(SPAN.parse("200500us").unwrap_err().contains("whole number of milliseconds"));
        assert!(SPAN.parse("5").unwrap_err().contains("not a span of time"));
    }

    #[test]
    fn lists_are_split_at_commas() {
        assert_eq!(Kind::List.parse("a:1, b:2,"), Ok(Value::List(vec!["a:1".into(), "b:2".into()])));
        assert_eq!(Kind::List.parse(""), Ok(Value::List(vec![])));
    }

    #[test]
    fn a_value_as_toml_reads_back() {
        for (kind, text) in [(SPAN, "1500ms"), (Kind::Bytes { default: 0, min: 0, max: u64::MAX }, "64KiB")] {
            let value = kind.parse(text).unwrap();
            assert_eq!(kind.toml(&value), format!("\"{text}\""));
        }
    }
}
