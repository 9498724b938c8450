//! Requests that race each other over two nodes. No machine fails here.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use tokio::time::sleep;

use crate::browser::Browser;
use crate::check::Letters;
use crate::ledger::Answer;
use crate::site::Site;
use crate::stage::{Options, Report, Stage};

const ADDRESS: &str = "sam@example.com";
const RESETS: usize = 20;
const ROUNDS: usize = 4;
const LETTER_WITHIN: Duration = Duration::from_secs(20);

/// The one user of a race.
struct Sam<'a> {
    stage: &'a Stage,
    password: String,
    browser: Browser,
    links: usize,
    changes: usize,
}

impl<'a> Sam<'a> {
    async fn sign_up(stage: &'a Stage) -> anyhow::Result<Self> {
        let (mut browser, password) = (Browser::new(&stage.site, 0)?, "velvet otter bakes rye".to_owned());
        let fields = [("email", ADDRESS), ("username", "sam"), ("password", &password)];
        ensure!(browser.submit("/signup", &fields, &["/signup/sent"]).await == Answer::Done, "no sign-up");
        let link = stage.mail.wait((ADDRESS, "/signup/confirm"), 0, LETTER_WITHIN).await.context("no letter")?;
        ensure!(browser.get(&link).await.is_ok_and(|page| page.status == 303), "no link");
        let confirmed = browser.submit("/signup/confirm", &[("password", &password)], &["/profile"]).await;
        ensure!(confirmed == Answer::Done, "not confirmed");
        Ok(Self { stage, password, browser, links: 0, changes: 0 })
    }

    /// Asks for a link and waits for it.
    async fn link(&mut self) -> anyhow::Result<String> {
        let mut browser = Browser::new(&self.stage.site, 0)?;
        let asked = browser.submit("/forgot-password", &[("email", ADDRESS)], &["/forgot-password/sent"]).await;
        ensure!(asked == Answer::Done, "the reset was not asked");
        let link = self.stage.mail.wait((ADDRESS, "/reset-password"), self.links, LETTER_WITHIN).await;
        self.links = self.stage.mail.count(ADDRESS, "/reset-password");
        link.context("no letter")
    }

    fn expect(&self, right: bool, what: &str) {
        self.stage.site.tally.done.fetch_add(usize::from(right), std::sync::atomic::Ordering::Relaxed);
        if !right {
            self.stage.site.tally.violated(what.to_owned());
        }
    }

    async fn opens(&self, password: &str) -> anyhow::Result<bool> {
        Ok(log_in(&self.stage.site, password).await?.1 == Answer::Done)
    }

    async fn is_alive(browser: &Browser) -> bool {
        browser.clone().get("/profile").await.is_ok_and(|page| page.status == 200)
    }

    /// Compares the events and the letters with the changes that were acknowledged.
    async fn finish(self) -> anyhow::Result<Report> {
        sleep(Duration::from_millis(300)).await;
        let books = self.stage.books().await?;
        let letters: Letters = books.letters(&self.stage.mail, &self.stage.site.tally).await?;
        let count = async |query: &str| anyhow::Ok(books.ask(query).await?.len());
        let events = count("SELECT id FROM events WHERE kind IN ('password_changed', 'reset_done')").await?;
        let told = count("SELECT id FROM outbox WHERE letter = 'password_changed'").await?;
        let used = count("SELECT id FROM reset_tokens WHERE used_at IS NULL").await?;
        let changes = self.changes;
        self.expect(
            (events, told) == (changes, changes),
            &format!("{changes} changes, {events} events, {told} letters"),
        );
        self.expect(used == 0, "a link works after a change of the password");
        if let Some(cluster) = &self.stage.cluster {
            self.stage.site.tally.judge(cluster.integrity().await);
        }
        self.stage.report(letters, 0)
    }
}

async fn log_in(site: &Arc<Site>, password: &str) -> anyhow::Result<(Browser, Answer)> {
    let mut browser = Browser::new(site, 0)?;
    let answer = browser.submit("/login", &[("login", "sam"), ("password", password)], &["/profile"]).await;
    Ok((browser, answer))
}

