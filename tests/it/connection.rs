//! Clients that hold a connection instead of using it, and bytes that are no honest request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use latchkey::net::ConnectionLimits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::OTTER;
use crate::app::TestApp;
use crate::browser::Browser;
use crate::process::{Process, until};
use crate::wire::{PATIENCE, Wire, frame};

const GET: &str = "GET /login HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Limits with two short times, for the first request and for the pause.
fn short_limits() -> ConnectionLimits {
    let short = Duration::from_millis(400);
    ConnectionLimits { first_request: short, pause: short, ..ConnectionLimits::default() }
}

async fn app(flags: &[&str], limits: ConnectionLimits) -> TestApp {
    TestApp::start_within(Arc::new(tempfile::tempdir().unwrap()), flags, limits).await
}

fn over_http2() -> reqwest::Client {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    client.http2_prior_knowledge().build().unwrap()
}

/// Returns the status of an answer, or `None` if there was no answer.
fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

#[tokio::test]
async fn a_client_that_sends_a_request_byte_by_byte_is_cut() {
    let app = app(&[], short_limits()).await;
    let head = "GET /login HTTP/1.1\r\nHost: localhost\r\nX-Slow: yes";
    let settings = frame::bytes(frame::SETTINGS, 0, 0, &[]);
    let no_end = frame::bytes(frame::HEADERS, frame::END_STREAM, 1, &frame::get());
    for (first, then) in [
        ("".as_bytes().to_vec(), head.as_bytes()),
        (b"PRI * HT".to_vec(), b""),
        (frame::PREFACE.to_vec(), b""),
        ([frame::PREFACE, &settings, &no_end].concat(), b"\0"),
        (vec![], b""),
    ] {
        let mut wire = Wire::to(&app.url).await;
        wire.say(&first).await;
        let seen = if then.is_empty() { wire.rest().await } else { wire.drip(then).await };
        assert!(!seen.starts_with(b"HTTP/1.1 2"), "{first:?}: {seen:?}");
        assert!(!frame::kinds(&seen).contains(&frame::HEADERS), "{first:?}: {seen:?}");
    }
    // The second request of a connection is cut too.
    let mut wire = Wire::to(&app.url).await;
    wire.say(GET).await;
    assert_eq!(status(&wire.answer().await), Some(200));
    assert_eq!(wire.drip(head.as_bytes()).await, b"");
}

