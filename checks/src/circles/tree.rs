//! The modules of a crate: which file each one stands in, what it defines and imports, and which paths it mentions.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::visit::Visit as _;
use syn::{Expr, Item, ItemMod, ItemUse, Lit, Meta, Token, UseTree, Visibility};

use super::mentions::{Mentions, NamePath, attributes, plain};
use super::only_tests::only_in_tests;
use super::roots;

/// Why a crate's source could not be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    NotRust { path: PathBuf, source: syn::Error },
    #[error("{}: no file for `mod {module};`", path.display())]
    NoFile { path: PathBuf, module: String },
}

pub(super) type FileId = usize;
pub(super) type ModuleId = usize;

/// What a name in a module stands for; with several builds (`cfg`) or name spaces it may be several of these.
pub(super) enum Meaning {
    Module(ModuleId),
    DefinedHere,
    Import(NamePath),
}

pub(super) struct Module {
    pub(super) file: FileId,
    pub(super) root: ModuleId,
    pub(super) parent: Option<ModuleId>,
    pub(super) names: BTreeMap<String, Vec<Meaning>>,
    /// The paths of imports of everything (`use path::*`).
    pub(super) globs: Vec<NamePath>,
    /// What the code uses, private imports included: who imports a name for itself uses it.
    pub(super) mentions: Vec<NamePath>,
    /// Names in the tokens of macros that may define items.
    from_macros: Vec<String>,
}

pub(super) struct Tree {
    pub(super) files: Vec<PathBuf>,
    pub(super) modules: Vec<Module>,
    /// The library, by the name that the programs of its package know it by.
    pub(super) library: Option<(String, ModuleId)>,
}

/// A file that is being read: where it is, and where the modules that it declares have their files.
struct Place {
    path: PathBuf,
    children: PathBuf,
}

impl Tree {
    pub(super) fn of(crate_folder: &Path) -> Result<Tree, SourceError> {
        let mut tree = Tree { files: Vec::new(), modules: Vec::new(), library: None };
        for path in roots::root_files(crate_folder) {
            let is_library = path.ends_with("src/lib.rs");
            let children = path.parent().map(Path::to_path_buf).unwrap_or_default();
            let root = tree.file(Place { path, children }, None)?;
            if is_library {
                tree.library = roots::crate_name(crate_folder).map(|name| (name, root));
            }
        }
        for module in &mut tree.modules {
            for name in std::mem::take(&mut module.from_macros) {
                module.names.entry(name).or_insert_with(|| vec![Meaning::DefinedHere]);
            }
        }
        Ok(tree)
    }

    fn file(&mut self, place: Place, parent: Option<ModuleId>) -> Result<ModuleId, SourceError> {
        let path = &place.path;
        let text = fs::read_to_string(path).map_err(|source| SourceError::Unreadable { path: path.clone(), source })?;
        let parsed = syn::parse_file(&text).map_err(|source| SourceError::NotRust { path: path.clone(), source })?;
        // A file that two builds declare, each in its way, is one file.
        let file = self.files.iter().position(|known| known == path).unwrap_or_else(|| {
            self.files.push(path.clone());
            self.files.len() - 1
        });
        self.module(&place, file, parent, parsed.items)
    }

    fn module(
        &mut self,
        place: &Place,
        file: FileId,
        parent: Option<ModuleId>,
        items: Vec<Item>,
    ) -> Result<ModuleId, SourceError> {
        let id = self.modules.len();
        let root = parent.map_or(id, |parent| self.modules[parent].root);
        self.modules.push(Module {
            file,
            root,
            parent,
            names: BTreeMap::new(),
            globs: Vec::new(),
            mentions: Vec::new(),
            from_macros: Vec::new(),
        });
        for item in items {
            // A whole file that only tests see is a file like any other.
            let is_file = matches!(&item, Item::Mod(declared) if declared.content.is_none());
            if only_in_tests(attributes(&item)) && !is_file {
                continue;
            }
            match item {
                Item::Mod(declared) => {
                    let name = plain(&declared.ident);
                    for child in self.children(place, id, file, declared)? {
                        self.define(id, name.clone(), Meaning::Module(child));
                    }
                }
                Item::Use(import) => self.import(id, &import),
                other => self.item(id, &other),
            }
        }
        Ok(id)
    }

