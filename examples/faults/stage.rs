//! A run: the site, the mail server and the users are set up, the fault strikes, the program recovers, and the checker looks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::browser::Browser;
use crate::catcher::Catcher;
use crate::chance::Chance;
use crate::check::{Books, Letters};
use crate::cluster::Cluster;
use crate::proxy::Proxy;
use crate::site::{Phase, Site, free_port, locked};
use crate::user::User;

/// How long the program may take until it works again after a fault.
const RECOVERS_WITHIN: Duration = Duration::from_secs(20);
const SECRET: &str = "canary-9vT2qLx7Rm4Kc8Wz1Nd6Hb3Fp5Gs0Jy";
pub const USERS: usize = 12;

/// What `bench/faults` was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The release binary.
    pub binary: PathBuf,
    /// The release binary of the previous version.
    pub previous: Option<PathBuf>,
    pub seed: u64,
}

/// The results of a run.
#[derive(Debug, Default)]
pub struct Report {
    pub done: usize,
    pub failed: usize,
    pub lost: usize,
    /// Changes that were done although a page said that something had failed.
    pub done_yet_refused: usize,
    pub letters: Letters,
    /// How long the program took to work again.
    pub recovered: Duration,
    pub violations: Vec<String>,
}

/// A run in progress. All that it has started ends when this value is dropped.
pub struct Stage {
    pub options: Options,
    pub site: Arc<Site>,
    pub mail: Arc<Catcher>,
    pub chance: Chance,
    pub cluster: Option<Cluster>,
    pub proxy: Option<Proxy>,
    pub settings: BTreeMap<String, String>,
    pub recovered: Duration,
    stop: Arc<AtomicBool>,
    users: JoinSet<anyhow::Result<User>>,
}