/// Opens a link and chooses a password.
async fn reset(site: &Arc<Site>, link: &str, password: &str) -> anyhow::Result<Answer> {
    let mut browser = Browser::new(site, 0)?;
    ensure!(browser.get(link).await.is_ok_and(|page| page.status == 303), "the link does not open");
    Ok(browser.submit("/reset-password", &[("password", password)], &["/login"]).await)
}

/// Twenty browsers use one link at once, over two nodes, each for a password of its own.
pub async fn one_link(options: Options) -> anyhow::Result<Report> {
    let stage = Stage::postgres(&options, 2).await?;
    let mut sam = Sam::sign_up(&stage).await?;
    for round in 0..ROUNDS {
        let (link, site) = (sam.link().await?, &stage.site);
        let session = log_in(site, &sam.password).await?.0;
        let password = |number| format!("seven herons paint {round} lakes and {number} hills");
        let racers = (0..RESETS).map(async |number| {
            sleep(stage.chance.pause(0, 20)).await;
            reset(site, &link, &password(number)).await
        });
        let answers: Vec<_> = join_all(racers).await.into_iter().collect::<anyhow::Result<_>>()?;
        let won: Vec<_> = (0..RESETS).filter(|number| answers[*number] == Answer::Done).collect();
        sam.expect(won.len() == 1, &format!("{} of {RESETS} resets with one link were done: {answers:?}", won.len()));
        sam.changes += won.len();
        sam.expect(!sam.opens(&sam.password).await?, "the old password works after a reset");
        sam.expect(!Sam::is_alive(&session).await, "a session is alive after a reset");
        sam.password = password(*won.first().context("no reset was done")?);
        sam.expect(sam.opens(&sam.password).await?, "the password of the reset that won does not work");
    }
    sam.finish().await
}

/// A reset races a log-in, a log-out and a change of the password, over two nodes.
pub async fn reset_races(options: Options) -> anyhow::Result<Report> {
    let stage = Stage::postgres(&options, 2).await?;
    let mut sam = Sam::sign_up(&stage).await?;
    for round in 0..ROUNDS {
        let (link, site) = (sam.link().await?, &stage.site);
        let [by_reset, by_change] = ["reset", "change"].map(|by| format!("seven herons {by} {round} small lakes"));
        let (before, after) = (log_in(site, &sam.password).await?, log_in(site, &sam.password).await?);
        let (leaving, mut changing) = (before.0, after.0);
        let wait = async || sleep(stage.chance.pause(0, 60)).await;
        let resetting = async {
            wait().await;
            reset(site, &link, &by_reset).await
        };
        let log_ins = join_all((0..4).map(async |_| {
            wait().await;
            log_in(site, &sam.password).await
        }));
        let leave = async {
            wait().await;
            leaving.clone().submit("/logout", &[], &["/login"]).await
        };
        let old = changing.clone();
        let change = async {
            wait().await;
            let fields = [("current_password", sam.password.as_str()), ("new_password", &by_change)];
            changing.submit("/profile/password", &fields, &["/profile/security"]).await
        };
        let (reset, log_ins, left, changed) = tokio::join!(resetting, log_ins, leave, change);
        let (reset, log_ins) = (reset?, log_ins.into_iter().collect::<anyhow::Result<Vec<_>>>()?);
        sam.expect(left == Answer::Done, "the log-out was not done");
        let one = (reset == Answer::Done) != (changed == Answer::Done);
        sam.expect(one, &format!("the reset: {reset:?}; the change with the old password: {changed:?}"));
        sam.changes += usize::from(reset == Answer::Done) + usize::from(changed == Answer::Done);
        // A log-in with the old password may come before the change. Its session must not outlive it.
        for (browser, _) in log_ins.iter().chain([&(leaving, left), &(old, changed)]) {
            sam.expect(!Sam::is_alive(browser).await, "a session of the old password is alive");
        }
        sam.expect(Sam::is_alive(&changing).await == (changed == Answer::Done), "the session of the change");
        sam.expect(!sam.opens(&sam.password).await?, "the old password works");
        let (right, wrong) = if reset == Answer::Done { (by_reset, by_change) } else { (by_change, by_reset) };
        sam.expect(
            sam.opens(&right).await? && !sam.opens(&wrong).await?,
            "another password than the acknowledged one works",
        );
        sam.password = right;
    }
    sam.expect(!Sam::is_alive(&sam.browser).await, "the session of the sign-up is alive after many changes");
    sam.finish().await
}