    /// More than one if builds differ in the file (`#[cfg_attr(.., path = "..")]`).
    fn children(
        &mut self,
        place: &Place,
        parent: ModuleId,
        file: FileId,
        declared: ItemMod,
    ) -> Result<Vec<ModuleId>, SourceError> {
        let name = plain(&declared.ident);
        let own = place.children.join(&name);
        let paths = path_attributes(&declared);
        if let Some((_, items)) = declared.content {
            let inner = Place { path: place.path.clone(), children: own };
            return Ok(vec![self.module(&inner, file, Some(parent), items)?]);
        }
        let beside = place.path.parent().map(Path::to_path_buf).unwrap_or_default();
        let usual = if own.join("mod.rs").is_file() {
            Place { path: own.join("mod.rs"), children: own }
        } else {
            Place { path: place.children.join(format!("{name}.rs")), children: own }
        };
        let always = paths.iter().any(|path| path.always);
        let others = paths.iter().map(|path| Place { path: beside.join(&path.path), children: beside.clone() });
        let files: Vec<Place> = others.chain((!always).then_some(usual)).collect();
        let missing = || SourceError::NoFile { path: place.path.clone(), module: name.clone() };
        files
            .into_iter()
            .map(|next| if next.path.is_file() { self.file(next, Some(parent)) } else { Err(missing()) })
            .collect()
    }

    fn item(&mut self, module: ModuleId, item: &Item) {
        let name = match item {
            Item::Const(of) => Some(&of.ident),
            Item::Enum(of) => Some(&of.ident),
            Item::Fn(of) => Some(&of.sig.ident),
            Item::Static(of) => Some(&of.ident),
            Item::Struct(of) => Some(&of.ident),
            Item::Trait(of) => Some(&of.ident),
            Item::TraitAlias(of) => Some(&of.ident),
            Item::Type(of) => Some(&of.ident),
            Item::Union(of) => Some(&of.ident),
            Item::Macro(of) => of.ident.as_ref(),
            _ => None,
        };
        if let Some(name) = name {
            self.define(module, plain(name), Meaning::DefinedHere);
        }
        if let Item::Macro(of) = item
            && of.ident.is_none()
        {
            names_in(of.mac.tokens.clone(), &mut self.modules[module].from_macros);
        }
        let mut mentions = Mentions::default();
        mentions.visit_item(item);
        self.modules[module].mentions.append(&mut mentions.paths);
        for import in &mentions.imports {
            self.import(module, import);
        }
    }

    fn define(&mut self, module: ModuleId, name: String, meaning: Meaning) {
        self.modules[module].names.entry(name).or_default().push(meaning);
    }

    fn import(&mut self, module: ModuleId, import: &ItemUse) {
        let private = matches!(import.vis, Visibility::Inherited);
        self.import_tree(module, private, &mut Vec::new(), &import.tree);
    }

    fn import_tree(&mut self, module: ModuleId, private: bool, prefix: &mut NamePath, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(plain(&path.ident));
                self.import_tree(module, private, prefix, &path.tree);
                prefix.pop();
            }
            UseTree::Group(group) => {
                for part in &group.items {
                    self.import_tree(module, private, prefix, part);
                }
            }
            UseTree::Glob(_) => {
                self.modules[module].mentions.push(prefix.clone());
                self.modules[module].globs.push(prefix.clone());
            }
            UseTree::Name(name) => self.import_name(module, private, prefix, plain(&name.ident), None),
            UseTree::Rename(name) => {
                self.import_name(module, private, prefix, plain(&name.ident), Some(plain(&name.rename)));
            }
        }
    }

    fn import_name(
        &mut self,
        module: ModuleId,
        private: bool,
        prefix: &[String],
        name: String,
        known_as: Option<String>,
    ) {
        let mut path = prefix.to_vec();
        // `use path::{self}` imports what the path means.
        if name != "self" || path.is_empty() {
            path.push(name);
        }
        if private {
            self.modules[module].mentions.push(path.clone());
        }
        let known_as = known_as.or_else(|| path.last().cloned()).filter(|name| name != "_");
        if let Some(known_as) = known_as {
            self.define(module, known_as, Meaning::Import(path));
        }
    }
}

/// What `#[path = "..."]` says, in all builds or in some.
struct PathAttribute {
    path: String,
    always: bool,
}

fn path_attributes(module: &ItemMod) -> Vec<PathAttribute> {
    let mut found = Vec::new();
    for attribute in &module.attrs {
        if let Some(path) = path_in(&attribute.meta) {
            found.push(PathAttribute { path, always: true });
        } else if attribute.path().is_ident("cfg_attr")
            && let Ok(parts) = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        {
            found.extend(parts.iter().filter_map(path_in).map(|path| PathAttribute { path, always: false }));
        }
    }
    found
}

fn path_in(meta: &Meta) -> Option<String> {
    let Meta::NameValue(pair) = meta else { return None };
    let Expr::Lit(literal) = &pair.value else { return None };
    let Lit::Str(text) = &literal.lit else { return None };
    pair.path.is_ident("path").then(|| text.value())
}

/// The names of types and constants in what a macro gets.
fn names_in(tokens: TokenStream, names: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) if plain(&name).starts_with(char::is_uppercase) => names.push(plain(&name)),
            TokenTree::Group(group) => names_in(group.stream(), names),
            _ => {}
        }
    }
}