#[tokio::test]
async fn a_client_that_never_reads_the_answer_is_cut() {
    let app = app(&[], short_limits()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address: SocketAddr = app.url.rsplit('/').next().unwrap().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    // Asks for more answers than the buffers of the system hold.
    let ask = async { while stream.write_all(GET.repeat(100).as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, ask).await.expect("the server ends the connection");
    app.browser().open("/login").await.assert_framed(200);
}

#[tokio::test]
async fn a_client_that_opens_no_window_for_the_answer_is_cut() {
    let app = app(&[], short_limits()).await;
    let mut wire = Wire::to(&app.url).await;
    let none = frame::bytes(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]); // INITIAL_WINDOW_SIZE
    let ask = frame::bytes(frame::HEADERS, frame::END_STREAM | frame::END_HEADERS, 1, &frame::get());
    wire.say([frame::PREFACE, &none, &ask].concat()).await;
    let seen = frame::kinds(&wire.rest().await);
    assert!(seen.contains(&frame::HEADERS) && seen.contains(&frame::GO_AWAY), "{seen:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let app = TestApp::start().await;
    let head = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nlogin=";
    let mut wire = Wire::to(&app.url).await;
    wire.say(head).await;
    let (mut sender, connection) = h2::client::handshake(Wire::to(&app.url).await.0).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = axum::http::Request::post(format!("{}/token", app.url)).body(()).unwrap();
    let (answer, _body) = sender.send_request(request, false).unwrap();
    let (one, two) = tokio::join!(wire.rest(), timeout(PATIENCE, answer));
    assert_eq!(status(&String::from_utf8_lossy(&one)), Some(408));
    assert_eq!(two.unwrap().unwrap().status(), 408);
    connection.abort();
}

#[tokio::test]
async fn a_body_without_end_is_refused_before_it_ends() {
    let app = TestApp::start().await;
    for path in ["/login", "/token", "/users/", "/reset-password"] {
        for (length, piece) in [
            ("Content-Length: 10485760", "x".repeat(1024)),
            ("Transfer-Encoding: chunked", format!("400\r\n{}\r\n", "x".repeat(1024))),
        ] {
            let mut wire = Wire::to(&app.url).await;
            wire.say(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n")).await;
            let (mut read, mut write) = wire.0.into_split();
            // It goes on without end. If the server read it, 10 MiB would be over before the server has closed.
            let endless = tokio::spawn(async move { while write.write_all(piece.as_bytes()).await.is_ok() {} });
            let mut seen = vec![];
            let answered = async {
                use tokio::io::AsyncReadExt;
                while read.read_buf(&mut seen).await.is_ok_and(|count| count > 0) {}
            };
            timeout(PATIENCE, answered).await.expect("the server ends the connection");
            assert_eq!(status(&String::from_utf8_lossy(&seen)), Some(413), "{path} with {length}");
            timeout(PATIENCE, endless).await.expect("the server does not take the rest").unwrap();
        }
        // A client that sends everything before it reads is told too.
        let mut wire = Wire::to(&app.url).await;
        wire.say(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10485760\r\n\r\n")).await;
        let sent = timeout(PATIENCE, wire.0.write_all(&vec![b'x'; 10 << 20])).await;
        sent.expect("the server reads").expect("the connection stays that long");
        assert_eq!(status(&wire.answer().await), Some(413), "{path}");
        let huge = over_http2().post(format!("{}{path}", app.url)).body(vec![b'x'; 10 << 20]).send().await;
        assert_eq!(huge.unwrap().status(), 413, "{path} over HTTP/2");
    }
}

#[tokio::test]
async fn one_request_is_never_taken_for_two() {
    let app = app(&[], short_limits()).await;
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = smuggled.len();
    let chunked = |headers: &str| format!("{headers}\r\n\r\n0\r\n\r\n{smuggled}");
    let chunks = |chunks: &str| format!("Transfer-Encoding: chunked\r\n\r\n{chunks}{smuggled}");
    let nothing = |header: &str| format!("{header}\r\n\r\n");
    let refused = [
        chunked("Transfer-Encoding: xchunked"),
        chunked("Transfer-Encoding: chunked, identity"),
        chunked("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        chunked("Transfer-Encoding : chunked"),
        chunked("Transfer-Encoding\t: chunked"),
        chunked("Transfer-Encoding: \x0bchunked"),
        chunked(" Transfer-Encoding: chunked"),
        chunked("X: y\r\n Transfer-Encoding: chunked"),
        chunked("Content-Length: 0\r\nContent-Length: 5"),
        chunked("Content-Length: 5\r\nContent-Length: 0"),
        chunked("Content-Length: 0, 5"),
        chunked("Content-Length: +0"),
        chunked("Content-Length: -1"),
        chunked("Content-Length: 0x5"),
        chunked("Content-Length: 5 5"),
        chunked("Content-Length:"),
        chunked("Content-Length: 99999999999999999999"),
        nothing("X: a\0b"),
        nothing("X\0: a"),
        nothing("X : a"),
        nothing("X: a\rb"),
        nothing("X: a\r\n b"),
        nothing(": a"),
        nothing("no colon"),
        chunks("0x0\r\n\r\n"),
        chunks("+0\r\n\r\n"),
        chunks("-1\r\n\r\n"),
        chunks("g\r\n\r\n"),
        chunks("\r\n\r\n"),
        chunks("1\r\nabc\r\n0\r\n\r\n"),
        chunks("1\nx\n0\n\n"),
        chunks("1\rx\r0\r\r"),
        chunks("10000000000000000\r\n"),
        chunks("1;a\nb\r\nx\r\n0\r\n\r\n"),
    ];
    for bytes in refused {
        let mut wire = Wire::to(&app.url).await;
        wire.say(format!("POST /token HTTP/1.1\r\nHost: localhost\r\n{bytes}")).await;
        let seen = String::from_utf8_lossy(&wire.rest().await).into_owned();
        assert_eq!((status(&seen), seen.matches("HTTP/1.1 ").count()), (Some(400), 1), "{bytes:?}: {seen}");
    }
    // Where the specification leaves a choice, this is one request: the connection ends, or the rest is its body.
    let one = [
        chunked("Content-Length: 5\r\nTransfer-Encoding: chunked"),
        chunked("Transfer-Encoding: chunked\r\nContent-Length: 5"),
        format!("Content-Length: {length}\r\nContent-Length: {length}\r\n\r\n{smuggled}"),
        format!("Content-Length: {length}\r\n\r\n{smuggled}"),
        format!("Content-Length: {length}\r\nX-A: b\nX-B: c\r\n\r\n{smuggled}"),
        format!("Content-Length: {length}\n\n{smuggled}"),
    ];
    for bytes in one {
        let mut wire = Wire::to(&app.url).await;
        wire.say(format!("POST /token HTTP/1.1\r\nHost: localhost\r\n{bytes}")).await;
        let seen = String::from_utf8_lossy(&wire.rest().await).into_owned();
        assert_eq!(seen.matches("HTTP/1.1 ").count(), 1, "{bytes:?}: {seen}");
        assert!(!seen.contains("alive"), "{bytes:?}: {seen}");
    }
    let mut wire = Wire::to(&app.url).await;
    wire.say(format!("GET /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{smuggled}")).await;
    let seen = String::from_utf8_lossy(&wire.rest().await).into_owned();
    assert_eq!((status(&seen), seen.contains("alive")), (Some(200), false), "{seen}");
    let mut wire = Wire::to(&app.url).await;
    wire.say(format!(
        "POST /token HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
    ))
    .await;
    assert_eq!(status(&String::from_utf8_lossy(&wire.rest().await)), Some(400));
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let app = TestApp::start().await;
    let long = "x".repeat(17 * 1024);
    let many = "X: y\r\n".repeat(101);
    for (head, expected) in [
        (format!("GET /login HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET /login HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"), 431),
        (format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 431),
    ] {
        let mut wire = Wire::to(&app.url).await;
        wire.say(&head).await;
        let seen = String::from_utf8_lossy(&wire.rest().await).into_owned();
        assert_eq!(status(&seen), Some(expected), "{}: {seen}", &head[..40]);
    }
    let answer = over_http2().get(format!("{}/login", app.url)).header("x", &long).send().await;
    assert!(answer.as_ref().is_ok_and(|answer| answer.status() == 431), "{answer:?}");
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_end_the_connection() {
    let app = TestApp::start().await;
    let mut wire = Wire::to(&app.url).await;
    let mut bytes = [frame::PREFACE, &frame::bytes(frame::SETTINGS, 0, 0, &[])].concat();
    for stream in (1..10_000).step_by(2) {
        bytes.extend(frame::bytes(frame::HEADERS, frame::END_STREAM | frame::END_HEADERS, stream, &frame::get()));
        bytes.extend(frame::bytes(frame::RESET, 0, stream, &[0, 0, 0, 8]));
    }
    wire.say(bytes).await;
    let seen = frame::kinds(&wire.rest().await);
    assert!(seen.contains(&frame::GO_AWAY), "{seen:?}");
    app.browser().open("/login").await.assert_framed(200);
}

#[tokio::test]
async fn a_head_in_endless_pieces_ends_the_connection() {
    let app = TestApp::start().await;
    let mut wire = Wire::to(&app.url).await;
    let settings = frame::bytes(frame::SETTINGS, 0, 0, &[]);
    wire.say([frame::PREFACE, &settings, &frame::bytes(frame::HEADERS, frame::END_STREAM, 1, &frame::get())].concat())
        .await;
    let piece = frame::bytes(frame::CONTINUATION, 0, 1, b"\x00\x01x\x01y");
    let flood = async { while wire.0.write_all(&piece.repeat(100)).await.is_ok() {} };
    timeout(PATIENCE, flood).await.expect("the server ends the connection");
    app.browser().open("/login").await.assert_framed(200);
}

#[tokio::test]
async fn users_log_in_over_http_2() {
    let app = TestApp::start().await;
    app.user("sam", OTTER).await;
    let health = over_http2().get(format!("{}/healthz", app.url)).send().await.unwrap();
    assert_eq!(health.version(), reqwest::Version::HTTP_2);
    let mut sam = Browser::over(over_http2(), &app.url);
    assert_eq!(sam.log_in("sam", OTTER).await.path, "/profile");
    assert!(sam.is_logged_in().await);
}

#[tokio::test]
async fn one_client_does_not_take_all_connections() {
    let three = ConnectionLimits { per_client: 3, ..ConnectionLimits::default() };
    let limited = app(&[], three).await;
    let mut wires = vec![];
    for _ in 0..3 {
        let mut wire = Wire::to(&limited.url).await;
        wire.say(GET).await;
        assert_eq!(status(&wire.answer().await), Some(200));
        wires.push(wire);
    }
    let mut fourth = Wire::to(&limited.url).await;
    fourth.say(GET).await;
    assert_eq!(fourth.rest().await, b"");
    wires.pop();
    let again = until("a connection that ended makes room", async || {
        let mut wire = Wire::to(&limited.url).await;
        wire.say(GET).await;
        Some(wire.answer().await).filter(|answer| !answer.is_empty())
    });
    assert_eq!(status(&again.await), Some(200));
    for flags in [["--trusted-proxies", "127.0.0.0/8"], ["--rate-limits", "off"]] {
        let free = app(&flags, three).await;
        for _ in 0..10 {
            let mut wire = Wire::to(&free.url).await;
            wire.say(GET).await;
            assert_eq!(status(&wire.answer().await), Some(200), "{flags:?}");
            wires.push(wire);
        }
    }
}

#[tokio::test]
async fn a_full_server_ends_the_connection_that_has_been_idle_longest() {
    let app = app(&[], ConnectionLimits { connections: 3, ..ConnectionLimits::default() }).await;
    let mut wires = vec![];
    for _ in 0..3 {
        let mut wire = Wire::to(&app.url).await;
        wire.say(GET).await;
        assert_eq!(status(&wire.answer().await), Some(200));
        wires.push(wire);
    }
    let [mut first, mut second, mut third] = wires.try_into().ok().unwrap();
    first.say(GET).await;
    assert_eq!(status(&first.answer().await), Some(200), "so the second one has been idle longest");
    let mut fourth = Wire::to(&app.url).await;
    fourth.say(GET).await;
    assert_eq!(status(&fourth.answer().await), Some(200));
    assert_eq!(second.rest().await, b"");
    for wire in [&mut first, &mut third, &mut fourth] {
        wire.say(GET).await;
        assert_eq!(status(&wire.answer().await), Some(200));
    }
}

/// Asks for as many open files as the system gives to this process.
fn allow_many_files() {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
}

#[tokio::test]
async fn a_thousand_slow_connections_do_not_delay_a_user() {
    allow_many_files();
    let app = app(&["--rate-limits", "off"], ConnectionLimits::default()).await;
    app.user("sam", OTTER).await;
    let mut slow = vec![];
    for _ in 0..1000 {
        let mut wire = Wire::to(&app.url).await;
        wire.say("POST /login HTTP/1.1\r\nHost: local").await;
        slow.push(wire);
    }
    assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile");
    drop(slow);
}

#[tokio::test]
async fn a_client_that_asks_and_leaves_costs_no_hash() {
    // One hash takes seconds. Five hundred of them would leave no time for anything else here.
    let app =
        app(&["--hash-memory", "65536", "--hash-passes", "20", "--rate-limits", "off"], ConnectionLimits::default())
            .await;
    app.user("sam", OTTER).await;
    let body = "login=sam&password=velvet+otter+bakes+rye";
    let form = "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin";
    let post =
        format!("POST /login HTTP/1.1\r\nHost: localhost\r\n{form}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut leaving = JoinSet::new();
    for _ in 0..500 {
        let (url, post) = (app.url.clone(), post.clone());
        leaving.spawn(async move {
            let mut wire = Wire::to(&url).await;
            wire.say(post).await;
            wire.0.set_zero_linger().unwrap(); // a reset, not an end
        });
        if leaving.len() == 50 {
            leaving.join_next().await;
        }
    }
    leaving.join_all().await;
    app.browser().open("/login").await.assert_framed(200);
    assert_eq!(app.browser().log_in("sam", OTTER).await.path, "/profile");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_clients_that_say_nothing() {
    let app = TestApp::start().await;
    let url = app.url.clone();
    let silent = TcpStream::connect(url.rsplit('/').next().unwrap()).await.unwrap();
    let [mut half, mut kept, mut preface] = [Wire::to(&url).await, Wire::to(&url).await, Wire::to(&url).await];
    half.say("GET /login HTTP/1.1\r\n").await;
    preface.say([frame::PREFACE, &frame::bytes(frame::SETTINGS, 0, 0, &[])].concat()).await;
    kept.say(GET).await;
    assert_eq!(status(&kept.answer().await), Some(200));
    let client = over_http2();
    assert_eq!(client.get(format!("{url}/healthz")).send().await.unwrap().status(), 200);
    timeout(PATIENCE, app.stop()).await.expect("it stops before the hard end");
    for mut wire in [half, kept, preface, Wire(silent)] {
        let seen = wire.rest().await;
        assert!(!seen.starts_with(b"HTTP/1.1 2"), "{seen:?}");
    }
}

#[tokio::test]
async fn no_more_connections_are_taken_than_there_may_be_files() {
    let process = Process::new(&[]);
    let serve = process.command(&["serve"]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 300 && exec \"$0\" serve"]).arg(serve.get_program());
    limited.current_dir(process.dir.path()).env_clear().env("LATCHKEY_LISTEN", "127.0.0.1:0");
    let log = process.path("log");
    let log_to = std::fs::File::create(&log).unwrap();
    let mut child = limited.stdout(std::process::Stdio::null()).stderr(log_to).spawn().unwrap();
    let said = until("the server warns of it", async || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.lines().find(|line| line.contains("open files")).map(str::to_owned)
    });
    let said = said.await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.contains("connections=172") && said.contains("WARN"), "{said}");
}
