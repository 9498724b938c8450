//! Logging in and out, and what the session cookie is worth.

use base64::Engine;

use crate::app::TestApp;
use crate::{HERON, OTTER};

const SESSION: &str = "latchkey_session";

#[tokio::test]
async fn users_log_in_by_address_or_by_username() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    for login in ["sam@example.com", "SAM@Example.COM", "sam", " Sam "] {
        let page = app.browser().log_in(login, OTTER).await;
        assert_eq!(page.path, "/profile", "{login}");
    }
}

#[tokio::test]
async fn every_wrong_log_in_gets_the_same_answer() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let long = "x".repeat(10_000);
    let mut bodies = vec![];
    for (login, password) in [
        ("sam", HERON),
        ("nobody", OTTER),
        ("sam", &long),
        ("nobody@example.com", OTTER),
        ("sam@example.com", HERON),
        ("?", OTTER),
    ] {
        let page = app.browser().log_in(login, password).await;
        page.assert_framed(422);
        assert_eq!(page.problems(), ["Incorrect email, username or password"], "once in the summary");
        assert_eq!(page.html.matches("Incorrect email, username or password").count(), 2, "and once at its field");
        assert!(page.is_marked("login") && page.is_marked("password"));
        assert_eq!(page.value_of("login"), login);
        // The typed address is kept for the next page, whether or not it has an account.
        assert_eq!(page.headers.get("set-cookie").is_some(), login.contains('@'));
        let text = page.html.split("form_id").next().unwrap().to_owned();
        bodies.push(text);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the pages differ");
}

#[tokio::test]
async fn an_empty_field_of_the_log_in_is_asked_for_and_is_no_failure() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    sam.log_out().await;
    for (login, password, problems) in [
        ("sam", "", &["Enter your password"][..]),
        (" ", OTTER, &["Enter your email or username"]),
        ("", "", &["Enter your email or username", "Enter your password"]),
    ] {
        for _ in 0..3 {
            let page = sam.log_in(login, password).await;
            assert_eq!((page.status.as_u16(), page.problems()), (422, problems.iter().map(|&p| p.into()).collect()));
            assert!(!page.html.contains("Not sure of your password?"));
        }
    }
    let page = app.app.metrics.text(false).unwrap();
    assert!(page.contains("latchkey_log_ins_total{outcome=\"failed\"} 0"), "{page}");
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
}

#[tokio::test]
async fn an_address_that_was_typed_at_the_log_in_is_in_the_next_form() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut sam = app.browser();
    sam.log_in("sam", HERON).await;
    assert_eq!(sam.open("/forgot-password").await.value_of("email"), "", "a username is no address");
    sam.log_in("Sam+tag@example.com", HERON).await;
    assert_eq!(sam.open("/forgot-password").await.value_of("email"), "Sam+tag@example.com");
    assert_eq!(sam.open("/login").await.value_of("login"), "Sam+tag@example.com");
    sam.log_in("sam", OTTER).await;
    sam.log_out().await;
    assert_eq!(sam.open("/login").await.value_of("login"), "", "the next user of this browser does not read it");

    // Any client can write a cookie.
    for odd in ["%22%3E%3Cscript%3E", "PHNjcmlwdD4", "_0BleGFtcGxlLmNvbQ", "c2Ft", &"x".repeat(5000)] {
        sam.cookies.insert("latchkey_typed".into(), odd.into());
        let page = sam.open("/login").await;
        assert_eq!((page.status.as_u16(), page.value_of("login").as_str()), (200, ""), "{odd}");
    }
}

#[tokio::test]
async fn a_log_in_that_fails_keeps_the_page_that_was_wanted() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut sam = app.browser();
    let page = sam.open("/profile/security").await;
    assert_eq!(page.path, "/login?next=%2Fprofile%2Fsecurity");
    let form = page.form("/login").fill("login", "sam").fill("password", HERON);
    let page = sam.submit(form).await;
    assert_eq!(page.status, 422);
    let form = page.form("/login").fill("password", OTTER);
    assert_eq!(sam.submit(form).await.path, "/profile/security");
}

