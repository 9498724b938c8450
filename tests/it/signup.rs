//! Creating an account.

use latchkey::accounts::user;

use crate::app::TestApp;
use crate::profile::NOT_ON_ANY_FORM;
use crate::{HERON, OTTER};

#[tokio::test]
async fn an_account_exists_once_the_button_behind_the_emailed_link_is_pressed() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    let form = sam.open("/signup").await.form("/signup");
    let form = form
        .fill("email", "Sam@Example.com")
        .fill("username", "Sam")
        .fill("full_name", "Sam <b>Smith</b>")
        .fill("password", OTTER);
    let page = sam.submit(form).await;
    assert_eq!(page.path, "/signup/sent");
    assert!(page.html.contains("Sam@Example.com"));
    assert!(!sam.is_logged_in().await, "nothing exists yet");
    assert_eq!(sam.log_in("sam@example.com", OTTER).await.status, 422);

    let letter = app.letters_to("Sam@Example.com", 1).await.remove(0);
    assert_eq!(letter.subject, "Confirm your email address for Latchkey");
    assert!(letter.links[0].starts_with(&format!("{}/signup/confirm?token=", app.url)), "{}", letter.links[0]);
    assert!(
        letter.html.contains(&letter.links[0]) && !letter.text.contains("Smith"),
        "no text of strangers in a letter"
    );

    let page = sam.open(&letter.links[0]).await;
    assert_eq!((page.status.as_u16(), page.path.as_str()), (200, "/signup/confirm"));
    let page = sam.open(&letter.links[0]).await; // opening it twice does not use it up
    assert!(page.html.contains("Sam@Example.com"));
    let page = sam.submit(page.form("/signup/confirm")).await;
    assert_eq!(page.path, "/profile");
    assert_eq!(page.flash(), "Your account is ready and you are logged in.");
    assert!(page.html.contains("Sam &#60;b&#62;Smith&#60;/b&#62;"), "{}", page.html);
    assert_eq!(sam.open("/profile").await.flash(), "", "said once");
}

#[tokio::test]
async fn another_browser_may_press_the_button_but_is_not_logged_in() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    sam.sign_up("sam@example.com", "sam", OTTER).await;
    let link = app.letters_to("sam@example.com", 1).await[0].links[0].clone();

    let mut phone = app.browser();
    let page = phone.open(&link).await;
    assert!(page.html.contains("name=\"password\""), "{}", page.html);
    let page = phone.submit(page.form("/signup/confirm")).await;
    page.assert_framed(422);
    assert_eq!(page.problem_at("password"), "Choose a password");
    let page = phone.submit(page.form("/signup/confirm").fill("password", "password")).await;
    page.assert_framed(422);
    let page = phone.submit(page.form("/signup/confirm").fill("password", HERON)).await;
    assert_eq!((page.path.as_str(), page.flash().as_str()), ("/login", "Your account is ready. Log in to continue."));
    assert!(!phone.is_logged_in().await);
    // The password of the sign-up may be an attacker's, so it never opens the account.
    phone.log_in("sam", OTTER).await.assert_framed(422);
    assert_eq!(phone.log_in("sam", HERON).await.path, "/profile");
    app.outbox_is_done().await;
    assert_eq!(app.letters_to("sam@example.com", 1).await.len(), 1, "the browser that confirmed is known");

    let page = sam.open(&link).await;
    page.assert_framed(410);
    assert_eq!(page.heading(), "This link no longer works");
}

#[tokio::test]
async fn a_known_address_gets_the_same_page_and_another_email() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut stranger = app.browser();
    let known = stranger.sign_up("SAM@example.com", "eve", HERON).await;
    let mut other = app.browser();
    let unknown = other.sign_up("new@example.com", "eve", HERON).await;
    assert_eq!((known.status, &known.path), (unknown.status, &unknown.path));
    let without_ids = |html: &str| html.split("form_id").next().unwrap().replace("SAM@", "new@");
    assert_eq!(without_ids(&known.html), without_ids(&unknown.html));

    let letter = app.letters_to("sam@example.com", 2).await.remove(0);
    assert_eq!(letter.subject, "You already have an account at Latchkey");
    assert!(!letter.text.contains("token="), "nothing in it to press");
    assert!(app.browser().log_in("sam", OTTER).await.path == "/profile", "nothing has changed");
}

