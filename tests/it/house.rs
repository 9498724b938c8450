//! The floors of the house: imports run downward only. One look at the sources, no running program.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module of `src` and its floor, in tenths, so that 1½ is a number. The ground has steps of its own.
const FLOORS: &[(&str, u8)] = &[
    ("main", 40),
    ("server", 30),
    ("cli", 31), // serves, among other things
    ("web", 20),
    ("api", 20),
    ("mail", 20),
    ("gate", 17),
    ("app", 15),
    ("visit_store", 15),
    ("accounts", 10),
    ("throttle", 4),
    ("look", 4),
    ("config", 3),
    ("keys", 2),
    ("secret", 1),
    ("chance", 0),
    ("clock", 0),
    ("db", 0),
    ("lan", 0),
    ("locale", 0),
    ("metrics", 0),
    ("notice", 0),
    ("outside", 0),
    ("recent", 0),
    ("served", 0),
    ("urls", 1),
];

/// Who may not import what: the verbs know no HTTP, no HTML and no mail; pages write no SQL.
const CLOSED: &[(&str, &[&str])] = &[
    ("accounts", &["axum", "askama", "lettre", "tower_sessions", "tower_cookies"]),
    ("api", &["sea_orm", "askama", "lettre", "argon2", "tower_sessions", "tower_cookies"]),
    ("web", &["sea_orm", "lettre", "argon2"]),
    ("gate", &["sea_orm", "askama", "lettre", "argon2"]),
    ("mail", &["axum", "sea_orm", "argon2"]),
    ("look", &["axum", "askama", "sea_orm", "lettre"]),
    ("config", &["axum", "sea_orm"]),
    ("db", &["axum", "lettre"]),
    ("metrics", &["axum", "sea_orm"]),
];

fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, into) } else { into.push(path) }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    walk(&src, &mut files);
    let module = |path: &Path| {
        let first = path.strip_prefix(&src).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    files.into_iter().map(|path| (module(&path), path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The names that follow `prefix` wherever code, not a comment, names them; `crate::{a, b::c}` included.
fn names_after(prefix: &str, source: &str) -> Vec<String> {
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut names = vec![];
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        let list =
            if let Some(group) = rest.strip_prefix('{') { top_level_items(group) } else { vec![rest.to_owned()] };
        names.extend(list.iter().map(|item| {
            item.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
        }));
    }
    names
}

fn top_level_items(group: &str) -> Vec<String> {
    let (mut depth, mut items) = (0, vec![String::new()]);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ => items.last_mut().unwrap().push(c),
        }
    }
    items
}

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// What breaks a rule, in words.
fn broken(module: &str, source: &str) -> Vec<String> {
    let mut broken = vec![];
    let Some(own) = floor(module) else { return vec![format!("{module} has no floor")] };
    for name in names_after("crate::", source) {
        match floor(&name) {
            Some(theirs) if theirs < own || name == module => {}
            Some(_) => broken.push(format!("{module} imports {name}, which is not below it")),
            None => broken.push(format!("{module} imports {name}, which has no floor")),
        }
    }
    for (_, closed) in CLOSED.iter().filter(|(name, _)| *name == module) {
        for name in *closed {
            if source.contains(&format!("use {name}::")) || source.contains(&format!(" {name}::")) {
                broken.push(format!("{module} imports {name}"));
            }
        }
    }
    broken
}

#[test]
fn imports_run_downward_only() {
    let mut all = vec![];
    for (module, path, source) in sources().iter().filter(|(module, ..)| module != "lib" && module != "main") {
        all.extend(broken(module, source).into_iter().map(|what| format!("{}: {what}", path.display())));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn a_broken_floor_is_seen() {
    assert_eq!(broken("accounts", "use crate::web::page;").len(), 1);
    assert_eq!(broken("web", "use crate::{urls, mail::Mailer};").len(), 1);
    assert_eq!(broken("clock", "use crate::{chance, keys::{self, Keys}};").len(), 2);
    assert_eq!(broken("accounts", "use axum::Router;").len(), 1);
    assert_eq!(broken("web", "let row = sea_orm::Set(1);").len(), 1);
    assert!(broken("web", "// use crate::mail;\nuse crate::{app::App, urls};").is_empty());
}

#[test]
fn each_feature_has_one_name_on_every_floor() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for feature in ["signup", "login", "password_reset", "profile", "security", "not_me"] {
        for place in [
            format!("src/accounts/{feature}.rs"),
            format!("src/web/{feature}.rs"),
            format!("templates/{feature}"),
            format!("tests/it/{feature}.rs"),
        ] {
            assert!(root.join(&place).exists(), "{place}");
        }
    }
}

#[test]
fn each_path_is_written_once() {
    let paths =
        ["/login", "/logout", "/signup", "/profile", "/forgot-password", "/reset-password", "/dev/mailbox", "/docs"];
    let templates = walk_templates();
    for (name, text) in templates {
        for path in paths {
            for quote in ["href=\"", "action=\"", "src=\""] {
                assert!(!text.contains(&format!("{quote}{path}")), "{name} spells {path} out");
            }
        }
    }
    for (module, path, source) in sources().iter().filter(|(module, ..)| module == "web" || module == "mail") {
        for spelt in paths {
            assert!(!source.contains(&format!("\"{spelt}")), "{module}: {} spells {spelt} out", path.display());
        }
    }
}

#[test]
fn no_page_has_inline_code() {
    for (name, text) in walk_templates().iter().filter(|(name, _)| !name.contains("letters/")) {
        for inline in [" style=", "<style", "<script>", " onclick=", " onsubmit=", "javascript:", "https://"] {
            assert!(!text.contains(inline), "{name} has {inline}");
        }
    }
}

fn walk_templates() -> Vec<(String, String)> {
    fn walk(dir: &Path, into: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else {
                into.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut all = vec![];
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("templates"), &mut all);
    assert!(all.len() > 20);
    all
}
