//! The sources as the rules read them: the paths that code names, and its texts. Comments are not code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// One file of `src`.
pub struct Source {
    /// Its path from the root of the crate, such as `src/net/crowd.rs`.
    pub file: String,
    /// Its module, such as `["net", "crowd"]`. A `mod.rs` has the module of its folder.
    pub module: Vec<String>,
    tokens: TokenStream,
}

/// A path that code names, such as `crate::net::Crowd`.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    /// A path inside this crate, from its root.
    Inside(Vec<String>),
    /// A path that begins with a name in scope: another crate, a module below, a type.
    InScope(Vec<String>),
}

impl Source {
    pub fn new(file: &str, text: &str) -> Self {
        let module = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        let module = module.split('/').map(str::to_owned).collect();
        Self { file: file.to_owned(), module, tokens: text.parse().unwrap_or_else(|why| panic!("{file}: {why}")) }
    }

    /// Returns all files of `src` that are code.
    pub fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let source = |(file, text): (String, String)| Self::new(&file, &text);
        files(root, "src").into_iter().filter(|(file, _)| file.ends_with(".rs")).map(source).collect()
    }

    pub fn is_front_door(&self) -> bool {
        self.file.ends_with("/mod.rs")
    }

    /// Returns every path that the code names, in `use` or elsewhere. `a::{b, c}` is two paths.
    pub fn names(&self) -> Vec<Named> {
        let mut names = vec![];
        read_names(self.tokens.clone(), &self.module, &mut names);
        names
    }

    /// Returns every text in quotes, except those in the unit tests of the file.
    pub fn texts(&self) -> Vec<String> {
        let mut texts = vec![];
        read_texts(self.tokens.clone(), &mut texts);
        texts
    }
}

/// Returns the files of a folder with their texts.
pub fn files(root: &Path, folder: &str) -> Vec<(String, String)> {
    let mut files = vec![];
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            files.extend(self::files(root, &name));
        } else {
            files.push((name, fs::read_to_string(entry.path()).unwrap()));
        }
    }
    files
}

fn read_names(tokens: TokenStream, module: &[String], into: &mut Vec<Named>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at..] {
            // A module inside the file, such as its tests: `super` is the file there.
            [word, TokenTree::Ident(name), TokenTree::Group(body), ..] if is_word(word, "mod") => {
                read_names(body.stream(), &[module, &[name.to_string()]].concat(), into);
                at += 3;
            }
            // Where something is visible, as in `pub(in crate::accounts)`, is no import.
            [word, TokenTree::Group(group), ..] if is_word(word, "pub") && begins_with_in(group) => at += 2,
            [TokenTree::Ident(_), rest @ ..] if begins_with_colons(rest) => {
                let mut paths = vec![];
                at += read_tree(&tokens[at..], vec![], &mut paths);
                into.extend(paths.into_iter().map(|path| resolved(path, module)));
            }
            [TokenTree::Group(group), ..] => {
                read_names(group.stream(), module, into);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Reads one path, or a tree of paths such as `a::{b, c::d}`. Returns how many tokens it has.
fn read_tree(tokens: &[TokenTree], mut path: Vec<String>, into: &mut Vec<Vec<String>>) -> usize {
    let mut at = 0;
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(name)) => path.push(name.to_string()),
            Some(TokenTree::Group(list)) if list.delimiter() == Delimiter::Brace => {
                let items: Vec<TokenTree> = list.stream().into_iter().collect();
                for item in items.split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',')) {
                    read_tree(item, path.clone(), into);
                }
                return at + 1;
            }
            _ => break, // `*`, or the `<` of type arguments
        }
        at += 1;
        if !begins_with_colons(&tokens[at..]) {
            break;
        }
        at += 2;
    }
    into.push(path);
    at
}

fn begins_with_colons(tokens: &[TokenTree]) -> bool {
    let [TokenTree::Punct(first), TokenTree::Punct(second), ..] = tokens else { return false };
    first.as_char() == ':' && first.spacing() == Spacing::Joint && second.as_char() == ':'
}