#[tokio::test]
async fn a_taken_username_is_told_at_once_and_the_form_keeps_its_fields() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let mut eve = app.browser();
    let form = eve.open("/signup").await.form("/signup");
    let form =
        form.fill("email", "eve@example.com").fill("username", "SAM").fill("full_name", "Eve").fill("password", OTTER);
    let page = eve.submit(form).await;
    page.assert_framed(422);
    assert!(page.title().starts_with("Error: "));
    assert_eq!(page.problem_at("username"), "This username is taken. Choose another");
    assert_eq!(page.problems().len(), 1);
    let all = page.form("/signup").fill("email", "eve@").fill("full_name", &"x".repeat(101)).fill("password", "1");
    let page = eve.submit(all).await;
    assert_eq!(page.problem_at("username"), "This username is taken. Choose another", "with all that is wrong");
    assert_eq!(page.problems().len(), 4, "{:?}", page.problems());
    let page = eve.submit(page.form("/signup").fill("email", "eve@example.com").fill("full_name", "Eve")).await;
    assert_eq!(
        [page.value_of("email"), page.value_of("username"), page.value_of("full_name")],
        ["eve@example.com", "SAM", "Eve"]
    );
    assert_eq!(page.value_of("password"), "", "a password is never sent back");
}

#[tokio::test]
async fn a_wrong_address_is_corrected_without_typing_the_rest_again() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    let form = sam.open("/signup").await.form("/signup").fill("email", "sma@example.com").fill("username", "sam");
    let page = sam.submit(form.fill("full_name", "Sam Smith").fill("password", OTTER)).await;
    assert!(page.html.contains("href=\"/signup?again\""), "{}", page.html);
    let page = sam.open("/signup?again").await;
    let typed = [page.value_of("email"), page.value_of("username"), page.value_of("full_name")];
    assert_eq!(typed, ["sma@example.com", "sam", "Sam Smith"]);
    assert_eq!(page.value_of("password"), "");
    assert_eq!(sam.open("/signup").await.value_of("email"), "", "only who goes back finds it");
    assert_eq!(app.browser().open("/signup?again").await.value_of("email"), "", "and only in that browser");

    sam.ask_reset("sma@example.com").await;
    assert_eq!(sam.open("/forgot-password?again").await.value_of("email"), "sma@example.com");
}

#[tokio::test]
async fn an_old_link_of_a_user_who_is_logged_in_leads_to_the_profile() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    sam.sign_up("sam@example.com", "sam", OTTER).await;
    let link = app.letters_to("sam@example.com", 1).await[0].links[0].clone();
    let form = sam.open(&link).await.form("/signup/confirm");
    assert_eq!(sam.submit(form).await.path, "/profile");
    assert_eq!(sam.open(&link).await.path, "/profile");
    sam.log_out().await;
    let page = sam.open(&link).await;
    page.assert_framed(410);
    assert!(page.html.contains("Already confirmed? Log in."), "{}", page.html);
}

#[tokio::test]
async fn a_username_taken_meanwhile_is_asked_for_again() {
    let app = TestApp::start().await;
    let mut first = app.browser();
    first.sign_up("first@example.com", "sam", OTTER).await;
    let link = app.letters_to("first@example.com", 1).await[0].links[0].clone();
    app.user("sam", HERON).await;

    let form = first.open(&link).await.form("/signup/confirm");
    let page = first.submit(form).await;
    page.assert_framed(422);
    assert_eq!(page.problem_at("username"), "That username has just been taken. Choose another.");
    let form = page.form("/signup/confirm").fill("username", "-");
    let page = first.submit(form).await;
    page.assert_framed(422);
    let form = page.form("/signup/confirm").fill("username", "sam2");
    assert_eq!(first.submit(form).await.path, "/profile");
}

