//! `tercet completion` and `tercet man`: what is made of the definition of the command line.

use std::{fs, io, path::Path};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{
    args::Args,
    exit::{Done, Exit},
    output,
};

pub(super) fn completion(shell: Shell) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "tercet", &mut script);
    output::line(String::from_utf8(script)?.trim_end())?;
    Ok(Exit::DONE)
}

pub(super) fn man(dir: &Path) -> Done {
    let named = |error: io::Error| format!("cannot write the pages into {}: {error}", dir.display());
    fs::create_dir_all(dir).map_err(named)?;
    clap_mangen::generate_to(Args::command(), dir).map_err(named)?;
    output::line(&format!(
        "the manual pages are in {}; `man -l {}` shows the first",
        dir.display(),
        dir.join("tercet.1").display()
    ))?;
    Ok(Exit::DONE)
}
