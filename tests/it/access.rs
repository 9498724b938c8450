//! A user looks at the apps that see the account, and takes access away.

use futures_util::future::join_all;
use latchkey::accounts::event::{self, EventKind};
use latchkey::accounts::{access, apps};
use reqwest::Method;
use reqwest::header::ORIGIN;
use sea_orm::EntityTrait;

use crate::app::TestApp;
use crate::authorize::{Wiki, open, parameters, press};
use crate::browser::{Browser, Page};
use crate::tokens::{exchange, form, lasting, refresh, tokens, userinfo};
use crate::{HERON, OTTER};

async fn bank(app: &TestApp) -> Wiki {
    Wiki::register(app, |new| (new.name, new.trusted) = ("Bank".parse().unwrap(), true)).await
}

/// Presses the button of an app.
async fn take_away(user: &mut Browser, wiki: &Wiki) -> Page {
    let page = user.post("/profile/apps", &[("app", &wiki.id)]).await;
    assert_eq!(page.status, 303, "{}", page.html);
    user.open("/profile/apps").await
}

#[tokio::test]
async fn a_user_sees_the_apps_and_takes_access_away() {
    let app = TestApp::start().await;
    let (wiki, bank) = (Wiki::register(&app, |_| {}).await, bank(&app).await);
    let mut sam = app.user("sam", OTTER).await;
    let page = sam.open("/profile/apps").await;
    page.assert_framed(200);
    assert!(page.html.contains("No app has access to your account."), "{}", page.html);

    let at_wiki = tokens(&app, &wiki, &mut sam).await;
    app.app.clock.advance(time::Duration::minutes(1));
    let at_bank = lasting(&app, &bank, &mut sam).await;
    let unused = crate::tokens::code(&bank, &mut sam, &[]).await;
    let page = sam.open("/profile/apps").await;
    let (bank_at, wiki_at) = (page.html.find("<bdi>Bank</bdi>").unwrap(), page.html.find("<bdi>Wiki</bdi>").unwrap());
    assert!(bank_at < wiki_at, "the one that was used last comes first");
    let of_wiki = &page.html[wiki_at..];
    for words in ["Since", "Last used", "that it is you", "your username", "your email address"] {
        assert!(of_wiki.contains(words), "{words}: {of_wiki}");
    }
    assert!(page.html[bank_at..wiki_at].contains("also while you are away"), "{}", page.html);

    let page = take_away(&mut sam, &bank).await;
    assert_eq!(page.flash(), "The app has no access any more.");
    assert!(page.html.contains("<bdi>Wiki</bdi>") && !page.html.contains("<bdi>Bank</bdi>"), "{}", page.html);
    // All that it had has ended, and what the others have has not.
    assert_eq!(userinfo(&app, at_bank["access_token"].as_str().unwrap()).await.0, 401);
    assert_eq!(refresh(&app, &bank, &at_bank["refresh_token"]).await.1["error"], "invalid_grant");
    assert_eq!(exchange(&app, &bank, &form(&unused)).await.1["error"], "invalid_grant");
    assert_eq!(userinfo(&app, at_wiki["access_token"].as_str().unwrap()).await.0, 200);
    assert!(sam.is_logged_in().await);
    let activity = sam.open("/profile/security").await;
    assert!(activity.html.contains("Access of an app taken away"), "{}", activity.html);

    // An app that asks its users asks again.
    take_away(&mut sam, &wiki).await;
    let page = open(&mut sam, &wiki.request(&[])).await.expect("the question");
    assert_eq!(page.heading(), "Log in to Wiki");
    // Once more changes nothing, and is no event.
    take_away(&mut sam, &wiki).await;
    let events = event::Entity::find().all(app.app.db.read()).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == EventKind::AppEnded).count(), 2);
}

/// A refresh is a use, also while the user is away.
#[tokio::test]
async fn the_last_use_is_also_a_refresh() {
    let app = TestApp::start().await;
    let (wiki, bank) = (Wiki::register(&app, |new| new.trusted = true).await, bank(&app).await);
    let mut sam = app.user("sam", OTTER).await;
    let got = lasting(&app, &wiki, &mut sam).await;
    app.app.clock.advance(time::Duration::minutes(1));
    lasting(&app, &bank, &mut sam).await;
    app.app.clock.advance(time::Duration::minutes(1));
    refresh(&app, &wiki, &got["refresh_token"]).await;
    let page = sam.open("/profile/apps").await;
    assert!(page.html.find("<bdi>Wiki</bdi>") < page.html.find("<bdi>Bank</bdi>"), "{}", page.html);
}

