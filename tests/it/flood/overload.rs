//! More than there is room for: refused at once, and what was accepted stays accepted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crisp_sync::{ledger::LedgerError, sandbox::OpenChat, worker::Step};
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};

use super::wire::{SESSION, Wire, exchange, genuine, opened, wait_until, webhooks, work_off};
use crate::world::World;

/// The ledger's file, locked: commits wait.
async fn locked(world: &World) -> SqliteConnection {
    let url = format!("sqlite://{}", world.ledger_path().display());
    let mut ledger = SqliteConnection::connect(&url).await.expect("a file");
    ledger.execute("BEGIN IMMEDIATE").await.expect("locked");
    ledger
}

#[tokio::test]
async fn a_body_without_room_is_refused_at_once_and_welcome_later() {
    let world = World::with(|setup| {
        setup.replace(
            "workers = 1",
            "workers = 1\nmax_body = \"4KiB\"\nbody_memory = \"4KiB\"",
        );
    })
    .await;
    let large = genuine(&world, &opened(SESSION, 3_500));
    let (most, last) = large.split_at(large.len() - 1);
    let mut slow = Wire::open(&world).await;
    slow.send(most).await;
    let other = genuine(&world, &opened(SESSION, 1_500));
    let mut refused = None;
    wait_until("what arrived takes the room", async || {
        let answer = exchange(&world, &other).await.expect("an answer");
        refused = Some(answer).filter(|answer| answer.status == 503);
        refused.is_some()
    })
    .await;
    let refused = refused.expect("it was refused");
    assert!(refused.head.to_ascii_lowercase().contains("retry-after: 5"));
    assert!(refused.closes());
    assert!(webhooks(&world, "overloaded", "none") >= 1);
    slow.send(last).await;
    let answer = slow.answer().await.expect("an answer");
    assert_eq!(answer.status, 200, "what was let in is finished");
    let answer = exchange(&world, &other).await.expect("an answer");
    assert_eq!(answer.status, 200, "the room is given back");
    work_off(world).await;
}

/// Announcing a long body costs nobody else anything.
#[tokio::test]
async fn what_is_only_announced_takes_no_room() {
    let world = World::with(|setup| {
        setup.replace(
            "workers = 1",
            "workers = 1\nmax_body = \"4KiB\"\nbody_memory = \"4KiB\"",
        );
    })
    .await;
    let large = genuine(&world, &opened(SESSION, 3_500));
    let head = large.split_once("\r\n\r\n").expect("a head").0.to_owned() + "\r\n\r\n";
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut wire = Wire::open(&world).await;
        wire.send(&head).await;
        slow.push(wire);
    }
    let answer = exchange(&world, &large).await.expect("an answer");
    assert_eq!(answer.status, 200);
    work_off(world).await;
}

/// Twenty webhooks, while the ledger takes nothing. The first batch takes whoever comes while it is gathered; after it there is
/// room for one.
async fn more_than_there_is_room_for(world: &World) -> Vec<Wire> {
    let request = genuine(world, &opened(SESSION, 0));
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut wire = Wire::open(world).await;
        wire.send(&request).await;
        waiting.push(wire);
    }
    wait_until("there is no room", async || {
        webhooks(world, "unavailable", "plugin") >= 6
    })
    .await;
    waiting
}

/// How many were accepted: they are kept, and the others were told to come later.
async fn are_kept_or_told_to_come_later(world: &World, waiting: Vec<Wire>) -> usize {
    let mut accepted = 0;
    for mut wire in waiting {
        let answer = wire.answer().await.expect("an answer");
        accepted += usize::from(answer.status == 200);
        if answer.status != 200 {
            assert_eq!(answer.status, 503);
            assert!(answer.head.to_ascii_lowercase().contains("retry-after: 5"));
        }
    }
    assert_eq!(
        world.deliveries().await.len(),
        accepted,
        "none more, none less"
    );
    accepted
}

/// The third finds one commit under way and one waiting: it is not made to wait for the deadline.
#[tokio::test]
async fn a_full_ledger_says_so_at_once_and_keeps_what_it_took() {
    let world = World::with(|setup| {
        setup.needs_file = true;
        setup.add("[webhooks]\nmax_waiting = 1\naccept_deadline = \"30s\"");
    })
    .await;
    let mut ledger = locked(&world).await;
    let waiting = more_than_there_is_room_for(&world).await;
    ledger.execute("COMMIT").await.expect("free again");
    let accepted = are_kept_or_told_to_come_later(&world, waiting).await;
    assert!((1..=14).contains(&accepted), "{accepted}");
    work_off(world).await;
}

