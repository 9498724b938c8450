//! The pages as people meet them: in Chromium, on a phone and on a desk, with script and without. Every page on
//! the way must fit its window and keep the console clean, and leaves its picture in `target/screenshots`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::common::capabilities::chromium::ChromiumLikeCapabilities;
use thirtyfour::extensions::query::ElementPollerWithTimeout;
use thirtyfour::prelude::*;
use thirtyfour::{ChromeCapabilities, LoggingPrefsLogLevel};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::app::TestApp;
use crate::{HERON, OTTER};

const ADDRESS: &str = "sam@example.com";
/// Widths in CSS pixels: the narrowest that WCAG 1.4.10 asks for, and a laptop.
const PHONE: u32 = 320;
const DESK: u32 = 1280;

/// Each Chromium takes a core and half a gigabyte.
static SEATS: Semaphore = Semaphore::const_new(2);

#[derive(Clone, Copy, PartialEq)]
enum Script {
    On,
    Off,
}

/// A running chromedriver, which starts Chromium and ends it.
struct Chromedriver {
    process: Child,
    port: u16,
    /// Held open: a chromedriver that cannot write its log stops.
    _log: BufReader<ChildStdout>,
}

impl Chromedriver {
    fn start() -> Self {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|why| panic!("cannot start chromedriver ({why}): run ./check, which installs it"));
        let mut log = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "chromedriver has stopped without naming its port");
            if let Some((_, port)) = line.trim_end_matches(['.', '\n']).split_once("started successfully on port ") {
                break port.parse().unwrap();
            }
        };
        Self { process, port, _log: log }
    }
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// A person at a Chromium of their own.
struct Person {
    driver: WebDriver,
    chromedriver: Chromedriver,
    _profile: TempDir,
    _seat: SemaphorePermit<'static>,
    site: String,
    width: u32,
    script: Script,
    dark: bool,
}

impl Drop for Person {
    /// Ends Chromium, also when a test fails half way. The driver's own way would use a connection of the
    /// runtime that it blocks, and wait for ever.
    fn drop(&mut self) {
        let end = format!("DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.driver.session_id());
        let _unless_ended = self.driver.clone().leak();
        if let Ok(mut chromedriver) = TcpStream::connect(("127.0.0.1", self.chromedriver.port)) {
            let _given_up = chromedriver.set_read_timeout(Some(Duration::from_secs(5)));
            let _sent = chromedriver.write_all(end.as_bytes());
            let _answered = chromedriver.read(&mut [0]);
        }
    }
}

impl Person {
    async fn at(app: &TestApp, width: u32, script: Script) -> Self {
        let seat = SEATS.acquire().await.unwrap();
        let chromedriver = Chromedriver::start();
        let profile = tempfile::tempdir().unwrap();
        let mut wishes = ChromeCapabilities::new();
        for flag in [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-quic",
            "--no-first-run",
            &format!("--user-data-dir={}", profile.path().display()),
        ] {
            wishes.add_arg(flag).unwrap();
        }
        if script == Script::Off {
            wishes.add_arg("--blink-settings=scriptEnabled=false").unwrap();
        }
        wishes.set_browser_log_level(LoggingPrefsLogLevel::Warning).unwrap();
        let poller = ElementPollerWithTimeout::new(Duration::from_secs(20), Duration::from_millis(20));
        let driver = WebDriver::builder(format!("http://127.0.0.1:{}", chromedriver.port), wishes)
            .poller(Arc::new(poller))
            .await
            .unwrap_or_else(|why| panic!("cannot start chromium: run ./check, which installs it ({why})"));
        let site = app.url.clone();
        let mut person =
            Self { driver, chromedriver, _profile: profile, _seat: seat, site, width, script, dark: false };
        person.turns_to(width, false).await;
        person
    }

