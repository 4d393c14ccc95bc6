//! Finding the family of a fingerprint among very many, and asking a server whose weights these are.

use std::{fs, time::Instant};

use anyhow::Context as _;
use herdbook::lineage::weights::{
    Fingerprint,
    bands::{self, BANDS},
    sample::splitmix64,
};
use reqwest::Method;
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

use super::model::{Size, Synthetic};
use crate::support::{Home, Server, Times, Unit, print, print_note, send};

const FAMILIES: i64 = 100_000;
const LOOKUPS: u64 = 1000;
const QUESTIONS: usize = 10;
const SMALL: Size = Size { hidden: 256, feed_forward: 704, keys: 128, layers: 4, vocabulary: 4096 };

/// What the server asks first of all: who shares a band with these keys.
const QUERY: &str = "select b.leader_id, count(*) as shared
    from unnest($1::smallint[], $2::smallint[], $3::integer[]) as wanted (kind, band, key)
    join fingerprint_bands b on b.kind = wanted.kind and b.band = wanted.band and b.key = wanted.key
    group by b.leader_id order by 2 desc, 1 limit 1000";

/// Rows as 100,000 leaders would have left them; they lead to no model.
const FILL: [&str; 8] = [
    "set session_replication_role = replica",
    "set maintenance_work_mem = '256MB'",
    "alter table fingerprint_bands drop constraint fingerprint_bands_pkey",
    "drop index fingerprint_bands_leader_id_idx",
    "insert into fingerprint_bands (kind, band, key, leader_id)
        select kind, band, floor(random() * 16777216)::integer, 1000000000 + family
        from generate_series(0, 1) as kind, generate_series(0, $1 - 1) as band, generate_series(1, $2) as family",
    "alter table fingerprint_bands add primary key (kind, band, key, leader_id)",
    "create index fingerprint_bands_leader_id_idx on fingerprint_bands (leader_id)",
    "vacuum analyze fingerprint_bands",
];

pub(super) async fn run(large: &Fingerprint) -> anyhow::Result<()> {
    let home = Home::new()?;
    let server = Server::start(&home)?;
    let socket = home.path().join("postgres/socket");
    let options = PgConnectOptions::new_without_pgpass().socket(socket).username("herdbook").database("herdbook");
    let mut db = PgConnection::connect_with(&options).await?;
    let started = Instant::now();
    for statement in FILL {
        let mut query = sqlx::query(statement);
        if statement.contains("$1") {
            query = query.bind(i32::from(BANDS)).bind(FAMILIES);
        }
        query.execute(&mut db).await?;
    }
    print_note(&format!("{FAMILIES} synthetic families, inserted in {:.0} s", started.elapsed().as_secs_f64()));
    let lookups = look_up(&mut db, large).await?;
    print("lookup of 64 bands", &lookups, Unit::Milliseconds, &[]);
    db.close().await?;

    let folder = home.path().join("small");
    fs::create_dir(&folder)?;
    let small = Synthetic::new(SMALL, 1);
    fs::write(folder.join("config.json"), &small.config)?;
    fs::write(folder.join("model.safetensors"), small.bytes(0..small.length))?;
    let folder = folder.to_str().context("the folder's path is not UTF-8")?;
    server.run(&["push", folder, "admin/small", "--json"])?;
    server.drain().await?;
    let (mut command, mut request) = (Times::default(), Times::default());
    for _ in 0..QUESTIONS {
        command.take(|| server.run(&["identify", folder, "--json"]))?;
        let asked = server.request(Method::POST, "/api/v1/identify").body(large.encode());
        request.wait(async { Ok(send(asked).await?.bytes().await?) }).await?;
    }
    print("`herdbook identify` of a small copy, whole", &command, Unit::Milliseconds, &[]);
    print("  answer to an 8B-shaped fingerprint", &request, Unit::Milliseconds, &[]);
    Ok(())
}

/// Looks for relatives of a fingerprint of which some bands are those of a synthetic family.
async fn look_up(db: &mut PgConnection, print: &Fingerprint) -> anyhow::Result<Times> {
    let keys = bands::keys(print);
    let kinds: Vec<i16> = keys.iter().map(|key| key.kind).collect();
    let numbers: Vec<i16> = keys.iter().map(|key| key.band).collect();
    let mut times = Times::default();
    for number in 0..LOOKUPS {
        let shifted = (0..).zip(&keys).map(|(at, key)| key.key ^ noise_of(number << 8 | at));
        let shifted: Vec<i32> = shifted.collect();
        let query = sqlx::query(QUERY).bind(&kinds).bind(&numbers).bind(shifted);
        times.wait(async { Ok(query.fetch_all(&mut *db).await?) }).await?;
    }
    Ok(times)
}

/// 24 bits.
fn noise_of(number: u64) -> i32 {
    i32::try_from(splitmix64(number) >> 40).unwrap_or(0)
}
