//! A visitor who uses a Chromium of their own: with a pointer or only with a keyboard, with script or without.
//!
//! A visitor finds a link by the path that it leads to, and a button by the path that its form goes to. A visitor never
//! finds them by their words, which differ in each language.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::common::capabilities::chromium::ChromiumLikeCapabilities;
use thirtyfour::extensions::query::ElementPollerWithTimeout;
use thirtyfour::prelude::*;
use thirtyfour::{ChromeCapabilities, LoggingPrefsLogLevel};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::app::TestApp;
use crate::process::until;

/// The widths of windows in CSS pixels: the narrowest that WCAG 1.4.10 asks for, and a laptop's.
pub const PHONE: u32 = 320;
pub const DESK: u32 = 1280;

/// The number of Chromiums at a time. Each takes one core and half a gigabyte.
static SEATS: Semaphore = Semaphore::const_new(2);

#[derive(Clone, Copy, PartialEq)]
pub enum Script {
    On,
    Off,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Hands {
    Pointer,
    Keyboard,
}

/// A running chromedriver, which starts Chromium and ends it.
struct Chromedriver {
    process: Child,
    port: u16,
    /// The log is held open, because a chromedriver that cannot write its log stops.
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
        // Neither result matters: chromedriver may have stopped by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn link_to(path: &str) -> String {
    format!("a[href='{path}'], a[href*='{path}?token='], a[href^='{path}?next=']")
}

pub fn button_of(action: &str) -> String {
    format!("form[action='{action}'] button[type=submit]")
}

/// A visitor who uses a Chromium of their own.
pub struct Visitor {
    pub driver: WebDriver,
    chromedriver: Chromedriver,
    _profile: TempDir,
    _seat: SemaphorePermit<'static>,
    pub site: String,
    pub width: u32,
    pub dark: bool,
    pub script: Script,
    pub hands: Hands,
}

impl Drop for Visitor {
    /// Ends Chromium, also when a test fails. The driver's own method would block the runtime and wait without end for a
    /// connection of that runtime.
    fn drop(&mut self) {
        let end = format!("DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.driver.session_id());
        // No result matters from here on: Chromium may have ended already.
        let _ = self.driver.clone().leak();
        if let Ok(mut chromedriver) = TcpStream::connect(("127.0.0.1", self.chromedriver.port)) {
            let _ = chromedriver.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = chromedriver.write_all(end.as_bytes());
            let _ = chromedriver.read(&mut [0]);
        }
    }
}

impl Visitor {
    pub async fn at(app: &TestApp, width: u32, script: Script) -> Self {
        Self::who_reads("en", app, width, script).await
    }

    /// Returns a visitor whose Chromium asks for pages in this language.
    pub async fn who_reads(language: &str, app: &TestApp, width: u32, script: Script) -> Self {
        Self::on(&app.url, language, (width, script), &[]).await
    }

    /// Returns a visitor at this site, whose Chromium has these flags too.
    pub async fn on(site: &str, language: &str, (width, script): (u32, Script), flags: &[&str]) -> Self {
        crate::needs("Chromium");
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
        for flag in flags {
            wishes.add_arg(flag).unwrap();
        }
        if script == Script::Off {
            wishes.add_arg("--blink-settings=scriptEnabled=false").unwrap();
        }
        wishes.add_experimental_option("prefs", json!({"intl.accept_languages": language})).unwrap();
        wishes.set_browser_log_level(LoggingPrefsLogLevel::Warning).unwrap();
        wishes.set_logging_prefs("performance", LoggingPrefsLogLevel::All).unwrap(); // `served` reads it
        let poller = ElementPollerWithTimeout::new(Duration::from_secs(20), Duration::from_millis(20));
        let driver = WebDriver::builder(format!("http://127.0.0.1:{}", chromedriver.port), wishes)
            .poller(Arc::new(poller))
            .await
            .unwrap_or_else(|why| panic!("cannot start chromium: run ./check, which installs it ({why})"));
        let mut visitor = Self {
            driver,
            chromedriver,
            _profile: profile,
            _seat: seat,
            site: site.to_owned(),
            width,
            dark: false,
            script,
            hands: Hands::Pointer,
        };
        visitor.turns_to(width, false).await;
        visitor
    }

