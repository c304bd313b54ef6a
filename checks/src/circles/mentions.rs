//! The paths that code mentions. In the tokens of a macro's call everything that looks like a path is taken for one.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{
    Arm, Attribute, Field, FieldValue, ImplItem, Item, ItemMod, ItemUse, Local, Macro, TraitItem, Variant,
    VisRestricted,
};

use super::only_tests::only_in_tests;

/// A path, segment by segment.
pub(super) type NamePath = Vec<String>;

#[derive(Default)]
pub(super) struct Mentions {
    pub(super) paths: Vec<NamePath>,
    /// Imports within functions.
    pub(super) imports: Vec<ItemUse>,
}

impl Mentions {
    pub(super) fn tokens(&mut self, tokens: TokenStream) {
        self.paths.extend(paths_in(tokens));
    }
}

/// Visits what is not only for tests.
macro_rules! unless_only_in_tests {
    ($($method:ident: $kind:ident,)+) => {$(
        fn $method(&mut self, node: &'ast $kind) {
            if !only_in_tests(&node.attrs) {
                visit::$method(self, node);
            }
        }
    )+};
}

impl<'ast> Visit<'ast> for Mentions {
    unless_only_in_tests! {
        visit_arm: Arm,
        visit_field: Field,
        visit_field_value: FieldValue,
        visit_local: Local,
        visit_variant: Variant,
    }

    fn visit_item(&mut self, item: &'ast Item) {
        if !only_in_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes: &[Attribute] = match item {
            ImplItem::Const(of) => &of.attrs,
            ImplItem::Fn(of) => &of.attrs,
            ImplItem::Type(of) => &of.attrs,
            ImplItem::Macro(of) => &of.attrs,
            _ => &[],
        };
        if !only_in_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let attributes: &[Attribute] = match item {
            TraitItem::Const(of) => &of.attrs,
            TraitItem::Fn(of) => &of.attrs,
            TraitItem::Type(of) => &of.attrs,
            TraitItem::Macro(of) => &of.attrs,
            _ => &[],
        };
        if !only_in_tests(attributes) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| plain(&segment.ident)).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        self.imports.push(import.clone());
    }

    // Modules are walked by the tree; attributes and visibilities name nothing that is used.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}
}

pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(of) => &of.attrs,
        Item::Enum(of) => &of.attrs,
        Item::ExternCrate(of) => &of.attrs,
        Item::Fn(of) => &of.attrs,
        Item::ForeignMod(of) => &of.attrs,
        Item::Impl(of) => &of.attrs,
        Item::Macro(of) => &of.attrs,
        Item::Mod(of) => &of.attrs,
        Item::Static(of) => &of.attrs,
        Item::Struct(of) => &of.attrs,
        Item::Trait(of) => &of.attrs,
        Item::TraitAlias(of) => &of.attrs,
        Item::Type(of) => &of.attrs,
        Item::Union(of) => &of.attrs,
        Item::Use(of) => &of.attrs,
        _ => &[],
    }
}

/// A name without the mark of raw identifiers.
pub(super) fn plain(name: &proc_macro2::Ident) -> String {
    let name = name.to_string();
    name.strip_prefix("r#").map_or_else(|| name.clone(), str::to_owned)
}

/// What looks like a path: names joined by `::`. Behind a single dot stands a field or a method, which is none.
fn paths_in(tokens: TokenStream) -> Vec<NamePath> {
    let mut found: Vec<NamePath> = Vec::new();
    let mut path: NamePath = Vec::new();
    // The punctuation since the last name.
    let mut between = String::new();
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                let goes_on = between == "::" && !path.is_empty();
                if !goes_on {
                    found.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                }
                let after_dot = between.ends_with('.') && !between.ends_with("..");
                if !after_dot {
                    path.push(plain(&name));
                }
                between.clear();
            }
            TokenTree::Punct(mark) => between.push(mark.as_char()),
            TokenTree::Group(group) => {
                found.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                found.extend(paths_in(group.stream()));
                between.clear();
            }
            TokenTree::Literal(_) => {
                found.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                between.clear();
            }
        }
    }
    found.extend((!path.is_empty()).then_some(path));
    found
}
