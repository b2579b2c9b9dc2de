//! A small load: random transactions from several sessions, through every outage of the database.

use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;

const SESSIONS: u64 = 2;
const STATEMENTS_MAX: u64 = 5;
const PAUSE_MAX_MS: u64 = 12;
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Whoever is not answered within this asks on a new connection.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A row with such a note has no room in the log.
pub const TOO_LARGE: &str = "repeat('x', 9000000)";
/// One statement in so many writes such a row, where they are wanted.
const TOO_LARGE_EVERY: u64 = 400;

pub struct Load {
    stop: CancellationToken,
    sessions: Vec<JoinHandle<u64>>,
}

impl Load {
    pub fn start(config: &tokio_postgres::Config, seed: u64) -> Self {
        Self::begin(config, seed, false)
    }

    /// With rows among the others that are too large for the log.
    pub fn start_with_large(config: &tokio_postgres::Config, seed: u64) -> Self {
        Self::begin(config, seed, true)
    }

    fn begin(config: &tokio_postgres::Config, seed: u64, large: bool) -> Self {
        let stop = CancellationToken::new();
        let session = |number: u64| {
            let (config, stop) = (config.clone(), stop.clone());
            let random = Random(seed.wrapping_mul(31).wrapping_add(number));
            tokio::spawn(async move { session(&config, (random, large), &stop).await })
        };
        Self { sessions: (1..=SESSIONS).map(session).collect(), stop }
    }

    /// How many transactions were committed for certain.
    pub async fn stop(self) -> u64 {
        self.stop.cancel();
        let mut committed = 0;
        for session in self.sessions {
            committed += session.await.unwrap_or(0);
        }
        committed
    }
}

async fn session(
    config: &tokio_postgres::Config,
    (mut random, large): (Random, bool),
    stop: &CancellationToken,
) -> u64 {
    let mut committed = 0;
    while !stop.is_cancelled() {
        let connected = tokio::time::timeout(ANSWER_MAX, config.connect(NoTls)).await;
        if let Ok(Ok((client, connection))) = connected {
            let connection = tokio::spawn(connection);
            work(&client, (&mut random, large), stop, &mut committed).await;
            connection.abort();
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
    committed
}

/// Until the connection breaks.
async fn work(client: &Client, (random, large): (&mut Random, bool), stop: &CancellationToken, committed: &mut u64) {
    while !stop.is_cancelled() {
        let sql = transaction(random, large);
        match tokio::time::timeout(ANSWER_MAX, client.batch_execute(&sql)).await {
            Ok(Ok(())) => *committed += 1,
            // Two sessions met in a deadlock, or the disk is full; or the server is gone.
            Ok(Err(_)) if client.batch_execute("rollback").await.is_ok() => {}
            _ => return,
        }
        tokio::time::sleep(Duration::from_millis(random.below(PAUSE_MAX_MS))).await;
    }
}

fn transaction(random: &mut Random, large: bool) -> String {
    // Outside of a transaction of ours: several rows at one place in the WAL.
    if random.below(40) == 0 {
        return "copy yard.loose from program 'seq 1 25'".to_owned();
    }
    let mut sql = String::from("begin;");
    for _ in 0..=random.below(STATEMENTS_MAX) {
        sql += &statement(random);
        if large && random.below(TOO_LARGE_EVERY) == 0 {
            sql += &format!("insert into yard.large values (nextval('yard.ids'), {TOO_LARGE});");
        }
    }
    sql += if random.below(10) == 0 { "rollback;" } else { "commit;" };
    sql
}

fn statement(random: &mut Random) -> String {
    let one = "(select id from yard.row where id >= (random() * (select last_value from yard.ids))::bigint \
               order by id limit 1)";
    let number = random.below(500);
    // What is not part of the transaction is told, whatever becomes of it; its record often ends where a commit begins.
    let message = |transactional| {
        format!("select pg_logical_emit_message({transactional}, 'yard.beat', nextval('yard.ids')::text);")
    };
    match random.below(14) {
        0..=2 => {
            let (times, rows) = ([1, 1, 100][random.below(3) as usize], 1 + random.below(4));
            format!(
                "insert into yard.row select nextval('yard.ids'), 0, repeat(md5(random()::text), {times})
                 from generate_series(1, {rows});"
            )
        }
        3..=6 => format!("update yard.row set version = version + 1 where id = {one};"),
        7 => format!("update yard.row set note = nullif('changed ' || random(), '') where id = {one};"),
        8 => format!("delete from yard.row where id = {one};"),
        9 => format!("update yard.row set id = nextval('yard.ids') where id = {one};"),
        10 => format!(
            "insert into yard.pair values ({number}, 'k{number}', 0)
             on conflict (a, b) do update set n = yard.pair.n + 1;"
        ),
        11 => message(false),
        12 => message(true),
        _ => "insert into other.noise select g, repeat('x', 200) from generate_series(1, 20) g;".to_owned(),
    }
}

/// SplitMix64: a seed is a schedule, on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Smaller than the limit, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}
