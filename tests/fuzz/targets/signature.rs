//! The headers of a webhook: nothing verifies but what a configured secret has signed.

use bytes::Bytes;
use crisp_sync::{
    crisp::signature::{
        Diagnosis, Hook, SigningSecrets, WebsiteKey, explain, sign, verify_plugin, verify_website,
    },
    ids::WebsiteId,
};

const SECRET: &str = "914a657d8cc2efbc20593f1806f9bde2";
const SECOND: &str = "c0ffee5d8cc2efbc20593f1806f9bd11";
const STRANGER: &str = "00000000000000000000000000000000";
const WEBSITE: &str = "7f8d9ac1-0b6e-4c2b-9a55-0d0e8b6f2c11";
const KEY: &str = "k+y/1";

/// The first line is the timestamp, and the website's key; the second the signature; the rest is the body. A line that is
/// not there is a header that is not there.
pub(crate) fn signature(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (timestamp, signature) = match (lines.next(), lines.next()) {
        (Some(first), None) => (Some(first).filter(|line| !line.is_empty()), None),
        both => both,
    };
    let body = lines.next().unwrap_or_default();
    let secrets = SigningSecrets::new([SECRET.into(), SECOND.into(), " ".into()]);
    let verify = |timestamp: Option<&[u8]>, signature: Option<&[u8]>, body: &[u8]| {
        verify_plugin(&secrets, timestamp, signature, Bytes::copy_from_slice(body))
    };

    let number = timestamp
        .filter(|digits| {
            !digits.is_empty()
                && digits
                    .iter()
                    .all(|byte| byte.is_ascii_digit() || *byte == b'.')
        })
        .and_then(|digits| std::str::from_utf8(digits).ok());
    let signed = |secret: &str, number: &str, body: &[u8]| sign(secret, number, body).into_bytes();

    // As it came.
    let genuine = number.is_some_and(|number| {
        [SECRET, SECOND]
            .into_iter()
            .any(|secret| Some(&signed(secret, number, body)[..]) == signature)
    });
    assert_eq!(verify(timestamp, signature, body).is_ok(), genuine);
    let diagnosis = explain(&secrets, timestamp, signature, body);
    assert_eq!(diagnosis == Diagnosis::Genuine, genuine);
    assert!(!diagnosis.advice().is_empty());

    // Signed by us, and changed on the way.
    if let Some(number) = number {
        let stamp = Some(number.as_bytes());
        for secret in [SECRET, SECOND] {
            let right = signed(secret, number, body);
            let verified = verify(stamp, Some(&right), body).expect("a genuine signature verifies");
            assert_eq!(verified.bytes(), body);
            assert_eq!(*verified.hook(), Hook::Plugin);
            let mut longer = body.to_vec();
            longer.push(0);
            assert!(verify(stamp, Some(&right), &longer).is_err());
            if let Some((_, shorter)) = body.split_last() {
                assert!(verify(stamp, Some(&right), shorter).is_err());
            }
            // The border between timestamp and body does not move.
            let moved = [b";", body].concat();
            let (start, end) = number.split_at(number.len() - 1);
            let body_of_more = [end.as_bytes(), &moved].concat();
            assert!(verify(Some(start.as_bytes()), Some(&right), &body_of_more).is_err());
        }
        let strange = signed(STRANGER, number, body);
        assert!(verify(stamp, Some(&strange), body).is_err());
        let empty = signed("", number, body);
        assert!(verify(stamp, Some(&empty), body).is_err());
        assert!(verify(stamp, Some(&signed(" ", number, body)), body).is_err());
    }

    // A website's hook: the key is the key, byte for byte.
    let website = WebsiteId::parse(WEBSITE).expect("a website id");
    let keys = [WebsiteKey {
        website: website.clone(),
        key: KEY.into(),
    }];
    let admitted = verify_website(&keys, timestamp, Bytes::copy_from_slice(body));
    assert_eq!(admitted.is_ok(), timestamp == Some(KEY.as_bytes()));
    if let Ok(admitted) = admitted {
        assert_eq!(*admitted.hook(), Hook::Website(website));
    }
}
