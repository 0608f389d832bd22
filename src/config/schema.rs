//! The configuration's reference, made from the structs that read it.
//!
//! Two forms: a JSON Schema for editors, and a page of tables for people. Neither is written by hand, so neither can say
//! anything but what is read.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use super::{environment, file::ConfigFile};

/// The JSON Schema of the configuration file.
pub fn schema() -> Json {
    let mut schema = schemars::schema_for!(ConfigFile).to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), Json::from("crisp-sync"));
    }
    schema
}

/// The reference page: every key with its type, default and meaning, and every environment variable.
pub fn reference() -> String {
    let schema = schema();
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Made from the source by `UPDATE_DOCS=1 cargo test --test it config`; do not edit. -->\n\n\
         crisp-sync reads one TOML file, `crisp-sync.toml` unless `--config` or `CRISP_SYNC_CONFIG` names another. Over it\n\
         goes the environment, and over that go the flags. Secrets stand in the environment or in files of their own, never\n\
         in this file. Relative paths in it start at its folder. `crisp-sync check` reports everything that is wrong with it,\n\
         all at once; `crisp-sync init` prints a commented example.\n\n\
         Durations are written `500ms`, `10s`, `15m`, `1h 30m`, `3d`, `2w`; sizes `512KiB`, `1MiB`. Editors complete and check\n\
         the file with [`crisp-sync.schema.json`](crisp-sync.schema.json).\n",
    );
    let mut tables = Tables {
        schema: &schema,
        page: &mut page,
    };
    tables.table("", None, &schema);
    page.push_str("\n## Environment\n\n");
    page.push_str(
        "A variable that holds a secret also has a `_FILE` form that names a file with it.\n\n",
    );
    page.push_str("| variable | `_FILE` | meaning |\n|---|---|---|\n");
    for variable in environment::ALL {
        let file = if variable.secret { "yes" } else { "" };
        // A page that cannot be written to is a String: it always can.
        let _ = writeln!(
            page,
            "| `{}` | {file} | {} |",
            variable.name, variable.meaning
        );
    }
    page
}

struct Tables<'a> {
    schema: &'a Json,
    page: &'a mut String,
}

impl<'a> Tables<'a> {
    /// Writes the table of one section, with what the section above says it is for, then those of the sections in it.
    fn table(&mut self, path: &str, meaning_here: Option<&str>, section: &'a Json) {
        let section = self.resolved(section);
        let Some(properties) = section.get("properties").and_then(Json::as_object) else {
            return;
        };
        let mut rows = String::new();
        let mut inner: Vec<(String, Option<&str>, &Json)> = Vec::new();
        for (key, property) in properties {
            let full = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            match self.section(property) {
                Some(Inner::Table(table)) => inner.push((full, description(property), table)),
                Some(Inner::Named(table)) => inner.push((format!("{full}.<name>"), None, table)),
                Some(Inner::List(table)) => inner.push((format!("[{full}]"), None, table)),
                None => {
                    let _ = writeln!(
                        rows,
                        "| `{key}` | {} | {} | {} |",
                        self.kind(property),
                        default(property),
                        meaning(property),
                    );
                }
            }
        }
        if path.is_empty() {
            self.page.push_str("\n## Top level\n");
        } else {
            let _ = write!(self.page, "\n## `[{path}]`\n");
            if let Some(text) = meaning_here.or_else(|| description(section)) {
                let text = text.split_once("]`: ").map_or(text, |(_, text)| text);
                let _ = write!(self.page, "\n{}\n", capitalised(&one_line(text)));
            }
        }
        if !rows.is_empty() {
            self.page
                .push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
            self.page.push_str(&rows);
        }
        for (path, meaning, table) in inner {
            self.table(&path, meaning, table);
        }
    }

    /// What a `$ref` stands for.
    fn resolved(&self, schema: &'a Json) -> &'a Json {
        schema
            .get("$ref")
            .and_then(Json::as_str)
            .and_then(|reference| reference.strip_prefix("#"))
            .and_then(|pointer| self.schema.pointer(pointer))
            .unwrap_or(schema)
    }

    /// The section that a property opens, if it opens one.
    fn section(&self, property: &'a Json) -> Option<Inner<'a>> {
        let property = self.resolved(property);
        if property.get("properties").is_some() {
            return Some(Inner::Table(property));
        }
        let within = |key: &str| {
            let inner = self.resolved(property.get(key)?);
            inner.get("properties").is_some().then_some(inner)
        };
        within("additionalProperties")
            .map(Inner::Named)
            .or_else(|| within("items").map(Inner::List))
    }

    fn kind(&self, property: &'a Json) -> String {
        let schema = self.resolved(property);
        if let Some(words) = words(schema) {
            return words.join(", ");
        }
        for choice in ["anyOf", "oneOf"] {
            let Some(options) = schema.get(choice).and_then(Json::as_array) else {
                continue;
            };
            let kinds: Vec<String> = options
                .iter()
                .filter(|option| option.get("type") != Some(&Json::from("null")))
                .map(|option| self.kind(option))
                .collect();
            return kinds.join(" or ");
        }
        let name = match schema.get("type") {
            Some(Json::Array(names)) => names.iter().find_map(Json::as_str),
            Some(Json::String(name)) => Some(name.as_str()),
            _ => None,
        };
        match (name, schema.get("format").and_then(Json::as_str)) {
            (Some("string"), Some("duration")) => "duration".to_owned(),
            (Some("string"), Some("size")) => "size".to_owned(),
            (Some("string"), Some("uri")) => "URL".to_owned(),
            (Some("string"), _) => "text".to_owned(),
            (Some("integer" | "number"), _) => "number".to_owned(),
            (Some("boolean"), _) => "`true`, `false`".to_owned(),
            (Some("array"), _) => match schema.get("items") {
                Some(items) => format!("list of {}", self.kind(items)),
                None => "list".to_owned(),
            },
            (Some("object"), _) => match schema.get("additionalProperties") {
                Some(value @ Json::Object(_)) => format!("table of {}", self.kind(value)),
                _ => "table".to_owned(),
            },
            _ => String::new(),
        }
    }
}

enum Inner<'a> {
    Table(&'a Json),
    Named(&'a Json),
    List(&'a Json),
}

/// The words of an enumeration.
fn words(schema: &Json) -> Option<Vec<String>> {
    if let Some(words) = schema.get("enum").and_then(Json::as_array) {
        return Some(
            words
                .iter()
                .filter(|word| !word.is_null())
                .map(code)
                .collect(),
        );
    }
    schema
        .get("oneOf")?
        .as_array()?
        .iter()
        .map(|option| option.get("const").map(code))
        .collect()
}

fn code(value: &Json) -> String {
    match value {
        Json::String(text) => format!("`{text}`"),
        value => format!("`{value}`"),
    }
}

fn default(property: &Json) -> String {
    match property.get("default") {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(text)) => format!("`\"{text}\"`"),
        Some(Json::Object(map)) if Map::is_empty(map) => String::new(),
        Some(Json::Array(list)) if list.len() > 3 => "all".to_owned(),
        Some(value) => format!("`{value}`"),
    }
}

fn description(schema: &Json) -> Option<&str> {
    schema.get("description").and_then(Json::as_str)
}

fn meaning(property: &Json) -> String {
    description(property)
        .map(one_line)
        .unwrap_or_default()
        .replace('|', "\\|")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map(|first| first.to_uppercase().chain(characters).collect())
        .unwrap_or_default()
}