#[tokio::test]
async fn twenty_sign_ups_with_one_address_make_one_user() {
    let app = TestApp::start_with(&["--rate-limits", "off"]).await;
    let ask = |n: usize| {
        let mut browser = app.browser();
        async move {
            let name = format!("sam{n:02}");
            let fields = [("email", "sam@example.com"), ("username", &name), ("password", OTTER)];
            browser.post("/signup", &fields).await.status.as_u16()
        }
    };
    let answers = futures_util::future::join_all((0..20).map(ask)).await;
    assert_eq!(answers, [303; 20]);

    let letters = app.letters_to("sam@example.com", 20).await;
    let press = |link: String| {
        let mut browser = app.browser();
        async move {
            browser.open(&link).await;
            browser.post("/signup/confirm", &[("password", HERON)]).await.status.as_u16()
        }
    };
    let mut answers = futures_util::future::join_all(letters.iter().map(|letter| press(letter.links[0].clone()))).await;
    answers.sort_unstable();
    assert_eq!(answers[0], 303);
    assert_eq!(answers[1..], [410; 19]);
    let users = latchkey::accounts::user::all(app.app.db.read()).await.unwrap();
    assert_eq!(users.len(), 1);
}

#[tokio::test]
async fn in_open_mode_an_account_exists_at_once() {
    let app = TestApp::start_with(&["--signup", "open"]).await;
    let mut sam = app.browser();
    let page = sam.sign_up("sam@example.com", "sam", OTTER).await;
    assert_eq!(
        (page.path.as_str(), page.flash().as_str()),
        ("/profile", "Your account is ready and you are logged in.")
    );

    let mut eve = app.browser();
    let page = eve.sign_up("sam@EXAMPLE.com", "eve", OTTER).await;
    page.assert_framed(422);
    assert!(page.problem_at("email").contains("already has an account"));

    let ask = |n: usize| {
        let mut browser = app.browser();
        async move {
            let name = format!("ann{n:02}");
            browser
                .post("/signup", &[("email", "ann@example.com"), ("username", &name), ("password", OTTER)])
                .await
                .status
                .as_u16()
        }
    };
    let mut answers = futures_util::future::join_all((0..20).map(ask)).await;
    answers.sort_unstable();
    assert_eq!(answers[0], 303);
    assert_eq!(answers[1..], [422; 19]);
    assert_eq!(latchkey::accounts::user::all(app.app.db.read()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn in_closed_mode_no_sign_up_works() {
    let app = TestApp::start_with(&["--signup", "closed"]).await;
    let mut sam = app.browser();
    sam.open("/signup").await.assert_framed(403);
    let fields = [("email", "sam@example.com"), ("username", "sam"), ("password", OTTER)];
    sam.post("/signup", &fields).await.assert_framed(403);
    assert!(!sam.open("/").await.html.contains("/signup"));
    assert!(latchkey::accounts::user::all(app.app.db.read()).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_email_is_sent_again_after_a_minute_and_both_links_work() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    let page = sam.sign_up("sam@example.com", "sam", OTTER).await;
    let first = app.letters_to("sam@example.com", 1).await[0].links[0].clone();
    let page = sam.submit(page.form("/signup/resend")).await;
    assert!(page.flash().contains("less than a minute ago"), "{}", page.flash());

    app.app.clock.advance(time::Duration::seconds(61));
    let page = sam.submit(page.form("/signup/resend")).await;
    assert_eq!((page.path.as_str(), page.flash().as_str()), ("/signup/sent", "We sent it again."));
    let second = app.letters_to("sam@example.com", 2).await[0].links[0].clone();
    assert_ne!(first, second);
    assert_eq!(sam.open(&second).await.status, 200);
    let form = sam.open(&first).await.form("/signup/confirm");
    assert_eq!(sam.submit(form).await.path, "/profile");
    app.browser().open(&second).await.assert_framed(410);
}

#[tokio::test]
async fn pressing_the_button_of_another_browsers_sign_up_does_not_log_in() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    sam.sign_up("sam@example.com", "sam", OTTER).await;
    app.letters_to("sam@example.com", 1).await;
    let mut eve = app.browser();
    eve.sign_up("sam@example.com", "sammy", HERON).await;
    let link = app.letters_to("sam@example.com", 2).await[0].links[0].clone();
    let page = sam.open(&link).await;
    assert!(page.html.contains("<strong>sammy</strong>"), "the page says what it makes");
    let page = sam.submit(page.form("/signup/confirm")).await;
    page.assert_framed(422);
    let page = sam.submit(page.form("/signup/confirm").fill("password", OTTER)).await;
    assert_eq!(page.path, "/login", "not into an account that Eve has asked for");
    eve.log_in("sammy", HERON).await.assert_framed(422);
    assert_eq!(sam.log_in("sammy", OTTER).await.path, "/profile");
}

/// The browser that began a sign-up presses the button without a password. A password that it sends all the same is ignored.
#[tokio::test]
async fn the_browser_that_began_keeps_the_password_of_its_sign_up() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    sam.sign_up("sam@example.com", "sam", OTTER).await;
    let page = sam.open(&app.letters_to("sam@example.com", 1).await[0].links[0]).await;
    assert!(!page.html.contains("name=\"password\""), "{}", page.html);
    assert_eq!(sam.submit(page.form("/signup/confirm").fill("password", HERON)).await.path, "/profile");
    assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile");
}

#[tokio::test]
async fn a_sign_up_that_is_closed_meanwhile_makes_no_account() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    sam.sign_up("sam@example.com", "sam", OTTER).await;
    let link = app.letters_to("sam@example.com", 1).await[0].links[0].clone();
    let (dir, before) = (app.stop().await, sam.base.clone());
    let app = TestApp::start_in(dir, &["--signup", "closed"]).await;
    sam.base = app.url.clone();
    let form = sam.open(&link.replace(&before, &app.url)).await.form("/signup/confirm");
    sam.submit(form).await.assert_framed(403);
}

#[tokio::test]
async fn a_link_expires_after_a_day() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    sam.sign_up("sam@example.com", "sam", OTTER).await;
    let link = app.letters_to("sam@example.com", 1).await[0].links[0].clone();
    app.app.clock.advance(time::Duration::hours(23));
    let page = sam.open(&link).await;
    assert_eq!(page.status, 200);
    app.app.clock.advance(time::Duration::hours(1));
    let page = sam.submit(page.form("/signup/confirm")).await;
    page.assert_framed(410);
}

