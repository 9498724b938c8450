//! The log for machines: every line is one JSON object that says which request it is about.

use std::fs;

use latchkey::accounts::event;
use reqwest::{Method, RequestBuilder};
use sea_orm::{ConnectionTrait, EntityTrait, QueryOrder};
use serde_json::Value;

use crate::process::{Process, forget, try_to_serve};
use crate::{HERON, OTTER};

const FOR_MACHINES: (&str, &str) = ("LATCHKEY_LOG_FORMAT", "json");

fn lines(log: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
    log.lines().map(parse).collect()
}

fn span<'a>(line: &'a Value, name: &str) -> Option<&'a Value> {
    line["spans"].as_array()?.iter().find(|span| span["name"] == name)
}

#[tokio::test]
async fn every_line_is_an_object_and_an_event_has_its_request_id_everywhere() {
    let mut process = Process::serving(&[FOR_MACHINES, ("LATCHKEY_LOG", "debug")]).await;
    process.user("sam", OTTER).await;
    let mut eve = process.browser();
    let wrong = eve.log_in("sam", HERON).await;
    let unknown = eve.log_in("nobody \"}\n{", HERON).await;
    forget(&mut eve, "sam@example.com").await;
    process.link("sam@example.com", 2).await;
    eve.open("/no/such/page\"}").await.assert_framed(404);
    process.stop().await;

    let log = process.log();
    let all = lines(&log);
    for line in &all {
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(), "{line}");
        assert!(line["message"].is_string() || line["event"].is_string(), "{line}");
    }
    let db = process.db().await;
    let rows = event::Entity::find().order_by_asc(event::Column::Id).all(db.read()).await.unwrap();
    let events: Vec<&Value> = all.iter().filter(|line| line["target"] == "latchkey::event").collect();
    assert_eq!(events.len(), rows.len());
    for (line, row) in events.iter().zip(&rows) {
        assert_eq!((&line["request"], &line["ip"]), (&row.request_id.as_str().into(), &row.ip.as_str().into()));
        assert_eq!(line["user"].as_str(), row.user_id.map(|id| id.to_string()).as_deref(), "{line}");
    }
    for (page, with_user) in [(wrong, true), (unknown, false)] {
        let id = page.headers["x-request-id"].to_str().unwrap();
        let failed = events.iter().find(|line| line["request"] == id).unwrap();
        assert_eq!((&failed["event"], failed.get("user").is_some()), (&"log_in_failed".into(), with_user), "{failed}");
        assert_eq!(span(failed, "request").unwrap()["id"], id);
        let of_it: Vec<_> = all.iter().filter(|line| span(line, "request").is_some_and(|of| of["id"] == id)).collect();
        let answered = of_it.iter().find(|line| line["message"] == "answered").unwrap();
        assert!(answered["status"] == 422 && answered["took"].as_f64().unwrap() > 0.0, "{answered}");
        let hash = of_it.iter().find_map(|line| span(line, "hash").map(|span| (span, line))).unwrap();
        assert!(hash.0["work"] == "verify" && hash.1["waited"].is_f64(), "{}", hash.1);
    }
    // One request ID leads from the form to its email.
    let asked = events.iter().find(|line| line["event"] == "reset_asked").unwrap();
    let sent = all.iter().filter(|line| line["message"] == "sent").filter_map(|line| span(line, "letter"));
    let letter = sent.into_iter().find(|letter| letter["kind"] == "reset_password").unwrap();
    assert_eq!(letter["request"], asked["request"]);
}

#[tokio::test]
async fn a_failure_has_its_request_id_however_little_is_logged() {
    let mut process = Process::serving(&[FOR_MACHINES, ("LATCHKEY_LOG", "error")]).await;
    process.db().await.write().execute_unprepared("ALTER TABLE users RENAME TO lost").await.unwrap();
    let page = process.browser().log_in("sam", OTTER).await;
    assert_eq!(page.status, 503, "{}", page.html);
    process.stop().await;
    let all = lines(&process.log());
    let failed = all.iter().find(|line| line["message"] == "failed").unwrap();
    assert_eq!(span(failed, "request").unwrap()["id"], page.headers["x-request-id"].to_str().unwrap(), "{failed}");
}

