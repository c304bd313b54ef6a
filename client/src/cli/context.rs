//! `tercet context`: named connections, in a file of the user's.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tercet_client::Client;

use super::{
    args::{Connection, ContextCommand, Format, LOCAL},
    exit::{Done, Exit},
    output,
};

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Contexts {
    /// The one that counts where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    contexts: BTreeMap<String, Connection>,
}

/// The file, and what is in it.
struct Book {
    path: PathBuf,
    contexts: Contexts,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    current: bool,
    #[serde(flatten)]
    connection: Connection,
}

#[derive(Serialize)]
struct Changed<'a> {
    name: &'a str,
    current: bool,
}

pub(super) fn run(command: ContextCommand, given: Connection, format: Format) -> Done {
    let mut book = Book::open()?;
    match command {
        ContextCommand::Add { name } => {
            check_name(&name)?;
            given.check()?;
            // Whatever it names is there and good.
            Client::new(given.options()?)?;
            let replaced = book.contexts.contexts.insert(name.clone(), given.absolute()?).is_some();
            let current = book.contexts.current.get_or_insert_with(|| name.clone()) == &name;
            book.save()?;
            let done = if replaced { "replaced" } else { "added" };
            let note = if current { ", and used from now on" } else { "" };
            output::say(format, &format!("context {name} {done}{note}"), &Changed { name: &name, current })?;
        }
        ContextCommand::Use { name } => {
            book.find(&name)?;
            book.contexts.current = Some(name.clone());
            book.save()?;
            output::say(
                format,
                &format!("context {name} is used from now on"),
                &Changed { name: &name, current: true },
            )?;
        }
        ContextCommand::Remove { name } => {
            book.find(&name)?;
            book.contexts.contexts.remove(&name);
            book.contexts.current.take_if(|current| *current == name);
            book.save()?;
            output::say(format, &format!("context {name} removed"), &Changed { name: &name, current: false })?;
        }
        ContextCommand::List => list(book.contexts, format)?,
    }
    Ok(Exit::DONE)
}

fn list(Contexts { current, contexts }: Contexts, format: Format) -> io::Result<()> {
    let listed = |(name, connection): (String, Connection)| {
        let current = current.as_ref() == Some(&name);
        Listed { name, current, connection }
    };
    let all: Vec<Listed> = contexts.into_iter().map(listed).collect();
    let rows = all.iter().map(|Listed { name, current, connection }| {
        let nodes = [&connection.endpoints, &connection.nameservers].into_iter().flatten().map(ToString::to_string);
        let nodes = nodes.collect::<Vec<_>>().join(" by ");
        let nodes = if nodes.is_empty() { LOCAL.to_owned() } else { nodes };
        let mark = if *current { "*" } else { "" };
        [mark.to_owned(), name.clone(), nodes, yes(connection.has_tls()), yes(connection.key_file.is_some())]
    });
    output::print(format, ["", "CONTEXT", "NODES", "TLS", "KEY"], rows, &all)
}

fn yes(is: bool) -> String {
    String::from(if is { "yes" } else { "no" })
}

/// The connection of a context: of the one that is named, else of the one that is in use, else none.
pub(super) fn connection(named: Option<&str>) -> Result<Connection, String> {
    let book = match Book::open() {
        // Without a home there is no context, and nobody asks for one.
        Err(_) if named.is_none() && Book::path().is_err() => return Ok(Connection::default()),
        book => book?,
    };
    match named.or(book.contexts.current.as_deref()) {
        Some(name) => book.find(name).cloned(),
        None => Ok(Connection::default()),
    }
}

impl Book {
    fn path() -> Result<PathBuf, String> {
        let of = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = of("XDG_CONFIG_HOME").or_else(|| of("HOME").map(|home| home.join(".config")));
        let folder =
            folder.ok_or("contexts are kept in the home folder, and neither HOME nor XDG_CONFIG_HOME is set")?;
        Ok(folder.join("tercet").join("contexts.toml"))
    }

    fn open() -> Result<Book, String> {
        let path = Self::path()?;
        let contexts = match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Contexts::default(),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        Ok(Book { path, contexts })
    }

    fn find(&self, name: &str) -> Result<&Connection, String> {
        self.contexts.contexts.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.contexts.contexts.keys().map(String::as_str).collect();
            let known = if known.is_empty() {
                String::from("there is none")
            } else {
                format!("there are: {}", known.join(", "))
            };
            format!("no context {name:?} in {}; {known}", self.path.display())
        })
    }

    /// All of the file or nothing of it.
    fn save(&self) -> Result<(), String> {
        let text = toml::to_string(&self.contexts).expect("names and texts are always TOML");
        write(&self.path, &text).map_err(|error| format!("cannot write {}: {error}", self.path.display()))
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("it stands in a folder"))?;
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&beside, text)?;
    fs::rename(&beside, path)
}

/// It is typed, and stands in a file.
fn check_name(name: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_good = !name.is_empty() && name.len() <= 64 && name.bytes().all(legal);
    if is_good { Ok(()) } else { Err(format!("bad name {name:?}: 1 to 64 characters of a-z, A-Z, 0-9, ., _ and -")) }
}