    /// Another window, another light.
    async fn turns_to(&mut self, width: u32, dark: bool) {
        let window = json!({"width": width, "height": 720, "deviceScaleFactor": 1, "mobile": width == PHONE});
        self.cdp("Emulation.setDeviceMetricsOverride", window).await;
        let scheme = if dark { "dark" } else { "light" };
        let wishes = json!({"features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"}, // no picture of a button between two colours
        ]});
        self.cdp("Emulation.setEmulatedMedia", wishes).await;
        (self.width, self.dark) = (width, dark);
    }

    async fn cdp(&self, command: &str, with: Value) -> Value {
        self.driver.cdp().send_raw(command, with).await.unwrap()
    }

    async fn open(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.site)).await.unwrap();
    }

    async fn path(&self) -> String {
        self.driver.current_url().await.unwrap().path().to_owned()
    }

    /// Waits for the page with this heading; it must be in order. `picture` is the name of its screenshot.
    async fn sees(&self, heading: &str, picture: &str) {
        /// The page's width, and what is too low for a thumb; links in running text may be.
        const MEASURE: &str = "
            const low = (element) => element.checkVisibility() && getComputedStyle(element).display != 'inline'
                && element.getBoundingClientRect().height < 44;
            const targets = document.querySelectorAll('a, button, .check, input:not([type=hidden], [type=checkbox])');
            return [document.documentElement.scrollWidth, [...targets].filter(low).map((element) => element.outerHTML)];";
        self.finds(By::XPath(format!("//h1[normalize-space()='{heading}']"))).await;
        let measured = self.driver.execute(MEASURE, []).await.unwrap();
        let (wide, low): (u32, Vec<String>) = measured.convert().unwrap();
        assert!(wide <= self.width, "{picture} is {wide} px wide in a window of {}", self.width);
        assert!(low.is_empty(), "on {picture} these are less than 44 px high: {low:#?}");
        // Chromium itself remarks on the status of pages that are no success.
        let expected = ["(Unprocessable Entity)", "(Gone)", "(Not Found)"];
        for entry in self.driver.browser_log().await.unwrap() {
            let page = entry.message.starts_with(self.driver.current_url().await.unwrap().as_str());
            let expected = page && expected.iter().any(|status| entry.message.ends_with(status));
            assert!(expected, "on {picture} the console says {entry:?}");
        }
        self.keep_picture(picture).await;
    }

    async fn keep_picture(&self, name: &str) {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots");
        let dark = if self.dark { "-dark" } else { "" };
        let script = if self.script == Script::Off { "-noscript" } else { "" };
        let shot = self.cdp("Page.captureScreenshot", json!({"captureBeyondViewport": true})).await;
        fs::create_dir_all(&dir).unwrap();
        let png = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        fs::write(dir.join(format!("{name}-{}{dark}{script}.png", self.width)), png).unwrap();
    }

    /// Waits for an element that can be seen.
    async fn finds(&self, by: By) -> WebElement {
        let found = self.driver.query(by).and_displayed().first().await;
        match found {
            Ok(element) => element,
            Err(why) => panic!("{why} on {}: {}", self.path().await, self.driver.source().await.unwrap()),
        }
    }

    async fn follows(&self, link: &str) {
        self.finds(By::XPath(format!("//a[normalize-space()='{link}']"))).await.click().await.unwrap();
    }

    async fn button(&self, words: &str) -> WebElement {
        self.finds(By::XPath(format!("//button[normalize-space()='{words}']"))).await
    }

    async fn presses(&self, button: &str) {
        self.button(button).await.click().await.unwrap();
    }

    async fn types(&self, field: &str, text: &str) {
        let field = self.finds(By::Id(field)).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Waits for what is said once.
    async fn is_told(&self, words: &str) {
        self.finds(By::XPath(format!("//*[@role='status'][contains(., '{words}')]"))).await;
    }

    /// Where the keyboard is: an element's id.
    async fn focus(&self) -> String {
        self.driver.active_element().await.unwrap().id().await.unwrap().unwrap_or_default()
    }

    /// Keys without a pointer: they go to whatever has the focus.
    async fn keys(&self, keys: impl Into<TypingData>) {
        self.driver.action_chain().send_keys(keys).perform().await.unwrap();
    }

    /// Presses Tab until the focus is there.
    async fn tabs_to(&self, id: &str) {
        for _ in 0..10 {
            self.keys(Key::Tab).await;
            if self.focus().await == id {
                return;
            }
        }
        panic!("ten tabs lead to {} and not to {id}", self.focus().await)
    }

    /// Opens the newest letter in the development mailbox.
    async fn opens_the_letter(&self, app: &TestApp, letters: usize, subject: &str, picture: &str) {
        app.letters_to(ADDRESS, letters).await;
        self.follows("open the mailbox").await;
        self.sees("Development mailbox", &format!("{picture}-mailbox")).await;
        self.finds(By::Css(".letters a")).await.click().await.unwrap();
        self.sees(subject, &format!("{picture}-letter")).await;
    }

    /// Presses the button of the letter that is shown, and goes on in the tab that it opens.
    async fn presses_in_the_letter(&mut self, button: &str) {
        let here = self.driver.window().await.unwrap();
        self.driver.enter_frame(0).await.unwrap();
        self.follows(button).await;
        let opened = async {
            loop {
                let tabs = self.driver.windows().await.unwrap();
                match tabs.into_iter().find(|tab| *tab != here) {
                    Some(tab) => return tab,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let tab = tokio::time::timeout(Duration::from_secs(20), opened).await.expect("the button opens a tab");
        self.driver.switch_to_window(tab).await.unwrap();
        self.turns_to(self.width, self.dark).await;
    }

    /// The page in both windows and both lights.
    async fn sees_in_every_light(&mut self, heading: &str, picture: &str) {
        for (width, dark) in [(PHONE, false), (PHONE, true), (DESK, true), (DESK, false)] {
            self.turns_to(width, dark).await;
            self.sees(heading, picture).await;
            let ground = self.finds(By::Tag("html")).await.css_value("background-color").await.unwrap();
            assert_eq!(ground, if dark { "rgba(14, 17, 22, 1)" } else { "rgba(245, 246, 248, 1)" });
        }
    }
}

/// From the first page to the log-in with a password that came by mail.
async fn a_whole_life(width: u32, script: Script) {
    let app = TestApp::start().await;
    let mut sam = Person::at(&app, width, script).await;
    sam.open("/").await;
    sam.sees("Welcome", "home").await;
    sam.follows("Create account").await;
    sam.sees("Create account", "signup").await;
    let show = sam.driver.find(By::Css("[data-pw]")).await.unwrap();
    assert_eq!(show.is_displayed().await.unwrap(), script == Script::On, "Show is there with script only");
    sam.types("email", ADDRESS).await;
    sam.types("username", "sam").await;
    sam.types("full_name", "Sam Smith").await;
    sam.types("password", OTTER).await;
    sam.presses("Create account").await;
    sam.sees("Check your mail", "signup-sent").await;
    sam.opens_the_letter(&app, 1, "Confirm your email address for Latchkey", "signup").await;
    sam.finds(By::Css(".links a")).await.click().await.unwrap();
    sam.sees("Confirm your email address", "signup-confirm").await;
    sam.presses("Create my account").await;
    sam.is_told("Your account is ready and you are logged in.").await;
    sam.sees("Profile", "profile-new").await;

    sam.open("/profile/name").await;
    sam.types("full_name", "Sam Miller").await;
    sam.presses("Save").await;
    sam.is_told("Your name was changed.").await;
    sam.finds(By::XPath("//dd[normalize-space()='Sam Miller']")).await;
    sam.open("/profile").await;
    sam.sees("Profile", "profile-renamed").await;

    sam.follows("Security").await;
    sam.sees("Security", "security").await;
    sam.follows("Change").await;
    sam.sees("Change password", "profile-password").await;
    sam.types("current_password", OTTER).await;
    sam.types("new_password", HERON).await;
    sam.presses("Change password").await;
    sam.is_told("Your password was changed. All other devices are logged out.").await;

    sam.presses("Log out").await;
    sam.is_told("You are logged out.").await;
    sam.sees("Log in", "logout").await;
    sam.driver.back().await.unwrap();
    sam.sees("Log in", "login").await;
    assert_eq!(sam.path().await, "/login", "Back does not bring the profile back");

    sam.follows("Forgot password?").await;
    sam.sees("Reset your password", "forgot-password").await;
    sam.types("email", ADDRESS).await;
    sam.presses("Email me a link").await;
    sam.sees("Check your mail", "forgot-password-sent").await;
    sam.opens_the_letter(&app, 3, "Reset your Latchkey password", "forgot-password").await;
    sam.presses_in_the_letter("Choose a new password").await;
    sam.sees("Choose a new password", "reset-password").await;
    sam.types("password", OTTER).await;
    sam.presses("Save new password").await;
    sam.is_told("Your password was changed. Log in with it.").await;
    sam.types("login", "sam").await;
    sam.types("password", OTTER).await;
    sam.presses("Log in").await;
    sam.sees("Profile", "profile-again").await;
}

#[tokio::test]
async fn an_account_lives_on_a_phone_with_script() {
    a_whole_life(PHONE, Script::On).await;
}

#[tokio::test]
async fn an_account_lives_on_a_phone_without_script() {
    a_whole_life(PHONE, Script::Off).await;
}

#[tokio::test]
async fn an_account_lives_on_a_desk_with_script() {
    a_whole_life(DESK, Script::On).await;
}

#[tokio::test]
async fn an_account_lives_on_a_desk_without_script() {
    a_whole_life(DESK, Script::Off).await;
}

#[tokio::test]
async fn show_shows_the_password_and_hide_hides_it() {
    let app = TestApp::start().await;
    let sam = Person::at(&app, PHONE, Script::On).await;
    sam.open("/login").await;
    sam.types("password", OTTER).await;
    let field = sam.finds(By::Id("password")).await;
    let button = sam.finds(By::Css("[data-pw]")).await;
    for (words, label, kind) in [
        ("Show", "Show password", "password"),
        ("Hide", "Hide password", "text"),
        ("Show", "Show password", "password"),
    ] {
        assert_eq!(button.text().await.unwrap(), words);
        assert_eq!(button.attr("aria-label").await.unwrap().unwrap(), label);
        assert_eq!(field.attr("type").await.unwrap().unwrap(), kind);
        assert_eq!(field.prop("value").await.unwrap().unwrap(), OTTER);
        if kind == "text" {
            sam.sees("Log in", "login-shown").await;
        }
        button.click().await.unwrap();
    }
    sam.presses("Log in").await;
    sam.finds(By::Id("errors")).await;
}

async fn double_click_the_sign_up(script: Script) {
    let app = TestApp::start().await;
    let sam = Person::at(&app, DESK, script).await;
    sam.open("/signup").await;
    sam.types("email", ADDRESS).await;
    sam.types("username", "sam").await;
    sam.types("password", OTTER).await;
    let button = sam.button("Create account").await;
    sam.driver.action_chain().double_click_element(&button).perform().await.unwrap();
    sam.sees("Check your mail", "double-click").await;
    assert_eq!(sam.path().await, "/signup/sent");
    app.letters_to(ADDRESS, 1).await;
    app.outbox_is_done().await;
    assert_eq!(app.letters().await.len(), 1, "one effect");
}

#[tokio::test]
async fn a_double_click_signs_up_once() {
    double_click_the_sign_up(Script::On).await;
}

#[tokio::test]
async fn a_double_click_signs_up_once_without_script_too() {
    double_click_the_sign_up(Script::Off).await;
}

async fn log_in_by_keyboard(script: Script) {
    let app = TestApp::start().await;
    app.someone("sam", OTTER).await;
    let sam = Person::at(&app, DESK, script).await;
    sam.open("/login").await;
    sam.keys(Key::Tab).await;
    sam.keys(Key::Enter).await; // the skip link
    sam.tabs_to("login").await;
    sam.keys("sam").await;
    sam.tabs_to("password").await;
    sam.keys(HERON).await;
    sam.keys(Key::Enter).await;
    sam.finds(By::Id("errors")).await;
    sam.sees("Log in", "login-errors").await;
    assert_eq!(sam.focus().await, "errors", "what is wrong is read out first");

    sam.keys(Key::Tab).await;
    sam.keys(Key::Enter).await; // the summary leads to its field
    sam.tabs_to("password").await;
    sam.keys(OTTER).await;
    sam.keys(Key::Enter).await;
    sam.sees("Profile", "profile-by-keyboard").await;
}

#[tokio::test]
async fn tab_and_enter_are_enough_to_log_in() {
    log_in_by_keyboard(Script::On).await;
}

#[tokio::test]
async fn tab_and_enter_are_enough_to_log_in_without_script() {
    log_in_by_keyboard(Script::Off).await;
}

#[tokio::test]
async fn pages_fit_in_every_light() {
    let app = TestApp::start().await;
    app.someone("sam", OTTER).await;
    let mut sam = Person::at(&app, DESK, Script::On).await;
    for (path, heading, picture) in [
        ("/", "Welcome", "home"),
        ("/signup", "Create account", "signup"),
        ("/dev/mailbox", "Development mailbox", "mailbox"),
        ("/login", "Log in", "login"),
    ] {
        sam.open(path).await;
        sam.sees_in_every_light(heading, picture).await;
    }
    sam.types("login", "sam").await;
    sam.types("password", OTTER).await;
    sam.presses("Log in").await;
    sam.sees_in_every_light("Profile", "profile").await;
}

#[tokio::test]
async fn bad_news_fits_in_every_light() {
    let app = TestApp::start().await;
    let mut sam = Person::at(&app, DESK, Script::On).await;
    for (path, heading, picture) in [
        ("/nowhere", "Page not found", "not-found"),
        ("/signup/confirm?token=spent", "This link no longer works", "signup-gone"),
        ("/reset-password?token=spent", "This link no longer works", "reset-password-gone"),
    ] {
        sam.open(path).await;
        sam.sees_in_every_light(heading, picture).await;
    }
    sam.open("/forgot-password").await;
    sam.presses("Email me a link").await;
    sam.finds(By::Id("errors")).await;
    sam.sees_in_every_light("Reset your password", "forgot-password-errors").await;
    sam.open("/signup").await;
    sam.types("email", "sam@").await;
    sam.types("username", "sam smith").await;
    sam.types("password", "12345678").await;
    sam.presses("Create account").await;
    sam.finds(By::Id("errors")).await;
    sam.sees_in_every_light("Create account", "signup-errors").await;
    sam.open("/login").await;
    for miss in 1..=3 {
        sam.types("login", "sam").await;
        sam.types("password", HERON).await;
        sam.presses("Log in").await;
        sam.finds(By::XPath(format!("//main[.//*[@id='errors'] and .//input[@name='misses'][@value='{miss}']]"))).await;
    }
    sam.sees_in_every_light("Log in", "login-misses").await;
}

#[tokio::test]
async fn long_names_fit_in_every_light() {
    let app = TestApp::start().await;
    let name = "maximiliana-featherstonehaugh-12";
    app.someone(name, OTTER).await;
    let mut max = Person::at(&app, DESK, Script::On).await;
    max.open("/profile").await;
    max.types("login", name).await;
    max.types("password", OTTER).await;
    max.presses("Log in").await;
    max.open("/profile/name").await;
    max.types("full_name", &"W".repeat(100)).await;
    max.presses("Save").await;
    max.is_told("Your name was changed.").await;
    max.sees_in_every_light("Profile", "profile-long").await;
    max.open("/profile/password").await;
    max.presses("Change password").await;
    max.finds(By::Id("errors")).await;
    max.sees_in_every_light("Change password", "profile-password-errors").await;
    max.open("/dev/mailbox").await;
    max.sees_in_every_light("Development mailbox", "mailbox-long").await;
    max.finds(By::Css(".letters a")).await.click().await.unwrap();
    max.sees_in_every_light("Confirm your email address for Latchkey", "letter").await;
}
