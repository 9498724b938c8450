//! A user of the site: signs up, logs in and out, changes the name and the password, asks for resets and uses them, and writes
//! down every answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::browser::Browser;
use crate::catcher::Catcher;
use crate::chance::Chance;
use crate::ledger::{Act, Answer, Ledger};
use crate::site::Site;

/// How long a user waits for an email before doing something else.
const LETTER_WITHIN: Duration = Duration::from_secs(4);
/// In how many browsers a user is logged in at most.
const BROWSERS: usize = 4;
/// How long a user who has asked for two resets waits for their emails.
const ASKS_AGAIN_AFTER: Duration = Duration::from_secs(25);
const CONFIRM: &str = "/signup/confirm";
const RESET: &str = "/reset-password";

/// A user, with the browsers in which there is a session, and those in which there was one.
pub struct User {
    pub number: usize,
    pub ledger: Ledger,
    /// How many resets and sign-ups were acknowledged, and how many had no certain answer.
    pub asked: [usize; 2],
    pub signups: [usize; 2],
    site: Arc<Site>,
    mail: Arc<Catcher>,
    pub chance: Chance,
    sessions: Vec<(usize, Browser)>,
    ended: Vec<(usize, Browser)>,
    next_session: usize,
    passwords: usize,
    names: usize,
    links: usize,
    used: Option<(usize, String)>,
    /// When the last resets were asked for. Three links work at a time, so a user who waits for two emails asks for no more.
    waits: Vec<Instant>,
}

impl User {
    pub fn new(number: usize, seed: u64, site: &Arc<Site>, mail: &Arc<Catcher>) -> Self {
        let ledger = Ledger::new(format!("user{number}"), site.tally.violations.clone());
        let chance = Chance::new(seed, number as u64 + 1);
        let (site, mail, sessions, ended) = (site.clone(), mail.clone(), vec![], vec![]);
        let [asked, signups] = [[0; 2]; 2];
        let (next_session, passwords, names, links, used) = (0, 0, 0, 0, None);
        Self {
            number,
            ledger,
            asked,
            signups,
            site,
            mail,
            chance,
            sessions,
            ended,
            next_session,
            passwords,
            names,
            links,
            used,
            waits: vec![],
        }
    }

    pub fn address(&self) -> String {
        format!("user{}@example.com", self.number)
    }

    fn login(&self) -> String {
        format!("user{}", self.number)
    }

    fn password(&self, number: usize) -> String {
        format!("velvet otter bakes rye {} times {number}", self.number)
    }

    fn name(&self, number: usize) -> String {
        if number == 0 { String::new() } else { format!("Heron {} of {number} lakes", self.number) }
    }

    /// Lives until it is told to stop.
    pub async fn live(mut self, stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        while !stop.load(Relaxed) {
            let before = self.site.tally.not_sent.load(Relaxed);
            self.act().await?;
            // A user who finds the site closed does not hammer on it.
            let pause = if self.site.tally.not_sent.load(Relaxed) > before { 200 } else { 5 };
            tokio::time::sleep(self.chance.pause(pause, pause * 4)).await;
        }
        Ok(self)
    }

    async fn act(&mut self) -> anyhow::Result<()> {
        match self.ledger.exists() {
            Some(false) => return self.sign_up().await,
            None => return self.log_in().await,
            Some(true) => {}
        }
        if self.sessions.is_empty() {
            return if self.chance.below(3) == 0 { self.forget().await } else { self.log_in().await };
        }
        match self.chance.below(20) {
            0..4 => self.log_in().await,
            4..8 => self.rename().await,
            8..11 => self.change().await,
            11..14 => self.forget().await,
            14..17 => self.log_out().await,
            17..19 => self.look().await,
            _ => self.reuse().await,
        }
    }

    /// Writes an answer down.
    fn note(&mut self, act: Act, answer: Answer) {
        // Links expire when the clock jumps ahead. Cookies of that time open nothing when it is right again.
        if self.site.may_age() && answer == Answer::Refused && !matches!(act, Act::LogIn { .. }) {
            return;
        }
        if answer == Answer::Done {
            self.site.tally.done.fetch_add(1, Relaxed);
        }
        self.ledger.note(act, answer);
    }

    fn new_session(&mut self) -> usize {
        self.next_session += 1;
        self.next_session
    }

    fn new_password(&mut self) -> (usize, String) {
        self.passwords += 1;
        (self.passwords, self.password(self.passwords))
    }