#[tokio::test]
async fn a_second_click_gets_the_first_answer() {
    let app = TestApp::start().await;
    let mut sam = app.browser();
    let form = sam.open("/signup").await.form("/signup");
    let form = form.fill("email", "sam@example.com").fill("username", "sam").fill("password", OTTER);
    let (mut one, mut two) = (sam.clone(), sam.clone());
    let (first, second) = tokio::join!(one.submit(form.clone()), two.submit(form));
    assert_eq!([first.path.as_str(), second.path.as_str()], ["/signup/sent"; 2]);
    app.outbox_is_done().await;
    let letters = app.letters_to("sam@example.com", 1).await;
    assert_eq!(letters.len(), 1, "one effect");

    let mut sam = two;
    let form = sam.open(&letters[0].links[0]).await.form("/signup/confirm");
    let (mut one, mut two) = (sam.clone(), sam.clone());
    let (first, second) = tokio::join!(one.submit(form.clone()), two.submit(form.clone()));
    assert_eq!([first.path.as_str(), second.path.as_str()], ["/profile"; 2]);
    assert_eq!(sam.submit(form).await.path, "/profile", "a little later as well");
}

#[tokio::test]
async fn fields_that_are_not_on_the_form_make_no_other_account() {
    for mode in ["open", "verify"] {
        let app = TestApp::start_with(&["--signup", mode]).await;
        let now = app.app.now();
        let mut sam = app.browser();
        let mut fields = vec![("email", "sam@example.com"), ("username", "sam"), ("password", OTTER)];
        fields.extend(NOT_ON_ANY_FORM);
        assert_eq!(sam.post("/signup", &fields).await.status, 303);
        if mode == "verify" {
            let link = app.letters_to("sam@example.com", 1).await[0].links[0].clone();
            sam.open(&link).await;
            assert_eq!(sam.post("/signup/confirm", NOT_ON_ANY_FORM).await.headers["location"], "/profile");
        }
        let user = user::by_login(app.app.db.read(), "sam").await.unwrap().unwrap();
        assert!(user.id.get_version_num() == 7 && user.id.to_string() != NOT_ON_ANY_FORM[0].1, "{user:?}");
        assert!(user.created_at >= now && user.updated_at >= now && user.password_changed_at.is_none(), "{user:?}");
        assert_eq!((user.locale.as_deref(), user.first_locale.as_deref()), (None, Some("en")));
        assert_eq!((user.email_canonical.as_str(), user.username_canonical.as_str()), ("sam@example.com", "sam"));
        assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile");
    }
}

/// Asks for an account with this username. Returns what the page says about the username.
async fn problem_of(app: &TestApp, username: &str) -> String {
    let page = app.browser().sign_up("new@example.com", username, OTTER).await;
    if page.path == "/signup/sent" { String::new() } else { page.problem_at("username") }
}

