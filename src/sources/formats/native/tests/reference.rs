//! The reader against serde_json's own reading, the scanner against the careful way, and any bytes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{NativeFormat, envelope, scan};
use super::{data, read};

fn keys() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => proptest::sample::select(vec!["run", "type", "ts", "env", "group", "rank", "host", "pid", "phase", "step", "seq", "message", "data"]).prop_map(str::to_owned),
        1 => "[a-zü\"\\\\ _]{1,8}",
        1 => Just("episodes_completed".to_owned()),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0u64..5).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[a-z\"\\\\\n\t\u{1}é]{0,9}".prop_map(Value::from),
        Just(Value::from("2026-11-22T01:02:03.456Z")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(keys(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// An object's text in any order, with blanks where JSON allows them.
fn objects() -> impl Strategy<Value = (Vec<(String, Value)>, String)> {
    (proptest::collection::vec((keys(), values()), 0..9), proptest::sample::select(vec!["", " ", "\t", " \r"]))
        .prop_map(|(pairs, blank)| {
            let fields: Vec<_> = pairs
                .iter()
                .map(|(key, value)| format!("{blank}{}{blank}:{blank}{value}{blank}", Value::from(key.as_str())))
                .collect();
            let text = format!("{blank}{{{}}}{blank}", fields.join(","));
            // serde_json's own reading of each value, which may differ in a float's last digit.
            let read = |value: Value| serde_json::from_str(&value.to_string()).unwrap_or(value);
            (pairs.into_iter().map(|(key, value)| (key, read(value))).collect(), text)
        })
}

fn last<'v>(pairs: &'v [(String, Value)], key: &str) -> &'v Value {
    pairs.iter().rev().find(|(name, _)| name == key).map_or(&Value::Null, |(_, value)| value)
}

/// What a whole number means by the contract, out of serde_json's own reading.
fn whole(value: &Value, min: u64, max: u64) -> Option<Option<u64>> {
    let number = match value {
        Value::Null => return Some(None),
        Value::Number(number) => number,
        _ => return None,
    };
    let whole = match (number.as_u64(), number.as_f64()) {
        (Some(whole), _) => whole,
        (None, Some(float)) if float >= 0.0 && float.fract() == 0.0 => float as u64,
        _ => return None,
    };
    (min..=max).contains(&whole).then_some(Some(whole))
}

fn name(value: &Value) -> Option<Option<&str>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) if !text.is_empty() && !text.chars().any(char::is_control) => Some(Some(text)),
        _ => None,
    }
}

/// An event's run, type, numbers (env, rank, pid, step, seq), names (group, host, phase) and data.
type Read = (String, String, [Option<u64>; 5], [Option<String>; 3], Value);

/// The event that serde_json's reading of the line comes to, if it is to be taken.
fn expected(pairs: &[(String, Value)]) -> Option<Read> {
    let get = |key: &str| last(pairs, key);
    let run = name(get("run"))??.to_owned();
    let series = name(get("type"))??.to_owned();
    let u32_max = u64::from(u32::MAX);
    let numbers = [
        whole(get("env"), 0, u32_max)?,
        whole(get("rank"), 0, u32_max)?,
        whole(get("pid"), 1, u32_max)?,
        whole(get("step"), 0, u64::MAX)?,
        whole(get("seq"), 0, u64::MAX)?,
    ];
    let names = [name(get("group"))?, name(get("host"))?, name(get("phase"))?].map(|name| name.map(str::to_owned));
    if !matches!(get("message"), Value::Null | Value::String(_)) {
        return None;
    }
    match get("ts") {
        Value::Null => {}
        Value::String(text) => drop(text.parse::<jiff::Timestamp>().ok()?),
        Value::Number(number) if (0.0..1e11).contains(&number.as_f64()?) => {}
        _ => return None,
    }
    let mut data = match get("data") {
        Value::Null => serde_json::Map::new(),
        Value::Object(map) => map.clone(),
        _ => return None,
    };
    let is_data_given = get("data").is_object();
    let own: Vec<String> = data.keys().cloned().collect();
    for (key, value) in pairs {
        if scan::Field::named(key.as_bytes()).is_none() && !own.contains(key) {
            data.insert(key.clone(), value.clone());
        }
    }
    let data = if data.is_empty() && !is_data_given { Value::Null } else { Value::Object(data) };
    Some((run, series, numbers, names, data))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_field_is_what_serde_json_reads((pairs, text) in objects(), named: bool) {
        let (mut pairs, mut text) = (pairs, text);
        if named {
            // Most random objects have no name and type, and end there.
            pairs.extend([("run".to_owned(), json!("r")), ("type".to_owned(), json!("T"))]);
            let body = text.trim();
            let body = &body[1..body.len() - 1];
            let comma = if body.trim().is_empty() { "" } else { "," };
            text = format!("{{{body}{comma}\"run\":\"r\",\"type\":\"T\"}}");
        }
        let (batch, refused) = read(&text);
        let taken = batch.events.first().map(|event| {
            let numbers = [event.env.map(u64::from), event.rank.map(u64::from), event.pid.map(u64::from), event.step, event.seq];
            let names = [&event.group, &event.host, &event.phase].map(|name| name.as_ref().map(|name| name.to_string()));
            (event.run.to_string(), event.series.to_string(), numbers, names, data(&batch, event))
        });
        let expected = expected(&pairs);
        prop_assert_eq!(batch.events.len() + refused.len(), 1);
        prop_assert_eq!(&taken, &expected, "{} {:?}", text, refused);
        if let Some((.., data)) = expected {
            let episodes = whole(&data["episodes_completed"], 0, u64::MAX).flatten();
            prop_assert_eq!(batch.events[0].episodes, episodes, "{}", text);
        }
    }

    #[test]
    fn the_scanner_finds_what_serde_json_finds((_, text) in objects(), cut in 0usize..400, garbage in "[\\[\\]{},:\"\\\\a0-9N.eE+-]{0,3}") {
        // Half a line with something wrong in it, as well as the whole one.
        let at = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= cut).last().unwrap_or(0);
        let broken = format!("{}{garbage}{}", &text[..at], &text[at..]);
        for line in [text.as_str(), broken.as_str(), &text[..at]] {
            if let Some(fields) = scan::scan(line) {
                let envelope = envelope::read(line).map_err(|error| TestCaseError::fail(format!("{line}: {error}")))?;
                prop_assert_eq!(envelope.extras.len(), 0);
                prop_assert_eq!(fields, envelope.fields, "{}", line);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..400), opening in proptest::sample::select(vec!["", "[", "{", "{\"run\":\"r\",\"type\":\"run_started\",", "[{\"a\":\"\\"])) {
        let mut bytes = opening.as_bytes().to_vec();
        bytes.extend(body);
        let (batch, _) = NativeFormat::new().read(&bytes, None, true);
        for event in &batch.events {
            for range in event.data.iter().chain(&event.message) {
                prop_assert!(batch.slice(range).is_some());
            }
        }
    }
}
