//! Faults of the mail server, and crashes between the steps of an email.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use crate::catcher::Mode;
use crate::stage::{Options, Report, Stage};

/// The mail server misbehaves for a while. The site must not notice it: no page fails, and every letter arrives in the end.
async fn misbehaves(options: Options, mode: Mode, (least, most): (usize, usize)) -> anyhow::Result<Report> {
    let mut stage = Stage::sqlite(&options).await?;
    stage.open();
    sleep(stage.chance.pause(1000, 3000)).await;
    stage.mail.behave(mode);
    sleep(stage.chance.pause(least, most)).await;
    stage.mail.behave(Mode::Takes);
    stage.recover().await?;
    stage.finish().await
}

pub async fn refused(options: Options) -> anyhow::Result<Report> {
    misbehaves(options, Mode::Closed, (2000, 4500)).await
}

/// A letter has 15 seconds. The mail server drips for longer, so the first attempts end without an answer.
pub async fn drips(options: Options) -> anyhow::Result<Report> {
    misbehaves(options, Mode::Drips, (16_000, 20_000)).await
}

pub async fn greylists(options: Options) -> anyhow::Result<Report> {
    misbehaves(options, Mode::Greylists, (3000, 4500)).await
}

pub async fn rejects(options: Options) -> anyhow::Result<Report> {
    misbehaves(options, Mode::Rejects, (1500, 3000)).await
}

pub async fn drops_in_data(options: Options) -> anyhow::Result<Report> {
    misbehaves(options, Mode::DropsInData, (2000, 4500)).await
}

pub async fn bad_certificate(options: Options) -> anyhow::Result<Report> {
    misbehaves(options, Mode::BadCertificate, (2000, 4500)).await
}

pub async fn no_starttls(options: Options) -> anyhow::Result<Report> {
    misbehaves(options, Mode::NoStartTls, (2000, 4500)).await
}

/// The program is killed when it has connected to the mail server: the row is written and leased, and the letter is not sent.
pub async fn killed_before_sending(options: Options) -> anyhow::Result<Report> {
    let mut stage = Stage::sqlite(&options).await?;
    stage.site.allow(true, true);
    stage.open_until_fault().await;
    // Pooled connections end, so that there is a next one.
    stage.mail.behave(Mode::Closed);
    sleep(Duration::from_millis(50)).await;
    let held = stage.mail.hold(Mode::HoldsConnection).await?;
    sleep(stage.chance.pause(0, 50)).await;
    stage.site.kill(0)?;
    drop(held);
    stage.mail.behave(Mode::Takes);
    stage.site.start(0).await?;
    stage.recover().await?;
    stage.finish().await
}

/// The program is killed when the mail server's 250 is in its socket, and not read yet.
pub async fn killed_before_recording(options: Options) -> anyhow::Result<Report> {
    let mut stage = Stage::sqlite(&options).await?;
    stage.site.allow(true, true);
    stage.open_until_fault().await;
    let held = stage.mail.hold(Mode::HoldsAnswer).await?;
    stage.site.signal(0, Signal::STOP)?;
    let _ = held.send(()); // it fails only if the connection is lost
    sleep(Duration::from_millis(100)).await;
    stage.site.kill(0)?;
    stage.mail.behave(Mode::Takes);
    stage.site.start(0).await?;
    stage.recover().await?;
    stage.finish().await
}