    /// Changes the width of the window, and light or dark.
    pub async fn turns_to(&mut self, width: u32, dark: bool) {
        let window = json!({"width": width, "height": 720, "deviceScaleFactor": 1, "mobile": width == PHONE});
        self.cdp("Emulation.setDeviceMetricsOverride", window).await;
        let scheme = if dark { "dark" } else { "light" };
        let wishes = json!({"features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"}, // otherwise pictures show buttons between two colours
        ]});
        self.cdp("Emulation.setEmulatedMedia", wishes).await;
        (self.width, self.dark) = (width, dark);
    }

    pub async fn cdp(&self, command: &str, with: Value) -> Value {
        self.driver.cdp().send_raw(command, with).await.unwrap()
    }

    /// Returns the value of an expression of the test in the page. This works also where the page's script is off.
    pub async fn learns(&self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut told = self.cdp("Runtime.evaluate", asked).await;
        assert!(told.get("exceptionDetails").is_none(), "{told:#}");
        told["result"]["value"].take()
    }

    pub async fn opens(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.site)).await.unwrap();
    }

    /// Returns the path of the page.
    pub async fn path(&self) -> String {
        self.driver.current_url().await.unwrap().path().to_owned()
    }

    /// Returns the HTML of the open page as it was served, if it was served since the last call.
    pub async fn served(&self) -> Option<String> {
        let here = self.driver.current_url().await.unwrap();
        let here = here.as_str().split('#').next().unwrap();
        let mut came = None;
        for entry in self.driver.get_log("performance").await.unwrap() {
            let event: Value = serde_json::from_str(&entry.message).unwrap();
            let (what, event) = (&event["message"]["method"], &event["message"]["params"]);
            if what == "Network.responseReceived" && event["type"] == "Document" && event["response"]["url"] == here {
                came = Some(event["requestId"].clone());
            }
        }
        let body = self.cdp("Network.getResponseBody", json!({"requestId": came?})).await;
        Some(body["body"].as_str().unwrap().to_owned())
    }

    /// Returns the messages of the console that should not be there.
    pub async fn complaints(&self) -> Vec<String> {
        let here = self.driver.current_url().await.unwrap();
        let mut said = self.driver.browser_log().await.unwrap();
        // Chromium itself reports the status of pages that are no success. Our script may have restored the query.
        let expected = "Failed to load resource: the server responded with a status of ";
        let page = here.as_str().split('?').next().unwrap_or_default();
        said.retain(|entry| !(entry.message.starts_with(page) && entry.message.contains(expected)));
        said.into_iter().map(|entry| entry.message).collect()
    }

    /// Waits for a visible element.
    pub async fn finds(&self, css: &str) -> WebElement {
        let found = self.driver.query(By::Css(css)).and_displayed().first().await;
        match found {
            Ok(element) => element,
            Err(why) => panic!("{why} on {}: {}", self.path().await, self.driver.source().await.unwrap()),
        }
    }

    /// Waits for the page that has this element. The page must fit its window and leave the console empty.
    pub async fn sees(&self, mark: &str) {
        self.finds(mark).await;
        let wide = self.learns("document.documentElement.scrollWidth").await;
        assert!(wide.as_u64().unwrap() <= u64::from(self.width), "{mark} is {wide} px wide in {}", self.width);
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "at {mark} the console says {complaints:#?}");
    }

    /// Follows the link that leads to this path, with a token or without.
    pub async fn follows(&self, path: &str) {
        self.takes(&link_to(path)).await;
    }

    /// Presses the button of the form that goes to this path.
    pub async fn presses(&self, action: &str) {
        self.takes(&button_of(action)).await;
    }

    /// Goes to another page by this link or button.
    pub async fn takes(&self, way: &str) {
        let way = self.finds(way).await;
        self.leaves(self.activates(&way)).await;
    }

    async fn activates(&self, element: &WebElement) {
        match self.hands {
            Hands::Pointer => element.click().await.unwrap(),
            Hands::Keyboard => {
                self.tabs_to(element).await;
                self.keys(Key::Enter).await;
            }
        }
    }

    pub async fn goes_back(&self) {
        self.leaves(async { self.driver.back().await.unwrap() }).await;
    }

    /// Does what leads to another page, and waits until this page is gone, because the next may look like it.
    async fn leaves(&self, by: impl Future<Output = ()>) {
        let page = self.driver.find(By::Tag("html")).await.unwrap();
        by.await;
        until("another page comes", async || page.tag_name().await.err()).await;
    }

    /// Replaces the value of a field.
    pub async fn types(&self, field: &str, text: &str) {
        let field = self.finds(&format!("[id='{field}']")).await;
        match self.hands {
            Hands::Pointer => {
                field.clear().await.unwrap();
                field.send_keys(text).await.unwrap();
            }
            Hands::Keyboard => {
                self.tabs_to(&field).await; // this selects the old value
                self.keys(text).await;
            }
        }
    }

    /// Chooses from a list.
    pub async fn chooses(&self, list: &str, value: &str) {
        let list = self.finds(&format!("select[id='{list}']")).await;
        match self.hands {
            Hands::Pointer => {
                let entry = list.find(By::Css(format!("option[value='{value}']"))).await.unwrap();
                entry.click().await.unwrap();
            }
            Hands::Keyboard => {
                self.tabs_to(&list).await;
                while list.prop("value").await.unwrap().unwrap() != value {
                    let before = list.prop("selectedIndex").await.unwrap();
                    self.keys(Key::Down).await;
                    assert_ne!(list.prop("selectedIndex").await.unwrap(), before, "the list ends before {value}");
                }
            }
        }
    }

    /// Waits for a flash.
    pub async fn is_told(&self) {
        self.finds("[role=status]").await;
    }

    /// Returns the ID of the element that has the focus.
    pub async fn focus(&self) -> String {
        self.driver.active_element().await.unwrap().id().await.unwrap().unwrap_or_default()
    }

    /// Presses keys. They go to the element that has the focus.
    pub async fn keys(&self, keys: impl Into<TypingData>) {
        self.driver.action_chain().send_keys(keys).perform().await.unwrap();
    }

    /// Presses Tab until this element has the focus. The focus must be visible at every stop before it.
    pub async fn tabs_to(&self, element: &WebElement) {
        /// Returns whether the element has the focus, and the element with the focus if it is not visible. On its way into
        /// the frame of a letter, the focus is on no element.
        const LOOK: &str = "
            const stop = document.activeElement;
            if (!stop || stop == document.body || stop.matches('iframe')) return [false, ''];
            const style = getComputedStyle(stop), { top, bottom } = stop.getBoundingClientRect();
            const ringed = stop.matches(':focus-visible') && style.outlineStyle != 'none' && parseFloat(style.outlineWidth) > 0;
            const inView = bottom > 0 && top < innerHeight;
            return [stop == arguments[0], ringed && inView ? '' : stop.outerHTML];";
        const STOPS_MAX: usize = 40;
        for _ in 0..STOPS_MAX {
            self.keys(Key::Tab).await;
            let looked = self.driver.execute(LOOK, vec![element.to_json().unwrap()]).await.unwrap();
            let (there, hidden): (bool, String) = looked.convert().unwrap();
            assert!(hidden.is_empty(), "on {} the focus cannot be seen: {hidden}", self.path().await);
            if there {
                return;
            }
        }
        panic!("{STOPS_MAX} tabs on {} do not lead to {}", self.path().await, element.outer_html().await.unwrap())
    }

    /// Opens the newest letter in the development mailbox.
    pub async fn opens_the_letter(&self, app: &TestApp, address: &str, letters: usize) {
        app.letters_to(address, letters).await;
        self.follows("/dev/mailbox").await;
        self.takes(".letters a").await;
        self.finds("iframe.letter").await;
    }

    /// Presses the button of the open letter, and goes on in the tab that it opens.
    pub async fn presses_in_the_letter(&mut self, path: &str) {
        let here = self.driver.window().await.unwrap();
        self.driver.enter_frame(0).await.unwrap();
        let button = self.finds(&link_to(path)).await;
        self.activates(&button).await;
        let opened = async || self.driver.windows().await.unwrap().into_iter().find(|tab| *tab != here);
        let tab = until("the button opens a tab", opened).await;
        self.driver.switch_to_window(tab).await.unwrap();
        self.turns_to(self.width, self.dark).await;
    }
}