#[tokio::test]
async fn every_page_of_an_account_says_who_is_logged_in_and_logs_out() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    for path in ["/profile", "/profile/name", "/profile/language", "/profile/password", "/profile/security", "/docs"] {
        let page = sam.open(path).await;
        assert_eq!(page.all("header .who a"), ["sam"], "{path}");
        assert_eq!(page.form("/logout").fields.len(), 1, "{path}");
    }
    for (path, fields) in [
        ("/profile/name", [("full_name", "x".repeat(101))]),
        ("/profile/language", [("language", "tlh".into())]),
        ("/profile/password", [("current_password", String::new())]),
    ] {
        let page = sam.post(path, &fields).await;
        assert_eq!((page.status.as_u16(), page.all("header .who a")), (422, vec!["sam".to_owned()]), "{path}");
        let tab = if path == "/profile/password" { "/profile/security" } else { "/profile" };
        assert_eq!(page.all(&format!("nav a[href='{tab}'][aria-current]")).len(), 1, "{path} belongs to a tab");
    }
    sam.log_out().await;
    assert!(sam.open("/login").await.all("header .who").is_empty());
    assert!(sam.open("/docs").await.all("header .who").is_empty());
}

/// Password managers keep one entry for each username of a site, so two names would make two entries.
#[tokio::test]
async fn password_managers_see_one_name_on_every_form() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let reset = {
        sam.clone().ask_reset("sam@example.com").await;
        app.reset_link("sam@example.com", 2).await
    };
    let named = |page: &crate::browser::Page| {
        let (all, at) = (page.all("[autocomplete=username]").len(), page.value_at("[autocomplete=username]"));
        assert_eq!(all, 1, "{}", page.path);
        at
    };
    assert_eq!(named(&sam.open("/profile/password").await), "sam@example.com");
    assert_eq!(named(&sam.open(&reset).await), "sam@example.com");
    let mut stranger = app.browser();
    stranger.log_in("sam@example.com", HERON).await;
    assert_eq!(named(&stranger.open("/login").await), "sam@example.com");
    let form =
        stranger.open("/signup").await.form("/signup").fill("email", "alex@example.com").fill("username", "alex");
    assert_eq!(named(&stranger.submit(form.fill("password", "1")).await), "alex@example.com");
    app.browser().sign_up("alex@example.com", "alex", OTTER).await;
    let link = app.letters_to("alex@example.com", 1).await.remove(0).links.remove(0);
    assert_eq!(named(&stranger.open(&link).await), "alex@example.com");
}

#[tokio::test]
async fn a_password_survives_another_keyboard_and_is_never_trimmed() {
    let app = TestApp::start().await;
    app.user("sam", "café  ﬁve otters rye ").await;
    assert_eq!(app.browser().log_in("sam", "cafe\u{301}  five otters rye ").await.path, "/profile");
    assert_eq!(app.browser().log_in("sam", "café  five otters rye").await.status, 422);
}

#[tokio::test]
async fn after_three_failures_the_page_offers_the_reset() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    let mut page = sam.log_in("sam", HERON).await;
    for _ in 0..2 {
        assert!(!page.html.contains("Not sure of your password?"));
        let form = page.form("/login").fill("password", HERON);
        page = sam.submit(form).await;
    }
    assert!(page.html.contains("Not sure of your password?"));
}

#[tokio::test]
async fn log_in_goes_on_to_a_local_next_and_nowhere_else() {
    let app = TestApp::start_with(&["--rate-limits", "off"]).await;
    app.user("sam", OTTER).await;
    let mut sam = app.browser();
    let page = sam.open("/profile/password").await;
    assert_eq!(page.path, "/login?next=%2Fprofile%2Fpassword");
    let form = page.form("/login").fill("login", "sam").fill("password", OTTER);
    assert_eq!(sam.submit(form).await.path, "/profile/password");
    assert_eq!(sam.open("/login?next=/profile/password").await.path, "/profile/password", "already logged in");

    for evil in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "/%0d%0aSet-Cookie:a=b//",
    ] {
        let fields = [("login", "sam"), ("password", OTTER), ("next", evil)];
        let page = app.browser().post("/login", &fields).await;
        let location = page.headers["location"].to_str().unwrap();
        assert!(location == "/profile" || location.starts_with("/%0d%0a"), "{evil} led to {location}");
    }
}

#[tokio::test]
async fn log_out_ends_the_session_everywhere_it_was_copied_to() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let mut thief = sam.clone();
    assert!(thief.is_logged_in().await);
    let form = sam.open("/profile").await.form("/logout");
    let page = sam.submit(form.clone()).await;
    assert_eq!((page.path.as_str(), page.flash().as_str()), ("/login", "You are logged out."));
    assert!(!sam.cookies.contains_key(SESSION));
    assert!(!thief.is_logged_in().await);
    let page = sam.open("/profile").await; // the “back” button: browsers do not keep our pages
    assert_eq!(page.path, "/login");
    assert_eq!(page.headers["cache-control"], "no-store");
    assert_eq!(sam.submit(form).await.path, "/login", "a second click");
    let page = sam.send(reqwest::Method::GET, "/logout", |request| request).await;
    page.assert_framed(405);
}