/// A user whose name looks like the site's could speak for the site (Unicode TS 39).
#[tokio::test]
async fn a_username_that_looks_like_the_sites_or_mixes_scripts_is_refused() {
    let app = TestApp::start_with(&["--site-name", "Acme Gym", "--rate-limits", "off"]).await;
    for mixed in ["s\u{430}mantha", "раypal", "samαntha", "sam\u{e2a}ย", "ニコсам"] {
        let said = problem_of(&app, mixed).await;
        assert_eq!(said, "Username cannot mix alphabets, such as Latin and Cyrillic letters", "{mixed}");
    }
    for like in [
        "adrnin",
        "r00t",
        "he1p",
        "adm1n",
        "ad-min",
        "ádmin",
        "аӏӏ",
        "арі",
        "AlI",
        "acmegym",
        "Acme.Gym",
        "acrnegyrn",
        "acme_gým",
    ] {
        let said = problem_of(&app, like).await;
        assert_eq!(said, "This username is too similar to a reserved one. Choose another", "{like}");
    }
    for fine in [
        "Ali",
        "ALI",
        "samantha",
        "саманта",
        "σαμάνθα",
        "张小明",
        "张wei",
        "ニコniko大",
        "김sam",
        "acme",
        "administer",
        "helper",
        "o0o",
        "1lil1",
    ] {
        assert_eq!(problem_of(&app, fine).await, "", "{fine}");
    }
    let fields = [("username", "adrnin"), ("email", "new@example.com"), ("password", OTTER)];
    let fields: std::collections::BTreeMap<_, _> = fields.into();
    let answer = reqwest::Client::new().post(format!("{}/users/", app.url)).json(&fields).send().await.unwrap();
    assert_eq!(answer.status(), 422);
    assert!(answer.text().await.unwrap().contains("too similar to a reserved one"));
}

#[tokio::test]
async fn a_username_from_before_the_rule_still_logs_in_but_is_not_given_again() {
    let app = TestApp::start().await;
    app.user("acme", OTTER).await;
    let mut waiting = app.browser();
    waiting.sign_up("first@example.com", "sam", OTTER).await;
    let link = app.letters_to("first@example.com", 1).await[0].links[0].clone();
    app.user("sam", HERON).await;
    let dir = app.stop().await;

    let app = TestApp::start_in(dir, &["--site-name", "Acme"]).await;
    assert_eq!(app.browser().log_in("acme", OTTER).await.path, "/profile");
    assert_eq!(app.browser().log_in("ACME", OTTER).await.path, "/profile");
    waiting.base = app.url.clone();
    let page = waiting.open(&format!("/signup/confirm?{}", link.split_once('?').unwrap().1)).await;
    let page = waiting.submit(page.form("/signup/confirm")).await;
    let page = waiting.submit(page.form("/signup/confirm").fill("username", "acrne")).await;
    page.assert_framed(422);
    assert!(page.problem_at("username").contains("too similar to a reserved one"), "{}", page.problem_at("username"));
}

/// zxcvbn looks at the first 32 characters only, so it does not find a name of the user that is longer.
#[tokio::test]
async fn a_password_made_of_the_users_own_names_is_refused_at_any_length() {
    let app = TestApp::start_with(&["--rate-limits", "off"]).await;
    let address = "wilhelmina.konstantinopolska-okonkwo@subsidiary.example.com";
    for own in [
        address.to_owned(),
        address.to_uppercase(),
        address.replace(['.', '@', '-'], " "),
        address.chars().rev().collect(),
        address.repeat(2),
        format!("{address}1!"),
        "wilhelmina konstantinopolska okonkwo subsidiary".to_owned(),
        "w1lh3lm1n4-k0nst4nt1n0p0lsk4-0k0nkw0".to_owned(),
        "w i l h e l m i n a k o n s t a n t i n o p o l s k a".to_owned(),
    ] {
        let page = app.browser().sign_up(address, "minna", &own).await;
        page.assert_framed(422);
        assert!(page.problem_at("password").contains("your own names"), "{own}: {}", page.problem_at("password"));
    }
    for good in ["wilhelmina otter bakes velvet rye", OTTER] {
        assert_eq!(app.browser().sign_up(address, "minna", good).await.path, "/signup/sent", "{good}");
    }
}
