//! The database of a test: the SQLite file in its folder, or a database of its own on the PostgreSQL server that
//! `LATCHKEY_TEST_DATABASE` names. `tests/on_postgres` starts such a server.

use std::fs::{self, DirBuilder};
use std::future::poll_fn;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::pin::pin;
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Poll};
use std::thread;

use latchkey::db::Db;
use latchkey::secret::Secret;
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};

/// Ends a test that is about SQLite itself, when the tests run on PostgreSQL. `./check` lists the reasons.
macro_rules! sqlite_only {
    ($why:literal) => {
        if crate::database::on_postgres() {
            println!("only on SQLite: {}", $why);
            return;
        }
    };
}
pub(crate) use sqlite_only;

/// A database whose tables are those of this program. Databases of tests are copies of it, which takes less time than to
/// bring an empty one up to date.
const TEMPLATE: &str = "latchkey_template";

/// Polls a future so many times, or until it is ready, and drops it, as a request is dropped when its client goes.
pub async fn give_up_after(steps: usize, work: impl Future) {
    let (mut work, mut polls) = (pin!(work), 0);
    let given_up = |context: &mut Context<'_>| {
        polls += 1;
        let done = work.as_mut().poll(context).is_ready();
        if done || polls == steps { Poll::Ready(()) } else { Poll::Pending }
    };
    poll_fn(given_up).await;
}

fn server() -> Option<String> {
    std::env::var("LATCHKEY_TEST_DATABASE").ok()
}

/// Returns whether the tests run on PostgreSQL.
pub fn on_postgres() -> bool {
    server().is_some()
}

/// Returns the address of the folder's database on PostgreSQL, with this program's tables. Makes the database if there is
/// none. Returns `None` if the tests run on SQLite.
pub fn migrated(dir: &Path) -> Option<String> {
    static MADE: OnceLock<()> = OnceLock::new();
    let server = server()?;
    MADE.get_or_init(|| {
        make(&server, TEMPLATE, "template0");
        let url = format!("{server}/{TEMPLATE}");
        wait(async move {
            let db = Db::open(&url.parse().unwrap()).await.unwrap();
            db.migrate().await.unwrap();
            db.close().await.unwrap();
        });
    });
    Some(make(&server, &name(dir), TEMPLATE))
}

/// As [`migrated`], without tables.
pub fn empty(dir: &Path) -> Option<String> {
    Some(make(&server()?, &name(dir), "template0"))
}

/// Deletes the folder's database, after the test: it waits for nothing.
pub fn forget(dir: &Path) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let Some(server) = server() else { return };
    let drop = format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", name(dir));
    thread::spawn(move || {
        let _turn = ONE_AT_A_TIME.lock();
        wait(async move {
            // An error means that the server has been stopped, because all tests have ended.
            let Ok(db) = Database::connect(format!("{server}/postgres")).await else { return };
            let _ = db.execute_unprepared(&drop).await;
        });
    });
}

/// Returns the name of the folder's database. A server that is started again in the same folder finds the same one.
fn name(dir: &Path) -> String {
    format!("latchkey{}", dir.file_name().unwrap().to_str().unwrap())
}

fn make(server: &str, name: &str, template: &str) -> String {
    let find = format!("SELECT 1 FROM pg_database WHERE datname = '{name}'");
    let create = format!("CREATE DATABASE \"{name}\" TEMPLATE {template}");
    let admin = format!("{server}/postgres");
    wait(async move {
        let db = Database::connect(admin).await.unwrap();
        if db.query_one_raw(Statement::from_string(DbBackend::Postgres, find)).await.unwrap().is_none() {
            db.execute_unprepared(&create).await.unwrap();
        }
        db.close().await.unwrap();
    });
    format!("{server}/{name}")
}

/// Runs to the end on a thread of its own: the caller may be in a test's runtime already.
fn wait(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    thread::spawn(move || runtime().block_on(work)).join().unwrap();
}

/// Makes the file of the secret, as an operator does who uses PostgreSQL: no server makes one there.
pub fn make_secret(file: &Path) {
    if !file.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(file.parent().unwrap()).unwrap();
        Secret::load_or_create(file).unwrap();
    }
}

/// Returns everything that the database keeps, also what was deleted as far as the SQLite file still has it.
pub async fn contents(db: &Db, dir: &Path) -> Vec<u8> {
    if !on_postgres() {
        let read = |file| fs::read(dir.join(file)).unwrap_or_default();
        return [read("latchkey.db"), read("latchkey.db-wal")].concat();
    }
    let dump = "SELECT string_agg(query_to_xml('SELECT * FROM ' || tablename, true, false, '')::text, ' ') \
                FROM pg_tables WHERE schemaname = 'public'";
    let dump = Statement::from_string(DbBackend::Postgres, dump);
    db.read().query_one_raw(dump).await.unwrap().unwrap().try_get_by_index::<String>(0).unwrap().into_bytes()
}
