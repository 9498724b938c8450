//! The house rules that can be read from the sources: imports run downward only and never in a circle, each path is written
//! once, each feature has one name.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use source::{Imports, Named, Source, circles, files, imports_inside};

/// Each module of `src` and its floor, in tenths, so that 1½ is a number. The ground floor has steps of its own.
const FLOORS: &[(&str, u8)] = &[
    ("main", 40),
    ("server", 30),
    ("cli", 31), // serves, among other things
    ("web", 20),
    ("api", 20),
    ("oidc", 20),
    ("forward", 20),
    ("mail", 20),
    ("gate", 17),
    ("app", 15),
    ("visit_store", 14),
    ("replay_store", 14),
    ("nodes", 14),
    ("words", 12),
    ("accounts", 10),
    ("look", 4),
    ("config", 3),
    ("keys", 2),
    ("seal", 2),
    ("net", 2), // below the settings and the accounts, which it knows nothing of
    ("secret", 1),
    ("data", 1), // the whole database at once, whatever its rows mean
    ("chance", 0),
    ("clock", 0),
    ("db", 0),
    ("lan", 0),
    ("locale", 0),
    ("metrics", 0),
    ("networks", 0),
    ("notice", 0),
    ("outgoing", 1),
    ("outside", 0),
    ("recent", 0),
    ("served", 0),
    ("seen", 0),
    ("urls", 1),
];

/// Which crates a module may not import: the verbs know no HTTP, no HTML and no mail, and pages write no SQL.
const CLOSED: &[(&str, &[&str])] = &[
    ("accounts", &["axum", "askama", "lettre", "tower_sessions", "tower_cookies"]),
    ("words", &["axum", "askama", "lettre", "sea_orm"]),
    ("api", &["sea_orm", "askama", "lettre", "argon2", "argon2_rust", "tower_sessions", "tower_cookies"]),
    ("oidc", &["sea_orm", "askama", "lettre", "argon2", "argon2_rust", "tower_sessions", "tower_cookies"]),
    ("forward", &["sea_orm", "lettre", "argon2", "argon2_rust", "tower_sessions", "tower_cookies"]),
    ("web", &["sea_orm", "lettre", "argon2", "argon2_rust"]),
    ("gate", &["sea_orm", "askama", "lettre", "argon2", "argon2_rust"]),
    ("mail", &["axum", "sea_orm", "argon2", "argon2_rust"]),
    ("look", &["axum", "askama", "sea_orm", "lettre"]),
    ("config", &["axum", "sea_orm"]),
    (
        "net",
        &[
            "askama",
            "lettre",
            "sea_orm",
            "argon2",
            "argon2_rust",
            "clap",
            "serde_json",
            "tower_sessions",
            "tower_cookies",
        ],
    ),
    ("db", &["axum", "lettre"]),
    ("metrics", &["axum", "sea_orm"]),
];

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// Returns which rules of the floors a file breaks, in words.
fn broken(source: &Source) -> Vec<String> {
    let module = &source.module[0];
    let Some(own) = floor(module) else { return vec![format!("{module} has no floor")] };
    let closed = CLOSED.iter().find(|(name, _)| name == module).map_or(&[][..], |(_, closed)| closed);
    let broken = source.names().into_iter().filter_map(|named| match named {
        Named::Inside(path) => {
            let name = path.first()?;
            match floor(name) {
                // By such a name, code can reach every module of its room, and no rule would see which ones it uses.
                _ if path.len() < source.module.len() && source.module.starts_with(&path) => {
                    Some(format!("{module} imports its own room as a whole"))
                }
                Some(theirs) if theirs < own || name == module => None,
                Some(_) => Some(format!("{module} imports {name}, which is not below it")),
                None => Some(format!("{module} imports {name}, which has no floor")),
            }
        }
        Named::InScope(path) => closed.contains(&path[0].as_str()).then(|| format!("{module} imports {}", path[0])),
    });
    broken.collect()
}

