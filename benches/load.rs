//! What the load script needs besides the service: signed webhooks to post, and a bare handler to compare with.
//!
//! `benches/load.sh` runs it. The bare handler reads the body and answers 200: what is above its time is the price of
//! verifying and of writing to disk.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    net::TcpListener,
};

use actix_web::{App, HttpResponse, HttpServer, web};
use crisp_sync::crisp::signature;
use sha2::{Digest as _, Sha256};

/// The secret that the script gives the service. It signs nothing else.
const SECRET: &str = "load-secret";
const USAGE: &str = "usage: load bare PORT | load sign COUNT FROM WEBSITE TIMESTAMP_MS FILE (benches/load.sh runs both)";

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["bare", port] => bare(port.parse().map_err(io::Error::other)?).await,
        ["sign", count, from, website, timestamp, file] => {
            let count = count.parse().map_err(io::Error::other)?;
            let timestamp = timestamp.parse().map_err(io::Error::other)?;
            sign(count, from, website, timestamp, File::create(file)?)
        }
        // `cargo bench` and `cargo test --benches` start it without a command.
        _ => writeln!(io::stderr(), "{USAGE}"),
    }
}

async fn bare(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    HttpServer::new(|| {
        App::new()
            .app_data(web::PayloadConfig::new(1 << 20))
            .route("/healthz", web::get().to(HttpResponse::Ok))
            .route(
                "/webhooks/crisp",
                web::post().to(|body: web::Bytes| async move {
                    drop(body);
                    HttpResponse::Ok().finish()
                }),
            )
    })
    .workers(1)
    .listen(listener)?
    .run()
    .await
}

/// Writes one webhook a line: timestamp, signature, body, parted by tabs. Each is of a conversation of its own, and their
/// ids are in no order, as Crisp's are not: neighbours in a batch are no neighbours in the ledger.
fn sign(count: u32, from: &str, website: &str, timestamp: i64, file: File) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    let written = timestamp.to_string();
    for number in 0..count {
        let digits = hex::encode(Sha256::digest(number.to_le_bytes()));
        let id = uuid::Uuid::parse_str(&digits[..32]).map_err(io::Error::other)?;
        let session = format!("session_{id}");
        let body = serde_json::json!({
            "website_id": website,
            "event": if from == "user" { "message:send" } else { "message:received" },
            "data": {
                "website_id": website,
                "session_id": session,
                "inbox_id": null,
                "type": "text",
                "from": from,
                "origin": "chat",
                "content": "How do I import my rates?",
                "fingerprint": 163_239_623_329_114_i64 + i64::from(number),
                "timestamp": timestamp,
                "stamped": true,
                "user": { "type": "website", "nickname": "Visitor", "user_id": session },
            },
            "timestamp": timestamp,
        })
        .to_string();
        let signature = signature::sign(SECRET, &written, body.as_bytes());
        writeln!(file, "{written}\t{signature}\t{body}")?;
    }
    file.flush()
}
