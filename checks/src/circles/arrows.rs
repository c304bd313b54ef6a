//! Arrows between files, and the circles that they close.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use super::names::{Names, Target};
use super::tree::{FileId, Tree};

/// From the file that names something to the file that defines it, with the names.
type Arrows = BTreeMap<(FileId, FileId), BTreeSet<String>>;

/// Files of which each needs, through the others, itself.
#[derive(Debug)]
pub(crate) struct Circle {
    pub(super) files: Vec<PathBuf>,
    /// What ties them: who names what of whom.
    pub(super) ties: Vec<(PathBuf, PathBuf, Vec<String>)>,
}

pub(super) fn circles(tree: &Tree) -> Vec<Circle> {
    let arrows = arrows(tree);
    let reached: Vec<BTreeSet<FileId>> = (0..tree.files.len()).map(|file| reach(&arrows, file)).collect();
    let mut told: BTreeSet<FileId> = BTreeSet::new();
    let mut circles = Vec::new();
    for file in 0..tree.files.len() {
        if !reached[file].contains(&file) || told.contains(&file) {
            continue;
        }
        let members: BTreeSet<FileId> =
            reached[file].iter().copied().filter(|&other| reached[other].contains(&file)).collect();
        told.extend(&members);
        circles.push(circle(tree, &arrows, &members));
    }
    circles.sort_by(|one, other| one.files.cmp(&other.files));
    circles
}

fn arrows(tree: &Tree) -> Arrows {
    let names = Names::of(tree);
    let mut arrows = Arrows::new();
    for (id, module) in tree.modules.iter().enumerate() {
        for target in module.mentions.iter().flat_map(|path| names.targets(id, path)) {
            if let Target::Name { file, name } = target
                && file != module.file
            {
                arrows.entry((module.file, file)).or_default().insert(name);
            }
        }
    }
    arrows
}

/// What can be reached from a file by at least one arrow.
fn reach(arrows: &Arrows, from: FileId) -> BTreeSet<FileId> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        for &(_, to) in arrows.range((file, 0)..=(file, FileId::MAX)).map(|(arrow, _)| arrow) {
            if reached.insert(to) {
                next.push(to);
            }
        }
    }
    reached
}

fn circle(tree: &Tree, arrows: &Arrows, members: &BTreeSet<FileId>) -> Circle {
    let mut ties: Vec<(PathBuf, PathBuf, Vec<String>)> = arrows
        .iter()
        .filter(|((from, to), _)| members.contains(from) && members.contains(to))
        .map(|((from, to), names)| {
            (tree.files[*from].clone(), tree.files[*to].clone(), names.iter().cloned().collect())
        })
        .collect();
    ties.sort();
    let mut files: Vec<PathBuf> = members.iter().map(|&file| tree.files[file].clone()).collect();
    files.sort();
    Circle { files, ties }
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "a circle of {} files:", self.files.len())?;
        for (from, to, names) in &self.ties {
            writeln!(f, "  {} -> {}: {}", from.display(), to.display(), names.join(", "))?;
        }
        Ok(())
    }
}