    pub async fn sign_up(&mut self) -> anyhow::Result<()> {
        let (mut browser, address, login) = (Browser::new(&self.site, self.number)?, self.address(), self.login());
        let (number, password) = self.new_password();
        let seen = self.mail.count(&address, CONFIRM);
        let fields = [("email", address.as_str()), ("username", &login), ("password", &password)];
        match browser.submit("/signup", &fields, &["/signup/sent"]).await {
            Answer::Done => self.signups[0] += 1,
            Answer::Failed | Answer::TimedOut | Answer::Lost => self.signups[1] += 1,
            Answer::NotSent | Answer::Refused => return Ok(()),
        }
        let Some(link) = self.mail.wait((&address, CONFIRM), seen, LETTER_WITHIN).await else { return Ok(()) };
        if browser.get(&link).await.is_err() {
            return Ok(());
        }
        // The visit may not know any more that this browser began: then the password is asked for, and there is no session.
        let session = self.new_session();
        let act = |session| Act::Confirm { password: number, session };
        match browser.post(CONFIRM, &[("password", &password)]).await {
            Ok(page) if page.status == 303 && page.location == "/profile" => {
                self.note(act(Some(session)), Answer::Done);
                // This session ends after two hours without use.
                if !self.site.may_age() {
                    self.sessions.push((session, browser));
                }
            }
            Ok(page) if page.status == 303 && page.location == "/login" => self.note(act(None), Answer::Done),
            // The link of an earlier attempt may have been used, or its letter may have come late.
            Ok(page) if page.status < 500 => {}
            Ok(_) => self.note(act(Some(session)), Answer::Failed),
            Err(answer) => self.note(act(Some(session)), answer),
        }
        Ok(())
    }

    /// Logs in in a new browser, with a password that may be the right one.
    async fn log_in(&mut self) -> anyhow::Result<()> {
        let candidates: Vec<_> = self.ledger.passwords().into_iter().collect();
        let password = *self.chance.one_of(&candidates).context("no password")?;
        self.log_in_with(password).await
    }

    async fn log_in_with(&mut self, password: usize) -> anyhow::Result<()> {
        let (mut browser, session, login) = (Browser::new(&self.site, self.number)?, self.new_session(), self.login());
        let fields = [("login", login.as_str()), ("password", &self.password(password)), ("remember", "1")];
        let answer = browser.submit("/login", &fields, &["/profile"]).await;
        self.note(Act::LogIn { password, session }, answer);
        if answer == Answer::Done {
            self.sessions.push((session, browser));
            if self.sessions.len() > BROWSERS {
                let oldest = self.sessions.remove(0);
                self.ended.push(oldest);
            }
        }
        Ok(())
    }

    async fn rename(&mut self) -> anyhow::Result<()> {
        let at = self.chance.below(self.sessions.len());
        self.names += 1;
        let (name, (session, browser)) = (self.name(self.names), &mut self.sessions[at]);
        let act = Act::Rename { session: *session, name: self.names };
        let answer = browser.submit("/profile/name", &[("full_name", &name)], &["/profile"]).await;
        self.note(act, answer);
        self.drop_if(answer == Answer::Refused, at);
        Ok(())
    }

    /// Changes the name, and writes nothing down.
    pub async fn rename_once(&self) -> anyhow::Result<Answer> {
        let (_, browser) = self.sessions.first().context("not logged in")?;
        let name = self.name(self.chance.below(1000));
        Ok(browser.clone().submit("/profile/name", &[("full_name", &name)], &["/profile"]).await)
    }

    /// Puts a browser whose session is over aside. The checker looks whether it stays over.
    fn drop_if(&mut self, over: bool, at: usize) {
        if over {
            let ended = self.sessions.remove(at);
            self.ended.push(ended);
        }
    }

    async fn change(&mut self) -> anyhow::Result<()> {
        let candidates: Vec<_> = self.ledger.passwords().into_iter().collect();
        let from = *self.chance.one_of(&candidates).context("no password")?;
        let (at, (to, password), after) =
            (self.chance.below(self.sessions.len()), self.new_password(), self.new_session());
        let (current, (session, browser)) = (self.password(from), self.sessions[at].clone());
        let mut changing = browser.clone();
        let fields = [("current_password", current.as_str()), ("new_password", &password)];
        let answer = changing.submit("/profile/password", &fields, &["/profile/security"]).await;
        self.note(Act::Change { session, after, from, to }, answer);
        if answer == Answer::Done {
            // All sessions that there were are copies now, which must be dead.
            self.ended.append(&mut self.sessions);
            self.sessions.push((after, changing));
        }
        Ok(())
    }

