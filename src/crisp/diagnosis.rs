//! Tells why a signature does not verify.
//!
//! For a person who set up a hook and sees only refusals: it tries what people, proxies and other programs do wrong, and
//! names the first that would have made this signature. Nothing here accepts anything.

use hmac::Mac;

use super::signature::{SigningSecrets, decode_tag, is_number, mac};

/// What is wrong with a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diagnosis {
    /// Nothing: it verifies.
    Genuine,
    /// No timestamp header.
    MissingTimestamp,
    /// No signature header.
    MissingSignature,
    /// The timestamp header is no number.
    TimestampIsNoNumber,
    /// No signing secret.
    NoSecret,
    /// Right, but in upper-case hex.
    UpperCaseHex,
    /// Right, but behind `sha256=`.
    Prefixed,
    /// Not 64 hex digits.
    NotHex,
    /// Made over the timestamp and the body, with nothing around or between.
    WithoutBrackets,
    /// Made over `timestamp;body`, without the brackets.
    SemicolonOnly,
    /// Made over `timestamp|body`.
    Pipe,
    /// Made over `timestamp.body`, as other services do.
    Dot,
    /// Made over the body alone.
    BodyOnly,
    /// The signing secret was configured with blanks around it.
    SecretHasBlanks,
    /// Made with the secret decoded from hex.
    SecretDecoded,
    /// The body lost or gained a newline at its end on the way.
    NewlineChanged,
    /// The body was parsed and written again on the way.
    BodyRewritten,
    /// None of the known mistakes: another secret, or another body.
    WrongSecretOrBody,
}

impl Diagnosis {
    /// What to do about it, in a sentence.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Genuine => "the signature is right",
            Self::MissingTimestamp => {
                "the request has no `X-Crisp-Request-Timestamp`: a proxy drops it, or this is a website hook, which is not signed"
            }
            Self::MissingSignature => {
                "the request has no `X-Crisp-Signature`: a proxy drops it, or this is a website hook, which is not signed"
            }
            Self::TimestampIsNoNumber => {
                "`X-Crisp-Request-Timestamp` is a number: seconds or milliseconds since 1970"
            }
            Self::NoSecret => "configure the signing secret of the plugin hook",
            Self::UpperCaseHex => "write the signature in lower-case hex",
            Self::Prefixed => "write the signature without `sha256=`",
            Self::NotHex => "a signature is 64 lower-case hex digits",
            Self::WithoutBrackets => "sign `[timestamp;body]`, not `timestampbody`",
            Self::SemicolonOnly => "sign `[timestamp;body]`, with the brackets",
            Self::Pipe => "sign `[timestamp;body]`, not `timestamp|body`",
            Self::Dot => "sign `[timestamp;body]`, not `timestamp.body`",
            Self::BodyOnly => "sign `[timestamp;body]`, not the body alone",
            Self::SecretHasBlanks => "remove the blanks around the signing secret",
            Self::SecretDecoded => "use the secret's characters as the key; do not decode its hex",
            Self::NewlineChanged => "send the body without adding or trimming a newline at its end",
            Self::BodyRewritten => {
                "something between Crisp and here parses the JSON and writes it again; let it pass the bytes untouched"
            }
            Self::WrongSecretOrBody => {
                "the secret belongs to another hook (development and production differ), or the body is not the one that was signed"
            }
        }
    }
}

/// Finds out why a plugin hook's signature fails, by trying the usual mistakes in turn.
pub fn explain(
    secrets: &SigningSecrets,
    timestamp: Option<&[u8]>,
    signature: Option<&[u8]>,
    body: &[u8],
) -> Diagnosis {
    let Some(timestamp) = timestamp else {
        return Diagnosis::MissingTimestamp;
    };
    let Some(signature) = signature else {
        return Diagnosis::MissingSignature;
    };
    if secrets.is_empty() {
        return Diagnosis::NoSecret;
    }
    if !is_number(timestamp) {
        return Diagnosis::TimestampIsNoNumber;
    }
    let lower = signature.to_ascii_lowercase();
    let bare = lower.strip_prefix(b"sha256=").unwrap_or(&lower);
    let Some(tag) = decode_tag(bare) else {
        return Diagnosis::NotHex;
    };
    let made_over = |key: &[u8], parts: &[&[u8]]| mac(key, parts).verify_slice(&tag).is_ok();
    let matches = |parts: &[&[u8]]| {
        secrets
            .iter()
            .any(|secret| made_over(secret.as_bytes(), parts))
    };
    let signs = |body: &[u8]| matches(&[b"[", timestamp, b";", body, b"]"]);

    if signs(body) {
        return if bare.len() != lower.len() {
            Diagnosis::Prefixed
        } else if lower == signature {
            Diagnosis::Genuine
        } else {
            Diagnosis::UpperCaseHex
        };
    }
    let recipes: [(Diagnosis, &[&[u8]]); 5] = [
        (Diagnosis::WithoutBrackets, &[timestamp, body]),
        (Diagnosis::SemicolonOnly, &[timestamp, b";", body]),
        (Diagnosis::Pipe, &[timestamp, b"|", body]),
        (Diagnosis::Dot, &[timestamp, b".", body]),
        (Diagnosis::BodyOnly, &[body]),
    ];
    for (diagnosis, parts) in recipes {
        if matches(parts) {
            return diagnosis;
        }
    }
    let whole: &[&[u8]] = &[b"[", timestamp, b";", body, b"]"];
    if secrets
        .iter()
        .any(|secret| made_over(secret.trim().as_bytes(), whole))
    {
        return Diagnosis::SecretHasBlanks;
    }
    if secrets
        .iter()
        .filter_map(|secret| hex::decode(secret.trim()).ok())
        .any(|key| made_over(&key, whole))
    {
        return Diagnosis::SecretDecoded;
    }
    let trimmed = body.trim_ascii_end();
    if signs(trimmed)
        || [&b"\n"[..], b"\r\n"]
            .iter()
            .any(|end| signs(&[trimmed, end].concat()))
    {
        return Diagnosis::NewlineChanged;
    }
    if as_javascript_writes(body).is_some_and(|written| signs(&written)) {
        return Diagnosis::BodyRewritten;
    }
    Diagnosis::WrongSecretOrBody
}

/// The JSON text without blanks between its parts and without needless escapes, which is how `JSON.stringify`, and so
/// Crisp, writes it. Keys keep their order and numbers their digits.
fn as_javascript_writes(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if next == '"' {
            let end = string_end(rest)?;
            let plain: String = serde_json::from_str(&rest[..end]).ok()?;
            written.push_str(&serde_json::to_string(&plain).ok()?);
            rest = &rest[end..];
        } else {
            if !matches!(next, ' ' | '\t' | '\r' | '\n') {
                written.push(next);
            }
            rest = &rest[next.len_utf8()..];
        }
    }
    Some(written.into_bytes())
}

/// Where the JSON string that starts `text` ends.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}
