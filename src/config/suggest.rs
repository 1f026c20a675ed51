//! "Did you mean": the known word that a mistyped one is nearest to.

/// The candidate that `word` was probably meant to be, if any is near enough.
///
/// Near is: the same but for case, one a part of the other (`url`, `webhook_url`), or
/// at most a third of the letters wrong, which is the bound rustc uses: `helth` is `health`, `on` is
/// not `run`.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .filter_map(|candidate| distance(&word, &candidate.to_lowercase()).map(|distance| (distance, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Advice on an unknown word: the nearest known one, else all of them.
///
/// `known` says what they are: `known keys here`.
pub fn advise(word: &str, candidates: &[&str], known: &str) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if candidates.is_empty() => format!("{known}: none"),
        None => format!("{known}: {}", candidates.join(", ")),
    }
}

fn distance(word: &str, candidate: &str) -> Option<usize> {
    let longest = word.chars().count().max(candidate.chars().count());
    let edits = strsim::damerau_levenshtein(word, candidate);
    if edits <= longest.max(3) / 3 {
        return Some(edits);
    }
    let is_part = |short: &str, long: &str| short.len() >= 3 && long.split(['_', '-', '/']).any(|part| part == short);
    (is_part(word, candidate) || is_part(candidate, word)).then_some(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_found_and_what_is_far_is_not() {
        let keys = ["health", "checks", "states", "labels", "sinks", "webhook_url", "run"];
        for (word, meant) in [
            ("helth", Some("health")),
            ("heatlh", Some("health")),
            ("Sinks", Some("sinks")),
            ("sink", Some("sinks")),
            ("webhook_ulr", Some("webhook_url")),
            ("url", Some("webhook_url")),
            ("on", None),
            ("repeat_interval", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), meant, "{word}");
        }
    }

    #[test]
    fn the_nearest_of_several_wins() {
        assert_eq!(nearest("stales", ["state", "stale", "states"]), Some("stale"));
    }
}