#[test]
fn imports_run_downward_only() {
    let sources = Source::all();
    let programs = ["lib", "main"];
    let all = sources.iter().filter(|source| !programs.contains(&source.module[0].as_str()));
    let in_words =
        |source: &Source| broken(source).into_iter().map(|what| format!("{}: {what}", source.file)).collect::<Vec<_>>();
    let all: Vec<String> = all.flat_map(in_words).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
    for (name, _) in FLOORS {
        assert!(sources.iter().any(|source| source.module[0] == *name), "there is no {name} any more");
    }
    // A rule about a name that is gone would hold for nothing.
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    for (name, closed) in CLOSED {
        assert!(floor(name).is_some(), "there is no {name} any more");
        for library in *closed {
            let is_it = |line: &str| line.replace('-', "_").starts_with(&format!("{library} = "));
            assert!(manifest.lines().any(is_it), "{library}, which {name} may not import, is no dependency any more");
        }
    }
}

#[test]
fn a_broken_floor_is_seen() {
    let broken = |file: &str, text: &str| broken(&Source::new(file, text)).len();
    assert_eq!(broken("src/accounts/login.rs", "use crate::web::page;"), 1);
    assert_eq!(broken("src/web/home.rs", "use crate::{urls, mail::Mailer};"), 1);
    assert_eq!(broken("src/web/home.rs", "use super::super::mail::Mailer;"), 1);
    assert_eq!(broken("src/clock.rs", "use crate::{chance, keys::{self, Keys}};"), 3);
    assert_eq!(broken("src/accounts/login.rs", "use axum::Router;"), 1);
    assert_eq!(broken("src/web/home.rs", "fn f() { let row = g(sea_orm::Set(1)); }"), 1);
    assert_eq!(broken("src/net/crowd.rs", "use crate::config::Config;"), 1);
    assert_eq!(broken("src/net/crowd.rs", "use super::*;"), 1);
    assert_eq!(broken("src/accounts/user/email.rs", "use crate::accounts;"), 1);
    assert_eq!(broken("src/net/crowd.rs", "use super::Tls; mod tests { use super::*; }"), 0);
    assert_eq!(broken("src/accounts/user/email.rs", "pub(in crate::accounts) fn f() {}"), 0);
    assert_eq!(broken("src/web/home.rs", "// use crate::mail;\nuse crate::{app::App, urls};"), 0);
}

/// Returns the circles of all rooms, each as `room: a > b`.
fn all_circles(sources: &[Source]) -> BTreeSet<String> {
    let rooms: BTreeSet<_> = sources.iter().filter(|source| source.is_front_door()).map(|room| &room.module).collect();
    let in_room = |room: &Vec<String>| {
        let circles = circles(&imports_inside(room, sources));
        circles.into_iter().map(|circle| format!("{}: {}", room.join("::"), circle.join(" > "))).collect::<Vec<_>>()
    };
    rooms.into_iter().flat_map(in_room).collect()
}

#[test]
fn no_modules_of_a_room_import_each_other_in_a_circle() {
    let circles = all_circles(&Source::all());
    assert!(circles.is_empty(), "circles: {circles:#?}");
}

#[test]
fn a_circle_is_seen() {
    let circles = |files: &[(&str, &str)]| {
        let sources: Vec<_> = files.iter().map(|(file, text)| Source::new(file, text)).collect();
        all_circles(&sources).into_iter().collect::<Vec<_>>()
    };
    let room = "mod a; mod b; mod c; use b::Passed; fn f() {}";
    let seen = |a, b, c| circles(&[("src/r/mod.rs", room), ("src/r/a.rs", a), ("src/r/b.rs", b), ("src/r/c.rs", c)]);
    assert_eq!(seen("use super::b::B;", "use crate::r::a;", ""), ["r: a > b"]);
    assert_eq!(seen("use crate::{r::{b, c::C}, x};", "", "fn f() { g(super::a::f()) }"), ["r: a > c"]);
    assert_eq!(seen("use super::b;", "use super::c;", "use super::a;"), ["r: a > b > c"]);
    assert_eq!(seen("use super::Passed;", "use super::a;", ""), ["r: a > b"], "by the front door");
    assert_eq!(seen("mod tests { use super::super::b; }", "use super::a;", ""), ["r: a > b"]);
    assert_eq!(seen("use super::b::{self, B};", "use super::c::C;", "use super::f;"), [""; 0], "the front door itself");
    assert_eq!(seen("mod b { use super::b; use super::c; }", "use super::a;", "// use super::a;"), [""; 0]);
    let deeper = [("src/r/mod.rs", "mod a; mod s;"), ("src/r/a.rs", "use super::s;"), ("src/r/s/mod.rs", "mod x;")];
    let x = |text| circles(&[&deeper[..], &[("src/r/s/x.rs", text)]].concat());
    assert_eq!(x("use super::super::a;"), ["r: a > s"]);
    assert_eq!(x("use crate::r::a::A;"), ["r: a > s"]);
    assert_eq!(x("use super::y;"), [""; 0]);
    assert_eq!(imports_inside(&["none".to_owned()], &[]), Imports::new());
}

