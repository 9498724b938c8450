//! One server collects the passwords of many people and asks at `/token` for each of them. It says whose address it speaks
//! for, and shows the secret of a registered app.

use latchkey::accounts::access;
use latchkey::accounts::apps;
use latchkey::accounts::limit::clients::{Action, Source};
use reqwest::RequestBuilder;
use reqwest::header::WWW_AUTHENTICATE;
use serde_json::{Value, json};
use time::Duration;

use crate::app::TestApp;
use crate::authorize::Wiki;
use crate::process::Process;
use crate::{HERON, OTTER};

const HEADER: &str = "X-Latchkey-Client-IP";

/// Sends a log-in, changed by `with`. Returns the status, the challenge and the body.
async fn log_in(
    app: &TestApp,
    (username, password): (&str, &str),
    with: impl FnOnce(RequestBuilder) -> RequestBuilder,
) -> (u16, Option<String>, Value) {
    let request = reqwest::Client::new().post(format!("{}/token", app.url));
    let answer = with(request.form(&[("username", username), ("password", password)])).send().await.unwrap();
    let challenge = answer.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), challenge, answer.json().await.unwrap())
}

/// Sends a log-in of this app for a person at this address. Returns the status.
async fn for_person(app: &TestApp, wiki: &Wiki, ip: &str, user: (&str, &str)) -> u16 {
    log_in(app, user, |request| request.basic_auth(&wiki.id, Some(&wiki.secret)).header(HEADER, ip)).await.0
}

/// Guesses 31 passwords, each at another name. Returns the last answer.
async fn thirty_guesses(app: &TestApp, wiki: &Wiki, ip: &str) -> u16 {
    for n in 0..30 {
        assert_eq!(for_person(app, wiki, ip, (&format!("nobody{n}"), "wrong")).await, 400, "{n}");
    }
    for_person(app, wiki, ip, ("nobody", "wrong")).await
}

#[tokio::test]
async fn thirty_wrong_passwords_of_one_person_shut_out_no_other_behind_the_same_app() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let wiki = Wiki::register(&app, |_| {}).await;
    assert_eq!(thirty_guesses(&app, &wiki, "203.0.113.9").await, 429);
    assert_eq!(for_person(&app, &wiki, "203.0.113.10", ("sam", OTTER)).await, 200, "another person");
    assert_eq!(for_person(&app, &wiki, "::ffff:203.0.113.9", ("sam", OTTER)).await, 429, "the same, as IPv6");
    assert_eq!(log_in(&app, ("sam", OTTER), |request| request).await.0, 200, "the server itself");
    // What an app says of an address counts for this app only: it cannot shut the address out elsewhere.
    let other = Wiki::register(&app, |new| new.name = "Forum".parse().unwrap()).await;
    assert_eq!(for_person(&app, &other, "203.0.113.9", ("sam", OTTER)).await, 200);
    // The secret may also be in the form.
    let in_form = [("username", "sam"), ("password", OTTER), ("client_id", &wiki.id), ("client_secret", &wiki.secret)];
    let at = async |ip: &str| log_in(&app, ("", ""), |request| request.header(HEADER, ip).form(&in_form)).await.0;
    assert_eq!((at("203.0.113.9").await, at("203.0.113.11").await), (429, 200));
}

#[tokio::test]
async fn ipv6_is_counted_by_networks_as_for_other_clients() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let wiki = Wiki::register(&app, |_| {}).await;
    assert_eq!(thirty_guesses(&app, &wiki, "2001:db8:1:2::9").await, 429);
    assert_eq!(for_person(&app, &wiki, "2001:db8:1:2:3:4:5:6", ("sam", OTTER)).await, 429, "the same /64");
    assert_eq!(for_person(&app, &wiki, "2001:db8:1:3::9", ("sam", OTTER)).await, 200, "another one");
}

#[tokio::test]
async fn without_a_secret_the_header_counts_for_nothing() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let public = Wiki::register(&app, |new| new.public = true).await;
    let forged = |n: u8| format!("203.0.113.{n}");
    for n in 0..30 {
        let user = (format!("nobody{n}"), "wrong");
        let by_name = [("username", user.0.as_str()), ("password", user.1), ("client_id", &public.id)];
        let (status, _, body) = log_in(&app, (&user.0, user.1), |request| match n % 3 {
            0 => request.header(HEADER, forged(n)),
            1 => request.header(HEADER, "no address"),
            _ => request.header(HEADER, forged(n)).form(&by_name),
        })
        .await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")), "{n}");
    }
    let (status, ..) = log_in(&app, ("sam", OTTER), |request| request.header(HEADER, forged(99))).await;
    assert_eq!(status, 429, "all of them came from one address");
    // A public app has no secret, so whoever knows its name would be it.
    let (status, ..) =
        log_in(&app, ("sam", OTTER), |request| request.basic_auth(&public.id, Some("")).header(HEADER, forged(99)))
            .await;
    assert_eq!(status, 401);
}

