//! Who calls, and how a request proves it.

use std::{fmt, fs, path::Path, sync::Arc};

use serde::Deserialize;

use crate::error::Error;

/// An access key and its secret, as RocketMQ has them. The secret never leaves the client: each request carries a signature made
/// with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(crate) access_key: Arc<str>,
    pub(crate) secret: Arc<[u8]>,
    pub(crate) session_token: Option<Arc<str>>,
}

/// What a key file holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    access_key: String,
    secret: String,
    session_token: Option<String>,
}

impl Credentials {
    /// # Errors
    /// If one of them is empty, or the access key has characters other than visible ASCII, or a `/` or `,`, which end it in a request.
    pub fn new(access_key: impl Into<String>, secret: impl Into<String>) -> Result<Self, Error> {
        let (access_key, secret) = (access_key.into(), secret.into());
        let legal = |byte: u8| byte.is_ascii_graphic() && !b"/,".contains(&byte);
        if access_key.is_empty() || !access_key.bytes().all(legal) {
            let problem = "it is one or more visible ASCII characters other than / and ,";
            return Err(Error::Setting { name: "access_key", problem: problem.to_owned() });
        }
        if secret.is_empty() {
            return Err(Error::Setting { name: "secret", problem: "it is empty".to_owned() });
        }
        Ok(Self { access_key: access_key.into(), secret: secret.into_bytes().into(), session_token: None })
    }

    /// From a file of two lines, `access_key = "..."` and `secret = "..."`; and `session_token = "..."` if there is one. (TOML.)
    ///
    /// # Errors
    /// If it cannot be read or is not like that. No error shows a part of the file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let wrong =
            |problem: String| Error::Setting { name: "key_file", problem: format!("{}: {problem}", path.display()) };
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let malformed = |error: toml::de::Error| {
            wrong(format!("{}; expected access_key = \"...\" and secret = \"...\"", error.message()))
        };
        let KeyFile { access_key, secret, session_token } = toml::from_str(&text).map_err(malformed)?;
        let credentials = Self::new(access_key, secret).and_then(|credentials| match session_token {
            None => Ok(credentials),
            Some(token) => credentials.session_token(token),
        });
        credentials.map_err(|error| wrong(error.to_string()))
    }

    /// The token that goes with a key for some time only.
    ///
    /// # Errors
    /// If it is empty or has characters other than visible ASCII.
    pub fn session_token(mut self, token: impl Into<String>) -> Result<Self, Error> {
        let token = token.into();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem = "it is one or more visible ASCII characters".to_owned();
            return Err(Error::Setting { name: "session_token", problem });
        }
        self.session_token = Some(token.into());
        Ok(self)
    }
}

/// Without the secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_request_could_carry_is_refused_by_its_name() {
        for (key, secret, named) in [("", "s", "access_key"), ("a/b", "s", "access_key"), ("a b", "s", "access_key")]
            .into_iter()
            .chain([("a", "", "secret")])
        {
            let error = Credentials::new(key, secret).unwrap_err().to_string();
            assert!(error.contains(named), "{key:?} {secret:?}: {error}");
        }
        let token = |token| Credentials::new("a", "s").unwrap().session_token(token);
        assert!(token("").unwrap_err().to_string().contains("session_token"));
        assert!(token("a\n").is_err() && token("a-b").is_ok());
    }

    #[test]
    fn a_key_file_is_named_and_its_secret_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("me.key");
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            Credentials::from_file(&file)
        };
        let whole = "access_key = \"a\"\nsecret = \"hidden\"\nsession_token = \"t\"";
        let expected = Credentials::new("a", "hidden").unwrap().session_token("t").unwrap();
        assert_eq!(read(whole).unwrap(), expected);
        for text in [
            "access_key = \"a\"\nsecret \"hidden\"",
            "secret = \"hidden\"",
            "access_key = \"\"\nsecret = \"hidden\"",
            "access_key = \"a\"\nsecret = \"hidden\"\nother = \"hidden\"",
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(file.to_str().unwrap()) && !error.contains("hidden"), "{error}");
        }
        let error = Credentials::from_file(folder.path().join("gone")).unwrap_err().to_string();
        assert!(error.contains("gone"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", Credentials::new("key-1", "secret-1").unwrap().session_token("token-1").unwrap());
        assert!(shown.contains("key-1") && !shown.contains("secret-1") && !shown.contains("token-1"), "{shown}");
    }
}
