//! The program in the process of the test, on a folder that is deleted with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use futures_util::FutureExt;
use latchkey::accounts::password::Password;
use latchkey::accounts::password::hasher::Hasher;
use latchkey::accounts::session;
use latchkey::app::App;
use latchkey::chance;
use latchkey::config::{Config, Settings};
use latchkey::keys::Pointer;
use latchkey::mail::Mailer;
use latchkey::net::ConnectionLimits;
use latchkey::server::{self, Sockets};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::browser::Browser;
use crate::{OTTER, database};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// Returns passwords that take so many places for each core in the queue for the hash, until they are dropped.
pub fn line(hasher: &Hasher, for_each_core: usize) -> Vec<impl Future + use<'_>> {
    let places = for_each_core * thread::available_parallelism().unwrap().get();
    let mut line: Vec<_> = (0..places).map(|_| Box::pin(hasher.verify(Password::new(OTTER), None))).collect();
    for one in &mut line {
        assert!(one.now_or_never().is_none());
    }
    line
}

/// A running Latchkey.
pub struct TestApp {
    pub app: Arc<App>,
    pub url: String,
    pub dir: Arc<TempDir>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            crate::canary::assert_silent();
        }
        if Arc::strong_count(&self.dir) == 1 {
            database::forget(self.dir.path());
        }
    }
}

/// A letter as `/dev/mailbox.json` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub links: Vec<String>,
}