#[tokio::test]
async fn the_reason_why_it_does_not_serve_is_an_object_too_and_never_left_out() {
    let mut cases = vec![];
    for log in ["info", "latchkey::mail=debug"] {
        let process = Process::new(&[FOR_MACHINES, ("LATCHKEY_LOG", log), ("LATCHKEY_DATA_DIR", "file")]);
        fs::write(process.path("file"), "in the way").unwrap();
        let ran = try_to_serve(process.command(&["serve"]));
        assert_eq!((ran.code, ran.err.lines().count()), (Some(1), 1), "{ran:?}");
        assert!(ran.err.contains("LATCHKEY_DATA_DIR"), "{}", ran.err);
        cases.push(ran.err);
    }
    assert_eq!(lines(&cases[0])[0]["level"], "ERROR");
    assert!(cases[1].starts_with("latchkey: "), "in plain words where the log takes none: {}", cases[1]);
    // A command is answered in words, because an operator has typed it.
    let ran = Process::on_sqlite(&[FOR_MACHINES]).run(&["user", "show", "nobody"]);
    assert!(ran.err.starts_with("latchkey: there is no database"), "{}", ran.err);
}

#[tokio::test]
async fn a_full_queue_of_passwords_is_one_warning_per_minute_and_no_error() {
    let mut process = Process::serving(&[FOR_MACHINES, ("LATCHKEY_RATE_LIMITS", "off")]).await;
    let cores = std::thread::available_parallelism().unwrap().get();
    let client = reqwest::Client::new();
    let mut crowd = tokio::task::JoinSet::new();
    // The queue has 256 places for each core.
    for n in 0..cores * 256 + 200 {
        let form = [("username", format!("nobody{n}")), ("password", HERON.to_owned())];
        let request = client.post(format!("{}/token", process.url)).form(&form);
        crowd.spawn(async move { request.send().await.map(|answer| answer.status().as_u16()) });
    }
    let mut turned_away = 0;
    while turned_away < 20 {
        let answer = crowd.join_next().await.expect("some are refused").unwrap().unwrap();
        turned_away += i32::from(answer == 503);
    }
    crowd.shutdown().await; // the requests that wait leave the queue
    process.stop().await;
    let all = lines(&process.log());
    let busy = |line: &&Value| line.to_string().contains("too many passwords");
    let said: Vec<_> = all.iter().filter(busy).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((&said[0]["level"], &said[0]["turned_away"]), (&"WARN".into(), &1.into()), "{}", said[0]);
    assert!(all.iter().all(|line| line["level"] != "ERROR"), "{}", process.log());
}

#[tokio::test]
async fn what_a_stranger_causes_is_one_line_per_minute_and_not_one_line_each() {
    let mut process = Process::serving(&[]).await;
    for n in 0..40 {
        let mut eve = process.browser();
        eve.cookies.insert("latchkey_visit".to_owned(), format!("nonsense-{n}"));
        let from_afar = |request: RequestBuilder| request.header("sec-fetch-site", "cross-site");
        assert_eq!(eve.send(Method::POST, "/logout", from_afar).await.status, 403);
        let by_another_name = |request: RequestBuilder| request.header("host", "evil.example");
        assert_eq!(eve.send(Method::GET, "/login", by_another_name).await.status, 421);
        assert_eq!(eve.open("/login").await.status, 200);
    }
    process.stop().await;
    let log = process.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN") && !line.contains("root")).collect();
    assert!(matches!(warnings[..], [one] if one.contains("refused") && one.contains("count=1")), "{warnings:#?}");
}

#[tokio::test]
async fn at_debug_each_refused_request_says_why_by_its_request_id() {
    let mut process = Process::serving(&[("LATCHKEY_LOG", "info,latchkey::gate=debug")]).await;
    let mut ids = vec![];
    for n in 0..5 {
        let by_another_name = |request: RequestBuilder| request.header("host", format!("evil{n}.example"));
        let page = process.browser().send(Method::GET, "/login", by_another_name).await;
        ids.push((n, page.headers["x-request-id"].to_str().unwrap().to_owned()));
    }
    process.stop().await;
    for (n, id) in ids {
        let (log, cause) = (process.log(), format!("Host: evil{n}.example"));
        assert!(log.lines().any(|line| line.contains(&id) && line.contains(&cause)), "{id}: {log}");
    }
}

#[test]
fn the_line_that_says_ready_is_an_object_too() {
    let ready = |settings: &[(&str, &str)]| try_to_serve(Process::new(settings).command(&["serve"])).out;
    let line: Value = serde_json::from_str(&ready(&[FOR_MACHINES, ("LATCHKEY_LOG", "error")])).unwrap();
    for field in ["timestamp", "level", "message", "target", "url"] {
        assert!(line[field].is_string(), "{field}: {line}");
    }
    let url = line["url"].as_str().unwrap();
    let message = line["message"].as_str().unwrap();
    assert!(url.starts_with("http://localhost:") && message.contains(&format!("is ready: open {url}")), "{line}");
    assert!(ready(&[]).starts_with("Latchkey is ready: open http://localhost:"), "for an operator it is a sentence");
}
