//! Emails that do not go out: what the operator sees and does, what probes and metrics tell, and what users read.

use latchkey::accounts::event::{self, EventKind};
use latchkey::accounts::link::pending_signup;
use latchkey::accounts::outbox::{LetterState, OutboxRow};
use sea_orm::{EntityTrait, QueryOrder};
use serde_json::Value;

use crate::OTTER;
use crate::browser::{Browser, Page};
use crate::process::{Process, Ran, forget, free_port, sign_up, until};
use crate::smtp::{MailServer, by};

/// Starts a mail server at a port that had none.
async fn mail_server_at(port: u16) -> MailServer {
    MailServer::start_with(&["plain", "--port", &port.to_string()]).await
}

fn done(process: &Process, arguments: &[&str]) -> Ran {
    let ran = process.run(arguments);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    ran
}

fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!((ran.code, ran.out.as_str(), ran.err.lines().count()), (Some(1), "", 1), "{ran:?}");
    words.iter().for_each(|word| assert!(ran.err.contains(word), "{word}: {}", ran.err));
}

/// Waits until the only letter has this state, and the reason for it.
async fn row(process: &Process, state: LetterState) -> OutboxRow {
    let found = async || {
        let row = process.outbox().await.pop()?;
        (row.state == state && (state == LetterState::Sent || row.last_error.is_some())).then_some(row)
    };
    until("the letter gets there", found).await
}

#[tokio::test]
async fn the_operator_sees_why_an_email_waits_drops_it_and_has_it_sent_again() {
    let port = free_port();
    let url = format!("smtp://127.0.0.1:{port}");
    let process = Process::serving(&by(&url)).await;
    sign_up(&mut process.browser(), "sam", OTTER).await;
    let row = row(&process, LetterState::Waiting).await;
    let id = row.id.to_string();

    let list = done(&process, &["mail", "list", "--state", "waiting", "--to", "Sam@EXAMPLE.com"]).out;
    for words in [&id, "waiting", "signup", "sam@example.com", "next attempt", "refused"] {
        assert!(list.contains(words), "{words}: {list}");
    }
    assert_eq!(done(&process, &["mail", "list", "--to", "ada@example.com", "--json"]).out, "[]\n");
    refused(&process.run(&["mail", "list", "--to", "sam"]), &["sam is not an email address"]);
    let shown = done(&process, &["mail", "show", &id[..18]]).out;
    let request = row.request_id().unwrap();
    for words in ["Last words:", "Connection refused", "Next attempt:", "Given up after:", "127.0.0.1", request] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let json: Value = serde_json::from_str(&done(&process, &["mail", "show", &id, "--json"]).out).unwrap();
    assert_eq!(
        (&json["state"], &json["attempts"], &json["request_id"]),
        (&"waiting".into(), &0.into(), &request.into())
    );
    refused(&process.run(&["mail", "show", "ffff"]), &["no email ffff", "latchkey mail list"]);
    // A script with an empty variable must not take the only email out.
    for short in ["", &id[..3]] {
        refused(&process.run(&["mail", "drop", short]), &["no email", "latchkey mail list"]);
    }

    let ran = done(&process, &["mail", "drop", &id]);
    assert_eq!(ran.out, format!("Dropped {id} (signup to sam@example.com).\n"));
    assert!(ran.err.contains("mail_dropped") && ran.err.contains(request), "{}", ran.err);
    refused(&process.run(&["mail", "drop", &id]), &["is dropped already"]);
    let server = mail_server_at(port).await;
    sign_up(&mut process.browser(), "ada", OTTER).await;
    assert_eq!(server.letter(1).await.message().to().unwrap().first().unwrap().address(), Some("ada@example.com"));
    assert!(done(&process, &["mail", "list", "--state", "dropped"]).out.contains("dropped by the operator"));

    assert!(done(&process, &["mail", "retry", &id]).out.contains("is due now"));
    assert_eq!(server.letter(2).await.message().to().unwrap().first().unwrap().address(), Some("sam@example.com"));
    let sent = async || (process.outbox().await[0].state == LetterState::Sent).then_some(());
    until("the letter is recorded", sent).await;
    refused(&process.run(&["mail", "retry", &id]), &["is sent already"]);
    let events = event::Entity::find().order_by_asc(event::Column::Id).all(process.db().await.read()).await.unwrap();
    let of_mail = events.iter().filter(|event| event.kind.is_by_operator());
    let of_mail: Vec<_> = of_mail.map(|event| (event.kind, event.request_id.as_str())).collect();
    assert_eq!(of_mail, [(EventKind::MailDropped, request), (EventKind::MailRetried, request)]);
}

