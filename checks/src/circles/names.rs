//! Which file defines what a path means, through imports and re-exports.

use super::mentions::NamePath;
use super::tree::{FileId, Meaning, Module, ModuleId, Tree};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Module(ModuleId),
    Name {
        file: FileId,
        name: String,
    },
    /// Of another crate.
    Outside,
}

/// The imports that are being followed, so that two that lead to each other end.
type Followed = Vec<(ModuleId, String, usize)>;

pub(super) struct Names<'a> {
    tree: &'a Tree,
}

impl<'a> Names<'a> {
    pub(super) fn of(tree: &'a Tree) -> Names<'a> {
        Names { tree }
    }

    /// What a path in this module means. Nothing if it begins with a name that the module does not know: one of another
    /// crate, of the language or of a function.
    pub(super) fn targets(&self, module: ModuleId, path: &[String]) -> Vec<Target> {
        self.follow(module, path, &mut Vec::new())
    }

    fn module(&self, id: ModuleId) -> &'a Module {
        &self.tree.modules[id]
    }

    fn follow(&self, module: ModuleId, path: &[String], followed: &mut Followed) -> Vec<Target> {
        let Some((first, mut rest)) = path.split_first() else { return Vec::new() };
        let mut targets = match first.as_str() {
            "crate" => vec![Target::Module(self.module(module).root)],
            "self" => vec![Target::Module(module)],
            "super" => self.module(module).parent.map(Target::Module).into_iter().collect(),
            name => match self.lookup(module, name, followed) {
                found if !found.is_empty() => found,
                _ => match &self.tree.library {
                    Some((library, root)) if library == name => vec![Target::Module(*root)],
                    _ => return vec![Target::Outside],
                },
            },
        };
        while let Some((next, beyond)) = rest.split_first() {
            targets = self.step(targets, next, followed);
            rest = beyond;
        }
        targets
    }

    /// One segment further. What is in a type (a variant, a function) is where the type is.
    fn step(&self, from: Vec<Target>, next: &str, followed: &mut Followed) -> Vec<Target> {
        let (mut found, mut unfound, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for target in from {
            match target {
                Target::Module(id) if next == "super" => {
                    found.extend(self.module(id).parent.map(Target::Module));
                }
                Target::Module(id) => {
                    let there = self.lookup(id, next, followed);
                    if there.is_empty() {
                        unfound.push(self.unknown(id, next));
                    }
                    found.extend(there);
                }
                other => others.push(other),
            }
        }
        // A module beside a name of another kind is meant if it has what is asked for.
        [found, others, unfound].into_iter().find(|targets| !targets.is_empty()).unwrap_or_default()
    }

    /// A name that a module has and shows nowhere: made by a macro there, or passed on from another crate.
    fn unknown(&self, id: ModuleId, name: &str) -> Target {
        let module = self.module(id);
        if module.names.contains_key(name) || self.passes_on_everything_of_another_crate(id) {
            return Target::Outside;
        }
        Target::Name { file: module.file, name: name.to_owned() }
    }

    fn passes_on_everything_of_another_crate(&self, id: ModuleId) -> bool {
        self.module(id).globs.iter().any(|glob| self.targets(id, glob).contains(&Target::Outside))
    }

    fn lookup(&self, id: ModuleId, name: &str, followed: &mut Followed) -> Vec<Target> {
        let module = self.module(id);
        let mut found = Vec::new();
        let meanings = module.names.get(name).map_or(&[][..], Vec::as_slice);
        for (at, meaning) in meanings.iter().enumerate() {
            match meaning {
                Meaning::Module(child) => found.push(Target::Module(*child)),
                Meaning::DefinedHere => found.push(Target::Name { file: module.file, name: name.to_owned() }),
                Meaning::Import(path) => {
                    once(followed, (id, name.to_owned(), at), |followed| {
                        found.extend(self.follow(id, path, followed));
                    });
                }
            }
        }
        if meanings.is_empty() {
            for (at, glob) in module.globs.iter().enumerate() {
                once(followed, (id, name.to_owned(), at), |followed| {
                    found.extend(self.through(id, glob, name, followed));
                });
            }
        }
        found
    }

    fn through(&self, id: ModuleId, glob: &NamePath, name: &str, followed: &mut Followed) -> Vec<Target> {
        let mut found = Vec::new();
        for target in self.follow(id, glob, followed) {
            if let Target::Module(module) = target {
                found.extend(self.lookup(module, name, followed));
            }
        }
        found
    }
}

/// Does this unless it is being done.
fn once(followed: &mut Followed, what: (ModuleId, String, usize), act: impl FnOnce(&mut Followed)) {
    if followed.contains(&what) {
        return;
    }
    followed.push(what);
    act(followed);
    followed.pop();
}
