//! The plan of discovery (`oidcc-config-certification-test-plan`).

use jsonwebtoken::jwk::JwkSet;
use reqwest::{Client, Response};
use serde_json::Value;
use url::Url;

use crate::app::TestApp;

/// The discovery document says where everything is and what there is (Discovery, 3 and 4; RFC 8414, 2).
#[tokio::test]
async fn oidcc_discovery_endpoint_verification() {
    const SITE: &str = "https://localhost";
    // TLS ends at a proxy.
    let app = TestApp::start_with(&["--public-url", SITE]).await;
    let get = async |path: &str| -> Response {
        let request = Client::new().get(format!("{}{path}", app.url.replace("https", "http")));
        request.header("host", "localhost").send().await.unwrap()
    };
    let answer = get("/.well-known/openid-configuration").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    let document: Value = answer.json().await.unwrap();
    assert_eq!(document["issuer"], SITE);

    let list = |name: &str| -> Vec<&str> {
        let all = document[name].as_array().unwrap_or_else(|| panic!("{name}"));
        assert!(!all.is_empty(), "{name}");
        all.iter().map(|value| value.as_str().unwrap_or_else(|| panic!("{name}"))).collect()
    };
    for (name, expected) in [
        ("response_types_supported", "code"),
        ("subject_types_supported", "public"),
        ("id_token_signing_alg_values_supported", "RS256"),
        ("grant_types_supported", "authorization_code"),
        ("scopes_supported", "openid"),
        ("claims_supported", "sub"),
        ("code_challenge_methods_supported", "S256"),
        ("token_endpoint_auth_methods_supported", "client_secret_basic"),
    ] {
        assert!(list(name).contains(&expected), "{name}: {:?}", list(name));
    }
    // A scope is visible ASCII (RFC 6749, 3.3), and a language is spelt as BCP 47 spells it.
    assert!(
        list("scopes_supported")
            .iter()
            .all(|scope| scope.bytes().all(|c| c.is_ascii_graphic() && !b"\"\\".contains(&c)))
    );
    assert_eq!(list("ui_locales_supported"), ["en", "zh-CN"]);
    for name in ["request_parameter_supported", "request_uri_parameter_supported", "claims_parameter_supported"] {
        assert!(document[name].is_boolean(), "{name}");
    }
    for name in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"] {
        assert!(document[name].is_string(), "{name}");
    }
    for (name, value) in document.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("_endpoint")) {
        let url: Url = value.as_str().unwrap().parse().unwrap();
        assert_eq!(url.origin().ascii_serialization(), SITE, "{name}");
        assert!(url.query().is_none() && url.fragment().is_none(), "{name}");
        assert_ne!(get(url.path()).await.status(), 404, "{name}");
    }

    let keys = get(document["jwks_uri"].as_str().unwrap().strip_prefix(SITE).unwrap()).await;
    assert_eq!(keys.status(), 200);
    let keys: Value = keys.json().await.unwrap();
    let all = keys["keys"].as_array().unwrap();
    for key in all {
        assert!(key["kid"].is_string() && key["kty"].is_string() && key["use"] == "sig", "{key}");
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(key.get(private).is_none(), "{private}");
        }
    }
    let mut ids: Vec<_> = all.iter().map(|key| key["kid"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all.len(), "each key has its own name");
    serde_json::from_value::<JwkSet>(keys.clone()).unwrap();
}