impl Stage {
    /// Sets up the mail server and the settings of a site, without nodes.
    pub async fn empty(options: &Options) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("latchkey-faults-").tempdir()?;
        let mail = Arc::new(Catcher::start(dir.path()).await?);
        let file = |name: &str| dir.path().join(name).display().to_string();
        let settings = [
            ("LATCHKEY_RATE_LIMITS", "off".to_owned()),
            ("LATCHKEY_PUBLIC_URL", "http://localhost".to_owned()),
            ("LATCHKEY_DATA_DIR", file("data")),
            ("LATCHKEY_SECRET", SECRET.to_owned()),
            ("LATCHKEY_SMTP_URL", format!("smtp://localhost:{}?tls=required", mail.port)),
            ("LATCHKEY_MAIL_FROM", "no-reply@acme.example".to_owned()),
            ("SSL_CERT_FILE", file("ca.pem")),
        ];
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let site = Arc::new(Site::new(dir));
        let (chance, options, stop, users) =
            (Chance::new(options.seed, 0), options.clone(), Arc::default(), JoinSet::new());
        let (cluster, proxy, recovered) = (None, None, Duration::ZERO);
        Ok(Self { options, site, mail, chance, cluster, proxy, settings, recovered, stop, users })
    }

    /// Sets up a site of one node with SQLite.
    pub async fn sqlite(options: &Options) -> anyhow::Result<Self> {
        let stage = Self::empty(options).await?;
        stage.add_node(&stage.options.binary).await?;
        Ok(stage)
    }

    /// Sets up a site with PostgreSQL. Between them is a proxy, which can cut the connections.
    pub async fn postgres(options: &Options, nodes: usize) -> anyhow::Result<Self> {
        let mut stage = Self::empty(options).await?;
        let cluster = Cluster::start(free_port()?, &[]).await?;
        stage.connect_to(cluster).await?;
        for _ in 0..nodes {
            stage.add_node(&stage.options.binary).await?;
        }
        Ok(stage)
    }

    pub async fn connect_to(&mut self, cluster: Cluster) -> anyhow::Result<()> {
        let proxy = Proxy::start(cluster.port).await?;
        let url = format!("postgres://latchkey@localhost:{}/postgres", proxy.port);
        self.settings.insert("LATCHKEY_DATABASE_URL".into(), url);
        (self.cluster, self.proxy) = (Some(cluster), Some(proxy));
        Ok(())
    }

    /// Adds a node and starts it.
    pub async fn add_node(&self, binary: &Path) -> anyhow::Result<()> {
        let mut settings = self.settings.clone();
        if self.cluster.is_some() {
            let dir = self.site.dir.path().join(format!("data{}", self.site.nodes()));
            settings.insert("LATCHKEY_DATA_DIR".into(), dir.display().to_string());
        }
        let number = self.site.add(binary, &settings)?;
        self.site.start(number).await
    }

    /// Lets the users come.
    pub fn open(&mut self) {
        for number in 0..USERS {
            let user = User::new(number, self.options.seed, &self.site, &self.mail);
            self.users.spawn(user.live(self.stop.clone()));
        }
    }

    /// Lets the users come, and waits until the fault strikes.
    pub async fn open_until_fault(&mut self) {
        self.open();
        sleep(self.chance.pause(1000, 3000)).await;
        self.site.enter(Phase::During);
    }

    /// Ends the time of the fault: waits until every node does its work again by itself.
    pub async fn recover(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let (mut good, mut client) = (0, 1000);
        // A form that writes a row must be done some times in a row. The site stays in its fault until then.
        while good < 2 * self.site.nodes() {
            client += 1;
            let mut browser = Browser::new(&self.site, client)?;
            let done = browser.post("/forgot-password", &[("email", "no-user@example.com")]).await;
            good = if done.is_ok_and(|page| page.status == 303) { good + 1 } else { 0 };
            ensure!(
                began.elapsed() < RECOVERS_WITHIN,
                "the program does not work {RECOVERS_WITHIN:?} after the fault:\n{}",
                self.site.log_end(0)
            );
            if good == 0 {
                sleep(Duration::from_millis(50)).await;
            }
        }
        self.recovered = began.elapsed();
        self.site.enter(Phase::After);
        Ok(())
    }

    /// Lets the users go on for a while, and then looks at everything.
    pub async fn finish(mut self) -> anyhow::Result<Report> {
        sleep(self.chance.pause(1500, 2500)).await;
        let mut users = self.close().await?;
        let books = self.books().await?;
        let letters = books.letters(&self.mail, &self.site.tally).await?;
        for user in &mut users {
            user.check().await?;
            books.user(user).await?;
        }
        match &self.cluster {
            Some(cluster) => self.site.tally.judge(cluster.integrity().await),
            None => books.integrity(&self.site.tally).await?,
        }
        let done_yet_refused = users.iter().map(|user| user.ledger.done_yet_refused()).sum();
        self.report(letters, done_yet_refused)
    }

    /// Opens the database beside the program.
    pub async fn books(&self) -> anyhow::Result<Books> {
        let file = format!("sqlite://{}/latchkey.db", self.settings["LATCHKEY_DATA_DIR"]);
        let url = self.cluster.as_ref().map_or(file, |cluster| cluster.url());
        Books::open(&url).await
    }

    /// Lets the users finish what they do.
    async fn close(&mut self) -> anyhow::Result<Vec<User>> {
        self.stop.store(true, Relaxed);
        let mut users = vec![];
        while let Some(ended) = self.users.join_next().await {
            users.push(ended??);
        }
        users.sort_by_key(|user| user.number);
        Ok(users)
    }

    pub fn report(&self, letters: Letters, done_yet_refused: usize) -> anyhow::Result<Report> {
        self.site.expect_alive()?;
        let tally = &self.site.tally;
        let [done, failed, lost] = [&tally.done, &tally.failed, &tally.lost].map(|count| count.load(Relaxed));
        let violations = locked(&tally.violations).clone();
        Ok(Report { done, failed, lost, done_yet_refused, letters, recovered: self.recovered, violations })
    }
}
