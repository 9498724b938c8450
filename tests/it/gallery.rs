//! Every page in every state that a user can see: in each language, on a phone and on a laptop, in light and in dark, with
//! script and without. The problems are collected, and all of them are reported at the end.
//!
//! Each state leaves its picture in `target/screenshots`, and its HTML as served in `target/gallery`. The sheets
//! `sheet-*.png` show all pictures of one window, so that a change is easy to see. `GALLERY_PICTURES=off` takes no
//! picture: nothing reads them except people.

use std::collections::BTreeMap;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use latchkey::accounts::operator::{self, NewAccount};
use latchkey::accounts::user;
use latchkey::accounts::user::email::Email;
use latchkey::accounts::user::username::{FullName, Username};
use scraper::{Html, Selector};
use serde_json::json;

use crate::app::{Letter, TestApp};
use crate::authorize::Wiki;
use crate::process::free_port;
use crate::security::{FIREFOX, IPHONE};
use crate::visitor::{DESK, PHONE, Script, Visitor};
use crate::{HERON, OTTER};

const ADDRESS: &str = "sam@example.com";

#[tokio::test]
async fn every_page_is_right_in_english() {
    walk("en", Script::On).await;
}

#[tokio::test]
async fn every_page_is_right_in_english_without_script() {
    walk("en", Script::Off).await;
}

#[tokio::test]
async fn every_page_is_right_in_chinese() {
    walk("zh-CN", Script::On).await;
}

#[tokio::test]
async fn every_page_is_right_in_chinese_without_script() {
    walk("zh-CN", Script::Off).await;
}

async fn walk(language: &'static str, script: Script) {
    let app = TestApp::start().await;
    let visitor = Visitor::who_reads(language, &app, PHONE, script).await;
    let mut sam = Critic { visitor, language, states: vec![], wrong: BTreeMap::new() };
    before_there_is_an_account(&mut sam).await;
    signing_up(&mut sam, &app).await;
    for_an_app(&mut sam, &app).await;
    the_profile(&mut sam, &app).await;
    logging_in(&mut sam).await;
    getting_back_in(&mut sam, &app).await;
    letters(&mut sam, &app).await;
    bad_news(&mut sam, app).await;
    sam.sums_up().await;
}

// Every state, with the steps that lead to it. To add a state, add the steps, then `shows` with the name of its picture and a
// mark: a selector of something that only this state has. The steps name no words, because words differ in each language.

async fn before_there_is_an_account(sam: &mut Critic) {
    sam.opens("/").await;
    sam.shows("home", "main a[href='/signup']").await;
    sam.opens("/dev/mailbox").await;
    sam.shows("mailbox-empty", "main .card p").await;
    sam.opens("/docs").await;
    sam.shows("docs", "main nav.card a[href^='#']").await;
    sam.opens("/signup/sent").await;
    sam.shows("signup-sent-somewhere", "main a[href='/signup']").await;
    sam.opens("/forgot-password/sent").await;
    sam.shows("forgot-password-sent-somewhere", "main a[href='/forgot-password']").await;
    sam.opens("/signup/confirm?token=spent").await;
    sam.shows("signup-gone", "main a[href='/login']").await;
    sam.opens("/reset-password?token=spent").await;
    sam.shows("reset-password-gone", "main a[href='/forgot-password']").await;
    sam.opens("/not-me?token=spent").await;
    sam.shows("not-me-gone", "main a[href='/profile/security']").await;

    let closed = TestApp::start_with(&["--signup", "closed"]).await;
    let open = std::mem::replace(&mut sam.site, closed.url.clone());
    sam.opens("/").await;
    sam.shows("home-closed", "main a[href='/login']").await;
    sam.opens("/login").await;
    sam.shows("login-closed", "form[action='/login']").await;
    sam.opens("/signup").await;
    sam.shows("signup-closed", "main a[href='/login']").await;

    let url = format!("smtp://127.0.0.1:{}", free_port());
    let no_mail = TestApp::start_with(&["--smtp-url", &url, "--mail-from", "no-reply@example.com"]).await;
    sam.site = no_mail.url.clone();
    sam.opens("/signup").await;
    sam.types("email", ADDRESS).await;
    sam.types("username", "sam").await;
    sam.types("password", OTTER).await;
    sam.presses("/signup").await;
    // Each of these pages would be loaded again while it is judged.
    sam.takes("main .note a[href$='?still']").await;
    sam.shows("signup-sent-waits", "main .note a[href='/signup/sent']").await;
    sam.opens("/forgot-password").await;
    sam.types("email", ADDRESS).await;
    sam.presses("/forgot-password").await;
    sam.takes("main .note a[href$='?still']").await;
    sam.shows("forgot-password-sent-waits", "main .note a[href='/forgot-password/sent']").await;

    let links = "Terms=mailto:terms@example.com,Privacy=mailto:privacy@example.com,Help=mailto:help@example.com";
    let tried_out = TestApp::start_with(&["--insecure-lan=on", "--links", links]).await;
    sam.site = tried_out.url.clone();
    sam.opens("/login").await;
    sam.shows("login-tried-out", ".foot > ul li:nth-child(3)").await;
    sam.site = open;
}

