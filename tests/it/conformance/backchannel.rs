//! The plan of a log-out of which the app's server is told (`oidcc-backchannel-rp-initiated-logout-certification-test-plan`;
//! Back-Channel Logout 1.0).

use serde_json::json;

use super::{BYE, STATE, Suite};
use crate::authorize::open;
use crate::backchannel::Receiver;
use crate::tokens::verified;

/// Discovery says that apps are told, and of which session (2.1).
#[tokio::test]
async fn oidcc_backchannel_logout_discovery_endpoint_verification() {
    let discovery = Suite::start().await.discovery().await;
    assert_eq!(discovery["backchannel_logout_supported"], true);
    assert_eq!(discovery["backchannel_logout_session_supported"], true);
    assert!(discovery["end_session_endpoint"].is_string());
}

/// The app's server gets a signed token about the user and the session of its ID token, and the browser comes back (2.4 to 2.7).
#[tokio::test]
async fn oidcc_backchannel_rp_initiated_logout() {
    let mut receiver = Receiver::start().await;
    let uri = receiver.url.parse().unwrap();
    let mut suite = Suite::with(|new| new.backchannel_uri = Some(uri)).await;
    let flow = suite.flow(&[]).await;
    let all = [("id_token_hint", flow.id_token()), ("post_logout_redirect_uri", BYE), ("state", "s-4Fz")];
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
    let back = open(&mut suite.sam, &format!("/oauth/logout?{query}")).await.expect_err("the app");
    assert_eq!(back.as_str(), format!("{BYE}?state=s-4Fz"));

    let token = receiver.next().await;
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(header.alg, jsonwebtoken::decode_header(flow.id_token()).unwrap().alg);
    let claims = verified(&suite.app, &token, &suite.client.id).await;
    assert_eq!(claims["events"], json!({ "http://schemas.openid.net/event/backchannel-logout": {} }));
    assert_eq!((&claims["sub"], &claims["sid"]), (&flow.id["sub"], &flow.id["sid"]));
    assert!((0..=60).contains(&(suite.app.app.now().unix_timestamp() - claims["iat"].as_i64().unwrap())), "{claims}");
    assert!(claims["jti"].is_string() && claims.get("nonce").is_none(), "{claims}");

    let silently = suite.request(&[("prompt", "none")]);
    let back = open(&mut suite.sam, &silently).await.expect_err("nothing is asked");
    assert_eq!(suite.error(&back, Some(STATE)), "login_required");
}