    /// Asks for a link, waits for it, and uses it.
    async fn forget(&mut self) -> anyhow::Result<()> {
        let (mut browser, address) = (Browser::new(&self.site, self.number)?, self.address());
        let seen = self.mail.count(&address, RESET);
        self.waits.retain(|asked| asked.elapsed() < ASKS_AGAIN_AFTER);
        if self.waits.len() >= 2 && self.asked[0] > seen {
            return self.log_in().await;
        }
        self.waits.push(Instant::now());
        match browser.submit("/forgot-password", &[("email", &address)], &["/forgot-password/sent"]).await {
            Answer::Done => self.asked[0] += 1,
            Answer::Failed | Answer::TimedOut | Answer::Lost => self.asked[1] += 1,
            Answer::NotSent | Answer::Refused => return Ok(()),
        }
        let Some(link) = self.mail.wait((&address, RESET), seen, LETTER_WITHIN).await else { return Ok(()) };
        self.links += 1;
        self.ledger.link(self.links);
        self.reset(self.links, &link).await
    }

    async fn reset(&mut self, link: usize, path: &str) -> anyhow::Result<()> {
        let (mut browser, (to, password)) = (Browser::new(&self.site, self.number)?, self.new_password());
        if browser.get(path).await.is_ok_and(|page| page.status == 303) {
            let answer = browser.submit(RESET, &[("password", &password)], &["/login"]).await;
            self.note(Act::Reset { link, to }, answer);
            self.used = Some((link, path.to_owned()));
            if answer == Answer::Done {
                self.ended.append(&mut self.sessions);
            }
        }
        Ok(())
    }

    /// Attempts to use a link again.
    async fn reuse(&mut self) -> anyhow::Result<()> {
        match self.used.clone() {
            Some((link, path)) => self.reset(link, &path).await,
            None => Ok(()),
        }
    }

    async fn log_out(&mut self) -> anyhow::Result<()> {
        let at = self.chance.below(self.sessions.len());
        let (session, browser) = self.sessions[at].clone();
        // A copy of the cookie stays here, to see that it opens nothing any more.
        let answer = browser.clone().submit("/logout", &[], &["/login"]).await;
        self.note(Act::LogOut { session }, answer);
        self.drop_if(answer == Answer::Done, at);
        Ok(())
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let at = self.chance.below(self.sessions.len());
        let (session, mut browser) = self.sessions[at].clone();
        let over = self.look_with(session, &mut browser).await == Some(false);
        self.drop_if(over, at);
        Ok(())
    }

    /// Opens the profile. Returns whether the session is alive, if that is certain.
    async fn look_with(&mut self, session: usize, browser: &mut Browser) -> Option<bool> {
        let page = browser.get("/profile").await.ok().filter(|page| page.status < 500)?;
        if page.status != 200 {
            self.ledger.tell(format!("{} {}", page.status, page.location));
            if !self.site.may_age() {
                self.ledger.session(session, None);
            }
            return Some(false);
        }
        let shown = (1..=self.names).rev().find(|number| page.html.contains(&self.name(*number)));
        self.ledger.session(session, Some(shown.unwrap_or_default()));
        Some(true)
    }

    /// Looks at everything once more, when all is over: each session, and the right and the wrong passwords.
    pub async fn check(&mut self) -> anyhow::Result<()> {
        self.ledger.settle();
        let all: Vec<_> = self.sessions.iter().chain(self.ended.iter().rev().take(8)).cloned().collect();
        for (session, mut browser) in all {
            if self.look_with(session, &mut browser).await.is_none() {
                self.ledger.violated("the profile does not open after the fault");
            }
        }
        if self.ledger.exists() == Some(false) {
            return Ok(());
        }
        let mut candidates = self.ledger.passwords();
        candidates.extend([self.passwords.saturating_sub(1), self.passwords].into_iter().filter(|number| *number > 0));
        for password in candidates {
            self.log_in_with(password).await?;
        }
        if let Some((session, mut browser)) = self.sessions.last().cloned() {
            self.look_with(session, &mut browser).await;
        }
        if self.ledger.exists() == Some(true) && self.ledger.passwords().len() != 1 {
            self.ledger.violated("no password or several passwords open the account");
        }
        Ok(())
    }
}
