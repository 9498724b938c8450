//! A browser of a user: cookies, one connection for each request, and every answer judged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use reqwest::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, redirect};

use crate::ledger::Answer;
use crate::site::{Phase, Site};

/// How long a client waits for an answer. It is more than the server takes at most.
const PATIENCE: Duration = Duration::from_secs(45);

/// The server ends a request after 30 seconds. Its statement may still be on the way to the database then.
const SLOW: Duration = Duration::from_secs(9);

/// What came back.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub location: String,
    pub html: String,
    pub took: Duration,
}

/// A request's end: a page, or the reason why there is none.
pub type Sent = Result<Page, Answer>;

/// A browser. A clone has the same cookies, as a copy of a cookie has.
#[derive(Clone)]
pub struct Browser {
    site: Arc<Site>,
    client: Client,
    address: String,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// Returns a browser without cookies. Its address is from the network for benchmarks (RFC 2544).
    pub fn new(site: &Arc<Site>, user: usize) -> anyhow::Result<Self> {
        let client = Client::builder().redirect(redirect::Policy::none()).timeout(PATIENCE).pool_max_idle_per_host(0);
        let (client, address) = (client.build()?, format!("198.18.{}.{}", user / 250, user % 250 + 1));
        Ok(Self { site: site.clone(), client, address, cookies: BTreeMap::new() })
    }

    pub async fn get(&mut self, path: &str) -> Sent {
        self.send(Method::GET, path, &[]).await
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Sent {
        self.send(Method::POST, path, fields).await
    }

    /// Posts a form. It was done if the answer leads to `leads_to`.
    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)], leads_to: &[&str]) -> Answer {
        match self.post(path, fields).await {
            Ok(page) if page.status == 303 && leads_to.contains(&page.location.as_str()) => Answer::Done,
            // A limit says nothing about the account.
            Ok(page) if page.status == 429 => Answer::NotSent,
            Ok(page) if page.status < 500 => Answer::Refused,
            Ok(page) if page.took > SLOW => Answer::TimedOut,
            Ok(_) => Answer::Failed,
            Err(answer) => answer,
        }
    }

    /// Sends a request to a node that is up, as a load balancer does: a node that takes no connection is passed over.
    async fn send(&mut self, method: Method, path: &str, fields: &[(&str, &str)]) -> Sent {
        let tally = self.site.tally.clone();
        for port in self.site.ports() {
            let mut request = self.client.request(method.clone(), format!("http://127.0.0.1:{port}{path}"));
            request = request.header(HOST, "localhost").header("sec-fetch-site", "same-origin");
            request = request.header("x-forwarded-for", &self.address);
            if !self.cookies.is_empty() {
                let all: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
                request = request.header(COOKIE, all.join("; "));
            }
            if method == Method::POST {
                request = request.form(fields);
            }
            let (asked, phase) = (Instant::now(), self.site.phase());
            let answered = async {
                let response = request.send().await?;
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                reqwest::Result::Ok((status, headers, response.text().await?))
            };
            let (status, headers, html) = match answered.await {
                Ok(answer) => answer,
                Err(why) if why.is_connect() => continue,
                Err(why) => {
                    tally.lost.fetch_add(1, Relaxed);
                    if !self.site.may_lose() || phase != Phase::During && self.site.phase() != Phase::During {
                        let after = asked.elapsed();
                        tally.violated(format!("{method} {path} had no answer after {after:.1?} ({phase:?}): {why:?}"));
                    }
                    return Err(Answer::Lost);
                }
            };
            for cookie in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
                if let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) {
                    if cookie.contains("Max-Age=0") {
                        self.cookies.remove(name);
                    } else {
                        self.cookies.insert(name.to_owned(), value.to_owned());
                    }
                }
            }
            let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let (location, took) = (header(LOCATION.as_str()).to_owned(), asked.elapsed());
            let page = Page { status, location, html, took };
            if status >= 500 {
                tally.failed.fetch_add(1, Relaxed);
                let id = header("x-request-id");
                if id.is_empty() || !page.html.contains(id) || !page.html.contains("</html>") {
                    tally.violated(format!("{method} {path} answered {status} without a page that has its request ID"));
                }
                // A clock that is set back uses up the site's limit on emails (503) for those who have just asked.
                let by_clock = self.site.may_age() && ["/forgot-password", "/signup"].contains(&path);
                if phase != Phase::During && self.site.phase() != Phase::During && !by_clock {
                    tally.violated(format!("{method} {path} answered {status} {phase:?} the fault, request {id}"));
                }
            }
            return Ok(page);
        }
        tally.not_sent.fetch_add(1, Relaxed);
        if !self.site.may_stop() {
            tally.violated(format!("{method} {path}: no node takes a connection"));
        }
        Err(Answer::NotSent)
    }
}
