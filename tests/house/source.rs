//! The sources without their tests, and the paths that stand in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Arm, Attribute, Block, ExprStruct, FieldsNamed, ImplItem, Item, Stmt, TraitItem, UseTree, Variant,
};

/// The name by which the binary and the tests know the library.
const CRATE: &str = "upgrade_remediator";

/// A path as the code writes it, and where.
pub(crate) struct Written {
    /// Its segments; groups are spelled out: `a::{b, c::d}` is `a::b` and `a::c::d`.
    pub(crate) path: Vec<String>,
    /// The module in which it stands.
    pub(crate) module: Vec<String>,
    pub(crate) line: usize,
}

/// A source file without its tests.
pub(crate) struct Source {
    /// Its place in `src`.
    pub(crate) place: String,
    /// Every path and every word of the code, in macros too; nothing of comments and literals.
    pub(crate) written: Vec<Written>,
    /// The names that `use` and `mod` declare: each with the path that it stands for, as written.
    pub(crate) declared: BTreeMap<String, Vec<String>>,
    /// The modules of tests that stand in files of their own.
    tests: BTreeSet<String>,
}

impl Source {
    /// Reads one file. The error says what is no Rust, or where a test hides.
    pub(crate) fn parse(place: &str, text: &str) -> Result<Self, String> {
        let mut file = syn::parse_file(text).map_err(|error| format!("{place}: {error}"))?;
        let mut strip = Strip::default();
        strip.visit_file_mut(&mut file);
        let tokens = file.to_token_stream();
        let mut source = Self {
            place: place.to_owned(),
            written: Vec::new(),
            declared: strip.declared,
            tests: strip.files,
        };
        walk(tokens, &source.module(), &mut source.written);
        if let Some(hidden) = source.written.windows(2).find(|two| two[0].path == ["cfg"] && is_test(&two[1]))
        {
            return Err(format!(
                "{place}:{}: a test stands where this does not look for one",
                hidden[0].line
            ));
        }
        Ok(source)
    }

    /// The path of its module: `a/b.rs` and `a/b/mod.rs` are `a::b`, `lib.rs` is the root.
    pub(crate) fn module(&self) -> Vec<String> {
        let mut parts: Vec<String> =
            self.place.trim_end_matches(".rs").split('/').map(ToOwned::to_owned).collect();
        if parts.last().is_some_and(|part| part == "mod") || parts == ["lib"] {
            parts.pop();
        }
        parts
    }

    /// This path from the crate's root, or none where it leads out of the crate.
    pub(crate) fn absolute(&self, path: &[String], module: &[String]) -> Option<Vec<String>> {
        let first = path.first()?;
        let ups = path.iter().take_while(|part| *part == "super").count();
        let (base, rest) = match first.as_str() {
            "crate" | CRATE => (&[][..], &path[1..]),
            "self" => (module, &path[1..]),
            "super" => (&module[..module.len().checked_sub(ups)?], &path[ups..]),
            name => {
                // What `use` declares may be the crate's, and then stands for it everywhere.
                let declared = self.declared.get(name).filter(|declared| declared.first() != Some(first))?;
                let mut whole = self.absolute(declared, module)?;
                whole.extend_from_slice(&path[1..]);
                return Some(whole);
            }
        };
        let rest = rest.iter().filter(|part| *part != "self" && *part != "*");
        Some(base.iter().chain(rest).cloned().collect())
    }

    /// The paths from the crate's root that this file names, and the line of each.
    pub(crate) fn uses(&self) -> impl Iterator<Item = (Vec<String>, usize)> {
        self.written
            .iter()
            .filter_map(|written| Some((self.absolute(&written.path, &written.module)?, written.line)))
    }

    /// How often this word, or path, stands in the code.
    pub(crate) fn occurrences(&self, word: &str) -> usize {
        let parts: Vec<&str> = word.split("::").collect();
        let stands = |written: &&Written| written.path.windows(parts.len()).any(|window| window == parts);
        self.written.iter().filter(stands).count()
    }
}

