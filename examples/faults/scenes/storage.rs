//! Faults of the machine under SQLite: crashes, the disk, the lock, the clock.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use latchkey::db::{DatabaseUrl, Db};
use rustix::process::{Pid, Signal, kill_process};
use sea_orm::ConnectionTrait;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::stage::{Options, Report, Stage};

/// The size of the small disk. The migrated database, its log and its index are 1 MB.
const DISK: &str = "size=6m,mode=700";

/// `kill -9` at random, up to three times.
pub async fn kill(options: Options) -> anyhow::Result<Report> {
    let mut stage = Stage::sqlite(&options).await?;
    stage.site.allow(true, true);
    stage.open_until_fault().await;
    for _ in 0..=stage.chance.below(3) {
        stage.site.kill(0)?;
        stage.site.start(0).await?;
        sleep(stage.chance.pause(0, 800)).await;
    }
    stage.recover().await?;
    stage.finish().await
}

/// A mounted folder, which is unmounted in the end.
struct Mount(TempDir);

impl Mount {
    fn small() -> anyhow::Result<Self> {
        let at = tempfile::Builder::new().prefix("latchkey-faults-").tempdir()?;
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", DISK, "latchkey-faults"]).arg(at.path()).output()?;
        ensure!(mounted.status.success(), "mount: {}", String::from_utf8_lossy(&mounted.stderr));
        Ok(Self(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the nodes of the stage may still have it open.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Another program fills the disk, and its file is deleted after a while.
pub async fn disk_full(options: Options) -> anyhow::Result<Report> {
    let mut stage = Stage::empty(&options).await?;
    let mount = Mount::small()?;
    let data = mount.0.path().to_owned();
    stage.settings.insert("LATCHKEY_DATA_DIR".into(), data.display().to_string());
    stage.add_node(&options.binary).await?;
    stage.open_until_fault().await;
    let filler = data.join("filler");
    let mut file = File::create(&filler)?;
    let full = (0..64 * 1024).find_map(|_| file.write_all(&[7; 1024]).err());
    ensure!(full.is_some(), "the disk did not get full");
    sleep(stage.chance.pause(1500, 3500)).await;
    fs::remove_file(filler)?;
    drop(file);
    stage.recover().await?;
    stage.finish().await
}

/// A tracer of a process, which ends with this value. The process goes on.
struct Tracer(Child);

impl Tracer {
    fn attach(pid: Pid, arguments: &[&str], log: &Path) -> anyhow::Result<Self> {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-p", &pid.as_raw_nonzero().to_string()]).args(arguments);
        let strace = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log)?).spawn();
        Ok(Self(strace.context("strace is needed: apt-get install strace")?))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // With SIGINT, strace detaches. It fails only if strace has ended.
        let _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        let _ = self.0.wait();
    }
}

/// Every `fsync` of the program fails for a while.
pub async fn fsync_fails(options: Options) -> anyhow::Result<Report> {
    let mut stage = Stage::sqlite(&options).await?;
    stage.open_until_fault().await;
    let trace = stage.site.dir.path().join("strace");
    let arguments = ["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"];
    let tracer = Tracer::attach(stage.site.pid(0)?, &arguments, &trace)?;
    sleep(stage.chance.pause(1500, 3500)).await;
    drop(tracer);
    let failed = fs::read_to_string(&trace)?.matches("(INJECTED)").count();
    ensure!(failed > 0, "no fsync failed: {}", fs::read_to_string(&trace)?);
    stage.recover().await?;
    stage.finish().await
}

/// Another process holds SQLite's write lock, for less or for more than the five seconds that the program waits.
pub async fn locked(options: Options) -> anyhow::Result<Report> {
    let mut stage = Stage::sqlite(&options).await?;
    let file = stage.site.dir.path().join("data/latchkey.db");
    let other = Db::open_existing(&DatabaseUrl::of_file(&file).map_err(|why| anyhow::anyhow!("{why}"))?).await?;
    stage.open_until_fault().await;
    let tx = other.begin().await?;
    tx.execute_unprepared("UPDATE users SET full_name = full_name").await?;
    sleep(stage.chance.pause(1000, 9000)).await;
    tx.rollback().await?;
    other.close().await?;
    stage.recover().await?;
    stage.finish().await
}

/// Returns the library of libfaketime.
pub fn faketime() -> Option<OsString> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    folders.map(|dir| dir.join("faketime/libfaketime.so.1")).find(|path| path.exists()).map(PathBuf::into_os_string)
}

/// The clock of the machine is two hours ahead for a while, and then right again.
pub async fn clock(options: Options) -> anyhow::Result<Report> {
    let mut stage = Stage::empty(&options).await?;
    let time = stage.site.dir.path().join("time");
    let set = |offset: &str| -> anyhow::Result<()> {
        // Renamed, so that no reader finds half of it.
        let half = time.with_extension("half");
        fs::write(&half, format!("{offset}\n"))?;
        Ok(fs::rename(half, &time)?)
    };
    set("+0")?;
    let library = faketime().context("libfaketime is needed: apt-get install faketime")?;
    for (name, value) in [
        ("LD_PRELOAD", library.to_string_lossy().into_owned()),
        ("FAKETIME_TIMESTAMP_FILE", time.display().to_string()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        // The limits are part of what a clock disturbs. Each user has an address of the network for benchmarks.
        ("LATCHKEY_RATE_LIMITS", "on".to_owned()),
        ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8".to_owned()),
    ] {
        stage.settings.insert(name.to_owned(), value);
    }
    stage.site.allow_age();
    stage.add_node(&options.binary).await?;
    stage.open_until_fault().await;
    set("+2h")?;
    sleep(stage.chance.pause(2500, 4000)).await;
    set("+0")?;
    sleep(Duration::from_millis(1200)).await;
    stage.recover().await?;
    stage.finish().await
}