/// The same with a ledger on a server, of which somebody holds a table up.
#[tokio::test]
async fn a_full_ledger_on_a_server_says_so_at_once_and_keeps_what_it_took() {
    let Some(world) = World::on_a_server_with(|setup| {
        setup.add("[webhooks]\nmax_waiting = 1\naccept_deadline = \"30s\"");
    })
    .await
    else {
        return;
    };
    let url = world.ledger_url().expect("a server");
    let mut holder = PgConnection::connect(&url).await.expect("a connection");
    let holds = "BEGIN; LOCK TABLE crisp_sync.deliveries IN SHARE MODE";
    holder.execute(holds).await.expect("held");
    let waiting = more_than_there_is_room_for(&world).await;
    holder.execute("COMMIT").await.expect("let go");
    let accepted = are_kept_or_told_to_come_later(&world, waiting).await;
    assert!(accepted <= 14, "{accepted}");
    let request = genuine(&world, &opened(SESSION, 0));
    let answer = exchange(&world, &request).await.expect("an answer");
    assert_eq!(answer.status, 200, "there is room again");
    work_off(world).await;
}

/// Its sender was told to come again; it still waits for the disk, and is in memory until then.
#[tokio::test]
async fn a_delivery_that_still_waits_for_the_disk_still_takes_its_room() {
    let world = World::with(|setup| {
        setup.needs_file = true;
        setup.replace(
            "workers = 1",
            "workers = 1\nmax_body = \"4KiB\"\nbody_memory = \"4KiB\"",
        );
        setup.add("[webhooks]\naccept_deadline = \"50ms\"");
    })
    .await;
    let mut ledger = locked(&world).await;
    let large = genuine(&world, &opened(SESSION, 3_500));
    let answer = exchange(&world, &large).await.expect("an answer");
    assert_eq!(answer.status, 503);
    assert_eq!(webhooks(&world, "unavailable", "plugin"), 1);
    let answer = exchange(&world, &large).await.expect("an answer");
    assert_eq!(answer.status, 503);
    assert_eq!(
        webhooks(&world, "overloaded", "none"),
        1,
        "no room for a second"
    );
    ledger.execute("COMMIT").await.expect("free again");
    wait_until("the room is given back", async || {
        exchange(&world, &large).await.expect("an answer").status == 200
    })
    .await;
    work_off(world).await;
}

/// Anybody may ask; the ledger is asked once a second.
#[tokio::test]
async fn readiness_costs_one_look_a_second_however_many_ask() {
    let mut world = World::start().await;
    let ready = "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n";
    assert_eq!(
        exchange(&world, ready).await.expect("an answer").status,
        200
    );
    world.service.ledger.close().await.expect("it closes");
    for _ in 0..20 {
        let answer = exchange(&world, ready).await.expect("an answer");
        assert_eq!(answer.status, 200, "nobody asked the ledger again");
    }
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(
        exchange(&world, ready).await.expect("an answer").status,
        503
    );
    world.restart(|_| {}).await;
    world.finish().await;
}

/// Threads that send junk, idle connections and questions as fast as they can, until the end of the test.
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Flood {
    fn on(world: &World) -> Self {
        use std::{io::Write as _, net::TcpStream};

        let address = world.server.as_ref().expect("it listens").address;
        let requests = [
            "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n\r\n".to_owned(),
            "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
            format!("POST /{} HTTP/1.1\r\nx: ", "a".repeat(100_000)),
            String::new(),
        ];
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let threads = requests
            .into_iter()
            .map(|request| {
                let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
                std::thread::spawn(move || {
                    let mut open = std::collections::VecDeque::new();
                    while !stop.load(Ordering::Relaxed) {
                        let Ok(mut stream) = TcpStream::connect(address) else {
                            continue;
                        };
                        drop(stream.set_write_timeout(Some(Duration::from_millis(50))));
                        drop(stream.write_all(request.as_bytes()));
                        sent.fetch_add(1, Ordering::Relaxed);
                        open.push_back(stream);
                        if open.len() > 100 {
                            open.pop_front();
                        }
                    }
                })
            })
            .collect();
        Self {
            stop,
            sent,
            threads,
        }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("the flood ends");
        }
        self.sent.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_starves_neither_crisp_nor_the_worker_nor_the_operators() {
    const BOUND: Duration = Duration::from_secs(10);
    let mut world = World::with(|setup| {
        setup.replace("workers = 1", "workers = 1\nmax_connections = 128");
    })
    .await;
    world.add_user("u1", "ada@northwind.example").await;
    let flood = Flood::on(&world);
    wait_until("the flood is on", async || {
        flood.sent.load(Ordering::Relaxed) > 200
    })
    .await;
    let begun = Instant::now();
    let session = world
        .open(OpenChat::by("ada@northwind.example").proven())
        .await;
    assert_eq!(world.data(&session, "plan"), "pro", "a visitor is served");
    assert!(
        begun.elapsed() < BOUND,
        "hooks and worker: {:?}",
        begun.elapsed()
    );
    let begun = Instant::now();
    for path in ["/metrics", "/status", "/readyz"] {
        let answer = World::http()
            .get(world.ops_url(path))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status().as_u16(), 200, "{path}");
    }
    assert!(begun.elapsed() < BOUND, "operators: {:?}", begun.elapsed());
    let begun = Instant::now();
    let beat: Result<_, LedgerError> = world.service.ledger.heartbeat(world.now()).await;
    beat.expect("the heart beats");
    assert!(begun.elapsed() < BOUND, "heartbeat: {:?}", begun.elapsed());
    assert_eq!(world.step().await, Step::Idle);
    assert!(flood.end() > 200);
    world.finish().await;
}