#[tokio::test]
async fn every_log_in_is_a_session_of_its_own() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let before = sam.cookies[SESSION].clone();
    let mut planted = app.browser();
    planted.cookies.insert(SESSION.into(), before.clone());
    planted.post("/login", &[("login", "sam"), ("password", OTTER)]).await;
    assert_ne!(planted.cookies[SESSION], before);
    assert!(planted.is_logged_in().await);
    assert!(!sam.is_logged_in().await, "the session that the browser had before has ended");
}

#[tokio::test]
async fn cookies_are_http_only_lax_and_for_the_whole_site() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let log_in = |remember: &'static str| {
        let mut browser = app.browser();
        async move {
            let page = browser.post("/login", &[("login", "sam"), ("password", OTTER), ("remember", remember)]).await;
            let cookies = page.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap().to_owned());
            cookies.into_iter().find(|cookie| cookie.starts_with("latchkey_session")).unwrap()
        }
    };
    let cookie = log_in("").await;
    assert!(cookie.starts_with("latchkey_session=ey"), "{cookie}");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Max-Age") && !cookie.contains("Secure") && !cookie.contains("Domain"), "{cookie}");
    let cookie = log_in("1").await;
    let age = cookie.split("Max-Age=").nth(1).unwrap().split(';').next().unwrap().parse::<i64>().unwrap();
    assert!((14 * 86_400 - 60..=14 * 86_400).contains(&age), "14 days: {cookie}");
}

#[tokio::test]
async fn on_https_only_host_cookies_count() {
    let app = TestApp::start_with(&["--public-url", "https://localhost"]).await;
    let mut sam = app.browser();
    sam.base = app.url.clone();
    let origin = |request: reqwest::RequestBuilder| request.header("sec-fetch-site", "same-origin");
    let fields = [("email", "sam@example.com"), ("username", "sam"), ("password", OTTER)];
    let page = sam.send(reqwest::Method::POST, "/signup", |request| origin(request).form(&fields)).await;
    assert_eq!(page.status, 303);
    let cookie = page.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("__Host-latchkey_visit=") && cookie.contains("; Secure"), "{cookie}");
    assert!(page.headers["strict-transport-security"].to_str().unwrap().contains("max-age="));
    let link = app.letters_to("sam@example.com", 1).await[0].links[0].replace("https://localhost", &app.url);
    sam.open(&link).await;
    let page = sam.send(reqwest::Method::POST, "/signup/confirm", origin).await;
    assert_eq!(page.headers["location"], "/profile");
    let page = sam.open("/profile").await;
    assert_eq!(page.flash(), "Your account is ready and you are logged in.");
    let gone = page.headers["set-cookie"].to_str().unwrap();
    assert!(gone.starts_with("__Host-latchkey_visit=;") && gone.contains("; Secure"), "browsers take no other: {gone}");
    assert!(sam.is_logged_in().await);
    let value = sam.cookies.remove("__Host-latchkey_session").unwrap();
    sam.cookies.insert(SESSION.into(), value);
    assert!(!sam.is_logged_in().await, "a plain name is not read on https");
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_is_renewed_when_it_is() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let first = sam.cookies[SESSION].clone();
    app.app.clock.advance(time::Duration::minutes(4));
    assert!(sam.is_logged_in().await);
    assert_eq!(sam.cookies[SESSION], first, "not written more often than every five minutes");
    app.app.clock.advance(time::Duration::minutes(100));
    assert!(sam.is_logged_in().await);
    assert_ne!(sam.cookies[SESSION], first);
    app.app.clock.advance(time::Duration::minutes(100));
    assert!(sam.is_logged_in().await, "used in time, again and again");
    app.app.clock.advance(time::Duration::minutes(121));
    assert!(!sam.is_logged_in().await);

    sam.log_in("sam", OTTER).await;
    for _ in 0..23 {
        app.app.clock.advance(time::Duration::minutes(60));
        assert!(sam.is_logged_in().await);
    }
    app.app.clock.advance(time::Duration::minutes(61));
    assert!(!sam.is_logged_in().await, "a day is the end, however much it is used");
}