#[tokio::test]
async fn nobody_takes_away_what_is_of_another_user() {
    let app = TestApp::start().await;
    let bank = bank(&app).await;
    let mut sam = app.user("sam", OTTER).await;
    let got = tokens(&app, &bank, &mut sam).await;
    let mut eve = app.user("eve", HERON).await;
    take_away(&mut eve, &bank).await;
    assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 200);
    // A page of another site sends the form.
    let forged = sam.send(Method::POST, "/profile/apps", |request| {
        request.header(ORIGIN, "https://evil.example").form(&[("app", &bank.id)])
    });
    assert_eq!(forged.await.status, 403);
    assert_eq!(userinfo(&app, got["access_token"].as_str().unwrap()).await.0, 200);
}

/// The form comes after its session has ended: nothing is taken away unseen.
#[tokio::test]
async fn a_form_after_its_session_is_done_again_after_the_log_in() {
    let app = TestApp::start().await;
    let bank = bank(&app).await;
    let mut sam = app.user("sam", OTTER).await;
    tokens(&app, &bank, &mut sam).await;
    let mut page = sam.open("/profile/apps").await;
    let button = page.form("/profile/apps");
    app.browser().log_in("sam", OTTER).await;
    sam.clone().log_out().await;
    page = press(&mut sam, button).await.expect("the log-in");
    assert_eq!(page.path, "/login?next=%2Fprofile%2Fapps");
    let page = press(&mut sam, page.form("/login").fill("login", "sam").fill("password", OTTER)).await.unwrap();
    assert_eq!(
        (page.path.as_str(), page.flash().as_str()),
        ("/profile/apps", "No access has been taken away yet. Choose again.")
    );
    assert!(page.html.contains("<bdi>Bank</bdi>"), "{}", page.html);
}

/// The app's own requests come again and again at that moment.
#[tokio::test]
async fn an_app_does_not_give_itself_back_what_is_taken_away() {
    let app = TestApp::start_with(&["--rate-limits", "off"]).await;
    let wiki = Wiki::register(&app, |_| {}).await;
    let mut sam = app.user("sam", OTTER).await;
    let silent = wiki.request(&[("prompt", "none")]);
    for _ in 0..4 {
        tokens(&app, &wiki, &mut sam).await;
        let evil = (0..2).map(|_| {
            let (mut sam, silent) = (sam.clone(), silent.clone());
            tokio::spawn(async move {
                for _ in 0..12 {
                    sam.send(Method::GET, &silent, |request| request).await;
                }
            })
        });
        let evil: Vec<_> = evil.collect();
        open(&mut sam, &silent).await.expect_err("the app");
        take_away(&mut sam, &wiki).await;
        for evil in evil {
            evil.await.unwrap();
        }
        let back = open(&mut sam, &silent).await.expect_err("the app");
        assert_eq!(parameters(&back).get("error").map(String::as_str), Some("consent_required"), "{back}");
    }
}

/// The operator removes an app while its users come and go: each of them gets a page, and nothing fails.
#[tokio::test]
async fn an_app_is_removed_while_its_users_come_and_go() {
    let app = TestApp::start_with(&["--rate-limits", "off"]).await;
    let bank = bank(&app).await;
    let mut users = vec![];
    for name in ["ann", "ben", "cat", "dan", "eli", "fay"] {
        let mut user = app.user(name, OTTER).await;
        for _ in 0..3 {
            tokens(&app, &bank, &mut user).await;
        }
        users.push(user);
    }
    let row = apps::by_id(app.app.db.read(), bank.id.parse().unwrap()).await.unwrap().unwrap();
    let going = users.iter_mut().enumerate().map(async |(n, user)| {
        for _ in 0..4 {
            let page = user.send(Method::GET, &bank.request(&[]), |request| request).await;
            assert!([303, 400].contains(&page.status.as_u16()), "{} {}", page.status, page.html);
        }
        if n % 2 == 0 {
            user.log_out().await;
        }
    });
    let (_, removed) = tokio::join!(join_all(going), access::remove_app(&app.app.db, &row, app.app.now()));
    assert!(removed.unwrap());
    let mut eve = app.user("eve", HERON).await;
    assert_eq!(open(&mut eve, &bank.request(&[])).await.expect("a page").status, 400);
}
