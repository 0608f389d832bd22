//! A log line as one JSON object: time, level, the line's own fields, target.
//!
//! Every delivery is a line, so that what a line costs is part of what an answer costs. Values are written straight into
//! the line, without a tree in between and without a look at the fields' order.

use std::fmt::{self, Write as _};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// Formats events as JSON. Spans are not shown: there are none of ours.
#[derive(Debug, Clone, Copy)]
pub struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        writer.write_str("\",\"level\":\"")?;
        writer.write_str(event.metadata().level().as_str())?;
        writer.write_char('"')?;
        let mut fields = Fields {
            line: &mut writer,
            result: Ok(()),
        };
        event.record(&mut fields);
        fields.result?;
        writer.write_str(",\"target\":")?;
        write_text(&mut writer, event.metadata().target())?;
        writer.write_str("}\n")
    }
}

/// Writes fields as they come.
struct Fields<'line, 'writer> {
    line: &'line mut Writer<'writer>,
    result: fmt::Result,
}

impl Fields<'_, '_> {
    fn field(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self
                .line
                .write_char(',')
                .and_then(|()| write_text(self.line, field.name()))
                .and_then(|()| self.line.write_char(':'))
                .and_then(|()| value(self.line));
        }
    }
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |line| write_text(line, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |line| write!(line, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |line| write!(line, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |line| {
            line.write_str(if value { "true" } else { "false" })
        });
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, |line| {
            if value.is_finite() {
                write!(line, "{value:?}")
            } else {
                line.write_str("null")
            }
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, |line| {
            line.write_char('"')?;
            write!(Escaped(line), "{value:?}")?;
            line.write_char('"')
        });
    }
}

/// Passes text on as the inside of a JSON string.
struct Escaped<'line, 'writer>(&'line mut Writer<'writer>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest
            .bytes()
            .position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\')
        {
            self.0.write_str(&rest[..at])?;
            match rest.as_bytes()[at] {
                b'"' => self.0.write_str("\\\"")?,
                b'\\' => self.0.write_str("\\\\")?,
                b'\n' => self.0.write_str("\\n")?,
                b'\r' => self.0.write_str("\\r")?,
                b'\t' => self.0.write_str("\\t")?,
                control => write!(self.0, "\\u{control:04x}")?,
            }
            // What was escaped is one byte, so that what follows begins with a character.
            rest = &rest[at + 1..];
        }
        self.0.write_str(rest)
    }
}

fn write_text(line: &mut Writer<'_>, text: &str) -> fmt::Result {
    line.write_char('"')?;
    Escaped(line).write_str(text)?;
    line.write_char('"')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::{fmt, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn any_value_makes_a_line_that_parses() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::registry().with(
            fmt::layer()
                .event_format(JsonLines)
                .with_writer(move || writer.clone()),
        );
        let odd = "quote \" back \\ line \n tab \t bell \u{7} del \u{7f} ü €";
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(
                event = "x.y",
                "a.text" = odd,
                shown = %odd,
                debugged = ?Some("a\"b"),
                whole = 7_u64,
                negative = -7_i64,
                share = 0.5,
                none = Option::<u64>::None,
                nan = f64::NAN,
                yes = true,
                "a sentence"
            );
        });
        let written = String::from_utf8(lines.0.lock().expect("no panic").clone());
        let written = written.expect("a line is text");
        assert_eq!(written.matches('\n').count(), 1, "{written}");
        let mut line: Json = serde_json::from_str(&written).expect("a line is JSON");
        let at = line["timestamp"].take();
        let at: jiff::Timestamp = at.as_str().expect("a text").parse().expect("an instant");
        assert!(at.as_second() > 0);
        assert_eq!(
            line,
            json!({
                "timestamp": null, "level": "WARN", "event": "x.y", "a.text": odd, "shown": odd,
                "debugged": "Some(\"a\\\"b\")", "whole": 7, "negative": -7, "share": 0.5, "nan": null, "yes": true,
                "message": "a sentence", "target": module_path!(),
            })
        );
    }
}
