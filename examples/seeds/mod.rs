//! The rows of a site with many users, made by the database itself.

use sea_orm::DbBackend;
use time::{Duration, OffsetDateTime, macros::format_description};

/// Returns a user between 1 and `users`: for `at` from 0 on users from all over the table, each once.
pub fn user(users: usize, at: usize) -> usize {
    // The step is a prime number, so it does not divide the number of users.
    at * 7919 % users + 1
}

/// Returns the statements that make the users and what belongs to them. User 42 has the name `user42`, the address
/// `user42@example.com` and this hash.
pub fn statements(backend: DbBackend, users: usize, hash: &str, now: OffsetDateTime) -> Vec<String> {
    let seeds = Seeds { backend, users, now };
    let (id, user) = (|kind| seeds.id(kind), seeds.id(1));
    let (now, soon, year) = (seeds.time(0), seeds.time(60 * 24), seeds.time(-60 * 24 * 200));
    let expires = format!("CASE WHEN i % 10 = 0 THEN {year} ELSE {soon} END");
    let at = format!("CASE WHEN i % 10 = 0 THEN {year} ELSE {now} END");
    let digest = seeds.digest();
    let mut all = vec![
        seeds.insert("users", users, &format!(
            "id, email, email_canonical, username, username_canonical, full_name, hashed_password, created_at, updated_at, \
             first_locale) SELECT {user}, 'user' || i || '@example.com', 'user' || i || '@example.com', 'user' || i, \
             'user' || i, 'User ' || i, '{hash}', {year}, {year}, 'en'"
        )),
        seeds.insert("sessions", users, &format!(
            "id, user_id, created_at, authenticated_at, last_seen_at, expires_at, remember, ip, user_agent, kind) \
             SELECT {}, {user}, {year}, {year}, {now}, {expires}, true, '203.0.113.9', 'Mozilla/5.0 (X11; Linux x86_64; \
             rv:140.0) Gecko/20100101 Firefox/140.0', 'browser'", id(2)
        )),
        seeds.insert("devices", users, &format!(
            "id, user_id, token_digest, last_seen_at) SELECT {}, {user}, {digest}, {now}", id(3)
        )),
        seeds.insert("reset_tokens", users / 20, &format!(
            "id, user_id, token_digest, email_at_issue, created_at, expires_at, used_at) SELECT {}, {user}, {digest}, \
             'user' || i || '@example.com', {year}, {expires}, {year}", id(4)
        )),
        seeds.insert("outbox", users / 10, &format!(
            "id, letter, data, to_address, locale, state, priority, attempts, next_attempt_at, deadline, created_at, sent_at) \
             SELECT {}, 'password_changed', '{{\"asked\":{{}}}}', 'user' || i || '@example.com', 'en', 'sent', 2, 1, {now}, {now}, \
             {at}, {now}", id(5)
        )),
        seeds.insert("visits", (users / 10).min(90_000), &format!("id, data, expires_at) SELECT {digest}, '{{}}', {expires}")),
        seeds.insert("limits", (users / 10).min(90_000), &format!("key, whole_at, misses) SELECT {digest}, 2000000000, 1")),
    ];
    for kind in 6..9 {
        all.push(seeds.insert(
            "events",
            users,
            &format!(
                "id, at, kind, user_id, ip, user_agent, request_id) SELECT {}, {at}, 'log_in', {user}, '203.0.113.9', \
             'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', '6529e1221e9d4bbe'",
                id(kind)
            ),
        ));
    }
    all
}

struct Seeds {
    backend: DbBackend,
    users: usize,
    now: OffsetDateTime,
}

impl Seeds {
    fn is_postgres(&self) -> bool {
        self.backend == DbBackend::Postgres
    }

    fn insert(&self, table: &str, rows: usize, columns_and_select: &str) -> String {
        let rows = rows.clamp(1, self.users);
        if self.is_postgres() {
            return format!("INSERT INTO {table} ({columns_and_select} FROM generate_series(1, {rows}) AS n(i)");
        }
        format!(
            "INSERT INTO {table} ({columns_and_select} FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
             WHERE i < {rows}) SELECT i FROM n)"
        )
    }

    /// Returns the UUID (version 7) of row `i` of this kind.
    fn id(&self, kind: u8) -> String {
        let began = 1_780_000_000_000_u64; // milliseconds
        if self.is_postgres() {
            let (time, row) = (format!("lpad(to_hex({began} + i), 12, '0')"), "lpad(to_hex(i), 12, '0')");
            return format!("CAST({time} || '7000800{kind}' || {row} AS uuid)");
        }
        format!("unhex(printf('%012x7000800{kind}%012x', {began} + i, i))")
    }

    /// Returns the time in so many minutes.
    fn time(&self, minutes: i64) -> String {
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        let at = self.now + Duration::minutes(minutes);
        let kind = if self.is_postgres() { "timestamptz" } else { "text" };
        format!("CAST('{}' AS {kind})", at.format(format).unwrap_or_default())
    }

    /// Returns a random text as long as a digest.
    fn digest(&self) -> &'static str {
        if self.is_postgres() { "md5(random()::text) || i" } else { "lower(hex(randomblob(16))) || i" }
    }
}