#[tokio::test]
async fn an_email_that_was_given_up_is_sent_again_unless_it_would_mean_nothing() {
    let mut server = MailServer::start("refuse").await;
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let process = Process::serving(&by(&url)).await;
    sign_up(&mut process.browser(), "sam", OTTER).await;
    let id = row(&process, LetterState::Failed).await.id.to_string();
    let port = server.port;
    server.stop();
    let server = mail_server_at(port).await;
    assert!(done(&process, &["mail", "retry", "--failed"]).out.starts_with("1 email due now"));
    server.letter(1).await;
    row(&process, LetterState::Sent).await;
    assert_eq!(done(&process, &["mail", "retry", "--failed"]).out, "There is no email that was given up.\n");

    // An email about a sign-up that is gone would have no link.
    sign_up(&mut process.browser(), "ada", OTTER).await;
    server.letter(2).await;
    let db = process.db().await;
    let late = async || process.outbox().await.pop().filter(|row| row.state == LetterState::Sent);
    let late = until("the letter is recorded", late).await;
    let given_up = latchkey::accounts::outbox::ActiveModel {
        id: sea_orm::Set(late.id),
        state: sea_orm::Set(LetterState::Failed),
        ..Default::default()
    };
    latchkey::accounts::outbox::Entity::update(given_up).exec(db.write()).await.unwrap();
    pending_signup::Entity::delete_many().exec(db.write()).await.unwrap();
    refused(&process.run(&["mail", "retry", &late.id.to_string()]), &["is too late", "sign up again"]);
    refused(&process.run(&["mail", "retry", &id]), &["is sent already"]);
    assert!(process.run(&["mail", "retry"]).code == Some(2), "it needs an ID or --failed");
}

/// Returns the page without what differs each time, and without the address.
fn same(page: &Page, address: &str) -> String {
    let mut html = page.html.replace(address, "ADDRESS");
    for (begin, end) in [("name=\"form_id\" value=\"", "\">"), ("<time", "</time>")] {
        let parts = html.split(begin).enumerate();
        let kept = parts.map(|(n, part)| if n == 0 { part } else { part.split_once(end).unwrap().1 });
        html = kept.collect();
    }
    html
}

/// Asks for a reset of this address on a site with an account for Sam and no mail server. Returns the page.
async fn asked(port: u16, address: &str) -> (Process, Browser, Page) {
    let url = format!("smtp://127.0.0.1:{port}");
    let [smtp, from] = by(&url);
    let process = Process::serving(&[smtp, from, ("LATCHKEY_SIGNUP", "open")]).await;
    process.opened("sam", OTTER).await;
    let mut browser = process.browser();
    forget(&mut browser, address).await;
    let page = browser.open("/forgot-password/sent").await;
    (process, browser, page)
}

const WAITS: &str = "Our mail server has not taken the email yet";

/// If the page depended on the letter, an attacker could see whether an address has an account.
#[tokio::test]
async fn check_your_email_says_that_emails_wait_for_every_address_alike() {
    let port = free_port();
    let (process, mut sam, known) = asked(port, "sam@example.com").await;
    let (_other, _, unknown) = asked(free_port(), "nobody@example.com").await;
    assert!(known.html.contains(WAITS), "{}", known.html);
    assert_eq!(same(&known, "sam@example.com"), same(&unknown, "nobody@example.com"));
    for page in [&known, &unknown] {
        assert_eq!(page.headers["refresh"], "30");
        assert!(page.html.contains("every 30 seconds") && page.html.contains("?still"), "{}", page.html);
    }
    let still = sam.open("/forgot-password/sent?still").await;
    assert!(still.html.contains(WAITS) && !still.headers.contains_key("refresh"));
    // A browser that has asked for nothing reads it too. It would load the page for ever.
    let other = process.browser().open("/signup/sent").await;
    assert!(other.html.contains(WAITS) && !other.headers.contains_key("refresh"));
    let form = sam.open("/forgot-password/sent").await.form("/forgot-password");
    let again = sam.submit(form).await;
    assert!(again.html.contains(WAITS) && !again.html.contains("We sent it again"));

    let server = mail_server_at(port).await;
    server.letter(1).await;
    let flows = async || Some(sam.open("/forgot-password/sent").await).filter(|page| !page.html.contains(WAITS));
    let page = until("the page says no more that it waits", flows).await;
    assert!(page.html.contains("a link is on its way") && !page.headers.contains_key("refresh"), "{}", page.html);
}