/// Programs that were made for the exercise send a `client_id` and a `client_secret` that mean nothing here.
#[tokio::test]
async fn a_program_that_sends_no_header_may_send_any_client_id_and_secret() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let wiki = Wiki::register(&app, |_| {}).await;
    for (id, secret) in [("string", "string"), ("", ""), (&wiki.id, "wrong"), (&wiki.id, &wiki.secret)] {
        let form = [("username", "sam"), ("password", OTTER), ("client_id", id), ("client_secret", secret)];
        assert_eq!(log_in(&app, ("", ""), |request| request.form(&form)).await.0, 200, "{id}");
        assert_eq!(log_in(&app, ("sam", OTTER), |request| request.basic_auth(id, Some(secret))).await.0, 200, "{id}");
    }
    for odd in ["Basic", "Basic %", "Bearer x"] {
        assert_eq!(log_in(&app, ("sam", OTTER), |request| request.header("authorization", odd)).await.0, 200, "{odd}");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_counted() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let made_up = "A".repeat(43);
    let unknown = json!({"detail": "No app has this client_id and client_secret", "error": "invalid_client"});
    for (id, secret) in [(wiki.id.as_str(), made_up.as_str()), (&wiki.id, "wrong"), ("string", &wiki.secret), ("", "")]
    {
        let basic = |request: RequestBuilder| request.basic_auth(id, Some(secret)).header(HEADER, "203.0.113.9");
        let challenge = Some("Basic realm=\"latchkey\"".to_owned());
        assert_eq!(log_in(&app, ("sam", OTTER), basic).await, (401, challenge, unknown.clone()), "{id}");
        let form = [("username", "sam"), ("password", OTTER), ("client_id", id), ("client_secret", secret)];
        let in_form = |request: RequestBuilder| request.header(HEADER, "203.0.113.9").form(&form);
        let expected = if secret.is_empty() { 200 } else { 401 };
        assert_eq!(log_in(&app, ("", ""), in_form).await.0, expected, "{id}");
    }
    let two = [("username", "sam"), ("password", OTTER), ("client_id", &wiki.id), ("client_secret", &wiki.secret)];
    let (status, _, body) = log_in(&app, ("", ""), |request| {
        request.basic_auth(&wiki.id, Some(&wiki.secret)).header(HEADER, "203.0.113.9").form(&two)
    })
    .await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_request")), "two ways at once (RFC 6749, 2.3)");

    // The test uses the attempts up itself.
    let (clients, ip) = (&app.app.accounts.limits.clients, Source::from(Some(std::net::Ipv4Addr::LOCALHOST.into())));
    while clients.take(Action::Secret, ip, app.app.now()).is_ok() {}
    assert_eq!(log_in(&app, ("sam", OTTER), |request| request).await.0, 200, "log-ins are counted by themselves");
    for _ in 0..3 {
        assert_eq!(for_person(&app, &wiki, "203.0.113.9", ("sam", OTTER)).await, 200, "a right one is not counted");
    }
    app.app.clock.advance(Duration::seconds(1));
    let wrong = Wiki { id: wiki.id.clone(), secret: made_up };
    let mut answers = vec![];
    for _ in 0..10 {
        answers.push(for_person(&app, &wrong, "203.0.113.9", ("sam", OTTER)).await);
    }
    // One more attempt comes with each second that the test takes.
    assert!(answers[0] == 401 && answers.contains(&429), "a wrong one is not: {answers:?}");
}

#[tokio::test]
async fn the_header_is_one_address() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let texts = ["", "x", "203.0.113.9, 10.0.0.1", "203.0.113.9:80", "[::1]", "203.0.113.0/24", "fe80::1%eth0"];
    // Nobody has these addresses. A program that does not know the address of a person fills them in.
    let nobodys = ["0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1", "239.1.2.3", "ff02::1", "::ffff:224.0.0.1"];
    for odd in texts.into_iter().chain(nobodys) {
        let asked = |request: RequestBuilder| request.basic_auth(&wiki.id, Some(&wiki.secret)).header(HEADER, odd);
        let (status, challenge, body) = log_in(&app, ("sam", OTTER), asked).await;
        let detail = "X-Latchkey-Client-IP must be exactly one IP address";
        let expected = json!({"detail": detail, "error": "invalid_request"});
        assert_eq!((status, challenge, body), (400, None, expected), "{odd}");
    }
    let twice = |request: RequestBuilder| {
        request.basic_auth(&wiki.id, Some(&wiki.secret)).header(HEADER, "203.0.113.9").header(HEADER, "203.0.113.9")
    };
    assert_eq!(log_in(&app, ("sam", OTTER), twice).await.0, 400);
}

