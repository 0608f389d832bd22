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

/// The secret that the script gives the service. It signs nothing else.
const SECRET: &str = "load-secret";
const USAGE: &str =
    "usage: load bare PORT | load sign COUNT WEBSITE TIMESTAMP_MS FILE (benches/load.sh runs both)";

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["bare", port] => bare(port.parse().map_err(io::Error::other)?).await,
        ["sign", count, website, timestamp, file] => {
            let count = count.parse().map_err(io::Error::other)?;
            sign(count, website, timestamp, File::create(file)?)
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

/// Writes one webhook a line: timestamp, signature, body, parted by tabs. Each is of a conversation of its own.
fn sign(count: u32, website: &str, timestamp: &str, file: File) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    for number in 0..count {
        let body = serde_json::json!({
            "website_id": website,
            "event": "message:send",
            "data": {
                "website_id": website,
                "type": "text",
                "from": "user",
                "origin": "chat",
                "content": "How do I import my rates?",
                "timestamp": timestamp.parse::<i64>().map_err(io::Error::other)?,
                "fingerprint": 163_239_623_329_114_i64 + i64::from(number),
                "user": { "nickname": "Visitor", "user_id": format!("session_{number:08x}") },
                "session_id": format!("session_{number:08x}-0000-4000-8000-000000000000"),
            },
            "timestamp": timestamp.parse::<i64>().map_err(io::Error::other)?,
        })
        .to_string();
        let signature = signature::sign(SECRET, timestamp, body.as_bytes());
        writeln!(file, "{timestamp}\t{signature}\t{body}")?;
    }
    file.flush()
}