#[tokio::test]
async fn one_address_whose_server_refuses_for_now_is_no_trouble_of_ours() {
    let server = MailServer::start("greylist").await;
    let (url, metrics) = (format!("smtp://127.0.0.1:{}", server.port), format!("127.0.0.1:{}", free_port()));
    let [smtp, from] = by(&url);
    let process = Process::serving(&[smtp, from, ("LATCHKEY_METRICS_LISTEN", &metrics)]).await;
    let mut sam = process.browser();
    sign_up(&mut sam, "sam", OTTER).await;
    let sams = row(&process, LetterState::Waiting).await;
    assert!(sams.last_error.as_ref().unwrap().contains("Greylisted") && sams.failed_at.is_none(), "{sams:?}");
    let page = sam.open("/signup/sent").await;
    assert!(!page.html.contains(WAITS) && !page.headers.contains_key("refresh"), "{}", page.html);
    assert_eq!(process.browser().open("/readyz").await.html, "ready\n");
    assert_eq!(process.metric("latchkey_mail_up").await, 1.0);
}

/// Only an address that has an account has a letter that can be put off.
#[tokio::test]
async fn a_reset_that_the_mail_server_puts_off_is_told_to_no_client() {
    let server = MailServer::start_with(&["tempfail", "--times", "1"]).await;
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let [smtp, from] = by(&url);
    let process = Process::serving(&[smtp, from, ("LATCHKEY_SIGNUP", "open")]).await;
    process.opened("sam", OTTER).await;
    let mut browser = process.browser();
    forget(&mut browser, "sam@example.com").await;
    let row = row(&process, LetterState::Waiting).await;
    assert_eq!((row.letter.as_str(), row.attempts), ("reset_password", 1));
    let page = browser.open("/forgot-password/sent").await;
    assert!(!page.html.contains(WAITS), "{}", page.html);
    assert_eq!(process.browser().open("/readyz").await.html, "ready\n");
}

#[tokio::test]
async fn a_probe_tells_trouble_with_mail_and_the_site_stays_ready() {
    let (port, metrics) = (free_port(), format!("127.0.0.1:{}", free_port()));
    let url = format!("smtp://127.0.0.1:{port}");
    let [smtp, from] = by(&url);
    let process = Process::serving(&[smtp, from, ("LATCHKEY_METRICS_LISTEN", &metrics)]).await;
    let probe = async || process.browser().open("/readyz").await;
    let up = async || (process.metric("latchkey_mail_up").await, process.metric("latchkey_database_up").await);
    let unreachable = "latchkey_mail_failures_total{reason=\"unreachable\"}";
    assert_eq!((probe().await.html.as_str(), up().await), ("ready\n", (1.0, 1.0)));
    assert_eq!(process.metric(unreachable).await, 0.0);

    sign_up(&mut process.browser(), "sam", OTTER).await;
    row(&process, LetterState::Waiting).await;
    let told = async || Some(probe().await).filter(|page| page.html != "ready\n");
    let told = until("the probe tells", told).await;
    let words = "ready\nmail: the mail server has not taken emails for less than a minute\n";
    assert_eq!((told.status.as_u16(), told.html.as_str()), (200, words));
    assert_eq!(up().await, (0.0, 1.0));
    assert!(process.metric(unreachable).await >= 1.0);

    let server = mail_server_at(port).await;
    server.letter(1).await;
    until("the probe is content", async || (probe().await.html == "ready\n").then_some(())).await;
    assert_eq!(up().await, (1.0, 1.0));
}
