//! Names of topics and consumer groups, with the limits that RocketMQ users know.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

pub use tercet_proto::limits::{GROUP_CHARS_MAX, TOPIC_CHARS_MAX};

const DEAD_LETTER_PREFIX: &str = "%DLQ%";

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but white space.
    #[error("the name is blank")]
    Blank,
    /// Longer than users of RocketMQ know.
    #[error("the name has {chars} characters, at most {chars_max} are allowed")]
    TooLong {
        /// Its length.
        chars: usize,
        /// The limit.
        chars_max: usize,
    },
    /// A character outside `^[%|a-zA-Z0-9_-]+$`.
    #[error("the name has the character {0:?}; allowed are letters, digits, '%', '|', '_' and '-'")]
    Character(char),
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $chars_max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a legal name.
            ///
            /// # Errors
            /// What is wrong with it.
            pub fn parse(text: &str) -> Result<$name, NameError> {
                check(text, $chars_max)?;
                Ok($name(Arc::from(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The name of a topic.
    TopicName, TOPIC_CHARS_MAX
}
name! {
    /// The name of a consumer group.
    GroupName, GROUP_CHARS_MAX
}

impl TopicName {
    /// The topic that takes what `group` could not consume.
    #[must_use]
    pub fn dead_letter_of(group: &GroupName) -> TopicName {
        const { assert!(DEAD_LETTER_PREFIX.len() + GROUP_CHARS_MAX <= TOPIC_CHARS_MAX) };
        TopicName(Arc::from(format!("{DEAD_LETTER_PREFIX}{group}")))
    }

    /// Whether this is the dead-letter topic of some group.
    #[must_use]
    pub fn is_dead_letter(&self) -> bool {
        self.0.starts_with(DEAD_LETTER_PREFIX)
    }
}

fn check(text: &str, chars_max: usize) -> Result<(), NameError> {
    if text.trim().is_empty() {
        return Err(NameError::Blank);
    }
    if let Some(odd) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "%|_-".contains(*c))) {
        return Err(NameError::Character(odd));
    }
    // Only ASCII from here: bytes are characters.
    if text.len() > chars_max {
        return Err(NameError::TooLong { chars: text.len(), chars_max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_names_pass_up_to_their_length() {
        assert_eq!(TopicName::parse("a%b|C_9-").unwrap().as_str(), "a%b|C_9-");
        assert!(TopicName::parse(&"t".repeat(127)).is_ok());
        assert!(GroupName::parse(&"g".repeat(120)).is_ok());
    }

    #[test]
    fn illegal_names_say_what_is_wrong() {
        assert_eq!(TopicName::parse(" "), Err(NameError::Blank));
        assert_eq!(TopicName::parse(""), Err(NameError::Blank));
        assert_eq!(TopicName::parse("a b"), Err(NameError::Character(' ')));
        assert_eq!(TopicName::parse("ä"), Err(NameError::Character('ä')));
        assert_eq!(TopicName::parse(&"t".repeat(128)), Err(NameError::TooLong { chars: 128, chars_max: 127 }));
        assert!(matches!(GroupName::parse(&"g".repeat(121)), Err(NameError::TooLong { .. })));
    }

    #[test]
    fn the_longest_group_has_a_legal_dead_letter_topic() {
        let group = GroupName::parse(&"g".repeat(GROUP_CHARS_MAX)).unwrap();
        let topic = TopicName::dead_letter_of(&group);
        assert!(topic.is_dead_letter());
        assert_eq!(TopicName::parse(topic.as_str()), Ok(topic));
    }
}
