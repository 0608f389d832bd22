//! What one webhook costs before it reaches the ledger: the signature, then the envelope.

use bytes::Bytes;
use crisp_sync::crisp::{
    event::Envelope,
    signature::{SigningSecrets, VerifiedBody, sign, verify_plugin},
};
use divan::{Bencher, counter::BytesCount};
use secrecy::SecretString;

const SECRET: &str = "914a657d8cc2efbc20593f1806f9bde2";
const TIMESTAMP: &str = "1763700012400";

fn main() {
    divan::main();
}

/// A message of about this many bytes.
fn message(bytes: usize) -> Bytes {
    let sample = include_str!("../fixtures/webhooks/message_send.json");
    let padding = "x".repeat(bytes.saturating_sub(sample.len()));
    Bytes::from(sample.replace(
        "My export is stuck",
        &format!("My export is stuck {padding}"),
    ))
}

fn verify(secrets: &SigningSecrets, signature: &str, body: Bytes) -> VerifiedBody {
    verify_plugin(
        secrets,
        Some(TIMESTAMP.as_bytes()),
        Some(signature.as_bytes()),
        body,
    )
    .expect("the body was signed with this secret")
}

#[divan::bench(args = [600, 16_384, 262_144])]
fn signature(bencher: Bencher<'_, '_>, bytes: usize) {
    let secrets = SigningSecrets::new([SecretString::from(SECRET)]);
    let body = message(bytes);
    let signature = sign(SECRET, TIMESTAMP, &body);
    bencher
        .counter(BytesCount::new(body.len()))
        .bench(|| verify(&secrets, &signature, body.clone()));
}

#[divan::bench(args = [600, 16_384, 262_144])]
fn envelope(bencher: Bencher<'_, '_>, bytes: usize) {
    let secrets = SigningSecrets::new([SecretString::from(SECRET)]);
    let body = message(bytes);
    let verified = verify(&secrets, &sign(SECRET, TIMESTAMP, &body), body);
    bencher
        .counter(BytesCount::new(verified.bytes().len()))
        .bench(|| Envelope::read(&verified).expect("a readable message"));
}
