//! HTTP for sinks: one client, one reading of what an answer means, and no secret in either.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde::de::{Deserialize, Deserializer, Error as _};

use crate::secret::{Secret, SecretSource};
use crate::sink::{OpenError, SinkError};
use crate::text::one_line;

/// A time limit for a sink's own client. The host's limit is shorter and is the one that counts;
/// this one only keeps a forgotten request from living for ever.
pub const BACKSTOP: Duration = Duration::from_secs(120);

/// How much of an answer's body is kept for the record.
const BODY_BYTES_MAX: usize = 300;
/// A shorter piece of a URL (`v1`, `hook`) is a word, no secret.
const SECRET_CHARS_MIN: usize = 6;
const HIDDEN: &str = "[hidden]";

/// An HTTP client with rustls on ring, no redirects, and `timeout` over each request.
///
/// # Errors
/// The system's certificate store cannot be read.
pub fn client(timeout: Duration) -> Result<Client, String> {
    // A second installation is refused, which is as good: one provider is in place.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("runwatch/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("cannot make an HTTP client: {}", without_url(error)))
}

/// An `http` or `https` URL with a host.
///
/// # Errors
/// What is wrong with it. The text itself, which may be a secret, is left out.
pub fn url(text: &str) -> Result<Url, String> {
    // What stands before the colon is not repeated: it may be half of a `user:password`.
    let wrong = || "a URL must start with http:// or https:// and name a host".to_owned();
    match Url::parse(text.trim()) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) => Err(wrong()),
        Err(_) if !text.contains("://") => Err(wrong()),
        Err(error) => Err(format!("not a valid URL: {error}")),
    }
}

/// A URL as the record may show it: `https://hooks.slack.com/…`.
pub fn describe_url(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}/…", url.scheme())
}

/// An answer, read as far as the record needs it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// `Retry-After`, in whole seconds as sent.
    pub retry_after: Option<Duration>,
    /// The start of the body, on one line.
    pub body: String,
}

impl Answer {
    /// Reads a response. What it echoes of `secrets` is blotted out: the record is no place for it.
    ///
    /// # Errors
    /// The connection broke before the status was complete.
    pub async fn read(mut response: Response, secrets: &Secrets) -> Result<Answer, SinkError> {
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while body.len() <= BODY_BYTES_MAX {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                // The status has come, and the status is the answer.
                Err(_) if !status.is_success() => break,
                Err(error) => return Err(no_answer(error)),
            }
        }
        let cut = body.len() > BODY_BYTES_MAX;
        body.truncate(BODY_BYTES_MAX);
        let text = String::from_utf8_lossy(&body);
        let text = if cut { secrets.hide_in_cut(&text) } else { secrets.hide(&text) };
        Ok(Answer { status, retry_after, body: one_line(&text) })
    }

    /// `200 ok`: the status and the start of the body.
    pub fn words(&self) -> String {
        let status = self.status.as_u16();
        if self.body.is_empty() { status.to_string() } else { format!("{status} {}", self.body) }
    }

    /// The failure this answer is: 408, 425, 429 and 5xx may pass, everything else will not. 401, 403,
    /// 404 and 410 are about the address or who asks, and so about every message.
    pub fn failure(&self) -> SinkError {
        let passing = matches!(self.status.as_u16(), 408 | 425 | 429) || self.status.is_server_error();
        if passing {
            return SinkError::Retry { reason: self.words(), after: self.retry_after };
        }
        if self.status.is_redirection() {
            let status = self.status.as_u16();
            return SinkError::refused(format!(
                "{status}: redirects are not followed, put the address it redirects to into the sink's settings"
            ));
        }
        if matches!(self.status.as_u16(), 401 | 403 | 404 | 410) {
            return SinkError::gone(self.words());
        }
        SinkError::refused(self.words())
    }
}

/// `Retry-After` in seconds, or as a date, which is read against the answer's own `Date`: two
/// readings of the other side's clock, so that ours does not matter.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(text)?;
    let now = http_date(headers.get(DATE)?.to_str().ok()?)?;
    Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text.trim()).ok()
}

/// A request that got no answer: it may work later. The URL, which may be a secret, is left out.
pub fn no_answer(error: reqwest::Error) -> SinkError {
    SinkError::retry(without_url(error))
}

fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Texts that must not reach a record: what a server echoes is searched for them.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// The pieces of a URL that may be secrets: everything but scheme, host and port.
    pub fn of_url(url: &Url) -> Secrets {
        let mut pieces = vec![url.as_str().to_owned(), url.path().to_owned(), url.username().to_owned()];
        pieces.extend(url.password().map(str::to_owned));
        pieces.extend(url.query().map(str::to_owned));
        pieces.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
        pieces.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        let mut secrets = Secrets::default();
        secrets.extend(pieces);
        secrets
    }

    /// Adds a secret, and each of its words: `Bearer TOKEN` hides the token too.
    pub fn add(&mut self, secret: &Secret) {
        let words = secret.expose().split_whitespace().map(str::to_owned);
        self.extend(std::iter::once(secret.expose().to_owned()).chain(words));
    }

    /// `text` without the secrets.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN))
    }

    /// A text that was cut, without the secrets and without the start of one at its end.
    pub fn hide_in_cut(&self, text: &str) -> String {
        let mut text = self.hide(text.trim_end_matches('\u{fffd}'));
        if let Some(at) = self.0.iter().filter_map(|secret| started_at(&text, secret)).min() {
            text.truncate(at);
            text.push_str(HIDDEN);
        }
        text
    }

    fn extend(&mut self, pieces: impl IntoIterator<Item = String>) {
        self.0.extend(pieces.into_iter().filter(|piece| piece.chars().count() >= SECRET_CHARS_MIN));
        // The longest first, or a piece would leave the rest of the whole standing.
        self.0.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.0.dedup();
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({} hidden)", self.0.len())
    }
}

