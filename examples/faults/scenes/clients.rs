//! Faults of clients.

use anyhow::ensure;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::ledger::Answer;
use crate::stage::{Options, Report, Stage, USERS};
use crate::user::User;

/// How many users there are who do not wait.
const CROWD: usize = 6;

/// The longest that one of them waits, in milliseconds. In a crowd, a change of the name takes about as long.
const PATIENCE: usize = 25;

/// Users change their names again and again, and go before the answer: each of their requests ends wherever it is then.
async fn gone(mut stage: Stage) -> anyhow::Result<Report> {
    let mut crowd = vec![];
    for number in USERS..USERS + CROWD {
        let mut user = User::new(number, stage.options.seed, &stage.site, &stage.mail);
        user.sign_up().await?;
        ensure!(user.rename_once().await? == Answer::Done, "no change of the name");
        crowd.push(user);
    }
    stage.open_until_fault().await;
    let hasty = join_all(crowd.iter().map(be_hasty));
    let _ = timeout(stage.chance.pause(4000, 6000), hasty).await; // they go on until then
    stage.recover().await?;
    stage.finish().await
}

async fn be_hasty(user: &User) {
    loop {
        let _ = timeout(user.chance.pause(0, PATIENCE), user.rename_once()).await;
    }
}

pub async fn gone_from_sqlite(options: Options) -> anyhow::Result<Report> {
    gone(Stage::sqlite(&options).await?).await
}

pub async fn gone_from_postgres(options: Options) -> anyhow::Result<Report> {
    gone(Stage::postgres(&options, 1).await?).await
}