fn begins_with_in(group: &Group) -> bool {
    group.stream().into_iter().next().is_some_and(|first| is_word(&first, "in"))
}

fn resolved(path: Vec<String>, module: &[String]) -> Named {
    let mut at = module.to_vec();
    let mut rest = path.as_slice();
    match rest.first().map(String::as_str) {
        Some("crate") => return Named::Inside(rest[1..].to_vec()),
        Some("self") => rest = &rest[1..],
        Some("super") => {}
        _ => return Named::InScope(path),
    }
    while let [first, more @ ..] = rest
        && first == "super"
    {
        at.pop();
        rest = more;
    }
    // `use super::x::{self, y}` names `x` itself.
    Named::Inside(at.iter().chain(rest).filter(|name| *name != "self").cloned().collect())
}

fn read_texts(tokens: TokenStream, into: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(_) if at > 0 && is_word(&tokens[at - 1], "tests") => {}
            TokenTree::Group(group) => read_texts(group.stream(), into),
            TokenTree::Literal(text) => {
                let text = text.to_string();
                let quoted = text.split_once('"').and_then(|(_, text)| text.rsplit_once('"'));
                into.extend(quoted.map(|(text, _)| text.to_owned()));
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

/// Which module of a room imports which others of the same room.
pub type Imports = BTreeMap<String, BTreeSet<String>>;

/// Returns the imports inside the room: between its files and folders, each of which is one module here. The room's
/// `mod.rs` is its front door and no module of it: it may name all of them, and they may use what it defines. A name that
/// the front door only passes on counts as an import of the module that the name comes from.
pub fn imports_inside(room: &[String], sources: &[Source]) -> Imports {
    let inside: Vec<_> = sources.iter().filter(|source| source.module.starts_with(room)).collect();
    let module_of = |path: &[String]| path.strip_prefix(room).and_then(|rest| rest.first().cloned());
    let modules: BTreeSet<String> = inside.iter().filter_map(|source| module_of(&source.module)).collect();
    let front_door = inside.iter().filter(|source| source.module == room).flat_map(|source| source.names());
    let passed_on: BTreeMap<String, String> = front_door
        .filter_map(|named| match named {
            Named::InScope(path) if modules.contains(&path[0]) => Some((path.last()?.clone(), path[0].clone())),
            _ => None,
        })
        .collect();
    let mut imports = Imports::new();
    for source in inside {
        let Some(own) = module_of(&source.module) else { continue };
        let named = source.names().into_iter().filter_map(|named| match named {
            Named::Inside(path) => module_of(&path).filter(|_| path.starts_with(room)),
            Named::InScope(_) => None,
        });
        let named = named.filter_map(|name| match modules.contains(&name) {
            true => Some(name),
            false => passed_on.get(&name).cloned(),
        });
        let others = named.filter(|name| *name != own);
        imports.entry(own.clone()).or_default().extend(others);
    }
    imports
}

/// Returns the circles, each as the modules on it, the first in the alphabet first. Of the circles through one import,
/// only a shortest one is returned.
pub fn circles(imports: &Imports) -> BTreeSet<Vec<String>> {
    let edges = imports.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to)));
    let ways = edges.filter_map(|(from, to)| way(imports, to, from));
    let circles = ways.map(|mut circle| {
        let first = (0..circle.len()).min_by_key(|at| circle[*at].clone()).unwrap_or_default();
        circle.rotate_left(first);
        circle
    });
    circles.collect()
}

/// Returns the shortest way from one module to another, both included.
fn way(imports: &Imports, from: &str, to: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::from([from.to_owned()]);
    while !ways.is_empty() {
        let mut longer = vec![];
        for way in ways {
            let last = way.last()?;
            if last == to {
                return Some(way);
            }
            for next in imports.get(last).into_iter().flatten().filter(|next| seen.insert((*next).clone())) {
                longer.push([way.clone(), vec![next.clone()]].concat());
            }
        }
        ways = longer;
    }
    None
}