async fn signing_up(sam: &mut Critic, app: &TestApp) {
    app.browser().sign_up("casey@example.com", "casey", HERON).await;
    let link = app.letters_to("casey@example.com", 1).await.remove(0).links.remove(0);
    sam.driver.goto(link).await.unwrap();
    sam.shows("signup-confirm-elsewhere", "form[action='/signup/confirm'] #password").await;
    sam.presses("/signup/confirm").await;
    sam.shows("signup-confirm-elsewhere-errors", "#errors").await;

    let forum = Wiki::register(app, |new| new.name = "Forum".parse().unwrap()).await;
    let request = form_urlencoded::byte_serialize(forum.request(&[]).as_bytes()).collect::<String>();
    sam.opens(&format!("/signup?next={request}")).await;
    sam.shows("signup-for-app", "main .card > p").await;
    sam.opens("/auth/enter?to=elsewhere").await;
    sam.shows("forward-stranger", "main .card p").await;

    sam.opens("/signup").await;
    sam.shows("signup", "form[action='/signup']").await;
    sam.types("email", "sam@").await;
    sam.types("username", "sam smith").await;
    sam.types("full_name", &"W".repeat(101)).await;
    sam.types("password", "12345678").await;
    sam.presses("/signup").await;
    sam.shows("signup-errors", "#errors").await;

    sam.types("email", ADDRESS).await;
    sam.types("username", "alex").await;
    sam.types("full_name", "Sam Smith").await;
    sam.types("password", OTTER).await;
    sam.presses("/signup").await;
    sam.shows("signup-sent", "form[action='/signup/resend']").await;
    sam.presses("/signup/resend").await;
    sam.shows("signup-sent-again", "[role=status]").await;
    sam.opens_the_letter(app, ADDRESS, 1).await;
    sam.shows("letter-confirm-signup", ".links a[href*='/signup/confirm?']").await;
    sam.follows("/signup/confirm").await;
    sam.shows("signup-confirm", "form[action='/signup/confirm']").await;

    app.user("alex", HERON).await; // Alex takes the username first
    sam.presses("/signup/confirm").await;
    sam.shows("signup-confirm-taken", "#errors").await;
    sam.types("username", "sam").await;
    sam.presses("/signup/confirm").await;
    sam.shows("profile-new", "[role=status]").await;
}

async fn for_an_app(sam: &mut Critic, app: &TestApp) {
    let here = format!("{}/", app.url);
    let wiki = Wiki::register(app, |new| new.redirect_uris.push(here.parse().unwrap())).await;
    sam.opens(&wiki.request(&[("scope", "openid profile email offline_access")])).await;
    sam.shows("authorize", "form[action='/oauth/consent']").await;
    sam.opens(&wiki.request(&[("redirect_uri", "https://evil.example/")])).await;
    sam.shows("authorize-stranger", "main .card p").await;
    sam.opens(&wiki.request(&[("prompt", "login")])).await;
    sam.shows("login-for-app", "form[action='/login']").await;
    sam.opens("/profile/apps").await;
    sam.shows("apps-none", "main .card p").await;
    sam.opens(&wiki.request(&[("redirect_uri", &here)])).await;
    sam.presses("/oauth/consent").await;
    sam.opens("/profile/apps").await;
    sam.shows("apps", "form[action='/profile/apps']").await;
    sam.presses("/profile/apps").await;
    sam.shows("apps-ended", "[role=status]").await;
    sam.opens(&format!("/oauth/logout?client_id={}", wiki.id)).await;
    sam.shows("app-logout", "form[action='/oauth/logout/confirm']").await;
    sam.opens("/oauth/logout?client_id=nobody").await;
    sam.shows("app-logout-refused", "main .card a").await;
}