impl TestApp {
    /// Starts with the default settings.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts with these flags.
    pub async fn start_with(flags: &[&str]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), flags).await
    }

    /// Starts in a folder that may hold a database already.
    pub async fn start_in(dir: Arc<TempDir>, flags: &[&str]) -> Self {
        Self::start_within(dir, flags, ConnectionLimits::default()).await
    }

    /// Starts with other limits on connections.
    pub async fn start_within(dir: Arc<TempDir>, flags: &[&str], limits: ConnectionLimits) -> Self {
        crate::canary::listen();
        let postgres = if flags.contains(&"--database-url") { None } else { database::migrated(dir.path()) };
        let secret = dir.path().join("secret");
        if postgres.is_some() {
            database::make_secret(&secret);
        }
        let parse = |listen: SocketAddr, url: &str| {
            let listen = listen.to_string();
            let ours = ["test", "--listen", &listen, "--data-dir", dir.path().to_str().unwrap()];
            let mut all: Vec<&str> = ours.to_vec();
            if !flags.contains(&"--public-url") {
                all.extend(["--public-url", url]);
            }
            if let Some(database) = &postgres {
                all.extend(["--database-url", database, "--secret-file", secret.to_str().unwrap()]);
            }
            all.extend(flags);
            let arguments = Arguments::try_parse_from(all).unwrap_or_else(|why| panic!("{why}"));
            Settings::parse(arguments.config).unwrap()
        };
        let scheme = if flags.contains(&"--tls-cert") { "https" } else { "http" };
        let any_port = parse(([127, 0, 0, 1], 0).into(), &format!("{scheme}://localhost"));
        let mut sockets = Sockets::bind(&any_port).unwrap();
        sockets.limits = limits;
        let listen = sockets.site_address().unwrap();
        let url = format!("{scheme}://{listen}");
        let config = parse(listen, &url);
        let app = App::open(config).await.unwrap();
        let mailer = Mailer::new(&app.settings).unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server::run(app.clone(), mailer, sockets, async {
            let _ = stopped.await; // an error means that the test has ended without a stop
        }));
        Self { app, url, dir, stop: Some(stop), server: Some(server) }
    }

    /// Stops as SIGTERM does, and waits until everything has ended.
    pub async fn stop(mut self) -> Arc<TempDir> {
        self.stop.take().unwrap().send(()).unwrap();
        self.server.take().unwrap().await.unwrap().unwrap();
        self.dir.clone()
    }

    /// Returns a new browser, which does not know the site.
    pub fn browser(&self) -> Browser {
        Browser::new(&self.url)
    }

    /// Returns all emails, newest first.
    pub async fn letters(&self) -> Vec<Letter> {
        reqwest::get(format!("{}/dev/mailbox.json", self.url)).await.unwrap().json().await.unwrap()
    }

    /// Waits until `count` letters have come to this address, and returns them, newest first.
    pub async fn letters_to(&self, address: &str, count: usize) -> Vec<Letter> {
        let arrived = async {
            loop {
                let mut letters = self.letters().await;
                letters.retain(|letter| letter.to == address);
                if letters.len() >= count {
                    return letters;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), arrived)
            .await
            .unwrap_or_else(|_| panic!("no {count} letters to {address}"))
    }

    /// Waits until the postman has nothing left to send, except emails in which news wait for their turn.
    pub async fn outbox_is_done(&self) {
        use latchkey::accounts::outbox::{Column, Entity, LetterState};
        use sea_orm::sea_query::ExprTrait;
        use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
        let done = async {
            let news = Column::Letter.is_in(["new_devices", "devices_ended"]);
            let waits = news.and(Column::NextAttemptAt.gt(self.app.now()));
            let waiting = Entity::find().filter(Column::State.eq(LetterState::Waiting)).filter(waits.not());
            while waiting.clone().count(self.app.db.read()).await.unwrap() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), done).await.unwrap();
    }

    /// Signs a user up and confirms by the link in the email. Returns the browser, in which the user is logged in.
    pub async fn user(&self, name: &str, password: &str) -> Browser {
        let mut browser = self.browser();
        let address = format!("{name}@example.com");
        let sent = browser.open("/signup").await.form("/signup");
        let sent = sent
            .fill("email", &address)
            .fill("username", name)
            .fill("full_name", "Sam Smith")
            .fill("password", password);
        let page = browser.submit(sent).await;
        assert_eq!(page.path, "/signup/sent", "{}", page.html);
        let link = self.letters_to(&address, 1).await[0].links[0].clone();
        let form = browser.open(&link).await.form("/signup/confirm");
        let page = browser.submit(form).await;
        assert_eq!(page.path, "/profile", "{}", page.html);
        browser
    }

    /// Makes the session of this browser begin earlier.
    pub async fn began_earlier(&self, browser: &mut Browser, by: Duration) {
        let cookie = browser.cookies.get_mut("latchkey_session").unwrap();
        *cookie = self.earlier(cookie, by).await;
    }

    /// Makes the session of this cookie begin earlier. The time of its log-in is in its id, and so in its cookie, which is
    /// another one then.
    pub async fn earlier(&self, cookie: &str, by: Duration) -> String {
        let (db, keys, now) = (self.app.db.write(), &self.app.keys, self.app.now());
        let now_it_is = keys.verify(cookie, now).unwrap();
        let session = chance::earlier(now_it_is.session, by);
        let move_it = session::Entity::update_many().col_expr(session::Column::Id, Expr::value(session));
        move_it.filter(session::Column::Id.eq(now_it_is.session)).exec(db).await.unwrap();
        let row = session::Entity::find_by_id(session).one(db).await.unwrap().unwrap();
        keys.mint(Pointer { session, ..now_it_is }, now, row.expires_at).unwrap()
    }

    /// Asks for a reset link on the page. Returns the link in the newest email.
    pub async fn reset_link(&self, address: &str, letters: usize) -> String {
        let mut browser = self.browser();
        let form = browser.open("/forgot-password").await.form("/forgot-password").fill("email", address);
        assert_eq!(browser.submit(form).await.path, "/forgot-password/sent");
        // Emails that wait together may come in any order.
        let letters = self.letters_to(address, letters).await;
        let newest = letters.iter().find(|letter| letter.subject.contains("Reset")).unwrap();
        newest.links[0].clone()
    }
}
