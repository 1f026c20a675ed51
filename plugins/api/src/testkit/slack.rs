//! The limits Slack documents for incoming webhooks, as a check on a payload.
//!
//! Lengths are counted in UTF-16 units, the strictest reading of "characters".

use serde_json::Value;

use super::recorder::Request;

const BLOCKS_MAX: usize = 50;
const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3000;
const FIELDS_MAX: usize = 10;
const FIELD_MAX: usize = 2000;
const CONTEXT_ELEMENTS_MAX: usize = 10;
const TEXT_MAX: usize = 40_000;
/// Not documented: from about here on Slack answers `msg_blocks_too_long`.
const BLOCKS_JSON_MAX: usize = 13_000;

/// What an incoming webhook would refuse, or would read as an order: nothing, for a good payload.
pub fn violations(payload: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match payload["text"].as_str() {
        None | Some("") => found.push("no_text: `text` is what a phone shows".to_owned()),
        Some(text) => check_text(&mut found, "text", text, TEXT_MAX),
    }
    let attachments = payload["attachments"].as_array().map(Vec::as_slice).unwrap_or_default();
    let nested = attachments.iter().map(|attachment| &attachment["blocks"]);
    for blocks in std::iter::once(&payload["blocks"]).chain(nested).filter_map(Value::as_array) {
        if blocks.len() > BLOCKS_MAX {
            found.push(format!("invalid_blocks: {} blocks", blocks.len()));
        }
        let size = Value::Array(blocks.clone()).to_string().encode_utf16().count();
        if size > BLOCKS_JSON_MAX {
            found.push(format!("msg_blocks_too_long: {size} characters"));
        }
        for block in blocks {
            check_block(&mut found, block);
        }
    }
    found
}

/// [`violations`] as an inspector of a recorder: a bad payload is answered as Slack answers it.
///
/// # Errors
/// The status and body Slack would send.
pub fn inspect(request: &Request) -> Result<(), (u16, String)> {
    let Ok(payload) = serde_json::from_str::<Value>(&request.body) else {
        return Err((400, "invalid_payload".to_owned()));
    };
    let found = violations(&payload);
    if found.is_empty() { Ok(()) } else { Err((400, format!("invalid_blocks: {}", found.join("; ")))) }
}

fn check_block(found: &mut Vec<String>, block: &Value) {
    match block["type"].as_str() {
        Some("header") => {
            if block["text"]["type"] != "plain_text" {
                found.push("invalid_blocks: a header's text must be plain_text".to_owned());
            }
            check_object(found, "header", &block["text"], HEADER_MAX);
        }
        Some("section") => {
            let fields = block["fields"].as_array();
            if block["text"].is_null() && fields.is_none() {
                found.push("invalid_blocks: a section needs text or fields".to_owned());
            }
            if !block["text"].is_null() {
                check_object(found, "section", &block["text"], SECTION_MAX);
            }
            let fields = fields.map(Vec::as_slice).unwrap_or_default();
            if fields.len() > FIELDS_MAX {
                found.push(format!("invalid_blocks: {} fields", fields.len()));
            }
            fields.iter().for_each(|field| check_object(found, "field", field, FIELD_MAX));
        }
        Some("context") => {
            let elements = block["elements"].as_array().map(Vec::as_slice).unwrap_or_default();
            if elements.is_empty() || elements.len() > CONTEXT_ELEMENTS_MAX {
                found.push(format!("invalid_blocks: {} context elements", elements.len()));
            }
            elements.iter().for_each(|element| check_object(found, "context", element, SECTION_MAX));
        }
        Some("divider") => {}
        other => found.push(format!("invalid_blocks: block type {other:?}")),
    }
}

fn check_object(found: &mut Vec<String>, what: &str, object: &Value, max: usize) {
    match object["text"].as_str() {
        None | Some("") => found.push(format!("invalid_blocks: {what} without text")),
        Some(text) => {
            check_length(found, what, text, max);
            if object["type"] != "plain_text" {
                check_orders(found, what, text);
            }
        }
    }
}

fn check_text(found: &mut Vec<String>, what: &str, text: &str, max: usize) {
    check_length(found, what, text, max);
    check_orders(found, what, text);
}

fn check_length(found: &mut Vec<String>, what: &str, text: &str, max: usize) {
    let length = text.encode_utf16().count();
    if length > max {
        found.push(format!("invalid_blocks: {what} of {length} characters, at most {max}"));
    }
}

/// Mentions wake people; only a link and a date may stand in angle brackets.
fn check_orders(found: &mut Vec<String>, what: &str, text: &str) {
    for (at, _) in text.match_indices('<') {
        let order = &text[at + 1..];
        let allowed = ["http://", "https://", "!date^"].iter().any(|start| order.starts_with(start));
        if !allowed || !order.contains('>') {
            let shown: String = order.chars().take(20).collect();
            found.push(format!("order in {what}: <{shown}"));
        }
    }
    let lower = text.to_lowercase();
    for mention in ["@channel", "@here", "@everyone"] {
        if lower.contains(mention) {
            found.push(format!("mention in {what}: {mention}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with_block(block: Value) -> Value {
        json!({"text": "t", "attachments": [{"color": "#fff", "blocks": [block]}]})
    }

    #[test]
    fn a_good_payload_passes() {
        let section = json!({"type": "section", "text": {"type": "mrkdwn", "text": "a &lt; b <http://x|y>"}});
        assert_eq!(violations(&with_block(section)), Vec::<String>::new());
    }

    #[test]
    fn each_limit_is_enforced() {
        let text = |length: usize| json!({"type": "mrkdwn", "text": "x".repeat(length)});
        for (payload, objection) in [
            (json!({"blocks": []}), "no_text"),
            (with_block(json!({"type": "header", "text": text(9)})), "must be plain_text"),
            (
                with_block(json!({"type": "header", "text": {"type": "plain_text", "text": "x".repeat(151)}})),
                "header of",
            ),
            (with_block(json!({"type": "section", "text": text(3001)})), "section of 3001"),
            (with_block(json!({"type": "section", "text": text(0)})), "without text"),
            (with_block(json!({"type": "section"})), "needs text or fields"),
            (with_block(json!({"type": "section", "fields": vec![text(1); 11]})), "11 fields"),
            (with_block(json!({"type": "context", "elements": vec![text(1); 11]})), "11 context"),
            (with_block(json!({"type": "section", "fields": vec![text(1990); 8]})), "msg_blocks_too_long"),
            (with_block(json!({"type": "nosuch"})), "block type"),
            (json!({"text": "<!channel> up"}), "order in text"),
            (json!({"text": "hello @Here"}), "mention in text"),
        ] {
            let found = violations(&payload).join("; ");
            assert!(found.contains(objection), "{objection}: {found}");
        }
    }
}