/// Where the start of `secret` begins, if `text` ends inside it.
fn started_at(text: &str, secret: &str) -> Option<usize> {
    let lengths = secret.char_indices().map(|(length, _)| length).skip(SECRET_CHARS_MIN);
    let longest = lengths.filter(|length| text.ends_with(&secret[..*length])).max()?;
    Some(text.len() - longest)
}

/// A URL that may be a secret. In TOML it is written like any secret; one that stands in the file
/// itself is checked there, so that the mistake is shown where it was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UrlSource(SecretSource);

impl UrlSource {
    /// Where the URL is kept; never the URL itself.
    pub fn describe(&self) -> String {
        if self.0.is_plain() { "a URL in the file".to_owned() } else { format!("{:?}", self.0) }
    }

    /// Fetches the URL from where it is kept.
    ///
    /// # Errors
    /// The secret is not there, or what it holds is no URL. The text itself is left out.
    pub fn resolve(&self) -> Result<Url, OpenError> {
        let secret = self.0.resolve().map_err(|error| OpenError::missing(&error))?;
        url(secret.expose()).map_err(|reason| OpenError {
            reason,
            hint: (!self.0.is_plain()).then(|| format!("the text comes from {:?}", self.0)),
        })
    }
}

impl<'de> Deserialize<'de> for UrlSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let source = SecretSource::deserialize(deserializer)?;
        if let SecretSource::Plain(text) = &source {
            url(text).map_err(D::Error::custom)?;
        }
        Ok(UrlSource(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = reqwest::header::HeaderName::from_static(name);
            (name, reqwest::header::HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    #[test]
    fn retry_after_is_read_to_the_second() {
        for (pairs, seconds) in [
            (vec![("retry-after", "7")], Some(7)),
            (vec![("retry-after", " 0 ")], Some(0)),
            (vec![("retry-after", "soon")], None),
            (vec![("retry-after", "-1")], None),
            (vec![], None),
            (
                vec![("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT"), ("date", "Wed, 21 Oct 2026 07:28:00 GMT")],
                Some(30),
            ),
            (
                vec![("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), ("date", "Wed, 21 Oct 2026 07:28:30 GMT")],
                Some(0),
            ),
            (vec![("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT")], None),
        ] {
            assert_eq!(retry_after(&headers(&pairs)), seconds.map(Duration::from_secs), "{pairs:?}");
        }
    }

    #[test]
    fn a_url_in_a_record_is_its_host() {
        for (text, words) in [
            ("https://hooks.slack.com/services/T/B/x", "https://hooks.slack.com/…"),
            ("http://user:pass@gpu-head:9000/a?token=b#c", "http://gpu-head:9000/…"),
            ("http://[::1]:80/", "http://[::1]/…"),
        ] {
            assert_eq!(url(text).map(|url| describe_url(&url)), Ok(words.to_owned()));
        }
    }

    #[test]
    fn what_is_no_web_address_is_refused_without_being_repeated() {
        for text in ["", "hush", "file:///hush", "http://", "ftp://hush/a", "https:hush:hush:hush"] {
            let error = url(text).err().unwrap_or_default();
            assert!(!error.is_empty() && !error.contains("hush"), "{text}: {error}");
        }
    }

    #[test]
    fn an_echoed_secret_is_hidden_even_where_it_is_cut() {
        let address = url("https://hooks.slack.com/services/T0001/B0001/AbCdEfGhIjKl?key=Zz112233").expect("a URL");
        let mut secrets = Secrets::of_url(&address);
        let bearer = SecretSource::Plain("Bearer tok-123456".to_owned()).resolve().expect("a secret");
        secrets.add(&bearer);
        for text in [
            "not found: /services/T0001/B0001/AbCdEfGhIjKl",
            "no such hook AbCdEfGhIjKl!",
            "AbCdEfGhI",
            "you said tok-123456 and Zz112233",
            "you said tok-12345",
        ] {
            let hidden = secrets.hide_in_cut(text);
            assert!(hidden.contains(HIDDEN), "{hidden}");
            for piece in ["AbCdEf", "tok-1", "Zz11"] {
                assert!(!hidden.contains(piece), "{hidden}");
            }
        }
        // The path's own words are no secrets where nothing was cut.
        assert_eq!(secrets.hide("no_service"), "no_service");
        assert!(!format!("{secrets:?}").contains("tok"));
    }
}