async fn the_profile(sam: &mut Critic, app: &TestApp) {
    sam.opens("/profile").await;
    sam.shows("profile", "form[action='/logout']").await;
    sam.follows("/profile/name").await;
    sam.shows("profile-name", "form[action='/profile/name']").await;
    sam.types("full_name", &"W".repeat(101)).await;
    sam.presses("/profile/name").await;
    sam.shows("profile-name-errors", "#errors").await;
    sam.types("full_name", &"W".repeat(100)).await;
    sam.presses("/profile/name").await;
    sam.shows("profile-long", "[role=status]").await;
    sam.follows("/profile/language").await;
    sam.shows("profile-language", "form[action='/profile/language']").await;
    sam.learns("document.getElementById('language').options[0].value = 'tlh'").await;
    sam.presses("/profile/language").await;
    sam.shows("profile-language-errors", "#errors").await;
    let link = app.reset_link("alex@example.com", 2).await;
    sam.driver.goto(link).await.unwrap();
    sam.shows("another-account", "main form[action='/logout']").await;

    sam.opens("/profile/security").await;
    sam.shows("security-one", ".sessions").await;
    sam.follows("/profile/password").await;
    sam.shows("profile-password", "form[action='/profile/password']").await;
    sam.presses("/profile/password").await;
    sam.shows("profile-password-errors", "#errors").await;
    sam.types("current_password", OTTER).await;
    sam.types("new_password", HERON).await;
    sam.presses("/profile/password").await;
    sam.shows("profile-password-changed", "[role=status]").await;
    // Long before the log-ins to come, so that this session is not taken for one of theirs.
    let mut cookie = sam.driver.get_named_cookie("latchkey_session").await.unwrap();
    cookie.value = app.earlier(&cookie.value, std::time::Duration::from_secs(60)).await;
    sam.driver.add_cookie(cookie).await.unwrap();
    sam.opens("/forgot-password").await;
    sam.opens_the_letter(app, ADDRESS, 2).await;
    sam.shows("letter-password-changed", ".links a[href$='/forgot-password']").await;
    let mut eve = app.browser();
    for user_agent in [None, Some(IPHONE), Some(FIREFOX)] {
        eve = app.browser();
        eve.user_agent = user_agent;
        eve.log_in("sam", HERON).await;
    }
    sam.opens("/profile/security").await;
    sam.shows("security", ".sessions li:nth-child(4)").await;
    for _ in 0..18 {
        let form = [("username", "sam"), ("password", HERON)];
        let token = reqwest::Client::new().post(format!("{}/token", app.url)).form(&form).send().await.unwrap();
        assert_eq!(token.status(), 200);
    }
    sam.opens("/profile/security?sessions=2").await;
    sam.shows("security-pages", "nav [rel=prev] + [rel=next]").await;
    sam.opens("/forgot-password").await;
    sam.opens_the_letter(app, ADDRESS, 5).await;
    sam.shows("letter-new-device", ".links a[href*='/not-me?']").await;
    sam.follows("/not-me").await;
    sam.shows("not-me", "form[action='/not-me']").await;
    for _ in 0..2 {
        app.browser().log_in("sam", HERON).await;
    }
    app.app.clock.advance(time::Duration::hours(1));
    // The first session of the list is the one that was used last, which is not Sam's yet.
    let form = eve.open("/profile/security").await.form("/profile/security/log-out");
    app.app.accounts.bell.notify_one();
    sam.opens_the_letter(app, ADDRESS, 6).await;
    sam.shows("letter-new-devices", ".links a[href*='/not-me?']").await;
    sam.follows("/not-me").await;
    sam.shows("not-me-several", "form[action='/not-me']").await;
    eve.submit(form).await;
    sam.opens_the_letter(app, ADDRESS, 7).await;
    sam.shows("letter-devices-ended", ".links a[href*='/not-me?']").await;
    sam.follows("/not-me").await;
    sam.shows("not-me-log-out", "form[action='/not-me']").await;
    sam.presses("/not-me").await;
    sam.shows("not-me-done", "[role=status] ~ form[action='/forgot-password']").await;
    sam.opens_the_letter(app, ADDRESS, 8).await;
    sam.shows("letter-not-me", ".links a[href*='/reset-password?']").await;
    sam.opens("/not-me").await;
    sam.shows("not-me-told", "p:has(time) ~ form[action='/forgot-password']").await;
    sam.opens("/profile/security").await;
    sam.shows("security-no-password", "main .kv a[href='/forgot-password']").await;
    sam.opens("/profile").await;
    sam.presses("/logout").await;
    sam.shows("logout", "[role=status]").await;
}

