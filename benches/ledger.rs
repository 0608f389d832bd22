//! What the ledger's daily steps cost as it fills: enqueue, claim, settle, and the look for what is due next.
//!
//! `benches/ledger.sh` runs it. Each step is measured at 1,000, 10,000, 100,000 and 1,000,000 waiting rows in the same ledger,
//! many times, and the table shows medians: a step that looked at more than its own rows would show it. Every commit waits
//! for the disk, so that the time of the least of them is measured too, to be told apart.

use std::{
    error::Error,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use crisp_sync::{
    clock::Clock,
    ids::{SessionId, WebsiteId},
    ledger::{
        Acceptance, Claim, Delivery, Effect, Enqueue, Ledger, LedgerSettings, Location, Outcome,
        Settled, Settlement, Trigger, Urgency, WorkKind,
    },
};
use jiff::Timestamp;

type Failure = Box<dyn Error + Send + Sync>;

/// How often each step is measured.
const TIMES: usize = 200;
/// How often the claim beside a pause is.
const PAUSED_TIMES: u64 = 20;
/// Rows per claim, and acceptances per commit.
const CLAIMED: u32 = 8;
const ACCEPTED: usize = 64;
const LEASE: Duration = Duration::from_mins(2);
const USAGE: &str =
    "usage: ledger LEDGER measure ROWS… | ledger LEDGER fill ROWS (benches/ledger.sh runs it)";

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        [ledger, "measure", sizes @ ..] => measure(ledger, sizes).await,
        [ledger, "fill", rows] => {
            let mut filled = Filled::open(ledger).await?;
            filled.fill(rows.parse()?).await?;
            filled.ledger.close().await?;
            Ok(())
        }
        // `cargo bench` and `cargo test --benches` start it without a command.
        _ => Ok(writeln!(io::stderr(), "{USAGE}")?),
    }
}

/// A ledger with so many rows that wait for their turn.
struct Filled {
    ledger: Ledger,
    website: WebsiteId,
    rows: u64,
    now: Timestamp,
}

impl Filled {
    /// In a file, or in the database that a URL names.
    async fn open(ledger: &str) -> Result<Self, Failure> {
        let now = Clock::System.now();
        let location = if Location::is_server(ledger) {
            Location::Server(ledger.into())
        } else {
            Location::File(ledger.into())
        };
        Ok(Self {
            ledger: Ledger::open(LedgerSettings::of(location), now).await?,
            website: WebsiteId::parse("0b7e4c1a-6f1d-4a58-9d0e-2f5b7c9a1e11")?,
            rows: 0,
            now,
        })
    }

    /// The next conversation.
    fn session(&mut self) -> Result<SessionId, Failure> {
        self.rows += 1;
        session(scattered(self.rows))
    }

    fn trigger(&self, session: &SessionId) -> Enqueue {
        Enqueue {
            kind: WorkKind::Conversation,
            website: self.website.clone(),
            key: session.as_str().to_owned(),
            trigger: Trigger::MessageSend,
            run_at: self.now,
            urgency: Urgency::Normal {
                fresh_for: Duration::from_mins(1),
            },
            debounce: Duration::ZERO,
        }
    }

    fn triggers(&mut self, count: usize) -> Result<Vec<Enqueue>, Failure> {
        (0..count)
            .map(|_| {
                let session = self.session()?;
                Ok(self.trigger(&session))
            })
            .collect()
    }

    /// In the order of their keys, so that each page is written once.
    async fn fill(&mut self, rows: u64) -> Result<(), Failure> {
        let mut numbers: Vec<u64> = (self.rows + 1..=rows).map(scattered).collect();
        numbers.sort_unstable();
        for numbers in numbers.chunks(5_000) {
            let triggers: Result<Vec<_>, Failure> = numbers
                .iter()
                .map(|number| Ok(self.trigger(&session(*number)?)))
                .collect();
            self.ledger.enqueue(triggers?, self.now).await?;
        }
        self.rows = self.rows.max(rows);
        Ok(())
    }

    /// A batch of webhooks that arrive together.
    async fn accept(&mut self) -> Result<(), Failure> {
        let mut acceptances = Vec::with_capacity(ACCEPTED);
        for _ in 0..ACCEPTED {
            let session = self.session()?;
            let effects = vec![Effect::Enqueue(self.trigger(&session))];
            let delivery = Delivery {
                website: self.website.clone(),
                event: "message:send".to_owned(),
                session: Some(session),
                people: None,
                hook: "plugin",
                origin: Some("plugin/rtm 4f2a9c1be07d5e63 production".to_owned()),
                attempt: Some(1),
                signed_at: Some(self.now),
                event_at: Some(self.now),
                bytes: 640,
            };
            acceptances.push(Acceptance { delivery, effects });
        }
        let accepting = acceptances
            .into_iter()
            .map(|acceptance| self.ledger.accept(acceptance, self.now));
        for accepted in futures_util::future::join_all(accepting).await {
            accepted?;
        }
        Ok(())
    }
}

