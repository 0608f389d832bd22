//! What Crisp takes of a people event.
//!
//! The numbers come from Crisp's staff and from reports (crisp-sdk-android#177, crisp-sdk-ios#95): the REST API answers
//! an error past them, other ways in drop the event in silence. So a rule is held to them when it is read.

/// The longest text of an event, in characters.
pub const TEXT_CHARS: usize = 80;
/// How many keys the data of an event may have, our own two included.
pub const KEYS: usize = 10;
/// The longest data key, in characters.
pub const KEY_CHARS: usize = 50;
/// The longest value, in characters.
pub const VALUE_CHARS: usize = 120;
/// The last character of a value that was cut.
pub const CUT_MARK: char = '…';
/// Our key that tells one occurrence from another.
pub const REF: &str = "ref";
/// Our key that says when it happened: Crisp stamps an event when it arrives and takes no date.
pub const OCCURRED_AT: &str = "occurred_at";
/// The key that marks an event sent to a tester.
pub const TEST: &str = "test";
/// How the `ref` of such an event begins. It is no occurrence's.
pub const TEST_REF: &str = "test-";
/// Our own keys: no rule may use them.
pub const OUR_KEYS: [&str; 2] = [REF, OCCURRED_AT];

/// Whether Crisp takes `key`: `^[A-Za-z0-9_-]{1,50}$`.
pub fn is_key(key: &str) -> bool {
    (1..=KEY_CHARS).contains(&key.len())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// `text` in at most [`VALUE_CHARS`] characters; a cut is shown by [`CUT_MARK`].
pub fn cut(text: String) -> String {
    if text.chars().count() <= VALUE_CHARS {
        return text;
    }
    text.chars()
        .take(VALUE_CHARS - 1)
        .chain([CUT_MARK])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_where_a_character_ends() {
        assert_eq!(cut("é".repeat(120)), "é".repeat(120));
        let long = cut("é".repeat(121));
        assert_eq!(long.chars().count(), 120);
        assert_eq!(long, format!("{}…", "é".repeat(119)));
    }

    #[test]
    fn keys_are_plain() {
        for (key, takes) in [
            ("plan", true),
            ("tenant_name", true),
            ("a-1", true),
            ("", false),
            ("a b", false),
            ("é", false),
            (&"k".repeat(50), true),
            (&"k".repeat(51), false),
        ] {
            assert_eq!(is_key(key), takes, "{key:?}");
        }
    }
}