#[tokio::test]
async fn the_same_cookie_twice_is_none() {
    let app = TestApp::start().await;
    let sam = app.user("sam", OTTER).await;
    let mut eve = app.user("eve", OTTER).await;
    let both = format!("{SESSION}={}; {SESSION}={}; other=1", sam.cookies[SESSION], eve.cookies[SESSION]);
    eve.cookies.clear();
    let page = eve.send(reqwest::Method::GET, "/profile", |request| request.header("cookie", both)).await;
    assert_eq!(page.status, 303);
}

#[tokio::test]
async fn a_cookie_is_ours_only_as_we_spell_it() {
    let app = TestApp::start().await;
    let sam = app.user("sam", OTTER).await;
    let (real, client) = (
        &sam.cookies[SESSION],
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap(),
    );
    let open = |cookie: Vec<u8>| {
        let value = reqwest::header::HeaderValue::from_bytes(&cookie).unwrap();
        let request = client.get(format!("{}/profile", app.url)).header("cookie", value);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(open(format!("a=b; {SESSION}={real}; c").into_bytes()).await, 200);
    // For a browser this is some other name, which a sister host may set. A reader that decodes names takes it for ours.
    assert_eq!(open(format!("latchkey%5Fsession={real}").into_bytes()).await, 303);
    assert_eq!(open(format!("{SESSION}=x; latchkey%5Fsession={real}").into_bytes()).await, 303);
    assert_eq!(open(format!("{SESSION}={real}; {SESSION}={real}; é=1").into_bytes()).await, 303);
    assert_eq!(open([format!("{SESSION}={real}; x=").as_bytes(), b"\xff"].concat()).await, 303);
}

#[tokio::test]
async fn the_cookie_of_a_deleted_user_opens_nothing() {
    use latchkey::accounts::user::Entity;
    use sea_orm::EntityTrait;
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let user = latchkey::accounts::user::by_login(app.app.db.read(), "sam").await.unwrap().unwrap();
    Entity::delete_by_id(user.id).exec(app.app.db.write()).await.unwrap();
    assert_eq!(sam.open("/profile").await.path, "/login");
    sam.post("/profile", &[("full_name", "x")]).await;
    assert_eq!(sam.log_in("sam", OTTER).await.status, 422);
}

#[tokio::test]
async fn sessions_outlive_a_restart() {
    let app = TestApp::start().await;
    let mut sam = app.user("sam", OTTER).await;
    let url = app.url.clone();
    let dir = app.stop().await;
    let again = TestApp::start_in(dir, &["--public-url", &url]).await;
    sam.base = again.url.clone();
    assert!(sam.is_logged_in().await);
}

#[tokio::test]
async fn an_old_hash_is_renewed_at_log_in() {
    use latchkey::accounts::user;
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let dir = app.stop().await;
    let app = TestApp::start_in(dir, &["--hash-passes", "3"]).await;
    let hash = || async { user::by_login(app.app.db.read(), "sam").await.unwrap().unwrap().hashed_password };
    let before = hash().await;
    assert_eq!(app.browser().log_in("sam", HERON).await.status, 422);
    assert!(hash().await == before);
    assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile");
    let after = hash().await;
    assert!(after != before, "made anew under the parameters of now");
    assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile");
    assert!(hash().await == after, "once");
}

#[tokio::test]
async fn a_hash_of_one_engine_is_verified_by_the_other() {
    use latchkey::accounts::user;
    let hash = async |app: &TestApp| user::by_login(app.app.db.read(), "sam").await.unwrap().unwrap().hashed_password;
    for [maker, verifier] in [["fast", "reference"], ["reference", "fast"]] {
        let app = TestApp::start_with(&["--hash-engine", maker]).await;
        app.user("sam", OTTER).await;
        let before = hash(&app).await;
        let app = TestApp::start_in(app.stop().await, &["--hash-engine", verifier]).await;
        assert_eq!(app.browser().log_in("sam", HERON).await.status, 422, "{verifier}");
        assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile", "{verifier}");
        assert!(hash(&app).await == before, "it is as good as one of {verifier}'s own");
    }
}

/// Returns a hash of the password with these parameters, as another program would make it.
fn foreign_hash(password: &str, memory: u32, passes: u32) -> String {
    let (salt, mut output) = ([7; 16], [0; 32]);
    let params = argon2::Params::new(memory, passes, 1, Some(32)).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password_into(password.as_bytes(), &salt, &mut output).unwrap();
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD;
    let (salt, output) = (base64.encode(salt), base64.encode(output));
    format!("$argon2id$v=19$m={memory},t={passes},p=1${salt}${output}")
}

#[tokio::test]
async fn a_stored_hash_that_would_cost_more_than_four_of_ours_is_not_verified() {
    use sea_orm::ConnectionTrait;
    let app = TestApp::start_with(&["--rate-limits", "off"]).await;
    app.user("sam", OTTER).await;
    let plant = async |hash: &str| {
        let statement = format!("UPDATE users SET hashed_password = '{hash}'");
        app.app.db.write().execute_unprepared(&statement).await.unwrap();
    };
    // Exactly four times our cost. A log-in renews the hash.
    for (memory, passes) in [(4 * 19_456, 1), (19_456, 8), (256, 8)] {
        plant(&foreign_hash(OTTER, memory, passes)).await;
        assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile", "m={memory},t={passes}");
    }
    for (memory, passes) in [(4 * 19_456 + 1, 1), (19_456, 9), (256, 9)] {
        plant(&foreign_hash(OTTER, memory, passes)).await;
        // Not an internal failure, which would tell which names have an account.
        app.browser().log_in("sam", OTTER).await.assert_framed(422);
    }
    for (memory, passes) in [(4_194_304, 1), (u32::MAX, u32::MAX)] {
        let hash = foreign_hash(OTTER, 256, 2).replace("m=256,t=2", &format!("m={memory},t={passes}"));
        plant(&hash).await;
        app.browser().log_in("sam", OTTER).await.assert_framed(422);
    }
    // The owner gets back in by email.
    let link = app.reset_link("sam@example.com", 5).await; // one of the sign-up, three about new browsers, and the reset link
    let mut sam = app.browser();
    sam.reset(&link, HERON).await;
    assert_eq!(sam.log_in("sam", HERON).await.path, "/profile");
}

#[tokio::test]
async fn a_second_click_starts_one_session() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut sam = app.browser();
    let form = sam.open("/login").await.form("/login").fill("login", "sam").fill("password", OTTER);
    let (mut one, mut two) = (sam.clone(), sam.clone());
    let (first, second) = tokio::join!(one.submit(form.clone()), two.submit(form));
    assert_eq!([first.path.as_str(), second.path.as_str()], ["/profile"; 2]);
    assert_eq!(one.cookies[SESSION], two.cookies[SESSION]);
}