async fn logging_in(sam: &mut Critic) {
    sam.opens("/login").await;
    sam.shows("login", "form[action='/login']").await;
    if sam.script == Script::On {
        sam.types("password", HERON).await;
        sam.finds("[data-pw]").await.click().await.unwrap();
        sam.shows("login-shown", "#password[type=text]").await;
    }
    sam.opens("/profile/password").await;
    sam.shows("login-next", "form:has([name=next])").await;
    sam.presses("/login").await;
    sam.shows("login-empty", "#login-error").await;
    for (failures, state) in [(1, Some("login-errors")), (2, None), (3, Some("login-misses"))] {
        sam.types("login", "nobody").await;
        sam.types("password", OTTER).await;
        sam.presses("/login").await;
        let failed = format!("form:has([name=misses][value='{failures}'])");
        sam.finds(&failed).await;
        if let Some(state) = state {
            sam.shows(state, &failed).await;
        }
    }
}

async fn getting_back_in(sam: &mut Critic, app: &TestApp) {
    sam.opens("/forgot-password").await;
    sam.shows("forgot-password", "form[action='/forgot-password']").await;
    sam.presses("/forgot-password").await;
    sam.shows("forgot-password-errors", "#errors").await;
    sam.types("email", ADDRESS).await;
    sam.presses("/forgot-password").await;
    sam.shows("forgot-password-sent", "[name=again] ~ button").await;
    sam.presses("/forgot-password").await;
    sam.shows("forgot-password-sent-again", "[role=status]").await;
    sam.opens_the_letter(app, ADDRESS, 9).await;
    sam.shows("letter-reset-password", ".links a[href*='/reset-password?']").await;
    sam.follows("/reset-password").await;
    sam.shows("reset-password", "form[action='/reset-password']").await;
    sam.types("password", "12345678").await;
    sam.presses("/reset-password").await;
    sam.shows("reset-password-errors", "#errors").await;
    sam.types("password", OTTER).await;
    sam.presses("/reset-password").await;
    sam.shows("login-after-reset", "[role=status]").await;
    sam.opens("/not-me").await;
    sam.shows("not-me-reset-since", "main p:has(time) ~ p a[href='/login']").await;
}

async fn letters(sam: &mut Critic, app: &TestApp) {
    sam.opens("/signup").await;
    sam.types("email", ADDRESS).await;
    sam.types("username", "sammy").await;
    sam.types("password", OTTER).await;
    sam.presses("/signup").await;
    sam.finds("form[action='/signup/resend']").await;
    sam.opens_the_letter(app, ADDRESS, 11).await;
    sam.shows("letter-already-registered", ".links a[href$='/login']").await;
    for switch in 1..=2 {
        let other = format!(".switches nav:nth-child({switch}) a:not([aria-current])");
        sam.takes(&other).await;
    }
    sam.shows("letter-on-a-phone-at-night", "iframe.phone").await;

    let mail_test = Command::new(env!("CARGO_BIN_EXE_latchkey"))
        .args(["mail-test", ADDRESS, "--public-url", &app.url, "--data-dir"])
        .arg(app.dir.path())
        .output()
        .unwrap();
    assert!(mail_test.status.success(), "{mail_test:?}");
    sam.opens("/login").await;
    sam.opens_the_letter(app, ADDRESS, 12).await;
    sam.shows("letter-mail-test", ".links li:only-child").await;
    letters_of_the_operator(sam, app).await;
    sam.opens("/dev/mailbox").await;
    sam.shows("mailbox", ".letters").await;
}

