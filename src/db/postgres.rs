//! The first connection to PostgreSQL, and what an operator has to do if it fails.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use sea_orm::DbErr;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::{self, ConnectOptions, Connection, Error, error::DatabaseError};
use tokio::time::timeout;

use super::STATEMENTS;

/// How long PostgreSQL may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection of the pool may take to show that it is alive.
const ALIVE_WITHIN: Duration = Duration::from_secs(2);

/// Returns whether a connection of the pool answers. One whose other end has gone without a word would keep each request that
/// takes it until the request's time is up.
///
/// # Errors
/// If it does not answer. The pool closes it then, and takes another one.
pub(super) async fn answers(connection: &mut PgConnection) -> Result<bool, Error> {
    timeout(ALIVE_WITHIN, connection.ping()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(true)
}

/// Connects once, before there is a pool. The pool would take a refusal for a server that is starting, connect again for
/// ten seconds, and then say only that it waited. The service manager can start Latchkey again (systemd: `Restart=`).
///
/// # Errors
/// One line that says what to do. It holds no password.
pub(super) async fn try_once(url: &str) -> Result<(), DbErr> {
    let options = PgConnectOptions::from_str(url).map_err(|why| DbErr::Custom(why.to_string()))?;
    // The library's log would repeat a part of the error.
    let options = adapt(options).disable_statement_logging();
    let why = match timeout(PATIENCE, probe(&options)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => reason(&options, &why),
        Err(_) => format!("{} has not answered for {} seconds", place(&options), PATIENCE.as_secs()),
    };
    Err(DbErr::Custom(why))
}

/// Keeps all statements prepared, and leaves out a parameter that PgBouncer refuses from any client. It is about floating-point
/// numbers, which no table has.
pub(super) fn adapt(options: PgConnectOptions) -> PgConnectOptions {
    options.extra_float_digits(None).statement_cache_capacity(STATEMENTS)
}

/// Connects, and makes sure that a prepared statement is still there in the next transaction.
///
/// PgBouncer in transaction mode gives each transaction of a client another of its connections. So a second client takes
/// the connection that the first one used, and the first one uses its statement again, on another connection. Without a
/// pooler the statement belongs to the client's own connection, and PgBouncer from 1.21 on can move it.
async fn probe(options: &PgConnectOptions) -> Result<(), Error> {
    let use_statement = async |client: &mut PgConnection| -> Result<i32, Error> {
        // A query with an argument is prepared, and kept under a name.
        sqlx::query_scalar("SELECT pg_backend_pid() + $1::int").bind(0).fetch_one(client).await
    };
    let mut first = PgConnection::connect_with(options).await?;
    use_statement(&mut first).await?;
    // There may be no room for a second connection, which is no reason not to start.
    if let Ok(mut second) = PgConnection::connect_with(options).await {
        let other = second.begin().await?;
        use_statement(&mut first).await?;
        other.rollback().await?;
        let _ = second.close().await; // what it was for is done
    }
    let _ = first.close().await; // the connection has already shown that the database can be used
    Ok(())
}

/// Returns the server's host and port, or its socket.
fn place(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

fn reason(options: &PgConnectOptions, error: &Error) -> String {
    match error {
        Error::Io(why) => unreachable(options, why),
        Error::Database(answer) => refused(options, answer.as_ref()),
        other => other.to_string(),
    }
}

fn unreachable(options: &PgConnectOptions, why: &io::Error) -> String {
    let place = place(options);
    let words = why.to_string();
    match why.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nothing listens at {place} (connection refused); start PostgreSQL, or correct the host and port")
        }
        io::ErrorKind::NotFound => {
            format!("there is no socket in {place}; start PostgreSQL, or correct the folder")
        }
        // The standard library has no kind for a host that cannot be found.
        _ if words.contains("lookup") => {
            format!("the host {} cannot be found; correct it ({words})", options.get_host())
        }
        _ => format!("cannot reach {place}: {words}"),
    }
}

/// Returns what to do about an error that PostgreSQL itself answered (PostgreSQL, Appendix A).
fn refused(options: &PgConnectOptions, answer: &dyn DatabaseError) -> String {
    let (place, user) = (place(options), options.get_username());
    match answer.code().as_deref() {
        // A prepared statement that is not there, or that another client has given this name (see `probe`).
        Some("26000" | "42P05") => format!(
            "the pooler at {place} gives each transaction another connection, and loses prepared statements; set PgBouncer to \
             pool_mode=session, or to max_prepared_statements=200 (from PgBouncer 1.21 on), or connect to PostgreSQL itself"
        ),
        Some("28P01") => format!("the password of {user} is wrong, says PostgreSQL at {place}"),
        Some("3D000") => {
            let (host, port) = (
                options.get_socket().map_or(options.get_host().into(), |dir| dir.to_string_lossy()),
                options.get_port(),
            );
            let name = options.get_database().unwrap_or(user);
            format!("there is no database {name}; make it: createdb --host={host} --port={port} --owner={user} {name}")
        }
        _ => format!("PostgreSQL at {place} says: {}", answer.message()),
    }
}
