//! The plan of a log-out that an app begins (`oidcc-rp-initiated-logout-certification-test-plan`; RP-Initiated Logout 1.0).

use jsonwebtoken::{EncodingKey, Header};
use serde_json::Value;
use url::Url;

use super::{BYE, Flow, Suite, unsigned_claims};
use crate::authorize::{open, press};
use crate::browser::Page;

/// A `state` as long as the suite's.
const STATE: &str = "aB3-aB3-aB3-aB3-aB3-aB3-aB3-aB3-aB3-aB3-aB3-aB3-aB3-aB3-aB3-aB3-";

impl Suite {
    /// Sends the user of a flow to the log-out with these parameters.
    async fn log_out(&mut self, parameters: &[(&str, &str)]) -> Result<Page, Url> {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        open(&mut self.sam, &format!("/oauth/logout?{query}")).await
    }

    /// Does the last step of these modules: a request with `prompt=none`. Returns whether the user is still logged in.
    async fn is_logged_in(&mut self) -> bool {
        let silently = self.request(&[("prompt", "none")]);
        match open(&mut self.sam, &silently).await.expect_err("nothing is asked") {
            back if back.as_str().contains("code=") => true,
            back => {
                assert_eq!(self.error(&back, Some(super::STATE)), "login_required");
                false
            }
        }
    }

    /// Sees that the browser stays here, and that the user is not logged out unasked.
    async fn stays(&mut self, parameters: &[(&str, &str)], status: u16) -> Page {
        let page = self.log_out(parameters).await.expect("a page");
        page.assert_framed(status);
        assert!(self.is_logged_in().await);
        page
    }

    /// Agrees on the page that asks, and sees that the user is told.
    async fn agrees(&mut self, page: Page) {
        let page = press(&mut self.sam, page.form("/oauth/logout/confirm")).await.expect("a page");
        self.is_told(&page).await;
    }

    async fn is_told(&mut self, page: &Page) {
        assert_eq!(page.flash(), "You are logged out.");
        assert!(!self.is_logged_in().await);
    }
}

async fn start() -> (Suite, Flow) {
    let mut suite = Suite::start().await;
    let flow = suite.flow(&[]).await;
    assert!(suite.is_logged_in().await);
    (suite, flow)
}

/// Discovery names the endpoint (2.1).
#[tokio::test]
async fn oidcc_rp_initiated_logout_discovery_endpoint_verification() {
    let suite = Suite::start().await;
    assert_eq!(suite.discovery().await["end_session_endpoint"], format!("{}/oauth/logout", suite.app.url));
}

/// The app's own ID token logs the user out, and the browser comes back with `state` and nothing else (2 and 3).
#[tokio::test]
async fn oidcc_rp_initiated_logout() {
    let (mut suite, flow) = start().await;
    let all = [("id_token_hint", flow.id_token()), ("post_logout_redirect_uri", BYE), ("state", STATE)];
    assert_eq!(suite.log_out(&all).await.expect_err("the app").as_str(), format!("{BYE}?state={STATE}"));
    assert!(!suite.is_logged_in().await);
}

/// An address that is not registered is a page (3).
#[tokio::test]
async fn oidcc_rp_initiated_logout_bad_post_logout_redirect_uri() {
    let (mut suite, flow) = start().await;
    let other = format!("{BYE}/hM3kPz81Qx");
    suite.stays(&[("id_token_hint", flow.id_token()), ("post_logout_redirect_uri", &other)], 400).await;
}

/// An ID token whose signature was taken away, with `alg` `none`, is a page (2 and 4).
#[tokio::test]
async fn oidcc_rp_initiated_logout_modified_id_token_hint() {
    let (mut suite, flow) = start().await;
    let modified = unsigned_claims(&flow.id);
    suite.stays(&[("id_token_hint", &modified), ("post_logout_redirect_uri", BYE)], 400).await;
}

/// Without an ID token the user is asked. Nobody knows which app's address it is, so the browser stays here (2 and 3).
#[tokio::test]
async fn oidcc_rp_initiated_logout_no_id_token_hint() {
    let (mut suite, _) = start().await;
    let page = suite.stays(&[("post_logout_redirect_uri", BYE), ("state", STATE)], 200).await;
    suite.agrees(page).await;
}

/// Without anything the user is asked, and logged out (2).
#[tokio::test]
async fn oidcc_rp_initiated_logout_no_params() {
    let (mut suite, _) = start().await;
    let page = suite.stays(&[], 200).await;
    suite.agrees(page).await;
}

/// Without an address the user is logged out and stays here (2).
#[tokio::test]
async fn oidcc_rp_initiated_logout_no_post_logout_redirect_uri() {
    let (mut suite, flow) = start().await;
    let page = suite.log_out(&[("id_token_hint", flow.id_token()), ("state", STATE)]).await.expect("a page");
    suite.is_told(&page).await;
}

/// Without `state` the browser comes back without one (2).
#[tokio::test]
async fn oidcc_rp_initiated_logout_no_state() {
    let (mut suite, flow) = start().await;
    let answer = suite.log_out(&[("id_token_hint", flow.id_token()), ("post_logout_redirect_uri", BYE)]).await;
    assert_eq!(answer.expect_err("the app").as_str(), BYE);
    assert!(!suite.is_logged_in().await);
}

/// `state` alone is as nothing: the user is asked, and logged out (2).
#[tokio::test]
async fn oidcc_rp_initiated_logout_only_state() {
    let (mut suite, _) = start().await;
    let page = suite.stays(&[("state", STATE)], 200).await;
    suite.agrees(page).await;
}

/// A registered address with a query that was added to it is a page (3).
#[tokio::test]
async fn oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri() {
    let (mut suite, flow) = start().await;
    let added = format!("{BYE}?foo=bar");
    suite.stays(&[("id_token_hint", flow.id_token()), ("post_logout_redirect_uri", &added)], 400).await;
}

/// An ID token that the app has signed by itself is a page (2 and 4).
#[tokio::test]
async fn oidcc_rp_initiated_logout_bad_id_token_hint() {
    let (mut suite, flow) = start().await;
    let kid = jsonwebtoken::decode_header(flow.id_token()).unwrap().kid;
    let key = EncodingKey::from_secret(suite.client.secret.as_bytes());
    for kid in [None, kid] {
        let header = Header { kid, ..Header::default() };
        let forged = jsonwebtoken::encode::<Value>(&header, &flow.id, &key).unwrap();
        suite.stays(&[("id_token_hint", &forged), ("post_logout_redirect_uri", BYE)], 400).await;
    }
}