async fn letters_of_the_operator(sam: &mut Critic, app: &TestApp) {
    let (db, now, locale) = (&app.app.db, app.app.now(), sam.language.parse().unwrap());
    let [old, new] = ["dora@example.com", "doris@example.com"];
    let dora = NewAccount {
        email: Email::parse(old).unwrap(),
        username: Username::parse("dora").unwrap(),
        full_name: FullName::parse("").unwrap(),
        locale,
    };
    let (dora, _) = operator::create(db, dora, now).await.unwrap().unwrap();
    sam.opens_the_letter(app, old, 1).await;
    sam.shows("letter-account-created", ".links a[href$='/forgot-password']").await;
    operator::set_email(db, &dora, (&Email::parse(new).unwrap(), locale), now).await.unwrap().unwrap();
    // Both are sent at once, so either of them may be the newest in the mailbox.
    let both = [app.letters_to(new, 1).await, app.letters_to(old, 2).await];
    let all: Vec<serde_json::Value> =
        reqwest::get(format!("{}/dev/mailbox.json", app.url)).await.unwrap().json().await.unwrap();
    let page = |letter: &Letter| {
        let same = |other: &&serde_json::Value| other["to"] == *letter.to && other["subject"] == *letter.subject;
        format!("/dev/mailbox/{}", all.iter().find(same).unwrap()["id"].as_str().unwrap())
    };
    sam.opens(&page(&both[0][0])).await;
    sam.shows("letter-email-added", ".links a[href$='/forgot-password']").await;
    sam.opens(&page(&both[1][0])).await;
    sam.shows("letter-email-removed", ".links li:only-child").await;

    let alex = user::by_login(db.read(), "alex").await.unwrap().unwrap();
    operator::disable(db, &alex, now).await.unwrap();
    sam.opens("/login").await;
    sam.types("login", "alex").await;
    sam.types("password", HERON).await;
    sam.presses("/login").await;
    sam.shows("login-disabled", "#login-error").await;
}

async fn bad_news(sam: &mut Critic, app: TestApp) {
    sam.opens("/nowhere").await;
    sam.shows("not-found", "main code").await;
    sam.opens("/logout").await;
    sam.shows("method-not-allowed", "main code").await;
    let form = format!("<form method=post action={}/login><button>Win</button></form>", sam.site);
    sam.driver.goto(format!("data:text/html,{form}")).await.unwrap();
    sam.finds("button").await.click().await.unwrap();
    sam.shows("cross-site", "main code").await;
    sam.opens("/login").await;
    sam.learns("document.getElementById('login').value = 'x'.repeat(17000); 0").await;
    sam.presses("/login").await;
    sam.shows("too-much", "main code").await;
    while app.browser().log_in("alex", "not this one").await.status != 429 {}
    sam.opens("/login").await;
    sam.types("login", "alex").await;
    sam.types("password", OTTER).await;
    sam.presses("/login").await;
    sam.shows("too-many", "main a[href='/forgot-password']").await;

    app.app.db.read().clone().close().await.unwrap();
    sam.opens("/login").await;
    sam.shows("unavailable", "main code").await;
}

/// A visitor who checks every page.
struct Critic {
    visitor: Visitor,
    language: &'static str,
    /// The names of the states so far.
    states: Vec<&'static str>,
    /// The problems, and the windows that have them.
    wrong: BTreeMap<String, Vec<String>>,
}

impl Deref for Critic {
    type Target = Visitor;

    fn deref(&self) -> &Visitor {
        &self.visitor
    }
}

impl DerefMut for Critic {
    fn deref_mut(&mut self) -> &mut Visitor {
        &mut self.visitor
    }
}

impl Drop for Critic {
    /// Reports the problems so far if the walk ends early.
    fn drop(&mut self) {
        if std::thread::panicking() && !self.wrong.is_empty() {
            eprintln!("{}", self.all_that_is_wrong());
        }
    }
}

