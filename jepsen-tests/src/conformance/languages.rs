//! The programs in `conformance/`: which toolchain each needs, how it is built into the cache, how it is called.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::failure::{Doing, Failure};

/// Where the programs are, and where what is built of them is kept.
#[derive(Debug, Clone)]
pub struct Places {
    /// The folder `conformance` of the checkout.
    pub sources: PathBuf,
    /// Outside of the checkout.
    pub cache: PathBuf,
}

impl Places {
    /// The programs of the checkout in which this runs, and the cache that `CONFORMANCE_CACHE` names, or else one in the
    /// home folder.
    #[must_use]
    pub fn usual() -> Self {
        let cache = std::env::var_os("CONFORMANCE_CACHE").map(PathBuf::from).unwrap_or_else(|| {
            let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
            home.join(".cache").join("tercet").join("conformance")
        });
        let sources = Path::new("jepsen-tests/conformance");
        Self { sources: std::path::absolute(sources).unwrap_or_else(|_| sources.to_owned()), cache }
    }
}

/// How a client takes the addresses of several nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// All of them, with this between them.
    All(&'static str),
    /// Only one: with more, Python and Go put the whole list into `:authority`, which HTTP/2 servers refuse.
    One,
}

/// An official client.
#[derive(Debug, Clone, Copy)]
pub struct Language {
    /// Also the name of its folder.
    pub name: &'static str,
    /// The client under test.
    pub client: &'static str,
    /// Programs that must be there.
    pub tools: &'static [&'static str],
    /// How it takes addresses.
    pub access: Access,
    install: fn(&Places) -> Result<(), Failure>,
    command: fn(&Places) -> Result<Command, Failure>,
}

/// Every language that has an official client with a simple consumer.
pub const LANGUAGES: [Language; 5] = [
    Language {
        name: "python",
        client: "rocketmq-python-client 5.1.2",
        tools: &["python3"],
        access: Access::One,
        install: install_python,
        command: |places| {
            let mut command = Command::new(places.cache.join("python/venv/bin/python"));
            command.arg(places.sources.join("python/main.py"));
            Ok(command)
        },
    },
    Language {
        name: "node",
        client: "rocketmq-client-nodejs 1.0.8",
        tools: &["node", "npm"],
        access: Access::One,
        install: install_node,
        command: |places| {
            let mut command = Command::new("node");
            command.arg(places.cache.join("node/main.js"));
            Ok(command)
        },
    },
    Language {
        name: "rust",
        client: "rocketmq 5.0.0",
        tools: &["cargo"],
        access: Access::All(","),
        install: install_rust,
        command: |places| Ok(Command::new(places.cache.join("rust/debug/conformance-rust"))),
    },
    Language {
        name: "java",
        client: "rocketmq-client-java 5.2.0",
        tools: &["java", "javac", "mvn"],
        access: Access::All(";"),
        install: install_java,
        command: java,
    },
    Language {
        name: "go",
        client: "golang/v5 v5.1.3",
        tools: &["go"],
        access: Access::One,
        install: install_go,
        command: |places| Ok(Command::new(places.cache.join("go/program"))),
    },
];

impl Language {
    /// The tools that this machine lacks.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.tools.iter().copied().filter(|tool| !is_there(tool)).collect()
    }

    /// Builds the program and installs its client into the cache, if that has not been done.
    ///
    /// # Errors
    /// If a tool fails; the text holds what it wrote.
    pub fn install(&self, places: &Places) -> Result<(), Failure> {
        let folder = places.cache.join(self.name);
        fs::create_dir_all(&folder).doing(|| format!("make {}", folder.display()))?;
        (self.install)(places)
    }

    /// How the installed program is called; arguments go behind it.
    ///
    /// # Errors
    /// If it is not installed.
    pub fn command(&self, places: &Places) -> Result<Command, Failure> {
        (self.command)(places)
    }
}

fn is_there(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

fn install_python(places: &Places) -> Result<(), Failure> {
    let venv = places.cache.join("python/venv");
    if !venv.join("bin/pip").is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let requirements = places.sources.join("python/requirements.txt");
    run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "--requirement"]).arg(requirements))
}

fn install_node(places: &Places) -> Result<(), Failure> {
    let (from, to) = (places.sources.join("node"), places.cache.join("node"));
    // The program lies beside its dependencies, where node looks for them.
    for file in ["package.json", "main.js"] {
        fs::copy(from.join(file), to.join(file)).doing(|| format!("copy {file} to {}", to.display()))?;
    }
    run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(to))
}

fn install_rust(places: &Places) -> Result<(), Failure> {
    let mut command = Command::new("cargo");
    command.args(["build", "--locked", "--quiet"]).current_dir(places.sources.join("rust"));
    run(command.env("CARGO_TARGET_DIR", places.cache.join("rust")))
}

fn install_java(places: &Places) -> Result<(), Failure> {
    let classpath = format!("-Dmdep.outputFile={}", places.cache.join("java/classpath").display());
    let mut command = Command::new("mvn");
    command.args(["--quiet", "--batch-mode", "compile", "dependency:build-classpath", &classpath]);
    run(command.current_dir(places.sources.join("java")).env("CONFORMANCE_CACHE", &places.cache))
}

fn java(places: &Places) -> Result<Command, Failure> {
    let folder = places.cache.join("java");
    let file = folder.join("classpath");
    let libraries = fs::read_to_string(&file).doing(|| format!("read {}", file.display()))?;
    let classpath = format!("{}:{}", folder.join("target/classes").display(), libraries.trim());
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-cp", &classpath, "dev.tercet.conformance.Main"]);
    Ok(command)
}

fn install_go(places: &Places) -> Result<(), Failure> {
    let mut command = Command::new("go");
    run(command.arg("build").arg("-o").arg(places.cache.join("go/program")).current_dir(places.sources.join("go")))
}

/// Runs a tool to its end.
fn run(command: &mut Command) -> Result<(), Failure> {
    let what = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().doing(|| what.clone())?;
    if output.status.success() {
        return Ok(());
    }
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(Failure(format!("{what} ended with {}: {said}{errors}", output.status)))
}
