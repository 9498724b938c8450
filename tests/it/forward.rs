//! Forward-auth: a proxy asks who is there, for apps that know nothing of log-ins.

use crate::process::{Process, Ran, free_port};

/// The domain of the site and its apps.
const DOMAIN: &str = "example.localhost";

fn refused(ran: &Ran, words: &str) {
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains(words) && ran.out.is_empty(), "{words}: {ran:?}");
}

#[tokio::test]
async fn an_operator_registers_where_an_app_stands() {
    let url = format!("http://accounts.{DOMAIN}:{}", free_port());
    let process = Process::serving(&[("LATCHKEY_PUBLIC_URL", &url), ("LATCHKEY_GATE_DOMAIN", DOMAIN)]).await;
    let json = |arguments: &[&str]| -> serde_json::Value {
        let ran = process.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str(&ran.out).unwrap()
    };
    let wiki =
        json(&["app", "add", "Wiki", "--host", "Wiki.Example.localhost:80", "--host", "w.example.localhost:8080"]);
    assert_eq!(wiki["hosts"], serde_json::json!(["wiki.example.localhost", "w.example.localhost:8080"]), "{wiki}");
    assert_eq!(wiki["redirect_uris"], serde_json::json!([]), "it needs no other address");
    assert!(process.run(&["app", "show", "wiki"]).out.contains("Host:          wiki.example.localhost\n"));

    let add = |host: &str| process.run(&["app", "add", "Shop", "--host", host]);
    refused(&add("wiki.example.localhost"), "--host: wiki.example.localhost belongs to Wiki already");
    refused(&add("wiki.example.localhost."), "belongs to Wiki already");
    refused(&add("wiki.example.org"), "is not below LATCHKEY_GATE_DOMAIN, which is example.localhost");
    refused(&add("notexample.localhost"), "is not below");
    refused(&add("accounts.example.localhost:8080"), "this site's own host");
    refused(&add("https://shop.example.localhost"), "is not a host such as wiki.example.com");
    refused(&process.run(&["app", "add", "Shop"]), "--redirect-uri");
    json(&["app", "add", "Shop", "--host", "shop.example.localhost"]);
    refused(&process.run(&["app", "edit", "Shop", "--host", "w.example.localhost:8080"]), "belongs to Wiki already");

    let edited = json(&["app", "edit", "Wiki", "--name", "The Wiki"]);
    assert_eq!(edited["hosts"], wiki["hosts"], "what is not named stays");
    assert_eq!(json(&["app", "edit", "The Wiki", "--no-host"])["hosts"], serde_json::json!([]));
    assert_eq!(
        json(&["app", "edit", "Shop", "--host", "w.example.localhost:8080"])["hosts"],
        serde_json::json!(["w.example.localhost:8080"])
    );
}

#[tokio::test]
async fn a_host_needs_a_domain_that_the_site_is_in() {
    let process = Process::serving(&[]).await;
    refused(&process.run(&["app", "add", "Wiki", "--host", "wiki.example.com"]), "--host needs LATCHKEY_GATE_DOMAIN");
    for (domain, words) in [
        ("example.org", "LATCHKEY_GATE_DOMAIN=example.org is refused"),
        ("wiki.example.localhost", "is refused"),
        ("localhost", "needs a dot"),
        ("127.0.0.1", "is an address"),
        ("https://example.localhost", "is not a domain"),
    ] {
        let process = Process::new(&[
            ("LATCHKEY_PUBLIC_URL", "http://accounts.example.localhost"),
            ("LATCHKEY_GATE_DOMAIN", domain),
        ]);
        let ran = process.run(&["serve"]);
        refused(&ran, words);
        assert_eq!(ran.err.trim().lines().count(), 1, "{ran:?}");
    }
}