/// Returns the modules in a folder: the names of its files and folders.
fn modules(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| name.trim_end_matches(".rs").to_owned()).filter(|name| name != "mod").collect()
}

#[test]
fn each_feature_has_one_name_on_every_floor() {
    // Pages of no feature of accounts.
    let others = ["home", "dev_mailbox", "docs"].map(str::to_owned).into();
    for feature in modules("src/web/pages").difference(&others) {
        for floor in ["src/accounts", "templates", "tests/it"] {
            assert!(modules(floor).contains(feature), "{floor} has no {feature}, which src/web/pages has");
        }
    }
}

#[test]
fn no_test_file_is_left_out() {
    let main = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/main.rs")).unwrap();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") {
            assert!(main.contains(&format!("\nmod {module};\n")), "tests/it/main.rs has no mod {module}");
        }
    }
}

/// Returns the paths of the site: every text in `urls` that is one, except `/`.
fn paths(sources: &[Source]) -> Vec<String> {
    let urls = sources.iter().filter(|source| source.module == ["urls"]).flat_map(Source::texts);
    let is_path = |text: &String| text.strip_prefix('/').is_some_and(|rest| rest.starts_with(char::is_alphanumeric));
    urls.filter(is_path).collect()
}

/// Returns the texts in a file that begin with a path of the site.
fn spelt_out(source: &Source, paths: &[String]) -> Vec<String> {
    let is_path = |text: &String| paths.iter().any(|path| text.starts_with(path));
    source.texts().into_iter().filter(is_path).collect()
}

#[test]
fn each_path_is_written_once() {
    let sources = Source::all();
    let paths = paths(&sources);
    assert!(paths.contains(&"/login".to_owned()) && paths.contains(&"/users/me/".to_owned()), "{paths:?}");
    for (name, text) in templates() {
        for path in &paths {
            for quote in ["href=\"", "action=\"", "src=\""] {
                assert!(!text.contains(&format!("{quote}{path}")), "{name} writes {path} out");
            }
        }
    }
    let elsewhere = sources.iter().filter(|source| source.module != ["urls"]);
    for source in elsewhere {
        let spelt = spelt_out(source, &paths);
        assert!(spelt.is_empty(), "{} writes {spelt:?} out", source.file);
    }
}

#[test]
fn a_path_that_is_written_again_is_seen() {
    let paths = ["/login".to_owned(), "/users/".to_owned()];
    let spelt = |text| spelt_out(&Source::new("src/api/login.rs", text), &paths);
    assert_eq!(spelt("#[utoipa::path(post, path = \"/users/me/\")] fn me() {}"), ["/users/me/"]);
    assert_eq!(spelt("fn f() -> String { format!(\"/login?next={x}\") }"), ["/login?next={x}"]);
    assert!(spelt("/// POST /login\nfn f() { g(urls::LOGIN, \"login\") }").is_empty());
}

#[test]
fn no_page_has_inline_code() {
    for (name, text) in templates().iter().filter(|(name, _)| !name.contains("letters/")) {
        for inline in [" style=", "<style", "<script>", " onclick=", " onsubmit=", "javascript:", "https://"] {
            assert!(!text.contains(inline), "{name} has {inline}");
        }
    }
}

fn templates() -> Vec<(String, String)> {
    let all = files(Path::new(env!("CARGO_MANIFEST_DIR")), "templates");
    assert!(all.len() > 20);
    all
}
