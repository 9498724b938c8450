//! Faults of PostgreSQL, and of one node of several.

use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::site::free_port;
use crate::stage::{Options, Report, Stage};

/// How long PostgreSQL is paused. It is longer than any of the program's own limits.
const PAUSED: Duration = Duration::from_secs(60);

/// Ends all connections of clients but this one.
const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";

/// PostgreSQL shuts down at once, and starts again.
pub async fn restarted(options: Options) -> anyhow::Result<Report> {
    let mut stage = Stage::postgres(&options, 1).await?;
    stage.open_until_fault().await;
    let down = stage.chance.pause(0, 2000);
    stage.cluster.as_mut().context("no cluster")?.restart_immediately(down).await?;
    stage.recover().await?;
    stage.finish().await
}

/// PostgreSQL does not run for a minute, and its connections stay open.
pub async fn paused(options: Options) -> anyhow::Result<Report> {
    let mut stage = Stage::postgres(&options, 1).await?;
    stage.open_until_fault().await;
    let cluster = stage.cluster.as_ref().context("no cluster")?;
    cluster.signal(Signal::STOP)?;
    sleep(PAUSED).await;
    cluster.signal(Signal::CONT)?;
    stage.recover().await?;
    stage.finish().await
}

/// The operator ends all connections, some times in a row.
pub async fn terminated(options: Options) -> anyhow::Result<Report> {
    let mut stage = Stage::postgres(&options, 1).await?;
    stage.open_until_fault().await;
    let cluster = stage.cluster.as_ref().context("no cluster")?;
    for _ in 0..2 + stage.chance.below(4) {
        cluster.ask(TERMINATE).await?;
        sleep(stage.chance.pause(50, 400)).await;
    }
    stage.recover().await?;
    stage.finish().await
}

/// The network cuts all connections, and takes no new ones for a while.
pub async fn cut(options: Options) -> anyhow::Result<Report> {
    let mut stage = Stage::postgres(&options, 1).await?;
    stage.open_until_fault().await;
    let proxy = stage.proxy.as_ref().context("no proxy")?;
    for _ in 0..=stage.chance.below(3) {
        proxy.close(true);
        proxy.cut();
        sleep(stage.chance.pause(0, 1200)).await;
        proxy.close(false);
        sleep(stage.chance.pause(0, 600)).await;
    }
    stage.recover().await?;
    stage.finish().await
}

/// The primary is killed, its synchronous standby becomes the primary, and the address moves there.
pub async fn replaced(options: Options) -> anyhow::Result<Report> {
    let mut stage = Stage::empty(&options).await?;
    let options_of_primary = ["synchronous_standby_names=*", "synchronous_commit=local"];
    let primary = Cluster::start(free_port()?, &options_of_primary).await?;
    let standby = primary.standby(free_port()?).await?;
    stage.connect_to(primary).await?;
    // From now on, a commit is acknowledged when the standby has it on its disk.
    let primary = stage.cluster.as_ref().context("no cluster")?;
    primary.ask("ALTER ROLE latchkey SET synchronous_commit = on").await?;
    for _ in 0..2 {
        stage.add_node(&options.binary).await?;
    }
    stage.open_until_fault().await;
    stage.cluster.as_mut().context("no cluster")?.kill()?;
    sleep(stage.chance.pause(0, 1000)).await;
    standby.promote().await?;
    let proxy = stage.proxy.as_ref().context("no proxy")?;
    proxy.lead_to(standby.port);
    proxy.cut();
    stage.cluster = Some(standby);
    stage.recover().await?;
    stage.finish().await
}

/// One of two nodes is killed and stays down for a while.
pub async fn node_killed(options: Options) -> anyhow::Result<Report> {
    let mut stage = Stage::postgres(&options, 2).await?;
    stage.site.allow(true, false);
    let balancer = stage.site.balance();
    stage.open_until_fault().await;
    let victim = stage.chance.below(2);
    stage.site.kill(victim)?;
    sleep(stage.chance.pause(500, 2500)).await;
    stage.site.start(victim).await?;
    stage.recover().await?;
    let report = stage.finish().await;
    balancer.abort();
    report
}

/// The nodes are stopped and started one after the other, each with the binary that it is given.
async fn rolled(mut stage: Stage) -> anyhow::Result<Report> {
    let balancer = stage.site.balance();
    stage.open_until_fault().await;
    for node in 0..2 {
        stage.site.stop(node).await?;
        let binary = stage.options.binary.clone();
        stage.site.upgrade(node, &binary);
        stage.site.start(node).await?;
        sleep(stage.chance.pause(300, 1000)).await;
    }
    stage.recover().await?;
    let report = stage.finish().await;
    balancer.abort();
    report
}

pub async fn rolling_restart(options: Options) -> anyhow::Result<Report> {
    rolled(Stage::postgres(&options, 2).await?).await
}

/// Both nodes run the previous version at first. For a while, one of each version serves.
pub async fn rolling_upgrade(options: Options) -> anyhow::Result<Report> {
    let stage = Stage::postgres(&options, 0).await?;
    let previous = options.previous.as_ref().context("--previous COMMIT is needed")?;
    for _ in 0..2 {
        stage.add_node(previous).await?;
    }
    rolled(stage).await
}