/// An operator who looks into what a person did finds whose word the address of the person is.
#[tokio::test]
async fn the_log_names_the_app_that_spoke_and_its_own_address() {
    let process = Process::serving(&[]).await;
    process.user("sam", OTTER).await;
    let ran = process.run(&["app", "add", "Wiki", "--redirect-uri", "https://wiki.example.com/cb", "--json"]);
    let wiki: Value = serde_json::from_str(&ran.out).unwrap();
    let request = reqwest::Client::new().post(format!("{}/token", process.url));
    let request = request.basic_auth(wiki["client_id"].as_str().unwrap(), wiki["client_secret"].as_str());
    let form = [("username", "sam"), ("password", OTTER)];
    assert_eq!(request.header(HEADER, "203.0.113.9").form(&form).send().await.unwrap().status(), 200);
    let log = process.log();
    let line = log.lines().rfind(|line| line.contains("ip=\"203.0.113.9\"")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("app=\"Wiki\"") && line.contains("peer=127.0.0.1"), "{line}");
    // A request without an app has neither.
    let form = [("username", "sam"), ("password", OTTER)];
    let plain = reqwest::Client::new().post(format!("{}/token", process.url)).form(&form).send().await.unwrap();
    assert_eq!(plain.status(), 200);
    let log = process.log();
    let line = log.lines().rfind(|line| line.contains("/token")).unwrap();
    assert!(!line.contains("app=") && !line.contains("peer="), "{line}");
}

#[tokio::test]
async fn an_app_that_is_removed_speaks_for_nobody() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let wiki = Wiki::register(&app, |_| {}).await;
    assert_eq!(for_person(&app, &wiki, "203.0.113.9", ("sam", OTTER)).await, 200);
    let row = apps::by_id(app.app.db.read(), wiki.id.parse().unwrap()).await.unwrap().unwrap();
    access::remove_app(&app.app.db, &row, app.app.now()).await.unwrap();
    assert_eq!(for_person(&app, &wiki, "203.0.113.9", ("sam", OTTER)).await, 401);
}

/// The owner reads whose address it was. An attacker with a stolen secret may name the address of the owner: by that the
/// account takes the attacker for nobody whom it knows.
#[tokio::test]
async fn an_account_knows_the_address_of_the_person_at_this_app_only() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let wiki = Wiki::register(&app, |_| {}).await;
    assert_eq!(for_person(&app, &wiki, "203.0.113.9", ("sam", OTTER)).await, 200);
    let letters = app.letters_to("sam@example.com", 2).await;
    assert!(letters[0].text.contains("203.0.113.9"), "{}", letters[0].text);
    let page = sam.open("/profile/security").await;
    assert!(page.html.contains("203.0.113.9"), "{}", page.html);

    // Strangers use up their attempts at the account. The person goes on, from this address and by this app.
    for n in 0..11 {
        let status = log_in(&app, ("sam", "wrong"), |request| request).await.0;
        assert_eq!(status, if n < 4 { 400 } else { 429 }, "{n}");
    }
    assert_eq!(for_person(&app, &wiki, "203.0.113.9", ("sam", OTTER)).await, 200);
    assert_eq!(for_person(&app, &wiki, "203.0.113.10", ("sam", OTTER)).await, 429);
    let other = Wiki::register(&app, |new| new.name = "Forum".parse().unwrap()).await;
    assert_eq!(for_person(&app, &other, "203.0.113.9", ("sam", OTTER)).await, 429, "by another app");
}

#[tokio::test]
async fn a_stolen_secret_has_as_many_guesses_as_a_large_network() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let (clients, id) = (&app.app.accounts.limits.clients, wiki.id.parse().unwrap());
    // The test uses the attempts up itself, each from a fresh address.
    let fresh = |n: u32| Source { ip: Some(std::net::Ipv4Addr::from(0x0a00_0000 + n).into()), via: Some(id) };
    let mut guesses = (0..).map(|n| clients.take(Action::LogIn, fresh(n), app.app.now()));
    let admitted = guesses.by_ref().take_while(Result::is_ok).count();
    assert!((960..970).contains(&admitted), "{admitted}");
    // Another attempt comes after 625 ms, which a busy machine may need for the request.
    let mut status = 400;
    for n in 10..20 {
        while guesses.next().unwrap().is_ok() {}
        // Half is kept for addresses that have asked for nothing lately, so each is another one.
        status = for_person(&app, &wiki, &format!("203.0.113.{n}"), (&format!("nobody{n}"), HERON)).await;
        if status == 429 {
            break;
        }
    }
    assert_eq!(status, 429);
    assert_eq!(log_in(&app, ("sam", OTTER), |request| request).await.0, 200, "the others go on");
    app.app.clock.advance(Duration::seconds(2));
    assert_eq!(for_person(&app, &wiki, "203.0.113.99", ("sam", OTTER)).await, 200);
}

#[tokio::test]
async fn the_description_names_the_header() {
    let app = TestApp::start().await;
    let document: Value = reqwest::get(format!("{}/openapi.json", app.url)).await.unwrap().json().await.unwrap();
    let operation = &document["paths"]["/token"]["post"];
    let header = &operation["parameters"][0];
    assert_eq!(
        (&header["name"], &header["in"], &header["required"]),
        (&json!(HEADER), &json!("header"), &json!(false))
    );
    assert_eq!(operation["responses"]["401"]["content"]["application/json"]["example"]["error"], "invalid_client");
    let page = app.browser().open("/docs").await;
    assert!(page.html.contains(HEADER), "{}", page.html);
}