/// Multiplied by an odd number, all numbers are met once, far from their neighbours: the ids of conversations are in no
/// order either.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn session(number: u64) -> Result<SessionId, Failure> {
    let id = uuid::Uuid::from_u64_pair(number, number.rotate_left(17));
    Ok(SessionId::parse(&format!("session_{id}"))?)
}

/// What is measured.
const STEPS: [&str; 6] = [
    "a commit",
    "accept 64",
    "enqueue 1",
    "claim 8",
    "settle 1",
    "next due",
];

async fn measure(ledger: &str, sizes: &[&str]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let mut filled = Filled::open(ledger).await?;
    write!(out, "{:<18}", "rows; ms (median)")?;
    for step in STEPS {
        write!(out, "{step:>11}")?;
    }
    writeln!(out)?;
    let mut rounds = Vec::new();
    for size in sizes {
        filled.fill(size.parse()?).await?;
        let medians = round(&mut filled).await?.map(median);
        write!(out, "{size:<18}")?;
        for median in medians {
            write!(out, "{:>11.3}", median.as_secs_f64() * 1e3)?;
        }
        writeln!(out)?;
        rounds.push(medians);
    }
    if let (Some(first), Some(last)) = (rounds.first(), rounds.last()) {
        write!(out, "{:<18}", "last / first")?;
        for (first, last) in first.iter().zip(last) {
            write!(out, "{:>11.2}", last.as_secs_f64() / first.as_secs_f64())?;
        }
        writeln!(out)?;
    }
    let took = beside_a_pause(&mut filled).await?;
    writeln!(
        out,
        "claim of a row behind {} of a paused website: {:.3} ms",
        filled.rows,
        took.as_secs_f64() * 1e3
    )?;
    filled.ledger.close().await?;
    Ok(())
}

/// How long the claim of another website's row takes while the website of all others is paused: each of them is passed over.
async fn beside_a_pause(filled: &mut Filled) -> Result<Duration, Failure> {
    let now = filled.now;
    let mut paused = filled.ledger.claim(1, LEASE, now).await?;
    let refused = paused.pop().ok_or("no row is due")?;
    let outcome = Outcome::PauseWebsite {
        until: now.checked_add(LEASE)?,
        probe_every: LEASE,
        reason: "Crisp refuses us".to_owned(),
    };
    let settled = filled.ledger.settle(&refused, Settlement::of(outcome), now);
    if settled.await? != Settled::Written {
        return Err("a lease was lost".into());
    }
    let mut times = Vec::new();
    for number in 0..PAUSED_TIMES {
        let other = Enqueue {
            website: WebsiteId::parse("5c0c8f9e-2d5b-4e7a-8f0b-6a1d3e9c7b22")?,
            ..filled.trigger(&session(number)?)
        };
        filled.ledger.enqueue(vec![other], now).await?;
        let (took, claims) = timed(filled.ledger.claim(CLAIMED, LEASE, now)).await?;
        let [claim] = &claims[..] else {
            return Err(format!(
                "{} rows instead of the one that is not paused",
                claims.len()
            )
            .into());
        };
        settle(&filled.ledger, claim, now).await?;
        times.push(took);
    }
    if !filled.ledger.resume(Some(&filled.website)).await? {
        return Err("nothing was paused".into());
    }
    Ok(median(times))
}

async fn round(filled: &mut Filled) -> Result<[Vec<Duration>; STEPS.len()], Failure> {
    let mut times: [Vec<Duration>; STEPS.len()] = Default::default();
    let now = filled.now;
    for _ in 0..TIMES {
        // Moves the mark of the last sign of life: the least that is a commit.
        times[0].push(timed(filled.ledger.heartbeat(now)).await?.0);
        times[1].push(timed(filled.accept()).await?.0);
        let trigger = filled.triggers(1)?;
        times[2].push(timed(filled.ledger.enqueue(trigger, now)).await?.0);
        let (took, claims) = timed(filled.ledger.claim(CLAIMED, LEASE, now)).await?;
        times[3].push(took);
        for (at, claim) in claims.iter().enumerate() {
            let settled = timed(settle(&filled.ledger, claim, now)).await?;
            if at == 0 {
                times[4].push(settled.0);
            }
        }
        times[5].push(timed(filled.ledger.next_due(now)).await?.0);
    }
    Ok(times)
}

async fn settle(ledger: &Ledger, claim: &Claim, now: Timestamp) -> Result<(), Failure> {
    let settlement = Settlement {
        calls: vec![("conversation", 2)],
        ..Settlement::of(Outcome::Done)
    };
    match ledger.settle(claim, settlement, now).await? {
        Settled::Written => Ok(()),
        Settled::LeaseLost => Err("a lease was lost".into()),
    }
}

async fn timed<T, E: Into<Failure>>(
    step: impl Future<Output = Result<T, E>>,
) -> Result<(Duration, T), Failure> {
    let began = Instant::now();
    let result = step.await.map_err(Into::into)?;
    Ok((began.elapsed(), result))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