/// Parses a file and takes out what stands under `#[cfg(test)]`.
pub(crate) fn without_tests(text: &str) -> syn::Result<syn::File> {
    let mut file = syn::parse_file(text)?;
    Strip::default().visit_file_mut(&mut file);
    Ok(file)
}

/// The sources of this folder as they are without their tests.
pub(crate) fn sources(files: &BTreeMap<String, String>) -> Result<Vec<Source>, String> {
    let mut all: Vec<Source> =
        files.iter().map(|(place, text)| Source::parse(place, text)).collect::<Result<_, _>>()?;
    let of_tests = |source: &Source| {
        let folder = source.module();
        source
            .tests
            .iter()
            .map(move |name| [&folder[..], std::slice::from_ref(name)].concat())
            .collect::<Vec<_>>()
    };
    let tests: Vec<Vec<String>> = all.iter().flat_map(of_tests).collect();
    all.retain(|source| !tests.iter().any(|test| source.module().starts_with(test)));
    Ok(all)
}

/// The files of `src`, by their places in it.
pub(crate) fn files_of_src() -> BTreeMap<String, String> {
    fn read(folder: &Path, root: &Path, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                read(&path, root, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let place = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                files.insert(place, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    read(&root, &root, &mut files);
    files
}

/// Takes out what stands under `#[cfg(test)]`, and notes what `use` and `mod` declare in the rest.
#[derive(Default)]
struct Strip {
    files: BTreeSet<String>,
    declared: BTreeMap<String, Vec<String>>,
}

/// Whether these attributes keep what follows in the product.
fn stays(attributes: &[Attribute]) -> bool {
    !attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

fn is_test(written: &Written) -> bool {
    written.path == ["test"]
}

fn attributes_of_item(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn stays_in_impl(item: &ImplItem) -> bool {
    match item {
        ImplItem::Const(item) => stays(&item.attrs),
        ImplItem::Fn(item) => stays(&item.attrs),
        ImplItem::Type(item) => stays(&item.attrs),
        ImplItem::Macro(item) => stays(&item.attrs),
        _ => true,
    }
}

fn stays_in_trait(item: &TraitItem) -> bool {
    match item {
        TraitItem::Const(item) => stays(&item.attrs),
        TraitItem::Fn(item) => stays(&item.attrs),
        TraitItem::Type(item) => stays(&item.attrs),
        TraitItem::Macro(item) => stays(&item.attrs),
        _ => true,
    }
}

/// Those of a list that stay; whatever a comma separates.
fn retain<T: Clone, P: Default>(
    list: &mut syn::punctuated::Punctuated<T, P>,
    attributes: impl Fn(&T) -> &[Attribute],
) {
    *list = list.iter().filter(|one| stays(attributes(one))).cloned().collect();
}

impl Strip {
    fn items(&mut self, items: &mut Vec<Item>) {
        items.retain(|item| {
            let kept = stays(attributes_of_item(item));
            if let Item::Mod(module) = item
                && !kept
                && module.content.is_none()
            {
                self.files.insert(module.ident.to_string());
            }
            kept
        });
    }

    fn declare(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.declare(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.declare(tree, before)),
            UseTree::Name(name) if name.ident == "self" => {
                if let Some(last) = before.last() {
                    self.declared.insert(last.clone(), before.to_vec());
                }
            }
            UseTree::Name(name) => drop(self.declared.insert(name.ident.to_string(), with(&name.ident))),
            UseTree::Rename(rename) => {
                let path = if rename.ident == "self" { before.to_vec() } else { with(&rename.ident) };
                self.declared.insert(rename.rename.to_string(), path);
            }
            UseTree::Glob(_) => {}
        }
    }
}

impl VisitMut for Strip {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        self.items(&mut file.items);
        visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        let name = module.ident.to_string();
        self.declared.insert(name.clone(), vec!["self".to_owned(), name]);
        if let Some((_, items)) = &mut module.content {
            self.items(items);
        }
        visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_use_mut(&mut self, item: &mut syn::ItemUse) {
        self.declare(&item.tree, &[]);
    }

    fn visit_item_impl_mut(&mut self, item: &mut syn::ItemImpl) {
        item.items.retain(stays_in_impl);
        visit_mut::visit_item_impl_mut(self, item);
    }

    fn visit_item_trait_mut(&mut self, item: &mut syn::ItemTrait) {
        item.items.retain(stays_in_trait);
        visit_mut::visit_item_trait_mut(self, item);
    }

    fn visit_item_enum_mut(&mut self, item: &mut syn::ItemEnum) {
        retain(&mut item.variants, |variant: &Variant| &variant.attrs);
        visit_mut::visit_item_enum_mut(self, item);
    }

    fn visit_fields_named_mut(&mut self, fields: &mut FieldsNamed) {
        retain(&mut fields.named, |field| &field.attrs);
        visit_mut::visit_fields_named_mut(self, fields);
    }

    fn visit_expr_struct_mut(&mut self, made: &mut ExprStruct) {
        retain(&mut made.fields, |field| &field.attrs);
        visit_mut::visit_expr_struct_mut(self, made);
    }

    fn visit_expr_match_mut(&mut self, one: &mut syn::ExprMatch) {
        one.arms.retain(|arm: &Arm| stays(&arm.attrs));
        visit_mut::visit_expr_match_mut(self, one);
    }

    fn visit_block_mut(&mut self, block: &mut Block) {
        block.stmts.retain(|statement| match statement {
            Stmt::Local(local) => stays(&local.attrs),
            Stmt::Item(item) => stays(attributes_of_item(item)),
            Stmt::Macro(call) => stays(&call.attrs),
            // An expression has its attributes in each of its forms; a test in one is told (`Source::parse`).
            Stmt::Expr(..) => true,
        });
        visit_mut::visit_block_mut(self, block);
    }
}

/// Whether `::` stands at this place.
fn leads_on(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    colon(at) && colon(at + 1)
}

/// The paths that begin at this word, and where the tokens go on.
fn paths(tokens: &[TokenTree], mut at: usize) -> (Vec<Vec<String>>, usize) {
    let mut path = Vec::new();
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(word)) => path.push(word.to_string()),
            Some(TokenTree::Punct(mark)) if mark.as_char() == '*' && !path.is_empty() => {
                path.push("*".to_owned());
                return (vec![path], at + 1);
            }
            Some(TokenTree::Group(group))
                if group.delimiter() == proc_macro2::Delimiter::Brace && !path.is_empty() =>
            {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let starts =
                    inner.split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ','));
                let all = starts.flat_map(|one| paths(one, 0).0);
                return (all.map(|inner| [&path[..], &inner].concat()).collect(), at + 1);
            }
            _ => return (if path.is_empty() { Vec::new() } else { vec![path] }, at),
        }
        if !leads_on(tokens, at + 1) {
            return (vec![path], at + 1);
        }
        at += 3;
    }
}

/// Every path in these tokens; a module in braces has a path of its own.
fn walk(tokens: TokenStream, module: &[String], written: &mut Vec<Written>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at..] {
            [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Group(body), ..] if word == "mod" => {
                walk(body.stream(), &[module, &[name.to_string()]].concat(), written);
                at += 3;
            }
            [TokenTree::Ident(word), ..] => {
                // `::a` and `<T>::a` begin elsewhere: such a name is none of this module's.
                let outside = at >= 2 && leads_on(&tokens, at - 2);
                let line = word.span().start().line;
                let (all, next) = paths(&tokens, at);
                for mut path in all {
                    if outside {
                        path.insert(0, String::new());
                    }
                    written.push(Written { path, module: module.to_vec(), line });
                }
                at = next;
            }
            [TokenTree::Group(group), ..] => {
                walk(group.stream(), module, written);
                at += 1;
            }
            _ => at += 1,
        }
    }
}