impl Critic {
    /// Waits for the page that has this mark, checks it in each window, in light and in dark, and saves its pictures under
    /// this name.
    async fn shows(&mut self, state: &'static str, mark: &str) {
        assert!(!self.states.contains(&state), "there are two states {state}");
        self.finds(mark).await;
        if let Some(html) = self.served().await {
            let wrong = wrong_with(&html, &self.site, self.language);
            self.notes(state, wrong);
            let dir = target("gallery").join(self.kind());
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(format!("{state}.html")), html).unwrap();
        }
        let has_frame = self.learns("document.querySelector('iframe') != null").await == true;
        self.brings_tools().await;
        for (width, dark) in [(PHONE, false), (PHONE, true), (DESK, true), (DESK, false)] {
            self.turns_to(width, dark).await;
            if has_frame {
                // A letter keeps parts of the layout of an earlier window.
                self.driver.refresh().await.unwrap();
                self.brings_tools().await;
            }
            let mut looks = format!("...inspect.fit(), ...inspect.targets(), ...inspect.ground({dark})");
            if !dark {
                looks += ", ...inspect.stretched()";
            }
            let wrong = self.learns(&format!("inspect.verdict({dark}).then((verdict) => [{looks}, ...verdict])")).await;
            self.notes(state, serde_json::from_value(wrong).unwrap());
            if self.has_pictures() {
                self.keeps_picture(state).await;
            }
        }
        let complaints = self.complaints().await;
        self.notes(state, complaints.into_iter().map(|words| format!("the console says {words}")).collect());
        self.states.push(state);
        self.turns_to(PHONE, false).await;
    }

    async fn brings_tools(&self) {
        let axe = fs::read_to_string(tool("axe-core/axe.min.js")).unwrap();
        // Without script, the timers of a page never fire. This makes them fire at once.
        let timers = "const setTimeout = (work) => { Promise.resolve().then(work); };";
        self.learns(&format!("{{ {timers} {axe} }}; {}; 0", include_str!("inspect.js"))).await;
    }

    fn notes(&mut self, state: &str, wrong: Vec<String>) {
        let (width, dark) = (self.width, if self.dark { " dark" } else { "" });
        for words in wrong {
            self.wrong.entry(format!("{state}: {words}")).or_default().push(format!("{width}{dark}"));
        }
    }

    /// Returns the language and the script for the names of files.
    fn kind(&self) -> String {
        format!("{}{}", self.language, if self.script == Script::Off { "-noscript" } else { "" })
    }

    fn picture(&self, name: &str) -> PathBuf {
        let dark = if self.dark { "-dark" } else { "" };
        target("screenshots").join(format!("{name}-{}-{}{dark}.png", self.language, self.width))
    }

    fn has_pictures(&self) -> bool {
        self.script == Script::On && std::env::var_os("GALLERY_PICTURES").is_none_or(|asked| asked != "off")
    }

    async fn keeps_picture(&self, name: &str) {
        let shot = self.cdp("Page.captureScreenshot", json!({"captureBeyondViewport": true})).await;
        let png = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        fs::create_dir_all(target("screenshots")).unwrap();
        fs::write(self.picture(name), png).unwrap();
    }

    /// Puts all pictures of one window, in light or in dark, on sheets. Each goes into the shortest column.
    async fn hangs_pictures(&mut self) {
        /// Higher sheets are hard to look at.
        const HIGHEST: u32 = 8000;
        const SHEET: u32 = 2000;
        const CAPTION: u32 = 48;
        const STYLE: &str = "<!doctype html><meta charset=utf-8><style>
            body { display: flex; gap: 16px; align-items: start; margin: 0; background: #888 }
            figure { margin: 0 0 16px } figcaption { font: bold 20px/32px sans-serif } img { display: block }</style>";
        for (width, dark) in [(PHONE, false), (PHONE, true), (DESK, true), (DESK, false)] {
            self.turns_to(width, dark).await;
            let (columns, shown) = if width == PHONE { (6, 317) } else { (3, 650) };
            let empty = || vec![(0, String::new()); columns];
            let mut sheets = vec![empty()];
            for state in &self.states {
                let file = self.picture(state);
                let [w, h] = size(&file);
                let height = h * shown / w + CAPTION;
                if sheets.last().unwrap().iter().all(|(filled, _)| *filled > 0 && filled + height > HIGHEST) {
                    sheets.push(empty());
                }
                let (filled, html) = sheets.last_mut().unwrap().iter_mut().min_by_key(|(filled, _)| *filled).unwrap();
                let (src, name) = (file.display(), format!("<figcaption>{state}</figcaption>"));
                *html += &format!("<figure>{name}<img src='file://{src}' width={shown}></figure>");
                *filled += height;
            }
            let page = target("gallery").join(format!("sheet-{}.html", self.kind()));
            for (number, sheet) in (1..).zip(sheets) {
                let columns: String = sheet.into_iter().map(|(_, html)| format!("<div>{html}</div>")).collect();
                fs::write(&page, format!("{STYLE}{columns}")).unwrap();
                let window = json!({"width": SHEET, "height": 720, "deviceScaleFactor": 1, "mobile": false});
                self.cdp("Emulation.setDeviceMetricsOverride", window).await;
                self.driver.goto(format!("file://{}", page.display())).await.unwrap();
                let name = if number == 1 { "sheet".to_owned() } else { format!("sheet-{number}") };
                self.keeps_picture(&name).await;
            }
        }
    }

    /// Ends the walk: gives the HTML of all pages to the Nu checker, makes the sheets, and reports the problems.
    async fn sums_up(mut self) {
        if self.has_pictures() {
            self.hangs_pictures().await;
        }
        for words in what_nu_says(&target("gallery").join(self.kind()), &self.states) {
            self.wrong.entry(words).or_default();
        }
        let wrong = self.all_that_is_wrong();
        self.wrong.clear(); // they are reported
        assert!(wrong.is_empty(), "{wrong}");
    }

    fn all_that_is_wrong(&self) -> String {
        let kind = self.kind();
        let line = |(words, places): (&String, &Vec<String>)| format!("[{kind}] {words} [{}]\n", places.join(", "));
        self.wrong.iter().map(line).collect()
    }
}