/// NIST SP 800-63B-4, 2.1.3: at AAL1 users log in again after 30 days at the latest.
#[tokio::test]
async fn keep_me_logged_in_ends_after_thirty_days_however_much_it_is_used() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut sam = app.browser();
    sam.post("/login", &[("login", "sam"), ("password", OTTER), ("remember", "1")]).await;
    for day in 1..30 {
        app.app.clock.advance(time::Duration::DAY);
        assert!(sam.is_logged_in().await, "on day {day}");
    }
    app.app.clock.advance(time::Duration::DAY);
    assert!(!sam.is_logged_in().await);
}

#[tokio::test]
async fn the_setting_for_how_long_users_stay_logged_in_holds_for_sessions_that_exist() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let log_in = async |app: &TestApp, remember: &str| {
        let mut browser = app.browser();
        browser.post("/login", &[("login", "sam"), ("password", OTTER), ("remember", remember)]).await;
        browser
    };
    let mut before = log_in(&app, "1").await;
    let dir = app.stop().await;
    let shorter = ["--session-hours", "1", "--remember-days", "7", "--remember-idle-days", "2"];
    let app = TestApp::start_in(dir, &shorter).await;
    before.base = app.url.clone();
    let (mut plain, mut kept, mut idle) = (log_in(&app, "").await, log_in(&app, "1").await, log_in(&app, "1").await);
    app.app.clock.advance(time::Duration::minutes(61));
    assert!(!plain.is_logged_in().await, "an hour is the end");
    for day in 1..=6 {
        app.app.clock.advance(time::Duration::DAY);
        assert!(kept.is_logged_in().await, "on day {day}");
    }
    assert!(!idle.is_logged_in().await, "not used for two days");
    app.app.clock.advance(time::Duration::DAY);
    assert!(!kept.is_logged_in().await, "seven days are the end");
    assert!(!before.is_logged_in().await, "also for a session that began under a longer setting");
}
