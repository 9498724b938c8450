//! Forward-auth with real proxies and several nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use latchkey::accounts::{operator, user};

use crate::app::TestApp;
use crate::authorize::Wiki;
use crate::changes::at_server;
use crate::cluster::{Cluster, SECRET};
use crate::forward::{DOMAIN, SITE, WIKI, ask, browser, remote, signed_up};
use crate::process::until;
use crate::{HERON, OTTER};

/// Starts two nodes with an app that stands behind a proxy.
async fn two_nodes(cluster: &Cluster) -> [TestApp; 2] {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let flags = ["--database-url", &*cluster.url, "--secret", SECRET, "--rate-limits=off", "--public-url", SITE];
    let flags = [&flags[..], &["--gate-domain", DOMAIN, "--trusted-proxies", "127.0.0.1"]].concat();
    let nodes = [TestApp::start_in(folder.clone(), &flags).await, TestApp::start_in(folder, &flags).await];
    Wiki::register(&nodes[0], |new| (new.redirect_uris, new.hosts) = (vec![], vec![WIKI.parse().unwrap()])).await;
    nodes
}

#[tokio::test]
async fn a_session_that_ended_at_one_node_is_refused_at_the_other_within_a_second() {
    let cluster = Cluster::start().await;
    let [here, other] = two_nodes(&cluster).await;
    signed_up(&here, "sam").await;
    for way in ["log-out", "password", "disabled"] {
        let mut sam = browser(&here);
        let password = if way == "disabled" { HERON } else { OTTER };
        assert_eq!(sam.log_in("sam", password).await.path, "/profile", "{way}");
        let (before, there) = (sam.clone(), at_server(&sam, &other));
        // The other node has the session in memory.
        until("it is in memory", async || {
            assert_eq!(remote(&ask(&there, WIKI, "/", &[]).await)[0], "sam");
            let pointer = other.app.forward_keys.verify(&sam.cookies["latchkey_gate"], other.app.now()).unwrap();
            other.app.db.changes().mark(pointer.user).map(|_| ())
        })
        .await;
        match way {
            "log-out" => {
                sam.log_out().await;
            }
            "password" => {
                let form = sam.open("/profile/password").await.form("/profile/password");
                sam.submit(form.fill("current_password", OTTER).fill("new_password", HERON)).await;
            }
            _ => {
                let row = user::by_login(here.app.db.read(), "sam").await.unwrap().unwrap();
                operator::disable(&here.app.db, &row, here.app.now()).await.unwrap();
            }
        }
        let ended = Instant::now();
        for node in [&before, &there] {
            until("it is refused", async || (ask(node, WIKI, "/", &[]).await.status == 401).then_some(())).await;
        }
        assert!(ended.elapsed() < Duration::from_secs(1), "{way}: {:?}", ended.elapsed());
    }
}