fn target(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join(folder)
}

/// Returns a file of one of the tools that `./check` installs.
fn tool(file: &str) -> PathBuf {
    let path = target("tools/node_modules").join(file);
    assert!(path.exists(), "there is no {}: run ./check, which installs it", path.display());
    path
}

/// Returns the width and the height of a PNG.
fn size(file: &Path) -> [u32; 2] {
    let png = fs::read(file).unwrap();
    [16, 20].map(|at| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()))
}

/// Returns the problems of a page that a browser does not show: code inside it, other hosts, another language.
fn wrong_with(html: &str, site: &str, language: &str) -> Vec<String> {
    let mut wrong = vec![];
    let document = Html::parse_document(html);
    for element in document.select(&Selector::parse("*").unwrap()) {
        let name = element.value().name();
        for (attribute, value) in element.value().attrs() {
            if attribute == "style" || attribute.starts_with("on") || value.trim().starts_with("javascript:") {
                wrong.push(format!("<{name} {attribute}={value:?}> is inline code"));
            }
        }
        if name == "style" || name == "script" && element.attr("src").is_none() {
            wrong.push(format!("<{name}> is inline code"));
        }
    }
    let root = document.root_element();
    if root.attr("lang") != Some(language) {
        wrong.push(format!("its language is {:?}", root.attr("lang")));
    }
    let host = |at: usize| html[..at].rfind("http").is_some_and(|from| html[from..].starts_with(site));
    let others = html.match_indices("://").filter(|(at, _)| !host(*at));
    wrong.extend(others.map(|(at, _)| format!("it names another host: {:?}", html.get(at..at + 40))));
    wrong
}

/// Returns all errors and warnings of the Nu HTML checker about the pages as they were served.
fn what_nu_says(dir: &Path, states: &[&str]) -> Vec<String> {
    let pages = states.iter().map(|state| dir.join(format!("{state}.html"))).filter(|page| page.exists());
    let nu = Command::new("java")
        .arg("-jar")
        .arg(tool("vnu-jar/build/dist/vnu.jar"))
        .args(["--format", "gnu"])
        .args(pages)
        .output()
        .unwrap_or_else(|why| panic!("cannot start java ({why}): run ./check, which installs it"));
    let said = String::from_utf8(nu.stderr).unwrap();
    assert!(nu.status.success() || !said.is_empty(), "the Nu checker ends without a word: {:?}", nu.status);
    // The description of the API is in English in each language, and marked as English. The checker only counts words.
    let marked = |line: &&str| !(line.contains("/docs.html") && line.contains("appears to be written in English"));
    let short = |line: &str| line.replace(&format!("\"file:{}/", dir.display()), "\"");
    said.lines().filter(marked).map(|line| format!("nu: {}", short(line))).collect()
}
